//! Work on a connection that one replica at a time does, and that survives all of them: a row each, under a lease.

use std::{sync::Arc, time::Duration};

/// What is to be done for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrandKind {
    /// Ask the POS what happened to orders.
    Poll = 1,
    /// Compare our orders with the POS's.
    Reconcile = 2,
}

impl ErrandKind {
    pub(super) fn from_row(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Poll),
            2 => Some(Self::Reconcile),
            _ => None,
        }
    }
}

/// A reason to do an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Of the router.
    pub connection_id: String,
    /// What.
    pub kind: ErrandKind,
    /// The connection's.
    pub store_id: String,
    /// From when on there is something to look at, in milliseconds since the epoch. The earliest counts.
    pub since_ms: i64,
    /// When it falls due, unless it does so earlier or is being done.
    pub due_in: Duration,
}

/// An errand that this replica has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The brand owner.
    pub tenant_id: Arc<str>,
    /// Of the router.
    pub connection_id: String,
    /// What.
    pub kind: ErrandKind,
    /// The connection's.
    pub store_id: String,
    /// Counts the claims: whoever claimed it before writes nothing any more.
    pub version: i64,
    /// From when on there is something to look at, in milliseconds since the epoch.
    pub since_ms: i64,
    /// It was woken since it was done last.
    pub woken: bool,
    /// How far it came; the errand's own.
    pub progress: String,
    /// Failures in a row.
    pub failures: u32,
}

/// What becomes of a claimed errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This replica goes on with it, under a new lease.
    GoOn(Duration),
    /// It falls due again after this, for any replica. If it was woken meanwhile it does so after one second at the latest.
    Again(Duration),
    /// It rests until it is woken. If it was woken meanwhile: as after one second.
    Rest,
}

/// How soon an errand falls due that was woken while it was done.
pub(super) const WOKEN_DUE: Duration = Duration::from_secs(1);

impl Next {
    /// Milliseconds from now, and whether this replica keeps it.
    pub(super) fn columns(self) -> (Option<i64>, bool) {
        match self {
            Self::GoOn(lease) => (Some(super::rows::millis(lease)), true),
            Self::Again(after) => (Some(super::rows::millis(after)), false),
            Self::Rest => (None, false),
        }
    }
}

/// `tenant_id, connection_id, kind, store_id, version, since_ms, woken, progress, failures`
pub(super) type ErrandColumns = (String, String, i16, String, i64, i64, i64, String, i64);

/// An errand from its row; of a kind that a newer version made: `None`.
pub(super) fn errand(columns: ErrandColumns) -> Option<Errand> {
    let (tenant_id, connection_id, kind, store_id, version, since_ms, woken, progress, failures) = columns;
    Some(Errand {
        tenant_id: tenant_id.into(),
        connection_id,
        kind: ErrandKind::from_row(kind)?,
        store_id,
        version,
        since_ms,
        woken: woken != 0,
        progress,
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
    })
}
