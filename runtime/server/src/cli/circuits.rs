//! `heddle circuits`: circuit breakers of a node.

use super::client::{Ask, Client};
use super::control::{Items, user};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::{encode, text};
use super::{Context, out};
use clap::Subcommand;
use serde_json::Value;

#[derive(Subcommand, Debug)]
pub(super) enum CircuitsCommand {
    /// List the circuit breakers that steps have asked since the node started.
    Ls,
    /// Close one, whatever it has seen; steps that wait for it go on.
    Close {
        /// Its key.
        key: String,
    },
}

pub(super) async fn circuits(command: &CircuitsCommand, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    match command {
        CircuitsCommand::Ls => ls(&client, context).await,
        CircuitsCommand::Close { key } => {
            // As a part of a path these would mean something else, and no circuit has such a key.
            if matches!(&**key, "" | "." | "..") {
                return Err(Fault::usage(format!(
                    "`{key}` is the key of no circuit; `heddle circuits ls` lists them"
                )));
            }
            let target = format!("/v1/circuits/{}/close", encode(key));
            let ask = Ask::post(&target, "application/json", "{}".to_owned()).with("heddle-user", user());
            let answer = client.json(ask).await?;
            match context.json {
                true => out::json(&answer),
                false => out::note(&format!("circuit `{key}` is closed")),
            }
            Ok(Exit::Ok)
        }
    }
}

async fn ls(client: &Client, context: &Context) -> Result<Exit, Fault> {
    let items = Items::all(client, "/v1/circuits?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let row = |item: &Exact| {
        let failed = format!("{} of {}", item["failures"], item["calls"]);
        vec![text(&item["key"]), text(&item["state"]), until(item), failed, item["opened"].to_string()]
    };
    let rows: Vec<Vec<String>> = items.items.iter().map(row).collect();
    out::table(&["CIRCUIT", "STATE", "UNTIL", "FAILED", "OPENED"], &rows);
    Ok(Exit::Ok)
}

fn until(circuit: &Value) -> String {
    match (circuit["openUntil"].as_str(), circuit["probing"].as_bool()) {
        (Some(until), _) => until.to_owned(),
        (None, Some(true)) => "its probe ends".to_owned(),
        _ => String::new(),
    }
}
