//! `heddle check`: what a component is, what it needs, and whether it does the same twice.

use super::super::exit::{Exit, Fault};
use super::super::paint::harmless;
use super::super::{Context, input, out};
use super::CheckArgs;
use super::bench::Bench;
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn check(file: &Path, args: &CheckArgs, context: &Context) -> Result<Exit, Fault> {
    let given = args.input.as_deref().map(|said| input::input(Some(said), &[])).transpose()?;
    let given: Option<Value> = given.map(|json| serde_json::from_str(json.text()).unwrap_or_default());
    let bench = Bench::open(file, &args.node, true).await?;
    let plugin = bench.plugin.clone();
    let twice = match &given {
        None => Ok(None),
        Some(given) => twice(&bench, given).await.map(Some),
    };
    bench.close().await;
    let twice = twice?;
    // A transform that does not is none; of the others it is only told.
    let is_bad = twice.as_ref().is_some_and(|twice| twice["same"] == false) && plugin["kind"] == "transform";
    let exit = if is_bad { Exit::Failed } else { Exit::Ok };
    if context.json {
        out::json(&json!({ "plugin": plugin, "grants": grants(&plugin), "twice": twice }));
        return Ok(exit);
    }
    show(file, &plugin);
    match &twice {
        None => out::line("twice        not tried: `--input JSON` runs it twice and compares"),
        Some(twice) => {
            out::line(&format!("twice        {}", harmless(twice["said"].as_str().unwrap_or_default())))
        }
    }
    match is_bad {
        true => {
            Err(Fault::failed("a transform gave two outputs for one input, so what it gives cannot be kept")
                .with_hint("what differs must come from the input: give it in, or make it a tool"))
        }
        false => Ok(exit),
    }
}

fn show(file: &Path, plugin: &Value) {
    let text = |key: &str| harmless(plugin[key].as_str().unwrap_or_default());
    let compact = |key: &str| harmless(&plugin[key].to_string());
    out::line(&format!("plugin       {}:{}@{}", text("kind"), text("name"), text("version")));
    out::line(&format!("title        {}", text("title")));
    out::line(&format!("description  {}", text("description")));
    out::line(&format!("component    {}, {} bytes, {}", file.display(), plugin["sizeBytes"], text("digest")));
    out::line(&format!("input        {}", compact("inputSchema")));
    out::line(&format!("output       {}", compact("outputSchema")));
    out::line(&format!("limits       {}", compact("limits")));
    let grants = grants(plugin);
    match grants.is_empty() {
        true => out::line("needs        no grant"),
        false => out::line(&format!("needs        in heddle.toml:\n{}", indented(&grants))),
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("               {line}")).collect::<Vec<_>>().join("\n")
}

/// The lines of `heddle.toml` that let it do what it imports.
fn grants(plugin: &Value) -> Vec<String> {
    let needs: Vec<&str> =
        plugin["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if needs.is_empty() {
        return Vec::new();
    }
    let name = format!(
        "{}:{}",
        plugin["kind"].as_str().unwrap_or_default(),
        plugin["name"].as_str().unwrap_or_default()
    );
    let mut lines = vec![format!("[grants.\"{name}\"]")];
    for need in needs {
        lines.push(match need {
            "http" => "http = [\"GET https://api.example.com\"]".to_owned(),
            "secret" => "secrets = [\"api-key https://api.example.com\"]".to_owned(),
            "config" => "config = '{\"name\": \"value\"}'".to_owned(),
            other => format!("{other} = true"),
        });
    }
    lines
}

/// Calls it twice with the same input.
async fn twice(bench: &Bench, input: &Value) -> Result<Value, Fault> {
    let (first, second) = (bench.call(input).await?, bench.call(input).await?);
    let ended = |run: &Value| match run["status"].as_str() {
        Some("succeeded") => run["output"].clone(),
        _ => {
            json!({ "code": run["error"]["code"], "kind": run["error"]["kind"], "message": run["error"]["message"] })
        }
    };
    let (first, second) = (ended(&first), ended(&second));
    let is_same = first == second;
    let said = match is_same {
        true => format!("the same both times: {first}"),
        false => format!("not the same: {first}, then {second}"),
    };
    Ok(json!({ "same": is_same, "said": said, "first": first, "second": second }))
}
