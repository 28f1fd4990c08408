//! A version of a plugin, as it comes in and as it is kept.

use heddle_core::id::Digest;
use heddle_core::plugin::{Form, Metadata, Pinned};
use heddle_core::route::{Labels, Provider};
use heddle_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a component was pulled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledFrom {
    /// As it was asked for: `registry.example/acme/echo:1.2.0`.
    pub reference: String,
    /// The manifest that this named then.
    pub manifest: Digest,
}

/// A plugin version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginEntry {
    /// What it says of itself.
    pub metadata: Arc<Metadata>,
    /// Its component, or its endpoint.
    pub digest: Digest,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Form::is_component")]
    pub form: Form,
    /// Bytes of the component, or of the endpoint as it is kept.
    pub size: u64,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// What it imports that an operator must grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Arc<str>>,
    /// The id of the key that signed it, where somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Arc<str>>,
    /// The text of its signature, as it came: for whoever takes the component elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Arc<str>>,
    /// The OCI registry that it was pulled from, as it was when it first came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Arc<PulledFrom>>,
    /// Whether it may destroy something: no pattern gives it to an agent, only its name does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// When it was deleted. The record stays, so that its version never means other bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
    /// What its operator says of every version of it.
    #[serde(skip)]
    pub labels: Arc<Labels>,
    /// How its plugin does: what does badly is tried last.
    #[serde(skip)]
    pub rank: u8,
}

impl Provider for PluginEntry {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn rank(&self) -> u8 {
        self.rank
    }
}

impl PluginEntry {
    /// A component of which nothing is said yet.
    pub(crate) fn new(plugin: NewPlugin, loaded_at: Timestamp) -> PluginEntry {
        PluginEntry {
            metadata: Arc::new(plugin.metadata),
            digest: plugin.digest,
            form: Form::Component,
            size: plugin.size,
            loaded_at,
            needs: plugin.needs,
            signer: plugin.signer,
            signature: plugin.signature,
            source: plugin.source.map(Arc::new),
            destructive: false,
            removed: None,
            labels: Arc::default(),
            rank: 0,
        }
    }
    /// What a run keeps of it.
    pub(crate) fn pinned(&self) -> Pinned {
        Pinned {
            kind: self.metadata.kind,
            name: self.metadata.name.clone(),
            version: self.metadata.version.clone(),
            digest: self.digest,
            limits: self.metadata.limits,
            form: self.form,
        }
    }
}

/// A plugin that comes in.
#[derive(Clone, Debug)]
pub struct NewPlugin {
    /// What it says of itself.
    pub metadata: Metadata,
    /// What it is made of.
    pub digest: Digest,
    /// Bytes of that.
    pub size: u64,
    /// What an operator must grant.
    pub needs: Vec<Arc<str>>,
    /// The id of the key that signed it, where somebody looked.
    pub signer: Option<Arc<str>>,
    /// The text of its signature.
    pub signature: Option<Arc<str>>,
    /// The OCI registry that it was pulled from.
    pub source: Option<PulledFrom>,
    /// Whether it comes back where it was deleted.
    pub brings_back: bool,
}
