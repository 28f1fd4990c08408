//! Who may run now. A slot is a sandbox: it is taken after the cache has been asked and given back when the attempt
//! ends, whichever way. Who waits is served by share, so that a workflow with a thousand attempts is no line for another
//! one (`pool`); within a workflow attempts wait in the order in which they came. Each run has at most its `maxParallel`
//! here, so the queue is bounded by the runs that a node drives.
//!
//! An attempt that was in its sandbox when the host went away is a suspect. Suspects run one at a time, so that one
//! that takes the host down again does not take the blame of others with it: bystanders are cleared by ending.
//!
//! Attempts of plugins that are known to be quick have a few slots besides, so that they pass those who stay. A plugin
//! that abuses it is not known as quick any more, and where the few are taken, the line is there.
//!
//! Calls that an agent makes have slots of their own, so that agents who hold every ordinary slot can never starve
//! the calls that they wait for.

mod pool;

use crate::meters::Meters;
use heddle_core::id::RunId;
use heddle_core::limits::Limits;
use heddle_core::run::event::Node;
use heddle_core::share::Share;
use metrics::Gauge;
use pool::{Permit, Pool};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The sandboxes of a node.
#[derive(Debug)]
pub(crate) struct Slots {
    ordinary: Arc<Pool>,
    nested: Arc<Pool>,
    suspects: Arc<Pool>,
    quick: Arc<Pool>,
    most: usize,
    rate: Option<Mutex<Pace>>,
    meters: Meters,
    /// Who waits now.
    waiting: std::sync::Mutex<BTreeSet<(RunId, Node)>>,
}

#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Instant,
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: Permit,
    _alone: Option<Permit>,
    used: Gauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.used.decrement(1.0);
    }
}

/// Who asks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// An attempt of a run.
    Attempt,
    /// An attempt of a run that was interrupted in its sandbox.
    Suspect,
    /// An attempt that is known to be over at once.
    Quick,
    /// A call of an agent's attempt.
    Nested,
}

/// The slot did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueTimeout;

impl Slots {
    /// So many slots, and at most so many begun in a second.
    pub(crate) fn new(most: usize, limits: &Limits, start_rate_per_s: Option<u32>, meters: Meters) -> Slots {
        let pace =
            |per_s: u32| Pace { interval: Duration::from_secs(1) / per_s.max(1), next: Instant::now() };
        let kept = limits.attempts_kept as usize;
        Slots {
            ordinary: Pool::new(most, kept),
            nested: Pool::new(most, kept),
            suspects: Pool::new(1, 0),
            quick: Pool::new(kept, 0),
            most,
            rate: start_rate_per_s.map(|r| Mutex::new(pace(r))),
            meters,
            waiting: std::sync::Mutex::default(),
        }
    }

    /// Waits for a slot, until then at most.
    pub(crate) async fn take(
        &self,
        who: (RunId, Node),
        share: &Share,
        depth: Depth,
        until: Option<tokio::time::Instant>,
    ) -> Result<Slot, QueueTimeout> {
        let from = match depth {
            Depth::Attempt | Depth::Suspect | Depth::Quick => &self.ordinary,
            Depth::Nested => &self.nested,
        };
        let alone = match depth {
            Depth::Suspect => Some(self.permit((who, share), &self.suspects, until).await?),
            Depth::Attempt | Depth::Nested | Depth::Quick => None,
        };
        let past_the_line = match depth {
            Depth::Quick => self.quick.take_now(share),
            _ => None,
        };
        let permit = match past_the_line {
            Some(permit) => permit,
            None => self.permit((who, share), from, until).await?,
        };
        self.keep_pace().await;
        let used = self.meters.slots_used.clone();
        used.increment(1.0);
        Ok(Slot { _permit: permit, _alone: alone, used })
    }

    async fn permit(
        &self,
        (who, share): ((RunId, Node), &Share),
        from: &Arc<Pool>,
        until: Option<tokio::time::Instant>,
    ) -> Result<Permit, QueueTimeout> {
        if let Some(permit) = from.take_now(share) {
            self.meters.queue_seconds.record(0.0);
            return Ok(permit);
        }
        let since = Instant::now();
        let _waiting = Waiting::new(self, who);
        let got = match until {
            None => Ok(from.take(share).await),
            Some(until) => tokio::time::timeout_at(until, from.take(share)).await.map_err(|_| QueueTimeout),
        };
        self.meters.queue_seconds.record(since.elapsed());
        got
    }

    /// Spreads starts evenly where the operator set a rate.
    async fn keep_pace(&self) {
        let Some(pace) = &self.rate else { return };
        let at = {
            let mut pace = pace.lock().await;
            let at = pace.next.max(Instant::now());
            pace.next = at + pace.interval;
            at
        };
        tokio::time::sleep_until(at.into()).await;
    }

    /// Slots in use, and how many there are.
    pub(crate) fn used(&self) -> (usize, usize) {
        (self.ordinary.used(), self.most)
    }
    fn waiting(&self) -> MutexGuard<'_, BTreeSet<(RunId, Node)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Attempts that wait.
    pub(crate) fn queued(&self) -> usize {
        self.waiting().len()
    }
    /// The steps of a run of which attempts wait, and how many of each.
    pub(crate) fn queued_steps(&self, run: RunId) -> BTreeMap<u32, u32> {
        let (first, last) = ((run, Node::step(0)), (run, Node::item(u32::MAX, u32::MAX)));
        let mut steps = BTreeMap::new();
        for (_, node) in self.waiting().range(first..=last) {
            *steps.entry(node.step).or_default() += 1;
        }
        steps
    }
    /// Nested slots in use.
    pub(crate) fn nested_used(&self) -> usize {
        self.nested.used()
    }
}

/// Who waits is known, however the waiting ends.
struct Waiting<'a>(&'a Slots, (RunId, Node));

impl Waiting<'_> {
    fn new(slots: &Slots, who: (RunId, Node)) -> Waiting<'_> {
        slots.meters.attempts_queued.increment(1.0);
        slots.waiting().insert(who);
        Waiting(slots, who)
    }
}
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.meters.attempts_queued.decrement(1.0);
        self.0.waiting().remove(&self.1);
    }
}
