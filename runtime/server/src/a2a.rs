//! `/a2a`: the Agent2Agent protocol, version 1.0, by JSON-RPC and by its REST twins.
//!
//! Workflows and plugins are skills of one agent, whose card ([`card`]) lists them. A message without a task begins a run
//! ([`message`]), one with a task answers what that run asks. A task is a run, by the run's id ([`shown`]); what happens
//! to it is streamed as it happens ([`stream`]). The wire types are those of `a2a-lf`; what it would let pass is looked at
//! before it ([`envelope`]).

mod card;
mod envelope;
mod faults;
mod listing;
mod message;
mod rest;
mod shown;
mod stream;

use crate::door::Who;
use crate::http::Api;
use crate::http::body::{self, Bound};
use crate::http::caller::caller;
use crate::http::origin;
use crate::http::problem::Problem;
use crate::http::runs::detail;
use a2a::{A2AError, methods};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use envelope::Call;
use faults::refused;
use heddle_core::id::{RunId, Tenant};
use heddle_executor::{Delivery, RunDetail};
use hyper::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use stream::{Events, Until};

/// How long a cancelled run may take to end before it is answered as it stands.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

/// The routes.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/.well-known/agent-card.json", get(card::card))
        .route("/a2a", post(call))
        .route("/a2a/{*rest}", any(rest::call))
}

/// What answers a request.
#[derive(Clone)]
pub(crate) struct Door {
    api: Api,
    who: Who,
    /// The node's address, without a slash at its end.
    base: String,
}

/// What is answered.
enum Answer {
    One(Value),
    Many(Events),
}

impl Answer {
    fn one(of: &impl Serialize) -> Result<Answer, A2AError> {
        serde_json::to_value(of).map(Answer::One).map_err(|error| A2AError::internal(error.to_string()))
    }
}

/// Who sends a request, and what: what every way in looks at first.
async fn admitted(api: Api, request: Request) -> Result<(Door, HeaderMap, Bytes), Problem> {
    let (mut parts, content) = request.into_parts();
    origin::check_host(&parts.headers, parts.uri.host(), &api.app.doors.hosts)?;
    origin::check(&parts.headers, &api.app.origins, "speak to the agent")?;
    let base = card::base(&api, &parts.headers, &parts.uri);
    let caller = caller(&parts.headers)?;
    parts.extensions.insert(caller);
    let bytes = body::read(&parts.headers, content, Bound::small(&api.app.limits)).await?;
    let who = Who::of(Some(&parts.extensions), "a2a", "a2a");
    Ok((Door { api, who, base }, parts.headers, bytes))
}

/// `POST /a2a`: JSON-RPC.
async fn call(State(api): State<Api>, request: Request) -> Response {
    let (door, headers, bytes) = match admitted(api, request).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let (id, read) = Call::read(&headers, &bytes);
    let answer = match read {
        Ok(call) => door.answer(&call.method, call.params).await,
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(Answer::One(result)) => envelope::success(id, result),
        Ok(Answer::Many(events)) => stream::by_json_rpc(id, events),
        Err(fault) => envelope::failure(id, &fault),
    }
}

/// The parameters of a method.
fn params<T: DeserializeOwned>(params: Value) -> Result<T, A2AError> {
    serde_json::from_value(params)
        .map_err(|error| A2AError::invalid_params(format!("the parameters do not fit: {error}")))
}

impl Door {
    async fn answer(&self, method: &str, given: Value) -> Result<Answer, A2AError> {
        match method {
            methods::SEND_MESSAGE => Answer::one(&message::send(self, message::read(given)?).await?),
            methods::SEND_STREAMING_MESSAGE => {
                let detail = message::begun(self, message::read(given)?).await?;
                Ok(Answer::Many(stream::events(self, detail, Until::Interrupted)?))
            }
            methods::GET_TASK => {
                let wanted: a2a::GetTaskRequest = params(given)?;
                shown::check_length(wanted.history_length)?;
                let detail = self.run(&wanted.id).await?;
                Answer::one(&shown::whole(self, &detail, wanted.history_length).await?)
            }
            methods::LIST_TASKS => Answer::one(&listing::list(self, given).await?),
            methods::CANCEL_TASK => {
                let wanted: a2a::CancelTaskRequest = params(given)?;
                Answer::one(&self.cancel(&wanted.id).await?)
            }
            methods::SUBSCRIBE_TO_TASK => {
                let wanted: a2a::SubscribeToTaskRequest = params(given)?;
                let detail = self.run(&wanted.id).await?;
                if detail.view.finished_at.is_some() {
                    let said = format!("run {} has ended: there is nothing to follow", wanted.id);
                    return Err(A2AError::unsupported_operation(said));
                }
                Ok(Answer::Many(stream::events(self, detail, Until::Over)?))
            }
            methods::CREATE_PUSH_CONFIG
            | methods::GET_PUSH_CONFIG
            | methods::LIST_PUSH_CONFIGS
            | methods::DELETE_PUSH_CONFIG => Err(A2AError::push_notification_not_supported()),
            methods::GET_EXTENDED_AGENT_CARD => {
                Err(A2AError::unsupported_operation("the card says everything: there is no extended one"))
            }
            other => Err(A2AError::method_not_found(&other.chars().take(100).collect::<String>())),
        }
    }
    /// A run that came by this door, by its id.
    async fn run(&self, id: &str) -> Result<RunDetail, A2AError> {
        let shown: String = id.chars().take(64).collect();
        if id.parse::<RunId>().is_err() {
            return Err(A2AError::task_not_found(&shown));
        }
        let found = detail(&self.api, id).await.map_err(|problem| match problem.code.status().as_u16() {
            404 => A2AError::task_not_found(&shown),
            _ => refused(&problem),
        })?;
        // Others are for those who may use the whole API.
        match shown::is_ours(&found) {
            true => Ok(found),
            false => Err(A2AError::task_not_found(&shown)),
        }
    }
    async fn cancel(&self, id: &str) -> Result<a2a::Task, A2AError> {
        let detail = self.run(id).await?;
        let (run, tenant) = (detail.view.id, Tenant::default());
        if detail.view.finished_at.is_some() {
            return Err(A2AError::task_not_cancelable(id));
        }
        let executor = &self.api.app.executor;
        let said = (&*self.who.submits, "its A2A client asked for that");
        let delivery = executor.cancel(&tenant, run, said, false).await;
        match delivery.map_err(|fault| refused(&fault.into()))? {
            Delivery::Ended | Delivery::Ending => return Err(A2AError::task_not_cancelable(id)),
            Delivery::Unknown => return Err(A2AError::task_not_found(id)),
            Delivery::Accepted | Delivery::Unchanged { .. } | Delivery::Full { .. } => {}
        }
        let ended = executor.wait(&tenant, run, CANCELLED_WITHIN).await;
        match ended.map_err(|fault| refused(&fault.into()))? {
            Some(detail) => shown::whole(self, &detail, None).await,
            None => Err(A2AError::task_not_found(id)),
        }
    }
}
