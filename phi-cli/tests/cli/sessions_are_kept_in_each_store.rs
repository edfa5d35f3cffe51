//! Every command does the same over each store that the command line can name.

use std::fs;

use serde_json::Value;

use crate::support::{Ran, Running, Scratch};

const SLOW: &str = r#"[
    {"text":"First.","tool_calls":[{"name":"list_files","arguments":{}},
                    {"name":"bash","arguments":{"command":"echo x >> count"}}]},
    {"text":"Second.","delay_ms":600000}
]"#;
const QUICK: &str = r#"[{"text":"First."},{"text":"Second."},{"text":"Third."}]"#;

/// A scratch folder, a store in it, and what the commands made of the session `s` there.
struct Place {
    scratch: Scratch,
    store: String,
}

impl Place {
    fn new(prefix: &str) -> Self {
        let scratch = Scratch::new();
        let store = scratch.path("sessions");
        let store = format!("{prefix}{}", store.to_str().unwrap());
        Self { scratch, store }
    }

    fn phi(&self, words: &[&str]) -> Ran {
        let named = ["--store", self.store.as_str()];
        self.scratch.phi(words.iter().chain(&named))
    }

    #[track_caller]
    fn right(&self, words: &[&str]) -> String {
        let ran = self.phi(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.out
    }

    /// Begins a session and kills its process while the model answers for the second time.
    fn begin(&self) {
        let script = self.scratch.write("slow.json", SLOW);
        let words = ["run", "Do it.", "--session", "s", "--yes", "--json"];
        let mut command = self.scratch.command(words);
        command.args(["--store", self.store.as_str(), "--script"]);
        let mut running = Running::start(command.arg(script));
        running.until("\"turn_ended\"");
        running.until("\"model_started\"");
        running.signal(rustix::process::Signal::KILL);
        assert_eq!(running.end().code, None);
    }

    /// Asks everything that a session can be asked, and returns what does not differ from run to run.
    fn walk(&self) -> Vec<String> {
        self.begin();
        let script = self.scratch.write("quick.json", QUICK);
        let script = script.to_str().unwrap();
        let mut told = vec![self.right(&["resume", "s", "--yes", "--script", script])];
        let again = self.phi(&["resume", "s", "--script", script]);
        assert!(again.err.contains("nothing is outstanding"), "{again:?}");
        told.push(self.right(&["run", "More.", "--session", "s", "--script", script]));
        let shown = self.right(&["sessions", "show", "s"]);
        told.extend(
            shown
                .lines()
                .filter(|it| !it.contains("created"))
                .map(str::to_owned),
        );
        let page = self.right(&["sessions", "show", "s", "--html", "-"]);
        assert!(page.contains("Third."), "{page}");
        let events = self.right(&["sessions", "events", "s"]);
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            told.push(format!("{} {}", event["seq"], event["kind"]["type"]));
        }
        let replayed = self.right(&["sessions", "replay", "s"]);
        assert!(replayed.contains("every one is the same"), "{replayed}");
        let fork = self.right(&["sessions", "fork", "s", "--at", "9"]);
        let fork = fork.trim();
        for session in ["s", fork] {
            let sound = self.right(&["sessions", "verify", session]);
            assert!(sound.contains("is sound"), "{sound}");
        }
        self.phi(&["sessions", "delete", "s"]).failure(2);
        self.right(&["sessions", "delete", fork]);
        let listed = self.right(&["sessions", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        for key in ["id", "loops", "turns", "status"] {
            told.push(format!("{key}: {}", listed[key]));
        }
        self.right(&["sessions", "delete", "s"]);
        assert_eq!(self.right(&["sessions", "list"]), "");
        self.phi(&["sessions", "show", "s"]).failure(2);
        told
    }
}

#[test]
fn a_folder_is_a_store() {
    let place = Place::new("");
    let told = place.walk();
    assert_eq!(told[0], "Second.\n");
    assert!(
        told.contains(&"status: \"completed\"".to_owned()),
        "{told:?}"
    );
    assert!(place.scratch.path("sessions").is_dir());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_is_a_store_and_all_commands_say_the_same_over_it() {
    let place = Place::new("sqlite:");
    assert_eq!(place.walk(), Place::new("").walk());
    assert!(place.scratch.path("sessions").is_file());
}

#[cfg(feature = "sqlite")]
#[test]
fn the_environment_can_name_a_database() {
    let scratch = Scratch::new();
    let script = scratch.write("quick.json", QUICK);
    let mut command = scratch.command(["run", "x", "--session", "s", "--script"]);
    let ran = Ran::of(
        command
            .arg(script)
            .env("PHI_STORE", "sqlite:here.db")
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(scratch.work().join("here.db").is_file());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_demo_names_the_database_that_holds_its_session() {
    let scratch = Scratch::new();
    let store = format!("sqlite:{}", scratch.path("demo.db").display());
    let mut command = scratch.command(["demo"]);
    let ran = Ran::of(command.env("PHI_STORE", &store).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains(&format!("--store {store}")), "{ran:?}");
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn a_build_without_databases_says_what_to_do() {
    let place = Place::new("sqlite:");
    for words in [
        &["run", "x", "--script", "none"][..],
        &["resume", "s"],
        &["sessions", "list"],
        &["sessions", "show", "s"],
        &["sessions", "events", "s"],
        &["sessions", "verify", "s"],
        &["sessions", "replay", "s"],
        &["sessions", "fork", "s", "--at", "1"],
        &["sessions", "delete", "s"],
    ] {
        fs::write(place.scratch.work().join("none"), "[]").unwrap();
        let ran = place.phi(words);
        let line = ran.failure(2);
        assert!(line.contains("--features sqlite"), "{words:?}: {line}");
    }
    assert!(!place.scratch.path("sessions").exists());
}

#[test]
fn a_database_needs_a_name_and_a_folder_of_that_name_a_path() {
    let scratch = Scratch::new();
    let ran = scratch.phi(["sessions", "list", "--store", "sqlite:"]);
    assert!(ran.failure(2).contains("sqlite:FILE"), "{ran:?}");
    fs::create_dir(scratch.work().join("sqlite:x")).unwrap();
    let ran = scratch.phi(["sessions", "list", "--store", "./sqlite:x"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Lets a process write files up to some size, and looks what is left of what it acknowledged.
fn full(prefix: &str, kibibytes: u32) -> Option<i32> {
    let place = Place::new(prefix);
    let reply = format!(
        r#"{{"text":"{}","tool_calls":[{{"name":"list_files","arguments":{{}}}}]}}"#,
        "x".repeat(20_000)
    );
    let script = format!(r#"[{}, {{"text":"Done."}}]"#, vec![reply; 8].join(","));
    let script = place.scratch.write("script.json", script);
    let (script, phi) = (script.to_str().unwrap(), env!("CARGO_BIN_EXE_phi"));
    let store = &place.store;
    let line = format!(
        "ulimit -f {}; exec {phi} run x --json --yes --session s --script {script} --store {store}",
        2 * kibibytes
    );
    let mut command = std::process::Command::new("sh");
    let ran = command
        .args(["-c", &line])
        .current_dir(place.scratch.work());
    let ran = Ran::of(ran.output().unwrap());
    let told = ran.json_lines().into_iter().filter(|it| it["seq"].is_u64());
    let stored = place.phi(&["sessions", "events", "s"]).json_lines();
    for event in told {
        let name = |it: &Value| (it["loop_id"].clone(), it["seq"].clone());
        assert!(
            stored.iter().any(|it| name(it) == name(&event)),
            "{kibibytes}: {event}"
        );
    }
    if ran.code != Some(0) {
        let line = ran.failure(ran.code.unwrap());
        let says = ["too large", "full", "space"];
        assert!(
            says.iter().any(|it| line.contains(it)),
            "{kibibytes}: {line}"
        );
    }
    if !stored.is_empty() {
        let rest = place.right(&["resume", "s", "--yes", "--script", script]);
        let is_done = rest.ends_with("Done.\n") || rest.is_empty();
        assert!(is_done, "{kibibytes}: {rest}");
        place.right(&["sessions", "verify", "s"]);
        place.right(&["sessions", "replay", "s"]);
    }
    ran.code
}

#[test]
fn a_folder_that_is_full_loses_nothing_acknowledged() {
    let codes: Vec<_> = [0, 1, 4, 20, 80, 4_000].map(|kib| full("", kib)).into();
    let (refused, failed, done) = (Some(2), Some(1), Some(0));
    assert_eq!(codes, [refused, failed, failed, failed, failed, done]);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_that_is_full_loses_nothing_acknowledged() {
    let codes: Vec<_> = [0, 16, 70, 200, 4_000]
        .map(|kib| full("sqlite:", kib))
        .into();
    let (refused, failed, done) = (Some(2), Some(1), Some(0));
    assert_eq!(codes, [refused, refused, failed, failed, done]);
}
