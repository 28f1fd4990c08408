//! How much work a schema can make of one value. `allOf`, `anyOf`, `$ref` and the like are applied to the same value
//! again, so a few lines that refer to one another can double the work with each line. That is counted before the
//! schema is used.

use super::SchemaFault;
use serde_json::Value;
use std::collections::HashMap;

/// Subschemas that may be applied to one and the same value.
const MOST: u64 = 1_000;
/// Levels of a schema, references followed.
const LEVELS: usize = 128;

/// Keywords whose schemas are applied to the value itself.
const ONE: [&str; 5] = ["not", "if", "then", "else", "$ref"];
const SEVERAL: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const BY_NAME: [&str; 1] = ["dependentSchemas"];

/// Refuses a schema that refers to anything but its own parts by path, or that can make too much of one value.
pub(super) fn check(schema: &Value) -> Result<(), SchemaFault> {
    let mut scale = Scale { root: schema, known: HashMap::new() };
    scale.everywhere(schema, 0)
}

struct Scale<'a> {
    root: &'a Value,
    /// By the place of a subschema; zero while it is being weighed.
    known: HashMap<*const Value, u64>,
}

impl<'a> Scale<'a> {
    /// Weighs every subschema, wherever it stands.
    fn everywhere(&mut self, value: &'a Value, level: usize) -> Result<(), SchemaFault> {
        if level > LEVELS {
            return Err(SchemaFault(format!("it is nested more than {LEVELS} levels deep")));
        }
        match value {
            Value::Object(members) => {
                for name in ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"] {
                    if members.contains_key(name) {
                        return Err(SchemaFault(format!(
                            "`{name}` is not followed; write `$ref: \"#/$defs/name\"`"
                        )));
                    }
                }
                self.weigh(value, level)?;
                members.values().try_for_each(|member| self.everywhere(member, level + 1))
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.everywhere(item, level + 1)),
            _ => Ok(()),
        }
    }

    /// How often this and what it refers to is applied to one value.
    fn weigh(&mut self, schema: &'a Value, level: usize) -> Result<u64, SchemaFault> {
        let Value::Object(members) = schema else { return Ok(1) };
        match self.known.get(&std::ptr::from_ref(schema)) {
            Some(0) => return Err(SchemaFault("it refers to itself without end".to_owned())),
            Some(weight) => return Ok(*weight),
            None if level > LEVELS => {
                return Err(SchemaFault(format!("its references go more than {LEVELS} levels deep")));
            }
            None => drop(self.known.insert(schema, 0)),
        }
        let mut weight = 1u64;
        for (keyword, value) in members {
            let keyword = keyword.as_str();
            weight += match value {
                Value::String(reference) if keyword == "$ref" => self.referred(reference, level)?,
                Value::Array(items) if SEVERAL.contains(&keyword) => self.sum(items.iter(), level)?,
                Value::Object(named) if BY_NAME.contains(&keyword) => self.sum(named.values(), level)?,
                Value::Object(_) if ONE.contains(&keyword) => self.weigh(value, level + 1)?,
                _ => 0,
            };
            if weight > MOST {
                let message =
                    format!("it applies more than {MOST} schemas to one value; refer to fewer parts");
                return Err(SchemaFault(message));
            }
        }
        self.known.insert(schema, weight);
        Ok(weight)
    }

    fn sum(&mut self, schemas: impl Iterator<Item = &'a Value>, level: usize) -> Result<u64, SchemaFault> {
        let mut sum = 0;
        for schema in schemas {
            sum += self.weigh(schema, level + 1)?;
        }
        Ok(sum)
    }

    fn referred(&mut self, reference: &str, level: usize) -> Result<u64, SchemaFault> {
        let unknown = || {
            let reference: String = reference.chars().take(80).collect();
            SchemaFault(format!("`$ref: \"{reference}\"` is not followed; write `$ref: \"#/$defs/name\"`"))
        };
        let path = reference.strip_prefix('#').filter(|path| !path.contains('%')).ok_or_else(unknown)?;
        let target = self.root.pointer(path).ok_or_else(unknown)?;
        self.weigh(target, level + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(schema: Value) -> String {
        check(&schema).err().map(|fault| fault.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_doubles_with_each_line_is_refused() {
        let mut defs = serde_json::Map::new();
        for n in 0..40 {
            let next = format!("#/$defs/a{}", n + 1);
            defs.insert(format!("a{n}"), json!({ "allOf": [{ "$ref": next.clone() }, { "$ref": next }] }));
        }
        defs.insert("a40".into(), json!({ "type": "object" }));
        assert!(why(json!({ "$defs": defs, "$ref": "#/$defs/a0" })).contains("more than 1000 schemas"));
        assert!(why(json!({ "$defs": { "a": { "$ref": "#/$defs/a" } } })).contains("without end"));
        assert!(why(json!({ "$ref": "other.json" })).contains("is not followed"));
        assert!(why(json!({ "$defs": { "a": { "$anchor": "x" } } })).contains("is not followed"));
    }

    #[test]
    fn what_people_write_is_let_through() {
        let tree = json!({ "$ref": "#/$defs/node", "$defs": { "node": { "type": "object", "properties": {
            "children": { "type": "array", "items": { "$ref": "#/$defs/node" } }, "kind": { "enum": ["a", "b"] } } } } });
        assert_eq!(why(tree), "");
        let variants: Vec<Value> = (0..300).map(|n| json!({ "const": n })).collect();
        assert_eq!(why(json!({ "oneOf": variants })), "");
        // A property that is called like a keyword is a property.
        assert_eq!(why(json!({ "properties": { "$ref": { "type": "string" } } })), "");
    }
}
