//! `cargo xtask test`: every layer of tests, from the layout of the tree up to the real binary over HTTP, each under a
//! header of its own, with a table of counts at the end.
//!
//! Everything that depends on wasmtime is built once: each layer selects the whole workspace and filters what *runs*
//! (`-E 'package(heddle-host)'`), because another selection of packages unites other features (see [`crate::build`]).
//! Clippy covers the whole workspace as well: it needs only the metadata of wasmtime, which takes a fifth of the time
//! of a build, and the crates that use wasmtime are those where its warnings matter most.

mod count;
mod layers;

use crate::arguments::{Arguments, Misuse};
use crate::toolchain::Runner;
use crate::workspace::{Workspace, typed};
use anyhow::{Context, Result, bail, ensure};
use count::Count;
use layers::{LAYERS, Layer, Needs};
use std::fmt;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the layers run with.
struct Suite<'a> {
    workspace: &'a Workspace,
    runner: Runner,
}

/// How a layer ended.
struct Ended {
    layer: &'static str,
    count: Count,
    took: Duration,
    /// The first line of what it complained about.
    complaint: String,
}

/// Some layer failed; the summary has said so, and its last line stays the last.
#[derive(Debug)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("some layers failed")
    }
}

impl std::error::Error for Failed {}

pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Result<()> {
    let chosen = chosen(&arguments.values("--layer")?)?;
    let list_only = arguments.flag("--list");
    arguments.finish()?;
    if list_only {
        chosen.iter().for_each(|layer| println!("{:<12} {}", layer.name, layer.about));
        return Ok(());
    }
    let suite = Suite { workspace, runner: Runner::find(workspace) };
    let mut ended: Vec<Ended> = Vec::new();
    for (at, layer) in chosen.iter().enumerate() {
        println!("\n== {}/{} {}: {} ==", at + 1, chosen.len(), layer.name, layer.about);
        let begin = Instant::now();
        let not_built = ended.iter().any(|e| e.layer == "build" && e.count.failed > 0);
        let result = match layer.needs {
            Needs::Build if not_built => {
                Err(anyhow::anyhow!("not run, because the workspace does not build"))
            }
            _ => (layer.run)(&suite),
        };
        let mut complaint = String::new();
        let count = result.unwrap_or_else(|error| {
            println!("error: {error:#}");
            format!("{error:#}").lines().next().unwrap_or_default().clone_into(&mut complaint);
            Count { passed: 0, failed: 1 }
        });
        ended.push(Ended { layer: layer.name, count, took: begin.elapsed(), complaint });
    }
    summary(&ended)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Layer>> {
    let layer = |name: &String| {
        let known = || LAYERS.iter().map(|l| l.name).collect::<Vec<_>>().join(", ");
        let found = LAYERS.iter().find(|layer| layer.name == name);
        found.ok_or_else(|| Misuse::new(format!("there is no layer `{name}`, but {}", known())).into())
    };
    match names.is_empty() {
        true => Ok(LAYERS.iter().collect()),
        false => names.iter().map(layer).collect(),
    }
}

/// The table, and alone on the last line the sum.
fn summary(ended: &[Ended]) -> Result<()> {
    println!("\n{:<12} {:>8} {:>8} {:>9}", "layer", "passed", "failed", "time");
    for Ended { layer, count, took, complaint } in ended {
        println!(
            "{layer:<12} {:>8} {:>8} {:>7.1} s  {complaint}",
            count.passed,
            count.failed,
            took.as_secs_f64()
        );
    }
    let mut all = Count::default();
    ended.iter().for_each(|e| all += e.count);
    let took: Duration = ended.iter().map(|e| e.took).sum();
    println!("{:<12} {:>8} {:>8} {:>7.1} s\n", "all", all.passed, all.failed, took.as_secs_f64());
    println!("{} passed, {} failed", all.passed, all.failed);
    match all.failed {
        0 => Ok(()),
        _ => Err(Failed.into()),
    }
}

impl Suite<'_> {
    /// Runs the tests of one package of the main workspace; `filter` narrows them in nextest's language.
    fn package(&self, package: &str, filter: &str) -> Result<Count> {
        let mut command = self.runner.command(self.workspace, "");
        match self.runner {
            Runner::Nextest(_) => {
                let filter = format!("package({package}){filter}");
                command.args(["run", "--workspace", "--no-tests", "fail", "-E", &filter]);
            }
            Runner::Plain => drop(command.args(["test", "--package", package, "--tests", "--no-fail-fast"])),
        }
        self.tests(&mut command)
    }

    /// Runs tests that are compiled in another way than the rest.
    fn apart(&self, folder: &str, arguments: &[&str]) -> Result<Count> {
        let mut command = self.runner.command(self.workspace, folder);
        match self.runner {
            Runner::Nextest(_) => {
                command.args(["run", "--workspace", "--no-fail-fast", "--no-tests", "fail"])
            }
            Runner::Plain => command.args(["test", "--workspace", "--tests", "--no-fail-fast"]),
        };
        self.tests(command.args(arguments))
    }

    /// Runs a command that runs tests, shows what it says, and counts.
    fn tests(&self, command: &mut Command) -> Result<Count> {
        println!("$ {}", typed(command));
        // nextest counts on stderr, cargo's own tests on stdout; the other one goes straight to the terminal.
        let on_stderr = typed(command).contains("nextest");
        let (out, err) =
            if on_stderr { (Stdio::inherit(), Stdio::piped()) } else { (Stdio::piped(), Stdio::inherit()) };
        if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = command
            .stdout(out)
            .stderr(err)
            .spawn()
            .with_context(|| format!("`{}` cannot be started", typed(command)))?;
        let mut count = Count::default();
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>);
        let pipe = stdout.or(stderr).context("a pipe was asked for")?;
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            match on_stderr {
                true => eprint!("{text}"),
                false => print!("{text}"),
            }
            count += Count::of(&text);
            line.clear();
        }
        let status = child.wait()?;
        if !status.success() && count.failed == 0 {
            bail!("`{}` ended with {status}", typed(command));
        }
        ensure!(count.passed + count.failed > 0, "`{}` ran no tests", typed(command));
        Ok(count)
    }
}
