//! The bench still runs, and what it measures still works. Its figures are of no interest here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

/// Runs the bench with everything small, and returns its table.
fn bench(what: &str, options: &[&str]) -> String {
    let small =
        ["--seconds", "0.3", "--rounds", "1", "--callers", "4", "--stores", "2", "--orders", "30", "--markdown"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    // The programs that it measures are built already, beside it: it shall not build them anew.
    command.env_remove("CARGO").arg(what).args(small).args(options);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

fn rows(table: &str) -> usize {
    table.lines().filter(|line| line.starts_with('|')).count() - 2
}

#[test]
fn the_storage_is_measured_against_pgbench() {
    let table = bench("storage", &[]);
    assert_eq!(rows(&table), 5, "{table}");
    assert!(table.contains("fdatasync") && table.contains("fsync on"), "{table}");
}

#[test]
fn the_storage_on_sqlite_is_measured_against_a_transaction_for_each_order() {
    assert_eq!(rows(&bench("sqlite", &[])), 1);
}

#[test]
fn a_large_table_is_measured_against_one_that_began_empty() {
    assert_eq!(rows(&bench("growth", &["--table", "2000"])), 6);
}

#[test]
fn the_whole_mesh_is_measured_under_load_and_idle() {
    assert_eq!(rows(&bench("mesh", &[])), 3);
    assert_eq!(rows(&bench("idle", &[])), 2);
    assert!(bench("sweep", &["--most-stores", "10"]).contains("by the clock"));
}

#[test]
fn a_replicas_memory_is_measured_with_orders_queued_and_watched() {
    assert_eq!(rows(&bench("memory", &["--queued", "40", "--watchers", "10"])), 2);
}

#[test]
fn the_links_of_many_stores_are_measured() {
    let table = bench("links", &["--linked", "20"]);
    assert_eq!(rows(&table), 10, "{table}");
}

#[test]
fn menus_are_measured_as_they_are_read_and_pulled() {
    let table = bench("menus", &["--linked", "3"]);
    assert_eq!(rows(&table), 7, "{table}");
}
