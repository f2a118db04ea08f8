//! Installs, once, and starts the real programs that posmesh is tested against.
//!
//! A test that needs PostgreSQL or Odoo starts its own: on a free loopback port, with its own data, waiting until it
//! answers. It is stopped and its data removed when the value is dropped, and also when the test process is killed.
//!
//! What has to be fetched is fetched once, from the package sources that the machine itself is configured with (apt
//! and pip), and kept in the [cache directory](cache_dir) for every later run and every clone.
//!
//! By hand: `cargo run -p posmesh-counterparts -- odoo`.

mod cache;
mod command;
mod debian;
mod guard;
mod odoo;
mod port;
mod postgres;
mod python;
mod user;

pub use cache::cache_dir;
pub use odoo::{ADMIN_LOGIN, ADMIN_PASSWORD, Odoo, RESTAURANT};
pub use port::free as free_port;
pub use postgres::Postgres;

/// Tells the person who waits, on stderr, what is being waited for.
fn progress(what: &str) {
    eprintln!("counterparts: {what}");
}
