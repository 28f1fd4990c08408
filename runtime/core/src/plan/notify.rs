//! `notify`: who is told of which events of the workflow's runs. A run is told of as its own version says, however the
//! workflow is changed later.

use super::Catalog;
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part, pointer};
use crate::id::is_name;
use crate::limits::Limits;
use crate::webhook::filter::{self, EventFilter};
use crate::webhook::target;
use std::sync::Arc;

/// One endpoint of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Where to.
    pub url: Arc<str>,
    /// Of which events.
    pub events: EventFilter,
    /// The name of the secret that signs.
    pub secret: Arc<str>,
}

/// Reads `notify: [{ webhook: https://…, events: [run.failed], secret: hook-key }]`.
pub(super) fn read(
    (doc, path): (&Doc, &str),
    catalog: Option<&dyn Catalog>,
    limits: &Limits,
    faults: &mut Faults,
) -> Vec<Notify> {
    let Part::List(entries) = &doc.part else {
        let message = format!(
            "wants a list such as `- {{webhook: https://…, events: [run.failed], secret: hook-key}}`, and this is {}",
            doc.kind()
        );
        faults.at(doc, path, message);
        return Vec::new();
    };
    if entries.len() as u64 > limits.notify {
        faults.at(doc, path, format!("{} endpoints; the limit notify is {}", entries.len(), limits.notify));
    }
    let each = entries.iter().enumerate();
    each.filter_map(|(index, entry)| one(entry, &pointer(path, &index.to_string()), catalog, faults))
        .collect()
}

fn one(doc: &Doc, path: &str, catalog: Option<&dyn Catalog>, faults: &mut Faults) -> Option<Notify> {
    let mut fields = Fields::of(doc, path, faults);
    let url = fields.need("webhook", faults).and_then(|(doc, path)| {
        let read = match doc.as_str() {
            Some(text) if text.contains("${") => Err("an address is not computed; write it out".to_owned()),
            Some(text) => target::read(text).map_err(|fault| fault.to_string()),
            None => Err(format!("wants an address such as `https://host/path`, and this is {}", doc.kind())),
        };
        read.map_err(|message| faults.at(doc, &path, message)).ok()
    });
    let events = fields.need("events", faults).map(|(doc, path)| events(doc, &path, faults));
    let secret = fields.need("secret", faults).map(|(doc, path)| {
        let name = doc.as_str().unwrap_or_default();
        if !is_name(name) {
            faults.at(doc, &path, "wants the name of a secret, never the secret itself: `[a-z][a-z0-9_-]*`");
        } else if let Some(why) = catalog.and_then(|catalog| catalog.lacks_secret(name)) {
            faults.at(doc, &path, why);
        }
        Arc::from(name)
    });
    fields.finish(faults);
    Some(Notify { url: url?, events: events?, secret: secret? })
}

/// A list of types and groups.
fn events(doc: &Doc, path: &str, faults: &mut Faults) -> EventFilter {
    let Part::List(items) = &doc.part else {
        faults.at(
            doc,
            path,
            format!("wants a list such as `[run.failed, approval.*]`, and this is {}", doc.kind()),
        );
        return EventFilter::default();
    };
    if items.is_empty() {
        faults.at(doc, path, "names no event; write which, such as `[run.failed]`");
    }
    for (index, item) in items.iter().enumerate() {
        let path = pointer(path, &index.to_string());
        match item.as_str().map(filter::check) {
            Some(Ok(())) => {}
            Some(Err(fault)) => faults.at(item, &path, fault.to_string()),
            None => {
                faults.at(item, &path, format!("wants the type of an event, and this is {}", item.kind()))
            }
        }
    }
    EventFilter::of(items.iter().filter_map(Doc::as_str))
}
