//! One run, driven: a loop with one closed list of things that can happen to it.
//!
//! ```text
//!   attempts end ─┐                      ┌─► appends (in order, not waited for)
//!   rows commit ──┼─► settle ─► events ──┤
//!   nudges ───────┤                      └─► owed actions ─► gate ─► attempts
//!   time ─────────┘
//! ```
//! The loop acts from the run's state, never from memory: what is owed is in `Run::pending`, and what may be done
//! before the disk has it is for the gate to say. When the journal turns out to belong to somebody else, the driver
//! drops everything it holds; whoever owns the journal goes on from there.

mod alarm;
mod append;
mod moving;
mod outside;
mod work;

use self::alarm::Alarm;
use crate::attempt::AttemptResult;
use crate::inbox::Moving;
use crate::parts::Held;
use crate::read::RunDetail;
use crate::shared::{Active, Shared};
use crate::snapshot::Snapshot;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use heddle_core::id::Digest;
use heddle_core::id::RunId;
use heddle_core::journal::Gate;
use heddle_core::json::Json;
use heddle_core::run::event::{Batch, Event, Node};
use heddle_core::run::rerun::Imports;
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Entered, IllegalEvent, Input, Run, Settled, Timer};
use heddle_core::time::Timestamp;
use heddle_store::{AppendFault, Blob, CacheRow, IndexChange, Recipient, RunStatus, StoreFault};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Span;

/// What others may tell a driver.
#[derive(Debug)]
pub(crate) enum Nudge {
    /// There is something in the run's inbox.
    Inbox,
    /// The node is stopping: begin nothing new.
    Drain,
    /// The node has stopped: let go.
    Stop,
}

/// Nudges that may wait. They carry no content, so that one more than fits says nothing new.
const NUDGES: usize = 16;
/// Ended attempts that are taken into one append.
const TAKEN_TOGETHER: usize = 64;
/// Bytes of fetched values that a driver keeps.
const VALUES_BYTES: usize = 64 * 1024 * 1024;

/// Why a driver ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// The run has ended.
    Finished,
    /// It waits for a time, and the store will remember.
    Parked,
    /// It goes on with another version of its workflow, from what its journal tells.
    Moved,
    /// The node stops.
    Drained,
    /// The journal belongs to somebody else, or the store is gone.
    Lost(AppendFault),
    /// What the store has cannot be read.
    Unreadable(StoreFault),
    /// The journal contradicts the plan.
    Illegal(IllegalEvent),
}

enum Happening {
    Committed(u64, Result<u64, AppendFault>),
    Ended(Option<Box<AttemptResult>>),
    Nudged(Nudge),
    Time,
}

/// `None`: it goes on elsewhere, and a message will say how it ended.
type AttemptFuture = Abortable<BoxFuture<'static, Option<AttemptResult>>>;
type AppendFuture = BoxFuture<'static, (u64, Result<u64, AppendFault>)>;

/// The driver of one run.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    run: Run,
    gate: Gate<(Node, u32)>,
    values: Values,
    attempts: FuturesUnordered<AttemptFuture>,
    handles: HashMap<(Node, u32), (AbortHandle, Held)>,
    /// What belongs to attempts that are over, until the row that says so has been handed over.
    over: Vec<Held>,
    appends: FuturesOrdered<AppendFuture>,
    /// Rows that are not committed yet.
    untold: VecDeque<Untold>,
    timers: BTreeSet<(Timestamp, Timer)>,
    alarm: Alarm,
    inbox: mpsc::Receiver<Nudge>,
    done: watch::Sender<Option<Arc<RunDetail>>>,
    /// Whether the run stands still.
    still: watch::Sender<bool>,
    accepted: Option<oneshot::Sender<Result<(), AppendFault>>>,
    inline: u64,
    draining: bool,
    /// Whether the node knows of it no more: another driver may have the run by now.
    left: bool,
    /// Whether the end of the run is on its way to whoever asked for it.
    end_is_told: bool,
    /// What the index says of the run.
    index: RunStatus,
    /// The spans of steps that have begun and not ended, in that of the run.
    spans: HashMap<u32, Span>,
    // What the next append carries besides its events.
    blobs: Vec<Blob>,
    holds: Vec<Digest>,
    cache: Vec<CacheRow>,
    consumed: Vec<u64>,
    listens: Vec<Arc<str>>,
    /// The last message that was taken from the inbox.
    last_message: u64,
    /// What another run has already, once it was looked at.
    imports: Option<Arc<Imports>>,
    /// Versions that it is to go on with, by their messages.
    moving: Vec<(u64, Moving)>,
}

/// A row that is not committed yet.
struct Untold {
    seq: u64,
    batch: Batch,
    /// What is held until it is.
    held: Vec<Held>,
    /// Who gets mail by it.
    reached: Vec<Recipient>,
    /// Whether it owes something to webhooks.
    is_owed: bool,
}

/// How the store has a run that a driver is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Rows of its journal.
    pub(crate) durable: u64,
    /// What the index says.
    pub(crate) status: RunStatus,
}

/// What a run's first append does besides recording it.
pub(crate) struct Opening {
    pub(crate) index: IndexChange,
    pub(crate) blobs: Vec<Blob>,
    /// Values of another run that this one holds as well.
    pub(crate) holds: Vec<Digest>,
    /// Events that the run is told of, by name.
    pub(crate) listens: Vec<Arc<str>>,
}

impl Driver {
    /// A driver for a run. It is known to the node from now on.
    pub(crate) fn new(
        shared: Arc<Shared>,
        snapshot: Arc<Snapshot>,
        run: Run,
        at: Standing,
        accepted: Option<oneshot::Sender<Result<(), AppendFault>>>,
    ) -> Driver {
        let (nudge, inbox) = mpsc::channel(NUDGES);
        let (done, seen) = watch::channel(None);
        shared.activate(run.id, Active { nudge, done: seen });
        Driver {
            shared,
            snapshot,
            gate: Gate::new(at.durable),
            values: Values::default(),
            attempts: FuturesUnordered::new(),
            handles: HashMap::new(),
            over: Vec::new(),
            appends: FuturesOrdered::new(),
            untold: VecDeque::new(),
            timers: BTreeSet::new(),
            alarm: Alarm::default(),
            inbox,
            done,
            still: watch::channel(false).0,
            accepted,
            inline: 0,
            draining: false,
            left: false,
            end_is_told: false,
            index: at.status,
            spans: HashMap::new(),
            blobs: Vec::new(),
            holds: Vec::new(),
            imports: None,
            moving: Vec::new(),
            cache: Vec::new(),
            consumed: Vec::new(),
            listens: Vec::new(),
            last_message: 0,
            run,
        }
    }

    /// Drives the run until it ends or is somebody else's.
    pub(crate) async fn drive(mut self, opening: Option<(Vec<Event>, Opening)>) -> Exit {
        let exit = match self.go(opening).await {
            Ok(exit) | Err(exit) => exit,
        };
        for (handle, _) in self.handles.values() {
            handle.abort();
        }
        if !matches!(exit, Exit::Finished | Exit::Parked | Exit::Drained | Exit::Moved) {
            // It is not known what of this is on disk, so the next process must hear of all of it.
            let untold = self.untold.drain(..).flat_map(|row| row.held);
            let open = self.handles.drain().map(|(_, (_, held))| held);
            self.shared.hold_for_good(self.over.drain(..).chain(untold).chain(open));
        }
        if let Some(accepted) = self.accepted.take() {
            let fault = match &exit {
                Exit::Lost(fault) => fault.clone(),
                other => AppendFault::Unavailable(format!("{other:?}")),
            };
            let _ = accepted.send(Err(fault));
        }
        self.leave();
        exit
    }

    /// The node knows of it no more.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.shared.deactivate(self.run.id);
        }
    }

    async fn go(&mut self, opening: Option<(Vec<Event>, Opening)>) -> Result<Exit, Exit> {
        let mut children = Vec::new();
        for action in self.run.pending() {
            match *action {
                Action::Wake { timer, at } => drop(self.timers.insert((at, timer))),
                Action::Child { node, attempt } => children.push((node, attempt)),
                Action::Invoke { .. } => {}
            }
        }
        // Nobody can have sent anything to a run that nobody has heard of.
        let unheard = opening.is_some();
        let (events, index) = match opening {
            Some((events, opening)) => {
                for blob in opening.blobs.iter().filter(|blob| blob.digest != self.snapshot.digest) {
                    if let Ok(text) = std::str::from_utf8(&blob.bytes) {
                        self.values.insert(blob.digest, Json::trusted(text));
                    }
                }
                // They are not on disk yet.
                let of = self.run.accepted().and_then(|accepted| accepted.rerun.as_ref());
                let imports = of.and_then(|of| opening.blobs.iter().find(|blob| blob.digest == of.imports));
                self.imports =
                    imports.and_then(|blob| serde_json::from_slice(&blob.bytes).ok()).map(Arc::new);
                self.blobs = opening.blobs;
                self.holds = opening.holds;
                self.listens = opening.listens;
                (events, Some(opening.index))
            }
            None => (Vec::new(), None),
        };
        let entered = match unheard {
            true => Entered::Only(Vec::new()),
            false => {
                let (entered, held) = self.shared.entered(self.run.id);
                self.over.extend(held);
                entered
            }
        };
        self.settle(vec![Input::Taken(entered)], events, index).await?;
        if !unheard {
            self.read_inbox().await?;
        }
        // Nobody knows whether these were seen to before.
        for (node, attempt) in children {
            self.begin_child(node, attempt).await?;
        }
        loop {
            if self.run.is_finished() && self.appends.is_empty() {
                return Ok(Exit::Finished);
            }
            if !self.moving.is_empty()
                && let Some(exit) = self.move_on().await?
            {
                return Ok(exit);
            }
            if let Some(exit) = self.may_leave().await? {
                return Ok(exit);
            }
            let happening = self.next().await;
            self.take(happening).await?;
        }
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self) -> Happening {
        let backlog = self.gate.decided() - self.gate.durable();
        let may_decide = backlog < self.shared.limits.run_unsynced_events;
        let now = self.shared.now();
        self.alarm.set(self.timers.first().map(|(at, _)| Duration::from_millis(at.since_ms(now))));
        let is_set = self.alarm.is_set();
        loop {
            tokio::select! {
                biased;
                Some((seq, result)) = self.appends.next(), if !self.appends.is_empty() => return Happening::Committed(seq, result),
                Some(ended) = self.attempts.next(), if may_decide && !self.attempts.is_empty() => {
                    // An aborted attempt has nothing to say.
                    if let Ok(result) = ended {
                        return Happening::Ended(result.map(Box::new));
                    }
                }
                Some(nudge) = self.inbox.recv(), if may_decide => return Happening::Nudged(nudge),
                () = self.alarm.rings(), if may_decide && is_set => return Happening::Time,
            }
        }
    }

    async fn take(&mut self, happening: Happening) -> Result<(), Exit> {
        match happening {
            Happening::Committed(seq, result) => self.committed(seq, result).await,
            Happening::Ended(result) => {
                let mut inputs: Vec<Input> = result.map(|result| self.ended(*result)).into_iter().collect();
                while inputs.len() < TAKEN_TOGETHER {
                    match self.attempts.next().now_or_never().flatten() {
                        Some(Ok(Some(result))) => inputs.push(self.ended(result)),
                        Some(Ok(None) | Err(_)) => {}
                        None => break,
                    }
                }
                match inputs.is_empty() {
                    true => Ok(()),
                    false => self.settle(inputs, Vec::new(), None).await,
                }
            }
            Happening::Nudged(Nudge::Inbox) => self.read_inbox().await,
            Happening::Nudged(Nudge::Drain) => {
                self.draining = true;
                self.run.leave();
                Ok(())
            }
            Happening::Nudged(Nudge::Stop) => {
                self.draining = true;
                self.run.leave();
                // Cut off where it may have had its effect: who must not run twice is known to the next process by that.
                let cut_off = self.handles.drain().map(|(_, (handle, held))| {
                    handle.abort();
                    held
                });
                self.shared.hold_for_good(cut_off);
                self.attempts.clear();
                Ok(())
            }
            Happening::Time => {
                let now = self.shared.now();
                let due: Vec<Input> = self
                    .timers
                    .iter()
                    .take_while(|(at, _)| *at <= now)
                    .map(|(_, t)| Input::TimerFired(*t))
                    .collect();
                self.settle(due, Vec::new(), None).await
            }
        }
    }

    /// Decides what these inputs mean, hands the facts over, and begins what they allow.
    async fn settle(
        &mut self,
        inputs: Vec<Input>,
        mut events: Vec<Event>,
        mut index: Option<IndexChange>,
    ) -> Result<(), Exit> {
        let now = self.shared.now();
        let most = self.shared.limits.run_unsynced_events as usize;
        let mut inputs = VecDeque::from(inputs);
        if inputs.is_empty() {
            inputs.push_back(Input::Advance);
        }
        while let Some(input) = inputs.pop_front() {
            let mut input = input;
            loop {
                let settled =
                    self.run.settle(&input, now, &self.values, most, &mut events).map_err(Exit::Illegal)?;
                input = Input::Advance;
                self.take_made();
                match settled {
                    Settled::Quiet => break,
                    Settled::Needs(digests) => self.fetch(&digests).await?,
                    Settled::More => {
                        let full = std::mem::take(&mut events);
                        self.hand_over(now, full, index.take());
                        self.breathe().await?;
                    }
                }
            }
        }
        if !events.is_empty() || !self.consumed.is_empty() {
            self.hand_over(now, events, index);
        }
        let still = self.run.paused().is_some();
        self.still.send_if_modified(|known| std::mem::replace(known, still) != still);
        let acted = self.act().await;
        // All that is over now is so by what has been handed over.
        match self.untold.back_mut() {
            Some(last) => last.held.append(&mut self.over),
            None => self.over.clear(),
        }
        acted
    }

    /// Whether the driver may go although the run has not ended: it waits for a time, or the node stops.
    async fn may_leave(&mut self) -> Result<Option<Exit>, Exit> {
        if self.run.is_finished() || !self.attempts.is_empty() || !self.appends.is_empty() {
            return Ok(None);
        }
        if self.draining {
            return Ok(Some(Exit::Drained));
        }
        let now = self.shared.now();
        let due = self.timers.first().map(|(at, _)| *at);
        let soon = due.is_some_and(|due| due.since_ms(now) < self.shared.settings.park_after_ms);
        // What is to move is looked at again when something of it has ended, and not before.
        if !self.run.waits() || soon || !self.moving.is_empty() {
            return Ok(None);
        }
        // It waits, so this is waiting, paused or compensating.
        self.index = self.run.standing();
        let rest = self.run.rest();
        let parked = IndexChange::Update { status: self.index, rest: Some(rest), due, finished: None };
        self.hand_over(now, Vec::new(), Some(parked));
        if let Some((seq, result)) = self.appends.next().await {
            self.committed(seq, result).await?;
        }
        self.shared.waiting.begins(rest.into());
        // It goes before it lets go: whoever claims the run in between must not take it for driven.
        self.leave();
        let lease = self.shared.lease();
        self.shared.store.release(&lease, vec![self.run.id]).await.map_err(Exit::Unreadable)?;
        Ok(Some(Exit::Parked))
    }

    /// The span in which the run is driven.
    pub(crate) fn span(&self) -> Span {
        let traceparent = self.run.accepted().and_then(|a| a.traceparent.clone());
        let (run, workflow) = (self.run.id, &*self.snapshot.plan.name);
        tracing::debug_span!("run", %run, workflow, traceparent)
    }
    pub(crate) fn run_id(&self) -> RunId {
        self.run.id
    }
}
