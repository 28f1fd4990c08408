//! `heddle runs diff`: what is different between two runs.

use super::client::{Ask, Client};
use super::exit::{Exit, Fault};
use super::runs::{encode, path};
use super::{Context, out};
use serde_json::Value;

pub(super) async fn diff(client: &Client, context: &Context, a: &str, b: &str) -> Result<Exit, Fault> {
    let diff = client.json(Ask::get(&path(a, &format!("/diff/{}", encode(b))))).await?;
    if context.json {
        out::json(&diff);
        return Ok(Exit::Ok);
    }
    let words = |value: &Value| {
        let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        words.join(", ")
    };
    let steps = diff["steps"].as_array().cloned().unwrap_or_default();
    let whole = words(&diff["differs"]);
    match (whole.as_str(), steps.is_empty()) {
        ("", true) => out::line("the runs are the same, step by step"),
        ("", false) => out::line("the runs differ in their steps"),
        (whole, _) => out::line(&format!("the runs differ in: {whole}")),
    }
    let side = |step: &Value, side: &str| match step[side]["status"].as_str() {
        Some(status) => status.to_owned(),
        None => "-".to_owned(),
    };
    let row = |step: &Value| {
        let differs = match words(&step["differs"]) {
            none if none.is_empty() => "only one has it".to_owned(),
            some => some,
        };
        vec![step["step"].as_str().unwrap_or_default().to_owned(), side(step, "a"), side(step, "b"), differs]
    };
    if !steps.is_empty() {
        out::table(&["STEP", "FIRST", "SECOND", "DIFFERS"], &steps.iter().map(row).collect::<Vec<_>>());
    }
    Ok(Exit::Ok)
}
