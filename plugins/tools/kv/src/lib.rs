//! The values that a plugin keeps, as steps: counters, marks of what was done, small state between runs.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// What to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Input {
    /// Reads a value.
    Get {
        /// Its key.
        key: String,
    },
    /// Writes a value.
    Set {
        /// Its key.
        key: String,
        /// Any value.
        value: Value,
        /// Only if it has this version; 0 for one that is not there.
        #[serde(default)]
        if_version: Option<u64>,
        /// After so many milliseconds it is gone.
        #[serde(default)]
        #[schemars(range(min = 1))]
        ttl_ms: Option<u64>,
    },
    /// Adds to a number.
    Increment {
        /// Its key.
        key: String,
        /// How much.
        #[serde(default = "one")]
        by: i64,
    },
    /// Removes a value.
    Delete {
        /// Its key.
        key: String,
    },
    /// Lists keys.
    Keys {
        /// Only those that begin so.
        #[serde(default)]
        prefix: String,
        /// Only those behind this one.
        #[serde(default)]
        after: String,
        /// How many at most.
        #[serde(default = "hundred")]
        #[schemars(range(min = 1, max = 1_000))]
        limit: u32,
    },
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// Whether there is or was a value.
    found: bool,
    /// The value, or the sum.
    value: Option<Json>,
    /// Its version; 0 where it has none.
    version: u64,
    /// Keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

/// Key and value.
///
/// Reads, writes, counts, removes and lists values that outlive the run. What one workflow writes all others of the tenant see.
#[heddle_sdk::tool(provides = ["state.kv"])]
fn kv_tool(input: Input) -> Result<Output, Failure> {
    Ok(match input {
        Input::Get { key } => match kv::get(&key)? {
            None => Output::default(),
            Some(entry) => {
                let value = heddle_sdk::serde_json::from_slice(&entry.value)?;
                Output { found: true, value: Some(value), version: entry.version, ..Output::default() }
            }
        },
        Input::Set { key, value, if_version, ttl_ms } => {
            let bytes = heddle_sdk::serde_json::to_vec(&value)?;
            let keep = ttl_ms.map_or(kv::Keep::Always, |ms| kv::Keep::For(Duration::from_millis(ms)));
            let version = match if_version {
                Some(version) => kv::set_if(&key, &bytes, version, keep)?,
                None => kv::set(&key, &bytes, keep)?,
            };
            Output { found: true, value: Some(Json::write(&value)?), version, ..Output::default() }
        }
        Input::Increment { key, by } => {
            let sum = Json::write(&kv::increment(&key, by)?)?;
            Output { found: true, value: Some(sum), ..Output::default() }
        }
        Input::Delete { key } => Output { found: kv::delete(&key)?, ..Output::default() },
        Input::Keys { prefix, after, limit } => {
            let keys = kv::keys(&prefix, &after, limit)?;
            Output { found: !keys.is_empty(), keys, ..Output::default() }
        }
    })
}

fn one() -> i64 {
    1
}

fn hundred() -> u32 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<Output, Failure> {
        kv_tool(heddle_sdk::serde_json::from_value(input).expect("an input"))
    }

    #[test]
    fn values_are_kept() {
        assert!(!run(json!({ "op": "get", "key": "a" })).expect("nothing").found);
        let written = run(json!({ "op": "set", "key": "a", "value": [1], "ifVersion": 0 })).expect("written");
        let read = run(json!({ "op": "get", "key": "a" })).expect("read");
        assert_eq!((read.version, read.value), (written.version, written.value));
        let conflict =
            run(json!({ "op": "set", "key": "a", "value": 2, "ifVersion": 0 })).expect_err("a conflict");
        assert_eq!(conflict.detail().code, "kv_conflict");
        for sum in ["2", "4"] {
            let value = run(json!({ "op": "increment", "key": "n", "by": 2 })).expect("a sum").value;
            assert_eq!(heddle_sdk::serde_json::to_string(&value.expect("a sum")).expect("JSON"), sum);
        }
        assert_eq!(run(json!({ "op": "keys" })).expect("keys").keys, ["a", "n"]);
        assert!(run(json!({ "op": "delete", "key": "a" })).expect("gone").found);
    }
}
