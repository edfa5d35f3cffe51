//! Rules 5 and 10 together: each attempt stands in the log under its model, and is billed at its price.

use phi_loop::{Input, Machine};
use phi_types::{
    Configuration, Delta, EventKind, LimitKind, Limits, Outcome, Price, ProviderError,
    ProviderErrorKind, RetryPolicy, StopReason, Surface, Target, Transcript, Usage,
};

use crate::facts::{ends, limits, on_surface};
use crate::support::{Bench, surface};

fn price(input_usd: f64) -> Option<Price> {
    Some(Price {
        input_usd,
        output_usd: 0.0,
        cache_read_usd: 0.0,
        cache_write_usd: 0.0,
    })
}

/// The first model costs a dollar for a million tokens, the second one ten.
fn priced() -> Surface {
    let mut surface = surface();
    let models = surface.models.iter().zip([1.0, 10.0]);
    let models = models.map(|(model, usd)| Target {
        price: price(usd),
        ..model.clone()
    });
    surface.models = models.collect();
    surface
}

fn millions(count: u64) -> Usage {
    Usage {
        input_tokens: Some(count * 1_000_000),
        ..Usage::default()
    }
}

fn fails(bench: &mut Bench, kind: ProviderErrorKind, usage: Usage) {
    let effect = bench.model();
    bench.handle(Input::Delta(effect.clone(), Delta::Usage(usage)));
    bench.handle(Input::ModelFailed(effect, ProviderError::new(kind, "no")));
}

fn answers(bench: &mut Bench, usage: Usage) {
    bench.answer(&[
        Delta::text(0, "Done."),
        Delta::Usage(usage),
        Delta::finish(StopReason::EndTurn),
    ]);
}

fn retrying() -> Configuration {
    Configuration {
        retry: RetryPolicy {
            attempts_max: 2,
            ..RetryPolicy::default()
        },
        ..Configuration::default()
    }
}

/// The attempts: number and place of the model, and how many millions of tokens it took.
fn attempts(bench: &Bench) -> Vec<(u32, u32, Option<u64>)> {
    let mut attempts = Vec::new();
    for event in &bench.events {
        match &event.kind {
            EventKind::ModelStarted(started) => {
                attempts.push((started.attempt, started.target, None));
            }
            EventKind::ModelFailed(failed) => {
                let tokens = failed.facts.usage.input_tokens;
                let last = attempts.last_mut().unwrap();
                assert_eq!(last.0, failed.attempt);
                last.2 = tokens.map(|tokens| tokens / 1_000_000);
            }
            EventKind::Message(added) => {
                if let phi_types::Message::Assistant(message) = &added.message {
                    let tokens = message.usage.input_tokens;
                    attempts.last_mut().unwrap().2 = tokens.map(|tokens| tokens / 1_000_000);
                }
            }
            _ => {}
        }
    }
    attempts
}

#[test]
fn retries_and_fallbacks_are_billed_at_the_price_of_their_model() {
    let mut bench = on_surface(retrying(), priced());
    fails(&mut bench, ProviderErrorKind::Overloaded, millions(1));
    bench.now = bench.machine.next_timeout().unwrap();
    bench.handle(Input::Timeout);
    fails(&mut bench, ProviderErrorKind::Overloaded, millions(2));
    answers(&mut bench, millions(3));
    ends(&bench, &Outcome::Completed {});
    let expected = [(1, 0, Some(1)), (2, 0, Some(2)), (3, 1, Some(3))];
    assert_eq!(attempts(&bench), expected);
    assert_eq!(bench.machine.transcript().usage(), millions(6));
    assert!((bench.machine.cost_usd() - (1.0 + 2.0 + 30.0)).abs() < 1e-9);
    let restored = Machine::restore(&Transcript::new(), &bench.events).unwrap();
    assert!((restored.cost_usd() - bench.machine.cost_usd()).abs() < f64::EPSILON);
}

#[test]
fn an_attempt_that_reports_nothing_is_logged_and_costs_nothing() {
    let mut bench = on_surface(retrying(), priced());
    bench.fail(ProviderErrorKind::Auth);
    answers(&mut bench, millions(1));
    assert_eq!(attempts(&bench), [(1, 0, None), (2, 1, Some(1))]);
    assert!((bench.machine.cost_usd() - 10.0).abs() < 1e-9);
}

#[test]
fn failed_attempts_alone_reach_a_limit_of_cost() {
    let configuration = Configuration {
        limits: Limits {
            cost_usd: Some(2.0),
            ..Limits::default()
        },
        ..retrying()
    };
    let mut bench = on_surface(configuration, priced());
    fails(&mut bench, ProviderErrorKind::Auth, millions(2));
    bench.call(&["pure"]);
    for effect in bench.tools() {
        bench.end_tool(effect, "ok");
    }
    let limit = LimitKind::Cost;
    ends(&bench, &Outcome::LimitReached { limit });
}

#[test]
fn a_cancelled_attempt_is_billed_with_what_it_had_reported() {
    let mut bench = on_surface(limits(Limits::default()), priced());
    let effect = bench.model();
    for delta in [Delta::Usage(millions(1)), Delta::text(0, "I think")] {
        bench.handle(Input::Delta(effect.clone(), delta));
    }
    bench.handle(Input::Cancel);
    ends(&bench, &Outcome::Cancelled {});
    assert_eq!(bench.machine.transcript().usage(), millions(1));
    assert!((bench.machine.cost_usd() - 1.0).abs() < 1e-9);
}
