//! Rule 1: a conversation that phi hands out is one that every provider accepts.

use phi_loop::{Effect, Input, Machine, Rejected};
use phi_types::{Configuration, Delta, LoopError, Outcome, ProviderErrorKind, StopReason, Usage};

use crate::facts::{block, check, refused};
use crate::support::{Bench, start};

#[test]
fn rule_01_a_call_without_a_name_leaves_nothing_that_an_api_refuses() {
    let mut bench = Bench::started(Configuration::default(), "Do it.");
    bench.answer(&[
        Delta::tool_call(0, "a", ""),
        Delta::arguments(0, "{}"),
        Delta::part_ended(0),
        Delta::finish(StopReason::ToolUse),
    ]);
    check(&bench);
}

#[test]
fn rule_07_a_block_that_leaves_no_conversation_is_refused() {
    for block in [block(0, 3, &[]), block(0, 1, &[]), block(0, 3, &[""])] {
        let configuration = Configuration {
            compaction: true,
            ..Configuration::default()
        };
        let mut bench = Bench::started(configuration, "Do it.");
        bench.call(&["nosuch"]);
        bench.fail(ProviderErrorKind::ContextOverflow);
        let Some(Effect::Compact(compact)) = bench.effects.pop() else {
            panic!("{:?}", bench.kinds())
        };
        let text = format!("{block:?}");
        bench.handle(Input::Compacted(compact.id, block.into(), Usage::default()));
        let typed = matches!(
            bench.machine.outcome(),
            Some(Outcome::Failed {
                error: LoopError::Overflow { .. }
            })
        );
        assert!(typed, "{text}: {:?}", bench.machine.outcome());
        check(&bench);
    }
}

#[test]
fn rule_02_to_continue_an_empty_conversation_is_ill_shaped() {
    let mut bench = Bench::with(Machine::new(start(Configuration::default())));
    let rejected = refused(&mut bench, Input::Continue);
    assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
}
