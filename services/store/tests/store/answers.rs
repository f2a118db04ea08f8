//! Single calls.

use posmesh_kit::failure;
use posmesh_proto::store::v1::{GetBrandRequest, ListBrandsRequest, ListStoresRequest, Store};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{name, sqlite, store};

fn told(status: &Status) -> (Code, String) {
    (status.code(), failure::reason(status))
}

fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_details_bad_request().unwrap();
    let reason = |description: &str| description.split(':').next().unwrap().to_owned();
    details.field_violations.iter().map(|v| (v.field.clone(), reason(&v.description))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(field, reason)| ((*field).to_owned(), (*reason).to_owned())).collect()
}

#[tokio::test]
async fn a_store_is_read_back_as_it_was_written() {
    let (server, _folder) = sqlite().await;
    let written = server.put(store("shibuya", 0)).await.unwrap();
    assert!(written.update_time.is_some());
    assert_eq!(written, Store { update_time: written.update_time, revision: 1, ..store("shibuya", 0) });
    assert_eq!(server.get("shibuya").await.unwrap(), written);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let (server, _folder) = sqlite().await;
    for absent in ["ueno", "No Such Form", "a\0b"] {
        assert_eq!(
            told(&server.get(absent).await.unwrap_err()),
            (Code::NotFound, "STORE_NOT_FOUND".into()),
            "{absent:?}"
        );
        let request = GetBrandRequest { brand_id: absent.to_owned() };
        let refused = server.client().get_brand(request).await.unwrap_err();
        assert_eq!(told(&refused), (Code::NotFound, "BRAND_NOT_FOUND".into()));
    }
    assert_eq!(told(&server.get("").await.unwrap_err()), (Code::InvalidArgument, "REQUIRED".into()));
    let orphan = Store { brand_id: "nobody".into(), ..store("shibuya", 0) };
    let refused = server.put(orphan).await.unwrap_err();
    assert_eq!(told(&refused), (Code::NotFound, "BRAND_NOT_FOUND".into()));
    assert_eq!(failure::metadata(&refused, "brand_id").as_deref(), Some("nobody"));
}

#[tokio::test]
async fn a_write_on_top_of_what_somebody_else_replaced_is_refused_and_tells_the_revision() {
    let (server, _folder) = sqlite().await;
    server.put(store("shibuya", 0)).await.unwrap();
    let theirs = server.put(Store { name: name("新渋谷店"), ..store("shibuya", 1) }).await.unwrap();
    let refused = server.put(store("shibuya", 1)).await.unwrap_err();
    assert_eq!(told(&refused), (Code::Aborted, "REVISION_CONFLICT".into()));
    assert_eq!(failure::metadata(&refused, "current_revision").as_deref(), Some("2"));
    assert_eq!(server.get("shibuya").await.unwrap(), theirs);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_in_one_answer_and_nothing_is_written() {
    let (server, _folder) = sqlite().await;
    let wrong = Store {
        time_zone: "Asia/Tokio".into(),
        currency_code: "yen".into(),
        locales: vec!["ja".into(), "j".into()],
        name: name("渋谷\0"),
        ..store("shibuya", 0)
    };
    let refused = server.put(wrong).await.unwrap_err();
    assert_eq!(told(&refused), (Code::InvalidArgument, "TEXT_HAS_CONTROL_CHARACTERS".into()));
    assert_eq!(
        violations(&refused),
        pairs(&[
            ("store.name.texts[ja]", "TEXT_HAS_CONTROL_CHARACTERS"),
            ("store.currency_code", "CURRENCY_INVALID"),
            ("store.locales[1]", "LOCALE_INVALID"),
            ("store.time_zone", "TIME_ZONE_UNKNOWN"),
        ])
    );
    assert_eq!(server.get("shibuya").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let (server, _folder) = sqlite().await;
    for store_id in ["e", "b", "d", "a", "c"] {
        server.put(store(store_id, 0)).await.unwrap();
    }
    let (mut seen, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListStoresRequest { page_size: 2, page_token, brand_id: "izakaya".into() };
        let page = server.client().list_stores(request).await.unwrap().into_inner();
        pages += 1;
        seen.extend(page.stores.into_iter().map(|store| store.store_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((seen.join(""), pages), ("abcde".to_owned(), 3));
}

#[tokio::test]
async fn a_page_of_large_stores_ends_before_it_is_too_large_for_a_client() {
    let (server, _folder) = sqlite().await;
    let contact = posmesh_proto::store::v1::StoreContact {
        name: "名".repeat(200),
        uri: format!("https://e.jp/{}", "x".repeat(480)),
    };
    let large = Store { contacts: vec![contact; 20], ..store("x", 0) };
    for i in 0..130 {
        server.put(Store { store_id: format!("s{i:03}"), ..large.clone() }).await.unwrap();
    }
    let first = server.client().list_stores(ListStoresRequest { page_size: 500, ..Default::default() }).await;
    let first = first.unwrap().into_inner();
    assert!(first.stores.len() < 130 && !first.next_page_token.is_empty());
    let request = ListStoresRequest { page_size: 500, page_token: first.next_page_token, ..Default::default() };
    let rest = server.client().list_stores(request).await.unwrap().into_inner();
    assert_eq!(first.stores.len() + rest.stores.len(), 130);
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn a_token_that_is_none_or_of_another_list_is_refused() {
    let (server, _folder) = sqlite().await;
    for store_id in ["a", "b"] {
        server.put(store(store_id, 0)).await.unwrap();
    }
    let list = |brand_id: &str, page_size, page_token: &str| {
        let request = ListStoresRequest { brand_id: brand_id.to_owned(), page_size, page_token: page_token.to_owned() };
        let mut client = server.client();
        async move { client.list_stores(request).await.map(|answer| answer.into_inner()) }
    };
    let of_brand = list("izakaya", 1, "").await.unwrap().next_page_token;
    for (brand_id, token) in [("", "a"), ("", "\0"), ("", of_brand.as_str()), ("", "AAAA")] {
        let refused = list(brand_id, 1, token).await.unwrap_err();
        assert_eq!(told(&refused), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()), "{token:?}");
    }
    let request = ListBrandsRequest { page_size: 1, page_token: of_brand };
    let refused = server.client().list_brands(request).await.unwrap_err();
    assert_eq!(told(&refused), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()));
    let refused = list("", -1, "").await.unwrap_err();
    assert_eq!(told(&refused), (Code::InvalidArgument, "PAGE_SIZE_INVALID".into()));
    let refused = list("No Such Form", 1, "").await.unwrap_err();
    assert_eq!(told(&refused), (Code::InvalidArgument, "ID_INVALID".into()));
}
