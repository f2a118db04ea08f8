#![allow(clippy::unwrap_used)]
use posmesh_kit::time::from_unix_ms;

use super::*;

const NOW_MS: i64 = 1_795_348_800_000;
const TODAY: &str = "2026-11-22";

fn check(table_id: &str, reference: &str) -> Check {
    Check {
        check_id: format!("our-{reference}"),
        table_id: table_id.into(),
        state: CheckState::Open.into(),
        pos_check_reference: reference.into(),
        business_date: TODAY.into(),
        open_time: Some(from_unix_ms(NOW_MS)),
        version: 3,
        ..Check::default()
    }
}

fn at_pos(reference: &str, table_ids: &[&str]) -> PosCheck {
    PosCheck {
        pos_check_reference: reference.into(),
        open: true,
        table_ids: table_ids.iter().map(|id| (*id).to_owned()).collect(),
        ..PosCheck::default()
    }
}

#[test]
fn a_check_follows_what_the_staff_did() {
    let open = |tables: &[&str]| Seen::Open(Box::new(at_pos("7", tables)));
    let unknown = Seen::Unknown(CheckFailed::default());
    let cases = [
        (open(&["t1"]), Step::Stay),
        (open(&[]), Step::Stay),
        // Tables were put together: the guests still sit at one of them.
        (open(&["t2", "t1"]), Step::Stay),
        (open(&["t2"]), Step::Move("t2".into())),
        (Seen::MergedInto("8".into()), Step::Merge("8".into())),
        (Seen::MergedInto("7".into()), Step::Close),
        (Seen::Closed, Step::Close),
        (unknown, Step::Stay),
    ];
    for (seen, expected) in cases {
        assert_eq!(step(&check("t1", "7"), &seen), expected, "{seen:?}");
    }
}

#[test]
fn an_answer_says_open_merged_closed_or_nothing() {
    use get_check_response::Result as Answer;
    let failed = |cause: &str| Answer::Failed(CheckFailed { cause: cause.into(), message: String::new() });
    let merged = PosCheck { open: false, merged_into: "8".into(), ..at_pos("7", &[]) };
    assert!(matches!(seen(Some(Answer::Check(at_pos("7", &[])))), Seen::Open(_)));
    assert_eq!(seen(Some(Answer::Check(merged.clone()))), Seen::MergedInto("8".into()));
    assert_eq!(seen(Some(Answer::Check(PosCheck { merged_into: String::new(), ..merged }))), Seen::Closed);
    assert_eq!(seen(Some(failed(cause::CHECK_NOT_FOUND))), Seen::Closed);
    assert!(matches!(seen(Some(failed(cause::NETWORK_DOWN))), Seen::Unknown(_)));
    assert!(matches!(seen(None), Seen::Unknown(_)));
}

#[test]
fn a_check_that_moved_remembers_where_its_guests_sat() {
    let there = moved(&moved(&check("t1", "7"), "t2"), "t3");
    assert_eq!((there.table_id.as_str(), there.version), ("t3", 5));
    assert_eq!(there.former_table_ids, ["t1", "t2"]);
}

#[test]
fn a_check_of_an_earlier_day_or_without_use_has_outlived_its_guests() {
    let later_ms = NOW_MS + 31 * 60 * 1000;
    let used = check("t1", "7");
    let unused = check("t1", "");
    assert_eq!(outlived(&used, TODAY, true, later_ms), None);
    assert_eq!(outlived(&used, "2026-11-23", true, NOW_MS), Some(ended::BUSINESS_DAY_ENDED));
    assert_eq!(outlived(&used, "2026-11-21", true, NOW_MS), None, "a clock that was set back ends nothing");
    assert_eq!(outlived(&unused, TODAY, true, NOW_MS), None);
    assert_eq!(outlived(&unused, TODAY, true, later_ms), Some(ended::NEVER_USED));
    assert_eq!(outlived(&unused, TODAY, false, later_ms), None, "a round is under way");
}

#[test]
fn newcomers_join_the_one_check_of_the_table_and_never_guess() {
    let (ours, fresh) = ([check("t1", "7")], [check("t1", "")]);
    let (seven, eight) = (at_pos("7", &["t1"]), at_pos("8", &["t1"]));
    let both = [seven.clone(), eight.clone()];
    assert_eq!(seat(&[], Some(&[])), Seat::Open);
    assert_eq!(seat(&[], None), Seat::Open);
    assert_eq!(seat(&fresh, Some(&[])), Seat::Join(&fresh[0]));
    assert_eq!(seat(&ours, None), Seat::Join(&ours[0]));
    assert_eq!(seat(&ours, Some(std::slice::from_ref(&seven))), Seat::Join(&ours[0]));
    assert_eq!(seat(&[], Some(std::slice::from_ref(&seven))), Seat::JoinAtPos(&seven, None));
    assert_eq!(seat(&fresh, Some(std::slice::from_ref(&seven))), Seat::JoinAtPos(&seven, Some(&fresh[0])));
    assert_eq!(seat(&ours, Some(&both)), Seat::Several(2));
    let split = [check("t1", "7"), check("t1", "8")];
    assert_eq!(seat(&split, None), Seat::Several(2));
}
