//! Values that a plugin keeps for itself, within its tenant, on disk when a call returns.
//!
//! A step that is tried again finds what it wrote before. So write what is the same however often it is written, or use
//! [`set_if`]: it writes only what nobody has written since.

use std::time::Duration;

use crate::{Failure, host};

/// A value with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// Another one after each write.
    pub version: u64,
}

/// Why not. Through `?` it becomes a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator has not granted it.
    Denied(String),
    /// The key, the value or the number of them is larger than it may be.
    TooLarge(String),
    /// It has another version: this one; 0 where it is not there.
    Conflict(u64),
    /// It is no whole number, or the sum would be none of 64 bits.
    NotANumber(String),
    /// The store did not answer.
    Failed(String),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Denied(why) => Failure::permanent("kv_denied", why),
            Fault::TooLarge(why) => Failure::permanent("kv_too_large", why),
            Fault::Conflict(version) => {
                Failure::retryable("kv_conflict", format!("somebody else has written version {version}"))
            }
            Fault::NotANumber(why) => Failure::permanent("kv_not_a_number", why),
            Fault::Failed(why) => Failure::retryable("kv_failed", why),
        }
    }
}

/// How long a value is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Until it is removed.
    #[default]
    Always,
    /// No longer than this.
    For(Duration),
}

impl Keep {
    fn ttl_ms(self) -> Option<u64> {
        match self {
            Keep::Always => None,
            Keep::For(time) => Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Reads a value.
///
/// # Errors
/// Why it cannot be read.
pub fn get(key: &str) -> Result<Option<Entry>, Fault> {
    host::kv_get(key)
}

/// Writes a value, and gives its version.
///
/// # Errors
/// Why it was not written.
pub fn set(key: &str, value: &[u8], keep: Keep) -> Result<u64, Fault> {
    host::kv_set(key, value, None, keep.ttl_ms())
}

/// Writes a value only if it still has this version; 0 for one that is not there.
///
/// # Errors
/// [`Fault::Conflict`] where somebody else was quicker; otherwise why it was not written.
pub fn set_if(key: &str, value: &[u8], version: u64, keep: Keep) -> Result<u64, Fault> {
    host::kv_set(key, value, Some(version), keep.ttl_ms())
}

/// Adds to a number, and gives the sum. What is not there is 0.
///
/// # Errors
/// Why nothing was added.
pub fn increment(key: &str, by: i64) -> Result<i64, Fault> {
    host::kv_increment(key, by)
}

/// Removes a value. `false` where there was none.
///
/// # Errors
/// Why it was not removed.
pub fn delete(key: &str) -> Result<bool, Fault> {
    host::kv_delete(key)
}

/// Keys that begin so, behind `after`, in their order: at most 1,000.
///
/// # Errors
/// Why they cannot be listed.
pub fn keys(prefix: &str, after: &str, limit: u32) -> Result<Vec<String>, Fault> {
    host::kv_keys(prefix, after, limit)
}
