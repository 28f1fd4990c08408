//! Which imports each kind of plugin may have: the table that makes purity a fact of the linker and not a promise.
//!
//! A component's imports are read from its type before any of its code runs. Heddle's own interfaces must match a row
//! exactly. Those of WASI 0.2 come with ordinary toolchains; every kind may have them, because here they give nothing:
//! no environment, no files, no network, and the clock and randomness of the kind. Requests by `wasi:http` are those of
//! `heddle:host/http`, under the same grants.

use heddle_core::outcome::PluginKind;
use heddle_core::outcome::PluginKind::{Agent, Tool, Transform};

/// The version of Heddle's own packages.
pub(crate) const CONTRACT_VERSION: &str = "0.1.0";

/// An interface of `heddle:host`, and the kinds that may import it.
const CAPABILITIES: &[(&str, &[PluginKind])] = &[
    ("types", &[Transform, Tool, Agent]),
    ("log", &[Transform, Tool, Agent]),
    ("clock", &[Transform, Tool, Agent]),
    ("random", &[Transform, Tool, Agent]),
    ("context", &[Tool, Agent]),
    ("progress", &[Tool, Agent]),
    ("http", &[Tool, Agent]),
    ("secret", &[Tool, Agent]),
    ("config", &[Tool, Agent]),
    ("kv", &[Tool, Agent]),
    ("artifacts", &[Tool, Agent]),
    ("model", &[Agent]),
    ("tools", &[Agent]),
];

/// The packages of WASI 0.2 that are linked, emptily.
const WASI_PACKAGES: &[&str] = &["cli", "io", "clocks", "random", "filesystem", "sockets"];

/// The kinds, by the interface of `heddle:plugin` that each exports.
pub(crate) const KINDS: &[(PluginKind, &str)] =
    &[(Transform, "transformer"), (Tool, "callable"), (Agent, "runnable")];

/// Why a plugin of this kind may not import this, or nothing when it may.
pub(crate) fn refusal(kind: PluginKind, import: &str) -> Option<String> {
    let Some((package, interface, version)) = split(import) else {
        return Some(format!(
            "imports `{import}`, which is no interface of this host; import `heddle:host/*@{CONTRACT_VERSION}` only"
        ));
    };
    match package {
        "heddle:host" => own(kind, import, interface, version),
        "heddle:plugin" => {
            Some(format!("imports `{import}`, which is for plugins to export; export it instead"))
        }
        _ => match package.strip_prefix("wasi:") {
            Some("http") => http(kind, import, interface).or_else(|| wasi(import, version)),
            Some(package) if WASI_PACKAGES.contains(&package) => wasi(import, version),
            _ => Some(format!(
                "imports `{import}`, which this host does not have; it has `heddle:host/*@{CONTRACT_VERSION}` and an \
                 empty WASI 0.2"
            )),
        },
    }
}

fn own(kind: PluginKind, import: &str, interface: &str, version: &str) -> Option<String> {
    let Some((_, kinds)) = CAPABILITIES.iter().find(|(name, _)| *name == interface) else {
        let known: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
        return Some(format!("imports `{import}`, which is no capability; there are {}", known.join(", ")));
    };
    if version != CONTRACT_VERSION {
        return Some(format!(
            "imports `{import}`: expected `heddle:host/{interface}@{CONTRACT_VERSION}`, found version `{version}`; build \
             against the interfaces of this host"
        ));
    }
    if kinds.contains(&kind) {
        return None;
    }
    let allowed: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    Some(format!(
        "imports `{import}`, which a {} may not have; only {} may",
        kind.word(),
        allowed.join(" and ")
    ))
}

/// Requests to the outside under WASI's name: for who may send them under ours.
fn http(kind: PluginKind, import: &str, interface: &str) -> Option<String> {
    match interface {
        "types" | "outgoing-handler" if kind != Transform => None,
        "types" | "outgoing-handler" => {
            Some(format!("imports `{import}`, which a transform may not have; only tool and agent may"))
        }
        _ => Some(format!("imports `{import}`; of `wasi:http` this host has `outgoing-handler` and `types`")),
    }
}

fn wasi(import: &str, version: &str) -> Option<String> {
    if version.starts_with("0.2.") {
        return None;
    }
    Some(format!(
        "imports `{import}`: expected version 0.2.x, found `{version}`; build for WASI 0.2 (wasm32-wasip2)"
    ))
}

/// `package:name/interface@version`, in three parts.
pub(crate) fn split(import: &str) -> Option<(&str, &str, &str)> {
    let (package, rest) = import.split_once('/')?;
    let (interface, version) = rest.split_once('@').unwrap_or((rest, "none"));
    (package.contains(':') && !interface.is_empty()).then_some((package, interface, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_what_their_worlds_say() {
        for (kind, import, allowed) in [
            (Transform, "heddle:host/log@0.1.0", true),
            (Transform, "heddle:host/context@0.1.0", false),
            (Transform, "heddle:host/progress@0.1.0", false),
            (Transform, "heddle:host/tools@0.1.0", false),
            (Tool, "heddle:host/context@0.1.0", true),
            (Tool, "heddle:host/tools@0.1.0", false),
            (Agent, "heddle:host/tools@0.1.0", true),
            (Agent, "heddle:host/tools@0.1.1", false),
            (Agent, "heddle:host/http@0.1.0", true),
            (Transform, "heddle:host/http@0.1.0", false),
            (Transform, "heddle:host/kv@0.1.0", false),
            (Agent, "heddle:host/sql@0.1.0", false),
            (Agent, "heddle:host/tools", false),
            (Transform, "wasi:clocks/monotonic-clock@0.2.6", true),
            (Tool, "wasi:filesystem/types@0.2.12", true),
            (Tool, "wasi:cli/environment@0.3.0", false),
            (Tool, "wasi:http/outgoing-handler@0.2.3", true),
            (Agent, "wasi:http/types@0.2.12", true),
            (Transform, "wasi:http/types@0.2.12", false),
            (Tool, "wasi:http/incoming-handler@0.2.3", false),
            (Tool, "wasi:http/outgoing-handler@0.3.0", false),
            (Tool, "wasi:keyvalue/store@0.2.0", false),
            (Tool, "wasi_snapshot_preview1", false),
            (Tool, "env", false),
        ] {
            assert_eq!(
                refusal(kind, import).is_none(),
                allowed,
                "{kind:?} {import}: {:?}",
                refusal(kind, import)
            );
        }
    }
    #[test]
    fn a_wrong_version_says_what_was_expected_and_found() {
        let said = refusal(Tool, "heddle:host/log@0.2.0").unwrap();
        assert!(said.contains("heddle:host/log@0.1.0") && said.contains("`0.2.0`"), "{said}");
    }
}
