//! The time, as the kind of the plugin may know it.
//!
//! A tool sees the real time in steps of 1 ms. An agent sees the time at which its attempt opened, or of its last
//! recorded answer. A transform sees 2000-01-01T00:00:00Z, always.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::host;

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// The same as a point in time.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now_ms())
}

/// Time since an arbitrary point; it never goes backwards. Differences of two readings are durations.
pub fn monotonic() -> Duration {
    Duration::from_nanos(host::monotonic_ns())
}
