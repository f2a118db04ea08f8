//! What every storage must do with overlays.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use posmesh_proto::{catalog::v1::Overlay, common::v1::LocalizedText};

use super::{OverlaySet, ScopeKey, Written};
use crate::storage::{
    MemoryStorage,
    contract::{Subject, contract, on_database},
};

contract! {
    what_was_put_is_read_back_with_its_revision,
    of_two_who_change_the_same_only_the_first_is_kept_and_the_other_is_told,
    a_put_that_is_repeated_writes_nothing,
    what_was_deleted_is_gone_and_what_was_changed_meanwhile_stays,
    each_write_moves_the_revision_of_its_scope_alone,
    a_store_or_brand_whose_overlays_changed_is_told_with_its_revision,
    of_many_who_write_at_once_no_write_is_lost,
    whether_a_store_takes_prices_is_news_only_when_it_changes,
}

fn scope(tenant_id: &str, scope: &str) -> ScopeKey {
    ScopeKey { tenant_id: tenant_id.into(), scope: scope.into() }
}

fn shibuya() -> ScopeKey {
    scope("brand", "store/shibuya")
}

fn named(name: &str, revision: i64) -> Overlay {
    let texts = [("en".to_owned(), name.to_owned())].into();
    Overlay { name: Some(LocalizedText { texts }), by: "Aiko".to_owned(), revision, ..Default::default() }
}

async fn put(storage: &Subject, subject: &str, overlay: &Overlay) -> Overlay {
    match storage.put_overlay(&shibuya(), subject, overlay).await.unwrap() {
        Written::Done(overlay) => *overlay,
        other => panic!("{other:?}"),
    }
}

async fn what_was_put_is_read_back_with_its_revision(storage: Subject) {
    assert_eq!(storage.overlays(&shibuya()).await.unwrap(), OverlaySet::default());
    let tea = put(&storage, "item\ntea", &named("Tea", 0)).await;
    let cake = put(&storage, "item\ncake", &named("Cake", -1)).await;
    assert_eq!((tea.revision, cake.revision), (1, 2));
    assert_eq!(storage.overlay(&shibuya(), "item\ntea").await.unwrap(), Some(tea.clone()));
    assert_eq!(storage.overlay(&shibuya(), "item\npie").await.unwrap(), None);
    let all = storage.overlays(&shibuya()).await.unwrap();
    let expected = vec![("item\ncake".to_owned(), cake), ("item\ntea".to_owned(), tea)];
    assert_eq!((all.revision, all.price_refusal, all.overlays), (2, None, expected));
    for other in [scope("brand", "brand/shibuya"), scope("other", "store/shibuya")] {
        assert_eq!(storage.overlays(&other).await.unwrap(), OverlaySet::default());
        assert_eq!(storage.overlay(&other, "item\ntea").await.unwrap(), None);
    }
}

async fn of_two_who_change_the_same_only_the_first_is_kept_and_the_other_is_told(storage: Subject) {
    let first = put(&storage, "item\ntea", &named("Tea", 0)).await;
    let late = storage.put_overlay(&shibuya(), "item\ntea", &named("Chai", 0)).await.unwrap();
    assert_eq!(late, Written::Conflict { current: first.revision });
    let second = put(&storage, "item\ntea", &named("Chai", first.revision)).await;
    let late = storage.put_overlay(&shibuya(), "item\ntea", &named("Oolong", first.revision)).await.unwrap();
    assert_eq!(late, Written::Conflict { current: second.revision });
    let gone = storage.put_overlay(&shibuya(), "item\npie", &named("Pie", 1)).await.unwrap();
    assert_eq!(gone, Written::Conflict { current: 0 });
    assert_eq!(storage.overlay(&shibuya(), "item\ntea").await.unwrap(), Some(second));
}

async fn a_put_that_is_repeated_writes_nothing(storage: Subject) {
    let first = put(&storage, "item\ntea", &named("Tea", 0)).await;
    let again = storage.put_overlay(&shibuya(), "item\ntea", &named("Tea", 0)).await.unwrap();
    assert_eq!(again, Written::Same(Box::new(first)));
    assert_eq!(storage.overlays(&shibuya()).await.unwrap().revision, 1);
}

async fn what_was_deleted_is_gone_and_what_was_changed_meanwhile_stays(storage: Subject) {
    let tea = put(&storage, "item\ntea", &named("Tea", 0)).await;
    assert_eq!(storage.delete_overlay(&shibuya(), "item\ntea", 7).await.unwrap(), Some(tea.revision));
    assert_eq!(storage.delete_overlay(&shibuya(), "item\ntea", tea.revision).await.unwrap(), None);
    assert_eq!(storage.delete_overlay(&shibuya(), "item\ntea", tea.revision).await.unwrap(), None);
    assert_eq!(storage.overlay(&shibuya(), "item\ntea").await.unwrap(), None);
    // No revision comes twice: who knew the old one does not overwrite the new one.
    let anew = put(&storage, "item\ntea", &named("Chai", 0)).await;
    assert!(anew.revision > tea.revision + 1, "{}", anew.revision);
    assert_eq!(storage.delete_overlay(&shibuya(), "item\ntea", -1).await.unwrap(), None);
    assert_eq!(storage.overlays(&shibuya()).await.unwrap().overlays, []);
}

async fn each_write_moves_the_revision_of_its_scope_alone(storage: Subject) {
    let brand = scope("brand", "brand/izakaya");
    let revisions = async || storage.overlay_revisions(&shibuya(), &brand).await.unwrap();
    assert_eq!(revisions().await, (0, 0));
    put(&storage, "item\ntea", &named("Tea", 0)).await;
    storage.put_overlay(&brand, "code\n1", &named("Tea", 0)).await.unwrap();
    storage.put_overlay(&brand, "code\n2", &named("Tea", 0)).await.unwrap();
    assert_eq!(revisions().await, (1, 2));
    storage.delete_overlay(&brand, "code\n1", -1).await.unwrap();
    assert_eq!(revisions().await, (1, 3));
}

async fn a_store_or_brand_whose_overlays_changed_is_told_with_its_revision(storage: Subject) {
    let (brand, day) = (scope("brand", "brand/izakaya"), Duration::from_secs(86_400));
    let changed = async || {
        let mut changed = storage.changed_overlays(day).await.unwrap();
        changed.sort();
        changed
    };
    assert_eq!(changed().await, []);
    put(&storage, "item\ntea", &named("Tea", 0)).await;
    storage.note_price_refusal(&brand, "").await.unwrap();
    assert_eq!(changed().await, [(brand.clone(), 1), (shibuya(), 1)]);
    storage.delete_overlay(&shibuya(), "item\ntea", -1).await.unwrap();
    storage.note_price_refusal(&brand, "").await.unwrap();
    assert_eq!(changed().await, [(brand, 1), (shibuya(), 2)]);
}

async fn of_many_who_write_at_once_no_write_is_lost(storage: Subject) {
    let puts = (0..20).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            let subject = format!("item\n{}", number % 10);
            storage.put_overlay(&shibuya(), &subject, &named(&number.to_string(), 0)).await.unwrap()
        })
    });
    let written = futures_util::future::join_all(puts).await;
    let done = written.iter().filter(|written| matches!(written, Ok(Written::Done(_)))).count();
    let all = storage.overlays(&shibuya()).await.unwrap();
    assert_eq!((done, all.overlays.len(), all.revision), (10, 10, 10));
}

async fn whether_a_store_takes_prices_is_news_only_when_it_changes(storage: Subject) {
    for (refusal, revision) in [("computes its own", 1), ("computes its own", 1), ("", 2), ("", 2)] {
        storage.note_price_refusal(&shibuya(), refusal).await.unwrap();
        let all = storage.overlays(&shibuya()).await.unwrap();
        assert_eq!((all.price_refusal.as_deref(), all.revision), (Some(refusal), revision));
    }
    assert_eq!(put(&storage, "item\ntea", &named("Tea", 0)).await.revision, 3);
}
