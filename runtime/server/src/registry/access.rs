//! Who asks a registry, and by which scheme. An author's own word comes from a variable or from the file that `docker
//! login` writes; a node's stands in its configuration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// How a registry is spoken to.
#[derive(Clone, Default)]
pub struct Access {
    /// Whether it has no TLS.
    pub plain_http: bool,
    /// A name and a password or token.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for Access {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.credentials.as_ref().map(|(name, _)| name);
        f.debug_struct("Access").field("plain_http", &self.plain_http).field("name", &name).finish()
    }
}

impl Access {
    /// `Basic` credentials, as a header carries them.
    pub(super) fn basic(&self) -> Option<String> {
        let (name, password) = self.credentials.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }
}

/// Whether a registry is on this machine, where nobody expects TLS.
pub(crate) fn is_here(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What `docker login` keeps for a registry.
///
/// # Errors
/// Where the file cannot be read, or keeps the password elsewhere.
pub(crate) fn of_docker(registry: &str) -> Result<Option<(String, String)>, String> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(file) = folder.or_else(home).map(|folder| folder.join("config.json")) else { return Ok(None) };
    match std::fs::read_to_string(&file) {
        Ok(text) => read(&text, registry).map_err(|why| format!("`{}`: {why}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{}` cannot be read: {error}", file.display())),
    }
}

fn read(text: &str, registry: &str) -> Result<Option<(String, String)>, String> {
    let value: Value = serde_json::from_str(text).map_err(|fault| format!("it is no JSON: {fault}"))?;
    let Some(kept) = value["auths"].get(registry) else { return Ok(None) };
    if let Some(auth) = kept["auth"].as_str().filter(|auth| !auth.is_empty()) {
        let text = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = text.as_deref().and_then(|text| text.split_once(':'));
        let pair = pair.ok_or_else(|| format!("what it keeps for `{registry}` cannot be read"))?;
        return Ok(Some((pair.0.to_owned(), pair.1.to_owned())));
    }
    let by = value["credHelpers"].get(registry).or(value.get("credsStore"));
    match by.and_then(Value::as_str) {
        Some(program) => Err(format!(
            "the password for `{registry}` is kept by `docker-credential-{program}`, which is not asked; set HEDDLE_REGISTRY_PASSWORD, with `--username`"
        )),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_keeps_is_read() {
        let auth = STANDARD.encode("ann:pa:ss");
        let text = format!(r#"{{"auths":{{"a.example":{{"auth":"{auth}"}},"b.example":{{}}}}}}"#);
        assert_eq!(read(&text, "a.example"), Ok(Some(("ann".into(), "pa:ss".into()))));
        assert_eq!(read(&text, "b.example"), Ok(None));
        assert_eq!(read(&text, "c.example"), Ok(None));
        let elsewhere = r#"{"auths":{"a.example":{}},"credsStore":"pass"}"#;
        assert!(read(elsewhere, "a.example").unwrap_err().contains("docker-credential-pass"));
        assert!(read(r#"{"auths":{"a.example":{"auth":"!"}}}"#, "a.example").is_err());
        assert!(read("nonsense", "a.example").is_err());
    }

    #[test]
    fn a_registry_here_has_no_tls() {
        assert!(["localhost:5000", "127.0.0.1:5000", "localhost"].into_iter().all(is_here));
        assert!(!["ghcr.io", "10.0.0.1:5000", "localhost.example"].into_iter().any(is_here));
        let access = Access { credentials: Some(("ann".into(), "secret".into())), ..Access::default() };
        assert_eq!(access.basic().unwrap(), "Basic YW5uOnNlY3JldA==");
        assert!(!format!("{access:?}").contains("secret"));
    }
}
