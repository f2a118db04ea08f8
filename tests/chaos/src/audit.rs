//! Compares what callers were told with what the POS has: pure rules over three records, the callers' book, the orders
//! as the platform has them at rest, and the POS's own journal.

mod rounds;
mod rules;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use posmesh_proto::order::v1::{Order, OrderState, PosEntry};

use crate::book::{Request, What};

/// An order as the POS recorded it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AtPos {
    /// The POS's own number: counts up in the order of recording.
    pub number: u64,
    /// When it was recorded, unix milliseconds.
    pub at_ms: i64,
    /// The reference that it came with: our order id.
    pub reference: String,
    /// Its note to the kitchen.
    pub note: String,
    /// The POS's check that it stands on.
    pub check: String,
    /// What it costs there, minor units; nothing where the POS does not tell one order's share.
    pub total: Option<i64>,
    /// Slips that the kitchen cooks from, those marked as a reprint aside.
    pub kitchen_tickets: usize,
    /// References of the payments that came with it.
    pub tenders: Vec<String>,
    /// When it was voided.
    pub voided_ms: Option<i64>,
}

/// What is there at rest.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The platform's orders by id, as each replica tells them.
    pub orders: HashMap<String, Vec<Order>>,
    /// The POS's records.
    pub at_pos: Vec<AtPos>,
    /// Those of the device that stands in for it.
    pub at_fallback: Vec<AtPos>,
    /// When the POS closed a check, unix milliseconds.
    pub closed_checks: HashMap<String, i64>,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An order that was acknowledged is not where it should be.
    Lost,
    /// The POS has it, its kitchen ticket or its payment more than once, or one key made several orders.
    Duplicated,
    /// Somebody was told what was not so.
    Untruthful,
    /// It neither ended nor lies before a person.
    Stuck,
    /// Rounds of a check overtook each other, or went to another one's.
    OutOfOrder,
}

impl Kind {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Lost, Self::Duplicated, Self::Untruthful, Self::Stuck, Self::OutOfOrder];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "LOST",
            Self::Duplicated => "DUPLICATED",
            Self::Untruthful => "UNTRUTHFUL",
            Self::Stuck => "STUCK",
            Self::OutOfOrder => "OUT_OF_ORDER",
        }
    }
}

/// One thing that must not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// Whose.
    pub key: String,
    /// In words.
    pub what: String,
    /// All that is known of the order: what was told when, its attempts, its records at the POS.
    pub history: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} | {}", self.kind.name(), self.key, self.what, self.history)
    }
}

/// What the audit found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Everything that must not be.
    pub violations: Vec<Violation>,
    /// Orders that some caller was told of.
    pub acknowledged: usize,
    /// Of those, how many ended in which state.
    pub by_state: BTreeMap<&'static str, usize>,
    /// Of those, how many lie before a person, by reason.
    pub by_attention: BTreeMap<String, usize>,
    /// Of those that went to the fallback, how many the POS was told of how.
    pub by_entry: BTreeMap<&'static str, usize>,
    /// Orders that were taken although nobody was told so.
    pub taken_unknown: usize,
    /// Requests that were refused, so that nothing was taken.
    pub refused: usize,
}

/// Judges everything. Whatever order or record belongs to nobody's request is a violation, too.
pub fn audit(requests: &[Request], facts: &Facts) -> Findings {
    let mut findings = Findings::default();
    let index = Index::of(facts);
    let cases: Vec<Case<'_>> = requests.iter().map(|request| Case::of(request, &index)).collect();
    for case in &cases {
        count(case, &mut findings);
        findings.violations.extend(rules::judge(case));
    }
    findings.violations.extend(rounds::judge(&cases, facts));
    findings.violations.extend(rules::nobodys(&cases, facts));
    findings
}

fn count(case: &Case<'_>, findings: &mut Findings) {
    let is_acknowledged = !case.told_ids.is_empty();
    match case.orders.first() {
        Some(order) if is_acknowledged => {
            findings.acknowledged += 1;
            *findings.by_state.entry(state_name(order.state())).or_default() += 1;
            if order.pos_entry() != PosEntry::Unspecified {
                *findings.by_entry.entry(entry_name(order.pos_entry())).or_default() += 1;
            }
            for mark in &order.attention {
                *findings.by_attention.entry(mark.clone()).or_default() += 1;
            }
        }
        Some(_) => findings.taken_unknown += 1,
        None if is_acknowledged => findings.acknowledged += 1,
        None => findings.refused += 1,
    }
}

/// The facts, to be found by what a request has in common with them.
struct Index<'a> {
    orders: &'a HashMap<String, Vec<Order>>,
    ids_by_note: HashMap<&'a str, Vec<&'a str>>,
    /// By note and by reference.
    at_pos: HashMap<&'a str, Vec<&'a AtPos>>,
    /// By reference: on paper the note is a part of a text.
    at_fallback: HashMap<&'a str, Vec<&'a AtPos>>,
}

impl<'a> Index<'a> {
    fn of(facts: &'a Facts) -> Self {
        let (mut ids_by_note, mut at_pos) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (id, order) in facts.orders.iter().filter_map(|(id, tellings)| Some((id, tellings.first()?))) {
            ids_by_note.entry(order.note.as_str()).or_default().push(id.as_str());
        }
        for record in &facts.at_pos {
            at_pos.entry(record.note.as_str()).or_default().push(record);
            at_pos.entry(record.reference.as_str()).or_default().push(record);
        }
        let mut at_fallback = HashMap::<_, Vec<_>>::new();
        for record in &facts.at_fallback {
            at_fallback.entry(record.reference.as_str()).or_default().push(record);
        }
        Self { orders: &facts.orders, ids_by_note, at_pos, at_fallback }
    }
}

/// A request and everything that belongs to it.
struct Case<'a> {
    request: &'a Request,
    /// Ids that its callers were told.
    told_ids: BTreeSet<&'a str>,
    /// The platform's orders of it: one, if all is well. As the first replica tells them.
    orders: Vec<&'a Order>,
    /// The same as the other replicas tell them.
    retold: Vec<&'a Order>,
    at_pos: Vec<&'a AtPos>,
    at_fallback: Vec<&'a AtPos>,
}

impl<'a> Case<'a> {
    fn of(request: &'a Request, index: &Index<'a>) -> Self {
        let told_ids: BTreeSet<&str> = request.told.iter().filter_map(|told| told.what.order_id()).collect();
        let key = request.key.as_str();
        let ids: BTreeSet<&str> =
            told_ids.iter().copied().chain(index.ids_by_note.get(key).into_iter().flatten().copied()).collect();
        let (mut orders, mut retold) = (Vec::new(), Vec::new());
        for telling in ids.iter().filter_map(|id| index.orders.get(*id)) {
            orders.extend(telling.first());
            retold.extend(telling.iter().skip(1));
        }
        let of = |word: &&'a str| index.at_pos.get(*word).into_iter().flatten().copied();
        let numbered: BTreeMap<u64, &AtPos> =
            ids.iter().chain([&key]).flat_map(of).map(|at_pos| (at_pos.number, at_pos)).collect();
        let at_fallback = ids.iter().flat_map(|id| index.at_fallback.get(id).into_iter().flatten().copied()).collect();
        Self { request, told_ids, orders, retold, at_pos: numbered.into_values().collect(), at_fallback }
    }

    /// Its records, wherever they are.
    fn records(&self) -> impl Iterator<Item = &'a AtPos> + '_ {
        self.at_pos.iter().chain(&self.at_fallback).copied()
    }

    fn violation(&self, kind: Kind, what: impl Into<String>) -> Violation {
        Violation { kind, key: self.request.key.clone(), what: what.into(), history: self.history() }
    }

    fn history(&self) -> String {
        let clock = |ms: i64| format!("{}.{:03}", ms / 1000 % 100_000, ms % 1000);
        let told = self
            .request
            .told
            .iter()
            .map(|told| format!("{}→{} {}: {}", clock(told.asked_ms), clock(told.at_ms), told.by, told.what));
        let attempts = self.orders.iter().flat_map(|order| {
            order.attempts.iter().map(|attempt| {
                let ms = |time: &Option<prost_types::Timestamp>| {
                    time.map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
                };
                let kind = attempt.kind().as_str_name().trim_start_matches("ATTEMPT_KIND_");
                let outcome = attempt.outcome().as_str_name().trim_start_matches("ATTEMPT_OUTCOME_");
                let (begun, not_after) = (clock(ms(&attempt.begin_time)), clock(ms(&attempt.not_after)));
                format!("#{} {kind} {begun} until {not_after}: {outcome} {}", attempt.number, attempt.cause)
            })
        });
        let now = self.orders.iter().map(|order| {
            let state = state_name(order.state());
            format!(
                "{} round {} of {:?} {state} v{} {:?} entry {}",
                order.order_id,
                order.round,
                order.check_id,
                order.version,
                order.attention,
                entry_name(order.pos_entry())
            )
        });
        let record = |at: &&AtPos| {
            let voided = at.voided_ms.map(|ms| format!(" voided {}", clock(ms))).unwrap_or_default();
            format!(
                "order {} on check {} recorded {} for {:?} with {} tickets{voided}",
                at.number,
                at.check,
                clock(at.at_ms),
                at.reference,
                at.kitchen_tickets
            )
        };
        let part = |name: &str, entries: Vec<String>| format!("{name}: [{}]", entries.join("; "));
        [
            part("told", told.collect()),
            part("attempts", attempts.collect()),
            part("at rest", now.collect()),
            part("at the POS", self.at_pos.iter().map(record).collect()),
            part("at the fallback", self.at_fallback.iter().map(record).collect()),
        ]
        .join(" ")
    }
}

impl What {
    fn order_id(&self) -> Option<&str> {
        match self {
            Self::Seen(seen) => Some(&seen.order_id),
            _ => None,
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seen(seen) => {
                write!(f, "{}", state_name(seen.state))?;
                seen.version.map_or(Ok(()), |version| write!(f, " v{version}"))
            }
            Self::Refused(why) => write!(f, "refused {why}"),
            Self::Unknown(why) => write!(f, "unknown {why}"),
            Self::NotFound => write!(f, "no such order"),
            Self::LeftInTheDark => write!(f, "nothing more"),
            Self::Said(words) => write!(f, "{words}"),
        }
    }
}

/// Without its prefix.
pub fn entry_name(entry: PosEntry) -> &'static str {
    entry.as_str_name().trim_start_matches("POS_ENTRY_")
}

/// Without its prefix.
pub fn state_name(state: OrderState) -> &'static str {
    state.as_str_name().trim_start_matches("ORDER_STATE_")
}
