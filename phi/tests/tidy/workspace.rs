//! What the rules look at: the packages of `cargo metadata` and the text files of the tree.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::source::Source;

/// Everything that a rule may look at.
#[derive(Clone, Default)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    /// The text of each file by its path from the root.
    pub(crate) files: BTreeMap<String, String>,
    /// The Rust files among them, split into code and comments.
    pub(crate) sources: BTreeMap<String, Source>,
    /// Everything that is compiled in, own packages excepted.
    pub(crate) foreign: Vec<Foreign>,
}

/// A package of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, from the root.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// An edge of the dependency graph.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    /// The absolute path of a dependency that is a folder.
    pub(crate) path: Option<String>,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Development,
}

/// A package from elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The licence expression of its manifest.
    pub(crate) licence: Option<String>,
    pub(crate) source: String,
    /// The packages that use it, own ones included.
    pub(crate) users: Vec<String>,
}

impl Workspace {
    /// Reads the workspace whose root is given.
    pub(crate) fn read(root: &Path) -> Self {
        let mut workspace = Self::default();
        walk(root, root, &mut |path, text| workspace.insert(path, text));
        workspace.packages =
            packages(&metadata(root, &["--no-deps", "--offline"]).expect("cargo metadata"));
        workspace.foreign = foreign(root);
        workspace
    }

    /// Adds or replaces a file.
    pub(crate) fn insert(&mut self, path: String, text: String) {
        if is_rust(&path) {
            self.sources.insert(path.clone(), Source::split(&text));
        }
        self.files.insert(path, text);
    }

    /// The text of a file; empty where there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// The Rust files that are compiled into a crate, by path.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (&str, &Source)> {
        let sources = self.sources.iter().map(|(path, it)| (path.as_str(), it));
        sources.filter(|(path, _)| part_of(path) == "src")
    }
}

/// The folder inside a package that a path lies in: `src`, `tests`, `examples` or `benches`.
pub(crate) fn part_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == "rs")
}

/// Calls back with the path and the text of each file that the rules may look at.
fn walk(root: &Path, folder: &Path, found: &mut impl FnMut(String, String)) {
    let entries = std::fs::read_dir(folder).expect("a folder of the tree is readable");
    for entry in entries {
        let path = entry.expect("an entry of the tree is readable").path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or("");
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if !matches!(name, "target" | ".git" | "node_modules") {
                walk(root, &path, found);
            }
            continue;
        }
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or("");
        if matches!(extension, "" | "rs" | "toml" | "lock" | "md" | "mjs" | "sh")
            && let Ok(text) = std::fs::read_to_string(&path)
            && let Ok(inside) = path.strip_prefix(root)
        {
            found(inside.to_string_lossy().replace('\\', "/"), text);
        }
    }
}

/// Runs `cargo metadata`.
fn metadata(root: &Path, arguments: &[&str]) -> Result<Value, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

fn packages(metadata: &Value) -> Vec<Package> {
    let root = string(metadata, "workspace_root");
    list(metadata, "packages")
        .map(|package| {
            let manifest = string(package, "manifest_path");
            let folder = Path::new(&manifest)
                .parent()
                .and_then(|it| it.strip_prefix(&root).ok())
                .map(|it| it.to_string_lossy().into_owned());
            Package {
                name: string(package, "name"),
                folder: folder.unwrap_or(manifest),
                dependencies: list(package, "dependencies").map(dependency).collect(),
            }
        })
        .collect()
}

fn dependency(value: &Value) -> Dependency {
    let path = value.get("path").and_then(Value::as_str);
    Dependency {
        name: string(value, "name"),
        kind: match value.get("kind").and_then(Value::as_str) {
            Some("dev") => Kind::Development,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        },
        optional: value.get("optional").and_then(Value::as_bool) == Some(true),
        path: path.map(str::to_owned),
    }
}

/// Reads all foreign packages of all features. Where some were never fetched: those of the default
/// features, which are there once the workspace is compiled; at last cargo may fetch. CI fetches all.
fn foreign(root: &Path) -> Vec<Foreign> {
    let host = host();
    let platform = ["--filter-platform", host.as_str()];
    let all = ["--all-features", "--filter-platform", host.as_str()];
    let metadata = metadata(root, &[&all[..], &["--offline"]].concat())
        .or_else(|_| metadata(root, &[&platform[..], &["--offline"]].concat()))
        .or_else(|_| metadata(root, &all))
        .expect("cargo metadata works: run `cargo fetch --locked`");
    let used: std::collections::BTreeSet<&str> = list(&metadata["resolve"], "nodes")
        .filter_map(|node| node.get("id").and_then(Value::as_str))
        .collect();
    let names: BTreeMap<&str, &str> = list(&metadata, "packages")
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let users = |id: &str| {
        let uses = |node: &&Value| list(node, "deps").any(|dep| dep["pkg"].as_str() == Some(id));
        let nodes = list(&metadata["resolve"], "nodes").filter(uses);
        let ids = nodes.filter_map(|node| node["id"].as_str());
        ids.filter_map(|id| names.get(id).map(|name| (*name).to_owned()))
            .collect()
    };
    list(&metadata, "packages")
        .filter(|package| package["source"].is_string())
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(|package| Foreign {
            name: string(package, "name"),
            version: string(package, "version"),
            licence: package["license"].as_str().map(str::to_owned),
            source: string(package, "source"),
            users: package["id"].as_str().map(users).unwrap_or_default(),
        })
        .collect()
}

/// The platform that this test was compiled on, as `cargo` names it.
fn host() -> String {
    let output = Command::new(env!("CARGO"))
        .arg("-vV")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo names its host").to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn string(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}
