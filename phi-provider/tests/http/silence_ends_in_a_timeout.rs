//! Whatever a server does not send, a call ends.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{
    AnthropicMessages, Credential, HttpOptions, HttpProvider, HttpTransport, Timeouts, Wire,
};
use phi_testkit::{Response, Server};
use phi_types::ProviderErrorKind;
use tokio::time::Instant;

use crate::support::{FINISH, InMemory, Step, Words, error, provider, read, short, word};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn timeouts() -> Timeouts {
    Timeouts::default()
        .with_first_byte(seconds(30))
        .with_idle(seconds(10))
        .with_progress(seconds(100))
        .with_settle(seconds(2))
}

/// Reads to the error, which must be a timeout, and says when it came.
async fn timeout_after(transport: InMemory) -> (Duration, String) {
    let begin = Instant::now();
    let error = error(&transport.provider().with_timeouts(timeouts())).await;
    assert_eq!(error.kind, ProviderErrorKind::Timeout, "{error}");
    (begin.elapsed(), error.message)
}

/// Gives the same text again and again with a wait before each.
fn every(wait: Duration, text: &str, times: usize) -> Vec<Step> {
    let step = || [Step::Wait(wait), Step::Give(text.to_owned())];
    std::iter::repeat_with(step).take(times).flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_a_timeout() {
    let late = InMemory::new(200, []).answering_after(seconds(31));
    let (after, message) = timeout_after(late).await;
    assert_eq!(after.as_secs(), 30);
    let wanted = "words.test did not answer within 30s: send the request again";
    assert_eq!(message, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_a_timeout_and_comments_do_not_delay_it() {
    let stalls = InMemory::new(200, [Step::Give(word("one")), Step::Hang]);
    assert_eq!(timeout_after(stalls).await.0.as_secs(), 10);
    let comments = every(seconds(3), ": hi\n\n", 100);
    let (after, message) = timeout_after(InMemory::new(200, comments)).await;
    assert_eq!(after.as_secs(), 10);
    let wanted = "words.test sent nothing but keep-alives for 10s";
    assert!(message.starts_with(wanted), "{message}");
}

#[tokio::test(start_paused = true)]
async fn pings_delay_a_timeout_up_to_the_wait_for_progress() {
    let pings = every(seconds(9), "event: ping\ndata: {}\n\n", 100);
    let (after, message) = timeout_after(InMemory::new(200, pings)).await;
    assert_eq!(after.as_secs(), 100);
    let wanted = "words.test sent nothing of the answer for 100s";
    assert!(message.starts_with(wanted), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_never_times_out() {
    let mut words = every(seconds(9), &word("x"), 200);
    words.push(Step::Give(FINISH.to_owned()));
    let provider = InMemory::new(200, words).provider();
    let (text, end) = read(&provider.with_timeouts(timeouts())).await;
    end.unwrap();
    assert_eq!(text.len(), 200);
}

#[tokio::test]
async fn a_flood_of_comments_that_never_waits_is_a_timeout_too() {
    let flood = InMemory::new(200, []).then_endlessly(": hi\n\n");
    let provider = flood.provider().with_timeouts(short());
    assert_eq!(error(&provider).await.kind, ProviderErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn once_the_outcome_is_known_the_rest_is_not_waited_for_long() {
    let begin = Instant::now();
    let finished = [Step::Give(word("one") + FINISH), Step::Hang];
    let provider = InMemory::new(200, finished).provider();
    let (text, end) = read(&provider.with_timeouts(timeouts())).await;
    end.unwrap();
    assert_eq!((text.as_str(), begin.elapsed().as_secs()), ("one", 2));
    let failed = [Step::Give("busy".to_owned()), Step::Hang];
    let provider = InMemory::new(529, failed).provider();
    let error = error(&provider.with_timeouts(timeouts())).await;
    assert_eq!((&*error.message, error.status), ("busy", Some(529)));
    assert_eq!(begin.elapsed().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn after_the_terminator_a_connection_that_stays_open_is_left_at_once() {
    let chat = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"},\
                \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let messages = "data: {\"type\":\"content_block_start\",\"index\":0,\
                    \"content_block\":{\"type\":\"text\",\"text\":\"one\"}}\n\n\
                    data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
                    data: {\"type\":\"message_stop\"}\n\n";
    let url = "https://words.test";
    let wires: [(Arc<dyn Wire>, &str); 2] = [
        (Arc::new(OpenAiChat::new(url)), chat),
        (Arc::new(AnthropicMessages::new()), messages),
    ];
    for (wire, body) in wires {
        let begin = Instant::now();
        let open = InMemory::new(200, [Step::Give(body.to_owned()), Step::Hang]);
        let provider = open.provider_of(wire).with_timeouts(timeouts());
        let (text, end) = read(&provider).await;
        end.unwrap();
        assert_eq!(text, "one");
        assert!(begin.elapsed() < Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_host_that_accepts_and_never_greets_is_a_timeout_of_the_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let base_url = format!("https://{host}");
    let options = HttpOptions::default().with_connect_timeout(Duration::from_millis(50));
    let transport = Arc::new(HttpTransport::new(options).unwrap());
    let wire = Arc::new(Words { base_url });
    let error = error(&HttpProvider::new(wire, transport, Credential::Anonymous)).await;
    assert_eq!(error.kind, ProviderErrorKind::Timeout);
    let wanted = format!("no connection to {host} within 50ms; check the base URL and the network");
    assert_eq!(error.message, wanted);
}

#[tokio::test]
async fn a_real_server_that_goes_silent_is_left() {
    let server = Server::start([
        Response::new(200).never(),
        Response::events([word("one")]).stalling_after(word("one").len()),
        Response::events([word("one")]).then_endlessly(": hi\n\n", Duration::from_millis(1)),
    ])
    .unwrap();
    let provider = provider(&server).with_timeouts(short());
    for n in 1..=3 {
        assert_eq!(error(&provider).await.kind, ProviderErrorKind::Timeout);
        server.until_abandoned(n).await;
    }
}
