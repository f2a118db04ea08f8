//! Watches the link at the router, and the gates at every order replica.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use posmesh_e2e::Mesh;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, GateState, WatchGatesRequest, order_service_client::OrderServiceClient},
    router::v1::{Link, WatchLinksRequest, router_service_client::RouterServiceClient},
};
use tonic::{Status, transport::Channel};

use crate::{
    callers::World,
    stage::{FALLBACK, STORE_ID},
    timeline::Timeline,
};

/// A stream that broke off is opened again after this.
const PAUSE: Duration = Duration::from_millis(200);

/// The gates as each replica told them last. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gates {
    /// By replica and product.
    last: Arc<Mutex<HashMap<(usize, Product), Gate>>>,
    replicas: usize,
}

impl Gates {
    /// Whether every replica has told every gate, and this state of each.
    pub(crate) fn are_all(&self, state: GateState) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |replica: usize| last.keys().any(|(of, _)| *of == replica);
        (0..self.replicas).all(told) && last.values().all(|gate| gate.state() == state)
    }

    /// Notes what a replica tells; returns whether it differs from what it told before.
    fn note(&self, replica: usize, gate: &Gate) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert((replica, gate.product()), gate.clone());
        before.is_none_or(|before| (before.state(), before.reason()) != (gate.state(), gate.reason()))
    }
}

/// Watches everything until the world is closing.
pub(crate) fn all(mesh: &Mesh, world: &Arc<World>, timeline: &Timeline) -> Result<Gates> {
    let gates = Gates { last: Arc::default(), replicas: world.replicas.len() };
    for (replica, client) in world.replicas.iter().cloned().enumerate() {
        let (gates, timeline, world) = (gates.clone(), timeline.clone(), Arc::clone(world));
        world.clone().tasks.spawn(async move {
            while !world.closing.is_cancelled() {
                tokio::select! {
                    () = world.closing.cancelled() => return,
                    _ = watch_gates(replica, client.clone(), &gates, &timeline) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
    }
    let (client, timeline, world) = (RouterServiceClient::new(mesh.router()?), timeline.clone(), Arc::clone(world));
    world.clone().tasks.spawn(async move {
        while !world.closing.is_cancelled() {
            tokio::select! {
                () = world.closing.cancelled() => return,
                _ = watch_link(client.clone(), &timeline) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(gates)
}

async fn watch_gates(
    replica: usize,
    mut client: OrderServiceClient<Channel>,
    gates: &Gates,
    timeline: &Timeline,
) -> Result<(), Status> {
    let request = WatchGatesRequest { store_id: STORE_ID.to_owned() };
    let mut stream = client.watch_gates(request).await?.into_inner();
    while let Some(news) = stream.message().await? {
        for gate in news.gates.iter().filter(|gate| gates.note(replica, gate)) {
            timeline.note(format!("order-{}: {}", replica + 1, of_gate(gate)));
        }
    }
    Ok(())
}

async fn watch_link(mut client: RouterServiceClient<Channel>, timeline: &Timeline) -> Result<(), Status> {
    let mut stream = client.watch_links(WatchLinksRequest::default()).await?.into_inner();
    let mut last = HashMap::new();
    while let Some(news) = stream.message().await? {
        for link in news.links.iter().filter(|link| link.store_id == STORE_ID) {
            let now = (link.state(), link.cause.clone());
            if last.insert(link.connection_id.clone(), now.clone()) != Some(now) {
                let whose = if link.connection_id == FALLBACK { "router: the fallback's" } else { "router:" };
                timeline.note(format!("{whose} {}", of_link(link)));
            }
        }
    }
    Ok(())
}

fn of_gate(gate: &Gate) -> String {
    let state = gate.state().as_str_name().trim_start_matches("GATE_STATE_");
    let product = gate.product().as_str_name().trim_start_matches("PRODUCT_");
    let reason = match gate.reason() {
        posmesh_proto::order::v1::GateReason::Unspecified => String::new(),
        reason => format!(" ({})", reason.as_str_name().trim_start_matches("GATE_REASON_")),
    };
    format!("gate of {product} {state}{reason}")
}

fn of_link(link: &Link) -> String {
    let state = link.state().as_str_name().trim_start_matches("LINK_STATE_");
    match link.cause.as_str() {
        "" => format!("link {state}"),
        cause => format!("link {state} ({cause} at {})", link.failing_hop),
    }
}
