//! A Cargo.lock with one package changed, and what may run again because of it.
//!
//! Read by lines and apart from the plugin that parses lock files, so that the expectation does not come from the thing
//! that is tested.

use std::collections::BTreeSet;

/// A package of a lock file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Package {
    name: String,
    version: String,
    has_source: bool,
    /// The names of what it depends on.
    dependencies: Vec<String>,
}

/// A lock file that differs in one package.
#[derive(Debug)]
pub(crate) struct Change {
    /// The package.
    pub(crate) name: String,
    /// Its version before.
    pub(crate) from: String,
    /// Its version after.
    pub(crate) to: String,
    /// The whole file after.
    pub(crate) text: String,
    /// The packages whose examination reads the new version, as `name version`: itself and those that depend on it.
    pub(crate) examined: BTreeSet<String>,
}

/// The packages of a lock file.
pub(crate) fn packages(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            open = line == "[[package]]";
            packages.extend(open.then(Package::default));
            continue;
        }
        let Some(package) = packages.last_mut().filter(|_| open) else { continue };
        match line.split_once(" = ") {
            Some(("name", value)) => package.name = unquoted(value).to_owned(),
            Some(("version", value)) => package.version = unquoted(value).to_owned(),
            Some(("source", _)) => package.has_source = true,
            Some(("dependencies", value)) if value.len() > 1 => {
                package
                    .dependencies
                    .extend(value.trim_matches(['[', ']']).split(',').map(str::trim).map(dependency));
            }
            None if line.starts_with('"') => package.dependencies.push(dependency(line)),
            _ => {}
        }
    }
    packages
}

fn unquoted(value: &str) -> &str {
    value.trim_end_matches(',').trim_matches('"')
}

/// The name in `"name version (source)",`.
fn dependency(value: &str) -> String {
    unquoted(value).split(' ').next().unwrap_or_default().to_owned()
}

/// Gives one package a newer version: one on which few depend, that depends on nothing itself if there is such a one,
/// and that is in the file once. None where the file has no such package.
pub(crate) fn change_one(text: &str) -> Option<Change> {
    let packages = packages(text);
    let dependents =
        |name: &str| packages.iter().filter(|p| p.dependencies.iter().any(|d| d == name)).collect::<Vec<_>>();
    let alone = |name: &str| packages.iter().filter(|p| p.name == name).count() == 1;
    let may = packages.iter().filter(|p| p.has_source && alone(&p.name) && newer(&p.version).is_some());
    let chosen = may
        .map(|p| (p, dependents(&p.name)))
        .filter(|(_, dependents)| !dependents.is_empty())
        .min_by_key(|(p, dependents)| (!p.dependencies.is_empty(), dependents.len(), &p.name))?;
    let (package, dependents) = chosen;
    let (name, from, to) = (&package.name, &package.version, newer(&package.version)?);
    let mut examined: BTreeSet<String> =
        dependents.iter().map(|p| format!("{} {}", p.name, p.version)).collect();
    examined.insert(format!("{name} {to}"));
    let text = with_version(text, name, from, &to);
    Some(Change { name: name.clone(), from: from.clone(), to, text, examined })
}

/// `1.2.3` becomes `1.2.4`. None for versions with more to them.
fn newer(version: &str) -> Option<String> {
    let (rest, patch) = version.rsplit_once('.')?;
    let patch: u64 = patch.parse().ok()?;
    rest.split('.').all(|part| part.parse::<u64>().is_ok()).then(|| format!("{rest}.{}", patch + 1))
}

fn with_version(text: &str, name: &str, from: &str, to: &str) -> String {
    let own = format!("name = \"{name}\"\nversion = \"{from}\"");
    // Where it stands among dependencies or checksums with its version, as older formats have it.
    let named = format!("{name} {from}");
    let forms = [format!("\"{named}\""), format!("\"{named} ("), format!("checksum {named} (")];
    let among = |line: &str| forms.iter().any(|form| line.contains(form));
    let text =
        text.replace("\r\n", "\n").replacen(&own, &format!("name = \"{name}\"\nversion = \"{to}\""), 1);
    let lines = text.split_inclusive('\n').map(|line| match among(line) {
        true => line.replacen(&named, &format!("{name} {to}"), 1),
        false => line.to_owned(),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = [
 "middle",
 "twice 1.0.0",
 "twice 2.0.0",
]

[[package]]
name = "leaf"
version = "0.2.9"
source = "registry"
checksum = "00"

[[package]]
name = "middle"
version = "1.0.0"
source = "registry"
dependencies = ["leaf"]

[[package]]
name = "twice"
version = "1.0.0"
source = "registry"

[[package]]
name = "twice"
version = "2.0.0"
source = "registry"

[metadata]
name = "not a package"
"#;

    #[test]
    fn packages_are_read() {
        let packages = packages(LOCK);
        assert_eq!(packages.len(), 5);
        assert_eq!(packages[0].dependencies, ["middle", "twice", "twice"]);
        assert_eq!(packages[2].dependencies, ["leaf"]);
        assert!(!packages[0].has_source && packages[1].has_source);
    }

    #[test]
    fn a_leaf_changes_and_its_dependents_are_told() {
        let change = change_one(LOCK).unwrap();
        assert_eq!((&*change.name, &*change.from, &*change.to), ("leaf", "0.2.9", "0.2.10"));
        assert_eq!(change.examined.iter().collect::<Vec<_>>(), ["leaf 0.2.10", "middle 1.0.0"]);
        assert_eq!(change.text, LOCK.replace("0.2.9", "0.2.10"));
    }

    #[test]
    fn versions_with_more_to_them_are_left_alone() {
        assert_eq!(newer("1.2.3").as_deref(), Some("1.2.4"));
        for version in ["1.0.0-rc.1", "1.2.1+spec-1.1.0", "x"] {
            assert_eq!(newer(version), None, "{version}");
        }
        assert!(change_one("version = 4\n").is_none());
    }

    #[test]
    fn older_formats_name_versions_among_dependencies() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n \"a 1.0.0\",\n \"ba 1.0.0 (registry)\",\n\"checksum a 1.0.0 (registry)\" = \"0\"\n";
        let changed = with_version(text, "a", "1.0.0", "1.0.1");
        assert!(
            changed.contains("version = \"1.0.1\"")
                && changed.contains("\"a 1.0.1\"")
                && changed.contains("checksum a 1.0.1 (")
        );
        assert!(changed.contains("ba 1.0.0 ("));
    }
}
