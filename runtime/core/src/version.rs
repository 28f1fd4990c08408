//! The life of a published version: which states there are, which may follow which, and what a range means among them.
//! Nothing here knows where versions are kept.

use crate::plan::WorkflowRef;
use semver::Version;
use serde::{Deserialize, Serialize};

/// Where a published version stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VersionStatus {
    /// Runs only where it is named exactly; no range means it, and it schedules nothing.
    Draft,
    /// What ranges mean. The default.
    #[default]
    Active,
    /// Begins no run any more; those under way go on.
    Inactive,
    /// The same, and lists leave it out unless they are asked for it.
    Archived,
}

/// A state that does not follow the one that there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version that is {} cannot become {}; it can become {}", .from.word(), .to.word(), words(.from.followers()))]
pub struct NoTransition {
    /// Where it stands.
    pub from: VersionStatus,
    /// What it was to become.
    pub to: VersionStatus,
}

impl VersionStatus {
    /// All of them.
    pub const ALL: [VersionStatus; 4] =
        [VersionStatus::Draft, VersionStatus::Active, VersionStatus::Inactive, VersionStatus::Archived];

    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            VersionStatus::Draft => "draft",
            VersionStatus::Active => "active",
            VersionStatus::Inactive => "inactive",
            VersionStatus::Archived => "archived",
        }
    }
    /// The status of this word.
    pub fn from_word(word: &str) -> Option<VersionStatus> {
        VersionStatus::ALL.into_iter().find(|status| status.word() == word)
    }
    /// What it can become. Nothing becomes a draft again: somebody may have run it. What comes back from the archive
    /// is looked at before it is active.
    pub fn followers(self) -> &'static [VersionStatus] {
        match self {
            VersionStatus::Draft => &[VersionStatus::Active, VersionStatus::Archived],
            VersionStatus::Active => &[VersionStatus::Inactive, VersionStatus::Archived],
            VersionStatus::Inactive => &[VersionStatus::Active, VersionStatus::Archived],
            VersionStatus::Archived => &[VersionStatus::Inactive],
        }
    }
    /// The status that it is to become. The one that it has already will do.
    ///
    /// # Errors
    /// Where it does not follow.
    pub fn to(self, next: VersionStatus) -> Result<VersionStatus, NoTransition> {
        match self == next || self.followers().contains(&next) {
            true => Ok(next),
            false => Err(NoTransition { from: self, to: next }),
        }
    }
    /// Whether a run may begin with it, where the reference names it in this way.
    fn begins(self, exactly: bool) -> bool {
        match self {
            VersionStatus::Active => true,
            VersionStatus::Draft => exactly,
            VersionStatus::Inactive | VersionStatus::Archived => false,
        }
    }
}

fn words(statuses: &[VersionStatus]) -> String {
    statuses.iter().map(|status| format!("`{}`", status.word())).collect::<Vec<_>>().join(" or ")
}

/// Why a reference means no version that may begin a run, though some fit its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRunnable {
    /// What was asked for.
    pub reference: WorkflowRef,
    /// The highest that fits.
    pub version: Version,
    /// Where it stands.
    pub status: VersionStatus,
}

impl std::error::Error for NotRunnable {}

impl std::fmt::Display for NotRunnable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NotRunnable { reference, version, status } = self;
        let name = &reference.name;
        match self.reference.exact() {
            Some(_) => write!(f, "`{name}@{version}` is {} and begins no run", status.word())?,
            None => write!(
                f,
                "no active version of `{name}` fits `{}`: {version} is {}",
                reference.range,
                status.word()
            )?,
        }
        match status {
            VersionStatus::Draft => {
                write!(
                    f,
                    "; name it exactly, `{name}@={version}`, or type `heddle workflow activate {name}@{version}`"
                )
            }
            VersionStatus::Archived => write!(
                f,
                "; `heddle workflow deactivate {name}@{version}` takes it out of the archive, `activate` lets it run again"
            ),
            VersionStatus::Inactive | VersionStatus::Active => {
                write!(f, "; `heddle workflow activate {name}@{version}` lets it run again")
            }
        }
    }
}

/// The version that a reference means: the highest active one that fits its range, or the very one that it names, a
/// draft as well. Pre-releases fit as semantic versions say: only where the range names one of the same release.
///
/// `None` where none fits at all.
///
/// # Errors
/// Where some fit, and none of them may begin a run.
pub fn resolve<'a>(
    reference: &WorkflowRef,
    versions: impl Iterator<Item = (&'a Version, VersionStatus)> + Clone,
) -> Result<Option<&'a Version>, NotRunnable> {
    let exactly = reference.exact().is_some();
    let fitting = versions.filter(|(version, _)| reference.range.matches(version));
    let runnable =
        fitting.clone().filter(|(_, status)| status.begins(exactly)).map(|(version, _)| version).max();
    if runnable.is_some() {
        return Ok(runnable);
    }
    match fitting.max_by_key(|(version, _)| *version) {
        None => Ok(None),
        Some((version, status)) => {
            Err(NotRunnable { reference: reference.clone(), version: version.clone(), status })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VersionStatus::{Active, Archived, Draft, Inactive};

    #[test]
    fn what_follows_what() {
        let mut allowed = Vec::new();
        for from in VersionStatus::ALL {
            assert_eq!(from.to(from), Ok(from));
            assert_eq!(VersionStatus::from_word(from.word()), Some(from));
            allowed.extend(
                VersionStatus::ALL
                    .into_iter()
                    .filter(|to| from != *to && from.to(*to).is_ok())
                    .map(|to| (from, to)),
            );
        }
        let table = [
            (Draft, Active),
            (Draft, Archived),
            (Active, Inactive),
            (Active, Archived),
            (Inactive, Active),
            (Inactive, Archived),
            (Archived, Inactive),
        ];
        assert_eq!(allowed, table);
        let refused = Archived.to(Active).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a version that is archived cannot become active; it can become `inactive`"
        );
    }

    fn meant(
        reference: &str,
        versions: &[(&str, VersionStatus)],
    ) -> Result<Option<String>, (String, VersionStatus)> {
        let parsed: Vec<(Version, VersionStatus)> =
            versions.iter().map(|(text, status)| (text.parse().unwrap(), *status)).collect();
        let reference = WorkflowRef::parse(reference).unwrap();
        let found = resolve(&reference, parsed.iter().map(|(version, status)| (version, *status)));
        found
            .map(|found| found.map(Version::to_string))
            .map_err(|fault| (fault.version.to_string(), fault.status))
    }

    #[test]
    fn a_range_means_the_highest_active_one() {
        let all = [
            ("1.0.0", Active),
            ("1.9.0", Active),
            ("1.10.0", Inactive),
            ("1.11.0", Draft),
            ("2.0.0-rc.2", Active),
            ("2.0.0-rc.10", Active),
            ("0.9.0", Archived),
        ];
        assert_eq!(meant("a/b", &all), Ok(Some("1.9.0".into())));
        assert_eq!(meant("a/b@^1", &all), Ok(Some("1.9.0".into())));
        assert_eq!(meant("a/b@=1.11.0", &all), Ok(Some("1.11.0".into())));
        assert_eq!(meant("a/b@1.11.0", &all), Err(("1.11.0".into(), Draft)), "that is `^1.11.0`");
        assert_eq!(meant("a/b@=1.10.0", &all), Err(("1.10.0".into(), Inactive)));
        assert_eq!(meant("a/b@~1.10", &all), Err(("1.10.0".into(), Inactive)));
        assert_eq!(meant("a/b@<1", &all), Err(("0.9.0".into(), Archived)));
        assert_eq!(meant("a/b@^3", &all), Ok(None));
        assert_eq!(meant("a/b@^2", &all), Ok(None), "a pre-release is not what a range of releases means");
        assert_eq!(meant("a/b@^2.0.0-rc.1", &all), Ok(Some("2.0.0-rc.10".into())));
        assert_eq!(meant("a/b@=2.0.0-rc.2", &all), Ok(Some("2.0.0-rc.2".into())));
    }
}
