//! Rules about packages: their arrows, their manifests, their lints.

use crate::rule::{Rule, append, arrow, caught, replace};
use crate::workspace::{Kind, Package, Workspace};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "arrows point down",
        check: arrows,
        caught: &[
            caught(
                |it| arrow(it, "phi-loop", "phi-session", Kind::Normal),
                "phi-loop -> phi-session",
            ),
            caught(
                |it| arrow(it, "phi-types", "phi-loop", Kind::Build),
                "phi-types -> phi-loop",
            ),
            caught(
                |it| arrow(it, "phi-session", "phi-loop", Kind::Development),
                "phi-session -> phi-loop",
            ),
            caught(
                |it| arrow(it, "phi", "phi-cli", Kind::Normal),
                "phi -> phi-cli",
            ),
            caught(
                |it| arrow(it, "phi-loop", "phi-testkit", Kind::Normal),
                "phi-loop -> phi-testkit",
            ),
            caught(|it| it.packages[0].name = "phi-new".to_owned(), "phi-new"),
        ],
        fine: &[
            |it| arrow(it, "phi-loop", "phi-types", Kind::Normal),
            |it| arrow(it, "phi-loop", "phi-testkit", Kind::Development),
            |it| arrow(it, "phi-loop", "phi-loop", Kind::Development),
            |it| arrow(it, "phi-cli", "phi", Kind::Normal),
            |it| arrow(it, "phi-types", "serde", Kind::Normal),
        ],
    },
    Rule {
        name: "pure crates need no runtime",
        check: runtimes,
        caught: &[
            caught(
                |it| arrow(it, "phi-types", "tokio", Kind::Normal),
                "phi-types",
            ),
            caught(
                |it| arrow(it, "phi-loop", "reqwest", Kind::Normal),
                "phi-loop",
            ),
        ],
        fine: &[
            |it| arrow(it, "phi-types", "tokio", Kind::Development),
            |it| arrow(it, "phi-session", "tokio", Kind::Normal),
            |it| {
                arrow(it, "phi-loop", "tokio", Kind::Normal);
                for package in &mut it.packages {
                    package
                        .dependencies
                        .iter_mut()
                        .for_each(|it| it.optional = true);
                }
            },
        ],
    },
    Rule {
        name: "the dependencies of a crate are folders of this repository or published",
        check: paths,
        caught: &[caught(
            |it| {
                arrow(it, "phi-loop", "other", Kind::Normal);
                for package in &mut it.packages {
                    for dependency in &mut package.dependencies {
                        dependency.path = Some("/elsewhere/other".to_owned());
                    }
                }
            },
            "other",
        )],
        fine: &[],
    },
    Rule {
        name: "a manifest inherits from the workspace",
        check: manifests,
        caught: &[
            caught(
                |it| replace(it, "phi/Cargo.toml", "[lints]\nworkspace = true", ""),
                "lints",
            ),
            caught(
                |it| {
                    replace(
                        it,
                        "phi/Cargo.toml",
                        "edition.workspace = true",
                        "edition = \"2021\"",
                    );
                },
                "edition",
            ),
            caught(
                |it| {
                    replace(
                        it,
                        "phi/Cargo.toml",
                        "serde.workspace = true",
                        "serde = \"1\"",
                    );
                },
                "serde",
            ),
            caught(
                |it| append(it, "phi/Cargo.toml", "[dev-dependencies]\nx = \"1\"\n"),
                "`x",
            ),
            caught(
                |it| replace(it, "phi/Cargo.toml", "description", "about"),
                "description",
            ),
        ],
        fine: &[
            |it| {
                append(
                    it,
                    "phi/Cargo.toml",
                    "[dev-dependencies]\nphi = { path = \".\", features = [\"x\"] }\n",
                );
            },
            |it| {
                replace(
                    it,
                    "phi/Cargo.toml",
                    "[lints]\nworkspace = true",
                    "lints.workspace = true",
                );
            },
            |it| {
                let features = "tokio = { workspace = true, features = [\n  \"rt\",\n] }\n";
                replace(
                    it,
                    "phi/Cargo.toml",
                    "[dependencies]\n",
                    &format!("[dependencies]\n{features}"),
                );
            },
        ],
    },
    Rule {
        name: "every dependency of the workspace is used",
        check: unused,
        caught: &[caught(
            |it| replace(it, "Cargo.toml", "serde =", "serde = \"1\"\nlog ="),
            "`log`",
        )],
        fine: &[|it| append(it, "Cargo.toml", "log = \"1\"\n")],
    },
    Rule {
        name: "the workspace turns its lints on",
        check: lints,
        caught: &[caught(
            |it| replace(it, "Cargo.toml", "unwrap_used = \"warn\"", ""),
            "unwrap_used",
        )],
        fine: &[],
    },
    Rule {
        name: "pure crates ban the clocks",
        check: clocks,
        caught: &[
            caught(
                |it| replace(it, "phi-types/clippy.toml", "chrono::Utc::now", ""),
                "chrono::Utc::now",
            ),
            caught(
                |it| {
                    it.files.remove("phi-loop/clippy.toml");
                },
                "phi-loop/clippy.toml",
            ),
        ],
        fine: &[],
    },
];

/// The crates of ARCHITECTURE.md and what each may use, from the lowest layer up.
const ARROWS: &[(&str, &[&str])] = &[
    ("phi-types", &[]),
    ("phi-provider", &["phi-types"]),
    ("phi-loop", &["phi-types"]),
    ("phi-session", &["phi-types"]),
    ("phi-tools", &["phi-types"]),
    ("phi-testkit", &["phi-types"]),
    ("phi-eval", &["phi-types", "phi-loop"]),
    ("phi-mcp", &["phi-types"]),
    (
        "phi",
        &[
            "phi-types",
            "phi-provider",
            "phi-loop",
            "phi-session",
            "phi-tools",
            "phi-eval",
        ],
    ),
    ("phi-cli", TOP),
    ("phi-acp", TOP),
    ("benches", TOP),
];

/// What the top layer may use: everything below it.
const TOP: &[&str] = &[
    "phi-types",
    "phi-provider",
    "phi-loop",
    "phi-session",
    "phi-tools",
    "phi-testkit",
    "phi-eval",
    "phi-mcp",
    "phi",
];

/// What reaches for the world: pure crates have it in no build without features.
const RUNTIMES: &[&str] = &[
    "tokio",
    "reqwest",
    "rand",
    "getrandom",
    "fastrand",
    "futures-executor",
];

/// The methods that no pure crate calls.
pub(crate) const CLOCKS: &[&str] = &[
    "chrono::Utc::now",
    "std::time::SystemTime::now",
    "std::time::Instant::now",
];

/// The crates that read no clock.
const PURE: &[&str] = &["phi-types", "phi-loop"];

/// The lints that every crate has on.
pub(crate) const LINTS: &[&str] = &[
    "unsafe_code",
    "missing_docs",
    "missing_debug_implementations",
    "unreachable_pub",
    "unnameable_types",
    "unused_qualifications",
    "unwrap_used",
    "panic",
    "indexing_slicing",
    "dbg_macro",
    "todo",
    "print_stdout",
    "await_holding_lock",
    "enum_glob_use",
    "manual_let_else",
    "match_wildcard_for_single_variants",
    "needless_pass_by_value",
    "fn_params_excessive_bools",
    "redundant_clone",
    "return_self_not_must_use",
    "semicolon_if_nothing_returned",
    "uninlined_format_args",
    "use_self",
    "wildcard_imports",
];

fn arrows(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!(
                "{}: a crate without a place: add its arrows to ARCHITECTURE.md and to ARROWS",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_ours = ARROWS.iter().any(|(it, _)| *it == name);
            let is_test = dependency.kind == Kind::Development
                && (name == "phi-testkit" || name == package.name);
            if is_ours && !is_test && !below.contains(&name) {
                findings.push(format!(
                    "{} -> {name}: not an arrow of ARCHITECTURE.md: share through phi-types",
                    package.name
                ));
            }
        }
    }
    findings
}

fn runtimes(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in pure(workspace) {
        for dependency in &package.dependencies {
            let is_always = dependency.kind != Kind::Development && !dependency.optional;
            if is_always && RUNTIMES.contains(&dependency.name.as_str()) {
                findings.push(format!(
                    "{}/Cargo.toml: `{}` in a pure crate: make it optional, behind a feature",
                    package.folder, dependency.name
                ));
            }
        }
    }
    findings
}

fn pure(workspace: &Workspace) -> impl Iterator<Item = &Package> {
    let packages = workspace.packages.iter();
    packages.filter(|it| PURE.contains(&it.name.as_str()))
}

fn paths(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            let is_member = workspace
                .packages
                .iter()
                .any(|it| it.name == dependency.name);
            if let Some(path) = &dependency.path
                && !is_member
            {
                findings.push(format!(
                    "{}/Cargo.toml: `{}` lies at {path}: use a published crate",
                    package.folder, dependency.name
                ));
            }
        }
    }
    findings
}

fn manifests(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        let text = workspace.text(&path);
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !text.contains(&format!("\n{field}.workspace = true\n")) {
                findings.push(format!("{path}: say `{field}.workspace = true`"));
            }
        }
        if !text.contains("\ndescription = \"") {
            findings.push(format!("{path}: say in `description` what the crate is"));
        }
        let lints = ["[lints]\nworkspace = true", "lints.workspace = true"];
        if !lints.iter().any(|it| text.contains(it)) {
            findings.push(format!("{path}: say `lints.workspace = true`"));
        }
        findings.extend(own_versions(text).map(|entry| {
            format!("{path}: `{entry}`: put the version into [workspace.dependencies]")
        }));
    }
    findings
}

/// The entries of a manifest's dependency tables that do not inherit.
fn own_versions(manifest: &str) -> impl Iterator<Item = &str> {
    let mut is_dependencies = false;
    manifest.lines().filter(move |line| {
        if let Some(table) = line.strip_prefix('[') {
            is_dependencies = table.trim_end().ends_with("dependencies]");
            return false;
        }
        let is_entry = line.starts_with(|it: char| it.is_alphanumeric()) && line.contains('=');
        let is_itself = line.contains("path = \".\"");
        is_dependencies && is_entry && !is_itself && !line.contains("workspace = true")
    })
}

fn unused(workspace: &Workspace) -> Vec<String> {
    let root = workspace.text("Cargo.toml").lines();
    let lines = root
        .skip_while(|it| *it != "[workspace.dependencies]")
        .skip(1);
    let lines = lines.take_while(|it| !it.starts_with('['));
    let names = lines.filter_map(|it| Some(it.split_once(" = ")?.0));
    let is_used = |name: &str| {
        let manifests = workspace.packages.iter().map(|it| &it.folder);
        let mut texts = manifests.map(|it| workspace.text(&format!("{it}/Cargo.toml")));
        let starts = [format!("\n{name}."), format!("\n{name} =")];
        texts.any(|text| starts.iter().any(|it| text.contains(it)))
    };
    let unused = names.filter(|name| !is_used(name) && !name.starts_with("phi"));
    unused
        .map(|name| format!("Cargo.toml: no crate uses `{name}`: take it out"))
        .collect()
}

fn lints(workspace: &Workspace) -> Vec<String> {
    let root = workspace.text("Cargo.toml");
    let is_on = |lint: &str| {
        let levels = ["warn", "deny", "forbid"];
        levels
            .iter()
            .any(|level| root.contains(&format!("\n{lint} = \"{level}\"\n")))
    };
    let missing = LINTS.iter().filter(|lint| !is_on(lint));
    missing
        .map(|lint| format!("Cargo.toml: turn the lint `{lint}` on"))
        .collect()
}

fn clocks(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in pure(workspace) {
        let path = format!("{}/clippy.toml", package.folder);
        let text = workspace.text(&path);
        for method in CLOCKS {
            if !text.contains("disallowed-methods") || !text.contains(&format!("\"{method}\"")) {
                findings.push(format!("{path}: ban `{method}` in disallowed-methods"));
            }
        }
    }
    findings
}
