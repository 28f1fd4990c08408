//! `forEach`: over which list, how many at once, and how many may fail.

use super::policy;
use super::step::Shared;
use super::walk::{Faults, Fields};
use super::{Lists, MapOver, Tolerance};
use crate::document::{Doc, Part, pointer};
use crate::expr::types::Type;
use crate::expr::{Expr, Names};
use crate::value::Value;
use std::sync::Arc;

/// Reads it, with the names that the step sees because of it.
pub(super) fn read(
    doc: &Doc,
    path: &str,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> (Option<MapOver>, Names) {
    let mut fields = Fields::of(doc, path, faults);
    let mut names = shared.names.clone();
    let batch = fields.count("batch", shared.limits.fan_out, faults).filter(|batch| *batch > 1);
    let inner = fields.get("forEach");
    let list = level(&mut fields, (doc, path), &mut names, batch.filter(|_| inner.is_none()), shared, faults);
    let mut lists = Lists { within: None, batch };
    if let Some((doc, path)) = inner {
        let mut fields = Fields::of(doc, &path, faults);
        lists.within = level(&mut fields, (doc, &path), &mut names, batch, shared, faults);
        if let Some((deeper, path)) = fields.get("forEach") {
            faults.at(
                deeper,
                &path,
                "a list in a list is as deep as it goes; run a `workflow` for each item",
            );
        }
        fields.finish(faults);
    }
    let max_parallel = fields.count("maxParallel", shared.limits.fan_out, faults);
    let tolerance = fields
        .get("tolerateFailures")
        .map_or(Tolerance::Count(0), |(doc, path)| tolerance(doc, &path, faults));
    fields.finish(faults);
    (list.map(|list| MapOver { list, lists, max_parallel, tolerance }), names)
}

/// One list with the names of its item and its index.
fn level(
    fields: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    names: &mut Names,
    batch: Option<u32>,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Option<Expr> {
    let list = fields.need("in", faults).and_then(|(doc, path)| {
        let expr = policy::expression(doc, &path, names, shared.limits, faults)?;
        if !expr.result.may_be_list() {
            faults.at(doc, &path, format!("`forEach` goes over a list; `{}` never is one", expr.text));
        }
        Some(expr)
    });
    let item = list.as_ref().map(|l| l.result.item()).unwrap_or_default();
    let item = if batch.is_some() { Type::List(Arc::new(item)) } else { item };
    let inner = !names.vars.is_empty();
    let (own, at) = if inner { ("inner", "innerIndex") } else { ("item", "index") };
    for (key, fallback, what) in [("as", own, item), ("at", at, Type::Int)] {
        let name = fields.text(key, faults).unwrap_or(fallback);
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !fits || ["input", "steps", "run", "error"].contains(&name) {
            faults.at(doc, &pointer(path, key), format!("`{name}` cannot be bound; choose letters, digits and `_`, and none of `input`, `steps`, `run`, `error`"));
        }
        if names.vars.iter().any(|known| known == name) {
            let message = match (key, inner) {
                ("at", false) => format!("`{name}` is the item already; give the index a name of its own"),
                _ => format!("`{name}` is bound already; choose another name"),
            };
            faults.at(doc, &pointer(path, key), message);
        }
        names.vars.push(name.to_owned());
        names.types.vars.push(what);
    }
    list
}

fn tolerance(doc: &Doc, path: &str, faults: &mut Faults) -> Tolerance {
    match &doc.part {
        Part::Scalar(Value::Int(n)) if (0..=100_000).contains(n) => return Tolerance::Count(*n as u32),
        Part::Scalar(Value::String(text)) => {
            if let Some(percent) = text
                .strip_suffix('%')
                .and_then(|p| p.trim().parse::<f64>().ok())
                .filter(|p| (0.0..=100.0).contains(p))
            {
                return Tolerance::Percent(percent);
            }
        }
        _ => {}
    }
    faults.at(doc, path, "wants a number of items, or a share such as `5%`");
    Tolerance::Count(0)
}
