//! How fast a node is there: with a hundred plugins that are compiled already, and after `kill -9` under load.

use super::node::{Node, submit};
use super::{PATIENCE, Places};
use crate::http::{Client, request};
use crate::load::median;
use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::ensure;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// How long runs are submitted before the kill.
const UNDER_LOAD: Duration = Duration::from_secs(1);
/// Clients that submit.
const CLIENTS: usize = 50;

const WORKFLOW: &str = r#"
document: { dsl: "1.0", namespace: bench, name: killed, version: 1.0.0 }
steps:
  a: { call: tool:echo, with: { value: 1 } }
  b: { call: tool:echo, with: { value: "${ steps.a.output.value }" } }
  c: { call: tool:echo, with: { value: "${ steps.b.output.value }" } }
  d: { call: tool:echo, with: { value: "${ steps.c.output.value }" } }
"#;

/// Start, memory, and what comes after a kill.
pub(super) async fn rows(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let data = places.data.join("start");
    let node = Node::start(places.heddle, &data, &[]).await?;
    node.push(places.plugins, "echo").await?;
    node.publish(WORKFLOW).await?;
    node.push_all(variants(places.plugins, pace.plugins)?).await?;
    node.end()?;
    let mut starts = Vec::new();
    for _ in 0..pace.starts {
        let node = Node::start(places.heddle, &data, &[]).await?;
        starts.push(node.ready_after.as_secs_f64() * 1e3);
        node.end()?;
    }
    let node = Node::start(places.heddle, &data, &[]).await?;
    tokio::time::sleep(IDLE).await;
    let resident = node.process.resident_mib()?;
    let with = format!("with {} precompiled plugins", pace.plugins);
    Ok(vec![
        Row::new(format!("start to ready, {with}"), median(starts), "ms").target(Target::AtMost(300.0)),
        Row::new(format!("resident when idle, {with}"), resident, "MiB").target(Target::AtMost(60.0)),
        killed(places, &data, node).await?,
    ])
}

/// Components that differ in nothing but their name: that of `markdown-table`, replaced by others as long.
fn variants(plugins: &Path, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    const NAME: &[u8] = b"markdown-table";
    let original = std::fs::read(plugins.join("markdown_table.wasm"))?;
    let places: Vec<usize> = (0..original.len()).filter(|at| original[*at..].starts_with(NAME)).collect();
    ensure!(!places.is_empty(), "`markdown-table` says nowhere what it is called");
    let variant = |number: usize| {
        let mut bytes = original.clone();
        for at in &places {
            bytes[*at..*at + NAME.len()].copy_from_slice(format!("markdown-{number:05}").as_bytes());
        }
        bytes
    };
    Ok((0..count).map(variant).collect())
}

async fn killed(places: Places<'_>, data: &Path, node: Node) -> anyhow::Result<Row> {
    let run = submit("bench/killed", "{}", &[]);
    let loops: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(submit_until_killed(node.address, run.clone()))).collect();
    tokio::time::sleep(UNDER_LOAD).await;
    node.process.kill()?;
    let killed_at = Instant::now();
    let node = Node::start(places.heddle, data, &[]).await?;
    let serving = killed_at.elapsed();
    let mut accepted = 0;
    for client in loops {
        accepted += client.await?;
    }
    let open = request("GET", "/v1/runs?status=queued,running&limit=1", &[], b"");
    while node.ask(&open).await?["items"].as_array().is_none_or(|open| !open.is_empty()) {
        ensure!(killed_at.elapsed() < PATIENCE, "some runs did not go on after the kill");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ended = killed_at.elapsed();
    let kept = node.query(
        "SELECT CAST(count(*) AS REAL) FROM runs WHERE workflow = 'bench/killed' AND finished IS NOT NULL",
    )?;
    ensure!(kept >= accepted as f64, "{accepted} runs were acknowledged and {kept} ended");
    node.end()?;
    let note = format!(
        "{accepted} runs were acknowledged before the kill; every run had ended {:.0} ms after it",
        ended.as_secs_f64() * 1e3
    );
    Ok(Row::new("kill -9 under load, to serving again", serving.as_secs_f64() * 1e3, "ms")
        .target(Target::AtMost(1_000.0))
        .note(note))
}

/// How many runs were acknowledged before the node was gone.
async fn submit_until_killed(address: SocketAddr, run: Vec<u8>) -> usize {
    let Ok(mut client) = Client::connect(address).await else { return 0 };
    let mut accepted = 0;
    while client.send(&run).await.is_ok_and(|answer| answer.status == 202) {
        accepted += 1;
    }
    accepted
}
