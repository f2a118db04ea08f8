//! The whole mesh as real processes over real sockets, and what a test needs to use it: product backends' gRPC clients,
//! guests' HTTP, the POS's own journal, and faults on the wire.
//!
//! One suite runs on two [shapes](Shape): everything in one process on SQLite, and every service in its own process, two
//! replicas of those that have replicas, on PostgreSQL. Tests share one mesh per shape; each opens a [`Shop`] of its own in
//! it, a store with its own POS, so that they do not see each other. What kills or stops processes starts a mesh of its
//! own.
//!
//! Everything that is started ends with the test process, however that ends.

mod binaries;
mod folder;
mod gates;
mod http;
mod launch;
mod mesh;
mod operator;
mod otlp;
mod pos;
mod process;
pub mod provision;
mod proxy;
mod shop;
mod sse;
mod wait;
mod wires;

pub use binaries::binary;
pub use folder::Folder;
pub use gates::Stopwatch;
pub use http::{Answer, Http};
pub use launch::OPS_TOKEN;
pub use mesh::{Mesh, Options, Shape};
pub use operator::Said;
pub use otlp::{Collector, Distribution, SeenSpan};
pub use pos::{API_KEY, Pos};
pub use process::Process;
pub use proxy::Proxy;
pub use shop::{CURRENCY, Shop, line, refusal, sit_down, table_code, with};
pub use sse::{Event, Events};
pub use wait::{eventually, within};
pub use wires::Wire;

/// Runs each scenario, an `async fn(Shape)`, as a test on every shape.
#[macro_export]
macro_rules! on_both_shapes {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::Shape::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::Shape::Postgres).await;
            })+
        }
    };
}
