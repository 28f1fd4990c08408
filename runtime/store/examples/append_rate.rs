//! How many appends a second the SQLite store makes, with so many runs under way at the same time. Prints; asserts
//! nothing. `cargo run -p heddle-store --example append_rate -- [runs at once] [appends per run] [runs in all] [bytes]`

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::event::{Batch, Event, Node, Payload};
use heddle_core::time::Timestamp;
use heddle_store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn append(run: RunId, epoch: u64, expected: u64, last: u64, output: &Json) -> Append {
    let step = expected as u32;
    let events = vec![
        Event::StepSucceeded {
            node: Node::step(step),
            attempt: 1,
            output: Payload::Inline(output.clone()),
            usage: Default::default(),
            cache: Default::default(),
        },
        Event::AttemptStarted { node: Node::step(step + 1), attempt: 1, turn: 0 },
    ];
    let index = match expected {
        0 => IndexChange::Create(Box::new(RunRow {
            run,
            tenant: Tenant::default(),
            workflow: "demo/chain".into(),
            workflow_version: "1.0.0".into(),
            snapshot: Digest([7; 32]),
            labels: vec![],
            by: None,
            created: Timestamp(1),
            status: RunStatus::Running,
            rest: None,
            due: None,
            finished: None,
        })),
        e if e + 1 == last => IndexChange::Update {
            status: RunStatus::Succeeded,
            rest: None,
            due: None,
            finished: Some(Timestamp(2)),
        },
        _ => IndexChange::None,
    };
    let batch = Batch { at: Timestamp(1), events };
    Append {
        run,
        epoch,
        expected,
        batch,
        index,
        blobs: vec![],
        holds: vec![],
        cache: vec![],
        consumed: vec![],
        mail: vec![],
        deliveries: vec![],
        listens: vec![],
        idempotency: vec![],
        queue: None,
        urgency: Urgency::Now,
    }
}

fn cpu_us() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

#[tokio::main]
async fn main() -> Result<(), StoreFault> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap_or(0));
    let (at_once, per_run) = (args.next().unwrap_or(100), args.next().unwrap_or(12));
    let (in_all, bytes) = (args.next().unwrap_or(20_000), args.next().unwrap_or(200));
    let folder = std::env::temp_dir().join(format!("heddle-append-rate-{}", std::process::id()));
    let store = SqliteStore::open(SqliteOptions::new(&folder, Arc::new(|why| println!("{why}"))))?;
    let lease = store.take_lease("bench", 600_000).await?.ok_or(StoreFault::InUse("lease".into()))?;
    let output = Json::trusted(format!("{{\"text\":\"{}\"}}", "x".repeat(bytes as usize)));
    let next = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu_us());
    let drivers: Vec<_> = (0..at_once)
        .map(|_| {
            let (store, output, next, epoch) = (store.clone(), output.clone(), next.clone(), lease.epoch);
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= in_all {
                        return;
                    }
                    let run =
                        RunId(u128::from(number) << 64 | u128::from(Digest::of(&number.to_be_bytes()).0[0]));
                    for expected in 0..per_run {
                        store
                            .append(append(run, epoch, expected, per_run, &output))
                            .await
                            .expect("an append");
                    }
                }
            })
        })
        .collect();
    for driver in drivers {
        driver.await.expect("a driver");
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_us() - cpu);
    let report = store.report(ReportDepth::Quick).await?;
    let appends = report.appends as f64;
    println!(
        "{:.0} appends/s, {:.1} us of CPU each, {:.1} in a commit, {:.0} commits/s; database {} MiB, log {} MiB",
        appends / seconds,
        cpu as f64 / appends,
        appends / report.commits as f64,
        report.commits as f64 / seconds,
        report.bytes >> 20,
        report.wal_bytes >> 20,
    );
    drop(store);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}
