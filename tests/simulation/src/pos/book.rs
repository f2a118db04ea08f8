//! What the POS has recorded: survives its crashes.

use std::{collections::BTreeMap, sync::Arc};

use posmesh_kit::time;
use posmesh_simpos::api::{
    Area, Category, Check, CheckLine, CheckState, Item, Line, Menu, Order, OrderAnswer, Refusal, SubmitOrder, Table,
    TaxClass, TaxTotal, TenderType, Totals, cause,
};

use super::{Idempotency, Profile};
use crate::world::Now;

/// The tables of the restaurant.
pub(crate) const TABLES: [&str; 3] = ["T1", "T2", "T3"];
/// What it sells, and for how much at first.
pub(crate) const ITEMS: [(&str, i64); 4] = [("beer", 550), ("edamame", 380), ("karaage", 680), ("cola", 400)];
const TAX_PERCENT: u32 = 10;

/// One order as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) recorded: Arc<Order>,
    /// By the simulation's clock.
    pub(crate) at_ms: u64,
    /// When it was taken out again.
    pub(crate) gone_ms: Option<u64>,
}

impl Entry {
    pub(crate) fn reference(&self) -> &str {
        &self.recorded.request.reference
    }
}

/// Orders, checks and menu.
pub(crate) struct Book {
    pub(crate) entries: Vec<Entry>,
    checks: BTreeMap<u32, OpenCheck>,
    prices: BTreeMap<&'static str, (i64, bool)>,
    revision: u64,
    profile: Profile,
    now: Now,
}

struct OpenCheck {
    table: Option<String>,
    party_size: Option<u32>,
    opened_at: i64,
    closed_at: Option<i64>,
}

impl Book {
    pub(super) fn new(profile: Profile, now: Now) -> Self {
        let prices = ITEMS.into_iter().map(|(id, price)| (id, (price, true))).collect();
        Self { entries: Vec::new(), checks: BTreeMap::new(), prices, revision: 1, profile, now }
    }

    /// Records an order, or says why not.
    pub(super) fn submit(&mut self, order: SubmitOrder) -> Result<OrderAnswer, Refusal> {
        if let Some(known) = self.recognized(&order.reference) {
            return Ok(OrderAnswer { duplicate: true, printed: true, order: Arc::clone(&known.recorded) });
        }
        let now_ms = time::now_unix_ms();
        let latest_ms = order.not_after.map(|ms| ms.saturating_add_unsigned(self.profile.max_apply_delay_ms));
        if latest_ms.is_some_and(|latest_ms| now_ms > latest_ms) {
            return Err(Refusal::new(422, cause::EXPIRED, "not_after has passed").at("not_after"));
        }
        let lines = order.lines.iter().map(|line| self.line(line)).collect::<Result<Vec<_>, _>>()?;
        let totals = totals(lines.iter());
        if order.expected_total.is_some_and(|expected| expected != totals.total) {
            return Err(Refusal::new(422, cause::PRICE_CHANGED, "the total is another").at("expected_total"));
        }
        let paid: i64 = order.tenders.iter().map(|tender| tender.amount).sum();
        if !order.tenders.is_empty() && paid != totals.total {
            return Err(Refusal::new(422, cause::TENDER_MISMATCH, "the tenders are not the total"));
        }
        let check_number = self.check_for(&order, now_ms)?;
        // Paper is made with the order: the number of both is the same.
        let number = self.entries.len() as u32 + 1;
        let recorded = Arc::new(Order {
            order_number: number,
            display_number: order.display_number.clone().unwrap_or_else(|| number.to_string()),
            check_number,
            table: self.checks.get(&check_number).and_then(|check| check.table.clone()),
            ticket_number: number,
            recorded_at: now_ms,
            lines,
            totals,
            request: order,
        });
        let at_ms = self.now.ms();
        self.entries.push(Entry { recorded: Arc::clone(&recorded), at_ms, gone_ms: None });
        Ok(OrderAnswer { duplicate: false, printed: true, order: recorded })
    }

    fn recognized(&self, reference: &str) -> Option<&Entry> {
        let known = self.live(reference)?;
        let is_remembered = match self.profile.idempotency {
            Idempotency::None => false,
            Idempotency::WindowMs(window_ms) => self.now.ms() <= known.at_ms + window_ms,
            Idempotency::Forever => true,
        };
        is_remembered.then_some(known)
    }

    fn live(&self, reference: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.reference() == reference && entry.gone_ms.is_none())
    }

    fn line(&self, line: &posmesh_simpos::api::LineInput) -> Result<Line, Refusal> {
        let Some((price, available)) = self.prices.get(line.item_id.as_str()) else {
            return Err(Refusal::new(422, cause::ITEM_UNKNOWN, "no such item").item(&line.item_id));
        };
        if !available {
            return Err(Refusal::new(422, cause::ITEM_SOLD_OUT, "sold out").item(&line.item_id));
        }
        Ok(Line {
            reference: line.reference.clone(),
            item_id: line.item_id.clone(),
            name: line.item_id.clone(),
            quantity: line.quantity,
            service_mode: line.service_mode,
            tax_rate_percent: TAX_PERCENT,
            unit_price: *price,
            total: price * i64::from(line.quantity),
            modifiers: Vec::new(),
            note: line.note.clone(),
        })
    }

    fn check_for(&mut self, order: &SubmitOrder, now_ms: i64) -> Result<u32, Refusal> {
        if let Some(number) = order.check_number {
            return match self.checks.get(&number) {
                Some(check) if check.closed_at.is_none() => Ok(number),
                Some(_) => Err(Refusal::new(422, cause::CHECK_CLOSED, "the check is closed")),
                None => Err(Refusal::new(404, cause::CHECK_NOT_FOUND, "no such check")),
            };
        }
        let joined = order.table.as_ref().and_then(|table| self.open_check_at(table));
        if let Some(number) = joined {
            return Ok(number);
        }
        let number = self.checks.len() as u32 + 1;
        let paid = !order.tenders.is_empty();
        let check = OpenCheck {
            table: order.table.clone(),
            party_size: order.party_size,
            opened_at: now_ms,
            closed_at: paid.then_some(now_ms),
        };
        self.checks.insert(number, check);
        Ok(number)
    }

    fn open_check_at(&self, table: &str) -> Option<u32> {
        let is_open = |check: &OpenCheck| check.closed_at.is_none() && check.table.as_deref() == Some(table);
        self.checks.iter().find(|(_, check)| is_open(check)).map(|(number, _)| *number)
    }

    pub(super) fn find(&self, reference: &str) -> Result<OrderAnswer, Refusal> {
        match self.live(reference) {
            Some(entry) => Ok(OrderAnswer { duplicate: true, printed: true, order: Arc::clone(&entry.recorded) }),
            None => Err(Refusal::new(404, cause::ORDER_NOT_FOUND, "no such order")),
        }
    }

    pub(super) fn check(&self, number: u32) -> Result<Check, Refusal> {
        self.view(number).ok_or_else(|| Refusal::new(404, cause::CHECK_NOT_FOUND, "no such check"))
    }

    pub(super) fn open_checks(&self, table: Option<&str>) -> Vec<Check> {
        let wanted = |check: &&OpenCheck| {
            check.closed_at.is_none() && table.is_none_or(|table| check.table.as_deref() == Some(table))
        };
        let numbers = self.checks.iter().filter(|(_, check)| wanted(check)).map(|(number, _)| *number);
        numbers.filter_map(|number| self.view(number)).collect()
    }

    fn view(&self, number: u32) -> Option<Check> {
        let check = self.checks.get(&number)?;
        let on_it = |entry: &&Entry| entry.recorded.check_number == number && entry.gone_ms.is_none();
        let lines: Vec<CheckLine> = self
            .entries
            .iter()
            .filter(on_it)
            .flat_map(|entry| entry.recorded.lines.iter().map(|line| (entry.reference().to_owned(), line)))
            .map(|(reference, line)| CheckLine {
                order_reference: Some(reference),
                entered_by: "api".to_owned(),
                line: line.clone(),
            })
            .collect();
        let totals = totals(lines.iter().map(|line| &line.line));
        Some(Check {
            number,
            table: check.table.clone(),
            party_size: check.party_size,
            state: if check.closed_at.is_some() { CheckState::Closed } else { CheckState::Open },
            opened_by: "api".to_owned(),
            opened_at: check.opened_at,
            closed_at: check.closed_at,
            due: totals.total,
            lines,
            totals,
            tenders: Vec::new(),
        })
    }

    /// The staff close the check of a table at the till.
    pub(crate) fn close_table(&mut self, table: &str) -> bool {
        let Some(number) = self.open_check_at(table) else { return false };
        let now_ms = self.now.unix_ms();
        self.checks.get_mut(&number).into_iter().for_each(|check| check.closed_at = Some(now_ms));
        true
    }

    /// The staff take an order out at the till.
    pub(crate) fn take_out(&mut self, reference: &str) {
        let at_ms = self.now.ms();
        let entry = self.entries.iter_mut().find(|e| e.reference() == reference && e.gone_ms.is_none());
        entry.into_iter().for_each(|entry| entry.gone_ms = Some(at_ms));
    }

    /// Changes what an item costs, or that it is sold out.
    pub(crate) fn set_item(&mut self, index: usize, price: i64, available: bool) {
        self.prices.insert(ITEMS[index % ITEMS.len()].0, (price, available));
        self.revision += 1;
    }

    pub(super) fn menu(&self) -> Menu {
        let texts = |text: &str| [("en".to_owned(), text.to_owned())].into();
        let item = |(id, (price, available)): (&&str, &(i64, bool))| Item {
            id: (*id).to_owned(),
            name: texts(id),
            price: *price,
            available: *available,
            takeaway: true,
            groups: Vec::new(),
        };
        Menu {
            revision: self.revision,
            currency: "JPY".to_owned(),
            locales: vec!["en".to_owned()],
            tax_classes: vec![TaxClass {
                id: "all".to_owned(),
                dine_in_rate_percent: TAX_PERCENT,
                takeaway_rate_percent: TAX_PERCENT,
            }],
            categories: vec![Category {
                id: "card".to_owned(),
                name: texts("Card"),
                tax_class: "all".to_owned(),
                items: self.prices.iter().map(item).collect(),
            }],
            modifier_groups: Vec::new(),
            areas: vec![Area {
                id: "floor".to_owned(),
                name: texts("Floor"),
                tables: TABLES.map(|id| Table { id: id.to_owned(), seats: 4 }).to_vec(),
            }],
            tenders: vec![TenderType { id: "external".to_owned(), name: texts("App"), external: true }],
        }
    }
}

fn totals<'a>(lines: impl Iterator<Item = &'a Line>) -> Totals {
    let total = lines.map(|line| line.total).sum();
    let tax = total * i64::from(TAX_PERCENT) / i64::from(100 + TAX_PERCENT);
    Totals { total, taxes: vec![TaxTotal { rate_percent: TAX_PERCENT, gross: total, tax }] }
}
