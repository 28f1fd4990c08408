//! The component boundary: what a guest hands over, and what it does with handles.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_host::testkit::Guest;
use support::{Bench, failure, is, output, process};

/// A tool that returns these bytes.
fn returns(bytes: &[u8]) -> Guest {
    Guest::tool("returns")
        .data(32_768, bytes)
        .body(&format!("(call $ok (i32.const 32768) (i32.const {}))", bytes.len()))
}

/// A tool that returns so many digits.
fn sized(bytes: u32) -> Guest {
    let body = format!(
        "(memory.fill (i32.const 65536) (i32.const 49) (i32.const {bytes})) (global.set $heap (i32.const {}))
         (call $ok (i32.const 65536) (i32.const {bytes}))",
        65_536 + bytes
    );
    Guest::tool("large").memory("1200").body(&body)
}

/// Case 19.
#[tokio::test]
async fn outputs_are_bounded() {
    let bench = Bench::new();
    assert_eq!(bench.fails(&sized(64 << 20)).await.kind, FailureKind::HostcallDataLimit);
    assert_eq!(bench.fails(&sized(9 << 20)).await.kind, FailureKind::OutputTooLarge);
    let loaded = bench.load(&sized(4_000)).await;
    let mut call = bench.call(&loaded, "1");
    call.limits.output_bytes = 3_999;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::OutputTooLarge);
    bench.is_idle();
}

/// Case 19, case 20: what the process needs at its peak is what the guest has, and 32 MiB; and an allocation that was
/// made but never touched would show in its address space.
#[tokio::test]
async fn what_a_guest_claims_to_return_is_never_allocated() {
    let bench = Bench::new();
    let claims = Guest::tool("lies").body("(call $ok (i32.const 65536) (i32.const 0x80000000))");
    let guests = [
        (sized(64 << 20), FailureKind::HostcallDataLimit),
        (sized((16 << 20) + 1), FailureKind::HostcallDataLimit),
        (sized(15 << 20), FailureKind::OutputTooLarge),
        (claims, FailureKind::Trap),
    ];
    let mut loaded = Vec::new();
    for (guest, _) in &guests {
        loaded.push(bench.load(guest).await);
    }
    bench.is_well().await;
    let space_before = process::address_space_kib();
    for (loaded, (_, kind)) in loaded.iter().zip(&guests) {
        bench.flush().await;
        let before = process::held();
        process::forget_peak();
        let end = bench.host.call(bench.call(loaded, "1")).await;
        let guests_own = end.usage.memory_peak_bytes / 1024;
        assert_eq!(failure(end).kind, *kind);
        let more = process::peak_kib().saturating_sub(before.resident_kib);
        assert!(more < guests_own + 32 * 1024, "{kind:?}: {more} KiB more than before");
    }
    let more = process::address_space_kib() - space_before;
    assert!(more < 1024 * 1024, "{more} KiB more address space, and the claim was for twice that");
    bench.is_well().await;
}

/// Case 20.
#[tokio::test]
async fn lists_that_are_not_there_trap() {
    let bench = Bench::new();
    for (ptr, len) in
        [("65536", "0x7fffffff"), ("65536", "0x80000000"), ("-16", "64"), ("-1", "-1"), ("0x7fffffff", "100")]
    {
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
    // As an argument of a host call: bytes, and a list of handles.
    for (ptr, len) in [("65536", "0x80000000"), ("-16", "64"), ("0x7fffffff", "100")] {
        let print = format!(
            "(call $print (call $stdout) (i32.const {ptr}) (i32.const {len}) (i32.const 40000)) (i32.const 0)"
        );
        let guest =
            Guest::tool("lies").world(support::STDIO_WORLD).imports(support::STDIO_IMPORTS).body(&print);
        is(&bench.fails(&guest).await, FailureKind::Trap, "list_out_of_bounds");
        let poll =
            format!("(call $poll (i32.const {ptr}) (i32.const {len}) (i32.const 40000)) (i32.const 0)");
        let guest =
            Guest::tool("lies").world(support::SLEEP_WORLD).imports(support::SLEEP_IMPORTS).body(&poll);
        let failed = bench.fails(&guest).await;
        assert_eq!(failed.kind, FailureKind::Trap, "{ptr} {len}: {failed:?}");
    }
}

/// Case 21.
#[tokio::test]
async fn text_that_is_not_utf8_traps() {
    let bench = Bench::new();
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    for bytes in
        [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\xc0\x80\"", b"\"\xf4\x90\x80\x80\"", b"\"\xe2\x82\""]
    {
        is(&bench.fails(&returns(bytes)).await, FailureKind::Trap, "invalid_utf8");
        let fails = format!("(call $fail (i32.const 1) (i32.const 32768) (i32.const {}))", bytes.len());
        let guest = Guest::tool("fails").data(32_768, bytes).body(&fails);
        is(&bench.fails(&guest).await, FailureKind::Trap, "invalid_utf8");
        let logs = format!(
            "(call $log (i32.const 2) (i32.const 32768) (i32.const {})) (call $number (i64.const 1))",
            bytes.len()
        );
        let guest = Guest::tool("logs").imports(log).data(32_768, bytes).body(&logs);
        is(&bench.fails(&guest).await, FailureKind::Trap, "invalid_utf8");
    }
    // A lone surrogate that is written as an escape is no text either.
    assert_eq!(bench.fails(&returns(br#""\ud800""#)).await.kind, FailureKind::InvalidOutput);
    assert_eq!(output(&bench.run(&returns(br#""a\u0000b""#)).await), r#""a\u0000b""#);
}

/// Case 24, case 25. What does not match the schema is in `calls.rs`.
#[tokio::test]
async fn outputs_that_are_not_json_are_refused_and_say_where() {
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let too_deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    for (text, says) in [
        (deep.as_str(), "nested deeper"),
        (too_deep.as_str(), "nested deeper"),
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
    let deepest = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(output(&bench.run(&returns(deepest.as_bytes())).await), deepest);
    for number in ["12345678901234567890", "0.1000000000000000055511151231257827", "1.50", "1e400"] {
        let end = bench.run(&returns(format!(" [ {number} ] ").as_bytes())).await;
        match number {
            "1e400" => assert_eq!(failure(end).kind, FailureKind::InvalidOutput),
            _ => assert_eq!(output(&end), format!("[{number}]"), "kept as it was written"),
        }
    }
    // However it was written, what is kept is the same text; the fingerprint is that of the text.
    for text in [r#"{"b":[1,true],"a":null}"#, "\n{ \"a\" : null,\t\"b\":[ 1 , true ] }"] {
        assert_eq!(output(&bench.run(&returns(text.as_bytes())).await), r#"{"a":null,"b":[1,true]}"#);
    }
}

/// Case 22.
#[tokio::test]
async fn elements_without_content_are_charged() {
    let bench = Bench::new();
    // Capability names of no length, in a copy of the metadata record.
    let many = |count: u32| {
        let body = format!(
            "(memory.copy (i32.const 40000) (i32.const 1024) (i32.const 120))
            (i32.store (i32.const 40052) (i32.const 65536)) (i32.store (i32.const 40056) (i32.const {count})) (i32.const 40000)"
        );
        Guest::tool("many").memory("400").describe(&body)
    };
    let refused = bench.try_load(&many(1_000_000)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::HostcallDataLimit, "{refused}");
    // Fewer come across, and do not make a fault each.
    let refused = bench.try_load(&many(600_000)).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.faults.len()),
        (FailureKind::ComponentInvalid, 65),
        "{:?}",
        &refused.faults[..1]
    );
    bench.is_well().await;
}

/// Case 23.
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
    // Where the host reads by the type alone: an address family.
    let guest = Guest::tool("lies")
        .world("import wasi:sockets/tcp-create-socket@0.2.6;")
        .imports(r#"(import "wasi:sockets/tcp-create-socket@0.2.6" "create-tcp-socket" (func $socket (param i32 i32)))"#)
        .body("(call $socket (i32.const 9) (i32.const 40000)) (i32.const 0)");
    is(&bench.fails(&guest).await, FailureKind::Trap, "invalid_discriminant");
    let kind = "(i32.store8 (i32.const 1040) (i32.const 9)) (i32.const 1024)";
    let refused = bench.try_load(&Guest::tool("lies").describe(kind)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Trap, "{refused}");
}

/// Case 23: no interface of the host has a `char`; between two components inside a plugin there can be one.
#[tokio::test]
async fn a_char_that_does_not_exist_traps() {
    let bench = Bench::new();
    let pair = |value: &str| {
        let pair = format!(
            r#"(component
            (component $takes
              (core module $m (func (export "f") (param i32)))
              (core instance $i (instantiate $m))
              (func (export "f") (param "c" char) (canon lift (core func $i "f"))))
            (component $gives
              (import "f" (func $f (param "c" char)))
              (core func $lowered (canon lower (func $f)))
              (core module $m (import "" "f" (func $f (param i32))) (func $s (call $f (i32.const {value}))) (start $s))
              (core instance (instantiate $m (with "" (instance (export "f" (func $lowered)))))))
            (instance $a (instantiate $takes))
            (instance (instantiate $gives (with "f" (func $a "f")))))"#
        );
        Guest::tool("pair").beside(&pair)
    };
    assert_eq!(output(&bench.run(&pair("0x1f600")).await), "null");
    for value in ["0x110000", "0xd800", "-1"] {
        let refused = bench.try_load(&pair(value)).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Trap, "{refused}");
    }
    bench.is_well().await;
}

const THINGS: &str = "interface things { resource thing { constructor(); } }";
const THING_IMPORTS: &str = r#"
    (import "[export]test:guest/things" "[resource-new]thing" (func $new (param i32) (result i32)))
    (import "[export]test:guest/things" "[resource-drop]thing" (func $drop (param i32)))
    (import "[export]test:guest/things" "[resource-rep]thing" (func $rep (param i32) (result i32)))"#;

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

/// Case 26.
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

/// Case 28: the guest's own resources.
#[tokio::test]
async fn handles_that_are_not_held_trap() {
    let bench = Bench::new();
    for body in [
        // Dropped twice, forged, and used after it was dropped.
        "(local.set $a (call $new (i32.const 1))) (call $drop (local.get $a)) (call $drop (local.get $a)) (i32.const 0)",
        "(call $drop (i32.const 4242)) (i32.const 0)",
        "(drop (call $new (i32.const 1))) (call $drop (i32.const 0)) (i32.const 0)",
        "(call $drop (i32.const -1)) (i32.const 0)",
        "(local.set $a (call $new (i32.const 1))) (call $drop (local.get $a)) (drop (call $rep (local.get $a))) (i32.const 0)",
    ] {
        is(&bench.fails(&with_things(body)).await, FailureKind::Trap, "invalid_handle");
    }
}

/// Case 28: the host's resources, and one in the place of another.
#[tokio::test]
async fn handles_of_another_type_or_of_nobody_trap() {
    let bench = Bench::new();
    let imports = format!(
        r#"{THING_IMPORTS}{}{}
        (import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))
        (import "wasi:io/poll@0.2.6" "[resource-drop]pollable" (func $drop-pollable (param i32)))"#,
        support::SLEEP_IMPORTS,
        support::STDIO_IMPORTS
    );
    let print = "(i32.const 32768) (i32.const 1) (i32.const 40000)";
    for body in [
        // Used and dropped after it was dropped.
        "(local.set $a (call $sleep (i64.const 1))) (call $drop-pollable (local.get $a)) (call $block (local.get $a))",
        "(local.set $a (call $sleep (i64.const 1))) (call $drop-pollable (local.get $a)) (call $drop-pollable (local.get $a))",
        // A thing, a stream, an input where a pollable or an output is wanted.
        "(call $block (call $new (i32.const 1)))",
        "(call $block (call $stdout))",
        "(call $drop-pollable (call $stdout))",
        "(call $drop (call $sleep (i64.const 1)))",
        &format!("(call $print (call $stdin) {print})"),
        &format!("(call $print (call $sleep (i64.const 1)) {print})"),
        // The host knows stdout and stderr by 1 and 2. That is not what a guest's handles are.
        &format!("(call $print (i32.const 1) {print})"),
        &format!("(call $print (i32.const 2) {print})"),
        // In a list, where all the others are right.
        "(i32.store (i32.const 32768) (call $sleep (i64.const 1))) (i32.store (i32.const 32772) (call $stdout))
         (call $poll (i32.const 32768) (i32.const 2) (i32.const 40000))",
    ] {
        let guest = Guest::tool("mixes")
            .wit(THINGS)
            .world(&format!("export things; import wasi:cli/stdin@0.2.6; {} {}", support::SLEEP_WORLD, support::STDIO_WORLD))
            .imports(&imports)
            .items(r#"(func (export "test:guest/things#[constructor]thing") (result i32) (call $new (i32.const 7)))"#)
            .body(&format!("{body} (i32.const 0)"));
        is(&bench.fails(&guest).await, FailureKind::Trap, "invalid_handle");
    }
    let take =
        r#"(import "heddle:host/tools@0.1.0" "[method]pending-call.take" (func $take (param i32 i32)))"#;
    let forged = Guest::agent("forges")
        .imports(take)
        .body("(call $take (i32.const 77) (i32.const 40000)) (i32.const 0)");
    is(&bench.fails(&forged).await, FailureKind::Trap, "invalid_handle");
}

/// Case 29.
#[tokio::test]
async fn allocators_that_lie_trap() {
    let bench = Bench::new();
    for nowhere in ["(i32.const -16)", "(i32.const -1)", "(i32.shl (memory.size) (i32.const 16))"] {
        let failed = bench.fails(&Guest::tool("lies").realloc(nowhere)).await;
        is(&failed, FailureKind::Trap, "bad_realloc");
    }
    is(
        &bench.fails(&Guest::tool("refuses").realloc("(unreachable)")).await,
        FailureKind::Trap,
        "unreachable",
    );
    let ever =
        bench.fails(&Guest::transform("spins").realloc("(loop $again (br $again)) (unreachable)")).await;
    assert_eq!(ever.kind, FailureKind::FuelExhausted);
    // Not on its boundary: the answer of `poll` is a list of numbers.
    let poll = "(i32.store (i32.const 32768) (call $sleep (i64.const 1)))
        (call $poll (i32.const 32768) (i32.const 1) (i32.const 40000)) (i32.const 0)";
    let askew = Guest::tool("askew")
        .world(support::SLEEP_WORLD)
        .imports(support::SLEEP_IMPORTS)
        .realloc("(i32.const 40001)")
        .body(poll);
    is(&bench.fails(&askew).await, FailureKind::Trap, "bad_realloc");
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    let calls = "(call $log (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const 40000)";
    let failed = bench.fails(&Guest::tool("calls").imports(log).realloc(calls)).await;
    is(&failed, FailureKind::Trap, "cannot_leave_component");
}

/// Case 29: null and overlapping pointers lie within the guest's memory, so they are the guest's own business. What it
/// reads there is what the host wrote last, and nothing else changes. Case 204.
#[tokio::test]
async fn an_allocator_that_hurts_its_guest_hurts_nobody_else() {
    let bench = Bench::new();
    assert_eq!(output(&bench.run(&Guest::tool("null").realloc("(i32.const 0)")).await), "null");
    let both = Guest::agent("overlaps").realloc("(i32.const 40000)");
    let loaded = bench.load(&both).await;
    let mut call = bench.call(&loaded, "[1,2,3]");
    call.state = Some(Json::parse(b"[4,5,6]").unwrap());
    assert_eq!(output(&bench.host.call(call).await), "[4,5,6]", "the state lies over the goal");
    bench.is_well().await;
}

/// Case 29: the guest runs once more after its result was read, to clean up. Case 205.
#[tokio::test]
async fn cleaning_up_is_under_the_same_limits() {
    let bench = Bench::new();
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    for (what, kind) in [
        ("(loop $again (br $again))", FailureKind::FuelExhausted),
        ("(unreachable)", FailureKind::Trap),
        ("(call $log (i32.const 2) (i32.const 0) (i32.const 0))", FailureKind::Trap),
    ] {
        let clean = format!(
            r#"(func (export "cabi_post_heddle:plugin/transformer@0.1.0#apply") (param i32) {what})"#
        );
        let failed = bench.fails(&Guest::transform("cleans").imports(log).items(&clean)).await;
        assert_eq!(failed.kind, kind, "{failed:?}");
    }
}

/// Case 30.
#[tokio::test]
async fn an_input_that_the_guest_cannot_take_is_a_value() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest::tool("same")).await;
    let large = format!("\"{}\"", "x".repeat((8 << 20) - 2));
    let whole = bench.call(&loaded, &large);
    // It takes what is small, so nothing shows when it is loaded. Large things it will not, or cannot.
    let refuses = |what: &str| {
        Guest::tool("refuses").realloc(&format!(
            "(if (result i32) (i32.gt_u (local.get $len) (i32.const 1048576)) (then {what})
             (else (call $move (local.get $old) (local.get $old_len) (local.get $align) (local.get $len))))"
        ))
    };
    for (what, code) in [
        ("(unreachable)", "unreachable"),
        ("(i32.const 0)", "bad_realloc"),
        ("(i32.const -1)", "bad_realloc"),
    ] {
        let refusing = bench.load(&refuses(what)).await;
        let mut call = bench.call(&refusing, &large);
        is(&failure(bench.host.call(call.clone()).await), FailureKind::Trap, code);
        bench.is_well().await;
        // The input is the caller's as before: whoever can take it gets all of it.
        call.component = loaded.inspection.digest;
        assert_eq!(output(&bench.host.call(call).await), large);
    }
    assert_eq!(output(&bench.host.call(whole.clone()).await).len(), 8 << 20);
    let mut call = whole;
    call.limits.memory_bytes = 1 << 20;
    assert_eq!(failure(bench.host.call(call.clone()).await).kind, FailureKind::MemoryLimit);
    call.input = Json::parse(format!("\"{}\"", "x".repeat(8 << 20)).as_bytes()).unwrap();
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::InvalidInput);
    bench.is_well().await;
}
