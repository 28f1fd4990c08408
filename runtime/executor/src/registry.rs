//! The plugins that there are. Kept on the shelf, held in memory; a run pins digests from here when it is accepted.

use crate::workflows::Lacking;
use heddle_core::expr::tree::nearest;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::plan::{Catalog, WorkflowRef};
use heddle_core::plugin::{Metadata, Pinned, PluginRef};
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

type Versions = BTreeMap<semver::Version, PluginEntry>;

/// The plugins of every tenant.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    held: RwLock<Held>,
}

#[derive(Debug, Default)]
struct Held {
    tenants: HashMap<Tenant, BTreeMap<(PluginKind, String), Versions>>,
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
        let versions = held.tenants.entry(tenant.clone()).or_default().entry(key).or_default();
        versions.insert(entry.metadata.version.clone(), entry);
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
            .flat_map(|p| p.values())
            .flat_map(|v| v.values())
            .cloned()
            .collect()
    }
    /// The newest version that the reference can mean.
    pub(crate) fn resolve(&self, tenant: &Tenant, reference: &PluginRef) -> Option<PluginEntry> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let versions = held.tenants.get(tenant)?.get(&(reference.kind, reference.name.clone()))?;
        versions.iter().rev().find(|(v, _)| reference.range.matches(v)).map(|(_, e)| e.clone())
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
            .filter_map(|(_, v)| v.values().next_back());
        newest.cloned().collect()
    }
    /// The registry as the checks of one tenant's workflows see it.
    pub(crate) fn catalog<'a>(&'a self, tenant: &'a Tenant, lacking: Lacking) -> TenantCatalog<'a> {
        TenantCatalog { registry: self, tenant, lacking }
    }
}

/// A tenant's plugins.
#[derive(Debug)]
pub(crate) struct TenantCatalog<'a> {
    registry: &'a Registry,
    tenant: &'a Tenant,
    /// Workflows that the document names and that are not published.
    lacking: Lacking,
}

impl Catalog for TenantCatalog<'_> {
    fn find(&self, reference: &PluginRef) -> Option<Arc<Metadata>> {
        self.registry.resolve(self.tenant, reference).map(|e| e.metadata)
    }
    fn lacks_workflow(&self, reference: &WorkflowRef) -> Option<String> {
        self.lacking.iter().find(|(lacking, _)| lacking == reference).map(|(_, why)| why.clone())
    }
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.registry.all(self.tenant).iter().map(|e| e.metadata.reference()).collect();
        names.dedup();
        names
    }
}

/// The name that was probably meant.
pub(crate) fn hint(asked: &str, known: &[String]) -> String {
    match nearest(asked, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    }
}
