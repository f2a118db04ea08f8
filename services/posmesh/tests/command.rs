//! The command as people and operators run it.

#![allow(clippy::unwrap_used)]

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Far above what any of these takes; a hang fails instead of blocking the run.
const PATIENCE: Duration = Duration::from_secs(60);

fn posmesh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posmesh"));
    // What is set on this machine must not leak into a test.
    for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("POSMESH__")) {
        command.env_remove(key);
    }
    command
}

/// Runs to the end.
fn output(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE).is_err() {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
    });
    let stdout = child.stdout.take().unwrap();
    let read = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    let status = child.wait().unwrap();
    done.send(()).unwrap();
    guard.join().unwrap();
    Output { status, stdout: read.join().unwrap().into_bytes(), stderr: stderr.into_bytes() }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn config_file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// Refused with the exit code of a wrong configuration, and told which key.
fn assert_refused(command: &mut Command, key: &str) {
    let output = output(command);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains(key), "{told}");
}

#[test]
fn a_bad_value_in_the_environment_exits_64_and_names_the_key() {
    let cases = [
        ("POSMESH__SERVER__MAX_CONCURRENT_CALLS", "many", "server.max_concurrent_calls"),
        ("POSMESH__LISTEN__GRPC", "here", "listen.grpc"),
        ("POSMESH__ORDER__ATTEMPT_TIMEOUT", "soon", "order.attempt_timeout"),
        ("POSMESH__DATABASE__URL", "mysql://root:secret@h/d", "database.url"),
    ];
    for (variable, value, key) in cases {
        let mut command = posmesh();
        assert_refused(command.args(["migrate"]).env(variable, value), key);
    }
}

#[test]
fn an_unknown_key_in_the_file_exits_64_and_names_it() {
    let file = config_file("[order]\natempt_timeout = '1s'\n");
    assert_refused(posmesh().args(["migrate", "--config"]).arg(file.path()), "atempt_timeout");
}

#[test]
fn a_file_that_is_not_there_exits_64_and_is_named() {
    assert_refused(posmesh().args(["migrate", "--config", "/nowhere/posmesh.toml"]), "/nowhere/posmesh.toml");
}

#[test]
fn a_service_whose_peer_is_nowhere_exits_64_and_names_the_peers_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = posmesh();
    command
        .args(["serve", "catalog"])
        .env("POSMESH__DATABASE__URL", format!("sqlite:{}", folder.path().display()))
        .env("POSMESH__LISTEN__GRPC", "127.0.0.1:0");
    assert_refused(&mut command, "peers.store");
}

#[test]
fn the_printed_defaults_are_a_whole_configuration() {
    let printed = output(posmesh().arg("config"));
    assert!(printed.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = config_file(&text(&printed.stdout));
    let mut command = posmesh();
    command
        .args(["migrate", "--config"])
        .arg(file.path())
        .env("POSMESH__DATABASE__URL", format!("sqlite:{}", folder.path().display()));
    let migrated = output(&mut command);
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    for service in ["store", "router", "catalog", "order"] {
        assert!(folder.path().join(format!("{service}.db")).exists(), "{service}");
    }
}

#[test]
fn the_demo_prints_a_ticket_for_each_order_of_the_three_products_and_ends_well() {
    let began = Instant::now();
    let demo = output(posmesh().arg("demo"));
    let (told, errors) = (text(&demo.stdout), text(&demo.stderr));
    assert!(demo.status.success(), "after {:?}\n{told}\n{errors}", began.elapsed());
    assert_eq!(told.matches("KITCHEN #").count(), 4, "{told}");
    for (product, tickets) in [("[table]", 2), ("[togo]", 1), ("[kiosk]", 1)] {
        assert_eq!(told.matches(product).count(), tickets, "{product}\n{told}");
    }
    assert_eq!(told.matches("tap to ticket").count(), 4, "{told}");
    assert_eq!(told.matches("the guest reads PLACED").count(), 4, "{told}");
}

#[test]
fn the_demo_says_what_failed_and_ends_badly_when_the_menu_cannot_be_pulled() {
    let demo = output(posmesh().arg("demo").env("POSMESH__CATALOG__MAX_PULL_BYTES", "10"));
    let (told, errors) = (text(&demo.stdout), text(&demo.stderr));
    assert_eq!(demo.status.code(), Some(1), "{told}\n{errors}");
    assert!(told.contains("syncing the menu … failed"), "{told}");
    assert!(errors.contains("the sync of the menu ended"), "{errors}");
}
