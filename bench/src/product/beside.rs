//! What a neighbour feels of hostile guests: the latency of a small run alone, and beside runs of another workflow that
//! loop, trap, hang, overflow and flood for as long as it is measured.

use super::Places;
use super::node::{Node, submit};
use crate::http::Client;
use crate::load::{Load, closed_loop, median};
use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::ensure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the hostile plugin is asked for, in turn.
const KINDS: [&str; 9] =
    ["loop", "trap", "stack", "memory", "exit", "hang", "output", "permanent", "rate-limited"];
/// Clients that submit such runs, each its next one when the last one has ended: more than there are sandboxes.
const CLIENTS: usize = 36;
/// And so long after that, so that those which end at once do not measure how fast a node takes requests.
const BETWEEN: Duration = Duration::from_millis(50);

const HOSTILE: &str = r#"
document: { dsl: "1.0", namespace: bench, name: hostile, version: 1.0.0 }
steps:
  a: { call: tool:fail, with: { kind: "${ input.kind }" }, limits: { memory: 128MiB, fuel: 2000000000 }, timeout: 2s }
"#;

const CANARY: &str = r#"
document: { dsl: "1.0", namespace: bench, name: canary, version: 1.0.0 }
steps:
  a: { call: tool:echo, with: { value: 1 } }
"#;

/// The canary alone and beside them, in turn.
pub(super) async fn rows(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let node = Arc::new(Node::start(places.heddle, &places.data.join("beside"), &[]).await?);
    node.push(places.plugins, "fail").await?;
    node.push(places.plugins, "echo").await?;
    node.publish(HOSTILE).await?;
    node.publish(CANARY).await?;
    let canary = node.run("bench/canary", "{}");
    let (mut turns, mut attacks): (Vec<(Load, Load)>, u64) = (Vec::new(), 0);
    for _ in 0..pace.rounds {
        let (alone, _) = closed_loop(&canary, 1, pace.span, || Ok(0.0)).await?;
        let hostile = Hostile::begin(&node);
        let beside = closed_loop(&canary, 1, pace.span, || Ok(0.0)).await;
        attacks += hostile.end().await?;
        turns.push((alone, beside?.0));
    }
    ensure!(attacks > 0, "no hostile run has ended");
    let middle = |of: &dyn Fn(&(Load, Load)) -> f64| median(turns.iter().map(of).collect());
    let row = |share: f64, name: &str| {
        Row::new(
            format!("a small run beside hostile guests: {name}"),
            middle(&|t| t.1.within_ms(share)),
            "ms",
        )
        .beside(middle(&|t| t.0.within_ms(share)))
    };
    let note = format!(
        "bare: the same run alone; {CLIENTS} clients with runs of {} hostile kinds, {attacks} of which ended; {:.0}/s beside {:.0}/s",
        KINDS.len(),
        middle(&|t| t.1.per_second()),
        middle(&|t| t.0.per_second()),
    );
    Ok(vec![row(0.5, "p50"), row(0.99, "p99").target(Target::RatioAtMost(2.0)).note(note)])
}

/// The clients of the hostile workflow.
struct Hostile {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    ended: Arc<AtomicU64>,
}

impl Hostile {
    fn begin(node: &Arc<Node>) -> Hostile {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CLIENTS).map(|first| {
            let (address, stop, ended) = (node.address, stop.clone(), ended.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await?;
                for kind in KINDS.iter().cycle().skip(first % KINDS.len()) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let input = format!("{{\"kind\":\"{kind}\"}}");
                    let answer =
                        client.send(&submit("bench/hostile", &input, &[("prefer", "wait=60")])).await?;
                    let run = answer.json(&[200])?;
                    ensure!(run["status"] == "failed", "{kind} did not fail: {run}");
                    ended.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(BETWEEN).await;
                }
                Ok(())
            })
        });
        Hostile { clients: clients.collect(), stop, ended }
    }
    /// Waits for what is under way; gives how many have ended.
    async fn end(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await??;
        }
        Ok(self.ended.load(Ordering::Relaxed))
    }
}
