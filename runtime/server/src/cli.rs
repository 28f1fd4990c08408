//! The command line. What a command is asked is here; what it does is in a file of its own.
//!
//! A command that works on a node speaks to it through [`client`]: over a socket, or, for `heddle run` without a
//! server, to the same routes in this process. So there is one way to do each thing.

mod client;
mod doctor;
mod exit;
mod faults;
mod follow;
mod input;
mod out;
pub mod paint;
mod plugin;
mod run;
mod runs;
mod serve;
mod show;
mod sse;
mod tree;
mod workflow;

use crate::config::said::process_env;
use crate::config::{Config, Layers};
use crate::http::graph::Format;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use exit::{Exit, Fault};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where a client looks for a node when nobody says.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:7878";

/// Stack of the threads that drive runs: expressions are walked by recursion, within their own bounds.
const STACK_BYTES: usize = 8 << 20;

#[derive(Parser, Debug)]
#[command(
    name = "heddle",
    version,
    about = "Runs agents, tools and transforms as sandboxed WebAssembly components, woven into durable workflows.",
    max_term_width = 110
)]
#[command(
    after_help = "Exit codes: 0 ok, 1 the run or the command failed, 2 it was asked wrongly, 3 no node answers, 4 denied.\nColours: NO_COLOR turns them off. Docs of every error: docs/errors, or GET /docs/errors/CODE."
)]
struct Cli {
    /// Print JSON on stdout, for programs.
    #[arg(long, global = true)]
    json: bool,
    /// The node to speak to [default: http://127.0.0.1:7878].
    #[arg(long, global = true, env = "HEDDLE_SERVER", value_name = "URL", hide_env_values = true)]
    server: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start a node for development: everything in one process, data in `.heddle`.
    Dev {
        /// Keep nothing.
        #[arg(long)]
        ephemeral: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Start a node.
    Serve {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Run a workflow and show how it goes. Needs no server; with `--server` it runs there.
    Run(run::RunArgs),
    /// Look at runs, follow and cancel them.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Check, draw and publish workflows.
    #[command(subcommand)]
    Workflow(WorkflowCommand),
    /// Load plugins and look at them.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// The limits of a node.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// The configuration of a node.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look for what is wrong, and say what to do about it.
    Doctor {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand, Debug)]
enum WorkflowCommand {
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
    /// Print the JSON Schema of the workflow language, for editors.
    Schema,
    /// Publish a version of a workflow.
    Publish {
        /// YAML or JSON.
        file: PathBuf,
    },
    /// List the published workflows.
    Ls,
}

#[derive(Subcommand, Debug)]
enum LimitsCommand {
    /// Print every limit with its value, its maximum and what it bounds.
    Show {
        #[command(flatten)]
        node: NodeArgs,
    },
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Print every setting with its value.
    Show {
        /// Say also where each value comes from.
        #[arg(long)]
        origin: bool,
        /// Print a documented `heddle.toml` instead.
        #[arg(long)]
        example: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// What a node is told on the command line: the last layer of its configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NodeArgs {
    /// The configuration file [default: heddle.toml, where there is one].
    #[arg(long, env = "HEDDLE_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Where the API listens.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where data is kept.
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// A folder whose `*.wasm` files are loaded at the start.
    #[arg(long, value_name = "FOLDER")]
    plugins: Option<String>,
    /// Any setting, such as `--set limits.fuel=1000000`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl NodeArgs {
    /// Reads the whole configuration.
    pub(crate) fn load(&self) -> Result<Config, Fault> {
        let mut flags = Vec::new();
        for (key, value) in [("listen", &self.listen), ("data", &self.data), ("plugins", &self.plugins)] {
            if let Some(value) = value {
                flags.push((key.to_owned(), format!("--{key}"), value.clone()));
            }
        }
        for said in &self.set {
            let Some((key, value)) = said.split_once('=') else {
                return Err(Fault::usage(format!(
                    "`--set {said}` has no `=`; write `--set limits.fuel=1000000`"
                )));
            };
            flags.push((key.to_owned(), format!("--set {key}"), value.to_owned()));
        }
        let layers = Layers { file: self.config.clone(), env: process_env(), flags };
        Config::load(&layers).map_err(|faults| {
            Fault::usage(format!("the configuration has faults\n{faults}"))
                .with_hint("`heddle config show --example` prints every setting")
        })
    }
}

/// What every command knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Whether stdout is for programs.
    pub(crate) json: bool,
    /// The node that was named.
    pub(crate) server: Option<String>,
}

impl Context {
    /// A client of the node that was named, or of the one at the usual place.
    pub(crate) fn client(&self) -> Result<client::Client, Fault> {
        client::Client::to(self.server.as_deref().unwrap_or(DEFAULT_SERVER))
    }
}

/// The whole program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Ok } as u8);
        }
    };
    let context = Context { json: cli.json, server: cli.server };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("heddle")
        .thread_stack_size(STACK_BYTES)
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(cli.command, &context));
            // A sandbox that does not end must not keep the program from ending.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            result
        }
        Err(error) => Err(Fault::failed(format!("threads cannot be started: {error}"))),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(fault) => {
            out::fault(&fault, context.json);
            ExitCode::from(fault.exit as u8)
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, Fault> {
    match command {
        Command::Dev { ephemeral, node } => {
            Box::pin(serve::dev(&node, ephemeral.then_some(crate::app::Keeping::Nothing))).await
        }
        Command::Serve { node } => Box::pin(serve::serve(&node)).await,
        Command::Run(args) => Box::pin(run::run(&args, context)).await,
        Command::Runs(command) => Box::pin(runs::runs(&command, context)).await,
        Command::Workflow(command) => match command {
            WorkflowCommand::Validate { file } => workflow::validate(&file, context).await,
            WorkflowCommand::Graph { file, format } => {
                workflow::graph(&file, if context.json { Format::Json } else { format })
            }
            WorkflowCommand::Schema => workflow::schema(),
            WorkflowCommand::Publish { file } => workflow::publish(&file, context).await,
            WorkflowCommand::Ls => workflow::ls(context).await,
        },
        Command::Plugin(command) => Box::pin(plugin::plugin(&command, context)).await,
        Command::Limits(LimitsCommand::Show { node }) => show::limits(&node, context),
        Command::Config(ConfigCommand::Show { origin, example, node }) => {
            let what = match (example, origin) {
                (true, _) => show::What::Example,
                (false, true) => show::What::Origins,
                (false, false) => show::What::Values,
            };
            show::config(&node, what, context)
        }
        Command::Doctor { node } => Box::pin(doctor::doctor(&node, context)).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "heddle", &mut text);
            out::text(&String::from_utf8_lossy(&text));
            Ok(Exit::Ok)
        }
    }
}

/// The help of every command, for the page that a test keeps true.
pub fn help() -> String {
    fn add(command: &mut clap::Command, path: &str, text: &mut String) {
        let name = if path.is_empty() {
            command.get_name().to_owned()
        } else {
            format!("{path} {}", command.get_name())
        };
        if command.get_name() == "help" {
            return;
        }
        text.push_str(&format!(
            "## {name}\n\n```\n{}\n```\n\n",
            command.render_long_help().to_string().trim_end()
        ));
        for sub in command.get_subcommands_mut() {
            add(sub, &name, text);
        }
    }
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = String::from("# The command line\n\nMade from `heddle --help`; a test keeps it true.\n\n");
    add(&mut command, "", &mut text);
    text
}
