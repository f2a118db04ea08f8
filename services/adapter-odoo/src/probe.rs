//! Whether the till would take orders now.

use posmesh_adapter_kit::PosError;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{LinkHealth, ProbeLinkResponse};
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{Api, ApiError},
    settings::Settings,
    till::Till,
    wire,
};

/// Asks for the version first, then for the till and its session.
pub(crate) async fn probe(api: &Api<'_>, settings: &Settings) -> Result<ProbeLinkResponse, PosError> {
    let pos_version = format!("Odoo {}", api.version().await?);
    let till = match Till::read(api, &settings.pos_config).await {
        Ok(till) => till,
        Err(error) => return offline(pos_version, error.into()),
    };
    let why = match till.open_session() {
        Ok(_) => return Ok(ProbeLinkResponse { health: LinkHealth::Online.into(), pos_version, ..Default::default() }),
        Err(why) if till.config.current_session_id.is_some() => why,
        Err(_) => match last_closed(api, &till).await {
            Ok(closed) => closed_till(&till.config.name, closed.as_deref()),
            Err(error) => return offline(pos_version, error.into()),
        },
    };
    offline(pos_version, PosError::failed(cause::BUSINESS_DAY_NOT_OPEN, why))
}

/// When the till's last session was closed, in Odoo's words; `None`: it never had one.
async fn last_closed(api: &Api<'_>, till: &Till) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    struct Session {
        #[serde(deserialize_with = "wire::text")]
        stop_at: String,
    }
    let arguments = json!({
        "domain": [["config_id", "=", till.config.id], ["state", "=", "closed"]],
        "fields": ["stop_at"], "order": "stop_at desc", "limit": 1, "context": till.scope(None).context(),
    });
    let sessions: Vec<Session> = api.call("pos.session", "search_read", &arguments).await?;
    Ok(sessions.into_iter().next().map(|session| session.stop_at))
}

/// Why a till without a session takes no orders, and what the staff should do. `closed`: when it was closed last, as Odoo
/// writes times: "2026-11-22 13:59:07", in UTC.
fn closed_till(name: &str, closed: Option<&str>) -> String {
    match closed {
        None => format!(
            "till {name:?} has never been opened: open it at the Point of Sale; if the store sells at another till, \
             correct the setting pos_config"
        ),
        Some(at) => {
            let minute = at.get(..16).unwrap_or(at);
            format!("till {name:?} was closed at {minute} UTC: open it at the Point of Sale")
        }
    }
}

/// The answer of a POS whose version is known.
fn offline(pos_version: String, error: PosError) -> Result<ProbeLinkResponse, PosError> {
    match error {
        PosError::Failed { cause, message } => Ok(ProbeLinkResponse {
            health: LinkHealth::Offline.into(),
            failing_hop: "pos".to_owned(),
            cause,
            message,
            pos_version,
            ..Default::default()
        }),
        other @ PosError::Call(_) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_till_that_was_closed_and_one_that_was_never_opened_are_told_apart() {
        let closed = closed_till("Bar", Some("2026-11-22 13:59:07"));
        assert!(closed.contains("was closed at 2026-11-22 13:59 UTC") && closed.contains("open it"), "{closed}");
        let never = closed_till("Bar", None);
        assert!(never.contains("never been opened") && never.contains("pos_config"), "{never}");
    }
}
