//! The operator's verbs: they ask a running mesh and tell a person what it answers.

mod attention;
mod reconcile;
mod table;

use anyhow::Context as _;
use posmesh_kit::Channel;
use posmesh_proto::order::v1::order_service_client::OrderServiceClient;

use crate::config::Config;

pub(crate) use attention::{Options as AttentionOptions, run as attention};
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
