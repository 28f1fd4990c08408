//! One attempt: the cache is asked, then a slot is taken, then the sandbox runs, and every end is a value.

use crate::cache::{Found, Lookup};
use crate::calls::Calls;
use crate::gates::{Ahead, Passed, Who, no_sandbox};
use crate::outside::Files;
use crate::parts::{Begin, Held, Invocation};
use crate::plugins::health;
use crate::reach::AttemptReach;
use crate::shared::Shared;
use crate::slots::{Depth, QueueTimeout, Slot};
use crate::snapshot::Snapshot;
use heddle_core::fingerprint::Parts as FingerprintParts;
use heddle_core::id::{Digest, RunId, Tenant, idempotency_key};
use heddle_core::json::Json;
use heddle_core::limits::AskedLimits;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, PluginKind, Spent, Usage};
use heddle_core::plan::{CacheMode, CachePolicy, CacheScope, OnCrash, Step};
use heddle_core::plugin::Pinned;
use heddle_core::run::artifact::Artifact;
use heddle_core::run::event::{CacheVerdict, Node};
use heddle_core::run::rerun::{Imported, Imports};
use heddle_core::share::Share;
use heddle_core::time::{Span, Timestamp};
use heddle_store::Blob;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What an attempt is about.
#[derive(Clone, Debug)]
pub(crate) struct AttemptCall {
    pub(crate) tenant: Tenant,
    pub(crate) run: RunId,
    pub(crate) node: Node,
    pub(crate) attempt: u32,
    pub(crate) snapshot: Arc<Snapshot>,
    /// How many of the step's alternatives have been come to: 0 for the step's own call.
    pub(crate) alternative: u32,
    /// Which call of an agent it is, where it is one.
    pub(crate) within: Option<Arc<str>>,
    /// Which of its candidates it goes to, where it is a call by capability.
    pub(crate) turn: u32,
    /// Which of the step's call logs it goes on with, where it is an agent's.
    pub(crate) log: u32,
    /// What earlier attempts have been charged for that this one goes on with.
    pub(crate) charged: Spent,
    /// What all earlier attempts have spent.
    pub(crate) spent_before: Spent,
    pub(crate) input: Json,
    pub(crate) traceparent: Option<String>,
    /// How long the attempt may take where the workflow does not say.
    pub(crate) default_timeout: Option<Span>,
    pub(crate) begin: Begin,
    /// Whether the host went away when this was in its sandbox the last time.
    pub(crate) suspect: bool,
    /// What is held until the attempt's end is on disk.
    pub(crate) held: Held,
    /// Files that it keeps.
    pub(crate) files: Files,
    /// What stands before its sandbox.
    pub(crate) ahead: Option<Box<Ahead>>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    pub(crate) node: Node,
    pub(crate) attempt: u32,
    pub(crate) outcome: Result<Json, Failure>,
    pub(crate) usage: Usage,
    pub(crate) cache: CacheVerdict,
    /// Where the output is to be kept for others: its key and when it ends.
    pub(crate) keep: Option<(Digest, Option<Timestamp>)>,
    /// Files that it kept, with their bytes.
    pub(crate) files: (Vec<Artifact>, Vec<Blob>),
}

impl AttemptCall {
    pub(crate) fn step(&self) -> &Step {
        &self.snapshot.plan.steps[self.node.step as usize]
    }
    pub(crate) fn pin(&self) -> Option<&Arc<Pinned>> {
        let (call, _) = self.snapshot.plan.call_at(self.node.step, self.alternative)?;
        self.snapshot.pins.pick(call, self.turn)
    }
    fn asked(&self, pin: &Pinned) -> AskedLimits {
        self.step().asked(pin, self.default_timeout)
    }
    /// What the step says of the cache is said of its own call; another plugin is kept as its kind is.
    fn cache_policy(&self, pin: &Pinned) -> CachePolicy {
        match self.alternative {
            0 => self.step().cache,
            _ => CachePolicy::default_of(pin.kind),
        }
    }
    /// What an agent's randomness grows from: the same as long as it goes on with one call log. The other kinds have none,
    /// or the machine's.
    fn seed(&self, calls: Option<&Arc<Calls>>) -> [u8; 32] {
        let Some(calls) = calls else { return [0; 32] };
        let mut hash = Sha256::new();
        hash.update(idempotency_key(self.run, &self.step().id, self.node.item, self.alternative, None));
        hash.update(calls.name());
        hash.finalize().into()
    }
    fn fingerprint(&self, shared: &Shared, pin: &Pinned, policy: CachePolicy) -> Digest {
        // What it may do outside decides what comes out, as much as the input does.
        let mut outside = shared.outside_lines(pin, self.step());
        // And so does what those may do whom it may call.
        for granted in self.snapshot.tools.get(self.node.step as usize).into_iter().flatten() {
            let name = granted.metadata.reference();
            let lines = shared.outside_lines(&granted.pin, self.step()).into_iter();
            outside.extend(lines.map(|line| format!("{name}: {line}")));
        }
        let step = (self.node.step, policy.scope);
        fingerprint(&self.tenant, &self.snapshot, step, pin, &self.input, outside)
    }
    /// What was taken over from the run that this one is again.
    pub(crate) fn taken_over(&self, imports: &Imports) -> Option<(Digest, Imported)> {
        let key = key_of_a_rerun(&self.tenant, &self.snapshot, self.node, self.pin()?, &self.input);
        imports.get(&key).map(|imported| (key, imported.clone()))
    }
    /// The end of an attempt whose outcome was taken over.
    pub(crate) fn imported(
        &self,
        key: Digest,
        output: Json,
        (at, artifacts): (Timestamp, Vec<Artifact>),
        from: RunId,
    ) -> AttemptResult {
        let hit = self.hit(key, Found { output, stored_at: at, source_run: from, hits: 1 });
        // Their bytes are there: the run has held them since it was accepted.
        AttemptResult { files: (artifacts, Vec::new()), ..hit }
    }
    fn ended(&self, outcome: Result<Json, Failure>, usage: Usage, cache: CacheVerdict) -> AttemptResult {
        let (node, attempt, files) = (self.node, self.attempt, self.files.take());
        AttemptResult { node, attempt, outcome, usage, cache, keep: None, files }
    }
    fn hit(&self, key: Digest, found: Found) -> AttemptResult {
        let verdict = CacheVerdict::Hit {
            key,
            stored_at: found.stored_at,
            source_run: found.source_run,
            hits: found.hits,
        };
        self.ended(Ok(found.output), Usage::default(), verdict)
    }
}

/// The key of what a step computes.
pub(crate) fn fingerprint(
    tenant: &Tenant,
    snapshot: &Snapshot,
    (step, scope): (u32, CacheScope),
    pin: &Pinned,
    input: &Json,
    outside: Vec<String>,
) -> Digest {
    let granted = snapshot.tools.get(step as usize).into_iter().flatten();
    let granted = granted.map(|granted| granted.pin.digest.to_string());
    let grants: Vec<String> = granted.chain(outside).collect();
    let (workflow, step) = (&*snapshot.workflow, &*snapshot.plan.steps[step as usize].id);
    let (kind, component, grants) = (pin.kind, pin.digest, &*grants);
    FingerprintParts { tenant, scope, workflow, step, kind, component, grants, input }.fingerprint()
}

/// The key under which a run that is another one again finds an outcome of that: that of the cache, for this step and
/// this item alone. What has been done once for two equal items was not done for both.
pub(crate) fn key_of_a_rerun(
    tenant: &Tenant,
    snapshot: &Snapshot,
    node: Node,
    pin: &Pinned,
    input: &Json,
) -> Digest {
    let key = fingerprint(tenant, snapshot, (node.step, CacheScope::Step), pin, input, Vec::new());
    let Some(item) = node.item else { return key };
    let mut hash = Sha256::new();
    hash.update(key.0);
    hash.update(item.to_le_bytes());
    Digest(hash.finalize().into())
}

/// Answers from memory, where that is possible without waiting.
pub(crate) fn from_memory(shared: &Shared, call: &AttemptCall) -> Option<AttemptResult> {
    let pin = call.pin()?;
    let policy = call.cache_policy(pin);
    if !matches!(policy.mode, CacheMode::ReadWrite | CacheMode::Read) {
        return None;
    }
    let key = call.fingerprint(shared, pin, policy);
    shared.cache.peek(&call.tenant, key, shared.now()).map(|found| call.hit(key, found))
}

/// Runs an attempt from the cache's question to its end.
pub(crate) async fn run(shared: Arc<Shared>, call: Arc<AttemptCall>) -> AttemptResult {
    let Some(pin) = call.pin().cloned() else {
        return call.ended(
            Err(Failure::new(FailureKind::Internal, "the step calls nothing")),
            Usage::default(),
            CacheVerdict::Off,
        );
    };
    if call.input.size() as u64 > shared.limits.input_bytes {
        let message = format!(
            "the input has {} bytes; the limit input_bytes is {}",
            call.input.size(),
            shared.limits.input_bytes
        );
        return call.ended(
            Err(Failure::new(FailureKind::QuotaExceeded, message)),
            Usage::default(),
            CacheVerdict::Off,
        );
    }
    let policy = call.cache_policy(&pin);
    if policy.mode == CacheMode::Off {
        let end = sandbox(&shared, &call, pin, Depth::Attempt).await;
        return finish(&call, end, None);
    }
    let key = call.fingerprint(&shared, &pin, policy);
    let lead = match policy.mode {
        CacheMode::Write => None,
        _ => match shared.cache.look(&call.tenant, key, shared.now()).await {
            Lookup::Found(found) => return call.hit(key, found),
            Lookup::Lead(lead) => Some(lead),
        },
    };
    let end = sandbox(&shared, &call, pin, Depth::Attempt).await;
    let now = shared.now();
    let expires = policy.ttl.map(|ttl| now.plus_ms(ttl.0));
    // Files are the run's own: who gets an output from the cache would not get them.
    let is_kept = policy.mode != CacheMode::Read && call.files.is_empty();
    if let (Outcome::Done(output), true) = (&end.outcome, is_kept) {
        shared.cache.keep(&call.tenant, key, output, now, expires, call.run);
    }
    drop(lead);
    finish(&call, end, Some((key, expires, policy.mode)))
}

fn finish(
    call: &AttemptCall,
    end: AttemptEnd,
    cached: Option<(Digest, Option<Timestamp>, CacheMode)>,
) -> AttemptResult {
    let verdict = cached.map_or(CacheVerdict::Off, |(key, ..)| CacheVerdict::Miss { key });
    let outcome = match end.outcome {
        Outcome::Done(output) => Ok(output),
        Outcome::Failed(failure) => Err(failure),
        Outcome::Continue(_) => {
            Err(Failure::new(FailureKind::Internal, "an attempt ended with a checkpoint"))
        }
    };
    let keep = cached
        .filter(|(_, _, mode)| *mode != CacheMode::Read && outcome.is_ok() && call.files.is_empty())
        .map(|(key, expires, _)| (key, expires));
    AttemptResult { keep, ..call.ended(outcome, end.usage, verdict) }
}

/// Takes a slot and runs the plugin; an agent goes on from its checkpoints until it is done.
pub(crate) async fn sandbox(
    shared: &Arc<Shared>,
    call: &Arc<AttemptCall>,
    pin: Arc<Pinned>,
    depth: Depth,
) -> AttemptEnd {
    let step = call.step();
    let until = step.timeouts.queue.map(|s| Instant::now() + Duration::from_millis(s.0));
    let depth = match depth {
        Depth::Attempt if call.suspect => Depth::Suspect,
        Depth::Attempt if shared.invoker.is_quick(&pin) => Depth::Quick,
        other => other,
    };
    let share = Share { tenant: call.tenant.clone(), workflow: call.snapshot.workflow.clone() };
    let in_line_since = shared.now();
    let (_slot, passed) = match admitted(shared, call, (&share, depth), until).await {
        Ok(entered) => entered,
        Err(failure) => return AttemptEnd { outcome: Outcome::Failed(failure), usage: Usage::default() },
    };
    let asked = call.asked(&pin);
    let mut limits = shared.limits.attempt(pin.kind, &asked);
    let beats = depth != Depth::Nested && !pin.kind.is_pure();
    limits.heartbeat_ms = step.timeouts.heartbeat.filter(|_| beats).map(|time| time.0);
    let opened = shared.now();
    let queued_us = opened.since_ms(in_line_since) * 1_000;
    let deadline = opened.plus_ms(limits.wall_ms);
    let kind = pin.kind;
    let calls = match log_of(shared, call, &pin, deadline).await {
        Ok(calls) => calls,
        Err(failure) => return AttemptEnd { outcome: Outcome::Failed(failure), usage: Usage::default() },
    };
    // An agent knows of itself what it knew when its log was opened.
    let known = calls.as_ref().and_then(|calls| calls.opened());
    let (opened, told_attempt, deadline) = known.unwrap_or((opened, call.attempt, deadline));
    let reach = Arc::new(AttemptReach::new(shared.clone(), call.clone(), &pin, deadline, calls.clone()));
    let invocation = Invocation {
        plugin: pin.clone(),
        input: call.input.clone(),
        state: None,
        limits,
        share,
        run: call.run,
        step: step.id.clone(),
        step_number: call.node.step,
        item: call.node.item,
        attempt: call.attempt,
        told_attempt,
        seed: call.seed(calls.as_ref()),
        alternative: call.alternative,
        within: call.within.clone(),
        at_most_once: step.on_crash == OnCrash::Fail,
        deadline,
        traceparent: call.traceparent.clone(),
        opened,
        begin: call.begin,
        reach,
        held: call.held.clone(),
    };
    let before = Usage { queued_us, ..Usage::default() };
    let mut end = segments(shared, invocation, calls.as_deref(), before).await;
    let spent = calls.map(|calls| calls.spent()).unwrap_or_default();
    end.usage.spent = spent.without(call.charged);
    shared.meters.attempt_ended(kind, &end.outcome, end.usage.wall_us);
    health::observe(shared, &call.tenant, &pin, &end);
    if let Some(passed) = passed {
        passed.ended(&end.outcome);
    }
    end
}

/// What the randomness of a segment grows from: none draws what another one has drawn.
fn of_segment(seed: [u8; 32], segment: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed);
    hash.update(segment.to_le_bytes());
    hash.finalize().into()
}

/// Waits for the gates before the sandbox, and for the sandbox.
async fn admitted<'a>(
    shared: &'a Arc<Shared>,
    call: &AttemptCall,
    (share, depth): (&Share, Depth),
    until: Option<Instant>,
) -> Result<(Slot, Option<Passed<'a>>), Failure> {
    let take = || shared.slots.take((call.run, call.node), share, depth, until);
    match call.ahead.as_deref() {
        None => match take().await {
            Ok(slot) => Ok((slot, None)),
            Err(QueueTimeout) => Err(no_sandbox()),
        },
        Some(Ahead { gates, still }) => {
            let who = Who { who: (call.run, call.node), share, still };
            let entered = shared.gates.enter(who, gates, until, take).await;
            entered.map(|(slot, passed)| (slot, Some(passed)))
        }
    }
}

/// The call log of an agent; the other kinds have none.
async fn log_of(
    shared: &Arc<Shared>,
    call: &AttemptCall,
    pin: &Pinned,
    deadline: Timestamp,
) -> Result<Option<Arc<Calls>>, Failure> {
    match pin.kind {
        PluginKind::Agent => {
            Calls::open(shared.clone(), call, pin, deadline).await.map(|calls| Some(Arc::new(calls)))
        }
        PluginKind::Tool | PluginKind::Transform => Ok(None),
    }
}

/// Runs the plugin, and again from its checkpoint where an agent gives one.
async fn segments(
    shared: &Shared,
    invocation: Invocation,
    calls: Option<&Calls>,
    mut usage: Usage,
) -> AttemptEnd {
    let Some(calls) = calls else {
        let end = shared.invoker.invoke(invocation).await;
        return AttemptEnd { usage: usage.and(end.usage), ..end };
    };
    let most = shared.limits.agent_segments;
    loop {
        let state = match calls.began_with().await {
            Ok(state) => state,
            Err(failure) => return AttemptEnd { outcome: Outcome::Failed(failure), usage },
        };
        let opened = calls.opened().map_or(invocation.opened, |(at, ..)| at);
        let seed = of_segment(invocation.seed, calls.segments());
        let end = shared.invoker.invoke(Invocation { state, opened, seed, ..invocation.clone() }).await;
        usage = usage.and(end.usage);
        match end.outcome {
            Outcome::Continue(state) if calls.segments() + 1 < most => calls.continued(&state),
            Outcome::Continue(_) => {
                calls.close();
                let message = format!("the agent returned `continue` {most} times (limit agent_segments)");
                return AttemptEnd { usage, ..AttemptEnd::failed(FailureKind::BudgetExhausted, message) };
            }
            outcome => {
                calls.close();
                return AttemptEnd { outcome, usage };
            }
        }
    }
}
