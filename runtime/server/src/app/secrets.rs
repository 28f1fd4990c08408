//! What the node needs to tell others: the way out, the operator's secrets, and the key from which the secrets of
//! webhooks follow that are made over the API. The key stands in a file of the data folder that only its owner reads, and
//! not in the database: a copy of that gives nobody a signature.

use super::courier::Web;
use super::outbound::Requests;
use crate::config::Config;
use crate::egress::Dialer;
use anyhow::Context as _;
use heddle_core::limits::Limits;
use heddle_executor::{ModelParts, OutsideParts, Provider, WebhookParts};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The file of the key.
const KEY_FILE: &str = "webhook.key";

/// Everything that a node needs to tell others.
///
/// # Errors
/// Where a secret or the key cannot be read, in words for the operator.
pub(super) fn webhook_parts(config: &Config, folder: &Path) -> anyhow::Result<WebhookParts> {
    let mut secrets = BTreeMap::new();
    for (name, source) in &config.webhook_secrets {
        let read = source.read().with_context(|| format!("the webhook secret `{name}` cannot be used"))?;
        secrets.insert(name.clone(), read);
    }
    let path = folder.join(KEY_FILE);
    let key =
        key(&path).with_context(|| format!("the key of webhooks in `{}` cannot be used", path.display()))?;
    let courier = Arc::new(Web(Dialer::new(config.egress.clone())));
    Ok(WebhookParts { courier, key, secrets, node: config.webhooks.clone() })
}

/// What plugins may do outside, with what does it.
///
/// # Errors
/// Where a secret cannot be read, in words for the operator.
pub(super) fn outside_parts(config: &Config, limits: &Arc<Limits>) -> anyhow::Result<OutsideParts> {
    let mut secrets = BTreeMap::new();
    for (name, source) in &config.secrets {
        let read = source.read_plain().with_context(|| format!("the secret `{name}` cannot be used"))?;
        secrets.insert(name.clone(), read);
    }
    let outbound = Arc::new(Requests { dialer: Dialer::new(config.egress.clone()), limits: limits.clone() });
    Ok(OutsideParts { outbound, grants: config.grants.clone(), secrets })
}

/// The language models of the node, with what asks them: by the same way out as plugins, and with more patience.
///
/// # Errors
/// Where a secret cannot be read, in words for the operator.
pub(super) fn model_parts(config: &Config, limits: &Limits) -> anyhow::Result<ModelParts> {
    let mut providers = BTreeMap::new();
    for (name, setting) in &config.models.providers {
        let source = setting.key.as_ref().and_then(|key| config.secrets.get(key));
        let key = source.map(|source| source.read_plain()).transpose();
        let key = key.with_context(|| format!("the key of the provider `{name}` cannot be used"))?;
        let (kind, url, headers) = (setting.kind, setting.url.clone(), setting.headers.clone());
        providers.insert(name.clone(), Provider { kind, url, key, headers });
    }
    // A model that thinks for long says nothing meanwhile.
    let (first, idle) = (limits.model_ms, limits.model_ms);
    let limits = Arc::new(Limits { http_first_byte_ms: first, http_idle_ms: idle, ..limits.clone() });
    let outbound = Arc::new(Requests { dialer: Dialer::new(config.egress.clone()), limits });
    let (aliases, prices) = (config.models.aliases.clone(), config.models.prices.clone());
    Ok(ModelParts { outbound, providers, aliases, prices })
}

/// The key in this file; a new one, where there is none yet.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            io::Error::other("it does not have 32 bytes; bring it back from a backup, or remove it: every webhook then needs a new secret")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path),
        Err(error) => Err(error),
    }
}

fn make_key(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Whole or not at all: a secret that was shown must still be the same after a crash.
    let half = path.with_extension("key.new");
    let _ = fs::remove_file(&half);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_read_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let made = key(&path).unwrap();
        assert_eq!(key(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert!(key(&path).unwrap_err().to_string().contains("32 bytes"));
    }
}
