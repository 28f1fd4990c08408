//! The component boundary: what a guest hands over, and what it does with handles.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::json::Json;
use heddle_core::outcome::{FailureKind, Outcome};
use heddle_host::testkit::Guest;
use support::{Bench, failure, is, output};

/// A tool that returns these bytes.
fn returns(bytes: &[u8]) -> Guest {
    Guest::tool("returns")
        .data(32_768, bytes)
        .body(&format!("(call $ok (i32.const 32768) (i32.const {}))", bytes.len()))
}

#[tokio::test]
async fn outputs_are_bounded() {
    let bench = Bench::new();
    let sized = |bytes: u32| {
        let body = format!(
            "(memory.fill (i32.const 65536) (i32.const 49) (i32.const {bytes})) (global.set $heap (i32.const {}))
             (call $ok (i32.const 65536) (i32.const {bytes}))",
            65_536 + bytes
        );
        Guest::tool("large").memory("1200").body(&body)
    };
    assert_eq!(bench.fails(&sized(64 << 20)).await.kind, FailureKind::HostcallDataLimit);
    assert_eq!(bench.fails(&sized(9 << 20)).await.kind, FailureKind::OutputTooLarge);
    let loaded = bench.load(&sized(4_000)).await;
    let mut call = bench.call(&loaded, "1");
    call.limits.output_bytes = 3_999;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::OutputTooLarge);
    bench.is_idle();
}

#[tokio::test]
async fn lists_that_are_not_there_trap() {
    let bench = Bench::new();
    for (ptr, len) in [("65536", "0x7fffffff"), ("-16", "64"), ("0x7fffffff", "100")] {
        let body = format!("(call $ok (i32.const {ptr}) (i32.const {len}))");
        is(&bench.fails(&Guest::tool("lies").body(&body)).await, FailureKind::Trap, "string_out_of_bounds");
    }
    // A result record that is not there, or that does not lie on its boundary.
    is(
        &bench.fails(&Guest::tool("lies").body("(i32.const -8)")).await,
        FailureKind::Trap,
        "pointer_out_of_bounds",
    );
    is(
        &bench.fails(&Guest::tool("lies").body("(i32.const 40001)")).await,
        FailureKind::Trap,
        "unaligned_pointer",
    );
}

#[tokio::test]
async fn text_that_is_not_utf8_traps() {
    let bench = Bench::new();
    for bytes in [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\xc0\x80\""] {
        is(&bench.fails(&returns(bytes)).await, FailureKind::Trap, "invalid_utf8");
    }
    assert_eq!(output(&bench.run(&returns(br#""a\u0000b""#)).await), r#""a\u0000b""#);
}

#[tokio::test]
async fn outputs_that_are_not_json_are_refused_and_say_where() {
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for (text, says) in [
        (deep.as_str(), "nested deeper"),
        (r#"{"a":1,"a":2}"#, "stands twice"),
        ("1e999", "at byte 0"),
        ("", "at byte 0"),
        ("{\"a\":1", "at byte"),
        ("\"a\0b\"", "at byte"),
    ] {
        let failed = bench.fails(&returns(text.as_bytes())).await;
        assert_eq!(failed.kind, FailureKind::InvalidOutput, "{text}: {failed:?}");
        assert!(failed.message.contains(says), "{text}: {}", failed.message);
    }
    let number = "12345678901234567890";
    assert_eq!(
        output(&bench.run(&returns(format!(" [ {number} ] ").as_bytes())).await),
        format!("[{number}]")
    );
}

#[tokio::test]
async fn elements_without_content_are_charged() {
    let bench = Bench::new();
    // Three million capability names of no length, in a copy of the metadata record.
    let body = "(memory.copy (i32.const 40000) (i32.const 1024) (i32.const 120))
        (i32.store (i32.const 40052) (i32.const 65536)) (i32.store (i32.const 40056) (i32.const 3000000)) (i32.const 40000)";
    let refused = bench.try_load(&Guest::tool("many").memory("400").describe(body)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::HostcallDataLimit, "{refused}");
    bench.is_well().await;
}

#[tokio::test]
async fn discriminants_that_do_not_exist_trap() {
    let bench = Bench::new();
    let result = |at: u32, value: u32| {
        let body = format!(
            "(local.set $a (call $fail (i32.const 1) (i32.const 0) (i32.const 0)))
            (i32.store8 offset={at} (local.get $a) (i32.const {value})) (local.get $a)"
        );
        Guest::tool("lies").body(&body)
    };
    // `result`, `failure`, and the `option` in its detail.
    for (at, value) in [(0, 2), (0, 255), (8, 3), (32, 2)] {
        is(&bench.fails(&result(at, value)).await, FailureKind::Trap, "invalid_discriminant");
    }
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let guest = Guest::tool("lies")
        .imports(log)
        .body("(call $log (i32.const 99) (i32.const 0) (i32.const 0)) (i32.const 0)");
    is(&bench.fails(&guest).await, FailureKind::Trap, "invalid_discriminant");
    let kind = "(i32.store8 (i32.const 1040) (i32.const 9)) (i32.const 1024)";
    let refused = bench.try_load(&Guest::tool("lies").describe(kind)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Trap, "{refused}");
}

const THINGS: &str = "interface things { resource thing { constructor(); } }";
const THING_IMPORTS: &str = r#"
    (import "[export]test:guest/things" "[resource-new]thing" (func $new (param i32) (result i32)))
    (import "[export]test:guest/things" "[resource-drop]thing" (func $drop (param i32)))"#;

fn with_things(body: &str) -> Guest {
    let constructor =
        r#"(func (export "test:guest/things#[constructor]thing") (result i32) (call $new (i32.const 7)))"#;
    Guest::tool("hoards")
        .wit(THINGS)
        .world("export things;")
        .imports(THING_IMPORTS)
        .items(constructor)
        .body(body)
}

#[tokio::test]
async fn handles_are_limited() {
    let bench = Bench::new();
    let hoard = "(loop $more (drop (call $new (i32.const 1))) (br $more)) (unreachable)";
    assert_eq!(bench.fails(&with_things(hoard)).await.kind, FailureKind::HandleLimit);
    let churn = "(local.set $a (i32.const 100000))
        (loop $more (call $drop (call $new (i32.const 1))) (br_if $more (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))
        (call $number (i64.const 1))";
    assert_eq!(output(&bench.run(&with_things(churn)).await), "1");
}

#[tokio::test]
async fn handles_that_are_not_held_trap() {
    let bench = Bench::new();
    for body in [
        "(local.set $a (call $new (i32.const 1))) (call $drop (local.get $a)) (call $drop (local.get $a)) (i32.const 0)",
        "(call $drop (i32.const 4242)) (i32.const 0)",
    ] {
        is(&bench.fails(&with_things(body)).await, FailureKind::Trap, "invalid_handle");
    }
    // A handle of another type: a thing where a pollable is wanted.
    let poll = Guest::tool("mixes")
        .wit(THINGS)
        .world("export things;")
        .world(support::SLEEP_WORLD)
        .imports(&format!("{THING_IMPORTS}{}", support::SLEEP_IMPORTS))
        .items(r#"(func (export "test:guest/things#[constructor]thing") (result i32) (call $new (i32.const 7)))"#)
        .body("(call $block (call $new (i32.const 1))) (i32.const 0)");
    is(&bench.fails(&poll).await, FailureKind::Trap, "invalid_handle");
    let take =
        r#"(import "heddle:host/tools@0.1.0" "[method]pending-call.take" (func $take (param i32 i32)))"#;
    let forged = Guest::agent("forges")
        .imports(take)
        .body("(call $take (i32.const 77) (i32.const 40000)) (i32.const 0)");
    is(&bench.fails(&forged).await, FailureKind::Trap, "invalid_handle");
}

#[tokio::test]
async fn allocators_that_lie_trap() {
    let bench = Bench::new();
    is(&bench.fails(&Guest::tool("lies").realloc("(i32.const -16)")).await, FailureKind::Trap, "bad_realloc");
    is(
        &bench.fails(&Guest::tool("refuses").realloc("(unreachable)")).await,
        FailureKind::Trap,
        "unreachable",
    );
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let calls = "(call $log (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const 40000)";
    let failed = bench.fails(&Guest::tool("calls").imports(log).realloc(calls)).await;
    is(&failed, FailureKind::Trap, "cannot_leave_component");
    // Null and overlapping pointers are the guest's own business: its memory is its own.
    assert!(matches!(
        bench.run(&Guest::tool("null").realloc("(i32.const 0)")).await.outcome,
        Outcome::Done(_)
    ));
}

#[tokio::test]
async fn an_input_that_the_guest_cannot_take_is_a_value() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest::tool("same")).await;
    let large = format!("\"{}\"", "x".repeat((8 << 20) - 2));
    assert_eq!(output(&bench.host.call(bench.call(&loaded, &large)).await).len(), 8 << 20);
    let mut call = bench.call(&loaded, &large);
    call.limits.memory_bytes = 1 << 20;
    assert_eq!(failure(bench.host.call(call.clone()).await).kind, FailureKind::MemoryLimit);
    call.input = Json::parse(format!("\"{}\"", "x".repeat(8 << 20)).as_bytes()).unwrap();
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::InvalidInput);
    bench.is_well().await;
}
