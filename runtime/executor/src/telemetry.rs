//! The metrics of a node: one row each, so that what is counted, what it is called and what it means stand together.
//! Labels are statuses, kinds and verdicts: never a name that a user chose.

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds, in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($constant:ident = $name:literal $kind:ident $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// Every metric, in the order of the documentation.
        pub const METRICS: &[Metric] = &[$(Metric { name: $name, kind: MetricKind::$kind, help: $help },)*];
    };
}

metrics_table! {
    RUNS_ACCEPTED = "heddle_runs_accepted_total" Counter "Runs accepted.";
    RUNS_FINISHED = "heddle_runs_finished_total" Counter "Runs ended, by `status`.";
    RUN_SECONDS = "heddle_run_duration_seconds" Histogram "Time from acceptance to end of a run, by `status`.";
    RUNS_ACTIVE = "heddle_runs_active" Gauge "Runs that this node drives.";
    RUNS_WAITING = "heddle_runs_waiting" Gauge "Runs that no node drives, by what they wait `for`: a node, a slot of their `concurrency`, the time at which they are to begin, or, parked, the outside.";
    RUNS_RECOVERED = "heddle_runs_recovered_total" Counter "Runs taken over from a process that went away.";
    ATTEMPTS = "heddle_attempts_total" Counter "Attempts ended, by plugin `kind` and `result`.";
    ATTEMPT_SECONDS = "heddle_attempt_duration_seconds" Histogram "Time in the sandbox, by plugin `kind`.";
    QUEUE_SECONDS = "heddle_attempt_queue_seconds" Histogram "Time that an attempt waited for a sandbox.";
    ATTEMPTS_QUEUED = "heddle_attempts_queued" Gauge "Attempts that wait for a sandbox.";
    SLOTS_USED = "heddle_slots_used" Gauge "Sandboxes in use.";
    STEPS_FINISHED = "heddle_steps_finished_total" Counter "Steps ended, by `status`; items of a `forEach` are counted one by one.";
    STEP_SECONDS = "heddle_step_duration_seconds" Histogram "Time from the first attempt of a step or an item to its end, by `status`.";
    RETRIES = "heddle_retries_total" Counter "Attempts that followed a failed one.";
    CACHE_HITS = "heddle_cache_hits_total" Counter "Steps served from the cache, by `layer`: memory or store.";
    CACHE_MISSES = "heddle_cache_misses_total" Counter "Steps that were looked up and not found.";
    CACHE_EVICTIONS = "heddle_cache_evictions_total" Counter "Entries that left the memory cache for want of room.";
    CACHE_BYTES = "heddle_cache_bytes" Gauge "Bytes in the memory cache.";
    APPENDS = "heddle_journal_appends_total" Counter "Rows appended to journals.";
    APPEND_SECONDS = "heddle_journal_append_seconds" Histogram "Time from handing over an append to its commit.";
    APPENDS_WAITING = "heddle_journal_appends_waiting" Gauge "Rows handed to the store that are not on disk yet.";
    EVENTS_PUBLISHED = "heddle_events_published_total" Counter "Public events handed to subscribers.";
    SUBSCRIBERS_DROPPED = "heddle_subscribers_dropped_total" Counter "Subscribers that were too slow.";
    CIRCUITS_OPENED = "heddle_circuits_opened_total" Counter "Times that a circuit breaker opened.";
    RELEASE_CHANGES = "heddle_plugin_release_changes_total" Counter "Decisions on which version of a plugin runs get, by `what` (Promoted, Tried, RolledBack, Followed) and `by` (operator or gate).";
    GATE_WAITS = "heddle_gate_waits_total" Counter "Attempts that had to wait at a rate limit or an open circuit, by `gate`: rate or circuit.";
    GATE_REFUSALS = "heddle_gate_refusals_total" Counter "Attempts that failed at a rate limit or an open circuit, by `gate`: rate or circuit.";
    TICKS = "heddle_schedule_ticks_total" Counter "Ticks of schedules, by `outcome`: started, refused, or why there is no run.";
    DELIVERIES = "heddle_webhook_deliveries_total" Counter "Tries to deliver a message to a webhook, by `outcome`: delivered, again (it is sent again later) or failed (it is given up).";
    DELIVERY_SECONDS = "heddle_webhook_delivery_duration_seconds" Histogram "Time that a try to deliver took.";
    DELIVERIES_WAITING = "heddle_webhook_deliveries_waiting" Gauge "Messages to webhooks that wait.";
    OUTSIDE_CALLS = "heddle_outside_calls_total" Counter "What plugins asked of the outside, by `capability` (http, kv, secret) and `outcome`: ok, denied, or why not.";
    MODEL_CALLS = "heddle_model_calls_total" Counter "Requests to language models, by `provider` and `outcome`: ok, or why not.";
    MODEL_SECONDS = "heddle_model_call_duration_seconds" Histogram "Time that one of them took, by `provider`.";
    MODEL_TOKENS = "heddle_model_tokens_total" Counter "Tokens of language models, by `provider` and `direction`: input or output.";
    LOG_LINES_DROPPED = "heddle_guest_log_lines_dropped_total" Counter "Log lines of plugins that were dropped for want of room.";
    OUTPUT_BYTES_DROPPED = "heddle_guest_output_bytes_dropped_total" Counter "Bytes on stdout and stderr of plugins that were dropped for want of room.";
    LEASE_LOST = "heddle_lease_lost_total" Counter "Times that this node lost its lease.";
    COMPILES = "heddle_compiles_total" Counter "Components compiled, by `result`.";
    COMPILE_SECONDS = "heddle_compile_duration_seconds" Histogram "Time to compile a component.";
    HTTP_REQUESTS = "heddle_http_requests_total" Counter "Requests answered, by `route`, `method` and `status`.";
    HTTP_SECONDS = "heddle_http_request_duration_seconds" Histogram "Time to answer a request, by `route`.";
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stores_own_gauge_is_in_the_table() {
        assert_eq!(super::APPENDS_WAITING, heddle_store::APPENDS_WAITING);
    }
}
