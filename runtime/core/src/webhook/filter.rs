//! Which events an endpoint wants: types of the catalogue by name, or all of a group, such as `run.*`.

use crate::expr::tree::nearest;
use crate::run::public::CATALOGUE;
use std::sync::Arc;

/// Types that pass and are never kept, so nobody can be told of them later.
pub const TRANSIENT: [&str; 3] = ["progress", "log", "agent.token"];

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter(Arc<[Arc<str>]>);

/// A pattern that names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// No such type.
    #[error("no event is called `{said}`{hint}")]
    Unknown {
        /// What was said.
        said: String,
        /// What was probably meant, or what there is.
        hint: String,
    },
    /// It is never kept.
    #[error("`{0}` is not kept, so it cannot be delivered; follow the run's event stream for it")]
    Transient(String),
}

/// Types that can be delivered.
pub fn deliverable<'a>() -> impl Iterator<Item = &'a str> {
    CATALOGUE.iter().map(|event| event.name).filter(|name| !TRANSIENT.contains(name))
}

/// The groups of those types, with their `.*`.
fn groups() -> Vec<String> {
    let mut groups: Vec<String> =
        deliverable().filter_map(|name| Some(format!("{}.*", name.split_once('.')?.0))).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Checks one pattern.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub fn check(pattern: &str) -> Result<(), PatternFault> {
    let groups = groups();
    if TRANSIENT.contains(&pattern) {
        return Err(PatternFault::Transient(pattern.to_owned()));
    }
    if deliverable().any(|name| name == pattern) || groups.iter().any(|group| group == pattern) {
        return Ok(());
    }
    let said: String = pattern.chars().take(64).collect();
    let known: Vec<&str> = deliverable().chain(groups.iter().map(String::as_str)).collect();
    let hint = match nearest(&said, known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => {
            let groups = groups.iter().map(|group| format!("`{group}`")).collect::<Vec<_>>().join(", ");
            format!("; write one of the event catalogue, or a group: {groups}")
        }
    };
    Err(PatternFault::Unknown { said, hint })
}

impl EventFilter {
    /// A filter of patterns that have been checked.
    pub fn of<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> EventFilter {
        EventFilter(patterns.into_iter().map(|pattern| Arc::from(pattern.as_ref())).collect())
    }
    /// Whether an event of this type is wanted.
    pub fn wants(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(group) => kind.starts_with(group),
            None => **pattern == *kind,
        })
    }
    /// The patterns, as they were given.
    pub fn patterns(&self) -> &[Arc<str>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_types_or_groups() {
        for good in ["run.failed", "run.*", "approval.requested", "help.*", "decision", "attempt.*"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let said = |pattern: &str| check(pattern).unwrap_err().to_string();
        assert_eq!(said("run.suceeded"), "no event is called `run.suceeded`; did you mean `run.succeeded`?");
        assert_eq!(said("runs.*"), "no event is called `runs.*`; did you mean `run.*`?");
        assert!(said("*").contains("`approval.*`, `artifact.*`, `attempt.*`"), "{}", said("*"));
        assert!(said("progress").contains("not kept"), "{}", said("progress"));
        assert!(check("agent.*").is_err() && check("").is_err());
        let filter = EventFilter::of(["run.*", "approval.requested"]);
        assert!(filter.wants("run.failed") && filter.wants("approval.requested"));
        assert!(!filter.wants("approval.decided") && !filter.wants("runs") && !filter.wants("step.failed"));
        assert!(TRANSIENT.iter().all(|name| CATALOGUE.iter().any(|event| event.name == *name)));
    }
}
