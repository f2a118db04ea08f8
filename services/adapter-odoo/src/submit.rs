//! An order into Odoo, once.

mod combo;
mod fields;
mod lines;
mod locks;
pub(crate) mod payload;
mod payments;
mod place;
mod plan;
mod shelf;

use posmesh_adapter_kit::{Submit, Unplaced, http::HttpError};
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::Placed;
use serde::Deserialize;
use tokio::time::timeout_at;

use crate::{
    api::{Api, ApiError, Refusal},
    orders::{self, Held},
    settings::Settings,
    till::Till,
    wire,
};

pub(crate) use locks::TillLocks;
use plan::{Plan, Planned};

/// Writes the order, unless Odoo has it already, and reads it back.
pub(crate) async fn submit(
    api: &Api<'_>,
    settings: &Settings,
    locks: &TillLocks,
    submit: &Submit,
) -> Result<Placed, Unplaced> {
    let too_late = |_| Unplaced::not_handed_over(cause::TIMED_OUT, "the order's time was over before it was written");
    let _writing = timeout_at(submit.deadline, locks.lock(settings)).await.map_err(too_late)?;
    let planned = timeout_at(submit.deadline, plan::plan(api, settings, &submit.order)).await.map_err(too_late)??;
    let plan = match planned {
        Planned::AlreadyThere(placed) => return Ok(*placed),
        Planned::Write(plan) => plan,
    };
    if submit.time_left().is_zero() {
        return Err(Unplaced::not_handed_over(
            cause::NOT_AFTER_PASSED,
            "the order's time was over before it was written",
        ));
    }
    write(api, settings, &plan).await
}

/// What Odoo answers to a sync.
#[derive(Deserialize)]
struct Synced {
    #[serde(rename = "pos.order")]
    orders: Vec<SyncedOrder>,
}

#[derive(Deserialize)]
struct SyncedOrder {
    state: String,
}

async fn write(api: &Api<'_>, settings: &Settings, plan: &Plan) -> Result<Placed, Unplaced> {
    let answer: Result<Synced, Refusal> = match api.call("pos.order", "sync_from_ui", &plan.payload).await {
        Ok(synced) => Ok(synced),
        // Odoo's own answer: the transaction is over, so what is read now is final.
        Err(ApiError::Refused(refusal)) => Err(refusal),
        Err(ApiError::Http(error @ HttpError::NotSent { .. })) => return Err(error.at_first_write()),
        Err(error) => return Err(error.after_the_write()),
    };
    let uuids: Vec<&str> = plan.lines.iter().map(|line| line.uuid.as_str()).collect();
    let held = orders::held(api, &plan.till, &uuids).await.map_err(ApiError::after_the_write)?;
    if held.lines.is_empty() {
        return Err(match answer {
            Err(refusal) => refused(api, settings, plan, refusal).await,
            Ok(synced) => not_seen(plan.paid, &synced),
        });
    }
    check(plan, &held).map_err(|doubt| Unplaced::in_doubt(cause::UNKNOWN, doubt))?;
    let placed = held.placed(api, &plan.till).await.map_err(ApiError::after_the_write)?;
    placed.ok_or_else(|| Unplaced::in_doubt(cause::UNKNOWN, "the order's lines are there, but not their order"))
}

/// Whether Odoo holds the order as it was meant.
fn check(plan: &Plan, held: &Held) -> Result<(), String> {
    if let Some(cancelled) = held.cancelled() {
        return Err(cancelled);
    }
    let mut missing = Vec::new();
    for line in &plan.lines {
        match held.lines.iter().find(|there| there.uuid == line.uuid) {
            None => missing.push(line.name.as_str()),
            Some(there) => {
                let same = there.product_id() == line.product_id
                    && wire::to_units(there.qty, 0) == Some(line.quantity)
                    && there.combo_parent_id().is_some() == line.part_of.is_some();
                if !same {
                    return Err(format!(
                        "line {:?} is there with another product, quantity or combo; look at it at the till",
                        line.name
                    ));
                }
            }
        }
    }
    if !missing.is_empty() {
        let message = format!("{} of {} lines are missing: {}", missing.len(), plan.lines.len(), missing.join(", "));
        return Err(format!("{message}; look at the order at the till"));
    }
    let [order] = held.orders.as_slice() else {
        return Err("its lines are on several orders; look at them at the till".to_owned());
    };
    let reference = &order.pos_reference;
    match plan.paid {
        true if !order.is_paid() => Err(format!("order {reference} is {:?} instead of paid", order.state)),
        _ => Ok(()),
    }
}

/// 200, but none of its lines is seen. A round was ignored if its check is no draft any more, as Odoo does. A `paid`
/// order is no draft after a good write either, and may be missing only on a replica that lags: its state proves nothing.
fn not_seen(paid: bool, synced: &Synced) -> Unplaced {
    match synced.orders.iter().find(|order| !paid && order.state != "draft") {
        Some(order) => Unplaced::rejected(
            cause::CHECK_NOT_FOUND,
            format!("the check was closed meanwhile (it is {:?}); open a new one", order.state),
        ),
        None => Unplaced::in_doubt(cause::UNKNOWN, "Odoo accepted the order, but its lines cannot be found"),
    }
}

/// Odoo answered with an error, and nothing is there. Says which of the things that the plan relied on has changed.
async fn refused(api: &Api<'_>, settings: &Settings, plan: &Plan, refusal: Refusal) -> Unplaced {
    if refusal.status >= 500 {
        // Read from a replica, it might be there all the same.
        return Unplaced::in_doubt(cause::VENDOR_SERVICE_DOWN, refusal.to_string());
    }
    let changed = async {
        let till = Till::read(api, &settings.pos_config).await?;
        if let Err(why) = till.open_session() {
            return Ok(Some(plan::day_not_open(why)));
        }
        let Some(table_id) = plan.free_table else { return Ok(None) };
        Ok::<_, ApiError>(place::draft_on(api, &till, table_id).await?.map(|draft| place::taken(&draft)))
    };
    match changed.await {
        Ok(Some(unplaced)) => unplaced,
        Ok(None) => match refusal.status {
            401 => Unplaced::refused_for_now(cause::CREDENTIALS_REJECTED, refusal.to_string(), None),
            403 => Unplaced::refused_for_now(cause::MISCONFIGURED, refusal.to_string(), None),
            429 => Unplaced::refused_for_now(cause::RATE_LIMITED, refusal.to_string(), None),
            _ => Unplaced::rejected(cause::MASTER_MISMATCH, refusal.to_string()),
        },
        // Rolled back, that is certain; only the reason is not known better.
        Err(_) => Unplaced::refused_for_now(cause::UNKNOWN, refusal.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(state: &str) -> Synced {
        Synced { orders: vec![SyncedOrder { state: state.to_owned() }] }
    }

    #[test]
    fn a_prepaid_order_that_is_not_seen_after_a_good_answer_is_never_called_rejected() {
        for state in ["paid", "done", "draft", "cancel"] {
            let unplaced = not_seen(true, &synced(state));
            assert!(matches!(unplaced, Unplaced::InDoubt(_)), "{state}: {unplaced:?}");
        }
    }

    #[test]
    fn a_round_is_rejected_only_if_its_check_was_closed_meanwhile() {
        for state in ["paid", "done", "cancel"] {
            let unplaced = not_seen(false, &synced(state));
            assert!(matches!(&unplaced, Unplaced::Rejected(r) if r.cause == cause::CHECK_NOT_FOUND), "{unplaced:?}");
        }
        assert!(matches!(not_seen(false, &synced("draft")), Unplaced::InDoubt(_)));
    }
}
