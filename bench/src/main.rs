//! `cargo xtask bench`: the table of what Heddle must reach, each figure beside what the bare parts give on the same
//! machine in the same minute.
//!
//! ```text
//!  this process: load generator, calibration, rows without HTTP
//!     ├── bare loop     HTTP + sandbox + journal, no product (this program again, as a server)
//!     └── heddle serve  the product, as it is shipped
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

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
use clap::{Args, Parser, Subcommand};
use pace::Pace;
use product::Places;
use report::{Report, Section};
use sandbox::Sandboxes;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Builder;

/// Rows of the targets that are not measured here, and why.
const LEFT_OUT: [&str; 2] = [
    "three times Restate in the same run: Restate is not part of this repository; compare with a server of your own",
    "100,000 parked runs: workflows cannot wait yet",
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
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
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
    let mut report = Report {
        mode: pace.mode,
        cores: std::thread::available_parallelism()?.get(),
        limits_raised: Vec::new(),
        left_out: Vec::new(),
        sections: Vec::new(),
    };
    {
        let sandboxes = Arc::new(Sandboxes::new(&plugins)?);
        say("calibration");
        let rows = calibrate::rows(&sandboxes, data.path(), pace).await?;
        report.sections.push(Section { title: "calibration: the bare parts", rows });
        say("rows without HTTP");
        let mut rows = micro::invocation(sandboxes, &plugins, data.path(), pace).await?;
        rows.extend(cached::rows(pace).await?);
        report.sections.push(Section { title: "in process", rows });
    }
    match heddle(options.heddle) {
        Ok(heddle) => {
            let places = Places { heddle: &heddle, plugins: &plugins, data: data.path() };
            product::measure(places, pace, &mut report).await?;
        }
        Err(fault) => report.left_out.push(format!("everything that needs the server: {fault}")),
    }
    report.left_out.extend(LEFT_OUT.map(str::to_owned));
    println!("{}", report.table());
    report.write(&json)?;
    println!("\nas JSON: {}", json.display());
    Ok(())
}

/// The server's binary.
fn heddle(said: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("heddle");
    let path = said.unwrap_or(beside);
    anyhow::ensure!(
        path.is_file(),
        "`{}` is not there; build it with `cargo build -p heddle-server`",
        path.display()
    );
    Ok(path.canonicalize()?)
}

/// What is being measured, for whoever waits.
fn say(what: &str) {
    eprintln!("measuring: {what}");
}
