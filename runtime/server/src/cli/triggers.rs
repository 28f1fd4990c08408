//! `heddle triggers`: which workflows start on what happens.

use super::client::{Ask, Client};
use super::control::{Items, user};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::{encode, text};
use super::{Context, out};
use clap::Subcommand;
use serde_json::Value;

#[derive(Subcommand, Debug)]
pub(super) enum TriggersCommand {
    /// List the triggers of all workflows.
    Ls,
    /// Show a trigger, and what became of the last events for it.
    Get {
        /// The trigger: `namespace.name.id`.
        id: String,
    },
    /// Let a trigger stand still: what happens meanwhile starts nothing.
    Pause {
        /// The trigger.
        id: String,
    },
    /// Let a trigger go on.
    Resume {
        /// The trigger.
        id: String,
    },
}

pub(super) async fn triggers(command: &TriggersCommand, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let (id, verb) = match command {
        TriggersCommand::Ls => return ls(&client, context).await,
        TriggersCommand::Get { id } => {
            let document = client.json(Ask::get(&path(id, "")?)).await?;
            match context.json {
                true => out::json(&document),
                false => show(&document),
            }
            return Ok(Exit::Ok);
        }
        TriggersCommand::Pause { id } => (id, "pause"),
        TriggersCommand::Resume { id } => (id, "resume"),
    };
    let target = path(id, &format!("/{verb}"))?;
    let ask = Ask::post(&target, "application/json", "{}".to_owned());
    let answer = client.json(ask.with("heddle-user", user())).await?;
    match (context.json, verb) {
        (true, _) => out::json(&answer),
        (false, "pause") => {
            out::note(&format!("trigger {id} stands still; `heddle triggers resume {id}` lets it go on"));
        }
        (false, _) => out::note(&format!("trigger {id} goes on")),
    }
    Ok(Exit::Ok)
}

fn path(id: &str, rest: &str) -> Result<String, Fault> {
    match id.trim().is_empty() {
        true => Err(Fault::usage("the id of a trigger is missing; `heddle triggers ls` lists them")),
        false => Ok(format!("/v1/triggers/{}{rest}", encode(id))),
    }
}

async fn ls(client: &Client, context: &Context) -> Result<Exit, Fault> {
    let items = Items::all(client, "/v1/triggers?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let row =
        |item: &Exact| vec![text(&item["id"]), on(item), text(&item["workflow"]), text(&item["status"])];
    out::table(&["TRIGGER", "ON", "STARTS", "STATUS"], &items.items.iter().map(row).collect::<Vec<_>>());
    Ok(Exit::Ok)
}

/// What a trigger listens to, in the words of the language.
fn on(trigger: &Value) -> String {
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join(", ")
    };
    match (trigger["event"].as_str(), trigger["run"].as_str()) {
        (Some(event), _) => format!("event {event}"),
        (None, Some(run)) => format!("run {run} ({})", list(&trigger["ends"])),
        (None, None) => format!("webhook {}", text(&trigger["webhook"])),
    }
}

fn show(trigger: &Value) {
    out::line(&format!("trigger   {}", text(&trigger["id"])));
    out::line(&format!("starts    {}", text(&trigger["workflow"])));
    out::line(&format!("on        {}", on(trigger)));
    if let Some(matches) = trigger["match"].as_str() {
        out::line(&format!("match     {matches}"));
    }
    if let Some(path) = trigger["path"].as_str() {
        out::line(&format!("send to   POST {path}, signed with the secret `{}`", text(&trigger["secret"])));
    }
    out::line(&format!("status    {}", text(&trigger["status"])));
    out::line("");
    let row = |delivery: &Value| {
        let tried = delivery["tries"].as_array().and_then(|tries| tries.last()).unwrap_or(&Value::Null);
        let note = match tried["run"].as_str() {
            Some(run) => run.to_owned(),
            None => text(&tried["error"]["message"]),
        };
        let outcome = match text(&delivery["status"]).as_str() {
            "delivered" => "started".to_owned(),
            other => other.to_owned(),
        };
        vec![text(&delivery["createdAt"]), text(&delivery["event"]), outcome, note]
    };
    let deliveries = trigger["deliveries"].as_array().cloned().unwrap_or_default();
    out::table(
        &["TIME", "EVENT", "OUTCOME", "RUN OR REASON"],
        &deliveries.iter().map(row).collect::<Vec<_>>(),
    );
}
