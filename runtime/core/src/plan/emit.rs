//! `emit`: an event of the tenant, sent when the step has succeeded. Whoever waits for a signal of its name gets it.

use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use crate::document::Doc;
use crate::expr::{Names, Template};
use crate::id::is_name;
use crate::value::Value;
use std::sync::Arc;

/// An event that a step sends.
#[derive(Clone, Debug)]
pub struct Emit {
    /// Its name.
    pub event: Arc<str>,
    /// What it says; also the output of the step.
    pub data: Template,
}

/// Reads `emit: paid` or `emit: {event: paid, data: {id: ${ input.id }}}`.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Emit {
    if let Some((with, path)) = step.get("with") {
        faults.at(with, &path, "`with` is the input of a `call`; what an event says is its `data`");
    }
    let mut data = Template::literal(Value::Null);
    let (event, place) = match doc.as_str() {
        Some(_) => (Some(doc), path.to_owned()),
        None => {
            let mut fields = Fields::of(doc, path, faults);
            let event = fields.need("event", faults);
            if let Some((doc, path)) = fields.get("data") {
                data = compile(doc, &path, names, shared, faults);
            }
            fields.finish(faults);
            event.map_or((None, String::new()), |(doc, path)| (Some(doc), path))
        }
    };
    let name = event.and_then(Doc::as_str).unwrap_or_default();
    if let Some(doc) = event.filter(|_| !is_name(name)) {
        faults.at(doc, &place, "wants the name of an event: `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
    Emit { event: name.into(), data }
}
