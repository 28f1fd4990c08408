//! The plugins that there are. Kept on the shelf, held in memory; a run pins digests from here when it is accepted.

use super::entry::PluginEntry;
use crate::outside::OutsideParts;
use crate::record;
use crate::workflows::Lacking;
use heddle_core::expr::tree::nearest;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::plan::{Catalog, Plan, WorkflowRef};
use heddle_core::plugin::{Metadata, Pinned, PluginRef, pattern_has};
use heddle_core::release::{Release, Standing};
use heddle_core::route::{Callee, CapabilityRef, Labels};
use heddle_core::time::Timestamp;
use heddle_store::{Shelf, StoreFault, shelf::collection};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Why a plugin was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PluginFault {
    /// Other bytes have this name and version.
    #[error("`{name}@{version}` is already loaded with other bytes ({digest}); raise the version")]
    VersionConflict {
        /// The name, with its kind.
        name: String,
        /// The version.
        version: String,
        /// The bytes that have it.
        digest: Digest,
    },
    /// It was deleted, and nobody asks for it back.
    #[error(
        "`{name}@{version}` was deleted; `heddle plugin push FILE` brings it back, and a file in a folder does not"
    )]
    Removed {
        /// The name, with its kind.
        name: String,
        /// The version.
        version: String,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// How a version fits to what is kept.
pub(crate) enum Fits {
    /// It is there, in this version of the record.
    IsThere(u64, Box<PluginEntry>),
    /// It is not; this version of the record may be written over.
    Over(u64),
}

/// A plugin: its versions, and what is said of all of them.
#[derive(Debug, Default)]
struct Plugin {
    versions: BTreeMap<semver::Version, PluginEntry>,
    labels: Arc<Labels>,
    release: Arc<Release>,
    /// Runs that could have had the version on trial.
    drawn: AtomicU64,
}

impl Plugin {
    /// Its versions, the oldest first.
    fn entries(&self) -> impl DoubleEndedIterator<Item = PluginEntry> + '_ {
        self.versions.values().map(|entry| self.whole(entry))
    }
    fn whole(&self, entry: &PluginEntry) -> PluginEntry {
        PluginEntry { labels: self.labels.clone(), ..entry.clone() }
    }
    /// The version that those get who name none.
    fn live(&self, on_trial: bool) -> Option<PluginEntry> {
        self.release.live(&self.versions, on_trial).map(|entry| self.whole(entry))
    }
}

/// A plugin of a tenant: its kind and its name.
pub(crate) type PluginKey = (PluginKind, String);

/// The plugin that this is a version of.
pub(crate) fn key_of(entry: &PluginEntry) -> PluginKey {
    (entry.metadata.kind, entry.metadata.name.clone())
}

/// `kind:name`.
pub(crate) fn named((kind, name): &PluginKey) -> String {
    format!("{}:{name}", kind.word())
}

/// Reads [`named`].
pub(crate) fn plugin_key(named: &str) -> Option<PluginKey> {
    let (kind, name) = named.split_once(':')?;
    Some((PluginKind::from_word(kind)?, name.to_owned()))
}

/// The plugins of which a run gets the version on trial.
pub(crate) type Drawn = BTreeSet<PluginKey>;

/// The plugins of every tenant.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    held: RwLock<Held>,
    /// Held by whoever decides on versions.
    pub(crate) deciding: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    tenants: HashMap<Tenant, BTreeMap<PluginKey, Plugin>>,
    /// Plugins of which a version is on trial.
    trials: usize,
    epoch: u64,
}

const PLUGINS: &str = "plugins";

impl Registry {
    /// Reads the tenant's plugins from the shelf.
    pub(crate) async fn load(&self, shelf: &dyn Shelf, tenant: &Tenant) -> Result<(), StoreFault> {
        record::each(shelf, &collection(PLUGINS, tenant), "push the plugin again", |_, entry: PluginEntry| {
            if entry.removed.is_none() {
                self.hold(tenant, entry);
            }
        })
        .await
    }

    fn hold(&self, tenant: &Tenant, entry: PluginEntry) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        let key = key_of(&entry);
        let plugin = held.tenants.entry(tenant.clone()).or_default().entry(key).or_default();
        plugin.versions.insert(entry.metadata.version.clone(), entry);
    }

    /// Holds what is said of a plugin.
    pub(crate) fn hold_labels(&self, tenant: &Tenant, key: PluginKey, labels: Labels) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        held.tenants.entry(tenant.clone()).or_default().entry(key).or_default().labels = Arc::new(labels);
    }
    /// Holds what is decided of the versions of a plugin.
    pub(crate) fn hold_release(&self, tenant: &Tenant, key: PluginKey, release: Release) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        let is_tried = usize::from(release.trial.is_some());
        let plugin = held.tenants.entry(tenant.clone()).or_default().entry(key).or_default();
        let was_tried = usize::from(plugin.release.trial.is_some());
        let is_same = plugin.release.trial.as_ref().map(|trial| trial.since)
            == release.trial.as_ref().map(|trial| trial.since);
        plugin.release = Arc::new(release);
        if !is_same {
            *plugin.drawn.get_mut() = 0;
        }
        held.trials = held.trials + is_tried - was_tried;
    }
    /// Holds how versions do, for those of which that has changed.
    pub(crate) fn hold_ranks(&self, tenant: &Tenant, ranks: &HashMap<Digest, u8>) {
        let rank = |entry: &PluginEntry| ranks.get(&entry.digest).copied().unwrap_or_default();
        let changed = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            let plugins = held.tenants.get(tenant).into_iter().flat_map(|plugins| plugins.values());
            let mut entries = plugins.flat_map(|plugin| plugin.versions.values());
            entries.any(|entry| entry.rank != rank(entry))
        };
        if !changed {
            return;
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        let plugins = held.tenants.get_mut(tenant).into_iter().flat_map(|plugins| plugins.values_mut());
        for entry in plugins.flat_map(|plugin| plugin.versions.values_mut()) {
            entry.rank = rank(entry);
        }
    }
    /// What is decided of the versions of a plugin.
    pub(crate) fn release(&self, tenant: &Tenant, key: &PluginKey) -> Option<Arc<Release>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.tenants.get(tenant)?.get(key).map(|plugin| plugin.release.clone())
    }
    /// How a version stands among those of its plugin.
    pub(crate) fn standing(&self, tenant: &Tenant, entry: &PluginEntry) -> Standing {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let key = key_of(entry);
        let plugin = held.tenants.get(tenant).and_then(|plugins| plugins.get(&key));
        plugin.map_or(Standing::Other, |plugin| {
            plugin.release.standing(&plugin.versions, &entry.metadata.version)
        })
    }
    /// The versions of a plugin; none where it is not loaded.
    pub(crate) fn versions(
        &self,
        tenant: &Tenant,
        key: &PluginKey,
    ) -> BTreeMap<semver::Version, PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let plugin = held.tenants.get(tenant).and_then(|plugins| plugins.get(key));
        plugin.map(|plugin| plugin.versions.clone()).unwrap_or_default()
    }
    /// Forgets a version. Runs that have it keep it.
    fn drop_version(&self, tenant: &Tenant, key: &PluginKey, version: &semver::Version) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        let Some(plugins) = held.tenants.get_mut(tenant) else { return };
        if let Some(plugin) = plugins.get_mut(key) {
            // What is said of the plugin stays, as its records do: it may come back.
            plugin.versions.remove(version);
        }
    }
    /// The trial of a version, where it is on one.
    pub(crate) fn trial(&self, tenant: &Tenant, pin: &Pinned) -> Option<Arc<Release>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.trials == 0 {
            return None;
        }
        let plugin = held.tenants.get(tenant)?.get(&(pin.kind, pin.name.clone()))?;
        let trial = plugin.release.trial.as_ref()?;
        (trial.version == pin.version && trial.gate.is_some()).then(|| plugin.release.clone())
    }
    /// Draws for a run of this plan: of which of its plugins it gets the version on trial.
    pub(crate) fn draw(&self, tenant: &Tenant, plan: &Plan) -> Drawn {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.trials == 0 {
            return Drawn::new();
        }
        let plugins = held.tenants.get(tenant).into_iter().flatten();
        let tried =
            plugins.filter(|(key, plugin)| plugin.release.trial.is_some() && tries(plan, key, plugin));
        let drawn =
            tried.filter(|(_, plugin)| plugin.release.tries(plugin.drawn.fetch_add(1, Ordering::Relaxed)));
        drawn.map(|(key, _)| key.clone()).collect()
    }

    /// Takes a plugin whose component has been compiled and described. The same bytes again change nothing.
    pub(crate) async fn add(
        &self,
        shelf: &dyn Shelf,
        tenant: &Tenant,
        (entry, brings_back): (PluginEntry, bool),
    ) -> Result<(), PluginFault> {
        let (collection, key) = (collection(PLUGINS, tenant), record_of(&entry.metadata));
        let body = |entry: &PluginEntry| Json::trusted(serde_json::to_string(entry).unwrap_or_default());
        match shelf.put(&collection, &key, 0, body(&entry)).await {
            Ok(_) => {}
            Err(StoreFault::Conflict(_)) => match self.fits(shelf, tenant, (&entry, brings_back)).await? {
                // What is kept is what is held; who signed it, and where it is to be had, may be told later.
                Fits::IsThere(version, kept) => {
                    let is_told = (kept.signer.is_none() && entry.signer.is_some())
                        || (kept.signature.is_none() && entry.signature.is_some())
                        || (kept.source.is_none() && entry.source.is_some());
                    let (signer, source) = (kept.signer.or(entry.signer), kept.source.or(entry.source));
                    let signature = kept.signature.or(entry.signature);
                    let kept = PluginEntry { signer, signature, source, ..*kept };
                    if is_told {
                        shelf.put(&collection, &key, version, body(&kept)).await?;
                    }
                    self.hold(tenant, kept);
                    return Ok(());
                }
                // It was deleted and comes back, or its record was damaged.
                Fits::Over(version) => drop(shelf.put(&collection, &key, version, body(&entry)).await?),
            },
            Err(fault) => return Err(fault.into()),
        }
        self.hold(tenant, entry);
        Ok(())
    }
    /// Whether a version may be written.
    ///
    /// # Errors
    /// Where other bytes have it; where it was deleted, and this does not bring it back.
    pub(crate) async fn fits(
        &self,
        shelf: &dyn Shelf,
        tenant: &Tenant,
        (entry, brings_back): (&PluginEntry, bool),
    ) -> Result<Fits, PluginFault> {
        let metadata = &entry.metadata;
        let record = shelf.get(&collection(PLUGINS, tenant), &record_of(metadata)).await?;
        let version = record.as_ref().map_or(0, |record| record.version);
        let present = record.and_then(|r| serde_json::from_str::<PluginEntry>(r.body.text()).ok());
        match present {
            Some(present) if present.digest != entry.digest => Err(PluginFault::VersionConflict {
                name: metadata.reference(),
                version: metadata.version.to_string(),
                digest: present.digest,
            }),
            Some(present) if present.removed.is_none() => Ok(Fits::IsThere(version, Box::new(present))),
            Some(_) if !brings_back => Err(PluginFault::Removed {
                name: metadata.reference(),
                version: metadata.version.to_string(),
            }),
            _ => Ok(Fits::Over(version)),
        }
    }
    /// Writes that a version is deleted, and forgets it.
    pub(crate) async fn remove(
        &self,
        shelf: &dyn Shelf,
        tenant: &Tenant,
        key: &PluginKey,
        entry: &PluginEntry,
        now: Timestamp,
    ) -> Result<(), StoreFault> {
        let (collection, name) = (collection(PLUGINS, tenant), record_of(&entry.metadata));
        let version = shelf.get(&collection, &name).await?.map_or(0, |record| record.version);
        let removed = PluginEntry { removed: Some(now), ..entry.clone() };
        let body = Json::trusted(serde_json::to_string(&removed).unwrap_or_default());
        shelf.put(&collection, &name, version, body).await?;
        self.drop_version(tenant, key, &entry.metadata.version);
        Ok(())
    }

    /// Grows with every change.
    pub(crate) fn epoch(&self) -> u64 {
        self.held.read().unwrap_or_else(PoisonError::into_inner).epoch
    }
    /// Every version of every plugin of the tenant, by kind and name, oldest version first.
    pub(crate) fn all(&self, tenant: &Tenant) -> Vec<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.tenants
            .get(tenant)
            .into_iter()
            .flat_map(|plugins| plugins.values())
            .flat_map(Plugin::entries)
            .collect()
    }
    /// The version that the reference means.
    pub(crate) fn resolve(
        &self,
        tenant: &Tenant,
        reference: &PluginRef,
        drawn: &Drawn,
    ) -> Option<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let key = (reference.kind, reference.name.clone());
        let plugin = held.tenants.get(tenant)?.get(&key)?;
        let found = plugin.release.pick(&plugin.versions, reference, drawn.contains(&key));
        found.map(|entry| plugin.whole(entry))
    }
    /// The live version of each plugin that can do this, in the order in which they are tried; never none.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub(crate) fn candidates(
        &self,
        tenant: &Tenant,
        capability: &CapabilityRef,
        drawn: &Drawn,
    ) -> Result<Vec<PluginEntry>, String> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let plugins = held.tenants.get(tenant).into_iter().flatten();
        let live: Vec<PluginEntry> =
            plugins.filter_map(|(key, plugin)| plugin.live(drawn.contains(key))).collect();
        let found = capability.candidates(live.clone());
        match found.is_empty() {
            false => Ok(found),
            true => Err(nobody(capability, &live)),
        }
    }
    /// The live version of everything that these patterns (`kind:name`, `kind:*`) grant, by name. What may destroy
    /// something is granted by its name only.
    pub(crate) fn granted(&self, tenant: &Tenant, patterns: &[Arc<str>], drawn: &Drawn) -> Vec<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let Some(plugins) = held.tenants.get(tenant) else { return Vec::new() };
        let granted = plugins.iter().filter(|(key, _)| grants(patterns, key));
        let live = granted.filter_map(|(key, plugin)| plugin.live(drawn.contains(key)));
        live.filter(|entry| {
            let name = entry.metadata.reference();
            !entry.destructive || patterns.iter().any(|pattern| **pattern == *name)
        })
        .collect()
    }
    /// The registry as the checks of one tenant's workflows see it.
    pub(crate) fn catalog<'a>(
        &'a self,
        tenant: &'a Tenant,
        lacking: Lacking,
        secrets: Vec<Arc<str>>,
        outside: &'a OutsideParts,
    ) -> TenantCatalog<'a> {
        TenantCatalog { registry: self, tenant, lacking, secrets, outside }
    }
}

/// The key of a version's record.
fn record_of(metadata: &Metadata) -> String {
    format!("{}@{}", metadata.reference(), metadata.version)
}

/// Whether these patterns (`kind:name`, `kind:*`) grant a plugin.
fn grants(patterns: &[Arc<str>], key: &PluginKey) -> bool {
    let named = named(key);
    patterns.iter().any(|pattern| pattern_has(pattern, &named))
}

/// Whether a run of this plan can have the version on trial of this plugin: only those are counted for its share.
fn tries(plan: &Plan, key: &PluginKey, plugin: &Plugin) -> bool {
    let gets = |reference: &PluginRef, on_trial| {
        let found = plugin.release.pick(&plugin.versions, reference, on_trial);
        found.map(|entry| &entry.metadata.version)
    };
    let is_called = plan.calls.iter().any(|call| match call {
        Callee::Plugin(reference) => {
            (reference.kind, &reference.name) == (key.0, &key.1)
                && gets(reference, true) != gets(reference, false)
        }
        Callee::Capability(capability) => {
            plugin.live(true).is_some_and(|entry| capability.refuses(&entry).is_none())
        }
    });
    is_called || plan.steps.iter().any(|step| grants(&step.tools, key))
}

/// A tenant's plugins.
#[derive(Debug)]
pub(crate) struct TenantCatalog<'a> {
    registry: &'a Registry,
    tenant: &'a Tenant,
    /// Workflows that the document names and that are not published.
    lacking: Lacking,
    /// The webhook secrets of the node, by name.
    secrets: Vec<Arc<str>>,
    outside: &'a OutsideParts,
}

impl Catalog for TenantCatalog<'_> {
    fn find(&self, reference: &PluginRef) -> Option<Arc<Metadata>> {
        self.registry.resolve(self.tenant, reference, &Drawn::new()).map(|e| e.metadata)
    }
    fn candidates(&self, capability: &CapabilityRef) -> Result<Vec<Arc<Metadata>>, String> {
        let found = self.registry.candidates(self.tenant, capability, &Drawn::new())?;
        Ok(found.into_iter().map(|entry| entry.metadata).collect())
    }
    fn lacks_workflow(&self, reference: &WorkflowRef) -> Option<String> {
        self.lacking.iter().find(|(lacking, _)| lacking == reference).map(|(_, why)| why.clone())
    }
    fn lacks_secret(&self, name: &str) -> Option<String> {
        let is_there = self.secrets.iter().any(|known| **known == *name);
        (!is_there).then(|| crate::webhooks::lacks_secret(name, &self.secrets))
    }
    fn lacks_grant(&self, plugin: &Metadata) -> Option<String> {
        let reference = plugin.reference();
        let all = self.registry.all(self.tenant);
        let entry = all.iter().find(|entry| {
            entry.metadata.reference() == reference && entry.metadata.version == plugin.version
        })?;
        self.outside.lacks(&reference, &entry.needs)
    }
    fn lacks_use(&self, plugin: &Metadata, secret: &str) -> Option<String> {
        self.outside.lacks_use(&plugin.reference(), secret)
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.registry.all(self.tenant).iter().map(|e| e.metadata.reference()).collect();
        names.dedup();
        names
    }
}

/// Why nobody can do this, and what to do.
fn nobody(capability: &CapabilityRef, all: &[PluginEntry]) -> String {
    let provides = |entry: &&PluginEntry| {
        let Metadata { kind, provides, .. } = &*entry.metadata;
        *kind == capability.kind && provides.iter().any(|name| **name == *capability.name)
    };
    if let Some(near) = all.iter().find(provides) {
        let why = capability.refuses(near).unwrap_or_default();
        let label = capability.requires.iter().next();
        let set = label.map_or(String::new(), |(label, value)| {
            format!(
                "; say so where it is true: `heddle plugin label {} {label}={value}`",
                near.metadata.reference()
            )
        });
        return format!(
            "nobody can do `{capability}`: `{}` provides it, but {why}{set}",
            near.metadata.reference()
        );
    }
    let known = all.iter().filter(|entry| entry.metadata.kind == capability.kind);
    let names: Vec<&str> =
        known.flat_map(|entry| entry.metadata.provides.iter().map(String::as_str)).collect();
    let hint = match nearest(&capability.name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "load one: `heddle plugin push FILE`; `heddle plugin ls` shows what those here provide".to_owned()
        }
    };
    format!("no {} provides `{}`; {hint}", capability.kind.word(), capability.name)
}

/// The name that was probably meant.
pub(crate) fn hint(asked: &str, known: &[String]) -> String {
    match nearest(asked, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}
