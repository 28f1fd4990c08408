//! `cargo xtask bench`: the table of what Heddle must reach, each figure beside what the bare parts give on the same
//! machine in the same minute.
//!
//! ```text
//!  this process: load generator, calibration, rows without HTTP
//!     ├── bare loop     HTTP + sandbox + journal, no product (this program again, as a server)
//!     └── heddle serve  the product, as it is shipped
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

mod agents;
mod bare_loop;
mod cached;
mod calibrate;
mod http;
mod journal;
mod load;
mod micro;
mod pace;
mod process;
mod product;
mod report;
mod sandbox;

use anyhow::Context as _;
use bare_loop::BareLoop;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pace::Pace;
use product::Places;
use report::Report;
use sandbox::Sandboxes;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Builder;

/// The product's, so that the bare loop is no slower for want of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of the targets that are not measured here, and why.
const LEFT_OUT: [&str; 1] = [
    "three times Restate in the same run: Restate is not part of this repository; compare with a server of your own",
];

#[derive(Debug, Parser)]
#[command(name = "heddle-bench", about = "Measures Heddle beside its bare parts.")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    bench: Bench,
}

/// What else this program can be, started by itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// The bare loop, as a server.
    #[command(hide = true)]
    BareLoop(BareLoop),
    /// Compiles a component for the rows without HTTP.
    #[command(hide = true, name = micro::COMPILE)]
    CompileComponent,
}

#[derive(Debug, Args)]
struct Bench {
    /// About a minute, to see that nothing broke. Without it: several minutes, for figures to believe.
    #[arg(long)]
    quick: bool,
    /// The server's binary. Without it: `heddle` beside this program.
    #[arg(long)]
    heddle: Option<PathBuf>,
    /// The folder of built plugins.
    #[arg(long)]
    plugins: Option<PathBuf>,
    /// Only these parts, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Ends with 1 if a row misses its target. Without it: only if something could not be measured.
    #[arg(long)]
    strict: bool,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// wasmtime, the disk and SQLite alone.
    Calibration,
    /// The invocation path and the cached step.
    InProcess,
    /// Chains of steps over HTTP, beside the bare loop.
    Chains,
    /// One run over many items.
    FanOut,
    /// Very many runs that wait for a time, a person or a signal.
    Parked,
    /// Start, idle memory and `kill -9`.
    Start,
    /// The API beside guests that spin.
    Spinning,
    /// A small run beside hostile ones of another workflow.
    Hostile,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.role {
        Some(Role::CompileComponent) => return heddle_host::compile_child_main(),
        Some(Role::BareLoop(options)) => block_on(Builder::new_multi_thread(), bare_loop::serve(options)),
        // One thread: the load generator must leave the cores to what it measures.
        None => block_on(Builder::new_current_thread(), bench(cli.bench)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(mut runtime: Builder, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime.enable_all().build()?.block_on(work)
}

async fn bench(options: Bench) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let plugins = options.plugins.unwrap_or_else(|| root.join("plugins/target/wasm32-wasip2/release"));
    let json = options.json.unwrap_or_else(|| root.join("target/bench.json"));
    let pace = if options.quick { Pace::QUICK } else { Pace::FULL };
    // On the disk that the workspace is on, not in a folder that may be memory.
    let data = tempfile::tempdir_in(root.join("target"))?;
    let parts = if options.only.is_empty() { Part::value_variants().to_vec() } else { options.only };
    let mut report = Report {
        mode: pace.mode,
        cores: std::thread::available_parallelism()?.get(),
        limits_raised: Vec::new(),
        failed: Vec::new(),
        left_out: LEFT_OUT.map(str::to_owned).to_vec(),
        sections: Vec::new(),
    };
    without_http(&plugins, data.path(), pace, &parts, &mut report).await?;
    match heddle(options.heddle) {
        Ok(heddle) => {
            let places = Places { heddle: &heddle, plugins: &plugins, data: data.path() };
            product::measure(places, pace, &parts, &mut report).await;
        }
        Err(fault) => report.failed.push(format!("everything that needs the server: {fault:#}")),
    }
    println!("{}", report.table());
    report.write(&json)?;
    println!("\nas JSON: {}", json.display());
    let failed = report.failed.len();
    anyhow::ensure!(failed == 0, "{failed} sections could not be measured; they are named above");
    let missed = report.missed();
    anyhow::ensure!(!options.strict || missed == 0, "{missed} rows miss their target; they are marked above");
    Ok(())
}

async fn without_http(
    plugins: &Path,
    data: &Path,
    pace: Pace,
    parts: &[Part],
    report: &mut Report,
) -> anyhow::Result<()> {
    let sandboxes = Arc::new(Sandboxes::new(plugins)?);
    if parts.contains(&Part::Calibration) {
        say("calibration");
        report.add("calibration: the bare parts", calibrate::rows(&sandboxes, data, pace).await);
    }
    if parts.contains(&Part::InProcess) {
        say("rows without HTTP");
        report.add("invocation, in process", micro::invocation(sandboxes, plugins, data, pace).await);
        report.add("cache, in process", cached::rows(pace).await);
        report.add("agents, in process", agents::rows(data, pace).await);
    }
    Ok(())
}

/// The server's binary.
fn heddle(said: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("heddle");
    let path = said.unwrap_or(beside);
    anyhow::ensure!(
        path.is_file(),
        "`{}` is not there; build it with `cargo build --workspace --bins`",
        path.display()
    );
    Ok(path.canonicalize()?)
}

/// What is being measured, for whoever waits.
fn say(what: &str) {
    eprintln!("measuring: {what}");
}
