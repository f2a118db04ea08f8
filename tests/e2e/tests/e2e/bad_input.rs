//! What cannot be taken is refused with a named reason and the field, over gRPC and over HTTP, and changes nothing.

use posmesh_e2e::{Answer, Http, Shape, Shop, line, refusal, with};
use posmesh_kit::failure;
use posmesh_proto::{
    common::v1::{Money, Product},
    order::v1::{OpenCheckRequest, OrderLineInput, PlaceOrderRequest, Quote},
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{orders::key, raw};

posmesh_e2e::on_both_shapes!(
    bad_lines_are_refused_with_the_reason_and_the_line,
    bad_money_is_refused_with_the_reason_and_the_field,
    an_unknown_store_is_refused_with_its_name,
    an_unknown_table_or_check_is_refused_with_its_name,
    a_price_that_moved_is_refused_with_a_new_quote_that_can_be_ordered,
    text_that_the_pos_cannot_print_is_refused_with_its_field,
    what_is_no_json_and_no_protobuf_is_refused_with_a_reason,
    an_order_without_a_usable_request_id_is_refused_with_the_header,
);

/// Everything that an order could have changed.
async fn footprint(shop: &Shop) -> (usize, Vec<(String, i64)>) {
    let orders = shop.list().await.into_iter().map(|order| (order.order_id, order.version)).collect();
    (shop.pos.journal().await.len(), orders)
}

/// One bad order, as both kinds of callers send it.
struct Bad {
    lines: Vec<OrderLineInput>,
    total: Money,
}

/// How it has to be refused.
struct Refusal {
    code: Code,
    http_status: u16,
    reason: &'static str,
    field: &'static str,
    http_field: &'static str,
}

fn invalid(reason: &'static str, field: &'static str, http_field: &'static str) -> Refusal {
    Refusal { code: Code::InvalidArgument, http_status: 400, reason, field, http_field }
}

fn jpy(amount: i64) -> Money {
    Money { currency_code: "JPY".into(), amount }
}

fn bad_lines(lines: Vec<OrderLineInput>) -> Bad {
    Bad { lines, total: jpy(250) }
}

impl Bad {
    fn request(&self, shop: &Shop) -> PlaceOrderRequest {
        PlaceOrderRequest {
            request_id: key(),
            store_id: shop.store_id.clone(),
            product: Product::Kiosk.into(),
            lines: self.lines.clone(),
            expected_total: Some(self.total.clone()),
            ..PlaceOrderRequest::default()
        }
    }

    fn body(&self) -> Value {
        let line = |line: &OrderLineInput| {
            let choice = |choice: &posmesh_proto::order::v1::ModifierInput| json!({ "group_id": choice.group_id, "modifier_id": choice.modifier_id });
            let modifiers: Vec<Value> = line.modifiers.iter().map(choice).collect();
            json!({ "item_id": line.item_id, "quantity": line.quantity, "modifiers": modifiers, "note": line.note })
        };
        json!({ "lines": self.lines.iter().map(line).collect::<Vec<_>>(), "service_mode": "eat_in",
            "expected_total": { "currency": self.total.currency_code, "amount": self.total.amount } })
    }

    /// Sends it both ways; nothing may change.
    async fn send(&self, shop: &Shop) -> (Status, Answer) {
        let before = footprint(shop).await;
        let refused = shop.place(0, self.request(shop)).await;
        let refused = refused.expect_err("a bad order was taken");
        let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
        let problem = Http::send(shop.http.place(&path, &key(), &self.body())).await.unwrap();
        assert_eq!(footprint(shop).await, before, "a refused order changed something");
        (refused, problem)
    }

    async fn is_refused(&self, shop: &Shop, with: &Refusal) {
        let (status, problem) = self.send(shop).await;
        let expected = (with.reason.to_owned(), with.field.to_owned());
        assert_eq!((status.code(), refusal(&status)), (with.code, expected), "{status:?}");
        assert!(!status.message().is_empty());
        assert_eq!(problem.problem(), (with.http_status, with.reason.to_owned(), with.http_field.to_owned()));
    }
}

async fn bad_lines_are_refused_with_the_reason_and_the_line(shape: Shape) {
    let shop = Shop::open(shape).await;
    let good = || line("yaki_onigiri", 1);
    let noted = |note: &str| OrderLineInput { note: note.into(), ..good() };
    let cases = [
        (vec![good(), line("unicorn", 1)], invalid("ITEM_NOT_FOUND", "lines[1].item_id", "/lines/1/item_id")),
        (
            vec![with(line("momo", 1), &[("seasoning", "sugar")])],
            invalid("MODIFIER_NOT_FOUND", "lines[0].modifiers[0].modifier_id", "/lines/0/modifiers/0/modifier_id"),
        ),
        (
            vec![with(line("momo", 1), &[("seasoning", "salt"), ("rice_size", "large")])],
            invalid("MODIFIER_GROUP_NOT_FOUND", "lines[0].modifiers[1].group_id", "/lines/0/modifiers/1/group_id"),
        ),
        (vec![line("momo", 1)], invalid("TOO_FEW_MODIFIERS", "lines[0].modifiers", "/lines/0/modifiers")),
        (
            vec![with(line("momo", 1), &[("seasoning", "salt"), ("seasoning", "sauce")])],
            invalid("TOO_MANY_MODIFIERS", "lines[0].modifiers", "/lines/0/modifiers"),
        ),
        (vec![line("yaki_onigiri", 0)], invalid("QUANTITY_OUT_OF_RANGE", "lines[0].quantity", "/lines/0/quantity")),
        (vec![line("yaki_onigiri", -1)], invalid("QUANTITY_OUT_OF_RANGE", "lines[0].quantity", "/lines/0/quantity")),
        (
            vec![line("yaki_onigiri", i32::MAX)],
            invalid("QUANTITY_OUT_OF_RANGE", "lines[0].quantity", "/lines/0/quantity"),
        ),
        (vec![], invalid("EMPTY_ORDER", "lines", "/lines")),
        (vec![good(); 10_000], invalid("TOO_MANY_LINES", "lines", "/lines")),
        (vec![noted(&"長".repeat(201))], invalid("TEXT_TOO_LONG", "lines[0].note", "/lines/0/note")),
    ];
    for (lines, refusal) in cases {
        bad_lines(lines).is_refused(&shop, &refusal).await;
    }
}

async fn bad_money_is_refused_with_the_reason_and_the_field(shape: Shape) {
    let shop = Shop::open(shape).await;
    let currency = invalid("CURRENCY_MISMATCH", "expected_total.currency_code", "/expected_total/currency");
    let price = Refusal {
        code: Code::FailedPrecondition,
        http_status: 409,
        reason: "PRICE_CHANGED",
        field: "expected_total",
        http_field: "/expected_total",
    };
    let order = |currency: &str, amount| Bad {
        lines: vec![line("yaki_onigiri", 1)],
        total: Money { currency_code: currency.into(), amount },
    };
    order("USD", 250).is_refused(&shop, &currency).await;
    for wrong in [0, -250, 249, i64::MAX] {
        order("JPY", wrong).is_refused(&shop, &price).await;
    }
}

async fn an_unknown_store_is_refused_with_its_name(shape: Shape) {
    let shop = Shop::open(shape).await;
    let bad = bad_lines(vec![line("yaki_onigiri", 1)]);
    let before = footprint(&shop).await;
    let request = PlaceOrderRequest { store_id: "nowhere".into(), ..bad.request(&shop) };
    let refused = shop.place(0, request).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused)), (Code::NotFound, ("STORE_NOT_FOUND".into(), "store_id".into())));
    for path in ["/kiosk/v1/stores/nowhere/orders", "/togo/v1/stores/nowhere/quote"] {
        let body = if path.ends_with("quote") { json!({ "lines": bad.body()["lines"] }) } else { bad.body() };
        let problem = Http::send(shop.http.place(path, &key(), &body)).await.unwrap();
        assert_eq!(problem.problem(), (404, "STORE_NOT_FOUND".into(), "store_id".into()), "{path}");
    }
    assert_eq!(footprint(&shop).await, before);
}

async fn an_unknown_table_or_check_is_refused_with_its_name(shape: Shape) {
    let shop = Shop::open(shape).await;
    let before = footprint(&shop).await;
    let store_id = shop.store_id.clone();
    let open = OpenCheckRequest { store_id, table_id: "T99".into(), party_size: 2 };
    let refused = shop.orders(0).open_check(open).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused)), (Code::NotFound, ("TABLE_NOT_FOUND".into(), "table_id".into())));

    let path = format!("/table/v1/stores/{}/checks", shop.store_id);
    let forged = shop.table_code("T1").await.chars().rev().collect::<String>();
    let problem = Http::send(shop.http.post(&path, &json!({ "table_code": forged }))).await.unwrap();
    assert_eq!(problem.problem(), (403, "TABLE_CODE_INVALID".into(), "/table_code".into()));

    let bad = bad_lines(vec![line("yaki_onigiri", 1)]).request(&shop);
    let round = PlaceOrderRequest { product: Product::Table.into(), check_id: "nothing".into(), ..bad };
    let refused = shop.place(0, round.clone()).await.unwrap_err();
    assert_eq!((refused.code(), refusal(&refused)), (Code::NotFound, ("CHECK_NOT_FOUND".into(), "check_id".into())));
    let without = PlaceOrderRequest { check_id: String::new(), ..round };
    let refused = shop.place(0, without).await.unwrap_err();
    assert_eq!(refusal(&refused), ("REQUIRED".into(), "check_id".into()));
    assert_eq!(footprint(&shop).await, before);
}

async fn a_price_that_moved_is_refused_with_a_new_quote_that_can_be_ordered(shape: Shape) {
    let shop = Shop::open(shape).await;
    let old = shop.request(Product::Kiosk, &[line("yaki_onigiri", 2)]).await;
    let mut menu = shop.pos.master().await;
    item(&mut menu, "yaki_onigiri")["price"] = json!(275);
    shop.pos.replace_master(&menu).await;
    shop.sync().await.unwrap();
    let counts = async || (shop.total(Product::Kiosk, &old.lines).await == 550).then_some(());
    posmesh_e2e::eventually("the new price counts", counts).await;
    let before = footprint(&shop).await;

    let refused = shop.place(1, old.clone()).await;
    // The other replica may know the old menu for a moment yet; the POS then refuses what it sends.
    let refused = refused.expect_err("an order at an old price was taken");
    assert_eq!(refusal(&refused), ("PRICE_CHANGED".into(), "expected_total".into()));
    let quote: Quote = failure::detail(&refused).expect("the new quote is in the details");
    let body = Bad { lines: old.lines.clone(), total: jpy(500) }.body();
    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let problem = Http::send(shop.http.place(&path, &key(), &body)).await.unwrap();
    assert_eq!(problem.problem(), (409, "PRICE_CHANGED".into(), "/expected_total".into()));
    assert_eq!(problem.body["quote"]["price"]["total"], json!({ "currency": "JPY", "amount": 550 }));
    assert_eq!(footprint(&shop).await, before);

    // The guest agrees; the same request_id still stands for nothing.
    let agreed = PlaceOrderRequest { expected_total: quote.price.unwrap().total, ..old };
    let order = shop.placed(0, agreed).await;
    assert_eq!(shop.pos.recorded(&order.order_id).await[0]["totals"]["total"], 550);
}

async fn text_that_the_pos_cannot_print_is_refused_with_its_field(shape: Shape) {
    let shop = Shop::open(shape).await;
    let emoji = OrderLineInput { note: "誕生日🎂".into(), ..line("yaki_onigiri", 1) };
    let text = invalid("TEXT_NOT_REPRESENTABLE", "lines[0].note", "/lines/0/note");
    bad_lines(vec![emoji]).is_refused(&shop, &text).await;

    let nul = bad_lines(vec![OrderLineInput { note: "a\0b".into(), ..line("yaki_onigiri", 1) }]);
    let (status, problem) = nul.send(&shop).await;
    assert_eq!(refusal(&status), ("TEXT_INVALID".into(), "lines[0].note".into()));
    assert_eq!(problem.problem(), (400, "INVALID_BODY".into(), "/lines/0/note".into()));
}

async fn what_is_no_json_and_no_protobuf_is_refused_with_a_reason(shape: Shape) {
    let shop = Shop::open(shape).await;
    let before = footprint(&shop).await;
    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let send = |body: &'static str| {
        let request = shop.http.request(reqwest::Method::POST, &path).header("idempotency-key", key());
        Http::send(request.header("content-type", "application/json").body(body))
    };
    assert_eq!(send("{\"lines\": [").await.unwrap().problem(), (400, "MALFORMED_JSON".into(), String::new()));
    let typed = send(r#"{"lines": [{"item_id": "yaki_onigiri", "quantity": "two"}]}"#).await.unwrap().problem();
    assert_eq!(typed, (400, "INVALID_BODY".into(), "/lines/0/quantity".into()));
    let unknown =
        send(r#"{"lines": [{"item_id": "yaki_onigiri", "quantity": 1, "price": 1}]}"#).await.unwrap().problem();
    assert_eq!((unknown.0, unknown.1.as_str()), (400, "INVALID_BODY"));

    // Field 1, length 100, and then nothing.
    let place = "/posmesh.order.v1.OrderService/PlaceOrder";
    let refused = raw::call(shop.mesh.order(0).unwrap(), place, vec![0x0a, 100]).await.unwrap_err();
    assert_eq!(
        (refused.code(), refusal(&refused).0.as_str()),
        (Code::InvalidArgument, "MALFORMED_MESSAGE"),
        "{refused:?}"
    );
    assert_eq!(footprint(&shop).await, before);
}

async fn an_order_without_a_usable_request_id_is_refused_with_the_header(shape: Shape) {
    let shop = Shop::open(shape).await;
    let before = footprint(&shop).await;
    let good = bad_lines(vec![line("yaki_onigiri", 1)]);
    for (request_id, reason) in [("", "REQUIRED"), ("two words", "INVALID"), ("ホ", "INVALID")] {
        let request = PlaceOrderRequest { request_id: request_id.into(), ..good.request(&shop) };
        let refused = shop.place(0, request).await.unwrap_err();
        assert_eq!((refused.code(), refusal(&refused)), (Code::InvalidArgument, (reason.into(), "request_id".into())));
    }
    let path = format!("/kiosk/v1/stores/{}/orders", shop.store_id);
    let without = Http::send(shop.http.post(&path, &good.body())).await.unwrap();
    assert_eq!(without.problem(), (400, "IDEMPOTENCY_KEY_REQUIRED".into(), "Idempotency-Key".into()));
    let short = Http::send(shop.http.place(&path, "1", &good.body())).await.unwrap();
    assert_eq!(short.problem(), (400, "INVALID_IDEMPOTENCY_KEY".into(), "Idempotency-Key".into()));
    assert_eq!(footprint(&shop).await, before);
}

/// An item of the POS's menu.
pub(crate) fn item<'a>(menu: &'a mut Value, id: &str) -> &'a mut Value {
    let categories = menu["categories"].as_array_mut().unwrap();
    let mut items = categories.iter_mut().flat_map(|category| category["items"].as_array_mut().unwrap());
    items.find(|item| item["id"] == id).unwrap()
}
