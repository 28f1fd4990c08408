//! JSON as it came: looked into like any other, and printed with the digits that it has. (`serde_json` alone would make
//! `1.50` of it `1.5`, and round what has more digits than a float.)

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::ops::Deref;

/// JSON with its text.
#[derive(Clone, Debug)]
pub(crate) struct Exact {
    raw: Box<RawValue>,
    value: Value,
}

impl Deref for Exact {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.value
    }
}

/// `null`.
impl Default for Exact {
    fn default() -> Exact {
        Exact { raw: RawValue::NULL.to_owned(), value: Value::Null }
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl Exact {
    /// Reads a text.
    pub(crate) fn parse(text: &str) -> Result<Exact, serde_json::Error> {
        Ok(Exact { raw: serde_json::from_str(text)?, value: serde_json::from_str(text)? })
    }
    /// What a JSON pointer leads to.
    pub(crate) fn at(&self, pointer: &str) -> Option<Exact> {
        let mut here: &RawValue = &self.raw;
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            here = match here.get().trim_start().as_bytes().first()? {
                b'{' => object(here)?.remove(token.as_str())?,
                b'[' => list(here)?.get(token.parse::<usize>().ok()?).copied()?,
                _ => return None,
            };
        }
        Exact::parse(here.get()).ok()
    }
    /// The elements of a member that is a list.
    pub(crate) fn items(&self, member: &str) -> Vec<Exact> {
        let items = self.at(&format!("/{member}"));
        let list = items.as_ref().and_then(|items| list(&items.raw)).unwrap_or_default();
        list.into_iter().filter_map(|item| Exact::parse(item.get()).ok()).collect()
    }
    /// Its text on one line.
    pub(crate) fn text(&self) -> &str {
        self.raw.get()
    }
}

fn object(raw: &RawValue) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// JSON on many lines, for people. The text has to be JSON.
pub(crate) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut rest = json.trim().chars().filter(|c| !c.is_control()).peekable();
    while let Some(c) = rest.next() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' => {}
            '{' | '[' => {
                out.push(c);
                while rest.next_if_eq(&' ').is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_stay_as_they_are() {
        let json =
            Exact::parse(r#"{"a":[1.50,12345678901234567890123,-0],"b/c":{"~":1E5}, "n": null}"#).unwrap();
        assert_eq!(json.at("/a/1").unwrap().text(), "12345678901234567890123");
        assert_eq!(json.at("/b~1c/~0").unwrap().text(), "1E5");
        assert_eq!(json.at("").unwrap().text(), json.text());
        for nowhere in ["/x", "/a/3", "/a/x", "/n/a"] {
            assert!(json.at(nowhere).is_none(), "{nowhere}");
        }
        let items: Vec<String> = json.items("a").iter().map(|item| item.text().to_owned()).collect();
        assert_eq!(items, ["1.50", "12345678901234567890123", "-0"]);
        assert!(json.items("n").is_empty());
        let around = serde_json::to_string(&serde_json::json!([1])).unwrap();
        assert_eq!(indented(&around), "[\n  1\n]");
        assert_eq!(indented(&serde_json::to_string(&[json.at("/a/0").unwrap()]).unwrap()), "[\n  1.50\n]");
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = "[ -~äö\"\\\\{}\\[\\],:\n]{0,12}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(text, inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
    proptest! {
        #[test]
        fn it_is_laid_out_as_is_usual(value in json()) {
            let usual = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(indented(&serde_json::to_string(&value).unwrap()), &*usual);
            prop_assert_eq!(indented(&usual), usual);
        }
    }
}
