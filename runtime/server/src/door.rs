//! What the doors for other programs share: what is offered at them, and how a person answers what a run asks.
//!
//! A door turns the words of a protocol into wishes of the executor, and runs into the words of the protocol. `http` is
//! the door for programs of our own; `mcp` and `a2a` are those for clients that others wrote.

pub(crate) mod asks;
pub(crate) mod offer;

use crate::http::caller::Caller;
use crate::http::guard::Trace;
use hyper::http::Extensions;
use std::sync::Arc;

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    /// As the headers say.
    pub(crate) caller: Caller,
    /// Under which name runs are asked for.
    pub(crate) submits: Arc<str>,
    /// Under which name what a run asks is answered.
    pub(crate) decides: Arc<str>,
    /// The trace of the request.
    pub(crate) traceparent: Option<String>,
}

impl Who {
    /// Who sent a request; these names stand for somebody who is not known.
    pub(crate) fn of(request: Option<&Extensions>, submits: &str, decides: &str) -> Who {
        let caller = request.and_then(|parts| parts.get::<Caller>()).cloned().unwrap_or_default();
        let trace = request.and_then(|parts| parts.get::<Trace>());
        Who {
            submits: caller.user.clone().unwrap_or_else(|| submits.into()),
            decides: caller.user.clone().unwrap_or_else(|| decides.into()),
            traceparent: trace.and_then(|trace| trace.parent.clone()),
            caller,
        }
    }
}
