//! What a guest is told about an order: one table of pure code, by product, state and cause.
//!
//! Nothing here promises more than the evidence holds: before the POS has an order, no text says that the store has it;
//! an order in doubt is told as one that is being checked.

use std::collections::BTreeMap;

use posmesh_kit::cause;
use posmesh_proto::{
    common::v1::{EvidenceKind, Product},
    order::v1::{GateReason, GateState, HoldReason, Order, OrderChange, OrderChangeKind, OrderChangeState, OrderState},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The order service's mark on an ended order that the POS seems to have after all.
const CONTRADICTED_END: &str = "CONTRADICTED_END";

/// The order service's cause of an order that the staff cancelled at the POS.
const CANCELLED_AT_POS: &str = "CANCELLED_AT_POS";

/// What to tell the guest now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[schema(example = json!({"code": "SENDING", "texts": {"en": "We are sending your order to the kitchen."}}))]
pub(crate) struct GuestMessage {
    /// Stable name of the message, for pages that use words of their own.
    pub(crate) code: &'static str,
    /// By language: `en`, `ja`, `ko`.
    #[schema(value_type = BTreeMap<String, String>)]
    pub(crate) texts: BTreeMap<&'static str, &'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Words {
    code: &'static str,
    en: &'static str,
    ja: &'static str,
    ko: &'static str,
}

/// What to tell the guest about `order` as it is now.
pub(crate) fn message(order: &Order) -> GuestMessage {
    words(order).into()
}

/// What to tell a guest who has not ordered yet; nothing where orders are taken as ever.
pub(crate) fn gate(state: GateState, reason: GateReason) -> Option<GuestMessage> {
    let words = match (state, reason) {
        // The guest's meal comes as ever.
        (GateState::Open | GateState::Diverted | GateState::Unspecified, _) => return None,
        (GateState::Hold, _) => ORDERS_HELD,
        (GateState::Probation, _) => ORDERS_RESUMING,
        (GateState::Closed, GateReason::OutsideHours) => STORE_CLOSED,
        (GateState::Closed, GateReason::Paused) => ORDERS_PAUSED,
        (GateState::Closed, _) => NO_ORDERS_NOW,
    };
    Some(words.into())
}

impl From<Words> for GuestMessage {
    fn from(words: Words) -> Self {
        Self { code: words.code, texts: [("en", words.en), ("ja", words.ja), ("ko", words.ko)].into() }
    }
}

/// Whether an order changes no more: it has ended, and no wish to take it back is undecided.
pub(crate) fn has_ended(order: &Order) -> bool {
    let is_undecided = order.changes.iter().any(|change| change.state() == OrderChangeState::Requested);
    let has_ended = matches!(
        order.state(),
        OrderState::Completed | OrderState::Rejected | OrderState::Expired | OrderState::Cancelled
    );
    has_ended && !is_undecided
}

/// As the order service names itself among those who wish an order back.
const PLATFORM: &str = "PLATFORM";

/// The newest wish that a guest or the staff had about the order; those of the platform itself are not theirs to see.
pub(crate) fn newest_change(order: &Order) -> Option<&OrderChange> {
    order.changes.iter().rev().find(|change| change.requested_by != PLATFORM)
}

fn words(order: &Order) -> Words {
    let product = order.product();
    let contradicted = order.attention.iter().any(|mark| mark == CONTRADICTED_END);
    let wished_back = newest_change(order).filter(|change| change.kind() == OrderChangeKind::Cancel);
    let wished_back = wished_back.map_or(OrderChangeState::Unspecified, OrderChange::state);
    match order.state() {
        OrderState::Unspecified => UPDATING,
        _ if wished_back == OrderChangeState::Requested => CANCELLING,
        OrderState::Placed | OrderState::InPreparation if wished_back == OrderChangeState::Refused => NOT_CANCELLED,
        OrderState::Pending if order.attempts.is_empty() => RECEIVED,
        OrderState::Pending => RETRYING,
        OrderState::Held if order.hold_reason() == HoldReason::Link => HELD_FOR_STORE,
        OrderState::Held => match product {
            Product::Table => AFTER_EARLIER_ROUND,
            Product::ToGo => SCHEDULED,
            Product::Kiosk | Product::Unspecified => WAITING,
        },
        OrderState::Sending => SENDING,
        OrderState::InDoubt => CHECKING_WITH_STORE,
        OrderState::Placed if is_in_kitchen(order) => IN_KITCHEN,
        OrderState::Placed => AT_STORE,
        OrderState::InPreparation => IN_PREPARATION,
        OrderState::Ready => match product {
            Product::Table => READY_TO_SERVE,
            Product::ToGo => READY_FOR_PICKUP,
            Product::Kiosk | Product::Unspecified => READY_AT_COUNTER,
        },
        OrderState::Completed => COMPLETED,
        OrderState::Rejected | OrderState::Expired | OrderState::Cancelled if contradicted => STAFF_CHECKING,
        OrderState::Rejected => refused(&order.cause),
        OrderState::Expired => NOT_DELIVERED,
        OrderState::Cancelled if order.cause == CANCELLED_AT_POS => CANCELLED_BY_STORE,
        OrderState::Cancelled => CANCELLED,
    }
}

fn is_in_kitchen(order: &Order) -> bool {
    order.evidence.iter().any(|e| matches!(e.kind(), EvidenceKind::Printed | EvidenceKind::Kitchen))
}

fn refused(cause: &str) -> Words {
    match cause {
        cause::ITEM_SOLD_OUT => SOLD_OUT,
        cause::CHECK_AWAITING_PAYMENT | cause::CHECK_NOT_FOUND | cause::CHECK_LIMIT_REACHED | cause::TABLE_LOCKED => {
            CHECK_TAKES_NO_ORDERS
        }
        // The check ended before the round was sent.
        "CHECK_CLOSED" | "CHECK_MERGED" => CHECK_TAKES_NO_ORDERS,
        cause::BUSINESS_DAY_NOT_OPEN => STORE_NOT_OPEN,
        _ => NOT_TAKEN,
    }
}

const RECEIVED: Words = Words {
    code: "RECEIVED",
    en: "We have received your order and will send it to the kitchen.",
    ja: "ご注文を受け付けました。これから厨房に送ります。",
    ko: "주문을 접수했습니다. 곧 주방으로 전달합니다.",
};
const RETRYING: Words = Words {
    code: "RETRYING",
    en: "We could not reach the store yet and keep trying. The kitchen does not have your order yet.",
    ja: "お店にまだ接続できません。再送を続けています。ご注文はまだ厨房に届いていません。",
    ko: "아직 매장에 연결되지 않아 다시 시도하고 있습니다. 주문이 아직 주방에 전달되지 않았습니다.",
};
const AFTER_EARLIER_ROUND: Words = Words {
    code: "AFTER_EARLIER_ROUND",
    en: "Your order goes to the kitchen as soon as the one before it is there.",
    ja: "前のご注文が厨房に届きしだい、お送りします。",
    ko: "앞선 주문이 주방에 전달되는 대로 보내 드립니다.",
};
const SCHEDULED: Words = Words {
    code: "SCHEDULED",
    en: "We will send your order to the kitchen in time for your pickup.",
    ja: "お受け取り時刻に合わせて、ご注文を厨房に送ります。",
    ko: "수령 시간에 맞춰 주문을 주방으로 전달합니다.",
};
const WAITING: Words = Words {
    code: "WAITING",
    en: "Your order is waiting and has not been sent to the kitchen yet.",
    ja: "ご注文は待機中です。まだ厨房に送られていません。",
    ko: "주문이 대기 중이며 아직 주방으로 전달되지 않았습니다.",
};
const HELD_FOR_STORE: Words = Words {
    code: "HELD_FOR_STORE",
    en: "We cannot reach the store at the moment. We keep your order and send it to the kitchen as soon as we can.",
    ja: "ただいまお店に接続できません。ご注文をお預かりし、つながりしだい厨房に送ります。",
    ko: "지금은 매장에 연결할 수 없습니다. 주문을 보관했다가 연결되는 대로 주방으로 전달합니다.",
};
const ORDERS_HELD: Words = Words {
    code: "ORDERS_HELD",
    en: "We cannot reach the store at the moment. You can order; we send it as soon as we can.",
    ja: "ただいまお店に接続できません。ご注文いただけますが、お店に届くのはつながりしだいとなります。",
    ko: "지금은 매장에 연결할 수 없습니다. 주문하시면 연결되는 대로 전달합니다.",
};
const ORDERS_RESUMING: Words = Words {
    code: "ORDERS_RESUMING",
    en: "The store is coming back. If your order is not taken, please try again in a moment.",
    ja: "お店との接続を再開しています。ご注文を受けられない場合は、少し待ってからお試しください。",
    ko: "매장 연결을 다시 시작하고 있습니다. 주문이 접수되지 않으면 잠시 후 다시 시도해 주세요.",
};
const STORE_CLOSED: Words = Words {
    code: "STORE_CLOSED",
    en: "The store is closed now.",
    ja: "ただいま営業時間外です。",
    ko: "지금은 영업시간이 아닙니다.",
};
const ORDERS_PAUSED: Words = Words {
    code: "ORDERS_PAUSED",
    en: "The store takes no orders for the moment.",
    ja: "ただいまご注文の受付を休止しています。",
    ko: "지금은 주문 접수를 잠시 중단했습니다.",
};
const NO_ORDERS_NOW: Words = Words {
    code: "NO_ORDERS_NOW",
    en: "The store cannot take orders here right now. Please ask the staff, or try again later.",
    ja: "ただいまこちらではご注文を受けられません。スタッフにお声がけいただくか、後ほどお試しください。",
    ko: "지금은 여기에서 주문을 받을 수 없습니다. 직원에게 문의하시거나 나중에 다시 시도해 주세요.",
};
const SENDING: Words = Words {
    code: "SENDING",
    en: "We are sending your order to the kitchen.",
    ja: "ご注文を厨房に送信しています。",
    ko: "주문을 주방으로 전달하고 있습니다.",
};
const CHECKING_WITH_STORE: Words = Words {
    code: "CHECKING_WITH_STORE",
    en: "We are checking with the store whether your order arrived. Please do not order again for now.",
    ja: "ご注文が届いたかどうか、お店に確認しています。もう一度注文せずにお待ちください。",
    ko: "주문이 도착했는지 매장에 확인하고 있습니다. 다시 주문하지 말고 기다려 주세요.",
};
const AT_STORE: Words = Words {
    code: "AT_STORE",
    en: "The store has your order.",
    ja: "お店がご注文を受け取りました。",
    ko: "매장이 주문을 받았습니다.",
};
const IN_KITCHEN: Words = Words {
    code: "IN_KITCHEN",
    en: "The kitchen has your order.",
    ja: "ご注文が厨房に届きました。",
    ko: "주문이 주방에 도착했습니다.",
};
const IN_PREPARATION: Words = Words {
    code: "IN_PREPARATION",
    en: "Your order is being prepared.",
    ja: "ただいま調理中です。",
    ko: "주문하신 음식을 준비하고 있습니다.",
};
const READY_TO_SERVE: Words = Words {
    code: "READY_TO_SERVE",
    en: "Your order is ready and on its way to your table.",
    ja: "お料理ができました。お席にお持ちします。",
    ko: "음식이 준비되었습니다. 자리로 가져다 드립니다.",
};
const READY_FOR_PICKUP: Words = Words {
    code: "READY_FOR_PICKUP",
    en: "Your order is ready for pickup.",
    ja: "お受け取りの準備ができました。",
    ko: "주문하신 음식을 수령하실 수 있습니다.",
};
const READY_AT_COUNTER: Words = Words {
    code: "READY_AT_COUNTER",
    en: "Your order is ready. Please collect it at the counter.",
    ja: "ご用意ができました。カウンターでお受け取りください。",
    ko: "음식이 준비되었습니다. 카운터에서 받아 주세요.",
};
const COMPLETED: Words = Words {
    code: "COMPLETED",
    en: "Your order is complete. Thank you!",
    ja: "ご注文は完了しました。ありがとうございました。",
    ko: "주문이 완료되었습니다. 감사합니다.",
};
const NOT_TAKEN: Words = Words {
    code: "NOT_TAKEN",
    en: "The store could not take your order. Nothing will be prepared. Please ask the staff.",
    ja: "お店がご注文を受けられませんでした。お料理は用意されません。スタッフにお声がけください。",
    ko: "매장이 주문을 받지 못했습니다. 음식은 준비되지 않습니다. 직원에게 문의해 주세요.",
};
const SOLD_OUT: Words = Words {
    code: "SOLD_OUT",
    en: "Something in your order is sold out, so it was not taken. Please choose again.",
    ja: "売り切れの商品があるため、ご注文を受けられませんでした。もう一度お選びください。",
    ko: "품절된 상품이 있어 주문을 받지 못했습니다. 다시 선택해 주세요.",
};
const CHECK_TAKES_NO_ORDERS: Words = Words {
    code: "CHECK_TAKES_NO_ORDERS",
    en: "Your table's check takes no orders now, so this one was not taken. Please ask the staff.",
    ja: "ただいまこの伝票ではご注文を受けられません。スタッフにお声がけください。",
    ko: "지금은 이 테이블의 계산서로 주문을 받을 수 없습니다. 직원에게 문의해 주세요.",
};
const STORE_NOT_OPEN: Words = Words {
    code: "STORE_NOT_OPEN",
    en: "The store does not take orders yet, so yours was not taken.",
    ja: "お店がまだご注文を受け付けていないため、ご注文は受けられませんでした。",
    ko: "매장이 아직 주문을 받지 않아 주문이 접수되지 않았습니다.",
};
const NOT_DELIVERED: Words = Words {
    code: "NOT_DELIVERED",
    en: "We could not reach the store in time, so your order was not taken. Nothing will be prepared.",
    ja: "時間内にお店に届けられなかったため、ご注文は受けられませんでした。お料理は用意されません。",
    ko: "제시간에 매장에 전달하지 못해 주문이 접수되지 않았습니다. 음식은 준비되지 않습니다.",
};
const CANCELLED: Words = Words {
    code: "CANCELLED",
    en: "Your order is cancelled.",
    ja: "ご注文はキャンセルされました。",
    ko: "주문이 취소되었습니다.",
};
const CANCELLED_BY_STORE: Words = Words {
    code: "CANCELLED_BY_STORE",
    en: "The store cancelled your order. Please ask the staff.",
    ja: "お店がご注文をキャンセルしました。スタッフにお声がけください。",
    ko: "매장에서 주문을 취소했습니다. 직원에게 문의해 주세요.",
};
const CANCELLING: Words = Words {
    code: "CANCELLING",
    en: "We are trying to cancel your order. It is not cancelled until we say so here.",
    ja: "ご注文のキャンセルを手続き中です。ここに完了と表示されるまで、キャンセルは確定していません。",
    ko: "주문 취소를 처리하고 있습니다. 여기에 완료로 표시될 때까지 취소된 것이 아닙니다.",
};
const NOT_CANCELLED: Words = Words {
    code: "NOT_CANCELLED",
    en: "Your order could not be cancelled: the store still has it. Please ask the staff.",
    ja: "ご注文をキャンセルできませんでした。お店はご注文を受けたままです。スタッフにお声がけください。",
    ko: "주문을 취소하지 못했습니다. 매장에 주문이 남아 있습니다. 직원에게 문의해 주세요.",
};
const STAFF_CHECKING: Words = Words {
    code: "STAFF_CHECKING",
    en: "We told you that your order was not taken, but the store may have it after all. Please ask the staff.",
    ja: "ご注文は受けられなかったとお伝えしましたが、お店に届いている可能性があります。スタッフにご確認ください。",
    ko: "주문이 접수되지 않았다고 안내했지만 매장에 전달되었을 수 있습니다. 직원에게 확인해 주세요.",
};
const UPDATING: Words = Words {
    code: "UPDATING",
    en: "We are updating the status of your order.",
    ja: "ご注文の状況を更新しています。",
    ko: "주문 상태를 업데이트하고 있습니다.",
};

#[cfg(test)]
mod tests {
    use posmesh_proto::{common::v1::Evidence, order::v1::Attempt};

    use super::*;

    /// Every value of the contract's enum, found by number: a state added there is covered here.
    fn all_states() -> Vec<OrderState> {
        (0..64).filter_map(|number| OrderState::try_from(number).ok()).collect()
    }

    fn order(product: Product, state: OrderState, cause: &str) -> Order {
        Order { product: product.into(), state: state.into(), cause: cause.to_owned(), ..Default::default() }
    }

    const PRODUCTS: [Product; 3] = [Product::Table, Product::ToGo, Product::Kiosk];

    #[test]
    fn every_state_of_every_product_has_words_in_three_languages() {
        assert!(all_states().len() >= 12);
        for state in all_states() {
            for product in PRODUCTS {
                for cause in ["", cause::ITEM_SOLD_OUT, cause::NETWORK_DOWN, "NEW_CAUSE"] {
                    let message = message(&order(product, state, cause));
                    assert!(!message.code.is_empty());
                    for language in ["en", "ja", "ko"] {
                        let text = message.texts.get(language).copied().unwrap_or_default();
                        assert!(!text.is_empty(), "{product:?} {state:?} {language}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_state_is_told_by_its_own_message() {
        let told = |state| message(&order(Product::ToGo, state, "")).code;
        let expected = [
            (OrderState::Unspecified, "UPDATING"),
            (OrderState::Pending, "RECEIVED"),
            (OrderState::Held, "SCHEDULED"),
            (OrderState::Sending, "SENDING"),
            (OrderState::InDoubt, "CHECKING_WITH_STORE"),
            (OrderState::Placed, "AT_STORE"),
            (OrderState::InPreparation, "IN_PREPARATION"),
            (OrderState::Ready, "READY_FOR_PICKUP"),
            (OrderState::Completed, "COMPLETED"),
            (OrderState::Rejected, "NOT_TAKEN"),
            (OrderState::Expired, "NOT_DELIVERED"),
            (OrderState::Cancelled, "CANCELLED"),
        ];
        assert_eq!(expected.len(), all_states().len());
        for (state, code) in expected {
            assert_eq!(told(state), code, "{state:?}");
        }
    }

    #[test]
    fn no_text_says_that_the_store_has_an_order_without_evidence() {
        for state in [OrderState::Pending, OrderState::Held, OrderState::Sending, OrderState::InDoubt] {
            for product in PRODUCTS {
                let texts = message(&order(product, state, "")).texts;
                let (en, ja, ko) = (texts["en"], texts["ja"], texts["ko"]);
                assert!(!en.contains("has your order") && !en.contains("placed"), "{state:?}: {en}");
                assert!(!ja.contains("届きました") && !ja.contains("お店がご注文を受け取り"), "{state:?}: {ja}");
                assert!(!ko.contains("도착했습니다") && !ko.contains("매장이 주문을 받았"), "{state:?}: {ko}");
            }
        }
    }

    #[test]
    fn only_a_ticket_or_a_kitchen_display_lets_us_say_that_the_kitchen_has_it() {
        let mut placed = order(Product::Table, OrderState::Placed, "");
        placed.evidence = vec![Evidence { kind: EvidenceKind::Pos.into(), ..Default::default() }];
        assert_eq!(message(&placed).code, "AT_STORE");
        placed.evidence.push(Evidence { kind: EvidenceKind::Printed.into(), ..Default::default() });
        assert_eq!(message(&placed).code, "IN_KITCHEN");
    }

    #[test]
    fn an_order_that_waits_after_a_failed_attempt_is_told_as_not_there_yet() {
        let mut pending = order(Product::Kiosk, OrderState::Pending, cause::NETWORK_DOWN);
        pending.attempts = vec![Attempt::default()];
        assert_eq!(message(&pending).code, "RETRYING");
    }

    #[test]
    fn the_cause_of_a_refusal_is_told_where_the_guest_can_act_on_it() {
        let told = |cause| message(&order(Product::Table, OrderState::Rejected, cause)).code;
        assert_eq!(told(cause::ITEM_SOLD_OUT), "SOLD_OUT");
        assert_eq!(told(cause::CHECK_AWAITING_PAYMENT), "CHECK_TAKES_NO_ORDERS");
        assert_eq!(told("CHECK_MERGED"), "CHECK_TAKES_NO_ORDERS");
        assert_eq!(told(cause::BUSINESS_DAY_NOT_OPEN), "STORE_NOT_OPEN");
        assert_eq!(told(cause::CREDENTIALS_REJECTED), "NOT_TAKEN");
    }

    #[test]
    fn an_end_that_evidence_contradicts_is_taken_back() {
        for state in [OrderState::Rejected, OrderState::Expired, OrderState::Cancelled] {
            let mut ended = order(Product::ToGo, state, "");
            ended.attention = vec![CONTRADICTED_END.to_owned()];
            assert_eq!(message(&ended).code, "STAFF_CHECKING", "{state:?}");
        }
    }

    fn with_wish(state: OrderState, by: &str, wish: OrderChangeState) -> Order {
        let mut change = OrderChange { requested_by: by.to_owned(), state: wish.into(), ..Default::default() };
        change.set_kind(OrderChangeKind::Cancel);
        Order { changes: vec![change], ..order(Product::ToGo, state, "") }
    }

    #[test]
    fn a_wish_to_cancel_is_told_as_a_wish_until_it_is_decided() {
        for state in [OrderState::Sending, OrderState::InDoubt, OrderState::Placed, OrderState::InPreparation] {
            let wished = with_wish(state, "guest", OrderChangeState::Requested);
            assert_eq!((message(&wished).code, has_ended(&wished)), ("CANCELLING", false), "{state:?}");
        }
        let refused = with_wish(OrderState::Placed, "guest", OrderChangeState::Refused);
        assert_eq!(message(&refused).code, "NOT_CANCELLED");
        let ready = with_wish(OrderState::Ready, "guest", OrderChangeState::Refused);
        assert_eq!(message(&ready).code, "READY_FOR_PICKUP", "that is news again");
        let cancelled = with_wish(OrderState::Cancelled, "guest", OrderChangeState::Confirmed);
        assert_eq!((message(&cancelled).code, has_ended(&cancelled)), ("CANCELLED", true));
        let by_store = Order { cause: CANCELLED_AT_POS.to_owned(), ..cancelled };
        assert_eq!(message(&by_store).code, "CANCELLED_BY_STORE");
    }

    #[test]
    fn what_the_platform_tries_to_mend_is_no_wish_of_the_guest() {
        let mut mending = with_wish(OrderState::Expired, PLATFORM, OrderChangeState::Requested);
        mending.attention = vec![CONTRADICTED_END.to_owned()];
        assert_eq!((message(&mending).code, has_ended(&mending)), ("STAFF_CHECKING", false));
    }

    #[test]
    fn a_state_of_a_later_version_is_told_without_a_promise() {
        let order = Order { state: 60, ..Default::default() };
        assert_eq!(message(&order).code, "UPDATING");
    }
}
