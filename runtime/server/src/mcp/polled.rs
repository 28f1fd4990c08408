//! The Tasks extension: a task is a run, by the run's id, whoever began it.

use super::asks::Taken;
use super::faults::refused;
use super::{Client, Door, asks, call};
use crate::http::why;
use heddle_core::id::{RunId, Tenant};
use heddle_executor::{Clock as _, Delivery, RunDetail, SystemClock};
use rmcp::RoleServer;
use rmcp::model::{
    CancelTaskParams, DetailedTask, ErrorData, GetTaskParams, GetTaskResult, Task, TaskPayload, TaskStatus,
    UpdateTaskParams,
};
use rmcp::service::RequestContext;
use serde_json::Value;

/// How soon a client may look again.
const POLL_MS: u64 = 1_000;

/// A run as a task, without what comes with its status.
pub(super) fn standing(detail: &RunDetail) -> Task {
    let view = &detail.view;
    let status = match view.status {
        // A run that has failed is a call that has been answered: with an error of the tool.
        "succeeded" | "failed" => TaskStatus::Completed,
        "cancelled" => TaskStatus::Cancelled,
        _ => TaskStatus::Working,
    };
    let last = view.finished_at.or(view.started_at).unwrap_or(view.created_at);
    Task::new(view.id.to_string(), status, view.created_at.rfc3339(), last.rfc3339())
        .with_status_message(why::why(detail, None, SystemClock.now()).why)
        .with_poll_interval_ms(POLL_MS)
}

pub(super) async fn get(
    door: &Door,
    request: GetTaskParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetTaskResult, ErrorData> {
    let (detail, client) = (door.run(&request.task_id).await?, Client::of(context));
    let task = standing(&detail);
    let payload = match task.status {
        TaskStatus::Completed => {
            let result = call::outcome(door, &detail).await?;
            match serde_json::to_value(result) {
                Ok(Value::Object(result)) => TaskPayload::Completed { result },
                _ => return Err(ErrorData::internal_error("the result has no form", None)),
            }
        }
        TaskStatus::Cancelled => TaskPayload::Cancelled,
        _ => match asks::requests(&detail, &client) {
            input_requests if client.elicits && !input_requests.is_empty() => {
                TaskPayload::InputRequired { input_requests }
            }
            _ => TaskPayload::Working,
        },
    };
    Ok(GetTaskResult::new(DetailedTask::new(task, payload)))
}

pub(super) async fn update(
    door: &Door,
    request: UpdateTaskParams,
    context: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let detail = door.run(&request.task_id).await?;
    match asks::take(&door.api, &detail, &Client::of(context), &request.input_responses).await? {
        Taken::All | Taken::Open(None) => Ok(()),
        Taken::Open(Some(why)) => Err(ErrorData::invalid_params(why, None)),
    }
}

pub(super) async fn ask_to_cancel(
    door: &Door,
    request: CancelTaskParams,
    context: &RequestContext<RoleServer>,
) -> Result<(), ErrorData> {
    let detail = door.run(&request.task_id).await?;
    cancel(door, &Client::of(context), detail.view.id).await
}

/// Asks a run to end.
pub(super) async fn cancel(door: &Door, client: &Client, run: RunId) -> Result<(), ErrorData> {
    let said = (&*client.who.submits, "its MCP client asked for that");
    let done = door.api.app.executor.cancel(&Tenant::default(), run, said, false).await;
    match done.map_err(|fault| refused(fault.into()))? {
        Delivery::Ending => Err(ErrorData::invalid_params(
            format!("the steps of run {run} are over; what follows them is not cancelled"),
            None,
        )),
        _ => Ok(()),
    }
}
