//! What a node pulls from OCI registries: `[registries."ghcr.io"]`. From others it pulls nothing, so nobody who may load
//! plugins can make it ask just anywhere.

use super::webhooks::{SecretSource, parts};
use super::{Origin, Reader};
use heddle_core::oci::is_pattern;
use std::collections::BTreeMap;

/// What is pulled from one registry, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Repositories, or patterns of them.
    pub repositories: Vec<String>,
    /// Who pulls.
    pub username: Option<String>,
    /// Where the password is.
    pub password: Option<SecretSource>,
    /// Whether it has no TLS.
    pub plain_http: bool,
}

impl Reader<'_> {
    /// What is pulled, by the host of the registry.
    pub(super) fn registries(&mut self) -> BTreeMap<String, Source> {
        let mut all: BTreeMap<String, Source> = BTreeMap::new();
        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        for (registry, said) in self.noted("registries.*.repositories") {
            let repositories: Vec<String> = parts(&said.text).map(str::to_owned).collect();
            origins.insert(registry.clone(), said.origin.clone());
            let names_host = |one: &&String| one.starts_with(&format!("{registry}/"));
            for bad in repositories.iter().filter(names_host) {
                let rest = &bad[registry.len() + 1..];
                let message =
                    format!("`registries.{registry}.repositories`: write `{rest}`, without the registry");
                self.fault(said.origin.clone(), message);
            }
            for bad in repositories.iter().filter(|one| !is_pattern(one)) {
                let message = format!(
                    "`registries.{registry}.repositories` lists such as `acme/echo` or `acme/*`, not `{bad}`"
                );
                self.fault(said.origin.clone(), message);
            }
            all.entry(registry).or_default().repositories = repositories;
        }
        for (registry, said) in self.noted("registries.*.username") {
            origins.insert(registry.clone(), said.origin);
            all.entry(registry).or_default().username = Some(said.text);
        }
        for (registry, source) in self.sources("registries.*.password") {
            all.entry(registry.to_string()).or_default().password = Some(source);
        }
        for (registry, said) in self.noted("registries.*.plain_http") {
            origins.insert(registry.clone(), said.origin.clone());
            match said.text.as_str() {
                "true" => all.entry(registry).or_default().plain_http = true,
                "false" => {}
                other => self.fault(
                    said.origin,
                    format!("`registries.{registry}.plain_http` is `true` or `false`, not `{other}`"),
                ),
            }
        }
        for (registry, source) in &all {
            let origin = || origins.get(registry).cloned().unwrap_or(Origin::Default);
            if source.repositories.is_empty() {
                let message = format!(
                    "`registries.{registry}.repositories` is missing: it says what the node may pull, such as `[\"acme/*\"]`"
                );
                self.fault(origin(), message);
            }
            if source.username.is_some() != source.password.is_some() {
                let message = format!(
                    "`registries.{registry}` has a `username` or a `password` and not the other; a token goes with any name"
                );
                self.fault(origin(), message);
            }
        }
        all
    }
}
