//! The plugins that there are. Kept on the shelf, held in memory; a run pins digests from here when it is accepted.

use crate::outside::OutsideParts;
use crate::workflows::Lacking;
use heddle_core::expr::tree::nearest;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::plan::{Catalog, WorkflowRef};
use heddle_core::plugin::{Metadata, Pinned, PluginRef};
use heddle_core::route::{CapabilityRef, Labels, Provider};
use heddle_core::time::Timestamp;
use heddle_store::{Shelf, StoreFault, shelf::collection};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// A plugin version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginEntry {
    /// What it says of itself.
    pub metadata: Arc<Metadata>,
    /// Its component.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: u64,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// What it imports that an operator must grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Arc<str>>,
    /// What its operator says of every version of it.
    #[serde(skip)]
    pub labels: Arc<Labels>,
}

impl Provider for PluginEntry {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl PluginEntry {
    /// What a run keeps of it.
    pub(crate) fn pinned(&self) -> Pinned {
        Pinned {
            kind: self.metadata.kind,
            name: self.metadata.name.clone(),
            version: self.metadata.version.clone(),
            digest: self.digest,
            limits: self.metadata.limits,
        }
    }
}

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
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// A plugin: its versions, and what is said of all of them.
#[derive(Debug, Default)]
struct Plugin {
    versions: BTreeMap<semver::Version, PluginEntry>,
    labels: Arc<Labels>,
}

impl Plugin {
    /// Its versions, the oldest first.
    fn entries(&self) -> impl DoubleEndedIterator<Item = PluginEntry> + '_ {
        self.versions.values().map(|entry| PluginEntry { labels: self.labels.clone(), ..entry.clone() })
    }
}

/// The plugins of every tenant.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    tenants: HashMap<Tenant, BTreeMap<(PluginKind, String), Plugin>>,
    epoch: u64,
}

const PLUGINS: &str = "plugins";
const PAGE: u32 = 200;

impl Registry {
    /// Reads the tenant's plugins from the shelf.
    pub(crate) async fn load(&self, shelf: &dyn Shelf, tenant: &Tenant) -> Result<(), StoreFault> {
        let mut after = String::new();
        loop {
            let page = shelf.scan(&collection(PLUGINS, tenant), &after, PAGE).await?;
            for record in &page {
                after.clone_from(&record.key);
                match serde_json::from_str::<PluginEntry>(record.body.text()) {
                    Ok(entry) => self.hold(tenant, entry),
                    Err(fault) => {
                        tracing::error!(key = record.key, %fault, "a plugin record is damaged; push the plugin again")
                    }
                }
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    fn hold(&self, tenant: &Tenant, entry: PluginEntry) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        let key = (entry.metadata.kind, entry.metadata.name.clone());
        let plugin = held.tenants.entry(tenant.clone()).or_default().entry(key).or_default();
        plugin.versions.insert(entry.metadata.version.clone(), entry);
    }

    /// Holds what is said of a plugin.
    pub(crate) fn hold_labels(&self, tenant: &Tenant, key: (PluginKind, String), labels: Labels) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.epoch += 1;
        held.tenants.entry(tenant.clone()).or_default().entry(key).or_default().labels = Arc::new(labels);
    }

    /// Takes a plugin whose component has been compiled and described. The same bytes again change nothing.
    pub(crate) async fn add(
        &self,
        shelf: &dyn Shelf,
        tenant: &Tenant,
        entry: PluginEntry,
    ) -> Result<(), PluginFault> {
        let metadata = &entry.metadata;
        let key = format!("{}@{}", metadata.reference(), metadata.version);
        let body = Json::trusted(serde_json::to_string(&entry).unwrap_or_default());
        match shelf.put(&collection(PLUGINS, tenant), &key, 0, body).await {
            Ok(_) => {}
            Err(StoreFault::Conflict(_)) => {
                let present = shelf.get(&collection(PLUGINS, tenant), &key).await?;
                let digest = present
                    .and_then(|r| serde_json::from_str::<PluginEntry>(r.body.text()).ok())
                    .map(|e| e.digest);
                if let Some(digest) = digest.filter(|d| *d != entry.digest) {
                    return Err(PluginFault::VersionConflict {
                        name: metadata.reference(),
                        version: metadata.version.to_string(),
                        digest,
                    });
                }
            }
            Err(fault) => return Err(fault.into()),
        }
        self.hold(tenant, entry);
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
    /// The newest version that the reference can mean.
    pub(crate) fn resolve(&self, tenant: &Tenant, reference: &PluginRef) -> Option<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let plugin = held.tenants.get(tenant)?.get(&(reference.kind, reference.name.clone()))?;
        plugin.entries().rev().find(|entry| reference.range.matches(&entry.metadata.version))
    }
    /// The newest version of each plugin that can do this, in the order in which they are tried; never none.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub(crate) fn candidates(
        &self,
        tenant: &Tenant,
        capability: &CapabilityRef,
    ) -> Result<Vec<PluginEntry>, String> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let plugins = held.tenants.get(tenant).into_iter().flat_map(|plugins| plugins.values());
        let newest: Vec<PluginEntry> = plugins.filter_map(|plugin| plugin.entries().next_back()).collect();
        let found = capability.candidates(newest.clone());
        match found.is_empty() {
            false => Ok(found),
            true => Err(nobody(capability, &newest)),
        }
    }
    /// The newest version of everything that these patterns (`kind:name`, `kind:*`) grant, by name.
    pub(crate) fn granted(&self, tenant: &Tenant, patterns: &[Arc<str>]) -> Vec<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let Some(plugins) = held.tenants.get(tenant) else { return Vec::new() };
        let granted = |kind: PluginKind, name: &str| {
            patterns
                .iter()
                .any(|p| p.split_once(':').is_some_and(|(k, n)| k == kind.word() && (n == "*" || n == name)))
        };
        let newest = plugins
            .iter()
            .filter(|((kind, name), _)| granted(*kind, name))
            .filter_map(|(_, plugin)| plugin.entries().next_back());
        newest.collect()
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
        self.registry.resolve(self.tenant, reference).map(|e| e.metadata)
    }
    fn candidates(&self, capability: &CapabilityRef) -> Result<Vec<Arc<Metadata>>, String> {
        let found = self.registry.candidates(self.tenant, capability)?;
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
