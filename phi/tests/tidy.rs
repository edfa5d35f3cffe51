//! The tree keeps the rules of CONTRIBUTING.md that a program can check.

#[cfg(test)]
#[path = "tidy/documents.rs"]
mod documents;
#[cfg(test)]
#[path = "tidy/hiding.rs"]
mod hiding;
#[cfg(test)]
#[path = "tidy/licences.rs"]
mod licences;
#[cfg(test)]
#[path = "tidy/names.rs"]
mod names;
#[cfg(test)]
#[path = "tidy/packages.rs"]
mod packages;
#[cfg(test)]
#[path = "tidy/rule.rs"]
mod rule;
#[cfg(test)]
#[path = "tidy/shape.rs"]
mod shape;
#[cfg(test)]
#[path = "tidy/source.rs"]
mod source;
#[cfg(test)]
#[path = "tidy/width.rs"]
mod width;
#[cfg(test)]
#[path = "tidy/workspace.rs"]
mod workspace;

use std::path::Path;

use crate::rule::{Rule, sound};
use crate::workspace::Workspace;

fn rules() -> impl Iterator<Item = &'static Rule> {
    let groups = [
        packages::RULES,
        shape::RULES,
        width::RULES,
        hiding::RULES,
        names::RULES,
        documents::RULES,
        licences::RULES,
    ];
    groups.into_iter().flatten()
}

#[test]
fn the_tree_keeps_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = Workspace::read(&root.canonicalize().expect("the root exists"));
    let findings: Vec<String> = rules()
        .flat_map(|rule| {
            let findings = (rule.check)(&workspace).into_iter();
            findings.map(|it| format!("{it}\n    ({})", rule.name))
        })
        .collect();
    assert!(
        findings.is_empty(),
        "{} findings\n{}",
        findings.len(),
        findings.join("\n")
    );
}

#[test]
fn a_sound_workspace_breaks_no_rule() {
    for rule in rules() {
        assert_eq!(
            (rule.check)(&sound()),
            Vec::<String>::new(),
            "{}",
            rule.name
        );
    }
}

#[test]
fn what_breaks_a_rule_is_caught() {
    for rule in rules() {
        assert!(!rule.caught.is_empty(), "`{}` has no fixture", rule.name);
        for (at, caught) in rule.caught.iter().enumerate() {
            let mut broken = sound();
            (caught.change)(&mut broken);
            let findings = (rule.check)(&broken);
            let is_caught = findings.iter().any(|it| it.contains(caught.finding));
            assert!(is_caught, "`{}`, fixture {at}: {findings:?}", rule.name);
        }
    }
}

#[test]
fn what_only_looks_like_a_break_is_not_caught() {
    for rule in rules() {
        for (at, change) in rule.fine.iter().enumerate() {
            let mut fine = sound();
            change(&mut fine);
            let findings = (rule.check)(&fine);
            assert!(
                findings.is_empty(),
                "`{}`, fixture {at}: {findings:?}",
                rule.name
            );
        }
    }
}
