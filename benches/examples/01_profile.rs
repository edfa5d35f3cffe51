//! Does one piece of work once, for a profiler: `benches/instructions` counts its instructions.
//!
//! `01_profile turn 1000 phi`: the work (`turn`, `stream`, `parallel`), its size, and who does it
//! (`phi` or `floor`). The work alone runs inside `measured`.

use benches::{CannedProvider, NoopTool, Subject, floor, prompt, replies, runtime};
use phi_types::Delta;
use tokio::runtime::Runtime;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, size, who] = arguments.as_slice() else {
        return explain();
    };
    let Ok(size) = size.parse() else {
        return explain();
    };
    let replies = match work.as_str() {
        "turn" => replies::tool_turns(size),
        "stream" => vec![replies::text(size)],
        "parallel" => vec![replies::calls(0, size), replies::text(1)],
        _ => return explain(),
    };
    let runtime = runtime();
    match who.as_str() {
        "phi" => phi(&runtime, replies),
        "floor" => least(&runtime, replies),
        _ => explain(),
    }
}

fn explain() {
    eprintln!("usage: 01_profile turn|stream|parallel SIZE phi|floor");
}

fn phi(runtime: &Runtime, replies: Vec<Vec<Delta>>) {
    let mut subject = {
        let _inside = runtime.enter();
        Subject::new(replies)
    };
    let updates = measured(|| runtime.block_on(subject.drain()));
    eprintln!("{updates} updates, {:?}", subject.finished().outcome);
}

fn least(runtime: &Runtime, replies: Vec<Vec<Delta>>) {
    let (provider, tool) = (CannedProvider::new(replies), NoopTool::default());
    let mut history = vec![prompt()];
    let deltas = measured(|| runtime.block_on(floor::run(&provider, &tool, &mut history)));
    eprintln!("{deltas} deltas, {} messages", history.len());
}

/// Where a profiler starts and stops to count.
#[inline(never)]
fn measured(work: impl FnOnce() -> u64) -> u64 {
    std::hint::black_box(work())
}
