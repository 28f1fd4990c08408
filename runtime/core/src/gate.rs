//! What stands before an attempt besides the want of a sandbox: a [`rate`] that a key may have, and a [`circuit`] that
//! is open while what is called does not answer. Both are kept for a node, in its memory; here is only what they
//! decide.

pub mod circuit;
pub mod rate;

use crate::outcome::{Failure, FailureKind, Outcome};
use std::sync::Arc;

/// What an attempt must pass, with its keys at hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gates {
    /// A circuit, which is asked first: who may not call needs no turn.
    pub circuit: Option<(Arc<str>, circuit::Rule)>,
    /// A rate.
    pub rate: Option<(Arc<str>, rate::Rule)>,
}

impl Gates {
    /// Whether there is nothing to pass.
    pub fn is_open(&self) -> bool {
        self.circuit.is_none() && self.rate.is_none()
    }
}

/// Whether a failure speaks against what was called, and not against what it was called with or by whom.
fn speaks_against(failure: &Failure) -> bool {
    use FailureKind::*;
    match failure.kind {
        GuestError => failure.retryable,
        FuelExhausted | CpuDeadline | DeadlineExceeded | MemoryLimit | TableLimit | StackOverflow | Trap
        | GuestExit | InvalidOutput | OutputTooLarge | HostcallDataLimit | HandleLimit | HostcallLimit
        | EgressFailed | EgressTimeout | HeartbeatTimeout => true,
        _ => false,
    }
}

/// What an attempt's end says to the circuit that it went through.
pub fn said(outcome: &Outcome) -> circuit::Said {
    match outcome {
        Outcome::Done(_) | Outcome::Continue(_) => circuit::Said::Well,
        Outcome::Failed(failure) if speaks_against(failure) => circuit::Said::Ill,
        // It answered, and the answer is no.
        Outcome::Failed(Failure { kind: FailureKind::GuestError, .. }) => circuit::Said::Well,
        Outcome::Failed(_) => circuit::Said::Nothing,
    }
}
