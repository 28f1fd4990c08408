//! What a guest's imports ask of the rest of the product: the seam between the sandbox and everything durable.
//!
//! The server implements it over the executor; a recording implementation replays an agent's answers. The host itself
//! knows neither.

use crate::call::CallScope;
use crate::inside::Mark;
use futures_util::future::BoxFuture;
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::outside::{
    ArtifactAnswer, ArtifactCall, ArtifactFault, HttpFault, HttpFaultKind, HttpRequest, HttpResponse,
    KvAnswer, KvCall, KvFault,
};

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

/// How a tool call ended, and when: an agent's clock goes by the times of its answers, so that a replay with recorded
/// answers sees the recorded times.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolAnswer {
    /// The output, or why there is none.
    pub result: Result<Json, Failure>,
    /// Milliseconds since the Unix epoch at which the answer was recorded.
    pub at_ms: u64,
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
    /// Sends a request to the outside. Dropping the future cancels it.
    fn http(
        &self,
        _scope: &CallScope,
        _request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        let fault = HttpFault::new(HttpFaultKind::Denied, nobody_grants("http"));
        Box::pin(async move { Err(fault) })
    }
    /// What stands for a secret, or why the plugin has none of this name.
    fn secret(&self, _scope: &CallScope, _name: &str) -> Result<String, String> {
        Err(nobody_grants("secret"))
    }
    /// What the plugin is told: an object.
    fn config(&self, _scope: &CallScope) -> Option<Json> {
        None
    }
    /// Reads or writes a value that the plugin keeps.
    fn kv(&self, _scope: &CallScope, _call: KvCall) -> BoxFuture<'static, Result<KvAnswer, KvFault>> {
        Box::pin(async { Err(KvFault::Denied(nobody_grants("kv"))) })
    }
    /// Keeps or reads a file of the run.
    fn artifact(
        &self,
        _scope: &CallScope,
        _call: ArtifactCall,
    ) -> BoxFuture<'static, Result<ArtifactAnswer, ArtifactFault>> {
        Box::pin(async { Err(ArtifactFault::Denied(nobody_grants("artifacts"))) })
    }
    /// Calls another plugin. `index` counts the calls of this attempt from 0, in the order in which they were started.
    /// Dropping the future cancels the call.
    fn call_tool(
        &self,
        scope: &CallScope,
        name: String,
        input: Json,
        index: u64,
    ) -> BoxFuture<'static, ToolAnswer>;
}

fn nobody_grants(capability: &str) -> String {
    format!("nobody has granted `{capability}` to this plugin")
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
    fn call_tool(
        &self,
        scope: &CallScope,
        name: String,
        _input: Json,
        _index: u64,
    ) -> BoxFuture<'static, ToolAnswer> {
        let message = format!("`{name}` is not granted to this step; grant it in the workflow");
        let answer = ToolAnswer {
            result: Err(Failure::new(FailureKind::CapabilityDenied, message)),
            at_ms: scope.clock_ms,
        };
        Box::pin(async move { answer })
    }
}
