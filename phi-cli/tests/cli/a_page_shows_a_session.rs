//! `sessions show --html` writes one page, whole or not at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::Scratch;

const SCRIPT: &str = r#"[{"text":"</script>One.","tool_calls":[{"name":"list_files","arguments":{}}]},
    {"text":"Two."}]"#;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_whole(page: &str) -> bool {
    page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n")
}

#[test]
fn the_page_is_written_to_a_file_or_to_stdout() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let ran = scratch.phi(["sessions", "show", "a", "--html", "a.html"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (Some(0), "", "")
    );
    let file = scratch.work().join("a.html");
    let page = fs::read_to_string(&file).unwrap();
    assert!(
        is_whole(&page) && page.contains("&lt;/script&gt;One."),
        "{page}"
    );
    assert_eq!(mode(&file), 0o600, "a log is for its owner alone");
    let events = scratch.stored("a").len();
    assert_eq!(page.matches("<details class=\"event ").count(), events);
    let ran = scratch.phi(["sessions", "show", "a", "--html", "-"]);
    assert_eq!((ran.code, ran.out), (Some(0), page));
}

#[test]
fn a_page_replaces_a_file_behind_a_link_and_keeps_its_mode() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let file = scratch.write("shared.html", "old");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let link = scratch.work().join("link.html");
    symlink(&file, &link).unwrap();
    let ran = scratch.phi(["sessions", "show", "a", "--html", "link.html"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(is_whole(&fs::read_to_string(&file).unwrap()));
    assert_eq!(mode(&file), 0o644);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn what_cannot_be_shown_or_written_leaves_everything_as_it_was() {
    let scratch = Scratch::new();
    scratch.scripted("a", SCRIPT, &[]);
    let file = scratch.work().join("kept.html");
    fs::write(&file, "kept").unwrap();
    let ran = scratch.phi(["sessions", "show", "b", "--html", "kept.html"]);
    ran.failure(2);
    for (target, told) in [
        (".", "no regular file"),
        ("/dev/null", "no regular file"),
        ("nowhere/a.html", "nowhere"),
    ] {
        let ran = scratch.phi(["sessions", "show", "a", "--html", target]);
        assert!(ran.failure(2).contains(told), "{ran:?}");
    }
    let log = fs::read_dir(scratch.path("store").join("a")).unwrap();
    let log = log.map(|it| it.unwrap().path());
    let log = log.filter(|it| it.extension().is_some_and(|it| it == "jsonl"));
    let log = log.max().unwrap();
    let damaged = fs::read_to_string(&log).unwrap().replace("Two.", "Too.");
    fs::write(&log, damaged).unwrap();
    let ran = scratch.phi(["sessions", "show", "a", "--html", "kept.html"]);
    assert!(ran.failure(1).contains("position"), "{ran:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    let left: Vec<_> = fs::read_dir(scratch.work()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
