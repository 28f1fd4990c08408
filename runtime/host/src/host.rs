//! The host: one handle to everything that knows a component.

use crate::CallScope;
use crate::begin::{Attempt, Begin, First, first_slice, panicked};
use crate::call::{self, Call};
use crate::capability::linkers;
use crate::compile::Compilers;
use crate::config::{HostConfig, HostFault};
use crate::engine::{self, Shape};
use crate::fault::ComponentFault;
use crate::inside::{Inside, Left, Mark};
use crate::inspect::{Inspection, inspect};
use crate::limiter::NodeMemory;
use crate::precompiled::CodeCache;
use crate::registry::{Components, blocking};
use crate::threads::GuestThreads;
use bytes::Bytes;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::outcome::{AttemptEnd, FailureKind};
use heddle_core::plugin::Metadata;
use heddle_core::share::Share;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use wasmtime::Engine;

/// Runs plugins. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    node: Arc<Node>,
    threads: Arc<GuestThreads>,
    left: Arc<Mutex<Vec<Left>>>,
}

/// What all attempts of one process share.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) limits: Arc<Limits>,
    pub(crate) memory: Arc<NodeMemory>,
    pub(crate) slots: Semaphore,
    pub(crate) components: Components,
    pub(crate) inside: Arc<Inside>,
}

/// A component that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What it shows without being run.
    pub inspection: Inspection,
    /// What it says of itself.
    pub metadata: Metadata,
}

/// What the host holds at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauges {
    /// Sandboxes that could be made now.
    pub slots_free: usize,
    /// Sandboxes that there may be at most.
    pub slots: usize,
    /// Compilations that could start now.
    pub compiles_free: usize,
    /// Guest memory in use, in bytes.
    pub guest_memory_bytes: u64,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

impl Host {
    /// Makes the host: the engine, its pool, the guests' threads, the cache folder. No component is loaded yet. One
    /// for each process: a pool reserves terabytes of address space.
    pub fn new(config: HostConfig) -> Result<Host, HostFault> {
        let limits = Arc::new(config.limits);
        let shape = Shape::of(&limits)?;
        let engine = engine::running(&limits)?;
        let code = engine::code_digest(&engine);
        let files = CodeCache::open(&config.cache_dir, code)
            .map_err(|fault| HostFault::CacheDir { path: config.cache_dir.clone(), fault })?;
        let (inside, left) = Inside::open(&config.cache_dir.join("inside"))
            .map_err(|fault| HostFault::CacheDir { path: config.cache_dir.clone(), fault })?;
        let linkers = linkers(&engine).map_err(|fault| HostFault::Wasmtime(format!("{fault:#}")))?;
        let threads = Arc::new(GuestThreads::start(config.guest_threads).map_err(HostFault::Threads)?);
        engine::start_ticker(&engine, Duration::from_millis(limits.epoch_tick_ms))
            .map_err(HostFault::Threads)?;
        let compilers = Compilers::new(config.compiler, shape, code, &limits);
        let node = Arc::new_cyclic(|node| Node {
            memory: Arc::new(NodeMemory::new(limits.guest_memory_bytes)),
            slots: Semaphore::new(engine::sandboxes(&limits) as usize),
            components: Components::new(
                node.clone(),
                linkers,
                files,
                compilers,
                config.components,
                limits.code_bytes,
            ),
            engine,
            limits,
            inside,
        });
        Ok(Host { node, threads, left: Arc::new(Mutex::new(left)) })
    }

    /// The attempts that were in a sandbox when the last process with this folder was killed, to be had once. Some of
    /// them may have ended since. Each is found again by the next process, until its mark is dropped: that is for when
    /// it is on disk what became of it.
    pub fn take_left_inside(&self) -> Vec<Left> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Notes that an attempt is about to have its effect, where that does not happen in a sandbox.
    pub fn enter(&self, scope: &CallScope) -> Mark {
        self.node.inside.enter(scope)
    }
    /// Forgets what is in the sandboxes, because this process ends in order and not for a guest's sake.
    pub fn end_in_order(&self) {
        self.node.inside.clear();
    }

    /// Reads a component without running or compiling any of it: whether it is one, its caps, kind and imports. On this
    /// thread, for a time that grows with the size: up to a second for the largest uploads.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, ComponentFault> {
        inspect(bytes, &self.node.limits)
    }

    /// Accepts a component: inspects, compiles (in a process of its own, unless its code is cached), links and asks it
    /// to describe itself. After this, calls find it by its digest. Dropping the future gives up.
    pub fn load(&self, bytes: Bytes) -> impl Future<Output = Result<Loaded, ComponentFault>> + Send + use<> {
        let (node, threads) = (self.node.clone(), self.threads.clone());
        async move {
            let work = async move {
                let (limits, inspected) = (node.limits.clone(), bytes.clone());
                let inspection = blocking(move || inspect(&inspected, &limits)).await??;
                let ready = node.components.accept(inspection.digest, bytes).await?;
                Ok(Loaded { inspection, metadata: ready.metadata.clone() })
            };
            threads.run(Share::of_the_node(), work).await.unwrap_or_else(|fault| {
                Err(ComponentFault::internal(format!("loading the component failed: {fault}")))
            })
        }
    }

    /// Runs one attempt in a sandbox of its own. Never fails otherwise than by its value. Dropping the future cancels
    /// the attempt.
    pub fn call(&self, call: Call) -> impl Future<Output = AttemptEnd> + Send + use<> {
        let (node, threads) = (self.node.clone(), self.threads.clone());
        async move {
            let share = call.scope.share.clone();
            let quick = match call.begin {
                Begin::Here => node.components.quick(call.component),
                Begin::Apart => None,
            };
            let attempt: Attempt = match quick {
                None => Box::pin(call::run(node, Call { begin: Begin::Apart, ..call })),
                Some(ready) => {
                    match first_slice(Box::pin(call::run_ready(node, ready.clone(), call))).await {
                        First::Ended(end) => return end,
                        First::Open(attempt) => {
                            // Now, and not when it ends: whoever comes in between would begin here as well.
                            ready.quickness.was_slow();
                            attempt
                        }
                    }
                }
            };
            match threads.run(share, attempt.in_current_span()).await {
                Ok(end) => end,
                Err(fault) if fault.is_panic() => panicked(),
                Err(_) => AttemptEnd::failed(FailureKind::Interrupted, "the host is shutting down"),
            }
        }
    }

    /// Whether the attempts of this component have been quick lately, and often enough to count on it.
    pub fn is_quick(&self, component: Digest) -> bool {
        self.node.components.quick(component).is_some()
    }

    /// Drops the component from memory and its code from disk, as after a deletion. Attempts under way keep it; a later
    /// call makes it again from its bytes, if the source of components still has them.
    pub fn forget(&self, component: Digest) {
        self.node.components.forget(component);
    }

    /// What is in use now.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            slots_free: self.node.slots.available_permits(),
            slots: engine::sandboxes(&self.node.limits) as usize,
            compiles_free: self.node.components.compilers.free(),
            guest_memory_bytes: self.node.memory.used(),
        }
    }
}
