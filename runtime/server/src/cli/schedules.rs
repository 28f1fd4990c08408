//! `heddle schedules`: when workflows run by themselves.

use super::client::{Ask, Client};
use super::control::{Items, user};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::{encode, text};
use super::{Context, out};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub(super) enum SchedulesCommand {
    /// List the schedules of all workflows.
    Ls,
    /// Show a schedule: its next times and its last ticks.
    Get {
        /// The schedule: `namespace.name.id`.
        id: String,
    },
    /// Let a schedule stand still: its ticks are skipped.
    Pause {
        /// The schedule.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a schedule go on.
    Resume {
        /// The schedule.
        id: String,
    },
    /// Ask for a run now, by the rules of the schedule's overlap.
    Trigger {
        /// The schedule.
        id: String,
    },
    /// Ask for the runs of a time that is over.
    Backfill {
        /// The schedule.
        id: String,
        /// The first instant, such as `2026-11-20T00:00:00Z`.
        #[arg(long)]
        from: String,
        /// The last instant.
        #[arg(long)]
        to: String,
        /// How the runs follow each other.
        #[arg(long, value_enum, default_value = "one-by-one")]
        order: Order,
    },
}

/// How the runs of a backfill follow each other.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Order {
    /// The next begins when the one before has ended.
    OneByOne,
    /// All at once.
    AtOnce,
}

pub(super) async fn schedules(command: &SchedulesCommand, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let (id, verb, body) = match command {
        SchedulesCommand::Ls => return ls(&client, context).await,
        SchedulesCommand::Get { id } => {
            let document = client.json(Ask::get(&path(id, "")?)).await?;
            match context.json {
                true => out::json(&document),
                false => show(&document),
            }
            return Ok(Exit::Ok);
        }
        SchedulesCommand::Pause { id, reason } => (id, "pause", json!({ "reason": reason })),
        SchedulesCommand::Resume { id } => (id, "resume", json!({})),
        SchedulesCommand::Trigger { id } => (id, "trigger", json!({})),
        SchedulesCommand::Backfill { id, from, to, order } => {
            let order = match order {
                Order::OneByOne => "oneByOne",
                Order::AtOnce => "atOnce",
            };
            (id, "backfill", json!({ "from": from, "to": to, "order": order }))
        }
    };
    let target = path(id, &format!("/{verb}"))?;
    let ask = Ask::post(&target, "application/json", body.to_string()).with("heddle-user", user());
    let answer = client.json(ask).await?;
    match context.json {
        true => out::json(&answer),
        false => out::note(&told(id, verb, &answer)),
    }
    Ok(Exit::Ok)
}

fn path(id: &str, rest: &str) -> Result<String, Fault> {
    match id.trim().is_empty() {
        true => Err(Fault::usage("the id of a schedule is missing; `heddle schedules ls` lists them")),
        false => Ok(format!("/v1/schedules/{}{rest}", encode(id))),
    }
}

/// What a person is told who wanted something of a schedule.
fn told(id: &str, verb: &str, answer: &Value) -> String {
    match verb {
        "pause" => format!("schedule {id} stands still; `heddle schedules resume {id}` lets it go on"),
        "resume" => match answer["next"][0].as_str() {
            Some(next) => format!("schedule {id} goes on; next at {next}"),
            None => format!("schedule {id} goes on, and has no time left"),
        },
        "trigger" => match (answer["run"].as_str(), answer["outcome"].as_str()) {
            (Some(run), _) => format!("run {run} is accepted; `heddle runs watch {run}` follows it"),
            (None, Some("skipped")) => {
                format!("no run: {}; see `heddle schedules get {id}`", text(&answer["reason"]))
            }
            (None, outcome) => {
                format!("the run is {}; see `heddle schedules get {id}`", outcome.unwrap_or_default())
            }
        },
        _ => format!("the runs are recorded; `heddle schedules get {id}` shows them"),
    }
}

async fn ls(client: &Client, context: &Context) -> Result<Exit, Fault> {
    let items = Items::all(client, "/v1/schedules?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let row = |item: &Exact| {
        vec![
            text(&item["id"]),
            when(item),
            text(&item["status"]),
            text(&item["next"][0]),
            item["ticks"][0]["outcome"].as_str().unwrap_or_default().to_owned(),
        ]
    };
    out::table(
        &["SCHEDULE", "WHEN", "STATUS", "NEXT", "LAST"],
        &items.items.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(Exit::Ok)
}

/// When a schedule ticks, in the words of the language.
fn when(schedule: &Value) -> String {
    let key = ["cron", "every", "at"].into_iter().find(|key| schedule[key].is_string()).unwrap_or("at");
    let zone = schedule["timezone"].as_str().map(|zone| format!(" {zone}")).unwrap_or_default();
    match key {
        "cron" => format!("{}{zone}", text(&schedule["cron"])),
        _ => format!("{key} {}", text(&schedule[key])),
    }
}

fn show(schedule: &Value) {
    out::line(&format!("schedule  {}", text(&schedule["id"])));
    out::line(&format!("workflow  {}", text(&schedule["workflow"])));
    out::line(&format!("when      {}", when(schedule)));
    out::line(&format!("overlap   {}", text(&schedule["overlap"])));
    out::line(&format!("status    {}", text(&schedule["status"])));
    let paused = &schedule["paused"];
    if paused.is_object() {
        let reason = paused["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        out::line(&format!("paused    by {} at {}{reason}", text(&paused["by"]), text(&paused["at"])));
    }
    for (index, at) in schedule["next"].as_array().into_iter().flatten().enumerate() {
        out::line(&format!("{:<9} {}", if index == 0 { "next" } else { "" }, text(at)));
    }
    out::line("");
    let row = |tick: &Value| {
        let outcome = match (tick["run"].as_str(), tick["count"].as_u64()) {
            (_, Some(count)) => format!("{count} {}", text(&tick["outcome"])),
            (Some(_), _) => text(&tick["runStatus"]),
            (None, None) => text(&tick["outcome"]),
        };
        let note = match tick["run"].as_str() {
            Some(run) => run.to_owned(),
            None => text(&tick["message"]),
        };
        vec![text(&tick["at"]), outcome, text(&tick["asked"]), note]
    };
    let ticks = schedule["ticks"].as_array().cloned().unwrap_or_default();
    out::table(&["TICK", "OUTCOME", "ASKED", "RUN OR REASON"], &ticks.iter().map(row).collect::<Vec<_>>());
}
