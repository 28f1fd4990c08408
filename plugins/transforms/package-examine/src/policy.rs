//! What a project allows. A policy is the project's own word, so a breach of it is always grave.

use heddle_sdk::prelude::*;

/// The policy of a project. Every part may be left out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Policy {
    /// Registries that packages may come from: `crates.io`, or the beginning of a URL. Left out: all may.
    #[serde(default)]
    pub(crate) allowed_registries: Option<Vec<String>>,
    /// Hosts that git dependencies may come from, such as `github.com`. Left out: all may.
    #[serde(default)]
    pub(crate) allowed_git_hosts: Option<Vec<String>>,
    /// Crates that must not be there.
    #[serde(default)]
    pub(crate) denied: Vec<Denied>,
    /// Rules that are not to be reported, such as `zero-version-deep`.
    #[serde(default)]
    pub(crate) ignored_rules: Vec<String>,
}

/// A crate that must not be there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Denied {
    /// Its name.
    pub(crate) name: String,
    /// The versions that are meant, as Cargo writes requirements (`<1.2`). Left out: all.
    #[serde(default)]
    pub(crate) versions: Option<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: String,
}

impl Policy {
    /// Refuses a policy that cannot be understood, since a rule that never fires would look like a clean result.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for denied in &self.denied {
            let Some(versions) = &denied.versions else { continue };
            if let Err(error) = semver::VersionReq::parse(versions) {
                let message =
                    format!("`{versions}`, denied for `{}`, is not a requirement: {error}", denied.name);
                return Err(Failure::permanent("invalid_policy", message));
            }
        }
        Ok(())
    }
}

impl Denied {
    /// Whether this package is meant. A version that is not semantic counts as meant.
    pub(crate) fn covers(&self, name: &str, version: &str) -> bool {
        let covered = |requirement: &String| match (
            semver::VersionReq::parse(requirement),
            semver::Version::parse(version),
        ) {
            (Ok(requirement), Ok(version)) => requirement.matches(&version),
            _ => true,
        };
        self.name == name && self.versions.as_ref().is_none_or(covered)
    }
}
