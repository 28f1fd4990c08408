//! What may be asked of the plugins of a node.

pub(crate) mod entry;
pub(crate) mod health;
pub(crate) mod labels;
mod pulls;
pub(crate) mod registry;
pub(crate) mod releases;

use crate::Executor;
use entry::{NewPlugin, PluginEntry};
use health::{Doing, Metered};
use heddle_core::connector::Connector;
use heddle_core::grant::Grants;
use heddle_core::id::{Digest, Tenant};
use heddle_core::outcome::PluginKind;
use heddle_core::plugin::{Form, Metadata};
use heddle_core::release::Release;
use heddle_core::route::{CapabilityRef, Labels};
use heddle_core::time::Timestamp;
use labels::LabelsFault;
use registry::{Drawn, PluginFault};
use releases::{ReleaseRefused, ReleaseWish};
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
        self.add(
            tenant,
            NewPlugin {
                metadata,
                digest,
                size,
                needs: Vec::new(),
                signer: None,
                signature: None,
                source: None,
                brings_back: true,
            },
        )
        .await
    }
    /// The same with everything that is known of it. Whether what it needs is granted is looked at when a workflow calls
    /// it.
    pub async fn add(&self, tenant: &Tenant, plugin: NewPlugin) -> Result<(), PluginFault> {
        let brings_back = plugin.brings_back;
        let entry = PluginEntry::new(plugin, self.shared.now());
        self.shared.registry.add(&*self.shared.shelf, tenant, (entry, brings_back)).await
    }
    /// Takes the endpoints of a connector: all of them, or none where one of their versions is taken.
    pub async fn add_connector(
        &self,
        tenant: &Tenant,
        connector: &Connector,
        signer: Option<Arc<str>>,
    ) -> Result<Vec<Arc<str>>, PluginFault> {
        let mut entries = Vec::new();
        for tool in &connector.tools {
            // Plain data: it always has a form.
            let kept = serde_json::to_vec(&tool).unwrap_or_default();
            let size = kept.len() as u64;
            let digest = self.put_blob(kept.into()).await?;
            let mut needs: Vec<Arc<str>> = vec!["http".into()];
            needs.extend(tool.endpoint.auth.as_ref().map(|_| "secret".into()));
            let (metadata, signer) = (tool.metadata.clone(), signer.clone());
            let plugin = NewPlugin {
                metadata,
                digest,
                size,
                needs,
                signer,
                signature: None,
                source: None,
                brings_back: true,
            };
            let entry = PluginEntry::new(plugin, self.shared.now());
            let entry = PluginEntry { form: Form::Endpoint, destructive: tool.endpoint.destructive, ..entry };
            self.shared.registry.fits(&*self.shared.shelf, tenant, (&entry, true)).await?;
            entries.push(entry);
        }
        let mut names = Vec::new();
        for entry in entries {
            names.push(format!("{}@{}", entry.metadata.reference(), entry.metadata.version).into());
            self.shared.registry.add(&*self.shared.shelf, tenant, (entry, true)).await?;
        }
        Ok(names)
    }
    /// What is granted to a plugin, `kind:name`.
    pub fn grants(&self, plugin: &str) -> Arc<Grants> {
        self.shared.outside.of(plugin)
    }
    /// Every version of every plugin, by kind and name.
    pub fn plugins(&self, tenant: &Tenant) -> Vec<PluginEntry> {
        self.shared.registry.all(tenant)
    }
    /// The version of each plugin that runs get, of those that these patterns (`kind:name`, `kind:*`) mean. What may
    /// destroy something is meant by its name only.
    pub fn live_plugins(&self, tenant: &Tenant, patterns: &[Arc<str>]) -> Vec<PluginEntry> {
        self.shared.registry.granted(tenant, patterns, &Drawn::new())
    }
    /// Sets labels of a plugin and takes away those without a value. Gives all that there are then.
    pub async fn label_plugin(
        &self,
        tenant: &Tenant,
        (kind, name): (PluginKind, &str),
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Labels, LabelsFault> {
        labels::set(&self.shared, tenant, &(kind, name.to_owned()), changes).await
    }
    /// Decides which version of a plugin new runs get, and gives what stands then.
    pub async fn decide_release(
        &self,
        tenant: &Tenant,
        (kind, name): (PluginKind, &str),
        what: &ReleaseWish,
    ) -> Result<Release, ReleaseRefused> {
        releases::decide(&self.shared, tenant, &(kind, name.to_owned()), what).await
    }
    /// What was decided of the versions of a plugin.
    pub fn release(&self, tenant: &Tenant, (kind, name): (PluginKind, &str)) -> Arc<Release> {
        self.shared.registry.release(tenant, &(kind, name.to_owned())).unwrap_or_default()
    }
    /// Deletes a version that nothing uses. Runs that have ended keep what they tell of it. `None` where there is no
    /// such version.
    pub async fn delete_plugin(
        &self,
        tenant: &Tenant,
        (kind, name): (PluginKind, &str),
        version: &semver::Version,
    ) -> Result<Option<()>, ReleaseRefused> {
        releases::delete(&self.shared, tenant, &(kind, name.to_owned()), version).await
    }
    /// How versions do, in their order.
    pub fn doing(&self, tenant: &Tenant, entries: &[PluginEntry]) -> Vec<Doing> {
        let open = health::open_circuits(&self.shared, tenant);
        entries.iter().map(|entry| health::doing(&self.shared, tenant, entry, &open)).collect()
    }
    /// What the calls of a version came to between these times, by the minute; a day is kept.
    pub fn metered(&self, tenant: &Tenant, component: Digest, between: (Timestamp, Timestamp)) -> Metered {
        health::metered(&self.shared, tenant, component, between)
    }
    /// The newest version of each plugin that can do this, in the order in which a run would try them.
    pub fn providers(&self, tenant: &Tenant, capability: &CapabilityRef) -> Vec<PluginEntry> {
        self.shared.registry.candidates(tenant, capability, &Drawn::new()).unwrap_or_default()
    }
}
