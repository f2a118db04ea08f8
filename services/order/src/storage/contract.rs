//! What every storage must do, run on all of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod claims;
mod concurrency;
mod errands;
mod gates;
mod interleavings;
mod listing;
mod orders;
mod postgres_only;
mod rounds;
mod time;

use std::{sync::Arc, time::Duration};

use posmesh_kit::time::from_unix_ms;
use posmesh_kit_db::DatabaseConfig;
use posmesh_proto::order::v1::{Attempt, Check, CheckState, Order, OrderState};

use super::{Changed, CheckChange, MemoryStorage, NewOrder, OrderChange, Placement, Room, Storage, StorageError};

type Subject = Arc<dyn Storage>;

const TENANT: &str = "brand";
const LEASE: Duration = Duration::from_secs(60);
/// 2026-11-22T12:00:00Z
const NOON_MS: i64 = 1_795_348_800_000;

/// One test per clause and storage.
macro_rules! contract {
    ($($module:ident: $($clause:ident,)+;)+) => {
        mod memory {
            $($(#[tokio::test]
            async fn $clause() {
                super::$module::$clause(std::sync::Arc::new(super::MemoryStorage::default())).await;
            })+)+
        }
        mod sqlite {
            $($(#[tokio::test]
            async fn $clause() {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().display());
                super::$module::$clause(super::on_database(url).await).await;
            })+)+
        }
        mod postgres {
            $($(#[tokio::test]
            async fn $clause() {
                super::$module::$clause(super::on_database(super::postgres_url().await).await).await;
            })+)+
        }
    };
}

contract! {
    orders:
        an_order_that_was_taken_is_read_back_as_it_was_answered,
        a_repeated_request_gets_the_order_as_it_is_now,
        another_command_under_a_known_request_id_is_told_apart,
        of_two_in_one_batch_with_one_request_id_the_first_is_taken_and_the_second_knows_it,
        callers_and_tenants_do_not_share_request_ids,
        an_order_cancelled_before_it_was_seen_takes_any_command_as_its_own,
        display_numbers_count_up_per_store_and_business_day,
        the_number_of_the_pos_replaces_ours,
        an_order_that_cannot_be_stored_does_not_fail_its_neighbours,
        a_change_is_read_back,
        a_change_of_an_old_version_is_refused_with_the_order_as_it_is,
        a_change_of_an_unknown_order_is_missing,
        two_changes_of_one_order_in_one_batch_take_effect_one_after_the_other,
        two_changes_of_one_version_in_one_batch_do_not_both_take_effect,;
    rounds:
        the_first_round_is_sent_and_later_ones_wait_in_order,
        rounds_of_one_batch_wait_for_each_other,
        the_end_of_a_round_lets_the_next_one_go,
        a_doubtful_round_keeps_its_turn,
        a_round_cancelled_while_it_waits_is_passed_over,
        a_turn_that_nobody_begins_falls_due_at_once_and_is_kept,
        a_repeated_round_uses_up_no_place,
        a_check_that_is_unknown_or_closed_takes_no_round,
        a_check_that_stands_at_another_pos_takes_no_round,
        a_check_closed_at_the_pos_is_closed_here_and_its_next_round_is_not_let_go,
        a_check_of_another_store_takes_no_round,
        orders_and_rounds_share_a_batch,;
    claims:
        only_what_is_due_is_claimed_and_oldest_first,
        a_claim_counts_the_version_up_and_fences_the_old_owner,
        a_claimed_order_is_left_alone_until_its_lease_ends,
        an_order_that_is_never_due_is_never_claimed,
        a_claimed_round_comes_with_its_check,
        an_order_that_is_put_off_stays_as_it_is_and_falls_due_later,
        concurrent_claimers_never_get_the_same_order,;
    listing:
        orders_are_listed_newest_first_and_paged,
        orders_are_listed_by_state_time_and_check,
        orders_that_need_a_person_are_found_until_they_need_nobody,
        only_what_is_newer_than_what_is_known_is_read,
        a_contact_is_kept_apart_and_erased_when_it_is_old,
        tenants_do_not_see_each_other,;
    checks:
        a_table_has_one_open_check,
        a_closed_check_makes_room_on_its_table,
        of_many_that_open_a_table_at_once_one_does,
        a_check_changes_from_the_version_that_was_read,
        a_round_that_came_in_between_is_a_conflict,
        checks_are_listed_newest_first_filtered_and_paged,
        several_checks_are_open_on_a_table_only_where_the_pos_tells_them_apart,
        a_check_that_moved_leaves_its_table_free_and_is_joined_on_the_new_one,
        a_check_is_found_by_its_reference_at_its_own_connection,
        a_reference_that_a_round_brought_is_found,
        a_check_falls_due_is_claimed_once_and_again_when_the_lease_ends,
        a_check_that_changed_since_it_was_looked_at_is_not_put_off,
        a_check_that_a_round_found_closed_falls_due_at_once,
        of_many_that_claim_checks_at_once_each_is_claimed_by_one,
        a_check_of_which_nothing_is_at_the_pos_is_not_closed_by_a_refusal,
        a_split_is_begun_once_and_makes_its_check_fall_due,
        a_split_ends_once_with_its_checks_or_is_forgotten,;
    errands:
        an_errand_is_done_by_one_replica_at_a_time,
        an_errand_whose_replica_died_is_done_by_another_and_the_first_writes_nothing,
        how_far_an_errand_came_is_kept,
        an_errand_rests_until_it_is_woken,
        an_errand_woken_while_it_is_done_is_done_again,
        waking_brings_an_errand_forward_and_never_puts_it_off,
        concurrent_replicas_never_get_the_same_errand,;
    gates:
        what_waits_and_what_is_in_doubt_is_counted_by_store,
        orders_that_wait_for_a_connection_are_counted_until_they_go,
        held_orders_fall_due_one_after_the_other_oldest_first,
        a_release_brings_held_orders_forward_and_never_puts_them_off,
        a_held_order_that_a_replica_has_claimed_is_left_alone,
        what_the_pos_must_be_told_of_is_counted_apart_and_falls_due_with_what_is_held,
        an_order_that_the_pos_must_be_told_of_proves_nothing_until_it_was,
        a_pause_is_known_until_it_is_ended,
        a_pause_that_is_over_is_forgotten_unless_another_one_took_its_place,
        a_replica_that_missed_another_outage_does_not_find_the_connection_open,
        a_connection_on_probation_lets_one_order_through_at_a_time,
        one_in_doubt_blocks_the_next_and_one_that_was_refused_does_not,
        an_order_that_is_there_opens_the_connection_until_it_is_offline_again,
        an_order_that_was_there_before_proves_nothing_after_another_outage,
        a_claim_whose_order_never_came_does_not_last,
        of_many_that_claim_at_once_one_is_let_through,;
    concurrency:
        rounds_placed_at_once_get_different_places_and_one_is_in_flight,
        a_request_repeated_at_once_makes_one_order,
        of_a_change_and_a_claim_at_once_one_wins,
        rounds_that_come_and_go_at_once_are_sent_one_by_one_in_order,;
    time:
        a_slot_takes_so_many_orders_as_it_has_places,
        an_order_that_ended_without_reaching_the_pos_frees_its_place,
        a_repeated_request_takes_no_second_place,
        slots_of_stores_and_tenants_and_times_are_counted_apart,
        orders_at_once_never_overbook_a_slot,
        places_long_past_are_forgotten,
        an_order_that_the_pos_has_is_completed_when_its_time_is_over,
        an_order_that_the_pos_does_not_have_is_not_completed_by_time,
        an_order_that_is_being_changed_is_not_completed_meanwhile,
        an_order_that_waits_to_be_entered_is_completed_and_waits_on,
        completers_at_once_never_complete_the_same_order,
        a_store_with_many_due_orders_leaves_room_for_others,
        a_store_that_is_full_gets_nothing,
        a_round_that_waits_passes_one_that_is_long_in_doubt_and_is_marked,
        a_round_passes_nothing_that_may_still_be_sent_or_is_in_doubt_for_too_short,
        a_round_never_passes_one_that_waits_before_it,
        a_doubtful_round_has_the_turn_again_when_the_one_that_passed_it_ends,
        a_doubtful_round_that_was_passed_goes_again_after_the_one_in_flight,
        a_round_whose_turn_came_and_that_nobody_began_takes_it,
        of_two_that_pass_at_once_one_does,;
}

async fn on_database(url: String) -> Subject {
    super::open(&database(url)).await.unwrap()
}

fn database(url: String) -> DatabaseConfig {
    DatabaseConfig { url, max_connections: 8, acquire_timeout: Duration::from_secs(30) }
}

async fn postgres_url() -> String {
    let url = || posmesh_counterparts::Postgres::shared().unwrap().create_database().unwrap();
    tokio::task::spawn_blocking(url).await.unwrap()
}

fn attempt(number: i32) -> Attempt {
    let begin_time = Some(from_unix_ms(NOON_MS));
    Attempt { number, begin_time, replica: "replica-1".into(), connection_id: "till".into(), ..Attempt::default() }
}

/// A kiosk's order with an attempt under way, whose ids derive from the request's.
fn new_order(request_id: &str) -> NewOrder {
    let order = Order {
        order_id: format!("order-of-{request_id}"),
        store_id: "shibuya".into(),
        state: OrderState::Sending.into(),
        version: 1,
        business_date: "2026-11-22".into(),
        attempts: vec![attempt(1)],
        create_time: Some(from_unix_ms(NOON_MS)),
        update_time: Some(from_unix_ms(NOON_MS)),
        ..Order::default()
    };
    NewOrder {
        tenant_id: TENANT.into(),
        caller: "kiosk".into(),
        request_id: request_id.to_owned(),
        request_hash: b"command".to_vec(),
        order,
        lease: LEASE,
        hold: LEASE,
        complete_in: None,
        slot: None,
        contact: None,
    }
}

fn new_round(request_id: &str, check_id: &str) -> NewOrder {
    let mut new = new_order(request_id);
    new.order.check_id = check_id.to_owned();
    new
}

async fn place(storage: &Subject, new: NewOrder) -> Placement {
    storage.place_batch(vec![new]).await.remove(0).unwrap()
}

/// Places an order that must be taken.
async fn take(storage: &Subject, new: NewOrder) -> Order {
    taken(place(storage, new).await)
}

fn taken(placement: Placement) -> Order {
    match placement {
        Placement::Taken { order, .. } => *order,
        other => panic!("not taken: {other:?}"),
    }
}

/// A change that takes the order on to a state.
fn to(order: &Order, state: OrderState) -> OrderChange {
    let mut order = order.clone();
    order.version += 1;
    order.set_state(state);
    order.update_time = Some(from_unix_ms(NOON_MS + 1000));
    let next_attempt = Some((attempt(0), LEASE));
    let check = CheckChange { next_attempt, ..CheckChange::default() };
    OrderChange { tenant_id: TENANT.into(), order, due_in: None, check }
}

async fn change(storage: &Subject, change: OrderChange) -> Changed {
    storage.change_batch(vec![change]).await.remove(0).unwrap()
}

/// Ends a round that must end, and returns the one that goes next.
async fn end(storage: &Subject, round: &Order) -> Option<Order> {
    match change(storage, to(round, OrderState::Placed)).await {
        Changed::Done { next_round } => next_round.map(|next| next.0),
        other => panic!("not changed: {other:?}"),
    }
}

async fn read(storage: &Subject, order_id: &str) -> Order {
    storage.order(TENANT, order_id).await.unwrap().unwrap()
}

async fn read_check(storage: &Subject, check_id: &str) -> Check {
    storage.check(TENANT, check_id).await.unwrap().unwrap()
}

fn check_on(table_id: &str) -> Check {
    Check {
        check_id: format!("check-on-{table_id}"),
        store_id: "shibuya".into(),
        table_id: table_id.to_owned(),
        state: CheckState::Open.into(),
        party_size: 4,
        version: 1,
        open_time: Some(from_unix_ms(NOON_MS)),
        ..Check::default()
    }
}

/// Opens a check on a free table.
async fn open(storage: &Subject, table_id: &str) -> Check {
    let check = check_on(table_id);
    assert_eq!(storage.open_check(TENANT, &check, LEASE).await.unwrap(), None);
    check
}
