//! The record of a session follows from its events alone, however often and in what pieces they come.

use std::collections::HashMap;
use std::sync::Arc;

use crate::scene::{Scratch, Script, answer, call, full_session, loop_id, session, usage, user};
use phi_session::{
    IllegalSequence, MemoryStore, NoticeKind, Recorded, Session, SessionRecorder, Status, Store,
    load,
};
use phi_types::{
    Continuation, EarlyStart, EffectClass, Event, EventKind, Message, Outcome, ToolEnded,
    ToolEnding, ToolResult, ToolStarted, TurnTrigger,
};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

fn fold(events: &[Event]) -> Session {
    let mut recorder = SessionRecorder::new(session());
    for event in events {
        assert_eq!(recorder.record(event), Ok(Recorded::Applied), "{event:?}");
    }
    recorder.into_session()
}

#[test]
fn a_full_session_is_recorded_as_it_was() {
    let record = fold(&full_session());
    assert_eq!(record.agent.as_deref(), Some("coder"));
    assert_eq!(
        (record.loops.len(), record.turns(), record.status()),
        (3, 4, Status::Completed)
    );
    assert_eq!(record.usage(), usage(78, 11));
    assert!(record.ended_at.is_some() && record.created_at < record.updated_at);
    assert_eq!(record.recoveries.len(), 1);
    assert_eq!(record.groups[0].winner, Some(loop_id(3)));
    assert!(record.groups[0].started_at < record.groups[0].selected_at);
    // Branch 3 was chosen, although it neither began nor ended last.
    assert_eq!(record.newest_loop().unwrap().id, loop_id(3));

    let first = &record.loops[0];
    assert_eq!(
        (first.status(), first.usage()),
        (Status::Completed, usage(77, 10))
    );
    assert_eq!(first.metadata().unwrap().as_str(), r#"{"task": "t-1"}"#);
    let [one, two] = &first.turns[..] else {
        panic!("two turns")
    };
    assert_eq!(
        (one.trigger, two.trigger),
        (TurnTrigger::Prompt, TurnTrigger::Steering)
    );
    assert_eq!(
        (&one.input, &two.input),
        (&vec![user("Fix it.")], &vec![user("Faster.")])
    );
    assert_eq!((one.usage, two.usage), (usage(30, 5), usage(47, 5)));
    assert!(one.attempts[0].failed.is_some() && one.attempts[1].failed.is_none());
    assert!(
        one.attempts
            .iter()
            .all(|attempt| attempt.ended_at.is_some())
    );
    assert_eq!(one.answer.as_ref().unwrap().text(), "I look.");
    let [ran, denied] = &one.calls[..] else {
        panic!("two calls")
    };
    assert_eq!(
        ran.run.as_ref().unwrap().effect_class,
        EffectClass::AtMostOnce
    );
    assert_eq!(ran.end.as_ref().unwrap().ending, ToolEnding::Finished);
    assert_eq!(
        ran.end.as_ref().unwrap().child.as_ref().unwrap().as_str(),
        "child"
    );
    assert!(denied.run.is_none() && denied.approvals[0].answer.is_some());
    assert_eq!(denied.end.as_ref().unwrap().ending, ToolEnding::Denied);
    assert_eq!(first.compactions[0].ended.as_ref().unwrap().0.entries, 3);
    assert!(matches!(first.notices[0].kind, NoticeKind::Restart));
    assert_eq!(first.notices.len(), 3);

    // user, answer, results, user, answer; the compaction made one entry of two in the view.
    assert_eq!(
        (
            first.transcript.history().len(),
            first.transcript.view().len()
        ),
        (5, 4)
    );
    let branch = &record.loops[2].transcript;
    assert_eq!((branch.history().len(), branch.view().len()), (7, 6));
    assert_eq!(record.loops[1].outcome, Some(Outcome::Cancelled {}));
}

#[test]
fn the_line_of_a_list_has_the_keys_that_scripts_rely_on() {
    let line = serde_json::to_string(&fold(&full_session()).summary()).unwrap();
    let expected = r#"{"id":"s1","created_at":"2023-11-14T22:13:20Z","updated_at":"UPDATED","loops":3,"turns":4,"status":"completed","usage":{"input_tokens":78,"cache_read_tokens":null,"cache_write_tokens":null,"output_tokens":11,"reasoning_tokens":null}}"#;
    let updated = full_session().last().unwrap().at;
    let updated = serde_json::to_string(&updated).unwrap();
    assert_eq!(line, expected.replace("\"UPDATED\"", &updated));
}

#[test]
fn events_that_come_twice_change_nothing() {
    let events = full_session();
    let expected = fold(&events);
    let mut recorder = SessionRecorder::new(session());
    for (at, event) in events.iter().enumerate() {
        assert_eq!(recorder.record(event), Ok(Recorded::Applied));
        for earlier in &events[..=at] {
            assert_eq!(recorder.record(earlier), Ok(Recorded::Repeated));
        }
    }
    assert_eq!(recorder.session(), &expected);
    assert_eq!(recorder.loop_record(&loop_id(2)).unwrap().id, loop_id(2));
}

#[test]
fn the_order_between_streams_does_not_matter() {
    let events = full_session();
    let expected = fold(&events);
    // The session's own events first, then each loop to its end.
    let mut sorted = events.clone();
    sorted.sort_by_key(|event| (event.loop_id.clone(), event.seq));
    assert_ne!(sorted, events);
    assert_eq!(fold(&sorted), expected);
}

#[test]
fn an_illegal_event_is_refused_and_leaves_the_record_as_it_was() {
    let events = full_session();
    for (at, event) in events.iter().enumerate() {
        let mut recorder = SessionRecorder::new(session());
        for event in &events[..at] {
            recorder.record(event).unwrap();
        }
        let before = recorder.session().clone();
        let mut gap = event.clone();
        gap.seq += 1;
        let mut zero = event.clone();
        zero.seq = 0;
        let mut foreign = event.clone();
        foreign.session = phi_types::SessionId::new("s2").unwrap();
        let mut misplaced = event.clone();
        misplaced.loop_id = match &event.loop_id {
            Some(_) => None,
            None => Some(loop_id(9)),
        };
        misplaced.seq = if event.loop_id.is_some() {
            recorder.session_seq() + 1
        } else {
            1
        };
        for illegal in [gap, zero, foreign, misplaced] {
            let is_open = matches!(
                illegal.kind,
                EventKind::Extension(_) | EventKind::Unknown(_) | EventKind::Recovered(_)
            );
            let refused = recorder.record(&illegal);
            if !is_open || illegal.seq == 0 {
                assert!(refused.is_err(), "{at}: {illegal:?}");
                assert_eq!(recorder.session(), &before, "{at}");
            }
        }
    }
}

#[test]
fn each_impossible_sequence_is_named() {
    let start = |script: &mut Script, n| script.start(n, None, Continuation::Initial);
    let refused = |write: &dyn Fn(&mut Script)| {
        let mut script = Script::new();
        write(&mut script);
        let mut recorder = SessionRecorder::new(session());
        let (last, before) = script.events.split_last().unwrap();
        for event in before {
            recorder.record(event).unwrap();
        }
        recorder.record(last).unwrap_err()
    };
    let twice = refused(&|script| {
        script.fact(EventKind::SessionStarted(crate::scene::started()));
    });
    assert_eq!(twice, IllegalSequence::SessionStartedTwice);
    let unstarted = refused(&|script| script.turn(1, 1, TurnTrigger::Prompt));
    assert_eq!(unstarted, IllegalSequence::LoopStart);
    let restarted = refused(&|script| {
        start(script, 1);
        start(script, 1);
    });
    assert_eq!(restarted, IllegalSequence::LoopStart);
    let orphan = refused(&|script| script.start(1, Some(4), Continuation::Default));
    assert_eq!(orphan, IllegalSequence::NoSuchParent(loop_id(4)));
    let undead = refused(&|script| {
        start(script, 1);
        script.end(1, Outcome::Completed {}, usage(0, 0));
        script.turn(1, 1, TurnTrigger::Prompt);
    });
    assert_eq!(undead, IllegalSequence::Ended);
    let turnless = refused(&|script| {
        start(script, 1);
        script.model(1, 1);
    });
    assert_eq!(turnless, IllegalSequence::NoTurn);
    let answered_twice = refused(&|script| {
        start(script, 1);
        script.turn(1, 1, TurnTrigger::Prompt);
        script.model(1, 1);
        let asked = [call("c", "bash", "{}"), call("c", "bash", "{}")];
        script.say(
            1,
            1,
            Message::Assistant(answer("", &asked, usage(1, 1))),
            None,
        );
        script.result(1, 0, None, "no");
        script.result(1, 0, None, "no");
    });
    assert!(
        matches!(answered_twice, IllegalSequence::Conversation(_)),
        "{answered_twice}"
    );
    let newer = refused(&|script| {
        script.events.clear();
        let started = phi_types::SessionStarted {
            format: 9,
            ..crate::scene::started()
        };
        *script = Script::default();
        script.fact(EventKind::SessionStarted(started));
    });
    assert!(matches!(
        newer,
        IllegalSequence::NewerFormat { found: 9, .. }
    ));
}

/// A legal session made of choices: loops one after the other, with turns, retries and calls.
fn session_of(choices: &[u8]) -> Vec<Event> {
    let mut script = Script::new();
    let mut choices = choices.iter().copied();
    let mut n = 0;
    while let Some(choice) = choices.next() {
        n += 1;
        let parent = (n > 1).then(|| u32::from(choice) % (n - 1) + 1);
        script.start(n, parent, Continuation::Default);
        for index in 1..=u32::from(choice % 4) {
            script.say(n, index, Message::User(user(&format!("{n} {index}"))), None);
            script.turn(n, index, TurnTrigger::Prompt);
            let failures = u32::from(choices.next().unwrap_or(0) % 3);
            for attempt in 1..=failures {
                script.model(n, attempt);
                script.fail(n, attempt, usage(1, 0));
            }
            script.model(n, failures + 1);
            let count = choices.next().unwrap_or(0) % 4;
            let calls: Vec<_> = (0..count)
                .map(|c| call(&format!("c{c}"), "bash", "{}"))
                .collect();
            let message = answer("text", &calls, usage(10, u64::from(count)));
            script.say(n, index, Message::Assistant(message), None);
            for (at, asked) in (0..).zip(&calls) {
                let runs = choices.next().unwrap_or(0) % 2 == 0;
                let ran = runs.then(|| script.run(n, at, asked, EffectClass::Pure));
                script.result(n, at, ran, "result");
            }
            script.end_turn(n, index, usage(10, u64::from(count)));
        }
        if choice % 5 != 0 {
            script.end(n, Outcome::Completed {}, usage(0, 0));
        }
    }
    script.events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn folding_on_equals_folding_anew_from_any_store(
        choices in proptest::collection::vec(any::<u8>(), 0..24),
        cut in any::<proptest::sample::Index>(),
    ) {
        let events = session_of(&choices);
        let expected = fold(&events);
        let cut = cut.index(events.len()) + 1;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (memory, files) = (MemoryStore::new(), Scratch::new().with_segment_bytes_max(3_000));
            files.keep(&events[..cut]).await;
            let EventKind::SessionStarted(started) = &events[0].kind else { panic!() };
            let writer = memory.create(&session(), started.clone(), events[0].at).await.unwrap();
            writer.append_batch(&events[1..cut]).await.unwrap();
            for store in [&memory as &dyn Store, &files.store] {
                // Goes on from what was stored, told a few events again.
                let mut recorder = load(store, &session()).await.unwrap();
                prop_assert_eq!(recorder.session(), &fold(&events[..cut]));
                for event in &events[cut.saturating_sub(3)..] {
                    recorder.record(event).unwrap();
                }
                prop_assert_eq!(recorder.session(), &expected);
            }
            let calls = expected.loops.iter().flat_map(|it| &it.turns).flat_map(|it| &it.calls);
            prop_assert!(calls.into_iter().all(|call| call.end.is_some()));
            Ok(())
        })?;
        let parents: HashMap<_, _> =
            expected.loops.iter().map(|it| (&it.id, it.transcript.history().len())).collect();
        for record in &expected.loops {
            let inherited = record.parent().map_or(0, |parent| parents[parent]);
            prop_assert!(record.transcript.history().len() >= inherited);
        }
    }
}

/// A call that starts while its attempt still speaks.
fn run_early(script: &mut Script, attempt: u32, index: u32) -> u64 {
    let (part, call) = (
        index,
        call("c0", "read_file", &format!("{{\"n\":{index}}}")),
    );
    let started = ToolStarted {
        index,
        call,
        effect_class: EffectClass::Pure,
        early: Some(EarlyStart { attempt, part }),
    };
    script.event(1, EventKind::ToolStarted(started))
}

fn end_early(script: &mut Script, index: u32, started: u64, ending: ToolEnding) {
    let ended = ToolEnded {
        index,
        call_id: "c0".into(),
        started: Some(started),
        ending,
        result: Arc::new(ToolResult::text("a file")),
        child: None,
        spent: None,
    };
    script.event(1, EventKind::ToolEnded(ended));
}

#[test]
fn a_call_that_started_early_belongs_to_its_answer_or_to_the_attempt_that_failed() {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Look.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let lost = run_early(&mut script, 1, 0);
    script.fail(1, 1, usage(1, 1));
    end_early(&mut script, 0, lost, ToolEnding::Discarded);
    script.model(1, 2);
    let first = run_early(&mut script, 2, 0);
    let second = run_early(&mut script, 2, 1);
    // The answer holds the second one alone, at the first place.
    let asked = call("c0", "read_file", "{\"n\":1}");
    let said = answer("I look.", &[asked], usage(2, 2));
    script.say(1, 1, Message::Assistant(said), None);
    end_early(&mut script, 0, second, ToolEnding::Finished);
    end_early(&mut script, 0, first, ToolEnding::Discarded);
    script.end_turn(1, 1, usage(3, 3));
    script.end(1, Outcome::Completed {}, usage(3, 3));

    let record = fold(&script.events);
    let turn = &record.loops[0].turns[0];
    let runs = |calls: &[phi_session::CallRecord]| -> Vec<(u64, ToolEnding)> {
        let runs = calls
            .iter()
            .map(|it| (it.run.as_ref().unwrap().seq, it.end.as_ref().unwrap()));
        runs.map(|(seq, end)| (seq, end.ending)).collect()
    };
    assert_eq!(runs(&turn.calls), [(second, ToolEnding::Finished)]);
    assert_eq!(
        runs(&turn.attempts[0].early),
        [(lost, ToolEnding::Discarded)]
    );
    assert_eq!(
        runs(&turn.attempts[1].early),
        [(first, ToolEnding::Discarded)]
    );
    let history = record.loops[0].transcript.history();
    assert_eq!(history.len(), 3, "prompt, answer, one result");

    // A second end of a discarded call is no log.
    let again = script
        .events
        .iter()
        .rposition(|it| matches!(it.kind, EventKind::ToolEnded(_)));
    let mut recorder = SessionRecorder::new(session());
    for event in &script.events[..=again.unwrap()] {
        recorder.record(event).unwrap();
    }
    let mut event = script.events[again.unwrap()].clone();
    event.seq += 1;
    assert!(recorder.record(&event).is_err());
}
