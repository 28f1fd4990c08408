//! `POST /mcp`: the Model Context Protocol, 2026-07-28 and, by `initialize`, those before it.
//!
//! Workflows and plugins are tools ([`tools`]), a call of one is a run ([`call`]), a run that takes longer is a task
//! ([`polled`]), what a run asks people is a form ([`asks`]), and runs and workflows can be read ([`resources`]). There
//! are no sessions: whatever a client has to come back with is the id of a run, so a node that stops takes nothing along.
//!
//! The framing is rmcp's. Before it, the request is held to the bounds of every other one, and who sends it is read from
//! the same headers.

mod asks;
mod call;
mod faults;
mod polled;
mod resources;
mod tools;

use crate::door::Who;
use crate::http::Api;
use crate::http::body::{self, Bound};
use crate::http::caller::caller;
use crate::http::guard::is_traceparent;
use crate::http::origin;
use crate::http::runs::detail;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use faults::refused;
use heddle_executor::RunDetail;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CustomRequest, CustomResult, ErrorCode,
    ErrorData, GetTaskParams, GetTaskResult, Implementation, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Where it is.
const PATH: &str = "/mcp";
/// The header of a client that ends its connection when it gives a call up.
pub(crate) const GIVES_UP: &str = "heddle-gives-up";
/// What a model is told of this server.
const INSTRUCTIONS: &str = "Each tool runs a durable workflow. A call that takes long answers with the id of its run; \
`heddle_run` tells how that stands and what came of it. A call that is given up before it was answered cancels its run. \
What a run asks people is for people to answer.";

/// The route.
pub(crate) fn route(api: &Api) -> Router<Api> {
    let mut config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(api.app.doors.hosts.iter().cloned())
        .disable_allowed_origins();
    config.legacy_session_mode = false;
    config.json_response = true;
    config.max_request_body_bytes = api.app.limits.body_bytes as usize;
    let door = Door { api: api.clone() };
    let service = StreamableHttpService::new(
        {
            let door = door.clone();
            move || Ok(door.clone())
        },
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Router::new().route(PATH, any(move |request: Request| answer(door, service, request)))
}

async fn answer(
    door: Door,
    service: StreamableHttpService<Door, NeverSessionManager>,
    request: Request,
) -> Response {
    let (mut parts, mut content) = request.into_parts();
    let host = origin::check_host(&parts.headers, parts.uri.host(), &door.api.app.doors.hosts);
    let origin = host.and_then(|()| origin::check(&parts.headers, &door.api.app.origins, "call tools"));
    match origin.and_then(|()| caller(&parts.headers)) {
        Ok(caller) => parts.extensions.insert(caller),
        Err(problem) => return problem.into_response(),
    };
    if parts.method == Method::POST {
        match body::read(&parts.headers, content, Bound::small(&door.api.app.limits)).await {
            Ok(bytes) => match malformed(&bytes) {
                Some(fault) => return (StatusCode::BAD_REQUEST, Json(fault)).into_response(),
                None => content = Body::from(bytes),
            },
            Err(problem) => return problem.into_response(),
        }
    }
    service.handle(Request::from_parts(parts, content)).await.map(Body::new)
}

/// Why a body is no message of the protocol, in its own words.
fn malformed(bytes: &[u8]) -> Option<Value> {
    let fault = |code: i32, message: String| {
        Some(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } }))
    };
    match serde_json::from_slice::<Value>(bytes) {
        Err(error) => fault(-32_700, format!("the body is not JSON: {error}")),
        Ok(Value::Object(message)) if message.get("jsonrpc") == Some(&json!("2.0")) => None,
        Ok(Value::Object(_)) => fault(-32_600, "`jsonrpc` is \"2.0\"".to_owned()),
        Ok(_) => fault(-32_600, "a message is one object; batches are not part of the protocol".to_owned()),
    }
}

/// Methods whose parameters are read before they come here: what comes as something unknown has parameters that do not fit.
const KNOWN: [&str; 9] = [
    "initialize",
    "tools/call",
    "tools/list",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

/// What answers a request.
#[derive(Clone, Debug)]
struct Door {
    api: Api,
}

/// Who calls, and what their client can do.
#[derive(Clone, Debug)]
struct Client {
    who: Who,
    /// It knows tasks.
    tasks: bool,
    /// It shows forms to its user.
    elicits: bool,
    /// It can be answered with a form instead of a result.
    answers: bool,
    /// Where its connection ends, it has given its call up: so since 2026-07-28, and where `heddle mcp` says it.
    leaves: bool,
}

impl Client {
    fn of(context: &RequestContext<RoleServer>) -> Client {
        let parts = context.extensions.get::<Parts>().map(|parts| &parts.extensions);
        // A person answers what a model has asked for, so where nobody is known by name these are two.
        let mut who = Who::of(parts, "mcp", "mcp-person");
        let said = context.meta.get("traceparent").and_then(Value::as_str);
        if let Some(said) = said.filter(|text| is_traceparent(text)) {
            who.traceparent = Some(said.to_owned());
        }
        let request = context.extensions.get::<Parts>();
        let says_so = request.is_some_and(|parts| parts.headers.contains_key(GIVES_UP));
        let can = context.client_capabilities().unwrap_or_default();
        let forms = can.elicitation.as_ref().is_some_and(|can| can.form.is_some() || can.url.is_none());
        let version = context.protocol_version();
        let modern =
            version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str());
        Client {
            who,
            tasks: can.supports_tasks(),
            elicits: forms,
            answers: forms && modern,
            leaves: modern || says_so,
        }
    }
}

impl Door {
    /// A run of the tenant by its id.
    async fn run(&self, id: &str) -> Result<RunDetail, ErrorData> {
        detail(&self.api, id).await.map_err(refused)
    }
    /// How long a call may wait.
    fn longest(&self) -> Duration {
        Duration::from_millis(self.api.app.limits.call_wait_ms)
    }
}

impl ServerHandler for Door {
    fn get_info(&self) -> ServerConfig {
        let can = ServerCapabilities::builder().enable_tools().enable_resources().enable_tasks().build();
        let heddle = Implementation::new("heddle", env!("CARGO_PKG_VERSION")).with_title("Heddle");
        ServerConfig::new(can).with_server_info(heddle).with_instructions(INSTRUCTIONS)
    }
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method: String = request.method.chars().take(100).collect();
        Err(match KNOWN.contains(&&*method) {
            true => {
                ErrorData::invalid_params(format!("the parameters of `{method}` do not have its form"), None)
            }
            false => {
                let said = format!("there is no method `{method}` here");
                ErrorData::new(ErrorCode::METHOD_NOT_FOUND, said, None)
            }
        })
    }
    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let offered = tools::all(&self.api).await.map_err(refused)?;
        let all: Vec<_> = tools::own().into_iter().chain(offered.iter().map(tools::tool)).collect();
        let page = self.api.app.limits.page_items as usize;
        let from = match request.and_then(|request| request.cursor) {
            None => 0,
            Some(cursor) => {
                let at = all.iter().position(|tool| tool.name == cursor);
                let fault = || ErrorData::invalid_params("`cursor` is no `nextCursor` of a page", None);
                at.ok_or_else(fault)? + 1
            }
        };
        let next = all.get(from + page - 1).filter(|_| all.len() > from + page);
        let next_cursor = next.map(|tool| tool.name.to_string());
        let shown = all.into_iter().skip(from).take(page).collect();
        Ok(ListToolsResult { next_cursor, ..ListToolsResult::with_all_items(shown) })
    }
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        call::call(self, request, context).await
    }
    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        polled::get(self, request, &context).await
    }
    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        polled::update(self, request, &context).await
    }
    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        polled::ask_to_cancel(self, request, &context).await
    }
    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(self, request).await
    }
    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }
    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(resources::read(self, request).await?.into())
    }
}
