//! What may be asked of the plugins of a node.

use crate::Executor;
use crate::labels::{self, LabelsFault};
use crate::registry::{PluginEntry, PluginFault};
use heddle_core::grant::Grants;
use heddle_core::id::{Digest, Tenant};
use heddle_core::outcome::PluginKind;
use heddle_core::plugin::Metadata;
use heddle_core::route::{CapabilityRef, Labels};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Executor {
    /// Takes a plugin that has been compiled and described; the next run may use it.
    pub async fn add_plugin(
        &self,
        tenant: &Tenant,
        metadata: Metadata,
        digest: Digest,
        size: u64,
    ) -> Result<(), PluginFault> {
        self.add_plugin_needing(tenant, metadata, (digest, size), Vec::new()).await
    }
    /// The same of one that imports what an operator must grant. Whether it is granted is looked at when a workflow
    /// calls it.
    pub async fn add_plugin_needing(
        &self,
        tenant: &Tenant,
        metadata: Metadata,
        (digest, size): (Digest, u64),
        needs: Vec<Arc<str>>,
    ) -> Result<(), PluginFault> {
        let (metadata, loaded_at) = (Arc::new(metadata), self.shared.now());
        let entry = PluginEntry { metadata, digest, size, loaded_at, needs, labels: Arc::default() };
        self.shared.registry.add(&*self.shared.shelf, tenant, entry).await
    }
    /// What is granted to a plugin, `kind:name`.
    pub fn grants(&self, plugin: &str) -> Arc<Grants> {
        self.shared.outside.of(plugin)
    }
    /// Every version of every plugin, by kind and name.
    pub fn plugins(&self, tenant: &Tenant) -> Vec<PluginEntry> {
        self.shared.registry.all(tenant)
    }
    /// Sets labels of a plugin and takes away those without a value. Gives all that there are then.
    pub async fn label_plugin(
        &self,
        tenant: &Tenant,
        plugin: (PluginKind, &str),
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Labels, LabelsFault> {
        labels::set(&self.shared, tenant, plugin, changes).await
    }
    /// The newest version of each plugin that can do this, in the order in which a run would try them.
    pub fn providers(&self, tenant: &Tenant, capability: &CapabilityRef) -> Vec<PluginEntry> {
        self.shared.registry.candidates(tenant, capability).unwrap_or_default()
    }
}
