//! What is wrong before a request is sent ends in one line with the remedy and exit code 2.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Ran, Scratch};

const SCRIPT: &str = r#"[{"text":"Hi."}]"#;

#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    let line = ran.failure(2);
    for word in words {
        assert!(line.contains(word), "no {word:?}: {line}");
    }
    assert_eq!(ran.out, "", "{ran:?}");
}

fn fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

#[test]
fn a_wrong_option_is_named() {
    let scratch = Scratch::new();
    for (arguments, words) in [
        (vec!["run", "x", "--modle", "m"], vec!["--modle", "--model"]),
        (vec!["run", "x", "--max-turns", "0"], vec!["--max-turns"]),
        (vec!["run", "x", "y", "z"], vec!["y"]),
        (vec!["demon"], vec!["demon"]),
        (vec!["tool", "call"], vec!["<NAME>", "<ARGUMENTS>"]),
        (vec![], vec!["--help"]),
    ] {
        refused(&scratch.phi(&arguments), &words);
    }
    let help = scratch.phi(["run", "--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{help:?}");
}

/// Every protocol by its name.
const PROTOCOLS: [&str; 10] = [
    "anthropic-messages",
    "openai-chat",
    "openai-responses",
    "gemini",
    "bedrock-converse",
    "ollama-chat",
    "cohere-v2",
    "azure-chat",
    "azure-responses",
    "vertex",
];

#[test]
fn a_wrong_protocol_lists_those_that_are_spoken() {
    let scratch = Scratch::new();
    refused(&scratch.phi(["run", "x", "--model", "m"]), &PROTOCOLS);
    let mut words = vec!["morse"];
    words.extend(PROTOCOLS);
    let ran = scratch.phi(["run", "x", "--model", "m", "--protocol", "morse"]);
    refused(&ran, &words);
    let ran = scratch.phi(["wire", "decode", "--protocol", "morse", "-"]);
    refused(&ran, &words);
}

#[test]
fn a_missing_model_or_key_names_its_option_or_variable() {
    let scratch = Scratch::new();
    refused(
        &scratch.phi(["run", "x", "--protocol", "openai-chat"]),
        &["--model"],
    );
    for (protocol, variable) in [
        ("anthropic-messages", "ANTHROPIC_API_KEY"),
        ("openai-chat", "OPENAI_API_KEY"),
        ("openai-responses", "OPENAI_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("bedrock-converse", "AWS_BEARER_TOKEN_BEDROCK"),
        ("cohere-v2", "COHERE_API_KEY"),
        ("vertex", "GOOGLE_OAUTH_ACCESS_TOKEN"),
    ] {
        let ran = scratch.phi(["run", "x", "--protocol", protocol, "--model", "m"]);
        refused(&ran, &[variable, "--api-key-env"]);
    }
    for protocol in ["azure-chat", "azure-responses"] {
        let ran = scratch.phi(["run", "x", "--protocol", protocol, "--model", "m"]);
        refused(&ran, &["AZURE_OPENAI_API_KEY"]);
    }
    let named = [
        "run",
        "x",
        "--protocol",
        "openai-chat",
        "--model",
        "m",
        "--api-key-env",
        "MY_KEY",
    ];
    refused(&scratch.phi(named), &["MY_KEY"]);
    assert!(!scratch.path("store").exists(), "nothing was stored");
}

#[test]
fn an_unknown_tool_lists_the_known_ones() {
    let scratch = Scratch::new();
    refused(
        &scratch.phi(["tool", "describe", "hammer"]),
        &["hammer", "bash"],
    );
    refused(
        &scratch.phi(["tool", "call", "hammer", "{}"]),
        &["hammer", "bash"],
    );
    let script = scratch.write("script.json", SCRIPT);
    let script = script.to_str().unwrap();
    let ran = scratch.phi(["run", "x", "--script", script, "--tools", "bash,hammer"]);
    refused(&ran, &["hammer", "read_file"]);
}

#[test]
fn bad_arguments_of_a_tool_say_what_it_takes() {
    let scratch = Scratch::new();
    refused(
        &scratch.phi(["tool", "call", "read_file", "{oops"]),
        &["read_file", "JSON"],
    );
    refused(
        &scratch.phi(["tool", "call", "read_file", "[]"]),
        &["object"],
    );
    refused(&scratch.phi(["tool", "call", "read_file", "{}"]), &["path"]);
    let ran = scratch.phi(["tool", "call", "read_file", r#"{"path":"a","colour":1}"#]);
    refused(&ran, &["colour"]);
}

#[test]
fn an_unknown_session_is_no_session() {
    let scratch = Scratch::new();
    for command in ["show", "events", "replay", "delete"] {
        refused(
            &scratch.phi(["sessions", command, "nobody"]),
            &["nobody", "sessions list"],
        );
        refused(
            &scratch.phi(["sessions", command, "../up"]),
            &["../up", "A-Z"],
        );
    }
    refused(&scratch.scripted("no/way", SCRIPT, &[]), &["no/way"]);
}

#[test]
fn a_prompt_is_text_and_says_something() {
    let scratch = Scratch::new();
    let script = scratch.write("script.json", SCRIPT);
    let run = |prompt: Option<&str>| {
        let start = ["run", "--script", script.to_str().unwrap()];
        scratch.phi(start.into_iter().chain(prompt))
    };
    refused(&run(None), &["prompt", "stdin"]);
    refused(&run(Some(" ")), &["empty"]);
    refused(&run(Some("-")), &["empty"]);
    let mut command = scratch.command(["run", "--script"]);
    command
        .arg(&script)
        .arg(OsString::from_vec(vec![b'h', 0xff]));
    refused(&Ran::of(command.output().unwrap()), &["prompt", "UTF-8"]);
    let bytes = scratch.write("bytes", [b'h', b'i', 0xff]);
    let mut command = scratch.command(["run", "-", "--script"]);
    command.arg(&script).stdin(fs::File::open(bytes).unwrap());
    refused(
        &Ran::of(command.output().unwrap()),
        &["stdin", "UTF-8", "byte 2"],
    );
    assert!(!scratch.path("store").exists(), "nothing was stored");
}

#[test]
fn a_fifo_is_refused_and_never_waited_for() {
    let scratch = Scratch::new();
    let pipe = scratch.path("pipe");
    fifo(&pipe);
    let path = pipe.to_str().unwrap();
    let at = format!("@{path}");
    let decode = ["wire", "decode", "--protocol", "openai-chat", path];
    refused(
        &scratch.phi(["run", "x", "--script", path]),
        &[path, "FIFO"],
    );
    refused(
        &scratch.scripted("s", SCRIPT, &["--system", &at]),
        &[path, "FIFO"],
    );
    refused(&scratch.phi(decode), &[path, "FIFO"]);
    refused(
        &scratch.scripted("s", SCRIPT, &["--cwd", path]),
        &[path, "--cwd"],
    );
}

#[test]
fn a_script_that_is_none_says_where() {
    let scratch = Scratch::new();
    refused(
        &scratch.scripted("s", "[{\"txt\":1}]", &[]),
        &["script.json", "txt"],
    );
    let missing = scratch.path("none.json");
    refused(
        &scratch.phi(["run", "x", "--script", missing.to_str().unwrap()]),
        &["none.json"],
    );
}

#[test]
fn a_header_and_a_base_url_are_checked_before_a_request() {
    let scratch = Scratch::new();
    let run = |more: [&str; 2]| {
        let start = ["run", "x", "--protocol", "openai-chat", "--model", "m"];
        scratch.phi(start.into_iter().chain(more))
    };
    refused(&run(["--base-url", "localhost:80"]), &["http://"]);
    refused(
        &run(["--base-url", "http://me:secret@host"]),
        &["without user"],
    );
    let ran = scratch.phi([
        "run",
        "x",
        "--protocol",
        "openai-chat",
        "--model",
        "m",
        "--base-url",
        "http://localhost:1",
        "--header",
        "no colon",
    ]);
    refused(&ran, &["name: value"]);
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    let store = scratch.path("locked");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o500)).unwrap();
    let locked = store.to_str().unwrap();
    // A privileged user may write everywhere; a file in the way stops everybody.
    if fs::write(store.join("probe"), "").is_err() {
        refused(
            &scratch.scripted("s", SCRIPT, &["--store", locked]),
            &["locked", "--store"],
        );
    }
    let file = scratch.write("file", "");
    let file = file.to_str().unwrap();
    refused(
        &scratch.scripted("s", SCRIPT, &["--store", file]),
        &[file, "--store"],
    );
}
