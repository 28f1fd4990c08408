//! What a node pulls from OCI registries: those that its operator names, and of them what is named.

use crate::config::Config;
use crate::egress::Dialer;
use crate::registry::{Access, Pulled, Registry, RegistryFault};
use anyhow::Context as _;
use heddle_core::limits::Limits;
use heddle_core::oci::{Reference, pattern_has};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Components that are pulled at the same time; further ones are told to come back.
const AT_ONCE: usize = 4;

/// Pulls what it may. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Puller {
    registry: Registry,
    sources: Arc<BTreeMap<String, (Vec<String>, Access)>>,
    room: Arc<Semaphore>,
}

impl Puller {
    /// # Errors
    /// Where a password cannot be read, in words for the operator.
    pub(super) fn new(config: &Config, limits: &Limits) -> anyhow::Result<Puller> {
        let mut sources = BTreeMap::new();
        for (registry, source) in &config.registries {
            let password = source.password.as_ref().map(|password| password.read_plain());
            let password = password
                .transpose()
                .with_context(|| format!("the password for `{registry}` cannot be used"))?;
            let credentials = source.username.clone().zip(password.map(|password| password.to_string()));
            let access = Access { plain_http: source.plain_http, credentials };
            sources.insert(registry.clone(), (source.repositories.clone(), access));
        }
        let registry = Registry::new(Dialer::new(config.egress.clone()), limits);
        Ok(Puller { registry, sources: Arc::new(sources), room: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Fetches a component with its signatures.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn pull(&self, reference: &Reference) -> Result<Pulled, RegistryFault> {
        let access = self.access(reference)?;
        let Ok(_room) = self.room.try_acquire() else {
            return Err(RegistryFault::Busy { most: AT_ONCE });
        };
        self.registry.pull(reference, access).await
    }

    fn access(&self, reference: &Reference) -> Result<&Access, RegistryFault> {
        let Reference { registry, repository, .. } = reference;
        let found = self.sources.get(registry);
        let may = |patterns: &[String]| patterns.iter().any(|pattern| pattern_has(pattern, repository));
        match found {
            Some((patterns, access)) if may(patterns) => Ok(access),
            Some((patterns, _)) => Err(RegistryFault::NotAllowed(format!(
                "of `{registry}` this node pulls {} and not `{repository}`; an operator adds it in heddle.toml: `[registries.\"{registry}\"]`, `repositories`",
                patterns.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", ")
            ))),
            None => Err(RegistryFault::NotAllowed(format!(
                "this node pulls nothing from `{registry}`; an operator allows it in heddle.toml: `[registries.\"{registry}\"]`, `repositories = [\"{repository}\"]`"
            ))),
        }
    }
}
