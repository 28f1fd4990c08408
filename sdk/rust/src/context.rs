//! Who is being run, and for whom.

use crate::host;

/// The attempt that this code runs in. Handed to tools that ask for it and to agents; a transform may not know, or its
/// output would depend on more than its input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The owner of the run.
    pub tenant: String,
    /// The id of the run.
    pub run: String,
    /// The step's id in the workflow.
    pub step: String,
    /// The index of the item, where the step is wrapped by `forEach`.
    pub item: Option<u32>,
    /// Counts from 1.
    pub attempt: u32,
    /// Equal for every attempt of the same step and item, and another one for each call that an agent makes: hand it to
    /// any service that honours such keys.
    pub idempotency_key: String,
    /// When the host will end this attempt, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// Fuel left when the attempt asked for its context.
    pub fuel_left: u64,
    /// W3C trace context of the step's span, if the run has one.
    pub traceparent: Option<String>,
}

impl Context {
    /// Tells whoever watches the run how far along the work is. Transient: it is never stored and may be dropped.
    ///
    /// `percent` is 0 to 100, or `None` where it is not known; `stage` and `message` are cut at 128 and 1,024 bytes.
    pub fn progress(&self, stage: &str, percent: Option<u8>, message: &str) {
        host::progress(stage, percent, message);
    }
}
