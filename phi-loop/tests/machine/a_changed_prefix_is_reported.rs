//! A request that does not continue the one before it is reported, with its first new part.

use std::sync::Arc;

use phi_loop::{Input, Machine, Start, Verdict, replay};
use phi_types::{
    CompactionBlock, Configuration, Delta, EventKind, History, Limits, ModelPatch, Options, Point,
    ProviderErrorKind, RequestPart, StopReason, SurfaceChanged, Transcript, Usage,
};

use crate::facts::decisions;
use crate::support::{Bench, calls, prompt, restarted, start, surface, user};

fn broken(bench: &Bench) -> Vec<RequestPart> {
    let parts = bench.events.iter().filter_map(|event| match &event.kind {
        EventKind::CacheBroken(broken) => Some(broken.part),
        _ => None,
    });
    parts.collect()
}

/// One turn with a call, its result, and whatever `change` does before the next request.
fn after(change: SurfaceChanged) -> Vec<RequestPart> {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.call(&["pure"]);
    bench.handle(Input::SurfaceChanged(change));
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "ok");
    bench.say("Done.");
    assert_eq!(
        replay(&Transcript::new(), &bench.events),
        Ok(bench.machine.clone())
    );
    broken(&bench)
}

#[test]
fn a_conversation_that_only_grows_is_continued() {
    let same = surface();
    let same_again = SurfaceChanged {
        system: Some(Arc::from(&*same.system)),
        tools: Some(same.tools),
        models: Some(same.models),
        options: Some(same.options),
    };
    assert_eq!(after(same_again), []);
}

#[test]
fn the_first_part_in_the_order_of_caches_is_named() {
    let options = Options {
        temperature: Some(0.1),
        ..Options::default()
    };
    let mut change = SurfaceChanged {
        options: Some(Arc::new(options)),
        ..SurfaceChanged::default()
    };
    assert_eq!(after(change.clone()), [RequestPart::Options {}]);
    change.system = Some(Arc::from("Be quick."));
    assert_eq!(after(change.clone()), [RequestPart::System {}]);
    change.tools = Some(surface().tools.iter().rev().cloned().collect());
    assert_eq!(after(change.clone()), [RequestPart::Tools {}]);
    change.models = Some(surface().models.iter().rev().cloned().collect());
    assert_eq!(after(change), [RequestPart::Model {}]);
}

#[test]
fn a_fall_back_to_another_model_and_the_way_back_are_reported() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Auth);
    bench.call(&["pure"]);
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "ok");
    bench.say("Done.");
    assert_eq!(
        broken(&bench),
        [RequestPart::Model {}, RequestPart::Model {}]
    );
}

#[test]
fn a_compaction_is_reported_with_the_entry_that_it_replaced() {
    let configuration = Configuration {
        compaction: true,
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.call(&["pure"]);
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "ok");
    bench.fail(ProviderErrorKind::ContextOverflow);
    let effect = bench.effects.remove(0).id().unwrap().clone();
    let block = CompactionBlock {
        first: 1,
        count: 2,
        replacement: vec![user("It was done.")],
    };
    bench.handle(Input::Compacted(effect, block.into(), Usage::default()));
    bench.say("Done.");
    assert_eq!(broken(&bench), [RequestPart::Entry { index: 1 }]);
    assert_eq!(replay(&Transcript::new(), &bench.events), Ok(bench.machine));
}

#[test]
fn a_message_of_a_hook_for_one_call_alone_is_reported_by_the_next_call() {
    let configuration = Configuration {
        points: vec![Point::BeforeModel],
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    let patch = ModelPatch {
        messages: vec![user("Hurry.")],
        ..ModelPatch::default()
    };
    let id = decisions(&mut bench)[0];
    bench.handle(Input::Decided(id, Verdict::Patch(patch)));
    bench.call(&["pure"]);
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "ok");
    let id = decisions(&mut bench)[0];
    bench.handle(Input::Decided(id, Verdict::Proceed));
    assert_eq!(broken(&bench), [RequestPart::Entry { index: 1 }]);
    let whole = replay(&Transcript::new(), &bench.events);
    assert_eq!(whole, Ok(bench.machine.clone()));

    // The process ends between the two events of the announcement.
    let mut log = bench.events.clone();
    let announced = log.pop().map(|event| event.kind);
    assert!(matches!(announced, Some(EventKind::ModelStarted(_))));
    let cut = Machine::restore(&Transcript::new(), &log).unwrap();
    assert_eq!(replay(&Transcript::new(), &log), Ok(cut));
    let mut again = restarted(&log, bench.now);
    let id = decisions(&mut again)[0];
    again.handle(Input::Decided(id, Verdict::Proceed));
    again.say("Done.");
    assert_eq!(broken(&again).len(), 1, "{:?}", again.kinds());
    assert_eq!(replay(&Transcript::new(), &again.events), Ok(again.machine));
}

#[test]
fn a_grace_turn_has_other_tools() {
    let configuration = Configuration {
        grace_turn: true,
        limits: Limits {
            turns: Some(1),
            ..Limits::default()
        },
        ..Configuration::default()
    };
    let mut bench = Bench::started(configuration, "Do it.");
    bench.answer(&calls(&["pure"]));
    let tools = bench.tools();
    bench.end_tool(tools[0].clone(), "ok");
    assert_eq!(broken(&bench), [RequestPart::Tools {}]);
}

#[test]
fn the_next_loop_of_a_session_knows_what_was_sent() {
    let mut first = Bench::started(Configuration::default(), "Do it.");
    first.say("Done.");
    let before = first.machine.transcript().clone();
    let next = |before: &Transcript, change: &dyn Fn(&mut Start)| {
        let mut start = Start {
            transcript: before.clone(),
            ..start(Configuration::default())
        };
        change(&mut start);
        let mut bench = Bench::with(Machine::new(start));
        bench.handle(prompt("And more."));
        bench.answer(&[Delta::text(0, "Yes."), Delta::finish(StopReason::EndTurn)]);
        let known = bench.machine.clone();
        assert_eq!(Machine::restore(before, &bench.events), Ok(known.clone()));
        assert_eq!(replay(before, &bench.events), Ok(known));
        (broken(&bench), bench.events)
    };
    assert_eq!(next(&before, &|_| {}).0, []);
    let (parts, events) = next(&before, &|start| {
        start.surface.system = Arc::from("Be quick.");
    });
    assert_eq!(parts, [RequestPart::System {}]);
    assert!(replay(&Transcript::new(), &events).is_err());
    let other: History = [phi_types::Entry::User(user("Other."))]
        .into_iter()
        .collect();
    let unknown = Transcript::from_history(other);
    let (parts, _) = next(&unknown, &|_| {});
    assert_eq!(parts, []);
}
