//! Runs that go on with another version of their workflow. What may move is proved in the core; here the versions are
//! found, and a journal is read with the numbers of the plan that it ends with.

use crate::Executor;
use crate::inbox::{Message, Moving};
use crate::read::{self, ReadFault, RunDetail};
use crate::shared::Shared;
use crate::snapshot::{Snapshot, SnapshotFault};
use crate::workflows;
use futures_util::StreamExt as _;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::{InFlight, WorkflowRef};
use heddle_core::run::Run;
use heddle_core::run::event::{Batch, Event, Payload};
use heddle_core::run::migrate::{Move, Obstacle, Unmovable, begun, prove};
use heddle_core::run::view::StepView;
use heddle_core::version::{NotRunnable, VersionStatus};
use heddle_store::{Listed, Mail, Recipient, RunQuery, RunRow, RunStatus, StoreFault};
use std::sync::Arc;

/// Rows of runs that are asked for at once.
const ROWS: u32 = 200;
/// Runs that are asked at the same time.
const AT_ONCE: usize = 64;
/// Differences that are told of a run that keeps its version.
const TOLD: usize = 3;
/// Steps that are named of those under way.
const STEPS: usize = 16;

/// Why a run keeps the version that it has. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum MigrateFault {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// There is no such version.
    #[error("`{0}` is not published; `heddle workflow ls` lists the versions")]
    NoSuchVersion(String),
    /// The version begins no run.
    #[error(transparent)]
    NotRunnable(#[from] NotRunnable),
    /// It is a template.
    #[error("`{0}` is a template and does not run")]
    Template(String),
    /// It has the version already.
    #[error("run {run} has version {version} already")]
    Same {
        /// The run.
        run: RunId,
        /// The version.
        version: String,
    },
    /// The run cannot go on with any other version.
    #[error("{0}")]
    Unmovable(Unmovable),
    /// What it has done so far is not the same in both versions.
    #[error("what run {run} has done so far differs in {} places", .obstacles.len())]
    Differs {
        /// The run.
        run: RunId,
        /// Each of them.
        obstacles: Vec<Obstacle>,
    },
    /// A plugin is missing.
    #[error(transparent)]
    Snapshot(SnapshotFault),
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
}

impl From<StoreFault> for MigrateFault {
    fn from(fault: StoreFault) -> MigrateFault {
        MigrateFault::Read(fault.into())
    }
}

impl MigrateFault {
    /// In a sentence, with the first of what differs.
    pub(crate) fn told(&self) -> String {
        match self {
            MigrateFault::Differs { obstacles, .. } => {
                let told: Vec<String> =
                    obstacles.iter().take(TOLD).map(|o| format!("{}: {}", o.path, o.message)).collect();
                let more = obstacles.len().saturating_sub(TOLD);
                let more = if more > 0 { format!("; and {more} more") } else { String::new() };
                format!("{}{more}", told.join("; "))
            }
            other => other.to_string(),
        }
    }
}

/// A wish for another version that lies in the inbox of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingMove {
    /// The run.
    pub run: RunId,
    /// Who has it.
    pub by: Arc<str>,
    /// The version.
    pub version: semver::Version,
    /// Steps of the run that are under way, which the wish waits for; at most sixteen.
    pub steps: Vec<Arc<str>>,
    /// Whether the run begins nothing more meanwhile, because it stands still.
    pub still: bool,
}

impl std::fmt::Display for WaitingMove {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WaitingMove { run, by, version, steps, still } = self;
        let steps: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
        match (steps.as_slice(), still) {
            ([], _) => {
                write!(f, "whether it goes on with version {version} (asked for by {by}) is being looked at")
            }
            (_, true) => write!(
                f,
                "to go on with version {version} (asked for by {by}) it waits for what is under way: {}",
                steps.join(", ")
            ),
            (_, false) => write!(
                f,
                "to go on with version {version} (asked for by {by}) it waits until nothing is under way, which is {} now; `heddle runs pause {run}` lets nothing more begin",
                steps.join(", ")
            ),
        }
    }
}

/// A wish for another version.
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) run: &'a Run,
    pub(crate) from: &'a Snapshot,
    pub(crate) version: &'a semver::Version,
}

/// What the run would own with the other version, once it is proved that it may go on with it.
pub(crate) async fn prepare(shared: &Shared, wanted: Wanted<'_>) -> Result<Arc<Snapshot>, MigrateFault> {
    let Wanted { tenant, run, from, version } = wanted;
    let busy = match run.may_move() {
        Ok(()) => None,
        Err(busy @ Unmovable::Busy) => Some(busy),
        Err(fault) => return Err(MigrateFault::Unmovable(fault)),
    };
    let name = from.plan.full_name();
    if from.plan.version == *version {
        return Err(MigrateFault::Same { run: run.id, version: version.to_string() });
    }
    let entry = workflows::version(shared, tenant, &name, version).await?;
    let entry = entry.ok_or_else(|| MigrateFault::NoSuchVersion(format!("{name}@{version}")))?;
    if !matches!(entry.status, VersionStatus::Active | VersionStatus::Draft) {
        let reference = WorkflowRef::exactly(&name, version);
        return Err(NotRunnable { reference, version: version.clone(), status: entry.status }.into());
    }
    if entry.is_template() {
        return Err(MigrateFault::Template(format!("{name}@{version}")));
    }
    let damaged = |why: String| StoreFault::Damaged { what: format!("workflow {name}@{version}"), why };
    let to = shared
        .plan_of(&entry)
        .map_err(|faults| damaged(faults.first().map(ToString::to_string).unwrap_or_default()))?;
    let (_, batches) = read::batches(shared, run.id).await?;
    let batches = numbered(shared, batches, from).await?;
    let begun = begun(batches.iter().flat_map(|batch| &batch.events));
    let input = input(shared, run).await?;
    prove(&from.plan, &to, &begun, &input)
        .map_err(|obstacles| MigrateFault::Differs { run: run.id, obstacles })?;
    let moving = Move::between(&from.plan, &to);
    // The proof is believed, and tried: a run that could not be read afterwards would be lost.
    let after: Option<Vec<Batch>> = batches.iter().map(|batch| moving.batch(batch)).collect();
    let tried = after.and_then(|after| Run::replay(run.id, to.clone(), shared.limits.clone(), &after).ok());
    if tried.is_none() {
        let message = "the journal cannot be read with the steps of that version".to_owned();
        let obstacles = vec![Obstacle { path: "/steps".to_owned(), message }];
        return Err(MigrateFault::Differs { run: run.id, obstacles });
    }
    if let Some(busy) = busy {
        return Err(MigrateFault::Unmovable(busy));
    }
    let numbers = moving.numbers(&from.plan, &to, run.migrations().len());
    let moved = shared.snapshots.moved(tenant, (from, &to), numbers, &shared.registry);
    moved.map_err(MigrateFault::Snapshot)
}

async fn input(shared: &Shared, run: &Run) -> Result<Json, StoreFault> {
    Ok(match run.accepted().map(|accepted| &accepted.input) {
        Some(Payload::Inline(json)) => json.clone(),
        Some(Payload::Stored { digest, .. }) => {
            read::value(shared, *digest).await.ok().flatten().unwrap_or_else(Json::null)
        }
        Some(Payload::Derived) | None => Json::null(),
    })
}

/// The snapshot that a run owns after this row, where it changes there.
pub(crate) fn moved_to(batch: &Batch) -> Option<Digest> {
    batch.events.iter().rev().find_map(|event| match event {
        Event::RunMigrated { snapshot, .. } => Some(*snapshot),
        _ => None,
    })
}

/// The snapshot that a run was accepted with.
fn accepted(batches: &[Batch]) -> Option<Digest> {
    match batches.first()?.events.first()? {
        Event::RunAccepted(accepted) => Some(accepted.snapshot),
        _ => None,
    }
}

/// The snapshot that a journal ends with, and the journal with the numbers of its plan.
pub(crate) async fn told_by(
    shared: &Shared,
    row: &RunRow,
    batches: Vec<Batch>,
) -> Result<(Arc<Snapshot>, Vec<Batch>), StoreFault> {
    match batches.iter().rev().find_map(moved_to) {
        None => Ok((shared.snapshots.get(row.snapshot).await?, batches)),
        Some(last) => {
            let last = shared.snapshots.get(last).await?;
            let batches = numbered(shared, batches, &last).await?;
            Ok((last, batches))
        }
    }
}

/// A journal with the numbers of the plan that it ends with.
async fn numbered(
    shared: &Shared,
    mut batches: Vec<Batch>,
    last: &Snapshot,
) -> Result<Vec<Batch>, StoreFault> {
    let Some(mut digest) = accepted(&batches) else { return Ok(batches) };
    let damaged = || StoreFault::Damaged {
        what: format!("the journal of a run of {}", last.workflow),
        why: "it speaks of steps that the version it has moved to does not have".into(),
    };
    let mut moving = None;
    for batch in &mut batches {
        if digest == last.digest {
            moving = None;
        } else if moving.is_none() {
            let from = shared.snapshots.get(digest).await?;
            moving = Some(Move::between(&from.plan, &last.plan));
        }
        let next = moved_to(batch);
        if let Some(moving) = &moving {
            *batch = moving.batch(batch).ok_or_else(damaged)?;
        }
        if let Some(next) = next {
            (digest, moving) = (next, None);
        }
    }
    Ok(batches)
}

/// The snapshots that a run has had, each with the row behind which it was the run's.
pub(crate) type Moves = Arc<Vec<(u64, Digest)>>;

/// The snapshot with which the row after this one was written, of a run that now has this one.
pub(crate) async fn snapshot_at(
    shared: &Shared,
    (run, now): (RunId, Digest),
    seq: u64,
) -> Result<Arc<Snapshot>, StoreFault> {
    let current = shared.snapshots.get(now).await?;
    if !current.is_moved {
        return Ok(current);
    }
    // A run that has moved is rare, and read from its beginning, once for each of its moves.
    let moves = match shared.moves.get(&(run, now)) {
        Some(moves) => moves,
        None => {
            let (_, batches) = read::batches(shared, run).await?;
            let moved = (1..).zip(&batches).filter_map(|(seq, batch)| Some((seq, moved_to(batch)?)));
            let moves: Moves =
                Arc::new(accepted(&batches).map(|first| (0, first)).into_iter().chain(moved).collect());
            shared.moves.insert((run, now), moves.clone());
            moves
        }
    };
    let then = moves.iter().rev().find(|(since, _)| *since <= seq);
    shared.snapshots.get(then.map_or(now, |(_, snapshot)| *snapshot)).await
}

impl Executor {
    /// Asks for a run to go on with another version of its workflow. It does as soon as nothing of it is under way.
    ///
    /// # Errors
    /// Why it cannot, as far as that is known now; nothing is recorded then.
    pub async fn migrate(
        &self,
        tenant: &Tenant,
        run: RunId,
        version: &semver::Version,
        by: &str,
    ) -> Result<RunStatus, MigrateFault> {
        let shared = &self.shared;
        let row = read::row(shared, tenant, run).await?.ok_or(MigrateFault::NoSuchRun(run))?;
        let replayed = read::replay(shared, &row).await?;
        let wanted = Wanted { tenant, run: &replayed.run, from: &replayed.snapshot, version };
        match prepare(shared, wanted).await {
            Ok(_) | Err(MigrateFault::Unmovable(Unmovable::Busy)) => {}
            Err(fault) => return Err(fault),
        }
        match ask(shared, run, version, by).await? {
            0 => Err(MigrateFault::Unmovable(Unmovable::Ended)),
            _ => Ok(replayed.run.standing()),
        }
    }

    /// The version that this run is to go on with next, as long as that waits: it lies in the run's inbox until it has
    /// been done, or refused.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn waiting_move(&self, detail: &RunDetail) -> Result<Option<WaitingMove>, ReadFault> {
        let view = &detail.view;
        if view.finished_at.is_some() {
            return Ok(None);
        }
        let messages = self.shared.store.inbox(view.id).await?;
        let wish = messages.iter().find_map(|message| crate::inbox::migration_of(&message.body));
        let is_under_way = |step: &&StepView| {
            let open = step.work.attempts.last().is_some_and(|attempt| attempt.ended_at.is_none());
            step.finished_at.is_none() && (open || step.items.is_some_and(|items| items.running > 0))
        };
        let steps = view.steps.iter().filter(is_under_way).map(|step| step.id.clone()).take(STEPS).collect();
        let still = view.paused.is_some();
        Ok(wish.map(|Moving { by, version }| WaitingMove { run: view.id, by, version, steps, still }))
    }
}

async fn ask(shared: &Shared, run: RunId, version: &semver::Version, by: &str) -> Result<u64, StoreFault> {
    let body = Message::Migrate { by: by.into(), version: version.clone() }.body();
    let reached = shared.store.send(Mail::to(run, format!("migrate/{version}"), body)).await?;
    shared.has_mail(&Recipient::Run(run));
    Ok(reached)
}

/// Asks every run of earlier versions to go on with the one that counts now, where that says so (`upgrade.inFlight`).
/// Each run sees to it by itself.
pub(crate) async fn upgrade(shared: &Shared, tenant: &Tenant, name: &str) -> Result<(), StoreFault> {
    let any = WorkflowRef { name: name.to_owned(), range: semver::VersionReq::STAR };
    let Ok(entry) = workflows::meant(shared, tenant, &any).await else { return Ok(()) };
    let plan = shared.plan_of(&entry).ok().filter(|plan| plan.in_flight == InFlight::Migrate);
    if plan.is_none_or(|plan| plan.template.is_some()) {
        return Ok(());
    }
    let mut before = None;
    loop {
        let query = RunQuery {
            tenant: tenant.clone(),
            status: RunStatus::OPEN.to_vec(),
            workflow: Some(name.to_owned()),
            before,
            limit: ROWS,
            ..RunQuery::default()
        };
        let page = shared.store.runs(query).await?;
        before = page.last().map(Listed::run);
        let full = page.len() == ROWS as usize;
        let earlier = |row: &RunRow| {
            row.workflow_version.parse::<semver::Version>().is_ok_and(|own| own < entry.version)
        };
        let rows = page.into_iter().filter_map(Listed::row).filter(earlier);
        let asked = rows.map(|row| ask(shared, row.run, &entry.version, "workflow"));
        let asked: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        asked.into_iter().collect::<Result<Vec<_>, _>>()?;
        if !full {
            return Ok(());
        }
    }
}
