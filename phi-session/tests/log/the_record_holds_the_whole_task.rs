//! The record names what belongs to a task besides its turns: cost, scores, sub-agents.

use crate::scene::{Script, answer, at, call, loop_id, session, usage, user};
use phi_session::{MemoryStore, NoticeKind, SessionFilter, SessionRecorder, Store};
use phi_types::{
    BranchScore, BranchSelected, BranchesStarted, Continuation, EffectClass, EffectId, Event,
    EventKind, FORMAT, FilterVerdict, InputFiltered, Message, Price, SessionId, SessionStarted,
    SpawnedBy, SurfaceChanged, Target, ToolEnded, ToolEnding, ToolResult, TurnTrigger,
};
use std::sync::Arc;

fn child() -> SessionId {
    SessionId::new("child").unwrap()
}

fn record(events: &[Event]) -> SessionRecorder {
    let mut recorder = SessionRecorder::new(events[0].session.clone());
    for event in events {
        recorder.record(event).unwrap();
    }
    recorder
}

/// A parent whose only call is worked for by a sub-agent; returns the `seq` of the call's start.
fn parent() -> (Vec<Event>, u64) {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    script.say(1, 1, Message::User(user("Go.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    let calls = [call("c", "agent", "{}")];
    let asked = answer("", &calls, usage(1, 1));
    script.say(1, 1, Message::Assistant(asked), None);
    let started = script.run(1, 0, &calls[0], EffectClass::AtMostOnce);
    let ended = serde_json::json!({
        "index": 0, "call_id": "c", "started": started, "ending": ToolEnding::Finished,
        "result": ToolResult::text("done"), "child": child(),
    });
    let ended: ToolEnded = serde_json::from_value(ended).unwrap();
    script.event(1, EventKind::ToolEnded(ended));
    (script.events, started)
}

fn spawned(effect: EffectId) -> SessionStarted {
    SessionStarted {
        format: FORMAT,
        agent: None,
        spawned_by: Some(SpawnedBy {
            session: session(),
            effect,
        }),
        forked_from: None,
    }
}

#[tokio::test]
async fn a_parent_and_its_sub_agent_name_each_other_whichever_comes_first() {
    let (events, seq) = parent();
    let loop_id = loop_id(1);
    let effect = EffectId { loop_id, seq };
    let starts = |store: &MemoryStore| {
        let store = store.clone();
        let started = spawned(effect.clone());
        async move { drop(store.create(&child(), started, at(1)).await.unwrap()) }
    };
    for child_first in [true, false] {
        let store = MemoryStore::new();
        if child_first {
            starts(&store).await;
        }
        let EventKind::SessionStarted(started) = &events[0].kind else {
            panic!("a session starts with its start")
        };
        let created = store.create(&session(), started.clone(), at(0)).await;
        let writer = created.unwrap();
        writer.append_batch(&events[1..]).await.unwrap();
        if !child_first {
            starts(&store).await;
        }
        let above = phi_session::load(&store, &session()).await.unwrap();
        let below = phi_session::load(&store, &child()).await.unwrap();
        let named: Vec<_> = above.session().children().collect();
        assert_eq!(named, [(effect.clone(), &child())]);
        let by = below.session().spawned_by.clone().unwrap();
        assert_eq!((by.session, by.effect), (session(), effect.clone()));
        // The children of a session are found without its log.
        let filter = SessionFilter {
            spawned_by: Some(session()),
            ..SessionFilter::default()
        };
        let listed = store.list(&filter).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].session, child());
    }
}

#[test]
fn the_cost_of_a_loop_is_that_of_its_attempts_at_their_prices() {
    let priced = |model: &str, input_usd| Target {
        price: Some(Price {
            input_usd,
            output_usd: 0.0,
            cache_read_usd: 0.0,
            cache_write_usd: 0.0,
        }),
        ..serde_json::from_value(serde_json::json!({
            "protocol": "p", "provider": "s", "model": model
        }))
        .unwrap()
    };
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let models = [priced("dear", 10.0), priced("cheap", 1.0)];
    script.event(
        1,
        EventKind::SurfaceChanged(Arc::new(SurfaceChanged {
            models: Some(Arc::from(models)),
            ..SurfaceChanged::default()
        })),
    );
    script.say(1, 1, Message::User(user("Go.")), None);
    script.turn(1, 1, TurnTrigger::Prompt);
    script.model(1, 1);
    script.fail(1, 1, usage(1_000_000, 0));
    let mut second = script.events.iter().rev().find_map(|event| {
        let EventKind::ModelStarted(started) = &event.kind else {
            return None;
        };
        Some(started.clone())
    });
    let second = second.as_mut().unwrap();
    (second.attempt, second.target) = (2, 1);
    script.event(1, EventKind::ModelStarted(second.clone()));
    let last = answer("Done.", &[], usage(2_000_000, 7));
    script.say(1, 1, Message::Assistant(last), None);
    let recorder = record(&script.events);
    // One million at 10 dollars failed, two million at 1 dollar answered.
    let cost = recorder.session().cost_usd();
    assert!((cost - 12.0).abs() < 1e-9, "{cost}");
    assert_eq!(recorder.loop_record(&loop_id(1)).unwrap().cost_usd, cost);
}

#[test]
fn a_group_holds_its_scores_and_what_the_choice_took() {
    let loops = vec![loop_id(1), loop_id(2)];
    let mut script = Script::new();
    script.fact(EventKind::BranchesStarted(BranchesStarted {
        loops: loops.clone(),
    }));
    let scores: Vec<BranchScore> = (loops.iter().cloned())
        .zip([Some(0.5), Some(f64::NAN)])
        .map(|(loop_id, score)| BranchScore { loop_id, score })
        .collect();
    script.fact(EventKind::BranchSelected(Arc::new(BranchSelected {
        loops,
        winner: Some(loop_id(1)),
        strategy: "judge".to_owned(),
        scores,
        usage: Some(usage(3, 4)),
    })));
    // What JSON cannot hold reads back as not rated, and the log stays readable.
    let lines = script.events.iter();
    let lines: Vec<String> = lines.map(|it| serde_json::to_string(it).unwrap()).collect();
    let events: Vec<Event> = lines
        .iter()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let recorder = record(&events);
    let group = &recorder.session().groups[0];
    let scores: Vec<Option<f64>> = group.scores.iter().map(|it| it.score).collect();
    assert_eq!(scores, [Some(0.5), None]);
    assert_eq!(group.usage, Some(usage(3, 4)));
    // A choice that was written before there were scores has none.
    let before = r#"{"loops":[],"winner":null,"strategy":"first"}"#;
    let before: BranchSelected = serde_json::from_str(before).unwrap();
    assert_eq!((before.scores, before.usage), (Vec::new(), None));
}

#[test]
fn what_the_input_filters_decided_is_in_the_record() {
    let mut script = Script::new();
    script.start(1, None, Continuation::Initial);
    let reason = "no secrets".to_owned();
    let filtered = InputFiltered {
        queued: None,
        verdict: FilterVerdict::Rejected { reason },
        rejected: vec![user("my password is")],
    };
    script.event(1, EventKind::InputFiltered(filtered.clone()));
    let recorder = record(&script.events);
    let record = recorder.loop_record(&loop_id(1)).unwrap();
    let [notice] = &record.notices[..] else {
        panic!("one notice")
    };
    assert_eq!(notice.kind, NoticeKind::Filtered(filtered));
    assert!(record.transcript.history().is_empty() && record.waiting_input.is_empty());
}
