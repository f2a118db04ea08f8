//! Whether the till would take orders now.

use posmesh_adapter_kit::PosError;
use posmesh_kit::cause;
use posmesh_proto::adapter::v1::{LinkHealth, ProbeLinkResponse};

use crate::{api::Api, settings::Settings, till::Till};

/// Asks for the version first, then for the till and its session.
pub(crate) async fn probe(api: &Api<'_>, settings: &Settings) -> Result<ProbeLinkResponse, PosError> {
    let pos_version = format!("Odoo {}", api.version().await?);
    let till = match Till::read(api, &settings.pos_config).await {
        Ok(till) => till,
        Err(error) => return offline(pos_version, error.into()),
    };
    match till.open_session() {
        Ok(_) => Ok(ProbeLinkResponse { health: LinkHealth::Online.into(), pos_version, ..Default::default() }),
        Err(why) => offline(pos_version, PosError::failed(cause::BUSINESS_DAY_NOT_OPEN, why)),
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
