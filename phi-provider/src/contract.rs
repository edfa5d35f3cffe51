//! What every wire keeps, as a kit that a stranger runs on their own wire in `cargo test`.
//!
//! Give [`WireContract`] a way to make the wire and some recorded bodies, and assert the
//! [`ScoreCard`] that comes back. Each row is a [`Rule`]; a row that fails names the case, the seed
//! and the remedy. The same seed tries the same bytes on every machine.
//!
//! ```
//! # #[cfg(feature = "ollama")] {
//! use phi_provider::{OllamaChat, contract::{Case, Expected, WireContract}};
//! use phi_types::StopReason;
//!
//! let body = concat!(
//!     r#"{"message":{"role":"assistant","content":"Hi"},"done":false}"#, "\n",
//!     r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#, "\n",
//! );
//! let expected = Expected::text("Hi").with_stop_reason(StopReason::EndTurn);
//! let contract = WireContract::new(OllamaChat::default);
//! contract.with_case(Case::new("hi", body).with_expected(expected)).run().assert();
//! # }
//! ```

mod card;
mod case;
mod conversation;
mod decoding;
mod directory;
mod encoding;
mod grammar;
mod hostile;
mod random;
mod replay;
mod rule;
mod secrets;
mod statuses;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use card::{Failure, Outcome, Row, ScoreCard};
pub use case::{Case, Expected, ExpectedCall};
pub use directory::CaseError;
pub use rule::Rule;

use crate::credential::Secret;
use crate::limits::Limits;
use crate::wire::Wire;
use watch::{Progress, guarded};

/// The secret that the kit asks with. A wire that takes its key when it is made is given this one,
/// so that the kit finds it wherever it leaks.
pub const SECRET: &str = "sk-contract-0b3f6a7c91d2e845";

type Make = dyn Fn() -> Box<dyn Wire> + Send + Sync;
type MakeLimited = dyn Fn(Limits) -> Box<dyn Wire> + Send + Sync;

/// The rules of a wire, with what they are tried on.
#[derive(Clone)]
pub struct WireContract {
    subject: Subject,
}

/// What is tested, as every rule sees it.
#[derive(Clone)]
struct Subject {
    make: Arc<Make>,
    make_limited: Option<Arc<MakeLimited>>,
    cases: Arc<[Case]>,
    secret: Option<Secret>,
    model: Arc<str>,
    seed: u64,
    mutations: usize,
    newest_entries: usize,
    patience: Duration,
}

impl std::fmt::Debug for WireContract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireContract")
            .field("cases", &self.subject.cases.len())
            .field("seed", &self.subject.seed)
            .finish_non_exhaustive()
    }
}

impl WireContract {
    /// Takes a way to make the wire, always the same one.
    #[must_use]
    pub fn new<W: Wire + 'static>(make: impl Fn() -> W + Send + Sync + 'static) -> Self {
        Self {
            subject: Subject {
                make: Arc::new(move || Box::new(make())),
                make_limited: None,
                cases: Arc::new([]),
                secret: None,
                model: Arc::from("model"),
                seed: 1,
                mutations: 2_000,
                newest_entries: 1,
                patience: Duration::from_secs(120),
            },
        }
    }

    /// Adds a recorded body.
    #[must_use]
    pub fn with_case(self, case: Case) -> Self {
        self.with_cases([case])
    }

    /// Adds recorded bodies, as those of [`Case::read_dir`].
    #[must_use]
    pub fn with_cases(mut self, cases: impl IntoIterator<Item = Case>) -> Self {
        let all = self.subject.cases.iter().cloned().chain(cases);
        self.subject.cases = all.collect();
        self
    }

    /// Takes a way to make the wire with other limits, without which nobody can count the memory
    /// that it holds.
    #[must_use]
    pub fn with_limits<W: Wire + 'static>(
        mut self,
        make: impl Fn(Limits) -> W + Send + Sync + 'static,
    ) -> Self {
        self.subject.make_limited = Some(Arc::new(move |limits| Box::new(make(limits))));
        self
    }

    /// Sets the credential that the wire takes. Its secret part should be [`SECRET`]. Default: a
    /// key, an access token, and keys of AWS, of which the wire must take one.
    #[must_use]
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.subject.secret = Some(secret);
        self
    }

    /// Sets the model that is asked. Default: `model`.
    #[must_use]
    pub fn with_model(mut self, model: &str) -> Self {
        self.subject.model = Arc::from(model);
        self
    }

    /// Sets where the random numbers begin. Default: 1.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.subject.seed = seed;
        self
    }

    /// Sets how many damaged bodies are tried, all cases together. Default: 2,000.
    #[must_use]
    pub fn with_mutations(mut self, mutations: usize) -> Self {
        self.subject.mutations = mutations;
        self
    }

    /// Sets how many of the newest entries may become other bytes when a conversation grows, as where
    /// marks of a cache move with its end. Default: 1.
    #[must_use]
    pub fn with_newest_entries(mut self, newest_entries: usize) -> Self {
        self.subject.newest_entries = newest_entries;
        self
    }

    /// Sets how long one try may take before it counts as one that never ends. Default: two minutes.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.subject.patience = patience;
        self
    }

    /// Runs every rule. A rule runs on a thread of its own, which is left behind where it never ends.
    #[must_use]
    pub fn run(&self) -> ScoreCard {
        let rows = Rule::ALL.iter().map(|rule| self.check(*rule));
        ScoreCard {
            wire: self.title(),
            rows: rows.collect(),
        }
    }

    /// Checks one rule.
    #[must_use]
    pub fn check(&self, rule: Rule) -> Row {
        let subject = self.subject.clone();
        let excused = self.subject.cases.iter();
        let excused = excused.filter(|case| case.excuse(rule).is_some()).count();
        let outcome = guarded(self.subject.patience, "the first try", move |progress| {
            run(rule, &subject, progress)
        });
        Row {
            rule,
            outcome: outcome.unwrap_or_else(|failure| Outcome::Failed(Box::new(failure))),
            excused,
        }
    }

    fn title(&self) -> String {
        let make = Arc::clone(&self.subject.make);
        let title = guarded(self.subject.patience, "identity", move |_| {
            let wire = make();
            let identity = wire.identity();
            Ok(format!("{} at {}", identity.protocol, identity.provider))
        });
        title.unwrap_or_else(|_| "a wire that cannot be made".to_owned())
    }
}

/// Runs the rules on a wire with recorded bodies and nothing else: see [`WireContract`].
#[must_use]
pub fn wire<W: Wire + 'static>(
    make: impl Fn() -> W + Send + Sync + 'static,
    cases: impl IntoIterator<Item = Case>,
) -> ScoreCard {
    WireContract::new(make).with_cases(cases).run()
}

fn run(rule: Rule, subject: &Subject, progress: &Progress) -> Result<Outcome, Failure> {
    match rule {
        Rule::Identity => encoding::identity(subject, progress),
        Rule::Meaning => decoding::meaning(subject, progress),
        Rule::AnyCut => decoding::any_cut(subject, progress),
        Rule::CutShort => decoding::cut_short(subject, progress),
        Rule::Grammar => decoding::grammar(subject, progress),
        Rule::OverIsOver => decoding::over_is_over(subject, progress),
        Rule::DamagedBytes => hostile::damaged_bytes(subject, progress),
        Rule::HostileBytes => hostile::hostile_bytes(subject, progress),
        Rule::BoundedMemory => hostile::bounded_memory(subject, progress),
        Rule::StickyErrors => hostile::sticky_errors(subject, progress),
        Rule::Statuses => statuses::statuses(subject, progress),
        Rule::RetryAfter => statuses::retry_after(subject, progress),
        Rule::EqualBytes => encoding::equal_bytes(subject, progress),
        Rule::StablePrefix => encoding::stable_prefix(subject, progress),
        Rule::UsedWire => encoding::used_wire(subject, progress),
        Rule::Credential => secrets::credential(subject, progress),
        Rule::NoLeak => secrets::no_leak(subject, progress),
        Rule::Replay => replay::replay(subject, progress),
        Rule::AnyHistory => replay::any_history(subject, progress),
    }
}

impl Subject {
    fn wire(&self) -> Box<dyn Wire> {
        (self.make)()
    }

    /// The cases that a rule is tried on.
    fn cases_for(&self, rule: Rule) -> impl Iterator<Item = &Case> {
        let cases = self.cases.iter();
        cases.filter(move |case| case.excuse(rule).is_none())
    }
}
