//! From a product's request to an order: what is checked before anything is stored.

use posmesh_kit::{Failure, ambient, time};
use posmesh_pricing::{CatalogIndex, Problem, Shortage, check_text};
use posmesh_proto::{
    adapter::v1::Limits,
    common::v1::{Money, Product},
    order::v1::{ExternalTender, GuestContact, HoldReason, Order, OrderPurpose, OrderState, PlaceOrderRequest, Quote},
    store::v1::{ProductPolicy, Store, StoreLifecycle},
};
use prost::Message as _;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use tonic::Code;
use uuid::Uuid;

const MAX_REQUEST_ID_CHARS: usize = 128;
const MAX_NOTE_CHARS: usize = 200;
const MAX_NAME_CHARS: usize = 64;
const MAX_PAGER_CHARS: usize = 8;
const MAX_LOCALE_CHARS: usize = 64;
const MAX_TENDERS: usize = 10;
const MAX_REFERENCE_CHARS: usize = 128;
/// How far ahead a pickup time may lie.
pub(crate) const MAX_PICKUP_AHEAD_MS: i64 = 7 * 24 * 3600 * 1000;
/// The form of the hash; another number when the normalization changes.
const HASH_VERSION: u8 = 1;

/// Checks everything about the request that needs no other service.
pub(crate) fn check_request(request: &PlaceOrderRequest, now_ms: i64) -> Result<Product, Failure> {
    check_request_id(&request.request_id)?;
    let product = check_product(request.product)?;
    text("note", &request.note, MAX_NOTE_CHARS)?;
    text("pager_number", &request.pager_number, MAX_PAGER_CHARS)?;
    check_locale(&request.locale)?;
    if !request.pager_number.is_empty() && product != Product::Kiosk {
        return Err(Failure::field("NOT_ALLOWED", "pager_number", "only Kiosk orders have a pager"));
    }
    match (product, request.check_id.is_empty()) {
        (Product::Table, true) => {
            return Err(Failure::field("REQUIRED", "check_id", "open a check on the table first (OpenCheck)"));
        }
        (Product::ToGo | Product::Kiosk, false) => {
            return Err(Failure::field("NOT_ALLOWED", "check_id", "only Table orders are rounds of a check"));
        }
        _ => {}
    }
    if OrderPurpose::try_from(request.purpose).is_err() {
        return Err(Failure::field("UNKNOWN_VALUE", "purpose", "is no purpose of this version"));
    }
    check_pickup(request, product, now_ms)?;
    if let Some(contact) = &request.guest_contact {
        check_contact(contact)?;
    }
    check_tenders(&request.tenders)?;
    if !request.check_id.is_empty() && !can_be_id(&request.check_id) {
        return Err(Failure::field("INVALID", "check_id", "is no id that OpenCheck gave"));
    }
    Ok(product)
}

/// A language tag, or nothing.
pub(crate) fn check_locale(locale: &str) -> Result<(), Failure> {
    if locale.len() <= MAX_LOCALE_CHARS && locale.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(());
    }
    Err(Failure::field("LOCALE_INVALID", "locale", "a locale is a BCP 47 tag, e.g. ja or zh-Hant"))
}

/// 1 to 128 printable ASCII characters.
pub(crate) fn check_request_id(request_id: &str) -> Result<(), Failure> {
    if request_id.is_empty() {
        return Err(Failure::field("REQUIRED", "request_id", "send the same one in every repetition of the call"));
    }
    if request_id.len() > MAX_REQUEST_ID_CHARS || !request_id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Failure::field("INVALID", "request_id", "must be 1 to 128 printable ASCII characters"));
    }
    Ok(())
}

/// At most 200 characters for the staff.
pub(crate) fn check_reason(reason: &str) -> Result<(), Failure> {
    text("reason", reason, MAX_NOTE_CHARS)
}

/// Whether something can be the id of an order or a check. What cannot names nothing, and is kept from the database.
pub(crate) fn can_be_id(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

/// A product that this version knows.
pub(crate) fn check_product(product: i32) -> Result<Product, Failure> {
    match Product::try_from(product) {
        Ok(Product::Unspecified) => Err(Failure::field("REQUIRED", "product", "say which product orders")),
        Ok(product) => Ok(product),
        Err(_) => Err(Failure::field("UNKNOWN_VALUE", "product", "is no product of this version")),
    }
}

fn check_pickup(request: &PlaceOrderRequest, product: Product, now_ms: i64) -> Result<(), Failure> {
    let pickup_ms = check_pickup_time(product, request.pickup_time.as_ref(), now_ms)?;
    if product == Product::ToGo && pickup_ms.is_none() {
        return Err(Failure::field("REQUIRED", "pickup_time", "say when the guest comes"));
    }
    Ok(())
}

/// When the guest comes, if that is said.
pub(crate) fn check_pickup_time(
    product: Product,
    pickup: Option<&Timestamp>,
    now_ms: i64,
) -> Result<Option<i64>, Failure> {
    let Some(pickup_ms) = pickup.map(time::to_unix_ms) else { return Ok(None) };
    if product != Product::ToGo {
        return Err(Failure::field("NOT_ALLOWED", "pickup_time", "only ToGo orders are picked up"));
    }
    let ahead_ms = pickup_ms.saturating_sub(now_ms);
    if ahead_ms <= 0 || ahead_ms > MAX_PICKUP_AHEAD_MS {
        let message = "must be in the future and at most 7 days ahead";
        return Err(Failure::field("OUT_OF_RANGE", "pickup_time", message));
    }
    Ok(Some(pickup_ms))
}

fn check_contact(contact: &GuestContact) -> Result<(), Failure> {
    text("guest_contact.name", &contact.name, MAX_NAME_CHARS)?;
    let digits = contact.phone.strip_prefix('+').unwrap_or_default();
    let is_e164 = (2..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !contact.phone.is_empty() && !is_e164 {
        return Err(Failure::field("INVALID", "guest_contact.phone", "must be E.164, e.g. +81312345678"));
    }
    Ok(())
}

fn check_tenders(tenders: &[ExternalTender]) -> Result<(), Failure> {
    if tenders.len() > MAX_TENDERS {
        return Err(Failure::field("TOO_MANY", "tenders", format!("at most {MAX_TENDERS} are taken")));
    }
    for (i, tender) in tenders.iter().enumerate() {
        let field = |name: &str| format!("tenders[{i}].{name}");
        if tender.amount.as_ref().is_none_or(|a| a.amount <= 0) {
            return Err(Failure::field("OUT_OF_RANGE", field("amount"), "must be above zero"));
        }
        if tender.reference.is_empty() {
            return Err(Failure::field("REQUIRED", field("reference"), "give the taker's id of the payment"));
        }
        text(&field("reference"), &tender.reference, MAX_REFERENCE_CHARS)?;
        text(&field("tender_id"), &tender.tender_id, MAX_REFERENCE_CHARS)?;
    }
    Ok(())
}

/// What the POS can hold, as its adapter says: refused here, by name, instead of by the POS.
pub(crate) fn check_limits(request: &PlaceOrderRequest, limits: Option<&Limits>) -> Result<(), Failure> {
    let Some(limits) = limits else { return Ok(()) };
    let most = |limit: i32| usize::try_from(limit).ok().filter(|most| *most > 0);
    if let Some(most) = most(limits.max_lines).filter(|most| request.lines.len() > *most) {
        return Err(Failure::field("TOO_MANY_LINES", "lines", format!("this store's POS takes at most {most}")));
    }
    let mut texts = vec![("note".to_owned(), request.note.as_str())];
    if let Some(contact) = &request.guest_contact {
        texts.push(("guest_contact.name".to_owned(), contact.name.as_str()));
    }
    texts.push(("pager_number".to_owned(), request.pager_number.as_str()));
    texts.extend(request.lines.iter().enumerate().map(|(i, line)| (format!("lines[{i}].note"), line.note.as_str())));
    for (field, text) in texts {
        if let Some(most) = most(limits.max_note_chars).filter(|most| text.chars().count() > *most) {
            return Err(Failure::field(
                "TEXT_TOO_LONG",
                field,
                format!("this store's POS holds at most {most} characters"),
            ));
        }
        if !fits_charset(text, &limits.charset) {
            let message =
                format!("this store's POS cannot print all of it ({}); leave out emoji and rare signs", limits.charset);
            return Err(Failure::field("TEXT_NOT_REPRESENTABLE", field, message));
        }
    }
    Ok(())
}

/// Whether a charset has each character. One that is not known here cannot be checked.
fn fits_charset(text: &str, charset: &str) -> bool {
    if charset.eq_ignore_ascii_case("ucs-2") {
        return text.chars().all(|c| c.len_utf16() == 1);
    }
    encoding_rs::Encoding::for_label(charset.as_bytes()).is_none_or(|encoding| !encoding.encode(text).2)
}

/// Text that is stored and shown: not too long, no control characters.
pub(crate) fn text(field: &str, text: &str, max_chars: usize) -> Result<(), Failure> {
    check_text(field, text, max_chars).map_err(|problem| from_problems(&[problem]))
}

/// What is wrong with the lines, as one error: FAILED_PRECONDITION if only the state of the store speaks against them.
pub(crate) fn from_problems(problems: &[Problem]) -> Failure {
    let Some(first) = problems.first() else {
        return Failure::internal("pricing refused without a problem", "empty list");
    };
    let only_unavailable = problems.iter().all(|p| p.reason.is_unavailability());
    let code = if only_unavailable { Code::FailedPrecondition } else { Code::InvalidArgument };
    let reported = problems.iter().find(|p| only_unavailable || !p.reason.is_unavailability()).unwrap_or(first);
    let mut failure = Failure::new(code, reported.reason.as_str(), reported.to_string());
    if let Some(Shortage { item_id, item_name, remaining }) = &reported.shortage {
        failure = failure.meta("item_id", item_id).meta("item_name", item_name);
        failure = failure.meta("remaining", remaining.to_string());
    }
    problems.iter().fold(failure, |failure, p| failure.violation(&p.field, &p.message))
}

/// The store's policy for the product, if the store takes such orders at all.
pub(crate) fn policy(store: &Store, product: Product, purpose: OrderPurpose) -> Result<&ProductPolicy, Failure> {
    let not_live = |words: &str| {
        let message = format!("the store {:?} {words}", store.store_id);
        Failure::new(Code::FailedPrecondition, "STORE_NOT_LIVE", message).meta("store_id", &store.store_id)
    };
    match (store.lifecycle(), purpose) {
        (StoreLifecycle::Live, _) | (StoreLifecycle::Rehearsal, OrderPurpose::Test) => {}
        (StoreLifecycle::Rehearsal, _) => {
            return Err(not_live("is in rehearsal and takes only orders of purpose TEST"));
        }
        (StoreLifecycle::Suspended, _) => return Err(not_live("is suspended and takes no orders")),
        _ => return Err(not_live("is being set up and takes no orders")),
    }
    store.product_policies.iter().find(|p| p.product() == product).ok_or_else(|| {
        let message = format!("the store {:?} does not sell through {}", store.store_id, product.as_str_name());
        Failure::new(Code::FailedPrecondition, "PRODUCT_NOT_SOLD", message)
    })
}

/// The tenders are of the store's own.
pub(crate) fn check_known_tenders(tenders: &[ExternalTender], catalog: &CatalogIndex) -> Result<(), Failure> {
    for (i, tender) in tenders.iter().enumerate() {
        if !tender.tender_id.is_empty() && catalog.tender(&tender.tender_id).is_none() {
            let field = format!("tenders[{i}].tender_id");
            let message = "names no tender of the store's catalog; leave it empty for the store's default";
            return Err(Failure::field("TENDER_NOT_FOUND", field, message));
        }
    }
    Ok(())
}

/// The guest pays what the guest agreed to, or the order is refused with what it costs now.
pub(crate) fn check_price(request: &PlaceOrderRequest, quote: &Quote) -> Result<(), Failure> {
    let Some(total) = quote.price.as_ref().and_then(|p| p.total.as_ref()) else {
        return Err(Failure::internal("a quote has no total", &request.store_id));
    };
    let Some(expected) = &request.expected_total else {
        return Err(Failure::field("REQUIRED", "expected_total", "send the total of the quote that the guest saw"));
    };
    if expected.currency_code != total.currency_code {
        let message = format!("the store sells in {}", total.currency_code);
        return Err(Failure::field("CURRENCY_MISMATCH", "expected_total.currency_code", message));
    }
    if expected.amount != total.amount {
        let message = format!(
            "the order costs {} {} now, not {}: show the guest the new quote and ask again; it is in the details unless it is long",
            total.amount, total.currency_code, expected.amount
        );
        return Err(Failure::new(Code::FailedPrecondition, "PRICE_CHANGED", message)
            .meta("total", total.amount.to_string())
            .violation("expected_total", "differs from what the order costs now")
            .detail(quote));
    }
    check_tendered(&request.tenders, total)
}

fn check_tendered(tenders: &[ExternalTender], total: &Money) -> Result<(), Failure> {
    if tenders.is_empty() {
        return Ok(());
    }
    let mut sum: i128 = 0;
    for (i, amount) in tenders.iter().map(|t| t.amount.clone().unwrap_or_default()).enumerate() {
        if amount.currency_code != total.currency_code {
            let field = format!("tenders[{i}].amount.currency_code");
            return Err(Failure::field(
                "CURRENCY_MISMATCH",
                field,
                format!("the store sells in {}", total.currency_code),
            ));
        }
        sum += i128::from(amount.amount);
    }
    if sum != i128::from(total.amount) {
        let message = format!("come to {sum}, but the order costs {}", total.amount);
        return Err(Failure::field("TENDERS_DIFFER", "tenders", message));
    }
    Ok(())
}

/// The hash of what the caller wants: the request without what may differ between repetitions.
pub(crate) fn request_hash(request: &PlaceOrderRequest) -> Vec<u8> {
    let normalized =
        PlaceOrderRequest { request_id: String::new(), wait: None, locale: String::new(), ..request.clone() };
    let mut hash = vec![HASH_VERSION];
    hash.extend(Sha256::digest(normalized.encode_to_vec()));
    hash
}

/// The facts of an order that do not come from its request.
pub(crate) struct Facts<'a> {
    /// Priced on the current catalog.
    pub(crate) quote: Quote,
    /// Of the store, for the product.
    pub(crate) policy: &'a ProductPolicy,
    /// ISO 8601 date.
    pub(crate) business_date: String,
    /// When it goes to the POS, if not at once.
    pub(crate) fire_ms: Option<i64>,
    /// The connection that must be back before.
    pub(crate) awaits: Option<String>,
    /// Until when the platform goes on trying.
    pub(crate) deliver_by_ms: i64,
    /// Now.
    pub(crate) now_ms: i64,
    /// The trace that it belongs to.
    pub(crate) traceparent: String,
}

/// The order that the request asks for: PENDING, or HELD until its fire time or until its connection is back.
pub(crate) fn new_order(request: PlaceOrderRequest, facts: Facts<'_>) -> Order {
    let id = ambient::new_id();
    let mut lines = facts.quote.lines;
    for (i, line) in lines.iter_mut().enumerate() {
        // The same in every attempt, so that the POS can recognize it.
        line.line_id = Uuid::new_v5(&id, i.to_string().as_bytes()).to_string();
    }
    let purpose = match request.purpose() {
        OrderPurpose::Unspecified => OrderPurpose::Live,
        known => known,
    };
    let now = time::from_unix_ms(facts.now_ms);
    let (state, hold_reason) = match (facts.fire_ms, &facts.awaits) {
        (Some(_), _) => (OrderState::Held, HoldReason::FireTime),
        (None, Some(_)) => (OrderState::Held, HoldReason::Link),
        (None, None) => (OrderState::Pending, HoldReason::Unspecified),
    };
    Order {
        order_id: id.to_string(),
        store_id: request.store_id,
        product: request.product,
        purpose: purpose.into(),
        state: state.into(),
        hold_reason: hold_reason.into(),
        fire_time: facts.fire_ms.map(time::from_unix_ms),
        awaited_connection_id: facts.awaits.unwrap_or_default(),
        version: 1,
        business_date: facts.business_date,
        check_id: request.check_id,
        lines,
        price: Some(facts.quote.price.unwrap_or_default()),
        tenders: request.tenders,
        note: request.note,
        guest_contact_id: request.guest_contact.map(|_| ambient::new_id().to_string()).unwrap_or_default(),
        pickup_time: request.pickup_time,
        pager_number: request.pager_number,
        catalog_version: facts.quote.catalog_version,
        create_time: Some(now),
        update_time: Some(now),
        deliver_by: Some(time::from_unix_ms(facts.deliver_by_ms)),
        traceparent: facts.traceparent,
        success_evidence: facts.policy.success_evidence.clone(),
        ..Order::default()
    }
}
