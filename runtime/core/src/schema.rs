//! JSON Schema, checked once and used often. The only place that knows the library.

mod weight;

use crate::json::Json;
use std::fmt;
use std::sync::Arc;

/// A checked JSON Schema (2020-12 unless it names another draft). Remote references are refused. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    validator: Arc<jsonschema::Validator>,
    text: Json,
}

/// The text is not a schema that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable JSON Schema: {0}")]
pub struct SchemaFault(pub String);

/// One place where a document does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer into the document; empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "at `{place}`: {}", self.message)
    }
}

/// Mismatches reported of one document; more would not help anybody.
const MAX_MISMATCHES: usize = 20;

impl Schema {
    /// Checks the schema itself.
    pub fn compile(schema: &Json) -> Result<Schema, SchemaFault> {
        let document = serde_json::from_str(schema.text()).map_err(|e| SchemaFault(e.to_string()))?;
        weight::check(&document)?;
        let validator = jsonschema::validator_for(&document).map_err(|e| SchemaFault(cut(&e.to_string())))?;
        Ok(Schema { validator: Arc::new(validator), text: schema.clone() })
    }
    /// The schema as it was given.
    pub fn text(&self) -> &Json {
        &self.text
    }
    /// Checks a document; at most twenty mismatches are reported.
    pub fn check(&self, document: &Json) -> Result<(), Vec<Mismatch>> {
        let document: serde_json::Value = serde_json::from_str(document.text())
            .map_err(|e| vec![Mismatch { pointer: String::new(), message: e.to_string() }])?;
        if self.validator.is_valid(&document) {
            return Ok(());
        }
        Err(self
            .validator
            .iter_errors(&document)
            .take(MAX_MISMATCHES)
            .map(|e| Mismatch { pointer: e.instance_path().to_string(), message: cut(&e.to_string()) })
            .collect())
    }
}

/// The library prints whole instances; a message is for a person.
fn cut(message: &str) -> String {
    match message.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatches_name_the_place() {
        let schema = Schema::compile(&Json::trusted(r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["b"]}"#)).unwrap();
        let faults = schema.check(&Json::trusted(r#"{"a":[1,"x"]}"#)).unwrap_err();
        assert!(faults.iter().any(|m| m.pointer == "/a/1"), "{faults:?}");
        assert!(faults.iter().any(|m| m.message.contains('b')), "{faults:?}");
        assert!(schema.check(&Json::trusted(r#"{"a":[1],"b":null}"#)).is_ok());
    }
    #[test]
    fn a_remote_reference_is_refused() {
        assert!(Schema::compile(&Json::trusted(r#"{"$ref":"https://example.com/x.json"}"#)).is_err());
        assert!(Schema::compile(&Json::trusted(r#"{"type":"strin"}"#)).is_err());
    }
}
