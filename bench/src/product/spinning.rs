//! Whether the API still answers while guests that never end hold every core.

use super::Places;
use super::node::{Node, submit};
use crate::http::request;
use crate::load::{Asked, closed_loop};
use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::{Context as _, ensure};
use heddle_core::limits::Limits;
use std::time::{Duration, Instant};

/// Guests that spin at the same time.
const GUESTS: usize = 100;
/// Clients of the API meanwhile.
const CLIENTS: usize = 4;

const SPIN: &str = r#"
document: { dsl: "1.0", namespace: bench, name: spin, version: 1.0.0 }
steps:
  spin: { call: tool:fail, with: { kind: loop } }
"#;

/// What is raised for it: sandboxes of a node, none of what one sandbox may do.
pub(super) const RAISED: &str =
    "limits.attempts_at_once = 104 (sandboxes of a node), for the guests that spin";

/// A run that needs no sandbox: what it waits for is the API, the drivers and the disk.
const SET: &str = r#"
document: { dsl: "1.0", namespace: bench, name: set, version: 1.0.0 }
steps:
  a: { set: { n: 1 } }
"#;

/// Latencies of the API.
pub(super) async fn rows(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    // Some are kept for other workflows, and all of these are of one.
    let sandboxes = (GUESTS as u64 + Limits::default().attempts_kept).to_string();
    let settings = [("HEDDLE_LIMITS_ATTEMPTS_AT_ONCE", &*sandboxes), ("HEDDLE_WORKERS_AT_ONCE", &*sandboxes)];
    let node = Node::start(places.heddle, &places.data.join("spinning"), &settings).await?;
    node.push(places.plugins, "fail").await?;
    node.publish(SPIN).await?;
    node.publish(SET).await?;
    let mut first = None;
    for _ in 0..GUESTS {
        let run = node.ask(&submit("bench/spin", "{}", &[])).await?;
        first = first.or_else(|| run["id"].as_str().map(str::to_owned));
    }
    let first = first.context("no run was accepted")?;
    until_all_spin(&node).await?;
    let read = Asked {
        address: node.address,
        request: request("GET", &format!("/v1/runs/{first}"), &[], b"").into(),
        proof: "\"status\":\"running\"",
    };
    let mut rows = Vec::new();
    for (name, asked) in
        [("read a run", read), ("submit a run and have its end", node.run("bench/set", "{}"))]
    {
        let (load, cpu_ms) = closed_loop(&asked, CLIENTS, pace.span, || node.process.cpu_ms()).await?;
        let note = format!(
            "{:.0}/s by {CLIENTS} clients; p50 {:.1} ms; the node used {:.1} cores",
            load.per_second(),
            load.within_ms(0.5),
            cpu_ms / 1e3 / load.seconds
        );
        rows.push(
            Row::new(format!("{GUESTS} guests spin; {name}: p99"), load.within_ms(0.99), "ms")
                .target(Target::AtMost(50.0))
                .note(note),
        );
    }
    Ok(rows)
}

async fn until_all_spin(node: &Node) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let report = node.ask(&request("GET", "/v1/node", &[], b"")).await?;
        if report["executor"]["slots"][0].as_u64() == Some(GUESTS as u64) {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "not all guests spin: {}", report["executor"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
