//! Calls about links.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use posmesh_kit::{Violation, time};
use posmesh_proto::{
    adapter::v1::PosTarget,
    router::v1::{
        Link, LinkEvidenceKind, LinkReport, LinkState, ListLinkEventsRequest, ListLinkEventsResponse, ListLinksRequest,
        ListLinksResponse, ReportLinksRequest,
    },
};

use super::{
    Links, judge,
    table::{Entry, Key},
};
use crate::{
    domain::link::{Seen, Weight},
    error::{Error, shortened},
    request::{can_exist, page_size, page_token},
    snapshot::Way,
};

/// How far a vendor's clock may be ahead of ours.
const MAX_AHEAD_MS: i64 = 60_000;
const MAX_REPORTS: usize = 500;

impl Links {
    pub(crate) fn list(&self, tenant_id: &str, request: ListLinksRequest) -> Result<ListLinksResponse, Error> {
        let ListLinksRequest { store_id, states, page_size: asked, page_token: token } = request;
        let (size, after) = (page_size(asked)?, page_token(&token)?);
        if !store_id.is_empty() && !can_exist("store_id", &store_id)? {
            return Ok(ListLinksResponse::default());
        }
        let table = self.table();
        let is_meant = |entry: &Entry| store_id.is_empty() || entry.way.stored.connection.store_id == store_id;
        let meant = table.of_tenant(tenant_id, &after).filter(|(_, entry)| is_meant(entry));
        let links = meant.filter_map(|(key, _)| table.shown(key));
        let mut links: Vec<Link> =
            links.filter(|link| states.is_empty() || states.contains(&link.state)).take(size + 1).collect();
        let more = links.len() > size;
        links.truncate(size);
        let last = links.last().filter(|_| more);
        let next_page_token = last.map(|link| BASE64.encode(&link.connection_id)).unwrap_or_default();
        Ok(ListLinksResponse { links, next_page_token })
    }

    pub(crate) async fn events(
        &self,
        tenant_id: &str,
        request: ListLinkEventsRequest,
    ) -> Result<ListLinkEventsResponse, Error> {
        let size = page_size(request.page_size)?;
        let below = match page_token(&request.page_token)? {
            token if token.is_empty() => i64::MAX,
            token => token.parse().map_err(|_| bad_page_token())?,
        };
        let way = self.way(tenant_id, &request.connection_id).await?;
        let mut events = self.storage.link_events(tenant_id, way.id(), below, size + 1).await?;
        let more = events.len() > size;
        events.truncate(size);
        let last = events.last().filter(|_| more);
        let next_page_token = last.map(|event| BASE64.encode(event.version.to_string())).unwrap_or_default();
        Ok(ListLinkEventsResponse { events, next_page_token })
    }

    /// Probes a connection now, and waits for the answer.
    pub(crate) async fn probe_now(&self, tenant_id: &str, connection_id: &str) -> Result<Link, Error> {
        let way = self.way(tenant_id, connection_id).await?;
        let key = Key::of(&way);
        if !self.table().entries.contains_key(&key) {
            // It was written a moment ago.
            self.refresh().await;
        }
        let probe = self.begin_now(&key).map_err(|after| Error::ProbedTooOften { after })?;
        self.probe(probe).await;
        let table = self.table();
        let entry = table.entries.get(&key).ok_or_else(|| not_found(connection_id))?;
        Ok(entry.seen())
    }

    /// Takes in what vendors say by themselves; all of a call or nothing.
    pub(crate) async fn report(&self, request: ReportLinksRequest) -> Result<(), Error> {
        let ReportLinksRequest { instance_id, reports } = request;
        let snapshot = self.caller.directory.snapshot();
        let instance = snapshot.instances.get(&instance_id).ok_or_else(|| {
            let message = "names no live instance of an adapter; register it first";
            Violation::new("INSTANCE_UNKNOWN", "instance_id", message)
        })?;
        if reports.len() > MAX_REPORTS {
            return Err(Violation::new("TOO_MANY", "reports", format!("at most {MAX_REPORTS} at once")).into());
        }
        let now_ms = time::now_unix_ms();
        let wrong: Vec<Violation> = reports.iter().enumerate().filter_map(|(i, r)| check(i, r, now_ms)).collect();
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        let mut taken = Vec::with_capacity(reports.len());
        for (i, report) in reports.into_iter().enumerate() {
            let way = self.way(&report.tenant_id, &report.connection_id).await?;
            if !instance.serves(&way) {
                let message = "is a connection that the instance does not serve";
                return Err(Violation::new("NOT_SERVED", format!("reports[{i}].connection_id"), message).into());
            }
            taken.push((way, report));
        }
        for (way, report) in taken {
            self.take_report(&way, &report, now_ms);
        }
        Ok(())
    }

    fn take_report(&self, way: &Way, report: &LinkReport, now_ms: i64) {
        let key = Key::of(way);
        let (newest_ms, askable) = {
            let table = self.table();
            let Some(entry) = table.entries.get(&key) else { return };
            let newest = entry.tracker.link().evidence.as_ref().and_then(|evidence| evidence.time.as_ref());
            (newest.map_or(i64::MIN, time::to_unix_ms), entry.tracker.is_askable())
        };
        // What is known may come from a clock that was set back since.
        if report.time.as_ref().map_or(0, time::to_unix_ms) < newest_ms.min(now_ms) {
            return;
        }
        let fault = || judge::fault(&report.failing_hop, &report.cause, &report.message);
        let well = |degraded| Seen::Well { degraded, latency: None, version: String::new() };
        let seen = match report.state() {
            LinkState::Online => well(None),
            LinkState::Degraded => well(Some(fault())),
            _ => {
                // Where the POS can be asked, it is.
                let weight = if askable { Weight::Call } else { Weight::Certain };
                Seen::Failed { fault: fault(), weight }
            }
        };
        self.saw(way, LinkEvidenceKind::Heartbeat, seen);
    }

    async fn way(&self, tenant_id: &str, connection_id: &str) -> Result<Arc<Way>, Error> {
        if !can_exist("connection_id", connection_id)? {
            return Err(not_found(connection_id));
        }
        let target = PosTarget { connection_id: connection_id.to_owned(), ..PosTarget::default() };
        self.caller.directory.find(tenant_id, &target).await
    }
}

fn check(i: usize, report: &LinkReport, now_ms: i64) -> Option<Violation> {
    let field = |name: &str| format!("reports[{i}].{name}");
    let Some(time) = &report.time else {
        return Some(Violation::new("REQUIRED", field("time"), "say when the vendor said so"));
    };
    if time::to_unix_ms(time) > now_ms.saturating_add(MAX_AHEAD_MS) {
        let message = "is more than a minute ahead of the router's clock; set the vendor's clock, or the adapter's";
        return Some(Violation::new("IN_THE_FUTURE", field("time"), message));
    }
    let told = [LinkState::Online, LinkState::Degraded, LinkState::Offline];
    if !LinkState::try_from(report.state).is_ok_and(|state| told.contains(&state)) {
        return Some(Violation::new("UNKNOWN_VALUE", field("state"), "is ONLINE, DEGRADED or OFFLINE"));
    }
    if report.tenant_id.is_empty() {
        return Some(Violation::new("REQUIRED", field("tenant_id"), "as in the context of the connection's calls"));
    }
    None
}

fn not_found(connection_id: &str) -> Error {
    Error::ConnectionNotFound(format!("{:?}", shortened(connection_id)))
}

fn bad_page_token() -> Error {
    let message = "take the token from the page before, or leave it empty";
    Violation::new("PAGE_TOKEN_INVALID", "page_token", message).into()
}
