//! Accepted differences: each is named with a reason, and one that is no longer needed fails.

/// A difference between phi and an oracle that is accepted.
pub(crate) struct Exception {
    /// The case, as `anthropic/rig--…`; a trailing `*` accepts every case with this beginning.
    pub(crate) case: &'static str,
    /// The turn, or `None` for every turn of the case.
    pub(crate) turn: Option<usize>,
    /// The field that differs.
    pub(crate) field: &'static str,
    /// Why it may.
    pub(crate) reason: &'static str,
}

impl Exception {
    fn accepts(&self, found: &Difference) -> bool {
        let case = match self.case.strip_suffix('*') {
            Some(beginning) => found.case.starts_with(beginning),
            None => found.case == self.case,
        };
        case && self.field == found.field && self.turn.is_none_or(|turn| turn == found.turn)
    }
}

/// A difference that a law found.
pub(crate) struct Difference {
    pub(crate) case: String,
    pub(crate) turn: usize,
    pub(crate) field: String,
    pub(crate) detail: String,
}

/// Fails on every difference that no exception names, and on every exception without a difference.
#[track_caller]
pub(crate) fn settle(law: &str, found: &[Difference], exceptions: &[Exception]) {
    let mut report = String::new();
    for difference in found {
        if !exceptions.iter().any(|one| one.accepts(difference)) {
            let Difference {
                case,
                turn,
                field,
                detail,
            } = difference;
            report.push_str(&format!("{case} turn {turn}, `{field}`: {detail}\n"));
        }
    }
    for one in exceptions {
        assert!(
            !one.reason.is_empty(),
            "{}: an exception needs a reason",
            one.case
        );
        if !found.iter().any(|difference| one.accepts(difference)) {
            let (case, field) = (one.case, one.field);
            report.push_str(&format!(
                "{case}, `{field}`: the exception is not needed any more\n"
            ));
        }
    }
    assert!(report.is_empty(), "{law}:\n{report}");
}

#[test]
#[should_panic(expected = "the exception is not needed any more")]
fn an_exception_that_is_no_longer_needed_fails() {
    let exception = Exception {
        case: "a/b",
        turn: None,
        field: "text",
        reason: "it was needed once",
    };
    settle("law", &[], &[exception]);
}

#[test]
#[should_panic(expected = "a/b turn 1, `text`: differs")]
fn a_difference_that_no_exception_names_fails() {
    let difference = Difference {
        case: "a/b".to_owned(),
        turn: 1,
        field: "text".to_owned(),
        detail: "differs".to_owned(),
    };
    let exception = Exception {
        case: "a/b",
        turn: Some(2),
        field: "text",
        reason: "for another turn",
    };
    settle("law", &[difference], &[exception]);
}
