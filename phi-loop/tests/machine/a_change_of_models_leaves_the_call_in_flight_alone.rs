//! Rule 2: what the model is shown changes from its next call on; the call in flight stays what it is.

use std::sync::Arc;

use phi_loop::{Effect, Input};
use phi_types::{
    Configuration, Delta, EventKind, Message, ProviderErrorKind, StopReason, SurfaceChanged, Target,
};

use crate::facts::check;
use crate::support::{Bench, surface};

fn models(which: &[usize]) -> Input {
    let all = surface().models;
    let models: Arc<[Target]> = which.iter().map(|at| all[*at].clone()).collect();
    Input::SurfaceChanged(SurfaceChanged {
        models: Some(models),
        ..SurfaceChanged::default()
    })
}

#[test]
fn rule_02_a_call_to_a_model_that_was_taken_off_the_list_is_still_outstanding() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.fail(ProviderErrorKind::Auth);
    let before = bench.effects.clone();
    assert!(matches!(&before[0], Effect::CallModel(call) if call.index == 1));
    bench.handle(models(&[0]));
    assert_eq!(bench.machine.outstanding(), before);
    check(&bench);
}

#[test]
fn rule_02_an_answer_names_the_model_that_wrote_it() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.handle(models(&[1]));
    bench.answer(&[Delta::text(0, "Done."), Delta::finish(StopReason::EndTurn)]);
    let origin = bench
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.kind {
            EventKind::Message(added) => match &added.message {
                Message::Assistant(message) => Some(message.origin.model.to_string()),
                _ => None,
            },
            _ => None,
        });
    assert_eq!(origin.as_deref(), Some("first"));
    check(&bench);
}
