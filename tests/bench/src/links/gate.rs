//! What a gate costs an order replica that follows the links of all stores: what `GetGates`, which judges the gates of
//! three products, takes beyond a call that does nothing.

use std::time::Duration;

use anyhow::Result;
use posmesh_e2e::{Process, provision};
use posmesh_proto::{
    common::v1::LocalizedText,
    order::v1::{GateState, GetGatesRequest, order_service_client::OrderServiceClient},
    store::v1::{Brand, PutBrandRequest, PutStoreRequest, store_service_client::StoreServiceClient},
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{row, world::World};
use crate::{
    launch,
    load::{Caller, one_by_one},
    order,
    report::{Report, Target, median, ms},
};

/// Stores whose gates are asked for.
const STORES: usize = 100;
const CALLS: usize = 2000;
const ROUNDS: usize = 5;
/// Gates that one call judges.
const PRODUCTS: f64 = 3.0;

/// The row about gates. The first stores of the world are sold through.
///
/// # Errors
/// When something cannot be started, or refuses.
pub(super) async fn measure(world: &World<'_>, stores: usize, first: usize, report: &mut Report) -> Result<()> {
    let (store, replica) = (launch::free_address()?, launch::free_address()?);
    let peers = [("STORE", store), ("ORDER", replica), ("CATALOG", launch::free_address()?)];
    let peers = peers.map(|(peer, at)| (format!("POSMESH__PEERS__{peer}"), format!("http://{at}")));
    let mut processes = Vec::new();
    for (name, address) in [("store", store), ("order", replica)] {
        let listen = ("POSMESH__LISTEN__GRPC".to_owned(), address.to_string());
        let settings = world.settings.iter().filter(|(key, _)| *key != listen.0).cloned();
        let environment = settings.chain(peers.clone()).chain([listen.clone()]).collect();
        let arguments = ["serve", name].map(Into::into).to_vec();
        let program = launch::binary("posmesh")?;
        processes.push(Process::start(name, &program, arguments, environment, world.folder.path())?);
    }
    let client = StoreServiceClient::new(launch::channel(store)?);
    let brand_name = LocalizedText { texts: [("en".to_owned(), "Bench".to_owned())].into() };
    let brand = Brand { brand_id: provision::BRAND_ID.to_owned(), name: Some(brand_name), revision: -1 };
    let put = async || Ok(client.clone().put_brand(PutBrandRequest { brand: Some(brand.clone()) }).await?);
    launch::eventually("the store service answers", put).await?;
    let ids: Vec<String> = (first..stores.min(first + STORES)).map(order::store_id).collect();
    for id in &ids {
        let store = provision::store(id, &[]);
        client.clone().put_store(PutStoreRequest { store: Some(store) }).await?;
    }
    let channel = launch::channel(replica)?;
    let mut gates = Gates { client: OrderServiceClient::new(channel.clone()), ids, next: 0 };
    launch::eventually("the gates are open", async || gates.are_open().await).await?;
    let mut nothing = Nothing(HealthClient::new(channel));
    let (mut asked, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        asked.push(one_by_one(&mut gates, CALLS / 10, CALLS).await?.latencies(|lap| *lap).p50().as_secs_f64());
        bare.push(one_by_one(&mut nothing, CALLS / 10, CALLS).await?.latencies(|lap| *lap).p50().as_secs_f64());
    }
    let pairs = asked.iter().zip(&bare).map(|(asked, bare)| (asked - bare) / PRODUCTS * 1e6);
    let (asked, bare) = (median(asked.clone()), median(bare.clone()));
    let micros = median(pairs);
    report.row(row(
        format!("a gate on an order replica that knows {stores} links, µs: a third of what GetGates takes beyond a health check"),
        micros,
        format!("{} − {}", ms(Duration::from_secs_f64(asked)), ms(Duration::from_secs_f64(bare))),
        Target::AtMost(20.0),
    ));
    Ok(())
}

/// Asks for the gates of one store after the other.
struct Gates {
    client: OrderServiceClient<Channel>,
    ids: Vec<String>,
    next: usize,
}

impl Gates {
    async fn are_open(&mut self) -> Result<()> {
        for id in &self.ids {
            let gates = self.client.get_gates(GetGatesRequest { store_id: id.clone() }).await?.into_inner().gates;
            anyhow::ensure!(gates.iter().all(|gate| gate.state() == GateState::Open), "{gates:?}");
            anyhow::ensure!(gates.len() as f64 == PRODUCTS, "{gates:?}");
        }
        Ok(())
    }
}

impl Caller for Gates {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let request = GetGatesRequest { store_id: self.ids[self.next % self.ids.len()].clone() };
        self.next += 1;
        let begun = tokio::time::Instant::now();
        self.client.get_gates(request).await?;
        Ok(begun.elapsed())
    }
}

/// Asks whether the service is there.
struct Nothing(HealthClient<Channel>);

impl Caller for Nothing {
    type Lap = Duration;

    async fn call(&mut self) -> Result<Duration> {
        let request = HealthCheckRequest { service: "posmesh.order.v1.OrderService".to_owned() };
        let begun = tokio::time::Instant::now();
        self.0.check(request).await?;
        Ok(begun.elapsed())
    }
}
