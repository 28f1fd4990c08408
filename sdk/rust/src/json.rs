//! JSON that is handed through.
//!
//! `serde_json::Value` reads numbers into 64 bits and forgets how they were written. A plugin that only passes a value
//! on should not change it, so `Json` keeps the text.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Any JSON value, kept as its text: numbers stay exactly as they were written.
///
/// It cannot stand inside a type that uses `#[serde(flatten)]`, `untagged` or `tag`, because those make serde read the
/// value before it is known to be one of these.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Writes any value as JSON. Fails for maps whose keys are not strings and for numbers that are not finite.
    pub fn write(value: &impl Serialize) -> Result<Json, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Json)
    }

    /// Reads the value as a type. Fails where the JSON does not fit it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl PartialEq for Json {
    /// Equal text. Two spellings of a number are not equal.
    fn eq(&self, other: &Json) -> bool {
        self.text() == other.text()
    }
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_spelling() {
        let text = r#"{"a":1.0,"b":123456789012345678901234567890}"#;
        let json: Json = serde_json::from_str(text).expect("valid JSON");
        assert_eq!(serde_json::to_string(&json).expect("writable"), text);
    }
}
