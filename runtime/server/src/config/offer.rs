//! What other programs may call at the doors that speak their protocols, and by which names of this node.

use super::Reader;
use super::webhooks::parts;
use heddle_core::id::is_name;
use heddle_core::outside::Url;
use heddle_core::plan::WorkflowRef;
use heddle_core::plugin;
use std::net::SocketAddr;

/// Workflows and plugins, by name or pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer(pub Vec<String>);

impl Offer {
    /// Whether a workflow (`namespace/name`) or a plugin (`kind:name`) is offered.
    pub fn has(&self, name: &str) -> bool {
        let is_plugin = name.contains(':');
        self.0.iter().any(|pattern| {
            pattern.contains(':') == is_plugin && (pattern == "*" || plugin::pattern_has(pattern, name))
        })
    }
    /// Those that mean workflows.
    pub fn workflows(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|pattern| !pattern.contains(':'))
    }
    /// Those that mean plugins.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str).filter(|pattern| pattern.contains(':'))
    }
}

/// What the doors are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorSettings {
    /// Hosts that a request may name, with or without a port.
    pub hosts: Vec<String>,
    /// What is a tool at `/mcp`.
    pub mcp: Offer,
    /// What is a skill at `/a2a`.
    pub a2a: Offer,
    /// Whether a message to `/a2a` may bring a workflow along.
    pub definitions: bool,
    /// The address of this node that its card names, without a slash at its end.
    pub url: Option<String>,
}

/// Whether this names workflows or plugins.
fn is_callable(text: &str) -> bool {
    text == "*"
        || plugin::is_pattern(text)
        || text.strip_suffix("/*").is_some_and(is_name)
        || WorkflowRef::parse(text).is_ok_and(|named| named.name == text)
}

/// Whether this is a host as a request names it: no scheme and no path.
fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
    !text.is_empty() && text.chars().all(fits)
}

impl Reader<'_> {
    fn offer(&mut self, key: &str) -> Offer {
        let (said, origin) = self.take(key);
        let all: Vec<String> = parts(&said).map(str::to_owned).collect();
        for bad in all.iter().filter(|one| !is_callable(one)) {
            let message = format!(
                "`{key}` lists workflows (`acme/report`, `acme/*`, `*`) and plugins (`tool:echo`, `tool:*`), not `{bad}`"
            );
            self.fault(origin.clone(), message);
        }
        Offer(all)
    }
    /// What is offered, and by which names; those of the machine itself and the address listened on are always good.
    pub(super) fn doors(&mut self, listen: Option<SocketAddr>) -> DoorSettings {
        let (said, origin) = self.take("api.hosts");
        let named: Vec<String> = parts(&said).map(str::to_owned).collect();
        for bad in named.iter().filter(|one| !is_host(one)) {
            let message = format!("`api.hosts` lists hosts such as `heddle.example:8443`, not `{bad}`");
            self.fault(origin.clone(), message);
        }
        let own = listen.filter(|listen| !listen.ip().is_unspecified()).map(|listen| listen.ip().to_string());
        let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let hosts = always.into_iter().chain(own).chain(named).collect();
        let (mcp, a2a) = (self.offer("mcp.tools"), self.offer("a2a.skills"));
        let (said, origin) = self.take("a2a.url");
        let url = Some(said.trim_end_matches('/').to_owned()).filter(|url| !url.is_empty());
        let fits = |url: &String| {
            Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        };
        if let Some(bad) = url.as_ref().filter(|url| !fits(url)) {
            let message = format!("`a2a.url` is an address such as `https://heddle.example`, not `{bad}`");
            self.fault(origin, message);
        }
        let (said, origin) = self.take("a2a.definitions");
        if !matches!(&*said, "true" | "false") {
            self.fault(origin, format!("`a2a.definitions` is `true` or `false`, not `{said}`"));
        }
        DoorSettings { hosts, mcp, a2a, definitions: said == "true", url }
    }
}

#[cfg(test)]
mod tests {
    use super::{Offer, is_callable, is_host};

    #[test]
    fn a_pattern_means_workflows_or_plugins() {
        for good in ["*", "acme/*", "acme/report", "tool:*", "tool:echo", "tool:crm/*", "transform:csv"] {
            assert!(is_callable(good), "{good}");
        }
        for bad in ["", "acme", "acme/report@1", "widget:*", "tool:", "*/*", "Acme/*"] {
            assert!(!is_callable(bad), "{bad}");
        }
        let offer = |tools: &[&str]| Offer(tools.iter().map(ToString::to_string).collect());
        assert!(offer(&["*"]).has("acme/report"));
        assert!(!offer(&["*"]).has("tool:echo"));
        assert!(!offer(&["acme/*"]).has("acmeport/report"));
        assert!(offer(&["acme/report", "tool:crm/*"]).has("tool:crm/find"));
        assert!(!offer(&["acme/report", "tool:crm/*"]).has("tool:echo"));
        assert!(!offer(&[]).has("acme/report"));
    }

    #[test]
    fn a_host_has_no_scheme() {
        for good in ["heddle.example", "heddle.example:8443", "10.0.0.7", "[::1]:7878"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "https://heddle.example", "a/b", "*"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
