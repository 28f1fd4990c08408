//! Which version of a plugin new runs get, how versions do, and bringing one back as a file.

use super::super::client::Ask;
use super::super::exit::{Exit, Fault};
use super::super::paint::harmless;
use super::super::runs::encode;
use super::super::{Context, out};
use super::some_name;
use crate::signature::EXTENSION;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What becomes of a version whose gate holds.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Then {
    /// It keeps its share.
    Hold,
    /// All runs get it.
    Promote,
}

#[derive(Args, Debug)]
pub(in super::super) struct Promote {
    /// `name` or `kind:name`.
    plugin: String,
    /// The version that runs are to have.
    version: semver::Version,
    /// Of a hundred runs, how many get it; the others keep what they get now.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    share: Option<u8>,
    /// It is taken back by itself when more than so many of a hundred calls fail.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=99))]
    max_failures: Option<u8>,
    /// With `--max-failures`: after so many calls it is judged [default: 20].
    #[arg(long, requires = "max_failures", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    calls: Option<u32>,
    /// With `--max-failures`: what becomes of it when it holds [default: hold].
    #[arg(long, requires = "max_failures")]
    then: Option<Then>,
}

pub(super) async fn promote(wish: &Promote, context: &Context) -> Result<Exit, Fault> {
    let mut body = json!({ "version": wish.version.to_string() });
    if let Some(share) = wish.share {
        body["share"] = share.into();
    }
    if let Some(percent) = wish.max_failures {
        let then = match wish.then {
            Some(Then::Promote) => "promote",
            _ => "hold",
        };
        body["gate"] = json!({ "calls": wish.calls.unwrap_or(20), "failuresPercent": percent, "then": then });
    }
    decide(&wish.plugin, "promote", body, context).await
}

pub(super) async fn rollback(
    plugin: &str,
    version: Option<&semver::Version>,
    why: Option<&str>,
    context: &Context,
) -> Result<Exit, Fault> {
    let mut body = json!({});
    if let Some(version) = version {
        body["version"] = version.to_string().into();
    }
    if let Some(why) = why {
        body["why"] = why.into();
    }
    decide(plugin, "rollback", body, context).await
}

pub(super) async fn follow(plugin: &str, context: &Context) -> Result<Exit, Fault> {
    decide(plugin, "follow", json!({}), context).await
}

async fn decide(plugin: &str, verb: &str, body: Value, context: &Context) -> Result<Exit, Fault> {
    let path = format!("/v1/plugins/{}/{verb}", encode(some_name(plugin)?));
    let answer = context.client()?.json(Ask::post(&path, "application/json", body.to_string())).await?;
    if context.json {
        out::json(&answer);
        return Ok(Exit::Ok);
    }
    out::line(&said(&answer));
    Ok(Exit::Ok)
}

/// What stands, in one line.
fn said(release: &Value) -> String {
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let plugin = text(&release["plugin"]);
    let current = match release["current"].as_str() {
        Some(current) => format!("runs get {}", harmless(current)),
        None => "runs get the newest version".to_owned(),
    };
    let trial = &release["trial"];
    let trial = match trial["version"].as_str() {
        None => String::new(),
        Some(version) => {
            let gate = match trial["gate"]["failuresPercent"].as_u64() {
                None => String::new(),
                Some(percent) => format!(
                    "; it is taken back when more than {percent} % of {} calls fail",
                    trial["gate"]["calls"]
                ),
            };
            format!("; {} of a hundred try {}{gate}", trial["share"], harmless(version))
        }
    };
    format!("{plugin}: {current}{trial}")
}

pub(super) async fn remove(
    plugin: &str,
    version: &semver::Version,
    context: &Context,
) -> Result<Exit, Fault> {
    let path =
        format!("/v1/plugins/{}/versions/{}", encode(some_name(plugin)?), encode(&version.to_string()));
    context.client()?.text(Ask::delete(&path)).await?;
    if !context.json {
        out::line(&format!(
            "{}@{version} is deleted; no other bytes can have this version",
            harmless(plugin)
        ));
    }
    Ok(Exit::Ok)
}

pub(super) async fn metrics(
    plugin: &str,
    (from, to): (Option<&str>, Option<&str>),
    context: &Context,
) -> Result<Exit, Fault> {
    let bounds = [("from", from), ("to", to)];
    let bounds = bounds.iter().filter_map(|(name, at)| at.map(|at| format!("{name}={}", encode(at))));
    let path = format!(
        "/v1/plugins/{}/metrics?{}",
        encode(some_name(plugin)?),
        bounds.collect::<Vec<_>>().join("&")
    );
    let answer = context.client()?.json(Ask::get(&path)).await?;
    if context.json {
        out::json(&answer);
        return Ok(Exit::Ok);
    }
    let ms = |value: &Value| value.as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    let percent = |value: &Value| format!("{:.1} %", value.as_f64().unwrap_or_default() * 100.0);
    let row = |version: &Value| {
        vec![
            harmless(version["version"].as_str().unwrap_or_default()),
            version["calls"].to_string(),
            percent(&version["errorRate"]),
            percent(&version["availability"]),
            ms(&version["p50Ms"]),
            ms(&version["p95Ms"]),
            ms(&version["p99Ms"]),
            version["fuel"].to_string(),
        ]
    };
    let versions = answer["versions"].as_array().cloned().unwrap_or_default();
    out::table(
        &["VERSION", "CALLS", "ERRORS", "AVAILABLE", "P50", "P95", "P99", "FUEL"],
        &versions.iter().map(row).collect::<Vec<_>>(),
    );
    let text = |name: &str| harmless(answer[name].as_str().unwrap_or_default());
    out::note(&format!("from {} to {}", text("from"), text("to")));
    Ok(Exit::Ok)
}

/// Writes the component of a version into a file.
pub(super) async fn pull(what: &str, file: Option<PathBuf>, context: &Context) -> Result<Exit, Fault> {
    let (name, version) = match what.split_once('@') {
        Some((name, version)) => (some_name(name)?, Some(version)),
        None => (some_name(what)?, None),
    };
    let client = context.client()?;
    let page = client.json(Ask::get(&format!("/v1/plugins/{}", encode(name)))).await?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let wanted = |item: &&Value| match version {
        Some(version) => item["version"] == version,
        None => item["standing"] == "current",
    };
    let Some(item) = items.iter().find(wanted) else {
        let versions: Vec<&str> = items.iter().filter_map(|item| item["version"].as_str()).collect();
        return Err(Fault::failed(format!("`{name}` has no version `{}`", version.unwrap_or("current")))
            .with_hint(format!("there are {}", versions.join(", "))));
    };
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let file = file.unwrap_or_else(|| format!("{}-{}.wasm", text("name"), text("version")).into());
    let (bytes, signature) = client.component(&text("digest")).await?;
    let write = |file: &Path, bytes: &[u8]| {
        std::fs::write(file, bytes)
            .map_err(|error| Fault::usage(format!("`{}` cannot be written: {error}", file.display())))
    };
    write(&file, &bytes)?;
    if let Some(signature) = signature {
        write(&PathBuf::from(format!("{}.{EXTENSION}", file.display())), signature.as_bytes())?;
    }
    match context.json {
        true => out::json(&json!({ "file": file, "digest": text("digest"), "version": text("version") })),
        false => out::line(&format!("{} {}", file.display(), text("digest"))),
    }
    Ok(Exit::Ok)
}
