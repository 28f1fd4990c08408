//! `heddle:host/clock`, and the time that WASI's clocks show too.
//!
//! The kind decides: a transform's time stands still, a tool's is real in steps of 1 ms (finer would help an attacker to
//! time its neighbours), an agent's is the time at which its attempt opened or of its last answer, so that a replay
//! sees what the first run saw.

use crate::guest::{Cx, Guest, enter};
use heddle_core::outcome::PluginKind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/clock@0.1.0";
/// 2000-01-01T00:00:00Z.
const FIXED_MS: u64 = 946_684_800_000;
/// The finest step that a guest can see.
pub(crate) const STEP_NS: u64 = 1_000_000;

/// The time as one guest sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Stands still.
    Fixed,
    /// Real; the instant is where the monotonic clock begins.
    Real(Instant),
    /// Moves with the answers.
    Recorded {
        /// When the attempt opened, in milliseconds since the Unix epoch.
        opened_ms: u64,
        /// The last answer, or the opening.
        now_ms: u64,
    },
}

impl Clock {
    pub(crate) fn of(kind: PluginKind, opened_ms: u64) -> Clock {
        match kind {
            PluginKind::Transform => Clock::Fixed,
            PluginKind::Tool => Clock::Real(Instant::now()),
            PluginKind::Agent => Clock::Recorded { opened_ms, now_ms: opened_ms },
        }
    }
    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Clock::Fixed => FIXED_MS,
            Clock::Real(_) => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
            }
            Clock::Recorded { now_ms, .. } => *now_ms,
        }
    }
    /// Nanoseconds since the attempt opened, in steps of [`STEP_NS`].
    pub(crate) fn monotonic_ns(&self) -> u64 {
        match self {
            Clock::Fixed => 0,
            Clock::Real(began) => began.elapsed().as_millis() as u64 * STEP_NS,
            Clock::Recorded { opened_ms, now_ms } => (now_ms - opened_ms).saturating_mul(STEP_NS),
        }
    }
    /// The real instant at which the monotonic clock will show this; nothing where waiting is not real, and a sleep is
    /// over at once.
    pub(crate) fn instant_at(&self, monotonic_ns: u64) -> Option<Instant> {
        match self {
            // A century is as good as for ever, and cannot overflow.
            Clock::Real(began) => {
                Some(*began + Duration::from_nanos(monotonic_ns).min(Duration::from_secs(3_153_600_000)))
            }
            Clock::Fixed | Clock::Recorded { .. } => None,
        }
    }
    /// An answer came at this time. Time never goes back.
    pub(crate) fn answered(&mut self, at_ms: u64) {
        if let Clock::Recorded { now_ms, .. } = self {
            *now_ms = at_ms.max(*now_ms);
        }
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut clock = linker.instance(INTERFACE)?;
    clock.func_wrap("now-ms", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((cx.data().clock.now_ms(),))
    })?;
    clock.func_wrap("monotonic-ns", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((cx.data().clock.monotonic_ns(),))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_time_moves_with_its_answers_only() {
        let mut clock = Clock::of(PluginKind::Agent, 5_000);
        assert_eq!((clock.now_ms(), clock.monotonic_ns()), (5_000, 0));
        clock.answered(7_000);
        clock.answered(6_000);
        assert_eq!((clock.now_ms(), clock.monotonic_ns()), (7_000, 2_000 * STEP_NS));
        assert!(clock.instant_at(u64::MAX).is_none());
    }
    #[test]
    fn sleeping_for_ever_does_not_overflow() {
        assert!(Clock::of(PluginKind::Tool, 0).instant_at(u64::MAX).is_some());
    }
}
