//! The rules of one connection's link: what each thing that is seen of a POS makes of it, and when to look again.
//!
//! One failure proves nothing: packets get lost. So failures have weights, and the link is OFFLINE when those since the last
//! success come to [`THRESHOLD`]: one failed order and one probe that confirms it, two probes that were refused, or four
//! that were lost. Back ONLINE it is when two probes in a row are answered well, or an order is placed. Where nobody may look,
//! OFFLINE ends by itself after a while, so that an order may try; unless the vendor said it, who also says when it is over.

mod pace;
#[cfg(test)]
mod tests;
mod tracker;

pub(crate) use pace::Pace;
pub(crate) use tracker::{Fault, Seen, Tracker, Weight, first_version, of_connection};

/// Failures that come to this make a link OFFLINE.
const THRESHOLD: u8 = 4;

/// Answered probes that bring a link back.
const PROBES_TO_RETURN: u8 = 2;

/// What is said of a fault may change, without the fault: so often others are told.
const REWORDED_EVERY_MS: u64 = 60_000;

/// Answered probes are counted so far.
const PROBES_COUNTED: i32 = 5;
