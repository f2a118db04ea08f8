//! Payments taken elsewhere, booked with the order.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{PosOrder, PosTender};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{Api, ApiError},
    orders::check_text,
    settings::{IdOrName, Settings},
    till::Till,
};

use super::{payload::Payment, plan::uuid_of, shelf::record_id};

#[derive(Deserialize)]
struct Method {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The order's tenders as payments of the till; together they must be the order's `total`.
pub(super) async fn payments(
    api: &Api<'_>,
    settings: &Settings,
    till: &Till,
    order: &PosOrder,
    total: i64,
) -> Result<Vec<Payment>, Unplaced> {
    if order.tenders.is_empty() {
        return Ok(Vec::new());
    }
    let sum: i64 = order.tenders.iter().filter_map(|t| t.amount.as_ref()).map(|money| money.amount).sum();
    let currency = |tender: &PosTender| tender.amount.as_ref().is_some_and(|m| m.currency_code == till.currency_code);
    if sum != total || !order.tenders.iter().all(currency) {
        let message =
            format!("payments of {sum} do not settle an order of {total} minor units of {}", till.currency_code);
        return Err(Unplaced::rejected(cause::MASTER_MISMATCH, message));
    }
    let domain = json!([["id", "in", till.config.payment_method_ids]]);
    let methods: Vec<Method> = api
        .search_read("pos.payment.method", domain, &["name", "type"], &till.scope(None))
        .await
        .map_err(ApiError::before_the_write)?;
    let reference = uuid_of("the order's reference", &order.reference)?;
    let mut payments = Vec::with_capacity(order.tenders.len());
    for (at, tender) in order.tenders.iter().enumerate() {
        check_text("a tender's reference", &tender.reference)?;
        payments.push(Payment {
            uuid: Uuid::new_v5(&reference, format!("tender/{at}").as_bytes()).to_string(),
            method_id: method(settings, &methods, tender)?,
            amount: tender.amount.as_ref().map_or(0, |money| money.amount),
            reference: tender.reference.clone(),
        });
    }
    Ok(payments)
}

fn method(settings: &Settings, methods: &[Method], tender: &PosTender) -> Result<i64, Unplaced> {
    let wanted = match record_id(&tender.tender_id) {
        Some(id) => Some(IdOrName::Id(id)),
        None if tender.tender_id.is_empty() => settings.external_payment_method.clone(),
        None => None,
    };
    let Some(wanted) = wanted else {
        let message = "the order is paid elsewhere; set external_payment_method on the connection";
        return Err(Unplaced::not_handed_over(cause::MISCONFIGURED, message));
    };
    let found = methods.iter().find(|method| wanted.is(method.id, &method.name));
    match found {
        // Such an order would keep the staff from closing the day.
        Some(method) if method.kind == "pay_later" => {
            let message =
                format!("payment method {:?} is on account; no payment from elsewhere can use it", method.name);
            Err(Unplaced::rejected(cause::MISCONFIGURED, message))
        }
        Some(method) => Ok(method.id),
        None => {
            let message = format!("the till has no payment method {wanted}; add it there or change the connection");
            Err(Unplaced::not_handed_over(cause::MISCONFIGURED, message))
        }
    }
}
