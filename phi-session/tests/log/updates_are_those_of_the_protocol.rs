//! Every kind of event and every live increment is a session update of the protocol or none, as the
//! tables of `docs/event-stream.md` say.
//!
//! `phi-session/acp` checks the updates that are made here against the protocol's own types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::scene::{Script, answer, call, full_session, loop_id, usage, user};
use phi_session::Update;
use phi_session::acp::{Client, PLAN_NAME, PLAN_NAMESPACE, Updates, UserMessages};
use phi_types::{
    AssistantMessage, AssistantPart, CacheBroken, Content, Continuation, Delta, EarlyStart,
    EffectClass, EffectId, Event, EventKind, Extension, FilterVerdict, Finish, ImageSource,
    Increment, InputFiltered, LimitKind, LimitReached, Live, Message, OpaqueDelta, PartEnded,
    PartFactsDelta, RawJson, RequestPart, Started, StopReason, SurfaceChanged, ThinkingPart,
    ToolEnded, ToolEnding, ToolProgress, ToolResult, ToolSpec, ToolStarted, TurnTrigger, Usage,
    UserMessage,
};

fn client() -> Client {
    Client {
        notices: true,
        compaction: true,
        user_messages: UserMessages::Told,
        root: Some("/project".into()),
    }
}

fn effect(n: u32, seq: u64) -> EffectId {
    let loop_id = loop_id(n);
    EffectId { loop_id, seq }
}

fn delta(seq: u64, delta: Delta) -> Live {
    Live {
        effect: effect(1, seq),
        index: 0,
        increment: Increment::Delta(delta),
    }
}

/// A session with a window, a plan, an image and a file, for what `full_session` does not tell.
fn further_session() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let models = r#"[{"protocol":"p","provider":"p","model":"m","window_tokens":1000,
        "price":{"input_usd":2.0,"output_usd":0.0,"cache_read_usd":0.0,"cache_write_usd":0.0}}]"#;
    let tools = r#"[{"name":"read_file","description":"","input_schema":{},"kind":"read","effect_class":"pure"}]"#;
    let tools: Vec<ToolSpec> = serde_json::from_str(tools).unwrap();
    script.event(
        1,
        EventKind::SurfaceChanged(std::sync::Arc::new(SurfaceChanged {
            models: Some(serde_json::from_str(models).unwrap()),
            tools: Some(tools.into()),
            ..SurfaceChanged::default()
        })),
    );
    let image = |source| Content::Image {
        media_type: "image/png".to_owned(),
        source,
    };
    let content = vec![
        image(ImageSource::Base64("aGk=".to_owned())),
        image(ImageSource::Url("https://a.example/b.png".to_owned())),
    ];
    script.say(1, 1, Message::User(UserMessage { content }.into()), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    for verdict in [
        FilterVerdict::Passed {},
        FilterVerdict::Rejected {
            reason: "not here".to_owned(),
        },
    ] {
        let filtered = InputFiltered {
            queued: None,
            verdict,
            rejected: Vec::new(),
        };
        script.event(1, EventKind::InputFiltered(filtered));
    }
    let part = RequestPart::Tools {};
    script.event(1, EventKind::CacheBroken(CacheBroken { part }));
    script.model(1, 1);
    let read = call("c0", "read_file", r#"{"path":"a.txt"}"#);
    let mut said = AssistantMessage::clone(&answer(
        "I look.",
        std::slice::from_ref(&read),
        usage(500, 10),
    ));
    let thinking = ThinkingPart {
        text: "Hm.".to_owned(),
        ..ThinkingPart::default()
    };
    said.parts.insert(0, AssistantPart::Thinking(thinking));
    script.say(1, 1, Message::Assistant(said.into()), None);
    let seq = script.run(1, 0, &read, EffectClass::Pure);
    script.result(1, 0, Some(seq), "text");
    let plan = json!({ "entries": [
        { "content": "Look", "priority": "high", "status": "in_progress" },
    ] });
    script.event(
        1,
        EventKind::Extension(Extension {
            namespace: PLAN_NAMESPACE.to_owned(),
            name: PLAN_NAME.to_owned(),
            data: RawJson::from_value(&plan).unwrap(),
        }),
    );
    script.end_turn(1, 1, usage(500, 10));
    let limit = LimitKind::Tokens;
    let reached = LimitReached { limit, index: None };
    script.event(1, EventKind::LimitReached(reached));
    for kind in [
        r#"{"type":"context_pruned","by":{"type":"caller"},"results":[],"tokens":40}"#,
        r#"{"type":"context_reverted","by":{"type":"caller"},"to":"n0","category":"superseded",
            "summary":"No.","block":{"first":1,"count":2,"replacement":[]},"tokens":30}"#,
        r#"{"type":"context_restored","by":{"type":"caller"},
            "overlay":{"loop_id":"s1.default.1","seq":18},"tokens":50}"#,
    ] {
        script.event(1, serde_json::from_str(kind).unwrap());
    }
    script.events
}

/// A session whose calls change files: an edit, a new file, one that was there, and an edit that fails.
fn writing_session() -> Vec<Event> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let tool = |name: &str| -> ToolSpec {
        let spec = json!({ "name": name, "description": "", "input_schema": {}, "kind": "edit",
            "effect_class": "idempotent" });
        serde_json::from_value(spec).unwrap()
    };
    let tools = [tool("edit_file"), tool("write_file")];
    script.event(
        1,
        EventKind::SurfaceChanged(std::sync::Arc::new(SurfaceChanged {
            tools: Some(tools.into()),
            ..SurfaceChanged::default()
        })),
    );
    script.say(1, 1, Message::User(user("Change.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let edit = r#"{"path":"a.txt","edits":[{"old_text":"one","new_text":"two"},
        {"old_text":"","new_text":"!"}]}"#;
    let calls = [
        ("edit_file", edit, Some(r#"{"path":"a.txt","lines":[3,9]}"#)),
        (
            "write_file",
            r#"{"path":"/b.txt","content":"new"}"#,
            Some(r#"{"created":true}"#),
        ),
        (
            "write_file",
            r#"{"path":"c.txt","content":"old"}"#,
            Some(r#"{"created":false}"#),
        ),
        ("edit_file", edit, None),
    ];
    let made: Vec<_> = calls
        .iter()
        .map(|(name, arguments, _)| call("c", name, arguments))
        .collect();
    let said = answer("", &made, usage(1, 1));
    script.say(1, 1, Message::Assistant(said), None);
    for (index, (call, (_, _, details))) in (0..).zip(made.iter().zip(calls)) {
        let started = script.run(1, index, call, EffectClass::Idempotent);
        let ending = match details {
            Some(_) => ToolEnding::Finished,
            None => ToolEnding::Failed,
        };
        let mut result = ToolResult::text("said");
        result.details = details.map(|it| RawJson::parse(it).unwrap());
        let ended = ToolEnded {
            index,
            call_id: "c".into(),
            started: Some(started),
            ending,
            result: result.into(),
            child: None,
            spent: None,
        };
        script.event(1, EventKind::ToolEnded(ended));
    }
    script.events
}

#[test]
fn a_call_tells_what_it_replaces_and_what_it_made() {
    let mut updates = Updates::new(client());
    let told = writing_session()
        .iter()
        .flat_map(|it| updates.event(it))
        .collect::<Vec<_>>();
    let of = |place: usize, tag: &str| -> Vec<&Value> {
        let id = format!("/{place}");
        let of_call = told.iter().filter(|it| {
            let is_its = it["toolCallId"]
                .as_str()
                .is_some_and(|it| it.ends_with(&id));
            is_its && it["sessionUpdate"] == tag
        });
        of_call.collect()
    };
    let text = json!({ "type": "content", "content": { "type": "text", "text": "said" } });
    let diff = |old: &str, new: &str| json!({ "type": "diff", "path": "/project/a.txt", "oldText": old, "newText": new });
    let edits = [diff("one", "two"), diff("", "!")];
    // Before it runs, so that a user who is asked sees it, and after it.
    assert_eq!(of(0, "tool_call")[0]["content"], json!(edits));
    let [running, ended] = of(0, "tool_call_update")[..] else {
        panic!("{told:?}")
    };
    assert_eq!(running["content"], json!(edits));
    let [first, second] = edits;
    assert_eq!(ended["content"], json!([first, second, text]));
    let place = |line: u32| json!({ "path": "/project/a.txt", "line": line });
    assert_eq!(ended["locations"], json!([place(3), place(9)]));

    let new = json!({ "type": "diff", "path": "/b.txt", "newText": "new" });
    assert_eq!(of(1, "tool_call")[0]["content"], Value::Null);
    assert_eq!(of(1, "tool_call_update")[1]["content"], json!([new, text]));
    // Nobody knows what was there before, and what failed has changed nothing.
    for place in [2, 3] {
        assert_eq!(of(place, "tool_call_update")[1]["content"], json!([text]));
    }
}

#[test]
fn a_diff_that_is_too_long_or_of_no_known_place_is_not_told() {
    let told = |root: Option<&str>, length: usize| {
        let root = root.map(Into::into);
        let mut updates = Updates::new(Client { root, ..client() });
        let mut events = writing_session();
        for event in &mut events {
            if let EventKind::ToolStarted(started) = &mut event.kind {
                let edits = json!([{ "old_text": "x".repeat(length), "new_text": "" }]);
                let arguments = json!({ "path": "a.txt", "edits": edits }).to_string();
                started.call = call("c", &started.call.name, &arguments);
            }
        }
        let told = events.iter().flat_map(|it| updates.event(it));
        let running = told.filter(|it| it["status"] == "in_progress");
        running.filter(|it| it["content"].is_array()).count()
    };
    assert_eq!(told(Some("/project"), 256 << 10), 4);
    assert_eq!(told(Some("/project"), (256 << 10) + 1), 0);
    assert_eq!(told(None, 1), 0);
}

fn tag_of(kind: &impl serde::Serialize) -> String {
    let kind = serde_json::to_value(kind).unwrap();
    kind["type"].as_str().unwrap().to_owned()
}

fn tag_of_update(update: &Value) -> String {
    update["sessionUpdate"].as_str().unwrap().to_owned()
}

/// What the examples of each kind come to.
type Told = BTreeMap<String, Vec<Value>>;

fn told_by_events() -> Told {
    let mut told = Told::new();
    for events in [full_session(), further_session(), writing_session()] {
        let mut updates = Updates::new(client());
        for event in &events {
            let kind = tag_of(&event.kind);
            told.entry(kind).or_default().extend(updates.event(event));
        }
    }
    told.remove("from_the_future");
    told
}

fn told_by_increments() -> Told {
    let events = further_session();
    let is_start = |event: &&Event| matches!(event.kind, EventKind::ToolStarted(_));
    let started = events.iter().position(|event| is_start(&event)).unwrap();
    let mut updates = Updates::new(client());
    for event in &events[..=started] {
        updates.event(event);
    }
    let seq = events[started].seq;
    let text = "three lines".to_owned();
    let progress = Increment::Progress(ToolProgress { text });
    let deltas = [
        Delta::Started(Started::default()),
        Delta::text(0, "a"),
        Delta::thinking(1, "b"),
        Delta::tool_call(2, "c", "d"),
        Delta::arguments(2, "{}"),
        Delta::PartFacts(PartFactsDelta {
            part: 1,
            facts: phi_types::PartFacts::default(),
        }),
        Delta::Opaque(OpaqueDelta {
            part: 3,
            kind: "e".to_owned(),
            data: RawJson::empty_object(),
        }),
        Delta::PartEnded(PartEnded { part: 0 }),
        Delta::Usage(Usage::default()),
        Delta::Finish(Finish {
            stop_reason: StopReason::EndTurn,
            raw: None,
        }),
    ];
    // The progress comes first: a delta of a later model call ends what ran before it.
    let increments = std::iter::once(progress).chain(deltas.map(Increment::Delta));
    let told = increments.map(|increment| {
        let kind = tag_of(&increment);
        let is_delta = matches!(increment, Increment::Delta(_));
        let effect = effect(1, seq + u64::from(is_delta));
        let live = Live {
            effect,
            index: 0,
            increment,
        };
        (kind, updates.live(&live).into_iter().collect())
    });
    told.collect()
}

fn tags(told: &Told) -> BTreeMap<String, BTreeSet<String>> {
    let tags = |updates: &Vec<Value>| updates.iter().map(tag_of_update).collect();
    told.iter()
        .map(|(kind, updates)| (kind.clone(), tags(updates)))
        .collect()
}

const TABLES: &str = include_str!("../../../docs/event-stream.md");

/// The rows of a table below a heading: its name, and the words of the second cell.
fn table(heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut lines = TABLES.lines();
    assert!(lines.any(|line| line == heading), "no heading {heading:?}");
    let section = lines.take_while(|line| !line.starts_with('#'));
    let rows = section.filter(|line| line.starts_with('|')).skip(2);
    let mut table = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let words = cells[2].split('`').skip(1).step_by(2).map(str::to_owned);
        let words: BTreeSet<String> = words.collect();
        assert_eq!(words.is_empty(), cells[2] == "none", "{row}");
        let name = cells[1].trim_matches('`').to_owned();
        assert!(table.insert(name, words).is_none(), "twice: {row}");
    }
    table
}

fn names(tags: &[&str]) -> BTreeSet<String> {
    tags.iter().map(|&tag| tag.to_owned()).collect()
}

#[test]
fn every_kind_of_event_is_told_as_its_table_says() {
    let told = told_by_events();
    let known: BTreeSet<String> = told.keys().cloned().collect();
    assert_eq!(
        known,
        names(EventKind::TAGS),
        "every kind has an example here"
    );
    assert_eq!(tags(&told), table("### Events"));
}

#[test]
fn every_live_increment_is_told_as_its_table_says() {
    let told = told_by_increments();
    let known: BTreeSet<String> = told.keys().cloned().collect();
    let mut wanted = names(Delta::TAGS);
    wanted.insert("tool_progress".to_owned());
    assert_eq!(known, wanted, "every increment has an example here");
    assert_eq!(tags(&told), table("### Live increments"));
}

#[test]
fn every_observation_of_other_runtimes_is_told_by_kinds_that_exist() {
    let table = table("## Observations of agent runtimes");
    let wanted = [
        "message chunk",
        "thought chunk",
        "tool call",
        "tool call update",
        "plan",
        "turn start",
        "turn end",
        "feedback injected",
        "budget exhausted",
        "loop stuck",
        "watchdog tripped",
        "skill activated",
        "skill deactivated",
        "skill tool scope",
        "tool search query",
        "tool search result",
        "transcript compacted",
        "handoff",
    ];
    assert_eq!(
        table.keys().cloned().collect::<BTreeSet<_>>(),
        names(&wanted)
    );
    let mut exist = names(EventKind::TAGS);
    exist.append(&mut names(Delta::TAGS));
    exist.insert("tool_progress".to_owned());
    for (observation, kinds) in table {
        assert!(!kinds.is_empty(), "{observation} is told by nothing");
        let unknown: Vec<_> = kinds.difference(&exist).collect();
        assert!(unknown.is_empty(), "{observation}: {unknown:?}");
    }
}

#[test]
fn the_updates_that_the_protocol_is_asked_about_are_these() {
    let golden = include_str!("../golden/session-updates.jsonl");
    let golden: Vec<Value> = golden
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let (by_events, by_increments) = (told_by_events(), told_by_increments());
    let told = by_events.values().chain(by_increments.values());
    let told: Vec<Value> = told.flatten().cloned().collect();
    let lines: Vec<String> = told.iter().map(Value::to_string).collect();
    assert_eq!(told, golden, "the file must be\n{}", lines.join("\n"));
}

/// The chunks that a client shows, by message: what it is, whose, and the text so far.
fn shown(updates: &[Value]) -> Vec<(String, String, String)> {
    let mut shown: Vec<(String, String, String)> = Vec::new();
    for update in updates {
        let (Some(id), Some(tag)) = (
            update["messageId"].as_str(),
            update["sessionUpdate"].as_str(),
        ) else {
            continue;
        };
        let text = update["content"]["text"].as_str().unwrap_or("(image)");
        match shown.iter_mut().find(|it| it.0 == id && it.1 == tag) {
            Some(message) => message.2.push_str(text),
            None => shown.push((id.to_owned(), tag.to_owned(), text.to_owned())),
        }
    }
    shown
}

/// A turn whose first attempt fails after it said something, and what a client is told of it when
/// these of its increments arrive.
fn told_with(increments: impl Fn(u64) -> bool) -> Vec<(String, String, String)> {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Go.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let first = script.events.len();
    script.fail(1, 1, usage(1, 1));
    script.model(1, 2);
    let second = script.events.len();
    script.say(
        1,
        1,
        Message::Assistant(answer("One two.", &[], usage(1, 1))),
        None,
    );
    let (mut updates, mut told) = (Updates::new(Client::default()), Vec::new());
    for (place, event) in script.events.iter().enumerate() {
        let lives = match place {
            it if it == first => vec![delta(4, Delta::text(0, "Half an ans"))],
            it if it == second => ["One ", "two", "."]
                .map(|text| delta(6, Delta::text(0, text)))
                .to_vec(),
            _ => Vec::new(),
        };
        for (n, live) in (0..).zip(lives) {
            if increments(n) {
                told.extend(updates.update(&Update::Live(live)));
            }
        }
        told.extend(updates.event(event));
    }
    shown(&told)
}

fn chunk(id: &str, tag: &str, text: &str) -> (String, String, String) {
    (
        format!("s1.default.1/{id}"),
        tag.to_owned(),
        text.to_owned(),
    )
}

#[test]
fn text_that_was_told_as_it_came_is_not_told_again() {
    let wanted = [
        chunk("2", "user_message_chunk", "Go."),
        chunk("4", "agent_message_chunk", "Half an ans"),
        chunk("6", "agent_message_chunk", "One two."),
    ];
    assert_eq!(told_with(|_| true), wanted);
}

#[test]
fn text_that_never_came_is_told_by_its_message() {
    let wanted = [
        chunk("2", "user_message_chunk", "Go."),
        chunk("6", "agent_message_chunk", "One two."),
    ];
    assert_eq!(told_with(|_| false), wanted);
}

#[test]
fn text_that_came_with_holes_is_told_whole_as_a_message_of_its_own() {
    let wanted = [
        chunk("2", "user_message_chunk", "Go."),
        chunk("4", "agent_message_chunk", "Half an ans"),
        chunk("6", "agent_message_chunk", "One ."),
        chunk("7", "agent_message_chunk", "One two."),
    ];
    assert_eq!(told_with(|n| n != 1), wanted);
}

#[test]
fn a_client_is_told_only_what_it_can_take_and_does_not_know() {
    let mut updates = Updates::new(Client {
        user_messages: UserMessages::Known,
        ..Client::default()
    });
    let told = full_session()
        .iter()
        .flat_map(|it| updates.event(it))
        .collect::<Vec<_>>();
    let tags: BTreeSet<&str> = told
        .iter()
        .map(|it| it["sessionUpdate"].as_str().unwrap())
        .collect();
    let wanted = ["agent_message_chunk", "tool_call", "tool_call_update"];
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_call_has_one_id_from_its_message_to_its_result_and_names_its_file() {
    let mut updates = Updates::new(client());
    let told = further_session()
        .iter()
        .flat_map(|it| updates.event(it))
        .collect::<Vec<_>>();
    let calls: Vec<&Value> = told
        .iter()
        .filter(|it| it["toolCallId"].is_string())
        .collect();
    let id = "s1.default.1/8/0";
    let common = json!({
        "toolCallId": id,
        "title": "read_file {\"path\":\"a.txt\"}",
        "name": "read_file",
        "kind": "read",
        "rawInput": { "path": "a.txt" },
        "locations": [{ "path": "/project/a.txt" }],
    });
    let with = |tag: &str, status: Option<&str>| {
        let mut it = common.clone();
        it["sessionUpdate"] = tag.into();
        if let Some(status) = status {
            it["status"] = status.into();
        }
        it
    };
    let content = json!([{ "type": "content", "content": { "type": "text", "text": "text" } }]);
    let ended = json!({
        "sessionUpdate": "tool_call_update",
        "toolCallId": id,
        "status": "completed",
        "content": content,
    });
    let wanted = [
        with("tool_call", None),
        with("tool_call_update", Some("in_progress")),
        ended,
    ];
    assert_eq!(calls.into_iter().cloned().collect::<Vec<_>>(), wanted);
    let usage = told.iter().find(|it| it["sessionUpdate"] == "usage_update");
    let wanted = json!({
        "sessionUpdate": "usage_update",
        "used": 510,
        "size": 1000,
        "cost": { "amount": 0.001, "currency": "USD" },
    });
    assert_eq!(usage, Some(&wanted));
}

#[test]
fn a_call_that_starts_before_its_message_is_told_once_wherever_it_stands_in_it() {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Go.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let (first, second) = (call("c0", "a", "{}"), call("c1", "b", "{}"));
    let seq = script.event(
        1,
        EventKind::ToolStarted(ToolStarted {
            index: 0,
            call: second.clone(),
            effect_class: EffectClass::Pure,
            early: Some(EarlyStart {
                attempt: 1,
                part: 4,
            }),
        }),
    );
    let said = answer("", &[first, second], usage(1, 1));
    script.say(1, 1, Message::Assistant(said), None);
    script.result(1, 1, Some(seq), "of b");
    script.result(1, 0, None, "of a");
    let mut updates = Updates::new(Client::default());
    let told = script.events.iter().flat_map(|it| updates.event(it));
    let told: Vec<(String, String)> = told
        .filter(|it| it["toolCallId"].is_string())
        .map(|it| {
            (
                tag_of_update(&it),
                it["toolCallId"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let wanted = [
        ("tool_call", "s1.default.1/5/early"),
        ("tool_call", "s1.default.1/4/0"),
        ("tool_call_update", "s1.default.1/5/early"),
        ("tool_call_update", "s1.default.1/4/0"),
    ];
    let wanted = wanted.map(|(tag, id)| (tag.to_owned(), id.to_owned()));
    assert_eq!(told, wanted);
}
