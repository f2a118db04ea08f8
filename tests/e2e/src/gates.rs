//! Links as the router tells them, and gates as the order replicas do.

use std::fmt;

use anyhow::Result;
use posmesh_proto::{
    common::v1::Product,
    order::v1::{Gate, GateState, GetGatesRequest, order_service_client::OrderServiceClient},
    router::v1::{Link, LinkState, ListLinksRequest, router_service_client::RouterServiceClient},
};
use tokio::time::Instant;

use crate::{Mesh, eventually};

impl Mesh {
    /// The link of a store's one connection.
    ///
    /// # Errors
    /// When the router does not answer, or knows none.
    pub async fn link(&self, store_id: &str) -> Result<Link> {
        let request = ListLinksRequest { store_id: store_id.to_owned(), ..ListLinksRequest::default() };
        let links = RouterServiceClient::new(self.router()?).list_links(request).await?.into_inner().links;
        links.into_iter().next().ok_or_else(|| anyhow::anyhow!("{store_id} has no link"))
    }

    /// Waits until the link is in this state.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn link_is(&self, store_id: &str, state: LinkState) -> Link {
        let told = async || self.link(store_id).await.ok().filter(|link| link.state() == state);
        eventually(&format!("the link of {store_id} is {}", state.as_str_name()), told).await
    }

    /// A gate of a store as an order replica has it.
    ///
    /// # Errors
    /// When the replica does not answer, or knows none.
    pub async fn gate_at(&self, replica: usize, store_id: &str, product: Product) -> Result<Gate> {
        let request = GetGatesRequest { store_id: store_id.to_owned() };
        let gates = OrderServiceClient::new(self.order(replica)?).get_gates(request).await?.into_inner().gates;
        let gate = gates.into_iter().find(|gate| gate.product() == product);
        gate.ok_or_else(|| anyhow::anyhow!("{store_id} has no gate for {}", product.as_str_name()))
    }

    /// Waits until the gate is in this state on every order replica; as the last of them tells it.
    ///
    /// # Panics
    /// When it does not come to that.
    pub async fn gate_is(&self, store_id: &str, product: Product, state: GateState) -> Gate {
        let mut last = Gate::default();
        for replica in 0..self.order_addresses().len() {
            let told =
                async || self.gate_at(replica, store_id, product).await.ok().filter(|gate| gate.state() == state);
            let what = format!("the gate of {store_id} is {} on replica {replica}", state.as_str_name());
            last = eventually(&what, told).await;
        }
        last
    }
}

/// What happens when: printed line by line.
#[derive(Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts, and prints why.
    pub fn start(what: impl fmt::Display) -> Self {
        println!("{what}");
        Self(Instant::now())
    }

    /// Prints what happens now.
    pub fn note(&self, what: impl fmt::Display) {
        println!("{:>9.2} s  {what}", self.0.elapsed().as_secs_f64());
    }

    /// The time since it was started, in seconds.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
