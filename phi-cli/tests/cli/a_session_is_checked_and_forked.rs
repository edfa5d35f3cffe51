//! `phi sessions verify` finds damage, and `phi sessions fork` shares a past.

use std::fs;

use crate::support::Scratch;

fn log(scratch: &Scratch) -> std::path::PathBuf {
    scratch.path("store/s/00000000000000000001.jsonl")
}

#[test]
fn a_sound_a_torn_and_a_damaged_session_are_told_apart() {
    let scratch = Scratch::new();
    scratch.scripted("s", r#"[{"text":"Hello."}]"#, &[]);
    let ran = scratch.phi(["sessions", "verify", "s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("`s` is sound"), "{ran:?}");
    let whole = fs::read_to_string(log(&scratch)).unwrap();
    fs::write(log(&scratch), format!("{whole}{{\"torn")).unwrap();
    let ran = scratch.phi(["sessions", "verify", "s"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("6 bytes of a write"), "{ran:?}");
    fs::write(log(&scratch), whole.replace("Hello", "Hallo")).unwrap();
    let ran = scratch.phi(["sessions", "verify", "s"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.starts_with("phi: session `s` is damaged"),
        "{ran:?}"
    );
    assert!(ran.err.contains("checksum"), "{ran:?}");
    let ran = scratch.phi(["sessions", "verify", "none"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_fork_goes_on_from_its_position() {
    let scratch = Scratch::new();
    scratch.scripted("s", r#"[{"text":"First."}]"#, &[]);
    let events = scratch.stored("s");
    let ran = scratch.phi(["sessions", "fork", "s", "--at", &events.len().to_string()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let fork = ran.out.trim();
    let ran = scratch.scripted(fork, r#"[{"text":"First."},{"text":"Second."}]"#, &[]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "Second.\n"),
        "{ran:?}"
    );
    assert_eq!(scratch.listed(fork)["loops"], 2);
    assert_eq!(scratch.stored("s"), events);
    let shown = scratch.phi(["sessions", "show", fork]);
    assert!(
        shown.out.contains("First.") && shown.out.contains("Second."),
        "{shown:?}"
    );
    let ran = scratch.phi(["sessions", "verify", fork]);
    assert!(ran.out.contains("forked from `s`"), "{ran:?}");
    for at in ["0", "9999"] {
        let ran = scratch.phi(["sessions", "fork", "s", "--at", at]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("it has positions 1 to"), "{ran:?}");
    }
}
