//! What happens to a run, as it happens: the run first, then each change of where it stands, then what it gave back. The
//! stream ends with the run, and where the run asks somebody.

use super::faults::refused;
use super::message::LOOKS;
use super::{Door, shown};
use crate::http::server::over;
use a2a::{
    A2AError, JsonRpcId, JsonRpcResponse, StreamResponse, TaskArtifactUpdateEvent, TaskStatus,
    TaskStatusUpdateEvent,
};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt as _};
use heddle_core::id::Tenant;
use heddle_executor::RunDetail;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What is streamed.
pub(super) type Events = BoxStream<'static, Result<StreamResponse, A2AError>>;

/// How often a client is told that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until the run has ended, or asks somebody.
    Interrupted,
    /// Until it has ended.
    Over,
}

struct Following {
    door: Door,
    detail: RunDetail,
    until: Until,
    /// What has been told: the id of the message that told it.
    told: Option<String>,
    /// The right to a stream; given back when dropped.
    _place: OwnedSemaphorePermit,
    ready: VecDeque<StreamResponse>,
    pause: Duration,
    over: bool,
}

/// The events of a run from now on.
///
/// # Errors
/// Where as many streams are open as may be.
pub(super) fn events(door: &Door, detail: RunDetail, until: Until) -> Result<Events, A2AError> {
    let place = door.api.streams.clone().try_acquire_owned().map_err(|_| {
        let most = door.api.app.limits.subscriptions;
        A2AError::internal(format!("{most} streams are open already (`limits.subscriptions`); close one"))
    })?;
    let task = shown::standing(door, &detail, None);
    let following = Following {
        door: door.clone(),
        until,
        told: id_of(&task.status),
        _place: place,
        ready: [StreamResponse::Task(task)].into(),
        over: false,
        pause: LOOKS.0,
        detail,
    };
    let events = unfold(following, |mut following| async move {
        let event = following.next().await.transpose()?;
        if event.is_err() {
            following.over = true;
        }
        Some((event, following))
    });
    Ok(events.boxed())
}

fn id_of(status: &TaskStatus) -> Option<String> {
    status.message.as_ref().map(|message| message.message_id.clone())
}

impl Following {
    async fn next(&mut self) -> Result<Option<StreamResponse>, A2AError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            let ended = self.detail.view.finished_at.is_some();
            if ended || self.is_interrupted() {
                self.over = true;
                self.last(ended).await?;
                continue;
            }
            self.look().await?;
        }
    }
    /// Waits for a change.
    async fn look(&mut self) -> Result<(), A2AError> {
        let (run, tenant) = (self.detail.view.id, Tenant::default());
        let seen = tokio::select! {
            seen = self.door.api.app.executor.wait(&tenant, run, self.pause) => seen,
            () = over(self.door.api.ending.clone()) => {
                self.over = true;
                return Ok(());
            }
        };
        let seen = seen.map_err(|fault| refused(&fault.into()))?;
        let seen = seen.ok_or_else(|| A2AError::task_not_found(&run.to_string()))?;
        self.detail = (*seen).clone();
        self.pause = (self.pause * 3 / 2).min(LOOKS.1);
        let status = shown::status(&self.door, &self.detail);
        // The end is told behind what came of it.
        let is_last = self.detail.view.finished_at.is_some() || self.is_interrupted();
        if !is_last && id_of(&status) != self.told {
            self.told = id_of(&status);
            self.ready.push_back(self.update(status));
        }
        Ok(())
    }
    fn is_interrupted(&self) -> bool {
        self.until == Until::Interrupted && shown::waits(&self.detail)
    }
    async fn last(&mut self, ended: bool) -> Result<(), A2AError> {
        if ended && let Some(artifact) = shown::artifact(&self.door, &self.detail).await? {
            self.ready.push_back(StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
                task_id: self.detail.view.id.to_string(),
                context_id: shown::context(&self.detail),
                artifact,
                append: Some(false),
                last_chunk: Some(true),
                metadata: None,
            }));
        }
        let status = shown::status(&self.door, &self.detail);
        self.ready.push_back(self.update(status));
        Ok(())
    }
    fn update(&self, status: TaskStatus) -> StreamResponse {
        StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
            task_id: self.detail.view.id.to_string(),
            context_id: shown::context(&self.detail),
            status,
            metadata: None,
        })
    }
}

fn sse(events: impl Stream<Item = String> + Send + 'static) -> Response {
    let events = events.map(|data| Ok::<Event, Infallible>(Event::default().data(data)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response()
}

/// Each event as the result of the call that asked for it.
pub(super) fn by_json_rpc(id: JsonRpcId, events: Events) -> Response {
    sse(events.map(move |event| {
        let answer = match event.and_then(|event| {
            serde_json::to_value(event).map_err(|error| A2AError::internal(error.to_string()))
        }) {
            Ok(result) => JsonRpcResponse::success(id.clone(), result),
            Err(fault) => JsonRpcResponse::error(id.clone(), fault.to_jsonrpc_error()),
        };
        serde_json::to_string(&answer).unwrap_or_default()
    }))
}

/// Each event as it is.
pub(super) fn by_rest(events: Events) -> Response {
    sse(events.map(|event| match event {
        Ok(event) => serde_json::to_string(&event).unwrap_or_default(),
        Err(fault) => super::rest::told(&fault),
    }))
}
