//! Who may depend on whom. The direct edges are read from the manifests; what must never come in by any way is looked
//! for in the whole tree of a crate's normal dependencies.

use super::{Fault, Tree};
use crate::workspace::output;
use anyhow::Result;
use serde_json::Value;

/// What a crate of the runtime may use directly among the crates of the project, and what must not come in at all.
struct Edges {
    package: &'static str,
    manifest: &'static str,
    /// Crates of the project.
    may: &'static [&'static str],
    /// Crates that must not be reached by any way.
    never: &'static [&'static str],
}

const EDGES: &[Edges] = &[
    Edges {
        package: "heddle-core",
        manifest: "runtime/core/Cargo.toml",
        may: &[],
        never: &[
            "tokio",
            "wasmtime",
            "axum",
            "hyper",
            "reqwest",
            "rusqlite",
            "tracing",
            "log",
            "metrics",
            "rand",
            "chrono",
            "futures-util",
        ],
    },
    Edges {
        package: "heddle-store",
        manifest: "runtime/store/Cargo.toml",
        may: &["heddle-core"],
        never: &["heddle-host", "heddle-executor", "heddle-server", "wasmtime", "axum", "hyper"],
    },
    Edges {
        package: "heddle-host",
        manifest: "runtime/host/Cargo.toml",
        may: &["heddle-core"],
        never: &["heddle-store", "heddle-executor", "heddle-server", "axum", "hyper", "rusqlite"],
    },
    Edges {
        package: "heddle-executor",
        manifest: "runtime/executor/Cargo.toml",
        may: &["heddle-core", "heddle-store"],
        never: &["heddle-host", "heddle-server", "wasmtime", "axum", "hyper", "rusqlite"],
    },
    Edges {
        package: "heddle-author",
        manifest: "runtime/author/Cargo.toml",
        may: &["heddle-core"],
        never: &[
            "heddle-store",
            "heddle-host",
            "heddle-executor",
            "heddle-server",
            "wasmtime",
            "tokio",
            "axum",
            "hyper",
            "rusqlite",
        ],
    },
    Edges {
        package: "heddle-server",
        manifest: "runtime/server/Cargo.toml",
        may: &["heddle-author", "heddle-core", "heddle-store", "heddle-host", "heddle-executor"],
        never: &["heddle-tests", "heddle-bench", "heddle-sdk"],
    },
    Edges {
        package: "xtask",
        manifest: "xtask/Cargo.toml",
        may: &[],
        never: &["tokio", "wasmtime", "clap", "rustls", "openssl-sys"],
    },
];

/// Every direct dependency of the core, so that a new one is talked about.
const OF_CORE: &[&str] = &[
    "base64",
    "cel",
    "croner",
    "hmac",
    "jiff",
    "jiter",
    "jsonschema",
    "regex",
    "saphyr-parser",
    "semver",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "url",
];

/// What the guests may use of the project: the SDK, which knows the contract and nothing of the host.
const OF_GUESTS: &[&str] = &["heddle-sdk", "heddle-sdk-macros"];

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let packages = tree.workspace.metadata("")?;
    for edges in EDGES {
        for used in direct(&packages, edges.package) {
            if used.starts_with("heddle-") && !edges.may.contains(&&*used) {
                faults.push(fault(edges.manifest, &used, "is not below it in the house"));
            }
            if edges.package == "heddle-core" && !OF_CORE.contains(&&*used) {
                faults.push(fault(
                    edges.manifest,
                    &used,
                    "is not among the core's dependencies in `xtask/src/tidy/edges.rs`",
                ));
            }
        }
        let reached = reached(tree, edges.package)?;
        let never = edges.never.iter().filter(|name| reached.iter().any(|r| r == *name));
        faults.extend(never.map(|name| {
            fault(edges.manifest, name, "must not come in, and does: `cargo tree -i` says by what")
        }));
    }
    let guests = tree.workspace.metadata("plugins")?;
    for package in guests["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for used in direct(&guests, name)
            .iter()
            .filter(|used| used.starts_with("heddle-") && !OF_GUESTS.contains(&&***used))
        {
            faults.push(fault(
                "plugins/Cargo.toml",
                used,
                &format!("belongs to the host, and the guest `{name}` uses it"),
            ));
        }
    }
    Ok(faults)
}

/// What a package's manifest names, those for tests left out.
fn direct(packages: &Value, package: &str) -> Vec<String> {
    let packages = packages["packages"].as_array().into_iter().flatten();
    let found = packages
        .filter(|p| p["name"] == package)
        .flat_map(|p| p["dependencies"].as_array().into_iter().flatten());
    found.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str().map(str::to_owned)).collect()
}

/// Everything that comes with a package, itself left out.
fn reached(tree: &Tree<'_>, package: &str) -> Result<Vec<String>> {
    let mut cargo = tree.workspace.cargo("");
    // The executor is judged as it is built for others: the store's drivers are the server's choice.
    cargo.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let text = output(&mut cargo)?;
    Ok(text.lines().skip(1).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

fn fault(manifest: &str, item: &str, why: &str) -> Fault {
    Fault {
        rule: "edges",
        path: manifest.to_owned(),
        line: 0,
        item: item.to_owned(),
        message: format!("`{item}` {why}"),
    }
}
