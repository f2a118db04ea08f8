//! What the whole mesh promises, on both shapes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod bad_master;
mod cancelling;
mod causes;
mod faults;
mod gates;
mod menu_times;
mod odoo;
mod orders;
mod outage;
mod overlays;
mod pickup;
mod polling;
mod raw;
mod reconciling;
mod replicas;
mod same_id;
mod service_charges;
mod stock_outs;
mod surface;
mod table_staff;
mod tables;
mod tracing;
mod watching;
