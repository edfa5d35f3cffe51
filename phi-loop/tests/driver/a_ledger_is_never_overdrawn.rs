//! A shared ledger: agents that run at once never spend more than the budget together.

use std::sync::{Arc, Barrier};
use std::thread;

use phi_loop::{Budget, Ledger, Reservation, Spending};
use phi_types::{LimitKind, Price, Usage};
use proptest::prelude::*;

fn tokens(tokens: u64) -> Spending {
    Spending {
        tokens,
        ..Spending::default()
    }
}

fn cost(cost_usd: f64) -> Spending {
    Spending {
        tokens: 1,
        cost_usd,
        ..Spending::default()
    }
}

fn of(tokens: u64) -> Ledger {
    Ledger::new(Budget {
        tokens: Some(tokens),
        ..Budget::default()
    })
}

/// What one agent does with each of its calls.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// Reserves so many tokens and spends so many.
    Spends(u64, u64),
    /// Reserves so many tokens and is cut off.
    IsCutOff(u64),
}

/// One agent half way: the calls that it has still to make, and the one that is under way.
#[derive(Debug)]
struct Agent<'a> {
    calls: &'a [Call],
    under_way: Option<(Reservation, Option<u64>)>,
}

/// What must hold at every moment.
#[derive(Debug, Default)]
struct Oracle {
    settled: u64,
    /// By how much settled calls exceeded their reservations.
    exceeded: u64,
}

impl Oracle {
    fn check(&self, ledger: &Ledger, agents: &[Agent<'_>], budget: u64) {
        let under_way = agents.iter().filter_map(|it| it.under_way.as_ref());
        let reserved: u64 = under_way.map(|(it, _)| it.reserved().tokens).sum();
        assert_eq!(ledger.spent().tokens, self.settled);
        assert_eq!(ledger.reserved().tokens, reserved);
        assert!(
            self.settled + reserved <= budget + self.exceeded,
            "{} are spent and {reserved} reserved of {budget}",
            self.settled
        );
    }

    /// Moves one agent by one step; `false` if it is done.
    fn step(&mut self, ledger: &Ledger, agent: &mut Agent<'_>) -> bool {
        if let Some((reservation, used)) = agent.under_way.take() {
            if let Some(used) = used {
                let more = used.saturating_sub(reservation.reserved().tokens);
                self.settled += used;
                self.exceeded += more;
                reservation.settle(&tokens(used));
            }
            return true;
        }
        let Some((call, rest)) = agent.calls.split_first() else {
            return false;
        };
        agent.calls = rest;
        let (wanted, used) = match *call {
            Call::Spends(wanted, used) => (wanted, Some(used)),
            Call::IsCutOff(wanted) => (wanted, None),
        };
        match ledger.reserve(&tokens(wanted)) {
            Ok(reservation) => agent.under_way = Some((reservation, used)),
            Err(limit) => {
                assert_eq!(limit, LimitKind::Tokens);
                agent.calls = &[];
            }
        }
        true
    }
}

/// Runs the agents in the order that `turns` says, then whoever is left in turn.
fn interleave(budget: u64, plans: &[Vec<Call>], turns: &[usize]) -> Ledger {
    let ledger = of(budget);
    let mut oracle = Oracle::default();
    let mut agents: Vec<Agent<'_>> = plans
        .iter()
        .map(|calls| Agent {
            calls,
            under_way: None,
        })
        .collect();
    for turn in turns {
        oracle.step(&ledger, &mut agents[*turn]);
        oracle.check(&ledger, &agents, budget);
    }
    for agent in 0..agents.len() {
        while oracle.step(&ledger, &mut agents[agent]) {
            oracle.check(&ledger, &agents, budget);
        }
    }
    assert_eq!(ledger.reserved(), Spending::default(), "all is given back");
    ledger
}

/// Every order in which so many steps of each agent can come.
fn orders(left: &mut [usize], so_far: &mut Vec<usize>, each: &mut dyn FnMut(&[usize])) {
    if left.iter().all(|left| *left == 0) {
        return each(so_far);
    }
    for agent in 0..left.len() {
        if left[agent] > 0 {
            left[agent] -= 1;
            so_far.push(agent);
            orders(left, so_far, each);
            so_far.pop();
            left[agent] += 1;
        }
    }
}

#[test]
fn every_interleaving_of_three_agents_stays_inside_the_budget() {
    let plans = [
        vec![Call::Spends(40, 40), Call::Spends(40, 10)],
        vec![Call::Spends(50, 30), Call::IsCutOff(60)],
        vec![Call::IsCutOff(70), Call::Spends(30, 30)],
    ];
    let mut count = 0;
    let mut refused = 0;
    orders(&mut [4, 4, 4], &mut Vec::new(), &mut |turns| {
        let ledger = interleave(100, &plans, turns);
        assert!(ledger.spent().tokens <= 100);
        refused += u32::from(ledger.spent().tokens < 40 + 10 + 30 + 30);
        count += 1;
    });
    assert_eq!(count, 34_650);
    assert!(refused > 0, "the budget never mattered");
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        (1..60_u64, 0..90_u64).prop_map(|(wanted, used)| Call::Spends(wanted, used)),
        (1..60_u64).prop_map(Call::IsCutOff),
    ]
}

proptest! {
    #[test]
    fn any_agents_in_any_order_exceed_it_by_no_more_than_their_calls_do(
        budget in 0..200_u64,
        plans in prop::collection::vec(prop::collection::vec(call(), 0..6), 1..5),
        turns in prop::collection::vec(0..5_usize, 0..60),
    ) {
        let turns: Vec<usize> = turns.into_iter().map(|turn| turn % plans.len()).collect();
        interleave(budget, &plans, &turns);
    }
}

#[test]
fn threads_that_reserve_at_once_share_what_is_there() {
    let ledger = of(1_000);
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (ledger, barrier) = (ledger.clone(), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                let mut spent = 0;
                while let Ok(reservation) = ledger.reserve(&tokens(7)) {
                    assert!(ledger.spent().tokens + ledger.reserved().tokens <= 1_000);
                    reservation.settle(&tokens(7));
                    spent += 7;
                }
                spent
            })
        })
        .collect();
    let spent: u64 = threads.into_iter().map(|it| it.join().unwrap()).sum();
    assert_eq!(ledger.spent().tokens, spent);
    assert_eq!(ledger.reserved(), Spending::default());
    // Whoever was refused saw what others had reserved, and all of that was spent in the end.
    assert_eq!(spent, 1_000 - 1_000 % 7);
}

#[test]
fn a_reservation_that_is_dropped_is_free_again() {
    let ledger = of(10);
    let first = ledger.reserve(&tokens(10)).unwrap();
    assert_eq!(
        ledger.reserve(&tokens(1)).unwrap_err(),
        LimitKind::Tokens,
        "it is taken"
    );
    let panicked = thread::spawn(move || {
        let _held = first;
        panic!("a call panics");
    });
    assert!(panicked.join().is_err());
    assert_eq!(ledger.reserved(), Spending::default());
    ledger.reserve(&tokens(10)).unwrap().settle(&tokens(4));
    assert_eq!(ledger.spent(), tokens(4));
}

#[test]
fn costs_add_up_without_a_rest() {
    let ledger = Ledger::new(Budget {
        cost_usd: Some(0.3),
        ..Budget::default()
    });
    let held: Vec<_> = (0..3).map(|_| ledger.reserve(&cost(0.1))).collect();
    assert!(held.iter().all(Result::is_ok), "three tenths fit");
    assert_eq!(ledger.reserve(&cost(1e-9)).unwrap_err(), LimitKind::Cost);
    drop(held);
    assert_eq!(ledger.reserved(), Spending::default());
}

#[test]
fn a_price_that_is_not_known_costs_nothing_and_its_tokens_count() {
    let usage = Usage {
        input_tokens: Some(1_000_000),
        output_tokens: Some(1),
        ..Usage::default()
    };
    let price = Price {
        input_usd: 2.0,
        output_usd: 0.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    };
    assert_eq!(Spending::of(&usage, None), tokens(1_000_001));
    let priced = Spending::of(&usage, Some(&price));
    assert!((priced.cost_usd - 2.0).abs() < 1e-9);
    let ledger = Ledger::new(Budget {
        cost_usd: Some(1.0),
        ..Budget::default()
    });
    ledger.reserve(&tokens(5)).unwrap().settle(&priced);
    let unpriced = ledger.reserve(&tokens(5));
    assert_eq!(unpriced.unwrap_err(), LimitKind::Cost, "all is spent");
}

#[test]
fn limits_that_are_no_numbers_limit_nothing_and_nothing_overflows() {
    for odd in [f64::NAN, f64::INFINITY, 1e300] {
        let ledger = Ledger::new(Budget {
            cost_usd: Some(odd),
            tokens: Some(u64::MAX),
            ..Budget::default()
        });
        ledger.charge(&cost(1e9));
        ledger.reserve(&cost(1.0)).unwrap().settle(&cost(f64::NAN));
        for _ in 0..3 {
            let all = Spending {
                tokens: u64::MAX,
                cost_usd: f64::MAX,
                tool_calls: u64::MAX,
                agents: u64::MAX,
            };
            ledger.charge(&all);
            ledger.reserve_beyond(&all).settle(&all);
        }
        assert_eq!(ledger.reserved(), Spending::default());
        assert_eq!(ledger.spent().tokens, u64::MAX);
    }
    let below_nothing = Ledger::new(Budget {
        cost_usd: Some(-1.0),
        ..Budget::default()
    });
    assert_eq!(
        below_nothing.reserve(&cost(0.1)).unwrap_err(),
        LimitKind::Cost
    );
}

#[test]
fn tool_calls_and_tokens_are_limited_apart() {
    let ledger = Ledger::new(Budget {
        tokens: Some(10),
        tool_calls: Some(1),
        ..Budget::default()
    });
    let call = ledger.reserve(&Spending::tool_call()).unwrap();
    assert_eq!(
        ledger.reserve(&Spending::tool_call()).unwrap_err(),
        LimitKind::ToolCalls
    );
    ledger.reserve(&tokens(10)).unwrap().settle(&tokens(10));
    call.settle(&Spending::tool_call());
    assert_eq!(ledger.near(), [LimitKind::Tokens, LimitKind::ToolCalls]);
}

#[test]
fn depth_and_number_of_sub_agents_are_limited() {
    let ledger = Ledger::new(Budget {
        agents: Some(4),
        agents_at_once: Some(2),
        depth: Some(1),
        ..Budget::default()
    });
    let first = ledger.spawn().unwrap();
    assert_eq!(first.ledger().depth(), 1);
    assert_eq!(first.ledger().spawn().unwrap_err(), LimitKind::Depth);
    let second = ledger.spawn().unwrap();
    assert_eq!(ledger.spawn().unwrap_err(), LimitKind::AgentsAtOnce);
    drop((first, second));
    for _ in 0..2 {
        drop(ledger.spawn().unwrap());
    }
    assert_eq!(ledger.spawn().unwrap_err(), LimitKind::Agents);
    assert_eq!(ledger.spent().agents, 4);
}

#[test]
fn a_tree_without_a_budget_has_bounds_all_the_same() {
    let mut places = vec![Ledger::new(Budget::default()).spawn().unwrap()];
    let refused = loop {
        match places.last().unwrap().ledger().spawn() {
            Ok(place) => places.push(place),
            Err(limit) => break limit,
        }
    };
    assert_eq!((places.len(), refused), (8, LimitKind::Depth));
    let root = Ledger::new(Budget::default());
    let places: Vec<_> = std::iter::from_fn(|| root.spawn().ok()).collect();
    assert_eq!(places.len(), 32);
}

#[test]
fn a_last_call_may_exceed_the_budget_and_counts() {
    let ledger = of(10);
    ledger.charge(&tokens(10));
    assert_eq!(ledger.reserve(&tokens(1)).unwrap_err(), LimitKind::Tokens);
    ledger.reserve_beyond(&tokens(3)).settle(&tokens(3));
    assert_eq!(ledger.spent(), tokens(13));
}
