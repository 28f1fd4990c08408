//! Runs that a step of another run asks for: found, checked against what they may call, and accepted under the id that
//! follows from the attempt. Asking twice is asking once.

use crate::shared::Shared;
use crate::submit::{self, Submit, Timing, WorkflowChoice};
use crate::workflows::{self, ReferenceFault};
use heddle_core::document::{Doc, Fault};
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::plan::Plan;
use heddle_core::run::child::{Wanted, WantedWorkflow};
use heddle_core::run::event::Parent;
use heddle_core::value::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before a store that did not answer is asked again; twice as long each time.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// At most.
const ASK_AGAIN_MOST: Duration = Duration::from_secs(5);
/// Faults of a made workflow that are told.
const FAULTS_TOLD: usize = 20;

/// What a child takes over from its parent.
#[derive(Clone, Debug)]
pub(crate) struct Heritage {
    pub(crate) tenant: Tenant,
    pub(crate) parent: Parent,
    pub(crate) by: Option<Arc<str>>,
    pub(crate) traceparent: Option<String>,
    /// How many runs have started one another by triggers.
    pub(crate) labels: Vec<(String, String)>,
}

/// Why there is no child.
enum Refusal {
    /// Asking again changes nothing.
    For(Failure),
    /// The store did not answer.
    NotNow(String),
}

/// Sees to it that the run exists. `None`: it does, and tells by itself how it ended.
pub(crate) async fn begin(shared: Arc<Shared>, wanted: Wanted, heritage: Heritage) -> Option<Failure> {
    let mut wait = ASK_AGAIN;
    loop {
        match ask(&shared, &wanted, &heritage).await {
            Ok(()) => return None,
            Err(Refusal::For(failure)) => return Some(failure),
            Err(Refusal::NotNow(why)) => {
                tracing::warn!(run = %wanted.run, why, "a run that a step asks for cannot be recorded; asking again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(ASK_AGAIN_MOST);
            }
        }
    }
}

async fn ask(shared: &Arc<Shared>, wanted: &Wanted, heritage: &Heritage) -> Result<(), Refusal> {
    let plan = plan_of(shared, wanted, &heritage.tenant).await?;
    if let Some(allowed) = &wanted.may_call {
        within(&plan, allowed)?;
    }
    let wish = Submit {
        tenant: heritage.tenant.clone(),
        workflow: WorkflowChoice::Checked(plan),
        input: wanted.input.clone(),
        labels: heritage.labels.clone(),
        by: heritage.by.clone(),
        idempotency: None,
        traceparent: heritage.traceparent.clone(),
        timing: Timing::default(),
        rerun: None,
    };
    let asked =
        submit::AsChild { run: wanted.run, parent: heritage.parent.clone(), deadline: wanted.deadline };
    submit::submit_child(shared, wish, asked).await.map_err(|fault| match fault {
        submit::SubmitFault::Store(fault) => Refusal::NotNow(fault.to_string()),
        submit::SubmitFault::InvalidInput(mismatches) => {
            let first = mismatches.first().map(ToString::to_string).unwrap_or_default();
            refused(format!("the input does not match the schema of the workflow: {first}"))
        }
        full @ submit::SubmitFault::QueueFull { .. } => {
            let failure = Failure::new(FailureKind::QuotaExceeded, full.to_string());
            Refusal::For(Failure { retryable: true, ..failure })
        }
        taken @ submit::SubmitFault::SlotsTaken { .. } => {
            Refusal::For(Failure::new(FailureKind::QuotaExceeded, taken.to_string()))
        }
        other => refused(other.to_string()),
    })
}

fn refused(message: String) -> Refusal {
    Refusal::For(Failure::new(FailureKind::InvalidInput, message))
}

async fn plan_of(shared: &Arc<Shared>, wanted: &Wanted, tenant: &Tenant) -> Result<Arc<Plan>, Refusal> {
    match &wanted.workflow {
        WantedWorkflow::Published(reference) => {
            let found = workflows::find(shared, tenant, reference).await;
            found.map_err(|fault| match fault {
                ReferenceFault::Store(fault) => Refusal::NotNow(fault.to_string()),
                other => refused(other.to_string()),
            })
        }
        WantedWorkflow::Made(value) => {
            let doc = document(shared, value)?;
            let lacking = workflows::lacking(shared, tenant, &doc).await;
            let lacking = lacking.map_err(|fault| Refusal::NotNow(fault.to_string()))?;
            let plan = workflows::check(shared, tenant, &doc, lacking);
            let plan = plan.map_err(|faults| Refusal::For(faulty(&faults)))?;
            workflows::runs(&plan).map_err(|fault| refused(fault.to_string()))?;
            Ok(plan)
        }
    }
}

/// The workflow that a step has made: a map, or its text.
fn document(shared: &Shared, value: &Value) -> Result<Doc, Refusal> {
    match value {
        Value::String(text) => Doc::parse(text, &shared.limits)
            .map_err(|fault| Refusal::For(faulty(std::slice::from_ref(&fault)))),
        Value::Map(_) => Ok(Doc::of_value(value)),
        other => {
            let message = format!(
                "`workflow.from` wants a workflow, as a map or as text, and this is {}",
                other.type_name()
            );
            Err(refused(message))
        }
    }
}

/// What is wrong with a workflow that was made: in words, and as data for whoever made it.
fn faulty(faults: &[Fault]) -> Failure {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    let message = match faults.len() {
        1 => format!("the workflow that was made is refused: {first}"),
        n if n <= FAULTS_TOLD => {
            format!("the workflow that was made is refused, with {n} faults; the first: {first}")
        }
        n => format!(
            "the workflow that was made is refused, with {n} faults, of which `error.data.faults` has {FAULTS_TOLD}; the first: {first}"
        ),
    };
    let told = faults.iter().take(FAULTS_TOLD).map(|fault| Value::text(fault.to_string()));
    let data = Value::map([
        ("faults", Value::list(told.collect())),
        ("faultsInAll", Value::Int(faults.len() as i64)),
    ]);
    Failure { data: Some(Json::from_value(data)), ..Failure::new(FailureKind::InvalidInput, message) }
}

/// A run may call no more than whoever asked for it lets it.
fn within(plan: &Plan, allowed: &[Arc<str>]) -> Result<(), Refusal> {
    let beyond = plan.beyond(allowed);
    if beyond.is_empty() {
        return Ok(());
    }
    let list =
        |names: &[Arc<str>]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let allowed = if allowed.is_empty() { "nothing".to_owned() } else { list(allowed) };
    let message = format!(
        "`{}` calls {}, and it may call {allowed}; name it in `workflow.allow` of the step that runs it",
        plan.full_name(),
        list(&beyond)
    );
    Err(Refusal::For(Failure::new(FailureKind::CapabilityDenied, message)))
}
