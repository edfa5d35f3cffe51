//! Answers in the form of a schema: what a service is sent, and what an application reads.
#![cfg(feature = "structured-output")]

mod an_answer_is_read_and_checked;
mod any_schema_and_answer_is_no_panic;
mod schemas_become_what_services_take;
