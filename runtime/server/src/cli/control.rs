//! What a person does with a run that is under way: pause, resume, cancel, and decide what it asks.

use super::client::{Ask, Client};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::input;
use super::runs::{DecideArgs, RerunArgs, path, text};
use super::{Context, out};
use crate::cli::runs::encode;
use serde::Serialize;
use serde_json::Value;

/// Asks for something that the run will do.
pub(super) async fn tell(
    client: &Client,
    context: &Context,
    (id, verb): (&str, &str),
    body: Value,
    (will, already): (&str, &str),
) -> Result<Exit, Fault> {
    let target = path(id, &format!("/{verb}"));
    let ask = Ask::post(&target, "application/json", body.to_string()).with("heddle-user", user());
    let answer = client.json(ask).await?;
    let said = if answer["changed"] == false { already } else { will };
    match context.json {
        true => out::json(&answer),
        false => out::note(&format!("run {id} {said}; `heddle runs watch {id}` follows it")),
    }
    Ok(Exit::Ok)
}

/// What is to be different, as the API takes it.
#[derive(Serialize)]
struct Again<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<&'a str>,
}

/// Asks for a run once more.
pub(super) async fn rerun(client: &Client, context: &Context, asked: &RerunArgs) -> Result<Exit, Fault> {
    let input = match (&asked.input, asked.arg.is_empty()) {
        (None, true) => None,
        (whole, _) => {
            let input = input::input(whole.as_deref(), &asked.arg)?;
            Exact::parse(input.text()).ok()
        }
    };
    let again = Again { from: asked.from.as_deref(), input, workflow: asked.workflow.as_deref() };
    let body = serde_json::to_string(&again).unwrap_or_default();
    let target = path(&asked.id, "/rerun");
    let ask = Ask::post(&target, "application/json", body).with("heddle-user", user());
    let answer = client.json(ask).await?;
    match (context.json, answer["id"].as_str()) {
        (false, Some(run)) => {
            out::line(run);
            out::note(&format!("it is run {} once more; `heddle runs watch {run}` follows it", asked.id));
        }
        _ => out::json(&answer),
    }
    Ok(Exit::Ok)
}

/// A list as the API gives it, all pages in one.
#[derive(Serialize)]
pub(super) struct Items {
    pub(super) items: Vec<Exact>,
}

impl Items {
    /// All pages of the list at this path, which ends with a question mark or a parameter.
    pub(super) async fn all(client: &Client, path: &str) -> Result<Items, Fault> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.json(Ask::get(&format!("{path}{cursor}"))).await?;
            items.extend(page.items("items"));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", encode(next)),
                None => return Ok(Items { items }),
            }
        }
    }
}

/// A decision as the API takes it.
#[derive(Serialize)]
struct Said<'a> {
    decision: &'a str,
    comment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<Exact>,
}

/// Lists what runs ask people.
pub(super) async fn approvals(client: &Client, context: &Context) -> Result<Exit, Fault> {
    let items = Items::all(client, "/v1/approvals?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let names = |value: &Value| {
        let names: Vec<String> = value.as_array().into_iter().flatten().map(text).collect();
        if names.is_empty() { "anybody".to_owned() } else { names.join(", ") }
    };
    let row = |item: &Exact| {
        let given = item["decisions"].as_array().map_or(0, Vec::len);
        let given = match item["failure"]["kind"].as_str() {
            Some(kind) => format!("failed: {kind}"),
            None => format!("{given} of {}", item["quorum"]),
        };
        vec![
            text(&item["run"]),
            text(&item["step"]),
            text(&item["workflow"]),
            names(&item["assignees"]),
            given,
            text(&item["until"]),
        ]
    };
    out::table(
        &["RUN", "STEP", "WORKFLOW", "WHO", "GIVEN", "UNTIL"],
        &items.items.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(Exit::Ok)
}

/// Decides what a run asks.
pub(super) async fn decide(
    client: &Client,
    context: &Context,
    asked: &DecideArgs,
    decision: &str,
) -> Result<Exit, Fault> {
    let form = asked.form.as_deref().map(Exact::parse).transpose().map_err(|error| {
        Fault::usage(format!("`--form` is no JSON: {error}; write `--form '{{\"key\": 1}}'`"))
    })?;
    let said = Said { decision, comment: &asked.comment, form };
    let body = serde_json::to_string(&said).unwrap_or_default();
    let target = format!("/v1/approvals/{}.{}", encode(&asked.id), encode(&asked.step));
    let by = asked.by.clone().unwrap_or_else(user);
    let ask = Ask::post(&target, "application/json", body)
        .with("heddle-user", by)
        .with("heddle-groups", asked.groups.clone());
    let answer = client.json(ask).await?;
    match context.json {
        true => out::json(&answer),
        false => out::note(&format!(
            "the decision is recorded; `heddle runs why {}` tells what else is needed",
            asked.id
        )),
    }
    Ok(Exit::Ok)
}

/// The user of this machine, as far as a header can carry the name.
pub(super) fn user() -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|key| std::env::var(key).ok());
    let name = name.unwrap_or_default();
    match !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_graphic()) {
        true => name,
        false => "cli".to_owned(),
    }
}
