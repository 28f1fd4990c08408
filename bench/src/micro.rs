//! What the product adds to a call, in this process, without HTTP and without a disk.
//!
//! The host's way around a sandbox against wasmtime alone. Both sides are measured in turn, so that whatever else the
//! machine does falls on both.

use crate::calibrate::bare_call_us;
use crate::load::{median, percentile};
use crate::pace::Pace;
use crate::report::{Row, Target};
use crate::sandbox::{ECHO_INPUT, Plugin, Sandboxes};
use anyhow::{Context as _, bail, ensure};
use futures_util::stream::{self, StreamExt as _};
use heddle_core::id::{Digest, RunId};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, AttemptLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Outcome, PluginKind};
use heddle_core::share::Share;
use heddle_host::{Begin, Call, CallScope, Compiler, Host, HostConfig, NoComponents, NoHostCalls};
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
    // Whether a component is quick is found out by calling it.
    echo.median_us(200).await?;
    let (mut alone, mut loops, mut crossing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push((echo.median_us(calls).await?, bare_call_us(&sandboxes, Plugin::Echo, calls).await?));
        let bare = in_loops(calls, threads, &sandboxes, bare_call).await?;
        loops.push((in_loops(calls, threads, &echo, here_call).await?, bare));
        crossing.push((echo.crossing_us(calls).await?, bare));
    }
    Ok(vec![
        in_turn("invocation path: time per call", &loops)
            .target(Target::RatioAtMost(1.5))
            .note(format!("a loop of calls on each of {threads} threads, both sides")),
        in_turn("invocation path, by way of the guests' threads: time per call", &crossing)
            .note(format!("{AT_ONCE} at once on {threads} threads")),
        in_turn("invocation path, one at a time: p50", &alone),
    ])
}

/// The middle of the turns by ratio.
fn in_turn(name: &str, turns: &[(f64, f64)]) -> Row {
    let bare = median(turns.iter().map(|turn| turn.1).collect());
    let ratio = median(turns.iter().map(|turn| turn.0 / turn.1).collect());
    Row::new(name, ratio * bare, "us").beside(bare)
}

#[derive(Clone)]
struct Echo {
    host: Host,
    digest: Digest,
    limits: AttemptLimits,
}

impl Echo {
    fn call(&self, begin: Begin) -> impl Future<Output = AttemptEnd> + Send + use<> {
        self.host.call(Call {
            begin,
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
            succeeded(self.call(Begin::Here).await)?;
            took_ns.push(began.elapsed().as_nanos() as u32);
        }
        took_ns.sort_unstable();
        Ok(f64::from(percentile(&took_ns, 0.5)) / 1_000.0)
    }
    /// Time divided by calls, with many under way on the guests' threads.
    async fn crossing_us(&self, calls: usize) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut ends = stream::iter(0..calls).map(|_| self.call(Begin::Apart)).buffer_unordered(AT_ONCE);
        while let Some(end) = ends.next().await {
            succeeded(end)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / calls as f64)
    }
}

async fn here_call(echo: &Echo) -> anyhow::Result<()> {
    succeeded(echo.call(Begin::Here).await)
}

async fn bare_call(sandboxes: &Arc<Sandboxes>) -> anyhow::Result<()> {
    sandboxes.call(Plugin::Echo).await.map(drop)
}

fn succeeded(end: AttemptEnd) -> anyhow::Result<()> {
    match end.outcome {
        Outcome::Done(_) => Ok(()),
        other => bail!("`echo` did not succeed: {other:?}"),
    }
}

/// Time divided by calls, with a loop of calls on each of so many threads.
async fn in_loops<S: Clone + Send + 'static>(
    calls: usize,
    threads: usize,
    side: &S,
    call: impl AsyncFn(&S) -> anyhow::Result<()> + Copy + Send + 'static,
) -> anyhow::Result<f64> {
    let each = calls / threads;
    ensure!(each > 0, "too few calls");
    let began = Instant::now();
    let loops: Vec<_> = (0..threads)
        .map(|_| {
            let side = side.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
                runtime.block_on(async {
                    for _ in 0..each {
                        call(&side).await?;
                    }
                    anyhow::Ok(())
                })
            })
        })
        .collect();
    for calls in loops {
        calls.join().ok().context("a thread of calls panicked")??;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / (each * threads) as f64)
}

fn scope() -> CallScope {
    CallScope {
        share: Share::of_the_node(),
        run: RunId(7),
        step: "s0".into(),
        step_number: 0,
        item: None,
        attempt: 1,
        told_attempt: 1,
        alternative: 0,
        within: None,
        at_most_once: false,
        deadline_ms: 4_000_000_000_000,
        traceparent: None,
        seed: [0; 32],
        clock_ms: 1_795_219_200_000,
    }
}
