//! `cargo xtask demo`: the product, end to end, on real input.
//!
//! It builds the plugins and the server, starts the server on a fresh data folder, loads the plugins and the sample
//! workflow over HTTP, and audits a Cargo.lock three times: as it is, as it is again, and with one package changed. It
//! says beforehand what must come from the cache, and fails where that is not so.

mod api;
mod audit;
mod lockfile;
mod server;
mod watch;

use crate::arguments::Arguments;
use crate::build::Profile;
use crate::workspace::Workspace;
use crate::{build, plugins};
use anyhow::{Context, Result, bail, ensure};
use api::Api;
use audit::{Audit, Verdict};
use serde_json::json;
use server::Server;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WORKFLOW: &str = "plugins/samples/audit.yaml";
/// What it calls.
const PLUGINS: &[&str] = &["audit-report", "lockfile-parse", "markdown-table", "package-examine"];
/// Lines of the report that are shown.
const SHOWN_LINES: usize = 32;

/// What was asked for.
struct Asked {
    lockfile: PathBuf,
    project: String,
    keep: bool,
}

pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Result<()> {
    let asked = asked(workspace, &mut arguments)?;
    arguments.finish()?;
    let text = std::fs::read_to_string(&asked.lockfile)
        .with_context(|| format!("`{}` cannot be read; name a Cargo.lock", asked.lockfile.display()))?;
    let mut phases = Phases::default();

    // All of them, for the tour that follows in the README; those that are called are loaded.
    let mut components = phases.time("build the plugins", || plugins::build(workspace))?;
    components.retain(|component| PLUGINS.contains(&&*component.name));
    let programs =
        phases.time("build the server", || build::programs(workspace, Profile::Dev, &["heddle"]))?;
    let heddle = programs.first().context("the server was built")?;

    let folder = workspace.target.join("demo");
    let server = phases.time("start the server", || Server::start(heddle, &folder))?;
    println!("  `heddle serve` on {}, data in {}", server.api.base, workspace.shown(&folder.join("data")));
    let loaded = phases.time("load plugins and workflow", || load(&server.api, workspace, &components))?;
    println!("  {loaded}");

    let shown = audits(&server.api, &asked, &text, &folder, &mut phases);
    shown.inspect_err(|_| {
        eprintln!("the end of {}:\n{}", workspace.shown(&server.log), server.complaints())
    })?;
    phases.time("stop the server", || server.stop())?;
    phases.print();
    match asked.keep {
        true => println!("data: {}; `heddle serve --data` opens it", workspace.shown(&folder.join("data"))),
        false => std::fs::remove_dir_all(folder.join("data"))?,
    }
    println!("report: {}", workspace.shown(&folder.join("report.md")));
    Ok(())
}

fn asked(workspace: &Workspace, arguments: &mut Arguments) -> Result<Asked> {
    let keep = arguments.flag("--keep");
    let Some(given) = arguments.word() else {
        return Ok(Asked { lockfile: workspace.path("Cargo.lock"), project: "heddle".to_owned(), keep });
    };
    let mut lockfile = PathBuf::from(given);
    if lockfile.is_dir() {
        lockfile.push("Cargo.lock");
    }
    let folder = std::path::absolute(&lockfile)?.parent().map(Path::to_owned).unwrap_or_default();
    let project =
        folder.file_name().map_or_else(|| "project".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Asked { lockfile, project, keep })
}

/// Uploads the plugins, waits until each is compiled, and publishes the workflow.
fn load(api: &Api, workspace: &Workspace, components: &[plugins::Component]) -> Result<String> {
    let mut waiting = Vec::new();
    for component in components {
        let bytes = std::fs::read(&component.path)?;
        let accepted = api.post("/v1/plugins", "application/wasm", &bytes)?;
        waiting.push(accepted["digest"].as_str().context("an uploaded plugin has a digest")?.to_owned());
    }
    let until = Instant::now() + Duration::from_secs(120);
    for digest in &waiting {
        loop {
            let state = api.get(&format!("/v1/components/{digest}"))?;
            match state["status"].as_str() {
                Some("ready") => break,
                Some("failed") => bail!("a plugin was refused: {state}"),
                _ => ensure!(Instant::now() < until, "a plugin is still not compiled: {state}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let workflow = std::fs::read(workspace.path(WORKFLOW))?;
    let published = api.post("/v1/workflows", "application/yaml", &workflow)?;
    let name = |key: &str| published[key].as_str().unwrap_or("?").to_owned();
    Ok(format!(
        "{} plugins, workflow {}/{}@{}",
        waiting.len(),
        name("namespace"),
        name("name"),
        name("version")
    ))
}

/// The three audits, and what each must show.
fn audits(api: &Api, asked: &Asked, text: &str, folder: &Path, phases: &mut Phases) -> Result<()> {
    let packages = lockfile::packages(text).len();
    println!(
        "\n== audit {}: {packages} packages, each examined in a sandbox of its own ==",
        asked.lockfile.display()
    );
    let input = |text: &str| json!({ "lockfile": text, "project": asked.project });
    let first = phases.time("first audit", || audit::run(api, input(text)))?;
    std::fs::write(folder.join("report.md"), &first.report)?;
    println!("\n{}", excerpt(&first.report));

    println!("\n== the same again: everything that may be cached must be ==");
    let again = phases.time("the same again", || audit::run(api, input(text)))?;
    println!("  {}", again.tally());
    let ran = again.labels(Verdict::Miss);
    ensure!(ran.is_empty(), "these should have come from the cache: {}", listed(&ran));
    ensure!(
        again.count(Verdict::Hit) == first.count(Verdict::Hit) + first.count(Verdict::Miss),
        "some steps are missing"
    );
    ensure!(again.count(Verdict::Hit) > packages, "every package's examination is a step that may be cached");
    ensure!(again.report == first.report, "the same input brought another report");

    let Some(change) = lockfile::change_one(text) else {
        println!(
            "\nno package of this file can be changed without touching most others; the third audit is left out"
        );
        return Ok(());
    };
    println!(
        "\n== {} {} becomes {}: only what depends on it may run again ==",
        change.name, change.from, change.to
    );
    let changed = phases.time("one package changed", || audit::run(api, input(&change.text)))?;
    println!("  {}", changed.tally());
    let expected: BTreeSet<String> = change.examined.into_iter().chain(["parse".to_owned()]).collect();
    let ran: BTreeSet<String> = changed.labels(Verdict::Miss).into_iter().collect();
    println!("  ran again: {}", listed(&ran));
    ensure!(ran == expected, "these should have run again: {}", listed(&expected));
    print_comparison(&[
        ("first audit", &first),
        ("the same again", &again),
        ("one package changed", &changed),
    ]);
    Ok(())
}

fn excerpt(report: &str) -> String {
    let lines: Vec<&str> = report.lines().collect();
    let mut shown = lines.iter().take(SHOWN_LINES).map(|line| format!("  | {line}")).collect::<Vec<_>>();
    if lines.len() > SHOWN_LINES {
        shown.push(format!("  | ... and {} lines more", lines.len() - SHOWN_LINES));
    }
    shown.join("\n")
}

fn listed<'a>(labels: impl IntoIterator<Item = &'a String>) -> String {
    let labels: Vec<&str> = labels.into_iter().map(String::as_str).collect();
    match labels.len() {
        0 => "nothing".to_owned(),
        1..=12 => labels.join(", "),
        more => format!("{} and {} more", labels[..12].join(", "), more - 12),
    }
}

fn print_comparison(audits: &[(&str, &Audit)]) {
    println!("\n  {:<20} {:>8} {:>8} {:>8} {:>10}", "", "cached", "ran", "uncached", "run took");
    for (name, audit) in audits {
        let count = |verdict| audit.count(verdict);
        let (hit, miss, off) = (count(Verdict::Hit), count(Verdict::Miss), count(Verdict::Off));
        println!("  {name:<20} {hit:>8} {miss:>8} {off:>8} {:>7} ms", audit.duration_ms);
    }
}

/// How long each part took.
#[derive(Default)]
struct Phases(Vec<(&'static str, Duration)>);

impl Phases {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let result = work().context(name);
        self.0.push((name, begin.elapsed()));
        result
    }
    fn print(&self) {
        println!("\n== what took how long ==");
        let all = self.0.iter().map(|(_, took)| *took).sum();
        for (name, took) in self.0.iter().copied().chain([("in all", all)]) {
            println!("  {name:<26} {:>7.2} s", took.as_secs_f64());
        }
    }
}
