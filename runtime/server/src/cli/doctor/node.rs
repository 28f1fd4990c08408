//! A node that answers: what it says of itself.

use super::folder::{runs, size};
use super::{Finding, bad, machine, ok, warn};
use crate::cli::client::{Ask, Client};
use crate::cli::exact::Exact;
use crate::cli::exit::Fault;
use crate::cli::out::several;
use crate::config::Config;
use crate::shell::quoted;
use serde_json::Value;
use std::path::Path;

/// Asks it.
pub(super) async fn ask(client: &Client) -> Result<Exact, Fault> {
    let report = client.json(Ask::get("/v1/node")).await.map_err(Fault::from)?;
    match report["executor"].is_object() && report["store"].is_object() {
        true => Ok(report),
        false => Err(Fault::failed(format!("what answers at `{}` is no Heddle node", client.place()))
            .with_hint("name another with `--server URL`")),
    }
}

/// Tells what it said.
pub(super) fn answered(url: &str, report: &Value, config: &Config, findings: &mut Vec<Finding>) {
    findings.push(ok("node", format!("it answers at {url}")));
    let stuck = executor(report, findings);
    store(&report["store"], stuck, findings);
    webhooks(report, findings);
    let place = report["store"]["place"].as_str().unwrap_or_default();
    let folder = Path::new(place);
    // The limits of guests are those of the configuration here, which is the node's where the folder is, too.
    if is_here(url) && folder.join("lock").is_file() {
        findings.push(machine::disk(folder));
        if std::path::absolute(folder).ok() == std::path::absolute(&config.data).ok() {
            findings.push(machine::memory(config));
        }
    } else {
        findings.push(ok(
            "machine",
            "the disk and the memory of the node's machine cannot be seen from here: type `heddle doctor` there",
        ));
    }
}

/// Whether a URL is of this machine.
fn is_here(url: &str) -> bool {
    let url = reqwest::Url::parse(url).ok();
    let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Sandboxes, runs that cannot go on, the queue. Gives how many runs cannot go on.
fn executor(report: &Value, findings: &mut Vec<Finding>) -> usize {
    let (executor, limits) = (&report["executor"], &report["limits"]);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (used, all) = (number(&executor["slots"][0]), number(&executor["slots"][1]));
    let waiting = number(&executor["attemptsQueued"]);
    findings.push(match waiting {
        1.. => warn(
            "sandboxes",
            format!("{used} of {all} are in use, and {} in line for one", several(waiting, "attempt")),
            "raise `workers.at_once`, or wait; a few sandboxes are kept for workflows that have none (`limits.attempts_kept`)",
        ),
        0 => ok("sandboxes", format!("{used} of {all} are in use")),
    });
    let stuck = executor["stuck"].as_object().cloned().unwrap_or_default();
    findings.push(match stuck.len() {
        0 => ok("stuck runs", "there are none"),
        some => bad(
            "stuck runs",
            format!("{} cannot go on; all others do", several(some as u64, "run")),
            look_closer(report),
        )
        .with_details(
            stuck
                .iter()
                .map(|(run, why)| format!("run {run}: {}", why.as_str().unwrap_or_default()))
                .collect(),
        ),
    });
    findings.push(queues(executor, limits));
    stuck.len()
}

/// The runs that nobody drives, by what they wait for.
fn queues(executor: &Value, limits: &Value) -> Finding {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let queues = [
        ("runsQueued", "runs_queued", "for the node"),
        ("runsForSlot", "runs_for_slot", "for a slot of their `concurrency`"),
        ("runsForTime", "runs_for_time", "for the time at which they are to begin"),
        ("runsParked", "runs_parked", "in the middle, for a time, a signal, a person or another run"),
    ];
    let queues =
        queues.map(|(name, limit, what)| (number(&executor[name]), number(&limits[name]), limit, what));
    let nearly = |(waiting, most, ..): &&(u64, u64, &str, &str)| *most > 0 && waiting * 10 >= most * 9;
    let full: Vec<_> = queues.iter().filter(nearly).collect();
    if !full.is_empty() {
        let found = full.iter().map(|(waiting, most, _, what)| {
            format!("{waiting} runs wait {what}; at {most} new ones are refused")
        });
        let limits = full.iter().map(|(_, _, limit, _)| match *limit {
            "runs_queued" => "`limits.runs_queued` and `limits.runs_active`".to_owned(),
            other => format!("`limits.{other}`"),
        });
        let (found, limits): (Vec<_>, Vec<_>) = (found.collect(), limits.collect());
        let fix = format!("wait, end those that nobody needs, or raise {}", limits.join(", "));
        return bad("queue", found.join(", "), fix);
    }
    let active = several(number(&executor["runsActive"]), "run");
    let [queued, slot, time, parked] = queues.map(|(waiting, ..)| waiting);
    ok(
        "queue",
        format!(
            "{active} driven; {queued} wait for the node, {slot} for a slot, {time} for their time to begin; {parked} are parked"
        ),
    )
}

/// Whether others are told what happens.
fn webhooks(report: &Value, findings: &mut Vec<Finding>) {
    let (executor, most) =
        (&report["executor"], report["limits"]["deliveriesWaiting"].as_u64().unwrap_or(u64::MAX));
    let number = |name: &str| executor[name].as_u64().unwrap_or(0);
    let (waiting, disabled) = (number("deliveriesWaiting"), number("webhooksDisabled"));
    let since =
        executor["oldestDelivery"].as_str().map(|at| format!(", the oldest since {at}")).unwrap_or_default();
    let waits = format!("{} waiting{since}", several(waiting, "message"));
    findings.push(match (waiting.saturating_mul(10) >= most.saturating_mul(9), disabled) {
        (true, _) => bad(
            "webhooks",
            format!("{waits}; at {most} new ones are recorded and not sent"),
            "see who does not take them: `heddle webhooks deliveries --status waiting`",
        ),
        (false, 1..) => warn(
            "webhooks",
            format!("nothing is sent to {}; {waits}", several(disabled, "webhook")),
            "`heddle webhooks ls` says to which and why; `heddle webhooks enable ID` sends again",
        ),
        (false, 0) => ok("webhooks", waits),
    });
}

/// A node that runs checks the structure of its database; the rows are read where it is stopped.
fn look_closer(report: &Value) -> String {
    let place = report["store"]["place"].as_str().unwrap_or_default();
    format!(
        "stop the node, and type on its machine `heddle doctor --data {}`: it reads every journal and names the damaged rows",
        quoted(place)
    )
}

fn store(report: &Value, stuck: usize, findings: &mut Vec<Finding>) {
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    let size = size(number("bytes"), number("walBytes"));
    let text = |name: &str| report[name].as_str().unwrap_or_default();
    let head = format!("{} {}: {size}", text("backend"), text("place"));
    let damage: Vec<String> = report["damage"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|found| found.as_str().map(str::to_owned))
        .collect();
    findings.push(match (damage.is_empty(), stuck) {
        (true, 0) => {
            ok("store", format!("{head}; its structure holds (rows are read when the node is stopped)"))
        }
        (true, _) => bad(
            "store",
            format!(
                "{head}; its structure holds, and what is stored of {} cannot be used",
                several(stuck as u64, "run")
            ),
            "see `stuck runs`",
        ),
        (false, _) => bad(
            "store",
            format!("{head}; it is damaged"),
            "stop the node, keep a copy of the folder, restore it from a backup",
        )
        .with_details(damage),
    });
    findings.push(runs(&report["runs"]));
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn what_is_here_is_known_by_its_address() {
        for url in ["http://127.0.0.1:7878", "http://localhost:1", "http://[::1]:1", "http://0.0.0.0:1"] {
            assert!(is_here(url), "{url}");
        }
        for url in ["http://10.0.0.1:7878", "http://node.example", "nothing"] {
            assert!(!is_here(url), "{url}");
        }
    }
}
