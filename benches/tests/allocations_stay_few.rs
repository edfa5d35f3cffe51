//! Allocations of the loop are few, and do not grow with what lies behind.
//!
//! `cargo test -p benches --test allocations_stay_few -- --nocapture` prints the counts.

use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use async_trait::async_trait;
use benches::{
    CannedProvider, EveryPoint, NoopTool, Subject, branches, conversation, floor, prompt, replies,
    runtime,
};
use phi_eval::{Candidate, EvaluationStrategy, StrategyError};
use phi_loop::Hooks;
use phi_types::{Delta, Outcome, Transcript};

/// Counts what a loop allocates from its first step to its end, its start left out.
fn of_phi(replies: Vec<Vec<Delta>>) -> AllocationInfo {
    of_phi_on(Transcript::new(), replies)
}

fn of_phi_on(transcript: Transcript, replies: Vec<Vec<Delta>>) -> AllocationInfo {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut subject = Subject::begin(Subject::prepare(transcript, replies));
    let count = measure(|| {
        runtime.block_on(subject.drain());
    });
    assert_eq!(subject.finished().outcome, Outcome::Completed {});
    count
}

/// Counts what the least loop allocates for the same work.
fn of_floor(replies: Vec<Vec<Delta>>) -> AllocationInfo {
    let (runtime, provider, tool) = (runtime(), CannedProvider::new(replies), NoopTool::default());
    let mut history = vec![prompt()];
    measure(|| {
        runtime.block_on(floor::run(&provider, &tool, &mut history));
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn each(count: u64, units: u32) -> f64 {
    count as f64 / f64::from(units)
}

#[test]
fn a_turn_allocates_little_and_the_thousandth_no_more_than_the_tenth() {
    let turn = |turns| each(of_phi(replies::tool_turns(turns)).count_total, turns);
    let least = each(of_floor(replies::tool_turns(10)).count_total, 10);
    let (ten, hundred, thousand) = (turn(10), turn(100), turn(1_000));
    eprintln!(
        "allocations per turn: {ten} at 10, {hundred} at 100, {thousand} at 1,000; floor {least}"
    );
    assert!(ten <= 40.0, "{ten} allocations per turn");
    assert!(
        thousand <= 1.2 * ten,
        "{thousand} at 1,000 turns, {ten} at 10"
    );
    // The start and the answer are shared among the turns: between two sizes only turns remain.
    let later = (thousand * 1_000.0 - hundred * 100.0) / 900.0;
    let early = (hundred * 100.0 - ten * 10.0) / 90.0;
    eprintln!("one more turn allocates {early} below 100 turns and {later} above");
    assert!(
        later <= 1.2 * early,
        "{later} above 100 turns, {early} below"
    );
}

#[test]
fn hooks_that_claim_no_point_allocate_nothing() {
    let of = |hooks: Arc<dyn Hooks>| {
        let runtime = runtime();
        let _inside = runtime.enter();
        let prepared = Subject::prepare(Transcript::new(), replies::tool_turns(100));
        let mut subject = Subject::begin(prepared.hooks(hooks));
        let count = measure(|| {
            runtime.block_on(subject.drain());
        });
        count.count_total
    };
    let none = of_phi(replies::tool_turns(100)).count_total;
    let (empty, all) = (
        of(Arc::new(Vec::<Arc<dyn Hooks>>::new())),
        of(Arc::new(EveryPoint)),
    );
    eprintln!(
        "allocations of 100 turns: {none} without hooks, {empty} with empty ones, {all} with all"
    );
    assert_eq!(empty, none);
    assert!(all > none, "every point was asked");
}

#[test]
fn a_delta_allocates_at_most_once_and_is_not_kept() {
    let (few, many) = (1_000, 101_000);
    let (before, after) = (
        of_phi(vec![replies::text(few)]),
        of_phi(vec![replies::text(many)]),
    );
    let delta = each(after.count_total - before.count_total, many - few);
    eprintln!("allocations per delta: {delta}");
    assert!(delta <= 1.0, "{delta} allocations per delta");
    // The text and its doubling buffer, the message that is made of it, and no delta beside them.
    let text = u64::from(many) * 8;
    eprintln!(
        "bytes at most: {} for {text} bytes of text",
        after.bytes_max
    );
    assert!(after.bytes_max <= 3 * text, "{} bytes", after.bytes_max);
}

#[test]
fn one_more_turn_allocates_the_same_on_a_long_history() {
    let on_long = of_phi_on(conversation(10_000), vec![replies::text(1)]);
    let on_none = of_phi(vec![replies::text(1)]);
    eprintln!("one turn: {on_none:?}\non 10,000 messages: {on_long:?}");
    assert_eq!(on_long.count_total, on_none.count_total);
    assert_eq!(on_long.bytes_total, on_none.bytes_total);
}

#[test]
fn a_parallel_call_allocates_no_more_than_a_turn_may() {
    let calls = |calls| of_phi(vec![replies::calls(0, calls), replies::text(1)]).count_total;
    let call = each(calls(1_000) - calls(100), 900);
    eprintln!("allocations per parallel call: {call}");
    assert!(call <= 40.0, "{call} allocations per call");
}

/// Waits for every branch.
struct All;

#[async_trait]
impl EvaluationStrategy for All {
    fn name(&self) -> &'static str {
        "all"
    }

    async fn choose(&self, _candidates: &[Candidate<'_>]) -> Result<usize, StrategyError> {
        Ok(0)
    }
}

fn of_branches(transcript: Transcript) -> AllocationInfo {
    let (runtime, evaluation) = (runtime(), branches(transcript, 64));
    let mut evaluated = None;
    let count = measure(|| evaluated = Some(runtime.block_on(evaluation.run(&All))));
    let ended = evaluated.iter().flat_map(|it| it.branches());
    let completed = ended.filter(|it| it.outcome == Outcome::Completed {});
    assert_eq!(completed.count(), 64);
    count
}

#[test]
fn sixty_four_branches_copy_nothing_of_a_long_history() {
    let (on_long, on_none) = (
        of_branches(conversation(10_000)),
        of_branches(Transcript::new()),
    );
    eprintln!("64 branches: {on_none:?}\non 10,000 messages: {on_long:?}");
    assert_eq!(on_long.count_total, on_none.count_total);
    assert_eq!(on_long.bytes_total, on_none.bytes_total);
    assert!(
        on_long.bytes_max <= 2_000_000,
        "{} bytes",
        on_long.bytes_max
    );
}
