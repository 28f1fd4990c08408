//! `heddle runs`: looking at the runs of a node.

use super::artifacts::artifacts;
use super::asks::Reach;
use super::calls::calls;
use super::client::{Ask, Client};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::follow::{Show, Whose, follow};
use super::paint::harmless;
use super::run::whole_output;
use super::step::StepCommand;
use super::{Context, control, out};
use crate::http::graph::Format;
use clap::Subcommand;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(super) enum RunsCommand {
    /// List runs, newest first.
    Ls {
        /// Only with one of these statuses, separated by commas.
        #[arg(long)]
        status: Option<String>,
        /// Only of this `namespace/name`.
        #[arg(long)]
        workflow: Option<String>,
        /// Only of this version of the workflow.
        #[arg(long, requires = "workflow")]
        version: Option<String>,
        /// Only with this label, `key=value`.
        #[arg(long)]
        label: Option<String>,
        /// Only those that this caller asked for.
        #[arg(long, value_name = "WHO")]
        created_by: Option<String>,
        /// Only those with this text in their id, workflow or labels.
        #[arg(long)]
        text: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Show a run.
    Get {
        /// The run.
        id: String,
        /// Print only its output.
        #[arg(long)]
        output: bool,
    },
    /// Follow a run to its end; the exit code is its result.
    Watch {
        /// The run.
        id: String,
    },
    /// Say why a run stands where it stands.
    Why {
        /// The run.
        id: String,
    },
    /// Draw a run.
    Graph {
        /// The run.
        id: String,
        /// How it is written.
        #[arg(long, value_enum, default_value = "mermaid")]
        format: Format,
    },
    /// Print a run's journal: what was decided, row by row.
    Journal {
        /// The run.
        id: String,
    },
    /// Show what the agents of a run have asked, and what they were told.
    Calls {
        /// Its id.
        id: String,
    },
    /// List the files that a run has kept, or write them into a folder.
    Artifacts {
        /// The run.
        id: String,
        /// The folder; it is made where it is not there.
        #[arg(long, value_name = "FOLDER")]
        save: Option<PathBuf>,
    },
    /// Signal a run: what a step with `wait: {signal: NAME}` waits for.
    Signal {
        /// The run.
        id: String,
        /// The signal.
        name: String,
        /// What it says: JSON.
        #[arg(long, default_value = "null")]
        data: String,
    },
    /// Send an event to every run that listens to it: those with a step `wait: {signal: NAME}`.
    Emit {
        /// The event.
        name: String,
        /// What it says: JSON.
        #[arg(long, default_value = "null")]
        data: String,
    },
    /// Cancel a run.
    Cancel {
        /// The run.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Run nothing more, not even compensation and `finally`.
        #[arg(long)]
        force: bool,
    },
    /// Let a run stand still: nothing new begins.
    Pause {
        /// The run.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a run go on that stands still.
    Resume {
        /// The run.
        id: String,
    },
    /// Run it once more: a new run that takes over what this one has already.
    Rerun(RerunArgs),
    /// Let a run go on with another version of its workflow.
    Migrate {
        /// The run.
        id: String,
        /// The version, such as `1.1.0`.
        version: String,
    },
    /// Say what is different between two runs.
    Diff {
        /// The first run.
        id: String,
        /// The second run.
        other: String,
    },
    /// List what runs ask people.
    Approvals,
    /// Approve what a run asks.
    Approve(DecideArgs),
    /// Reject what a run asks.
    Reject(DecideArgs),
    /// Try one step again, skip it, let it fail, or stop it.
    #[command(subcommand)]
    Step(StepCommand),
}

#[derive(clap::Args, Debug)]
pub(super) struct RerunArgs {
    /// The run.
    pub(super) id: String,
    /// The step from which on everything is computed again.
    #[arg(long, value_name = "STEP")]
    pub(super) from: Option<String>,
    /// Another input: JSON, `@file` or `-` for stdin.
    #[arg(long, value_name = "INPUT")]
    pub(super) input: Option<String>,
    /// A member of another input: `key=value`, or `key=@file` for a file's text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) arg: Vec<String>,
    /// Another version: a published workflow, `namespace/name@range`.
    #[arg(long, value_name = "WORKFLOW")]
    pub(super) workflow: Option<String>,
}

#[derive(clap::Args, Debug)]
pub(super) struct DecideArgs {
    /// The run.
    pub(super) id: String,
    /// The step that asks.
    pub(super) step: String,
    /// Who decides; the user of this machine where nothing is said.
    #[arg(long = "as")]
    pub(super) by: Option<String>,
    /// The groups of whoever decides, separated by commas.
    #[arg(long, default_value = "")]
    pub(super) groups: String,
    /// Why.
    #[arg(long, default_value = "")]
    pub(super) comment: String,
    /// What is filled in: JSON.
    #[arg(long)]
    pub(super) form: Option<String>,
}

impl RunsCommand {
    /// Whether a run is wanted and its id is empty, as when a variable of a script is.
    fn names_no_run(&self) -> bool {
        match self {
            RunsCommand::Ls { .. } | RunsCommand::Approvals | RunsCommand::Emit { .. } => false,
            RunsCommand::Get { id, .. }
            | RunsCommand::Watch { id }
            | RunsCommand::Why { id }
            | RunsCommand::Graph { id, .. }
            | RunsCommand::Journal { id }
            | RunsCommand::Artifacts { id, .. }
            | RunsCommand::Calls { id }
            | RunsCommand::Signal { id, .. }
            | RunsCommand::Pause { id, .. }
            | RunsCommand::Resume { id }
            | RunsCommand::Diff { id, .. }
            | RunsCommand::Migrate { id, .. }
            | RunsCommand::Rerun(RerunArgs { id, .. })
            | RunsCommand::Approve(DecideArgs { id, .. })
            | RunsCommand::Reject(DecideArgs { id, .. })
            | RunsCommand::Cancel { id, .. } => id.trim().is_empty(),
            RunsCommand::Step(command) => command.run().trim().is_empty(),
        }
    }
}

pub(super) async fn runs(command: &RunsCommand, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    if command.names_no_run() {
        return Err(Fault::usage("the id of a run is missing; `heddle runs ls` lists them"));
    }
    match command {
        RunsCommand::Ls { status, workflow, version, label, created_by, text, limit } => {
            let asked = [
                ("status", status),
                ("workflow", workflow),
                ("version", version),
                ("label", label),
                ("createdBy", created_by),
                ("text", text),
            ];
            ls(&client, (*limit, &filters(&asked)), context).await
        }
        RunsCommand::Get { id, output } => {
            let document = client.json(Ask::get(&path(id, ""))).await?;
            match (*output, context.json) {
                (true, _) => out::json(&whole_output(&client, &document).await?),
                (false, true) => out::json(&document),
                (false, false) => show(&document),
            }
            Ok(Exit::Ok)
        }
        RunsCommand::Watch { id } => {
            let how = if context.json { Show::Nothing } else { Show::People };
            let reach = Reach::Node(client.place().to_owned());
            let document = follow(&client, (&encode(id), reach), how, Whose::Anybodys).await?;
            if context.json {
                out::json(&document);
            }
            Ok(if document["status"] == "succeeded" { Exit::Ok } else { Exit::Failed })
        }
        RunsCommand::Why { id } => why(&client, id, context).await,
        RunsCommand::Graph { id, format } => {
            let word = if context.json { Format::Json.word() } else { format.word() };
            out::text(&client.text(Ask::get(&path(id, &format!("/graph?format={word}")))).await?);
            Ok(Exit::Ok)
        }
        RunsCommand::Journal { id } => journal(&client, id, context).await,
        RunsCommand::Artifacts { id, save } => artifacts(id, save.as_deref(), context).await,
        RunsCommand::Calls { id } => calls(id, context).await,
        RunsCommand::Signal { id, name, data } => signal(&client, context, id, (name, data)).await,
        RunsCommand::Cancel { id, reason, force } => {
            let body = serde_json::json!({ "reason": reason, "force": force });
            control::tell(&client, context, (id, "cancel"), body, ("will end", "will end")).await
        }
        RunsCommand::Pause { id, reason } => {
            let body = serde_json::json!({ "reason": reason });
            control::tell(&client, context, (id, "pause"), body, ("will stand still", "stands still already"))
                .await
        }
        RunsCommand::Resume { id } => {
            let will = ("will go on", "does not stand still");
            control::tell(&client, context, (id, "resume"), serde_json::json!({}), will).await
        }
        RunsCommand::Migrate { id, version } => migrate(&client, context, id, version).await,
        RunsCommand::Emit { name, data } => emit(&client, context, (name, data)).await,
        RunsCommand::Diff { id, other } => super::diff::diff(&client, context, id, other).await,
        RunsCommand::Rerun(asked) => control::rerun(&client, context, asked).await,
        RunsCommand::Step(command) => super::step::step(&client, context, command).await,
        RunsCommand::Approvals => control::approvals(&client, context).await,
        RunsCommand::Approve(asked) => control::decide(&client, context, asked, "approve").await,
        RunsCommand::Reject(asked) => control::decide(&client, context, asked, "reject").await,
    }
}

/// The parameters of a list that are asked for, after others.
pub(super) fn filters(asked: &[(&str, &Option<String>)]) -> String {
    let given = asked.iter().filter_map(|(name, value)| Some(format!("&{name}={}", encode(value.as_ref()?))));
    given.collect()
}

async fn migrate(client: &Client, context: &Context, id: &str, version: &str) -> Result<Exit, Fault> {
    let will = format!("will go on with {version} as soon as nothing of it is under way");
    let body = serde_json::json!({ "version": version });
    control::tell(client, context, (id, "migrate"), body, (&will, "has that version already")).await
}

async fn signal(
    client: &Client,
    context: &Context,
    id: &str,
    (name, data): (&str, &str),
) -> Result<Exit, Fault> {
    let body = said(name, data)?;
    let answer = client.json(Ask::post(&path(id, "/signal"), "application/json", body)).await?;
    match context.json {
        true => out::json(&answer),
        false => out::note(&format!("run {id} has the signal `{name}`; `heddle runs watch {id}` follows it")),
    }
    Ok(Exit::Ok)
}

/// What a signal or an event says, as the API takes it.
fn said(name: &str, data: &str) -> Result<String, Fault> {
    #[derive(serde::Serialize)]
    struct Said<'a> {
        name: &'a str,
        data: Exact,
    }
    let data = Exact::parse(data).map_err(|error| {
        Fault::usage(format!("`--data` is no JSON: {error}; text is written `--data '\"text\"'`"))
    })?;
    Ok(serde_json::to_string(&Said { name, data }).unwrap_or_default())
}

async fn emit(client: &Client, context: &Context, (name, data): (&str, &str)) -> Result<Exit, Fault> {
    let answer = client.json(Ask::post("/v1/events", "application/json", said(name, data)?)).await?;
    match context.json {
        true => out::json(&answer),
        false => {
            let starts = answer["starts"].as_array().into_iter().flatten().filter_map(|id| id.as_str());
            let starts: Vec<&str> = starts.collect();
            match (answer["reached"].as_u64().unwrap_or_default(), starts.is_empty()) {
                (0, true) => out::note(&format!(
                    "no run waits for `{name}` and no trigger starts one, so nobody has it; `heddle triggers ls` lists the triggers"
                )),
                (0, false) => {}
                (runs, _) => out::note(&format!("{} have the event `{name}`", out::several(runs, "run"))),
            }
            for id in starts {
                out::note(&format!("trigger {id} starts a run; `heddle triggers get {id}` shows which"));
            }
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn path(id: &str, rest: &str) -> String {
    format!("/v1/runs/{}{rest}", encode(id))
}

/// A part of a path or a query, with everything escaped that could mean something there.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b',' | b':' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A page of runs, as the API gives it.
#[derive(serde::Serialize)]
struct Page {
    items: Vec<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// So many runs, if there are as many: a page with filters may have fewer and not be the last.
async fn first(client: &Client, limit: u32, filters: &str) -> Result<Page, Fault> {
    let (mut found, mut wanted) = (Page { items: Vec::new(), cursor: None }, limit);
    loop {
        let after = found.cursor.map(|cursor| format!("&cursor={}", encode(&cursor))).unwrap_or_default();
        let page = client.json(Ask::get(&format!("/v1/runs?limit={wanted}{filters}{after}"))).await?;
        found.items.extend(page.items("items"));
        found.cursor = page["cursor"].as_str().map(str::to_owned);
        wanted = limit.saturating_sub(found.items.len() as u32);
        if found.cursor.is_none() || wanted == 0 {
            return Ok(found);
        }
    }
}

async fn ls(client: &Client, (limit, filters): (u32, &str), context: &Context) -> Result<Exit, Fault> {
    let page = first(client, limit, filters).await?;
    if context.json {
        out::json(&page);
        return Ok(Exit::Ok);
    }
    let items = page.items;
    let row = |item: &Exact| {
        let workflow = format!("{}@{}", text(&item["workflow"]), text(&item["version"]));
        vec![
            text(&item["id"]),
            workflow,
            text(&item["status"]),
            text(&item["createdAt"]),
            text(&item["finishedAt"]),
        ]
    };
    out::table(
        &["RUN", "WORKFLOW", "STATUS", "ACCEPTED", "ENDED"],
        &items.iter().map(row).collect::<Vec<_>>(),
    );
    for item in items.iter().filter(|item| item["hint"].is_string()) {
        out::note(&harmless(&format!("{}: {}", text(&item["id"]), text(&item["hint"]))));
    }
    if page.cursor.is_some() {
        out::note(
            "there are more: raise `--limit`, or narrow with `--status`, `--workflow`, `--label`, `--text`",
        );
    }
    Ok(Exit::Ok)
}

fn show(run: &Value) {
    let workflow = &run["workflow"];
    out::line(&format!("run       {}", text(&run["id"])));
    out::line(&format!("workflow  {}@{}", text(&workflow["name"]), text(&workflow["version"])));
    let progress = &run["progress"];
    out::line(&format!(
        "status    {} ({} of {}, {} %)",
        text(&run["status"]),
        progress["done"],
        progress["total"],
        progress["percent"]
    ));
    for (name, key) in [("accepted", "createdAt"), ("started", "startedAt"), ("ended", "finishedAt")] {
        if run[key].is_string() {
            out::line(&format!("{name:<9} {}", text(&run[key])));
        }
    }
    queue(&run["queue"]);
    if let Some(left) = run["estimate"]["remainingMs"].as_u64() {
        out::line(&format!("left      about {}", heddle_core::time::Span(left)));
    }
    show_migrations(run);
    let error = &run["error"];
    if error.is_object() {
        let place =
            if error["step"].is_string() { format!(" in {}", text(&error["step"])) } else { String::new() };
        out::line(&format!("error     {}{place}: {}", text(&error["kind"]), text(&error["message"])));
    }
    out::line("");
    let steps = run["steps"].as_array().cloned().unwrap_or_default();
    let row = |step: &Value| {
        let items = &step["items"];
        let counts = match items.is_object() {
            true => format!(
                "{}/{}",
                items["succeeded"].as_u64().unwrap_or(0) + items["failed"].as_u64().unwrap_or(0),
                items["total"]
            ),
            false => String::new(),
        };
        let attempts = step["attempts"].as_array().map_or(0, Vec::len);
        let took =
            step["durationMs"].as_u64().map(|ms| heddle_core::time::Span(ms).to_string()).unwrap_or_default();
        let cache = match (items["cached"].as_u64(), step["cache"]["verdict"].as_str()) {
            (Some(cached), _) => format!("{cached} hits"),
            (None, verdict) => verdict.unwrap_or_default().to_owned(),
        };
        vec![
            text(&step["id"]),
            text(&step["status"]),
            counts,
            attempts.to_string(),
            cache,
            took,
            done_by(step),
        ]
    };
    out::table(
        &["STEP", "STATUS", "ITEMS", "ATTEMPTS", "CACHE", "TOOK", "BY"],
        &steps.iter().map(row).collect::<Vec<_>>(),
    );
    let hints: Vec<String> =
        super::spent::lines(&steps).into_iter().chain(steps.iter().filter_map(by_hand)).collect();
    if !hints.is_empty() {
        out::line("");
        hints.iter().for_each(|hint| out::line(hint));
    }
}

/// What does a step's work: its plugin, or the run that it has asked for.
fn done_by(step: &Value) -> String {
    let last = step["attempts"].as_array().and_then(|attempts| attempts.last());
    match last.and_then(|attempt| attempt["run"].as_str()) {
        Some(run) => format!("run {run}"),
        None => text(&step["plugin"]["name"]),
    }
}

/// What a run waits for that has not begun.
fn queue(queue: &Value) {
    if queue["startAt"].is_string() {
        out::line(&format!("begins    {} at the earliest", text(&queue["startAt"])));
    }
    for slot in queue["slots"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let holders = slot["heldBy"].as_array().map(Vec::as_slice).unwrap_or_default();
        let held = match holders.last() {
            Some(oldest) => format!("; run {} has one", text(oldest)),
            None => String::new(),
        };
        let line =
            format!("waits     for one of {} slots of the key `{}`{held}", slot["limit"], text(&slot["key"]));
        out::line(&harmless(&line));
    }
}

/// The versions that a run was to go on with.
fn show_migrations(run: &Value) {
    for moved in run["migrations"].as_array().into_iter().flatten() {
        let fate = match moved["refused"].as_str() {
            Some(why) => format!("not to {}: {why}", text(&moved["version"])),
            None => format!("to {} by {}", text(&moved["version"]), text(&moved["by"])),
        };
        out::line(&format!("moved     {fate}"));
    }
}

/// What a person must do for a step that was not undone, where its author has left a word.
fn by_hand(step: &Value) -> Option<String> {
    let hint = step["hint"].as_object()?;
    let said = |name: &str| hint.get(name).and_then(Value::as_str);
    let command = said("command").map(|command| format!("`{command}`"));
    let parts = [said("text").map(str::to_owned), command, said("link").map(str::to_owned)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let id = text(if step["step"].is_string() { &step["step"] } else { &step["id"] });
    Some(harmless(&format!("by hand: {id} was not undone: {}", parts.join("; "))))
}

async fn why(client: &Client, id: &str, context: &Context) -> Result<Exit, Fault> {
    let why = client.json(Ask::get(&path(id, "/why"))).await?;
    if context.json {
        out::json(&why);
        return Ok(Exit::Ok);
    }
    let whole = text(&why["why"]);
    out::line(&format!("{}: {whole}", text(&why["status"])));
    for step in why["steps"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (id, said) = (text(&step["step"]), text(&step["why"]));
        // What the first line has said already is not said again.
        if whole != format!("`{id}`: {said}") || step["hint"].is_object() {
            out::line(&format!("  {id} ({}): {said}", text(&step["status"])));
        }
        if let Some(hint) = by_hand(step) {
            out::line(&format!("  {hint}"));
        }
    }
    Ok(Exit::Ok)
}

async fn journal(client: &Client, id: &str, context: &Context) -> Result<Exit, Fault> {
    let mut cursor = String::new();
    loop {
        let page = client.json(Ask::get(&path(id, &format!("/journal?limit=200{cursor}")))).await?;
        for row in page.items("items") {
            match context.json {
                true => out::text(&format!("{}\n", row.text())),
                false => {
                    for event in row.items("events") {
                        let (seq, at) = (row["seq"].to_string(), text(&row["at"]));
                        out::line(&format!("{seq:>5}  {at}  {}", event.text()));
                    }
                }
            }
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(Exit::Ok),
        }
    }
}
