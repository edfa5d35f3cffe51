//! What a rule is, and the sound workspace that the fixtures of the rules break.

use crate::workspace::{Dependency, Foreign, Kind, Package, Workspace};

/// One rule of the tree, a pure function, with the fixtures that prove it.
pub(crate) struct Rule {
    /// The rule as a fact about a tidy tree.
    pub(crate) name: &'static str,
    /// Says what breaks the rule: where, what, and the remedy.
    pub(crate) check: fn(&Workspace) -> Vec<String>,
    /// Changes of a sound workspace that break the rule.
    pub(crate) caught: &'static [Caught],
    /// Changes that look alike and break nothing.
    pub(crate) fine: &'static [fn(&mut Workspace)],
}

/// A change that breaks a rule, and a part of what the rule says then.
pub(crate) struct Caught {
    pub(crate) change: fn(&mut Workspace),
    pub(crate) finding: &'static str,
}

/// Short for a [`Caught`].
pub(crate) const fn caught(change: fn(&mut Workspace), finding: &'static str) -> Caught {
    Caught { change, finding }
}

const LIBRARY: &str = r#"//! The noun of the crate.
//!
//! ```
//! assert_eq!(1 + 1, 2);
//! ```

mod message;

pub use message::{Message, Part};
"#;

const MESSAGE: &str = r#"//! The job of the file.

use std::fmt;

/// A message.
pub struct Message(String);

impl Message {
    /// Makes a message.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_fact() {}
}
"#;

const MANIFEST: &str = r#"[package]
name = "NAME"
description = "The noun of the crate."
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
serde.workspace = true

[lints]
workspace = true
"#;

/// The folders of the sound workspace.
const PACKAGES: &[&str] = &["phi", "phi-cli", "phi-loop", "phi-session", "phi-types"];

/// Makes a small workspace that breaks no rule.
pub(crate) fn sound() -> Workspace {
    let mut workspace = Workspace::default();
    for name in PACKAGES {
        workspace.packages.push(Package {
            name: (*name).to_owned(),
            folder: (*name).to_owned(),
            dependencies: Vec::new(),
        });
        write(
            &mut workspace,
            &format!("{name}/Cargo.toml"),
            &MANIFEST.replace("NAME", name),
        );
        write(
            &mut workspace,
            &format!("{name}/CHANGELOG.md"),
            "# Changelog\n\n## Unreleased\n",
        );
        write(&mut workspace, &format!("{name}/src/lib.rs"), LIBRARY);
        write(&mut workspace, &format!("{name}/src/message.rs"), MESSAGE);
    }
    for name in ["phi-types", "phi-loop"] {
        let bans = crate::packages::CLOCKS.join("\", \"");
        let text = format!("disallowed-methods = [\"{bans}\"]\n");
        write(&mut workspace, &format!("{name}/clippy.toml"), &text);
    }
    let lints: String = crate::packages::LINTS
        .iter()
        .map(|lint| format!("{lint} = \"warn\"\n"))
        .collect();
    write(
        &mut workspace,
        "Cargo.toml",
        &format!("[workspace.dependencies]\nserde = \"1\"\n\n[workspace.lints.rust]\n{lints}"),
    );
    let crates: String = PACKAGES.iter().map(|it| format!("`{it}`\n")).collect();
    let commands = crate::documents::COMMANDS.join("\n") + "\n" + &crates;
    write(
        &mut workspace,
        "README.md",
        &format!("# phi\n\n{commands}\n"),
    );
    write(
        &mut workspace,
        "docs/adr/README.md",
        "- [0001](0001-one.md)\n",
    );
    write(
        &mut workspace,
        "docs/adr/0001-one.md",
        crate::documents::ADR,
    );
    write(
        &mut workspace,
        "docs/glossary.md",
        "**Loop**: a run.\n\n**Turn**: a step.\n",
    );
    write(
        &mut workspace,
        "deny.toml",
        "[licenses]\nallow = [\"MIT\", \"Zlib\"]\n[bans]\ndeny = [\n\"eyre\",\n{ crate = \"anyhow\", wrappers = [\"tiktoken-rs\"] },\n]\n",
    );
    workspace.foreign.push(Foreign {
        name: "serde".to_owned(),
        version: "1.0.0".to_owned(),
        licence: Some("MIT OR Apache-2.0".to_owned()),
        source: crate::licences::REGISTRY.to_owned(),
        users: vec!["phi".to_owned()],
    });
    workspace
}

/// Writes a file into a fixture.
pub(crate) fn write(workspace: &mut Workspace, path: &str, text: &str) {
    workspace.insert(path.to_owned(), text.to_owned());
}

/// Adds text to the end of a file of a fixture.
pub(crate) fn append(workspace: &mut Workspace, path: &str, text: &str) {
    let all = workspace.text(path).to_owned() + text;
    workspace.insert(path.to_owned(), all);
}

/// Replaces a part of a file of a fixture.
pub(crate) fn replace(workspace: &mut Workspace, path: &str, from: &str, to: &str) {
    let text = workspace.text(path);
    assert!(text.contains(from), "{path} holds no {from:?}");
    let text = text.replace(from, to);
    workspace.insert(path.to_owned(), text);
}

/// Puts shipped code, and nothing else, into a file of a fixture.
pub(crate) fn code(workspace: &mut Workspace, text: &str) {
    write(
        workspace,
        "phi-types/src/message.rs",
        &format!("//! The job.\n\n{text}\n"),
    );
}

/// Adds an arrow to a fixture.
pub(crate) fn arrow(workspace: &mut Workspace, from: &str, to: &str, kind: Kind) {
    let dependency = Dependency {
        name: to.to_owned(),
        kind,
        optional: false,
        path: None,
    };
    let package = workspace.packages.iter_mut().find(|it| it.name == from);
    package
        .expect("a package of the fixture")
        .dependencies
        .push(dependency);
}
