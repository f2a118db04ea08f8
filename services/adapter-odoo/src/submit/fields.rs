//! What a new order says besides its lines.

use posmesh_adapter_kit::Unplaced;
use posmesh_proto::{adapter::v1::PosOrder, common::v1::ServiceMode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, ApiError},
    orders::{self, check_text},
    settings::{IdOrName, Settings},
    till::{Till, misconfigured},
};

/// Refuses texts that Odoo cannot store.
pub(super) fn check_texts(order: &PosOrder) -> Result<(), Unplaced> {
    for (what, text) in [
        ("the order's note", &order.note),
        ("the guest's name", &order.guest_name),
        ("the display number", &order.display_number),
        ("the pager number", &order.pager_number),
    ] {
        check_text(what, text)?;
    }
    Ok(())
}

/// The fields of a new order; `table_id` is the table that it is on.
pub(super) async fn order_fields(
    api: &Api<'_>,
    settings: &Settings,
    till: &Till,
    order: &PosOrder,
    table_id: Option<i64>,
) -> Result<Map<String, Value>, Unplaced> {
    let mut fields = note_fields("", order);
    match table_id {
        Some(table_id) => fields.insert("table_id".into(), json!(table_id)),
        None => fields.insert("floating_order_name".into(), json!(floating_name(order))),
    };
    let party_size = order.check.as_ref().map_or(0, |check| check.party_size);
    if party_size > 0 {
        fields.insert("customer_count".into(), json!(party_size));
    }
    let takeaway = |mode: i32| mode == i32::from(ServiceMode::Takeaway);
    let preset = if order.lines.iter().all(|line| takeaway(line.service_mode)) {
        takeaway_preset(api, settings, till).await.map_err(ApiError::before_the_write)?
    } else {
        till.config.default_preset_id.as_ref().map(|link| link.0)
    };
    fields.extend(preset.map(|id| ("preset_id".to_owned(), json!(id))));
    let pickup = order.pickup_time.as_ref().and_then(orders::from_timestamp);
    fields.extend(pickup.map(|time| ("preset_time".to_owned(), json!(time))));
    Ok(fields)
}

/// The order's note below what is there already.
pub(super) fn note_fields(before: &str, order: &PosOrder) -> Map<String, Value> {
    let test = order.test.then_some("TEST").into_iter();
    let note = Some(order.note.trim()).filter(|note| !note.is_empty()).into_iter();
    let ours: Vec<&str> = test.chain(note).collect();
    if ours.is_empty() {
        return Map::new();
    }
    let all: Vec<&str> = Some(before).filter(|text| !text.is_empty()).into_iter().chain(ours).collect();
    Map::from_iter([("general_customer_note".to_owned(), json!(all.join("\n")))])
}

/// What the till shows in place of a table: `T-42 Kim, pager 7`.
fn floating_name(order: &PosOrder) -> String {
    let name = format!("{} {}", order.display_number, order.guest_name);
    let pager = (!order.pager_number.is_empty()).then(|| format!("pager {}", order.pager_number));
    let parts: Vec<&str> =
        [Some(name.trim()), pager.as_deref()].into_iter().flatten().filter(|p| !p.is_empty()).collect();
    parts.join(", ")
}

async fn takeaway_preset(api: &Api<'_>, settings: &Settings, till: &Till) -> Result<Option<i64>, ApiError> {
    #[derive(Deserialize)]
    struct Preset {
        id: i64,
    }
    let name = match &settings.takeaway_preset {
        None => return Ok(None),
        Some(IdOrName::Id(id)) => return Ok(Some(*id)),
        Some(IdOrName::Name(name)) => name,
    };
    let domain = json!([["name", "=", name]]);
    let presets: Vec<Preset> = api.search_read("pos.preset", domain, &["name"], &till.scope(None)).await?;
    match presets.first() {
        Some(preset) => Ok(Some(preset.id)),
        None => Err(misconfigured(format!("Odoo has no preset {name:?}; change takeaway_preset of the connection"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(note: &str, test: bool) -> PosOrder {
        PosOrder { note: note.to_owned(), test, ..PosOrder::default() }
    }

    #[test]
    fn a_note_is_added_below_what_others_wrote_and_a_rehearsal_is_marked() {
        let note = |before: &str, order: PosOrder| note_fields(before, &order).remove("general_customer_note");
        assert_eq!(note("", order(" ", false)), None, "nothing to say changes nothing");
        assert_eq!(note("birthday", order("no nuts", false)), Some(json!("birthday\nno nuts")));
        assert_eq!(note("", order("no nuts", true)), Some(json!("TEST\nno nuts")));
    }

    #[test]
    fn an_order_without_table_is_called_by_number_guest_and_pager() {
        let named = PosOrder { display_number: "K-7".into(), pager_number: "12".into(), ..PosOrder::default() };
        assert_eq!(floating_name(&named), "K-7, pager 12");
        assert_eq!(floating_name(&PosOrder { guest_name: "Kim".into(), ..named }), "K-7 Kim, pager 12");
        assert_eq!(floating_name(&PosOrder::default()), "");
    }
}
