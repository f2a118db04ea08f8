//! What goes wrong besides: answers lost where the kitchen prints and where the POS is told, and replicas killed meanwhile.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use posmesh_e2e::Pos;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::{stage::Stage, timeline::Timeline};

/// Orders that each fault hits.
const TIMES: u32 = 3;
/// How long a killed replica is down.
const DOWN: Duration = Duration::from_secs(2);
/// When the POS is back, faults come so long after each other.
const STEP: Duration = Duration::from_secs(8);

/// Answers of the fallback are lost, and an order replica is killed, spread over the time that is left.
pub(super) async fn while_away(stage: &Arc<Stage>, left: Duration, timeline: &Timeline) -> Result<()> {
    let device = &stage.fallback.as_ref().context("the store has no fallback")?.device;
    let step = left / 5;
    sleep(step).await;
    spoil(device, "drop_answer_after_record", "the fallback", timeline).await?;
    sleep(step).await;
    spoil(device, "drop_before_record", "the fallback", timeline).await?;
    kill(stage, 1, timeline).await?;
    sleep(step).await;
    spoil(device, "drop_answer_after_record", "the fallback", timeline).await
}

/// Answers of the POS are lost while it is told, and another replica is killed.
pub(super) async fn when_back(stage: &Arc<Stage>, timeline: &Timeline) -> Result<()> {
    sleep(STEP).await;
    spoil(&stage.pos, "drop_answer_after_record", "the POS", timeline).await?;
    sleep(STEP).await;
    spoil(&stage.pos, "drop_before_record", "the POS", timeline).await?;
    kill(stage, 2, timeline).await
}

async fn spoil(device: &Pos, kind: &str, name: &str, timeline: &Timeline) -> Result<()> {
    device.try_ask(Method::POST, "/control/faults", Some(&json!({ "kind": kind, "times": TIMES }))).await?;
    timeline.note(format!("{name}: {kind} for the next {TIMES} orders"));
    Ok(())
}

async fn kill(stage: &Stage, replica: usize, timeline: &Timeline) -> Result<()> {
    let process = stage.mesh.order_replica(replica);
    process.kill()?;
    timeline.note(format!("{} is killed", process.name()));
    sleep(DOWN).await;
    process.restart()?;
    timeline.note(format!("{} is started", process.name()));
    Ok(())
}
