//! How a published workflow is named: `namespace/name@range`. Without a range, any version.

use crate::id::is_name;
use std::fmt;

/// A workflow by its name and the versions that will do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkflowRef {
    /// `namespace/name`.
    pub name: String,
    /// The versions.
    pub range: semver::VersionReq,
}

/// The text does not name a workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowRefFault {
    /// Not two names.
    #[error("`{0}` is not `namespace/name` or `namespace/name@range`")]
    Name(String),
    /// The range is not one.
    #[error("`{0}` is not a version range; write `^1`, `~1.2` or `=1.2.3`")]
    Range(String),
}

impl WorkflowRef {
    /// Reads `namespace/name@range`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<WorkflowRef, WorkflowRefFault> {
        let cut = |text: &str| text.chars().take(140).collect::<String>();
        let (name, range) = text.split_once('@').unwrap_or((text, "*"));
        match name.split_once('/') {
            Some((namespace, own)) if is_name(namespace) && is_name(own) => {}
            _ => return Err(WorkflowRefFault::Name(cut(text))),
        }
        let range = semver::VersionReq::parse(range).map_err(|_| WorkflowRefFault::Range(cut(range)))?;
        Ok(WorkflowRef { name: name.to_owned(), range })
    }
    /// This very version of a workflow: `namespace/name@=version`.
    pub fn exactly(name: &str, version: &semver::Version) -> WorkflowRef {
        let comparator = semver::Comparator {
            op: semver::Op::Exact,
            major: version.major,
            minor: Some(version.minor),
            patch: Some(version.patch),
            pre: version.pre.clone(),
        };
        let range = semver::VersionReq { comparators: vec![comparator] };
        WorkflowRef { name: name.to_owned(), range }
    }
    /// The one version that it means, where its range is `=1.2.3`.
    pub fn exact(&self) -> Option<semver::Version> {
        let [one] = self.range.comparators.as_slice() else { return None };
        if one.op != semver::Op::Exact {
            return None;
        }
        let mut version = semver::Version::new(one.major, one.minor?, one.patch?);
        version.pre = one.pre.clone();
        Some(version)
    }
}

impl fmt::Display for WorkflowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range == semver::VersionReq::STAR {
            true => f.write_str(&self.name),
            false => write!(f, "{}@{}", self.name, self.range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let found = WorkflowRef::parse("acme/audit@^1.4").unwrap();
        assert_eq!((found.name.as_str(), found.to_string().as_str()), ("acme/audit", "acme/audit@^1.4"));
        assert_eq!(WorkflowRef::parse("acme/audit").unwrap().to_string(), "acme/audit");
        let exact = |text: &str| WorkflowRef::parse(text).unwrap().exact().map(|version| version.to_string());
        assert_eq!(exact("acme/audit@=1.4.0-rc.1").as_deref(), Some("1.4.0-rc.1"));
        for text in ["acme/audit", "acme/audit@1.4.0", "acme/audit@=1.4", "acme/audit@=1.4.0, <2"] {
            assert_eq!(exact(text), None, "{text}");
        }
        let version = "1.4.0-rc.1".parse().unwrap();
        assert_eq!(
            WorkflowRef::exactly("acme/audit", &version),
            WorkflowRef::parse("acme/audit@=1.4.0-rc.1").unwrap()
        );
        for text in ["", "audit", "acme/", "/audit", "acme/Audit", "a/b/c", "acme audit"] {
            assert!(matches!(WorkflowRef::parse(text), Err(WorkflowRefFault::Name(_))), "{text}");
        }
        assert!(matches!(WorkflowRef::parse("acme/audit@latest"), Err(WorkflowRefFault::Range(_))));
    }
}
