//! What a run owns from the moment it is accepted: the workflow's source and the plugins that its references meant.
//! Kept once under its digest, however many runs share it; nothing that is published or loaded later changes it.

use crate::plugins::entry::PluginEntry;
use crate::plugins::registry::{Drawn, Registry};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::Plan;
use heddle_core::plugin::{Metadata, Pinned};
use heddle_core::route::{Callee, Pins};
use heddle_core::run::public::Told;
use heddle_store::{Blob, RunStore, StoreFault};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A checked workflow with its plugins pinned.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Digest of its stored form.
    pub digest: Digest,
    /// The plan.
    pub plan: Arc<Plan>,
    /// `namespace/name` of the workflow.
    pub workflow: Arc<str>,
    /// The plugins of the plan's calls.
    pub pins: Pins,
    /// For each step, what an agent may call.
    pub tools: Vec<Vec<Granted>>,
    /// Whether a run has come to it from another version: what it wrote before speaks of other steps.
    pub is_moved: bool,
    /// Its stored form.
    stored: Arc<[u8]>,
}

impl Snapshot {
    /// What the facts of a run are told with.
    pub(crate) fn told(&self, run: RunId) -> Told<'_> {
        Told { run, plan: &self.plan, pins: &self.pins }
    }
    /// Whether a run with it may call this component.
    pub(crate) fn uses(&self, component: Digest) -> bool {
        let called = (0..self.pins.len()).flat_map(|call| self.pins.of(call));
        let granted = self.tools.iter().flatten().map(|granted| &granted.pin);
        called.chain(granted).any(|pin| pin.digest == component)
    }
    /// What a run's first append keeps of it; it goes with the last run that was accepted with it.
    pub(crate) fn blob(&self) -> Blob {
        Blob { digest: self.digest, bytes: self.stored.clone() }
    }
}

/// A plugin that an agent may call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Granted {
    /// The plugin.
    pub pin: Arc<Pinned>,
    /// What it says of itself.
    pub metadata: Arc<Metadata>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    source: Json,
    pins: Pins,
    tools: Vec<Vec<Granted>>,
    /// The numbers of its steps, where they are not those of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<u32>,
    /// Whether a run has come to it from another version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    moved: bool,
}

impl Stored {
    fn is_moved(&self) -> bool {
        self.moved || !self.numbers.is_empty()
    }
}

/// A call that means nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No plugin has this name, or this version.
    #[error("no plugin `{reference}` is loaded{hint}")]
    Plugin {
        /// The reference.
        reference: String,
        /// The name that was probably meant.
        hint: String,
    },
    /// No plugin can do this.
    #[error("{why}")]
    Capability {
        /// Why, and what to do.
        why: String,
    },
}

/// What a call means now, the preferred first.
fn resolved(
    (registry, drawn): (&Registry, &Drawn),
    tenant: &Tenant,
    call: &Callee,
) -> Result<Vec<PluginEntry>, Unresolved> {
    match call {
        Callee::Plugin(reference) => match registry.resolve(tenant, reference, drawn) {
            Some(entry) => Ok(vec![entry]),
            None => {
                let names: Vec<String> =
                    registry.all(tenant).iter().map(|e| e.metadata.reference()).collect();
                let hint = crate::plugins::registry::hint(&call.pattern(), &names);
                Err(Unresolved::Plugin { reference: reference.to_string(), hint })
            }
        },
        Callee::Capability(capability) => {
            registry.candidates(tenant, capability, drawn).map_err(|why| Unresolved::Capability { why })
        }
    }
}

/// Snapshots, by what they were made from and by their digest.
pub(crate) struct Snapshots {
    made: moka::sync::Cache<(Tenant, Digest, u64, Drawn), Arc<Snapshot>>,
    by_digest: moka::sync::Cache<Digest, Arc<Snapshot>>,
    store: Arc<dyn RunStore>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshots({})", self.by_digest.entry_count())
    }
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// A plugin is missing.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
    /// The store did not answer, or what it has is damaged.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Snapshots {
    /// An empty collection in front of this store, of at most so many.
    pub(crate) fn new(store: Arc<dyn RunStore>, most: u64) -> Snapshots {
        Snapshots { made: moka::sync::Cache::new(most), by_digest: moka::sync::Cache::new(most), store }
    }

    /// Pins the plan's plugins as they are now. Each run that is accepted with it keeps it in the store.
    pub(crate) async fn make(
        &self,
        tenant: &Tenant,
        plan: &Arc<Plan>,
        registry: &Registry,
    ) -> Result<Arc<Snapshot>, SnapshotFault> {
        let key = (tenant.clone(), plan.digest, registry.epoch(), registry.draw(tenant, plan));
        if let Some(made) = self.made.get(&key) {
            return Ok(made);
        }
        let of = (registry, &key.3);
        let pins = plan.calls.iter().map(|call| pinned(tenant, call, of)).collect::<Result<Vec<_>, _>>()?;
        let tools = plan.steps.iter().map(|step| granted(tenant, &step.tools, of)).collect();
        let stored = Stored {
            source: plan.source.clone(),
            pins: Pins::new(pins),
            tools,
            numbers: Vec::new(),
            moved: false,
        };
        let snapshot = self.keep(plan.clone(), stored);
        self.made.insert(key, snapshot.clone());
        Ok(snapshot)
    }

    /// What a run that has another snapshot owns when it goes on with this plan: the plugins that it had, and those of
    /// now for what is new.
    pub(crate) fn moved(
        &self,
        tenant: &Tenant,
        (from, to): (&Snapshot, &Plan),
        numbers: Vec<u32>,
        registry: &Registry,
    ) -> Result<Arc<Snapshot>, SnapshotFault> {
        let drawn = registry.draw(tenant, to);
        let of = (registry, &drawn);
        let known = |call: &Callee| from.plan.calls.iter().position(|old| old == call);
        let pins = to.calls.iter().map(|call| match known(call) {
            Some(old) => Ok(from.pins.of(old).to_vec()),
            None => pinned(tenant, call, of),
        });
        let pins = Pins::new(pins.collect::<Result<Vec<_>, _>>()?);
        let tools = to.steps.iter().map(|step| match from.plan.step(&step.id) {
            Some(old) if from.plan.steps[old as usize].tools == step.tools => {
                from.tools[old as usize].clone()
            }
            _ => granted(tenant, &step.tools, of),
        });
        let tools = tools.collect();
        let plan = Arc::new(to.clone().numbered(&numbers));
        Ok(self.keep(plan, Stored { source: to.source.clone(), pins, tools, numbers, moved: true }))
    }

    fn keep(&self, plan: Arc<Plan>, stored: Stored) -> Arc<Snapshot> {
        let bytes = serde_json::to_vec(&stored).unwrap_or_default();
        let digest = Digest::of(&bytes);
        let snapshot = Arc::new(Snapshot {
            digest,
            is_moved: stored.is_moved(),
            workflow: plan.full_name().into(),
            plan,
            pins: stored.pins,
            tools: stored.tools,
            stored: bytes.into(),
        });
        self.by_digest.insert(digest, snapshot.clone());
        snapshot
    }

    /// The snapshot of a run that was accepted before.
    pub(crate) async fn get(&self, digest: Digest) -> Result<Arc<Snapshot>, StoreFault> {
        if let Some(snapshot) = self.by_digest.get(&digest) {
            return Ok(snapshot);
        }
        let damaged = |why: String| StoreFault::Damaged { what: format!("snapshot {digest}"), why };
        let bytes = self.store.blob(digest).await?.ok_or_else(|| damaged("it is missing".into()))?;
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        let plan = Plan::reread(&stored.source)
            .map_err(|f| damaged(f.first().map(ToString::to_string).unwrap_or_default()))?;
        if stored.pins.len() != plan.calls.len() {
            return Err(damaged("its plugins do not fit its workflow".into()));
        }
        let snapshot = Arc::new(Snapshot {
            digest,
            is_moved: stored.is_moved(),
            workflow: plan.full_name().into(),
            plan: Arc::new(plan.numbered(&stored.numbers)),
            pins: stored.pins,
            tools: stored.tools,
            stored: bytes,
        });
        self.by_digest.insert(digest, snapshot.clone());
        Ok(snapshot)
    }
}

/// What a call means now, the preferred first.
fn pinned(
    tenant: &Tenant,
    call: &Callee,
    of: (&Registry, &Drawn),
) -> Result<Vec<Arc<Pinned>>, SnapshotFault> {
    let entries = resolved(of, tenant, call)?;
    Ok(entries.iter().map(|entry| Arc::new(entry.pinned())).collect())
}

/// The plugins that these patterns let an agent call now.
fn granted(tenant: &Tenant, patterns: &[Arc<str>], (registry, drawn): (&Registry, &Drawn)) -> Vec<Granted> {
    let entries = registry.granted(tenant, patterns, drawn);
    entries.into_iter().map(|e| Granted { pin: Arc::new(e.pinned()), metadata: e.metadata }).collect()
}
