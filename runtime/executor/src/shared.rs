//! What all runs of a node share.

use crate::bus::Bus;
use crate::cache::OutputCache;
use crate::driver::Nudge;
use crate::gates::Gates;
use crate::meters::Meters;
use crate::migrate::Moves;
use crate::models::Models;
use crate::outside::{KeptValues, OutsideParts};
use crate::parts::{Clock, Held, Invoker, Parts, Settings};
use crate::plugins::health::Healths;
use crate::plugins::registry::Registry;
use crate::read::RunDetail;
use crate::slots::Slots;
use crate::snapshot::Snapshots;
use crate::triggers::Triggers;
use crate::waiting::{Waiting, WaitsFor};
use crate::webhooks::Endpoints;
use crate::workflows::WorkflowEntry;
use heddle_core::document::Fault;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::limits::Limits;
use heddle_core::plan::{Plan, Step, WorkflowRef};
use heddle_core::plugin::Pinned;
use heddle_core::run::Entered;
use heddle_core::run::event::Node;
use heddle_core::time::Timestamp;
use heddle_store::{Lease, Recipient, RunStore, Shelf};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a reference keeps its meaning without being looked up again.
const REFERENCE_LIFE: Duration = Duration::from_secs(1);

/// Runs that cannot go on, and are named in a report.
const STUCK_NAMED: usize = 100;

/// Attempts that were in a sandbox when the last process went away.
type LeftByRun = HashMap<RunId, Vec<(Node, u32, Held)>>;

/// The node.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) shelf: Arc<dyn Shelf>,
    pub(crate) invoker: Arc<dyn Invoker>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) settings: Settings,
    pub(crate) cache: OutputCache,
    pub(crate) gates: Gates,
    pub(crate) slots: Slots,
    pub(crate) bus: Bus,
    pub(crate) registry: Registry,
    pub(crate) healths: Healths,
    pub(crate) snapshots: Snapshots,
    pub(crate) meters: Meters,
    pub(crate) webhooks: Endpoints,
    pub(crate) triggers: Triggers,
    pub(crate) outside: OutsideParts,
    pub(crate) models: Models,
    pub(crate) kept_values: KeptValues,
    lease: RwLock<Lease>,
    active: Mutex<HashMap<RunId, Active>>,
    /// What the process before this one left in its sandboxes, until the runs are taken over.
    left_inside: Option<Mutex<LeftByRun>>,
    /// What belongs to attempts of which this process cannot know whether their end is on disk.
    for_good: Mutex<Vec<Held>>,
    /// Runs that nobody drives.
    pub(crate) waiting: Waiting,
    pub(crate) draining: AtomicBool,
    pub(crate) lost: AtomicBool,
    /// Runs that cannot go on, and why; the first of them.
    stuck: Mutex<BTreeMap<RunId, String>>,
    /// What runs of a workflow took lately, in milliseconds, smoothed.
    pace: Mutex<HashMap<Digest, f64>>,
    pub(crate) wake_claim: tokio::sync::Notify,
    pub(crate) bell: crate::schedules::Bell,
    /// Checked plans by the digest of their source, which says more than tenant, name and version would: namespace, name
    /// and version are part of the source, and a plan that is read again follows from its source alone, without any
    /// tenant's plugins. Those are resolved for each tenant in `Snapshots::make`. Whoever asks for a plan has found its
    /// entry among the tenant's own workflows before, so nobody comes to another's by its digest.
    plans: moka::sync::Cache<Digest, Arc<Plan>>,
    /// What a reference means, for a second: another node may publish.
    pub(crate) references: moka::sync::Cache<(Tenant, WorkflowRef), Arc<Plan>>,
    /// The snapshots that runs have had which have moved to another version.
    pub(crate) moves: moka::sync::Cache<(RunId, Digest), Moves>,
}

/// A run that this node drives.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) nudge: mpsc::Sender<Nudge>,
    pub(crate) done: watch::Receiver<Option<Arc<RunDetail>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({})", self.settings.node)
    }
}

impl Shared {
    pub(crate) fn new(parts: Parts, lease: Lease) -> Shared {
        let (limits, meters) = (parts.limits, Meters::new());
        Shared {
            cache: OutputCache::new(parts.store.clone(), limits.output_cache_bytes, meters.clone()),
            gates: Gates::new(limits.gate_keys, parts.clock.clone()),
            slots: Slots::new(
                parts.settings.workers.max(1),
                &limits,
                parts.settings.start_rate_per_s,
                meters.clone(),
            ),
            meters,
            bus: Bus::new(limits.sse_backlog as usize, limits.subscriptions as usize),
            registry: Registry::default(),
            healths: Healths::default(),
            snapshots: Snapshots::new(parts.store.clone(), limits.plan_cache),
            webhooks: Endpoints::new(parts.webhooks),
            triggers: Triggers::default(),
            outside: parts.outside,
            models: Models::new(parts.models),
            kept_values: KeptValues::default(),
            lease: RwLock::new(lease),
            active: Mutex::new(HashMap::new()),
            left_inside: parts.left_inside.map(|left| {
                let mut by_run = LeftByRun::new();
                for (one, held) in left {
                    by_run.entry(one.run).or_default().push((one.node, one.attempt, held));
                }
                Mutex::new(by_run)
            }),
            for_good: Mutex::default(),
            waiting: Waiting::new(),
            draining: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            stuck: Mutex::default(),
            pace: Mutex::new(HashMap::new()),
            wake_claim: tokio::sync::Notify::new(),
            bell: crate::schedules::Bell::default(),
            plans: moka::sync::Cache::new(limits.plan_cache),
            moves: moka::sync::Cache::new(limits.plan_cache),
            references: moka::sync::Cache::builder()
                .max_capacity(limits.plan_cache)
                .time_to_live(REFERENCE_LIFE)
                .build(),
            store: parts.store,
            shelf: parts.shelf,
            invoker: parts.invoker,
            clock: parts.clock,
            settings: parts.settings,
            limits,
        }
    }
    /// What a plugin may do outside, as sorted text, with a mark of each secret's value that tells nobody what it is.
    pub(crate) fn outside_lines(&self, pin: &Pinned, step: &Step) -> Vec<String> {
        if pin.kind.is_pure() || self.outside.grants.is_empty() {
            return Vec::new();
        }
        let grants = self.outside.of(&format!("{}:{}", pin.kind.word(), pin.name));
        let left = step.narrowing.as_ref().map(|left| Arc::new(grants.narrowed(left)));
        let grants = left.unwrap_or(grants);
        let named = step.narrowing.as_ref().and_then(|left| left.secrets.as_ref());
        let named = named.into_iter().flatten().map(|(asked, name)| format!("secret {asked} names {name}"));
        let marks = grants.secrets.keys().filter_map(|name| {
            let value = self.outside.secrets.get(name)?;
            Some(format!("secret {name} is {}", self.webhooks.mark_of(value)))
        });
        grants.lines().into_iter().chain(marks).chain(named).collect()
    }
    /// The plan of a published workflow, checked once and kept.
    pub(crate) fn plan_of(&self, entry: &WorkflowEntry) -> Result<Arc<Plan>, Vec<Fault>> {
        if let Some(plan) = self.plans.get(&entry.digest) {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::reread(&entry.source)?);
        // Under the digest that it has: an entry that claims another one lends its plan to nobody.
        self.plans.insert(plan.digest, plan.clone());
        Ok(plan)
    }
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
    pub(crate) fn lease(&self) -> Lease {
        self.lease.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(crate) fn epoch(&self) -> u64 {
        self.lease.read().unwrap_or_else(PoisonError::into_inner).epoch
    }
    pub(crate) fn renewed(&self, lease: Lease) {
        *self.lease.write().unwrap_or_else(PoisonError::into_inner) = lease;
    }
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn activate(&self, run: RunId, active: Active) {
        let mut map = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(run, active);
        self.meters.runs_active.set(map.len() as f64);
    }
    pub(crate) fn deactivate(&self, run: RunId) {
        let mut map = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = map.len() as u64 >= self.limits.runs_active;
        map.remove(&run);
        self.meters.runs_active.set(map.len() as f64);
        drop(map);
        // Somebody may have waited for the room. The question costs a write, so it is not asked without a reason.
        if was_full || self.waiting.count(WaitsFor::Node) > 0 {
            self.wake_claim.notify_one();
        }
    }
    pub(crate) fn active(&self, run: RunId) -> Option<Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
    }
    /// Somebody has a message in the inbox.
    pub(crate) fn has_mail(&self, to: &Recipient) {
        let nudge = |active: &Active| drop(active.nudge.try_send(Nudge::Inbox));
        match to {
            Recipient::Run(run) => match self.active(*run) {
                // Full means that it will look anyway.
                Some(active) => nudge(&active),
                None => self.wake_claim.notify_one(),
            },
            Recipient::Listeners(..) => {
                self.all_active().iter().for_each(|(_, active)| nudge(active));
                self.wake_claim.notify_one();
            }
        }
    }
    pub(crate) fn all_active(&self) -> Vec<(RunId, Active)> {
        let map = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter().map(|(id, a)| (*id, a.clone())).collect()
    }
    pub(crate) fn active_count(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Which open attempts of a run that is taken over had entered their sandbox, and what is to be held until it is on
    /// disk what became of them.
    pub(crate) fn entered(&self, run: RunId) -> (Entered, Vec<Held>) {
        let Some(left) = &self.left_inside else { return (Entered::Unknown, Vec::new()) };
        let left = left.lock().unwrap_or_else(PoisonError::into_inner).remove(&run).unwrap_or_default();
        let attempts = left.iter().map(|(node, attempt, _)| (*node, *attempt)).collect();
        (Entered::Only(attempts), left.into_iter().map(|(_, _, held)| held).collect())
    }
    /// The runs of which something was left in a sandbox.
    pub(crate) fn left_runs(&self) -> Vec<RunId> {
        let left = self.left_inside.as_ref().map(|left| left.lock().unwrap_or_else(PoisonError::into_inner));
        left.map(|left| left.keys().copied().collect()).unwrap_or_default()
    }
    /// Holds this for as long as the process lives.
    pub(crate) fn hold_for_good(&self, held: impl Iterator<Item = Held>) {
        self.for_good.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
    }

    /// Remembers that a run cannot go on.
    pub(crate) fn note_stuck(&self, run: RunId, why: String) {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.len() < STUCK_NAMED {
            stuck.insert(run, why);
        }
    }
    /// Why a run cannot go on, where it cannot.
    pub(crate) fn why_stuck(&self, run: RunId) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
    }
    /// Runs that cannot go on, and why.
    pub(crate) fn stuck(&self) -> BTreeMap<RunId, String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how long a run of this workflow took.
    pub(crate) fn note_pace(&self, workflow: Digest, took_ms: u64) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.len() as u64 >= self.limits.plan_cache {
            pace.clear();
        }
        let smoothed = pace.entry(workflow).or_insert(took_ms as f64);
        *smoothed = 0.8 * *smoothed + 0.2 * took_ms as f64;
    }
    /// How long a run of this workflow is likely to take, in milliseconds.
    pub(crate) fn pace(&self, workflow: Digest) -> Option<u64> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).get(&workflow).map(|ms| *ms as u64)
    }
}
