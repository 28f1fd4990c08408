//! Triggers: which workflows start on what happens. What happens is owed to them in the append of the fact, as it is to
//! webhooks, and [`start`] makes runs of it.
//!
//! ```text
//!  publish, activate, delete ──► sync ──► what this node knows
//!  a run emits, a run ends ────► owed ──► rows, in the append of the fact ─┐
//!  POST /v1/events, /v1/hooks ─► hear ──► rows, before the answer ─────────┴─► start ──► submit, under the event's key
//! ```
//! Where no workflow has a trigger, what happens costs one look at a flag. A `match` is judged before anything is owed;
//! one that cannot be judged is owed, so that its fault is seen among the deliveries.

pub(crate) mod start;
mod view;

pub use view::{TriggerChange, TriggerFault, TriggerView};

use crate::shared::Shared;
use crate::webhooks::outbox::{bound, new_id};
use crate::webhooks::{TRIGGER, Tries};
use crate::workflows::{self, WorkflowEntry};
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::triggers_of;
use heddle_core::run::Emitted;
use heddle_core::run::event::{Accepted, Event, Finish};
use heddle_core::run::public::failure_value;
use heddle_core::time::Timestamp;
use heddle_core::trigger::{Occurrence, On, Trigger};
use heddle_core::value::Value;
use heddle_store::StoreFault;
use heddle_store::outbox::{Delivery, DeliveryWrite, OutboxFault, Standing};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A trigger of the version of a workflow that counts.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) trigger: Trigger,
    pub(crate) version: semver::Version,
}

/// The triggers of one workflow of a tenant, by both names.
type ByWorkflow = BTreeMap<(Tenant, Arc<str>), Arc<[Held]>>;

/// All triggers that this node knows.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    known: RwLock<ByWorkflow>,
    any: AtomicBool,
    /// One at a time reads a workflow and says what its triggers are, so that the last word is about the last version.
    syncing: tokio::sync::Mutex<()>,
}

impl Triggers {
    /// Whether there may be any.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }
    fn all(&self, tenant: &Tenant) -> Vec<Held> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = known.range((tenant.clone(), Arc::from(""))..);
        of_tenant.take_while(|((owner, _), _)| owner == tenant).flat_map(|(_, held)| held.to_vec()).collect()
    }
    /// One by its id.
    pub(crate) fn one(&self, tenant: &Tenant, id: &str) -> Option<Held> {
        let workflow: Vec<&str> = id.splitn(3, '.').take(2).collect();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let held = known.get(&(tenant.clone(), workflow.join("/").into()))?;
        held.iter().find(|held| *held.trigger.id == *id).cloned()
    }
    fn set(&self, tenant: &Tenant, workflow: &str, held: Vec<Held>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let name = (tenant.clone(), Arc::from(workflow));
        match held.is_empty() {
            true => drop(known.remove(&name)),
            false => drop(known.insert(name, held.into())),
        }
        self.any.store(!known.is_empty(), Ordering::Release);
    }
}

/// Brings what this node knows to what the workflow's highest active version says.
pub(crate) async fn sync(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<(), StoreFault> {
    let _alone = shared.triggers.syncing.lock().await;
    let held = match workflows::speaker(shared, tenant, workflow).await?.entry {
        Some(entry) => held_by(shared, &entry)?,
        None => Vec::new(),
    };
    shared.triggers.set(tenant, workflow, held);
    Ok(())
}

/// The same for all workflows.
pub(crate) async fn sync_all(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    for workflow in workflows::names_ever(shared, tenant).await? {
        sync(shared, tenant, &workflow).await?;
    }
    Ok(())
}

fn held_by(shared: &Shared, entry: &WorkflowEntry) -> Result<Vec<Held>, StoreFault> {
    let read = triggers_of(&entry.source, &shared.limits).map_err(|faults| StoreFault::Damaged {
        what: format!("workflow {}@{}", entry.full_name(), entry.version),
        why: faults.first().map(ToString::to_string).unwrap_or_default(),
    })?;
    Ok(read.into_iter().map(|trigger| Held { trigger, version: entry.version.clone() }).collect())
}

/// The run whose facts are handed over.
pub(crate) struct Source<'a> {
    pub(crate) run: RunId,
    pub(crate) workflow: &'a str,
    pub(crate) version: String,
    pub(crate) accepted: &'a Accepted,
}

impl Source<'_> {
    fn occurrence(&self, what: &str, name: &str, at: Timestamp, data: Json) -> Occurrence {
        Occurrence {
            id: format!("{}/{what}", self.run).into(),
            name: name.into(),
            by: format!("run:{}", self.run).into(),
            at,
            data,
            headers: Vec::new(),
            depth: self.accepted.trigger_depth(),
        }
    }
}

/// What the events that a run sends owe.
pub(crate) fn owed_by_events(
    shared: &Shared,
    source: &Source<'_>,
    sent: &[(String, Emitted)],
    at: Timestamp,
) -> Vec<Delivery> {
    if sent.is_empty() || !shared.triggers.any() {
        return Vec::new();
    }
    let tenant = &source.accepted.tenant;
    let held = shared.triggers.all(tenant);
    let mut owed = Vec::new();
    for (place, emitted) in sent {
        let wanting = held.iter().filter(|held| held.trigger.wants_event(&emitted.event));
        let occurrence = || source.occurrence(place, &emitted.event, at, emitted.data.clone());
        owed.extend(matched(shared, tenant, Some(source.run), wanting, occurrence));
    }
    bound(shared, &mut owed);
    owed
}

/// What the end of a run owes. `value` knows what the run has given by its payload, where that is at hand.
pub(crate) fn owed_by_end(
    shared: &Shared,
    source: &Source<'_>,
    events: &[Event],
    at: Timestamp,
    output: impl FnOnce() -> Option<Json>,
    step_id: impl Fn(u32) -> Arc<str>,
) -> Vec<Delivery> {
    if !shared.triggers.any() {
        return Vec::new();
    }
    let ended = events.iter().find_map(|event| match event {
        Event::RunFinished { finish, error, .. } => Some((*finish, error.as_deref())),
        _ => None,
    });
    let Some((finish, error)) = ended else { return Vec::new() };
    let tenant = &source.accepted.tenant;
    let held = shared.triggers.all(tenant);
    let wanting: Vec<&Held> =
        held.iter().filter(|held| held.trigger.wants_run(source.workflow, finish)).collect();
    if wanting.is_empty() {
        return Vec::new();
    }
    let labels = source.accepted.labels.iter();
    let labels = labels.map(|(name, value)| (name.as_str(), Value::text(value.as_str())));
    let mut data = vec![
        ("run", Value::text(source.run.to_string())),
        ("workflow", Value::text(source.workflow)),
        ("version", Value::text(source.version.as_str())),
        ("status", Value::text(word(finish))),
        ("labels", Value::map(labels)),
    ];
    if let Some(error) = error {
        data.push(("error", failure_value(&error.failure)));
        data.extend(error.node.map(|node| ("step", Value::text(step_id(node.step)))));
    }
    let most = shared.limits.event_bytes;
    match output().filter(|_| finish == Finish::Succeeded) {
        Some(output) if output.size() as u64 <= most => data.push(("output", output.value().clone())),
        // Whoever needs it reads it from the run.
        Some(output) => data.push(("outputBytes", Value::Int(output.size() as i64))),
        None => {}
    }
    let data = Json::from_value(Value::map(data));
    let name = format!("run.{}", word(finish));
    let occurrence = || source.occurrence("end", &name, at, data.clone());
    let mut owed = matched(shared, tenant, Some(source.run), wanting.into_iter(), occurrence);
    bound(shared, &mut owed);
    owed
}

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Succeeded => "succeeded",
        Finish::Failed => "failed",
        Finish::Cancelled => "cancelled",
    }
}

/// A row for each of these triggers whose `match` holds, or cannot be judged.
fn matched<'a>(
    shared: &Shared,
    tenant: &Tenant,
    run: Option<RunId>,
    wanting: impl Iterator<Item = &'a Held>,
    occurrence: impl Fn() -> Occurrence,
) -> Vec<Delivery> {
    let mut made: Option<(Occurrence, Value)> = None;
    let mut owed = Vec::new();
    for held in wanting.filter(|held| !shared.webhooks.is_off(tenant, &endpoint(&held.trigger.id))) {
        let (occurrence, value) = made.get_or_insert_with(|| {
            let occurrence = occurrence();
            let value = occurrence.value();
            (occurrence, value)
        });
        if let Ok(false) = held.trigger.is_matched(value, &shared.limits) {
            continue;
        }
        owed.push(Delivery {
            id: new_id(),
            tenant: tenant.clone(),
            endpoint: endpoint(&held.trigger.id),
            url: format!("workflow:{}", held.trigger.workflow()).into(),
            secret: None,
            run,
            event: occurrence.name.clone(),
            message: Json::from_value(value.clone()),
            created: occurrence.at,
            standing: Standing::Waiting(occurrence.at),
            tries: Tries::default().json(),
        });
    }
    owed
}

/// Under which endpoint what is owed to a trigger is kept.
fn endpoint(id: &str) -> Arc<str> {
    format!("{TRIGGER}{id}").into()
}

/// What nobody's run has said: the rows are on disk when this returns. Gives the ids of the triggers that will start.
pub(crate) async fn hear(
    shared: &Shared,
    tenant: &Tenant,
    occurrence: &Occurrence,
    only: Option<&str>,
) -> Result<Vec<Arc<str>>, StoreFault> {
    if !shared.triggers.any() {
        return Ok(Vec::new());
    }
    let held = shared.triggers.all(tenant);
    let wanting = held.iter().filter(|held| match (only, &held.trigger.on) {
        (Some(id), On::Webhook { .. }) => *held.trigger.id == *id,
        (None, On::Event { name }) => *name == occurrence.name,
        _ => false,
    });
    let mut owed = matched(shared, tenant, None, wanting, || occurrence.clone());
    bound(shared, &mut owed);
    let mut started = Vec::with_capacity(owed.len());
    for delivery in owed {
        started.push(Arc::from(&delivery.endpoint[TRIGGER.len()..]));
        let write = DeliveryWrite { epoch: shared.epoch(), expected: 0, delivery };
        shared.shelf.put_delivery(write).await.map_err(|fault| match fault {
            OutboxFault::Store(fault) => fault,
            other => StoreFault::Unavailable(other.to_string()),
        })?;
    }
    if !started.is_empty() {
        shared.webhooks.ring();
    }
    Ok(started)
}
