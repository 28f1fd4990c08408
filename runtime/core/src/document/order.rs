//! The order of a language's keys, taken from its JSON Schema: the one that editors get, so that a key which is new
//! there has its place here.

use super::{Doc, Fault, Part};
use crate::limits::Limits;

/// Which keys the maps of a language have, in which order.
#[derive(Clone, Debug)]
pub struct Order(Doc);

impl Order {
    /// The order in which this JSON Schema names the properties of each map.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn of_schema(text: &str) -> Result<Order, Fault> {
        Doc::parse(text, &Limits::default()).map(Order)
    }
    /// What holds for the whole document.
    pub(super) fn top(&self) -> Here<'_> {
        let mut here = Here { root: &self.0, schemas: Vec::new() };
        here.apply(&self.0);
        here
    }
}

/// The schemas that hold for one part of a document.
#[derive(Clone, Debug)]
pub(super) struct Here<'a> {
    root: &'a Doc,
    schemas: Vec<&'a Doc>,
}

impl<'a> Here<'a> {
    /// Adds a schema, and those that it stands for.
    fn apply(&mut self, schema: &'a Doc) {
        self.schemas.push(schema);
        let named = schema.get("$ref").and_then(Doc::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
        if let Some(named) = named.and_then(|name| self.root.get("$defs")?.get(name)) {
            self.apply(named);
        }
        if let Some(Doc { part: Part::List(choices), .. }) = schema.get("anyOf") {
            choices.iter().for_each(|choice| self.apply(choice));
        }
    }
    /// What holds for the member under this key, or for an item of this list.
    pub(super) fn below(&self, key: &str) -> Here<'a> {
        let mut below = Here { root: self.root, schemas: Vec::new() };
        for schema in &self.schemas {
            let property = schema.get("properties").and_then(|properties| properties.get(key));
            let other = || schema.get("additionalProperties").or_else(|| schema.get("items"));
            if let Some(inner) = property.or_else(other) {
                below.apply(inner);
            }
        }
        below
    }
    /// The place of this key; `None` where any key will do, which then stays where it is.
    pub(super) fn rank(&self, key: &str) -> Option<usize> {
        let is_closed = |schema: &&Doc| {
            matches!(
                schema.get("additionalProperties").map(|doc| &doc.part),
                Some(Part::Scalar(crate::value::Value::Bool(false)))
            )
        };
        self.schemas.iter().find(|schema| is_closed(schema))?;
        let keys = self.schemas.iter().filter_map(|schema| match &schema.get("properties")?.part {
            Part::Map(entries) => Some(entries),
            _ => None,
        });
        Some(keys.flatten().position(|(known, _)| &*known.text == key).unwrap_or(usize::MAX))
    }
}
