//! One attempt, from its request to its end. An end is always a value: a trap, a limit, a deadline and a fault of ours
//! are all ways in which an attempt can end, and none of them is an error of the call.
//!
//! Each attempt is one piece of work on the guests' threads with a store of its own, made after the input was checked
//! and dropped whatever happened. Dropping the call's future aborts that work; wasmtime may panic when a suspended
//! guest is dropped, so the panic is caught where the work is joined, and becomes `internal`.

use crate::begin::Begin;
use crate::bindings::Segment;
use crate::classify::classify;
use crate::component::{Linked, Ready};
use crate::cpu::CpuMeter;
use crate::guest::{Admission, Guest};
use crate::host::Node;
use crate::host_calls::HostCalls;
use crate::output;
use crate::wall::{Passed, WallClock};
use heddle_core::id::{Digest, RunId};
use heddle_core::json::Json;
use heddle_core::limits::AttemptLimits;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, PluginKind, Usage};
use heddle_core::share::Share;
use std::sync::Arc;
use wasmtime::Store;

/// What is to be run, on what, within which limits, and for whom.
#[derive(Clone)]
pub struct Call {
    /// The component.
    pub component: Digest,
    /// The kind that the caller takes it for; another kind is refused.
    pub kind: PluginKind,
    /// The input, or an agent's goal.
    pub input: Json,
    /// What an agent's last segment handed on. Ignored for the other kinds.
    pub state: Option<Json>,
    /// The limits of this attempt.
    pub limits: AttemptLimits,
    /// Who is being run.
    pub scope: CallScope,
    /// On which thread it may begin.
    pub begin: Begin,
    /// What its imports ask of the rest.
    pub host_calls: Arc<dyn HostCalls>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("component", &self.component)
            .field("kind", &self.kind)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Who is being run, frozen when the attempt opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallScope {
    /// The owner of the run, and its workflow: on whose account it runs.
    pub share: Share,
    /// The run.
    pub run: RunId,
    /// The step's id in the workflow.
    pub step: Arc<str>,
    /// Its number in the plan.
    pub step_number: u32,
    /// The item, where the step is wrapped by `forEach`.
    pub item: Option<u32>,
    /// Counts from 1.
    pub attempt: u32,
    /// What the guest is told of that: the same for all attempts that go on with one call log.
    pub told_attempt: u32,
    /// Whether it must not run twice, even if it is cut off where nobody is to blame.
    pub at_most_once: bool,
    /// Which of the step's alternatives it is: 0 for its own call.
    pub alternative: u32,
    /// Which call of an agent it is, where it is one.
    pub within: Option<Arc<str>>,
    /// When the attempt will be ended, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// What an agent's randomness is made from.
    pub seed: [u8; 32],
    /// The time at which an agent's attempt opened, in milliseconds since the Unix epoch.
    pub clock_ms: u64,
}

/// Runs one attempt. Called on the guests' threads.
pub(crate) async fn run(node: Arc<Node>, call: Call) -> AttemptEnd {
    let ready = match node.components.get(call.component).await {
        Ok(ready) => ready,
        Err(fault) => return AttemptEnd::failed(fault.kind, format!("the component cannot be had: {fault}")),
    };
    run_ready(node, ready, call).await
}

/// Runs one attempt of a component that is at hand.
pub(crate) async fn run_ready(node: Arc<Node>, ready: Arc<Ready>, call: Call) -> AttemptEnd {
    if ready.linked.kind() != call.kind {
        let (is, taken_for) = (ready.linked.kind().word(), call.kind.word());
        let message = format!("{} is a {is} and was called as a {taken_for}", call.component);
        return AttemptEnd::failed(FailureKind::ComponentInvalid, message);
    }
    if let Err(failure) = output::check_input(&call.input, node.limits.input_bytes, &ready.input_schema) {
        return AttemptEnd { outcome: Outcome::Failed(failure), usage: Usage::default() };
    }
    let (output_bytes, levels) = (call.limits.output_bytes, node.limits.json_depth);
    let guest = Guest::new(Admission {
        acts_as: call.kind,
        scope: call.scope,
        limits: node.limits.clone(),
        attempt: call.limits,
        host_calls: call.host_calls,
        node_memory: node.memory.clone(),
    });
    let egress = guest.egress.clone();
    let ended = in_sandbox(&node, guest, call.begin, async |store: &mut Store<Guest>| {
        enter(&ready, store, &call.input, call.state.as_ref()).await
    });
    let (end, usage) = ended.await;
    ready.quickness.note(usage.cpu_us);
    let outcome = match end {
        Ok(Ok(Produced::Output(text))) => {
            output::check_output(&text, output_bytes, levels, Some(&ready.output_schema))
                .map_or_else(Outcome::Failed, Outcome::Done)
        }
        Ok(Ok(Produced::State(text))) => output::check_output(&text, output_bytes, levels, None)
            .map_or_else(Outcome::Failed, Outcome::Continue),
        Ok(Err(failure)) => {
            let failure = output::guest_failure(failure);
            Outcome::Failed(Failure { kind: egress.last().unwrap_or(failure.kind), ..failure })
        }
        Err(failure) => Outcome::Failed(failure),
    };
    AttemptEnd { outcome, usage }
}

/// What a guest handed over when it returned.
enum Produced {
    Output(String),
    State(String),
}

/// Instantiates and calls the export of the component's kind.
async fn enter(
    ready: &Ready,
    store: &mut Store<Guest>,
    input: &Json,
    state: Option<&Json>,
) -> wasmtime::Result<Result<Produced, crate::bindings::Failure>> {
    // The generated bindings take owned text.
    let (input, state) = (input.text().to_owned(), state.map(|state| state.text().to_owned()));
    match &ready.linked {
        Linked::Transform(pre) => {
            let plugin = pre.instantiate_async(&mut *store).await?;
            let returned = plugin.heddle_plugin_transformer().call_apply(store, &input).await?;
            Ok(returned.map(Produced::Output))
        }
        Linked::Tool(pre) => {
            let plugin = pre.instantiate_async(&mut *store).await?;
            let returned = plugin.heddle_plugin_callable().call_call(store, &input).await?;
            Ok(returned.map(Produced::Output))
        }
        Linked::Agent(pre) => {
            let plugin = pre.instantiate_async(&mut *store).await?;
            let returned = plugin.heddle_plugin_runnable().call_run(store, &input, state.as_ref()).await?;
            Ok(returned.map(|segment| match segment {
                Segment::Done(output) => Produced::Output(output),
                Segment::Continue(state) => Produced::State(state),
            }))
        }
    }
}

/// Runs this in a fresh sandbox, under every limit, and measures it. The slot, the memory and the store are given back
/// before this returns, and also when it is dropped.
pub(crate) async fn in_sandbox<T>(
    node: &Node,
    guest: Guest,
    begin: Begin,
    work: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> (Result<T, Failure>, Usage) {
    let (cpu, wall) = (guest.cpu.clone(), guest.wall.clone());
    // Waiting for a slot counts as wall time: an attempt that never gets one ends like one that is too slow.
    let _slot = match wall.guard(node.slots.acquire()).await {
        Ok(Ok(slot)) => slot,
        Ok(Err(closed)) => {
            return (Err(Failure::new(FailureKind::Internal, closed.to_string())), Usage::default());
        }
        Err(passed) => return (Err(too_slow(passed, &guest.attempt)), measured(0, 0, 0, &cpu, &wall)),
    };
    let mark = node.inside.enter(&guest.scope);
    guest.host_calls.entered(&guest.scope, &mark);
    let fuel = guest.attempt.fuel;
    let mut store = match guest.into_store(&node.engine, begin) {
        Ok(store) => store,
        Err(fault) => return (Err(Failure::new(FailureKind::Internal, fault.to_string())), Usage::default()),
    };
    wall.beat();
    let ended = {
        let work = std::pin::pin!(work(&mut store));
        wall.guard(cpu.measure(work)).await
    };
    let fuel_left = store.get_fuel().unwrap_or(0);
    let guest = store.data_mut();
    guest.finish_log();
    let usage = measured(fuel - fuel_left.min(fuel), guest.memory.peak_bytes(), guest.hostcalls, &cpu, &wall);
    let result = match ended {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(classify(&error, guest.memory.refused())),
        Err(passed) => Err(too_slow(passed, &guest.attempt)),
    };
    (result, usage)
}

fn too_slow(passed: Passed, limits: &AttemptLimits) -> Failure {
    match passed {
        Passed::Deadline => {
            let message = format!("the attempt took longer than {} ms (`wall_ms`)", limits.wall_ms);
            Failure::new(FailureKind::DeadlineExceeded, message)
        }
        Passed::Heartbeat => {
            let most = limits.heartbeat_ms.unwrap_or_default();
            let message = format!("the plugin has reported no progress for {most} ms (`timeout.heartbeat`)");
            Failure::new(FailureKind::HeartbeatTimeout, message)
        }
    }
}

fn measured(fuel: u64, memory_peak_bytes: u64, hostcalls: u64, cpu: &CpuMeter, wall: &WallClock) -> Usage {
    Usage {
        fuel,
        memory_peak_bytes,
        wall_us: wall.elapsed().as_micros() as u64,
        cpu_us: cpu.spent_us(),
        hostcalls,
        ..Usage::default()
    }
}
