//! Parrot keeps the contract.

// region: contract
use phi_provider::contract::{Case, Expected, WireContract};
use phi_types::{ProviderErrorKind, StopReason, Usage};
use serde_json::json;

use crate::wire::Parrot;

fn case() -> Case {
    let body = concat!(
        "event: start\ndata: {\"id\":\"r1\",\"model\":\"parrot-2\"}\n\n",
        "event: think\ndata: {\"part\":0,\"text\":\"Birds.\",\"seal\":\"c2VhbA\"}\n\n",
        "event: say\ndata: {\"part\":1,\"text\":\"Let me \"}\n\n",
        "event: say\ndata: {\"part\":1,\"text\":\"look.\"}\n\n",
        "event: call\ndata: {\"part\":2,\"id\":\"c1\",\"tool\":\"lookup\",\"input\":\"{\\\"q\\\":1}\"}\n\n",
        "event: stop\ndata: {\"why\":\"calls\",\"tokens\":{\"in\":3,\"out\":2}}\n\n",
    );
    let expected = Expected::text("Let me look.")
        .with_thinking("Birds.")
        .with_call("c1", "lookup", json!({"q": 1}))
        .with_stop_reason(StopReason::ToolUse)
        .with_usage(Usage {
            input_tokens: Some(3),
            output_tokens: Some(2),
            ..Usage::default()
        });
    Case::new("a call", body).with_expected(expected)
}

fn overloaded() -> Case {
    let body = "event: fail\ndata: {\"message\":\"busy\",\"code\":\"overloaded\"}\n\n";
    let expected = Expected::error(ProviderErrorKind::Overloaded);
    Case::new("an error in the stream", body).with_expected(expected)
}

#[test]
fn parrot_keeps_the_contract() {
    let wire = || Parrot::new("https://parrot.example");
    let contract = WireContract::new(wire)
        .with_limits(move |limits| wire().with_limits(limits))
        .with_cases([case(), overloaded()]);
    let card = contract.run();
    card.assert();
    // endregion: contract
    crate::document::holds("the score card", &card.to_string());
}
