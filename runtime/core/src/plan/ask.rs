//! `onFailure: ask`: people decide what becomes of a step that has failed for good.

use super::Verb;
use super::approval::assignees;
use super::walk::{Faults, Fields};
use crate::time::Span;
use std::sync::Arc;

/// Who is asked, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Who may decide: `name` or `group:name`. Empty: anybody.
    pub assignees: Vec<Arc<str>>,
    /// How long it asks; then the step fails.
    pub timeout: Option<Span>,
}

/// Reads `onFailure` and `skippable`.
pub(super) fn read(
    step: &mut Fields<'_>,
    verb: &Verb,
    total: Option<Span>,
    faults: &mut Faults,
) -> (Option<Box<Ask>>, bool) {
    let skippable = step.flag("skippable", faults).unwrap_or(false);
    if let (Verb::Group(_), true, Some((doc, path))) = (verb, skippable, step.get("skippable")) {
        faults.at(doc, &path, "a group is not skipped; say it of the steps that stand in it");
    }
    (on_failure(step, verb, total, faults), skippable)
}

/// Reads `onFailure: ask`, or `onFailure: {ask: {assignees: [ana], timeout: 24h}}`.
fn on_failure(
    step: &mut Fields<'_>,
    verb: &Verb,
    total: Option<Span>,
    faults: &mut Faults,
) -> Option<Box<Ask>> {
    let (doc, path) = step.get("onFailure")?;
    if !matches!(verb, Verb::Call { .. } | Verb::Workflow(_)) && step.get("call").is_none() {
        faults.at(doc, &path, "only a `call` or a `workflow` asks what becomes of its failure");
    } else if step.get("forEach").is_some() {
        let message = "a `forEach` does not ask for each item; put what may fail into a workflow of its own";
        faults.at(doc, &path, message);
    }
    match doc.as_str() {
        Some("ask") => return Some(Box::default()),
        Some(_) => {
            faults.at(doc, &path, "wants `ask`, or a map such as `{ask: {assignees: [ana], timeout: 24h}}`");
            return None;
        }
        None => {}
    }
    let mut fields = Fields::of(doc, &path, faults);
    let mut ask = Ask::default();
    if let Some((doc, path)) = fields.need("ask", faults) {
        let mut inner = Fields::of(doc, &path, faults);
        ask.assignees =
            inner.get("assignees").map(|(doc, path)| assignees(doc, &path, faults)).unwrap_or_default();
        ask.timeout = inner.span("timeout", faults);
        inner.finish(faults);
        if let (Some(own), Some(total)) = (ask.timeout, total)
            && own >= total
        {
            let message = format!("it asks for {own}, and the step has `timeout.total` of {total} in all");
            faults.at(doc, &path, message);
        }
    }
    fields.finish(faults);
    Some(Box::new(ask))
}
