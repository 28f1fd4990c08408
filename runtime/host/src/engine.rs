//! wasmtime's `Engine`: how it is configured, here and in the compiling process.
//!
//! There is one `Engine` for each process. The host's uses the pooling allocator, so that a fresh sandbox costs
//! microseconds; the compiling process uses the on-demand allocator, because a pool under an address space limit dies
//! at once. Everything that shapes machine code is in [`Shape`], which both share; a digest over wasmtime's own
//! compatibility hash proves that they agree.

use crate::config::HostFault;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;
use wasmtime::{
    Config, Enabled, Engine, OperatorCost, PoolingAllocationConfig, WasmBacktraceDetails, WasmFeatures,
};

/// The WebAssembly that a component may use. Each proposal left out is a class of advisories left out.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What wasmtime's own code between the components of one composition needs besides: it copies from the memory of one
/// into that of the other. No component may use it itself; [`crate::inspect()`] refuses one that does.
const BETWEEN: WasmFeatures = WasmFeatures::MULTI_MEMORY;
/// Frames kept of a guest's backtrace.
pub(crate) const BACKTRACE_FRAMES: usize = 20;
/// Fuel for each page that `memory.grow` asks for: the most that wasmtime's table can hold. wasmtime's own default is
/// none, which lets a loop of grows run nearly free.
const GROW_FUEL_PER_PAGE: u8 = 255;
/// Stack for host functions under a guest's frames.
const HOST_STACK_BYTES: usize = 1536 * 1024;
/// Sandboxes whose memory is given back to the system in one go: each time, every core of the process is interrupted.
/// A slot is free again after that; a request for one that finds none does not wait for the others.
const DECOMMITS_AT_ONCE: usize = 16;
/// Address space that all sandboxes together may reserve: a quarter of what x86-64 gives a process.
const ADDRESS_SPACE: u64 = 32 << 40;
/// A reservation of the whole 32-bit index space lets compiled code leave out bounds checks.
const WHOLE_INDEX_SPACE: u64 = 4 << 30;
/// Behind every memory, so that an access with a small constant offset needs no check of its own.
const GUARD: u64 = 32 << 20;

/// What shapes compiled code. The compiling process is told it, so that it compiles exactly for this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    memory_reservation: u64,
    wasm_stack: usize,
}

impl Shape {
    pub(crate) fn of(limits: &Limits) -> Result<Shape, HostFault> {
        let slots = sandboxes(limits) * limits.memories;
        let share = ADDRESS_SPACE / slots.max(1);
        let memory_reservation = if share >= WHOLE_INDEX_SPACE + GUARD {
            WHOLE_INDEX_SPACE
        } else {
            limits.memory_bytes.next_multiple_of(64 << 10)
        };
        if memory_reservation + GUARD > share {
            return Err(HostFault::AddressSpace {
                sandboxes: sandboxes(limits),
                memories: limits.memories,
                needed_gib: slots.saturating_mul(memory_reservation + GUARD) >> 30,
            });
        }
        Ok(Shape { memory_reservation, wasm_stack: limits.wasm_stack_bytes as usize })
    }
}

/// Sandboxes that may exist at the same time: the attempts, and the `describe` calls of components being loaded.
pub(crate) fn sandboxes(limits: &Limits) -> u64 {
    limits.attempts_at_once + limits.compiles_at_once
}

fn base(shape: Shape) -> Config {
    let mut prices = OperatorCost::new();
    prices.variable.memory_grow_per_page = GROW_FUEL_PER_PAGE;
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES.union(BETWEEN), true)
        .concurrency_support(false)
        .consume_fuel(true)
        .operator_cost(prices)
        .epoch_interruption(true)
        // Equal input, equal output, on every machine: these two are where WebAssembly leaves room.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_reservation(shape.memory_reservation)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        .memory_init_cow(true)
        .max_wasm_stack(shape.wasm_stack)
        .async_stack_size(shape.wasm_stack + HOST_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES))
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// The engine that runs guests, by itself: for whoever measures what it costs without a host around it.
///
/// # Errors
/// When the limits need more address space than there is, or wasmtime refuses its configuration.
pub fn bare_wasmtime(limits: &Limits) -> Result<Engine, HostFault> {
    running(limits)
}

/// The engine that runs guests.
pub(crate) fn running(limits: &Limits) -> Result<Engine, HostFault> {
    let mut config = base(Shape::of(limits)?);
    config.allocation_strategy(pool(limits));
    Engine::new(&config).map_err(|e| HostFault::Wasmtime(format!("{e:#}")))
}

/// The engine of the compiling process.
pub(crate) fn compiling(shape: Shape) -> wasmtime::Result<Engine> {
    Engine::new(&base(shape))
}

/// Bytes of a memory that are written back to their first content, instead of given back to the system, when a
/// sandbox ends. Where the kernel can tell which pages a guest wrote (Linux 6.7), these are the pages that the next
/// guest writes too, and neither the end nor the start interrupts the other cores; elsewhere they are the lowest
/// ones, which hold a stack that is hardly touched.
fn kept_resident() -> usize {
    if PoolingAllocationConfig::is_pagemap_scan_available() { 512 << 10 } else { 64 << 10 }
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let sandboxes = sandboxes(limits);
    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    // A cap, not a reservation: the state of an instance grows with its functions, tables and imports.
    let state_bytes = (1 << 20) + limits.functions as usize * 64;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(sandboxes))
        .max_component_instance_size(state_bytes)
        .max_core_instances_per_component(count(limits.core_instances))
        .max_memories_per_component(count(limits.memories))
        .max_tables_per_component(count(limits.tables))
        .total_core_instances(count(sandboxes * limits.core_instances))
        .total_memories(count(sandboxes * limits.memories))
        .total_tables(count(sandboxes * limits.tables))
        .total_stacks(count(sandboxes))
        .max_core_instance_size(state_bytes)
        .max_memories_per_module(count(limits.memories))
        .max_tables_per_module(count(limits.tables))
        .table_elements(limits.table_elements as usize)
        .max_memory_size(limits.memory_bytes as usize)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(kept_resident())
        .decommit_batch_size(DECOMMITS_AT_ONCE)
        .table_keep_resident(16 << 10)
        .max_unused_warm_slots(count(sandboxes));
    pool
}

/// A digest over everything that compiled code depends on: wasmtime's version, the target, every tunable.
pub(crate) fn code_digest(engine: &Engine) -> Digest {
    struct Sink(Sha256);
    impl Hasher for Sink {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sink = Sink(Sha256::new());
    sink.write(b"heddle code 1");
    engine.precompile_compatibility_hash().hash(&mut sink);
    Digest(sink.0.finalize().into())
}

/// Advances the epoch every tick, until the engine is gone. A thread, not a timer of the runtime: guests may hold every
/// thread of that until they are told to give way.
pub(crate) fn start_ticker(engine: &Engine, tick: Duration) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("heddle-epoch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(tick);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_make_code_for_each_other() {
        let limits = Limits::default();
        let running = running(&limits).unwrap();
        let compiling = compiling(Shape::of(&limits).unwrap()).unwrap();
        assert_eq!(code_digest(&running), code_digest(&compiling));
    }
    #[test]
    fn address_space_stays_sane() {
        let mut limits = Limits::default();
        assert_eq!(Shape::of(&limits).unwrap().memory_reservation, WHOLE_INDEX_SPACE);
        limits.set("attempts_at_once", 1_000).unwrap();
        limits.set("memories", 100).unwrap();
        assert_eq!(Shape::of(&limits).unwrap().memory_reservation, limits.memory_bytes);
        limits.set("memory_bytes", 2048 << 20).unwrap();
        assert!(matches!(Shape::of(&limits), Err(HostFault::AddressSpace { .. })));
    }
}
