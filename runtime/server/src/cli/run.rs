//! `heddle run`: a workflow from a file, with its input, to its end. The exit code is the run's result.

use super::client::{Ask, Client, Refused};
use super::exit::{Exit, Fault};
use super::faults::render;
use super::follow::{OnInterrupt, Show, follow};
use super::paint::{Paint, harmless};
use super::plugin::{Pushed, components, push};
use super::{Context, NodeArgs, input, out};
use crate::app::{App, Keeping};
use crate::config::Origin;
use crate::http::{Api, router};
use clap::Args;
use heddle_core::json::Json;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// The workflow, YAML or JSON; or `namespace/name@range` of a published one.
    workflow: String,
    /// The input: `@file`, JSON, or `-` for stdin.
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    /// A member of the input: `key=value`, or `key=@file` for a file's text.
    #[arg(long, value_name = "KEY=VALUE")]
    arg: Vec<String>,
    /// A label for finding the run.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// A part of the output, as a JSON pointer such as `/markdown`; text is printed as it is.
    #[arg(long, value_name = "POINTER")]
    pick: Option<String>,
    /// Write the output to this file instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Submit it and do not wait; only with `--server`.
    #[arg(long)]
    detach: bool,
    /// Keep nothing; only without `--server`.
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn run(args: &RunArgs, context: &Context) -> Result<Exit, Fault> {
    let input = input::input(args.input.as_deref(), &args.arg)?;
    let wish = Wish::read(args, input)?;
    match &context.server {
        Some(url) => {
            let client = Client::to(url)?;
            if let Some(folder) = &args.node.plugins {
                load(&client, Path::new(folder), context).await?;
            }
            go(args, context, &client, &wish).await
        }
        None if args.detach => Err(Fault::usage("`--detach` needs a node that goes on: add `--server URL`")
            .with_hint("start one with `heddle dev`")),
        None => here(args, context, &wish).await,
    }
}

/// A node in this process, for as long as the run takes.
async fn here(args: &RunArgs, context: &Context, wish: &Wish) -> Result<Exit, Fault> {
    let mut config = args.node.load()?;
    let quiet = config.shown.iter().any(|s| s.key == "telemetry.level" && s.origin == Origin::Default);
    if quiet {
        // The picture of the run is what is wanted on stderr, unless somebody asked for more.
        "warn".clone_into(&mut config.telemetry.level);
    }
    crate::telemetry::log_to(&config.telemetry)?;
    let keeping = if args.ephemeral { Keeping::Nothing } else { Keeping::Everything };
    let app = Arc::new(App::open(&config, keeping).await.map_err(in_use)?);
    let (end, ending) = watch::channel(false);
    let client = Client::Here(router(Api { app: app.clone(), ending }));
    let result = match &config.plugins {
        Some(folder) => match load(&client, folder, context).await {
            Ok(()) => go(args, context, &client, wish).await,
            Err(fault) => Err(fault),
        },
        None => go(args, context, &client, wish).await,
    };
    let _ = end.send(true);
    app.close().await;
    result
}

/// A folder that is in use is most often in use by a node that could do this.
fn in_use(error: anyhow::Error) -> Fault {
    let message = format!("{error:#}");
    let fault = Fault::failed(message.clone());
    match message.contains("is in use") {
        true => fault.with_hint(format!(
            "a node has it open: add `--server {}`, or use another folder with `--data FOLDER`",
            super::DEFAULT_SERVER
        )),
        false => fault.with_hint("`heddle doctor` looks for the cause"),
    }
}

async fn load(client: &Client, folder: &Path, context: &Context) -> Result<(), Fault> {
    let files = components(folder)?;
    let results = push(client, &files, if context.json { Show::Nothing } else { Show::People }).await?;
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(file, pushed)| match pushed {
            Pushed::Ready(_) => None,
            Pushed::Failed(reasons) => {
                Some(format!("  {}: {}", file.display(), harmless(&reasons.join("; "))))
            }
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Fault::usage(format!(
            "{} of {} plugins could not be loaded\n{}",
            failed.len(),
            files.len(),
            failed.join("\n")
        ))),
    }
}

/// What is to be run, as the API wants it.
#[derive(Debug)]
struct Wish {
    file: Option<PathBuf>,
    text: String,
    body: String,
}

impl Wish {
    fn read(args: &RunArgs, input: Json) -> Result<Wish, Fault> {
        let mut labels = serde_json::Map::new();
        for label in &args.label {
            let Some((key, value)) = label.split_once('=') else {
                return Err(Fault::usage(format!("`--label {label}` has no `=`; write `--label team=web`")));
            };
            labels.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        let path = PathBuf::from(&args.workflow);
        let looks_published = args.workflow.split('/').count() == 2 && !args.workflow.contains('.')
            || args.workflow.contains('@');
        let (file, text, what) = if looks_published && !path.exists() {
            (None, String::new(), ("workflow", args.workflow.clone()))
        } else {
            let text = input::file(&args.workflow)?;
            (Some(path), text.clone(), ("definition", text))
        };
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let labels = serde_json::to_string(&labels).unwrap_or_default();
        // The input goes in as its own text, so that its numbers stay as they were given.
        let body =
            format!(r#"{{"{}":{},"input":{},"labels":{labels}}}"#, what.0, quoted(&what.1), input.text());
        Ok(Wish { file, text, body })
    }

    /// A refusal, with the lines of the file that it is about.
    fn refused(&self, refused: Refused) -> Fault {
        match (refused, &self.file) {
            (Refused::By(refusal), Some(file))
                if ["workflow_invalid", "yaml_invalid", "yaml_budget"].contains(&&*refusal.code) =>
            {
                let count = match refusal.errors.len() {
                    1 => "a fault".to_owned(),
                    more => format!("{more} faults"),
                };
                let shown = render(file, &self.text, &refusal.errors, Paint::for_stderr());
                Fault::usage(format!("`{}` has {count}\n{}", file.display(), shown.trim_end()))
                    .with_code(refusal.code)
            }
            (refused, _) => refused.into(),
        }
    }
}

async fn go(args: &RunArgs, context: &Context, client: &Client, wish: &Wish) -> Result<Exit, Fault> {
    let accepted = client
        .json(Ask::post("/v1/runs", "application/json", wish.body.clone()))
        .await
        .map_err(|refused| wish.refused(refused))?;
    let run = accepted["id"].as_str().unwrap_or_default().to_owned();
    if args.detach {
        match context.json {
            true => out::json(&accepted),
            false => out::line(&run),
        }
        return Ok(Exit::Ok);
    }
    let show = if context.json { Show::Nothing } else { Show::People };
    if show == Show::People {
        out::note(&format!("run {run}"));
    }
    let document = follow(client, &run, show, OnInterrupt::Cancel).await?;
    give(args, context, client, &document).await
}

/// Hands over what the run gave.
async fn give(args: &RunArgs, context: &Context, client: &Client, document: &Value) -> Result<Exit, Fault> {
    let succeeded = document["status"] == "succeeded";
    let exit = if succeeded { Exit::Ok } else { Exit::Failed };
    if context.json && args.output.is_none() && args.pick.is_none() {
        out::json(document);
        return Ok(exit);
    }
    if !succeeded {
        return Ok(exit);
    }
    let output = whole_output(client, document).await?;
    let picked = match &args.pick {
        None => &output,
        Some(pointer) => output.pointer(pointer).ok_or_else(|| {
            Fault::usage(format!("the output has nothing at `{pointer}`; pointers begin with `/`"))
        })?,
    };
    let text = match (picked, &args.pick) {
        (Value::String(text), Some(_)) => text.clone(),
        (value, _) => format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default()),
    };
    match &args.output {
        None if text.ends_with('\n') => out::text(&text),
        None => out::text(&format!("{text}\n")),
        Some(path) => {
            std::fs::write(path, text)
                .map_err(|error| Fault::failed(format!("`{}` cannot be written: {error}", path.display())))?;
            if !context.json {
                out::note(&format!("wrote {}", path.display()));
            }
        }
    }
    Ok(exit)
}

/// The output of a run, fetched where it is too large for the document.
pub(super) async fn whole_output(client: &Client, document: &Value) -> Result<Value, Fault> {
    match document["outputRef"]["digest"].as_str() {
        None => Ok(document["output"].clone()),
        Some(digest) => {
            let run = document["id"].as_str().unwrap_or_default();
            Ok(client.json(Ask::get(&format!("/v1/runs/{run}/values/{digest}"))).await?)
        }
    }
}
