//! The rules: which connection serves what, which instance serves a connection, what may be registered, and what is
//! known of a connection's link. Pure.

mod check;
pub(crate) mod link;
mod pos;
mod rendezvous;
mod schema;
mod selection;

pub(crate) use check::{check_connection, check_credentials, check_registration};
pub(crate) use pos::{is_same_pos, pos_revision};
pub(crate) use rendezvous::rank;
pub(crate) use schema::check_settings;
pub(crate) use selection::{overlaps, select};
