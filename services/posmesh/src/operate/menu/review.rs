//! `posmesh menu review`: items that nobody sells until a person has looked at them.

use clap::Args;
use posmesh_proto::catalog::v1::{
    CatalogChange, ItemToReview, ListItemsToReviewRequest, ListItemsToReviewResponse, ReviewItemsRequest,
};

use super::{Client, Language, StoreName, refused, soon};
use crate::operate::table::table;

/// Items of a page, and of a word.
const PAGE: i32 = 500;

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    store: StoreName,
    /// Ids of items that somebody has looked at.
    #[arg(value_name = "ITEM", requires = "by")]
    items: Vec<String>,
    /// Somebody has looked at all that are listed.
    #[arg(long, conflicts_with = "items", requires = "by")]
    all: bool,
    /// The version in which they were looked at, as the list says; else the current one.
    #[arg(long, value_name = "VERSION")]
    seen: Option<i64>,
    /// Who has looked at them.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    language: Language,
}

pub(super) async fn run(client: Client, options: &Options) -> anyhow::Result<String> {
    let (version, listed) = list(client.clone(), options).await?;
    let store_id = &options.store.store_id;
    let ids: Vec<String> = match options.all {
        true => listed.iter().map(|waits| waits.item_id.clone()).collect(),
        false => options.items.clone(),
    };
    let Some(by) = options.by.as_ref().filter(|_| options.all || !ids.is_empty()) else {
        return Ok(shown(store_id, version, &listed));
    };
    for ids in ids.chunks(PAGE.unsigned_abs() as usize) {
        let (store_id, item_ids, by) = (store_id.clone(), ids.to_vec(), by.clone());
        let request = ReviewItemsRequest { store_id, item_ids, version: options.seen.unwrap_or(version), by };
        client.clone().review_items(soon(request)).await.map_err(refused)?;
    }
    Ok(format!("{store_id}: {} reviewed.\n", count(ids.len())))
}

/// The current version, and all that waits in it.
async fn list(mut client: Client, options: &Options) -> anyhow::Result<(i64, Vec<ItemToReview>)> {
    let mut request = ListItemsToReviewRequest {
        store_id: options.store.store_id.clone(),
        page_size: PAGE,
        page_token: String::new(),
        locale: options.language.locale.clone(),
    };
    let (mut first, mut listed) = (None, Vec::new());
    loop {
        let page = client.list_items_to_review(soon(request.clone())).await.map_err(refused)?.into_inner();
        let ListItemsToReviewResponse { items, next_page_token, version } = page;
        listed.extend(items);
        // What changes while the pages come counts as not seen.
        let version = *first.get_or_insert(version);
        if next_page_token.is_empty() {
            return Ok((version, listed));
        }
        request.page_token = next_page_token;
    }
}

fn shown(store_id: &str, version: i64, listed: &[ItemToReview]) -> String {
    if listed.is_empty() {
        return format!("{store_id}, version {version}: nothing waits for a review.\n");
    }
    let text = |change: &CatalogChange| change.text.clone();
    let row = |waits: &ItemToReview| {
        let changes: Vec<String> = waits.changes.iter().map(text).collect();
        [waits.item_id.clone(), waits.since_version.to_string(), changes.join("; ")]
    };
    let rows: Vec<_> = listed.iter().map(row).collect();
    let head = format!("{store_id}, version {version}: {} not sold until reviewed\n", count(listed.len()));
    format!("{head}{}", table(["ITEM", "SINCE VERSION", "WHAT CHANGED"], &rows))
}

fn count(items: usize) -> String {
    if items == 1 { "1 item".to_owned() } else { format!("{items} items") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_listed_with_what_changed_in_one_line_each() {
        let change = |text: &str| CatalogChange { text: text.to_owned(), ..Default::default() };
        let beer = ItemToReview {
            item_id: "beer".to_owned(),
            since_version: 7,
            changes: vec![change("Beer: price 545 → 600"), change("Beer: tax class food → drink")],
            ..Default::default()
        };
        let expected = "shibuya, version 8: 1 item not sold until reviewed\n\
                        ITEM  SINCE VERSION  WHAT CHANGED\n\
                        beer  7              Beer: price 545 → 600; Beer: tax class food → drink\n";
        assert_eq!(shown("shibuya", 8, &[beer]), expected);
        assert_eq!(shown("shibuya", 8, &[]), "shibuya, version 8: nothing waits for a review.\n");
    }
}
