//! How tokens are counted where a view is made smaller: by the calibrated estimate, or exactly.

use std::sync::Arc;

use phi_types::{Calibration, Content, EstimatedTokens, History, TokenCounter};

/// How tokens are counted.
#[derive(Debug, Clone)]
pub enum Counting {
    /// By the estimate, which is carried along the view; the calibration corrects its sums.
    Estimated(Calibration),
    /// By an exact counter, whose sums are right as they are.
    Exact(Arc<dyn TokenCounter>),
}

impl Counting {
    /// Counts a text, before any correction.
    #[must_use]
    pub fn text(&self, text: &str) -> u64 {
        match self {
            Self::Estimated(_) => EstimatedTokens.text(text),
            Self::Exact(counter) => counter.text(text),
        }
    }

    /// Counts what a user says or a tool returns, before any correction.
    #[must_use]
    pub fn content(&self, content: &[Content]) -> u64 {
        match self {
            Self::Estimated(_) => EstimatedTokens.content(content),
            Self::Exact(counter) => counter.content(content),
        }
    }

    /// Counts each entry of a view from the first to the newest, before any correction.
    #[must_use]
    pub fn entries(&self, view: &History) -> Vec<u64> {
        match self {
            Self::Estimated(_) => view.estimated_tokens_by_entry(),
            Self::Exact(counter) => {
                let entries = view.entries();
                entries.iter().map(|entry| counter.entry(entry)).collect()
            }
        }
    }

    /// Counts a view, before any correction. An estimate takes constant time.
    #[must_use]
    pub fn view(&self, view: &History) -> u64 {
        match self {
            Self::Estimated(_) => view.estimated_tokens(),
            Self::Exact(counter) => {
                let entries = view.newest_first().map(|entry| counter.entry(entry));
                entries.fold(0, u64::saturating_add)
            }
        }
    }

    /// Returns the tokens of a request of which so many were counted.
    #[must_use]
    pub fn tokens(&self, counted: u64) -> u64 {
        match self {
            Self::Estimated(calibration) => calibration.tokens(counted),
            Self::Exact(_) => counted,
        }
    }
}

/// Two exact counters are equal if they are one and the same.
impl PartialEq for Counting {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Estimated(mine), Self::Estimated(theirs)) => mine == theirs,
            (Self::Exact(mine), Self::Exact(theirs)) => Arc::ptr_eq(mine, theirs),
            (Self::Estimated(_), Self::Exact(_)) | (Self::Exact(_), Self::Estimated(_)) => false,
        }
    }
}
