//! How many runs no node drives, by what they wait for. Counted where a run is left and where it is taken up again, so
//! that a bound costs no question to the store; one question at the start says how many there were.

use crate::telemetry as t;
use heddle_core::limits::Limits;
use heddle_store::{Rest, RunRow, RunStatus, WaitingRuns};
use metrics::{Gauge, gauge};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a run waits for that no node drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A node.
    Node,
    /// A slot of its `concurrency`.
    Slot,
    /// The time at which it is to begin.
    Time,
    /// It has begun, and is parked.
    Outside,
}

impl WaitsFor {
    /// All, in the order of their counters.
    const ALL: [WaitsFor; 4] = [WaitsFor::Node, WaitsFor::Slot, WaitsFor::Time, WaitsFor::Outside];

    /// What this run waits for, where nobody drives it.
    pub(crate) fn of(row: &RunRow) -> Option<WaitsFor> {
        match (row.status, row.rest) {
            (RunStatus::Queued, _) => Some(WaitsFor::Node),
            (_, rest) => rest.map(WaitsFor::from),
        }
    }
    fn word(self) -> &'static str {
        match self {
            WaitsFor::Node => "node",
            WaitsFor::Slot => "slot",
            WaitsFor::Time => "time",
            WaitsFor::Outside => "outside",
        }
    }
    /// How many there may be.
    pub(crate) fn most(self, limits: &Limits) -> u64 {
        match self {
            WaitsFor::Node => limits.runs_queued,
            WaitsFor::Slot => limits.runs_for_slot,
            WaitsFor::Time => limits.runs_for_time,
            WaitsFor::Outside => limits.runs_parked,
        }
    }
    /// What such runs do, and the name of that limit.
    pub(crate) fn told(self) -> (&'static str, &'static str) {
        match self {
            WaitsFor::Node => ("wait for this node", "runs_queued"),
            WaitsFor::Slot => ("wait for a slot of their `concurrency`", "runs_for_slot"),
            WaitsFor::Time => ("wait for the time at which they are to begin", "runs_for_time"),
            WaitsFor::Outside => {
                ("are parked: they wait for a time, a signal, a person or another run", "runs_parked")
            }
        }
    }
}

impl From<Rest> for WaitsFor {
    fn from(rest: Rest) -> WaitsFor {
        match rest {
            Rest::Slot => WaitsFor::Slot,
            Rest::Time => WaitsFor::Time,
            Rest::Parked => WaitsFor::Outside,
        }
    }
}

/// The counters of a node.
#[derive(Debug)]
pub(crate) struct Waiting([(AtomicU64, Gauge); 4]);

impl Waiting {
    /// Nobody waits.
    pub(crate) fn new() -> Waiting {
        Waiting(WaitsFor::ALL.map(|kind| (AtomicU64::new(0), gauge!(t::RUNS_WAITING, "for" => kind.word()))))
    }
    /// So many waited when the node began.
    pub(crate) fn restore(&self, found: WaitingRuns) {
        let WaitingRuns { node, slot, time, parked } = found;
        for ((count, gauge), found) in self.0.iter().zip([node, slot, time, parked]) {
            gauge.set((count.fetch_add(found, Ordering::Relaxed) + found) as f64);
        }
    }
    /// How many wait for this.
    pub(crate) fn count(&self, kind: WaitsFor) -> u64 {
        self.0[kind as usize].0.load(Ordering::Relaxed)
    }
    /// A run waits from now on.
    pub(crate) fn begins(&self, kind: WaitsFor) {
        let (count, gauge) = &self.0[kind as usize];
        count.fetch_add(1, Ordering::Relaxed);
        gauge.increment(1.0);
    }
    /// A run waits from now on, unless as many do as may: then their number.
    pub(crate) fn begins_within(&self, kind: WaitsFor, most: u64) -> Result<(), u64> {
        let (count, gauge) = &self.0[kind as usize];
        let room = |waiting| (waiting < most).then_some(waiting + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)?;
        gauge.increment(1.0);
        Ok(())
    }
    /// A run does not wait any more.
    pub(crate) fn ends(&self, kind: WaitsFor) {
        let (count, gauge) = &self.0[kind as usize];
        // One that was left between two of its states may not have been counted.
        if count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1)).is_ok()
        {
            gauge.decrement(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_exact_and_nothing_falls_below_zero() {
        let waiting = Waiting::new();
        waiting.ends(WaitsFor::Slot);
        waiting.restore(WaitingRuns { slot: 2, parked: 5, ..WaitingRuns::default() });
        assert_eq!(waiting.begins_within(WaitsFor::Slot, 3), Ok(()));
        assert_eq!(waiting.begins_within(WaitsFor::Slot, 3), Err(3));
        waiting.ends(WaitsFor::Slot);
        waiting.begins(WaitsFor::Outside);
        let counts = WaitsFor::ALL.map(|kind| waiting.count(kind));
        assert_eq!(counts, [0, 2, 0, 6]);
    }
}
