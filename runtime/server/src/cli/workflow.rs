//! `heddle workflow`: checking, drawing and publishing workflows.

use super::client::{Ask, Refusal, Refused};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::faults::{FileFault, of_file};
use super::{Context, input, out};
use crate::http::codes::Code;
use crate::http::faults::document_code;
use crate::http::graph::{Format, Graph};
use heddle_core::document::{Doc, Fault as DocFault};
use heddle_core::limits::Limits;
use heddle_core::plan::{Plan, schedules_of};
use heddle_core::schedule::Schedule;
use heddle_core::time::Timestamp;
use heddle_executor::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::path::Path;

/// The JSON Schema of the language. Kept beside the parser's keys; a test holds the two together.
pub(crate) const SCHEMA: &str = include_str!("workflow/schema.json");

pub(super) async fn validate(file: &Path, context: &Context) -> Result<Exit, Fault> {
    match check(file, context).await {
        // What is wrong is what was asked for: the report.
        Err(fault) if context.json && !fault.errors.is_empty() => {
            out::json(&json!({ "valid": false, "error": fault.json() }));
            Ok(fault.exit)
        }
        result => result,
    }
}

async fn check(file: &Path, context: &Context) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let mut checked = "its plugins were not looked for: add `--server URL`";
    if context.server.is_some() {
        // The node knows all that is known here, and its plugins: what it says is the whole of it.
        ask(file, &text, "/v1/workflows?dryRun=true", context).await?;
        checked = "its plugins are loaded";
    }
    let plan = read(&text).map_err(|(code, faults)| refused(file, &text, &faults, code))?;
    let schedules = schedules_of(&plan.source).unwrap_or_default();
    let now = SystemClock.now();
    match context.json {
        true => out::json(
            &json!({ "valid": true, "schedules": schedules.iter().map(|s| times(s, now)).collect::<Vec<_>>(), "workflow": plan.full_name(), "version": plan.version.to_string(), "digest": plan.digest, "steps": plan.steps.len() }),
        ),
        false => {
            out::note(&format!(
                "`{}` is {}@{} with {} and has no fault; {checked}",
                file.display(),
                plan.full_name(),
                plan.version,
                out::several(plan.steps.len() as u64, "step")
            ));
            for schedule in &schedules {
                let times: Vec<String> = next_times(schedule, now);
                let times = if times.is_empty() { "no time left".to_owned() } else { times.join(", ") };
                out::note(&format!("schedule {} ({}): {times}", schedule.id, schedule.timing.text()));
            }
        }
    }
    Ok(Exit::Ok)
}

/// The next times of a schedule, before jitter.
fn next_times(schedule: &Schedule, now: Timestamp) -> Vec<String> {
    schedule.next_times(now, 3).into_iter().map(Timestamp::rfc3339).collect()
}

fn times(schedule: &Schedule, now: Timestamp) -> Value {
    json!({ "id": schedule.id, "next": next_times(schedule, now) })
}

/// Reads a workflow under the limits of a node that nobody has configured.
/// What is wrong comes with the code that a node would give.
fn read(text: &str) -> Result<Plan, (&'static str, Vec<DocFault>)> {
    let limits = Limits::default();
    let unread = |fault: DocFault| (document_code(&fault).word(), vec![fault]);
    let doc = Doc::parse(text, &limits).map_err(unread)?;
    Plan::read(&doc, None, &limits).map_err(|faults| (Code::WorkflowInvalid.word(), faults))
}

pub(super) fn refused(file: &Path, text: &str, faults: &[DocFault], code: &str) -> Fault {
    let faults = faults.iter().map(|fault| FileFault {
        file: None,
        line: (fault.place.line > 0).then_some(fault.place.line),
        column: (fault.place.line > 0).then_some(fault.place.column),
        pointer: fault.path.clone(),
        message: fault.message.clone(),
    });
    of_file(file, text, faults.collect(), code)
}

async fn ask(file: &Path, text: &str, path: &str, context: &Context) -> Result<Exact, Fault> {
    let answer = context.client()?.json(Ask::post(path, "application/yaml", text.to_owned())).await;
    answer.map_err(|error| match error {
        Refused::By(Refusal { code, errors, .. })
            if ["workflow_invalid", "yaml_invalid", "yaml_budget"].contains(&&*code) =>
        {
            of_file(file, text, errors, &code)
        }
        other => other.into(),
    })
}

pub(super) async fn publish(file: &Path, context: &Context) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let published = ask(file, &text, "/v1/workflows", context).await?;
    match context.json {
        true => out::json(&published),
        false => {
            let word = |name: &str| published[name].as_str().unwrap_or_default().to_owned();
            out::line(&format!("{}/{}@{}", word("namespace"), word("name"), word("version")));
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn ls(context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.json(Ask::get(&format!("/v1/workflows?limit=200{cursor}"))).await?;
        rows.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", super::runs::encode(next)),
            None => break,
        }
    }
    if context.json {
        out::json(&rows);
        return Ok(Exit::Ok);
    }
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let cells: Vec<_> =
        rows.iter().map(|row| vec![word(row, "name"), word(row, "version"), word(row, "title")]).collect();
    out::table(&["WORKFLOW", "VERSION", "TITLE"], &cells);
    Ok(Exit::Ok)
}

pub(super) fn graph(file: &Path, format: Format) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let plan = read(&text).map_err(|(code, faults)| refused(file, &text, &faults, code))?;
    let drawn = Graph::of(&plan, None).print(format);
    out::text(&format!("{}\n", drawn.trim_end()));
    Ok(Exit::Ok)
}

pub(super) fn schema() -> Result<Exit, Fault> {
    out::text(SCHEMA);
    Ok(Exit::Ok)
}
