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

use crate::attempt::{self, AttemptCall, AttemptResult};
use crate::bus::Told;
use crate::read::RunDetail;
use crate::shared::{Active, Shared};
use crate::snapshot::Snapshot;
use crate::telemetry as t;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use heddle_core::id::{Digest, RunId};
use heddle_core::journal::Gate;
use heddle_core::json::Json;
use heddle_core::run::event::{Batch, CacheVerdict, Event, Node, Payload};
use heddle_core::run::public::public_events;
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Change, Ended, IllegalEvent, Input, Run, Settled, Timer};
use heddle_core::time::Timestamp;
use heddle_store::{
    Append, AppendFault, Blob, CacheRow, CachedOutput, IndexChange, RunRow, RunStatus, StoreFault,
};
use metrics::{counter, histogram};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

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
    Ended(Box<AttemptResult>),
    Nudged(Nudge),
    Time,
}

type AttemptFuture = Abortable<BoxFuture<'static, AttemptResult>>;
type AppendFuture = BoxFuture<'static, (u64, Result<u64, AppendFault>)>;

/// The driver of one run.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    run: Run,
    gate: Gate<(Node, u32)>,
    values: Values,
    attempts: FuturesUnordered<AttemptFuture>,
    handles: HashMap<(Node, u32), AbortHandle>,
    appends: FuturesOrdered<AppendFuture>,
    /// Rows that are not committed yet.
    untold: VecDeque<(u64, Batch)>,
    timers: BTreeSet<(Timestamp, Timer)>,
    inbox: mpsc::Receiver<Nudge>,
    done: watch::Sender<Option<Arc<RunDetail>>>,
    accepted: Option<oneshot::Sender<Result<(), AppendFault>>>,
    inline: u64,
    draining: bool,
    /// What the index says of the run.
    index: RunStatus,
    // What the next append carries besides its events.
    blobs: Vec<Blob>,
    cache: Vec<CacheRow>,
    consumed: Vec<u64>,
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
            appends: FuturesOrdered::new(),
            untold: VecDeque::new(),
            timers: BTreeSet::new(),
            inbox,
            done,
            accepted,
            inline: 0,
            draining: false,
            index: at.status,
            blobs: Vec::new(),
            cache: Vec::new(),
            consumed: Vec::new(),
            run,
        }
    }

    /// Drives the run until it ends or is somebody else's.
    pub(crate) async fn drive(mut self, opening: Option<(Vec<Event>, Opening)>) -> Exit {
        let exit = match self.go(opening).await {
            Ok(exit) | Err(exit) => exit,
        };
        for handle in self.handles.values() {
            handle.abort();
        }
        if let Some(accepted) = self.accepted.take() {
            let fault = match &exit {
                Exit::Lost(fault) => fault.clone(),
                other => AppendFault::Unavailable(format!("{other:?}")),
            };
            let _ = accepted.send(Err(fault));
        }
        self.shared.deactivate(self.run.id);
        exit
    }

    async fn go(&mut self, opening: Option<(Vec<Event>, Opening)>) -> Result<Exit, Exit> {
        for action in self.run.pending() {
            if let Action::Wake { timer, at } = *action {
                self.timers.insert((at, timer));
            }
        }
        let (events, index) = match opening {
            Some((events, opening)) => {
                for blob in &opening.blobs {
                    if let Ok(text) = std::str::from_utf8(&blob.bytes) {
                        self.values.insert(blob.digest, Json::trusted(text));
                    }
                }
                self.blobs = opening.blobs;
                (events, Some(opening.index))
            }
            None => (Vec::new(), None),
        };
        self.settle(vec![Input::Taken], events, index).await?;
        self.read_inbox().await?;
        loop {
            if self.run.is_finished() && self.appends.is_empty() {
                return Ok(Exit::Finished);
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
        let wake = self.timers.first().map(|(at, _)| Duration::from_millis(at.since_ms(now)));
        loop {
            tokio::select! {
                biased;
                Some((seq, result)) = self.appends.next(), if !self.appends.is_empty() => return Happening::Committed(seq, result),
                Some(ended) = self.attempts.next(), if may_decide && !self.attempts.is_empty() => {
                    // An aborted attempt has nothing to say.
                    if let Ok(result) = ended {
                        return Happening::Ended(Box::new(result));
                    }
                }
                Some(nudge) = self.inbox.recv(), if may_decide => return Happening::Nudged(nudge),
                () = tokio::time::sleep(wake.unwrap_or_default()), if may_decide && wake.is_some() => return Happening::Time,
            }
        }
    }

    async fn take(&mut self, happening: Happening) -> Result<(), Exit> {
        match happening {
            Happening::Committed(seq, result) => self.committed(seq, result).await,
            Happening::Ended(result) => {
                let mut inputs = vec![self.ended(*result)];
                while inputs.len() < TAKEN_TOGETHER {
                    match self.attempts.next().now_or_never().flatten() {
                        Some(Ok(result)) => inputs.push(self.ended(result)),
                        Some(Err(_)) => {}
                        None => break,
                    }
                }
                self.settle(inputs, Vec::new(), None).await
            }
            Happening::Nudged(Nudge::Inbox) => self.read_inbox().await,
            Happening::Nudged(Nudge::Drain) => {
                self.draining = true;
                Ok(())
            }
            Happening::Nudged(Nudge::Stop) => {
                self.draining = true;
                for handle in self.handles.values() {
                    handle.abort();
                }
                self.handles.clear();
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

    /// An attempt's end as the core takes it; the output goes where its size says.
    fn ended(&mut self, result: AttemptResult) -> Input {
        let AttemptResult { node, attempt, outcome, usage, cache, keep } = result;
        self.handles.remove(&(node, attempt));
        let end = match outcome {
            Err(failure) => Ended::Failed(failure),
            Ok(output) => {
                let fresh = !matches!(cache, CacheVerdict::Hit { .. });
                let payload = self.payload(&output, fresh);
                if let Some((key, expires)) = keep {
                    self.cache.push(self.cache_row(key, expires, &payload));
                }
                Ended::Done { output: payload, cache }
            }
        };
        Input::AttemptEnded { node, attempt, end, usage }
    }
    fn payload(&mut self, output: &Json, fresh: bool) -> Payload {
        let limits = &self.shared.limits;
        let most = if self.inline < limits.run_inline_bytes {
            limits.inline_bytes
        } else {
            limits.inline_bytes.min(1024)
        };
        if output.size() as u64 <= most {
            self.inline += output.size() as u64;
            return Payload::Inline(output.clone());
        }
        let digest = output.digest();
        self.values.insert(digest, output.clone());
        // What came from the cache by digest is among the values already; what was inline there may not be.
        if fresh || output.size() as u64 <= self.shared.limits.inline_bytes {
            self.blobs.push(Blob { digest, bytes: output.text().as_bytes().into() });
        }
        Payload::Stored { digest, size: output.size() as u64 }
    }
    fn cache_row(&self, key: Digest, expires: Option<Timestamp>, payload: &Payload) -> CacheRow {
        let output = match payload {
            Payload::Stored { digest, size } => CachedOutput::Stored { digest: *digest, size: *size },
            Payload::Inline(json) => CachedOutput::Inline(json.clone()),
            Payload::Derived => CachedOutput::Inline(Json::null()),
        };
        let tenant = self.run.accepted().map(|a| a.tenant.clone()).unwrap_or_default();
        CacheRow { key, tenant, output, stored: self.shared.now(), expires, source_run: self.run.id }
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
                match settled {
                    Settled::Quiet => break,
                    Settled::Needs(digests) => self.fetch(&digests).await?,
                    Settled::More => {
                        let full = std::mem::take(&mut events);
                        self.hand_over(now, full, index.take());
                    }
                }
            }
        }
        if !events.is_empty() || !self.consumed.is_empty() {
            self.hand_over(now, events, index);
        }
        self.act().await
    }

    fn hand_over(&mut self, now: Timestamp, events: Vec<Event>, index: Option<IndexChange>) {
        let index = match index {
            Some(IndexChange::Create(row)) => IndexChange::Create(self.opening_row(row, now)),
            Some(change) => change,
            None => self.index_change(now),
        };
        let batch = Batch { at: now, events };
        let expected = self.gate.decided();
        let seq = self.gate.handed_over();
        self.untold.push_back((seq, batch.clone()));
        let since = Instant::now();
        let answer = self.shared.store.append(Append {
            run: self.run.id,
            epoch: self.shared.epoch(),
            expected,
            batch,
            index,
            blobs: std::mem::take(&mut self.blobs),
            cache: std::mem::take(&mut self.cache),
            consumed: std::mem::take(&mut self.consumed),
            idempotency: None,
        });
        counter!(t::APPENDS).increment(1);
        self.appends.push_back(
            async move {
                let result = answer.await;
                histogram!(t::APPEND_SECONDS).record(since.elapsed());
                (seq, result)
            }
            .boxed(),
        );
    }
    /// The index row of a run that may have ended within its first append.
    fn opening_row(&self, mut row: Box<RunRow>, now: Timestamp) -> Box<RunRow> {
        if let Some(finish) = self.run.finish() {
            (row.status, row.finished) = (RunStatus::from(finish), Some(now));
        }
        row
    }
    fn index_change(&mut self, now: Timestamp) -> IndexChange {
        match self.run.finish() {
            Some(finish) => {
                IndexChange::Update { status: RunStatus::from(finish), due: None, finished: Some(now) }
            }
            None if self.index == RunStatus::Running => IndexChange::None,
            None => {
                self.index = RunStatus::Running;
                IndexChange::Update { status: RunStatus::Running, due: None, finished: None }
            }
        }
    }

    /// Does what is newly owed, and stops what is no longer wanted.
    async fn act(&mut self) -> Result<(), Exit> {
        for change in self.run.take_changes() {
            match change {
                Change::Owed(Action::Wake { timer, at }) => drop(self.timers.insert((at, timer))),
                Change::Dropped(Action::Wake { timer, at }) => drop(self.timers.remove(&(at, timer))),
                Change::Owed(Action::Invoke { node, attempt }) => {
                    let nature = self.snapshot.plan.nature_of(node.step);
                    if let Some((node, attempt)) = self.gate.ask(nature, (node, attempt)) {
                        self.begin(node, attempt).await?;
                    }
                }
                Change::Dropped(Action::Invoke { node, attempt }) => {
                    self.gate.retain(|held| *held != (node, attempt));
                    if let Some(handle) = self.handles.remove(&(node, attempt)) {
                        handle.abort();
                    }
                }
            }
        }
        Ok(())
    }

    async fn begin(&mut self, node: Node, attempt: u32) -> Result<(), Exit> {
        if self.draining || !self.run.pending().contains(&Action::Invoke { node, attempt }) {
            return Ok(());
        }
        let needs = self.run.needs_for(node, &self.values);
        self.fetch(&needs).await?;
        let (tenant, traceparent) =
            self.run.accepted().map(|a| (a.tenant.clone(), a.traceparent.clone())).unwrap_or_default();
        let future: BoxFuture<'static, AttemptResult> = match self.run.input_of(node, &self.values) {
            Err(failure) => {
                let result = AttemptResult {
                    node,
                    attempt,
                    outcome: Err(failure),
                    usage: Default::default(),
                    cache: CacheVerdict::Off,
                    keep: None,
                };
                std::future::ready(result).boxed()
            }
            Ok(input) => {
                let call = AttemptCall {
                    tenant,
                    run: self.run.id,
                    node,
                    attempt,
                    snapshot: self.snapshot.clone(),
                    input,
                    traceparent,
                };
                match attempt::from_memory(&self.shared, &call) {
                    Some(result) => std::future::ready(result).boxed(),
                    None => attempt::run(self.shared.clone(), call).boxed(),
                }
            }
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert((node, attempt), handle);
        self.attempts.push(Abortable::new(future, registration));
        if attempt > 1 {
            counter!(t::RETRIES).increment(1);
        }
        Ok(())
    }

    async fn fetch(&mut self, digests: &[Digest]) -> Result<(), Exit> {
        // What is not committed yet cannot be fetched again.
        if !digests.is_empty() && self.appends.is_empty() && self.values.size() > VALUES_BYTES {
            self.values.clear();
        }
        for digest in digests {
            let damaged = |why: &str| {
                Exit::Unreadable(StoreFault::Damaged { what: format!("value {digest}"), why: why.to_owned() })
            };
            let bytes = self
                .shared
                .store
                .blob(*digest)
                .await
                .map_err(Exit::Unreadable)?
                .ok_or_else(|| damaged("it is missing"))?;
            let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
            self.values.insert(*digest, Json::trusted(text));
        }
        Ok(())
    }

    /// Takes the messages of the run's inbox into one append.
    async fn read_inbox(&mut self) -> Result<(), Exit> {
        let messages = self.shared.store.inbox(self.run.id).await.map_err(Exit::Unreadable)?;
        if messages.is_empty() || self.run.is_finished() {
            return Ok(());
        }
        let mut inputs = Vec::new();
        for message in &messages {
            match crate::inbox::input_of(&message.body) {
                Some(input) => inputs.push(input),
                None => {
                    tracing::error!(run = %self.run.id, message = message.id, "a message of the inbox cannot be read; it is dropped")
                }
            }
            self.consumed.push(message.id);
        }
        self.settle(inputs, Vec::new(), None).await
    }

    async fn committed(&mut self, seq: u64, result: Result<u64, AppendFault>) -> Result<(), Exit> {
        if let Err(fault) = result {
            return Err(Exit::Lost(fault));
        }
        let free = self.gate.committed(seq);
        if let Some(accepted) = self.accepted.take() {
            let _ = accepted.send(Ok(()));
        }
        while self.untold.front().is_some_and(|(s, _)| *s <= seq) {
            if let Some((seq, batch)) = self.untold.pop_front() {
                self.tell(seq, &batch);
            }
        }
        for (node, attempt) in free {
            self.begin(node, attempt).await?;
        }
        Ok(())
    }

    fn tell(&mut self, seq: u64, batch: &Batch) {
        for event in &batch.events {
            if let Some(status) = ending(event) {
                counter!(t::STEPS_FINISHED, "status" => status).increment(1);
            }
        }
        if self.shared.bus.is_heard(self.run.id) {
            let events = public_events(seq, batch, &self.snapshot.plan);
            self.shared.bus.tell(self.run.id, Told::Committed(Arc::new(events)));
        }
        if matches!(batch.events.last(), Some(Event::RunFinished { .. })) {
            let view = self.run.view();
            let took = batch.at.since_ms(view.created_at);
            counter!(t::RUNS_FINISHED, "status" => view.status).increment(1);
            histogram!(t::RUN_SECONDS, "status" => view.status).record(took as f64 / 1000.0);
            self.shared.note_pace(self.snapshot.plan.digest, took);
            self.done.send_replace(Some(Arc::new(RunDetail::new(view, self.snapshot.clone(), None))));
        }
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
        let Some(due) = self.timers.first().map(|(at, _)| *at).filter(|_| self.run.waits()) else {
            return Ok(None);
        };
        if due.since_ms(now) < self.shared.settings.park_after_ms {
            return Ok(None);
        }
        self.index = RunStatus::Waiting;
        self.hand_over(
            now,
            Vec::new(),
            Some(IndexChange::Update { status: RunStatus::Waiting, due: Some(due), finished: None }),
        );
        if let Some((seq, result)) = self.appends.next().await {
            self.committed(seq, result).await?;
        }
        let lease = self.shared.lease();
        self.shared.store.release(&lease, vec![self.run.id]).await.map_err(Exit::Unreadable)?;
        Ok(Some(Exit::Parked))
    }

    pub(crate) fn run_id(&self) -> RunId {
        self.run.id
    }
}

/// The status with which this event ends a step or an item, if it does.
fn ending(event: &Event) -> Option<&'static str> {
    match event {
        Event::StepSucceeded { output: Payload::Derived, .. } => None,
        Event::StepSucceeded { .. } => Some("succeeded"),
        Event::StepFailed { .. } => Some("failed"),
        Event::StepSkipped { .. } => Some("skipped"),
        Event::StepCancelled { .. } => Some("cancelled"),
        _ => None,
    }
}
