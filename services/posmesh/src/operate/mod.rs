//! The operator's verbs: they ask a running mesh and tell a person what it answers.

mod attention;
mod gate;
mod links;
mod menu;
mod reconcile;
mod table;

use anyhow::Context as _;
use clap::ValueEnum;
use posmesh_kit::{Channel, failure};
use posmesh_proto::{common::v1::Product, order::v1::order_service_client::OrderServiceClient};
use tonic::Status;

use crate::config::Config;

pub(crate) use attention::{Options as AttentionOptions, run as attention};
pub(crate) use gate::{Options as GateOptions, run as gate};
pub(crate) use links::{Options as LinksOptions, run as links};
pub(crate) use menu::{Options as MenuOptions, run as menu};
pub(crate) use reconcile::{Options as ReconcileOptions, run as reconcile};

/// For the largest answer that a service gives.
const MAX_ANSWER_BYTES: usize = posmesh_kit::server::MAX_MESSAGE_BYTES;

/// A way to the order service: where `peers.order` says, else the process that listens on this machine.
fn orders(config: &Config) -> anyhow::Result<OrderServiceClient<Channel>> {
    let client = OrderServiceClient::new(channel("peers.order", &config.peers.order, config)?);
    Ok(client.max_decoding_message_size(MAX_ANSWER_BYTES))
}

fn channel(key: &str, endpoints: &str, config: &Config) -> anyhow::Result<Channel> {
    let here = format!("http://{}", config.listen.grpc);
    let endpoints = if endpoints.is_empty() { &here } else { endpoints };
    Channel::remote(key, endpoints).with_context(|| format!("{key}: {endpoints} is no way to a service"))
}

/// A product as it is named on the command line.
#[derive(Clone, Copy, ValueEnum)]
enum ProductName {
    Table,
    Togo,
    Kiosk,
}

impl From<ProductName> for Product {
    fn from(name: ProductName) -> Self {
        match name {
            ProductName::Table => Self::Table,
            ProductName::Togo => Self::ToGo,
            ProductName::Kiosk => Self::Kiosk,
        }
    }
}

/// Why an answer or a stream ended.
fn why(status: Option<Status>) -> String {
    let Some(status) = status else { return "it was closed".to_owned() };
    match failure::reason(&status).as_str() {
        "" => status.message().to_owned(),
        reason => format!("{reason}: {}", status.message()),
    }
}

/// For people: `4 min`.
fn ago(ms: i64) -> String {
    match ms / 1000 {
        s @ ..60 => format!("{} s", s.max(0)),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..172_800 => format!("{} h {:02} min", s / 3600, s / 60 % 60),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago_is_said_in_the_unit_that_a_person_would_take() {
        let told: Vec<String> = [-5, 59_999, 60_000, 3_720_000, 259_200_000].map(ago).to_vec();
        assert_eq!(told, ["0 s", "59 s", "1 min", "1 h 02 min", "3 days"]);
    }
}
