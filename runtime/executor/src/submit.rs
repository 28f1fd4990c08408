//! Accepting a run: the workflow is found and checked, its plugins are pinned, its input is checked, and one append
//! records it. The answer follows the commit. Where a driver is free, that same append claims the run and begins its
//! first attempts.

mod record;

use self::record::{Unrecorded, has_drivers, may_park, record};
use crate::driver::{Driver, Opening, Standing};
use crate::shared::Shared;
use crate::snapshot::{Snapshot, SnapshotFault};
use crate::telemetry as t;
use crate::waiting::WaitsFor;
use crate::workflows::{self, ReferenceFault};
use heddle_core::document::{Doc, Fault};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::{OnDuplicate, Plan, WorkflowRef};
use heddle_core::run::Run;
use heddle_core::run::event::{Accepted, Event, Parent, Payload, Place, Queueing, SlotWish};
use heddle_core::run::queue::{self, AdmissionFault};
use heddle_core::run::rerun::RerunOf;
use heddle_core::schema::Mismatch;
use heddle_core::time::{Span, Timestamp};
use heddle_store::{
    AppendFault, Blob, IdempotencyClaim, IndexChange, Queue, Rest, RunRow, RunStatus, SameRequest, StoreFault,
};
use metrics::counter;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A wish for a run.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The owner.
    pub tenant: Tenant,
    /// What to run.
    pub workflow: WorkflowChoice,
    /// Its input.
    pub input: Json,
    /// Labels for finding it.
    pub labels: Vec<(String, String)>,
    /// Who asks, as far as that is known.
    pub by: Option<Arc<str>>,
    /// The same key twice is one run.
    pub idempotency: Option<Arc<str>>,
    /// W3C trace context of the caller.
    pub traceparent: Option<String>,
    /// When it is to begin and to be over, and how much it matters.
    pub timing: Timing,
    /// The run that it is again, with what it takes over.
    pub rerun: Option<Arc<TakenOver>>,
}

/// What a run takes over from another one.
#[derive(Clone, Debug)]
pub struct TakenOver {
    pub(crate) of: RerunOf,
    pub(crate) imports: Blob,
    /// Values that its outcomes name.
    pub(crate) holds: Vec<Digest>,
}

/// When a run is to begin and to be over, and how much it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// It begins no earlier.
    pub start_at: Option<Timestamp>,
    /// It has ended by then.
    pub deadline: Option<Timestamp>,
    /// 1 to 5 instead of what its workflow says; 1 goes first.
    pub priority: Option<u8>,
}

/// What to run.
#[derive(Clone, Debug)]
pub enum WorkflowChoice {
    /// A published workflow.
    Named(WorkflowRef),
    /// A workflow that comes with the wish.
    Inline(Doc),
    /// A plan that is at hand.
    Checked(Arc<Plan>),
}

/// An accepted run.
#[derive(Clone, Copy, Debug)]
pub struct Submitted {
    /// Its id.
    pub run: RunId,
    /// Whether it was there before, under the same idempotency key.
    pub repeated: Repeated,
}

/// Whether a wish had been granted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It had.
    Yes,
    /// It is new.
    No,
}

/// Why a run was not accepted. Nothing has been recorded.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFault {
    /// The reference means no workflow that can be run.
    #[error(transparent)]
    Reference(ReferenceFault),
    /// The workflow has faults.
    #[error("the workflow has {} faults", .0.len())]
    InvalidWorkflow(Vec<Fault>),
    /// The input does not match the workflow's schema.
    #[error("the input does not match the workflow's schema")]
    InvalidInput(Vec<Mismatch>),
    /// A plugin is missing.
    #[error(transparent)]
    Snapshot(SnapshotFault),
    /// Past a limit.
    #[error("{what} is {found}; the limit {limit} is {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// The limit.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// The key belongs to a run that another request made.
    #[error("the idempotency key was used for another request, which made run {run}; choose another key")]
    IdempotencyMismatch {
        /// That run.
        run: RunId,
    },
    /// The workflow's rules about who may begin say nothing about this run.
    #[error("the workflow cannot let it in: {0}")]
    Admission(#[from] AdmissionFault),
    /// It is not to wait for a slot, and there is none.
    #[error(
        "{limit} runs with the concurrency key `{key}` are under way, and the workflow says `onLimit: reject`; the oldest is {holder}"
    )]
    SlotsTaken {
        /// The key.
        key: Arc<str>,
        /// How many may have one.
        limit: u32,
        /// The oldest run that has one.
        holder: RunId,
    },
    /// The workflow's own key belongs to a run, and it says that this is an error.
    #[error("run {run} has the same `idempotency.key`, and only one may have it")]
    DuplicateRun {
        /// That run.
        run: RunId,
    },
    /// It would be over before it begins.
    #[error("its deadline, {}, is {}", .deadline.rfc3339(), .why)]
    NoTime {
        /// The deadline.
        deadline: Timestamp,
        /// What of it.
        why: &'static str,
    },
    /// It would begin too far ahead.
    #[error("it would begin in {}; the limit start_ahead_ms is {}: let it begin earlier, or give it to a schedule", Span(*.ahead_ms), Span(*.most_ms))]
    TooFarAhead {
        /// Milliseconds until then.
        ahead_ms: u64,
        /// How many there may be.
        most_ms: u64,
    },
    /// Too many runs wait.
    #[error("{waiting} runs {} (limit {}); try again later", .for_what.told().0, .for_what.told().1)]
    QueueFull {
        /// How many wait.
        waiting: u64,
        /// For what.
        for_what: WaitsFor,
    },
    /// The node is stopping.
    #[error("the node is stopping; try again later")]
    Draining,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl From<ReferenceFault> for SubmitFault {
    fn from(fault: ReferenceFault) -> SubmitFault {
        match fault {
            ReferenceFault::Store(fault) => SubmitFault::Store(fault),
            other => SubmitFault::Reference(other),
        }
    }
}

/// How long an idempotency key is remembered.
const KEY_LIFE_MS: u64 = 24 * 3_600_000;

pub(crate) async fn submit(shared: &Arc<Shared>, wish: Submit) -> Result<Submitted, SubmitFault> {
    if shared.is_draining() {
        return Err(SubmitFault::Draining);
    }
    check_size(shared, &wish)?;
    check_timing(shared, wish.timing)?;
    let (snapshot, input) = checked(shared, &wish).await?;
    may_park(shared)?;
    let run = RunId(uuid::Uuid::now_v7().as_u128());
    let opened = open(shared, run, &wish, &snapshot, input, None)?;
    let waits_for = opened.waits_for();
    // Another run may have the key or the slot, so nothing begins before the claim is committed.
    // Whoever waits was here before.
    let alone = has_drivers(shared) && shared.waiting.count(WaitsFor::Node) == 0 && opened.claims.is_empty();
    let answer = match alone && waits_for == WaitsFor::Node {
        true => drive_at_once(shared, run, snapshot, opened).await,
        false => record_first(shared, run, &snapshot, opened).await,
    };
    let repeated = answer?;
    if repeated.1 == Repeated::No {
        counter!(t::RUNS_ACCEPTED).increment(1);
    }
    Ok(Submitted { run: repeated.0, repeated: repeated.1 })
}

/// The workflow with its plugins pinned, and the input with its defaults filled in.
async fn checked(shared: &Shared, wish: &Submit) -> Result<(Arc<Snapshot>, Json), SubmitFault> {
    let plan = plan_of(shared, wish).await?;
    let input = plan.accept_input(&wish.input).map_err(SubmitFault::InvalidInput)?;
    let made = shared.snapshots.make(&wish.tenant, &plan, &shared.registry).await;
    let snapshot = made.map_err(|fault| match fault {
        SnapshotFault::Store(fault) => SubmitFault::Store(fault),
        other => SubmitFault::Snapshot(other),
    })?;
    Ok((snapshot, input))
}

/// What a run is accepted with that another one asks for.
pub(crate) struct AsChild {
    pub(crate) run: RunId,
    pub(crate) parent: Parent,
    pub(crate) deadline: Timestamp,
}

/// Accepts a run that another one asks for, unless it was accepted before. What admits the wishes of clients does not
/// count here, because its parent was admitted; the bounds on how many runs may wait do.
pub(crate) async fn submit_child(
    shared: &Arc<Shared>,
    wish: Submit,
    child: AsChild,
) -> Result<(), SubmitFault> {
    check_size(shared, &wish)?;
    let (snapshot, input) = checked(shared, &wish).await?;
    let run = child.run;
    let opened = open(shared, run, &wish, &snapshot, input, Some(child))?;
    let recorded = match may_park(shared) {
        Ok(()) => record(shared, run, &snapshot, opened).await,
        Err(full) => Err(Unrecorded::Full(full)),
    };
    match recorded {
        Ok(()) => {
            counter!(t::RUNS_ACCEPTED).increment(1);
            Ok(())
        }
        // It may be there since before.
        Err(Unrecorded::Full(_)) if shared.store.run(run).await?.is_some() => Ok(()),
        Err(Unrecorded::Full(full)) => Err(full),
        Err(Unrecorded::By(AppendFault::Conflict { found, .. })) if found > 0 => Ok(()),
        Err(Unrecorded::By(AppendFault::Duplicate { run, .. })) => Err(SubmitFault::DuplicateRun { run }),
        Err(Unrecorded::By(fault)) => Err(refused(fault)),
    }
}

fn check_size(shared: &Shared, wish: &Submit) -> Result<(), SubmitFault> {
    let check = |what, found: usize, limit, max: u64| match found as u64 > max {
        true => Err(SubmitFault::TooLarge { what, found: found as u64, limit, max }),
        false => Ok(()),
    };
    check("the size of the input, in bytes,", wish.input.size(), "input_bytes", shared.limits.input_bytes)?;
    check("the number of labels", wish.labels.len(), "labels", shared.limits.labels)?;
    let longest = wish.labels.iter().map(|(name, value)| name.len().max(value.len())).max();
    check(
        "the longest part of a label, in bytes,",
        longest.unwrap_or(0),
        "label_bytes",
        shared.limits.label_bytes,
    )?;
    let key = wish.idempotency.as_ref().map_or(0, |k| k.len());
    check("the idempotency key", key, "idempotency_key_bytes", shared.limits.idempotency_key_bytes)
}

async fn plan_of(shared: &Shared, wish: &Submit) -> Result<Arc<Plan>, SubmitFault> {
    match &wish.workflow {
        WorkflowChoice::Named(reference) => Ok(workflows::find(shared, &wish.tenant, reference).await?),
        WorkflowChoice::Inline(doc) => {
            let lacking = workflows::lacking(shared, &wish.tenant, doc).await?;
            let plan =
                workflows::check(shared, &wish.tenant, doc, lacking).map_err(SubmitFault::InvalidWorkflow)?;
            workflows::runs(&plan)?;
            Ok(plan)
        }
        WorkflowChoice::Checked(plan) => Ok(plan.clone()),
    }
}

/// A run that is about to be accepted: its first fact, and what is kept beside it.
struct Opened {
    event: Event,
    opening: Opening,
    now: Timestamp,
    queue: Box<Queue>,
    claims: Vec<IdempotencyClaim>,
}

impl Opened {
    /// What it waits for until a node drives it.
    fn waits_for(&self) -> WaitsFor {
        match &self.opening.index {
            IndexChange::Create(row) => row.rest.map_or(WaitsFor::Node, WaitsFor::from),
            _ => WaitsFor::Node,
        }
    }
}

fn check_timing(shared: &Shared, timing: Timing) -> Result<(), SubmitFault> {
    let ahead_ms = timing.start_at.map_or(0, |start| start.since_ms(shared.now()));
    let most_ms = shared.limits.start_ahead_ms;
    if ahead_ms > most_ms {
        return Err(SubmitFault::TooFarAhead { ahead_ms, most_ms });
    }
    let Some(deadline) = timing.deadline else { return Ok(()) };
    match (deadline <= shared.now(), timing.start_at.is_some_and(|start| deadline <= start)) {
        (true, _) => Err(SubmitFault::NoTime { deadline, why: "over" }),
        (_, true) => Err(SubmitFault::NoTime { deadline, why: "not after `startAt`" }),
        _ => Ok(()),
    }
}

fn open(
    shared: &Shared,
    run: RunId,
    wish: &Submit,
    snapshot: &Arc<Snapshot>,
    input: Json,
    child: Option<AsChild>,
) -> Result<Opened, SubmitFault> {
    let now = shared.now();
    let plan = &snapshot.plan;
    let (max_parallel, from) = match plan.max_parallel {
        Some(n) => (n, "definition"),
        None => (shared.settings.run_parallel, "node"),
    };
    let mut blobs = vec![snapshot.blob()];
    let mut accepted = Accepted {
        tenant: wish.tenant.clone(),
        snapshot: snapshot.digest,
        input: kept_input(shared, &input, &mut blobs),
        max_parallel: u64::from(max_parallel).min(shared.limits.run_parallel) as u32,
        max_parallel_from: from.into(),
        by: wish.by.clone(),
        labels: wish.labels.clone(),
        traceparent: wish.traceparent.clone(),
        deadline: child.as_ref().map(|child| child.deadline).or(wish.timing.deadline),
        parent: child.map(|child| Box::new(child.parent)),
        defaults: shared.settings.defaults,
        queue: None,
        rerun: wish.rerun.as_ref().map(|taken| Box::new(taken.of.clone())),
    };
    blobs.extend(wish.rerun.as_ref().map(|taken| taken.imports.clone()));
    let holds = wish.rerun.as_ref().map(|taken| taken.holds.clone()).unwrap_or_default();
    let mut admission = queue::admission(plan, (run, &accepted), &input, &shared.limits)?;
    if let Some(own) = admission.deadline {
        accepted.deadline = Some(accepted.deadline.map_or(own, |given| given.min(own)));
        check_timing(shared, Timing { deadline: accepted.deadline, ..wish.timing })?;
    }
    admission.place.level = wish.timing.priority.unwrap_or(admission.place.level);
    let claims = claims(shared, (run, now), wish, admission.idempotency);
    let start_at = wish.timing.start_at.filter(|start| *start > now);
    let waits = start_at.is_some() || !admission.slots.is_empty();
    let place = admission.place.clone();
    // What is to begin later asks for its slots when its time has come.
    let asked = if start_at.is_some() { Vec::new() } else { admission.slots.clone() };
    accepted.queue =
        waits.then(|| Box::new(Queueing { start_at, slots: admission.slots, place: admission.place }));
    let row = RunRow {
        run,
        tenant: wish.tenant.clone(),
        workflow: plan.full_name().into(),
        workflow_version: plan.version.to_string().into(),
        snapshot: snapshot.digest,
        labels: wish.labels.clone(),
        by: wish.by.clone(),
        created: now,
        status: if waits { RunStatus::Waiting } else { RunStatus::Running },
        rest: waits.then_some(if start_at.is_some() { Rest::Time } else { Rest::Slot }),
        due: [start_at, accepted.deadline].into_iter().flatten().min().filter(|_| waits),
        finished: None,
    };
    Ok(Opened {
        event: Event::RunAccepted(Arc::new(accepted)),
        opening: Opening { index: IndexChange::Create(Box::new(row)), blobs, holds, listens: plan.listens() },
        now,
        queue: Box::new(line(place, asked)),
        claims,
    })
}

/// A place in line, as the store keeps it.
pub(crate) fn line(place: Place, slots: Vec<SlotWish>) -> Queue {
    let Place { level, fairness_key, weight } = place;
    Queue { level, fairness_key, weight, slots }
}

fn kept_input(shared: &Shared, input: &Json, blobs: &mut Vec<Blob>) -> Payload {
    if input.size() as u64 <= shared.limits.inline_bytes {
        return Payload::Inline(input.clone());
    }
    let (digest, size) = (input.digest(), input.size() as u64);
    blobs.push(Blob { digest, bytes: input.text().as_bytes().into() });
    Payload::Stored { digest, size }
}

/// What no client can send stands in front of the workflow's own keys.
const OF_A_WORKFLOW: char = '\u{2}';

/// The keys that the run claims: that of the wish, and that of the workflow.
fn claims(
    shared: &Shared,
    (run, now): (RunId, Timestamp),
    wish: &Submit,
    own: Option<(Arc<str>, Span, OnDuplicate)>,
) -> Vec<IdempotencyClaim> {
    let given = wish.idempotency.as_ref().map(|key| IdempotencyClaim {
        key: key.clone(),
        request: request_digest(wish),
        expires: now.plus_ms(key_life_ms(shared, key)),
    });
    // That a run is another one again is said, and no accident.
    let own = own.filter(|_| wish.rerun.is_none()).map(|(key, life, on_duplicate)| IdempotencyClaim {
        key: format!("{OF_A_WORKFLOW}{key}").into(),
        // The same for all where the run that there is will do, and for none where it will not.
        request: match on_duplicate {
            OnDuplicate::ReturnExisting => Digest::of(b"any"),
            OnDuplicate::Reject => Digest::of(&run.0.to_be_bytes()),
        },
        expires: now.plus_ms(life.0),
    });
    given.into_iter().chain(own).collect()
}

type Answer = Result<(RunId, Repeated), SubmitFault>;

/// Accepts and drives in one: the run's first attempts ride in the append that accepts it.
async fn drive_at_once(
    shared: &Arc<Shared>,
    id: RunId,
    snapshot: Arc<Snapshot>,
    Opened { event, opening, now, .. }: Opened,
) -> Answer {
    let mut run = Run::new(id, snapshot.plan.clone(), shared.limits.clone());
    run.apply(&event, now).map_err(|e| SubmitFault::Store(StoreFault::Unavailable(e.to_string())))?;
    let (answer, accepted) = oneshot::channel();
    let standing = Standing { durable: 0, status: RunStatus::Running };
    let driver = Driver::new(shared.clone(), snapshot, run, standing, Some(answer));
    crate::upkeep::spawn(shared.clone(), driver, Some((vec![event], opening)));
    match accepted.await {
        Ok(Ok(())) => Ok((id, Repeated::No)),
        Ok(Err(fault)) => Err(refused(fault)),
        Err(_) => Err(SubmitFault::Store(StoreFault::Unavailable("the driver went away".into()))),
    }
}

/// Accepts a run that nobody drives yet.
async fn record_first(shared: &Arc<Shared>, id: RunId, snapshot: &Snapshot, opened: Opened) -> Answer {
    let fault = match record(shared, id, snapshot, opened).await {
        Ok(()) => return Ok((id, Repeated::No)),
        Err(Unrecorded::Full(full)) => return Err(full),
        Err(Unrecorded::By(fault)) => fault,
    };
    match fault {
        AppendFault::Duplicate { run, same_request: SameRequest::Yes, .. } => Ok((run, Repeated::Yes)),
        AppendFault::Duplicate { key, run, .. } => Err(match key.starts_with(OF_A_WORKFLOW) {
            true => SubmitFault::DuplicateRun { run },
            false => SubmitFault::IdempotencyMismatch { run },
        }),
        fault => Err(refused(fault)),
    }
}

/// How long a key is remembered. That of a tick, which no client can send, lives as long as a run is kept, so that a
/// tick has one run however long a node was away.
fn key_life_ms(shared: &Shared, key: &str) -> u64 {
    match key.starts_with('\u{1}') {
        true => shared.limits.retention_ms.max(KEY_LIFE_MS),
        false => KEY_LIFE_MS,
    }
}

fn refused(fault: AppendFault) -> SubmitFault {
    if let AppendFault::SlotsTaken { key, limit, holder } = fault {
        return SubmitFault::SlotsTaken { key, limit, holder };
    }
    SubmitFault::Store(StoreFault::Unavailable(fault.to_string()))
}

/// What makes two requests the same: the workflow and the input as the caller gave them.
fn request_digest(wish: &Submit) -> Digest {
    let mut text = match &wish.workflow {
        WorkflowChoice::Named(reference) => format!("named {reference}\n"),
        WorkflowChoice::Inline(doc) => format!("inline {}\n", Json::from_value(doc.value()).text()),
        WorkflowChoice::Checked(plan) => format!("inline {}\n", plan.source.text()),
    };
    text.push_str(wish.input.text());
    if let Some(taken) = &wish.rerun {
        text.push_str(&format!("\nagain {} {:?}", taken.of.run, taken.of.from));
    }
    for (key, value) in &wish.labels {
        text.push_str(&format!("\n{} {key}={value}", key.len()));
    }
    Digest::of(text.as_bytes())
}
