//! The API: routes, and the layers around them.
//!
//! ```text
//! socket ── server (who may connect, how large a head) ── guard (trace, bounds, metrics, problem documents) ── route
//! ```
//! A route reads what it wants with [`body`], calls the executor once, and answers with a type of [`wire`]; every
//! refusal is a [`problem::Problem`], made in [`faults`] from the fault that it stands for.

mod approvals;
mod artifacts;
pub mod body;
pub(crate) mod caller;
mod calls;
mod circuits;
pub mod codes;
mod connectors;
mod control;
mod diff;
mod events;
pub(crate) mod faults;
pub mod graph;
pub(crate) mod guard;
mod health;
mod index;
mod migrate;
mod openapi;
mod orders;
pub(crate) mod origin;
mod pages;
mod plugins;
mod prefer;
pub mod problem;
mod rates;
mod releases;
mod rerun;
pub(crate) mod runs;
mod schedules;
pub mod server;
mod signal;
mod submit;
mod triggers;
mod webhooks;
pub(crate) mod why;
pub(crate) mod wire;
mod workflows;
mod ws;

use crate::app::App;
use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use codes::Code;
use problem::Problem;
use server::Ending;
use std::sync::Arc;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use ws::Sockets;

/// What every route knows.
#[derive(Clone)]
pub struct Api {
    /// The parts.
    pub app: Arc<App>,
    /// Turns true when the server is to end.
    pub ending: Ending,
    sockets: Arc<Sockets>,
    /// How many streams other agents may still open.
    pub(crate) streams: Arc<Semaphore>,
}

impl Api {
    /// The API of this node.
    pub fn new(app: Arc<App>, ending: Ending) -> Api {
        let sockets = Sockets::new(app.limits.ws_connections);
        let streams = Arc::new(Semaphore::new(app.limits.subscriptions as usize));
        Api { app, ending, sockets: Arc::new(sockets), streams }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

/// The routes, with their descriptions.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::head())
        .merge(submit::routes())
        .merge(rerun::routes())
        .merge(diff::routes())
        .merge(migrate::routes())
        .merge(runs::routes())
        .merge(signal::routes())
        .merge(control::routes())
        .merge(orders::routes())
        .merge(approvals::routes())
        .merge(artifacts::routes())
        .merge(calls::routes())
        .merge(events::routes())
        .merge(ws::routes())
        .merge(workflows::routes())
        .merge(schedules::routes())
        .merge(triggers::routes())
        .merge(circuits::routes())
        .merge(rates::routes())
        .merge(webhooks::routes())
        .merge(plugins::routes())
        .merge(connectors::routes())
        .merge(releases::routes())
        .merge(health::routes())
        .merge(pages::routes())
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Arc::new(openapi::complete(document));
    router
        .merge(openapi::route(document))
        .merge(index::route())
        .merge(crate::mcp::route(&api))
        .merge(crate::a2a::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}

/// The description of the API, as `/openapi.json` answers it.
pub fn description() -> String {
    let (_, document) = routes().split_for_parts();
    openapi::text(&openapi::complete(document))
}

async fn unknown(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new(
        Code::RouteNotFound,
        format!("there is nothing at `{path}`; `/openapi.json` lists every path"),
    )
}

async fn other_method(request: Request) -> Problem {
    let detail = format!(
        "`{}` has no method {}; the header `Allow` lists those that it has",
        request.uri().path(),
        request.method()
    );
    Problem::new(Code::MethodNotAllowed, detail)
}
