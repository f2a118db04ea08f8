//! Bugs on purpose, to prove that the simulation finds such: each sits in a wrapper around real code.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use posmesh_kit::{Channel, time};
use posmesh_proto::adapter::v1::{FindOrderRequest, SubmitOrderRequest};
use prost::Message;
use tonic::{Status, body::Body};
use tower::{Service as _, service_fn};

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A submit that failed is sent again at once.
    BlindRetry,
    /// Who takes an order over sends it, without asking the POS first.
    TakeoverSends,
    /// The time after which nobody may write is not kept.
    NotAfterIgnored,
    /// An order is confirmed before it is durable.
    AckBeforeCommit,
    /// A change does not look at the version that it replaces.
    MissingFence,
    /// A submit in doubt is sent again even when the vendor does not recognize it any more.
    ReplayOutsideWindow,
    /// An answer that comes when somebody else has the order is thrown away.
    LateAnswerDropped,
    /// A round does not wait for the one before it.
    RoundOvertakes,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BlindRetry,
        Self::TakeoverSends,
        Self::NotAfterIgnored,
        Self::AckBeforeCommit,
        Self::MissingFence,
        Self::ReplayOutsideWindow,
        Self::LateAnswerDropped,
        Self::RoundOvertakes,
    ];

    /// The order service's way to the router, with this bug in it if it belongs there.
    pub(crate) fn on_the_way(self, router: Channel) -> Channel {
        if !matches!(self, Self::BlindRetry | Self::NotAfterIgnored | Self::ReplayOutsideWindow) {
            return router;
        }
        let submits = Submits::default();
        let service = service_fn(move |request: Request<Body>| {
            let (router, submits) = (router.clone(), submits.clone());
            async move { Ok::<_, Infallible>(self.pass(router, &submits, request).await) }
        });
        Channel::in_process("router", service)
    }

    async fn pass(self, router: Channel, submits: &Submits, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(status) => return status.into_http(),
        };
        let (submits_order, finds) =
            (head.uri.path().ends_with("/SubmitOrder"), head.uri.path().ends_with("/FindOrder"));
        match self {
            Self::NotAfterIgnored if submits_order => body = without_end(&body),
            Self::ReplayOutsideWindow if submits_order => submits.remember(&head, &body),
            Self::ReplayOutsideWindow if finds => submits.replay(&router, &body).await,
            _ => {}
        }
        let answer = call(&router, &head, &body).await;
        let failed = answer.headers().get("grpc-status").is_some_and(|status| status != "0");
        if self == Self::BlindRetry && submits_order && failed {
            return call(&router, &head, &body).await;
        }
        answer
    }
}

async fn call(router: &Channel, head: &http::request::Parts, body: &Bytes) -> Response<Body> {
    let mut request = Request::new(Body::new(Full::new(body.clone())));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    router.clone().call(request).await.unwrap_or_else(Status::into_http)
}

/// The one message in a gRPC body: a flag, a length, the message.
fn message<M: Message + Default>(body: &Bytes) -> M {
    body.get(5..).and_then(|bytes| M::decode(bytes).ok()).unwrap_or_default()
}

fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut body = BytesMut::with_capacity(encoded.len() + 5);
    body.put_u8(0);
    body.put_u32(encoded.len() as u32);
    body.put_slice(&encoded);
    body.freeze()
}

fn without_end(body: &Bytes) -> Bytes {
    let mut submit: SubmitOrderRequest = message(body);
    submit.not_after = Some(time::from_unix_ms(time::now_unix_ms() + 3_600_000));
    framed(&submit)
}

/// What was submitted last for each order.
#[derive(Clone, Default)]
struct Submits(Arc<Mutex<BTreeMap<String, (http::request::Parts, Bytes)>>>);

impl Submits {
    fn remember(&self, head: &http::request::Parts, body: &Bytes) {
        let reference = message::<SubmitOrderRequest>(body).order.unwrap_or_default().reference;
        let mut submits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        submits.insert(reference, (head.clone(), body.clone()));
    }

    async fn replay(&self, router: &Channel, find: &Bytes) {
        let reference = message::<FindOrderRequest>(find).reference;
        let submit = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&reference).cloned();
        if let Some((head, body)) = submit {
            let body = without_end(&body);
            // Whatever comes of it.
            let _ = tokio::time::timeout(Duration::from_secs(2), call(router, &head, &body)).await;
        }
    }
}
