//! A run as a task.

use super::Door;
use super::faults::refused;
use crate::door::asks::open;
use crate::http::why;
use a2a::{A2AError, Artifact, Message, Part, Role, Task, TaskState, TaskStatus};
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::run::view::ValueView;
use heddle_core::time::Timestamp;
use heddle_executor::{Clock as _, RunDetail, SystemClock};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The label of the runs that came by this door.
pub(super) const DOOR: &str = "a2a";
/// The label with the conversation that a run belongs to.
pub(super) const CONTEXT: &str = "a2a.context";
/// The label with the id of the message that began it.
pub(super) const MESSAGE: &str = "a2a.message";
/// The one artifact of a run.
const OUTPUT: &str = "output";

fn label<'a>(detail: &'a RunDetail, key: &str) -> Option<&'a str> {
    detail.view.labels.iter().find(|(known, _)| known == key).map(|(_, value)| &**value)
}

/// The conversation that a run belongs to: one of its own, where nobody said.
pub(super) fn context(detail: &RunDetail) -> String {
    label(detail, CONTEXT).map_or_else(|| detail.view.id.to_string(), str::to_owned)
}

/// Whether somebody has to say something before it goes on.
pub(super) fn waits(detail: &RunDetail) -> bool {
    detail.view.finished_at.is_none()
        && (detail.view.paused.is_some() || detail.view.steps.iter().any(|step| step.asks.is_some()))
}

pub(super) fn state(detail: &RunDetail) -> TaskState {
    match detail.view.status {
        "succeeded" => TaskState::Completed,
        "failed" => TaskState::Failed,
        "cancelled" => TaskState::Canceled,
        _ if waits(detail) => TaskState::InputRequired,
        "queued" => TaskState::Submitted,
        _ => TaskState::Working,
    }
}

/// Whether a run came by this door.
pub(super) fn is_ours(detail: &RunDetail) -> bool {
    label(detail, "door") == Some(DOOR)
}

/// When it changed last, as far as its document tells.
pub(super) fn changed(detail: &RunDetail) -> Timestamp {
    let view = &detail.view;
    let of_steps = view.steps.iter().flat_map(|step| [step.ready_at, step.started_at, step.finished_at]);
    let all = of_steps.chain([view.started_at, view.finished_at]).flatten();
    all.max().unwrap_or(view.created_at).max(view.created_at)
}

/// What is the same for as long as nothing has happened.
pub(super) fn mark(detail: &RunDetail) -> String {
    let view = &detail.view;
    format!("{} {} {} {:?} {}", view.status, view.done, view.total, view.current, view.paused.is_some())
}

/// Whether a length of a history is one.
pub(super) fn check_length(length: Option<i32>) -> Result<(), A2AError> {
    match length {
        Some(..0) => Err(A2AError::invalid_params("`historyLength` is 0 or more")),
        _ => Ok(()),
    }
}

/// Where it stands, with what there is to say of it.
pub(super) fn status(door: &Door, detail: &RunDetail) -> TaskStatus {
    let (state, run) = (state(detail), detail.view.id);
    let mut parts = Vec::new();
    let mut mark = mark(detail);
    if state == TaskState::InputRequired {
        if let Some(pause) = &detail.view.paused {
            parts.push(Part::text(format!(
                "The run was paused by {}; say `resume` and it goes on.",
                pause.by
            )));
        }
        for question in open(detail, &door.who) {
            mark.push_str(&question.key);
            parts.push(Part::text(question.message(detail)));
            let form = question.form().and_then(|form| serde_json::from_str::<Value>(form.text()).ok());
            parts.push(Part::data(json!({
                "question": question.key, "decision": question.words(), "form": form,
            })));
        }
    }
    if parts.is_empty() && state != TaskState::Completed {
        parts.push(Part::text(why::why(detail, None, SystemClock.now()).why));
    }
    let message = (!parts.is_empty()).then(|| Message {
        // The same state is told by the same message, however often somebody looks.
        message_id: format!("{run}.{}", &Digest::of(mark.as_bytes()).hex()[..8]),
        context_id: Some(context(detail)),
        task_id: Some(run.to_string()),
        role: Role::Agent,
        parts,
        metadata: None,
        extensions: None,
        reference_task_ids: None,
    });
    TaskStatus { state, message, timestamp: serde_json::from_value(json!(changed(detail).rfc3339())).ok() }
}

/// What a run gave back, where it has.
pub(super) async fn artifact(door: &Door, detail: &RunDetail) -> Result<Option<Artifact>, A2AError> {
    let (run, most) = (detail.view.id, door.api.app.limits.answer_bytes);
    let output = match &detail.view.output {
        None => return Ok(None),
        Some(ValueView::Inline(value)) if value.size() as u64 <= most => Some(value.clone()),
        Some(ValueView::Stored(digest, size)) if *size <= most => {
            let read = door.api.app.executor.value(&Tenant::default(), run, *digest).await;
            read.map_err(|fault| refused(&fault.into()))?
        }
        Some(ValueView::Inline(_) | ValueView::Stored(..)) => None,
    };
    let part = match output {
        Some(value) => part(&value),
        None => Part::url(format!("{}/v1/runs/{run}", door.base)).with_media_type("application/json"),
    };
    Ok(Some(Artifact {
        artifact_id: OUTPUT.to_owned(),
        name: Some(OUTPUT.to_owned()),
        description: None,
        parts: vec![part],
        metadata: None,
        extensions: None,
    }))
}

/// A value: text as text, everything else as data.
fn part(value: &Json) -> Part {
    match serde_json::from_str(value.text()).unwrap_or_default() {
        Value::String(text) => Part::text(text).with_media_type("text/plain"),
        other => Part::data(other).with_media_type("application/json"),
    }
}

/// What began it.
fn history(detail: &RunDetail, length: Option<i32>) -> Option<Vec<Message>> {
    let ValueView::Inline(input) = &detail.view.input else { return None };
    let message = Message {
        message_id: label(detail, MESSAGE).map_or_else(|| detail.view.id.to_string(), str::to_owned),
        context_id: Some(context(detail)),
        task_id: Some(detail.view.id.to_string()),
        role: Role::User,
        parts: vec![part(input)],
        metadata: None,
        extensions: None,
        reference_task_ids: None,
    };
    (length != Some(0)).then(|| vec![message])
}

/// A run as it stands, without what it gave back.
pub(super) fn standing(door: &Door, detail: &RunDetail, length: Option<i32>) -> Task {
    let view = &detail.view;
    let metadata = HashMap::from([
        ("workflow".to_owned(), json!(format!("{}@{}", view.workflow, view.workflow_version))),
        ("progress".to_owned(), json!({ "done": view.done, "total": view.total })),
    ]);
    Task {
        id: view.id.to_string(),
        context_id: context(detail),
        status: status(door, detail),
        artifacts: None,
        history: history(detail, length),
        metadata: Some(metadata),
    }
}

/// A run with what it gave back.
pub(super) async fn whole(door: &Door, detail: &RunDetail, length: Option<i32>) -> Result<Task, A2AError> {
    let artifacts = artifact(door, detail).await?.map(|artifact| vec![artifact]);
    Ok(Task { artifacts, ..standing(door, detail, length) })
}
