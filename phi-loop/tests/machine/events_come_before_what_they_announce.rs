//! Write ahead: a step hands out its events first, as one batch, and then what they announce.

use phi_loop::simulation::{Anything, Simulation};
use phi_loop::{Effect, Output};
use phi_types::{EffectId, Event, EventKind};

use crate::support::{Bench, prompt};

/// The event that announces the effect, if it is one of these.
fn announced<'a>(events: &'a [Event], id: &EffectId) -> Option<&'a EventKind> {
    let mut events = events.iter();
    events
        .find(|event| event.seq == id.seq)
        .map(|event| &event.kind)
}

/// Every effect follows its own announcement, and every batch precedes all of its step's effects.
fn in_order(outputs: &[Output]) {
    let mut written: Vec<Event> = Vec::new();
    for output in outputs {
        match output {
            Output::Events(batch) => {
                assert!(!batch.is_empty());
                written.extend(batch.iter().cloned());
            }
            Output::Effect(effect) => {
                let Some(id) = effect.id() else { continue };
                let kind = announced(&written, id);
                let fits = match effect {
                    Effect::CallModel(_) => matches!(kind, Some(EventKind::ModelStarted(_))),
                    Effect::RunTool(_) => matches!(kind, Some(EventKind::ToolStarted(_))),
                    Effect::AskApproval(_) => {
                        matches!(kind, Some(EventKind::ApprovalRequested(_)))
                    }
                    Effect::Compact(_) => matches!(kind, Some(EventKind::CompactionStarted(_))),
                    Effect::Decide(..) => true,
                };
                assert!(fits, "{effect:?} after {kind:?}");
            }
            Output::Abort(id) => assert!(announced(&written, id).is_some()),
            Output::Live(live) => assert!(announced(&written, &live.effect).is_some()),
        }
    }
}

#[test]
fn every_effect_follows_its_announcement() {
    let tally = Simulation::new(Anything).run(3_000..3_030);
    let tally = tally.unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(tally.worlds, 30, "{tally:?}");
}

#[test]
fn one_step_is_one_batch_and_its_effects_come_last() {
    let mut bench = Bench::new(phi_types::Configuration::default());
    let mut outputs = Vec::new();
    let mut step = |bench: &mut Bench, input| {
        bench.machine.handle(bench.now, input).unwrap();
        let mut step = Vec::new();
        while let Some(output) = bench.machine.poll() {
            step.push(output);
        }
        let batches = step.iter().filter(|it| matches!(it, Output::Events(_)));
        assert_eq!(batches.count(), 1, "{step:?}");
        assert!(matches!(step[0], Output::Events(_)), "{step:?}");
        outputs.extend(step);
        in_order(&outputs);
        let Some(Output::Effect(effect)) = outputs.last().cloned() else {
            panic!("{outputs:?}")
        };
        effect
    };
    let model = step(&mut bench, prompt("Do it."));
    let model = model.id().cloned().unwrap();
    for delta in crate::support::calls(&["once", "pure"]) {
        let delta = phi_loop::Input::Delta(model.clone(), delta);
        bench.machine.handle(bench.now, delta).unwrap();
        assert!(matches!(bench.machine.poll(), Some(Output::Live(_))));
        assert_eq!(bench.machine.poll(), None);
    }
    let last = step(&mut bench, phi_loop::Input::ModelEnded(model));
    assert!(matches!(last, Effect::RunTool(_)));
}
