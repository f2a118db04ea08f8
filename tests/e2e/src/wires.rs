//! The wires of a mesh whose processes reach each other through proxies, so that a test can cut each.

use std::net::SocketAddr;

use anyhow::Result;

use crate::{Proxy, launch::Ports};

/// One way from a process, or a kind of processes, to a server.
#[derive(Debug)]
pub struct Wire {
    /// Who calls: the name of a process, or of its kind where all of them share the wire.
    pub from: String,
    /// Who is called: the name of a process, or `database`.
    pub to: String,
    /// What stands between them.
    pub proxy: Proxy,
    target: SocketAddr,
}

/// All of them; empty where processes reach each other directly.
#[derive(Debug, Default)]
pub(crate) struct Wires(pub(crate) Vec<Wire>);

impl Wires {
    /// From the gateway to each order replica, from each of those to each router replica, from the routers to each
    /// adapter, and from each process that has a database to it.
    pub(crate) async fn lay(ports: &Ports, database: SocketAddr) -> Result<Self> {
        let mut wires = Self::default();
        let named = |kind: &'static str, at: usize| format!("{kind}-{}", at + 1);
        for (at, order) in ports.orders.iter().enumerate() {
            wires.add("gateway", &named("order", at), *order).await?;
            for (to, router) in ports.routers.iter().enumerate() {
                wires.add(&named("order", at), &named("router", to), *router).await?;
            }
            wires.add(&named("order", at), DATABASE, database).await?;
        }
        for (at, _) in ports.routers.iter().enumerate() {
            wires.add(&named("router", at), DATABASE, database).await?;
        }
        for (at, adapter) in ports.adapters.iter().enumerate() {
            wires.add("router", &named("adapter-simulator", at), *adapter).await?;
        }
        for service in ["store", "catalog"] {
            wires.add(service, DATABASE, database).await?;
        }
        Ok(wires)
    }

    async fn add(&mut self, from: &str, to: &str, target: SocketAddr) -> Result<()> {
        let proxy = Proxy::before(target).await?;
        self.0.push(Wire { from: from.to_owned(), to: to.to_owned(), proxy, target });
        Ok(())
    }

    /// Where a process finds a server: at the end of their wire, or directly where there is none.
    pub(crate) fn via(&self, from: &str, target: SocketAddr) -> SocketAddr {
        let wire = self.0.iter().find(|wire| wire.from == from && wire.target == target);
        wire.map_or(target, |wire| wire.proxy.address())
    }
}

const DATABASE: &str = "database";
