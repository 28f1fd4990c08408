//! Time: fuel, CPU time, wall time, stack, host calls, and guests that are cancelled anywhere.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use std::time::{Duration, Instant};
use support::{Bench, failure, output, soon};

const SPIN: &str = "(loop $again (br $again)) (unreachable)";
const NOW: &str = r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))"#;

#[tokio::test]
async fn a_loop_runs_out_of_the_same_fuel_each_time() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest::transform("spins").body(SPIN)).await;
    let mut used = Vec::new();
    for _ in 0..3 {
        let end = bench.host.call(bench.call(&loaded, "1")).await;
        used.push(end.usage.fuel);
        assert_eq!(failure(end).kind, FailureKind::FuelExhausted);
    }
    assert!(used.iter().all(|fuel| *fuel == used[0]) && used[0] >= bench.limits.transform_fuel, "{used:?}");
    bench.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_ends_what_fuel_does_not_and_others_go_on_meanwhile() {
    let bench = Bench::with(|limits| {
        limits.set("cpu_ms", 400).unwrap();
        limits.set("fuel", 100_000_000_000).unwrap();
    });
    let spins = bench.load(&Guest::tool("spins").body(SPIN)).await;
    let quick = bench.load(&Guest::transform("quick")).await;
    // More spinning guests than there are threads.
    let spinning: Vec<_> = (0..4).map(|_| tokio::spawn(bench.host.call(bench.call(&spins, "1")))).collect();
    let began = Instant::now();
    let mut ran = 0;
    while began.elapsed() < Duration::from_millis(300) {
        assert_eq!(output(&bench.host.call(bench.call(&quick, "1")).await), "1");
        ran += 1;
    }
    assert!(ran >= 3, "only {ran} quick attempts while others were spinning");
    for spin in spinning {
        let end = spin.await.unwrap();
        let used_ms = end.usage.cpu_us / 1_000;
        assert!((400..900).contains(&used_ms), "{used_ms} ms");
        assert_eq!(failure(end).kind, FailureKind::CpuDeadline);
    }
    bench.is_well().await;
}

#[tokio::test]
async fn wall_time_ends_a_guest_that_spins() {
    let bench = Bench::with(|limits| limits.set("step_wall_ms", 200).unwrap());
    let began = Instant::now();
    let failed = bench.fails(&Guest::tool("spins").body(SPIN)).await;
    assert_eq!((failed.kind, failed.retryable), (FailureKind::DeadlineExceeded, true));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn deep_recursion_is_a_value() {
    let bench = Bench::new();
    let direct = "(func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let failed = bench.fails(&Guest::tool("deep").items(direct).body("(call $deep (i32.const 0))")).await;
    assert_eq!(failed.kind, FailureKind::StackOverflow);
    let mutual = "(func $ping (param i32) (result i32) (i32.add (call $pong (local.get 0)) (i32.const 1)))
                  (func $pong (param i32) (result i32) (i32.add (call $ping (local.get 0)) (i32.const 1)))";
    let failed = bench.fails(&Guest::tool("deep").items(mutual).body("(call $ping (i32.const 0))")).await;
    assert_eq!(failed.kind, FailureKind::StackOverflow);
    // With a frame of the host on the stack: the host calls the guest's allocator.
    let failed = bench.fails(&Guest::tool("deep").items(direct).realloc("(call $deep (i32.const 0))")).await;
    assert_eq!(failed.kind, FailureKind::StackOverflow);
}

#[tokio::test]
async fn the_start_function_is_under_the_same_limits() {
    let bench = Bench::new();
    let guest =
        Guest::tool("never").items(&format!("(func $f {}) (start $f)", SPIN.replace("(unreachable)", "")));
    let refused = bench.try_load(&guest).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::FuelExhausted, "{refused}");
    bench.is_well().await;
}

#[tokio::test]
async fn describe_is_under_limits_too() {
    let bench = Bench::new();
    let refused = bench.try_load(&Guest::tool("never").describe(SPIN)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::FuelExhausted, "{refused}");
    assert!(refused.to_string().contains("describe"), "{refused}");
    bench.is_well().await;
}

#[tokio::test]
async fn host_calls_cost_fuel_and_are_counted() {
    let bench = Bench::new();
    let body = "(loop $again (drop (call $now)) (br $again)) (unreachable)";
    let guest = Guest::transform("asks").imports(NOW).body(body);
    assert_eq!(bench.fails(&guest).await.kind, FailureKind::HostcallLimit);
    let loaded = bench.load(&guest).await;
    let mut call = bench.call(&loaded, "1");
    call.limits.fuel = 1_000_000;
    let end = bench.host.call(call).await;
    assert!((9_000..=10_000).contains(&end.usage.hostcalls), "{:?}", end.usage);
    assert_eq!(failure(end).kind, FailureKind::FuelExhausted);
    bench.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_anywhere_gives_everything_back() {
    let bench = Bench::new();
    let imports = format!("{NOW}{}", support::SLEEP_IMPORTS);
    let sleeps =
        Guest::tool("sleeps").world(support::SLEEP_WORLD).imports(&imports).body(support::SLEEP_FOREVER);
    let asks =
        Guest::tool("asks").imports(NOW).body("(loop $again (drop (call $now)) (br $again)) (unreachable)");
    let guests = [Guest::tool("spins").body(SPIN), sleeps, asks];
    let mut loaded = Vec::new();
    for guest in &guests {
        loaded.push(bench.load(guest).await);
    }
    let began = Instant::now();
    let calls: Vec<_> = (0..1_000u64)
        .map(|n| {
            let call = bench.host.call(bench.call(&loaded[n as usize % 3], "1"));
            // Some before they have a sandbox, some inside a host call, some inside the guest.
            tokio::spawn(tokio::time::timeout(Duration::from_micros(n * 37 % 20_000), call))
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_err(), "ended by itself");
    }
    soon("not everything was given back", || {
        let gauges = bench.host.gauges();
        gauges.slots_free == gauges.slots && gauges.guest_memory_bytes == 0
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    bench.is_well().await;
}
