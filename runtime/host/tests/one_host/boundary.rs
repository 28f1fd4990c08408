//! Cases 19 to 39: attacks at the component boundary. What comes out, handles, allocators, streams, clocks, versions.

use super::attack::{Attack, DONE, Ends, LOG, attack, ever, times, trap};
use super::support::{SLEEP_FOREVER, SLEEP_IMPORTS, SLEEP_WORLD, STDIO_IMPORTS, STDIO_WORLD};
use heddle_core::outcome::FailureKind::{
    ComponentInvalid, DeadlineExceeded, FuelExhausted, HandleLimit, HostcallDataLimit, InvalidOutput,
    MemoryLimit, OutputTooLarge, Trap,
};
use heddle_host::testkit::Guest;

pub(crate) fn all() -> Vec<Attack> {
    [
        outputs(),
        lists(),
        texts(),
        discriminants(),
        handles(),
        allocators(),
        floods(),
        random(),
        waits(),
        clocks(),
        versions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn returns(bytes: &[u8]) -> Guest {
    let body = format!("(call $ok (i32.const 32768) (i32.const {}))", bytes.len());
    Guest::tool("returns").data(32_768, bytes).body(&body)
}

fn sized(bytes: u32) -> Guest {
    let body = format!(
        "(memory.fill (i32.const 65536) (i32.const 49) (i32.const {bytes})) (global.set $heap (i32.const {}))
         (call $ok (i32.const 65536) (i32.const {bytes}))",
        65_536 + bytes
    );
    Guest::tool("large").memory("1200").body(&body)
}

fn outputs() -> Vec<Attack> {
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let strict = Guest::tool("strict").schemas("true", r#"{"type":"string"}"#);
    vec![
        attack(19, "return 64 MiB", sized(64 << 20), Ends::Fails(HostcallDataLimit)),
        attack(19, "return 9 MiB", sized(9 << 20), Ends::Fails(OutputTooLarge)),
        attack(24, "return another type", strict, Ends::Says(InvalidOutput, "schema_mismatch")),
        attack(25, "deep", returns(deep.as_bytes()), Ends::Fails(InvalidOutput)),
        attack(25, "twice the same key", returns(br#"{"a":1,"a":2}"#), Ends::Fails(InvalidOutput)),
        attack(25, "1e999", returns(b"1e999"), Ends::Fails(InvalidOutput)),
        attack(25, "20 digits", returns(b"12345678901234567890"), Ends::Succeeds("12345678901234567890")),
    ]
}

fn lists() -> Vec<Attack> {
    let claim = |ptr: &str, len: &str| {
        Guest::tool("lies").body(&format!("(call $ok (i32.const {ptr}) (i32.const {len}))"))
    };
    let print = "(call $print (call $stdout) (i32.const 65536) (i32.const 0x80000000) (i32.const 40000)) (i32.const 0)";
    let print = Guest::tool("lies").world(STDIO_WORLD).imports(STDIO_IMPORTS).body(print);
    let many = "(memory.copy (i32.const 40000) (i32.const 1024) (i32.const 120))
        (i32.store (i32.const 40052) (i32.const 65536)) (i32.store (i32.const 40056) (i32.const 1000000)) (i32.const 40000)";
    vec![
        attack(20, "claim 2 GiB", claim("65536", "0x80000000"), trap("string_out_of_bounds")),
        attack(20, "claim what is not there", claim("-16", "64"), trap("string_out_of_bounds")),
        attack(20, "print 2 GiB", print, trap("list_out_of_bounds")),
        attack(
            20,
            "a result nowhere",
            Guest::tool("lies").body("(i32.const -8)"),
            trap("pointer_out_of_bounds"),
        ),
        attack(
            22,
            "empty elements",
            Guest::tool("many").memory("400").describe(many),
            Ends::Refused(HostcallDataLimit),
        ),
    ]
}

fn texts() -> Vec<Attack> {
    let log = |len: usize| format!("(call $log (i32.const 2) (i32.const 32768) (i32.const {len})) {DONE}");
    let mut all = vec![attack(21, "NUL in JSON", returns(br#""a\u0000b""#), Ends::Succeeds(r#""a\u0000b""#))];
    for bytes in [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\xc0\x80\""] {
        all.push(attack(21, "no UTF-8", returns(bytes), trap("invalid_utf8")));
        let logs = Guest::tool("logs").imports(LOG).data(32_768, bytes).body(&log(bytes.len()));
        all.push(attack(21, "no UTF-8 in the log", logs, trap("invalid_utf8")));
    }
    all.push(attack(21, "NUL in the output", returns(b"\"a\0b\""), Ends::Fails(InvalidOutput)));
    all
}

fn discriminants() -> Vec<Attack> {
    let mut all = Vec::new();
    for (at, value) in [(0, 2), (0, 255), (8, 3), (32, 2)] {
        let body = format!(
            "(local.set $a (call $fail (i32.const 1) (i32.const 0) (i32.const 0)))
            (i32.store8 offset={at} (local.get $a) (i32.const {value})) (local.get $a)"
        );
        all.push(attack(23, "a case", Guest::tool("lies").body(&body), trap("invalid_discriminant")));
    }
    let logs = "(call $log (i32.const 99) (i32.const 0) (i32.const 0)) (i32.const 0)";
    let logs = Guest::tool("lies").imports(LOG).body(logs);
    all.push(attack(23, "a level", logs, trap("invalid_discriminant")));
    let kind = Guest::tool("lies").describe("(i32.store8 (i32.const 1040) (i32.const 9)) (i32.const 1024)");
    all.push(attack(23, "a kind", kind, Ends::Refused(Trap)));
    all
}

const THING_IMPORTS: &str = r#"
    (import "[export]test:guest/things" "[resource-new]thing" (func $new (param i32) (result i32)))
    (import "[export]test:guest/things" "[resource-drop]thing" (func $drop (param i32)))"#;

fn with_things(body: &str) -> Guest {
    Guest::tool("things")
        .wit("interface things { resource thing { constructor(); } }")
        .world(&format!("export things; {SLEEP_WORLD}"))
        .imports(&format!("{THING_IMPORTS}{SLEEP_IMPORTS}"))
        .items(r#"(func (export "test:guest/things#[constructor]thing") (result i32) (call $new (i32.const 7)))"#)
        .body(body)
}

fn handles() -> Vec<Attack> {
    let hoard = with_things(&ever("(drop (call $new (i32.const 1)))"));
    let mut all = vec![
        attack(26, "hoard things", hoard, Ends::Fails(HandleLimit)),
        attack(
            26,
            "hoard sleeps",
            with_things(&ever("(drop (call $sleep (i64.const 1)))")),
            Ends::Fails(HandleLimit),
        ),
    ];
    for (name, body) in [
        (
            "drop twice",
            "(local.set $a (call $new (i32.const 1))) (call $drop (local.get $a)) (call $drop (local.get $a))",
        ),
        ("forge", "(call $drop (i32.const 4242))"),
        ("another type", "(call $block (call $new (i32.const 1)))"),
        ("another type, dropped", "(call $drop (call $sleep (i64.const 1)))"),
    ] {
        let guest = with_things(&format!("{body} (i32.const 0)"));
        all.push(attack(28, name, guest, trap("invalid_handle")));
    }
    all
}

fn allocators() -> Vec<Attack> {
    let logs = "(call $log (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const 40000)";
    let askew = "(i32.store (i32.const 32768) (call $sleep (i64.const 1)))
        (call $poll (i32.const 32768) (i32.const 1) (i32.const 40000)) (i32.const 0)";
    let askew = Guest::tool("askew")
        .world(SLEEP_WORLD)
        .imports(SLEEP_IMPORTS)
        .realloc("(i32.const 40001)")
        .body(askew);
    let post = format!(
        r#"(func (export "cabi_post_heddle:plugin/callable@0.1.0#call") (param i32) {})"#,
        "(loop $again (br $again))"
    );
    let refuses = |what: &str| {
        Guest::tool("refuses").realloc(&format!(
            "(if (result i32) (i32.gt_u (local.get $len) (i32.const 1048576)) (then {what})
             (else (call $move (local.get $old) (local.get $old_len) (local.get $align) (local.get $len))))"
        ))
    };
    let large = || format!("\"{}\"", "x".repeat((8 << 20) - 2));
    vec![
        attack(29, "out of bounds", Guest::tool("lies").realloc("(i32.const -16)"), trap("bad_realloc")),
        attack(29, "misaligned", askew, trap("bad_realloc")),
        attack(29, "null", Guest::tool("null").realloc("(i32.const 0)"), Ends::Succeeds("1")),
        attack(
            29,
            "call the host",
            Guest::tool("calls").imports(LOG).realloc(logs),
            trap("cannot_leave_component"),
        ),
        attack(29, "allocate for ever", Guest::tool("spins").realloc(&ever("")), Ends::Fails(FuelExhausted)),
        attack(29, "clean up for ever", Guest::tool("cleans").items(&post), Ends::Fails(FuelExhausted)),
        attack(30, "refuse the input", refuses("(unreachable)"), trap("unreachable")).on(large()),
        attack(30, "have no room for the input", refuses("(i32.const -1)"), trap("bad_realloc")).on(large()),
        attack(30, "have no memory for the input", Guest::tool("small"), Ends::Fails(MemoryLimit))
            .on(large())
            .within(|l| l.memory_bytes = 1 << 20),
    ]
}

fn floods() -> Vec<Attack> {
    let stdio = |stream: &str| {
        let print = "(call $print (local.get $a) (i32.const 65536) (i32.const 1048576) (i32.const 40000))";
        let body = format!("(local.set $a (call {stream})) {} {DONE}", times(1_024, print));
        Guest::tool("floods").memory("20").world(STDIO_WORLD).imports(STDIO_IMPORTS).body(&body)
    };
    let lines = times(999_999, "(call $log (i32.const 2) (i32.const 32768) (i32.const 5))") + DONE;
    let lines = Guest::tool("floods").imports(LOG).data(32_768, b"\r\n\x1b[2").body(&lines);
    let line = format!("(call $log (i32.const 4) (i32.const 65536) (i32.const 10485760)) {DONE}");
    vec![
        attack(31, "stdout", stdio("$stdout"), Ends::Succeeds("1")).fuelled(),
        attack(31, "stderr", stdio("$stderr"), Ends::Succeeds("1")).fuelled(),
        attack(33, "many lines", lines, Ends::Succeeds("1")).fuelled(),
        attack(
            33,
            "one line",
            Guest::tool("shouts").memory("170").imports(LOG).body(&line),
            Ends::Succeeds("1"),
        ),
    ]
}

fn random() -> Vec<Attack> {
    let draws = |body: &str| {
        Guest::tool("draws")
            .world("import wasi:random/random@0.2.6;")
            .imports(
                r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $bytes (param i64 i32)))"#,
            )
            .body(body)
    };
    let small = "(global.set $heap (i32.const 65600)) (call $bytes (i64.const 64) (i32.const 40000))";
    vec![
        attack(
            34,
            "1 GiB",
            draws("(call $bytes (i64.const 1073741824) (i32.const 40000)) (i32.const 0)"),
            Ends::Fails(HostcallDataLimit),
        ),
        attack(34, "many small ones", draws(&(times(100_000, small) + DONE)), Ends::Succeeds("1")),
        attack(34, "small ones for ever", draws(&ever(small)), Ends::Fails(FuelExhausted)),
    ]
}

fn waits() -> Vec<Attack> {
    let guest =
        |body: &str| Guest::tool("waits").memory("10").world(SLEEP_WORLD).imports(SLEEP_IMPORTS).body(body);
    let poll = |count: u32| {
        let push =
            "(i32.store (local.get $b) (local.get $a)) (local.set $b (i32.add (local.get $b) (i32.const 4)))";
        guest(&format!(
            "(local.set $a (call $sleep (i64.const 3155760000000000000))) (local.set $b (i32.const 65536))
             (global.set $heap (i32.const 524288)) {} (call $poll (i32.const 65536) (i32.const {count}) (i32.const 40000)) (i32.const 0)",
            times(count, push)
        ))
    };
    let late = Ends::Fails(DeadlineExceeded);
    vec![
        attack(35, "sleep 100 years", guest(SLEEP_FOREVER), late).within(|l| l.wall_ms = 200),
        attack(35, "poll what never comes", poll(1_000), late).within(|l| l.wall_ms = 200),
        attack(35, "poll 100,000", poll(100_000), Ends::Fails(HandleLimit)),
        attack(
            35,
            "poll nothing",
            guest("(call $poll (i32.const 0) (i32.const 0) (i32.const 40000)) (i32.const 0)"),
            trap("empty_poll"),
        ),
    ]
}

fn clocks() -> Vec<Attack> {
    let look = "(local.set $wide (i64.or (local.get $wide) (i64.rem_u (call $ticks) (i64.const 1000000))))";
    let body = times(200_000, look) + "(call $number (local.get $wide))";
    let guest = Guest::tool("looks")
        .world("import wasi:clocks/monotonic-clock@0.2.6;")
        .imports(r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $ticks (result i64)))"#)
        .body(&body);
    vec![attack(36, "look at the clock", guest, Ends::Succeeds("0"))]
}

fn versions() -> Vec<Attack> {
    let log = r#"(import "heddle:host/log@0.2.0" "write" (func (param i32 i32 i32)))"#;
    [
        ("export off by one", Guest::tool("ahead").plugin_version("0.1.1")),
        ("import off by one", Guest::tool("ahead").host_version("0.2.0").imports(log)),
        ("another kind", Guest::tool("liar").says_kind(heddle_core::outcome::PluginKind::Agent)),
    ]
    .map(|(name, guest)| attack(39, name, guest, Ends::Refused(ComponentInvalid)))
    .into()
}
