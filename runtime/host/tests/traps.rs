//! Traps: each has its own word and a backtrace, and a sandbox that trapped is never used again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use support::{Bench, is, output};

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

#[tokio::test]
async fn a_backtrace_has_at_most_twenty_frames() {
    let bench = Bench::new();
    let deep = "(func $deep (param i32) (result i32) (if (result i32) (local.get 0)
        (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (unreachable))))";
    let failed = bench.fails(&Guest::tool("deep").items(deep).body("(call $deep (i32.const 500))")).await;
    let text = failed.data.unwrap().text().to_owned();
    assert_eq!(text.matches("guest!").count(), 20, "{text}");
}

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
