//! The events that people and programs are shown: a closed catalogue, each with its schema, each a pure function of
//! the journal. A row of the journal becomes zero or more of them; `seq.ordinal` names one for ever.

use super::child::child_id;
use super::event::{
    Batch, CacheVerdict, CancelReason, Event, Finish, NoRetry, Node, Payload, RetryVerdict, SkipReason,
};
use crate::id::RunId;
use crate::json::Json;
use crate::outcome::{Failure, Usage};
use crate::plan::{Part, Plan, Verb, Wait};
use crate::plugin::Pinned;
use crate::route::{Callee, Pins};
use crate::time::Timestamp;
use crate::value::Value;
use std::sync::Arc;

/// One public event.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicEvent {
    /// The row of the journal, from 1, and the place within it. Transient events have none.
    pub id: Option<(u64, u32)>,
    /// When it was decided.
    pub time: Timestamp,
    /// Its type, from the catalogue.
    pub kind: &'static str,
    /// What it says.
    pub data: Json,
}

/// A type of event.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub title: &'static str,
    /// JSON Schema of its data.
    pub schema: &'static str,
}

const STEP: &str = r##"{"type":"object","required":["step"],"properties":{"step":{"type":"string"},"reason":{"type":"string"}}}"##;
const ATTEMPT: &str = r##"{"type":"object","required":["step","attempt"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"attempt":{"type":"integer"},"plugin":{"type":"string"},"digest":{"type":"string"},"run":{"type":"string"},"entered":{"type":"boolean"},"cache":{"enum":["hit","miss","off"]},"error":{"$ref":"#/components/schemas/Failure"},"retryAt":{"type":"string","format":"date-time"},"usage":{"$ref":"#/components/schemas/Usage"}}}"##;
const RUN: &str = r##"{"type":"object","properties":{"workflow":{"type":"string"},"version":{"type":"string"},"error":{"type":"object"},"step":{"type":"string"},"output":{},"by":{"type":"string"},"reason":{"type":"string"},"force":{"type":"boolean"}}}"##;
const DECISION: &str = r##"{"type":"object","required":["step","about","verdict"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"about":{"enum":["when","cache","provider","retry","match","fallback"]},"verdict":{"type":"string"},"reason":{"type":"string"},"key":{"type":"string"},"plugin":{"type":"string"},"digest":{"type":"string"},"retryAt":{"type":"string","format":"date-time"}}}"##;

/// Every type of event that there is. Those of approvals and tokens are reserved for the verbs that bring them.
pub const CATALOGUE: &[EventType] = &[
    EventType { name: "run.queued", title: "The run was accepted.", schema: RUN },
    EventType { name: "run.running", title: "A node drives the run.", schema: RUN },
    EventType { name: "run.cancelling", title: "Somebody asked for the run to be cancelled.", schema: RUN },
    EventType { name: "run.paused", title: "The run stands still.", schema: RUN },
    EventType { name: "run.resumed", title: "The run goes on.", schema: RUN },
    EventType { name: "run.migrated", title: "The run goes on with another version.", schema: RUN },
    EventType { name: "run.notMigrated", title: "It was to, and keeps its own version.", schema: RUN },
    EventType {
        name: "run.ending",
        title: "The steps are over; what follows them begins.",
        schema: r##"{"type":"object","required":["finish"],"properties":{"finish":{"enum":["succeeded","failed","cancelled"]},"error":{"type":"object"},"step":{"type":"string"}}}"##,
    },
    EventType { name: "run.compensating", title: "What was done is undone.", schema: RUN },
    EventType { name: "run.succeeded", title: "The run ended well.", schema: RUN },
    EventType { name: "run.failed", title: "The run ended with an error.", schema: RUN },
    EventType { name: "run.cancelled", title: "The run ended because somebody said so.", schema: RUN },
    EventType {
        name: "step.running",
        title: "The step has begun; for a `forEach`, with the number of its items.",
        schema: r##"{"type":"object","required":["step"],"properties":{"step":{"type":"string"},"items":{"type":"integer"}}}"##,
    },
    EventType {
        name: "step.succeeded",
        title: "The step or the item has its output.",
        schema: r##"{"type":"object","required":["step"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"output":{},"outputDigest":{"type":"string"},"outputBytes":{"type":"integer"},"cache":{"enum":["hit","miss","off"]}}}"##,
    },
    EventType {
        name: "step.failed",
        title: "The step or the item failed for good.",
        schema: r##"{"type":"object","required":["step","error"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"error":{"$ref":"#/components/schemas/Failure"}}}"##,
    },
    EventType { name: "step.skipped", title: "The step was not run.", schema: STEP },
    EventType { name: "step.cancelled", title: "The step was stopped.", schema: STEP },
    EventType { name: "attempt.started", title: "An attempt may begin.", schema: ATTEMPT },
    EventType { name: "attempt.succeeded", title: "The attempt brought an output.", schema: ATTEMPT },
    EventType { name: "attempt.failed", title: "The attempt failed.", schema: ATTEMPT },
    EventType {
        name: "attempt.interrupted",
        title: "The host went away while the attempt was open.",
        schema: ATTEMPT,
    },
    EventType {
        name: "artifact.kept",
        title: "An attempt has kept a file.",
        schema: r##"{"type":"object","required":["step","attempt","name","digest","mediaType","sizeBytes"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"attempt":{"type":"integer"},"name":{"type":"string"},"digest":{"type":"string"},"mediaType":{"type":"string"},"sizeBytes":{"type":"integer"}}}"##,
    },
    EventType {
        name: "step.waiting",
        title: "The step waits: until a time, or for a signal.",
        schema: r##"{"type":"object","required":["step"],"properties":{"step":{"type":"string"},"signal":{"type":"string"},"until":{"type":"string","format":"date-time"}}}"##,
    },
    EventType {
        name: "signal.received",
        title: "Somebody signalled the run.",
        schema: r##"{"type":"object","required":["name","by"],"properties":{"name":{"type":"string"},"by":{"type":"string"},"data":{}}}"##,
    },
    EventType {
        name: "event.emitted",
        title: "The step has sent an event to whoever waits for it; what it says is the step's output.",
        schema: r##"{"type":"object","required":["step","event"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"event":{"type":"string"}}}"##,
    },
    EventType { name: "decision", title: "Something was decided, and why.", schema: DECISION },
    EventType {
        name: "progress",
        title: "How far along an attempt is. Transient: no id, never stored.",
        schema: r##"{"type":"object","required":["step","stage"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"attempt":{"type":"integer"},"stage":{"type":"string"},"percent":{"type":"integer"},"message":{"type":"string"}}}"##,
    },
    EventType {
        name: "log",
        title: "A line that a plugin logged. Transient.",
        schema: r##"{"type":"object","required":["step","level","message"],"properties":{"step":{"type":"string"},"item":{"type":"integer"},"attempt":{"type":"integer"},"level":{"type":"string"},"message":{"type":"string"}}}"##,
    },
    EventType {
        name: "agent.token",
        title: "A piece of a model's answer. Transient.",
        schema: r##"{"type":"object","required":["step","text"],"properties":{"step":{"type":"string"},"call":{"type":"integer"},"offset":{"type":"integer"},"text":{"type":"string"}}}"##,
    },
    EventType {
        name: "approval.requested",
        title: "People are asked.",
        schema: r##"{"type":"object","required":["step","assignees","quorum"],"properties":{"step":{"type":"string"},"assignees":{"type":"array","items":{"type":"string"}},"quorum":{"type":"integer"},"until":{"type":"string","format":"date-time"}}}"##,
    },
    EventType {
        name: "help.requested",
        title: "The step has failed for good, and people are asked what becomes of it.",
        schema: r##"{"type":"object","required":["step","error"],"properties":{"step":{"type":"string"},"error":{"$ref":"#/components/schemas/Failure"},"assignees":{"type":"array","items":{"type":"string"}},"until":{"type":"string","format":"date-time"}}}"##,
    },
    EventType {
        name: "step.ordered",
        title: "A person wants something of the step.",
        schema: r##"{"type":"object","required":["step","by","what"],"properties":{"step":{"type":"string"},"by":{"type":"string"},"what":{"enum":["retry","skip","fail","cancel"]},"comment":{"type":"string"}}}"##,
    },
    EventType {
        name: "approval.decided",
        title: "A person has answered.",
        schema: r##"{"type":"object","required":["step","by","approved"],"properties":{"step":{"type":"string"},"by":{"type":"string"},"approved":{"type":"boolean"},"comment":{"type":"string"}}}"##,
    },
];

/// What the facts of a run are told with: its plan, and the plugins that its calls were resolved to.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The run.
    pub run: RunId,
    /// The plan.
    pub plan: &'a Plan,
    /// What the plan's calls were resolved to.
    pub pins: &'a Pins,
}

impl Told<'_> {
    fn pin(&self, step: u32, turn: u32) -> Option<(&Callee, &Pinned)> {
        let (call, callee) = self.plan.call_of(step)?;
        Some((callee, self.pins.pick(call, turn)?))
    }
}

/// The public events of one row of a run's journal.
pub fn public_events(seq: u64, batch: &Batch, told: Told<'_>) -> Vec<PublicEvent> {
    let mut out = Vec::with_capacity(batch.events.len());
    for event in &batch.events {
        let mut emit = |kind: &'static str, data: Vec<(&'static str, Value)>| {
            let id = Some((seq, out.len() as u32));
            out.push(PublicEvent { id, time: batch.at, kind, data: Json::from_value(Value::map(data)) });
        };
        translate(event, batch.at, told, &mut emit);
    }
    out
}

pub(super) type Emit<'a> = dyn FnMut(&'static str, Vec<(&'static str, Value)>) + 'a;

fn translate(event: &Event, at: Timestamp, told: Told<'_>, emit: &mut Emit<'_>) {
    let plan = told.plan;
    match event {
        Event::RunAccepted(_)
        | Event::RunStarted {}
        | Event::RunDue {}
        | Event::CancelRequested { .. }
        | Event::RunPaused { .. }
        | Event::RunResumed { .. }
        | Event::RunEnding { .. }
        | Event::PartBegan { .. }
        | Event::RunFinished { .. } => {
            of_the_run(event, plan, emit);
        }
        Event::AttemptStarted { .. }
        | Event::AttemptInterrupted { .. }
        | Event::AttemptFailed { .. }
        | Event::RetryDue { .. } => {
            of_an_attempt(event, at, told, emit);
        }
        Event::RunMigrated { .. } | Event::MigrationRefused { .. } => super::migrate::tell(event, emit),
        Event::StepSucceeded { node, attempt, output, usage, cache } => {
            succeeded(plan, *node, *attempt, (output, cache), usage, emit);
        }
        Event::ArtifactsKept(of) => of.artifacts.iter().for_each(|artifact| {
            let about = about(plan, of.node, of.attempt).into_iter();
            emit("artifact.kept", about.chain(super::artifact::told(artifact)).collect());
        }),
        Event::StepFailed { node, failure } => {
            let mut data = place(plan, *node);
            data.push(("error", failure_value(failure)));
            emit("step.failed", data);
        }
        Event::ApprovalDecided { .. }
        | Event::FallbackTaken { .. }
        | Event::HelpAsked { .. }
        | Event::StepOrdered { .. } => of_what_came(event, told, emit),
        Event::ConditionHeld { step } => condition(plan, *step, "true", emit),
        Event::MapStarted { step, count, .. } => {
            emit("step.running", vec![named(plan, *step), ("items", Value::Int(i64::from(*count)))]);
            provider(told, Node::step(*step), 0, emit);
        }
        Event::WaitStarted { .. }
        | Event::SignalReceived { .. }
        | Event::SignalTaken { .. }
        | Event::SignalPassed { .. } => of_a_wait(event, plan, emit),
        Event::StepSkipped { step, reason } => {
            if matches!(reason, SkipReason::Condition) {
                condition(plan, *step, "false", emit);
            }
            emit(
                "step.skipped",
                vec![named(plan, *step), ("reason", Value::text(skip_reason(reason, plan)))],
            );
        }
        Event::StepCancelled { step, reason } => {
            let why = match reason {
                CancelReason::Requested => "the run was cancelled",
                CancelReason::RunFailing => "another step failed",
                CancelReason::RunDeadline => "the run's time was up",
                CancelReason::Person => "somebody stopped it",
            };
            emit("step.cancelled", vec![named(plan, *step), ("reason", Value::text(why))]);
        }
    }
}

/// What people decided, and what is tried instead.
fn of_what_came(event: &Event, told: Told<'_>, emit: &mut Emit<'_>) {
    let plan = told.plan;
    match event {
        Event::ApprovalDecided { step, decision } => {
            let mut data = vec![named(plan, *step), ("by", Value::text(decision.by.clone()))];
            data.push(("approved", Value::Bool(decision.approved)));
            if !decision.comment.is_empty() {
                data.push(("comment", Value::text(decision.comment.clone())));
            }
            emit("approval.decided", data);
        }
        Event::HelpAsked { step, failure, until } => {
            let mut data = vec![named(plan, *step), ("error", failure_value(failure))];
            if let Some(ask) = plan.steps.get(*step as usize).and_then(|step| step.on_failure.as_deref()) {
                let assignees = ask.assignees.iter().map(|who| Value::text(who.clone()));
                data.push(("assignees", Value::list(assignees.collect())));
            }
            data.extend(until.map(|until| ("until", Value::text(until.rfc3339()))));
            emit("help.requested", data);
        }
        Event::StepOrdered { step, order } => {
            let mut data = vec![named(plan, *step), ("by", Value::text(order.by.clone()))];
            data.push(("what", Value::text(order.what.word())));
            if !order.comment.is_empty() {
                data.push(("comment", Value::text(order.comment.clone())));
            }
            emit("step.ordered", data);
        }
        Event::FallbackTaken { node, alternative, failure } => {
            let mut data = decision(place(plan, *node), "fallback", "taken", failure.message.clone());
            if let Some((call, _)) = plan.call_at(node.step, *alternative)
                && let Some(pin) = told.pins.pick(call, 0)
            {
                data.push(("plugin", Value::text(pin.to_string())));
                data.push(("digest", Value::text(pin.digest.to_string())));
            }
            emit("decision", data);
        }
        _ => {}
    }
}

fn of_a_wait(event: &Event, plan: &Plan, emit: &mut Emit<'_>) {
    let matched = |step: u32, verdict: &'static str, signal: u32| {
        let reason = ("reason", Value::text(format!("signal {signal}")));
        vec![named(plan, step), ("about", Value::text("match")), ("verdict", Value::text(verdict)), reason]
    };
    match event {
        Event::WaitStarted { step, until } => {
            let mut data = vec![named(plan, *step)];
            let until = until.map(|until| ("until", Value::text(until.rfc3339())));
            if let Some(Verb::Approval(approval)) = plan.steps.get(*step as usize).map(|s| &s.verb) {
                let assignees = approval.assignees.iter().map(|who| Value::text(who.clone()));
                data.push(("assignees", Value::list(assignees.collect())));
                data.push(("quorum", Value::Int(i64::from(approval.quorum))));
                data.extend(until);
                emit("approval.requested", data);
                return;
            }
            if let Some(Verb::Wait(Wait::Signal { name, .. })) =
                plan.steps.get(*step as usize).map(|s| &s.verb)
            {
                data.push(("signal", Value::text(name.clone())));
            }
            data.extend(until);
            emit("step.waiting", data);
        }
        Event::SignalReceived { name, data, by } => {
            let mut said = vec![("name", Value::text(name.clone())), ("by", Value::text(by.clone()))];
            if let Payload::Inline(json) = data {
                said.push(("data", json.value().clone()));
            }
            emit("signal.received", said);
        }
        Event::SignalTaken { step, signal } => emit("decision", matched(*step, "taken", *signal)),
        Event::SignalPassed { step, signal } => emit("decision", matched(*step, "passed", *signal)),
        _ => {}
    }
}

fn of_the_run(event: &Event, plan: &Plan, emit: &mut Emit<'_>) {
    match event {
        Event::RunAccepted(_) => {
            let version = Value::text(plan.version.to_string());
            emit("run.queued", vec![("workflow", Value::text(plan.full_name())), ("version", version)]);
        }
        Event::CancelRequested { by, reason, force } => {
            let mut data = said(by, reason);
            data.extend(force.then_some(("force", Value::Bool(true))));
            emit("run.cancelling", data);
        }
        Event::RunPaused { pause } => {
            let mut data = said(&pause.by, &pause.reason);
            data.extend(pause.step.map(|step| named(plan, step)));
            emit("run.paused", data);
        }
        Event::RunResumed { by } => emit("run.resumed", vec![("by", Value::text(by.clone()))]),
        Event::RunEnding { finish, error, .. } => {
            let mut data = vec![("finish", Value::text(finish_word(*finish)))];
            if let Some(error) = error {
                data.push(("error", failure_value(&error.failure)));
                data.extend(error.node.map(|node| named(plan, node.step)));
            }
            emit("run.ending", data);
        }
        Event::PartBegan { part: Part::Compensate } => emit("run.compensating", vec![]),
        Event::PartBegan { .. } => {}
        Event::RunFinished { finish, output, error } => {
            let mut data = Vec::new();
            if let Some(error) = error {
                data.push(("error", failure_value(&error.failure)));
                data.extend(error.node.map(|node| named(plan, node.step)));
            }
            if let Some(Payload::Inline(json)) = output {
                data.push(("output", json.value().clone()));
            }
            let kind = match finish {
                Finish::Succeeded => "run.succeeded",
                Finish::Failed => "run.failed",
                Finish::Cancelled => "run.cancelled",
            };
            emit(kind, data);
        }
        _ => emit("run.running", vec![]),
    }
}

fn of_an_attempt(event: &Event, at: Timestamp, told: Told<'_>, emit: &mut Emit<'_>) {
    let plan = told.plan;
    match event {
        Event::AttemptStarted { node, attempt, turn } => {
            if node.item.is_none() && *attempt == 1 {
                emit("step.running", vec![named(plan, node.step)]);
            }
            if (node.item.is_none() && *attempt == 1) || *turn > 0 {
                provider(told, *node, *turn, emit);
            }
            let mut data = about(plan, *node, *attempt);
            if let Some((_, pin)) = told.pin(node.step, *turn) {
                data.extend([
                    ("plugin", Value::text(pin.to_string())),
                    ("digest", Value::text(pin.digest.to_string())),
                ]);
            }
            if let Some(Verb::Workflow(_)) = plan.steps.get(node.step as usize).map(|s| &s.verb) {
                data.push((
                    "run",
                    Value::text(child_id(told.run, told.plan.counted(*node), *attempt, at).to_string()),
                ));
            }
            emit("attempt.started", data);
        }
        Event::AttemptInterrupted { node, attempt, entered } => {
            let mut data = about(plan, *node, *attempt);
            data.push(("entered", Value::Bool(*entered)));
            emit("attempt.interrupted", data);
        }
        Event::AttemptFailed { node, attempt, failure, usage, retry, cache } => {
            asked_cache(plan, *node, cache, emit);
            let mut data = about(plan, *node, *attempt);
            data.extend([
                ("error", failure_value(failure)),
                ("usage", usage.told()),
                ("cache", Value::text(cache_word(cache))),
            ]);
            if let RetryVerdict::At(at) = retry {
                data.push(("retryAt", Value::text(at.rfc3339())));
            }
            emit("attempt.failed", data);
            emit("decision", retry_decision(plan, *node, *attempt, (failure, retry)));
        }
        // That a wait is over shows in the attempt that follows it.
        _ => {}
    }
}

fn said(by: &Arc<str>, reason: &Arc<str>) -> Data {
    vec![("by", Value::text(by.clone())), ("reason", Value::text(reason.clone()))]
}

fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Succeeded => "succeeded",
        Finish::Failed => "failed",
        Finish::Cancelled => "cancelled",
    }
}

fn succeeded(
    plan: &Plan,
    node: Node,
    attempt: u32,
    (output, cache): (&Payload, &CacheVerdict),
    usage: &Usage,
    emit: &mut Emit<'_>,
) {
    let verdict = Value::text(cache_word(cache));
    asked_cache(plan, node, cache, emit);
    if attempt > 0 {
        let mut data = about(plan, node, attempt);
        data.extend([("usage", usage.told()), ("cache", verdict.clone())]);
        emit("attempt.succeeded", data);
    }
    let mut data = place(plan, node);
    // The items of a list tell their own.
    if *output != Payload::Derived {
        data.push(("cache", verdict));
    }
    match output {
        Payload::Inline(json) => data.push(("output", json.value().clone())),
        Payload::Stored { digest, size } => {
            data.push(("outputDigest", Value::text(digest.to_string())));
            data.push(("outputBytes", Value::Int(*size as i64)));
        }
        Payload::Derived => {}
    }
    emit("step.succeeded", data);
    if let (0, Some(Verb::Emit(sent))) = (attempt, plan.steps.get(node.step as usize).map(|s| &s.verb))
        && *output != Payload::Derived
    {
        let mut data = place(plan, node);
        data.push(("event", Value::text(sent.event.clone())));
        emit("event.emitted", data);
    }
}

fn condition(plan: &Plan, step: u32, verdict: &'static str, emit: &mut Emit<'_>) {
    let when = plan
        .steps
        .get(step as usize)
        .and_then(|s| s.when.as_ref().or_else(|| plan.steps.get(s.group? as usize)?.when.as_ref()))
        .map(|w| w.text.clone())
        .unwrap_or_default();
    let (about, verdict) = (("about", Value::text("when")), ("verdict", Value::text(verdict)));
    emit("decision", vec![named(plan, step), about, verdict, ("reason", Value::text(when))]);
}

fn named(plan: &Plan, step: u32) -> (&'static str, Value) {
    ("step", Value::text(plan.steps.get(step as usize).map_or("?", |s| &s.id)))
}

fn place(plan: &Plan, node: Node) -> Vec<(&'static str, Value)> {
    let mut data = vec![named(plan, node.step)];
    if let Some(item) = node.item {
        data.push(("item", Value::Int(i64::from(item))));
    }
    data
}
fn about(plan: &Plan, node: Node, attempt: u32) -> Vec<(&'static str, Value)> {
    let mut data = place(plan, node);
    data.push(("attempt", Value::Int(i64::from(attempt))));
    data
}
/// Which plugin does the step's work, and why that one.
fn provider(told: Told<'_>, node: Node, turn: u32, emit: &mut Emit<'_>) {
    let Some((callee, pin)) = told.pin(node.step, turn) else { return };
    let candidates = told.plan.call_of(node.step).map_or(0, |(call, _)| told.pins.of(call).len());
    let reason = match callee {
        Callee::Plugin(reference) => format!("what `{reference}` meant when the run was accepted"),
        Callee::Capability(_) => {
            let place = turn as usize % candidates.max(1) + 1;
            format!("candidate {place} of {candidates} for `{callee}`, after {turn} failures")
        }
    };
    let mut data = decision(place(told.plan, node), "provider", "chosen", reason);
    data.push(("plugin", Value::text(pin.to_string())));
    data.push(("digest", Value::text(pin.digest.to_string())));
    emit("decision", data);
}

/// What the cache said, and why.
fn asked_cache(plan: &Plan, node: Node, cache: &CacheVerdict, emit: &mut Emit<'_>) {
    let (key, reason) = match cache {
        CacheVerdict::Off => return,
        CacheVerdict::Miss { key } => (key, "nothing is kept under the fingerprint".to_owned()),
        CacheVerdict::Hit { key, stored_at, source_run, .. } => {
            (key, format!("run {source_run} stored it at {}", stored_at.rfc3339()))
        }
    };
    let mut data = decision(place(plan, node), "cache", cache_word(cache), reason);
    data.push(("key", Value::text(key.to_string())));
    emit("decision", data);
}

type Data = Vec<(&'static str, Value)>;

fn decision(mut place: Data, about: &'static str, verdict: &'static str, reason: String) -> Data {
    place.extend([
        ("about", Value::text(about)),
        ("verdict", Value::text(verdict)),
        ("reason", Value::text(reason)),
    ]);
    place
}

fn retry_decision(
    plan: &Plan,
    node: Node,
    attempt: u32,
    (failure, retry): (&Failure, &RetryVerdict),
) -> Data {
    let kind = failure.kind.word();
    let (verdict, reason, at) = match retry {
        RetryVerdict::At(at) => {
            ("retry", format!("`{kind}` may be tried again; attempt {} is due", attempt + 1), Some(at))
        }
        RetryVerdict::No(why) => {
            let why = match why {
                NoRetry::NoPolicy => "the step has no retry policy".to_owned(),
                NoRetry::AttemptsUsed => format!("all {attempt} attempts are used"),
                NoRetry::DurationUsed => "the policy's duration would be exceeded".to_owned(),
                NoRetry::NotRetryable => format!("`{kind}` is not retryable"),
                NoRetry::ConditionFalse => "the policy's `when` was false".to_owned(),
            };
            ("stop", why, None)
        }
    };
    let mut data = decision(place(plan, node), "retry", verdict, reason);
    data.extend(at.map(|at| ("retryAt", Value::text(at.rfc3339()))));
    data
}
fn skip_reason(reason: &SkipReason, plan: &Plan) -> String {
    let id = |step: &u32| plan.steps.get(*step as usize).map_or("?", |s| &*s.id).to_owned();
    match reason {
        SkipReason::Condition => "its `when` was false".to_owned(),
        SkipReason::Dependency(step) => format!("`{}` did not end as `dependsOn` wants", id(step)),
        SkipReason::RunFailing(step) => format!("`{}` failed before it began", id(step)),
        SkipReason::Person => "somebody skipped it".to_owned(),
    }
}
fn cache_word(verdict: &CacheVerdict) -> &'static str {
    match verdict {
        CacheVerdict::Off => "off",
        CacheVerdict::Miss { .. } => "miss",
        CacheVerdict::Hit { .. } => "hit",
    }
}
/// A failure, as events tell it.
pub fn failure_value(failure: &Failure) -> Value {
    super::scope::failure_value(failure)
}
