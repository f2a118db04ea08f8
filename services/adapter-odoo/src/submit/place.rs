//! Which check an order goes on.

use posmesh_adapter_kit::Unplaced;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::PosOrder;
use serde_json::json;

use crate::{
    api::{Api, ApiError},
    checks::root_table,
    orders::{self, OrderRecord},
    tax::FiscalPosition,
    till::Till,
};

use super::{lines::NewLine, shelf::record_id};

/// What Odoo knows of the check and the table that an order names.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The check by its reference, or by our own id of it.
    check: Option<OrderRecord>,
    /// The table whose check counts: the staff may have merged the guests' table into another.
    table_id: Option<i64>,
    /// An open check on it.
    on_table: Option<OrderRecord>,
}

/// Where the order goes.
#[derive(Debug)]
pub(super) enum Place {
    /// On this draft.
    Join(Box<OrderRecord>),
    /// On an order of its own, on this table if on any.
    Open {
        /// `None`: to take away, or from the counter.
        table_id: Option<i64>,
    },
}

impl Known {
    pub(super) async fn read(api: &Api<'_>, till: &Till, order: &PosOrder) -> Result<Self, ApiError> {
        let Some(check) = &order.check else { return Ok(Self::default()) };
        let named = &check.pos_check_reference;
        let uuid = if named.is_empty() { &check.check_id } else { named };
        let on_table = async {
            let root = match record_id(&check.table_id) {
                Some(id) => root_table(api, till, id).await?,
                None => None,
            };
            let draft = match root {
                Some(root) => draft_on(api, till, root).await?,
                None => None,
            };
            Ok((root, draft))
        };
        let (check, (table_id, on_table)) = tokio::try_join!(orders::order_by_uuid(api, till, uuid), on_table)?;
        Ok(Self { check, table_id, on_table })
    }

    /// Decides; an order that is `paid` is one of its own in any case.
    pub(super) fn place(self, order: &PosOrder, paid: bool) -> Result<Place, Unplaced> {
        let Some(check) = &order.check else { return Ok(Place::Open { table_id: None }) };
        let named = !check.pos_check_reference.is_empty();
        match self.check.filter(|_| !paid) {
            Some(draft) if draft.is_draft() => return Ok(Place::Join(Box::new(draft))),
            Some(closed) => {
                let message = format!("check {} is {:?}; open a new one", closed.pos_reference, closed.state);
                return Err(Unplaced::rejected(cause::CHECK_NOT_FOUND, message));
            }
            None if named && !paid => {
                let message = format!(
                    "the till has no check {} any more; the staff may have merged or deleted it",
                    check.pos_check_reference
                );
                return Err(Unplaced::rejected(cause::CHECK_NOT_FOUND, message));
            }
            None => {}
        }
        if self.table_id.is_none() {
            let message = format!("table {:?} is not on a floor of this till; sync the menu", check.table_id);
            return Err(Unplaced::rejected(cause::MASTER_MISMATCH, message));
        }
        match self.on_table.filter(|_| !paid) {
            Some(draft) => Err(taken(&draft)),
            None => Ok(Place::Open { table_id: self.table_id }),
        }
    }
}

/// An open check on a table.
pub(super) async fn draft_on(api: &Api<'_>, till: &Till, table_id: i64) -> Result<Option<OrderRecord>, ApiError> {
    let domain = json!([["table_id", "=", table_id], ["state", "=", "draft"]]);
    Ok(orders::orders(api, till, domain).await?.into_iter().next())
}

/// Odoo would merge a new check into a draft that is on its table, and that one is not ours to change.
pub(super) fn taken(draft: &OrderRecord) -> Unplaced {
    let message = format!(
        "the table has the open check {} ({}); join it, or have the staff close it",
        draft.pos_reference, draft.uuid
    );
    Unplaced::refused_for_now(cause::TABLE_LOCKED, message, None)
}

/// A draft's fiscal position maps the taxes of all its lines, ours too.
pub(super) async fn check_fiscal_position(
    api: &Api<'_>,
    till: &Till,
    draft: &OrderRecord,
    lines: &[NewLine],
) -> Result<(), Unplaced> {
    let Some(position) = &draft.fiscal_position_id else { return Ok(()) };
    let domain = json!([["id", "=", position.0]]);
    let fields = ["name", "tax_ids", "tax_map"];
    let positions: Vec<FiscalPosition> = api
        .search_read("account.fiscal.position", domain, &fields, &till.scope(None))
        .await
        .map_err(ApiError::before_the_write)?;
    let kept = |line: &NewLine| {
        let taxes: Vec<i64> = line.rate.tax_id.into_iter().collect();
        positions.iter().all(|position| position.map(&taxes) == taxes)
    };
    if lines.iter().all(kept) {
        return Ok(());
    }
    let message = format!(
        "check {} has the fiscal position {:?}, which would change the taxes of these lines; open a check of its own",
        draft.pos_reference, position.1
    );
    Err(Unplaced::rejected(cause::MASTER_MISMATCH, message))
}
