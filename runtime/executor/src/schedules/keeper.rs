//! Keeps the time of the schedules that this node owns, for as long as the node lives. It sleeps until the next tick,
//! or until somebody rings; what it finds undone when it looks, it does, whoever began it.

use super::{Loaded, Name, WishFault, load, sync};
use crate::shared::Shared;
use crate::submit::{self, Submit, SubmitFault, Timing, WorkflowChoice};
use crate::{Executor, SnapshotFault, triggers};
use futures_util::StreamExt as _;
use heddle_core::id::{RunId, Tenant};
use heddle_core::plan::WorkflowRef;
use heddle_core::run::event::{SCHEDULE_LABEL, SCHEDULED_AT_LABEL};
use heddle_core::schedule::machine::{Input, wake};
use heddle_core::schedule::state::Tick;
use heddle_core::time::Timestamp;
use heddle_store::{ScheduleWrite, StoreFault};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How often rows are looked for that no living node owns.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// Rows taken over in one question.
const CLAIM: u32 = 64;
/// How often what is published is compared with the rows.
const SYNC_EVERY: Duration = Duration::from_secs(300);
/// How often a run is looked at whose end a tick waits for.
const LOOK_MS: u64 = 250;
/// When something is tried again that did not work.
const RETRY_MS: u64 = 1_000;
/// Schedules that are looked at, at the same time.
const AT_ONCE: usize = 16;

/// The schedules of this node, and when each is to be looked at.
struct Keeper {
    shared: Arc<Shared>,
    held: BTreeMap<Name, Held>,
}

struct Held {
    loaded: Loaded,
    look: Option<Timestamp>,
}

/// Whether a schedule is still this node's.
enum Turn {
    /// It is, and is to be looked at again then.
    Mine(Box<Held>),
    /// Its row has changed: it is read again.
    Changed(Name),
    /// It is no more.
    Gone,
}

/// What became of asking for a tick's run.
pub(super) enum Asking {
    /// There is one.
    Run(RunId),
    /// There will never be one.
    Never(Arc<str>),
    /// Not now.
    Later,
}

/// Keeps time until the node stops.
pub(crate) async fn keep_time(shared: Arc<Shared>) {
    let mut keeper = Keeper { shared, held: BTreeMap::new() };
    let (mut claim_at, mut sync_at) = (Instant::now(), Instant::now());
    loop {
        let shared = &keeper.shared;
        if shared.is_draining() || shared.lost.load(Ordering::Acquire) {
            return;
        }
        if Instant::now() >= claim_at && keeper.claim().await < CLAIM as usize {
            claim_at = Instant::now() + CLAIM_EVERY;
        }
        if Instant::now() >= sync_at {
            if let Err(fault) = sync::sync_all(&keeper.shared, &Tenant::default()).await {
                tracing::error!(%fault, "the schedules of published workflows cannot be read");
            }
            if let Err(fault) = triggers::sync_all(&keeper.shared, &Tenant::default()).await {
                tracing::error!(%fault, "the triggers of published workflows cannot be read");
            }
            sync_at = Instant::now() + SYNC_EVERY;
        }
        for name in keeper.shared.bell.take() {
            keeper.reload(name).await;
        }
        keeper.look().await;
        let (shared, until) = (&keeper.shared, keeper.pause().min(claim_at).min(sync_at));
        tokio::select! {
            () = shared.bell.rings.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

impl Keeper {
    /// Takes over what nobody owns. Gives how many.
    async fn claim(&mut self) -> usize {
        match self.shared.shelf.claim_schedules(&self.shared.lease(), CLAIM).await {
            Ok(rows) => {
                for row in &rows {
                    match Loaded::of(row) {
                        Ok(loaded) => self.hold(loaded),
                        Err(fault) => tracing::error!(%fault, "a schedule cannot be read and does not tick"),
                    }
                }
                rows.len()
            }
            Err(fault) => {
                tracing::error!(%fault, "schedules cannot be taken over");
                0
            }
        }
    }
    fn hold(&mut self, loaded: Loaded) {
        self.held.insert(loaded.name(), Held { loaded, look: Some(Timestamp(0)) });
    }
    /// Reads a row that somebody has changed; it stays here if it is this node's.
    async fn reload(&mut self, name: Name) {
        let epoch = self.shared.epoch();
        match load(&self.shared, &name.0, &name.1).await {
            Ok(Some(loaded)) if loaded.owner == Some(epoch) => self.hold(loaded),
            Ok(_) => drop(self.held.remove(&name)),
            Err(fault) => {
                tracing::error!(schedule = name.1, %fault, "a schedule cannot be read and does not tick");
                self.held.remove(&name);
            }
        }
    }
    /// Looks at every schedule whose time has come.
    async fn look(&mut self) {
        let now = self.shared.now();
        let due = |held: &Held| held.look.is_some_and(|at| at <= now);
        let names: Vec<Name> =
            self.held.iter().filter(|(_, held)| due(held)).map(|(name, _)| name.clone()).collect();
        let held: Vec<Held> = names.iter().filter_map(|name| self.held.remove(name)).collect();
        let shared = self.shared.clone();
        let turns = futures_util::stream::iter(held.into_iter().map(|held| turn(&shared, held)));
        let turns: Vec<Turn> = turns.buffer_unordered(AT_ONCE).collect().await;
        for turn in turns {
            match turn {
                Turn::Mine(held) => drop(self.held.insert(held.loaded.name(), *held)),
                Turn::Changed(name) => self.shared.bell.ring(name),
                Turn::Gone => {}
            }
        }
    }
    /// Until when there is nothing to do.
    fn pause(&self) -> Instant {
        let now = self.shared.now();
        let next = self.held.values().filter_map(|held| held.look).min();
        // The clock of the wall may jump; the other loops look often enough to see it.
        let wait = next.map_or(SYNC_EVERY, |at| Duration::from_millis(at.since_ms(now)));
        Instant::now() + wait.min(SYNC_EVERY)
    }
}

/// All that is to be done for a schedule now.
async fn turn(shared: &Arc<Shared>, mut held: Held) -> Turn {
    let name = held.loaded.name();
    match act(shared, &mut held.loaded).await {
        Ok(Some(rest)) => {
            held.look = rest.look(&held.loaded, shared.now());
            Turn::Mine(Box::new(held))
        }
        Ok(None) => Turn::Gone,
        Err(WishFault::Store(StoreFault::Conflict(_))) => Turn::Changed(name),
        // Its next life is with another node.
        Err(WishFault::LeaseLost) => Turn::Gone,
        Err(fault) => {
            tracing::error!(schedule = name.1, %fault, "a schedule cannot go on; it is tried again");
            held.look = Some(shared.now().plus_ms(RETRY_MS));
            Turn::Mine(Box::new(held))
        }
    }
}

/// What is left to do.
enum Rest {
    /// What time brings.
    Nothing,
    /// A run that was not accepted for now.
    Starts,
}

impl Rest {
    fn look(self, loaded: &Loaded, now: Timestamp) -> Option<Timestamp> {
        let state = &loaded.kept.state;
        if matches!(self, Rest::Starts) {
            return Some(now.plus_ms(RETRY_MS));
        }
        let waits = !state.running.is_empty() && !state.buffer.is_empty();
        let look = waits.then(|| now.plus_ms(LOOK_MS));
        [wake(&loaded.schedule, state), look].into_iter().flatten().min()
    }
}

/// `None` where there is no schedule any more.
async fn act(shared: &Arc<Shared>, loaded: &mut Loaded) -> Result<Option<Rest>, WishFault> {
    for running in loaded.kept.state.running.clone() {
        if shared.store.run(running.run).await?.is_none_or(|row| row.status.is_terminal()) {
            loaded.step(shared, &Input::Ended(running.run)).await?;
        }
    }
    loaded.step(shared, &Input::Due).await?;
    // A run that is refused may let the next one begin, so the list is looked at anew.
    while let Some(owed) = loaded.kept.state.starting.first().cloned() {
        let input = match ask(shared, loaded, &owed.tick).await {
            Asking::Run(run) => Input::Started(owed.tick, run),
            Asking::Never(why) => Input::Refused(owed.tick, why),
            Asking::Later => return Ok(Some(Rest::Starts)),
        };
        loaded.step(shared, &input).await?;
    }
    for run in loaded.kept.state.to_cancel() {
        let by = format!("schedule:{}", loaded.schedule.id);
        let executor = Executor { shared: shared.clone() };
        let sent = executor.cancel(&loaded.tenant, run, (&by, "a later tick takes its place"), false).await;
        if let Err(fault) = sent {
            tracing::error!(%run, %fault, "a run cannot be cancelled for the next tick");
            return Ok(Some(Rest::Starts));
        }
        loaded.step(shared, &Input::CancelSent(run)).await?;
    }
    let state = &loaded.kept.state;
    if state.retired {
        let write = ScheduleWrite { body: None, ..loaded.write(shared, &loaded.kept) };
        shared.shelf.put_schedule(write).await?;
        return Ok(None);
    }
    Ok(Some(Rest::Nothing))
}

/// Asks for the run of a tick: once or many times, it is the same run.
pub(super) async fn ask(shared: &Arc<Shared>, loaded: &Loaded, tick: &Tick) -> Asking {
    let schedule = &loaded.schedule;
    let reference = format!("{}@={}", loaded.kept.workflow, loaded.kept.version);
    let reference = match WorkflowRef::parse(&reference) {
        Ok(reference) => reference,
        Err(fault) => return Asking::Never(fault.to_string().into()),
    };
    let by = match &tick.asked {
        Some(asked) => asked.by.clone(),
        None => format!("schedule:{}", schedule.id).into(),
    };
    let wish = Submit {
        tenant: loaded.tenant.clone(),
        workflow: WorkflowChoice::Named(reference),
        input: schedule.input.clone(),
        labels: vec![
            (SCHEDULE_LABEL.to_owned(), schedule.id.to_string()),
            (SCHEDULED_AT_LABEL.to_owned(), tick.at.rfc3339()),
        ],
        by: Some(by),
        idempotency: Some(tick.key(&schedule.id).into()),
        traceparent: None,
        timing: Timing::default(),
        rerun: None,
    };
    match submit::submit(shared, wish).await {
        Ok(submitted) => Asking::Run(submitted.run),
        // The schedule has been changed since it was asked for first: the tick has its run.
        Err(SubmitFault::IdempotencyMismatch { run } | SubmitFault::DuplicateRun { run }) => Asking::Run(run),
        Err(
            fault @ (SubmitFault::QueueFull { .. }
            | SubmitFault::Draining
            | SubmitFault::Store(_)
            | SubmitFault::Snapshot(SnapshotFault::Store(_))),
        ) => {
            tracing::warn!(schedule = %schedule.id, %fault, "the run of a tick is not accepted yet");
            Asking::Later
        }
        Err(fault) => {
            tracing::error!(schedule = %schedule.id, %fault, "the run of a tick is not accepted");
            Asking::Never(told(&fault).into())
        }
    }
}

/// Why a run was not accepted, with the first place where something is wrong.
pub(crate) fn told(fault: &SubmitFault) -> String {
    match fault {
        SubmitFault::InvalidInput(places) => match places.first() {
            Some(place) => format!("{fault} {place}"),
            None => fault.to_string(),
        },
        SubmitFault::InvalidWorkflow(faults) => match faults.first() {
            Some(first) => format!("{fault}: {first}"),
            None => fault.to_string(),
        },
        _ => fault.to_string(),
    }
}
