//! Runs of entries: of which stretches of the history, and of which stand-ins, a view is made.

/// Entries of the view that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Run {
    /// Entries of the history.
    Originals { first: usize, count: usize },
    /// Messages that an overlay puts in the place of others. A run of none marks the place of an
    /// overlay that puts nothing there.
    StandIns {
        overlay: usize,
        first: usize,
        count: usize,
    },
}

impl Run {
    pub(super) fn len(&self) -> usize {
        let (Self::Originals { count, .. } | Self::StandIns { count, .. }) = self;
        *count
    }

    pub(super) fn split(self, at: usize) -> (Self, Self) {
        match self {
            Self::Originals { first, count } => (
                Self::Originals { first, count: at },
                Self::Originals {
                    first: first + at,
                    count: count - at,
                },
            ),
            Self::StandIns {
                overlay,
                first,
                count,
            } => (
                Self::StandIns {
                    overlay,
                    first,
                    count: at,
                },
                Self::StandIns {
                    overlay,
                    first: first + at,
                    count: count - at,
                },
            ),
        }
    }

    /// Returns both as one, if the other follows this one in the history too.
    pub(super) fn with(self, next: Self) -> Option<Self> {
        match (self, next) {
            (
                Self::Originals { first, count },
                Self::Originals {
                    first: then,
                    count: more,
                },
            ) if first + count == then => {
                let count = count + more;
                Some(Self::Originals { first, count })
            }
            _ => None,
        }
    }
}

/// An overlay that is taken off.
pub(super) struct Gone {
    pub(super) place: usize,
    /// How many stand-ins it had.
    pub(super) len: usize,
    pub(super) hidden: Vec<Run>,
}

impl Gone {
    /// Returns what comes back in the place of a run; `None` if the run is not of this overlay.
    pub(super) fn back(&self, run: Run) -> Option<&[Run]> {
        match run {
            Run::StandIns {
                overlay,
                first,
                count,
            } if overlay == self.place => {
                let last = first + count == self.len;
                Some(if last { &self.hidden } else { &[] })
            }
            Run::StandIns { .. } | Run::Originals { .. } => None,
        }
    }

    /// Puts what comes back in the place of its stand-ins.
    pub(super) fn leave(&self, runs: &mut Vec<Run>) {
        if runs.iter().all(|run| self.back(*run).is_none()) {
            return;
        }
        let left = runs.iter().flat_map(|run| match self.back(*run) {
            Some(back) => back.to_vec(),
            None => vec![*run],
        });
        *runs = left.collect();
    }
}
