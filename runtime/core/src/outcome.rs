//! How an attempt ended, as a value. The list is closed: traps, limits and faults of our own are all here, and every
//! API, metric and journal row uses these words.

use crate::json::Json;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// The three kinds of plugin. The kind decides what a plugin can touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PluginKind {
    /// Pure: fixed clock and randomness, no effects; always cached.
    Transform,
    /// Acts on the world within its grants.
    Tool,
    /// Decides as it goes. Its calls and their answers are recorded, so that one that was cut off goes on where it was.
    Agent,
}

impl PluginKind {
    /// The word before the colon in `kind:name`.
    pub fn word(self) -> &'static str {
        match self {
            PluginKind::Transform => "transform",
            PluginKind::Tool => "tool",
            PluginKind::Agent => "agent",
        }
    }
    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<PluginKind> {
        [PluginKind::Transform, PluginKind::Tool, PluginKind::Agent].into_iter().find(|k| k.word() == word)
    }
    /// Whether running it twice with the same input can be told apart from running it once.
    pub fn is_pure(self) -> bool {
        self == PluginKind::Transform
    }
}

macro_rules! failure_kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal $retry:ident;)*) => {
        /// Why an attempt did not succeed. Closed: a new one is a line here, a page in the docs, a test.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FailureKind { $($(#[$doc])* #[serde(rename = $word)] $name,)* }

        impl FailureKind {
            /// Every kind, in the order of this file.
            pub const ALL: &[FailureKind] = &[$(FailureKind::$name),*];
            /// The stable word of the wire.
            pub fn word(self) -> &'static str { match self { $(FailureKind::$name => $word,)* } }
            /// Whether trying again may help, where neither the plugin nor the workflow says otherwise.
            pub fn retryable(self) -> bool { match self { $(FailureKind::$name => failure_kinds!(@$retry),)* } }
        }
    };
    (@again) => { true };
    (@never) => { false };
}

impl FailureKind {
    /// Whether an agent that ended so is to be told, when it is tried again, what it was told before: where it was cut
    /// off, and not where it failed by itself.
    pub fn keeps_calls(self) -> bool {
        use FailureKind::*;
        matches!(
            self,
            DeadlineExceeded | HeartbeatTimeout | Interrupted | Cancelled | StoreUnavailable | Internal
        )
    }
}

failure_kinds! {
    /// The fuel of the attempt ran out.
    FuelExhausted = "fuel_exhausted" never;
    /// More CPU time than allowed, while fuel was left.
    CpuDeadline = "cpu_deadline" never;
    /// The wall-clock deadline of the attempt, the step or the run passed.
    DeadlineExceeded = "deadline_exceeded" again;
    /// Linear memory past the limit.
    MemoryLimit = "memory_limit" never;
    /// Table elements past the limit.
    TableLimit = "table_limit" never;
    /// The guest's stack overflowed.
    StackOverflow = "stack_overflow" never;
    /// Any other trap; `code` is the sub-code, such as `unreachable`.
    Trap = "trap" never;
    /// The plugin returned a failure of its own; `retryable` is what it said.
    GuestError = "guest_error" never;
    /// The guest called `exit`.
    GuestExit = "guest_exit" never;
    /// The input does not match the plugin's input schema.
    InvalidInput = "invalid_input" never;
    /// The output is not JSON, too deep, has duplicate keys, or does not match the plugin's output schema.
    InvalidOutput = "invalid_output" never;
    /// The output is larger than allowed.
    OutputTooLarge = "output_too_large" never;
    /// More data crossed the component boundary than allowed.
    HostcallDataLimit = "hostcall_data_limit" never;
    /// Too many handles.
    HandleLimit = "handle_limit" never;
    /// Too many host calls, or too many at once.
    HostcallLimit = "hostcall_limit" never;
    /// The plugin used a capability that it was not granted.
    CapabilityDenied = "capability_denied" never;
    /// The address may not be reached.
    EgressDenied = "egress_denied" never;
    /// The other side failed.
    EgressFailed = "egress_failed" again;
    /// The other side did not answer in time.
    EgressTimeout = "egress_timeout" again;
    /// The bytes are not a component this host accepts.
    ComponentInvalid = "component_invalid" never;
    /// Compiling took more time or memory than allowed.
    CompileLimit = "compile_limit" never;
    /// A signature is demanded and missing.
    SignatureRequired = "signature_required" never;
    /// The signature does not hold.
    SignatureInvalid = "signature_invalid" never;
    /// An agent asked for something else than its record says.
    Diverged = "diverged" never;
    /// No heartbeat within the time the step sets.
    HeartbeatTimeout = "heartbeat_timeout" again;
    /// A compensation failed.
    CompensationFailed = "compensation_failed" never;
    /// An expression of the workflow failed while the run was under way.
    ExpressionFailed = "expression_failed" never;
    /// A person said no, or nobody said yes in time.
    Rejected = "rejected" never;
    /// More than `tolerateFailures` items of a `forEach` failed.
    ItemsFailed = "items_failed" never;
    /// A quota or a hard maximum is used up.
    QuotaExceeded = "quota_exceeded" never;
    /// Somebody cancelled it.
    Cancelled = "cancelled" never;
    /// The host went away while it ran.
    Interrupted = "interrupted" again;
    /// The circuit breaker is open.
    CircuitOpen = "circuit_open" again;
    /// Turns, tokens or money are used up.
    BudgetExhausted = "budget_exhausted" never;
    /// The store did not answer.
    StoreUnavailable = "store_unavailable" again;
    /// A fault of ours.
    Internal = "internal" never;
}

/// Why an attempt did not succeed, with what a person and a retry policy need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind, from the closed list.
    pub kind: FailureKind,
    /// A finer word: the plugin's own code, or the trap's sub-code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Milliseconds before which a try is useless.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// What the plugin added.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Json>,
}

impl Failure {
    /// A failure with its kind's own retryability and nothing finer.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            code: None,
            message: message.into(),
            retryable: kind.retryable(),
            retry_after_ms: None,
            data: None,
        }
    }
    /// The same, with a finer word.
    pub fn with_code(mut self, code: impl Into<String>) -> Failure {
        self.code = Some(code.into());
        self
    }
}

/// What an attempt used, measured by the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Fuel consumed.
    pub fuel: u64,
    /// The largest sum of the sandbox's linear memories, in bytes.
    pub memory_peak_bytes: u64,
    /// Wall time in the sandbox, in microseconds.
    pub wall_us: u64,
    /// CPU time in the sandbox, in microseconds.
    pub cpu_us: u64,
    /// Calls from the guest to the host.
    pub hostcalls: u64,
    /// Time for which it waited for a sandbox before, in microseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub queued_us: u64,
    /// What its calls of language models cost.
    #[serde(skip_serializing_if = "Spent::is_nothing")]
    pub spent: Spent,
}

/// Tokens and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spent {
    /// Calls of a model.
    pub model_calls: u64,
    /// Tokens that were read, those from the provider's cache included.
    pub input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// Millionths of the operator's currency.
    pub cost_micros: u64,
}

impl Spent {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Spent::default()
    }
    /// Both together.
    pub fn and(self, other: Spent) -> Spent {
        Spent {
            model_calls: self.model_calls.saturating_add(other.model_calls),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
        }
    }
    /// What is left of this where that is taken away.
    pub fn without(self, other: Spent) -> Spent {
        Spent {
            model_calls: self.model_calls.saturating_sub(other.model_calls),
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            cost_micros: self.cost_micros.saturating_sub(other.cost_micros),
        }
    }
    /// Tokens, read and written.
    pub fn tokens(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// As events tell it.
    pub fn told(&self) -> Value {
        let int = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let mut told = vec![
            ("fuel", int(self.fuel)),
            ("memoryPeakBytes", int(self.memory_peak_bytes)),
            ("wallUs", int(self.wall_us)),
            ("cpuUs", int(self.cpu_us)),
            ("hostcalls", int(self.hostcalls)),
        ];
        if !self.spent.is_nothing() {
            let Spent { model_calls, input_tokens, output_tokens, cost_micros } = self.spent;
            let spent = [
                ("modelCalls", int(model_calls)),
                ("inputTokens", int(input_tokens)),
                ("outputTokens", int(output_tokens)),
                ("costMicros", int(cost_micros)),
            ];
            told.push(("spent", Value::map(spent)));
        }
        Value::map(told)
    }
    /// Both together: sums, and the higher of the peaks.
    pub fn and(self, other: Usage) -> Usage {
        Usage {
            fuel: self.fuel.saturating_add(other.fuel),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
            wall_us: self.wall_us.saturating_add(other.wall_us),
            cpu_us: self.cpu_us.saturating_add(other.cpu_us),
            hostcalls: self.hostcalls.saturating_add(other.hostcalls),
            queued_us: self.queued_us.saturating_add(other.queued_us),
            spent: self.spent.and(other.spent),
        }
    }
}

/// What an attempt produced.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The output, in canonical form.
    Done(Json),
    /// An agent's checkpoint: start it again with this state.
    Continue(Json),
    /// It failed, for this reason.
    Failed(Failure),
}

/// The end of an attempt: what it produced and what it used.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptEnd {
    /// What it produced.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
}

impl AttemptEnd {
    /// A failure that used nothing.
    pub fn failed(kind: FailureKind, message: impl Into<String>) -> AttemptEnd {
        AttemptEnd { outcome: Outcome::Failed(Failure::new(kind, message)), usage: Usage::default() }
    }
}
