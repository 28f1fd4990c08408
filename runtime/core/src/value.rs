//! The value that expressions compute with: JSON's shapes, CEL's numbers. Every value has a JSON form.
//!
//! A number keeps the text it was given unless it is an integer that prints the same, so a value that only passes
//! through a workflow leaves it byte for byte as it came. Clones share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// An object: sorted by key, shared.
pub type Map = BTreeMap<Arc<str>, Value>;

/// A value of the expression language: JSON's shapes, with CEL's three kinds of number.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// JSON null.
    #[default]
    Null,
    /// JSON true and false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An unsigned integer, written `1u` in an expression.
    Uint(u64),
    /// A floating-point number that an expression computed; always finite.
    Double(f64),
    /// A JSON number as it was given, where it is not a plain 64-bit integer: `1.50`, `1e3`, twenty digits.
    Number(Arc<str>),
    /// Text.
    String(Arc<str>),
    /// An array.
    List(Arc<Vec<Value>>),
    /// An object.
    Map(Arc<Map>),
}

impl Value {
    /// Text as a value.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::String(text.into())
    }
    /// A list as a value.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(items))
    }
    /// An object from its entries.
    pub fn map<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(Arc::new(entries.into_iter().map(|(k, v)| (k.into(), v)).collect()))
    }
    /// The member with this name, where this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }
    /// The text, where this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
    /// The number as a double, where this is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(i) => Some(*i as f64),
            Value::Uint(u) => Some(*u as f64),
            Value::Double(d) => Some(*d),
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }
    /// What the value is, in CEL's words.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) | Value::Number(_) => "double",
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }
    /// Appends canonical JSON: keys sorted, no white space, numbers as given.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(i) => drop(write!(out, "{i}")),
            Value::Uint(u) => drop(write!(out, "{u}")),
            Value::Double(d) => write_double(*d, out),
            Value::Number(text) => out.push_str(text),
            Value::String(text) => write_string(text, out),
            Value::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push('{');
                for (i, (key, value)) in map.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(key, out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// JSON has no spelling for an integer-valued double other than with a point, and that is what is written.
fn write_double(d: f64, out: &mut String) {
    let _ = write!(out, "{d:?}");
}

/// A JSON string: the shortest escapes, everything else as it is.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (i, b) in text.bytes().enumerate() {
        let escape = match b {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..i]);
        plain = i + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{b:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
