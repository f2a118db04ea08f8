//! PostgreSQL as tests get it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use posmesh_counterparts::Postgres;
use sqlx::{Connection, PgConnection};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

#[tokio::test]
async fn every_database_is_empty_and_apart_from_the_others() {
    let server = Postgres::shared().unwrap();
    let (first, second) = (server.create_database().unwrap(), server.create_database().unwrap());
    assert_ne!(first, second);

    let mut connection = connect(&first).await;
    sqlx::query("CREATE TABLE meal (name TEXT)").execute(&mut connection).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let in_second: i64 = sqlx::query_scalar(tables).fetch_one(&mut connect(&second).await).await.unwrap();
    assert_eq!(in_second, 0);
}

#[tokio::test]
async fn commits_wait_for_the_disk() {
    let url = Postgres::shared().unwrap().create_database().unwrap();
    for setting in ["SHOW fsync", "SHOW synchronous_commit"] {
        let value: String = sqlx::query_scalar(setting).fetch_one(&mut connect(&url).await).await.unwrap();
        assert_eq!(value, "on", "{setting}");
    }
}

#[tokio::test]
async fn a_stopped_server_refuses_and_returns_with_its_data_at_the_same_address() {
    let server = Postgres::start().unwrap();
    let url = server.create_database().unwrap();
    let mut connection = connect(&url).await;
    sqlx::query("CREATE TABLE meal (name TEXT)").execute(&mut connection).await.unwrap();

    for end in [Postgres::stop, Postgres::crash] {
        sqlx::query("INSERT INTO meal VALUES ('soup')").execute(&mut connect(&url).await).await.unwrap();
        end(&server).unwrap();
        assert!(PgConnection::connect(&url).await.is_err());
        server.restart().unwrap();
    }
    let meals: i64 = sqlx::query_scalar("SELECT count(*) FROM meal").fetch_one(&mut connect(&url).await).await.unwrap();
    assert_eq!(meals, 2);
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = Postgres::start().unwrap();
    let url = server.create_database().unwrap();
    connect(&url).await;
    drop(server);
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn a_server_ends_with_an_owner_that_was_killed_and_leaves_no_files() {
    let temporary = tempfile::tempdir().unwrap();
    open_to_all(temporary.path());
    let mut owner = Command::new(env!("CARGO_BIN_EXE_counterparts"))
        .arg("postgres")
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let url = url_printed_by(&mut owner);
    connect(&url).await;
    assert_eq!(servers_in(temporary.path()), 1);

    // Child::kill is SIGKILL: the owner can do nothing more.
    owner.kill().unwrap();
    owner.wait().unwrap();
    let begun = Instant::now();
    while PgConnection::connect(&url).await.is_ok() || servers_in(temporary.path()) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server outlived its owner, or its files did");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_refused_statement_is_told_with_the_reason() {
    let error = Postgres::shared().unwrap().query("postgres", "SELECT nonsense").unwrap_err();
    assert!(error.to_string().contains(r#"column "nonsense" does not exist"#), "{error}");
}

/// Directories of servers.
fn servers_in(temporary: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_string_lossy().starts_with("posmesh-postgres-")).count()
}

/// The server runs as another user than root, who owns a temporary directory alone.
fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn url_printed_by(owner: &mut std::process::Child) -> String {
    use std::io::{BufRead, BufReader};
    let mut line = String::new();
    BufReader::new(owner.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.strip_prefix("database").expect("the database's URL").trim().to_owned()
}
