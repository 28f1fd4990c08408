//! Runs that wait for a time, a person or a signal, very many of them: what each costs in memory, whether a node that
//! starts is held up by them, and whether a signal finds the one that it is meant for.

use super::node::{Node, submit};
use super::{PATIENCE, Places};
use crate::http::{Client, request};
use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What the runs wait for: the name of the workflow, and its one step.
const WAITS: [(&str, &str); 3] = [
    ("timer", "wait: 20d"),
    ("approval", "approval: { assignees: [ana] }"),
    ("signal", "wait: { signal: go }"),
];
/// Clients that submit.
const CLIENTS: usize = 50;
/// How long a node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is asked whether they are all parked.
const LOOK: Duration = Duration::from_millis(20);

/// The folder is filled with parked runs; the node is read before, and started on them after.
pub(super) async fn rows(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let data = places.data.join("parked");
    let node = Node::start(places.heddle, &data, &[]).await?;
    for (name, step) in WAITS {
        let head = format!("document: {{ dsl: \"1.0\", namespace: bench, name: {name}, version: 1.0.0 }}");
        node.publish(&format!("{head}\ntimeout: 25d\nsteps: {{ a: {{ {step} }} }}\n")).await?;
    }
    node.end()?;
    let node = Node::start(places.heddle, &data, &[]).await?;
    let empty = resident(&node).await?;
    let began = Instant::now();
    park(&node, pace.parked).await?;
    let took = began.elapsed().as_secs_f64();
    let bytes = node.database_bytes()?;
    node.end()?;

    let node = Node::start(places.heddle, &data, &[]).await?;
    let ready = node.ready_after.as_secs_f64() * 1e3;
    ensure!(parked(&node).await? == pace.parked as u64, "a node that starts counts others than there are");
    let full = resident(&node).await?;
    let resumed = signal(&node).await?;
    node.end()?;
    let count = pace.parked;
    Ok(vec![
        Row::new(format!("start to ready, {count} parked runs"), ready, "ms").target(Target::AtMost(2_000.0)),
        Row::new("resident per parked run", (full - empty) * 1024.0 * 1024.0 / count as f64, "bytes")
            .target(Target::AtMost(64.0))
            .note(format!(
                "{full:.1} MiB with them, {empty:.1} MiB without; what is left are pages of the database that was looked into"
            )),
        Row::new("a signal to one of them, to its end", resumed.as_secs_f64() * 1e3, "ms")
            .note("that one ended, and every other is parked as before"),
        Row::new("accepting and parking them", count as f64 / took, "runs/s")
            .note(format!("{:.0} bytes of the database each", bytes / count as f64)),
    ])
}

async fn resident(node: &Node) -> anyhow::Result<f64> {
    tokio::time::sleep(IDLE).await;
    node.process.resident_mib()
}

/// How many runs are parked, by the node's own count.
async fn parked(node: &Node) -> anyhow::Result<u64> {
    const METRIC: &str = "heddle_runs_waiting{for=\"outside\"} ";
    let mut client = Client::connect(node.address).await?;
    let answer = client.send(&request("GET", "/metrics", &[], b"")).await?;
    let text = String::from_utf8_lossy(answer.body).into_owned();
    let count =
        text.lines().find_map(|line| line.strip_prefix(METRIC)).context("parked runs are not counted")?;
    Ok(count.parse::<f64>()? as u64)
}

/// Submits so many, a third of each sort, and waits until all of them are parked.
async fn park(node: &Node, count: usize) -> anyhow::Result<()> {
    let share = |client: usize| (client..count).step_by(CLIENTS);
    let clients = (0..CLIENTS).map(|client| tokio::spawn(submit_all(node.address, share(client).collect())));
    for submitted in try_join_all(clients).await? {
        submitted?;
    }
    let began = Instant::now();
    while parked(node).await? < count as u64 {
        ensure!(began.elapsed() < PATIENCE, "some of {count} runs are not parked");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn submit_all(address: SocketAddr, runs: Vec<usize>) -> anyhow::Result<()> {
    let mut client = Client::connect(address).await?;
    for run in runs {
        let (workflow, _) = WAITS[run % WAITS.len()];
        let wish = submit(&format!("bench/{workflow}"), "{}", &[]);
        client.send(&wish).await?.json(&[202])?;
    }
    Ok(())
}

/// Signals one in the middle of those that wait for that; gives how long it took to its end. No other has moved.
async fn signal(node: &Node) -> anyhow::Result<Duration> {
    let mut client = Client::connect(node.address).await?;
    let newest = request("GET", "/v1/runs?workflow=bench/signal&limit=200", &[], b"");
    let page = client.send(&newest).await?.json(&[200])?;
    let of = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let run =
        of.get(of.len() / 2).and_then(|item| item["id"].as_str()).context("no run waits for a signal")?;
    let before = parked(node).await?;
    let path = format!("/v1/runs/{run}");
    let body = br#"{"name":"go"}"#;
    let signal = request("POST", &format!("{path}/signal"), &[("content-type", "application/json")], body);
    let began = Instant::now();
    client.send(&signal).await?.json(&[202])?;
    loop {
        let document = client.send(&request("GET", &path, &[], b"")).await?.json(&[200])?;
        if document["status"] == "succeeded" {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "the signal did not find its run: {document}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    let ended = node.query("SELECT CAST(count(*) AS REAL) FROM runs WHERE finished IS NOT NULL")?;
    ensure!(ended == 1.0 && parked(node).await? == before - 1, "the signal moved other runs as well");
    Ok(took)
}
