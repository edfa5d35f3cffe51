//! A program prints the credential, and nothing that it prints is shown.
#![cfg(unix)]

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use phi_provider::{Credential, SecretCommand};
use phi_testkit::{Response, Server, request};
use phi_types::{Provider, ProviderErrorKind};

use crate::support::{FINISH, error, provider_with, read, word};

fn shell(script: &str) -> SecretCommand {
    SecretCommand::new("sh", ["-c", script])
}

#[tokio::test]
async fn its_output_is_the_key_without_the_white_space_around_it() {
    let server = Server::start([
        Response::events([&*word("hi"), FINISH]),
        Response::events([&*word("hi"), FINISH]),
    ])
    .unwrap();
    let command = SecretCommand::new("printf", ["  sk-of-a-program\\n"]);
    let provider = provider_with(server.base_url(), command.into());
    for _ in 0..2 {
        assert_eq!(read(&provider).await.0, "hi");
    }
    for received in server.received() {
        let bearer = Some("Bearer sk-of-a-program");
        assert_eq!(received.header("authorization"), bearer);
    }
}

#[tokio::test]
async fn a_program_that_gives_none_is_named_without_what_it_printed() {
    let server = Server::start([]).unwrap();
    for (command, reason) in [
        (
            shell("echo sk-hidden; echo sk-hidden >&2; exit 3"),
            "`sh` gave no key: it ended with exit status: 3",
        ),
        (shell("true"), "`sh` gave no key: it printed nothing"),
        (
            shell("echo sk-hidden sk-hidden"),
            "`sh` gave no key: it printed a space",
        ),
        (
            shell("printf 'sk-hidden\\377'"),
            "`sh` gave no key: it printed no text",
        ),
        (
            shell("yes sk-hidden"),
            "`sh` gave no key: it printed more than 65536 bytes",
        ),
        (
            SecretCommand::new("/no/such/program", ["sk-hidden"]),
            "`/no/such/program` gave no key: No such file",
        ),
        (
            SecretCommand::new("tail", ["-f", "/dev/null"]).with_timeout(Duration::from_millis(50)),
            "`tail` gave no key: it took more than 50ms",
        ),
    ] {
        let shown = format!("{command:?}");
        let error = error(&provider_with(
            server.base_url(),
            Credential::refreshing(command),
        ))
        .await;
        assert_eq!(error.kind, ProviderErrorKind::Auth);
        assert!(error.message.starts_with(reason), "{error}");
        assert!(
            !format!("{shown} {error}").contains("sk-hidden"),
            "{shown} {error}"
        );
    }
    assert_eq!(server.received(), []);
}

#[tokio::test]
async fn it_is_killed_when_nobody_waits_for_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // It holds the pipe open as long as it lives.
    let command = SecretCommand::new(
        "sh",
        [
            "-c",
            "exec 3>\"$1\"; printf s >&3; exec tail -f /dev/null",
            "sh",
            &pipe.to_string_lossy(),
        ],
    );
    let server = Server::start([]).unwrap();
    let provider = provider_with(server.base_url(), command.into());
    let mut stream = provider.stream(request("go"));
    let opened = tokio::task::spawn_blocking(move || {
        let mut pipe = std::fs::File::open(pipe).unwrap();
        let mut first = [0];
        pipe.read_exact(&mut first).unwrap();
        pipe
    });
    let mut pipe = tokio::select! {
        _ = stream.next() => panic!("the program printed nothing"),
        pipe = opened => pipe.unwrap(),
    };
    drop(stream);
    let rest = tokio::task::spawn_blocking(move || pipe.read(&mut [0]).unwrap());
    assert_eq!(rest.await.unwrap(), 0, "the pipe is closed");
}
