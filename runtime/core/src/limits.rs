//! Every maximum that can be set, in one file, with its unit. Those that cannot stand in `docs/guide/limits.md`.
//!
//! A limit is one line of the table below. It has a default and a hard maximum: a configuration may set any value
//! from 1 to the hard maximum, a step or a tenant may only lower it. Zero is refused. `heddle limits show` prints the
//! table; each refusal names the limit, its value and its setting (`limits.<name>` in `heddle.toml`).

use crate::outcome::PluginKind;
use serde::{Deserialize, Serialize};

macro_rules! limits {
    ($($name:ident: $unit:ident = $default:expr, max $max:expr, $why:literal;)*) => {
        /// The limits in force on a node: the defaults, changed by its configuration.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $(#[doc = $why] pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Limits { Limits { $($name: $default,)* } }
        }

        /// The table: one row a limit.
        pub const TABLE: &[Row] = &[$(Row { name: stringify!($name), unit: Unit::$unit, default: $default, max: $max, why: $why },)*];

        impl Limits {
            /// The value of the limit with this name.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name { $(stringify!($name) => Some(self.$name),)* _ => None }
            }
            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name { $(stringify!($name) => Some(&mut self.$name),)* _ => None }
            }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

limits! {
    // One attempt in its sandbox.
    fuel: Fuel = 5_000_000_000, max 100_000_000_000, "Instructions, roughly, of one attempt of a tool or an agent.";
    transform_fuel: Fuel = 200_000_000, max 100_000_000_000, "Instructions, roughly, of one attempt of a transform.";
    memory_bytes: Bytes = 128 * MIB, max 2048 * MIB, "Sum of the linear memories of one sandbox.";
    table_elements: Count = 100_000, max 1_000_000, "Sum of the table elements of one sandbox.";
    wasm_stack_bytes: Bytes = 512 * KIB, max 1024 * KIB, "Stack of the guest's own frames.";
    cpu_ms: Millis = 10 * SECOND, max 5 * MINUTE, "CPU time of one attempt.";
    step_wall_ms: Millis = MINUTE, max 15 * MINUTE, "Wall time of one attempt.";
    epoch_tick_ms: Millis = 10, max 100, "How often a running guest gives way to others.";
    json_depth: Count = 64, max 64, "Levels of nesting of any JSON: bodies, documents, what plugins return and hand over.";
    input_bytes: Bytes = 8 * MIB, max 64 * MIB, "Input of one step.";
    output_bytes: Bytes = 8 * MIB, max 64 * MIB, "Output of one step.";
    hostcall_bytes: Bytes = 16 * MIB, max 128 * MIB, "Data in one crossing of the component boundary; must exceed `output_bytes`.";
    component_handles: Count = 10_000, max 100_000, "Handles that one sandbox may hold.";
    host_resources: Count = 10_000, max 1_000_000, "Host-side resources that one sandbox may hold.";
    pollables: Count = 1_000, max 10_000, "Pollables in one `poll`.";
    hostcalls: Count = 1_000_000, max 100_000_000, "Calls from one attempt to the host.";
    hostcall_fuel: Fuel = 100, max 10_000, "Fuel that a host call costs, besides 1 for each 64 bytes that it carries.";
    random_bytes: Bytes = 64 * KIB, max 1024 * KIB, "Random bytes in one call.";
    stdio_bytes: Bytes = 64 * KIB, max 1024 * KIB, "What is kept of each of stdout and stderr; the rest is dropped and counted.";
    log_bytes: Bytes = 256 * KIB, max 4 * MIB, "Log of one attempt; the rest is dropped and counted.";
    log_line_bytes: Bytes = 8 * KIB, max 64 * KIB, "One log line; the rest is cut.";
    log_lines_per_second: Count = 1_000, max 100_000, "Log lines of one attempt in a second; the rest is dropped and counted.";
    agent_segments: Count = 100, max 10_000, "Times that an agent may return `continue` in one attempt.";
    tool_calls: Count = 256, max 10_000, "Tool calls of one agent attempt.";
    tool_calls_at_once: Count = 6, max 64, "Tool calls of one agent attempt that run at the same time.";

    model_calls: Count = 256, max 10_000, "Calls of a language model of one agent attempt, those included that are told from its record.";
    model_thread_bytes: Bytes = 16 * MIB, max 256 * MIB, "Messages of all threads of one agent, and answers of models that it has not taken.";
    model_ms: Millis = 5 * MINUTE, max 30 * MINUTE, "One call of a language model, its retries and fallbacks included.";
    model_tries: Count = 3, max 10, "Tries of one call at one provider that is busy or fails.";
    agent_calls: Count = 10_000, max 1_000_000, "Calls to the host that the record of one agent has, those to look something up included.";
    call_log_bytes: Bytes = 256 * MIB, max 16_384 * MIB, "What the record of one agent has of requests and answers.";
    agent_tokens: Count = 1_000_000, max 1_000_000_000, "Tokens, read and written, that one agent may spend in one step.";
    agent_cost_micros: Count = 5_000_000, max 1_000_000_000_000, "What one agent may spend in one step, in millionths of the operator's currency.";

    // Loading a component.
    component_bytes: Bytes = 32 * MIB, max 128 * MIB, "Upload of one component.";
    function_body_bytes: Bytes = MIB, max 7_654_321, "Body of one function.";
    functions: Count = 50_000, max 1_000_000, "Functions of one component.";
    function_nesting: Count = 1_000, max 10_000, "Nested blocks of one function.";
    core_instances: Count = 200, max 1_000, "Core instances of one component.";
    memories: Count = 32, max 100, "Linear memories of one component.";
    tables: Count = 64, max 100, "Tables of one component.";
    compile_ms: Millis = 60 * SECOND, max 10 * MINUTE, "Compiling one component, in a process of its own.";
    compile_bytes: Bytes = 2048 * MIB, max 16_384 * MIB, "Address space of the compiling process.";
    compiles_at_once: Count = 2, max 64, "Components that compile at the same time.";
    describe_ms: Millis = 5 * SECOND, max MINUTE, "The `describe` call of a component being loaded.";

    // One workflow.
    document_bytes: Bytes = MIB, max 4 * MIB, "Text of one workflow.";
    document_nodes: Count = 50_000, max 250_000, "Nodes of one YAML document, aliases counted where they are used.";
    document_aliases: Count = 100, max 1_000, "Aliases in one YAML document.";
    workflow_steps: Count = 1_000, max 10_000, "Steps in one workflow.";
    expression_bytes: Bytes = KIB, max 4 * KIB, "One expression.";
    expression_operators: Count = 64, max 256, "Operators in one expression.";
    expression_depth: Count = 16, max 32, "Nesting of one expression.";
    expression_budget: Count = 100_000, max 10_000_000, "Evaluation steps of one expression.";
    expression_result_bytes: Bytes = 8 * MIB, max 64 * MIB, "What one expression may build.";

    // One run.
    fan_out: Count = 10_000, max 10_000, "Items of one `forEach`.";
    run_steps: Count = 25_000, max 25_000, "Steps of one run, items counted.";
    child_depth: Count = 8, max 64, "Runs above one run, where workflows run workflows.";
    run_parallel: Count = 64, max 10_000, "Attempts of one run that are under way at the same time.";
    retry_attempts: Count = 10, max 100, "Attempts of one step that a retry policy may ask for, the first included.";
    interruptions: Count = 3, max 10, "Times in a row that the host may go away under a step before the step fails.";
    run_wall_ms: Millis = HOUR, max 30 * DAY, "A whole run, from its start.";
    run_unsynced_events: Count = 256, max 4_096, "Events of one run that may be ahead of the disk.";
    event_bytes: Bytes = 16 * KIB, max 256 * KIB, "What one event says that a step emits.";
    signals: Count = 1_000, max 100_000, "Signals of one run that no step has taken; further ones are refused.";
    interventions: Count = 1_000, max 100_000, "Pauses of one run and decisions of its approvals, by people; further ones are refused. Letting it go on and cancelling it are not.";
    approvers: Count = 16, max 256, "People whose approval one step may ask for.";
    aftermath_ms: Millis = 15 * MINUTE, max 24 * HOUR, "What runs after the steps: `onError`, compensation and `finally` together.";
    inline_bytes: Bytes = 64 * KIB, max 256 * KIB, "An output kept in the journal; a larger one is kept by digest.";
    run_inline_bytes: Bytes = 16 * MIB, max 256 * MIB, "Outputs of one run kept in memory; past it, smaller outputs go by digest too.";
    labels: Count = 16, max 64, "Labels of one run.";
    label_bytes: Bytes = 256, max 4 * KIB, "The name or the value of one label.";
    run_stored_bytes: Bytes = 1024 * MIB, max 65_536 * MIB, "Outputs of one run kept by digest, in sum.";

    // Schedules.
    schedules: Count = 16, max 256, "Schedules of one workflow.";
    concurrency_rules: Count = 4, max 16, "Rules of one workflow about how many runs there may be at once.";
    concurrency_limit: Count = 10_000, max 100_000, "Runs that one such rule may let in at once.";
    flow_key_bytes: Bytes = 256, max 1024, "A key of `concurrency`, `priority`, `idempotency`, `rateLimit` or `circuitBreaker`.";
    schedule_interval_ms: Millis = SECOND, max DAY, "The least time between two ticks of a schedule.";
    schedule_buffer: Count = 100, max 10_000, "Ticks of one schedule that wait for a run to end, or whose run is owed.";
    schedule_backfill: Count = 100, max 10_000, "Ticks of one backfill.";
    schedule_history: Count = 50, max 1_000, "Ticks of one schedule that are remembered with what became of them.";

    // What plugins do outside.
    registry_ms: Millis = 2 * MINUTE, max 15 * MINUTE, "Pulling one component from an OCI registry, or pushing one there.";
    artifacts: Count = 32, max 1_000, "Files that one attempt may leave with its run.";
    run_artifacts: Count = 10_000, max 100_000, "Files that one run may keep.";
    artifact_bytes: Bytes = 8 * MIB, max 64 * MIB, "One of them.";
    artifacts_bytes: Bytes = 16 * MIB, max 256 * MIB, "All of them, of one attempt.";
    http_calls: Count = 32, max 1_000, "Requests that one attempt may send.";
    http_at_once: Count = 6, max 64, "Of these, at the same time; further ones wait.";
    http_ms: Millis = MINUTE, max 15 * MINUTE, "One request, from looking up the name to the last byte of the answer.";
    http_connect_ms: Millis = 5 * SECOND, max MINUTE, "Of that, looking up the name and connecting.";
    http_first_byte_ms: Millis = 30 * SECOND, max 15 * MINUTE, "Of that, waiting for the answer to begin.";
    http_idle_ms: Millis = 30 * SECOND, max 5 * MINUTE, "Of that, waiting for the next bytes of the answer.";
    http_request_bytes: Bytes = 8 * MIB, max 64 * MIB, "The body of one request.";
    http_response_bytes: Bytes = 8 * MIB, max 64 * MIB, "The body of one answer, as it comes: nothing is unpacked.";
    http_held_bytes: Bytes = 16 * MIB, max 256 * MIB, "Answers of one attempt that have come and that the guest has not taken.";
    http_headers: Count = 100, max 256, "Headers of one request, and of one answer.";
    http_header_bytes: Bytes = 64 * KIB, max 256 * KIB, "All of them, of one request and of one answer.";
    kv_key_bytes: Bytes = 512, max 1024, "A key under which a plugin keeps a value.";
    kv_value_bytes: Bytes = 64 * KIB, max 1024 * KIB, "A value that a plugin keeps.";
    kv_entries: Count = 10_000, max 1_000_000, "Values that one plugin keeps.";
    secrets_used: Count = 16, max 64, "Secrets that one attempt asks for.";

    // Triggers.
    triggers: Count = 16, max 256, "Triggers of one workflow.";
    trigger_depth: Count = 16, max 64, "Runs that have started one another by triggers, the first one included.";
    hook_bytes: Bytes = 256 * KIB, max 1024 * KIB, "The body of what others send to a trigger's address.";

    // Webhooks.
    notify: Count = 8, max 64, "Endpoints under `notify` of one workflow.";
    webhooks: Count = 100, max 10_000, "Webhooks of one tenant that were made over the API.";
    webhook_ms: Millis = 15 * SECOND, max MINUTE, "One try to deliver, from looking up the name to the answer.";
    webhook_bytes: Bytes = 20 * KIB, max 64 * KIB, "One message to a webhook; a longer one is cut down to what happened to which run.";
    webhook_tries: Count = 10, max 20, "Tries to deliver one message.";
    webhook_retry_ms: Millis = 5 * SECOND, max HOUR, "The wait before the second try; each further one is five times longer, a day at most.";
    webhook_rotation_ms: Millis = DAY, max 30 * DAY, "How long the secret before a rotation signs as well.";
    webhooks_at_once: Count = 32, max 1_000, "Messages to webhooks that a node sends at the same time.";
    webhook_endpoint_at_once: Count = 4, max 100, "Of these, to one endpoint.";
    deliveries_waiting: Count = 100_000, max 10_000_000, "Messages to webhooks that wait; further ones are recorded as failed, and can be sent by hand.";

    // One node.
    runs_active: Count = 1_000, max 100_000, "Runs that a node drives at the same time; others wait in the store.";
    runs_queued: Count = 10_000, max 1_000_000, "Runs that wait for a node.";
    runs_for_slot: Count = 100_000, max 1_000_000, "Runs that wait for a slot of their `concurrency`; further ones that would have to wait for one are refused.";
    runs_for_time: Count = 100_000, max 1_000_000, "Runs that wait for the time at which they are to begin; further ones are refused.";
    runs_parked: Count = 1_000_000, max 10_000_000, "Runs that have begun and wait, without a driver, for a time, a signal, a person or another run; past it no run is accepted.";
    start_ahead_ms: Millis = 366 * DAY, max 3_650 * DAY, "How far ahead `startAt` and `delay` of a run may lie.";
    gate_keys: Count = 10_000, max 1_000_000, "Keys of rate limits that a node keeps, and as many of circuit breakers; idle ones are forgotten for new ones, and one workflow alone has at most half.";
    attempts_at_once: Count = 64, max 1_000, "Sandboxes that a node runs at the same time.";
    attempts_kept: Count = 4, max 1_000, "Of the sandboxes of a node, those that only workflows without one may take, a quarter at most; and as many besides for plugins known to be quick.";
    guest_memory_bytes: Bytes = 4_096 * MIB, max 1_048_576 * MIB, "Guest memory of a node, counted as it is used.";
    code_bytes: Bytes = 1024 * MIB, max 65_536 * MIB, "Machine code of components kept in memory; what falls out comes back from its file.";
    output_cache_bytes: Bytes = 64 * MIB, max 16_384 * MIB, "Step outputs cached in memory.";
    stored_cache_bytes: Bytes = 1024 * MIB, max 1_048_576 * MIB, "Step outputs cached in the store, per tenant.";
    plan_cache: Count = 1_000, max 100_000, "Checked workflows kept in memory.";
    lease_ms: Millis = 15 * SECOND, max 10 * MINUTE, "How long a node's lease lasts without renewal.";
    drain_ms: Millis = 30 * SECOND, max 10 * MINUTE, "How long running attempts may finish after SIGTERM.";
    retention_ms: Millis = 30 * DAY, max 3_650 * DAY, "How long a finished run is kept.";
    wal_bytes: Bytes = 64 * MIB, max 4_096 * MIB, "Write-ahead log of the store before a checkpoint is forced.";

    // The API.
    body_bytes: Bytes = MIB, max 64 * MIB, "Body of one request, components excepted.";
    header_bytes: Bytes = 64 * KIB, max 256 * KIB, "Headers of one request.";
    headers: Count = 100, max 1_000, "Headers of one request, counted.";
    url_bytes: Bytes = 8 * KIB, max 64 * KIB, "Request target.";
    header_read_ms: Millis = 10 * SECOND, max 60 * SECOND, "Reading the headers of one request.";
    body_read_ms: Millis = 30 * SECOND, max 10 * MINUTE, "Reading the body of one request.";
    connections: Count = 10_000, max 1_000_000, "Open connections.";
    connections_per_ip: Count = 256, max 100_000, "Open connections from one address.";
    sse_backlog: Count = 256, max 10_000, "Events that a slow subscriber may be behind before it is dropped.";
    subscriptions: Count = 100, max 100_000, "Event streams of one tenant, subscriptions of its WebSockets counted.";
    feed_backlog: Count = 10_000, max 1_000_000, "Committed rows of all runs that a slow reader of many runs may be behind before it is dropped.";
    ws_connections: Count = 32, max 10_000, "Open WebSockets of one tenant.";
    ws_subscriptions: Count = 32, max 1_000, "Subscriptions of one WebSocket.";
    ws_message_bytes: Bytes = 16 * KIB, max MIB, "One message of a client on a WebSocket.";
    ws_stall_ms: Millis = 10 * SECOND, max 10 * MINUTE, "How long a WebSocket may take nothing of what is sent before it is closed.";
    offered: Count = 256, max 10_000, "Workflows and plugins that are shown to a client of MCP or A2A.";
    call_wait_ms: Millis = 50 * SECOND, max 60 * MINUTE, "How long a client of MCP or A2A may wait for its run in one request.";
    answer_bytes: Bytes = MIB, max 16 * MIB, "A result that a client of MCP or A2A is given whole; a larger one is named, to be fetched.";
    page_items: Count = 200, max 1_000, "Items in one page of a list.";
    list_scan: Count = 2_000, max 100_000, "Entries that one page of a list looks at, where a filter leaves most of them out.";
    prefer_wait_ms: Millis = MINUTE, max 10 * MINUTE, "How long `Prefer: wait` may hold a request.";
    idempotency_key_bytes: Bytes = 255, max 255, "An `Idempotency-Key`.";
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Millis,
    /// wasmtime's fuel, about one for each instruction.
    Fuel,
    /// Pieces.
    Count,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// The name, which is the setting `limits.<name>`.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The value where nothing is configured.
    pub default: u64,
    /// The value past which no configuration may go.
    pub max: u64,
    /// What it bounds.
    pub why: &'static str,
}

/// Why a limit cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitFault {
    /// No limit has this name.
    #[error("no limit is called `{0}`; `heddle limits show` lists them")]
    Unknown(String),
    /// Zero, which would mean nothing at all or everything.
    #[error("`limits.{0}` is 0; give a value from 1")]
    Zero(String),
    /// Past the hard maximum.
    #[error("`limits.{name}` is {value}; the hard maximum is {max}")]
    PastMaximum {
        /// The limit.
        name: String,
        /// What was asked for.
        value: u64,
        /// The most there is.
        max: u64,
    },
}

impl Limits {
    /// Sets one limit by its name.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitFault> {
        let row =
            TABLE.iter().find(|row| row.name == name).ok_or_else(|| LimitFault::Unknown(name.to_owned()))?;
        match value {
            0 => return Err(LimitFault::Zero(name.to_owned())),
            v if v > row.max => {
                return Err(LimitFault::PastMaximum { name: name.to_owned(), value, max: row.max });
            }
            _ => {}
        }
        if let Some(slot) = self.slot(name) {
            *slot = value;
        }
        Ok(())
    }

    /// The limits of one attempt of a plugin of this kind, lowered by what the step and the plugin ask for.
    pub fn attempt(&self, kind: PluginKind, asked: &AskedLimits) -> AttemptLimits {
        let fuel = if kind == PluginKind::Transform { self.transform_fuel } else { self.fuel };
        let lower = |own: u64, asked: Option<u64>| asked.map_or(own, |a| a.clamp(1, own));
        AttemptLimits {
            fuel: lower(fuel, asked.fuel),
            memory_bytes: lower(self.memory_bytes, asked.memory_bytes),
            output_bytes: lower(self.output_bytes, asked.output_bytes),
            wall_ms: lower(self.step_wall_ms, asked.wall_ms),
            heartbeat_ms: None,
            cpu_ms: self.cpu_ms,
        }
    }
}

/// What a step or a plugin asks for: each may only lower what the node allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AskedLimits {
    /// Fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes of linear memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Bytes of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Milliseconds of wall time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
}

impl AskedLimits {
    /// The lower of each.
    pub fn lowest(self, other: AskedLimits) -> AskedLimits {
        let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        AskedLimits {
            fuel: least(self.fuel, other.fuel),
            memory_bytes: least(self.memory_bytes, other.memory_bytes),
            output_bytes: least(self.output_bytes, other.output_bytes),
            wall_ms: least(self.wall_ms, other.wall_ms),
        }
    }
}

/// The limits of one attempt that can differ from step to step. The others hold for every sandbox of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptLimits {
    /// Fuel.
    pub fuel: u64,
    /// Bytes of linear memory, summed.
    pub memory_bytes: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// Milliseconds from one report of progress to the next, where they are wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heartbeat_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_their_maxima() {
        let limits = Limits::default();
        for row in TABLE {
            assert!(row.default >= 1 && row.default <= row.max, "{}", row.name);
            assert_eq!(limits.get(row.name), Some(row.default));
        }
        assert!(limits.hostcall_bytes > limits.output_bytes);
    }
    #[test]
    fn a_limit_is_lowered_never_lifted() {
        let mut limits = Limits::default();
        assert_eq!(limits.set("fuel", 0), Err(LimitFault::Zero("fuel".into())));
        assert!(matches!(limits.set("fuel", u64::MAX), Err(LimitFault::PastMaximum { .. })));
        assert!(matches!(limits.set("petrol", 1), Err(LimitFault::Unknown(_))));
        limits.set("fuel", 10).unwrap();
        let asked = AskedLimits { fuel: Some(1_000), memory_bytes: Some(64 * KIB), ..AskedLimits::default() };
        let attempt = limits.attempt(PluginKind::Tool, &asked);
        assert_eq!((attempt.fuel, attempt.memory_bytes), (10, 64 * KIB));
        assert_eq!(limits.attempt(PluginKind::Transform, &asked).fuel, 1_000);
    }
}
