//! Makes a run of what is owed to a trigger: under a key of trigger and event, so that the same event asked for twice is
//! one run.

use crate::shared::Shared;
use crate::submit::{self, Submit, SubmitFault, Timing, WorkflowChoice};
use crate::triggers::Held;
use crate::webhooks::TRIGGER;
use crate::{SnapshotFault, schedules};
use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::plan::WorkflowRef;
use heddle_core::run::event::{EVENT_LABEL, TRIGGER_DEPTH_LABEL, TRIGGER_LABEL};
use heddle_core::trigger;
use heddle_core::value::Value;
use heddle_core::webhook::retry::Answer;
use heddle_store::outbox::Delivery;
use std::sync::Arc;

/// What came of it.
pub(crate) enum Started {
    /// There is a run.
    Run(RunId),
    /// It is to be tried again, as a receiver would be that does not answer.
    NotNow(Answer),
    /// There will be none, until a person does something: a word and a sentence.
    Never(&'static str, String),
}

/// Asks for the run that a delivery to a trigger means.
pub(crate) async fn start(shared: &Arc<Shared>, delivery: &Delivery) -> Started {
    let id = delivery.endpoint.strip_prefix(TRIGGER).unwrap_or_default();
    let Some(held) = shared.triggers.one(&delivery.tenant, id) else {
        let message = "the workflow's highest active version has this trigger no more".to_owned();
        return Started::Never("trigger_removed", message);
    };
    let wish = match wish(shared, &held, delivery) {
        Ok(wish) => wish,
        Err((kind, message)) => return Started::Never(kind, message),
    };
    match submit::submit(shared, wish).await {
        Ok(submitted) => Started::Run(submitted.run),
        // The workflow has been changed since it was asked for first.
        Err(SubmitFault::IdempotencyMismatch { run }) => Started::Run(run),
        Err(fault @ SubmitFault::DuplicateRun { .. }) => Started::Never("duplicate_run", fault.to_string()),
        Err(
            fault @ (SubmitFault::QueueFull { .. }
            | SubmitFault::Draining
            | SubmitFault::Store(_)
            | SubmitFault::Snapshot(SnapshotFault::Store(_))),
        ) => Started::NotNow(Answer::Failed { kind: FailureKind::QuotaExceeded, message: fault.to_string() }),
        Err(fault) => Started::Never("not_accepted", schedules::keeper::told(&fault)),
    }
}

fn wish(shared: &Shared, held: &Held, delivery: &Delivery) -> Result<Submit, (&'static str, String)> {
    let (trigger, limits) = (&held.trigger, &shared.limits);
    let event = delivery.message.value();
    let depth = 1 + match event.get("depth") {
        Some(Value::Int(depth)) => *depth as u64,
        _ => 0,
    };
    if depth > limits.trigger_depth {
        let message = format!(
            "{} runs have started one another by triggers; the limit trigger_depth is {}: `match` can keep a workflow from starting itself",
            depth - 1,
            limits.trigger_depth
        );
        return Err(("trigger_depth", message));
    }
    let failed = |what: &str, why: String| ("expression_failed", format!("`{what}`: {why}"));
    match trigger.is_matched(event, limits) {
        Ok(true) => {}
        // The version that counts now has another `match`.
        Ok(false) => return Err(("not_matched", "`match` is false for this event".to_owned())),
        Err(fault) => return Err(failed("match", fault.to_string())),
    }
    let input = trigger.input_of(event, limits).map_err(|fault| failed("input", fault.to_string()))?;
    let reference = format!("{}@={}", trigger.workflow(), held.version);
    let reference = WorkflowRef::parse(&reference).map_err(|fault| ("not_accepted", fault.to_string()))?;
    let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
    Ok(Submit {
        tenant: delivery.tenant.clone(),
        workflow: WorkflowChoice::Named(reference),
        input: Json::from_value(input.value().clone()),
        labels: vec![
            (TRIGGER_LABEL.to_owned(), trigger.id.to_string()),
            (EVENT_LABEL.to_owned(), cut(id, limits.label_bytes as usize)),
            (TRIGGER_DEPTH_LABEL.to_owned(), depth.to_string()),
        ],
        by: Some(format!("trigger:{}", trigger.id).into()),
        idempotency: Some(trigger::key(&trigger.id, id).into()),
        traceparent: None,
        timing: Timing::default(),
        rerun: None,
    })
}

/// So much of a text as a label may hold.
fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}
