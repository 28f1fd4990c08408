//! Schedules on this node: what a published workflow says becomes rows, people's wishes are decided on rows, and
//! [`keeper`] keeps the time of those that this node owns.
//!
//! ```text
//!  publish ──► sync ──┐                                    ┌──► submit, under the tick's key ──► run
//!  pause, trigger ──► tell ──► row (version, lease) ──► keeper
//!                     └── core/schedule decides ──┘        └──► Started, Ended: written the same way
//! ```
//! A row is read, the core decides, the row is written at the version that was read; whoever comes second reads again.

pub(crate) mod keeper;
mod sync;

pub(crate) use sync::{of_version, sync};

use crate::shared::Shared;
use crate::telemetry as t;
use heddle_core::document::Fault;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::schedule_of;
use heddle_core::schedule::machine::{self, Bounds, Fact, Input, Refusal};
use heddle_core::schedule::state::{Asked, Outcome, State, Tick, Wish};
use heddle_core::schedule::{Schedule, Timing};
use heddle_core::time::Timestamp;
use heddle_store::{RunStatus, ScheduleFault, ScheduleRow, ScheduleWrite, StoreFault};
use metrics::counter;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The next times that are shown.
const NEXT_SHOWN: usize = 5;
/// How often a write is tried again because somebody else was quicker.
const TRIES: usize = 32;

/// What a row says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    /// `namespace/name`.
    workflow: Arc<str>,
    /// The version whose list it stands in: what its ticks run.
    version: semver::Version,
    /// The entry of the list.
    entry: Json,
    /// Where it stands.
    state: State,
}

/// A row that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    tenant: Tenant,
    version: u64,
    owner: Option<u64>,
    kept: Kept,
    schedule: Arc<Schedule>,
}

/// A schedule's name.
pub(crate) type Name = (Tenant, String);

/// Tells the keeper what others have changed.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    touched: Mutex<BTreeSet<Name>>,
    rings: tokio::sync::Notify,
}

impl Bell {
    fn ring(&self, name: Name) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        self.rings.notify_one();
    }
    fn take(&self) -> BTreeSet<Name> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A schedule, as it is shown.
#[derive(Clone, Debug)]
pub struct ScheduleView {
    /// What it says.
    pub schedule: Arc<Schedule>,
    /// `namespace/name` of its workflow.
    pub workflow: Arc<str>,
    /// The version whose list it stands in.
    pub version: semver::Version,
    /// Where it stands.
    pub state: State,
    /// Its next times, before jitter; none while it is paused.
    pub next: Vec<Timestamp>,
    /// Where the runs of its last ticks stand.
    pub runs: BTreeMap<RunId, RunStatus>,
}

impl ScheduleView {
    /// Who keeps it from ticking, or else whether anything will come of it.
    pub fn status(&self) -> &'static str {
        match (&self.state.paused, self.next.is_empty()) {
            (Some(_), _) => "paused",
            (None, true) => "over",
            (None, false) => "active",
        }
    }
    /// When it ticks, in the words of the language: the key, its value, and the time zone of a `cron`.
    pub fn when(&self) -> (&'static str, String, Option<String>) {
        match &self.schedule.timing {
            Timing::Cron(cron) => ("cron", cron.text().to_owned(), Some(cron.zone().to_owned())),
            Timing::Every(span) => ("every", span.to_string(), None),
            Timing::At(at) => ("at", at.rfc3339(), None),
        }
    }
}

/// Why a wish for a schedule was not granted. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum WishFault {
    /// By the rules of schedules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node's lease has ended.
    #[error("this node has lost its lease and changes nothing any more; try another node")]
    LeaseLost,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl From<ScheduleFault> for WishFault {
    fn from(fault: ScheduleFault) -> WishFault {
        match fault {
            ScheduleFault::Conflict { id, .. } => StoreFault::Conflict(id).into(),
            ScheduleFault::Fenced { .. } => WishFault::LeaseLost,
            ScheduleFault::Store(fault) => fault.into(),
        }
    }
}

/// What became of a trigger.
#[derive(Clone, Debug)]
pub struct Triggered {
    /// The tick.
    pub tick: Tick,
    /// What became of it so far.
    pub outcome: Outcome,
}

impl Loaded {
    fn of(row: &ScheduleRow) -> Result<Loaded, StoreFault> {
        let damaged = |why: String| StoreFault::Damaged { what: format!("schedule {}", row.id), why };
        let kept: Kept = serde_json::from_str(row.body.text()).map_err(|error| damaged(error.to_string()))?;
        let first = |faults: Vec<Fault>| damaged(faults.first().map(ToString::to_string).unwrap_or_default());
        let mut schedule = schedule_of(&kept.workflow.replace('/', "."), &kept.entry).map_err(first)?;
        schedule.id = row.id.as_str().into();
        let (tenant, schedule) = (row.tenant.clone(), Arc::new(schedule));
        Ok(Loaded { tenant, version: row.version, owner: row.owner, kept, schedule })
    }
    fn name(&self) -> Name {
        (self.tenant.clone(), self.schedule.id.to_string())
    }
    fn view(&self, now: Timestamp) -> ScheduleView {
        let state = self.kept.state.clone();
        let live = state.paused.is_none() && !state.retired;
        let from = state.after.max(Timestamp(now.0.saturating_sub(self.schedule.jitter.0)));
        let next = if live { self.schedule.next_times(from, NEXT_SHOWN) } else { Vec::new() };
        ScheduleView {
            schedule: self.schedule.clone(),
            workflow: self.kept.workflow.clone(),
            version: self.kept.version.clone(),
            state,
            next,
            runs: BTreeMap::new(),
        }
    }
    fn write(&self, shared: &Shared, kept: &Kept) -> ScheduleWrite {
        ScheduleWrite {
            epoch: shared.epoch(),
            tenant: self.tenant.clone(),
            id: self.schedule.id.to_string(),
            expected: self.version,
            body: Some(body(kept)),
        }
    }
    /// Decides and writes. Nothing is written where nothing follows.
    async fn step(&mut self, shared: &Shared, input: &Input) -> Result<(), WishFault> {
        let (now, bounds) = (shared.now(), Bounds::from(&*shared.limits));
        let facts = machine::decide(&self.schedule, &bounds, &self.kept.state, input, now)?;
        if facts.is_empty() {
            return Ok(());
        }
        let mut kept = self.kept.clone();
        for fact in &facts {
            kept.state.apply(fact, now, &bounds);
        }
        self.version = shared.shelf.put_schedule(self.write(shared, &kept)).await?;
        (self.kept, self.owner) = (kept, Some(shared.epoch()));
        count(&facts);
        Ok(())
    }
}

fn body(kept: &Kept) -> Json {
    // A row is plain data: it always has a form.
    Json::trusted(serde_json::to_string(kept).unwrap_or_default())
}

/// Counts what became of ticks, when it is on disk.
fn count(facts: &[Fact]) {
    for fact in facts {
        match fact {
            Fact::Started(..) => counter!(t::TICKS, "outcome" => "started").increment(1),
            Fact::Refused(..) => counter!(t::TICKS, "outcome" => "refused").increment(1),
            Fact::Skipped(_, why) => counter!(t::TICKS, "outcome" => why.word()).increment(1),
            Fact::Passed { several, why, .. } => {
                counter!(t::TICKS, "outcome" => why.word()).increment(several.count);
            }
            _ => {}
        }
    }
}

async fn load(shared: &Shared, tenant: &Tenant, id: &str) -> Result<Option<Loaded>, StoreFault> {
    let row = shared.shelf.schedule(tenant, id).await?;
    row.as_ref().map(Loaded::of).transpose()
}

/// Decides on a row for somebody who is not its keeper. `None` where there is no such schedule.
async fn tell(
    shared: &Shared,
    tenant: &Tenant,
    id: &str,
    input: &Input,
) -> Result<Option<Loaded>, WishFault> {
    for _ in 0..TRIES {
        let Some(mut loaded) = load(shared, tenant, id).await?.filter(|l| !l.kept.state.retired) else {
            return Ok(None);
        };
        match loaded.step(shared, input).await {
            Err(WishFault::Store(StoreFault::Conflict(_))) => tokio::task::yield_now().await,
            Err(fault) => return Err(fault),
            Ok(()) => return Ok(Some(loaded)),
        }
    }
    Err(StoreFault::Conflict(id.to_owned()).into())
}

/// The same, for a person: the keeper is told, and what came of it is shown.
pub(crate) async fn wish(
    shared: &Shared,
    tenant: &Tenant,
    id: &str,
    input: &Input,
) -> Result<Option<ScheduleView>, WishFault> {
    let Some(loaded) = tell(shared, tenant, id, input).await? else { return Ok(None) };
    shared.bell.ring(loaded.name());
    Ok(Some(with_runs(shared, loaded.view(shared.now())).await?))
}

/// A run now. Where the overlap lets it, the run is accepted before this answers.
pub(crate) async fn trigger(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    id: &str,
    by: &str,
) -> Result<Option<Triggered>, WishFault> {
    let wish: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let input = Input::Trigger { id: wish.clone(), by: by.into() };
    let Some(loaded) = tell(shared, tenant, id, &input).await? else { return Ok(None) };
    let asked = Some(Asked { wish: Wish::Trigger, id: wish, by: by.into() });
    let records = loaded.kept.state.recent.iter().rev();
    let record = records.into_iter().find(|record| record.tick.asked == asked);
    let Some((tick, mut outcome)) = record.map(|r| (r.tick.clone(), r.outcome.clone())) else {
        return Ok(None);
    };
    if outcome == Outcome::Starting
        && let keeper::Asking::Run(run) = keeper::ask(shared, &loaded, &tick).await
    {
        // The keeper asks again, under the same key, and writes the answer down.
        outcome = Outcome::Started(run);
    }
    shared.bell.ring(loaded.name());
    Ok(Some(Triggered { tick, outcome }))
}

/// A page of schedules by id, after this one.
pub(crate) async fn page(
    shared: &Shared,
    tenant: &Tenant,
    after: &str,
    limit: u32,
) -> Result<Vec<ScheduleView>, StoreFault> {
    let rows = shared.shelf.schedules(tenant, after, limit).await?;
    rows.iter().map(|row| Ok(Loaded::of(row)?.view(shared.now()))).collect()
}

/// One schedule, with where the runs of its last ticks stand.
pub(crate) async fn one(
    shared: &Shared,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<ScheduleView>, StoreFault> {
    let Some(loaded) = load(shared, tenant, id).await?.filter(|l| !l.kept.state.retired) else {
        return Ok(None);
    };
    Ok(Some(with_runs(shared, loaded.view(shared.now())).await?))
}

async fn with_runs(shared: &Shared, mut view: ScheduleView) -> Result<ScheduleView, StoreFault> {
    for record in &view.state.recent {
        if let Outcome::Started(run) = &record.outcome
            && let Some(row) = shared.store.run(*run).await?
        {
            view.runs.insert(*run, row.status);
        }
    }
    Ok(view)
}
