//! How the host ends a guest that asks for too much: an error that carries its own classification through wasmtime's
//! stack, so that nothing has to be read off a message.

use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};

/// Raised inside a host call; becomes the attempt's failure.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) kind: FailureKind,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) data: Option<Json>,
}

impl From<Failure> for Refusal {
    /// What ends the call ends the attempt.
    fn from(failure: Failure) -> Refusal {
        Refusal { kind: failure.kind, code: failure.code, message: failure.message, data: failure.data }
    }
}

impl Refusal {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Refusal {
        Refusal { kind, code: None, message: message.into(), data: None }
    }
    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Refusal {
        self.code = Some(code.into());
        self
    }
}
