//! What clients of the Model Context Protocol may call, and by which names of this node.

use super::Reader;
use super::webhooks::parts;
use heddle_core::id::is_name;
use heddle_core::plan::WorkflowRef;
use heddle_core::plugin;
use std::net::SocketAddr;

/// What `/mcp` offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct McpSettings {
    /// Workflows and plugins, or patterns of them.
    pub tools: Vec<String>,
    /// Hosts that a request may name, with or without a port.
    pub hosts: Vec<String>,
}

impl McpSettings {
    /// Whether a workflow (`namespace/name`) or a plugin (`kind:name`) is a tool.
    pub fn offers(&self, name: &str) -> bool {
        let is_plugin = name.contains(':');
        self.tools.iter().any(|pattern| {
            pattern.contains(':') == is_plugin && (pattern == "*" || plugin::pattern_has(pattern, name))
        })
    }
    /// Whether any plugin may be one.
    pub fn offers_plugins(&self) -> bool {
        self.tools.iter().any(|pattern| pattern.contains(':'))
    }
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
    /// What is offered, and by which names; those of the machine itself and the address listened on are always good.
    pub(super) fn mcp(&mut self, listen: Option<SocketAddr>) -> McpSettings {
        let (said, origin) = self.take("mcp.tools");
        let tools: Vec<String> = parts(&said).map(str::to_owned).collect();
        for bad in tools.iter().filter(|one| !is_callable(one)) {
            let message = format!(
                "`mcp.tools` lists workflows (`acme/report`, `acme/*`, `*`) and plugins (`tool:echo`, `tool:*`), not `{bad}`"
            );
            self.fault(origin.clone(), message);
        }
        let (said, origin) = self.take("mcp.hosts");
        let named: Vec<String> = parts(&said).map(str::to_owned).collect();
        for bad in named.iter().filter(|one| !is_host(one)) {
            let message = format!("`mcp.hosts` lists hosts such as `heddle.example:8443`, not `{bad}`");
            self.fault(origin.clone(), message);
        }
        let own = listen.filter(|listen| !listen.ip().is_unspecified()).map(|listen| listen.ip().to_string());
        let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        McpSettings { tools, hosts: always.into_iter().chain(own).chain(named).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::{McpSettings, is_callable, is_host};

    #[test]
    fn a_pattern_means_workflows_or_plugins() {
        for good in ["*", "acme/*", "acme/report", "tool:*", "tool:echo", "tool:crm/*", "transform:csv"] {
            assert!(is_callable(good), "{good}");
        }
        for bad in ["", "acme", "acme/report@1", "widget:*", "tool:", "*/*", "Acme/*"] {
            assert!(!is_callable(bad), "{bad}");
        }
        let settings = |tools: &[&str]| McpSettings {
            tools: tools.iter().map(ToString::to_string).collect(),
            hosts: Vec::new(),
        };
        assert!(settings(&["*"]).offers("acme/report"));
        assert!(!settings(&["*"]).offers("tool:echo"));
        assert!(!settings(&["acme/*"]).offers("acmeport/report"));
        assert!(settings(&["acme/report", "tool:crm/*"]).offers("tool:crm/find"));
        assert!(!settings(&["acme/report", "tool:crm/*"]).offers("tool:echo"));
        assert!(!settings(&[]).offers("acme/report"));
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
