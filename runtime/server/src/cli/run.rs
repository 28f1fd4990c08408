//! `heddle run`: a workflow from a file, with its input, to its end. The exit code is the run's result.

use super::asks::Reach;
use super::client::{Ask, Client, Refused};
use super::control::user;
use super::exact::{Exact, indented};
use super::exit::{Exit, Fault};
use super::faults::{FileFault, of_file};
use super::follow::{Show, Whose, follow};
use super::paint::harmless;
use super::plugin::{Pushed, components, push};
use super::{By, Context, Named, NodeArgs, input, out};
use crate::app::{App, Keeping};
use crate::config::Origin;
use crate::http::{Api, router};
use clap::Args;
use heddle_core::json::Json;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

// It listens nowhere: it knows `--listen` only to say what to do instead.
#[derive(Args, Debug)]
#[command(mut_arg("listen", |arg| arg.hide(true)))]
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
    /// When it begins: a time such as `2026-12-01T06:00:00Z`, or a duration from now such as `30s`.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// The time by which it must have ended.
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// 1 (first) to 5, instead of what the workflow says.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=5))]
    priority: Option<u8>,
    /// A part of the output, as a JSON pointer such as `/markdown`; text is printed as it is.
    #[arg(long, value_name = "POINTER", conflicts_with = "detach")]
    pick: Option<String>,
    /// Write the output to this file instead of stdout.
    #[arg(short, long, value_name = "FILE", conflicts_with = "detach")]
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

impl RunArgs {
    /// The flags that are about a run in this process, as they were typed.
    fn about_here(&self) -> Vec<&'static str> {
        let node = &self.node;
        let flags = [
            ("--ephemeral", self.ephemeral),
            ("--data", node.data.is_some()),
            ("--set", !node.set.is_empty()),
            ("--config", node.config.is_some()),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// The node that is to do it; none for this process. No flag is passed over in silence.
    fn server<'a>(&self, context: &'a Context) -> Result<Option<&'a Named>, Fault> {
        if self.node.listen.is_some() {
            return Err(Fault::usage("`--listen` has no use here: `heddle run` listens nowhere")
                .with_hint("leave it out, or start a node with `heddle serve --listen ADDRESS`"));
        }
        if self.ephemeral && self.node.data.is_some() {
            return Err(Fault::usage("`--ephemeral` keeps nothing, and `--data` says where to keep it")
                .with_hint("leave one of them out"));
        }
        match (&context.server, self.about_here().first()) {
            (None, _) => Ok(None),
            (Some(named), None) => Ok(Some(named)),
            (Some(named), Some(flag)) if named.by == By::Flag => Err(Fault::usage(format!(
                "`{flag}` is for a run in this process, and `--server {}` has it run there",
                named.url
            ))
            .with_hint(format!("leave `{flag}` out to run it there, or `--server` to run it here"))),
            (Some(named), Some(flag)) => {
                if !context.json {
                    out::note(&format!(
                        "`{flag}` is for a run in this process: HEDDLE_SERVER ({}) is not asked",
                        named.url
                    ));
                }
                Ok(None)
            }
        }
    }

    /// What can be known of `--pick` and `--output` before there is an output: afterwards it would be too late.
    fn check_way_out(&self) -> Result<(), Fault> {
        if let Some(pointer) = &self.pick {
            let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            if !pointer.is_empty() && !pointer.starts_with('/') || !escaped {
                return Err(Fault::usage(format!("`--pick {pointer}` is no JSON pointer"))
                    .with_hint(format!("pointers begin with `/`: `--pick /{}`", pointer.replace('.', "/"))));
            }
        }
        let Some(path) = &self.output else { return Ok(()) };
        let refused = |why: String| {
            Err(Fault::usage(format!("`{}` cannot be written: {why}", path.display()))
                .with_hint("choose another file with `--output FILE`"))
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if path.is_dir() || path.file_name().is_none() {
            return refused("it is a folder".to_owned());
        }
        if path.exists() {
            return match std::fs::File::options().append(true).open(path) {
                Ok(_) => Ok(()),
                Err(error) => refused(error.to_string()),
            };
        }
        match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
            Ok(()) if folder.is_dir() => Ok(()),
            Ok(()) => refused(format!("`{}` is no folder", folder.display())),
            Err(error) => refused(format!("its folder `{}`: {error}", folder.display())),
        }
    }
}

pub(super) async fn run(args: &RunArgs, context: &Context) -> Result<Exit, Fault> {
    let server = args.server(context)?;
    if server.is_none() && args.detach {
        return Err(Fault::usage("`--detach` needs a node that goes on").with_hint(format!(
            "start one with `heddle dev`, and add `--server {}`",
            super::DEFAULT_SERVER
        )));
    }
    args.check_way_out()?;
    let input = input::input(args.input.as_deref(), &args.arg)?;
    let wish = Wish::read(args, input)?;
    match server {
        Some(named) => {
            let client = named.client()?;
            if let Some(folder) = &args.node.plugins {
                load(&client, Path::new(folder), context).await?;
            }
            go(args, context, &client, &wish).await
        }
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
    if let Some(folder) = &config.plugins {
        components(folder)?;
    }
    crate::telemetry::log_to(&config.telemetry)?;
    let keeping = if args.ephemeral { Keeping::Nothing } else { Keeping::Everything };
    let app = Arc::new(App::open(&config, keeping).await.map_err(|error| in_use(&error, &args.node))?);
    let (end, ending) = watch::channel(false);
    let client = Client::Here(router(Api::new(app.clone(), ending)));
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
pub(super) fn in_use(error: &anyhow::Error, node: &NodeArgs) -> Fault {
    let message = format!("{error:#}");
    match message.contains("is in use") {
        true => Fault::failed(message).with_hint(format!(
            "a node has it open: let that one do it (`--server {}`, or the URL that it printed when it began), stop it, or use another folder with `--data FOLDER`",
            super::DEFAULT_SERVER
        )),
        false => {
            Fault::failed(message).with_hint(format!("`heddle doctor{}` looks for the cause", node.typed()))
        }
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
                Some(format!("`{}`: {}", file.display(), harmless(&reasons.join(", "))))
            }
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Fault::usage(format!(
            "{} of {} plugins could not be loaded: {}",
            failed.len(),
            files.len(),
            failed.join("; ")
        ))
        .with_hint("`heddle plugin inspect FILE` says what is wrong with one")),
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
        for (key, value) in input::pairs("label", &args.label)? {
            labels.insert(key.to_owned(), Value::String(value.to_owned()));
        }
        let path = PathBuf::from(&args.workflow);
        let looks_published = args.workflow.split('/').count() == 2 && !args.workflow.contains('.')
            || args.workflow.contains('@');
        let (file, text, what) = if looks_published && !path.exists() {
            (None, String::new(), ("workflow", args.workflow.clone()))
        } else {
            let text = input::file(&args.workflow).map_err(|fault| {
                fault.with_hint("name a file with a workflow, or a published one as `namespace/name`")
            })?;
            (Some(path), text.clone(), ("definition", text))
        };
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let labels = serde_json::to_string(&labels).unwrap_or_default();
        // The input goes in as its own text, so that its numbers stay as they were given.
        let mut body =
            format!(r#"{{"{}":{},"input":{},"labels":{labels}"#, what.0, quoted(&what.1), input.text());
        if let Some(start) = &args.start {
            // What begins with a date is a point in time.
            let is_time = start.as_bytes().get(4) == Some(&b'-');
            let member = if is_time { "startAt" } else { "delay" };
            body.push_str(&format!(r#","{member}":{}"#, quoted(start)));
        }
        if let Some(deadline) = &args.deadline {
            body.push_str(&format!(r#","deadline":{}"#, quoted(deadline)));
        }
        if let Some(level) = args.priority {
            body.push_str(&format!(r#","priority":{level}"#));
        }
        body.push('}');
        Ok(Wish { file, text, body })
    }

    /// A refusal, with the lines of the file that it is about.
    fn refused(&self, refused: Refused) -> Fault {
        match (refused, &self.file) {
            (Refused::By(refusal), Some(file))
                if ["workflow_invalid", "yaml_invalid", "yaml_budget"].contains(&&*refusal.code) =>
            {
                of_file(file, &self.text, refusal.errors, &refusal.code)
            }
            (refused, _) => refused.into(),
        }
    }
}

async fn go(args: &RunArgs, context: &Context, client: &Client, wish: &Wish) -> Result<Exit, Fault> {
    let ask = Ask::post("/v1/runs", "application/json", wish.body.clone()).with("heddle-user", user());
    let accepted = client.json(ask).await;
    let accepted = accepted.map_err(|refused| {
        let fault = wish.refused(refused);
        match (client, &*fault.code) {
            (Client::Here(_), "workflow_invalid") if fault.errors.iter().any(FileFault::misses_a_plugin) => fault
                .with_hint("`--plugins FOLDER` loads the plugins of a folder, `--server URL` names a node that has them"),
            (Client::Here(_), "workflow_not_found") => fault.with_hint(
                "it was looked for in the data folder of this process; a node that has it is named with `--server URL`",
            ),
            _ => fault,
        }
    })?;
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
    let reach = match client {
        Client::There { url, .. } => Reach::Node(url.clone()),
        Client::Here(_) if args.ephemeral => Reach::Nowhere,
        Client::Here(_) => Reach::Folder(args.node.typed()),
    };
    let document = follow(client, (&run, reach), show, Whose::Own).await?;
    give(args, context, client, &document).await
}

/// Hands over what the run gave.
async fn give(args: &RunArgs, context: &Context, client: &Client, document: &Exact) -> Result<Exit, Fault> {
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
        None => output,
        Some(pointer) => output.at(pointer).ok_or_else(|| nothing_there(pointer, &output, document))?,
    };
    let text = match (&*picked, &args.pick) {
        (Value::String(text), Some(_)) => text.clone(),
        _ => format!("{}\n", indented(picked.text())),
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

/// The run went well and is paid for, so how to come to its output is said.
fn nothing_there(pointer: &str, output: &Value, document: &Value) -> Fault {
    let members: Vec<String> = match output {
        Value::Object(map) => map.keys().take(10).map(|key| format!("`/{key}`")).collect(),
        _ => Vec::new(),
    };
    let has = match members.as_slice() {
        [] => "it is no object".to_owned(),
        some => format!("it has {}", some.join(", ")),
    };
    let run = document["id"].as_str().unwrap_or_default();
    Fault::usage(format!("the run succeeded, and its output has nothing at `{pointer}`; {has}")).with_hint(
        format!("`heddle runs get {run} --output` prints all of it, where a node still has the run"),
    )
}

/// The output of a run, fetched where it is too large for the document.
pub(super) async fn whole_output(client: &Client, document: &Exact) -> Result<Exact, Fault> {
    match document["outputRef"]["digest"].as_str() {
        None => Ok(document.at("/output").unwrap_or_default()),
        Some(digest) => {
            let run = document["id"].as_str().unwrap_or_default();
            Ok(client.json(Ask::get(&format!("/v1/runs/{run}/values/{digest}"))).await?)
        }
    }
}
