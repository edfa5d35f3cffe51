//! The record of a request is the request that was sent, and every block names the event it is from.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phi_loop::simulation::Dice;
use phi_loop::{
    BlockKind, BlockOrigin, Compactor, Driver, DropMiddle, EventId, Finished, HookContext,
    HookError, Hooks, ModelDecision, NoRequest, RequestRecord, Start, TruncateResults, Update,
    request_record,
};
use phi_testkit::{Reply, ScriptedCall, ScriptedProvider, ScriptedTool};
use phi_types::{
    CompactAt, Configuration, Continuation, EffectId, Entry, EstimatedTokens, Event, EventKind,
    Limits, LoopId, Message, ModelPatch, Options, OverlayId, Point, Provider, ProviderError,
    ProviderErrorKind, Prune, Request, Surface, Tag, TokenCounter, Tool, ToolPolicy, Transcript,
    UserMessage,
};
use proptest::prelude::*;

use crate::support::{queue_id, session};

/// Patches some calls.
struct Patches(Mutex<Dice>);

#[async_trait]
impl Hooks for Patches {
    fn points(&self) -> Vec<Point> {
        vec![Point::BeforeModel]
    }

    async fn before_model(&self, _: &HookContext, _: &Request) -> Result<ModelDecision, HookError> {
        let mut dice = self.0.lock().unwrap();
        let system = dice.one_in(3).then(|| Arc::from("Be brief."));
        let tools = dice.one_in(4).then(|| vec![Arc::from("look")]);
        let options = dice.one_in(4).then(|| {
            let temperature = Some(0.5);
            Arc::new(Options {
                temperature,
                ..Options::default()
            })
        });
        let messages = match dice.one_in(3) {
            true => vec![Arc::new(UserMessage::text("Only now."))],
            false => Vec::new(),
        };
        let patch = ModelPatch {
            system,
            tools,
            options,
            messages,
        };
        Ok(match patch.is_empty() {
            true => ModelDecision::Proceed,
            false => ModelDecision::Patch(patch),
        })
    }
}

fn model(dice: &mut Dice) -> Arc<ScriptedProvider> {
    let dice = Mutex::new(Dice::new(dice.roll(u64::MAX)));
    Arc::new(ScriptedProvider::from_fn(move |_, request| {
        let mut dice = dice.lock().unwrap();
        let calls = if request.tools.is_empty() {
            0
        } else {
            dice.roll(4)
        };
        let reply = Reply::text("x ".repeat(usize::try_from(1 + dice.roll(30)).unwrap()));
        let reply = (0..calls).fold(reply, |reply, n| {
            let name = if dice.one_in(5) { "unknown" } else { "look" };
            reply.with_call(ScriptedCall::new(
                name,
                format!("{{\"n\":{n},\"r\":{}}}", dice.roll(99)),
            ))
        });
        let fails = dice.one_in(6);
        let error = ProviderError::new(ProviderErrorKind::Server, "no");
        Some(if fails {
            reply.failing_after(usize::try_from(dice.roll(6)).unwrap(), error)
        } else {
            reply
        })
    }))
}

fn configuration(dice: &mut Dice) -> Configuration {
    Configuration {
        limits: Limits {
            turns: Some(6),
            ..Limits::default()
        },
        tools: ToolPolicy {
            early_start: dice.one_in(2),
            ..ToolPolicy::default()
        },
        grace_turn: dice.one_in(2),
        compact_at: dice
            .one_in(2)
            .then(|| CompactAt::Tokens(150 + dice.roll(400))),
        ..Configuration::default()
    }
}

/// Several loops of a session with everything that changes requests: the log, and what was sent.
async fn lived(seed: u64) -> (Vec<Event>, Vec<Request>) {
    let mut dice = Dice::new(seed);
    let provider = model(&mut dice);
    let tool = ScriptedTool::returning("look", &"much to see ".repeat(30));
    let other = ScriptedTool::returning("listen", "nothing");
    let compactor: Arc<dyn Compactor> = match dice.one_in(2) {
        true => Arc::new(DropMiddle::default()),
        false => Arc::new(TruncateResults::new(200)),
    };
    let mut driver = Driver::new(Arc::clone(&provider) as Arc<dyn Provider>)
        .tools(vec![Arc::new(tool) as Arc<dyn Tool>, Arc::new(other)])
        .starting_at(chrono::DateTime::UNIX_EPOCH)
        .compactor(compactor);
    if dice.one_in(2) {
        let hooks = Patches(Mutex::new(Dice::new(dice.roll(u64::MAX))));
        driver = driver.hooks(Arc::new(hooks));
    }
    let (mut events, mut transcript, mut parent) = (Vec::new(), Transcript::new(), None);
    for n in 1..=1 + u32::try_from(dice.roll(4)).unwrap() {
        let system = if dice.one_in(3) { "Other." } else { "Be kind." };
        let configuration = configuration(&mut dice);
        let mut start = Start::new(session(), configuration, driver.surface(system, "m"));
        start.loop_id = LoopId::numbered(&session(), &start.configuration.id, n);
        start.parent = parent.replace(start.loop_id.clone());
        start.continuation = if n == 1 {
            Continuation::Initial
        } else {
            Continuation::Default
        };
        start.transcript = transcript;
        let mut run = driver.prompt(start, "Do it.").unwrap();
        let handle = run.handle();
        let steer = dice.one_in(2);
        let steer = async {
            if steer {
                // Where it comes too late, the loop goes without it.
                drop(handle.steer(queue_id("q"), "Look again.").await);
            }
        };
        let run_all = async {
            while let Some(update) = run.next().await {
                if let Update::Event(event) = update {
                    events.push(event);
                }
            }
        };
        tokio::join!(steer, run_all);
        transcript = run.finished().transcript;
        if dice.one_in(2) {
            let earlier = (100 + n, parent.clone());
            if let Some((more, finished)) = changed(&driver, earlier, &transcript, &mut dice).await
            {
                events.extend(more);
                (transcript, parent) = (finished.transcript, Some(finished.loop_id));
            }
        }
    }
    (events, provider.requests())
}

/// The events of a loop that changes the context, where there is something to change.
async fn changed(
    driver: &Driver,
    (number, parent): (u32, Option<LoopId>),
    transcript: &Transcript,
    dice: &mut Dice,
) -> Option<(Vec<Event>, Finished)> {
    let mut start = Start::new(session(), Configuration::default(), driver.surface("", "m"));
    start.loop_id = LoopId::numbered(&session(), &start.configuration.id, number);
    (start.parent, start.transcript) = (parent, transcript.clone());
    let overlays: Vec<OverlayId> = transcript.overlays().cloned().collect();
    let results = (0..)
        .zip(transcript.history().entries())
        .filter(|(at, it)| matches!(it, Entry::Results(_)) && transcript.shown_at(*at).is_some())
        .map(|(at, _)| Tag::entry(at as u64));
    let results: Vec<Tag> = results.take(2).collect();
    let run = match overlays.last() {
        Some(overlay) if dice.one_in(2) => driver.restore(start, overlay.clone()),
        _ => driver.prune(
            start,
            Prune {
                tags: results,
                memo: None,
            },
        ),
    };
    let mut run = run.ok()?;
    let mut changes = Vec::new();
    while let Some(update) = run.next().await {
        if let Update::Event(event) = update {
            changes.push(event);
        }
    }
    Some((changes, run.finished()))
}

fn attempts(events: &[Event]) -> Vec<EffectId> {
    let started = events
        .iter()
        .filter(|it| matches!(it.kind, EventKind::ModelStarted(_)));
    let attempts = started.map(|event| EffectId {
        loop_id: event.loop_id.clone().unwrap(),
        seq: event.seq,
    });
    attempts.collect()
}

fn event<'a>(events: &'a [Event], id: &EventId) -> &'a EventKind {
    let is_it = |it: &&Event| it.loop_id.as_ref() == Some(&id.loop_id) && it.seq == id.seq;
    &events.iter().find(is_it).unwrap().kind
}

/// Holds an entry against the events that it is said to come from.
fn check_entry(events: &[Event], entry: &Entry, origin: &BlockOrigin) {
    match (entry, origin) {
        (Entry::Results(results), BlockOrigin::Events(ids)) => {
            assert_eq!(results.len(), ids.len());
            for (result, id) in results.iter().zip(ids) {
                let EventKind::ToolEnded(ended) = event(events, id) else {
                    panic!("{id:?} is no result")
                };
                assert_eq!(
                    (&ended.result, &ended.call_id),
                    (&result.result, &result.call.id)
                );
            }
        }
        (Entry::User(said), BlockOrigin::Events(ids)) => {
            let EventKind::Message(added) = event(events, &ids[0]) else {
                panic!("{ids:?} is no message")
            };
            assert_eq!(added.message, Message::User(Arc::clone(said)));
        }
        (Entry::Assistant(said), BlockOrigin::Events(ids)) => {
            let EventKind::Message(added) = event(events, &ids[0]) else {
                panic!("{ids:?} is no message")
            };
            assert_eq!(added.message, Message::Assistant(Arc::clone(said)));
        }
        (
            entry,
            BlockOrigin::Overlay {
                event: id,
                stands_for,
            },
        ) => {
            let (is_pruned, block) = match event(events, id) {
                EventKind::CompactionEnded(ended) => (!ended.pruned.is_empty(), &ended.block),
                EventKind::ContextPruned(_) => (true, &None),
                other => panic!("{other:?} is no overlay"),
            };
            match entry {
                Entry::Results(_) => {
                    assert_eq!((stands_for.len(), is_pruned), (1, true));
                    let [BlockOrigin::Events(ids)] = &stands_for[..] else {
                        return;
                    };
                    assert!(
                        ids.iter()
                            .all(|id| matches!(event(events, id), EventKind::ToolEnded(_)))
                    );
                }
                _ => {
                    let block = block.as_ref().unwrap();
                    assert_eq!(stands_for.len() as u64, block.count);
                }
            }
        }
        (Entry::User(said), BlockOrigin::Patch(id)) => {
            let EventKind::ModelStarted(started) = event(events, id) else {
                panic!("{id:?} is no model call")
            };
            assert!(started.patch.messages.contains(said));
        }
        (entry, origin) => panic!("{entry:?} from {origin:?}"),
    }
}

fn check_surface(events: &[Event], record: &RequestRecord) {
    for block in &record.blocks {
        let what = block.what;
        match &block.origin {
            _ if matches!(what, BlockKind::Entry(_)) => {}
            BlockOrigin::Events(ids) => {
                let EventKind::SurfaceChanged(changed) = event(events, &ids[0]) else {
                    panic!("{ids:?} is no surface")
                };
                let same = match what {
                    BlockKind::Tools => changed.tools.as_ref() == Some(&record.request.tools),
                    BlockKind::System => changed.system.as_ref() == Some(&record.request.system),
                    _ => changed.options.as_ref() == Some(&record.request.options),
                };
                assert!(same, "{what:?}");
            }
            BlockOrigin::Grace(id) => {
                assert!(matches!(event(events, id), EventKind::TurnStarted(_)));
                assert!(record.request.tools.is_empty());
            }
            BlockOrigin::Patch(id) => {
                assert!(matches!(event(events, id), EventKind::ModelStarted(_)));
            }
            BlockOrigin::Overlay { .. } => panic!("{what:?} is no entry"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_record_is_the_request_that_was_sent(seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (events, requests) = runtime.block_on(lived(seed));
        let attempts = attempts(&events);
        prop_assert_eq!(attempts.len(), requests.len());
        for (attempt, sent) in attempts.iter().zip(&requests) {
            let record = request_record(&events, attempt).unwrap();
            prop_assert_eq!(&record.request, sent);
            prop_assert_eq!(record.request.view.entries(), sent.view.entries());
            let surface = Surface {
                system: Arc::clone(&sent.system),
                tools: Arc::clone(&sent.tools),
                options: Arc::clone(&sent.options),
                ..Surface::default()
            };
            let tokens: u64 = record.blocks.iter().map(|it| it.tokens).sum();
            let counted = EstimatedTokens.surface(&surface) + sent.view.estimated_tokens();
            prop_assert_eq!(tokens, counted);
            prop_assert_eq!(record.blocks.len(), 3 + sent.view.len());
            check_surface(&events, &record);
            for (at, entry) in sent.view.entries().into_iter().enumerate() {
                let block = &record.blocks[3 + at];
                prop_assert_eq!(block.what, BlockKind::Entry(at));
                check_entry(&events, entry, &block.origin);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_origin_comes_up() {
    let (mut overlays, mut patches, mut graces, mut earlier) = (0, 0, 0, 0);
    for seed in 0..40 {
        let (events, _) = lived(seed).await;
        for attempt in attempts(&events) {
            for block in request_record(&events, &attempt).unwrap().blocks {
                match block.origin {
                    BlockOrigin::Overlay { .. } => overlays += 1,
                    BlockOrigin::Patch(_) => patches += 1,
                    BlockOrigin::Grace(_) => graces += 1,
                    BlockOrigin::Events(ids) => {
                        let is_earlier = |id: &EventId| id.loop_id != attempt.loop_id;
                        earlier += usize::from(ids.iter().any(is_earlier));
                    }
                }
            }
        }
    }
    assert!(overlays > 20 && patches > 20 && graces > 5 && earlier > 20);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_does_not_hold_is_a_typed_error() {
    let (mut events, _) = lived(3).await;
    let attempt = attempts(&events).pop().unwrap();
    let none = EffectId {
        seq: attempt.seq + 1,
        ..attempt.clone()
    };
    let unknown = NoRequest::Unknown {
        attempt: none.clone(),
    };
    assert_eq!(request_record(&events, &none), Err(unknown));
    assert!(matches!(
        request_record(&[], &attempt),
        Err(NoRequest::Unknown { .. })
    ));
    let missing: Vec<Event> = events.iter().filter(|it| it.seq != 2).cloned().collect();
    let failed = request_record(&missing, &attempt);
    assert!(
        matches!(failed, Err(NoRequest::Illegal { .. })),
        "{failed:?}"
    );
    // Another word of the user leads to another request.
    let said = events.iter_mut().find_map(|event| match &mut event.kind {
        EventKind::Message(added) => Some(&mut added.message),
        _ => None,
    });
    *said.unwrap() = Message::User(Arc::new(UserMessage::text("Do something else.")));
    assert_eq!(
        request_record(&events, &attempt),
        Err(NoRequest::Altered { attempt })
    );
}
