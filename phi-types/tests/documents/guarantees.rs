//! `docs/guarantees.md`: every guarantee is a sentence with tests that exist.

use std::collections::BTreeSet;

use crate::sources::{code, root, rows, tests};

#[test]
fn every_guarantee_names_tests_or_scripts_that_exist() {
    let tests = tests();
    let mut missing = Vec::new();
    for row in rows("docs/guarantees.md", 3) {
        let named = code(&row[2]);
        assert!(!named.is_empty(), "{}: nothing shows it", row[0]);
        for name in named {
            let exists =
                tests.contains(name) || (name.contains('/') && root().join(name).is_file());
            if !exists {
                missing.push(format!("{}: {name}", row[0]));
            }
        }
    }
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_guarantee_has_a_name_of_its_own_and_ends_as_a_sentence() {
    let mut names = BTreeSet::new();
    for row in rows("docs/guarantees.md", 3) {
        assert!(row[1].ends_with('.'), "{}: {}", row[0], row[1]);
        assert!(names.insert(row[0].clone()), "{} comes twice", row[0]);
    }
    // The rules of the loop have numbers, and none is left out.
    for rule in 1..=10 {
        let found = names.iter().any(|it| {
            let rest = it.strip_prefix(&format!("rule {rule}"));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_alphabetic))
        });
        assert!(found, "rule {rule} has no line");
    }
}
