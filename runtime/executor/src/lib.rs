//! The shell around the core: it turns what a run is owed into effects, and their results into inputs.
//!
//! [`Executor`] is the one handle; every door (HTTP, the command line, later MCP and A2A) calls it. Behind it each run
//! that this node drives is a loop of its own (`driver`), attempts go through the cache to a slot to the sandbox
//! (`attempt`), and a few loops keep the node going (`upkeep`). Nothing here knows what a component or a database is.

mod artifacts;
mod attempt;
mod bus;
mod cache;
mod calls;
mod children;
mod driver;
mod feed;
mod gates;
mod inbox;
mod listing;
mod meters;
mod migrate;
mod models;
mod outside;
mod parts;
mod plugins;
mod reach;
mod read;
mod record;
mod rerun;
mod schedules;
mod shared;
mod slots;
mod snapshot;
mod submit;
pub mod telemetry;
mod triggers;
mod upkeep;
mod waiting;
mod webhooks;
mod workflows;

pub use feed::{FeedEvent, FeedItem};
pub use gates::{CircuitReport, Hold, HoldAt, RateReport};
pub use listing::{RunFilter, WorkflowFilter};
pub use migrate::{MigrateFault, WaitingMove};
pub use models::{ModelAlias, ModelParts, Price, Provider};
pub use outside::{Outbound, OutsideParts};
pub use parts::{
    Begin, Clock, Held, Invocation, Invoker, LeftInside, LogLevel, Parts, Reach, Settings, SystemClock,
};
pub use plugins::entry::{NewPlugin, PluginEntry, PulledFrom};
pub use plugins::health::{Doing, Metered};
pub use plugins::labels::LabelsFault;
pub use plugins::registry::PluginFault;
pub use plugins::releases::{ReleaseRefused, ReleaseWish};
pub use read::{DecideFault, EventId, Followed, ReadFault, RunDetail, StreamItem};
pub use rerun::{Rerun, RerunFault};
pub use schedules::{ScheduleView, Triggered, WishFault};
pub use snapshot::{SnapshotFault, Unresolved};
pub use submit::{Repeated, Submit, SubmitFault, Submitted, TakenOver, Timing, WorkflowChoice};
pub use triggers::{TriggerChange, TriggerFault, TriggerView};
pub use waiting::WaitsFor;
pub use webhooks::{
    Courier, DeliveryView, Disabled, NodeWebhook, Nowhere, Post, Tried, WebhookChange, WebhookFault,
    WebhookLevel, WebhookParts, WebhookView, WebhookWish,
};
pub use workflows::{
    Change, Changed, Instance, InstanceFault, Instantiate, Keep, LifeFault, Novelty, Origin, PublishFault,
    PublishWish, Published, ReferenceFault, Users, WorkflowEntry,
};

use futures_util::Stream;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::Run;
use heddle_core::run::approval::{Decision, Undecidable};
use heddle_core::run::event::{Order, Pause};
use heddle_core::run::view::WorkView;
use heddle_core::schedule::machine::Input as ScheduleInput;
use heddle_core::trigger::Occurrence;
use heddle_store::{
    Blob, JournalRow, Listed, Mail, Recipient, ReportDepth, RunQuery, RunRow, RunStatus, StoreFault,
    StoreReport,
};
use inbox::Message;
use serde::Serialize;
use shared::Shared;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A node's executor. Cheap to clone; the node stops with [`Executor::drain`].
#[derive(Clone, Debug)]
pub struct Executor {
    shared: Arc<Shared>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// Another living node has the name.
    #[error("another node is running under the name `{0}`; give this one a name of its own (`node = ...`)")]
    NameTaken(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Whether a node takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Readiness {
    /// It does.
    Ready,
    /// It is stopping.
    Draining,
    /// Its lease is lost.
    LeaseLost,
}

/// What became of a message for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is recorded; the run will take it.
    Accepted,
    /// There is no such run.
    Unknown,
    /// The run has ended already.
    Ended,
    /// Its steps are over; what follows them is stopped by force only.
    Ending,
    /// The run is as it is wanted already; nothing was recorded.
    Unchanged {
        /// Where it stands.
        status: RunStatus,
    },
    /// The run has as many of these as it may have.
    Full {
        /// What they are.
        what: &'static str,
        /// How many that is.
        most: u64,
        /// The limit that says so.
        limit: &'static str,
    },
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// Its id.
    pub id: String,
    /// Runs that have a step which waits for it, now or later.
    pub reached: u64,
    /// The triggers that start a run for it.
    pub started: Vec<Arc<str>>,
}

/// How a node is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorReport {
    /// The node's name.
    pub node: String,
    /// The epoch of its lease.
    pub epoch: u64,
    /// Runs that it drives.
    pub runs_active: usize,
    /// Runs that wait for a node, as far as this one knows.
    pub runs_queued: u64,
    /// Runs that wait for a slot of their `concurrency`.
    pub runs_for_slot: u64,
    /// Runs that wait for the time at which they are to begin.
    pub runs_for_time: u64,
    /// Runs that have begun and wait, without a driver, for the outside.
    pub runs_parked: u64,
    /// Sandboxes in use and in all.
    pub slots: (usize, usize),
    /// Attempts that wait for a sandbox.
    pub attempts_queued: usize,
    /// Sandboxes in use by calls of agents.
    pub nested_slots: usize,
    /// Entries and bytes of the memory cache.
    pub cache: (u64, u64),
    /// Open event streams.
    pub subscribers: usize,
    /// Messages to webhooks that wait, and when the oldest of them was made, as far as this node knows.
    pub deliveries_waiting: u64,
    /// That time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_delivery: Option<String>,
    /// Webhooks that nothing is sent to.
    pub webhooks_disabled: usize,
    /// Runs that cannot go on, and why: the first hundred.
    pub stuck: BTreeMap<String, String>,
}

/// How long a decision may take to be judged before its answer says no more than that it is kept.
const JUDGED_WITHIN: Duration = Duration::from_secs(2);
/// How often that is looked at.
const JUDGED_LOOK: Duration = Duration::from_millis(5);

impl Executor {
    /// Takes the node's lease, reads what is on the shelf, and begins to drive what nobody drives.
    pub async fn start(parts: Parts) -> Result<Executor, StartFault> {
        let ttl = parts.limits.lease_ms;
        let node = parts.settings.node.clone();
        let lease = parts
            .store
            .take_lease(&node, ttl)
            .await?
            .ok_or_else(|| StartFault::NameTaken(node.to_string()))?;
        let shared = Arc::new(Shared::new(parts, lease));
        shared.registry.load(&*shared.shelf, &Tenant::default()).await?;
        plugins::labels::load(&shared, &Tenant::default()).await?;
        plugins::releases::load(&shared, &Tenant::default()).await?;
        shared.webhooks.load(&shared, &Tenant::default()).await?;
        triggers::sync_all(&shared, &Tenant::default()).await?;
        upkeep::forget_ended(&shared).await?;
        shared.waiting.restore(shared.store.report(ReportDepth::Waiting).await?.waiting);
        tokio::spawn(upkeep::claim_loop(shared.clone()));
        tokio::spawn(upkeep::lease_loop(shared.clone()));
        tokio::spawn(schedules::keeper::keep_time(shared.clone()));
        tokio::spawn(webhooks::deliver::deliver(shared.clone()));
        tokio::spawn(upkeep::retention_loop(shared.clone()));
        tokio::spawn(feed::pump(shared.clone()));
        tokio::spawn(plugins::health::watch(shared.clone()));
        Ok(Executor { shared })
    }
    /// Begins nothing new, lets running attempts end within the drain time, gives every run and the lease back.
    pub async fn drain(&self) {
        upkeep::drain(&self.shared).await;
    }
    /// Whether the node takes work.
    pub fn readiness(&self) -> Readiness {
        match (self.shared.is_draining(), self.shared.lost.load(Ordering::Acquire)) {
            (true, _) => Readiness::Draining,
            (_, true) => Readiness::LeaseLost,
            _ => Readiness::Ready,
        }
    }
    /// How the node is.
    pub fn report(&self) -> ExecutorReport {
        let shared = &self.shared;
        ExecutorReport {
            node: shared.settings.node.to_string(),
            epoch: shared.epoch(),
            runs_active: shared.active_count(),
            runs_queued: shared.waiting.count(WaitsFor::Node),
            runs_for_slot: shared.waiting.count(WaitsFor::Slot),
            runs_for_time: shared.waiting.count(WaitsFor::Time),
            runs_parked: shared.waiting.count(WaitsFor::Outside),
            slots: shared.slots.used(),
            attempts_queued: shared.slots.queued(),
            nested_slots: shared.slots.nested_used(),
            cache: shared.cache.size(),
            subscribers: shared.bus.listeners(),
            deliveries_waiting: shared.webhooks.waiting.load(Ordering::Relaxed),
            oldest_delivery: shared.webhooks.oldest().map(|at| at.rfc3339()),
            webhooks_disabled: shared.webhooks.disabled(),
            stuck: shared.stuck().into_iter().map(|(run, why)| (run.to_string(), why)).collect(),
        }
    }
    /// How the store is.
    pub async fn store_report(&self, depth: ReportDepth) -> Result<StoreReport, StoreFault> {
        self.shared.store.report(depth).await
    }

    /// Accepts a run. What is answered is on disk.
    pub async fn submit(&self, wish: Submit) -> Result<Submitted, SubmitFault> {
        submit::submit(&self.shared, wish).await
    }
    /// Accepts a run that is another one once more, and takes over what that has already.
    ///
    /// # Errors
    /// Where there is no such run or step, and where the new run is not accepted.
    pub async fn rerun(&self, wish: Rerun) -> Result<Submitted, RerunFault> {
        rerun::rerun(&self.shared, wish).await
    }
    /// A run, as far as it is committed. `None` where the tenant has no such run.
    pub async fn run(&self, tenant: &Tenant, run: RunId) -> Result<Option<RunDetail>, ReadFault> {
        read::detail(&self.shared, tenant, run).await
    }
    /// A run when it has ended, or when the time is up.
    pub async fn wait(
        &self,
        tenant: &Tenant,
        run: RunId,
        at_most: Duration,
    ) -> Result<Option<Arc<RunDetail>>, ReadFault> {
        read::wait(&self.shared, tenant, run, at_most).await
    }
    /// A page of runs, newest first, and the run after which the next one begins. One whose row cannot be read stands
    /// among them. At most `limits.list_scan` runs are looked at.
    pub async fn runs(
        &self,
        query: RunQuery,
        filter: &RunFilter,
    ) -> Result<(Vec<Listed>, Option<RunId>), ReadFault> {
        Ok(listing::runs(&self.shared, query, filter).await?)
    }
    /// Rows of a run's journal after `after`.
    pub async fn journal(
        &self,
        tenant: &Tenant,
        run: RunId,
        after: u64,
        limit: u32,
    ) -> Result<Option<Vec<JournalRow>>, ReadFault> {
        read::journal(&self.shared, tenant, run, after, limit).await
    }
    /// A page of a `forEach`'s items. `None` where there is no such run or step.
    pub async fn items(
        &self,
        tenant: &Tenant,
        run: RunId,
        step: &str,
        from: u32,
        limit: u32,
    ) -> Result<Option<Vec<(u32, WorkView)>>, ReadFault> {
        read::items(&self.shared, tenant, run, step, from, limit).await
    }
    /// A value that a run's document names by its digest. `None` where the tenant has no such run, or there is no
    /// such value.
    pub async fn value(
        &self,
        tenant: &Tenant,
        run: RunId,
        digest: Digest,
    ) -> Result<Option<Json>, ReadFault> {
        match read::row(&self.shared, tenant, run).await? {
            None => Ok(None),
            Some(_) => read::value(&self.shared, digest).await,
        }
    }
    /// The events of a run after this one, past and future, without a gap. Ends with the run.
    pub async fn events(
        &self,
        tenant: &Tenant,
        run: RunId,
        after: Option<EventId>,
    ) -> Result<Option<Followed<impl Stream<Item = StreamItem> + Send + use<>>>, ReadFault> {
        read::follow(&self.shared, tenant, run, after).await
    }
    /// Asks for a run to be cancelled. What is answered is on disk. By force, nothing more runs, not even what undoes
    /// and cleans up.
    pub async fn cancel(
        &self,
        tenant: &Tenant,
        run: RunId,
        (by, reason): (&str, &str),
        force: bool,
    ) -> Result<Delivery, ReadFault> {
        if let (Some(row), false) = (read::row(&self.shared, tenant, run).await?, force)
            && !row.status.is_terminal()
            && read::replay(&self.shared, &row).await?.run.is_over()
        {
            return Ok(Delivery::Ending);
        }
        let unique = if force { "cancel/force" } else { "cancel" };
        let message = Message::Cancel { by: by.into(), reason: reason.into(), force };
        self.tell(tenant, run, unique, &message).await
    }
    /// Asks for a run to stand still. What is under way ends; nothing new begins.
    pub async fn pause(
        &self,
        tenant: &Tenant,
        run: RunId,
        by: &str,
        reason: &str,
    ) -> Result<Delivery, ReadFault> {
        let Some(row) = read::row(&self.shared, tenant, run).await? else { return Ok(Delivery::Unknown) };
        let (heard, most) = (inbox::heard(&self.shared, &row).await?, self.shared.limits.interventions);
        if heard.paused {
            return Ok(Delivery::Unchanged { status: RunStatus::Paused });
        }
        if heard.interventions >= most && !heard.status.is_terminal() {
            return Ok(Delivery::Full { what: "pauses and decisions", most, limit: "interventions" });
        }
        let message = Message::Pause(Pause { by: by.into(), reason: reason.into(), step: None });
        self.send(run, format!("pause/{}", uuid::Uuid::now_v7()).into(), message.body()).await
    }
    /// Lets a run that stands still go on.
    pub async fn resume(&self, tenant: &Tenant, run: RunId, by: &str) -> Result<Delivery, ReadFault> {
        let Some(row) = read::row(&self.shared, tenant, run).await? else { return Ok(Delivery::Unknown) };
        let heard = inbox::heard(&self.shared, &row).await?;
        if !heard.paused && !heard.status.is_terminal() {
            // What has been told to go on runs, whether or not it has taken that.
            let status = match heard.status {
                RunStatus::Paused => RunStatus::Running,
                other => other,
            };
            return Ok(Delivery::Unchanged { status });
        }
        let unique = format!("resume/{}", uuid::Uuid::now_v7());
        self.send(run, unique.into(), Message::Resume { by: by.into() }.body()).await
    }
    /// Takes what a person has decided. What is answered is on disk; of two who decide at the same time, the first one
    /// counts.
    ///
    /// # Errors
    /// Why the decision does not count, or that the run cannot be read.
    pub async fn decide(
        &self,
        tenant: &Tenant,
        run: RunId,
        (step, groups): (&str, &[Arc<str>]),
        decision: Decision,
    ) -> Result<Delivery, DecideFault> {
        let Some(row) = read::row(&self.shared, tenant, run).await? else { return Ok(Delivery::Unknown) };
        let unique: Arc<str> = format!("decide/{step}/{}", decision.by).into();
        if self.shared.store.inbox(run).await.map_err(ReadFault::from)?.iter().any(|m| m.unique == unique) {
            return Err(Undecidable::Twice(decision.by.to_string()).into());
        }
        read::replay(&self.shared, &row).await?.run.may_decide(step, groups, &decision)?;
        let (by, approved) = (decision.by.clone(), decision.approved);
        let message = Message::Decide { step: step.into(), groups: groups.to_vec(), decision };
        let delivery = self.send(run, unique.clone(), message.body()).await?;
        if delivery == Delivery::Accepted {
            let decided = |run: &Run| {
                run.decided(step).iter().any(|known| known.by == by && known.approved == approved)
            };
            self.judged(&row, &unique, step, decided).await?;
        }
        Ok(delivery)
    }
    /// Takes what a person wants of one step. What is answered is on disk; of two who want different things at the same
    /// time, the first one counts.
    ///
    /// # Errors
    /// Why it does not count, or that the run cannot be read.
    pub async fn order(
        &self,
        tenant: &Tenant,
        run: RunId,
        (step, groups): (&str, &[Arc<str>]),
        order: Order,
    ) -> Result<Delivery, DecideFault> {
        let Some(row) = read::row(&self.shared, tenant, run).await? else { return Ok(Delivery::Unknown) };
        read::replay(&self.shared, &row).await?.run.may_order(step, groups, &order)?;
        let unique: Arc<str> = format!("order/{step}/{}", uuid::Uuid::now_v7()).into();
        let message = Message::Order { step: step.into(), groups: groups.to_vec(), order: order.clone() };
        let delivery = self.send(run, unique.clone(), message.body()).await?;
        if delivery == Delivery::Accepted {
            self.judged(&row, &unique, step, |run| run.orders(step).contains(&order)).await?;
        }
        Ok(delivery)
    }
    /// Waits, for a while, until what somebody said has been judged: somebody else may have been quicker.
    async fn judged(
        &self,
        row: &RunRow,
        unique: &Arc<str>,
        step: &str,
        counts: impl Fn(&Run) -> bool,
    ) -> Result<(), DecideFault> {
        let end = tokio::time::Instant::now() + JUDGED_WITHIN;
        while tokio::time::Instant::now() < end {
            let inbox = self.shared.store.inbox(row.run).await.map_err(ReadFault::from)?;
            if inbox.iter().any(|message| message.unique == *unique) {
                tokio::time::sleep(JUDGED_LOOK).await;
                continue;
            }
            return match counts(&read::replay(&self.shared, row).await?.run) {
                true => Ok(()),
                false => Err(Undecidable::TooLate(step.to_owned()).into()),
            };
        }
        Ok(())
    }
    /// A page of the runs that ask people for something, newest first: at most so many runs are looked at.
    pub async fn asking(
        &self,
        tenant: &Tenant,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<(Vec<RunDetail>, Option<RunId>), ReadFault> {
        read::asking(&self.shared, tenant, before, limit).await
    }
    /// Signals a run. What is answered is on disk; a step that waits for the signal gets it, now or later.
    pub async fn signal(
        &self,
        tenant: &Tenant,
        run: RunId,
        (name, data): (&str, &Json),
        by: &str,
    ) -> Result<Delivery, ReadFault> {
        let Some(row) = read::row(&self.shared, tenant, run).await? else { return Ok(Delivery::Unknown) };
        let (most, waiting) = (self.shared.limits.signals, self.shared.store.inbox(run).await?.len() as u64);
        if read::replay(&self.shared, &row).await?.run.signals() + waiting >= most {
            return Ok(Delivery::Full { what: "signals", most, limit: "signals" });
        }
        let unique = format!("signal/{}", uuid::Uuid::now_v7());
        let message = Message::Signal { name: name.into(), by: by.into(), data: data.clone() };
        self.send(run, unique.into(), message.body()).await
    }
    /// Tells every run of the tenant that listens to it of an event. Gives how many have it; what is answered is on disk.
    ///
    /// # Errors
    /// That the store does not answer.
    pub async fn emit(
        &self,
        tenant: &Tenant,
        (event, data): (&str, &Json),
        by: &str,
        id: Option<&str>,
    ) -> Result<Emission, StoreFault> {
        let id = id.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        let unique = format!("event/{id}").into();
        let body = Message::Event { name: event.into(), by: by.into(), data: data.clone() }.body();
        let to = Recipient::Listeners(tenant.clone(), event.into());
        let occurrence = Occurrence {
            id: id.as_str().into(),
            name: event.into(),
            by: by.into(),
            at: self.shared.now(),
            data: data.clone(),
            headers: Vec::new(),
            depth: 0,
        };
        // What is owed to triggers comes first: an event that is sent again under its id starts nothing twice.
        let started = triggers::hear(&self.shared, tenant, &occurrence, None).await?;
        let reached = self.shared.store.send(Mail { to: to.clone(), unique, body }).await?;
        self.shared.has_mail(&to);
        Ok(Emission { id, reached, started })
    }
    async fn tell(
        &self,
        tenant: &Tenant,
        run: RunId,
        unique: &str,
        message: &Message,
    ) -> Result<Delivery, ReadFault> {
        match read::row(&self.shared, tenant, run).await? {
            None => Ok(Delivery::Unknown),
            Some(_) => self.send(run, unique.into(), message.body()).await,
        }
    }
    async fn send(&self, run: RunId, unique: Arc<str>, body: Json) -> Result<Delivery, ReadFault> {
        if let Some(why) = self.shared.why_stuck(run) {
            return Err(ReadFault::Stuck { run, why });
        }
        let reached = self.shared.store.send(Mail::to(run, unique, body)).await?;
        self.shared.has_mail(&Recipient::Run(run));
        Ok(if reached > 0 { Delivery::Accepted } else { Delivery::Ended })
    }

    /// The circuit breakers of this node that calls of the tenant have asked, in the order of their keys.
    pub fn circuits(&self, tenant: &Tenant) -> Vec<CircuitReport> {
        self.shared.gates.circuits(tenant)
    }
    /// The rates of this node, in the order of their keys.
    pub fn rates(&self, tenant: &Tenant) -> Vec<RateReport> {
        self.shared.gates.rates(tenant)
    }
    /// Closes a circuit of this node. `None` where no call has asked it.
    pub fn close_circuit(&self, tenant: &Tenant, key: &str) -> Option<CircuitReport> {
        self.shared.gates.close(tenant, key)
    }

    /// A page of schedules in the order of their ids, after this one.
    pub async fn schedules(
        &self,
        tenant: &Tenant,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ScheduleView>, StoreFault> {
        schedules::page(&self.shared, tenant, after, limit).await
    }
    /// A schedule by its id, with where the runs of its last ticks stand. `None` where there is none.
    pub async fn schedule(&self, tenant: &Tenant, id: &str) -> Result<Option<ScheduleView>, StoreFault> {
        schedules::one(&self.shared, tenant, id).await
    }
    /// Tells a schedule what a person wants of it: a pause, its end, a backfill. What is answered is on disk. `None`
    /// where there is no such schedule.
    pub async fn tell_schedule(
        &self,
        tenant: &Tenant,
        id: &str,
        input: &ScheduleInput,
    ) -> Result<Option<ScheduleView>, WishFault> {
        schedules::wish(&self.shared, tenant, id, input).await
    }
    /// Asks a schedule for a run now, by the rules of its overlap. `None` where there is no such schedule.
    pub async fn trigger(&self, tenant: &Tenant, id: &str, by: &str) -> Result<Option<Triggered>, WishFault> {
        schedules::trigger(&self.shared, tenant, id, by).await
    }

    /// Keeps bytes under their digest: a component.
    pub async fn put_blob(&self, bytes: Arc<[u8]>) -> Result<Digest, StoreFault> {
        let digest = Digest::of(&bytes);
        self.shared.store.put_blob(Blob { digest, bytes }).await?;
        Ok(digest)
    }
}
