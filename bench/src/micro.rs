//! What the product adds to a call, in this process, without HTTP and without a disk.
//!
//! Two rows: the host's way around a sandbox against wasmtime alone, and a step that the cache answers. Both sides of
//! the first are measured in turn, so that whatever else the machine does falls on both.

use crate::calibrate::bare_call_us;
use crate::load::{median, percentile};
use crate::pace::Pace;
use crate::report::{Row, Target};
use crate::sandbox::{ECHO_INPUT, Plugin, Sandboxes};
use anyhow::{Context as _, bail, ensure};
use futures_util::stream::{self, StreamExt as _};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, AttemptLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Outcome, PluginKind};
use heddle_host::{Call, CallScope, Compiler, Host, HostConfig, NoComponents, NoHostCalls};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Turns of host and bare.
const TURNS: usize = 7;
/// Calls under way at once, where there is a load.
const AT_ONCE: usize = 32;
/// The argument that makes this program a compiler of components.
pub(crate) const COMPILE: &str = "compile-component";

/// The invocation path against bare wasmtime: one call at a time, and under load.
pub(crate) async fn invocation(
    sandboxes: Arc<Sandboxes>,
    plugins: &Path,
    data: &Path,
    pace: Pace,
) -> anyhow::Result<Vec<Row>> {
    let threads = std::thread::available_parallelism()?.get();
    let limits = Limits::default();
    let host = Host::new(HostConfig {
        limits: limits.clone(),
        cache_dir: data.join("micro"),
        compiler: Compiler { program: std::env::current_exe()?, args: vec![COMPILE.into()] },
        guest_threads: threads,
        components: Arc::new(NoComponents),
    })?;
    let bytes = std::fs::read(plugins.join("echo.wasm"))?;
    let loaded = host.load(bytes.into()).await?;
    let echo = Echo {
        host,
        digest: loaded.inspection.digest,
        limits: limits.attempt(PluginKind::Tool, &AskedLimits::default()),
    };
    let calls = pace.calls / TURNS;
    let (mut alone, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push((echo.median_us(calls).await?, bare_call_us(&sandboxes, Plugin::Echo, calls).await?));
        loaded.push((echo.loaded_us(calls).await?, bare_loaded_us(&sandboxes, calls, threads).await?));
    }
    Ok(vec![
        in_turn("invocation path, under load: time per call", &loaded).target(Target::RatioAtMost(1.5)).note(
            format!("{AT_ONCE} at once on {threads} threads; bare: a loop on each of {threads} threads"),
        ),
        in_turn("invocation path, one at a time: p50", &alone)
            .note("the host's side crosses to the guests' threads and back, the bare side stays on one"),
    ])
}

/// The middle of the turns by ratio.
fn in_turn(name: &str, turns: &[(f64, f64)]) -> Row {
    let bare = median(turns.iter().map(|turn| turn.1).collect());
    let ratio = median(turns.iter().map(|turn| turn.0 / turn.1).collect());
    Row::new(name, ratio * bare, "us").beside(bare)
}

struct Echo {
    host: Host,
    digest: Digest,
    limits: AttemptLimits,
}

impl Echo {
    fn call(&self) -> impl Future<Output = AttemptEnd> + Send + use<> {
        self.host.call(Call {
            begin: heddle_host::Begin::Apart,
            component: self.digest,
            kind: PluginKind::Tool,
            input: Json::trusted(ECHO_INPUT),
            state: None,
            limits: self.limits,
            scope: scope(),
            host_calls: Arc::new(NoHostCalls),
        })
    }
    async fn median_us(&self, calls: usize) -> anyhow::Result<f64> {
        let mut took_ns = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            succeeded(self.call().await)?;
            took_ns.push(began.elapsed().as_nanos() as u32);
        }
        took_ns.sort_unstable();
        Ok(f64::from(percentile(&took_ns, 0.5)) / 1_000.0)
    }
    /// Time divided by calls, with many under way.
    async fn loaded_us(&self, calls: usize) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut ends = stream::iter(0..calls).map(|_| self.call()).buffer_unordered(AT_ONCE);
        while let Some(end) = ends.next().await {
            succeeded(end)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / calls as f64)
    }
}

fn succeeded(end: AttemptEnd) -> anyhow::Result<()> {
    match end.outcome {
        Outcome::Done(_) => Ok(()),
        other => bail!("`echo` did not succeed: {other:?}"),
    }
}

async fn bare_loaded_us(sandboxes: &Arc<Sandboxes>, calls: usize, threads: usize) -> anyhow::Result<f64> {
    let each = calls / threads;
    let began = Instant::now();
    let loops: Vec<_> = (0..threads)
        .map(|_| {
            let sandboxes = sandboxes.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build()?;
                runtime.block_on(async {
                    for _ in 0..each {
                        sandboxes.call(Plugin::Echo).await?;
                    }
                    anyhow::Ok(())
                })
            })
        })
        .collect();
    for calls in loops {
        calls.join().ok().context("a thread of bare calls panicked")??;
    }
    ensure!(each > 0, "too few calls");
    Ok(began.elapsed().as_secs_f64() * 1e6 / (each * threads) as f64)
}

fn scope() -> CallScope {
    CallScope {
        tenant: Tenant::default(),
        run: RunId(7),
        step: "s0".into(),
        item: None,
        attempt: 1,
        idempotency_key: "run/s0".into(),
        deadline_ms: 4_000_000_000_000,
        traceparent: None,
        seed: [0; 32],
        clock_ms: 1_795_219_200_000,
    }
}
