//! What the POS has recorded: survives its crashes.

use std::{collections::BTreeMap, sync::Arc};

use posmesh_kit::time;
use posmesh_simpos::api::{
    Area, CancelOrder, Category, Check, CheckLine, CheckState, Item, Line, Menu, Order, OrderAnswer, Progress, Refusal,
    SubmitOrder, Table, TaxClass, TaxTotal, TenderType, Totals, cause,
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
    /// When it was cancelled, by the simulation's clock and by the POS's.
    pub(crate) gone: Option<(u64, i64)>,
    /// It was recorded after the POS had promised that it would not be.
    pub(crate) breaks_promise: bool,
    /// By the simulation's clock.
    printed_at_ms: u64,
    progress: Progress,
}

impl Entry {
    fn answer(&self, duplicate: bool, now_ms: u64) -> OrderAnswer {
        OrderAnswer {
            duplicate,
            printed: self.is_printed(now_ms),
            progress: self.progress,
            cancelled_at: self.gone.map(|(_, unix_ms)| unix_ms),
            check_number: self.recorded.check_number,
            voided: BTreeMap::new(),
            total: self.recorded.totals.total,
            copies: Vec::new(),
            order: Arc::clone(&self.recorded),
        }
    }

    /// Whether the kitchen has its ticket. Never of one that was recorded without.
    pub(crate) fn is_printed(&self, now_ms: u64) -> bool {
        self.recorded.ticket_number.is_some() && self.printed_at_ms <= now_ms
    }

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
    kept_back: Vec<SubmitOrder>,
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
        Self { entries: Vec::new(), checks: BTreeMap::new(), prices, revision: 1, kept_back: Vec::new(), profile, now }
    }

    /// Records an order, or says why not.
    pub(super) fn submit(&mut self, order: SubmitOrder) -> Result<OrderAnswer, Refusal> {
        let now_ms = time::now_unix_ms();
        if let Some(known) = self.recognized(&order.reference) {
            return Ok(known.answer(true, self.now.ms()));
        }
        check_not_after(order.not_after, now_ms)?;
        self.record(order, now_ms, false)
    }

    fn record(&mut self, order: SubmitOrder, now_ms: i64, breaks_promise: bool) -> Result<OrderAnswer, Refusal> {
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
            ticket_number: (!order.without_ticket).then_some(number),
            recorded_at: now_ms,
            lines,
            totals,
            request: order,
        });
        let at_ms = self.now.ms();
        let printed_at_ms = at_ms + if self.profile.prints_late { at_ms % 4_000 } else { 0 };
        let progress = Progress::Accepted;
        let entry = Entry { recorded, at_ms, gone: None, breaks_promise, printed_at_ms, progress };
        let answer = entry.answer(false, at_ms);
        self.entries.push(entry);
        Ok(answer)
    }

    /// Keeps an order back, to record it when nobody expects it any more.
    pub(super) fn keep_back(&mut self, order: SubmitOrder) {
        self.kept_back.push(order);
    }

    /// Orders that are kept back.
    pub(crate) fn kept_back(&self) -> Vec<String> {
        self.kept_back.iter().map(|order| order.reference.clone()).collect()
    }

    /// Records an order that was kept back although nobody may any more, or forgets it.
    pub(crate) fn let_go(&mut self, reference: &str, records: bool) {
        let orders: Vec<SubmitOrder> = self.kept_back.extract_if(.., |order| order.reference == reference).collect();
        for order in orders.into_iter().filter(|_| records).take(1) {
            // What it refuses now has simply not come.
            let _ = self.record(order, self.now.unix_ms(), true);
        }
    }

    /// The kitchen is so far with an order.
    pub(crate) fn advance(&mut self, order_number: u32, progress: Progress) {
        let entry = self.entries.iter_mut().find(|entry| entry.recorded.order_number == order_number);
        entry.into_iter().for_each(|entry| entry.progress = progress);
    }

    fn recognized(&self, reference: &str) -> Option<&Entry> {
        let known = self.entries.iter().rev().find(|entry| entry.reference() == reference)?;
        let is_remembered = match self.profile.idempotency {
            Idempotency::None => false,
            Idempotency::WindowMs(window_ms) => self.now.ms() <= known.at_ms + window_ms,
            Idempotency::Forever => true,
        };
        is_remembered.then_some(known)
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
            voided: 0,
            modifiers: Vec::new(),
            note: line.note.clone(),
            service_charge: None,
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
        self.entries
            .iter()
            .find(|e| e.reference() == reference)
            .map(|e| e.answer(true, self.now.ms()))
            .ok_or_else(not_found)
    }

    /// Takes an order back.
    pub(super) fn cancel(&mut self, reference: &str, cancel: &CancelOrder) -> Result<OrderAnswer, Refusal> {
        let now_ms = time::now_unix_ms();
        check_not_after(cancel.not_after, now_ms)?;
        let at_ms = self.now.ms();
        let entry = self.entries.iter_mut().find(|e| e.reference() == reference).ok_or_else(not_found)?;
        let duplicate = entry.gone.is_some();
        entry.gone.get_or_insert((at_ms, now_ms));
        Ok(entry.answer(duplicate, at_ms))
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
        let on_it = |entry: &&Entry| entry.recorded.check_number == number && entry.gone.is_none();
        let lines: Vec<CheckLine> = self
            .entries
            .iter()
            .filter(on_it)
            .flat_map(|entry| entry.recorded.lines.iter().map(|line| (entry.reference().to_owned(), line)))
            .zip(1..)
            .map(|((reference, line), line_id)| CheckLine {
                line_id,
                order_number: None,
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
            merged_into: None,
            split_from: None,
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
        let gone = (self.now.ms(), self.now.unix_ms());
        let entry = self.entries.iter_mut().find(|e| e.reference() == reference && e.gone.is_none());
        entry.into_iter().for_each(|entry| entry.gone = Some(gone));
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
            remaining: None,
            takeaway: true,
            groups: Vec::new(),
            code: None,
            kana: None,
            photo: None,
            allergens: None,
            periods: Vec::new(),
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
                kana: None,
                station: None,
                course: None,
                items: self.prices.iter().map(item).collect(),
            }],
            modifier_groups: Vec::new(),
            areas: vec![Area {
                id: "floor".to_owned(),
                name: texts("Floor"),
                tables: TABLES.map(|id| Table { id: id.to_owned(), seats: 4 }).to_vec(),
            }],
            tenders: vec![TenderType { id: "external".to_owned(), name: texts("App"), external: true }],
            stations: Vec::new(),
            courses: Vec::new(),
            periods: Vec::new(),
            service_charge: None,
        }
    }
}

fn check_not_after(not_after: Option<i64>, now_ms: i64) -> Result<(), Refusal> {
    if not_after.is_some_and(|latest_ms| now_ms > latest_ms) {
        return Err(Refusal::new(422, cause::EXPIRED, "not_after has passed").at("not_after"));
    }
    Ok(())
}

fn not_found() -> Refusal {
    Refusal::new(404, cause::ORDER_NOT_FOUND, "no such order")
}

fn totals<'a>(lines: impl Iterator<Item = &'a Line>) -> Totals {
    let total = lines.map(|line| line.total).sum();
    let tax = total * i64::from(TAX_PERCENT) / i64::from(100 + TAX_PERCENT);
    let taxes = vec![TaxTotal { rate_percent: TAX_PERCENT, gross: total, tax }];
    Totals { total, taxes, charges: Vec::new() }
}
