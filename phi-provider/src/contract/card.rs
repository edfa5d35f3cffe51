//! The score card: a row for each rule, and what failed first.

use std::fmt;

use super::rule::Rule;

/// What a run of the contract found.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreCard {
    /// The protocol and the service.
    pub wire: String,
    /// A row for each rule, in their order.
    pub rows: Vec<Row>,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The rule.
    pub rule: Rule,
    /// What happened.
    pub outcome: Outcome,
    /// How many cases were excused from it.
    pub excused: usize,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Every try kept it.
    Passed {
        /// How many tries there were.
        tries: usize,
    },
    /// A try broke it.
    Failed(Box<Failure>),
    /// It could not be tried.
    NotApplicable {
        /// Why, and what would make it applicable.
        reason: &'static str,
    },
}

/// The first try that broke a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The case, or what was tried where there was none.
    pub case: String,
    /// Where the random numbers of the try began, if it used any.
    pub seed: Option<u64>,
    /// What happened.
    pub what: String,
}

impl Failure {
    pub(super) fn new(case: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            case: case.into(),
            seed: None,
            what: shortened(&what.into()),
        }
    }

    pub(super) fn with_seed(self, seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..self
        }
    }
}

/// Keeps the beginning of a text that is too long for a table.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 1_200;
    if text.chars().count() <= CHARS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    short.push('…');
    short
}

impl ScoreCard {
    /// Returns the rows that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        let failed = |row: &&Row| matches!(row.outcome, Outcome::Failed(_));
        self.rows.iter().filter(failed)
    }

    /// Returns what became of a rule.
    #[must_use]
    pub fn outcome(&self, rule: Rule) -> Option<&Outcome> {
        let row = self.rows.iter().find(|row| row.rule == rule);
        row.map(|row| &row.outcome)
    }

    /// Fails the test that calls it, with the whole card, unless every row passed or does not apply.
    ///
    /// # Panics
    /// Where a row failed.
    pub fn assert(&self) {
        assert!(
            self.failed().next().is_none(),
            "the wire breaks its contract\n{self}"
        );
    }
}

impl fmt::Display for ScoreCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.wire)?;
        for row in &self.rows {
            let (mark, detail) = match &row.outcome {
                Outcome::Passed { tries } => ("passed", format!("{tries} tries")),
                Outcome::Failed(_) => ("FAILED", String::new()),
                Outcome::NotApplicable { reason } => ("n/a", (*reason).to_owned()),
            };
            let mut line = format!("  {:<40} {mark:<7} {detail}", row.rule.fact());
            if row.excused > 0 {
                line.push_str(&format!(", {} cases excused", row.excused));
            }
            writeln!(f, "{}", line.trim_end())?;
            if let Outcome::Failed(failure) = &row.outcome {
                writeln!(f, "      case:   {}", failure.case)?;
                if let Some(seed) = failure.seed {
                    writeln!(f, "      seed:   {seed}")?;
                }
                writeln!(f, "      what:   {}", failure.what)?;
                writeln!(f, "      remedy: {}", row.rule.remedy())?;
            }
        }
        Ok(())
    }
}
