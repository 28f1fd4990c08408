//! `GET /v1/ws`: one connection for the events of many runs. What is said on it is in [`protocol`], the life of a
//! connection in [`session`]; here is who may open one.
//!
//! A page of another origin may not, unless the operator names it ([`origin`]).

pub(super) mod protocol;
mod session;

use super::Api;
use super::body::Query;
use super::codes::Code;
use super::faults::BUSY_MS;
use super::openapi::Problems;
use super::origin;
use super::problem::Problem;
use super::server::Place;
use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use heddle_core::id::Tenant;
use hyper::HeaderMap;
use hyper::header::{HeaderValue, UPGRADE};
use session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Bytes that are gathered for one write.
const WRITE_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(open))
}

/// The open WebSockets.
#[derive(Debug)]
pub(super) struct Sockets {
    most: usize,
    open: Mutex<HashMap<Tenant, usize>>,
}

impl Sockets {
    /// None yet, at most so many of each tenant.
    pub(super) fn new(most: u64) -> Sockets {
        Sockets { most: most as usize, open: Mutex::default() }
    }
    fn admit(self: &Arc<Self>, tenant: &Tenant) -> Result<Open, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(tenant.clone()).or_default();
        if *count >= self.most {
            let detail =
                format!("{} WebSockets are open already (`limits.ws_connections`); close one", self.most);
            return Err(Problem::new(Code::QuotaExceeded, detail).after(BUSY_MS));
        }
        *count += 1;
        Ok(Open { sockets: self.clone(), tenant: tenant.clone() })
    }
}

/// The right to one WebSocket; given back when dropped.
#[derive(Debug)]
struct Open {
    sockets: Arc<Sockets>,
    tenant: Tenant,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.sockets.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// Follow many runs on one connection: a WebSocket.
///
/// Each message is a JSON object in a text frame, of the client `SocketRequest`, of the node `SocketMessage`. The events
/// are those of `/v1/runs/{id}/events`; `cursor` is where to go on with `after`. The node closes with 1001 when it ends,
/// 1013 where the client reads too slowly, 1008 after too many faults, 1003 after a binary message, 1009 after one that
/// is too large.
#[utoipa::path(
    get, path = "/v1/ws", tag = "runs", operation_id = "openSocket",
    responses(
        (status = 101, description = "The WebSocket is open."),
        (status = 426, description = "The request asks for no WebSocket.", body = super::problem::ProblemBody, content_type = "application/problem+json"),
        Problems,
    ),
)]
async fn open(
    State(api): State<Api>,
    place: Option<Extension<Place>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    Query::of(query.as_deref()).finish()?;
    origin::check(&headers, &api.app.origins, "open a WebSocket")?;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Ok(no_upgrade(&rejection)),
    };
    let tenant = Tenant::default();
    let held = (api.sockets.admit(&tenant)?, place);
    let most = api.app.limits.ws_message_bytes as usize;
    let upgrade = upgrade.max_message_size(most).max_frame_size(most).write_buffer_size(WRITE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        Session::new(&api, tenant, socket).serve().await;
        drop(held);
    }))
}

/// The answer to a request that opens no WebSocket, with what would.
fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Response {
    let why = rejection.body_text();
    let detail = format!(
        "this is a WebSocket, and the request asks for none ({}); open it with a WebSocket client over HTTP/1.1",
        why.trim_end_matches('.')
    );
    let mut response = Problem::new(Code::UpgradeRequired, detail).into_response();
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_own_room() {
        let sockets = Arc::new(Sockets::new(1));
        let (one, other) = (Tenant::default(), Tenant("other".into()));
        let held = sockets.admit(&one).unwrap();
        assert_eq!(sockets.admit(&one).unwrap_err().code, Code::QuotaExceeded);
        let _other = sockets.admit(&other).unwrap();
        drop(held);
        sockets.admit(&one).unwrap();
    }
}
