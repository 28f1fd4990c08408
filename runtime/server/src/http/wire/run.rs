//! A run and its parts as clients see them.

use super::parent::ParentDoc;
pub(crate) use super::parts::{
    CancelDoc, EstimateDoc, MaxParallelDoc, MigrationDoc, OrderDoc, ProgressDoc, RerunDoc, WorkflowName,
};
use super::queue::QueueDoc;
use super::spent::SpentDoc;
use super::{FailureDoc, ValueRef, value};
use heddle_core::json::Json;
use heddle_core::limits::{AttemptLimits, Limits};
use heddle_core::outcome::Usage;
use heddle_core::plugin::Pinned;
use heddle_core::run::approval::Decision;
use heddle_core::run::event::CacheVerdict;
use heddle_core::run::view::{AttemptView, ErrorView, ItemCounts, StepView, WorkView};
use heddle_core::time::Timestamp;
use heddle_executor::RunDetail;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Run)]
pub(crate) struct RunDoc {
    /// Its id.
    #[schema(format = "uuid")]
    pub id: String,
    /// Its owner.
    pub tenant: String,
    /// The workflow, frozen.
    pub workflow: WorkflowName,
    /// `queued`, `running`, `waiting`, `paused`, `compensating`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// Its input.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Json>,
    /// Where its input is, when it is large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_ref: Option<ValueRef>,
    /// Its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Json>,
    /// Where its output is, when it is large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_ref: Option<ValueRef>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RunErrorDoc>,
    /// Who cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<CancelDoc>,
    /// Who paused it, while it stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<CancelDoc>,
    /// Who asked for it, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it waits for, while it has not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueDoc>,
    /// The versions that it was to go on with, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<MigrationDoc>,
    /// The run that it is again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RerunDoc>,
    /// When it must have ended, where somebody has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub deadline: Option<String>,
    /// The step of another run that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentDoc>,
    /// The W3C trace context that its request came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How far along it is, steps and items counted.
    pub progress: ProgressDoc,
    /// Steps under way, at most sixteen.
    pub current: Vec<String>,
    /// How long it will still take, by what earlier runs of the workflow took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateDoc>,
    /// The most attempts at once.
    pub max_parallel: MaxParallelDoc,
    /// When it was accepted.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When a node took it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub finished_at: Option<String>,
    /// Milliseconds from its start to its end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Its steps, in the author's order. Left out where the client prefers `return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepDoc>>,
}

/// Why a run failed, and where.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunErrorDoc {
    /// Why.
    #[serde(flatten)]
    pub failure: FailureDoc,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// A step of a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Step)]
pub(crate) struct StepDoc {
    /// Its id in the workflow.
    pub id: String,
    /// The part of the run that it belongs to: `main`, `onError`, `compensate` or `finally`.
    pub part: &'static str,
    /// How it is undone by hand, where undoing it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub hint: Option<Json>,
    /// What people have decided, where it asks them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionDoc>,
    /// What people have wanted of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderDoc>,
    /// The plugin that it calls, as the workflow says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
    /// The plugin that it runs, frozen when the run was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginName>,
    /// Steps that it waits for.
    pub depends_on: Vec<String>,
    /// Why it was skipped or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Counts of its items, where it is a `forEach`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCountsDoc>,
    /// When everything that it waits for had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub ready_at: Option<String>,
    /// When its first attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub finished_at: Option<String>,
    /// Milliseconds from its first attempt to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Its work.
    #[serde(flatten)]
    pub work: WorkDoc,
}

/// What a person decided.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Decision)]
pub(crate) struct DecisionDoc {
    /// Who.
    pub by: String,
    /// Whether they approve.
    pub approved: bool,
    /// Why, in their words.
    pub comment: String,
    /// What they filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub form: Option<Json>,
}

impl From<&Decision> for DecisionDoc {
    fn from(decision: &Decision) -> DecisionDoc {
        DecisionDoc {
            by: decision.by.to_string(),
            approved: decision.approved,
            comment: decision.comment.to_string(),
            form: decision.form.clone(),
        }
    }
}

/// A plugin, frozen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PluginName {
    /// `kind:name`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its component.
    pub digest: String,
}

/// Counts of a `forEach`'s items.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemCountsDoc {
    /// All.
    pub total: u32,
    /// Under way.
    pub running: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
    /// Of those that ended well, from the cache.
    pub cached: u32,
    /// Not ended when their step did.
    pub cancelled: u32,
}

/// The attempts and the result of a step or an item.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Work)]
pub(crate) struct WorkDoc {
    /// `pending`, `running`, `retrying`, `interrupted`, `succeeded`, `failed`, `skipped` or `cancelled`.
    pub status: String,
    /// Its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Json>,
    /// Where its output is, when it is large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_ref: Option<ValueRef>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDoc>,
    /// What the cache had to say.
    pub cache: CacheDoc,
    /// Fuel of all attempts.
    pub fuel_used: u64,
    /// The largest sandbox of all attempts, in bytes.
    pub memory_peak_bytes: u64,
    /// What its calls of language models cost, where it made any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<SpentDoc>,
    /// When a further attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub retry_at: Option<String>,
    /// Its attempts.
    pub attempts: Vec<AttemptDoc>,
}

/// One item of a `forEach`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Item)]
pub(crate) struct ItemDoc {
    /// Its place in the list, from 0.
    pub item: u32,
    /// Its work.
    #[serde(flatten)]
    pub work: WorkDoc,
}

/// What the cache had to say.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CacheDoc {
    /// `hit`, `miss` or `off`.
    pub verdict: &'static str,
    /// The fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When the entry was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub stored_at: Option<String>,
    /// Which hit of the entry this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hits: Option<u64>,
    /// The run that computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub source_run: Option<String>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub(crate) struct AttemptDoc {
    /// Its number, from 1.
    pub attempt: u32,
    /// `running`, `succeeded`, `failed` or `interrupted`.
    pub status: String,
    /// The run that it asked for, where its step runs a workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub run: Option<String>,
    /// When it began.
    #[schema(format = "date-time")]
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub finished_at: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureDoc>,
    /// What it used.
    pub usage: UsageDoc,
    /// The limits that it ran under, where it ran a plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<AttemptLimitsDoc>,
}

/// What an attempt used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Usage)]
pub(crate) struct UsageDoc {
    /// Fuel.
    pub fuel: u64,
    /// The largest sum of its linear memories.
    pub memory_peak_bytes: u64,
    /// Microseconds in the sandbox.
    pub wall_us: u64,
    /// Microseconds of CPU time.
    pub cpu_us: u64,
    /// Calls to the host.
    pub hostcalls: u64,
    /// Microseconds for which it waited for a sandbox before, where that was a millisecond or more.
    pub queued_us: u64,
    /// What its calls of language models cost, where it made any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<SpentDoc>,
}

/// The limits of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AttemptLimits)]
pub(crate) struct AttemptLimitsDoc {
    /// Fuel.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
}

/// What a run document is made from, besides a view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    /// The run with its plan and its plugins.
    pub detail: &'a RunDetail,
    /// The limits of the node.
    pub limits: &'a Limits,
    /// Now.
    pub now: Timestamp,
}

/// The document of a run.
pub(crate) fn run(around: Around<'_>) -> RunDoc {
    let steps = around.detail.view.steps.iter().map(|s| step(s, around)).collect();
    RunDoc { steps: Some(steps), ..run_alone(around) }
}

/// The same without its steps.
pub(crate) fn run_alone(around: Around<'_>) -> RunDoc {
    let view = &around.detail.view;
    let (input, input_ref) = value(Some(view.input.clone()));
    let (output, output_ref) = value(view.output.clone());
    let until = view.finished_at.unwrap_or(around.now);
    RunDoc {
        id: view.id.to_string(),
        tenant: view.tenant.to_string(),
        workflow: WorkflowName {
            name: view.workflow.clone(),
            version: view.workflow_version.clone(),
            digest: view.workflow_digest.to_string(),
        },
        status: view.status.to_owned(),
        input,
        input_ref,
        output,
        output_ref,
        error: view.error.clone().map(run_error),
        cancelled: view.cancelled.as_ref().map(|(by, reason)| who(by, reason)),
        paused: view.paused.as_ref().map(|pause| who(&pause.by, &pause.reason)),
        by: view.by.as_ref().map(ToString::to_string),
        queue: QueueDoc::of(around.detail),
        migrations: view.migrations.iter().map(MigrationDoc::from).collect(),
        rerun_of: view.rerun.as_deref().map(RerunDoc::from),
        deadline: view.deadline.map(Timestamp::rfc3339),
        parent: view.parent.as_deref().map(ParentDoc::from),
        traceparent: view.traceparent.clone(),
        labels: view.labels.iter().cloned().collect(),
        progress: progress(view.done, view.total),
        current: view.current.iter().map(ToString::to_string).collect(),
        estimate: around.detail.estimate_ms.map(|duration_ms| EstimateDoc {
            duration_ms,
            remaining_ms: match view.finished_at {
                Some(_) => None,
                None => {
                    Some(duration_ms.saturating_sub(view.started_at.map_or(0, |at| around.now.since_ms(at))))
                }
            },
        }),
        max_parallel: MaxParallelDoc { value: view.max_parallel.0, source: view.max_parallel.1.to_string() },
        created_at: view.created_at.rfc3339(),
        started_at: view.started_at.map(Timestamp::rfc3339),
        finished_at: view.finished_at.map(Timestamp::rfc3339),
        duration_ms: view.started_at.map(|at| until.since_ms(at)),
        steps: None,
    }
}

fn who(by: &str, reason: &str) -> CancelDoc {
    CancelDoc { by: by.to_owned(), reason: reason.to_owned() }
}

/// Steps and items, and their share.
pub(crate) fn progress(done: u64, total: u64) -> ProgressDoc {
    let percent = (done * 100).checked_div(total).unwrap_or(0).min(100) as u8;
    ProgressDoc { done, total, percent }
}

fn run_error(error: ErrorView) -> RunErrorDoc {
    RunErrorDoc {
        failure: error.failure.into(),
        step: error.step.map(|s| s.to_string()),
        item: error.item,
        attempt: error.attempt,
    }
}

/// The document of a step.
pub(crate) fn step(view: &StepView, around: Around<'_>) -> StepDoc {
    let plugin = view.call.and_then(|call| around.detail.plugin(call, view.turn));
    let limits = limits_of(view.index, plugin.map(|p| &**p), around);
    let mut work = work(&view.work, limits);
    if let Some(items) = &view.items {
        work.cache = cache_of_items(items);
    }
    StepDoc {
        id: view.id.to_string(),
        part: view.part.word(),
        hint: view.hint.clone(),
        decisions: view.decisions.iter().map(DecisionDoc::from).collect(),
        orders: view.orders.iter().map(OrderDoc::from).collect(),
        calls: view.calls.clone(),
        plugin: plugin.map(|p| PluginName {
            name: format!("{}:{}", p.kind.word(), p.name),
            version: p.version.to_string(),
            digest: p.digest.to_string(),
        }),
        depends_on: view.depends_on.iter().map(ToString::to_string).collect(),
        reason: view.reason.clone(),
        items: view.items.map(|i| ItemCountsDoc {
            total: i.total,
            running: i.running,
            succeeded: i.succeeded,
            failed: i.failed,
            cached: i.cached,
            cancelled: i.cancelled,
        }),
        ready_at: view.ready_at.map(Timestamp::rfc3339),
        started_at: view.started_at.map(Timestamp::rfc3339),
        finished_at: view.finished_at.map(Timestamp::rfc3339),
        duration_ms: view.started_at.zip(view.finished_at).map(|(from, to)| to.since_ms(from)),
        work,
    }
}

/// The limits under which the attempts of a step run: the node's, lowered by the plugin and by the step.
pub(crate) fn limits_of(step: u32, plugin: Option<&Pinned>, around: Around<'_>) -> Option<AttemptLimits> {
    let plugin = plugin?;
    let defaults = around.detail.view.defaults.unwrap_or_default();
    let asked = around.detail.plan().steps.get(step as usize)?.asked(plugin, defaults.attempt_timeout);
    Some(around.limits.attempt(plugin.kind, &asked))
}

/// The document of a step's or an item's work.
pub(crate) fn work(view: &WorkView, limits: Option<AttemptLimits>) -> WorkDoc {
    let (output, output_ref) = value(view.output.clone());
    WorkDoc {
        status: view.status.to_owned(),
        output,
        output_ref,
        error: view.error.clone().map(FailureDoc::from),
        cache: cache(&view.cache),
        fuel_used: view.usage.fuel,
        memory_peak_bytes: view.usage.memory_peak_bytes,
        spent: SpentDoc::of(view.usage.spent),
        retry_at: view.retry_at.map(Timestamp::rfc3339),
        attempts: view.attempts.iter().map(|a| attempt(a, limits)).collect(),
    }
}

const OFF: CacheDoc = CacheDoc { verdict: "off", key: None, stored_at: None, hits: None, source_run: None };

/// Of a `forEach` as a whole: a hit where every item was one, a miss where one of them was.
fn cache_of_items(items: &ItemCounts) -> CacheDoc {
    let verdict = match items.total {
        0 => "off",
        total if items.cached == total => "hit",
        _ if items.cached + items.missed > 0 => "miss",
        _ => "off",
    };
    CacheDoc { verdict, ..OFF }
}

fn cache(verdict: &CacheVerdict) -> CacheDoc {
    match verdict {
        CacheVerdict::Off => OFF,
        CacheVerdict::Miss { key } => CacheDoc { verdict: "miss", key: Some(key.to_string()), ..OFF },
        CacheVerdict::Hit { key, stored_at, source_run, hits } => CacheDoc {
            verdict: "hit",
            key: Some(key.to_string()),
            stored_at: Some(stored_at.rfc3339()),
            hits: Some(*hits),
            source_run: Some(source_run.to_string()),
        },
    }
}

fn attempt(view: &AttemptView, limits: Option<AttemptLimits>) -> AttemptDoc {
    AttemptDoc {
        attempt: view.attempt,
        status: view.status.to_owned(),
        run: view.run.map(|run| run.to_string()),
        started_at: view.started_at.rfc3339(),
        finished_at: view.ended_at.map(Timestamp::rfc3339),
        error: view.error.clone().map(FailureDoc::from),
        usage: usage(&view.usage),
        limits: limits.map(|l| AttemptLimitsDoc {
            fuel: l.fuel,
            memory_bytes: l.memory_bytes,
            output_bytes: l.output_bytes,
            wall_ms: l.wall_ms,
            cpu_ms: l.cpu_ms,
        }),
    }
}

fn usage(usage: &Usage) -> UsageDoc {
    UsageDoc {
        fuel: usage.fuel,
        memory_peak_bytes: usage.memory_peak_bytes,
        wall_us: usage.wall_us,
        cpu_us: usage.cpu_us,
        hostcalls: usage.hostcalls,
        queued_us: usage.queued_us,
        spent: SpentDoc::of(usage.spent),
    }
}
