//! `GetMenu`, answered with menus that are encoded already: what thousands of guests read is encoded once.

use std::{
    convert::Infallible,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use posmesh_kit::server::MAX_MESSAGE_BYTES;
use posmesh_proto::catalog::v1::GetMenuRequest;
use prost::bytes::Bytes;
use prost_types::Timestamp;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{self, BoxFuture, StdError},
    server::{Grpc, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;

use crate::service::Service;

const PATH: &str = "/posmesh.catalog.v1.CatalogService/GetMenu";

/// `GetMenuResponse` with the menu as the bytes that it is encoded to: on the wire a message within a message is a field of
/// bytes ([protobuf's encoding, "Length-Delimited Records"](https://protobuf.dev/programming-guides/encoding/)).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    /// Empty, and so absent, where it is not modified.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) menu: Bytes,
    #[prost(bool, tag = "2")]
    pub(crate) not_modified: bool,
    #[prost(string, tag = "3")]
    pub(crate) etag: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) change_time: Option<Timestamp>,
}

/// Lets `GetMenu` be answered from here, instead of by the generated server, which would encode each answer anew.
pub(crate) fn add(routes: &mut Routes, service: Arc<Service>) {
    let router = routes.axum_router_mut();
    *router = mem::take(router).route_service(PATH, GetMenu(service));
}

#[derive(Clone)]
struct GetMenu(Arc<Service>);

impl<B> codegen::Service<codegen::http::Request<B>> for GetMenu
where
    B: codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = codegen::http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: codegen::http::Request<B>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move {
            let codec: ProstCodec<Answer, GetMenuRequest> = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(grpc.unary(method, request).await)
        })
    }
}

impl UnaryService<GetMenuRequest> for GetMenu {
    type Response = Answer;
    type Future = BoxFuture<Response<Answer>, Status>;

    fn call(&mut self, request: Request<GetMenuRequest>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { Ok(Response::new(service.answer_menu(request.into_inner()).await?)) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use posmesh_proto::catalog::v1::{GetMenuResponse, Menu, catalog_service_server::SERVICE_NAME};
    use prost::Message as _;

    use super::*;

    #[test]
    fn an_answer_made_of_encoded_bytes_is_the_one_that_the_contract_says() {
        assert_eq!(PATH, format!("/{SERVICE_NAME}/GetMenu"));
        let menu = Menu { store_id: "ebisu".to_owned(), catalog_version: 7, ..Menu::default() };
        let change_time = Some(Timestamp { seconds: 1_795_359_600, nanos: 5 });
        let answer =
            Answer { menu: menu.encode_to_vec().into(), not_modified: false, etag: "e".to_owned(), change_time };
        let told = GetMenuResponse { menu: Some(menu), not_modified: false, etag: "e".to_owned(), change_time };
        assert_eq!(GetMenuResponse::decode(answer.encode_to_vec().as_slice()).unwrap(), told);
        let unchanged = Answer { menu: Bytes::new(), not_modified: true, etag: "e".to_owned(), change_time: None };
        let told = GetMenuResponse { menu: None, not_modified: true, etag: "e".to_owned(), change_time: None };
        assert_eq!(GetMenuResponse::decode(unchanged.encode_to_vec().as_slice()).unwrap(), told);
    }
}
