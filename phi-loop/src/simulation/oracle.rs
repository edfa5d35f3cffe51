//! What holds in every world, and how a world says that it does not.

use std::fmt;

/// A promise of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oracle {
    /// The fold of the log is the machine that wrote it.
    FoldEqualsLive,
    /// Every call of a message gets exactly one result, before the next model call.
    AnsweredOnce,
    /// Nothing follows the end of a loop, and events come in the order of their numbers.
    InOrder,
    /// What is handed out, or broken off, was announced by an event before.
    WriteAhead,
    /// The usage at the end is the sum of what every attempt and compaction reported.
    UsageAddsUp,
    /// A call that must not run twice is started at most once, whatever crashes.
    StartsAtMostOnce,
    /// A loop that has not ended has something outstanding, a timeout, or awaits an input by name;
    /// and what is outstanding is what was handed out.
    SomethingAwaited,
    /// A machine that was restored does what the one that was never interrupted does.
    RestoreUnobservable,
    /// A resume adds the interruptions of what was open, and nothing else of its own.
    ResumeInterrupts,
    /// A replay of the log writes the same log.
    ReplayEqual,
    /// Every conversation that is handed out is one that providers accept.
    TranscriptAccepted,
    /// An input that is refused changes nothing; an answer to what is outstanding is not refused.
    Refusals,
    /// A request that does not continue the one before it is reported, and no other is.
    CacheBreaks,
    /// What a compaction reports is what the next request holds, and it is less.
    Compactions,
    /// A loop whose every effect is answered ends.
    Ends,
    /// Nothing panics.
    NoPanic,
    /// What the setting itself checks.
    Setting,
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FoldEqualsLive => "the fold of the log equals the live machine",
            Self::AnsweredOnce => "every call is answered once",
            Self::InOrder => "events are in order and nothing follows the end",
            Self::WriteAhead => "events come before what they announce",
            Self::UsageAddsUp => "usage adds up",
            Self::StartsAtMostOnce => "at-most-once tools start at most once",
            Self::SomethingAwaited => "not ended implies something awaited",
            Self::RestoreUnobservable => "a restore is unobservable",
            Self::ResumeInterrupts => "a resume adds only interruptions",
            Self::ReplayEqual => "a replay writes the same log",
            Self::TranscriptAccepted => "every transcript is accepted by providers",
            Self::Refusals => "refused inputs change nothing and due answers are not refused",
            Self::CacheBreaks => "cache breaks are reported",
            Self::Compactions => "compactions report what they do",
            Self::Ends => "what is answered ends",
            Self::NoPanic => "nothing panics",
            Self::Setting => "what the setting checks",
        })
    }
}

/// Says which promise was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken: {oracle}: {what}")]
pub struct Broken {
    /// The promise.
    pub oracle: Oracle,
    /// What was seen, for a person.
    pub what: String,
}

impl Oracle {
    /// Breaks the promise where something does not hold; `what` is asked only then.
    pub(super) fn holds(self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
        if holds {
            return Ok(());
        }
        Err(self.broken(what()))
    }

    pub(super) fn broken(self, what: String) -> Broken {
        Broken { oracle: self, what }
    }
}
