//! The state of the POS: a fold over its journal, and look-ups in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::api::control::RecordedEntry;
use crate::api::{Check, CheckLine, CheckState, Line, Menu, Order, OrderAnswer, Tender, Ticket};
use crate::journal::{CheckHead, Conditions, Entry, Event};
use crate::pricing::totals;

/// Everything that the POS knows.
pub(crate) struct State {
    pub(crate) menu: Menu,
    pub(crate) conditions: Conditions,
    pub(crate) entries: Vec<RecordedEntry>,
    orders: Vec<Arc<Order>>,
    order_by_reference: HashMap<String, Arc<Order>>,
    checks: Vec<CheckRecord>,
    open_checks: BTreeSet<u32>,
    tickets: Vec<Arc<Ticket>>,
    waiting_tickets: BTreeSet<u32>,
}

/// A check as it stands.
pub(crate) struct CheckRecord {
    pub(crate) head: CheckHead,
    pub(crate) state: CheckState,
    opened_at: i64,
    closed_at: Option<i64>,
    entered: Vec<Entered>,
    tenders: Vec<Tender>,
    /// The last bill slip and how many entries it covered.
    bill: Option<(u32, usize)>,
}

enum Entered {
    Order(Arc<Order>),
    Staff { by: String, lines: Arc<Vec<Line>> },
}

impl State {
    pub(crate) fn new(menu: Menu) -> Self {
        State {
            menu,
            conditions: Conditions::default(),
            entries: Vec::new(),
            orders: Vec::new(),
            order_by_reference: HashMap::new(),
            checks: Vec::new(),
            open_checks: BTreeSet::new(),
            tickets: Vec::new(),
            waiting_tickets: BTreeSet::new(),
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.entries.len() as u64 + 1
    }

    pub(crate) fn next_order_number(&self) -> u32 {
        self.orders.len() as u32 + 1
    }

    pub(crate) fn next_check_number(&self) -> u32 {
        self.checks.len() as u32 + 1
    }

    pub(crate) fn next_ticket_number(&self) -> u32 {
        self.tickets.len() as u32 + 1
    }

    pub(crate) fn order(&self, reference: &str) -> Option<&Arc<Order>> {
        self.order_by_reference.get(reference)
    }

    /// The order as it is answered now.
    pub(crate) fn answer(&self, order: &Arc<Order>, duplicate: bool) -> OrderAnswer {
        let printed = !self.waiting_tickets.contains(&order.ticket_number);
        OrderAnswer { duplicate, printed, order: order.clone() }
    }

    /// Orders after a number and since a time, oldest first.
    pub(crate) fn orders_after(&self, number: u32, since: i64) -> impl Iterator<Item = &Arc<Order>> {
        self.orders.iter().skip(number as usize).filter(move |order| order.recorded_at >= since)
    }

    pub(crate) fn check(&self, number: u32) -> Option<&CheckRecord> {
        self.checks.get((number as usize).checked_sub(1)?)
    }

    /// Checks after a number, by number.
    pub(crate) fn checks_after(&self, number: u32) -> impl Iterator<Item = &CheckRecord> {
        self.checks.iter().skip(number as usize)
    }

    /// Checks that are not closed, by number.
    pub(crate) fn open_checks(&self) -> impl Iterator<Item = &CheckRecord> {
        self.open_checks.iter().filter_map(|number| self.check(*number))
    }

    pub(crate) fn ticket(&self, number: u32) -> Option<&Arc<Ticket>> {
        self.tickets.get((number as usize).checked_sub(1)?)
    }

    /// Printed slips after a number. Slips print in the order of their numbers, so none can appear before it later.
    pub(crate) fn printed_after(&self, number: u32) -> impl Iterator<Item = &Arc<Ticket>> {
        self.tickets.iter().skip(number as usize).take_while(|ticket| ticket.printed_at.is_some())
    }

    /// Number of the last slip that came out of the printer.
    pub(crate) fn last_printed(&self) -> u32 {
        self.waiting_tickets.first().map_or(self.tickets.len() as u32, |waiting| waiting - 1)
    }

    pub(crate) fn waiting_tickets(&self) -> &BTreeSet<u32> {
        &self.waiting_tickets
    }

    /// Adds an entry. Called for each entry once, in order, after its decision or at start from the file.
    pub(crate) fn apply(&mut self, entry: Entry) {
        let at = entry.at;
        match &entry.event {
            Event::OrderRecorded { order, opened_check, closes_check, ticket } => {
                if let Some(head) = opened_check {
                    self.add_check(head.clone(), at);
                }
                self.orders.push(order.clone());
                self.order_by_reference.insert(order.request.reference.clone(), order.clone());
                if let Some(check) = self.check_mut(order.check_number) {
                    check.tenders.extend(order.request.tenders.iter().cloned());
                    check.entered.push(Entered::Order(order.clone()));
                }
                if *closes_check {
                    self.close_check(order.check_number, at);
                }
                self.add_ticket(ticket.clone());
            }
            Event::CheckOpened { check } => self.add_check(check.clone(), at),
            Event::StaffEntered { check_number, by, lines, ticket } => {
                if let Some(check) = self.check_mut(*check_number) {
                    check.entered.push(Entered::Staff { by: by.clone(), lines: lines.clone() });
                    check.state = CheckState::Open;
                }
                self.add_ticket(ticket.clone());
            }
            Event::BillRequested { check_number, ticket } => {
                if let Some(check) = self.check_mut(*check_number) {
                    check.state = CheckState::BillRequested;
                    check.bill = Some((ticket.number, check.entered.len()));
                }
                self.add_ticket(ticket.clone());
            }
            Event::CheckClosed { check_number, tenders, .. } => {
                if let Some(check) = self.check_mut(*check_number) {
                    check.tenders.extend(tenders.iter().cloned());
                }
                self.close_check(*check_number, at);
            }
            Event::TicketReprinted { ticket } => self.add_ticket(ticket.clone()),
            Event::ConditionsChanged { conditions, printed_tickets } => {
                self.conditions = *conditions;
                printed_tickets.iter().for_each(|number| self.mark_printed(*number, at));
            }
            Event::AvailabilityChanged { item_id, available } => {
                if let Some(item) = self.menu.item_mut(item_id) {
                    item.available = *available;
                }
                self.menu.revision += 1;
            }
            Event::PriceChanged { item_id, price } => {
                if let Some(item) = self.menu.item_mut(item_id) {
                    item.price = *price;
                }
                self.menu.revision += 1;
            }
            Event::MasterReplaced { menu } => {
                let revision = self.menu.revision + 1;
                self.menu = Menu { revision, ..(**menu).clone() };
            }
        }
        self.entries.push(RecordedEntry { entry, handling_us: None });
    }

    fn check_mut(&mut self, number: u32) -> Option<&mut CheckRecord> {
        self.checks.get_mut((number as usize).checked_sub(1)?)
    }

    fn add_check(&mut self, head: CheckHead, opened_at: i64) {
        self.open_checks.insert(head.number);
        self.checks.push(CheckRecord {
            head,
            state: CheckState::Open,
            opened_at,
            closed_at: None,
            entered: Vec::new(),
            tenders: Vec::new(),
            bill: None,
        });
    }

    fn close_check(&mut self, number: u32, at: i64) {
        if let Some(check) = self.check_mut(number) {
            check.state = CheckState::Closed;
            check.closed_at = Some(at);
        }
        self.open_checks.remove(&number);
    }

    fn add_ticket(&mut self, ticket: Arc<Ticket>) {
        if ticket.printed_at.is_none() {
            self.waiting_tickets.insert(ticket.number);
        }
        self.tickets.push(ticket);
    }

    fn mark_printed(&mut self, number: u32, at: i64) {
        if self.waiting_tickets.remove(&number)
            && let Some(ticket) = self.tickets.get_mut(number as usize - 1)
        {
            Arc::make_mut(ticket).printed_at = Some(at);
        }
    }
}

impl CheckRecord {
    /// The lines of the check, in the order of entry.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.entered.iter().flat_map(|entered| match entered {
            Entered::Order(order) => order.lines.iter(),
            Entered::Staff { lines, .. } => lines.iter(),
        })
    }

    /// Sum of the payments.
    pub(crate) fn paid(&self) -> i64 {
        self.tenders.iter().map(|tender| tender.amount).sum()
    }

    /// The bill slip that still says what the check holds.
    pub(crate) fn current_bill(&self) -> Option<u32> {
        self.bill.filter(|(_, covered)| *covered == self.entered.len()).map(|(ticket, _)| ticket)
    }

    /// The check as the API answers it.
    pub(crate) fn view(&self) -> Check {
        let totals = totals(self.lines());
        Check {
            number: self.head.number,
            table: self.head.table.clone(),
            party_size: self.head.party_size,
            state: self.state,
            opened_by: self.head.opened_by.clone(),
            opened_at: self.opened_at,
            closed_at: self.closed_at,
            due: totals.total - self.paid(),
            lines: self.entered.iter().flat_map(Entered::check_lines).collect(),
            totals,
            tenders: self.tenders.clone(),
        }
    }
}

impl Entered {
    fn check_lines(&self) -> Vec<CheckLine> {
        let (order_reference, entered_by, lines) = match self {
            Entered::Order(order) => (Some(order.request.reference.clone()), "api", &order.lines),
            Entered::Staff { by, lines } => (None, by.as_str(), &**lines),
        };
        let lines = lines.iter().cloned();
        lines
            .map(|line| CheckLine { order_reference: order_reference.clone(), entered_by: entered_by.to_owned(), line })
            .collect()
    }
}
