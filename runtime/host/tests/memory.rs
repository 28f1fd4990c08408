//! Memory, tables and instances: what a guest takes, and what a component may ask for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use support::{Bench, failure, output};

const NOW: &str = r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))"#;

/// Grows until it is refused, then gives up like a guest whose allocator failed.
const GROW: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";

/// Case 4.
#[tokio::test]
async fn growing_past_the_limit_is_called_by_its_cause() {
    let bench = Bench::new();
    let failed = bench.fails(&Guest::tool("grows").body(GROW)).await;
    assert_eq!((failed.kind, failed.retryable), (FailureKind::MemoryLimit, false), "{failed:?}");
    let failed =
        bench.fails(&Guest::tool("leaps").body("(drop (memory.grow (i32.const 65536))) (unreachable)")).await;
    assert_eq!(failed.kind, FailureKind::MemoryLimit, "{failed:?}");
}

/// Case 4: the answer is -1, as WebAssembly says. Case 210.
#[tokio::test]
async fn a_guest_that_survives_a_refusal_succeeds() {
    let bench = Bench::new();
    let body = GROW.replace("(unreachable)", "(call $number (i64.extend_i32_u (memory.size)))");
    let end = bench.run(&Guest::tool("grows").body(&body)).await;
    let pages: u64 = output(&end).parse().unwrap();
    assert!(
        pages * 65_536 <= bench.limits.memory_bytes
            && pages * 65_536 + (17 << 16) > bench.limits.memory_bytes
    );
    assert_eq!(end.usage.memory_peak_bytes, pages * 65_536);
    // A division by zero after a refusal is still a division by zero.
    let body = GROW.replace("(unreachable)", "(i32.div_u (i32.const 1) (i32.const 0))");
    let failed = bench.fails(&Guest::tool("divides").body(&body)).await;
    support::is(&failed, FailureKind::Trap, "integer_divide_by_zero");
}

/// Case 6.
#[tokio::test]
async fn memory_that_is_there_from_the_start_counts() {
    let bench = Bench::new();
    let refused = bench.try_load(&Guest::tool("huge").memory("3000")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::ComponentInvalid);
    assert!(refused.to_string().contains("limits.memory_bytes"), "{refused}");
    let loaded = bench.load(&Guest::tool("large").memory("200")).await;
    let mut call = bench.call(&loaded, "1");
    call.limits.memory_bytes = 100 << 16;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::MemoryLimit);
    bench.is_well().await;
}

/// Case 6.
#[tokio::test]
async fn memories_are_summed() {
    let bench = Bench::with(|limits| limits.set("memory_bytes", 10 << 16).unwrap());
    let four = "(module (memory 4))";
    bench.load(&Guest::tool("fits").ballast(four, 2)).await;
    let refused = bench.try_load(&Guest::tool("spills").ballast(four, 3)).await.unwrap_err();
    assert!(refused.to_string().contains("bytes of memory at the start"), "{refused}");
    // Each may grow, all together may not: the third module grows at its start.
    let grows = "(module (memory 1) (func $f (if (i32.eq (memory.grow (i32.const 3)) (i32.const -1)) (then unreachable))) (start $f))";
    let refused = bench.try_load(&Guest::tool("creeps").ballast(grows, 3)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::MemoryLimit, "{refused}");
    bench.is_well().await;
}

/// Case 209.
#[tokio::test]
async fn the_node_has_a_budget_of_its_own() {
    let bench = Bench::with(|limits| limits.set("guest_memory_bytes", 8 << 20).unwrap());
    let failed = bench.fails(&Guest::tool("grows").body(GROW)).await;
    support::is(&failed, FailureKind::MemoryLimit, "node_memory");
    assert!(failed.retryable, "the node's want is not the plugin's fault");
}

/// Case 8.
#[tokio::test]
async fn tables_are_limited() {
    let bench = Bench::new();
    let table = "(table $t 1 funcref)";
    for delta in ["2147483647", "2147483648", "-1", "100001"] {
        let body = format!(
            "(if (i32.eq (table.grow $t (ref.null func) (i32.const {delta})) (i32.const -1)) (then unreachable)) (i32.const 0)"
        );
        let failed = bench.fails(&Guest::tool("grows").items(table).body(&body)).await;
        assert_eq!(failed.kind, FailureKind::TableLimit, "{delta}: {failed:?}");
    }
    for min in ["4294967295", "100001"] {
        let guest = Guest::tool("huge").items(&format!("(table $t {min} funcref)"));
        let refused = bench.try_load(&guest).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::ComponentInvalid, "{refused}");
    }
    bench.is_well().await;
}

/// Case 9: this host has no compiler, so whoever got past the inspection would end as `internal`.
#[tokio::test]
async fn structure_is_capped_before_anything_is_compiled() {
    let bench = Bench::new();
    let mut config = support::config(&bench.limits, bench.dir.path().join("nothing"));
    config.compiler.program = "/nowhere/compiler".into();
    let host = heddle_host::Host::new(config).unwrap();
    let asked = host.load(Guest::tool("plain").build().into()).await.unwrap_err();
    assert_eq!(asked.kind, FailureKind::Internal, "{asked}");
    for (guest, says) in [
        (Guest::tool("many").ballast("(module)", 9_999), "instances"),
        (Guest::tool("many").ballast("(module (memory 0))", 9_999), "instances"),
        (Guest::tool("many").ballast("(module (table 0 funcref))", 9_999), "instances"),
        (Guest::tool("many").ballast("(module)", 500), "core instances"),
        (Guest::tool("many").ballast("(module (memory 0))", 40), "linear memories"),
        (Guest::tool("many").ballast("(module (table 0 funcref))", 70), "tables"),
        (Guest::tool("many").items(&"(func)".repeat(50_001)), "functions"),
    ] {
        let refused = host.load(guest.build().into()).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::ComponentInvalid);
        assert!(refused.to_string().contains(says), "{says}: {refused}");
    }
    // Twenty levels, each of which makes two of the next, would be a million instances out of a few bytes.
    let mut nested = "(component $n (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 0..20 {
        nested = format!("(component $n {nested} (instance (instantiate $n)) (instance (instantiate $n)))");
    }
    let refused = bench.host.inspect(&wat::parse_str(&nested).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("core instances: 1048576"), "{refused}");
    bench.is_well().await;
}

#[tokio::test]
async fn the_largest_legal_component_runs() {
    let bench = Bench::new();
    let limits = &bench.limits;
    let plain = Guest::tool("plain");
    // The guest itself is a few instances with one memory; the ballast fills everything up to the caps.
    let memories = limits.memories as u32 - 1;
    let pages = limits.memory_bytes / 65_536 / limits.memories;
    let (mut low, mut high) = (0, limits.core_instances as u32);
    let fill = |extra: u32| {
        plain
            .clone()
            .ballast(&format!("(module (memory {pages}))"), memories)
            .ballast(
                &format!("(module (table {} funcref))", limits.table_elements / limits.tables),
                limits.tables as u32 - 2,
            )
            .ballast("(module)", extra)
    };
    while low + 1 < high {
        let middle = (low + high) / 2;
        if bench.host.inspect(&fill(middle).build()).is_ok() { low = middle } else { high = middle }
    }
    assert!(u64::from(low) + limits.memories + limits.tables > limits.core_instances - 10, "{low}");
    let end = bench.run(&fill(low)).await;
    assert_eq!(output(&end), "null");
    assert!(end.usage.memory_peak_bytes > limits.memory_bytes - (8 << 20), "{:?}", end.usage);
    bench.is_well().await;
}

/// All that a guest may have, but for what the testkit's prelude has itself.
const HEAP: u64 = 1_900 << 16;
const FILL: &str = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 124452864))";
const COPY: &str = "(memory.copy (i32.const 65536) (i32.const 65537) (i32.const 124452863))";

/// Case 10: a byte is a unit of fuel, so a loop over the whole heap ends after a few rounds and not after a few
/// hundred million.
#[tokio::test]
async fn filling_and_copying_the_heap_costs_fuel_by_the_byte() {
    let bench = Bench::new();
    for operation in [FILL, COPY] {
        let once = format!("{operation} (call $number (i64.const 1))");
        let end = bench.run(&Guest::tool("once").memory("1900").body(&once)).await;
        assert_eq!(output(&end), "1");
        assert!((HEAP - 65_600..HEAP + 10_000).contains(&end.usage.fuel), "{:?}", end.usage);
        let rounds = format!("(loop $again (drop (call $now)) {operation} (br $again)) (unreachable)");
        let loaded = bench.load(&Guest::tool("rounds").memory("1900").imports(NOW).body(&rounds)).await;
        let mut call = bench.call(&loaded, "1");
        call.limits.fuel = 5 * HEAP;
        let end = bench.host.call(call).await;
        assert!((5..=7).contains(&end.usage.hostcalls), "{:?}", end.usage);
        assert_eq!(failure(end).kind, FailureKind::FuelExhausted);
    }
    bench.is_well().await;
}

/// Case 10: nothing can interrupt one such operation, so it must be short by itself. The CPU time of one is that of an
/// attempt with two, less that of an attempt with one; the least of a few, because of what else the machine does.
#[tokio::test]
async fn one_operation_on_the_whole_heap_is_short() {
    let bench = Bench::new();
    for operation in [FILL, COPY] {
        let guest = |what: &str| {
            Guest::tool("times").memory("1900").body(&format!("{what} (call $number (i64.const 1))"))
        };
        let one = bench.load(&guest(&format!("{FILL}{operation}"))).await;
        let two = bench.load(&guest(&format!("{FILL}{operation}{operation}"))).await;
        let mut least = u64::MAX;
        for _ in 0..5 {
            let (one, two) =
                (bench.host.call(bench.call(&one, "1")).await, bench.host.call(bench.call(&two, "1")).await);
            assert_eq!((output(&one), output(&two)), ("1", "1"));
            least = least.min(two.usage.cpu_us.saturating_sub(one.usage.cpu_us));
        }
        assert!(least < 100_000, "{operation}: {least} µs");
    }
    bench.is_well().await;
}

/// Case 11: at the maximum that the memory declares, and at the host's.
#[tokio::test]
async fn growing_at_the_maximum_is_paid_for() {
    let bench = Bench::new();
    let million = "(local.set $a (i32.const 1000000))
        (loop $again (br_if $again (i32.and (i32.eq (memory.grow (i32.const 1)) (i32.const -1))
          (i32.ne (local.tee $a (i32.sub (local.get $a) (i32.const 1))) (i32.const 0)))))
        (call $number (i64.extend_i32_u (local.get $a)))";
    for memory in ["3 3", "2048"] {
        let end = bench.run(&Guest::tool("grows").memory(memory).body(million)).await;
        assert_eq!(output(&end), "0", "every one of them was refused");
        assert!(end.usage.fuel > 255 * 1_000_000, "{:?}", end.usage);
        assert!(end.usage.cpu_us < 1_000_000, "{:?}", end.usage);
        // For ever, it is the fuel that ends it: to be refused memory is not what went wrong.
        let ever = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)";
        let failed = bench.fails(&Guest::transform("grows").memory(memory).body(ever)).await;
        assert_eq!(failed.kind, FailureKind::FuelExhausted, "{failed:?}");
    }
}
