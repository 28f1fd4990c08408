//! What happens to all runs of a tenant, or of one workflow, as one stream: in the order of the commits, without a gap,
//! from any place on.
//!
//! ```text
//!  appends ── bell ──► pump ── reads what is new, once ──► listeners (shared)
//!                        ▲                                   │ too far behind for what is shared,
//!                      store ◄───────────────────────────────┘ or at a place before it: reads for itself
//! ```
//! The store has the rows of all runs in one order, so a place in it is all that a reader must know to go on after a
//! restart, and nothing has to be kept for readers who are away. While somebody listens, one loop reads what was
//! committed and makes its events, once for all; whoever finds that a row does not follow the one before reads on in
//! the store until it does.

use crate::Executor;
use crate::migrate::snapshot_at;
use crate::read::{EventId, ReadFault};
use crate::shared::Shared;
use crate::telemetry as t;
use futures_util::Stream;
use heddle_core::id::{RunId, Tenant};
use heddle_core::run::public::{PublicEvent, public_events};
use heddle_store::{FeedQuery, FeedRow, StoreFault};
use metrics::counter;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};

/// Rows read at a time.
const ROWS: u32 = 64;
/// How often the store is asked while somebody listens and nothing rings: another way in, or a bell that nobody heard.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An event of one of many runs.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// Its place among the events of all runs, to go on after. Transient events have none.
    pub place: Option<EventId>,
    /// The run.
    pub run: RunId,
    /// The event.
    pub event: PublicEvent,
}

/// What a stream of all runs brings.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// An event.
    Event(FeedEvent),
    /// A row of a run that cannot be told; the others can.
    Unreadable {
        /// The run.
        run: RunId,
        /// The place of the row, after which to go on.
        place: EventId,
        /// What does not hold.
        why: String,
    },
    /// The reader was too slow; it may come back with the last place that it has seen.
    Lagged,
    /// The store cannot be read any further.
    Broken(String),
}

/// What the listeners to all runs are told.
#[derive(Clone, Debug)]
enum Told {
    /// A committed row.
    Row(Arc<Row>),
    /// Something that is not kept: progress, a log line.
    Passing(Arc<Passing>),
}

#[derive(Debug)]
struct Row {
    /// The position up to which everything was told before it.
    before: u64,
    position: u64,
    tenant: Tenant,
    workflow: Arc<str>,
    run: RunId,
    events: Result<Vec<PublicEvent>, String>,
}

/// Something that is not kept.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) tenant: Tenant,
    pub(crate) workflow: Arc<str>,
    pub(crate) run: RunId,
    pub(crate) event: PublicEvent,
}

/// Where the loop that tells all listeners stands.
#[derive(Debug)]
pub(crate) struct Feed {
    told: broadcast::Sender<Told>,
    bell: Notify,
    is_heard: AtomicBool,
    /// Up to where everything was told; `None` while nobody listens.
    at: Mutex<Option<u64>>,
}

impl Feed {
    /// A feed whose listeners share the last so many rows.
    pub(crate) fn new(backlog: usize) -> Feed {
        Feed {
            told: broadcast::channel(backlog.max(1)).0,
            bell: Notify::new(),
            is_heard: AtomicBool::new(false),
            at: Mutex::new(None),
        }
    }
    /// Something was committed.
    pub(crate) fn ring(&self) {
        if self.is_heard() {
            self.bell.notify_one();
        }
    }
    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }
    /// Listeners now.
    pub(crate) fn listeners(&self) -> usize {
        self.told.receiver_count()
    }
    /// Tells what is not kept.
    pub(crate) fn pass(&self, passing: Passing) {
        // Nobody may be left; that is no fault.
        let _ = self.told.send(Told::Passing(Arc::new(passing)));
    }
    fn listen(&self) -> broadcast::Receiver<Told> {
        // Under the lock, so that the loop does not go to sleep upon somebody who has just come.
        let _at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_heard.store(true, Ordering::Release);
        self.told.subscribe()
    }
    /// Wakes the loop, which tells what follows this position if it slept.
    fn begin(&self, newest: u64) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(newest);
        self.bell.notify_one();
    }
    /// Where the loop stands; it sleeps where nobody listens.
    fn at(&self) -> Option<u64> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if self.told.receiver_count() == 0 {
            *at = None;
            self.is_heard.store(false, Ordering::Release);
        }
        *at
    }
    fn reached(&self, position: u64) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    }
}

/// Tells all listeners what is committed, for as long as the node lives.
pub(crate) async fn pump(shared: Arc<Shared>) {
    let feed = &shared.bus.feed;
    loop {
        match feed.is_heard() {
            true => drop(tokio::time::timeout(LOOK_EVERY, feed.bell.notified()).await),
            false => feed.bell.notified().await,
        }
        if let Err(fault) = tell_all(&shared, feed).await {
            tracing::error!(%fault, "what was committed cannot be told");
        }
        let over = shared.is_draining() && shared.active_count() == 0;
        if over || shared.lost.load(Ordering::Acquire) {
            return;
        }
    }
}

/// Wakes the loop so that it sees that the node has drained.
pub(crate) fn end(shared: &Shared) {
    shared.bus.feed.bell.notify_one();
}

async fn tell_all(shared: &Shared, feed: &Feed) -> Result<(), StoreFault> {
    while let Some(at) = feed.at() {
        let page =
            shared.store.committed(FeedQuery { after: at, limit: ROWS, ..FeedQuery::default() }).await?;
        let mut before = at;
        for row in page.rows {
            let position = row.position;
            let events = events(shared, &row).await;
            let FeedRow { run, tenant, workflow, .. } = row;
            let row = Row { before, position, tenant, workflow, run, events };
            let _ = feed.told.send(Told::Row(Arc::new(row)));
            before = position;
        }
        feed.reached(page.upto);
        if !page.more {
            break;
        }
    }
    Ok(())
}

/// The events of a row.
async fn events(shared: &Shared, row: &FeedRow) -> Result<Vec<PublicEvent>, String> {
    let journal = row.row.as_ref().map_err(String::clone)?;
    // What was written before the run moved to another version speaks of the steps of that time.
    let before = journal.seq.saturating_sub(1);
    let snapshot = snapshot_at(shared, (row.run, row.snapshot), before).await;
    let snapshot = snapshot.map_err(|fault| fault.to_string())?;
    Ok(public_events(journal.seq, &journal.batch, snapshot.told(row.run)))
}

/// Somebody who listens to many runs.
struct Watching {
    shared: Arc<Shared>,
    query: FeedQuery,
    live: broadcast::Receiver<Told>,
    /// Up to where every row was taken.
    seen: u64,
    /// A row that was seen in part before: events up to this place are not told again.
    in_part: EventId,
    ready: VecDeque<FeedItem>,
    stage: Stage,
    /// Whether the reader was where the others are at least once.
    caught_up: bool,
}

#[derive(PartialEq)]
enum Stage {
    Past,
    Live,
    Over,
}

impl Executor {
    /// The events of all runs of the tenant, or of a `namespace/name`, behind this place or from now on, in the order of
    /// their commits; and the place that they begin behind. Never ends by itself.
    pub async fn watch(
        &self,
        tenant: &Tenant,
        workflow: Option<Arc<str>>,
        after: Option<EventId>,
    ) -> Result<(EventId, impl Stream<Item = FeedItem> + Send + use<>), ReadFault> {
        watch(&self.shared, (tenant, workflow), after).await
    }
}

async fn watch(
    shared: &Arc<Shared>,
    (tenant, workflow): (&Tenant, Option<Arc<str>>),
    after: Option<EventId>,
) -> Result<(EventId, impl Stream<Item = FeedItem> + Send + use<>), ReadFault> {
    // Listening begins before the past is read, so that nothing falls between the two.
    shared
        .bus
        .may_listen()
        .map_err(|_| ReadFault::TooManySubscribers { most: shared.limits.subscriptions })?;
    let live = shared.bus.feed.listen();
    let newest = shared.store.newest().await?;
    shared.bus.feed.begin(newest);
    let from = after.unwrap_or((newest, u32::MAX));
    if from.0 > newest {
        return Err(ReadFault::NoSuchPlace { place: from, newest });
    }
    let seen = if from.1 == u32::MAX { from.0 } else { from.0.saturating_sub(1) };
    let query = FeedQuery { tenant: Some(tenant.clone()), workflow, after: 0, limit: ROWS };
    let watching = Watching {
        shared: shared.clone(),
        query,
        live,
        seen,
        in_part: from,
        ready: VecDeque::new(),
        stage: Stage::Past,
        caught_up: false,
    };
    let stream = futures_util::stream::unfold(watching, |mut watching| async move {
        let item = watching.next().await?;
        Some((item, watching))
    });
    Ok((from, stream))
}

impl Watching {
    async fn next(&mut self) -> Option<FeedItem> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.stage {
                Stage::Over => return None,
                Stage::Past => {
                    if self.is_too_slow() {
                        return Some(self.lagged());
                    }
                    if let Err(fault) = self.read_on().await {
                        self.stage = Stage::Over;
                        return Some(FeedItem::Broken(fault.to_string()));
                    }
                }
                Stage::Live => match self.live.recv().await {
                    Ok(Told::Row(row)) if row.position <= self.seen => {}
                    // The loop slept in between.
                    Ok(Told::Row(row)) if row.before > self.seen => self.stage = Stage::Past,
                    Ok(Told::Row(row)) => {
                        if self.query.wants(&row.tenant.0, &row.workflow) {
                            self.take(row.run, row.position, row.events.clone());
                        }
                        self.seen = row.position;
                    }
                    Ok(Told::Passing(passing)) => {
                        if self.query.wants(&passing.tenant.0, &passing.workflow) {
                            let (run, event) = (passing.run, passing.event.clone());
                            return Some(FeedItem::Event(FeedEvent { place: None, run, event }));
                        }
                    }
                    // What is shared is gone, and the store has it still.
                    Err(RecvError::Lagged(_)) => self.stage = Stage::Past,
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Whether somebody who was where the others are has fallen too far behind.
    fn is_too_slow(&self) -> bool {
        let at = self.shared.bus.feed.at().unwrap_or(0);
        self.caught_up && at.saturating_sub(self.seen) > self.shared.limits.feed_backlog
    }
    fn lagged(&mut self) -> FeedItem {
        counter!(t::SUBSCRIBERS_DROPPED).increment(1);
        self.stage = Stage::Over;
        FeedItem::Lagged
    }

    async fn read_on(&mut self) -> Result<(), StoreFault> {
        let query = FeedQuery { after: self.seen, ..self.query.clone() };
        let page = self.shared.store.committed(query).await?;
        for row in page.rows {
            let events = events(&self.shared, &row).await;
            self.take(row.run, row.position, events);
        }
        self.seen = page.upto;
        if !page.more {
            (self.stage, self.caught_up) = (Stage::Live, true);
        }
        Ok(())
    }

    fn take(&mut self, run: RunId, position: u64, events: Result<Vec<PublicEvent>, String>) {
        match events {
            Err(why) => self.ready.push_back(FeedItem::Unreadable { run, place: (position, u32::MAX), why }),
            Ok(events) => {
                let in_part = self.in_part;
                let placed = events.into_iter().zip(0u32..).map(|(event, n)| ((position, n), event));
                self.ready.extend(
                    placed
                        .filter(|(place, _)| *place > in_part)
                        .map(|(place, event)| FeedItem::Event(FeedEvent { place: Some(place), run, event })),
                );
            }
        }
    }
}
