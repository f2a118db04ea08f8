//! Which POS a connection leads to.

use posmesh_proto::router::v1::Connection;

/// Whether two revisions of a connection lead to one POS: the same vendor and the same settings.
pub(crate) fn is_same_pos(a: &Connection, b: &Connection) -> bool {
    let settings = |c: &Connection| serde_json::from_str::<serde_json::Value>(&c.settings_json).ok();
    a.vendor == b.vendor && settings(a) == settings(b)
}

/// The first revision at which it led where it leads.
pub(crate) fn pos_revision(connection: &Connection) -> i64 {
    // One that was stored before this was told: nothing is known of its earlier revisions.
    if connection.pos_revision == 0 { connection.revision } else { connection.pos_revision }
}
