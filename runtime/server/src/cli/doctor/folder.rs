//! The data folder of a node that is stopped: all of it is read, nothing is written.

use super::{Finding, Health, bad, ok, warn};
use crate::cli::NodeArgs;
use crate::cli::out::several;
use crate::config::{Config, quantity};
use crate::shell::quoted;
use heddle_core::limits::Unit;
use heddle_store::StoreFault::{Conflict, Damaged, InUse, NewerSchema, Unavailable};
use heddle_store::{DamagedRun, Inspection, StoreReport};
use serde_json::Value;

pub(super) async fn look(config: &Config, args: &NodeArgs, url: &str, findings: &mut Vec<Finding>) {
    let (folder, typed) = (config.data.display().to_string(), args.typed());
    match crate::app::look_at_store(&config.data).await {
        Ok(None) => findings.push(nothing(&folder, args)),
        Ok(Some(found)) => {
            findings.push(store(&found, &typed));
            findings.push(journals(&found, &folder, &typed));
            findings.push(runs(&serde_json::to_value(&found.report.runs).unwrap_or_default()));
        }
        Err(InUse(folder)) => findings.push(warn(
            "store",
            format!("`{folder}` is in use by another process"),
            format!(
                "ask the node that has it, here or where else it listens: `heddle doctor --server {url}`"
            ),
        )),
        Err(fault @ NewerSchema { .. }) => findings.push(bad(
            "store",
            fault.to_string(),
            format!("look with the newer program: `heddle doctor{typed}`"),
        )),
        Err(fault @ (Damaged { .. } | Conflict(_))) => {
            findings.push(bad("store", fault.to_string(), restore(&folder)));
        }
        Err(Unavailable(why)) => findings.push(bad(
            "store",
            why,
            format!("check that you may read it: `ls -la {}`", quoted(&folder)),
        )),
    }
}

/// A folder that was typed should have had a store; the one of the configuration need not have one yet.
fn nothing(folder: &str, args: &NodeArgs) -> Finding {
    let found = format!("there is no store in `{folder}`");
    let make = format!("`heddle dev{0}` or `heddle serve{0}` makes one there", args.typed());
    match args.data {
        Some(_) => {
            bad("store", found, format!("{make}; `heddle doctor --data FOLDER` looks at another folder"))
        }
        None => Finding { health: Health::Ok, ..warn("store", found, make) },
    }
}

/// What to type before anything else is done with a damaged folder.
fn restore(folder: &str) -> String {
    let folder = folder.trim_end_matches('/');
    format!(
        "keep what there is, with no node on it: `cp -a {} {}`; then restore the folder from a backup",
        quoted(folder),
        quoted(&format!("{folder}.damaged"))
    )
}

fn store(found: &Inspection, typed: &str) -> Finding {
    let StoreReport { backend, place, damage, .. } = &found.report;
    let size = size(found.report.bytes, found.report.wal_bytes);
    if damage.is_empty() {
        return ok(
            "store",
            format!(
                "{backend} {place}: {size}; no damage found, also not in its {}",
                several(found.values_read, "value")
            ),
        );
    }
    bad(
        "store",
        format!("{backend} {place}: {size}; it is damaged"),
        format!("{}, and look again with `heddle doctor{typed}`", restore(place)),
    )
    .with_details(damage.clone())
}

fn journals(found: &Inspection, folder: &str, typed: &str) -> Finding {
    let runs: u64 = found.report.runs.values().sum();
    let read = format!("{} of {} read", several(found.rows_read, "row"), several(runs, "run"));
    if found.damaged.is_empty() {
        return ok("journals", format!("{read}, every checksum holds"));
    }
    let mut details: Vec<String> = found.damaged.iter().map(damaged).collect();
    let more = found.runs_damaged - found.damaged.len() as u64;
    if more > 0 {
        details.push(format!("and {} more", several(more, "run")));
    }
    let what = format!("{} damaged", several(found.runs_damaged, "run"));
    let fix = format!("{}; or go on without them: `heddle serve{typed}` drives all others", restore(folder));
    bad("journals", format!("{read}; {what}"), fix).with_details(details)
}

fn damaged(run: &DamagedRun) -> String {
    let rows: Vec<String> = run.rows.iter().map(u64::to_string).collect();
    match rows.as_slice() {
        [] | [_] => format!("run {}: {}", run.run, run.why),
        more => format!("run {}: {} (rows {})", run.run, run.why, more.join(", ")),
    }
}

/// The size of a store: what is in its log is part of it.
pub(super) fn size(database: u64, log: u64) -> String {
    let print = |bytes: u64| quantity::print(bytes.div_ceil(1024) * 1024, Unit::Bytes);
    match log {
        0 => print(database),
        _ => format!("{} (database {}, log {})", print(database + log), print(database), print(log)),
    }
}

/// How many runs there are, by how they stand.
pub(super) fn runs(by_status: &Value) -> Finding {
    let count = |name: &str| by_status[name].as_u64().unwrap_or(0);
    let open: u64 = ["queued", "running", "waiting", "paused", "compensating"].into_iter().map(count).sum();
    ok(
        "runs",
        format!(
            "{open} are open, {} succeeded, {} failed, {} were cancelled",
            count("succeeded"),
            count("failed"),
            count("cancelled")
        ),
    )
}
