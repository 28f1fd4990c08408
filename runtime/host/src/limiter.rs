//! Memory and tables of one sandbox, summed: wasmtime's own limits count each memory by itself, so a component with
//! thirty memories would get thirty times the limit. The sum also counts against the node's budget.
//!
//! A refused `memory.grow` answers -1, as WebAssembly says, and most guests then end with `unreachable`. The meter
//! remembers that it refused, so that such an end is called by its cause.

use heddle_core::limits::{AttemptLimits, Limits};
use heddle_core::outcome::FailureKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wasmtime::ResourceLimiter;

/// Guest memory of the whole node, in bytes.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    used: AtomicU64,
    max: u64,
}

impl NodeMemory {
    pub(crate) fn new(max: u64) -> NodeMemory {
        NodeMemory { used: AtomicU64::new(0), max }
    }
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.max);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// Why a growth was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The sandbox's own limit on memory.
    Memory,
    /// The sandbox's own limit on table elements.
    Table,
    /// The node has no more memory for guests.
    Node,
}

impl Refused {
    pub(crate) fn kind(self) -> FailureKind {
        match self {
            Refused::Memory | Refused::Node => FailureKind::MemoryLimit,
            Refused::Table => FailureKind::TableLimit,
        }
    }
}

/// The meter of one sandbox. Dropping it gives everything back to the node.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    node: Arc<NodeMemory>,
    bytes: u64,
    peak: u64,
    max_bytes: u64,
    elements: u64,
    max_elements: u64,
    counts: Counts,
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    instances: usize,
    memories: usize,
    tables: usize,
}

impl MemoryMeter {
    pub(crate) fn new(node: Arc<NodeMemory>, limits: &Limits, attempt: &AttemptLimits) -> MemoryMeter {
        MemoryMeter {
            node,
            bytes: 0,
            peak: 0,
            max_bytes: attempt.memory_bytes.min(limits.memory_bytes),
            elements: 0,
            max_elements: limits.table_elements,
            counts: Counts {
                instances: limits.core_instances as usize,
                memories: limits.memories as usize,
                tables: limits.tables as usize,
            },
            refused: None,
        }
    }
    /// The largest sum of the memories, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak
    }
    /// Whether a growth was refused, and why: the last one.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }
    fn refuse(&mut self, why: Refused) -> wasmtime::Result<bool> {
        self.refused = Some(why);
        Ok(false)
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if self.bytes.saturating_add(more) > self.max_bytes {
            return self.refuse(Refused::Memory);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if !self.node.take(more) {
            return self.refuse(Refused::Node);
        }
        self.bytes += more;
        self.peak = self.peak.max(self.bytes);
        Ok(true)
    }
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Past what an index can reach, or refused by the system. What was counted stays counted until the sandbox ends.
        tracing::debug!(%error, "a guest's memory could not grow");
        self.refused = Some(Refused::Memory);
        Ok(())
    }
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if self.elements.saturating_add(more) > self.max_elements {
            return self.refuse(Refused::Table);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.elements += more;
        Ok(true)
    }
    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "a guest's table could not grow");
        self.refused = Some(Refused::Table);
        Ok(())
    }
    fn instances(&self) -> usize {
        self.counts.instances
    }
    fn memories(&self) -> usize {
        self.counts.memories
    }
    fn tables(&self) -> usize {
        self.counts.tables
    }
}

impl Drop for MemoryMeter {
    fn drop(&mut self) {
        self.node.give_back(self.bytes);
    }
}
