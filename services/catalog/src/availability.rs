//! Stock-outs, told beside the versions: what the staff say holds at once in every product and on every replica, is told to
//! the POS where that can be, and ends by itself when they said so.

use std::{sync::Arc, time::Duration};

use posmesh_kit::{Channel, backoff::delay_after, call, cause, server::Mounted};
use posmesh_proto::{
    adapter::v1::{
        CapabilitySupport, DescribeAdapterRequest, PosTarget, SetAvailabilityRequest as TellPos,
        pos_adapter_service_client::PosAdapterServiceClient, set_availability_response::Result as Told,
    },
    catalog::v1::{Availability, AvailabilitySource, PosTold, SetAvailabilityResponse},
};
use tonic::{Request, Status};

use crate::{
    error::Error,
    menus::Menus,
    storage::{Said, Storage, StoreKey},
};

/// How often words are ended whose time is over.
const ENDING_INTERVAL: Duration = Duration::from_millis(500);
const ENDING_TIMEOUT: Duration = Duration::from_secs(10);
/// So long the caller waits for the POS at most.
const POS_TIMEOUT: Duration = Duration::from_secs(8);
const CAPABILITY: &str = "SET_AVAILABILITY";

/// What a word is about.
fn thing(word: &Availability) -> [&str; 3] {
    [&word.item_id, &word.group_id, &word.modifier_id]
}

/// Takes words about what is sold out, and ends them in time.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    storage: Arc<dyn Storage>,
    menus: Arc<Menus>,
    pos: PosAdapterServiceClient<Channel>,
}

impl Stock {
    pub(crate) fn start(storage: Arc<dyn Storage>, menus: Arc<Menus>, router: Channel, mounted: &Mounted) -> Self {
        let stock = Self { storage, menus, pos: PosAdapterServiceClient::new(router) };
        let (ending, stop) = (stock.clone(), mounted.stop.clone());
        mounted.background.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ending.end_in_time() => {}
            }
        });
        stock
    }

    /// Notes the staff's word about a thing of the current version, then tells the POS.
    pub(crate) async fn say(&self, key: &StoreKey, word: Availability) -> Result<SetAvailabilityResponse, Error> {
        let in_version = self.in_version(key, &word).await?;
        if self.storage.say_availability(key, &Said::Staff(Box::new(word.clone()))).await? {
            self.menus.forget_head(key).await;
            let Availability { by, available, item_id, group_id, modifier_id, .. } = &word;
            tracing::info!(store.id = %key.store_id, by, available, item_id, group_id, modifier_id, "the staff said so");
        }
        let (pos, pos_note) = self.tell_pos(key, &word).await;
        let mut of_pos = self.storage.availability(key).await?;
        of_pos.retain(|word| word.source() == AvailabilitySource::Pos);
        if pos == PosTold::Done {
            let known = of_pos.iter().find(|known| thing(known) == thing(&word));
            // What is back although none was left is not counted until the POS says how many there are.
            let remaining = known.and_then(|known| known.remaining).filter(|left| *left > 0 || !word.available);
            of_pos.retain(|known| thing(known) != thing(&word));
            let says = Availability {
                source: AvailabilitySource::Pos.into(),
                by: String::new(),
                note: String::new(),
                remaining,
                ..word.clone()
            };
            of_pos.extend((word.available != in_version || remaining.is_some()).then_some(says));
            if self.storage.say_availability(key, &Said::Pos(of_pos.clone())).await? {
                self.menus.forget_head(key).await;
            }
        }
        let said = of_pos.iter().find(|known| thing(known) == thing(&word)).map(|known| known.available);
        let available = word.available && said.unwrap_or(in_version);
        Ok(SetAvailabilityResponse { available, pos: pos.into(), pos_note })
    }

    /// Whether the POS had the thing when the current version was pulled.
    async fn in_version(&self, key: &StoreKey, word: &Availability) -> Result<bool, Error> {
        let store_id = || key.store_id.to_string();
        let head = self.menus.head(key).await?.ok_or_else(|| Error::NotSynced { store_id: store_id() })?;
        let index = &self.menus.catalog(key, head.version).await?.index;
        let (what, id, known) = match word.item_id.as_str() {
            "" => {
                let known = index.modifier(&word.group_id, &word.modifier_id);
                ("choice", word.modifier_id.clone(), known.map(|modifier| modifier.available))
            }
            id => ("item", id.to_owned(), index.item(id).map(|item| item.available)),
        };
        known.ok_or_else(|| Error::ThingNotFound { store_id: store_id(), what, id })
    }

    /// Once: the word holds here whatever the POS answers, and whoever said it is told.
    async fn tell_pos(&self, key: &StoreKey, word: &Availability) -> (PosTold, String) {
        if word.available_again_time.is_some() {
            return (PosTold::NotTold, "the POS would not bring it back in time".to_owned());
        }
        let left = call::time_left().map_or(POS_TIMEOUT, |left| POS_TIMEOUT.min(left.mul_f64(0.8)));
        match tokio::time::timeout(left, self.try_tell_pos(key, word)).await {
            Ok(Ok(told)) => told,
            Ok(Err(status)) => (PosTold::Failed, status.message().to_owned()),
            Err(_) => (PosTold::Failed, "the POS did not answer in time".to_owned()),
        }
    }

    async fn try_tell_pos(&self, key: &StoreKey, word: &Availability) -> Result<(PosTold, String), Status> {
        let target = || Some(PosTarget { store_id: key.store_id.to_string(), ..PosTarget::default() });
        let mut pos = self.pos.clone();
        let described = pos.describe_adapter(Request::new(DescribeAdapterRequest { target: target() })).await?;
        let capabilities = described.into_inner().descriptor.unwrap_or_default().capabilities;
        let capability = capabilities.into_iter().find(|c| c.name == CAPABILITY).unwrap_or_default();
        if !matches!(capability.support(), CapabilitySupport::Native | CapabilitySupport::Emulated) {
            return Ok((PosTold::NotTold, capability.note));
        }
        let request = TellPos {
            target: target(),
            context: None,
            item_id: word.item_id.clone(),
            group_id: word.group_id.clone(),
            modifier_id: word.modifier_id.clone(),
            available: word.available,
        };
        Ok(match pos.set_availability(Request::new(request)).await?.into_inner().result {
            Some(Told::Set(_)) => (PosTold::Done, String::new()),
            Some(Told::Failed(failed)) if failed.cause == cause::NOT_SUPPORTED => (PosTold::NotTold, failed.message),
            Some(Told::Failed(failed)) => (PosTold::Failed, failed.message),
            None => (PosTold::Failed, "the adapter's answer says nothing that is known here".to_owned()),
        })
    }

    /// Ends words whose time is over, for ever. Each replica looks; who is first ends them for all.
    async fn end_in_time(&self) {
        loop {
            tokio::time::sleep(delay_after(ENDING_INTERVAL, ENDING_INTERVAL, 0)).await;
            match tokio::time::timeout(ENDING_TIMEOUT, self.storage.end_availability()).await {
                Ok(Ok(ended)) => {
                    for key in ended {
                        self.menus.forget_head(&key).await;
                        tracing::info!(store.id = %key.store_id, "what was sold out for a time is back");
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "what comes back by itself could not be looked for"),
                Err(_) => tracing::warn!("what comes back by itself could not be looked for: no answer"),
            }
        }
    }
}
