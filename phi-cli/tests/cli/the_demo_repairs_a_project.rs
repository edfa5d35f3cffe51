//! The demo repairs a project with real tools, and what it prints is true.

use std::path::Path;
use std::process::Command;

use phi::types::{EventKind, ToolEnding};

use crate::support::{Ran, Scratch};

/// Returns the rest of the first line of stderr that holds a text.
fn after<'a>(ran: &'a Ran, text: &str) -> &'a str {
    let mut found = ran.err.lines().filter_map(|line| line.split_once(text));
    found
        .next()
        .unwrap_or_else(|| panic!("no {text:?}: {ran:?}"))
        .1
}

#[test]
fn the_demo_passes_and_its_session_replays_to_the_same_events() {
    let scratch = Scratch::new();
    let ran = scratch.phi(["demo"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("the model is scripted"), "{ran:?}");
    assert!(ran.out.contains("The test passes now."), "{ran:?}");
    let id = after(&ran, "session: ");
    let events = scratch.stored(id);
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::ToolEnded(ended) => Some(ended.ending),
        _ => None,
    });
    use ToolEnding::{Failed, Finished};
    let wanted = [
        Finished, Finished, Finished, Finished, Failed, Finished, Finished,
    ];
    assert_eq!(ends.collect::<Vec<_>>(), wanted);
    assert_eq!(phi::replay(&events), Ok(1));
    assert_eq!(scratch.listed(id)["status"], "completed");
}

#[test]
fn the_commands_that_the_demo_prints_work_and_the_scratch_directory_is_gone() {
    let scratch = Scratch::new();
    let ran = scratch.phi(["demo"]);
    let project = after(&ran, "scratch directory: ");
    assert!(!Path::new(project).exists(), "{project}");
    let commands: Vec<_> = ran
        .err
        .lines()
        .filter(|line| line.contains(" sessions "))
        .collect();
    assert!(commands.len() >= 2, "{ran:?}");
    for line in commands {
        let shell = Command::new("sh")
            .args(["-c", line])
            .current_dir(scratch.work())
            .output();
        let shown = Ran::of(shell.unwrap());
        assert_eq!(shown.code, Some(0), "{line}: {shown:?}");
        assert!(!shown.out.is_empty(), "{line}");
    }
}

#[test]
fn a_kept_project_passes_its_test() {
    let scratch = Scratch::new();
    let ran = scratch.phi(["demo", "--keep"]);
    let project = after(&ran, "scratch directory: ");
    let test = Command::new("sh")
        .arg("test.sh")
        .current_dir(project)
        .output()
        .unwrap();
    assert!(test.status.success(), "{test:?}");
}

#[test]
fn without_a_store_there_is_one_line_and_no_command() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "");
    let ran = Ran::of(
        scratch
            .command(["demo"])
            .env("PHI_STORE", file)
            .output()
            .unwrap(),
    );
    assert!(ran.failure(2).contains("--store"), "{ran:?}");
    assert!(!ran.err.contains(" sessions "), "{ran:?}");
}
