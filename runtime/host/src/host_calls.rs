//! What a guest's imports ask of the rest of the product: the seam between the sandbox and everything durable.
//!
//! The server implements it over the executor; a recording implementation replays an agent's answers. The host itself
//! knows neither.

use crate::call::CallScope;
use crate::inside::Mark;
use futures_util::future::BoxFuture;
use heddle_core::call_log::Budget;
use heddle_core::host_call::{Answered, HostCall};
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::time::Timestamp;

/// How much an operator cares about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every detail.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// Normal.
    Info,
    /// Unexpected, and survived.
    Warn,
    /// Something failed.
    Error,
}

/// How far along an attempt is. Transient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing; at most 128 bytes, control characters escaped.
    pub stage: String,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// For a person; at most 1,024 bytes, control characters escaped.
    pub message: String,
}

/// A plugin that an agent may call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolInfo {
    /// `tool:name` or `transform:name`.
    pub name: String,
    /// A few words.
    pub title: String,
    /// One or two sentences, for the model.
    pub description: String,
    /// JSON Schema of the input.
    pub input_schema: Json,
    /// JSON Schema of the output.
    pub output_schema: Json,
}

/// What a guest's imports ask of the rest. None of these may block a thread; `log` and `progress` are called from
/// within the sandbox and must be quick.
pub trait HostCalls: Send + Sync + 'static {
    /// The attempt has a sandbox and is about to begin in it. The mark says so to the process after this one, at least
    /// until the sandbox is given back. Who keeps it until the attempt's end is on disk is never told that an attempt
    /// which may have had its effect was only waiting.
    fn entered(&self, _scope: &CallScope, _mark: &Mark) {}
    /// One line of the plugin's log. Bounded and escaped by the host already.
    fn log(&self, scope: &CallScope, level: LogLevel, line: &str);
    /// What the attempt wrote beyond its limits, once and at its end: whole lines, and bytes of its output streams.
    fn dropped(&self, _scope: &CallScope, _lines: u64, _bytes: u64) {}
    /// How far along it is. May be dropped.
    fn progress(&self, scope: &CallScope, progress: Progress);
    /// What this step may call, in the order of the names.
    fn tools(&self, scope: &CallScope) -> Vec<ToolInfo>;
    /// Asks for something. Calls are asked in the order in which the guest makes them. Dropping the future cancels the
    /// call; an `Err` ends the attempt.
    fn ask(&self, scope: &CallScope, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>> {
        let failure = Failure::new(FailureKind::CapabilityDenied, nobody_grants(&call));
        let answered = Answered { answer: call.refused(failure), at: Timestamp(scope.clock_ms) };
        Box::pin(async move { Ok(answered) })
    }
    /// Which of several calls have ended first: `first` finds it out, and a record may know better.
    fn pick(&self, _scope: &CallScope, first: BoxFuture<'static, Vec<u32>>) -> BoxFuture<'static, Vec<u32>> {
        first
    }
    /// What an agent had spent when its segment began, and what it might still spend then.
    fn budget(&self, _scope: &CallScope) -> Budget {
        Budget::default()
    }
}

fn nobody_grants(call: &HostCall) -> String {
    match call {
        HostCall::Tool(call) => {
            format!("`{}` is not granted to this step; grant it in the workflow", call.name)
        }
        call => format!("nobody has granted `{}` to this plugin", call.capability()),
    }
}

/// Grants nothing and keeps nothing: for `describe`, and for plugins that need no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHostCalls;

impl HostCalls for NoHostCalls {
    fn log(&self, _scope: &CallScope, _level: LogLevel, _line: &str) {}
    fn progress(&self, _scope: &CallScope, _progress: Progress) {}
    fn tools(&self, _scope: &CallScope) -> Vec<ToolInfo> {
        Vec::new()
    }
}
