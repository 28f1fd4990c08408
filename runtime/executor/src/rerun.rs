//! A run once more: a new run that takes over what another one has already, and computes the rest. What is taken over is
//! found by fingerprint, as in the cache, but it is the outcome of that very run, tools and agents included, whatever
//! the cache kept: nothing that is taken over happens again.

use crate::attempt::fingerprint;
use crate::read::{self, ReadFault, Replayed};
use crate::shared::Shared;
use crate::submit::{self, Submit, SubmitFault, Submitted, TakenOver, Timing, WorkflowChoice};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::{CacheScope, WorkflowRef};
use heddle_core::run::event::Payload;
use heddle_core::run::past::Past;
use heddle_core::run::rerun::{Imported, Imports, RerunOf};
use heddle_core::run::scope::Values;
use heddle_store::Blob;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A wish for a run once more.
#[derive(Clone, Debug)]
pub struct Rerun {
    /// The owner.
    pub tenant: Tenant,
    /// The run. It need not have ended.
    pub run: RunId,
    /// The step from which on everything is computed again; without it, what does not fit any more.
    pub from: Option<String>,
    /// Another input.
    pub input: Option<Json>,
    /// Another version of the workflow, or another workflow.
    pub workflow: Option<WorkflowRef>,
    /// Labels of the new run.
    pub labels: Vec<(String, String)>,
    /// Who asks.
    pub by: Option<Arc<str>>,
    /// The same key twice is one run.
    pub idempotency: Option<Arc<str>>,
    /// W3C trace context of the caller.
    pub traceparent: Option<String>,
    /// When it is to begin and to be over.
    pub timing: Timing,
}

/// Why there is no run once more.
#[derive(Debug, thiserror::Error)]
pub enum RerunFault {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// The run has no such step.
    #[error("run {run} has no step `{step}`{hint}")]
    NoSuchStep {
        /// The run.
        run: RunId,
        /// What was asked for.
        step: String,
        /// What may have been meant.
        hint: String,
    },
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
    /// The new run was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitFault),
}

pub(crate) async fn rerun(shared: &Arc<Shared>, wish: Rerun) -> Result<Submitted, RerunFault> {
    let row = read::row(shared, &wish.tenant, wish.run).await?.ok_or(RerunFault::NoSuchRun(wish.run))?;
    let replayed = read::replay(shared, &row).await?;
    let without = redone(&replayed, &wish)?;
    let mut values = Values::default();
    let input = match wish.input {
        Some(input) => input,
        None => own_input(shared, &replayed).await?,
    };
    let (imports, holds) = imports(shared, &replayed, &without, &mut values).await?;
    let outcomes = imports.len() as u32;
    let bytes: Arc<[u8]> = serde_json::to_vec(&imports).unwrap_or_default().into();
    let imports = Blob { digest: Digest::of(&bytes), bytes };
    let of = RerunOf { run: wish.run, from: wish.from.map(Into::into), outcomes, imports: imports.digest };
    let workflow = match wish.workflow {
        Some(reference) => WorkflowChoice::Named(reference),
        None => WorkflowChoice::Checked(replayed.snapshot.plan.clone()),
    };
    let wish = Submit {
        tenant: wish.tenant,
        workflow,
        input,
        labels: wish.labels,
        by: wish.by,
        idempotency: wish.idempotency,
        traceparent: wish.traceparent,
        timing: wish.timing,
        rerun: Some(Arc::new(TakenOver { of, imports, holds })),
    };
    Ok(submit::submit(shared, wish).await?)
}

/// The steps that are computed again whatever they are.
fn redone(replayed: &Replayed, wish: &Rerun) -> Result<BTreeSet<u32>, RerunFault> {
    let Some(from) = &wish.from else { return Ok(BTreeSet::new()) };
    let plan = &replayed.snapshot.plan;
    match plan.step(from) {
        Some(step) => Ok(plan.from_step_on(step)),
        None => {
            let known: Vec<String> = plan.steps.iter().map(|step| step.id.to_string()).collect();
            let hint = crate::registry::hint(from, &known);
            Err(RerunFault::NoSuchStep { run: wish.run, step: from.clone(), hint })
        }
    }
}

async fn own_input(shared: &Shared, replayed: &Replayed) -> Result<Json, ReadFault> {
    match replayed.run.accepted().map(|accepted| &accepted.input) {
        Some(Payload::Inline(json)) => Ok(json.clone()),
        Some(Payload::Stored { digest, .. }) => {
            Ok(read::value(shared, *digest).await?.unwrap_or_else(Json::null))
        }
        Some(Payload::Derived) | None => Ok(Json::null()),
    }
}

/// What the run has, by the fingerprints of what it was computed from, and the values that this names.
async fn imports(
    shared: &Shared,
    replayed: &Replayed,
    without: &BTreeSet<u32>,
    values: &mut Values,
) -> Result<(Imports, Vec<Digest>), ReadFault> {
    let (mut imports, mut holds) = (Imports::new(), Vec::new());
    let Some(accepted) = replayed.run.accepted() else { return Ok((imports, holds)) };
    for Past { node, alternative, output, at } in replayed.run.past(without) {
        for digest in replayed.run.needs_for(node, values) {
            if let Some(value) = read::value(shared, digest).await? {
                values.insert(digest, value);
            }
        }
        // What cannot be computed any more is nothing that can be taken over.
        let Ok(input) = replayed.run.input_of(node, values) else { continue };
        let called = replayed.snapshot.plan.call_at(node.step, alternative);
        let Some(pin) = called.and_then(|(call, _)| replayed.snapshot.pins.get(call)) else { continue };
        let key = fingerprint(&accepted.tenant, &replayed.snapshot, node.step, pin, CacheScope::Step, &input);
        if let Payload::Stored { digest, .. } = output {
            holds.push(digest);
        }
        imports.insert(key, Imported { output, at });
    }
    Ok((imports, holds))
}
