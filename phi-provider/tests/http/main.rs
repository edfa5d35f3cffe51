//! The provider over HTTP against a server that does what a test says, and against transports in
//! memory where time is a value.
#![cfg(all(feature = "http", feature = "anthropic", feature = "openai-chat"))]

mod a_program_prints_the_credential;
mod a_provider_keeps_its_contract;
mod a_refused_credential_is_replaced_once;
mod answers_of_services_are_typed_errors;
mod broken_answers_are_incomplete;
mod credentials_stay_secret;
mod deltas_come_when_they_are_sent;
mod each_exchange_is_sent_once_and_closed;
mod every_wire_survives_bad_servers;
mod losses_are_decided_before_sending;
mod recordings_are_replayed;
mod silence_ends_in_a_timeout;
mod support;
mod the_wire_sink_shows_no_secret;
