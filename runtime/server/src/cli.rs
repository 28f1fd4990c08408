//! The command line. What a command is asked is here; what it does is in a file of its own.
//!
//! A command that works on a node speaks to it through [`client`]: over a socket, or, for `heddle run` without a
//! server, to the same routes in this process. So there is one way to do each thing.

mod artifacts;
mod asks;
mod author;
mod calls;
mod circuits;
mod client;
mod connector;
mod control;
mod diff;
mod doctor;
mod events;
mod exact;
mod exit;
mod faults;
mod follow;
mod init;
mod input;
mod layout;
mod mcp;
mod node_args;
mod out;
pub mod paint;
mod plugin;
mod rates;
mod run;
mod runs;
mod schedules;
mod serve;
mod show;
mod spent;
mod sse;
mod step;
mod tree;
mod triggers;
mod webhooks;
mod workflow;

use clap::{CommandFactory as _, Parser, Subcommand};
use exit::{Exit, Fault};
use node_args::NodeArgs;
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
    /// Print JSON, for programs: the result on stdout, a fault on stderr.
    #[arg(long, global = true)]
    json: bool,
    /// The node to speak to, else that of HEDDLE_SERVER [default: http://127.0.0.1:7878].
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a folder with a workflow to begin with.
    Init(init::InitArgs),
    /// Make a project for a plugin: in Rust, JavaScript, TypeScript, Python or C.
    New(author::NewArgs),
    /// Make a component of a project, with its language's own toolchain.
    Build(author::BuildArgs),
    /// Show what a component is and what it needs, and whether it does the same twice.
    Check(author::CheckArgs),
    /// Run the cases of a project: what goes in, and what comes out.
    Test(author::TestArgs),
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
    /// Show what happens on a node, to all runs or those of a workflow, as it happens.
    Events(events::EventsArgs),
    /// Check, draw and publish workflows, and say which of their versions run.
    #[command(subcommand)]
    Workflow(workflow::WorkflowCommand),
    /// Look at schedules, pause, trigger and fill them in.
    #[command(subcommand)]
    Schedules(schedules::SchedulesCommand),
    /// Look at triggers, what became of events for them, and pause them.
    #[command(subcommand)]
    Triggers(triggers::TriggersCommand),
    /// Look at circuit breakers, and close one by hand.
    #[command(subcommand)]
    Circuits(circuits::CircuitsCommand),
    /// Look at rate limits: how many calls each key may have, and when the next one may begin.
    Rates,
    /// Make and look at webhooks, and at what was sent to them.
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Load plugins and look at them.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Check and load services whose endpoints are tools.
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    /// Speak the Model Context Protocol on stdin and stdout, for clients that start their servers themselves.
    Mcp(mcp::McpArgs),
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
    /// Print completions for a shell. They have no JSON form.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
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
        /// Print a documented `heddle.toml` with the defaults instead.
        #[arg(long, conflicts_with_all = ["origin", "config", "listen", "data", "plugins", "set"])]
        example: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// What every command knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Whether stdout is for programs.
    pub(crate) json: bool,
    /// The node that was named.
    pub(crate) server: Option<Named>,
}

/// A node that was named.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Its URL.
    pub(crate) url: String,
    /// How it was named: a flag that speaks against it wins over a variable.
    pub(crate) by: By,
}

/// How a node was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// With `--server`.
    Flag,
    /// With `HEDDLE_SERVER`.
    Variable,
}

impl Named {
    /// A client of it.
    pub(crate) fn client(&self) -> Result<client::Client, Fault> {
        client::Client::to(&self.url).map_err(|fault| match self.by {
            By::Flag => fault,
            By::Variable => Fault { message: format!("HEDDLE_SERVER: {}", fault.message), ..fault },
        })
    }
}

impl Context {
    fn new(json: bool, flag: Option<String>) -> Context {
        let variable = || std::env::var("HEDDLE_SERVER").ok().filter(|url| !url.is_empty());
        let server = match flag {
            Some(url) => Some(Named { url, by: By::Flag }),
            None => variable().map(|url| Named { url, by: By::Variable }),
        };
        Context { json, server }
    }
    /// A client of the node that was named, or of the one at the usual place.
    pub(crate) fn client(&self) -> Result<client::Client, Fault> {
        match &self.server {
            Some(named) => named.client(),
            None => client::Client::to(DEFAULT_SERVER),
        }
    }
    /// The URL of the node that was named with a flag.
    pub(crate) fn server_flag(&self) -> Option<&str> {
        self.server.as_ref().filter(|named| named.by == By::Flag).map(|named| &*named.url)
    }
}

impl Command {
    /// What it does instead of asking a node, where it asks none.
    fn asks_no_node(&self) -> Option<&'static str> {
        Some(match self {
            Command::Dev { .. } | Command::Serve { .. } => {
                "starts a node; where it listens is `--listen ADDRESS`"
            }
            Command::Limits(_) | Command::Config(_) => {
                "shows what a node started here would be told; what a running one is told is shown where it runs"
            }
            Command::Workflow(
                workflow::WorkflowCommand::Graph { .. }
                | workflow::WorkflowCommand::Fmt { .. }
                | workflow::WorkflowCommand::Schema,
            ) => "works without a node",
            Command::Init(_)
            | Command::New(_)
            | Command::Build(_)
            | Command::Check(_)
            | Command::Test(_)
            | Command::Completions { .. }
            | Command::Webhooks(webhooks::WebhooksCommand::Verify(_)) => "works without a node",
            _ => return None,
        })
    }
}

/// The whole program, from its arguments to its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return typed_wrongly(&error),
    };
    let context = Context::new(cli.json, cli.server);
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

/// Arguments that are none; or help, which is asked for in the same way.
fn typed_wrongly(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(Exit::Ok as u8);
    }
    match json {
        false => drop(error.print()),
        true => out::fault(&of_arguments(error), json),
    }
    ExitCode::from(Exit::Usage as u8)
}

/// What the parser of arguments says, as a fault: it writes paragraphs, the usage after what is wrong.
fn of_arguments(error: &clap::Error) -> Fault {
    let text = error.render().to_string();
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    let next = match usage {
        Some(usage) => format!("type `{usage}`; `--help` says what each is"),
        None => "`heddle --help` lists the commands".to_owned(),
    };
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Fault::usage("a command is missing").with_hint(next);
    }
    let said: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("Usage: ") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let message = said.join("; ").replace(":; ", ": ");
    Fault::usage(message.strip_prefix("error: ").unwrap_or(&message)).with_hint(next)
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, Fault> {
    if let (Some(url), Some(instead)) = (context.server_flag(), command.asks_no_node()) {
        return Err(Fault::usage(format!("`--server {url}` has no use here: this command {instead}"))
            .with_hint("leave `--server` out"));
    }
    match command {
        Command::Dev { ephemeral, node } => {
            Box::pin(serve::dev(&node, ephemeral.then_some(crate::app::Keeping::Nothing))).await
        }
        Command::Serve { node } => Box::pin(serve::serve(&node)).await,
        Command::Init(args) => init::init(&args, context),
        Command::New(args) => author::new(&args, context),
        Command::Build(args) => author::build(&args, context),
        Command::Check(args) => Box::pin(author::check(&args, context)).await,
        Command::Test(args) => Box::pin(author::test(&args, context)).await,
        Command::Run(args) => Box::pin(run::run(&args, context)).await,
        Command::Runs(command) => Box::pin(runs::runs(&command, context)).await,
        Command::Events(args) => Box::pin(events::events(&args, context)).await,
        Command::Workflow(command) => Box::pin(workflow::workflow(&command, context)).await,
        Command::Rates => Box::pin(rates::rates(context)).await,
        Command::Circuits(command) => Box::pin(circuits::circuits(&command, context)).await,
        Command::Schedules(command) => Box::pin(schedules::schedules(&command, context)).await,
        Command::Triggers(command) => Box::pin(triggers::triggers(&command, context)).await,
        Command::Webhooks(command) => Box::pin(webhooks::webhooks(&command, context)).await,
        Command::Connector(command) => Box::pin(connector::connector(&command, context)).await,
        Command::Plugin(command) => Box::pin(plugin::plugin(&command, context)).await,
        Command::Mcp(args) => Box::pin(mcp::mcp(&args, context)).await,
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
