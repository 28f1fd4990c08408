//! `heddle workflow`: checking, drawing and publishing workflows; what becomes of their versions is in [`life`].

mod bundle;
mod instance;
mod life;

use super::client::{Ask, Refusal, Refused};
use super::control::user;
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::faults::{FileFault, of_file};
use super::{Context, input, layout, out};
use crate::http::codes::Code;
use crate::http::faults::document_code;
use crate::http::graph::{Format, Graph};
use clap::Subcommand;
use heddle_core::document::{Doc, Fault as DocFault};
use heddle_core::limits::Limits;
use heddle_core::plan::{Plan, schedules_of};
use heddle_core::schedule::Schedule;
use heddle_core::time::Timestamp;
use heddle_executor::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The JSON Schema of the language. Kept beside the parser's keys; a test holds the two together.
pub(crate) const SCHEMA: &str = include_str!("workflow/schema.json");

#[derive(Subcommand, Debug)]
pub(super) enum WorkflowCommand {
    /// Say everything that is wrong with a workflow; with `--server` also whether its plugins are loaded there.
    Validate {
        /// YAML or JSON.
        file: PathBuf,
    },
    /// Draw a workflow.
    Graph {
        /// YAML or JSON.
        file: PathBuf,
        /// How it is written.
        #[arg(long, value_enum, default_value = "mermaid")]
        format: Format,
    },
    /// Lay workflows out as they read best: keys in the order of the language, comments where they stood.
    ///
    /// What a workflow says stays as it is. Aliases are written out, and JSON becomes YAML.
    Fmt {
        /// YAML or JSON; one, where it is printed.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Write what has another layout into its file, instead of printing it.
        #[arg(long)]
        write: bool,
        /// Print the names of the files that have another layout, and end with 1 where there are some.
        #[arg(long, conflicts_with = "write")]
        check: bool,
    },
    /// Print the JSON Schema of the workflow language, for editors.
    Schema,
    /// Publish a version of a workflow.
    Publish {
        /// YAML or JSON.
        file: PathBuf,
        /// As a draft: no range means it until it is activated.
        #[arg(long)]
        draft: bool,
    },
    /// List published versions.
    Ls(LsArgs),
    /// Show a version.
    Get {
        /// `namespace/name@1.2.0`; without a version, the one that the name means.
        workflow: String,
        /// Print only its source, in canonical form.
        #[arg(long)]
        definition: bool,
    },
    /// Let a version run: ranges that it fits mean it, if it is the highest.
    Activate {
        /// `namespace/name@1.2.0`.
        workflow: String,
    },
    /// Let a version begin no run any more. Runs under way go on; its schedules end.
    Deactivate {
        /// `namespace/name@1.2.0`.
        workflow: String,
    },
    /// The same, and leave it out of lists.
    Archive {
        /// `namespace/name@1.2.0`.
        workflow: String,
    },
    /// Delete a version that nothing uses.
    Rm {
        /// `namespace/name@1.2.0`.
        workflow: String,
    },
    /// Send a workflow, with the components that it calls, to an OCI registry. They are taken from the node.
    Push(bundle::PushArgs),
    /// Load a workflow that was pushed, with the components that it calls, into the node; or write it into a folder.
    Pull(bundle::PullArgs),
    /// Make a workflow of a template, and publish it.
    Instantiate(InstantiateArgs),
    /// Say what is different between two versions.
    Diff {
        /// `namespace/name`.
        workflow: String,
        /// The first version.
        a: String,
        /// The second version.
        b: String,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct InstantiateArgs {
    /// The template: `namespace/name`, or `namespace/name@range`.
    template: String,
    /// What the workflow is called: `name`, in the namespace of the template, or `namespace/name`.
    name: String,
    /// The version of the workflow.
    #[arg(long, default_value = "1.0.0")]
    version: String,
    /// All parameters: JSON, `@file` or `-` for stdin.
    #[arg(long, value_name = "PARAMETERS")]
    parameters: Option<String>,
    /// One parameter: `key=value`, or `key=@file` for a file's text.
    #[arg(long, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// As a draft: no range means it until it is activated.
    #[arg(long)]
    draft: bool,
    /// Only check it.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct LsArgs {
    /// Only versions of this `namespace/name`.
    name: Option<String>,
    /// Only with one of these statuses, separated by commas; without it, all but archived ones.
    #[arg(long)]
    status: Option<String>,
    /// Only those that this caller published.
    #[arg(long, value_name = "WHO")]
    created_by: Option<String>,
    /// Only with this label, `key=value`.
    #[arg(long)]
    label: Option<String>,
    /// Only those with this text in their name, title or labels.
    #[arg(long)]
    text: Option<String>,
}

pub(super) async fn workflow(command: &WorkflowCommand, context: &Context) -> Result<Exit, Fault> {
    match command {
        WorkflowCommand::Validate { file } => validate(file, context).await,
        WorkflowCommand::Graph { file, format } => {
            graph(file, if context.json { Format::Json } else { *format })
        }
        WorkflowCommand::Fmt { files, write, check } => {
            let then = match (*write, *check) {
                (true, _) => layout::Then::Write,
                (false, true) => layout::Then::Check,
                (false, false) => layout::Then::Print,
            };
            layout::fmt(files, then, context)
        }
        WorkflowCommand::Schema => schema(),
        WorkflowCommand::Push(asked) => bundle::push(asked, context).await,
        WorkflowCommand::Pull(asked) => bundle::pull(asked, context).await,
        WorkflowCommand::Publish { file, draft } => publish(file, *draft, context).await,
        WorkflowCommand::Ls(asked) => life::ls(asked, context).await,
        WorkflowCommand::Get { workflow, definition } => life::get(workflow, *definition, context).await,
        WorkflowCommand::Activate { workflow } => life::set_status(workflow, "active", context).await,
        WorkflowCommand::Deactivate { workflow } => life::set_status(workflow, "inactive", context).await,
        WorkflowCommand::Archive { workflow } => life::set_status(workflow, "archived", context).await,
        WorkflowCommand::Rm { workflow } => life::rm(workflow, context).await,
        WorkflowCommand::Instantiate(asked) => instance::instantiate(asked, context).await,
        WorkflowCommand::Diff { workflow, a, b } => life::diff(workflow, a, b, context).await,
    }
}

async fn validate(file: &Path, context: &Context) -> Result<Exit, Fault> {
    match check(file, context).await {
        // What is wrong is what was asked for: the report.
        Err(fault) if context.json && !fault.errors.is_empty() => {
            out::json(&json!({ "valid": false, "error": fault.json() }));
            Ok(fault.exit)
        }
        result => result,
    }
}

async fn check(file: &Path, context: &Context) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let mut checked = "its plugins were not looked for: add `--server URL`";
    if context.server.is_some() {
        // The node knows all that is known here, and its plugins: what it says is the whole of it.
        ask(file, &text, "/v1/workflows?dryRun=true", context).await?;
        checked = "its plugins are loaded";
    }
    let plan = read(&text).map_err(|(code, faults)| refused(file, &text, &faults, code))?;
    let schedules = schedules_of(&plan.source).unwrap_or_default();
    let now = SystemClock.now();
    match context.json {
        true => out::json(
            &json!({ "valid": true, "schedules": schedules.iter().map(|s| times(s, now)).collect::<Vec<_>>(), "workflow": plan.full_name(), "version": plan.version.to_string(), "digest": plan.digest, "steps": plan.steps.len() }),
        ),
        false => {
            out::note(&format!(
                "`{}` is {}@{} with {} and has no fault; {checked}",
                file.display(),
                plan.full_name(),
                plan.version,
                out::several(plan.steps.len() as u64, "step")
            ));
            for schedule in &schedules {
                let times: Vec<String> = next_times(schedule, now);
                let times = if times.is_empty() { "no time left".to_owned() } else { times.join(", ") };
                out::note(&format!("schedule {} ({}): {times}", schedule.id, schedule.timing.text()));
            }
        }
    }
    Ok(Exit::Ok)
}

/// The next times of a schedule, before jitter.
fn next_times(schedule: &Schedule, now: Timestamp) -> Vec<String> {
    schedule.next_times(now, 3).into_iter().map(Timestamp::rfc3339).collect()
}

fn times(schedule: &Schedule, now: Timestamp) -> Value {
    json!({ "id": schedule.id, "next": next_times(schedule, now) })
}

/// Reads a workflow under the limits of a node that nobody has configured.
/// What is wrong comes with the code that a node would give.
fn read(text: &str) -> Result<Plan, (&'static str, Vec<DocFault>)> {
    let limits = Limits::default();
    let unread = |fault: DocFault| (document_code(&fault).word(), vec![fault]);
    let doc = Doc::parse(text, &limits).map_err(unread)?;
    Plan::read(&doc, None, &limits).map_err(|faults| (Code::WorkflowInvalid.word(), faults))
}

pub(super) fn refused(file: &Path, text: &str, faults: &[DocFault], code: &str) -> Fault {
    let faults = faults.iter().map(|fault| FileFault {
        file: None,
        line: (fault.place.line > 0).then_some(fault.place.line),
        column: (fault.place.line > 0).then_some(fault.place.column),
        pointer: fault.path.clone(),
        message: fault.message.clone(),
    });
    of_file(file, text, faults.collect(), code)
}

async fn ask(file: &Path, text: &str, path: &str, context: &Context) -> Result<Exact, Fault> {
    let ask = Ask::post(path, "application/yaml", text.to_owned()).with("heddle-user", user());
    let answer = context.client()?.json(ask).await;
    answer.map_err(|error| match error {
        Refused::By(Refusal { code, errors, .. })
            if ["workflow_invalid", "yaml_invalid", "yaml_budget"].contains(&&*code) =>
        {
            of_file(file, text, errors, &code)
        }
        other => other.into(),
    })
}

async fn publish(file: &Path, draft: bool, context: &Context) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let path = if draft { "/v1/workflows?status=draft" } else { "/v1/workflows" };
    let published = ask(file, &text, path, context).await?;
    if context.json {
        out::json(&published);
        return Ok(Exit::Ok);
    }
    told(&published);
    Ok(Exit::Ok)
}

/// Tells of a version that was published.
fn told(published: &Value) {
    let word = |name: &str| published[name].as_str().unwrap_or_default();
    let name = format!("{}/{}@{}", word("namespace"), word("name"), word("version"));
    out::line(&name);
    if word("status") != "active" {
        out::note(&format!(
            "it is {}; `heddle workflow activate {name}` lets ranges mean it",
            word("status")
        ));
    }
    if published["parameters"].is_object() {
        out::note(&format!(
            "it is a template; `heddle workflow instantiate {name} NAME` makes a workflow of it"
        ));
    }
}

fn graph(file: &Path, format: Format) -> Result<Exit, Fault> {
    let text = input::file(&file.display().to_string())?;
    let plan = read(&text).map_err(|(code, faults)| refused(file, &text, &faults, code))?;
    let drawn = Graph::of(&plan, None).print(format);
    out::text(&format!("{}\n", drawn.trim_end()));
    Ok(Exit::Ok)
}

fn schema() -> Result<Exit, Fault> {
    out::text(SCHEMA);
    Ok(Exit::Ok)
}
