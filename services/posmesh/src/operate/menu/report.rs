//! Runs, versions and changes for a terminal.

use std::fmt::Write as _;

use jiff::Timestamp;
use posmesh_kit::time;
use posmesh_proto::catalog::v1::{
    CatalogChange, CatalogProblem, CatalogVersion, Decision, ProblemEffect, SyncRun, SyncState, WatchCatalogResponse,
};

use crate::operate::table::table;

/// The changes under a line that says what they are.
pub(super) fn changes(head: &str, changes: &[CatalogChange], omitted: i32) -> String {
    if changes.is_empty() {
        return format!("{head}: nothing changed\n");
    }
    let mut text = format!("{head}: {} changes\n", i64::from(omitted) + changes.len() as i64);
    for change in changes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}", change.text);
    }
    if omitted > 0 {
        let _ = writeln!(text, "  and {omitted} more");
    }
    text
}

/// What a watcher is told.
pub(super) fn news(store_id: &str, news: &WatchCatalogResponse) -> String {
    match (news.version, news.from_version) {
        (0, _) => format!("{store_id}: no version has been published yet\n"),
        (version, 0) => format!("{store_id}, version {version} is current\n"),
        (version, from) if version == from => changes(store_id, &news.changes, news.omitted_changes),
        (version, from) => {
            changes(&format!("{store_id}, version {from} → {version}"), &news.changes, news.omitted_changes)
        }
    }
}

/// The latest first.
pub(super) fn versions(versions: &[CatalogVersion]) -> String {
    if versions.is_empty() {
        return "No version has been published yet; `posmesh menu sync` pulls one.\n".to_owned();
    }
    let row = |version: &CatalogVersion| {
        let how = match (version.restored_version, &version.decision) {
            (0, None) => "synced".to_owned(),
            (0, Some(decision)) => format!("approved by {}", said(decision)),
            (restored, decision) => {
                let by = decision.as_ref().map(said).unwrap_or_default();
                format!("version {restored} again, by {by}")
            }
        };
        [
            version.version.to_string(),
            at(version.publish_time.as_ref()),
            version.counts.unwrap_or_default().items.to_string(),
            version.content_hash.chars().take(12).collect(),
            how,
        ]
    };
    table(["VERSION", "PUBLISHED (UTC)", "ITEMS", "CONTENT", "HOW"], &versions.iter().map(row).collect::<Vec<_>>())
}

/// The latest first.
pub(super) fn runs(runs: &[SyncRun]) -> String {
    let row = |run: &SyncRun| {
        [
            at(run.start_time.as_ref()),
            state(run).to_owned(),
            if run.catalog_version == 0 { String::new() } else { run.catalog_version.to_string() },
            run.problems.len().to_string(),
            run.sync_run_id.clone(),
        ]
    };
    table(["STARTED (UTC)", "STATE", "VERSION", "PROBLEMS", "RUN"], &runs.iter().map(row).collect::<Vec<_>>())
}

/// The run that waits for approval, if one does.
pub(super) fn waiting(runs: &[SyncRun]) -> Option<String> {
    let itself = runs.iter().find(|run| run.state() == SyncState::WaitingApproval).map(|run| &run.sync_run_id);
    // It may be older than the runs that are listed: each of them found the same data.
    let told = runs.first().map(|run| &run.waiting_sync_run_id).filter(|run_id| !run_id.is_empty());
    itself.or(told).cloned()
}

/// What came of a run, what was wrong, and what a person does now.
pub(super) fn run(run: &SyncRun) -> String {
    let (counts, left_out) = (run.counts.unwrap_or_default(), run.left_out.unwrap_or_default());
    let mut text = match run.state() {
        SyncState::Published => format!("{}: version {} is current", run.store_id, run.catalog_version),
        SyncState::Unchanged if !run.waiting_sync_run_id.is_empty() => {
            format!("{}: the POS still sends what waits for approval", run.store_id)
        }
        SyncState::Unchanged => format!("{}: unchanged, version {}", run.store_id, run.catalog_version),
        SyncState::WaitingApproval => format!("{}: waits for approval; the menu before sells on", run.store_id),
        SyncState::Quarantined => format!("{}: refused as a whole; the menu before sells on", run.store_id),
        SyncState::Rejected => format!("{}: refused by a person; the menu before sells on", run.store_id),
        SyncState::Superseded => format!("{}: something newer took its place", run.store_id),
        SyncState::Failed => {
            let failure = run.failure.clone().unwrap_or_default();
            format!("{}: the pull failed ({}): {}", run.store_id, failure.cause, failure.message)
        }
        SyncState::Running | SyncState::Unspecified => format!("{}: still running", run.store_id),
    };
    if run.counts.is_some() {
        let _ = write!(text, ". {} items, {} tables", counts.items, counts.tables);
        if left_out != Default::default() {
            let _ = write!(
                text,
                "; left out: {} items, {} questions, {} tables",
                left_out.items, left_out.modifier_groups, left_out.tables
            );
        }
    }
    text.push('\n');
    if let Some(decision) = &run.decision {
        let _ = writeln!(text, "Decided by {}", said(decision));
    }
    if !run.problems.is_empty() {
        let rows: Vec<_> = run.problems.iter().map(problem).collect();
        text.push_str(&table(["WHAT", "NAME", "FIELD", "PROBLEM", "SO IT"], &rows));
    }
    for warning in &run.warnings {
        let _ = writeln!(text, "the POS's adapter says: {warning}");
    }
    if run.state() == SyncState::WaitingApproval {
        let (store_id, run_id) = (&run.store_id, &run.sync_run_id);
        let _ = writeln!(text, "To publish it: posmesh menu approve {store_id} {run_id} --by NAME (or: reject)");
    }
    text
}

fn problem(problem: &CatalogProblem) -> [String; 5] {
    let name = if problem.entity_name.is_empty() { &problem.entity_id } else { &problem.entity_name };
    let effect = match problem.effect() {
        ProblemEffect::LeftOut => "is left out",
        ProblemEffect::Corrected => "is sold without",
        ProblemEffect::NeedsApproval => "waits for approval",
        ProblemEffect::Refused | ProblemEffect::Unspecified => "changes nothing",
    };
    [problem.entity.replace('_', " "), name.clone(), problem.field.clone(), problem.message.clone(), effect.to_owned()]
}

fn state(run: &SyncRun) -> &'static str {
    run.state().as_str_name().trim_start_matches("SYNC_STATE_")
}

fn said(decision: &Decision) -> String {
    let note = if decision.note.is_empty() { String::new() } else { format!(": {}", decision.note) };
    format!("{}{note}", decision.by)
}

pub(super) fn at(timestamp: Option<&prost_types::Timestamp>) -> String {
    let at = timestamp.and_then(|at| Timestamp::from_millisecond(time::to_unix_ms(at)).ok());
    at.map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use posmesh_proto::catalog::v1::CatalogCounts;

    use super::*;

    fn change(text: &str) -> CatalogChange {
        CatalogChange { text: text.into(), ..Default::default() }
    }

    #[test]
    fn a_diff_is_one_line_for_each_change() {
        let told =
            changes("shibuya, version 3 → 4", &[change("Ramen: price 980 → 1,080"), change("Udon: sold out")], 0);
        let expected = "shibuya, version 3 → 4: 2 changes\n  Ramen: price 980 → 1,080\n  Udon: sold out\n";
        assert_eq!(told, expected);
        assert_eq!(changes("shibuya", &[], 0), "shibuya: nothing changed\n");
        assert!(changes("shibuya", &[change("x")], 7).ends_with("8 changes\n  x\n  and 7 more\n"));
    }

    #[test]
    fn a_watcher_is_told_the_current_version_and_then_what_changed() {
        let response = |version, from_version| WatchCatalogResponse {
            version,
            from_version,
            changes: vec![change("Udon: back")],
            ..Default::default()
        };
        assert_eq!(news("shibuya", &response(0, 0)), "shibuya: no version has been published yet\n");
        assert_eq!(news("shibuya", &response(7, 0)), "shibuya, version 7 is current\n");
        assert_eq!(news("shibuya", &response(7, 7)), "shibuya: 1 changes\n  Udon: back\n");
        assert_eq!(news("shibuya", &response(8, 7)), "shibuya, version 7 → 8: 1 changes\n  Udon: back\n");
    }

    #[test]
    fn a_run_says_what_was_wrong_what_became_of_it_and_what_to_do() {
        let problem = CatalogProblem {
            entity: "item".into(),
            entity_name: "Ramen".into(),
            field: "price".into(),
            message: "the price went from 980 to 9,800".into(),
            effect: ProblemEffect::NeedsApproval.into(),
            ..Default::default()
        };
        let waiting = SyncRun {
            sync_run_id: "r-1".into(),
            store_id: "shibuya".into(),
            state: SyncState::WaitingApproval.into(),
            counts: Some(CatalogCounts { items: 120, tables: 24, ..Default::default() }),
            left_out: Some(CatalogCounts { items: 1, ..Default::default() }),
            problems: vec![problem],
            ..Default::default()
        };
        let expected = "\
shibuya: waits for approval; the menu before sells on. 120 items, 24 tables; left out: 1 items, 0 questions, 0 tables
WHAT  NAME   FIELD  PROBLEM                           SO IT
item  Ramen  price  the price went from 980 to 9,800  waits for approval
To publish it: posmesh menu approve shibuya r-1 --by NAME (or: reject)
";
        assert_eq!(run(&waiting), expected);
    }

    #[test]
    fn versions_say_how_they_came_to_be() {
        let decision = || Some(Decision { by: "Aiko".into(), note: "wrong prices".into(), time: None });
        let version = |version, restored_version, decision| CatalogVersion {
            version,
            restored_version,
            decision,
            publish_time: Some(time::from_unix_ms(1_795_000_000_000)),
            content_hash: "0123456789abcdef".into(),
            counts: Some(CatalogCounts { items: 121, ..Default::default() }),
            ..Default::default()
        };
        let told = versions(&[version(3, 1, decision()), version(2, 0, decision()), version(1, 0, None)]);
        let expected = "\
VERSION  PUBLISHED (UTC)      ITEMS  CONTENT       HOW
3        2026-11-18 11:06:40  121    0123456789ab  version 1 again, by Aiko: wrong prices
2        2026-11-18 11:06:40  121    0123456789ab  approved by Aiko: wrong prices
1        2026-11-18 11:06:40  121    0123456789ab  synced
";
        assert_eq!(told, expected);
    }

    #[test]
    fn the_run_that_waits_is_found_even_when_later_ones_found_the_same() {
        let of = |state: SyncState, id: &str, waits: &str| SyncRun {
            state: state.into(),
            sync_run_id: id.into(),
            waiting_sync_run_id: waits.into(),
            ..Default::default()
        };
        let (again, first) = (of(SyncState::Unchanged, "r-2", "r-1"), of(SyncState::WaitingApproval, "r-1", ""));
        assert_eq!(waiting(&[again.clone(), first]).as_deref(), Some("r-1"));
        assert_eq!(waiting(&[again]).as_deref(), Some("r-1"));
        assert_eq!(waiting(&[of(SyncState::Published, "r-3", "")]), None);
    }
}
