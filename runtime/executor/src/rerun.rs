//! A run once more: a new run that takes over what another one has already, and computes the rest. What is taken over is
//! found by fingerprint, as in the cache, but it is the outcome of that very run, tools and agents included, whatever
//! the cache kept: nothing that is taken over happens again.

use crate::attempt::key_of_a_rerun;
use crate::read::{self, ReadFault, Replayed};
use crate::shared::Shared;
use crate::submit::{self, Submit, SubmitFault, Submitted, TakenOver, Timing, WorkflowChoice};
use crate::workflows;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::{Part, Plan, WorkflowRef};
use heddle_core::run::event::{Accepted, Payload, SCHEDULED_AT_LABEL};
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
    /// The run was asked for by another one, which bounds what it may call.
    #[error(
        "run {run} is what a step of run {parent} asked for; run that one again: `heddle runs rerun {parent}`"
    )]
    OfAnother {
        /// The run.
        run: RunId,
        /// The run that asked for it.
        parent: RunId,
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
    let accepted = replayed.run.accepted().cloned();
    if let Some(parent) = accepted.as_ref().and_then(|accepted| accepted.parent.as_ref()) {
        return Err(RerunFault::OfAnother { run: wish.run, parent: parent.run });
    }
    let other = match &wish.workflow {
        Some(reference) => {
            Some(workflows::find(shared, &wish.tenant, reference).await.map_err(SubmitFault::from)?)
        }
        None => None,
    };
    let without = redone(&replayed.snapshot.plan, other.as_deref(), &wish)?;
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
        labels: labels(wish.labels, accepted.as_deref()),
        by: wish.by,
        idempotency: wish.idempotency,
        traceparent: wish.traceparent,
        timing: wish.timing,
        rerun: Some(Arc::new(TakenOver { of, imports, holds })),
    };
    Ok(submit::submit(shared, wish).await?)
}

/// The labels of the new run. The time that the old one was for is what its expressions read.
fn labels(given: Vec<(String, String)>, old: Option<&Accepted>) -> Vec<(String, String)> {
    let time = old.and_then(|old| old.labels.iter().find(|(name, _)| name == SCHEDULED_AT_LABEL));
    let time = time.filter(|_| given.iter().all(|(name, _)| name != SCHEDULED_AT_LABEL));
    time.cloned().into_iter().chain(given).collect()
}

/// The steps of the old run that are computed again whatever they are: what waits for the step there, or in the other
/// version.
fn redone(old: &Plan, other: Option<&Plan>, wish: &Rerun) -> Result<BTreeSet<u32>, RerunFault> {
    let Some(from) = &wish.from else { return Ok(BTreeSet::new()) };
    let named = |plan: &Plan| plan.step(from).filter(|step| plan.steps[*step as usize].part == Part::Main);
    let (here, there) = (named(old), other.and_then(|plan| Some((plan, named(plan)?))));
    if here.is_none() && there.is_none() {
        let known: Vec<String> =
            old.of_part(Part::Main).map(|step| old.steps[step as usize].id.to_string()).collect();
        let hint = crate::plugins::registry::hint(from, &known);
        return Err(RerunFault::NoSuchStep { run: wish.run, step: from.clone(), hint });
    }
    let mut redone = here.map(|step| old.from_step_on(step)).unwrap_or_default();
    if let Some((plan, step)) = there {
        let ids = plan.from_step_on(step).into_iter().map(|step| &plan.steps[step as usize].id);
        redone.extend(ids.filter_map(|id| old.step(id)));
    }
    Ok(redone)
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
    for Past { node, alternative, turn, output, at, artifacts } in replayed.run.past(without) {
        for digest in replayed.run.needs_for(node, values) {
            if let Some(value) = read::value(shared, digest).await? {
                values.insert(digest, value);
            }
        }
        // What cannot be computed any more is nothing that can be taken over.
        let Ok(input) = replayed.run.input_of(node, values) else { continue };
        let called = replayed.snapshot.plan.call_at(node.step, alternative);
        let Some(pin) = called.and_then(|(call, _)| replayed.snapshot.pins.pick(call, turn)) else {
            continue;
        };
        let key = key_of_a_rerun(&accepted.tenant, &replayed.snapshot, node, pin, &input);
        if let Payload::Stored { digest, .. } = output {
            holds.push(digest);
        }
        holds.extend(artifacts.iter().map(|artifact| artifact.digest));
        imports.insert(key, Imported { output, at, artifacts });
    }
    Ok((imports, holds))
}
