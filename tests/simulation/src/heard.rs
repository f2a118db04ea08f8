//! The order service's way to the router: what each replica heard there about orders is noted, to compare with what it
//! made durable; bugs on purpose sit here, too.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header, request, response};
use http_body_util::{BodyExt as _, Full};
use posmesh_kit::{Channel, cause};
use posmesh_proto::adapter::v1::{
    NotHandedOver, SubmitOrderRequest, SubmitOrderResponse, SubmitOutcome, submit_outcome::Outcome,
};
use prost::Message;
use tonic::{Status, body::Body};
use tower::{Service as _, service_fn};

use crate::{
    guests::operator::FALLBACK,
    planted::{Planted, Submits},
    world::Now,
};

/// A yes of the POS that reached a replica.
#[derive(Debug, Clone)]
pub(crate) struct Yes {
    pub(crate) replica: usize,
    pub(crate) order_id: String,
    pub(crate) at_ms: u64,
}

/// Every yes that any replica heard. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Heard {
    list: Arc<Mutex<Vec<Yes>>>,
    now: Now,
}

impl Heard {
    pub(crate) fn new(now: Now) -> Self {
        Self { list: Arc::default(), now }
    }

    pub(crate) fn list(&self) -> Vec<Yes> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, replica: usize, call: &Call, answer: &Answer) {
        let outcome = message::<SubmitOrderResponse>(&answer.body).outcome.and_then(|o| o.outcome);
        if !call.submits() || !matches!(outcome, Some(Outcome::Placed(_))) {
            return;
        }
        let order_id = message::<SubmitOrderRequest>(&call.body).order.unwrap_or_default().reference;
        let yes = Yes { replica, order_id, at_ms: self.now.ms() };
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(yes);
    }

    /// The way of one replica to the router, with a bug in it if one belongs there.
    pub(crate) fn on_the_way(&self, router: Channel, replica: usize, bug: Option<Planted>) -> Channel {
        let (heard, submits) = (self.clone(), Submits::default());
        let service = service_fn(move |request: Request<Body>| {
            let (heard, mut router, submits) = (heard.clone(), router.clone(), submits.clone());
            async move {
                let path = request.uri().path();
                if !path.ends_with("/SubmitOrder") && !path.ends_with("/FindOrder") {
                    return Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(Status::into_http));
                }
                let call = match Call::of(request).await {
                    Ok(call) => call,
                    Err(status) => return Ok(status.into_http()),
                };
                let answer = match bug {
                    Some(bug) => bug.pass(&router, &submits, call.clone()).await,
                    None => call.clone().go(&router).await,
                };
                heard.note(replica, &call, &answer);
                Ok(answer.into_response())
            }
        });
        Channel::in_process("router", service)
    }
}

/// A unary call, whole.
#[derive(Clone)]
pub(crate) struct Call {
    head: request::Parts,
    pub(crate) body: Bytes,
}

impl Call {
    async fn of(request: Request<Body>) -> Result<Self, Status> {
        let (head, body) = request.into_parts();
        Ok(Self { head, body: body.collect().await?.to_bytes() })
    }

    pub(crate) fn submits(&self) -> bool {
        self.head.uri.path().ends_with("/SubmitOrder")
    }

    /// Whether it tells the POS of an order whose ticket the kitchen has.
    pub(crate) fn enters(&self) -> bool {
        let without_ticket =
            || message::<SubmitOrderRequest>(&self.body).order.is_some_and(|order| order.without_ticket);
        self.submits() && without_ticket()
    }

    /// Whether it has the fallback print an order.
    pub(crate) fn is_diverted(&self) -> bool {
        let target = || message::<SubmitOrderRequest>(&self.body).target.unwrap_or_default();
        self.submits() && target().connection_id == FALLBACK
    }

    pub(crate) fn finds(&self) -> bool {
        self.head.uri.path().ends_with("/FindOrder")
    }

    pub(crate) async fn go(self, router: &Channel) -> Answer {
        let request = Request::from_parts(self.head, Body::new(Full::new(self.body)));
        let response = router.clone().call(request).await.unwrap_or_else(Status::into_http);
        let (head, body) = response.into_parts();
        match body.collect().await {
            Ok(body) => {
                let trailers = body.trailers().cloned();
                Answer { head, body: body.to_bytes(), trailers }
            }
            Err(status) => {
                let (head, _) = status.into_http::<Body>().into_parts();
                Answer { head, body: Bytes::new(), trailers: None }
            }
        }
    }
}

/// The answer to one.
pub(crate) struct Answer {
    head: response::Parts,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Answer {
    /// Whether it tells what became of a submit.
    pub(crate) fn is_certain(&self) -> bool {
        let outcome = message::<SubmitOrderResponse>(&self.body).outcome.and_then(|o| o.outcome);
        !matches!(outcome, None | Some(Outcome::InDoubt(_)))
    }

    /// The proof that nothing was handed over.
    pub(crate) fn never_sent() -> Self {
        let not_handed_over = NotHandedOver { cause: cause::NETWORK_DOWN.to_owned(), ..NotHandedOver::default() };
        let outcome = SubmitOutcome { outcome: Some(Outcome::NotHandedOver(not_handed_over)) };
        let body = framed(&SubmitOrderResponse { outcome: Some(outcome), ..SubmitOrderResponse::default() });
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        Self { head, body, trailers: Some(trailers) }
    }

    fn into_response(self) -> Response<Body> {
        let trailers = self.trailers.map(Ok);
        let body = Full::new(self.body).with_trailers(std::future::ready(trailers));
        Response::from_parts(self.head, Body::new(body))
    }
}

/// The one message in a gRPC body: a flag, a length, the message.
pub(crate) fn message<M: Message + Default>(body: &Bytes) -> M {
    body.get(5..).and_then(|bytes| M::decode(bytes).ok()).unwrap_or_default()
}

/// A gRPC body of one message.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut body = BytesMut::with_capacity(encoded.len() + 5);
    body.put_u8(0);
    body.put_u32(encoded.len() as u32);
    body.put_slice(&encoded);
    body.freeze()
}
