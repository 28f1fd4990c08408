//! `heddle runs calls`: what the agents of a run have asked, and what they were told.

use super::exit::{Exit, Fault};
use super::paint::harmless;
use super::runs::path;
use super::{Context, out};
use serde_json::Value;

/// Characters of a value in a table.
const SHOWN: usize = 100;

pub(super) async fn calls(run: &str, context: &Context) -> Result<Exit, Fault> {
    let items = context.client()?.pages(&path(run, "/calls")).await?;
    if context.json {
        out::json(&serde_json::json!({ "items": items }));
        return Ok(Exit::Ok);
    }
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let rows = items.iter().map(|item| {
        let call = item["call"].as_u64().map(|call| call.to_string()).unwrap_or_default();
        vec![text(&item["log"]), text(&item["what"]), call, text(&item["capability"]), value_of(item)]
    });
    out::table(&["LOG", "WHAT", "CALL", "CAPABILITY", "VALUE"], &rows.collect::<Vec<_>>());
    Ok(Exit::Ok)
}

/// The value in a line.
fn value_of(item: &Value) -> String {
    let whole = match (&item["value"], &item["valueRef"], &item["picked"]) {
        (Value::Null, Value::String(digest), _) => digest.clone(),
        (Value::Null, _, Value::Null) => String::new(),
        (Value::Null, _, picked) => picked.to_string(),
        (value, ..) => value.to_string(),
    };
    let short: String = whole.chars().take(SHOWN).collect();
    harmless(&if short.len() < whole.len() { format!("{short}…") } else { short })
}
