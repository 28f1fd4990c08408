//! A real host with a real compiling child, a canary, and the invariants that hold after every case.
//!
//! A test whose comment begins with `Case 19` is the one for case 19 of the hostile cases; `docs/guide/security.md` has
//! the list. Every case ends with [`Bench::is_well`].

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part of this"
)]

pub mod process;
mod wasi;

use heddle_core::host_call::{Answered, HostAnswer, HostCall, ToolCall};
use heddle_core::id::{Digest, RunId};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, AttemptLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, PluginKind};
use heddle_core::share::Share;
use heddle_core::time::Timestamp;
use heddle_host::testkit::Guest;
use heddle_host::{
    Call, CallScope, Compiler, ComponentFault, Host, HostCalls, HostConfig, Loaded, LogLevel, NoComponents,
    NoHostCalls, Progress, ToolInfo,
};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
pub use wasi::*;

/// The example of this crate that serves as a compiler; it lies beside the test binaries.
pub fn compiler() -> Compiler {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let program = dir.join("examples").join("compile_child");
    assert!(program.exists(), "{} is built with the tests", program.display());
    Compiler { program, args: Vec::new() }
}

/// A host of its own, with a folder of its own.
pub struct Bench {
    pub host: Host,
    pub limits: Limits,
    pub dir: TempDir,
    /// Whether the test plants panics of its own.
    pub may_panic: bool,
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(|_| {})
    }
    /// With some limits changed. Few sandboxes, so that one that is not given back is missed soon.
    pub fn with(change: impl FnOnce(&mut Limits)) -> Bench {
        Bench::on(2, change)
    }
    /// With so many threads for guests.
    pub fn on(guest_threads: usize, change: impl FnOnce(&mut Limits)) -> Bench {
        process::watch_panics();
        let mut limits = Limits::default();
        limits.set("attempts_at_once", 8).unwrap();
        change(&mut limits);
        let dir = tempfile::tempdir().unwrap();
        let config = HostConfig { guest_threads, ..config(&limits, dir.path().join("cache")) };
        Bench { host: Host::new(config).unwrap(), limits, dir, may_panic: false }
    }
    pub async fn load(&self, guest: &Guest) -> Loaded {
        self.try_load(guest).await.unwrap()
    }
    pub async fn try_load(&self, guest: &Guest) -> Result<Loaded, ComponentFault> {
        self.host.load(guest.build().into()).await
    }
    /// Loads the guest and runs it once on `null`.
    pub async fn run(&self, guest: &Guest) -> AttemptEnd {
        let loaded = self.load(guest).await;
        self.host.call(self.call(&loaded, "null")).await
    }
    /// The failure of one run; then checks that the host is well.
    pub async fn fails(&self, guest: &Guest) -> Failure {
        let end = self.run(guest).await;
        self.is_well().await;
        match end.outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("should have failed: {other:?}"),
        }
    }
    pub fn attempt(&self, kind: PluginKind) -> AttemptLimits {
        self.limits.attempt(kind, &AskedLimits::default())
    }
    pub fn call(&self, loaded: &Loaded, input: &str) -> Call {
        Call {
            begin: heddle_host::Begin::Apart,
            component: loaded.inspection.digest,
            kind: loaded.inspection.kind,
            input: Json::parse(input.as_bytes()).unwrap(),
            state: None,
            limits: self.attempt(loaded.inspection.kind),
            scope: scope(),
            host_calls: Arc::new(NoHostCalls),
        }
    }
    /// After every case: another plugin runs as ever, everything was given back, and nothing panicked.
    pub async fn is_well(&self) {
        assert!(self.may_panic || process::panics() == 0, "something in the host panicked");
        let canary = Guest::transform("canary");
        let end = self.run(&canary).await;
        assert_eq!(end.outcome, Outcome::Done(Json::null()), "the canary died");
        self.is_idle();
    }
    /// Runs small guests until every sandbox was another's in between: the pool gives the memory of ended guests back to
    /// the system in batches, at the latest when it needs their place.
    pub async fn flush(&self) {
        for _ in 0..2 * self.host.gauges().slots {
            self.run(&Guest::transform("canary")).await;
        }
    }
    /// Whether every sandbox and all guest memory are given back.
    pub fn all_free(&self) -> bool {
        let gauges = self.host.gauges();
        gauges.slots_free == gauges.slots && gauges.guest_memory_bytes == 0
    }
    /// Waits until so many sandboxes are in use: the guests in them have begun.
    pub async fn busy(&self, sandboxes: usize) {
        soon("no sandbox is in use", || {
            let gauges = self.host.gauges();
            gauges.slots - gauges.slots_free >= sandboxes
        })
        .await;
    }
    pub fn is_idle(&self) {
        let gauges = self.host.gauges();
        assert_eq!(gauges.slots_free, gauges.slots, "{gauges:?}");
        assert_eq!(gauges.guest_memory_bytes, 0, "{gauges:?}");
        assert_eq!(gauges.compiles_free as u64, self.limits.compiles_at_once, "{gauges:?}");
    }
}

pub fn config(limits: &Limits, cache_dir: PathBuf) -> HostConfig {
    HostConfig {
        limits: limits.clone(),
        cache_dir,
        compiler: compiler(),
        guest_threads: 2,
        components: Arc::new(NoComponents),
    }
}

pub fn scope() -> CallScope {
    CallScope {
        share: Share::of_the_node(),
        run: RunId(7),
        step: "step".into(),
        step_number: 0,
        item: Some(3),
        attempt: 2,
        told_attempt: 2,
        alternative: 0,
        within: None,
        at_most_once: false,
        deadline_ms: 4_000_000_000_000,
        traceparent: None,
        seed: [9; 32],
        clock_ms: 1_700_000_000_000,
    }
}

/// The failure of this end.
pub fn failure(end: AttemptEnd) -> Failure {
    match end.outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("should have failed: {other:?}"),
    }
}

/// The output of this end, as text.
pub fn output(end: &AttemptEnd) -> &str {
    match &end.outcome {
        Outcome::Done(output) => output.text(),
        other => panic!("should have succeeded: {other:?}"),
    }
}

pub fn is(failure: &Failure, kind: FailureKind, code: &str) {
    assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)), "{failure:?}");
}

/// Waits until it holds, for things that are given back on another thread.
pub async fn soon(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::task::yield_now().await;
    }
}

/// How a tool call ended, and when.
pub struct ToolAnswer {
    pub result: Result<Json, Failure>,
    pub at_ms: u64,
}

type Answer = dyn Fn(String, Json, u64) -> Pin<Box<dyn Future<Output = ToolAnswer> + Send>> + Send + Sync;

/// Keeps what guests say, and answers their tool calls.
#[derive(Default)]
pub struct Recorder {
    pub lines: Mutex<Vec<(LogLevel, String)>>,
    pub progress: Mutex<Vec<Progress>>,
    pub calls: Mutex<Vec<(String, String, u64)>>,
    pub answer: Option<Box<Answer>>,
}

impl Recorder {
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
    }
}

impl HostCalls for Recorder {
    fn log(&self, _: &CallScope, level: LogLevel, line: &str) {
        self.lines.lock().unwrap().push((level, line.to_owned()));
    }
    fn progress(&self, _: &CallScope, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }
    fn tools(&self, _: &CallScope) -> Vec<ToolInfo> {
        vec![ToolInfo {
            name: "tool:echo".into(),
            title: "Echo".into(),
            description: "Gives back its input".into(),
            input_schema: Json::parse(b"true").unwrap(),
            output_schema: Json::parse(b"true").unwrap(),
        }]
    }
    fn ask(
        &self,
        scope: &CallScope,
        call: HostCall,
    ) -> futures_util::future::BoxFuture<'static, Result<Answered, Failure>> {
        let HostCall::Tool(ToolCall { name, input }) = call else { return NoHostCalls.ask(scope, call) };
        let index = {
            let mut calls = self.calls.lock().unwrap();
            let index = calls.len() as u64;
            calls.push((name.clone(), input.text().to_owned(), index));
            index
        };
        let answered = match &self.answer {
            Some(answer) => answer(name, input, index),
            None => {
                Box::pin(async move { ToolAnswer { result: Ok(input), at_ms: 1_700_000_005_000 + index } })
            }
        };
        Box::pin(async move {
            let ToolAnswer { result, at_ms } = answered.await;
            Ok(Answered { answer: HostAnswer::Tool(result), at: Timestamp(at_ms) })
        })
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}
