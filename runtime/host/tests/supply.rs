//! Where components come from: uploads that are not what they seem, compilers that must be stopped, files on disk.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use heddle_core::id::Digest;
use heddle_core::outcome::{FailureKind, Outcome};
use heddle_host::testkit::Guest;
use heddle_host::{Compiler, ComponentSource, Host};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Bench, config, failure, output};

fn cached(bench: &Bench) -> Vec<PathBuf> {
    let files = fs::read_dir(bench.dir.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// The same folder and limits, a new host: as after a restart.
fn restarted(bench: &Bench, change: impl FnOnce(&mut heddle_host::HostConfig)) -> Host {
    let mut config = config(&bench.limits, bench.dir.path().join("cache"));
    change(&mut config);
    Host::new(config).unwrap()
}

/// A compiler that is not one.
fn not_a_compiler() -> Compiler {
    Compiler { program: "/bin/false".into(), args: Vec::new() }
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_unread() {
    let bench = Bench::with(|limits| limits.set("component_bytes", 1_000).unwrap());
    let refused = bench.try_load(&Guest::tool("large")).await.unwrap_err();
    assert!(refused.to_string().contains("limits.component_bytes"), "{refused}");
}

/// Case 57.
#[tokio::test]
async fn mutations_and_truncations_never_panic() {
    let bench = Bench::new();
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func (param i32 i32 i32)))"#;
    let good = Guest::agent("good").imports(log).build();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    for _ in 0..100_000 {
        let mut bad = good.clone();
        for _ in 0..=next(3) {
            let at = next(bad.len());
            bad[at] = next(256) as u8;
        }
        if let Err(refused) = bench.host.inspect(&bad) {
            assert_eq!(refused.kind, FailureKind::ComponentInvalid);
        }
    }
    // Cut behind a section, it may still be one; cut within one, never.
    let whole = (0..good.len()).filter(|end| bench.host.inspect(&good[..*end]).is_ok()).count();
    assert!(whole <= 3, "{whole}");
}

/// Functions that cost a compiler much, each a different way.
fn bombs() -> Vec<(&'static str, String)> {
    let nested = format!("(func {}{})", "(loop ".repeat(990), ")".repeat(990));
    let table = format!("(func (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(60_000));
    let mut body =
        "(local.set $x (i32.add (i32.mul (local.get $x) (local.get $x)) (i32.const 3)))".repeat(20_000);
    body = format!("(func (param $x i32) {body})");
    vec![("nested", nested.repeat(12)), ("tables", table.repeat(12)), ("long", body.repeat(40))]
}

/// Case 58.
#[tokio::test(flavor = "multi_thread")]
async fn a_compile_bomb_is_stopped_and_nobody_else_is_late() {
    // Less than the longest of them takes on a quick machine, and more than a small component needs: where the machine
    // is so busy that it does not suffice, that one is tried again.
    let bench = Bench::with(|limits| limits.set("compile_ms", 400).unwrap());
    let mut quick = bench.try_load(&Guest::transform("quick")).await;
    for _ in 0..50 {
        if quick.is_err() {
            quick = bench.try_load(&Guest::transform("quick")).await;
        }
    }
    let quick = quick.unwrap();
    let mut stopped = Vec::new();
    for (name, items) in bombs() {
        let began = Instant::now();
        let guest = Guest::tool("bomb").items(&items);
        let (bomb, mut ran) = (tokio::spawn(bench.host.load(guest.build().into())), 0);
        while !bomb.is_finished() {
            assert_eq!(output(&bench.host.call(bench.call(&quick, "1")).await), "1");
            ran += 1;
        }
        if let Err(refused) = bomb.await.unwrap() {
            assert_eq!(refused.kind, FailureKind::CompileLimit, "{name}: {refused}");
            stopped.push(name);
        }
        assert!(
            ran > 0 && began.elapsed() < Duration::from_secs(20),
            "{name}: {ran} in {:?}",
            began.elapsed()
        );
    }
    assert!(stopped.contains(&"long"), "{stopped:?}");
    bench.is_well().await;
}

#[tokio::test]
async fn a_compiler_without_time_or_memory_ends_as_a_value() {
    let slow = Bench::with(|limits| limits.set("compile_ms", 1).unwrap());
    let refused = slow.try_load(&Guest::tool("slow")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::CompileLimit, "{refused}");
    assert!(refused.to_string().contains("limits.compile_ms"), "{refused}");
    slow.is_idle();
    let tight = Bench::with(|limits| limits.set("compile_bytes", 40 << 20).unwrap());
    let refused = tight.try_load(&Guest::tool("tight").items(&bombs().pop().unwrap().1)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::CompileLimit, "{refused}");
    tight.is_idle();
}

/// Case 60.
#[tokio::test]
async fn a_compiler_that_is_killed_can_be_tried_again() {
    let bench = Bench::new();
    let dying = restarted(&bench, |config| {
        config.compiler =
            Compiler { program: "/bin/sh".into(), args: vec!["-c".into(), "kill -9 $$".into()] };
    });
    let bytes = Bytes::from(Guest::tool("retried").build());
    let refused = dying.load(bytes.clone()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::CompileLimit, "{refused}");
    assert_eq!(dying.gauges().compiles_free as u64, bench.limits.compiles_at_once);
    assert!(cached(&bench).is_empty());
    assert_eq!(bench.host.load(bytes).await.unwrap().metadata.name, "retried");
    // A compiler that cannot even be started is our own fault.
    let missing = restarted(&bench, |config| config.compiler.program = "/nowhere/compiler".into());
    let refused = missing.load(Guest::tool("other").build().into()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Internal, "{refused}");
}

#[tokio::test]
async fn code_survives_a_restart_without_a_compiler() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest::tool("kept")).await;
    let host = restarted(&bench, |config| config.compiler = not_a_compiler());
    assert_eq!(output(&host.call(bench.call(&loaded, "7")).await), "7");
}

/// Case 61.
#[tokio::test]
async fn a_tampered_file_is_never_loaded() {
    let bench = Bench::new();
    let guest = Guest::tool("kept");
    let loaded = bench.load(&guest).await;
    let path = cached(&bench).pop().unwrap();
    let good = fs::read(&path).unwrap();
    let raw_code = good[40..].to_vec();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [flipped, good[..good.len() / 2].to_vec(), raw_code, Vec::new()] {
        fs::write(&path, &bad).unwrap();
        // Without a compiler there is nothing to fall back on, so loading the file would show.
        let host = restarted(&bench, |config| config.compiler = not_a_compiler());
        let failed = failure(host.call(bench.call(&loaded, "1")).await);
        assert_eq!(failed.kind, FailureKind::Internal, "{failed:?}");
        // With one, it is made again.
        fs::write(&path, &bad).unwrap();
        let host = restarted(&bench, |_| {});
        host.load(guest.build().into()).await.unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), good.len());
    }
}

/// A store of components that counts how often it is asked.
struct Store {
    bytes: Bytes,
    asked: AtomicUsize,
}

impl ComponentSource for Store {
    fn bytes(&self, _: Digest) -> BoxFuture<'static, Option<Bytes>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.clone();
        Box::pin(async move { Some(bytes) })
    }
}

/// Case 218.
#[tokio::test(flavor = "multi_thread")]
async fn lost_code_is_made_again_from_the_store_once() {
    let bench = Bench::new();
    let guest = Guest::tool("stored");
    let loaded = bench.load(&guest).await;
    fs::remove_file(cached(&bench).pop().unwrap()).unwrap();
    let store = Arc::new(Store { bytes: guest.build().into(), asked: AtomicUsize::new(0) });
    let host = restarted(&bench, |config| config.components = store.clone());
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(host.call(bench.call(&loaded, "1")))).collect();
    for call in calls {
        assert!(matches!(call.await.unwrap().outcome, Outcome::Done(_)));
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 1, "everybody waits for the same one");
    // A store that holds something else under that digest is not believed.
    fs::remove_file(cached(&bench).pop().unwrap()).unwrap();
    let other = Arc::new(Store { bytes: Guest::tool("other").build().into(), asked: AtomicUsize::new(0) });
    let host = restarted(&bench, |config| config.components = other);
    assert_eq!(failure(host.call(bench.call(&loaded, "1")).await).kind, FailureKind::Internal);
}

#[tokio::test]
async fn a_component_that_was_forgotten_is_made_again_if_it_is_still_stored() {
    let bench = Bench::new();
    let guest = Guest::tool("forgotten");
    let loaded = bench.load(&guest).await;
    bench.host.forget(loaded.inspection.digest);
    assert!(cached(&bench).is_empty());
    assert_eq!(failure(bench.host.call(bench.call(&loaded, "1")).await).kind, FailureKind::Internal);
    let store = Arc::new(Store { bytes: guest.build().into(), asked: AtomicUsize::new(0) });
    let host = restarted(&bench, |config| config.components = store);
    assert_eq!(output(&host.call(bench.call(&loaded, "1")).await), "1");
}
