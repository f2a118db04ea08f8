//! What a call carries besides its message: who calls, and until when an answer is of use.
//!
//! The server's layer stack opens a scope around each handler; the client side of every [`crate::Channel`] reads it, so
//! a deadline goes on from hop to hop. Tasks spawned in a handler start without a scope: work that must outlive its
//! caller is not bounded by the caller's deadline.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::Failure;

tokio::task_local! {
    static SCOPE: Scope;
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The brand owner whose data the call may see. Keys every row.
    pub tenant_id: Arc<str>,
    /// The calling program. Request ids are unique per caller.
    pub caller: Arc<str>,
}

impl Default for Identity {
    /// The one tenant and caller that exist until callers authenticate themselves.
    fn default() -> Self {
        Self { tenant_id: "default".into(), caller: "default".into() }
    }
}

/// The surroundings of one call.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Who calls.
    pub identity: Identity,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// Runs `work` within `scope`.
pub async fn in_scope<F: Future>(scope: Scope, work: F) -> F::Output {
    SCOPE.scope(scope, work).await
}

/// The scope of the running handler, or an empty one outside of handlers.
pub fn scope() -> Scope {
    SCOPE.try_with(Clone::clone).unwrap_or_default()
}

/// Who calls the running handler.
pub fn identity() -> Identity {
    scope().identity
}

/// How long the caller of the running handler still waits; `None` outside of handlers.
pub fn time_left() -> Option<Duration> {
    scope().deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// The answer to a call whose deadline passed.
pub fn deadline_exceeded(what: &str) -> Status {
    Failure::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", format!("{what} did not finish before the deadline"))
        .into()
}

/// Reads a `grpc-timeout` header: at most 8 digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
pub fn parse_grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Writes a `grpc-timeout` header, in the finest unit that fits 8 digits, never longer than `timeout`.
pub fn format_grpc_timeout(timeout: Duration) -> String {
    let units: [(u128, &str); 4] = [
        (timeout.as_nanos(), "n"),
        (timeout.as_micros(), "u"),
        (timeout.as_millis(), "m"),
        (u128::from(timeout.as_secs()), "S"),
    ];
    for (amount, unit) in units {
        if amount < 100_000_000 {
            return format!("{amount}{unit}");
        }
    }
    "99999999S".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_survives_its_header_and_never_grows() {
        for ms in [0, 1, 99, 1_500, 30_000, 86_400_000] {
            let timeout = Duration::from_millis(ms);
            let read = parse_grpc_timeout(&format_grpc_timeout(timeout)).unwrap_or_default();
            assert!(read <= timeout && timeout - read <= Duration::from_secs(1), "{timeout:?} became {read:?}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_ignored() {
        for bad in ["", "S", "5", "5x", "123456789S", "-1S", "1é"] {
            assert_eq!(parse_grpc_timeout(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_spawned_task_does_not_inherit_the_callers_deadline() {
        let scope = Scope { deadline: Some(Instant::now()), ..Scope::default() };
        let inside = in_scope(scope, async {
            assert!(time_left().is_some());
            tokio::spawn(async { time_left() }).await
        })
        .await;
        assert_eq!(inside.ok(), Some(None));
    }
}
