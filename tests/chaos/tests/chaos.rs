//! A minute of chaos.

use std::time::Duration;

use chaos::Settings;

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
