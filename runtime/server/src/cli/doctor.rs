//! `heddle doctor`: looks for what is wrong with a node, its data and this machine, and says for each what to do.

use super::client::{Ask, Client};
use super::exit::{Exit, Fault};
use super::paint::{Colour, Paint};
use super::{Context, DEFAULT_SERVER, NodeArgs, out};
use crate::config::{Config, quantity};
use heddle_core::limits::Unit;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Free bytes of the disk below which a node is in danger.
const DISK_LOW: u64 = 1 << 30;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warn,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    name: &'static str,
    health: Health,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn ok(name: &'static str, found: impl Into<String>) -> Finding {
    Finding { name, health: Health::Ok, found: found.into(), fix: None }
}
fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { name, health: Health::Warn, found: found.into(), fix: Some(fix.into()) }
}
fn bad(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { name, health: Health::Bad, found: found.into(), fix: Some(fix.into()) }
}

pub(super) async fn doctor(args: &NodeArgs, context: &Context) -> Result<Exit, Fault> {
    let mut findings = Vec::new();
    match args.load() {
        Err(fault) => findings.push(bad(
            "configuration",
            fault.message,
            "correct what is named; `heddle config show --example` prints every setting",
        )),
        Ok(config) => {
            findings.push(ok("configuration", "every setting is understood"));
            node_and_store(&config, context, &mut findings).await;
            findings.push(disk(&config.data));
            findings.push(memory(&config));
        }
    }
    findings.extend(toolchains());
    report(&findings, context);
    let worst = findings.iter().any(|finding| finding.health == Health::Bad);
    Ok(if worst { Exit::Failed } else { Exit::Ok })
}

fn report(findings: &[Finding], context: &Context) {
    if context.json {
        out::json(&findings);
        return;
    }
    let paint = Paint::for_stderr();
    for finding in findings {
        let sign = match finding.health {
            Health::Ok => paint.with(Colour::Green, "ok  "),
            Health::Warn => paint.with(Colour::Yellow, "warn"),
            Health::Bad => paint.with(Colour::Red, "bad "),
        };
        out::note(&format!("{sign}  {:<14} {}", finding.name, finding.found));
        if let Some(fix) = &finding.fix {
            out::note(&format!("      {:<14} {} {fix}", "", paint.with(Colour::Cyan, "->")));
        }
    }
}

/// The node, where one answers; otherwise the data folder itself.
async fn node_and_store(config: &Config, context: &Context, findings: &mut Vec<Finding>) {
    let usual = format!("http://{}", config.listen);
    let url = context.server.clone().unwrap_or(usual);
    let asked = match Client::to(&url) {
        Ok(client) => client.json(Ask::get("/v1/node")).await.map_err(Fault::from),
        Err(fault) => Err(fault),
    };
    match asked {
        Ok(report) => {
            findings.push(ok("node", format!("it answers at {url}")));
            executor(&report, findings);
            store(&report["store"], findings);
        }
        Err(fault) if context.server.is_some() => {
            findings.push(bad("node", fault.message, "start it with `heddle dev` or `heddle serve`"))
        }
        Err(_) => {
            findings.push(ok("node", format!("none answers at {url}; its data folder is looked at instead")));
            offline(config, findings).await;
        }
    }
}

async fn offline(config: &Config, findings: &mut Vec<Finding>) {
    use heddle_store::StoreFault::{Damaged, InUse, NewerSchema};
    match crate::app::look_at_store(&config.data).await {
        Ok(None) => findings.push(ok(
            "store",
            format!("there is no `{}` yet; the first start makes it", config.data.display()),
        )),
        Ok(Some(report)) => store(&serde_json::to_value(report).unwrap_or_default(), findings),
        Err(InUse(folder)) => findings.push(warn(
            "store",
            format!("`{folder}` is in use by another process"),
            format!("name the node that has it: `heddle doctor --server {DEFAULT_SERVER}`"),
        )),
        Err(fault @ NewerSchema { .. }) => findings.push(bad(
            "store",
            fault.to_string(),
            "install the newer program, or choose another folder with `--data`",
        )),
        Err(fault @ Damaged { .. }) => {
            findings.push(bad("store", fault.to_string(), "restore the folder from a backup"))
        }
        Err(fault) => {
            findings.push(bad("store", fault.to_string(), "check that the folder may be read and written"))
        }
    }
}

fn executor(report: &Value, findings: &mut Vec<Finding>) {
    let (executor, limits) = (&report["executor"], &report["limits"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (used, all) = (number(&executor["slots"][0]), number(&executor["slots"][1]));
    let (active, queued) = (number(&executor["runsActive"]), number(&executor["runsQueued"]));
    let waiting = number(&executor["attemptsQueued"]);
    findings.push(match used >= all && waiting > 0 {
        true => warn(
            "sandboxes",
            format!("all {all} are in use, and {waiting} attempts wait for one"),
            "raise `workers.at_once`, or wait",
        ),
        false => ok("sandboxes", format!("{used} of {all} are in use")),
    });
    let stuck = executor["stuck"].as_object().cloned().unwrap_or_default();
    findings.push(match stuck.iter().next() {
        None => ok("stuck runs", "there are none"),
        Some((run, why)) => bad(
            "stuck runs",
            format!("{} cannot go on; {run}: {}", stuck.len(), why.as_str().unwrap_or_default()),
            format!("`heddle runs journal {run}` shows it; restore the data folder from a backup, then restart the node"),
        ),
    });
    let most = number(&limits["runsQueued"]);
    findings.push(match queued * 10 >= most * 9 {
        true => bad(
            "queue",
            format!("{queued} runs wait; at {most} new ones are refused"),
            "wait, or raise `limits.runs_queued` and `limits.runs_active`",
        ),
        false => ok("queue", format!("{queued} runs wait, {active} are driven")),
    });
}

fn store(report: &Value, findings: &mut Vec<Finding>) {
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let size = quantity::print(number("bytes").div_ceil(1024) * 1024, Unit::Bytes);
    let place = report["place"].as_str().unwrap_or_default();
    let damage: Vec<&str> = report["damage"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    findings.push(match damage.as_slice() {
        [] => ok(
            "store",
            format!("{} {place}: {size}, no damage found", report["backend"].as_str().unwrap_or_default()),
        ),
        found => bad(
            "store",
            format!("{place} is damaged: {}", found.join("; ")),
            "stop the node, keep a copy of the folder, restore it from a backup",
        ),
    });
    let runs = &report["runs"];
    let count = |name: &str| runs[name].as_u64().unwrap_or(0);
    let open = count("queued") + count("running") + count("waiting");
    findings.push(ok(
        "runs",
        format!(
            "{open} are open, {} succeeded, {} failed, {} were cancelled",
            count("succeeded"),
            count("failed"),
            count("cancelled")
        ),
    ));
}

fn disk(folder: &Path) -> Finding {
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    match rustix::fs::statvfs(existing) {
        Err(error) => warn("disk", format!("its room is not known: {error}"), "check it with `df -h`"),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let shown = format!("{} MiB free", free >> 20);
            match free < DISK_LOW {
                true => bad("disk", shown, "make room: a node whose commit fails ends itself"),
                false => ok("disk", shown),
            }
        }
    }
}

fn memory(config: &Config) -> Finding {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let most = config.limits.guest_memory_bytes;
    match available {
        None => ok("memory", "how much is free is not known on this system"),
        Some(free) if free < most => warn(
            "memory",
            format!("{} MiB free; guests may use {} MiB", free >> 20, most >> 20),
            format!("lower it: `limits.guest_memory_bytes = \"{}MiB\"`", (free / 2) >> 20),
        ),
        Some(free) => ok("memory", format!("{} MiB free; guests may use {} MiB", free >> 20, most >> 20)),
    }
}

/// What building plugins needs. A node itself needs none of it.
fn toolchains() -> Vec<Finding> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(cargo) = said("cargo", &["--version"]) else {
        return vec![warn(
            "cargo",
            "it is not installed; only building plugins in Rust needs it",
            "install it from rustup.rs",
        )];
    };
    let mut findings = vec![ok("cargo", cargo)];
    findings.push(match said("rustup", &["target", "list", "--installed"]) {
        None => warn(
            "wasm target",
            "rustup is not installed, so it is not known",
            "install rustup, then `rustup target add wasm32-wasip2`",
        ),
        Some(targets) if targets.lines().any(|t| t == "wasm32-wasip2") => {
            ok("wasm target", "wasm32-wasip2 is installed")
        }
        Some(_) => warn(
            "wasm target",
            "wasm32-wasip2 is missing; building plugins in Rust needs it",
            "rustup target add wasm32-wasip2",
        ),
    });
    findings
}
