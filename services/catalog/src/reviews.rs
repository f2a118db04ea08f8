//! Items that no product sells until a person has looked at them: listed with what changed, and let go by a word.

use std::sync::Arc;

use posmesh_kit::{Failure, ambient};
use posmesh_proto::{
    catalog::v1::{ItemToReview, ListItemsToReviewRequest, ListItemsToReviewResponse, ReviewItemsRequest},
    store::v1::{ChangedItems, Store},
};

use crate::{
    domain,
    error::Error,
    menus::Menus,
    request::{self, List, page, page_size},
    storage::{Reviewed, Storage, StoreKey},
};

/// Items of one word.
const MAX_ITEMS: usize = 500;

/// What a store wants for items that are new or look otherwise in a new version.
pub(crate) fn changed_items(store: &Store) -> ChangedItems {
    store.catalog_policy.as_ref().map(|policy| policy.changed_items()).unwrap_or_default()
}

pub(crate) struct Reviews {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) menus: Arc<Menus>,
}

impl Reviews {
    /// A page of what waits, as the current version has it.
    pub(crate) async fn list(
        &self,
        key: &StoreKey,
        store: &Store,
        request: ListItemsToReviewRequest,
    ) -> Result<ListItemsToReviewResponse, Error> {
        let size = page_size(request.page_size)?;
        let locale = request::locale(&request.locale)?.to_owned();
        let list = List { of: "items to review", store_id: &request.store_id };
        let after: String = list.place(&request.page_token)?.unwrap_or_default();
        let version = self.current(key).await?;
        let mut waiting = match changed_items(store) {
            ChangedItems::HideUntilReviewed => self.storage.items_to_review(key).await?,
            ChangedItems::KeepVisible | ChangedItems::Unspecified => Vec::new(),
        };
        waiting.retain(|waits| waits.item_id > after);
        waiting.truncate(size + 1);
        let current = Arc::clone(self.menus.catalog(key, version).await?.index.catalog());
        let locales: Vec<String> = std::iter::once(locale).chain(store.locales.iter().cloned()).collect();
        let told = ambient::blocking(move || domain::with_changes(&current, waiting, &locales)).await?;
        let (items, next_page_token) = page(told, size, &list, |waits: &ItemToReview| waits.item_id.clone());
        Ok(ListItemsToReviewResponse { items, next_page_token, version })
    }

    /// A person has looked at items as they are in a version.
    pub(crate) async fn review(&self, key: &StoreKey, request: ReviewItemsRequest) -> Result<(), Error> {
        let ReviewItemsRequest { store_id, item_ids, version, by } = request;
        let by = request::decision(by, String::new())?.by;
        if !(1..=MAX_ITEMS).contains(&item_ids.len()) {
            let message = format!("name 1 to {MAX_ITEMS} items");
            return Err(Failure::field("OUT_OF_RANGE", "item_ids", message).into());
        }
        let version = match request::version("version", version)? {
            0 => return Err(Failure::field("REQUIRED", "version", "say in which version they were looked at").into()),
            version => version,
        };
        let current = self.current(key).await?;
        if version > current {
            return Err(Error::VersionNotFound { store_id, version });
        }
        let index = Arc::clone(&self.menus.catalog(key, current).await?.index);
        if let Some(id) = item_ids.iter().find(|id| index.item(id).is_none()) {
            return Err(Error::ThingNotFound { store_id, what: "item", id: id.chars().take(128).collect() });
        }
        match self.storage.review_items(key, &item_ids, version).await? {
            Reviewed::Done => {
                self.menus.forget_head(key).await;
                tracing::info!(store.id = %store_id, by, version, "{} items were reviewed", item_ids.len());
                Ok(())
            }
            Reviewed::Nothing => Ok(()),
            Reviewed::ChangedSince { item_id } => Err(Error::ItemChanged { store_id, item_id, version }),
        }
    }

    /// The number of the current version, at this moment.
    async fn current(&self, key: &StoreKey) -> Result<i64, Error> {
        let head = self.storage.head(key).await?;
        Ok(head.ok_or_else(|| Error::NotSynced { store_id: key.store_id.to_string() })?.version)
    }
}
