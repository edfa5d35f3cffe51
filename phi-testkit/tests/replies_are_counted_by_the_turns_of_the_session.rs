//! Which reply a request gets depends on its view and on nothing else.

use std::sync::Arc;

use futures_util::StreamExt;
use phi_testkit::{Reply, ScriptedProvider, block_on, request};
use phi_types::{
    Assembler, AssistantMessage, CallResult, Entry, Origin, Provider, ProviderError,
    ProviderErrorKind, Request, SessionId, ToolResult, UserMessage,
};

fn ask(provider: &ScriptedProvider, request: &Request) -> Result<AssistantMessage, ProviderError> {
    let mut stream = provider.stream(request.clone());
    let mut assembler = Assembler::new();
    while let Some(delta) = block_on(stream.next()) {
        assembler.push(&delta?).expect("deltas fit");
    }
    Ok(assembler.into_message(Origin::default()).expect("a finish"))
}

fn go_on(request: &mut Request, answer: AssistantMessage) {
    let results: Vec<CallResult> = answer
        .tool_calls()
        .map(|call| CallResult {
            call: Arc::clone(call),
            result: Arc::new(ToolResult::text("seen")),
        })
        .collect();
    request.view.push(Entry::Assistant(Arc::new(answer)));
    request.view.push(if results.is_empty() {
        Entry::User(Arc::new(UserMessage::text("go on")))
    } else {
        Entry::Results(results.into())
    });
}

fn script() -> [Reply; 3] {
    let broken = ProviderError::new(ProviderErrorKind::Overloaded, "busy");
    [
        Reply::call("look", "{}"),
        Reply::text("two")
            .after_error(broken.clone())
            .after_error(broken),
        Reply::text("three"),
    ]
}

#[test]
fn a_new_provider_goes_on_where_the_session_was() {
    let mut request = request("go");
    let first = ask(&ScriptedProvider::new(script()), &request).unwrap();
    assert_eq!(&*first.tool_calls().next().unwrap().id, "call_0_0");
    go_on(&mut request, first);
    let resumed = ScriptedProvider::new(script());
    for _ in 0..2 {
        let error = ask(&resumed, &request).unwrap_err();
        assert_eq!(error.kind, ProviderErrorKind::Overloaded);
    }
    let second = ask(&resumed, &request).unwrap();
    assert_eq!(second.text(), "two");
    go_on(&mut request, second);
    assert_eq!(ask(&resumed, &request).unwrap().text(), "three");
    assert_eq!(resumed.request_count(), 4);
    assert_eq!(resumed.last_request(), Some(request));
}

#[test]
fn sessions_do_not_share_attempts_and_branches_do_not_share_views() {
    let provider = ScriptedProvider::from_fn(|turn, request| {
        let error = ProviderError::new(ProviderErrorKind::Server, "once");
        Some(Reply::text(format!("{} {turn}", request.session)).after_error(error))
    });
    let mut one = request("go");
    let mut two = request("go");
    two.session = SessionId::new("two").unwrap();
    for request in [&one, &two] {
        ask(&provider, request).unwrap_err();
    }
    let first = ask(&provider, &one).unwrap();
    assert_eq!(ask(&provider, &two).unwrap().text(), "two 0");
    let other_branch = one.clone();
    go_on(&mut one, first);
    ask(&provider, &one).unwrap_err();
    assert_eq!(ask(&provider, &one).unwrap().text(), "test 1");
    assert_eq!(ask(&provider, &other_branch).unwrap().text(), "test 0");
}

#[test]
fn the_end_of_the_script_is_an_error_that_says_so() {
    let provider = ScriptedProvider::new([Reply::text("one")]);
    let mut request = request("go");
    let first = ask(&provider, &request).unwrap();
    go_on(&mut request, first);
    let error = ask(&provider, &request).unwrap_err();
    assert_eq!(error.kind, ProviderErrorKind::InvalidRequest);
    assert_eq!(
        error.message,
        "the script has no reply left: this is turn 2 of the session and the script holds 1 \
         replies; add a reply to it"
    );
}
