//! Which kind a component is, and whether a plugin of that kind may import what it imports. Both are read off names.

use super::structure::Surface;
use crate::purity::{self, CONTRACT_VERSION, KINDS};
use heddle_core::outcome::PluginKind;

/// The kind, if it is plain, and everything that is wrong with the names.
pub(super) fn read(surface: &Surface) -> (Option<PluginKind>, Vec<String>) {
    let mut faults = Vec::new();
    if !surface.instances.iter().any(|name| *name == contract("metadata")) {
        faults.push(missing(surface, "metadata"));
    }
    let kinds: Vec<(PluginKind, &str)> = KINDS
        .iter()
        .copied()
        .filter(|(_, interface)| surface.instances.contains(&contract(interface)))
        .collect();
    let kind = match kinds.as_slice() {
        [(kind, _)] => Some(*kind),
        [] => {
            faults.push(no_kind(surface));
            None
        }
        several => {
            let names: Vec<String> =
                several.iter().map(|(_, interface)| format!("`{}`", contract(interface))).collect();
            faults.push(format!(
                "exports {}; a plugin is exactly one kind, so export one of them",
                names.join(" and ")
            ));
            None
        }
    };
    // Without a kind, what no kind may import is still wrong.
    let judged_as = kind.unwrap_or(PluginKind::Agent);
    faults.extend(surface.imports.iter().filter_map(|import| purity::refusal(judged_as, import)));
    (kind, faults)
}

fn contract(interface: &str) -> String {
    format!("heddle:plugin/{interface}@{CONTRACT_VERSION}")
}

/// An export of this interface under another version.
fn other_version<'a>(surface: &'a Surface, interface: &str) -> Option<&'a str> {
    surface.exports.iter().map(String::as_str).find(|export| {
        purity::split(export).is_some_and(|(package, name, version)| {
            package == "heddle:plugin" && name == interface && version != CONTRACT_VERSION
        })
    })
}

fn missing(surface: &Surface, interface: &str) -> String {
    let expected = contract(interface);
    match other_version(surface, interface) {
        Some(found) => format!(
            "expected export `{expected}`, found `{found}`; build against the interfaces of this host"
        ),
        None => format!("expected export `{expected}`, found {}; export it", found(surface)),
    }
}

fn no_kind(surface: &Surface) -> String {
    if let Some((_, interface)) =
        KINDS.iter().find(|(_, interface)| other_version(surface, interface).is_some())
    {
        return missing(surface, interface);
    }
    let expected: Vec<String> =
        KINDS.iter().map(|(_, interface)| format!("`{}`", contract(interface))).collect();
    format!(
        "expected exactly one export of {}, found {}; export the one of its kind",
        expected.join(", "),
        found(surface)
    )
}

fn found(surface: &Surface) -> String {
    if surface.exports.is_empty() {
        return "no exports".into();
    }
    let names: Vec<String> = surface.exports.iter().take(8).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
