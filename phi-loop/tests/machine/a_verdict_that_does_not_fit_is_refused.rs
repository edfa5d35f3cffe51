//! Rule 2: a verdict that says nothing about its subject is refused, and lets nothing through.

use phi_loop::{Input, Rejected, Verdict};
use phi_types::{ModelPatch, Point, RawJson};

use crate::facts::{ask, check, decisions, hooked, refused};
use crate::support::Bench;

#[test]
fn rule_02_a_model_call_is_neither_asked_about_nor_rewritten() {
    for verdict in [ask(), Verdict::Rewrite(RawJson::empty_object())] {
        let mut bench = Bench::started(hooked(Point::BeforeModel), "Do it.");
        let id = decisions(&mut bench)[0];
        let rejected = refused(&mut bench, Input::Decided(id, verdict));
        assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
        check(&bench);
    }
}

#[test]
fn rule_02_a_tool_call_takes_no_patch() {
    let mut bench = Bench::started(hooked(Point::BeforeTool), "Do it.");
    bench.call(&["once"]);
    let id = decisions(&mut bench)[0];
    let patch = Verdict::Patch(ModelPatch::default());
    let rejected = refused(&mut bench, Input::Decided(id, patch));
    assert!(matches!(rejected, Rejected::IllShaped(_)), "{rejected:?}");
    check(&bench);
}
