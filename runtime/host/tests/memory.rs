//! Memory, tables and instances: what a guest takes, and what a component may ask for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use std::time::{Duration, Instant};
use support::{Bench, failure, output};

/// Grows until it is refused, then gives up like a guest whose allocator failed.
const GROW: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";

#[tokio::test]
async fn growing_past_the_limit_is_called_by_its_cause() {
    let bench = Bench::new();
    let failed = bench.fails(&Guest::tool("grows").body(GROW)).await;
    assert_eq!((failed.kind, failed.retryable), (FailureKind::MemoryLimit, false), "{failed:?}");
    let failed =
        bench.fails(&Guest::tool("leaps").body("(drop (memory.grow (i32.const 65536))) (unreachable)")).await;
    assert_eq!(failed.kind, FailureKind::MemoryLimit, "{failed:?}");
}

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

#[tokio::test]
async fn the_node_has_a_budget_of_its_own() {
    let bench = Bench::with(|limits| limits.set("guest_memory_bytes", 8 << 20).unwrap());
    let failed = bench.fails(&Guest::tool("grows").body(GROW)).await;
    support::is(&failed, FailureKind::MemoryLimit, "node_memory");
    assert!(failed.retryable, "the node's want is not the plugin's fault");
}

#[tokio::test]
async fn tables_are_limited() {
    let bench = Bench::new();
    let table = "(table $t 1 funcref)";
    for delta in ["2147483647", "-1", "100001"] {
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

#[tokio::test]
async fn structure_is_capped_before_anything_is_compiled() {
    let bench = Bench::new();
    for (guest, says) in [
        (Guest::tool("many").ballast("(module)", 9_999), "instances"),
        (Guest::tool("many").ballast("(module)", 500), "core instances"),
        (Guest::tool("many").ballast("(module (memory 0))", 40), "linear memories"),
        (Guest::tool("many").ballast("(module (table 0 funcref))", 70), "tables"),
        (Guest::tool("many").items(&"(func)".repeat(50_001)), "functions"),
    ] {
        let began = Instant::now();
        let refused = bench.try_load(&guest).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::ComponentInvalid);
        assert!(refused.to_string().contains(says), "{says}: {refused}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }
    // Twenty levels, each of which makes two of the next, would be a million instances out of a few bytes.
    let mut nested = "(component $n (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 0..20 {
        nested = format!("(component $n {nested} (instance (instantiate $n)) (instance (instantiate $n)))");
    }
    let refused = bench.host.inspect(&wat::parse_str(&nested).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("core instances: 1048576"), "{refused}");
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

#[tokio::test]
async fn copying_and_growing_cost_fuel() {
    let bench = Bench::new();
    let fill = "(loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 30000000)) (br $again)) (unreachable)";
    let failed = bench.fails(&Guest::transform("fills").memory("500").body(fill)).await;
    assert_eq!(failed.kind, FailureKind::FuelExhausted);
    let body = "(local.set $a (i32.const 1000000))
        (loop $again (drop (memory.grow (i32.const 1))) (br_if $again (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))
        (call $number (i64.const 1))";
    let began = Instant::now();
    let end = bench.run(&Guest::tool("grows").memory("2 3").body(body)).await;
    assert_eq!(output(&end), "1");
    assert!(end.usage.fuel > 255_000_000, "{:?}", end.usage);
    assert!(began.elapsed() < Duration::from_secs(3));
    bench.is_well().await;
}
