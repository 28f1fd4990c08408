//! Traps: each has its own word and a backtrace, and a sandbox that trapped is never used again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::{FailureKind, Outcome};
use heddle_host::testkit::Guest;
use support::{Bench, is, output};

/// Case 16.
#[tokio::test]
async fn each_trap_has_its_word_and_a_backtrace() {
    let bench = Bench::new();
    let items = "(type $other (func (param f64))) (table $t 4 funcref) (elem (i32.const 0) $alloc)";
    for (body, code) in [
        ("(unreachable)", "unreachable"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "integer_divide_by_zero"),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", "integer_overflow"),
        ("(i32.trunc_f32_s (f32.const nan))", "bad_conversion_to_integer"),
        ("(i32.load (i32.const 0x7ffffff0))", "memory_out_of_bounds"),
        ("(call_indirect $t (type $other) (f64.const 1) (i32.const 0)) (i32.const 0)", "indirect_call_type"),
        (
            "(call_indirect $t (type $other) (f64.const 1) (i32.const 1)) (i32.const 0)",
            "indirect_call_to_null",
        ),
        ("(call_indirect $t (type $other) (f64.const 1) (i32.const 9)) (i32.const 0)", "table_out_of_bounds"),
    ] {
        let failed = bench.fails(&Guest::tool("traps").items(items).body(body)).await;
        is(&failed, FailureKind::Trap, code);
        let data = failed.data.unwrap();
        assert!(data.text().contains("guest!"), "{}", data.text());
        assert!(!failed.retryable);
    }
}

/// Case 16.
#[tokio::test]
async fn a_backtrace_has_at_most_twenty_frames() {
    let bench = Bench::new();
    let deep = "(func $deep (param i32) (result i32) (if (result i32) (local.get 0)
        (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (unreachable))))";
    let failed = bench.fails(&Guest::tool("deep").items(deep).body("(call $deep (i32.const 500))")).await;
    let text = failed.data.unwrap().text().to_owned();
    assert_eq!(text.matches("guest!").count(), 20, "{text}");
}

/// Case 17: an attempt after a trap finds nothing of it.
#[tokio::test]
async fn every_attempt_has_an_instance_of_its_own() {
    let bench = Bench::new();
    let counter = "(global $runs (mut i64) (i64.const 0))";
    let body = "(global.set $runs (i64.add (global.get $runs) (i64.const 1)))
        (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
        (if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 48)) (then (unreachable)))
        (call $number (i64.add (global.get $runs) (i64.extend_i32_u (i32.load (i32.const 40000)))))";
    let loaded = bench.load(&Guest::tool("counts").items(counter).body(body)).await;
    for input in ["1", "0", "1", "0", "1"] {
        let end = bench.host.call(bench.call(&loaded, input)).await;
        match input {
            "0" => is(&support::failure(end), FailureKind::Trap, "unreachable"),
            _ => assert_eq!(output(&end), "2", "something was left of an earlier attempt"),
        }
    }
    bench.is_well().await;
}

/// Case 17: sandboxes come from a pool. Whatever one guest left in memory and tables, on its trap or on its return, the
/// next one in the same place, another plugin of another size, finds zeroes and nulls. Case 214.
#[tokio::test]
async fn what_a_guest_leaves_in_its_sandbox_is_gone() {
    let bench = Bench::with(|limits| {
        limits.set("attempts_at_once", 1).unwrap();
        limits.set("compiles_at_once", 1).unwrap();
    });
    let leaves = |end: &str| {
        Guest::tool("leaves").memory("800").items("(table $t 5000 funcref) (elem declare func $alloc)").body(
            &format!(
                "(memory.fill (i32.const 65536) (i32.const 170) (i32.const 52363264))
             (table.fill $t (i32.const 0) (ref.func $alloc) (i32.const 5000)) {end}"
            ),
        )
    };
    let looks = Guest::transform("looks").memory("900").items("(table $t 6000 funcref)").body(
        "(local.set $a (i32.const 65600)) ;; behind its input
        (loop $next
          (local.set $wide (i64.or (local.get $wide) (i64.load (local.get $a))))
          (br_if $next (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 8))) (i32.const 58982400))))
        (loop $next
          (if (i32.eqz (ref.is_null (table.get $t (local.get $c)))) (then (local.set $wide (i64.const 1))))
          (br_if $next (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 1))) (i32.const 6000))))
        (call $number (local.get $wide))",
    );
    let looks = bench.load(&looks).await;
    for end in ["(unreachable)", "(loop $again (br $again)) (unreachable)", "(call $number (i64.const 1))"] {
        let leaves = bench.load(&leaves(end)).await;
        for _ in 0..6 {
            let mut call = bench.call(&leaves, "1");
            call.limits.fuel = 60_000_000;
            let ended = bench.host.call(call).await.outcome;
            assert_eq!(matches!(ended, Outcome::Done(_)), end.contains("$number"), "{ended:?}");
            assert_eq!(output(&bench.host.call(bench.call(&looks, "1")).await), "0", "something was left");
        }
    }
    bench.is_well().await;
}

/// Case 18.
#[tokio::test]
async fn exit_is_a_failure_whatever_the_code() {
    let bench = Bench::new();
    let world = "import wasi:cli/exit@0.2.6;";
    let imports = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))
                     (import "wasi:cli/exit@0.2.6" "exit-with-code" (func $code (param i32)))"#;
    for (body, code) in [
        ("(call $exit (i32.const 0))", "0"),
        ("(call $exit (i32.const 1))", "1"),
        ("(call $code (i32.const 3))", "3"),
    ] {
        let guest =
            Guest::tool("leaves").world(world).imports(imports).body(&format!("{body} (i32.const 0)"));
        is(&bench.fails(&guest).await, FailureKind::GuestExit, code);
    }
}
