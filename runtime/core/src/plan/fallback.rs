//! `fallback`: what is tried instead when a step has failed for good, in order, each once.

use super::call::{self, At};
use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part, pointer};
use crate::expr::names::ErrorName;
use crate::expr::{Names, Template};
use crate::outcome::PluginKind;

/// One thing that is tried instead.
#[derive(Clone, Debug)]
pub enum Alternative {
    /// Another plugin, with the step's input or one of its own.
    Call {
        /// Index into the plan's `calls`.
        call: usize,
        /// Its input, where it is not the step's.
        with: Option<Template>,
    },
    /// A value. It cannot fail unless its expression does.
    Value(Template),
}

impl Alternative {
    /// The steps whose outcome its expressions read.
    pub(super) fn reads(&self) -> impl Iterator<Item = u32> + '_ {
        let template = match self {
            Alternative::Call { with, .. } => with.as_ref(),
            Alternative::Value(template) => Some(template),
        };
        template.into_iter().flat_map(|template| template.reads.iter().copied())
    }
}

/// Alternatives of one step.
const MOST: usize = 8;

/// Reads `fallback: [{call: tool:slow@1}, {value: {degraded: true}}]`.
pub(super) fn read(
    (doc, path): At<'_>,
    (kind, with): (PluginKind, &Template),
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Vec<Alternative> {
    let Part::List(items) = &doc.part else {
        let message = format!(
            "wants a list such as `[{{call: {}:other@^1}}, {{value: null}}]`, and this is {}",
            kind.word(),
            doc.kind()
        );
        faults.at(doc, &path, message);
        return Vec::new();
    };
    if items.len() > MOST {
        faults.at(doc, &path, format!("{} alternatives; at most {MOST} are tried", items.len()));
    }
    let names = &Names { error: ErrorName::Bound, ..names.clone() };
    let mut found = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let path = pointer(&path, &at.to_string());
        if let Some(alternative) = one(item, &path, with, names, shared, faults) {
            if matches!(found.last(), Some(Alternative::Value(_))) {
                faults.at(item, &path, "comes after a value, which does not fail, so it is never tried");
            }
            found.push(alternative);
        }
    }
    found
}

fn one(
    doc: &Doc,
    path: &str,
    step_with: &Template,
    names: &Names,
    shared: &mut Shared<'_>,
    faults: &mut Faults,
) -> Option<Alternative> {
    let mut fields = Fields::of(doc, path, faults);
    let (call, value, with) = (fields.get("call"), fields.get("value"), fields.get("with"));
    fields.finish(faults);
    match (call, value) {
        (Some((call_doc, call_path)), None) => {
            let own = with.as_ref().map(|(doc, path)| compile(doc, path, names, shared, faults));
            let template = own.as_ref().unwrap_or(step_with).clone();
            let at = with.as_ref().map(|(doc, path)| (*doc, path.as_str()));
            let (call, _) =
                call::resolve((call_doc, &call_path), PluginKind::Tool, at, &template, shared, faults)?;
            Some(Alternative::Call { call, with: own })
        }
        (None, Some((doc, path))) => Some(Alternative::Value(compile(doc, &path, names, shared, faults))),
        _ => {
            faults.at(doc, path, "wants exactly one of `call` and `value`");
            None
        }
    }
}
