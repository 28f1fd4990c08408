//! Step outputs that need not be computed again: first in memory, then in the store, so that hits survive a restart.
//!
//! One computation at a time for one fingerprint. Those who come while it is under way wait for it; if its leader is
//! cancelled or fails, the next of them leads. Nobody ever shares a failure.

use crate::meters::Meters;
use crate::telemetry as t;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_store::{CachedOutput, RunStore};
use metrics::counter;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// An output that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The output.
    pub(crate) output: Json,
    /// When it was stored.
    pub(crate) stored_at: Timestamp,
    /// The run that computed it.
    pub(crate) source_run: RunId,
    /// Which hit this is, as far as this node knows.
    pub(crate) hits: u64,
}

struct Entry {
    output: Json,
    stored_at: Timestamp,
    expires: Option<Timestamp>,
    source_run: RunId,
    hits: AtomicU64,
}

/// The cache of a node.
pub(crate) struct OutputCache {
    memory: moka::sync::Cache<(Tenant, Digest), Arc<Entry>>,
    store: Arc<dyn RunStore>,
    flights: Mutex<HashMap<Digest, watch::Receiver<()>>>,
    meters: Meters,
}

impl std::fmt::Debug for OutputCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OutputCache({} entries)", self.memory.entry_count())
    }
}

/// What a look-up gave.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// An output.
    Found(Found),
    /// Nothing, and the caller is the one who computes it. Others wait until this is dropped.
    Lead(Lead<'a>),
}

/// The right to compute an output that others wait for.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    cache: &'a OutputCache,
    key: Digest,
    /// Dropped with the lead, which wakes those who wait.
    _done: watch::Sender<()>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.cache.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl OutputCache {
    /// An empty cache of at most so many bytes in memory, in front of this store.
    pub(crate) fn new(store: Arc<dyn RunStore>, bytes: u64, meters: Meters) -> OutputCache {
        let memory = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.output.size() + 128).unwrap_or(u32::MAX))
            .eviction_listener(|_, _, cause| {
                if cause.was_evicted() {
                    counter!(t::CACHE_EVICTIONS).increment(1);
                }
            })
            .build();
        OutputCache { memory, store, flights: Mutex::new(HashMap::new()), meters }
    }

    /// Looks in memory only: no waiting, no I/O.
    pub(crate) fn peek(&self, tenant: &Tenant, key: Digest, now: Timestamp) -> Option<Found> {
        let entry = self.memory.get(&(tenant.clone(), key))?;
        if entry.expires.is_some_and(|e| e <= now) {
            return None;
        }
        self.meters.hits_in_memory.increment(1);
        let hits = entry.hits.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Found {
            output: entry.output.clone(),
            stored_at: entry.stored_at,
            source_run: entry.source_run,
            hits,
        })
    }

    /// Looks everywhere, waiting for whoever computes the same right now.
    pub(crate) async fn look(&self, tenant: &Tenant, key: Digest, now: Timestamp) -> Lookup<'_> {
        loop {
            if let Some(found) = self.peek(tenant, key, now) {
                return Lookup::Found(found);
            }
            let mut flight = match self.lead(key) {
                Ok(lead) => match self.stored(tenant, key, now).await {
                    Some(found) => return Lookup::Found(found),
                    None => {
                        self.meters.misses.increment(1);
                        return Lookup::Lead(lead);
                    }
                },
                Err(flight) => flight,
            };
            // An error says that the leader is gone, which is what was waited for.
            let _ = flight.changed().await;
        }
    }

    fn lead(&self, key: Digest) -> Result<Lead<'_>, watch::Receiver<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.get(&key) {
            Some(flight) => Err(flight.clone()),
            None => {
                let (done, flight) = watch::channel(());
                flights.insert(key, flight);
                Ok(Lead { cache: self, key, _done: done })
            }
        }
    }

    async fn stored(&self, tenant: &Tenant, key: Digest, now: Timestamp) -> Option<Found> {
        let row = match self.store.cached(tenant, key, now).await {
            Ok(row) => row?,
            Err(fault) => {
                tracing::warn!(%fault, "the stored cache does not answer; the step runs");
                return None;
            }
        };
        let output = match row.output {
            CachedOutput::Inline(json) => json,
            CachedOutput::Stored { digest, .. } => {
                let bytes = self.store.blob(digest).await.ok()??;
                Json::trusted(std::str::from_utf8(&bytes).ok()?)
            }
        };
        self.keep(tenant, key, &output, row.stored, row.expires, row.source_run);
        counter!(t::CACHE_HITS, "layer" => "store").increment(1);
        Some(Found { output, stored_at: row.stored, source_run: row.source_run, hits: 1 })
    }

    /// Keeps an output in memory.
    pub(crate) fn keep(
        &self,
        tenant: &Tenant,
        key: Digest,
        output: &Json,
        stored_at: Timestamp,
        expires: Option<Timestamp>,
        source_run: RunId,
    ) {
        let entry = Entry { output: output.clone(), stored_at, expires, source_run, hits: AtomicU64::new(0) };
        self.memory.insert((tenant.clone(), key), Arc::new(entry));
        self.meters.cache_bytes.set(self.memory.weighted_size() as f64);
    }

    /// Entries and bytes in memory.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.memory.run_pending_tasks();
        (self.memory.entry_count(), self.memory.weighted_size())
    }
}
