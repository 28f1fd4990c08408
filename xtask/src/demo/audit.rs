//! One run of the sample workflow over HTTP: submitted, watched, and then read back with the cache's verdict on every
//! step and every item.

use super::api::Api;
use super::watch::watch;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;

const WORKFLOW: &str = "heddle/supply-chain-audit";

/// What the cache had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The output came from the cache.
    Hit,
    /// It was looked for, and the step ran.
    Miss,
    /// The step ran: its kind is not cached unless the workflow says so.
    Off,
}

/// A run that has ended well.
pub(crate) struct Audit {
    /// The report, in Markdown.
    pub(crate) report: String,
    /// What the server says that the run took.
    pub(crate) duration_ms: u64,
    /// Every step and every item, by a name that tells which package it is about.
    work: Vec<(String, Verdict)>,
}

impl Audit {
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.work.iter().filter(|(_, v)| *v == verdict).count()
    }
    pub(crate) fn labels(&self, verdict: Verdict) -> Vec<String> {
        self.work.iter().filter(|(_, v)| *v == verdict).map(|(label, _)| label.clone()).collect()
    }
    pub(crate) fn tally(&self) -> String {
        let (hit, miss) = (self.count(Verdict::Hit), self.count(Verdict::Miss));
        let mut text = format!("{hit} of {} came from the cache, {miss} ran again", hit + miss);
        let off = self.labels(Verdict::Off);
        if !off.is_empty() {
            let _ = write!(
                text,
                "; {} always runs: an agent is cached only where its step says so",
                off.join(", ")
            );
        }
        text
    }
}

/// Submits the workflow, shows its progress, and reads what came of it.
///
/// # Errors
/// Where the run does not end well.
pub(crate) fn run(api: &Api, input: Value) -> Result<Audit> {
    let request = json!({ "workflow": WORKFLOW, "input": input });
    let accepted = api.post("/v1/runs", "application/json", request.to_string().as_bytes())?;
    let path = format!("/v1/runs/{}", accepted["id"].as_str().context("an accepted run has an id")?);
    watch(api, &path)?;
    let run = api.get(&path)?;
    ensure!(run["status"] == "succeeded", "the run ended as {}: {}", run["status"], run["error"]);
    let mut work = Vec::new();
    for step in run["steps"].as_array().context("a run has steps")? {
        let id = step["id"].as_str().context("a step has an id")?;
        match step["items"].is_object() {
            true => work.extend(items(api, &path, id)?),
            false => work.push((id.to_owned(), verdict(step)?)),
        }
    }
    let output = value(api, &path, &run, "output")?;
    let report = output["markdown"].as_str().context("the audit's output has a report")?.to_owned();
    Ok(Audit { report, duration_ms: run["durationMs"].as_u64().unwrap_or(0), work })
}

/// Every item of a `forEach`, named by its package.
fn items(api: &Api, path: &str, step: &str) -> Result<Vec<(String, Verdict)>> {
    let mut work = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("{path}/steps/{step}/items?limit=200{cursor}"))?;
        for item in page["items"].as_array().context("a page has items")? {
            let package = &value(api, path, item, "output")?["package"];
            let word = |key: &str| package[key].as_str().unwrap_or("?").to_owned();
            work.push((format!("{} {}", word("name"), word("version")), verdict(item)?));
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(work),
        }
    }
}

/// A value that stands in a document, or that the document refers to.
fn value(api: &Api, path: &str, document: &Value, key: &str) -> Result<Value> {
    match document[format!("{key}Ref")]["digest"].as_str() {
        Some(digest) => api.get(&format!("{path}/values/{digest}")),
        None => Ok(document[key].clone()),
    }
}

fn verdict(work: &Value) -> Result<Verdict> {
    match work["cache"]["verdict"].as_str() {
        Some("hit") => Ok(Verdict::Hit),
        Some("miss") => Ok(Verdict::Miss),
        Some("off") => Ok(Verdict::Off),
        _ => Err(anyhow::anyhow!("a step has no verdict of the cache: {work}")),
    }
}
