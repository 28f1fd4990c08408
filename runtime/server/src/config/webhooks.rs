//! What an operator says about webhooks: whom the node tells, where the secrets are that sign, and which addresses are
//! open. A secret itself never stands in a configuration, so nothing that shows one can show it.

use super::Reader;
use super::table::FAMILIES;
use super::{Shown, said::Said};
use heddle_core::egress::{Egress, Network};
use heddle_core::expr::tree::nearest;
use heddle_core::webhook::filter::{self, EventFilter};
use heddle_core::webhook::signature::Secret;
use heddle_core::webhook::target;
use heddle_executor::NodeWebhook;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a variable of the environment.
    Env(String),
    /// In a file.
    File(PathBuf),
}

impl SecretSource {
    /// Reads it: one secret, or several with white space between them, of which all sign.
    ///
    /// # Errors
    /// In words for the operator, without any secret in them.
    pub fn read(&self) -> anyhow::Result<Vec<Secret>> {
        let (text, place) = (self.text()?, place(self));
        let read: Result<Vec<Secret>, _> = text.split_whitespace().map(Secret::parse).collect();
        match read {
            Ok(secrets) if secrets.is_empty() => anyhow::bail!("{place} is empty"),
            Ok(secrets) => Ok(secrets),
            Err(fault) => anyhow::bail!("what stands in {place} is none: {fault}"),
        }
    }
}

impl SecretSource {
    /// What stands there.
    pub(super) fn text(&self) -> anyhow::Result<String> {
        match self {
            SecretSource::Env(name) => std::env::var(name)
                .map_err(|_| anyhow::anyhow!("the variable `{name}` is not set, or is not text")),
            SecretSource::File(path) => std::fs::read_to_string(path)
                .map_err(|error| anyhow::anyhow!("the file `{}` cannot be read: {error}", path.display())),
        }
    }
}

/// Where that is, for the operator.
pub(super) fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Env(name) => format!("the variable `{name}`"),
        SecretSource::File(path) => format!("the file `{}`", path.display()),
    }
}

/// The parts of a list.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

impl Reader<'_> {
    /// Ranges that are open.
    pub(super) fn egress(&mut self) -> Egress {
        let (text, origin) = self.take("egress.allow_private");
        let mut open = Vec::new();
        for part in parts(&text) {
            match part.parse::<Network>() {
                Ok(network) => open.push(network),
                Err(fault) => self.fault(origin.clone(), format!("`egress.allow_private`: {fault}")),
            }
        }
        Egress { open }
    }

    /// Where the secrets are that sign.
    pub(super) fn secrets(&mut self) -> BTreeMap<Arc<str>, SecretSource> {
        self.sources("webhook_secrets.*")
    }
    /// Where the secrets of a family are.
    pub(super) fn sources(&mut self, family: &str) -> BTreeMap<Arc<str>, SecretSource> {
        let mut secrets = BTreeMap::new();
        for (name, said) in self.said(family) {
            let key = family.replace('*', &name);
            let source = match said.text.split_once(':') {
                Some(("env", variable)) if !variable.is_empty() => SecretSource::Env(variable.to_owned()),
                Some(("file", path)) if !path.is_empty() => {
                    // A path in a file is meant from that file's folder.
                    let folder = match &said.origin {
                        super::Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
                        _ => Path::new(""),
                    };
                    SecretSource::File(folder.join(path))
                }
                // It may be the secret itself, so it is not said again.
                _ => {
                    let message = format!(
                        "`{key}` says where the secret is: `env:VARIABLE` or `file:PATH`; the secret itself never stands here"
                    );
                    self.fault(said.origin.clone(), message);
                    continue;
                }
            };
            self.show(&key, &said);
            secrets.insert(Arc::from(name), source);
        }
        secrets
    }

    /// Webhooks of the node.
    pub(super) fn webhooks(&mut self, secrets: &BTreeMap<Arc<str>, SecretSource>) -> Vec<NodeWebhook> {
        let sayings = self.sayings;
        let of_nodes = FAMILIES.iter().filter(|family| family.key.starts_with("webhooks."));
        let names: BTreeSet<&str> =
            of_nodes.flat_map(|family| sayings.of(family.key)).map(|(name, _)| name).collect();
        names.into_iter().filter_map(|name| self.webhook(name, secrets)).collect()
    }

    fn webhook(&mut self, name: &str, secrets: &BTreeMap<Arc<str>, SecretSource>) -> Option<NodeWebhook> {
        let mut take = |word: &str| {
            let key = format!("webhooks.{name}.{word}");
            let Some(said) = self.sayings.get(&key).cloned() else {
                let origin = self.said("webhooks.*.url").into_iter().chain(self.said("webhooks.*.events"));
                let origin = origin.chain(self.said("webhooks.*.secret")).find(|(other, _)| *other == name);
                let origin = origin.map(|(_, said)| said.origin.clone()).unwrap_or(super::Origin::Default);
                self.fault(origin, format!("`{key}` is missing"));
                return None;
            };
            let Said { text, origin } = said;
            self.shown.push(Shown { key: key.clone(), value: text.clone(), origin: origin.clone() });
            Some((key, text, origin))
        };
        let (url, events, secret) = (take("url"), take("events"), take("secret"));
        let url = url.and_then(|(key, text, origin)| {
            let read = target::read(&text);
            read.map_err(|fault| self.fault(origin, format!("`{key}`: {fault}"))).ok()
        });
        let events = events.map(|(key, text, origin)| {
            if parts(&text).next().is_none() {
                self.fault(
                    origin.clone(),
                    format!("`{key}` names no event; write which, such as `run.failed`"),
                );
            }
            for part in parts(&text) {
                if let Err(fault) = filter::check(part) {
                    self.fault(origin.clone(), format!("`{key}`: {fault}"));
                }
            }
            EventFilter::of(parts(&text))
        });
        let secret = secret.map(|(key, text, origin)| {
            if !secrets.contains_key(&*text) {
                let near = nearest(&text, secrets.keys().map(|known| &**known));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message =
                    format!("`{key}` is `{text}`, and `[webhook_secrets]` has no secret of this name{hint}");
                self.fault(origin, message);
            }
            Arc::from(text)
        });
        Some(NodeWebhook { name: name.into(), url: url?, events: events?, secret: secret? })
    }

    pub(super) fn said(&self, family: &str) -> Vec<(String, Said)> {
        self.sayings.of(family).map(|(name, said)| (name.to_owned(), said.clone())).collect()
    }
}
