//! `approval`: who decides, how many of them must agree, what they fill in, and what happens when nobody does.

use super::policy;
use super::step::Shared;
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part, pointer};
use crate::json::Json;
use crate::schema::Schema;
use crate::time::Span;
use std::sync::Arc;

/// A decision by people.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Who may decide: `name` or `group:name`. Empty: anybody who may signal the run.
    pub assignees: Vec<Arc<str>>,
    /// How many must approve.
    pub quorum: u32,
    /// What an approval must say.
    pub form: Option<Schema>,
    /// How long to wait.
    pub timeout: Option<Span>,
    /// What it means when nobody decided in time.
    pub on_timeout: OnTimeout,
}

/// What it means when nobody decided in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The same as a rejection. The default.
    #[default]
    Reject,
    /// The same as an approval.
    Approve,
    /// The step fails, with `deadline_exceeded`.
    Fail,
}

impl Approval {
    /// Whether this person may decide.
    pub fn may_decide(&self, person: &str, groups: &[Arc<str>]) -> bool {
        is_one_of(&self.assignees, person, groups)
    }
}

/// Whether this person is named, or one of their groups is, or nobody.
pub(crate) fn is_one_of(assignees: &[Arc<str>], person: &str, groups: &[Arc<str>]) -> bool {
    assignees.is_empty()
        || assignees.iter().any(|assignee| match assignee.strip_prefix("group:") {
            Some(group) => groups.iter().any(|own| &**own == group),
            None => &**assignee == person,
        })
}

/// Reads `approval: {assignees: [...], quorum: 1, form: {...}, timeout: 48h, onTimeout: reject}`.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Approval {
    if let Some((with, path)) = step.get("with") {
        faults.at(with, &path, "`with` is the input of a `call`, and an `approval` calls nothing");
    }
    if step.get("forEach").is_some() {
        faults.at(doc, path, "a `forEach` cannot wait for people; ask once, before it");
    }
    let mut fields = Fields::of(doc, path, faults);
    let assignees = fields.get("assignees").map(|(doc, path)| assignees(doc, &path, faults));
    let quorum = fields.count("quorum", shared.limits.approvers, faults).unwrap_or(1);
    let form = fields.get("form").and_then(|(doc, path)| {
        Schema::compile(&Json::from_value(doc.value()))
            .map_err(|fault| faults.at(doc, &path, fault.to_string()))
            .ok()
    });
    let timeout = fields.span("timeout", faults);
    let words = &[("reject", OnTimeout::Reject), ("approve", OnTimeout::Approve), ("fail", OnTimeout::Fail)];
    let asked = policy::word(&mut fields, "onTimeout", words, faults);
    if asked.is_some() && timeout.is_none() {
        faults.at(doc, path, "`onTimeout` without a `timeout` never happens");
    }
    fields.finish(faults);
    let assignees = assignees.unwrap_or_default();
    let people = assignees.iter().filter(|who| !who.starts_with("group:")).count();
    if !assignees.is_empty() && people == assignees.len() && quorum as usize > people {
        faults.at(doc, &pointer(path, "quorum"), format!("{quorum} must approve, and {people} may"));
    }
    Approval { assignees, quorum, form, timeout, on_timeout: asked.unwrap_or_default() }
}

pub(super) fn assignees(doc: &Doc, path: &str, faults: &mut Faults) -> Vec<Arc<str>> {
    let Part::List(items) = &doc.part else {
        let message = format!("wants a list such as `[ana, \"group:finance\"]`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return Vec::new();
    };
    if items.is_empty() {
        faults.at(doc, path, "nobody could decide; name somebody, or leave the key out");
    }
    let mut found: Vec<Arc<str>> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.as_str().filter(|text| !text.trim_start_matches("group:").is_empty() && text.len() <= 128)
        {
            Some(text) if found.iter().any(|known| &**known == text) => {
                faults.at(item, &pointer(path, &at.to_string()), format!("`{text}` is named twice"));
            }
            Some(text) => found.push(text.into()),
            None => {
                let message = "wants a name, or `group:name`, of at most 128 bytes";
                faults.at(item, &pointer(path, &at.to_string()), message);
            }
        }
    }
    found
}
