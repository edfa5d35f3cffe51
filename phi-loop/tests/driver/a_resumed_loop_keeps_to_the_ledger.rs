//! A loop that began without a ledger keeps to that of the driver which resumes it, from there on; what
//! it spent before counts as its log says.

use std::sync::Arc;

use phi_loop::{Budget, Driver, Ledger, Machine, Spending, replay};
use phi_testkit::{Reply, ScriptedProvider, ScriptedTool};
use phi_types::{
    Configuration, Entry, Event, EventKind, LimitKind, Options, Outcome, Point, Recovered, Surface,
    Transcript, Usage,
};

use crate::facts::{all, calling, done, driver, events, finished, run};

const LOOKS: usize = 6;

/// Every call of a model takes 40 tokens; after so many looks it is done.
fn looking() -> Arc<ScriptedProvider> {
    let usage = Usage {
        input_tokens: Some(40),
        output_tokens: Some(0),
        ..Usage::default()
    };
    let reply = move |view: &phi_types::History| -> Reply {
        let results = view.entries().into_iter();
        let looks = results.filter(|it| matches!(it, Entry::Results(_))).count();
        let reply = if looks < LOOKS {
            calling(&["look"])
        } else {
            done()
        };
        reply.with_usage(usage)
    };
    Arc::new(ScriptedProvider::from_fn(move |_, request| {
        Some(reply(&request.view))
    }))
}

fn scene() -> (Driver, Arc<ScriptedProvider>, Surface) {
    let provider = looking();
    let driver = driver(&provider, &[&ScriptedTool::returning("look", "seen")]);
    let mut surface = driver.surface("", "m");
    surface.options = Arc::new(Options {
        output_tokens_max: Some(20),
        ..Options::default()
    });
    (driver, provider, surface)
}

/// The log of a whole loop without a ledger.
async fn unlimited() -> Vec<Event> {
    let (driver, ..) = scene();
    let mut run = run(&driver, Configuration::default());
    events(&all(&mut run).await)
}

fn ledger(budget: Budget, before: &[Event]) -> Ledger {
    let ledger = Ledger::new(budget);
    ledger.charge(&Spending::of_logs([before]));
    ledger
}

fn tokens(tokens: u64) -> Budget {
    Budget {
        tokens: Some(tokens),
        ..Budget::default()
    }
}

/// Goes on with a log under a ledger; returns the whole log, the outcome, and how often a model was
/// asked. `None` where there is nothing to go on with.
async fn resumed(log: &[Event], ledger: &Ledger) -> Option<(Vec<Event>, Outcome, usize)> {
    let machine = Machine::restore(&Transcript::new(), log).unwrap();
    if machine.awaits().is_some() || machine.outcome().is_some() {
        return None;
    }
    let (driver, provider, surface) = scene();
    let driver = driver.ledger(ledger.clone());
    let mut run = driver.resume(machine, &surface).unwrap();
    let mut whole = log.to_vec();
    whole.extend(events(&all(&mut run).await));
    let replayed = replay(&Transcript::new(), &whole);
    assert!(replayed.is_ok(), "{replayed:?}");
    assert_eq!(ledger.reserved(), Spending::default());
    Some((whole, finished(&run).outcome, provider.request_count()))
}

fn claims(log: &[Event]) -> Vec<Vec<Point>> {
    let claims = log.iter().filter_map(|event| match &event.kind {
        EventKind::Recovered(Recovered::Restart { claims }) => Some(claims.clone()),
        _ => None,
    });
    claims.collect()
}

#[tokio::test(start_paused = true)]
async fn wherever_it_was_cut_it_ends_at_the_limit_and_spends_no_more() {
    let whole = unlimited().await;
    let (mut stopped, mut done) = (0, 0);
    for cut in 1..whole.len() {
        let ledger = ledger(tokens(130), &whole[..cut]);
        let before = ledger.spent().tokens;
        let Some((log, outcome, asked)) = resumed(&whole[..cut], &ledger).await else {
            continue;
        };
        let claimed = vec![Point::BeforeModel, Point::BeforeCompaction];
        let mut seen = claims(&log);
        seen[0].sort_unstable();
        let mut sorted = claimed;
        sorted.sort_unstable();
        assert_eq!(seen, [sorted], "cut at {cut}");
        let spent = ledger.spent().tokens;
        assert!(
            spent <= before.max(130),
            "cut at {cut}: {spent} after {before}"
        );
        assert!(asked <= 3, "cut at {cut}");
        assert_eq!(spent, Spending::of_logs([&log[..]]).tokens, "cut at {cut}");
        let limit = LimitKind::Tokens;
        if outcome == (Outcome::LimitReached { limit }) {
            stopped += 1;
        } else {
            // Its last answer was there already.
            assert_eq!((outcome, asked), (Outcome::Completed {}, 0), "cut at {cut}");
            done += 1;
        }
    }
    assert!(stopped > 30 && done > 0, "{stopped} {done}");
}

#[tokio::test(start_paused = true)]
async fn with_room_it_goes_on_to_its_end_and_the_ledger_knows_all_of_it() {
    let whole = unlimited().await;
    for cut in 1..whole.len() {
        let ledger = ledger(tokens(10_000), &whole[..cut]);
        let Some((log, outcome, _)) = resumed(&whole[..cut], &ledger).await else {
            continue;
        };
        assert_eq!(outcome, Outcome::Completed {}, "cut at {cut}");
        assert_eq!(
            ledger.spent(),
            Spending::of_logs([&log[..]]),
            "cut at {cut}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn tool_calls_are_limited_from_the_resume_on() {
    let whole = unlimited().await;
    let ended = |event: &Event| matches!(event.kind, EventKind::TurnEnded(_));
    let second = whole.iter().enumerate().filter(|(_, it)| ended(it)).nth(1);
    let cut = second.unwrap().0 + 1;
    let budget = Budget {
        tool_calls: Some(3),
        ..Budget::default()
    };
    let ledger = ledger(budget, &whole[..cut]);
    let (log, outcome, _) = resumed(&whole[..cut], &ledger).await.unwrap();
    let limit = LimitKind::ToolCalls;
    assert_eq!(outcome, Outcome::LimitReached { limit });
    assert_eq!(ledger.spent().tool_calls, 3);
    assert_eq!(claims(&log), [[Point::BeforeTool]]);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_began_with_a_ledger_says_nothing_new() {
    let (driver, ..) = scene();
    let mut run = run(
        &driver.ledger(Ledger::new(tokens(10_000))),
        Configuration::default(),
    );
    let whole = events(&all(&mut run).await);
    let cut = whole.len() / 2;
    let ledger = ledger(tokens(130), &whole[..cut]);
    let (log, ..) = resumed(&whole[..cut], &ledger).await.unwrap();
    assert_eq!(claims(&log), [[]]);
    // Nor does one that is resumed without a ledger.
    let (driver, _, surface) = scene();
    let machine = Machine::restore(&Transcript::new(), &whole[..cut]).unwrap();
    let mut run = driver.resume(machine, &surface).unwrap();
    assert_eq!(claims(&events(&all(&mut run).await)), [[]]);
    assert_eq!(finished(&run).outcome, Outcome::Completed {});
}
