//! The fold: what each entry changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{CheckRecord, take_units, void_units};
use super::numbered::Numbered;
use super::{Change, Changed, OrderRecord, State};
use crate::api::control::{RecordedEntry, Settings};
use crate::api::{
    CheckLine, CheckState, Line, LineShare, LineVoid, Menu, Order, OrderEvent, OrderEventKind, Progress, Ticket,
    TicketMark,
};
use crate::journal::{CheckHead, Entry, Event, NewPart};
use crate::stock;
use crate::ticket;

impl State {
    /// Adds an entry. Called for each entry once, in order, after its decision or at start from the file.
    pub(crate) fn apply(&mut self, entry: Entry) {
        self.last_entry = entry.seq;
        self.fold(&entry.event, entry.at);
        self.remember(entry);
        self.forget();
    }

    /// Keeps an entry for those who read the journal.
    pub(crate) fn remember(&mut self, entry: Entry) {
        if self.entries.next() != entry.seq {
            self.entries = Numbered::after_all(entry.seq - 1);
        }
        if self.entries.len() as u64 == self.keep {
            self.entries.forget();
        }
        self.entries.push(RecordedEntry { entry, handling_us: None });
    }

    fn fold(&mut self, event: &Event, at: i64) {
        match event {
            Event::OrderRecorded { order, opened_check, closes_check, ticket } => {
                if let Some(head) = opened_check {
                    self.add_check(head.clone(), at);
                }
                self.add_order(order, *closes_check, at);
                if let Some(ticket) = ticket {
                    if ticket.printed_at.is_some() {
                        self.tell(order.order_number, OrderEventKind::Printed { ticket_number: ticket.number }, at);
                    }
                    self.add_ticket(ticket.clone());
                }
            }
            Event::OrderCancelled { order_numbers, reference, change_reference, tickets, .. } => {
                order_numbers.iter().for_each(|number| self.cancel(*number, at));
                self.note(change_reference.as_ref(), || Changed::Cancelled(reference.clone()));
                tickets.iter().for_each(|ticket| self.add_ticket(ticket.clone()));
            }
            Event::LinesVoided { order_number, reference, change_reference, lines, ticket, .. } => {
                self.void(*order_number, lines, at);
                self.note(change_reference.as_ref(), || Changed::Voided(reference.clone(), by_line(lines)));
                self.add_ticket(ticket.clone());
            }
            Event::OrdersProgressed { orders } => {
                orders.iter().for_each(|(number, to)| self.progress(*number, *to, at))
            }
            Event::OrderLost { order_number, .. } => self.lose(*order_number, at),
            Event::CheckOpened { check } => self.add_check(check.clone(), at),
            Event::StaffEntered { check_number, by, lines, ticket } => {
                lines.iter().for_each(|line| stock::lower(&mut self.menu, line));
                self.enter(*check_number, None, by, lines.iter().cloned());
                self.add_ticket(ticket.clone());
            }
            Event::CheckAdjusted { check_number, by, line } => self.enter(*check_number, None, by, [line.clone()]),
            Event::BillRequested { check_number, ticket } => {
                if let Some(check) = self.touch(*check_number) {
                    check.state = CheckState::BillRequested;
                    check.bill = Some(ticket.number);
                }
                self.add_ticket(ticket.clone());
            }
            Event::CheckClosed { check_number, tenders, .. } => {
                if let Some(check) = self.touch(*check_number) {
                    check.tenders.extend(tenders.iter().cloned());
                }
                self.end_check(*check_number, CheckState::Closed, at);
                self.complete_orders_of(*check_number, at);
            }
            Event::TableMoved { check_number, table, .. } => {
                if let Some(check) = self.touch(*check_number) {
                    check.head.table = Some(table.clone());
                }
            }
            Event::ChecksMerged { check_number, into, .. } => self.merge(*check_number, *into, at),
            Event::CheckSplit { check_number, change_reference, by, asked, off, parts } => {
                self.split(*check_number, by, off, parts, at);
                let new = parts.iter().map(|part| part.check.number);
                let numbers = std::iter::once(*check_number).chain(new).collect();
                let split = || Changed::Split { check_number: *check_number, asked: asked.clone(), numbers };
                self.note(change_reference.as_ref(), split);
            }
            Event::TicketReprinted { ticket } => self.add_ticket(ticket.clone()),
            Event::ConditionsChanged { conditions, printed_tickets, late_tickets } => {
                self.conditions = *conditions;
                printed_tickets.iter().for_each(|number| self.mark_printed(*number, late_tickets.contains(number), at));
            }
            Event::SettingsChanged { settings } => self.set(*settings),
            Event::AvailabilityChanged { item_id, available, remaining } => {
                if let Some(item) = self.menu.item_mut(item_id) {
                    (item.available, item.remaining) = (*available, *remaining);
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
    }

    fn add_order(&mut self, order: &Arc<Order>, closes_check: bool, at: i64) {
        let (number, reference) = (order.order_number, order.request.reference.clone());
        order.lines.iter().for_each(|line| stock::lower(&mut self.menu, line));
        self.enter(order.check_number, Some(order), "api", order.lines.iter().cloned());
        if let Some(check) = self.touch(order.check_number) {
            check.tenders.extend(order.request.tenders.iter().cloned());
        }
        if closes_check {
            self.end_check(order.check_number, CheckState::Closed, at);
        }
        self.orders_by_reference.entry(reference).or_default().push(number);
        self.orders.push(OrderRecord {
            order: order.clone(),
            progress: Progress::Accepted,
            progressed_at: at,
            cancelled_at: None,
            lost: false,
            checks: vec![order.check_number],
            voided: BTreeMap::new(),
            recorded: self.last_entry,
        });
        self.plan(number);
        self.tell(number, OrderEventKind::Recorded, at);
    }

    fn cancel(&mut self, number: u32, at: i64) {
        let Some(record) = self.orders.get_mut(number.into()) else { return };
        let all = |line: &Line| LineVoid { reference: line.reference.clone(), quantity_voided: line.quantity };
        let lines: Vec<LineVoid> = record.order.lines.iter().map(all).collect();
        self.void_on_checks(number, &lines, at);
        self.note_cancelled(number, at);
    }

    fn void(&mut self, number: u32, lines: &[LineVoid], at: i64) {
        self.void_on_checks(number, lines, at);
        let Some(record) = self.order(number) else { return };
        if record.order.lines.iter().all(|line| record.voided(&line.reference) == line.quantity) {
            self.note_cancelled(number, at);
        } else {
            self.tell(number, OrderEventKind::LinesVoided, at);
        }
    }

    fn note_cancelled(&mut self, number: u32, at: i64) {
        self.unplan(number);
        if let Some(record) = self.orders.get_mut(number.into()) {
            record.cancelled_at = Some(at);
        }
        self.tell(number, OrderEventKind::Cancelled, at);
    }

    /// Makes units void on the checks that the order's lines are on. A check that was made for the one order, and is
    /// void now, ends; what was paid on it is given back.
    fn void_on_checks(&mut self, number: u32, lines: &[LineVoid], at: i64) {
        let Some(record) = self.orders.get_mut(number.into()) else { return };
        let checks = record.checks.clone();
        let mut more: Vec<(String, u32)> = Vec::with_capacity(lines.len());
        for LineVoid { reference, quantity_voided } in lines {
            let voided = record.voided.entry(reference.clone()).or_default();
            more.push((reference.clone(), quantity_voided.saturating_sub(*voided)));
            *voided = (*voided).max(*quantity_voided);
        }
        for (reference, units) in &more {
            let line = record.order.lines.iter().find(|line| line.reference == *reference);
            line.into_iter().for_each(|line| stock::give_back(&mut self.menu, line, *units));
        }
        for check_number in checks {
            let Some(check) = self.touch(check_number) else { continue };
            let own = check.lines.iter_mut().filter(|line| line.order_number == Some(number));
            for CheckLine { line, .. } in own {
                let Some((_, left)) = more.iter_mut().find(|(reference, _)| *reference == line.reference) else {
                    continue;
                };
                let units = (*left).min(line.quantity - line.voided);
                void_units(line, units);
                *left -= units;
            }
            check.bill = None;
            if check.head.table.is_none() && check.lines().all(|line| line.voided == line.quantity) {
                check.tenders.clear();
                self.end_check(check_number, CheckState::Cancelled, at);
            }
        }
    }

    fn progress(&mut self, number: u32, to: Progress, at: i64) {
        self.unplan(number);
        let Some(record) = self.orders.get_mut(number.into()) else { return };
        if record.progress < to && record.cancelled_at.is_none() {
            (record.progress, record.progressed_at) = (to, at);
            self.tell(number, OrderEventKind::Progressed { to }, at);
        }
        self.plan(number);
    }

    fn complete_orders_of(&mut self, check_number: u32, at: i64) {
        let Some(check) = self.checks.get(&check_number) else { return };
        let mut numbers: Vec<u32> = check.lines.iter().filter_map(|line| line.order_number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().for_each(|number| self.progress(number, Progress::Completed, at));
    }

    fn lose(&mut self, number: u32, at: i64) {
        self.unplan(number);
        let Some(record) = self.orders.get_mut(number.into()) else { return };
        record.lost = true;
        let (reference, checks) = (record.order.request.reference.clone(), record.checks.clone());
        self.forget_reference(&reference, number);
        for check_number in checks {
            if let Some(check) = self.touch(check_number) {
                check.lines.retain(|line| line.order_number != Some(number));
                check.bill = None;
                if check.head.table.is_none() && check.lines.is_empty() {
                    check.tenders.clear();
                    self.end_check(check_number, CheckState::Cancelled, at);
                }
            }
        }
    }

    fn merge(&mut self, from: u32, into: u32, at: i64) {
        let Some(source) = self.touch(from) else { return };
        let (lines, tenders) = (std::mem::take(&mut source.lines), std::mem::take(&mut source.tenders));
        source.merged_into = Some(into);
        self.end_check(from, CheckState::Merged, at);
        for number in lines.iter().filter_map(|line| line.order_number) {
            if let Some(record) = self.orders.get_mut(number.into()) {
                record.checks.iter_mut().filter(|check| **check == from).for_each(|check| *check = into);
                record.checks.dedup();
            }
        }
        if let Some(target) = self.touch(into) {
            target.lines.extend(lines);
            target.tenders.extend(tenders);
            target.reopen();
        }
    }

    fn split(&mut self, check_number: u32, by: &str, off: &[Line], parts: &[NewPart], at: i64) {
        self.enter(check_number, None, by, off.iter().cloned());
        for part in parts {
            self.add_check(part.check.clone(), at);
            let number = part.check.number;
            part.moved.iter().for_each(|share| self.move_units(check_number, number, *share));
            self.enter(number, None, by, part.on.iter().cloned());
            if let Some(check) = self.touch(number) {
                check.split_from = Some(check_number);
            }
        }
    }

    fn move_units(&mut self, from: u32, to: u32, share: LineShare) {
        let Some(source) = self.checks.get_mut(&from) else { return };
        let Some(index) = source.lines.iter().position(|line| line.line_id == share.line_id) else { return };
        let original = &mut source.lines[index];
        let line = take_units(&mut original.line, share.quantity);
        let mut moved = CheckLine { line, ..original.clone() };
        if original.line.quantity == 0 {
            source.lines.remove(index);
        }
        self.last_line += 1;
        moved.line_id = self.last_line;
        if let Some(record) = moved.order_number.and_then(|number| self.orders.get_mut(number.into()))
            && !record.checks.contains(&to)
        {
            record.checks.push(to);
        }
        if let Some(target) = self.checks.get_mut(&to) {
            target.lines.push(moved);
        }
    }

    fn enter(
        &mut self,
        check_number: u32,
        order: Option<&Arc<Order>>,
        by: &str,
        lines: impl IntoIterator<Item = Line>,
    ) {
        let mut last_line = self.last_line;
        if let Some(check) = self.touch(check_number) {
            check.lines.extend(lines.into_iter().map(|line| {
                last_line += 1;
                CheckLine {
                    line_id: last_line,
                    order_number: order.map(|order| order.order_number),
                    order_reference: order.map(|order| order.request.reference.clone()),
                    entered_by: by.to_owned(),
                    line,
                }
            }));
            check.reopen();
        }
        self.last_line = last_line;
    }

    fn add_check(&mut self, head: CheckHead, opened_at: i64) {
        let number = head.number;
        self.last_check = self.last_check.max(number);
        self.open_checks.insert(number);
        self.checks_by_age.insert((self.last_entry, number));
        self.checks.insert(number, CheckRecord::new(head, opened_at, self.last_entry));
    }

    /// The check, to be changed.
    fn touch(&mut self, number: u32) -> Option<&mut CheckRecord> {
        let check = self.checks.get_mut(&number)?;
        self.checks_by_age.remove(&(check.touched, number));
        self.checks_by_age.insert((self.last_entry, number));
        check.touched = self.last_entry;
        Some(check)
    }

    fn end_check(&mut self, number: u32, state: CheckState, at: i64) {
        if let Some(check) = self.touch(number) {
            check.end(state, at);
        }
        self.open_checks.remove(&number);
    }

    fn add_ticket(&mut self, ticket: Arc<Ticket>) {
        if ticket.printed_at.is_none() {
            self.waiting_tickets.insert(ticket.number);
        }
        self.tickets.push(ticket);
    }

    fn mark_printed(&mut self, number: u32, late: bool, at: i64) {
        if !self.waiting_tickets.remove(&number) {
            return;
        }
        let Some(ticket) = self.tickets.get_mut(number.into()) else { return };
        let ticket = Arc::make_mut(ticket);
        ticket.printed_at = Some(at);
        if late {
            (ticket.mark, ticket.text) = (TicketMark::Late, ticket::late(&ticket.text));
        }
        let reference = ticket.order_reference.clone();
        let order = reference.and_then(|r| self.orders(&r).find(|o| o.order.ticket_number == Some(number)));
        if let Some(order) = order.map(|record| record.order.order_number) {
            self.tell(order, OrderEventKind::Printed { ticket_number: number }, at);
        }
    }

    fn note(&mut self, reference: Option<&String>, what: impl FnOnce() -> Changed) {
        if let Some(reference) = reference {
            self.changes.insert(reference.clone(), Change { what: what(), entry: self.last_entry });
            self.changes_by_age.insert((self.last_entry, reference.clone()));
        }
    }

    fn tell(&mut self, order_number: u32, kind: OrderEventKind, at: i64) {
        let Some(record) = self.order(order_number) else { return };
        let reference = record.order.request.reference.clone();
        self.events.push(OrderEvent { number: self.events.next(), at, reference, order_number, kind });
    }

    fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.due.clear();
        let numbers: Vec<u32> = self.orders_after(0).map(|record| record.order.order_number).collect();
        numbers.into_iter().for_each(|number| self.plan(number));
    }

    /// When an order moves on by itself.
    fn due_at(&self, record: &OrderRecord) -> Option<i64> {
        if record.cancelled_at.is_some() || record.lost {
            return None;
        }
        let [accepted, in_preparation, ready] = self.settings.progress_after_ms?;
        let after = match record.progress {
            Progress::Accepted => accepted,
            Progress::InPreparation => in_preparation,
            Progress::Ready => ready,
            Progress::Completed => return None,
        };
        Some(record.progressed_at.saturating_add_unsigned(after))
    }

    fn plan(&mut self, number: u32) {
        if let Some(at) = self.order(number).and_then(|record| self.due_at(record)) {
            self.due.insert((at, number));
        }
    }

    fn unplan(&mut self, number: u32) {
        if let Some(at) = self.order(number).and_then(|record| self.due_at(record)) {
            self.due.remove(&(at, number));
        }
    }

    /// Forgets what nothing has changed for too long.
    fn forget(&mut self) {
        let horizon = self.last_entry.saturating_sub(self.keep);
        while self.events.len() > self.settings.keep_events {
            self.events.forget();
        }
        while self.orders.oldest().is_some_and(|oldest| oldest.recorded <= horizon) {
            self.forget_order();
        }
        while let Some((_, number)) = self.checks_by_age.first().copied().filter(|(touched, _)| *touched <= horizon) {
            self.checks_by_age.pop_first();
            self.checks.remove(&number);
            self.open_checks.remove(&number);
        }
        while self.changes_by_age.first().is_some_and(|(entry, _)| *entry <= horizon) {
            let Some((_, reference)) = self.changes_by_age.pop_first() else { break };
            self.changes.remove(&reference);
        }
        // Each entry makes a few slips at most; those that wait for the printer are kept.
        while self.tickets.len() as u64 > self.keep && self.tickets.oldest().is_some_and(|t| t.printed_at.is_some()) {
            self.tickets.forget();
        }
    }

    fn forget_order(&mut self) {
        let Some(oldest) = self.orders.oldest() else { return };
        let (number, reference) = (oldest.order.order_number, oldest.order.request.reference.clone());
        // What is recorded in the same millisecond may be kept or not.
        self.complete_since = Some(oldest.order.recorded_at + 1);
        self.unplan(number);
        self.forget_reference(&reference, number);
        self.orders.forget();
    }

    fn forget_reference(&mut self, reference: &str, number: u32) {
        if let Some(numbers) = self.orders_by_reference.get_mut(reference) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.orders_by_reference.remove(reference);
            }
        }
    }

    /// Becomes what was stored, and finds again what that leaves out. Entries that were remembered before stay.
    pub(crate) fn restore(&mut self, stored: State) {
        let entries = std::mem::take(&mut self.entries);
        *self = State { keep: self.keep, ..stored };
        self.entries = if entries.last() == self.last_entry { entries } else { Numbered::after_all(self.last_entry) };
        for record in self.orders.after(0).filter(|record| !record.lost) {
            let numbers = self.orders_by_reference.entry(record.order.request.reference.clone()).or_default();
            numbers.push(record.order.order_number);
        }
        self.open_checks =
            self.checks.values().filter(|check| check.is_open()).map(|check| check.head.number).collect();
        self.checks_by_age = self.checks.values().map(|check| (check.touched, check.head.number)).collect();
        self.changes_by_age =
            self.changes.iter().map(|(reference, change)| (change.entry, reference.clone())).collect();
        let waiting = self.tickets.after(0).filter(|ticket| ticket.printed_at.is_none());
        self.waiting_tickets = waiting.map(|ticket| ticket.number).collect();
        self.set(self.settings);
        self.forget();
    }
}

fn by_line(lines: &[LineVoid]) -> BTreeMap<String, u32> {
    lines.iter().map(|line| (line.reference.clone(), line.quantity_voided)).collect()
}
