//! What the host keeps beside one sandbox: its meters, its caps, its clock and randomness. Made afresh for every
//! attempt and cheap to make: nothing here allocates before it is used, as far as that can be had.

use crate::begin::{Begin, QUICK_TICKS, SLICE_FUEL};
use crate::call::CallScope;
use crate::capability::clock::Clock;
use crate::capability::held::{Held, Hold};
use crate::capability::log::LogSink;
use crate::capability::pending::{Calls, first_ended};
use crate::capability::random::Randomness;
use crate::cpu::CpuMeter;
use crate::host_calls::HostCalls;
use crate::limiter::{MemoryMeter, NodeMemory};
use crate::refusal::Refusal;
use crate::turns::next_turn;
use crate::wall::WallClock;
use futures_util::future::BoxFuture;
use heddle_core::host_call::{Answered, HostAnswer, HostCall};
use heddle_core::json::Json;
use heddle_core::limits::{AttemptLimits, Limits};
use heddle_core::outcome::{Failure, FailureKind, PluginKind, Spent};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime::{Engine, Store, StoreContextMut, Trap, UpdateDeadline};

/// The store of one attempt, seen from a host call.
pub(crate) type Cx<'a> = StoreContextMut<'a, Guest>;

/// Bytes that cost one unit of fuel to carry across the boundary.
const BYTES_PER_FUEL: u64 = 64;

/// The host's side of one sandbox.
pub(crate) struct Guest {
    /// Whose rights it has. `describe` runs as a transform, whatever the plugin is.
    pub(crate) acts_as: PluginKind,
    pub(crate) scope: Arc<CallScope>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) attempt: AttemptLimits,
    pub(crate) host_calls: Arc<dyn HostCalls>,
    pub(crate) memory: MemoryMeter,
    pub(crate) cpu: Arc<CpuMeter>,
    pub(crate) wall: Arc<WallClock>,
    pub(crate) hostcalls: u64,
    pub(crate) log: LogSink,
    pub(crate) clock: Clock,
    pub(crate) random: Randomness,
    pub(crate) tools: Calls,
    pub(crate) http: Calls,
    pub(crate) model: Calls,
    /// What the answers of models have used that the guest has taken, and how often it has asked.
    pub(crate) model_spent: Spent,
    pub(crate) threads_held: Held,
    /// What the operator tells the plugin, once it has asked.
    pub(crate) told_config: Option<Option<Json>>,
    pub(crate) http_held: Held,
    pub(crate) artifacts_held: Held,
    /// What the files take that the attempt has kept.
    pub(crate) artifacts: Vec<Hold>,
    pub(crate) egress: Arc<Egress>,
    pub(crate) table: ResourceTable,
}

/// What came of the guest's last request to the outside: a guest that fails right behind a failed request fails for it.
#[derive(Debug, Default)]
pub(crate) struct Egress(Mutex<Option<FailureKind>>);

impl Egress {
    pub(crate) fn note(&self, failure: Option<FailureKind>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
    pub(crate) fn last(&self) -> Option<FailureKind> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a guest is made from.
pub(crate) struct Admission {
    pub(crate) acts_as: PluginKind,
    pub(crate) scope: CallScope,
    pub(crate) limits: Arc<Limits>,
    pub(crate) attempt: AttemptLimits,
    pub(crate) host_calls: Arc<dyn HostCalls>,
    pub(crate) node_memory: Arc<NodeMemory>,
}

impl Guest {
    pub(crate) fn new(admission: Admission) -> Guest {
        let Admission { acts_as, scope, limits, attempt, host_calls, node_memory } = admission;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.host_resources as usize);
        let http_held = Held::answers(node_memory.clone(), limits.http_held_bytes);
        let threads_held = Held::threads(node_memory.clone(), limits.model_thread_bytes);
        let artifacts_held = Held::artifacts(node_memory.clone(), limits.artifacts_bytes);
        Guest {
            acts_as,
            memory: MemoryMeter::new(node_memory, &limits, &attempt),
            cpu: Arc::default(),
            wall: Arc::new(WallClock::start(attempt.wall_ms, attempt.heartbeat_ms)),
            hostcalls: 0,
            log: LogSink::new(&limits),
            clock: Clock::of(acts_as, scope.clock_ms),
            random: Randomness::of(acts_as, scope.seed),
            tools: Calls::new(limits.tool_calls, limits.tool_calls_at_once),
            http: Calls::new(limits.http_calls, limits.http_at_once),
            model: Calls::new(limits.model_calls, limits.tool_calls_at_once),
            model_spent: Spent::default(),
            threads_held,
            told_config: None,
            http_held,
            artifacts_held,
            artifacts: Vec::new(),
            egress: Arc::default(),
            table,
            scope: Arc::new(scope),
            limits,
            attempt,
            host_calls,
        }
    }

    /// A store for this guest, with every limit in force before the first instruction.
    pub(crate) fn into_store(self, engine: &Engine, begin: Begin) -> wasmtime::Result<Store<Guest>> {
        let (fuel, hostcall_bytes) = (self.attempt.fuel, self.limits.hostcall_bytes as usize);
        let handles = self.limits.component_handles as usize;
        let mut store = Store::new(engine, self);
        store.set_fuel(fuel)?;
        store.fuel_async_yield_interval(Some(SLICE_FUEL))?;
        let ticks = match begin {
            Begin::Apart => 1,
            Begin::Here => QUICK_TICKS,
        };
        store.set_hostcall_fuel(hostcall_bytes);
        store.set_max_component_handles(handles);
        store.limiter(|guest| &mut guest.memory);
        store.set_epoch_deadline(ticks);
        store.epoch_deadline_callback(|cx| give_way(cx.data()));
        Ok(store)
    }
}

/// At every tick: end a guest that has used up its CPU time, send any other into the line for its next turn.
fn give_way(guest: &Guest) -> wasmtime::Result<UpdateDeadline> {
    if guest.cpu.spent_within_poll_ms() >= guest.attempt.cpu_ms {
        return Err(Trap::Interrupt.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(next_turn())))
}

/// Every host call begins here: it is counted, and it costs fuel for itself and for what it carries.
pub(crate) fn enter(cx: &mut Cx<'_>, bytes: usize) -> wasmtime::Result<()> {
    let guest = cx.data_mut();
    guest.hostcalls += 1;
    if guest.hostcalls > guest.limits.hostcalls {
        let message = format!("more than {} host calls (`limits.hostcalls`)", guest.limits.hostcalls);
        return Err(Refusal::new(FailureKind::HostcallLimit, message).into());
    }
    // What takes time has a span of its own; this shows, in the attempt's span, that the guest asked at all.
    tracing::trace!(number = guest.hostcalls, bytes, "host_call");
    let price = guest.limits.hostcall_fuel;
    charge(cx, price.saturating_add(bytes as u64 / BYTES_PER_FUEL))
}

/// Asks and awaits the answer; an agent's clock goes by it.
pub(crate) async fn answered(cx: &mut Cx<'_>, call: HostCall) -> wasmtime::Result<HostAnswer> {
    let asked = cx.data().own_time(cx.data().ask(call));
    let Answered { answer, at } = asked.await.map_err(Refusal::from)?;
    cx.data_mut().clock.answered(at.0);
    Ok(answer)
}

/// What a call brings back costs as much as what it takes along.
pub(crate) fn carried(cx: &mut Cx<'_>, bytes: usize) -> wasmtime::Result<()> {
    charge(cx, bytes as u64 / BYTES_PER_FUEL)
}

/// Takes this much fuel, or ends the guest for want of it.
pub(crate) fn charge(cx: &mut Cx<'_>, fuel: u64) -> wasmtime::Result<()> {
    match cx.get_fuel()?.checked_sub(fuel) {
        Some(left) => cx.set_fuel(left),
        None => {
            cx.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// Refuses a capability that this guest's rights do not include. The linker has refused it already for plugins of the
/// wrong kind; this is for `describe`, which has fewer rights than its plugin.
pub(crate) fn require(cx: &Cx<'_>, kinds: &[PluginKind], capability: &str) -> wasmtime::Result<()> {
    if kinds.contains(&cx.data().acts_as) {
        return Ok(());
    }
    let message = format!(
        "`{capability}` may not be used in `describe`, which runs as a transform; move it to the call"
    );
    Err(Refusal::new(FailureKind::CapabilityDenied, message).into())
}

impl Guest {
    /// Asks the rest of the product.
    pub(crate) fn ask(&self, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>> {
        self.host_calls.ask(&self.scope, call)
    }
    /// Awaits an answer. An agent has no part in how long that takes.
    pub(crate) fn own_time<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let wall = (self.acts_as == PluginKind::Agent).then(|| self.wall.clone());
        async move {
            match wall {
                Some(wall) => wall.wait(work).await,
                None => work.await,
            }
        }
    }
    /// The index of the call that ended first among these, once one has.
    pub(crate) fn first(
        &self,
        news: Arc<Notify>,
        places: Vec<Arc<AtomicU64>>,
    ) -> impl Future<Output = wasmtime::Result<u32>> + use<> {
        let count = places.len() as u32;
        let ended = async move { vec![first_ended(&news, &places).await] };
        let picked = self.own_time(self.host_calls.pick(&self.scope, Box::pin(ended)));
        async move {
            let index = picked.await.first().copied().filter(|index| *index < count);
            // A record of another wait than this one.
            let other = "the record knows another wait in place of this one";
            index.ok_or_else(|| Refusal::new(FailureKind::Diverged, other).into())
        }
    }
    /// Keeps a host-side thing for the guest, which gets a handle to it.
    pub(crate) fn push<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<Resource<T>> {
        self.table.push(entry).map_err(|fault| {
            let message = format!(
                "{fault}: more than {} at once (`limits.host_resources`)",
                self.limits.host_resources
            );
            Refusal::new(FailureKind::HandleLimit, message).into()
        })
    }
}
