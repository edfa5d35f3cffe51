//! The timeline of a session is one page: every event is in it once, and no log breaks out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use crate::scene::{
    Script, answer, call, extension_of, full_session, loop_id, session, usage, user,
};
use phi_session::{MemoryStore, Store, write_timeline};
use phi_types::{
    ApprovalRequested, BranchSelected, BranchesStarted, Continuation, EffectClass, Event,
    EventKind, Extension, Identity, LoopError, LoopStuck, Message, MessageAdded, Outcome, Price,
    ProviderError, ProviderErrorKind, RawJson, Recovered, SessionStarted, StopCause, StopRequested,
    SurfaceChanged, Target, ToolEnded, ToolEnding, ToolResult, TurnTrigger,
};

/// Keeps events in a store and writes their page.
async fn page(events: &[Event]) -> String {
    let store = MemoryStore::new();
    let EventKind::SessionStarted(started) = &events[0].kind else {
        panic!("a session starts with its start")
    };
    let (id, at) = (&events[0].session, events[0].at);
    let writer = store.create(id, started.clone(), at).await.unwrap();
    for event in &events[1..] {
        writer
            .append_batch(std::slice::from_ref(event))
            .await
            .unwrap();
    }
    let mut page = Vec::new();
    write_timeline(&store, id, &mut page).await.unwrap();
    String::from_utf8(page).unwrap()
}

/// A piece of a page.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Open(&'a str, Vec<String>),
    Close(&'a str),
    Text(&'a str),
}

/// Splits a page as a browser does: what is between tags is text, also where it should not be.
fn pieces(page: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), page.strip_prefix("<!doctype html>\n").unwrap());
    while !rest.is_empty() {
        let Some(start) = rest.find('<') else {
            pieces.push(Piece::Text(rest));
            break;
        };
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("a tag ends");
        let inside = &tag[..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            pieces.push(Piece::Close(name));
            continue;
        }
        // No value of an attribute has a `>` in it, or the page would not be split here.
        let quotes = inside.split('"').collect::<Vec<_>>();
        assert!(quotes.len() % 2 == 1, "a quote is open: {inside}");
        let outside = quotes.iter().step_by(2).copied().collect::<String>();
        let name = inside.split([' ', '/']).next().expect("a tag has a name");
        let words = outside.split_whitespace().skip(1);
        pieces.push(Piece::Open(name, words.map(str::to_owned).collect()));
        if matches!(name, "style" | "script") {
            let end = rest.find(&format!("</{name}")).expect("it ends");
            rest = &rest[end..];
        }
    }
    pieces
}

/// Checks that a page is made of what its writer puts there, and returns the ids of its events.
fn checked(page: &str) -> Vec<u64> {
    let mut open = Vec::new();
    let mut scripts = 0;
    for piece in pieces(page) {
        match piece {
            Piece::Open(name, attributes) => {
                assert!(ELEMENTS.contains(&name), "<{name}>");
                for attribute in attributes {
                    let attribute = attribute.trim_end_matches(['=', '/']);
                    let is_known = attribute.is_empty() || ATTRIBUTES.contains(&attribute);
                    assert!(is_known, "<{name} {attribute}>");
                }
                scripts += usize::from(matches!(name, "script" | "style"));
                if !matches!(name, "meta" | "link" | "input" | "rect") {
                    open.push(name);
                }
                // A bar holds a title only where it is a link.
                if name == "rect" {
                    continue;
                }
            }
            Piece::Close("rect") => {}
            Piece::Close(name) => assert_eq!(open.pop(), Some(name)),
            Piece::Text(text) => {
                let is_wild =
                    |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
                assert!(!text.contains(is_wild), "{text:?}");
            }
        }
    }
    assert_eq!((open.len(), scripts), (0, 2));
    let ids = page.split("<details class=\"event ").skip(1);
    let ids = ids.map(|it| {
        it.split(" id=\"e")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
    });
    ids.map(|id| id.parse().unwrap()).collect()
}

const ELEMENTS: &[&str] = &[
    "html", "head", "meta", "link", "title", "style", "script", "body", "header", "nav", "main",
    "section", "div", "h1", "h2", "h3", "p", "span", "small", "b", "a", "ol", "ul", "li", "dl",
    "dt", "dd", "details", "summary", "pre", "svg", "rect", "fieldset", "legend", "label", "input",
    "output", "button", "kbd",
];

const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "rel",
    "href",
    "class",
    "id",
    "role",
    "aria-label",
    "aria-hidden",
    "type",
    "placeholder",
    "value",
    "checked",
    "title",
    "tabindex",
    "viewBox",
    "preserveAspectRatio",
    "x",
    "y",
    "width",
    "height",
];

/// What stands in the page between its frame: without the style sheet and the script.
fn contents(page: &str) -> &str {
    let (_, rest) = page.split_once("<header>").unwrap();
    rest.split_once("<script>").unwrap().0
}

/// The contents without what events say, which is up to the kinds of events.
fn frame(page: &str) -> String {
    let (first, rest) = contents(page).split_once("<pre>").unwrap();
    let rest = rest
        .split("<pre>")
        .map(|it| it.split_once("</pre>").unwrap().1);
    rest.fold(first.to_owned(), |frame, it| frame + "<pre>…</pre>" + it)
}

#[tokio::test]
async fn a_page_holds_every_event_once_and_its_loops_and_turns() {
    let events = full_session();
    let page = page(&events).await;
    let mut ids = checked(&page);
    ids.sort_unstable();
    assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
    insta::assert_snapshot!(frame(&page));
}

#[tokio::test]
async fn branches_stand_side_by_side_in_their_order_on_one_axis() {
    let page = page(&full_session()).await;
    let (_, group) = page.split_once("<div class=\"branches\">").unwrap();
    let loops: Vec<&str> = group
        .split("<section class=\"loop")
        .skip(1)
        .map(|it| {
            it.split("<h2><span>")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(loops, ["s1.default.2", "s1.default.3"]);
    assert!(group.contains("<section class=\"loop winner\" id=\"l2\">"));
}

#[tokio::test]
async fn tokens_cost_and_what_the_time_went_into_are_added_up() {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let identity = Identity {
        protocol: "p",
        provider: "p",
    };
    let mut target = Target::new(identity, "m");
    target.price = Some(Price {
        input_usd: 10.0,
        output_usd: 0.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    });
    let surface = SurfaceChanged {
        models: Some([target].into()),
        ..SurfaceChanged::default()
    };
    script.event(1, EventKind::SurfaceChanged(surface.into()));
    script.say(1, 1, Message::User(user("Go.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    script.fail(1, 1, usage(1_000, 0));
    script.model(1, 2);
    let look = call("c0", "look", "{}");
    let said = answer("", std::slice::from_ref(&look), usage(2_000, 30));
    script.say(1, 1, Message::Assistant(said), None);
    let seq = script.run(1, 0, &look, EffectClass::Pure);
    script.event(1, EventKind::Extension(fact("note", "1")));
    script.result(1, 0, Some(seq), "seen");
    script.end_turn(1, 1, usage(3_000, 30));
    script.end(1, Outcome::Completed {}, usage(3_000, 30));
    let page = page(&script.events).await;
    for told in [
        "<dt>Tokens</dt><dd>3,000 in, 30 out tokens</dd>",
        "<dt>Cost</dt><dd>$0.0300</dd>",
        "<dt>Tool calls</dt><dd>1</dd>",
        "<dt>Failed attempts</dt><dd>1</dd>",
        "<li class=\"model\">model <b>2.00 s</b></li>",
        "<li class=\"tool\">tools <b>2.00 s</b></li>",
        "<li class=\"retry\">wait before retry <b>1.00 s</b></li>",
        "<li class=\"rest\">rest <b>7.00 s</b></li>",
        "<a class=\"session\" href=\"child.html\"",
    ] {
        assert!(page.contains(told), "no {told} in {}", contents(&page));
    }
}

#[tokio::test]
async fn a_changed_context_is_told_in_words() {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    for kind in [
        r#"{"type":"context_pruned","by":{"type":"call","effect":{"loop_id":"s1.default.1","seq":9}},
            "results":[],"tokens":4000}"#,
        r#"{"type":"context_reverted","by":{"type":"caller"},"to":"n4","category":"dead_end",
            "summary":"That file is empty.","block":{"first":5,"count":2,"replacement":[]},
            "tokens":1}"#,
        r#"{"type":"context_restored","by":{"type":"caller"},
            "overlay":{"loop_id":"s1.default.1","seq":3},"tokens":50}"#,
    ] {
        script.event(1, serde_json::from_str(kind).unwrap());
    }
    let page = page(&script.events).await;
    for row in [
        "<b>pruned</b> 0 results, by the model; the model reads 4,000 tokens</span>",
        "<b>reverted</b> 2 entries after n4, dead end: That file is empty., by the caller; the model reads 1 token</span>",
        "<b>restored</b> what s1.default.1#3 hid, by the caller; the model reads 50 tokens</span>",
    ] {
        assert!(page.contains(row), "{row}");
    }
}

#[tokio::test]
async fn a_large_output_is_cut_with_a_note() {
    let mut script = Script::new();
    script.fact(extension_of(&"x".repeat(10 << 20)));
    let page = page(&script.events).await;
    assert!(page.len() < 200_000, "{}", page.len());
    assert!(page.contains("more bytes)"), "{}", contents(&page));
    assert_eq!(checked(&page), [1, 2]);
}

#[tokio::test]
async fn loops_that_ran_at_once_and_do_not_fit_in_memory_are_whole_and_apart() {
    let mut script = Script::new();
    for n in 1..=4 {
        script.start(n, None, Continuation::Initial);
    }
    let text = "y".repeat(70_000);
    for _ in 0..50 {
        for n in 1..=4 {
            script.event(n, extension_of(&text));
        }
    }
    let page = page(&script.events).await;
    let ids = checked(&page);
    let of_loop = |n: u64| std::iter::once(n + 1).chain((0..50).map(move |it| 6 + 4 * it + n - 1));
    let expected: Vec<u64> = std::iter::once(1)
        .chain((1..=4).flat_map(of_loop))
        .collect();
    assert_eq!(ids, expected);
}

fn fact(name: &str, data: &str) -> Extension {
    Extension {
        namespace: name.to_owned(),
        name: name.to_owned(),
        data: RawJson::parse(data).unwrap(),
    }
}

/// A session in which a text stands wherever a text can stand.
fn session_of(text: &str) -> Vec<Event> {
    let mut script = Script::new();
    let text_json = serde_json::to_string(text).unwrap();
    script.events[0].kind = EventKind::SessionStarted(SessionStarted {
        agent: Some(text.into()),
        ..crate::scene::started()
    });
    script.fact(EventKind::Recovered(Recovered::TornTail {
        bytes: 1,
        moved_to: text.to_owned(),
    }));
    script.fact(EventKind::Unknown(
        RawJson::parse(&format!(
            "{{\"type\":{text_json},{text_json}:[{text_json}]}}"
        ))
        .unwrap(),
    ));
    let loops = vec![loop_id(1)];
    script.fact(EventKind::BranchesStarted(BranchesStarted {
        loops: loops.clone(),
    }));
    script.start(1, None, Continuation::Branch);
    let target = Target::new(
        Identity {
            protocol: text,
            provider: text,
        },
        text,
    );
    let surface = SurfaceChanged {
        system: Some(text.into()),
        models: Some([target].into()),
        ..SurfaceChanged::default()
    };
    script.event(1, EventKind::SurfaceChanged(surface.into()));
    script.say(1, 1, Message::User(user(text)), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let named = call(text, text, text);
    let said = answer(text, std::slice::from_ref(&named), usage(1, 1));
    let message = Message::Assistant(said);
    let added = MessageAdded {
        message,
        turn: 1,
        queued: None,
    };
    script.event(1, EventKind::Message(added));
    script.event(
        1,
        EventKind::ApprovalRequested(ApprovalRequested {
            index: 0,
            call: named.clone(),
            question: text.to_owned(),
        }),
    );
    let started = script.run(1, 0, &named, EffectClass::Pure);
    script.event(
        1,
        EventKind::ToolEnded(ToolEnded {
            index: 0,
            call_id: text.into(),
            started: Some(started),
            ending: ToolEnding::Failed,
            result: ToolResult::text(text).with_details(text).into(),
            child: None,
            spent: None,
        }),
    );
    script.event(1, EventKind::Extension(fact(text, &text_json)));
    script.event(
        1,
        EventKind::LoopStuck(LoopStuck {
            tool: text.into(),
            times: 1,
            period: 2,
        }),
    );
    let cause = StopCause::Stop {
        reason: text.to_owned(),
    };
    script.event(1, EventKind::StopRequested(StopRequested { cause }));
    let error = ProviderError::new(ProviderErrorKind::Protocol, text);
    let error = LoopError::Provider { error };
    script.end(1, Outcome::Failed { error }, usage(1, 1));
    script.fact(EventKind::BranchSelected(Arc::new(BranchSelected {
        loops,
        winner: None,
        strategy: text.to_owned(),
        scores: Vec::new(),
        usage: None,
    })));
    script.events
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("</script><script>alert(1)</script>".to_owned()),
        Just("</style></pre></div></details>".to_owned()),
        Just("<!--".to_owned()),
        Just("]]>".to_owned()),
        Just("\"><img src=x onerror=alert(1)>".to_owned()),
        Just("' onclick='alert(1)".to_owned()),
        Just("&lt;b&#x3e;".to_owned()),
        Just("\u{202e}\u{2066}\u{200b}\u{0}\u{1b}[2J\r\u{85}\u{2028}".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        Just("\\u003c/script\\u003e".to_owned()),
        Just("\n\n".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_log_breaks_out_of_its_page(text in hostile()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events = session_of(&text);
        let page = runtime.block_on(page(&events));
        let ids: BTreeSet<u64> = checked(&page).into_iter().collect();
        prop_assert_eq!(ids, (1..=events.len() as u64).collect::<BTreeSet<_>>());
    }
}

#[tokio::test]
async fn a_session_that_is_not_there_has_no_page() {
    let mut page = Vec::new();
    let error = write_timeline(&MemoryStore::new(), &session(), &mut page)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("s1"), "{error}");
    assert!(page.is_empty());
}
