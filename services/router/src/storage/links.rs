//! What is kept of links.

use posmesh_kit_db::{StorageError, decode};
use posmesh_proto::router::v1::{Link, LinkEvent};

/// Changes of one link that are kept at least.
pub(super) const KEPT_EVENTS: i64 = 1000;
/// Older ones are removed with every so many changes.
pub(super) const FORGET_EVENTS_EVERY: i64 = 50;

/// A link as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLink {
    /// The number of its last write; numbers ascend over all tenants.
    pub change: i64,
    /// The brand owner.
    pub tenant_id: String,
    /// Counts the writes of this link.
    pub revision: i64,
    /// The connection's `pos_revision` that it is about.
    pub pos_revision: i64,
    /// The link.
    pub link: Link,
}

/// A link to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLink {
    /// The brand owner.
    pub tenant_id: String,
    /// The revision that it replaces; 0: there is none.
    pub replaces: i64,
    /// The connection's `pos_revision` that it is about.
    pub pos_revision: i64,
    /// The link.
    pub link: Link,
    /// What changed in its state or cause, if anything did.
    pub event: Option<LinkEvent>,
}

impl NewLink {
    /// As it is once it is written.
    pub(crate) fn stored(&self, change: i64) -> StoredLink {
        StoredLink {
            change,
            tenant_id: self.tenant_id.clone(),
            revision: self.replaces + 1,
            pos_revision: self.pos_revision,
            link: self.link.clone(),
        }
    }

    /// Whether it is time to forget its oldest events.
    pub(super) fn is_time_to_forget(&self) -> bool {
        self.event.as_ref().is_some_and(|event| event.version % FORGET_EVENTS_EVERY == 0)
    }
}

pub(super) type LinkRow = (i64, String, i64, i64, Vec<u8>);

pub(super) fn link((change, tenant_id, revision, pos_revision, document): LinkRow) -> Result<StoredLink, StorageError> {
    Ok(StoredLink { change, tenant_id, revision, pos_revision, link: decode(&document)? })
}
