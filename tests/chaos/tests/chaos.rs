//! A minute of chaos, and a POS that is away for longer.

use std::time::Duration;

use chaos::{Settings, fallback};

#[tokio::test(flavor = "multi_thread")]
async fn in_a_minute_of_chaos_no_order_is_lost_or_duplicated_and_nobody_is_told_what_is_not_so() {
    let settings = Settings {
        seed: 1,
        duration: Duration::from_secs(60),
        persons: 12,
        parties: 4,
        faults_per_minute: 80,
        fallback: false,
        logs: None,
    };
    let report = chaos::run(&settings).await.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{report}");
    assert!(report.findings.acknowledged >= 50, "hardly any load:\n{report}");
    assert!(report.is_clean(), "{report}");
}

async fn away(staff: bool, faults: bool) -> fallback::Outcome {
    let away = Duration::from_secs(20);
    let settings = fallback::Settings { seed: 1, persons: 4, parties: 2, away, staff, faults, logs: None };
    let outcome = fallback::run(&settings).await.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}\n{:#?}", outcome.timeline, outcome.findings.by_attention);
    assert!(outcome.count.in_all() >= 20, "hardly anything was diverted: {}", outcome.count);
    assert!(outcome.is_clean(), "{:#?} {:?}", outcome.findings.violations, outcome.panicked);
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_pos_prints_everything_the_staff_enter_what_was_printed_elsewhere() {
    let outcome = away(true, false).await;
    let count = outcome.count;
    assert_eq!((count.due, count.on_list, count.entered), (0, 0, 0), "{count}");
    assert_eq!(outcome.refused, 0, "{}", outcome.timeline);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_printed_while_the_pos_was_away_is_entered_once_although_answers_are_lost_and_replicas_killed() {
    let count = away(false, true).await.count;
    assert_eq!((count.due, count.by_staff), (0, 0), "{count}");
    // The POS refuses what belongs to a check that was closed there just before it went away: that is for the staff.
    assert!(count.entered > count.on_list, "{count}");
}
