//! The store's own time. Leases run on a clock that neither jumps nor goes backwards, so that a corrected system time
//! or a laptop that slept does not take a node's runs away; what is due, expired or old is judged by the time of day,
//! since that is what the rest of the program wrote down. Tests set both by hand instead of sleeping.

use heddle_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where a store gets its time from.
#[derive(Clone, Debug)]
pub enum StoreClock {
    /// The machine's clocks.
    System {
        /// When this clock was made, by the time of day.
        made: Timestamp,
        /// The same instant, by the monotonic clock.
        origin: Instant,
    },
    /// Milliseconds since the Unix epoch, set by hand.
    Manual(Arc<AtomicU64>),
}

impl StoreClock {
    /// The machine's clocks.
    pub fn system() -> StoreClock {
        StoreClock::System { made: time_of_day(), origin: Instant::now() }
    }
    /// A clock that stands still until the number is changed.
    pub fn manual(start: Timestamp) -> (StoreClock, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(start.0));
        (StoreClock::Manual(time.clone()), time)
    }
    /// The time of day: for what is due, expired or old.
    pub fn wall(&self) -> Timestamp {
        match self {
            StoreClock::System { .. } => time_of_day(),
            StoreClock::Manual(time) => Timestamp(time.load(Ordering::SeqCst)),
        }
    }
    /// Time that only goes forward, evenly: for leases.
    pub fn steady(&self) -> Timestamp {
        match self {
            StoreClock::System { made, origin } => made.plus_ms(origin.elapsed().as_millis() as u64),
            StoreClock::Manual(time) => Timestamp(time.load(Ordering::SeqCst)),
        }
    }
}

fn time_of_day() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}
