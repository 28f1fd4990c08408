//! Looking at runs. What is shown is what is committed: a run's document is its journal, replayed.

use crate::bus::{Told, TooManySubscribers};
use crate::gates::Hold;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use futures_util::Stream;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::Plan;
use heddle_core::plugin::Pinned;
use heddle_core::run::approval::Undecidable;
use heddle_core::run::event::Batch;
use heddle_core::run::public::{PublicEvent, public_events};
use heddle_core::run::slot::SlotWish;
use heddle_core::run::view::{RunView, WorkView};
use heddle_core::run::{IllegalEvent, Run};
use heddle_store::{JournalRow, Listed, RunQuery, RunRow, RunStatus, StoreFault};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A run with everything that is needed to show it.
#[derive(Clone)]
pub struct RunDetail {
    /// Its document.
    pub view: RunView,
    snapshot: Arc<Snapshot>,
    /// Steps of which attempts wait for a sandbox of this node, and how many of each.
    pub queued_steps: BTreeMap<u32, u32>,
    /// Steps of which attempts wait at a rate limit or an open circuit: where one of them does, and how many there are.
    pub held_steps: BTreeMap<u32, (Hold, u32)>,
    /// Who has the slots that the run waits for, by key: the newest first, at most sixteen of each.
    holders: Vec<(Arc<str>, Vec<RunId>)>,
    /// How long such a run is likely to take in all, from past ones.
    pub estimate_ms: Option<u64>,
}

impl fmt::Debug for RunDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunDetail({} {})", self.view.id, self.view.status)
    }
}

impl RunDetail {
    pub(crate) fn new(view: RunView, snapshot: Arc<Snapshot>, estimate_ms: Option<u64>) -> RunDetail {
        RunDetail {
            view,
            snapshot,
            queued_steps: BTreeMap::new(),
            held_steps: BTreeMap::new(),
            holders: Vec::new(),
            estimate_ms,
        }
    }
    /// Who has the slots of this key that the run waits for.
    pub fn holders(&self, key: &str) -> &[RunId] {
        self.holders.iter().find(|(of, _)| **of == *key).map_or(&[], |(_, runs)| runs)
    }
    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.snapshot.plan
    }
    /// The plugin that this call of the plan comes to at this turn, by what the run was accepted with.
    pub fn plugin(&self, call: usize, turn: u32) -> Option<&Arc<Pinned>> {
        self.snapshot.pins.pick(call, turn)
    }
}

/// Why a run cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The journal contradicts the plan.
    #[error("the journal of run {run} is damaged: {fault}")]
    Illegal {
        /// The run.
        run: RunId,
        /// The contradiction.
        fault: IllegalEvent,
    },
    /// The run cannot go on as it is.
    #[error("run {run} cannot go on: {why}; `heddle doctor` tells more")]
    Stuck {
        /// The run.
        run: RunId,
        /// What the node met.
        why: String,
    },
    /// An event that the run has not had.
    #[error("run {run} has had no event `{}.{}`; begin without one", .event.0, .event.1)]
    NoSuchEvent {
        /// The run.
        run: RunId,
        /// What was asked for.
        event: EventId,
    },
    /// A place among the events of all runs that there has not been yet.
    #[error("nothing has happened at `{}` yet, the newest place is `{newest}`; begin without one", .place.0)]
    NoSuchPlace {
        /// What was asked for.
        place: EventId,
        /// The last position that was given.
        newest: u64,
    },
    /// Too many streams are open.
    #[error("{most} event streams are open already (limit subscriptions); close one")]
    TooManySubscribers {
        /// How many there may be.
        most: u64,
    },
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DecideFault {
    /// It does not count.
    #[error(transparent)]
    Undecidable(#[from] Undecidable),
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
}

/// A run as its journal tells it.
pub(crate) struct Replayed {
    pub(crate) run: Run,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) seq: u64,
}

const ROWS: u32 = 1_000;
/// Runs that are named of those that have a slot.
const HOLDERS: u32 = 16;

/// The index row, where the run belongs to the tenant.
pub(crate) async fn row(shared: &Shared, tenant: &Tenant, run: RunId) -> Result<Option<RunRow>, ReadFault> {
    Ok(shared.store.run(run).await?.filter(|row| row.tenant == *tenant))
}

pub(crate) async fn replay(shared: &Shared, row: &RunRow) -> Result<Replayed, ReadFault> {
    let (seq, batches) = batches(shared, row.run).await?;
    let (snapshot, batches) = crate::migrate::told_by(shared, row, batches).await?;
    let run = Run::replay(row.run, snapshot.plan.clone(), shared.limits.clone(), &batches)
        .map_err(|fault| ReadFault::Illegal { run: row.run, fault })?;
    Ok(Replayed { run, snapshot, seq })
}

/// A whole journal: how many rows it has, and what they say.
pub(crate) async fn batches(shared: &Shared, run: RunId) -> Result<(u64, Vec<Batch>), StoreFault> {
    let (mut seq, mut batches): (u64, Vec<Batch>) = (0, Vec::new());
    loop {
        let page = shared.store.journal(run, seq, ROWS).await?;
        let full = page.len() == ROWS as usize;
        for entry in page {
            seq = entry.seq;
            batches.push(entry.batch);
        }
        if !full {
            return Ok((seq, batches));
        }
    }
}

pub(crate) async fn detail(
    shared: &Shared,
    tenant: &Tenant,
    run: RunId,
) -> Result<Option<RunDetail>, ReadFault> {
    let Some(row) = row(shared, tenant, run).await? else { return Ok(None) };
    let replayed = replay(shared, &row).await?;
    let estimate = shared.pace(replayed.snapshot.plan.digest);
    let holders = holders(shared, tenant, replayed.run.wants_slots()).await?;
    let detail = RunDetail::new(replayed.run.view(), replayed.snapshot, estimate);
    let (queued_steps, held_steps) = (shared.slots.queued_steps(run), shared.gates.held_steps(run));
    Ok(Some(RunDetail { queued_steps, held_steps, holders, ..detail }))
}

/// Who has the slots that are wanted.
async fn holders(
    shared: &Shared,
    tenant: &Tenant,
    slots: &[SlotWish],
) -> Result<Vec<(Arc<str>, Vec<RunId>)>, ReadFault> {
    let mut holders = Vec::with_capacity(slots.len());
    for wish in slots {
        let slot = Some(wish.key.clone());
        let query = RunQuery { tenant: tenant.clone(), slot, limit: HOLDERS, ..RunQuery::default() };
        let rows = shared.store.runs(query).await?;
        holders.push((wish.key.clone(), rows.iter().map(Listed::run).collect()));
    }
    Ok(holders)
}

/// Those of a page of open runs that ask people for something.
pub(crate) async fn asking(
    shared: &Shared,
    tenant: &Tenant,
    before: Option<RunId>,
    limit: u32,
) -> Result<(Vec<RunDetail>, Option<RunId>), ReadFault> {
    let status = vec![RunStatus::Waiting, RunStatus::Running, RunStatus::Paused];
    let query = RunQuery { tenant: tenant.clone(), status, before, limit, ..RunQuery::default() };
    let rows = shared.store.runs(query).await?;
    let next = rows.last().filter(|_| rows.len() == limit as usize).map(Listed::run);
    let mut found = Vec::new();
    for row in rows.into_iter().filter_map(Listed::row) {
        let replayed = match replay(shared, &row).await {
            Ok(replayed) => replayed,
            // One damaged run takes nothing from the others; `doctor` names it.
            Err(fault) => {
                tracing::error!(run = %row.run, %fault, "a run cannot be read");
                continue;
            }
        };
        let view = replayed.run.view();
        if view.steps.iter().any(|step| step.asks.is_some()) {
            found.push(RunDetail::new(view, replayed.snapshot, None));
        }
    }
    Ok((found, next))
}

/// Waits until the run has ended, at most so long.
pub(crate) async fn wait(
    shared: &Shared,
    tenant: &Tenant,
    run: RunId,
    at_most: Duration,
) -> Result<Option<Arc<RunDetail>>, ReadFault> {
    let end = tokio::time::Instant::now() + at_most;
    let mut pause = IDLE_LOOK;
    loop {
        if let Some(active) = shared.active(run) {
            pause = IDLE_LOOK;
            let mut done = active.done;
            let ended = tokio::time::timeout_at(end, done.wait_for(Option::is_some)).await;
            if let Ok(Ok(detail)) = ended
                && let Some(detail) = detail.as_ref().filter(|d| *d.view.tenant == *tenant.0)
            {
                return Ok(Some(detail.clone()));
            }
        }
        let Some(row) = row(shared, tenant, run).await? else { return Ok(None) };
        if row.status.is_terminal() || tokio::time::Instant::now() >= end {
            return Ok(detail(shared, tenant, run).await?.map(Arc::new));
        }
        // Nobody drives it here at the moment; it is looked at again soon.
        tokio::time::sleep_until(end.min(tokio::time::Instant::now() + pause)).await;
        pause = (pause * 2).min(IDLE_LOOK_MOST);
    }
}

/// How soon a run that nobody drives here is looked at again.
const IDLE_LOOK: Duration = Duration::from_millis(20);
/// And how late at most, once it has been looked at in vain.
const IDLE_LOOK_MOST: Duration = Duration::from_millis(500);

pub(crate) async fn journal(
    shared: &Shared,
    tenant: &Tenant,
    run: RunId,
    after: u64,
    limit: u32,
) -> Result<Option<Vec<JournalRow>>, ReadFault> {
    match row(shared, tenant, run).await? {
        None => Ok(None),
        Some(_) => Ok(Some(shared.store.journal(run, after, limit).await?)),
    }
}

/// A step's items.
pub(crate) async fn items(
    shared: &Shared,
    tenant: &Tenant,
    run: RunId,
    step: &str,
    from: u32,
    limit: u32,
) -> Result<Option<Vec<(u32, WorkView)>>, ReadFault> {
    let Some(row) = row(shared, tenant, run).await? else { return Ok(None) };
    let replayed = replay(shared, &row).await?;
    Ok(replayed.run.plan.step(step).map(|index| replayed.run.item_views(index, from, limit)))
}

/// A value by its digest.
pub(crate) async fn value(shared: &Shared, digest: Digest) -> Result<Option<Json>, ReadFault> {
    let bytes = shared.store.blob(digest).await?;
    Ok(bytes.and_then(|b| std::str::from_utf8(&b).ok().map(Json::trusted)))
}

/// The place of a public event: row and ordinal.
pub type EventId = (u64, u32);

/// What a stream of events brings.
#[derive(Clone, Debug)]
pub enum StreamItem {
    /// An event.
    Event(PublicEvent),
    /// The reader was too slow; it may come back with the last id that it has seen.
    Lagged,
    /// The journal cannot be read any further.
    Broken(String),
}

/// A run's events, asked for.
#[derive(Debug)]
pub enum Followed<S> {
    /// These are still to be told.
    Events(S),
    /// The reader has seen the last one, and there will be no more.
    Over,
}

struct Following {
    shared: Arc<Shared>,
    run: RunId,
    snapshot: Arc<Snapshot>,
    live: broadcast::Receiver<Told>,
    seen: EventId,
    ready: VecDeque<PublicEvent>,
    stage: Stage,
    /// Whether the event that the reader has seen last is one of the run's.
    known: bool,
}

#[derive(PartialEq)]
enum Stage {
    Past,
    Live,
    Over,
}

/// The events of a run after this one: first what is stored, then what happens, without a gap. Ends with the run.
pub(crate) async fn follow(
    shared: &Arc<Shared>,
    tenant: &Tenant,
    run: RunId,
    after: Option<EventId>,
) -> Result<Option<Followed<impl Stream<Item = StreamItem> + Send + use<>>>, ReadFault> {
    let Some(row) = row(shared, tenant, run).await? else { return Ok(None) };
    if let Some(why) = shared.why_stuck(run) {
        return Err(ReadFault::Stuck { run, why });
    }
    // Listening begins before the past is read, so that nothing falls between the two.
    let live = shared
        .bus
        .listen(run)
        .map_err(|TooManySubscribers| ReadFault::TooManySubscribers { most: shared.limits.subscriptions })?;
    // A row may have been seen in part, so reading begins with the one that was seen last.
    let from = after.unwrap_or((0, 0)).0.saturating_sub(1);
    let snapshot = crate::migrate::snapshot_at(shared, (run, row.snapshot), from).await?;
    let mut following = Following {
        shared: shared.clone(),
        run,
        snapshot,
        live,
        seen: after.unwrap_or((0, 0)),
        ready: VecDeque::new(),
        stage: Stage::Past,
        known: after.is_none(),
    };
    following.read_on().await?;
    if let Some(event) = after.filter(|_| !following.known) {
        return Err(ReadFault::NoSuchEvent { run, event });
    }
    if following.stage == Stage::Over && following.ready.is_empty() {
        return Ok(Some(Followed::Over));
    }
    Ok(Some(Followed::Events(futures_util::stream::unfold(following, |mut f| async move {
        let item = f.next().await?;
        Some((item, f))
    }))))
}

impl Following {
    async fn next(&mut self) -> Option<StreamItem> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Some(id) = event.id {
                    self.seen = id;
                }
                if matches!(event.kind, "run.succeeded" | "run.failed" | "run.cancelled") {
                    self.stage = Stage::Over;
                    self.ready.clear();
                }
                return Some(StreamItem::Event(event));
            }
            match self.stage {
                Stage::Over => return None,
                Stage::Past => {
                    if let Err(fault) = self.read_on().await {
                        self.stage = Stage::Over;
                        return Some(StreamItem::Broken(fault.to_string()));
                    }
                }
                Stage::Live => match self.live.recv().await {
                    Ok(Told::Committed(events)) => self.queue(events.iter().cloned()),
                    Ok(Told::Transient(event)) => self.ready.push_back((*event).clone()),
                    Err(RecvError::Lagged(_)) => {
                        metrics::counter!(crate::telemetry::SUBSCRIBERS_DROPPED).increment(1);
                        self.stage = Stage::Over;
                        return Some(StreamItem::Lagged);
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// The next stored rows; when there are none left, what follows is live.
    async fn read_on(&mut self) -> Result<(), StoreFault> {
        let from = self.seen.0.saturating_sub(1);
        let rows = self.shared.store.journal(self.run, from, ROWS).await?;
        let full = rows.len() == ROWS as usize;
        for row in rows {
            let events = public_events(row.seq, &row.batch, self.snapshot.told(self.run));
            if let Some(next) = crate::migrate::moved_to(&row.batch) {
                self.snapshot = self.shared.snapshots.get(next).await?;
            }
            self.known |= events.iter().any(|event| event.id == Some(self.seen));
            self.queue(events.into_iter());
        }
        if !full {
            // A reader who has seen the last event of a run that has ended waits for nothing.
            let over = self.ready.is_empty()
                && self.shared.store.run(self.run).await?.is_none_or(|row| row.status.is_terminal());
            self.stage = if over { Stage::Over } else { Stage::Live };
        }
        Ok(())
    }

    fn queue(&mut self, events: impl Iterator<Item = PublicEvent>) {
        let last = self.ready.back().and_then(|e| e.id).unwrap_or(self.seen);
        self.ready
            .extend(events.filter(|e| e.id.is_none_or(|id| id > last || (last == (0, 0) && id >= (1, 0)))));
    }
}
