//! Overlays as they stand in a store.

use std::{collections::HashMap, sync::Arc};

use posmesh_kit::Failure;
use posmesh_pricing::localized;
use posmesh_proto::{
    catalog::v1::{ListOverlaysRequest, ListedOverlay, Overlay, OverlayModifier, overlay_subject::Subject},
    common::v1::LocalizedText,
    store::v1::Store,
};

use super::{
    Overlays,
    request::{self, Owner},
};
use crate::{
    domain::{OverlayMap, subject_key},
    error::Error,
    layers::Layers,
    menus::Ready,
    request::{List, page, page_size},
    storage::{ScopeKey, StoreKey},
};

/// Where the next page goes on.
fn place(listed: &ListedOverlay) -> String {
    let subject = listed.overlay.as_ref().and_then(|overlay| overlay.subject.as_ref()?.subject.as_ref());
    subject.map(subject_key).unwrap_or_default()
}

/// What overlays are judged by.
pub(super) struct Standing {
    store: Arc<Store>,
    /// `None` before the first version.
    current: Option<Arc<Ready>>,
    layers: Layers,
}

impl Overlays {
    /// A page, and the token of the next one.
    pub(crate) async fn list(&self, request: ListOverlaysRequest) -> Result<(Vec<ListedOverlay>, String), Error> {
        let size = page_size(request.page_size)?;
        let owner = request::owner(request.scope, "scope")?;
        let (of, id) = match &owner {
            Owner::Store(id) => ("store overlays", id.as_str()),
            Owner::Brand(id) => ("brand overlays", id.as_str()),
        };
        let list = List { of, store_id: id };
        let after: Option<String> = list.place(&request.page_token)?;
        let (scope, judged_in) = self.judged_in(&owner, &request.store_id).await?;
        if judged_in.is_none() && request.orphaned {
            let message = "say in which store: a brand's overlay may be an orphan in one and not in another";
            return Err(Failure::field("REQUIRED", "store_id", message).into());
        }
        let standing = match judged_in {
            Some((key, store)) => Some(self.standing(&key, store).await?),
            None => None,
        };
        let mut overlays: OverlayMap = self.storage.overlays(&scope).await?.overlays.into_iter().collect();
        if let Some(after) = after {
            overlays = overlays.split_off(&after);
            overlays.remove(&after);
        }
        let codes = standing.as_ref().map(Standing::codes).unwrap_or_default();
        let listed = overlays.into_values().map(|overlay| match &standing {
            Some(standing) => standing.listed(overlay, &codes),
            None => ListedOverlay { overlay: Some(overlay), ..Default::default() },
        });
        let listed = listed.filter(|listed| listed.orphaned || !request.orphaned).take(size + 1).collect();
        Ok(page(listed, size, &list, place))
    }

    /// The scope, and the store in which its overlays are judged.
    async fn judged_in(
        &self,
        owner: &Owner,
        store_id: &str,
    ) -> Result<(ScopeKey, Option<(StoreKey, Arc<Store>)>), Error> {
        let not_here = |message| Error::from(Failure::field("NOT_ALLOWED", "store_id", message));
        match owner {
            Owner::Store(id) if store_id.is_empty() || store_id == id => {
                let (key, store) = self.store(id).await?;
                Ok((ScopeKey::store(&key), Some((key, store))))
            }
            Owner::Store(_) => Err(not_here("a store's overlays stand in that store alone")),
            Owner::Brand(id) => {
                let scope = self.brand(id).await?;
                if store_id.is_empty() {
                    return Ok((scope, None));
                }
                let (key, store) = self.store(store_id).await?;
                if store.brand_id != *id {
                    return Err(not_here("the store is one of another brand"));
                }
                Ok((scope, Some((key, store))))
            }
        }
    }

    pub(super) async fn standing(&self, key: &StoreKey, store: Arc<Store>) -> Result<Standing, Error> {
        let current = match self.menus.current_version(key).await? {
            Some(version) => Some(self.menus.catalog(key, version).await?),
            None => None,
        };
        let layers = self.layers.at(key, &self.layers.mark(key, &store).await?).await?;
        Ok(Standing { store, current, layers })
    }
}

/// An item's name by its code.
type Codes<'a> = HashMap<&'a str, Option<&'a LocalizedText>>;

impl Standing {
    /// Whether the current version has what an overlay is about. `None`: there is no version.
    pub(super) fn has(&self, subject: &Subject) -> Option<bool> {
        self.current.as_ref().map(|_| self.name(subject, &self.codes()).is_some())
    }

    fn codes(&self) -> Codes<'_> {
        let items = self.current.iter().flat_map(|current| &current.index.catalog().items);
        items.filter(|item| !item.code.is_empty()).map(|item| (item.code.as_str(), item.name.as_ref())).collect()
    }

    fn listed(&self, overlay: Overlay, codes: &Codes<'_>) -> ListedOverlay {
        let subject = overlay.subject.as_ref().and_then(|subject| subject.subject.as_ref());
        let name = subject.and_then(|subject| self.name(subject, codes));
        ListedOverlay {
            orphaned: name.is_none(),
            subject_name: name.map(|name| localized(name, &self.store.locales).to_owned()).unwrap_or_default(),
            price_left_out: self.price_left_out(&overlay),
            overlay: Some(overlay),
        }
    }

    /// What the POS calls the subject. `None`: it is not in the current version.
    fn name<'a>(&'a self, subject: &Subject, codes: &Codes<'a>) -> Option<Option<&'a LocalizedText>> {
        let index = &self.current.as_ref()?.index;
        match subject {
            Subject::ItemId(id) => index.item(id).map(|item| item.name.as_ref()),
            Subject::Modifier(OverlayModifier { group_id, modifier_id }) => {
                index.modifier(group_id, modifier_id).map(|modifier| modifier.name.as_ref())
            }
            Subject::CategoryId(id) => {
                let category = index.catalog().categories.iter().find(|category| category.id == *id);
                category.map(|category| category.name.as_ref())
            }
            Subject::ItemCode(code) => codes.get(code.as_str()).copied(),
        }
    }

    fn price_left_out(&self, overlay: &Overlay) -> String {
        let mut currencies =
            overlay.products.iter().filter_map(|rules| rules.price.as_ref()).map(|price| price.currency_code.as_str());
        let Some(first) = currencies.clone().next() else { return String::new() };
        let ours = &self.store.currency_code;
        if currencies.all(|currency| currency != ours) {
            return format!("the store works in {ours}, the price is in {first}");
        }
        self.layers.price_refusal().to_owned()
    }
}
