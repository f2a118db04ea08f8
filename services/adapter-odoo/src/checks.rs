//! Drafts on tables: what everybody, staff and guests, has on their checks.

use std::collections::HashMap;

use posmesh_adapter_kit::PosError;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{PosCheck, PosCheckLine};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{Api, ApiError},
    orders::{self, LineRecord, OrderRecord},
    settings::Settings,
    submit::{TillLocks, payload::RECOMPUTE},
    tax::Taxes,
    till::Till,
    wire::{self, Link},
};

/// How often a table may be merged into one that is merged itself.
const MAX_MERGES: usize = 32;

#[derive(Deserialize)]
struct TableRecord {
    id: i64,
    #[serde(deserialize_with = "wire::link")]
    parent_id: Option<Link>,
}

/// All tables of the till, merged ones with what they are merged into.
struct Tables(HashMap<i64, Option<i64>>);

impl Tables {
    async fn read(api: &Api<'_>, till: &Till) -> Result<Self, ApiError> {
        if !till.config.module_pos_restaurant {
            return Ok(Self(HashMap::new()));
        }
        let domain = json!([["floor_id", "in", till.config.floor_ids]]);
        let tables: Vec<TableRecord> =
            api.search_read("restaurant.table", domain, &["parent_id"], &till.scope(None)).await?;
        Ok(Self(tables.into_iter().map(|table| (table.id, table.parent_id.map(|link| link.0))).collect()))
    }

    /// The table that a check of these guests is on. `None`: the till has no such table.
    fn root(&self, id: i64) -> Option<i64> {
        let mut root = id;
        for _ in 0..MAX_MERGES {
            match self.0.get(&root)? {
                Some(parent) => root = *parent,
                None => break,
            }
        }
        Some(root)
    }

    /// A check's tables: the one it is on first.
    fn of_check(&self, root: i64) -> Vec<String> {
        let mut merged: Vec<i64> =
            self.0.keys().copied().filter(|id| *id != root && self.root(*id) == Some(root)).collect();
        merged.sort_unstable();
        std::iter::once(root).chain(merged).map(|id| id.to_string()).collect()
    }
}

/// The table whose check counts for guests at table `id`; `None` if the till has no such table.
pub(crate) async fn root_table(api: &Api<'_>, till: &Till, id: i64) -> Result<Option<i64>, ApiError> {
    Ok(Tables::read(api, till).await?.root(id))
}

/// The open checks of a table, or of all.
pub(crate) async fn list(api: &Api<'_>, settings: &Settings, table_id: &str) -> Result<Vec<PosCheck>, PosError> {
    api.require_supported().await?;
    let till = Till::read(api, &settings.pos_config).await?;
    if !till.config.module_pos_restaurant {
        return Ok(Vec::new());
    }
    let tables = Tables::read(api, &till).await?;
    let on = match table_id {
        "" => json!(["table_id", "!=", false]),
        id => match id.parse().ok().and_then(|id| tables.root(id)) {
            Some(root) => json!(["table_id", "=", root]),
            None => {
                let message = format!("this till has no table {id:?}; sync the menu");
                return Err(PosError::failed(cause::MASTER_MISMATCH, message));
            }
        },
    };
    let domain = json!([["config_id", "=", till.config.id], ["state", "=", "draft"], on]);
    let drafts = orders::orders(api, &till, domain).await?;
    Ok(drafts.iter().map(|draft| to_check(&till, &tables, draft)).collect())
}

/// One check with all its lines.
pub(crate) async fn get(api: &Api<'_>, settings: &Settings, reference: &str) -> Result<PosCheck, PosError> {
    api.require_supported().await?;
    let till = Till::read(api, &settings.pos_config).await?;
    let order = existing(api, &till, reference).await?;
    read(api, &till, &order).await
}

/// Puts a note on the draft that the till shows to the staff, unless it is there already.
pub(crate) async fn request_bill(
    api: &Api<'_>,
    settings: &Settings,
    locks: &TillLocks,
    reference: &str,
) -> Result<PosCheck, PosError> {
    api.require_supported().await?;
    let _writing = locks.lock(settings).await;
    let till = Till::read(api, &settings.pos_config).await?;
    let order = existing(api, &till, reference).await?;
    if !order.is_draft() {
        let message = format!("check {} is {:?} already", order.pos_reference, order.state);
        return Err(PosError::failed(cause::CHECK_NOT_FOUND, message));
    }
    if let Some(notes) = with_note(&order.internal_note, &settings.bill_request_text) {
        let session_id = till.open_session().map_err(|why| PosError::failed(cause::BUSINESS_DAY_NOT_OPEN, why))?;
        // By a sync rather than a plain write: only that tells the tills.
        let change = json!({
            "uuid": order.uuid, "session_id": session_id, "state": "draft", "access_token": "", "lines": [],
            "payment_ids": [RECOMPUTE], "internal_note": notes,
        });
        let arguments = json!({"orders": [change], "context": till.scope(None).context()});
        api.call::<Value>("pos.order", "sync_from_ui", &arguments).await?;
    }
    let order = existing(api, &till, reference).await?;
    if with_note(&order.internal_note, &settings.bill_request_text).is_some() {
        return Err(PosError::failed(cause::UNKNOWN, "Odoo did not keep the note; tell the staff"));
    }
    read(api, &till, &order).await
}

/// Odoo's internal notes with one more; `None` if it is there already.
fn with_note(notes: &str, text: &str) -> Option<String> {
    let mut notes: Vec<Value> = match serde_json::from_str(notes) {
        Ok(Value::Array(notes)) => notes,
        // A note in the form of older versions.
        _ if !notes.is_empty() => vec![json!({"text": notes, "colorIndex": 0})],
        _ => Vec::new(),
    };
    if notes.iter().any(|note| note["text"] == text) {
        return None;
    }
    notes.push(json!({"text": text, "colorIndex": 0}));
    Some(Value::Array(notes).to_string())
}

async fn existing(api: &Api<'_>, till: &Till, reference: &str) -> Result<OrderRecord, PosError> {
    orders::order_by_uuid(api, till, reference).await?.ok_or_else(|| {
        let message = format!("the till has no check {reference:?}; the staff may have merged or deleted it");
        PosError::failed(cause::CHECK_NOT_FOUND, message)
    })
}

async fn read(api: &Api<'_>, till: &Till, order: &OrderRecord) -> Result<PosCheck, PosError> {
    let (tables, lines, taxes) =
        tokio::try_join!(Tables::read(api, till), orders::lines_of(api, till, order), Taxes::read(api, till))?;
    let shown = lines.iter().filter(|line| line.combo_parent_id().is_none());
    let lines = shown.map(|line| to_line(till, &taxes, line, &lines)).collect();
    Ok(PosCheck { lines, ..to_check(till, &tables, order) })
}

/// The check without its lines.
fn to_check(till: &Till, tables: &Tables, order: &OrderRecord) -> PosCheck {
    let money = |amount: f64| till.to_minor(amount).map(|minor| till.money(minor));
    PosCheck {
        pos_check_reference: order.uuid.clone(),
        table_ids: order.table_id.as_ref().map(|link| tables.of_check(link.0)).unwrap_or_default(),
        open: order.is_draft(),
        party_size: order.customer_count.max(0),
        open_time: orders::to_timestamp(&order.date_order),
        lines: Vec::new(),
        total: money(order.amount_total),
        tax_total: money(order.amount_tax),
        ..PosCheck::default()
    }
}

/// A line; a combo with its parts in its total.
fn to_line(till: &Till, taxes: &Taxes, line: &LineRecord, all: &[LineRecord]) -> PosCheckLine {
    let whole: Vec<&LineRecord> =
        all.iter().filter(|other| other.id == line.id || other.combo_parent_id() == Some(line.id)).collect();
    // The parts' own totals are rounded one by one, and may miss the combo's by a minor unit.
    let total = orders::total_of(till, taxes, whole.iter().copied())
        .or_else(|| till.to_minor(whole.iter().map(|part| part.price_subtotal_incl).sum()));
    PosCheckLine {
        line_id: if line.is_ours() { line.uuid.clone() } else { String::new() },
        pos_line_reference: line.id.to_string(),
        item_id: line.product_id().to_string(),
        name: line.full_product_name.clone(),
        quantity_milli: wire::to_units(line.qty, 3).unwrap_or_default(),
        total: total.map(|total| till.money(total)),
        note: line.customer_note.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_request_for_the_bill_is_noted_once_and_keeps_the_staffs_notes() {
        let noted = with_note(r#"[{"text":"Wait","colorIndex":2}]"#, "会計").unwrap();
        let notes: Value = serde_json::from_str(&noted).unwrap();
        assert_eq!((&notes[0]["text"], &notes[0]["colorIndex"]), (&json!("Wait"), &json!(2)));
        assert_eq!(notes[1]["text"], "会計");
        assert_eq!(with_note(&noted, "会計"), None);
        assert!(with_note("", "会計").unwrap().contains("会計"));
        assert!(with_note("plain words", "会計").unwrap().contains("plain words"));
    }

    #[test]
    fn a_check_of_merged_tables_is_on_the_table_they_were_merged_into() {
        let tables = Tables([(1, None), (2, Some(1)), (3, Some(2)), (4, None), (5, Some(5))].into());
        assert_eq!(tables.root(3), Some(1));
        assert_eq!(tables.of_check(1), ["1", "2", "3"]);
        assert_eq!(tables.of_check(4), ["4"]);
        assert_eq!(tables.root(9), None);
        assert_eq!(tables.root(5), Some(5), "a circle ends");
    }
}
