//! The rules of `deny.toml` for what comes into the product: licences, versions that stand twice, crates that are not
//! wanted, sources. Held against what cargo resolves, without cargo-deny: building that takes longer than all other
//! layers that need no wasmtime, and everybody who runs the tests would build it. The file is cargo-deny's own, so that
//! whoever has it can run it, advisories included.

mod licence;
mod rules;

use crate::workspace::{Workspace, output};
use anyhow::{Context, Result, bail};
use rules::{Rules, Spec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where crates may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks everything that comes in; gives how many packages there are.
///
/// # Errors
/// Every breach of a rule, by package.
pub(crate) fn check(workspace: &Workspace) -> Result<u32> {
    let text = std::fs::read_to_string(workspace.path("deny.toml")).context("`deny.toml` cannot be read")?;
    let rules = Rules::read(&text)?;
    let mut graph = Graph::default();
    for target in &rules.targets {
        let mut cargo = workspace.cargo("");
        cargo.args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
            "--filter-platform",
            target,
        ]);
        graph.add(&serde_json::from_str(&output(&mut cargo)?)?);
    }
    let faults = faults(&rules, &graph);
    match faults.is_empty() {
        true => Ok(u32::try_from(graph.packages.len())?),
        false => bail!("{} of `deny.toml`:\n  {}", "these break the rules", faults.join("\n  ")),
    }
}

/// A package that is resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Where it comes from; empty for a path.
    source: String,
    /// Dependencies on any version at all, of a package of ours.
    wildcards: Vec<String>,
}

/// What is resolved on any of the platforms.
#[derive(Debug, Default)]
struct Graph {
    packages: BTreeMap<String, Package>,
    /// Those that come into the product or into its build, by their ids.
    product: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl Graph {
    /// Adds what `cargo metadata` says.
    fn add(&mut self, metadata: &Value) {
        let nodes: BTreeMap<String, &Value> =
            list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(&node["id"]), node)).collect();
        let ours: Vec<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let mut open = ours.clone();
        while let Some(id) = open.pop() {
            if !self.product.insert(id.clone()) {
                continue;
            }
            let comes_in = |edge: &&Value| list(&edge["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
            let edges = nodes.get(&id).map(|node| list(&node["deps"])).unwrap_or_default();
            let next: BTreeSet<String> =
                edges.iter().filter(comes_in).map(|edge| text(&edge["pkg"])).collect();
            open.extend(next.iter().cloned());
            self.edges.entry(id).or_default().extend(next);
        }
        for package in list(&metadata["packages"]) {
            let id = text(&package["id"]);
            if !nodes.contains_key(&id) {
                continue;
            }
            let any = |dependency: &&Value| dependency["req"] == "*" && dependency["path"].is_null();
            let wildcards = list(&package["dependencies"]).iter().filter(any).map(|d| text(&d["name"]));
            let found = Package {
                name: text(&package["name"]),
                version: text(&package["version"]),
                licence: text(&package["license"]),
                source: text(&package["source"]),
                wildcards: if ours.contains(&id) { wildcards.collect() } else { Vec::new() },
            };
            self.packages.insert(id, found);
        }
    }

    /// The packages that a line names.
    fn named<'a>(&'a self, spec: &'a Spec) -> impl Iterator<Item = &'a String> {
        self.packages
            .iter()
            .filter(|(_, package)| spec.fits(&package.name, &package.version))
            .map(|(id, _)| id)
    }

    /// A package and everything below it.
    fn tree(&self, root: &str, found: &mut BTreeSet<String>) {
        if found.insert(root.to_owned()) {
            for next in self.edges.get(root).into_iter().flatten() {
                self.tree(next, found);
            }
        }
    }
}

fn faults(rules: &Rules, graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, package) in &graph.packages {
        let Package { name, version, licence, source, wildcards } = package;
        if !source.is_empty() && source != REGISTRY {
            faults.push(format!("{name} {version} comes from `{source}`; only crates.io is known"));
        }
        if let Some(denied) = rules.deny.iter().find(|denied| denied.spec.fits(name, version)) {
            faults.push(format!("{name} {version} is not wanted: {}", denied.reason));
        }
        for wildcard in wildcards {
            faults.push(format!("{name} wants any version of {wildcard}; name one"));
        }
        let allowed = |word: &str| {
            let excepted = rules
                .exceptions
                .iter()
                .any(|e| e.spec.fits(name, version) && e.allow.iter().any(|l| l == word));
            excepted || rules.allow.contains(word)
        };
        if !source.is_empty() && graph.product.contains(id) && !licence::allows(licence, allowed) {
            faults.push(format!(
                "{name} {version} has the licence `{licence}`, which `[licenses]` does not allow"
            ));
        }
    }
    doubles(rules, graph, &mut faults);
    unused(rules, graph, &mut faults);
    faults
}

/// Crates of which more than one version comes in.
fn doubles(rules: &Rules, graph: &Graph, faults: &mut Vec<String>) {
    let mut skipped = BTreeSet::new();
    for line in &rules.skip_tree {
        for root in graph.named(&line.spec).cloned().collect::<Vec<_>>() {
            graph.tree(&root, &mut skipped);
        }
    }
    for line in &rules.skip {
        skipped.extend(graph.named(&line.spec).cloned());
    }
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for id in graph.product.iter().filter(|id| !skipped.contains(*id)) {
        if let Some(package) = graph.packages.get(id) {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
    }
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        let versions: Vec<&str> = versions.into_iter().collect();
        faults.push(format!(
            "{name} comes in as {}; move to one, or `skip` one with its reason",
            versions.join(" and ")
        ));
    }
}

/// Lines that name nothing any more, and lines without a reason.
fn unused(rules: &Rules, graph: &Graph, faults: &mut Vec<String>) {
    for line in rules.skip.iter().chain(&rules.skip_tree) {
        if graph.named(&line.spec).next().is_none() {
            faults.push(format!(
                "`{}` is skipped and does not come in any more; leave the line out",
                line.spec
            ));
        }
    }
    for line in rules.skip.iter().chain(&rules.skip_tree).chain(&rules.deny) {
        if line.reason.is_empty() {
            faults.push(format!("the line of `{}` has no reason", line.spec));
        }
    }
    for line in &rules.exceptions {
        if graph.named(&line.spec).next().is_none() {
            faults.push(format!("`{}` has an exception and does not come in any more", line.spec));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: &str = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
allow = [
    "MIT",
]
exceptions = [
    { crate = "z", allow = ["Zlib"] }, # a hash
]
[bans]
deny = [
    { crate = "bad", reason = "no" },
]
skip = [
    { crate = "two@1", reason = "old" },
]
skip-tree = [
]
"#;

    fn package(name: &str, version: &str, licence: &str, source: Option<&str>) -> Value {
        let id = format!("{name} {version}");
        json!({"id": id, "name": name, "version": version, "license": licence, "source": source, "dependencies": []})
    }

    /// A workspace `ours` that uses these.
    fn found(packages: &[Value]) -> Vec<String> {
        let edge = |p: &Value| json!({"pkg": p["id"], "dep_kinds": [{"kind": null}]});
        let deps: Vec<Value> = packages.iter().map(edge).collect();
        let mut nodes = vec![json!({"id": "ours 1.0.0", "deps": deps})];
        nodes.extend(packages.iter().map(|p| json!({"id": p["id"], "deps": []})));
        let mut all = packages.to_vec();
        let mut ours = package("ours", "1.0.0", "", None);
        ours["dependencies"] =
            json!([{"name": "any", "req": "*", "path": null}, {"name": "near", "req": "*", "path": "/near"}]);
        all.push(ours);
        let mut graph = Graph::default();
        graph
            .add(&json!({"packages": all, "workspace_members": ["ours 1.0.0"], "resolve": {"nodes": nodes}}));
        faults(&Rules::read(RULES).expect("the rules"), &graph)
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let crates = Some(REGISTRY);
        let good = [
            package("a", "1.0.0", "MIT OR GPL-3.0", crates),
            package("z", "1.0.0", "Zlib", crates),
            package("two", "1.2.0", "MIT", crates),
            package("two", "2.0.0", "MIT", crates),
        ];
        assert_eq!(found(&good), ["ours wants any version of any; name one"]);
        for (breach, says) in [
            (package("b", "1.0.0", "GPL-3.0", crates), "has the licence `GPL-3.0`"),
            (package("b", "1.0.0", "", crates), "has the licence ``"),
            (package("b", "1.0.0", "Zlib", crates), "has the licence `Zlib`"),
            (package("bad", "1.0.0", "MIT", crates), "is not wanted: no"),
            (package("b", "1.0.0", "MIT", Some("git+https://x")), "comes from `git+https://x`"),
            (package("two", "3.0.0", "MIT", crates), "two comes in as 2.0.0 and 3.0.0"),
        ] {
            let said = found(&[&good[..], &[breach]].concat());
            assert!(said.iter().any(|fault| fault.contains(says)), "{says}: {said:?}");
            assert_eq!(said.len(), 2, "{said:?}");
        }
        let said = found(&good[..2]);
        assert!(
            said.iter().any(|fault| fault.contains("`two@1` is skipped and does not come in")),
            "{said:?}"
        );
    }
}
