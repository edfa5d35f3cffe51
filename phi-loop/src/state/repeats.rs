//! Whether the model goes round in circles: the same calls with the same results, turn after turn.

use std::sync::Arc;

use phi_types::{AssistantMessage, CallResult, Entry, History, HistoryDigest, ToolCall};

/// What is compared here is in no log.
const DIGEST: HistoryDigest = HistoryDigest::Packed;

/// The longest cycle that is noticed, in turns, or in calls of one answer.
const PERIOD_MAX: usize = 4;

/// How many entries of the history are looked at: five turns, and what the user said in between.
const ENTRIES_MAX: usize = 32;

/// How the newest turns repeat those before them. Its size is fixed: the history holds the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Repeats {
    /// Turns of this loop that asked for calls, since the last one that did not.
    turns: usize,
    /// For each period, how many turns in a row ask for what was asked for so many turns before. All
    /// but the newest one, which has no results yet, also read the same results.
    runs: [u32; PERIOD_MAX],
    newest: Option<Repeated>,
}

/// The cycle that the newest answer closed, if it is one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Repeated {
    /// The tool of the answer's last call.
    pub(crate) tool: Arc<str>,
    /// Turns, or calls of one answer, after which it begins anew.
    pub(crate) period: u32,
    /// How often in a row it was seen.
    pub(crate) times: u32,
}

impl Repeats {
    /// Returns the cycle that the newest answer closed most often.
    pub(crate) fn newest(&self) -> Option<&Repeated> {
        self.newest.as_ref()
    }

    /// Takes an answer, which is the newest entry of the history.
    ///
    /// The cost is that of comparing it with four turns, whatever the length of the history.
    pub(crate) fn note(&mut self, message: &AssistantMessage, history: &History) {
        let Some(last) = message.tool_calls().last() else {
            *self = Self::default();
            return;
        };
        let mut past: [Option<&[CallResult]>; PERIOD_MAX + 1] = [None; PERIOD_MAX + 1];
        let entries = history.newest_first().skip(1).take(ENTRIES_MAX);
        let results = entries.filter_map(|entry| match entry {
            Entry::Results(results) => Some(&**results),
            Entry::User(_) | Entry::Assistant(_) | Entry::Extension(_) => None,
        });
        for (place, results) in past.iter_mut().zip(results.take(self.turns)) {
            *place = Some(results);
        }
        self.turns = self.turns.saturating_add(1);
        let before = past.first().copied().flatten();
        for (back, run) in self.runs.iter_mut().enumerate() {
            // Only now the results of the turn before are known.
            let compared = past.get(back + 1).copied().flatten();
            let held = before.zip(compared);
            if *run > 0 && !held.is_some_and(|(a, b)| same_results(a, b)) {
                *run = 0;
            }
            let compared = past.get(back).copied().flatten();
            *run = match compared {
                Some(results) if same_calls(message, results) => run.saturating_add(1),
                Some(_) | None => 0,
            };
        }
        self.newest = self.longest(message, last);
    }

    fn longest(&self, message: &AssistantMessage, last: &ToolCall) -> Option<Repeated> {
        let mut longest: Option<Repeated> = None;
        for (period, run) in (1..).zip(self.runs) {
            let inside = cycles_inside(message, period);
            let calls = message.tool_calls().count();
            let turns = run / period + 1;
            // A turn that asks for one call several times repeats that call each time.
            let times = if period == 1 && usize::try_from(inside) == Ok(calls) {
                turns.saturating_mul(inside)
            } else {
                turns.max(inside)
            };
            if times > longest.as_ref().map_or(1, |it| it.times) {
                longest = Some(Repeated {
                    tool: Arc::clone(&last.name),
                    period,
                    times,
                });
            }
        }
        longest
    }
}

/// Says how many cycles of so many calls end the answer.
fn cycles_inside(message: &AssistantMessage, period: u32) -> u32 {
    let skipped = usize::try_from(period).unwrap_or(usize::MAX);
    let pairs = message.tool_calls().zip(message.tool_calls().skip(skipped));
    let run = pairs.fold(0_u32, |run, (earlier, later)| {
        if same_call(earlier, later) {
            run.saturating_add(1)
        } else {
            0
        }
    });
    run / period + 1
}

fn same_call(a: &ToolCall, b: &ToolCall) -> bool {
    a.name == b.name && a.arguments == b.arguments
}

/// Says whether the model reads the same; facts for programs, such as how long it took, differ.
fn same_result(a: &CallResult, b: &CallResult) -> bool {
    a.result.is_error == b.result.is_error && a.result.content == b.result.content
}

/// Says whether the answer asks for the calls of an earlier turn, in whatever order.
fn same_calls(message: &AssistantMessage, earlier: &[CallResult]) -> bool {
    let calls = || message.tool_calls();
    if calls().count() != earlier.len() {
        return false;
    }
    let size = |call: &ToolCall| call.name.len() + call.arguments.text().len();
    let mut pairs = calls().zip(earlier);
    if pairs.all(|(call, earlier)| same_call(call, &earlier.call)) {
        return true;
    }
    let sizes = calls().map(|call| size(call)).sum::<usize>();
    if earlier.len() < 2 || sizes != earlier.iter().map(|it| size(&it.call)).sum::<usize>() {
        return false;
    }
    let digest = |call: &ToolCall| DIGEST.of(0, &(&call.name, &call.arguments));
    sum(calls().map(|call| digest(call))) == sum(earlier.iter().map(|it| digest(&it.call)))
}

/// Says whether two turns that asked for the same read the same.
fn same_results(a: &[CallResult], b: &[CallResult]) -> bool {
    let mut pairs = a.iter().zip(b);
    if pairs.all(|(a, b)| same_call(&a.call, &b.call) && same_result(a, b)) {
        return true;
    }
    if a.len() < 2 {
        return false;
    }
    let digest = |it: &CallResult| {
        let (call, result) = (&it.call, &it.result);
        let asked = (&call.name, &call.arguments);
        DIGEST.of(0, &(asked, result.is_error, &result.content))
    };
    sum(a.iter().map(digest)) == sum(b.iter().map(digest))
}

/// A sum of hashes depends on what is in a set and not on its order.
fn sum(digests: impl Iterator<Item = u64>) -> u64 {
    digests.fold(0, u64::wrapping_add)
}
