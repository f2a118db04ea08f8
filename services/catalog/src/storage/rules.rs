//! The rules of publishing, the same on every storage: from what stands at the head of a store's versions to what is
//! written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use posmesh_kit::time;
use posmesh_proto::{
    catalog::v1::{Availability, AvailabilitySource, Catalog, CatalogVersion, Decision, SyncRun},
    store::v1::ChangedItems,
};

use super::{Content, Judged, Said};
use crate::domain;

/// What stands at the head of a store's versions.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// The current version and the hash of its content.
    pub(super) current: Option<(i64, Vec<u8>)>,
    pub(super) held: Option<Held>,
}

/// A snapshot that is held back.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Empty: refused by a rollback.
    pub(super) run_id: String,
    pub(super) hash: Vec<u8>,
    /// `None`: it waits for approval.
    pub(super) refusal: Option<Decision>,
}

/// What one transaction writes.
#[derive(Debug)]
pub(super) struct Writes {
    /// The run that it is about, as it ends.
    pub(super) run: Option<SyncRun>,
    pub(super) version: Option<NewVersion>,
    pub(super) held: HeldChange,
    /// The run that waited until now, and the one in its place.
    pub(super) superseded: Option<(String, String)>,
}

#[derive(Debug)]
pub(super) struct NewVersion {
    pub(super) version: i64,
    pub(super) summary: CatalogVersion,
    pub(super) catalog: Catalog,
    pub(super) hash: Vec<u8>,
    pub(super) changed: Changed,
}

/// What becomes of items that are new in a version or look otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// They wait for a review.
    Wait,
    /// Only those wait on that did before.
    WaitNoMoreThanBefore,
    /// They are sold, and so is what waited until now.
    AreSold,
}

impl From<ChangedItems> for Changed {
    fn from(policy: ChangedItems) -> Self {
        match policy {
            ChangedItems::HideUntilReviewed => Self::Wait,
            ChangedItems::KeepVisible | ChangedItems::Unspecified => Self::AreSold,
        }
    }
}

#[derive(Debug)]
pub(super) enum HeldChange {
    Keep,
    Clear,
    /// The catalog is there while it waits.
    Hold(Held, Option<Arc<Catalog>>),
}

impl Head {
    fn version(&self) -> i64 {
        self.current.as_ref().map_or(0, |(version, _)| *version)
    }

    /// The run that waits, and that `by` takes the place of.
    fn superseded(&self, by: &str) -> Option<(String, String)> {
        let waiting = self.held.as_ref().filter(|held| held.refusal.is_none())?;
        Some((waiting.run_id.clone(), by.to_owned()))
    }
    /// What is held back is so no more; where nothing is, nothing is written.
    fn no_longer_held(&self) -> HeldChange {
        if self.held.is_some() { HeldChange::Clear } else { HeldChange::Keep }
    }

    fn next(&self, content: Content, summary: CatalogVersion, changed: Changed) -> NewVersion {
        let version = self.version() + 1;
        let publish_time = Some(time::now());
        let counts = Some(domain::counts(&content.catalog));
        let content_hash = domain::shown_hash(&content.hash);
        let catalog = Catalog { version, publish_time, ..Arc::unwrap_or_clone(content.catalog) };
        let summary = CatalogVersion { version, publish_time, counts, content_hash, ..summary };
        NewVersion { version, summary, catalog, hash: content.hash, changed }
    }
}

/// How a run ends whose data is right. `None`: it was compared with another version than the current one.
pub(super) fn publication(run: &SyncRun, content: Content, head: &Head, judged: &Judged) -> Option<Writes> {
    let counts = domain::counts(&content.catalog);
    let run_id = &run.sync_run_id;
    let ends = |run| Writes { run: Some(run), version: None, held: HeldChange::Keep, superseded: None };
    if head.current.as_ref().is_some_and(|(_, hash)| *hash == content.hash) {
        let run = domain::succeeded(run.clone(), counts, head.version(), false);
        return Some(Writes { held: head.no_longer_held(), superseded: head.superseded(run_id), ..ends(run) });
    }
    if judged.base_version != head.current.as_ref().map(|(version, _)| *version) {
        return None;
    }
    let same = head.held.as_ref().filter(|held| held.hash == content.hash);
    if let Some(refusal) = same.and_then(|held| held.refusal.as_ref()) {
        return Some(ends(domain::rejected(run.clone(), counts, refusal)));
    }
    if judged.suspicions.is_empty() {
        let summary = CatalogVersion { sync_run_id: run_id.clone(), ..Default::default() };
        let version = head.next(content, summary, judged.changed_items.into());
        let run = domain::succeeded(run.clone(), counts, version.version, true);
        let superseded = head.superseded(run_id);
        return Some(Writes { version: Some(version), held: head.no_longer_held(), superseded, ..ends(run) });
    }
    if let Some(waiting) = same {
        return Some(ends(domain::waits_already(run.clone(), counts, head.version(), &waiting.run_id)));
    }
    let held = Held { run_id: run_id.clone(), hash: content.hash, refusal: None };
    let run = domain::waiting(run.clone(), counts, judged.suspicions.clone());
    let held = HeldChange::Hold(held, Some(content.catalog));
    Some(Writes { held, superseded: head.superseded(run_id), ..ends(run) })
}

/// Whether it is this run whose snapshot waits.
pub(super) fn waits<'h>(head: &'h Head, run_id: &str) -> Option<&'h Held> {
    head.held.as_ref().filter(|held| held.refusal.is_none() && held.run_id == run_id)
}

/// What waited is published.
pub(super) fn approval(
    run: SyncRun,
    (held, catalog): (&Held, Catalog),
    head: &Head,
    decision: &Decision,
    changed: ChangedItems,
) -> Writes {
    let content = Content { catalog: Arc::new(catalog), hash: held.hash.clone() };
    let sync_run_id = run.sync_run_id.clone();
    let summary = CatalogVersion { sync_run_id, decision: Some(decision.clone()), ..Default::default() };
    let version = head.next(content, summary, changed.into());
    let run = domain::decided(run, decision.clone(), Some(version.version));
    Writes { run: Some(run), version: Some(version), held: HeldChange::Clear, superseded: None }
}

/// What waited is refused, and the same content will be.
pub(super) fn refusal(run: SyncRun, held: &Held, decision: &Decision) -> Writes {
    let held = Held { refusal: Some(decision.clone()), ..held.clone() };
    let run = domain::decided(run, decision.clone(), None);
    Writes { run: Some(run), version: None, held: HeldChange::Hold(held, None), superseded: None }
}

/// The content of a version is current again. `None`: it is.
pub(super) fn rollback(target: Catalog, head: &Head, decision: &Decision) -> Option<Writes> {
    let restored_version = target.version;
    let content = Content::new(Catalog { version: 0, publish_time: None, ..target });
    let (_, current) = head.current.as_ref()?;
    if *current == content.hash {
        return None;
    }
    let held = Held { run_id: String::new(), hash: current.clone(), refusal: Some(decision.clone()) };
    let summary = CatalogVersion { restored_version, decision: Some(decision.clone()), ..Default::default() };
    Some(Writes {
        run: None,
        version: Some(head.next(content, summary, Changed::WaitNoMoreThanBefore)),
        held: HeldChange::Hold(held, None),
        superseded: head.superseded(""),
    })
}

/// A word about availability that is news.
#[derive(Debug)]
pub(super) enum WordChange<'a> {
    /// Takes the place of the one before.
    Say(&'a Availability),
    /// Takes back what was said.
    Unsay(&'a Availability),
}

impl<'a> WordChange<'a> {
    /// What is said, or taken back.
    pub(super) fn word(&self) -> &'a Availability {
        match self {
            Self::Say(word) | Self::Unsay(word) => word,
        }
    }
}

/// Where a word stands among those of a store: group, thing, source.
pub(super) type Place = (String, String, i64);

/// What stood at a place before a revision changed it.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) revision: i64,
    pub(super) place: Place,
    /// `None`: nothing was said.
    pub(super) before: Option<Availability>,
}

pub(super) fn place(word: &Availability) -> Place {
    let (group_id, thing_id) = thing(word);
    (group_id.to_owned(), thing_id.to_owned(), word.source.into())
}

/// What was said at the first of two revisions: what is said now, with each later change undone, the newest first.
/// `None`: of a revision up to the second one no change is known.
pub(super) fn words_at(
    (revision, current): (i64, i64),
    now: Vec<Availability>,
    later: Vec<Undo>,
) -> Option<Vec<Availability>> {
    let known: BTreeSet<i64> = later.iter().map(|undo| undo.revision).collect();
    if !(revision + 1..=current).all(|revision| known.contains(&revision)) {
        return None;
    }
    let mut words: BTreeMap<Place, Availability> = now.into_iter().map(|word| (place(&word), word)).collect();
    for Undo { place, before, .. } in later {
        match before {
            Some(word) => words.insert(place, word),
            None => words.remove(&place),
        };
    }
    Some(words.into_values().collect())
}

/// What is said already where a word is to stand.
pub(super) fn known<'a>(before: &'a [Availability], word: &Availability) -> Option<&'a Availability> {
    before.iter().find(|known| known.source == word.source && thing(known) == thing(word))
}

/// What a word is about: a group, empty for an item, and the item or the choice.
pub(super) fn thing(word: &Availability) -> (&str, &str) {
    let id = if word.item_id.is_empty() { &word.modifier_id } else { &word.item_id };
    (&word.group_id, id)
}

/// What of it is news.
pub(super) fn news<'a>(before: &'a [Availability], said: &'a Said) -> Vec<WordChange<'a>> {
    let of = |source| move |word: &&Availability| word.source() == source;
    let find = |words: &'a [Availability], about: &Availability, source| {
        words.iter().filter(of(source)).find(|word| thing(word) == thing(about))
    };
    let is_news = |word: &Availability, known: Option<&Availability>| {
        known.is_none_or(|known| Availability { time: word.time, ..known.clone() } != *word)
    };
    match said {
        Said::Staff(word) => {
            let known = find(before, word, AvailabilitySource::Staff);
            match (word.available, known) {
                (true, known) => known.map(WordChange::Unsay).into_iter().collect(),
                (false, known) if is_news(word, known) => vec![WordChange::Say(word)],
                (false, _) => Vec::new(),
            }
        }
        Said::Pos(words) | Said::Counted(words) => {
            let counts_alone = matches!(said, Said::Counted(_));
            let before_of_pos = before.iter().filter(of(AvailabilitySource::Pos));
            let replaced = before_of_pos.filter(move |known| !counts_alone || known.remaining.is_some());
            let gone = replaced.filter(|known| find(words, known, AvailabilitySource::Pos).is_none());
            let new = words.iter().filter(|word| is_news(word, find(before, word, AvailabilitySource::Pos)));
            gone.map(WordChange::Unsay).chain(new.map(WordChange::Say)).collect()
        }
    }
}
