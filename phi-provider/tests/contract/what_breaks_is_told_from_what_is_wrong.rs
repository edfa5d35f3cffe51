//! Where a body breaks off it is incomplete, and what is garbled after the finish changes nothing.

use phi_provider::openai_chat::OpenAiChat;
use phi_provider::{ResponseHead, Wire};
use phi_types::{Delta, ProviderError, ProviderErrorKind};

fn decode(body: &str) -> (Vec<Delta>, Result<(), ProviderError>) {
    let wire = OpenAiChat::new("https://api.example.com/v1");
    let mut decoder = wire.decoder(&ResponseHead::new(200));
    let mut deltas = Vec::new();
    let pushed = decoder.push(body.as_bytes(), &mut deltas);
    let end = pushed.and_then(|()| decoder.end(&mut deltas));
    (deltas, end)
}

#[test]
fn a_body_that_is_cut_inside_a_number_is_incomplete() {
    for number in ["-", "1.", "1e", "1E", "1e+", "1e-", "-0."] {
        let (_, end) = decode(&format!("{{\"choices\":[],\"created\":{number}"));
        let kind = end.unwrap_err().kind;
        assert_eq!(kind, ProviderErrorKind::Incomplete, "{number}");
    }
    let (_, end) = decode("{\"choices\":[],\"created\":1-2-");
    assert_eq!(end.unwrap_err().kind, ProviderErrorKind::Protocol);
}

#[test]
fn what_is_garbled_after_the_finish_does_not_unmake_the_answer() {
    let answer = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"},\
                  \"finish_reason\":\"stop\"}]}\n\n";
    let (whole, end) = decode(answer);
    end.unwrap();
    for garbage in ["data: {\"usage\":{\n\n", "data: \u{7f}\n\n"] {
        let (deltas, end) = decode(&format!("{answer}{garbage}"));
        end.unwrap();
        assert_eq!(deltas, whole);
        let (_, end) = decode(garbage);
        assert_eq!(end.unwrap_err().kind, ProviderErrorKind::Protocol);
    }
}
