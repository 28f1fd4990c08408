//! JSON text in canonical form: what a guest gets, what a fingerprint hashes, what the journal keeps.
//!
//! Canonical means: keys sorted, no white space, the text of numbers as it was given, no duplicate keys, at most 64
//! levels. Two spellings of one number are two documents: a cache miss, never a false hit. (RFC 8785 would conflate 1
//! and 1.0, and integers beyond 2^53.) `serde_json` drops duplicate keys silently and rounds numbers, so the text is
//! walked with `jiter`, which hands over both as they stand.

use crate::id::Digest;
use crate::value::{Map, Value};
use jiter::{Jiter, Peek};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Levels of nesting that JSON may have whatever a node allows: the hard maximum of `limits.json_depth`. What was
/// accepted once stays readable when the limit is lowered, so only the doors ask for less.
pub const MAX_DEPTH: u64 = 64;
/// Levels that a text may have which this program wrote: what was accepted stays readable within what is put around it.
const WRITTEN_DEPTH: u64 = 4 * MAX_DEPTH;

/// Canonical JSON text, shared, parsed at most once.
#[derive(Clone)]
pub struct Json(Arc<Inner>);

struct Inner {
    text: Box<str>,
    value: OnceLock<Value>,
}

/// Why a text is not JSON as we accept it. Positions are byte offsets into the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Not JSON.
    #[error("not JSON: {what} at byte {at}")]
    Syntax {
        /// What the parser said.
        what: String,
        /// Where.
        at: usize,
    },
    /// The same key twice in one object.
    #[error("key `{key}` stands twice in one object, at byte {at}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stands the second time.
        at: usize,
    },
    /// Nested deeper than allowed.
    #[error("nested deeper than {most} levels (`limits.json_depth`), at byte {at}")]
    TooDeep {
        /// Where the level too many begins.
        at: usize,
        /// Levels that there may be.
        most: u64,
    },
}

impl Json {
    /// Reads any JSON text and brings it into canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Json, JsonFault> {
        Json::parse_within(bytes, MAX_DEPTH)
    }
    /// The same, with at most so many levels of nesting.
    pub fn parse_within(bytes: &[u8], levels: u64) -> Result<Json, JsonFault> {
        std::str::from_utf8(bytes).map_err(|_| JsonFault::NotUtf8)?;
        Json::normal(bytes, levels.min(MAX_DEPTH))
    }
    fn normal(bytes: &[u8], levels: u64) -> Result<Json, JsonFault> {
        let value = value_within(bytes, levels)?;
        let mut text = String::with_capacity(bytes.len());
        value.write_json(&mut text);
        Ok(Json::assemble(text, Some(value)))
    }
    /// Prints a value.
    pub fn from_value(value: Value) -> Json {
        let mut text = String::new();
        value.write_json(&mut text);
        Json::assemble(text, Some(value))
    }
    /// Text that is known to be canonical because this program wrote it and its checksum held.
    pub fn trusted(text: impl Into<String>) -> Json {
        Json::assemble(text.into(), None)
    }
    fn assemble(text: String, value: Option<Value>) -> Json {
        let slot = OnceLock::new();
        if let Some(value) = value {
            let _ = slot.set(value);
        }
        Json(Arc::new(Inner { text: text.into_boxed_str(), value: slot }))
    }
    /// `null`.
    pub fn null() -> Json {
        Json::from_value(Value::Null)
    }
    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.0.text
    }
    /// Bytes of the canonical text.
    pub fn size(&self) -> usize {
        self.0.text.len()
    }
    /// The parsed form, parsed on first use and shared afterwards.
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| value_within(self.0.text.as_bytes(), WRITTEN_DEPTH).unwrap_or_default())
    }
    /// SHA-256 of the canonical text.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.text.as_bytes())
    }
}

/// Parses JSON text into a value under the rules of this module.
pub fn parse_value(bytes: &[u8]) -> Result<Value, JsonFault> {
    value_within(bytes, MAX_DEPTH)
}

fn value_within(bytes: &[u8], levels: u64) -> Result<Value, JsonFault> {
    let mut walker = Jiter::new(bytes);
    let peek = walker.peek().map_err(syntax)?;
    let value = walk(&mut walker, peek, Level { at: 0, most: levels })?;
    walker.finish().map_err(syntax)?;
    Ok(value)
}

fn syntax(error: jiter::JiterError) -> JsonFault {
    JsonFault::Syntax { what: error.error_type.to_string(), at: error.index }
}

/// How deep a walk is, and how deep it may go.
#[derive(Clone, Copy)]
struct Level {
    at: u64,
    most: u64,
}

impl Level {
    fn below(self) -> Level {
        Level { at: self.at + 1, ..self }
    }
}

fn walk(walker: &mut Jiter<'_>, peek: Peek, level: Level) -> Result<Value, JsonFault> {
    if level.at > level.most {
        return Err(JsonFault::TooDeep { at: walker.current_index(), most: level.most });
    }
    Ok(match peek {
        Peek::Null => walker.known_null().map(|()| Value::Null).map_err(syntax)?,
        Peek::True | Peek::False => Value::Bool(walker.known_bool(peek).map_err(syntax)?),
        Peek::String => Value::text(walker.known_str().map_err(syntax)?),
        Peek::Array => {
            let mut items = Vec::new();
            let mut next = walker.known_array().map_err(syntax)?;
            while let Some(peek) = next {
                items.push(walk(walker, peek, level.below())?);
                next = walker.array_step().map_err(syntax)?;
            }
            Value::list(items)
        }
        Peek::Object => {
            let mut map = Map::new();
            let mut next = walker.known_object().map_err(syntax)?.map(Arc::<str>::from);
            while let Some(key) = next {
                let at = walker.current_index();
                let peek = walker.peek().map_err(syntax)?;
                let value = walk(walker, peek, level.below())?;
                if map.insert(key.clone(), value).is_some() {
                    return Err(JsonFault::DuplicateKey { key: key.chars().take(64).collect(), at });
                }
                next = walker.next_key().map_err(syntax)?.map(Arc::<str>::from);
            }
            Value::Map(Arc::new(map))
        }
        _ => {
            let at = walker.current_index();
            number(walker.known_number_bytes(peek).map_err(syntax)?, at)?
        }
    })
}

fn number(text: &[u8], at: usize) -> Result<Value, JsonFault> {
    let text = std::str::from_utf8(text).map_err(|_| JsonFault::NotUtf8)?;
    if let Ok(i) = text.parse::<i64>()
        && text != "-0"
    {
        return Ok(Value::Int(i));
    }
    match text.parse::<f64>() {
        Ok(d) if d.is_finite() => Ok(Value::Number(text.into())),
        _ => Err(JsonFault::Syntax { what: "number out of range".into(), at }),
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Json) -> bool {
        self.text() == other.text()
    }
}
impl Eq for Json {}
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.text())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Json {
    /// Only from `serde_json`, from text: the bytes are taken as they stand and normalised. This is how journals are
    /// read; the doors ask for less before.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Json::normal(raw.get().as_bytes(), WRITTEN_DEPTH).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        Json::parse(text.as_bytes()).unwrap().text().to_owned()
    }

    #[test]
    fn canonical_form() {
        assert_eq!(
            canonical(r#" { "b" : 1.50, "a": [1, 2e3, -0, 0.0, "é\u0041\n"] } "#),
            r#"{"a":[1,2e3,-0,0.0,"éA\n"],"b":1.50}"#
        );
        assert_eq!(canonical("123456789012345678901234567890"), "123456789012345678901234567890");
        assert_eq!(canonical("9223372036854775808"), "9223372036854775808");
        assert_eq!(canonical(r#""\u0000\u001f\ud83d\ude00""#), "\"\\u0000\\u001f😀\"");
    }
    #[test]
    fn refusals_say_where() {
        assert!(
            matches!(Json::parse(br#"{"a":1,"a":2}"#), Err(JsonFault::DuplicateKey { key, .. }) if key == "a")
        );
        assert!(matches!(Json::parse(br#"{"a":1,"\u0061":2}"#), Err(JsonFault::DuplicateKey { .. })));
        assert!(matches!(Json::parse("[".repeat(70).as_bytes()), Err(JsonFault::TooDeep { .. })));
        // A node may allow less than the hard maximum, and never more.
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for (allowed, levels, fits) in [(3, 3, true), (3, 4, false), (1_000, 64, true), (1_000, 65, false)] {
            let read = Json::parse_within(deep(levels).as_bytes(), allowed);
            let most = allowed.min(MAX_DEPTH);
            assert!(
                match read {
                    Ok(_) => fits,
                    Err(fault) => !fits && matches!(fault, JsonFault::TooDeep { most: m, .. } if m == most),
                },
                "{levels} of {allowed}"
            );
        }
        assert!(matches!(
            Json::parse(format!("{}{}", "[".repeat(70), "]".repeat(70)).as_bytes()),
            Err(JsonFault::TooDeep { .. })
        ));
        for text in [
            "",
            "nul",
            "1e999",
            "NaN",
            "Infinity",
            "[1,]",
            "{\"a\"}",
            "1 2",
            "01",
            "\"\u{1}\"",
            "\"\\ud800\"",
            "'a'",
        ] {
            assert!(matches!(Json::parse(text.as_bytes()), Err(JsonFault::Syntax { .. })), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(JsonFault::NotUtf8));
    }
    #[test]
    fn a_document_inside_a_document_keeps_its_text() {
        #[derive(Serialize, Deserialize)]
        struct Row {
            output: Json,
        }
        let row: Row = serde_json::from_str(r#"{"output":{"b":1.50,"a":1e2}}"#).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"output":{"a":1e2,"b":1.50}}"#);
    }
    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point_and_means_the_same(text in arb_json()) {
            let once = Json::parse(text.as_bytes()).unwrap();
            let twice = Json::parse(once.text().as_bytes()).unwrap();
            prop_assert_eq!(once.text(), twice.text());
            let (a, b): (serde_json::Value, serde_json::Value) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(once.text()).unwrap());
            prop_assert_eq!(a, b);
        }
    }
    fn arb_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|i| i.to_string()),
            (-1e9f64..1e9).prop_map(|d| format!("{d:?}")),
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|v| format!("[ {} ]", v.join(" , "))),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|m| {
                    let parts: Vec<_> = m
                        .iter()
                        .rev()
                        .map(|(k, v)| format!("{} : {v}", serde_json::to_string(k).unwrap()))
                        .collect();
                    format!("{{ {} }}", parts.join(", "))
                }),
            ]
        })
    }
}
