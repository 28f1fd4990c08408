//! What people do with published versions: list and read them, say which may run, delete and compare them.

use super::super::client::{Ask, Client};
use super::super::control::{Items, user};
use super::super::exact::Exact;
use super::super::exit::{Exit, Fault};
use super::super::runs::{encode, filters, text};
use super::super::{Context, out};
use super::LsArgs;
use serde_json::{Value, json};

/// A version as it is named on the command line: `namespace/name@version`, the version where it is wanted.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn parse(said: &'a str) -> Result<Named<'a>, Fault> {
        let (name, version) = match said.split_once('@') {
            Some((name, version)) => (name, Some(version.strip_prefix('=').unwrap_or(version))),
            None => (said, None),
        };
        let fault = || {
            Fault::usage(format!(
                "`{said}` names no workflow; write `namespace/name` or `namespace/name@1.2.0`"
            ))
            .with_hint("`heddle workflow ls` lists the published workflows")
        };
        let (namespace, own) = name.split_once('/').ok_or_else(fault)?;
        match namespace.is_empty() || own.is_empty() || own.contains('/') || version == Some("") {
            true => Err(fault()),
            false => Ok(Named { name, version }),
        }
    }
    /// The path of its version, which must be there.
    fn version_path(&self) -> Result<String, Fault> {
        match self.version {
            Some(version) => Ok(format!("{}/versions/{}", self.path(), encode(version))),
            None => Err(Fault::usage(format!("`{}` names no version; write `{0}@1.2.0`", self.name))
                .with_hint(format!("`heddle workflow ls {}` lists its versions", self.name))),
        }
    }
    pub(super) fn path(&self) -> String {
        let parts: Vec<String> = self.name.split('/').map(encode).collect();
        format!("/v1/workflows/{}", parts.join("/"))
    }
}

pub(super) async fn ls(asked: &LsArgs, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let asked = [
        ("workflow", &asked.name),
        ("status", &asked.status),
        ("createdBy", &asked.created_by),
        ("label", &asked.label),
        ("text", &asked.text),
    ];
    let found = Items::all(&client, &format!("/v1/workflows?limit=200{}", filters(&asked))).await?;
    if context.json {
        out::json(&found.items);
        return Ok(Exit::Ok);
    }
    let row = |item: &Exact| {
        vec![
            text(&item["name"]),
            text(&item["version"]),
            if item["template"] == true {
                format!("{} template", text(&item["status"]))
            } else {
                text(&item["status"])
            },
            text(&item["createdBy"]),
            text(&item["title"]),
        ]
    };
    let rows: Vec<_> = found.items.iter().map(row).collect();
    out::table(&["WORKFLOW", "VERSION", "STATUS", "BY", "TITLE"], &rows);
    Ok(Exit::Ok)
}

pub(super) async fn get(said: &str, definition: bool, context: &Context) -> Result<Exit, Fault> {
    let named = Named::parse(said)?;
    let path = if named.version.is_some() { named.version_path()? } else { named.path() };
    let document = context.client()?.json(Ask::get(&path)).await?;
    match (definition, context.json) {
        (true, _) => out::json(&document.at("/definition").unwrap_or_default()),
        (false, true) => out::json(&document),
        (false, false) => show(&document),
    }
    Ok(Exit::Ok)
}

fn show(document: &Value) {
    let word = |name: &str| text(&document[name]);
    out::line(&format!("workflow   {}/{}@{}", word("namespace"), word("name"), word("version")));
    let becomes: Vec<&str> =
        document["becomes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    out::line(&format!("status     {} (can become {})", word("status"), becomes.join(" or ")));
    for (name, key) in [("title", "title"), ("about", "description"), ("digest", "digest")] {
        if !word(key).is_empty() {
            out::line(&format!("{name:<10} {}", word(key)));
        }
    }
    let by = document["createdBy"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
    out::line(&format!("published  {}{by}", word("createdAt")));
    let changed = &document["changed"];
    if changed.is_object() {
        out::line(&format!("changed    {} by {}", text(&changed["at"]), text(&changed["by"])));
    }
    let origin = &document["origin"];
    if origin.is_object() {
        out::line(&format!("made of    {}@{}", text(&origin["template"]), text(&origin["version"])));
    }
    for (name, property) in document["parameters"]["properties"].as_object().into_iter().flatten() {
        let default = property.get("default").map(|value| format!(" (default {value})")).unwrap_or_default();
        out::line(&format!("parameter  {name}: {}{default}", text(&property["type"])));
    }
    for (name, value) in document["labels"].as_object().into_iter().flatten() {
        out::line(&format!("label      {name}={}", text(value)));
    }
    out::line("");
    let row = |step: &Value| {
        let waits: Vec<&str> =
            step["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        vec![text(&step["id"]), text(&step["calls"]), waits.join(", ")]
    };
    let steps: Vec<_> = document["steps"].as_array().into_iter().flatten().map(row).collect();
    out::table(&["STEP", "CALLS", "WAITS FOR"], &steps);
}

/// Changes the status of a version.
pub(super) async fn set_status(said: &str, status: &str, context: &Context) -> Result<Exit, Fault> {
    let path = Named::parse(said)?.version_path()?;
    let body = json!({ "status": status }).to_string();
    let document = context
        .client()?
        .json(Ask::patch(&path, "application/json", body).with("heddle-user", user()))
        .await?;
    match (context.json, status) {
        (true, _) => out::json(&document),
        (false, "active") => out::note(&format!("{said} is active; ranges that it fits mean it")),
        (false, "inactive") => {
            out::note(&format!(
                "{said} is inactive: it begins no run any more, and its schedules have ended; runs under way go on"
            ));
        }
        (false, _) => {
            out::note(&format!("{said} is archived; `heddle workflow ls --status archived` shows it"))
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn rm(said: &str, context: &Context) -> Result<Exit, Fault> {
    let path = Named::parse(said)?.version_path()?;
    context.client()?.text(Ask::delete(&path).with("heddle-user", user())).await?;
    match context.json {
        true => out::json(&json!({ "deleted": said })),
        false => out::note(&format!(
            "{said} is deleted; the version stays taken: only the same content can have it again"
        )),
    }
    Ok(Exit::Ok)
}

pub(super) async fn diff(said: &str, a: &str, b: &str, context: &Context) -> Result<Exit, Fault> {
    let named = Named::parse(said)?;
    if named.version.is_some() {
        return Err(Fault::usage(format!(
            "write the versions apart: `heddle workflow diff {} {a} {b}`",
            named.name
        )));
    }
    let client: Client = context.client()?;
    let path = format!("{}/diff/{}/{}", named.path(), encode(a), encode(b));
    let diff = client.json(Ask::get(&path)).await?;
    if context.json {
        out::json(&diff);
        return Ok(Exit::Ok);
    }
    let (changes, steps) = (diff.items("changes"), diff.items("steps"));
    changes.iter().for_each(|change| place(change, ""));
    for step in &steps {
        out::line(&format!("step {} was {}", text(&step["step"]), text(&step["change"])));
        step.items("changes").iter().for_each(|change| place(change, "  "));
    }
    if changes.is_empty() && steps.is_empty() {
        out::line("the versions are the same");
    }
    if let Some(same) = diff["same"].as_u64().filter(|same| *same > 0) {
        out::line(&format!("{} the same", out::several(same, "step")));
    }
    Ok(Exit::Ok)
}

/// A place that differs, with what stands there.
fn place(change: &Exact, indent: &str) {
    out::line(&format!("{indent}{}", text(&change["path"])));
    for (sign, side) in [("-", "/a"), ("+", "/b")] {
        if let Some(value) = change.at(side) {
            out::line(&format!("{indent}  {sign} {}", value.text()));
        }
    }
}
