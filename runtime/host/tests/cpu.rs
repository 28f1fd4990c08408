//! Time: fuel, CPU time, wall time, stack, host calls, and guests that are cancelled anywhere.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use std::time::{Duration, Instant};
use support::{Bench, failure, output, soon};

const SPIN: &str = "(loop $again (br $again)) (unreachable)";
const NOW: &str = r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))"#;

/// Case 1.
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

/// Case 2: the CPU time is what the thread's clock says, so the bound holds however busy the machine is.
#[tokio::test]
async fn cpu_time_ends_what_fuel_does_not_within_two_ticks() {
    let (limit_ms, tick_ms) = (300, 100);
    let bench = Bench::with(|limits| {
        limits.set("cpu_ms", limit_ms).unwrap();
        limits.set("epoch_tick_ms", tick_ms).unwrap();
        limits.set("fuel", 100_000_000_000).unwrap();
    });
    let end = bench.run(&Guest::tool("spins").body(SPIN)).await;
    let used_us = end.usage.cpu_us;
    assert_eq!(failure(end).kind, FailureKind::CpuDeadline);
    assert!((limit_ms * 1_000..=(limit_ms + 2 * tick_ms) * 1_000).contains(&used_us), "{used_us} µs");
    bench.is_well().await;
}

/// Case 2, case 13: one thread for all guests, and more guests on it that never come to an end by themselves than
/// there are quick ones.
#[tokio::test]
async fn no_guest_keeps_a_thread_to_itself() {
    let bench = Bench::on(1, |limits| {
        limits.set("fuel", 100_000_000_000).unwrap();
        limits.set("hostcalls", 100_000_000).unwrap();
    });
    let quick = bench.load(&Guest::transform("quick")).await;
    let again = |what: &str| format!("(loop $again {what} (br $again)) (unreachable)");
    let fill = again("(memory.fill (i32.const 65536) (i32.const 1) (i32.const 6553600))");
    let mut loaded = Vec::new();
    for guest in [
        Guest::tool("spins").body(SPIN),
        Guest::tool("asks").imports(NOW).body(&again("(drop (call $now))")),
        Guest::tool("fills").memory("120").body(&fill),
        Guest::tool("grows").memory("2 2").body(&again("(drop (memory.grow (i32.const 1)))")),
    ] {
        loaded.push(bench.load(&guest).await);
    }
    // Together, once all are there: the fuel of the one that fills is gone after a second of a thread to itself.
    let begin = |guest| tokio::spawn(bench.host.call(bench.call(guest, "1")));
    let spinning: Vec<_> = loaded.iter().map(begin).collect();
    bench.busy(spinning.len()).await;
    for _ in 0..10 {
        assert_eq!(output(&bench.host.call(bench.call(&quick, "1")).await), "1");
    }
    for spin in spinning {
        assert!(!spin.is_finished(), "the quick ones only ran when it was over");
        spin.abort();
        assert!(spin.await.unwrap_err().is_cancelled());
    }
    soon("not everything was given back", || bench.all_free()).await;
    bench.is_well().await;
}

#[tokio::test]
async fn wall_time_ends_a_guest_that_spins() {
    let bench = Bench::with(|limits| limits.set("step_wall_ms", 200).unwrap());
    let failed = bench.fails(&Guest::tool("spins").body(SPIN)).await;
    assert_eq!((failed.kind, failed.retryable), (FailureKind::DeadlineExceeded, true));
}

/// Case 3.
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
    // With one between frames of the guest: a host call hands back a list, and the allocator for it never returns.
    let between = Guest::tool("deep")
        .world("import wasi:random/random@0.2.6;")
        .imports(r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $bytes (param i64 i32)))"#)
        .items(&format!("{direct} (global $inside (mut i32) (i32.const 0))"))
        .realloc(
            "(if (result i32) (global.get $inside) (then (call $deep (i32.const 0)))
             (else (call $move (local.get $old) (local.get $old_len) (local.get $align) (local.get $len))))",
        )
        .body(
            "(global.set $inside (i32.const 1)) (call $bytes (i64.const 8) (i32.const 40000)) (i32.const 0)",
        );
    assert_eq!(bench.fails(&between).await.kind, FailureKind::StackOverflow);
    // With a host call at every depth, the last of them where hardly any stack is left.
    let calls = "(func $deep (param i32) (result i32) (drop (call $now))
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let guest = Guest::tool("deep").imports(NOW).items(calls).body("(call $deep (i32.const 0))");
    assert_eq!(bench.fails(&guest).await.kind, FailureKind::StackOverflow);
}

/// Case 12: at the upload, where `describe` is the probe.
#[tokio::test]
async fn the_start_function_is_under_the_same_limits() {
    let bench = Bench::new();
    let spin = SPIN.replace("(unreachable)", "");
    let refused = bench
        .try_load(&Guest::tool("never").items(&format!("(func $f {spin}) (start $f)")))
        .await
        .unwrap_err();
    assert_eq!(refused.kind, FailureKind::FuelExhausted, "{refused}");
    let deep = "(func $f (call $f) (drop (i32.const 1))) (start $f)";
    let refused = bench.try_load(&Guest::tool("deep").items(deep)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::StackOverflow, "{refused}");
    bench.is_well().await;
}

/// Case 12: a start function that behaves while the plugin is looked at, which the fixed clock tells it, and does not
/// when it is called. Case 207.
#[tokio::test]
async fn a_start_function_that_waits_for_its_call_is_under_the_same_limits() {
    let bench = Bench::new();
    let later = |what: &str| {
        let start = format!(
            "(func $f (if (i64.ne (call $now) (i64.const 946684800000)) (then {what}))) (start $f)
             (func $deep (call $deep) (drop (i32.const 1)))"
        );
        Guest::tool("later").imports(NOW).items(&start)
    };
    let spin = "(loop $again (br $again))";
    let grow =
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    for (what, kind) in [
        (spin, FailureKind::FuelExhausted),
        ("(call $deep)", FailureKind::StackOverflow),
        (grow, FailureKind::MemoryLimit),
        ("(unreachable)", FailureKind::Trap),
    ] {
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let loaded = bench.load(&later(what)).await;
            let mut call = bench.call(&loaded, "1");
            call.limits.fuel = 50_000_000;
            kinds.push(failure(bench.host.call(call).await).kind);
        }
        assert_eq!(kinds, [kind; 3], "{what}");
        bench.is_well().await;
    }
    let mut call = bench.call(&bench.load(&later(spin)).await, "1");
    call.limits.cpu_ms = 50;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::CpuDeadline);
    bench.is_well().await;
}

/// Case 12. Case 208.
#[tokio::test]
async fn describe_is_under_limits_too() {
    let bench = Bench::new();
    let refused = bench.try_load(&Guest::tool("never").describe(SPIN)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::FuelExhausted, "{refused}");
    assert!(refused.to_string().contains("describe"), "{refused}");
    bench.is_well().await;
}

/// Case 13.
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

/// Case 37.
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
    let cancelled = Instant::now();
    soon("not everything was given back", || bench.all_free()).await;
    // None of them would have ended by itself for many times as long.
    assert!(cancelled.elapsed() < Duration::from_secs(1), "{:?}", cancelled.elapsed());
    bench.is_well().await;
}

/// Case 37: with a sandbox in use, whoever waits for one can be cancelled too, and whoever comes then gets it.
#[tokio::test]
async fn cancelling_in_the_guest_and_in_a_host_call_frees_the_last_sandbox() {
    let bench = Bench::with(|limits| {
        limits.set("attempts_at_once", 1).unwrap();
        limits.set("compiles_at_once", 1).unwrap();
    });
    let sleeps = Guest::tool("sleeps")
        .world(support::SLEEP_WORLD)
        .imports(support::SLEEP_IMPORTS)
        .body(support::SLEEP_FOREVER);
    for guest in [Guest::tool("spins").body(SPIN), sleeps] {
        let loaded = bench.load(&guest).await;
        for _ in 0..20 {
            let inside: Vec<_> =
                (0..3).map(|_| tokio::spawn(bench.host.call(bench.call(&loaded, "1")))).collect();
            bench.busy(2).await;
            for attempt in inside {
                attempt.abort();
                assert!(attempt.await.unwrap_err().is_cancelled());
            }
            assert_eq!(output(&bench.run(&Guest::transform("next")).await), "null");
        }
        soon("not everything was given back", || bench.all_free()).await;
    }
    bench.is_well().await;
}
