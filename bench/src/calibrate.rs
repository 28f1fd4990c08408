//! What the parts cost by themselves on this machine now: without these lines no figure here means anything on another
//! one, or on the same one tomorrow.

use crate::journal::{Journal, row_body};
use crate::load::percentile;
use crate::pace::Pace;
use crate::report::Row;
use crate::sandbox::{Plugin, Sandboxes};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

/// Bytes of the small append that is flushed.
const APPEND_BYTES: usize = 512;

/// All of them.
pub(crate) async fn rows(sandboxes: &Sandboxes, data: &Path, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (plugin, name) in [(Plugin::Echo, "tool:echo"), (Plugin::Identity, "transform:identity")] {
        let us = bare_call_us(sandboxes, plugin, pace.calls).await?;
        rows.push(Row::new(format!("wasmtime: instantiate, call, drop {name}"), us, "us"));
    }
    rows.extend(flush(data, pace.flushes)?);
    for size in [1, 10, 100] {
        rows.push(batch(data, size, pace.flushes)?);
    }
    Ok(rows)
}

/// The median of so many calls, one after another, in microseconds.
pub(crate) async fn bare_call_us(sandboxes: &Sandboxes, plugin: Plugin, calls: usize) -> anyhow::Result<f64> {
    let mut took_ns = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        sandboxes.call(plugin).await?;
        took_ns.push(began.elapsed().as_nanos() as u32);
    }
    took_ns.sort_unstable();
    Ok(f64::from(percentile(&took_ns, 0.5)) / 1_000.0)
}

fn flush(data: &Path, count: usize) -> anyhow::Result<[Row; 2]> {
    let mut file = std::fs::File::create(data.join("flushed"))?;
    let mut took_us = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&[b'x'; APPEND_BYTES])?;
        file.sync_data()?;
        took_us.push(began.elapsed().as_micros() as u32);
    }
    took_us.sort_unstable();
    let row = |name: &str, share| {
        Row::new(
            format!("disk: append 512 bytes and flush, {name}"),
            f64::from(percentile(&took_us, share)),
            "us",
        )
    };
    Ok([row("p50", 0.5), row("p99", 0.99)])
}

fn batch(data: &Path, size: u64, commits: usize) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir_in(data)?;
    let mut journal = Journal::create(folder.path())?;
    let began = Instant::now();
    for commit in 0..commits as u64 {
        journal.begin()?;
        for row in 0..size {
            journal.insert(u128::from(commit * size + row) << 64, 1)?;
        }
        journal.commit()?;
    }
    let rows = size as f64 * commits as f64;
    let row = Row::new(
        format!("SQLite WAL FULL: commits of {size}"),
        rows / began.elapsed().as_secs_f64(),
        "rows/s",
    );
    Ok(row.note(if size == 1 {
        format!("a row's body has {} bytes, like the product's", row_body().len())
    } else {
        String::new()
    }))
}
