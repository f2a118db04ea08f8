//! `posmesh menu overlay`: what people lay over the menus of a store, or of a brand's stores.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use posmesh_kit::failure;
use posmesh_pricing::shown_amount;
use posmesh_proto::{
    catalog::v1::{
        DeleteOverlayRequest, GetOverlayRequest, Image, ListOverlaysRequest, ListedOverlay, Overlay, OverlayModifier,
        OverlayScope, OverlaySubject, ProductOverlay, PutOverlayRequest, overlay_scope::Scope,
        overlay_subject::Subject,
    },
    common::v1::{LocalizedText, Money, Product},
};

use super::{Client, Person, refused, report, show, soon};
use crate::operate::{ProductName, table::table};

/// Overlays of a page.
const PAGE: i32 = 500;
/// Whatever is there.
const ANY_REVISION: i64 = -1;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Lists what is laid over the menus, and how it stands.
    List {
        #[command(flatten)]
        owner: Owner,
        /// Of a brand's: how they stand in this store.
        #[arg(long = "in", value_name = "STORE", default_value = "")]
        store_id: String,
        /// Only those whose item, choice or heading is not in the menu.
        #[arg(long)]
        orphaned: bool,
    },
    /// Lays something over an item, a choice or a heading; what was laid over it before and is not named stays.
    Put {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        edits: Box<Edits>,
        #[command(flatten)]
        person: Person,
    },
    /// Takes it away: what the POS says counts again.
    Delete {
        #[command(flatten)]
        owner: Owner,
        #[command(flatten)]
        about: About,
        /// Who does it.
        #[arg(long, value_name = "NAME")]
        by: String,
    },
}

#[derive(Args)]
pub(super) struct Owner {
    /// The store; with --brand, the brand.
    #[arg(value_name = "STORE")]
    id: String,
    /// STORE is a brand: for all of its stores.
    #[arg(long)]
    brand: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct About {
    /// Id of an item.
    #[arg(long, value_name = "ID")]
    item: Option<String>,
    /// A choice: the id of its question, and its own.
    #[arg(long, num_args = 2, value_names = ["GROUP", "ID"])]
    choice: Option<Vec<String>>,
    /// Id of a heading.
    #[arg(long, value_name = "ID")]
    category: Option<String>,
    /// Code of an item (PLU, SKU), with --brand.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
}

#[derive(Args)]
pub(super) struct Edits {
    /// Name in a language; with nothing after the "=", the POS's again.
    #[arg(long, value_name = "TAG=TEXT", value_parser = pair)]
    name: Vec<(String, String)>,
    /// Description in a language, likewise.
    #[arg(long, value_name = "TAG=TEXT", value_parser = pair)]
    description: Vec<(String, String)>,
    /// https address of a photo, in place of those before; the best first.
    #[arg(long, value_name = "URL")]
    image: Vec<String>,
    /// The product that the following are about; else all.
    #[arg(long, value_name = "NAME")]
    product: Option<ProductName>,
    /// Not sold there.
    #[arg(long, conflicts_with = "show")]
    hide: bool,
    /// Sold there, whatever the brand says.
    #[arg(long)]
    show: bool,
    /// Sold there at this price, in minor units, e.g. JPY=480.
    #[arg(long, value_name = "CURRENCY=AMOUNT", value_parser = money)]
    price: Option<Money>,
    /// Its place there; the least first.
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    sort_order: Option<i32>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as TAG=TEXT, e.g. en=\"Grilled eel\"")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn money(text: &str) -> Result<Money, String> {
    let parsed = text.split_once('=').and_then(|(code, amount)| Some((code, amount.parse().ok()?)));
    let (currency_code, amount) = parsed.ok_or("write it as CURRENCY=AMOUNT in minor units, e.g. JPY=480")?;
    Ok(Money { currency_code: currency_code.to_owned(), amount })
}

impl Owner {
    fn scope(&self) -> OverlayScope {
        let id = self.id.clone();
        OverlayScope { scope: Some(if self.brand { Scope::BrandId(id) } else { Scope::StoreId(id) }) }
    }
}

impl About {
    fn subject(&self) -> anyhow::Result<OverlaySubject> {
        let subject = match (&self.item, self.choice.as_deref(), &self.category, &self.code) {
            (Some(id), ..) => Subject::ItemId(id.clone()),
            (_, Some([group_id, modifier_id]), ..) => {
                let (group_id, modifier_id) = (group_id.clone(), modifier_id.clone());
                Subject::Modifier(OverlayModifier { group_id, modifier_id })
            }
            (_, _, Some(id), _) => Subject::CategoryId(id.clone()),
            (_, _, _, Some(code)) => Subject::ItemCode(code.clone()),
            _ => bail!("name an item, a choice, a heading or a code"),
        };
        Ok(OverlaySubject { subject: Some(subject) })
    }
}

impl Edits {
    fn apply(&self, overlay: &mut Overlay) {
        lay(&mut overlay.name, &self.name);
        lay(&mut overlay.description, &self.description);
        if !self.image.is_empty() {
            let image = |url: &String| Image { url: url.clone(), alt_text: None };
            overlay.images = self.image.iter().map(image).collect();
        }
        let hidden = (self.hide || self.show).then_some(self.hide);
        if hidden.is_none() && self.price.is_none() && self.sort_order.is_none() {
            return;
        }
        let product = self.product.map_or(Product::Unspecified, Product::from);
        let place = overlay.products.iter().position(|rules| rules.product() == product).unwrap_or_else(|| {
            overlay.products.push(ProductOverlay { product: product.into(), ..Default::default() });
            overlay.products.len() - 1
        });
        let rules = &mut overlay.products[place];
        rules.hidden = hidden.or(rules.hidden);
        rules.sort_order = self.sort_order.or(rules.sort_order);
        rules.price = self.price.clone().or_else(|| rules.price.take());
    }
}

fn lay(text: &mut Option<LocalizedText>, edits: &[(String, String)]) {
    let mut texts = text.take().unwrap_or_default().texts;
    for (tag, value) in edits {
        texts.retain(|known, _| !known.eq_ignore_ascii_case(tag));
        if !value.is_empty() {
            texts.insert(tag.clone(), value.clone());
        }
    }
    *text = (!texts.is_empty()).then_some(LocalizedText { texts });
}

pub(super) async fn run(client: Client, verb: &Verb) -> anyhow::Result<String> {
    match verb {
        Verb::List { owner, store_id, orphaned } => Ok(shown(&list(client, owner, store_id, *orphaned).await?)),
        Verb::Put { owner, about, edits, person } => put(client, owner, about, edits, person).await,
        Verb::Delete { owner, about, by } => delete(client, owner, about, by).await,
    }
}

async fn list(mut client: Client, owner: &Owner, store_id: &str, orphaned: bool) -> anyhow::Result<Vec<ListedOverlay>> {
    let mut request = ListOverlaysRequest {
        scope: Some(owner.scope()),
        store_id: store_id.to_owned(),
        orphaned,
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut overlays = Vec::new();
    loop {
        let page = client.list_overlays(soon(request.clone())).await.map_err(refused)?.into_inner();
        overlays.extend(page.overlays);
        if page.next_page_token.is_empty() {
            return Ok(overlays);
        }
        request.page_token = page.next_page_token;
    }
}

async fn put(
    mut client: Client,
    owner: &Owner,
    about: &About,
    edits: &Edits,
    person: &Person,
) -> anyhow::Result<String> {
    let (scope, subject) = (Some(owner.scope()), Some(about.subject()?));
    let get = GetOverlayRequest { scope: scope.clone(), subject: subject.clone() };
    let mut overlay = match client.get_overlay(soon(get)).await {
        Ok(answer) => answer.into_inner().overlay.context("the catalog service sent no overlay")?,
        Err(status) if failure::reason(&status) == "OVERLAY_NOT_FOUND" => Overlay::default(),
        Err(status) => return Err(refused(status)),
    };
    edits.apply(&mut overlay);
    // With the revision that was read: what somebody else writes meanwhile is not lost.
    let overlay = Overlay { scope, subject, by: person.by.clone(), note: person.note.clone(), ..overlay };
    let answer = client.put_overlay(soon(PutOverlayRequest { overlay: Some(overlay) })).await.map_err(refused)?;
    let overlay = answer.into_inner().overlay.context("the catalog service sent no overlay")?;
    Ok(format!("{}, revision {}: {}\n", what(&overlay), overlay.revision, says(&overlay)))
}

async fn delete(mut client: Client, owner: &Owner, about: &About, by: &str) -> anyhow::Result<String> {
    let request = DeleteOverlayRequest {
        scope: Some(owner.scope()),
        subject: Some(about.subject()?),
        revision: ANY_REVISION,
        by: by.to_owned(),
    };
    client.delete_overlay(soon(request)).await.map_err(refused)?;
    Ok("It is as the POS says again.\n".to_owned())
}

/// For a terminal.
fn shown(overlays: &[ListedOverlay]) -> String {
    if overlays.is_empty() {
        return "There are none.\n".to_owned();
    }
    let row = |listed: &ListedOverlay| {
        let overlay = listed.overlay.clone().unwrap_or_default();
        let written = report::at(overlay.update_time.as_ref());
        let mut says = says(&overlay);
        if listed.orphaned {
            says = format!("ORPHANED; {says}");
        }
        if !listed.price_left_out.is_empty() {
            says = format!("{says} (price left out: {})", listed.price_left_out);
        }
        [what(&overlay), listed.subject_name.clone(), format!("{written} {}", overlay.by), says]
    };
    table(["WHAT", "AT THE POS", "WRITTEN (UTC)", "SAYS"], &overlays.iter().map(row).collect::<Vec<_>>())
}

fn what(overlay: &Overlay) -> String {
    match overlay.subject.as_ref().and_then(|subject| subject.subject.as_ref()) {
        Some(Subject::ItemId(id)) => format!("item {id}"),
        Some(Subject::Modifier(choice)) => format!("choice {} {}", choice.group_id, choice.modifier_id),
        Some(Subject::CategoryId(id)) => format!("category {id}"),
        Some(Subject::ItemCode(code)) => format!("code {code}"),
        None => String::new(),
    }
}

fn says(overlay: &Overlay) -> String {
    let mut says = Vec::new();
    for (word, text) in [("name", &overlay.name), ("description", &overlay.description)] {
        let mut texts: Vec<_> = text.iter().flat_map(|text| &text.texts).collect();
        texts.sort();
        says.extend(texts.into_iter().map(|(tag, value)| format!("{word} {tag} {value:?}")));
    }
    match overlay.images.len() {
        0 => {}
        1 => says.push("1 image".to_owned()),
        count => says.push(format!("{count} images")),
    }
    for rules in &overlay.products {
        let product = match rules.product() {
            Product::Unspecified => "everywhere".to_owned(),
            product => format!("for {}", show::words(product.as_str_name(), "PRODUCT_")),
        };
        match rules.hidden {
            Some(true) => says.push(format!("hidden {product}")),
            Some(false) => says.push(format!("sold {product}")),
            None => {}
        }
        if let Some(price) = &rules.price {
            let amount = shown_amount(&price.currency_code, price.amount);
            says.push(format!("{} {amount} {product}", price.currency_code));
        }
        says.extend(rules.sort_order.map(|place| format!("place {place} {product}")));
    }
    says.join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use posmesh_kit::time;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(subcommand)]
        verb: Verb,
    }

    /// What is put where `before` was, as it is typed.
    fn typed(before: Overlay, arguments: &[&str]) -> Overlay {
        let start = ["posmesh", "put", "ueno", "--item", "7", "--by", "Aiko"];
        let Verb::Put { edits, about, .. } = Typed::parse_from(start.iter().chain(arguments)).verb else {
            panic!("put is put")
        };
        let mut overlay = Overlay { subject: Some(about.subject().unwrap()), ..before };
        edits.apply(&mut overlay);
        overlay
    }

    #[test]
    fn what_is_typed_is_laid_over_what_was_there() {
        let first = typed(Overlay::default(), &["--name", "en=Eel", "--name", "ko=장어", "--image", "https://i/1.jpg"]);
        assert_eq!(says(&first), r#"name en "Eel"; name ko "장어"; 1 image"#);
        let hidden = typed(first, &["--name", "ko=", "--product", "kiosk", "--hide"]);
        assert_eq!(says(&hidden), r#"name en "Eel"; 1 image; hidden for kiosk"#);
        let priced = typed(hidden, &["--product", "kiosk", "--price", "JPY=1480", "--show", "--sort-order", "-1"]);
        assert_eq!(says(&priced), r#"name en "Eel"; 1 image; sold for kiosk; JPY 1,480 for kiosk; place -1 for kiosk"#);
        assert_eq!(what(&priced), "item 7");
    }

    #[test]
    fn one_thing_is_named_and_a_price_says_its_money() {
        let parse = |arguments: &[&str]| Typed::try_parse_from(["posmesh"].iter().chain(arguments)).is_ok();
        assert!(parse(&["put", "ueno", "--choice", "sauce", "salt", "--by", "Aiko", "--hide"]));
        assert!(!parse(&["put", "ueno", "--by", "Aiko", "--hide"]));
        assert!(!parse(&["put", "ueno", "--item", "7", "--category", "8", "--by", "Aiko", "--hide"]));
        assert!(!parse(&["put", "ueno", "--item", "7", "--by", "Aiko", "--price", "480"]));
        assert!(!parse(&["put", "ueno", "--item", "7", "--by", "Aiko", "--hide", "--show"]));
    }

    #[test]
    fn orphans_and_prices_that_do_not_count_are_seen_in_the_list() {
        let overlay = typed(Overlay { by: "Aiko".into(), ..Default::default() }, &["--price", "JPY=480"]);
        let update_time = Some(time::from_unix_ms(1_795_000_000_000));
        let listed = |orphaned, why: &str| ListedOverlay {
            overlay: Some(Overlay { update_time, ..overlay.clone() }),
            orphaned,
            subject_name: if orphaned { String::new() } else { "うなぎ".into() },
            price_left_out: why.into(),
        };
        let expected = "\
WHAT    AT THE POS  WRITTEN (UTC)             SAYS
item 7  うなぎ      2026-11-18 11:06:40 Aiko  JPY 480 everywhere (price left out: acme: has its own)
item 7              2026-11-18 11:06:40 Aiko  ORPHANED; JPY 480 everywhere
";
        assert_eq!(shown(&[listed(false, "acme: has its own"), listed(true, "")]), expected);
        assert_eq!(shown(&[]), "There are none.\n");
    }
}
