//! What is known of one link.

use std::time::Duration;

use posmesh_kit::time;
use posmesh_proto::router::v1::{Connection, ConnectionRole, Link, LinkEvidence, LinkEvidenceKind, LinkState};

use super::{PROBES_COUNTED, PROBES_TO_RETURN, REWORDED_EVERY_MS, THRESHOLD};
use crate::domain::pos_revision;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// "platform", "adapter", "relay", "pos" or "printer".
    pub(crate) hop: String,
    /// One of the shared causes.
    pub(crate) cause: String,
    /// For staff and logs.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(hop: &str, cause: &str, message: impl Into<String>) -> Self {
        Self { hop: hop.to_owned(), cause: cause.to_owned(), message: message.into() }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.hop == other.hop && self.cause == other.cause
    }
}

/// How much a failure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// A probe got no answer in time.
    Lost = 1,
    /// A probe was refused, or answered with a failure.
    Told = 2,
    /// A real call failed.
    Call = 3,
    /// Somebody who must know said so, and nobody can be asked.
    Certain = 4,
}

/// One thing that was seen of a POS.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// It took an order, or said of one what only a working POS can say.
    Worked,
    /// It says that it would take orders.
    Well {
        /// Something is wrong all the same.
        degraded: Option<Fault>,
        latency: Option<Duration>,
        /// What the POS calls itself; empty: it does not tell.
        version: String,
    },
    Failed {
        fault: Fault,
        weight: Weight,
    },
    /// It may not be asked, so nobody knows.
    NotAskable,
}

/// The state that a link has when its store is open.
#[derive(Debug, Clone, PartialEq)]
enum Health {
    Unknown,
    Online,
    Degraded(Fault),
    Offline(Fault),
}

/// One link, as a replica sees it.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    link: Link,
    health: Health,
    /// The weight of the failures since the last success; of an OFFLINE link: of those with another cause than it has.
    suspicion: u8,
    /// The weightiest of these failures.
    suspect: Option<(Weight, Fault)>,
    /// Good answers in a row while OFFLINE, and when the first was.
    answered: u8,
    answered_since_ms: i64,
    /// Those that have just brought it back.
    returned: Option<(u8, i64)>,
    /// Probes in a row that did not bring an OFFLINE link back.
    pub(super) in_vain: u32,
    /// Since the last success.
    pub(super) last_failure: Option<Weight>,
    /// When the message changed without the state and the cause.
    reworded_ms: i64,
    awake: bool,
    askable: bool,
    /// The vendor itself says that it is OFFLINE, and will say when it is back.
    vendor_says_so: bool,
    /// When its state or cause changed last.
    changed_ms: i64,
}

impl Tracker {
    /// Of a connection of whose POS nothing has been seen.
    pub(crate) fn unknown(connection: &Connection) -> Self {
        let version = first_version(connection);
        let link = Link { state: LinkState::Unknown.into(), since: connection.update_time, version, ..Link::default() };
        Self::new(of_connection(link, connection))
    }

    /// Goes on from what is known already.
    pub(crate) fn new(link: Link) -> Self {
        let fault = || Fault::new(&link.failing_hop, &link.cause, link.message.clone());
        let health = match link.state() {
            LinkState::Online => Health::Online,
            LinkState::Degraded => Health::Degraded(fault()),
            LinkState::Offline => Health::Offline(fault()),
            LinkState::Dormant if !link.cause.is_empty() => Health::Offline(fault()),
            _ => Health::Unknown,
        };
        let awake = link.state() != LinkState::Dormant;
        let told_by = link.evidence.as_ref().map_or(LinkEvidenceKind::Unspecified, LinkEvidence::kind);
        Self {
            vendor_says_so: matches!(health, Health::Offline(_)) && told_by == LinkEvidenceKind::Heartbeat,
            changed_ms: link.since.as_ref().map_or(0, time::to_unix_ms),
            link,
            health,
            suspicion: 0,
            suspect: None,
            answered: 0,
            answered_since_ms: 0,
            returned: None,
            in_vain: 0,
            last_failure: None,
            reworded_ms: 0,
            awake,
            askable: true,
        }
    }

    /// As it stands.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Takes over what another replica has written. What was seen here since stays a suspicion; what was seen here and
    /// could not be written (`unsaved`) needs to be seen once more.
    pub(crate) fn adopt(&mut self, link: Link, unsaved: bool) {
        let own = std::mem::replace(self, Self::new(link));
        (self.askable, self.reworded_ms) = (own.askable, own.reworded_ms);
        match (&own.health, self.is_offline()) {
            (Health::Offline(fault), false) if unsaved => {
                self.suspicion = THRESHOLD - 1;
                self.suspect = Some((Weight::Call, fault.clone()));
                self.last_failure = own.last_failure;
            }
            (Health::Online | Health::Degraded(_), true) if unsaved => {
                self.answered = PROBES_TO_RETURN - 1;
                self.answered_since_ms = own.link.healthy_since.as_ref().map_or(0, time::to_unix_ms);
            }
            (before, is_offline) if matches!(before, Health::Offline(_)) == is_offline => {
                self.suspicion = own.suspicion;
                self.suspect = own.suspect;
                self.last_failure = own.last_failure;
                self.answered = own.answered;
                self.answered_since_ms = own.answered_since_ms;
                self.in_vain = own.in_vain;
                self.vendor_says_so |= own.vendor_says_so;
            }
            _ => {}
        }
    }

    pub(crate) fn is_offline(&self) -> bool {
        matches!(self.health, Health::Offline(_))
    }

    /// Whether a failure waits to be confirmed.
    pub(crate) fn is_suspected(&self) -> bool {
        self.suspicion > 0 && !self.is_offline()
    }

    /// Whether it is OFFLINE and has begun to answer.
    pub(crate) fn is_returning(&self) -> bool {
        self.answered > 0
    }

    pub(crate) fn is_awake(&self) -> bool {
        self.awake
    }

    pub(crate) fn is_askable(&self) -> bool {
        self.askable
    }

    /// When its state or cause changed last.
    pub(crate) fn changed_ms(&self) -> i64 {
        self.changed_ms
    }

    /// How long the POS took to answer last.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.link.pos_latency.as_ref().and_then(time::from_proto_duration)
    }

    /// Opening time began or ended. Returns whether the link changed.
    pub(crate) fn set_awake(&mut self, awake: bool, now_ms: i64) -> bool {
        if self.awake == awake {
            return false;
        }
        self.awake = awake;
        if !self.is_offline() {
            self.link.evidence = Some(evidence(LinkEvidenceKind::Hours, now_ms));
        }
        self.show(now_ms)
    }

    /// Nobody has looked for a while, and nobody will: what was OFFLINE may be tried with an order. Returns whether the link
    /// changed.
    pub(crate) fn age(&mut self, now_ms: i64) -> bool {
        // Unless the vendor said so: it says as well when that is over.
        if self.is_offline() && !self.vendor_says_so {
            self.forget_failures();
            self.becomes(Health::Unknown);
        }
        self.show(now_ms)
    }

    /// Takes in what was seen. Returns whether the link changed in anything that others must know.
    pub(crate) fn observe(&mut self, kind: LinkEvidenceKind, seen: Seen, now_ms: i64) -> bool {
        if seen == Seen::NotAskable {
            self.askable = false;
            return self.age(now_ms);
        }
        let before = (self.link.probes_passed, self.link.pos_version.clone(), self.vendor_says_so);
        let is_answered_probe = kind == LinkEvidenceKind::Probe && matches!(seen, Seen::Well { .. });
        let is_vendors_no = kind == LinkEvidenceKind::Heartbeat && matches!(seen, Seen::Failed { .. });
        match seen {
            Seen::Worked => self.worked(),
            Seen::Well { degraded, latency, version } => {
                self.askable |= kind == LinkEvidenceKind::Probe;
                self.link.pos_latency = latency.map(time::to_proto_duration).or(self.link.pos_latency);
                if !version.is_empty() {
                    self.link.pos_version = version;
                }
                // What the vendor said it takes back as it said it.
                let is_taken_back = self.vendor_says_so && kind == LinkEvidenceKind::Heartbeat;
                self.well(degraded, if is_taken_back { 1 } else { PROBES_TO_RETURN }, now_ms);
            }
            Seen::Failed { fault, weight } => self.failed(fault, weight),
            Seen::NotAskable => {}
        }
        self.vendor_says_so = self.is_offline() && (self.vendor_says_so || is_vendors_no);
        self.link.evidence = Some(evidence(kind, now_ms));
        let shown = self.show(now_ms);
        if is_answered_probe && self.link.healthy_since.is_some() {
            self.link.probes_passed = (self.link.probes_passed + 1).min(PROBES_COUNTED);
        }
        shown || before != (self.link.probes_passed, self.link.pos_version.clone(), self.vendor_says_so)
    }

    fn worked(&mut self) {
        self.forget_failures();
        if !matches!(self.health, Health::Online | Health::Degraded(_)) {
            self.becomes(Health::Online);
        }
    }

    /// It answered well; an OFFLINE link is back after so many answers.
    fn well(&mut self, degraded: Option<Fault>, needed: u8, now_ms: i64) {
        self.forget_failures();
        if self.is_offline() {
            if self.answered == 0 {
                self.answered_since_ms = now_ms;
            }
            self.answered += 1;
            if self.answered < needed {
                return;
            }
            self.returned = Some((self.answered - 1, self.answered_since_ms));
        }
        self.becomes(degraded.map_or(Health::Online, Health::Degraded));
    }

    fn failed(&mut self, fault: Fault, weight: Weight) {
        self.last_failure = Some(weight);
        self.answered = 0;
        if let Health::Offline(known) = &mut self.health {
            self.in_vain = self.in_vain.saturating_add(1);
            if known.is_same(&fault) {
                *known = fault;
                self.suspicion = 0;
                self.suspect = None;
                return;
            }
        }
        self.suspicion = self.suspicion.saturating_add(weight as u8);
        if self.suspect.as_ref().is_none_or(|(known, _)| *known <= weight) {
            self.suspect = Some((weight, fault));
        }
        if self.suspicion >= THRESHOLD
            && let Some((_, fault)) = self.suspect.take()
        {
            self.suspicion = 0;
            self.becomes(Health::Offline(fault));
        }
    }

    fn forget_failures(&mut self) {
        self.suspicion = 0;
        self.suspect = None;
        self.last_failure = None;
    }

    fn becomes(&mut self, health: Health) {
        self.answered = 0;
        self.in_vain = 0;
        self.health = health;
    }

    /// Brings the link in line with what is known. Returns whether it changed.
    fn show(&mut self, now_ms: i64) -> bool {
        let (state, fault) = match &self.health {
            Health::Unknown => (LinkState::Unknown, None),
            Health::Online => (LinkState::Online, None),
            Health::Degraded(fault) => (LinkState::Degraded, Some(fault)),
            Health::Offline(fault) => (LinkState::Offline, Some(fault)),
        };
        let state = if self.awake { state } else { LinkState::Dormant };
        // Of a store that is closed only what must be mended is told.
        let fault = fault.filter(|_| self.awake || self.is_offline());
        let text = |part: fn(&Fault) -> &String| fault.map(part).cloned().unwrap_or_default();
        let (hop, cause, message) = (text(|f| &f.hop), text(|f| &f.cause), text(|f| &f.message));
        let link = &mut self.link;
        let is_same_fault = link.cause == cause && link.failing_hop == hop;
        let changed = link.state() != state || !is_same_fault;
        // A fault that is new is told as it unfolds: a till that is being closed is closed a moment later.
        let is_new = now_ms.abs_diff(self.changed_ms) < REWORDED_EVERY_MS;
        let is_due = is_new || now_ms.abs_diff(self.reworded_ms) >= REWORDED_EVERY_MS;
        let reworded = !changed && is_due && !message.is_empty() && link.message != message;
        if changed {
            link.set_state(state);
            (link.failing_hop, link.cause, link.message) = (hop, cause, message);
            // What is broken stays so while its store closes and opens.
            if !(is_same_fault && matches!(self.health, Health::Offline(_))) {
                link.since = Some(time::from_unix_ms(now_ms));
            }
            link.version += 1;
            self.changed_ms = now_ms;
        } else if reworded {
            link.message = message;
            self.reworded_ms = now_ms;
        }
        if matches!(state, LinkState::Online | LinkState::Degraded) {
            if link.healthy_since.is_none() {
                // The answers that brought it back count; the last of them is counted by whoever saw it.
                let (passed, since_ms) = self.returned.take().unwrap_or((0, now_ms));
                link.healthy_since = Some(time::from_unix_ms(since_ms.min(now_ms)));
                link.probes_passed = i32::from(passed);
            }
        } else {
            link.healthy_since = None;
            link.probes_passed = 0;
        }
        changed || reworded
    }
}

/// Where the versions of a link begin: above all that a link under this id has had while it led to another POS, or before it
/// was deleted. No POS sees so many changes.
pub(crate) fn first_version(connection: &Connection) -> i64 {
    pos_revision(connection).saturating_mul(1 << 32)
}

/// A link with what its connection says of itself now. The rest of it is about the POS, which a connection may keep while
/// it goes to another store or serves other products.
pub(crate) fn of_connection(link: Link, connection: &Connection) -> Link {
    let role = match connection.role() {
        ConnectionRole::Unspecified => ConnectionRole::Primary,
        role => role,
    };
    Link {
        connection_id: connection.connection_id.clone(),
        store_id: connection.store_id.clone(),
        vendor: connection.vendor.clone(),
        products: connection.products.clone(),
        service_modes: connection.service_modes.clone(),
        role: role.into(),
        ..link
    }
}

fn evidence(kind: LinkEvidenceKind, now_ms: i64) -> LinkEvidence {
    LinkEvidence { kind: kind.into(), time: Some(time::from_unix_ms(now_ms)) }
}
