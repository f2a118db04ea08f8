use posmesh_proto::order::v1::OrderState;

use crate::support::*;

/// A ToGo order that is watched: its id, path of events and token.
async fn watched(gateway: &Gateway) -> (String, String, String) {
    let (path, token) = gateway.order_ahead(KEY).await;
    let order_id = path.rsplit('/').next().unwrap().to_owned();
    (order_id, format!("{path}/events"), token)
}

#[tokio::test]
async fn events_tell_the_order_as_it_is_then_each_change_and_end_with_it() {
    let gateway = gateway().await;
    let (order_id, path, token) = watched(&gateway).await;
    let mut events = Events::new(gateway.get(&path).bearer_auth(&token).send().await.unwrap());
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_str()), ("order", "1"));
    assert_eq!(first.data["state"], "SENDING");
    assert_eq!(first.data["guest_message"]["code"], "SENDING");
    gateway.fakes.orders.advance(&order_id, OrderState::Placed, |_| ());
    let placed = events.next().await.unwrap();
    assert_eq!((placed.id.as_str(), placed.data["state"].as_str()), ("2", Some("PLACED")));
    assert_eq!(placed.data["display_number"], "A-12");
    gateway.fakes.orders.advance(&order_id, OrderState::Completed, |_| ());
    assert_eq!(events.state().await, "COMPLETED");
    assert!(events.next().await.is_none(), "the stream goes on after the end");
}

#[tokio::test]
async fn a_round_is_watched_with_the_guest_token() {
    let gateway = gateway().await;
    let (token, _) = gateway.sit_down(0).await;
    let order_id = gateway.order_round(&token, KEY).await;
    let path = format!("/table/v1/check/rounds/{order_id}/events");
    let mut events = Events::new(gateway.get(&path).bearer_auth(&token).send().await.unwrap());
    assert_eq!(events.state().await, "SENDING");
    gateway.fakes.orders.advance(&order_id, OrderState::Rejected, |order| order.cause = "ITEM_SOLD_OUT".to_owned());
    assert_eq!(events.next().await.unwrap().data["guest_message"]["code"], "SOLD_OUT");
}

#[tokio::test]
async fn last_event_id_resumes_after_what_the_guest_has_seen() {
    let gateway = gateway().await;
    let (order_id, path, token) = watched(&gateway).await;
    gateway.fakes.orders.advance(&order_id, OrderState::Placed, |_| ());
    let request = gateway.get(&path).bearer_auth(&token).header("Last-Event-ID", "2");
    let mut events = Events::new(request.send().await.unwrap());
    gateway.fakes.orders.advance(&order_id, OrderState::Ready, |_| ());
    let next = events.next().await.unwrap();
    assert_eq!((next.id.as_str(), next.data["state"].as_str()), ("3", Some("READY")));
}

#[tokio::test]
async fn a_last_event_id_that_means_nothing_begins_anew() {
    let gateway = gateway().await;
    let (_, path, token) = watched(&gateway).await;
    let request = gateway.get(&path).bearer_auth(&token).header("Last-Event-ID", "nonsense");
    assert_eq!(Events::new(request.send().await.unwrap()).state().await, "SENDING");
}

#[tokio::test]
async fn a_guest_who_has_seen_the_end_is_told_not_to_reconnect() {
    let gateway = gateway().await;
    let (order_id, path, token) = watched(&gateway).await;
    gateway.fakes.orders.advance(&order_id, OrderState::Expired, |_| ());
    let missed = gateway.get(&path).bearer_auth(&token).header("Last-Event-ID", "1").send().await.unwrap();
    let mut missed = Events::new(missed);
    assert_eq!(missed.state().await, "EXPIRED");
    assert!(missed.next().await.is_none());
    let seen = gateway.get(&path).bearer_auth(&token).header("Last-Event-ID", "2").send().await.unwrap();
    assert_eq!(seen.status(), 204);
}

#[tokio::test]
async fn a_broken_stream_to_the_order_service_is_mended_behind_the_guests_back() {
    let gateway = gateway().await;
    let (order_id, path, token) = watched(&gateway).await;
    let mut events = Events::new(gateway.get(&path).bearer_auth(&token).send().await.unwrap());
    assert_eq!(events.state().await, "SENDING");
    for (round, state) in [OrderState::Placed, OrderState::InPreparation].into_iter().enumerate() {
        gateway.fakes.orders.cut_watches();
        gateway.fakes.orders.advance(&order_id, state, |_| ());
        let event = events.next().await.unwrap();
        assert_eq!(event.id, (round + 2).to_string(), "a change was lost or told twice");
    }
    let tokens: Vec<_> = gateway.fakes.orders.watched().into_iter().map(|watch| watch.resume_token).collect();
    assert_eq!(tokens[0], "");
    assert!(tokens.len() >= 2 && tokens[1..].iter().all(|token| !token.is_empty()), "{tokens:?}");
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_until_one_ends() {
    let gateway = gateway().await;
    let (_, path, token) = watched(&gateway).await;
    let open = async || gateway.get(&path).bearer_auth(&token).send().await.unwrap();
    let (first, _second) = (Events::new(open().await), Events::new(open().await));
    let refused = open().await;
    assert_eq!(header(&refused, "retry-after"), "5");
    problem(refused, 503, "TOO_MANY_STREAMS").await;
    drop(first);
    let due = tokio::time::Instant::now() + PATIENCE;
    while open().await.status() != 200 {
        assert!(tokio::time::Instant::now() < due, "the place was never given back");
    }
}

#[tokio::test]
async fn a_shutdown_ends_event_streams_at_once() {
    let gateway = gateway().await;
    let (_, path, token) = watched(&gateway).await;
    let mut events = Events::new(gateway.get(&path).bearer_auth(&token).send().await.unwrap());
    assert_eq!(events.state().await, "SENDING");
    gateway.shutdown.cancel();
    assert!(events.next().await.is_none());
    tokio::time::timeout(PATIENCE, gateway.running).await.expect("the gateway does not end").unwrap();
}
