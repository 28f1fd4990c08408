//! What ordinary toolchains import: linked, and empty. Clocks and randomness by kind, sleeps, logs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::{FailureKind, Outcome, PluginKind};
use heddle_host::testkit::Guest;
use heddle_host::{LogLevel, Progress};
use std::sync::Arc;
use std::time::SystemTime;
use support::{Bench, Recorder, STDIO_IMPORTS, STDIO_WORLD, failure, is, output};

const LOG: &str = r#"(import "heddle:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// Repeats something so many times.
fn times(count: u32, what: &str) -> String {
    format!(
        "(local.set $c (i32.const {count})) (loop $again {what} (br_if $again (local.tee $c (i32.sub (local.get $c) (i32.const 1)))))"
    )
}

async fn recorded(bench: &Bench, guest: &Guest) -> (heddle_core::outcome::AttemptEnd, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let loaded = bench.load(guest).await;
    let mut call = bench.call(&loaded, "1");
    call.host_calls = recorder.clone();
    let end = bench.host.call(call).await;
    bench.is_idle();
    (end, recorder)
}

/// Case 31: a GiB each, a MiB at a time, as lines of 256 bytes and as one line without an end.
#[tokio::test]
async fn a_flood_on_stdout_and_stderr_is_cut_and_the_attempt_succeeds() {
    let bench = Bench::new();
    let body = |ends: u32| {
        format!(
            "(memory.fill (i32.const 65536) (i32.const 120) (i32.const 1048576))
            (local.set $c (i32.const 65791))
            (loop $next (i32.store8 (local.get $c) (i32.const {ends}))
              (br_if $next (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 256))) (i32.const 1114112))))
            (local.set $a (call $stdout)) (local.set $b (call $stderr)) {} (call $number (i64.const 1))",
            times(
                1024,
                "(call $print (local.get $a) (i32.const 65536) (i32.const 1048576) (i32.const 40000))
                 (call $print (local.get $b) (i32.const 65536) (i32.const 1048576) (i32.const 40000))"
            )
        )
    };
    let guest =
        |ends| Guest::tool("floods").memory("20").world(STDIO_WORLD).imports(STDIO_IMPORTS).body(&body(ends));
    let dropped = (1u64 << 30) - bench.limits.stdio_bytes;
    let marks =
        ["stdout", "stderr"].map(|name| format!("{name}: {dropped} bytes dropped (`limits.stdio_bytes`)"));

    let (end, recorder) = recorded(&bench, &guest(10)).await;
    assert_eq!(output(&end), "1");
    let lines = recorder.lines.lock().unwrap().clone();
    let (kept, said) = lines.split_at(lines.len() - 2);
    for level in [LogLevel::Info, LogLevel::Warn] {
        let kept = kept.iter().filter(|(found, line)| *found == level && line.as_str() == "x".repeat(255));
        assert_eq!(
            kept.count() as u64 * 256,
            bench.limits.stdio_bytes,
            "64 KiB of each, line breaks counted"
        );
    }
    assert_eq!(kept.len() as u64 * 256, 2 * bench.limits.stdio_bytes, "and nothing else");
    assert!(said.iter().map(|(_, line)| line).eq(&marks), "{said:?}");

    let (end, recorder) = recorded(&bench, &guest(120)).await;
    assert_eq!(output(&end), "1");
    let lines = recorder.lines();
    assert!(lines.len() == 4 && lines[2..] == marks, "{:?}", &lines[2..]);
    assert!(
        lines[..2].iter().all(|line| line.len() as u64 <= bench.limits.log_line_bytes && line.ends_with('…'))
    );
    bench.is_well().await;
}

/// Case 21, case 31: bytes on stdout need not be text. What is none is shown as what it is, and not as something else.
#[tokio::test]
async fn bytes_that_are_no_text_are_written_out() {
    let bench = Bench::new();
    let bytes = b"a\xffb\xed\xa0\x80c\0\xe2\x82";
    let body = format!(
        "(call $print (call $stdout) (i32.const 32768) (i32.const {}) (i32.const 40000)) (call $number (i64.const 1))",
        bytes.len()
    );
    let guest =
        Guest::tool("prints").world(STDIO_WORLD).imports(STDIO_IMPORTS).data(32_768, bytes).body(&body);
    let (end, recorder) = recorded(&bench, &guest).await;
    assert_eq!(output(&end), "1");
    assert_eq!(recorder.lines(), [r"a\xffb\xed\xa0\x80c\u{0}\xe2\x82"]);
    bench.is_well().await;
}

#[tokio::test]
async fn stdout_and_stderr_become_lines() {
    let bench = Bench::new();
    let body = "(call $print (call $stdout) (i32.const 32768) (i32.const 8) (i32.const 40000))
        (call $print (call $stderr) (i32.const 32776) (i32.const 4) (i32.const 40000)) (call $number (i64.const 1))";
    let guest = Guest::tool("prints")
        .world(STDIO_WORLD)
        .imports(STDIO_IMPORTS)
        .data(32_768, b"one\ntwo\noh\x1bm")
        .body(body);
    let (end, recorder) = recorded(&bench, &guest).await;
    assert_eq!(output(&end), "1");
    assert_eq!(recorder.lines(), ["one", "two", "oh\\u{1b}m"]);
}

/// Case 33: a million lines, beside a neighbour that says little, and loses nothing of it.
#[tokio::test]
async fn a_flood_of_log_lines_is_dropped_and_counted() {
    let bench = Bench::new();
    let logs = |count: u32| {
        format!(
            "{} (call $number (i64.const 1))",
            times(count, "(call $log (i32.const 2) (i32.const 32768) (i32.const 5))")
        )
    };
    let quiet = bench.load(&Guest::tool("quiet").imports(LOG).data(32_768, b"hello").body(&logs(20))).await;
    let loud = Guest::tool("floods").imports(LOG).data(32_768, b"\r\n\x1b[2").body(&logs(1_000_000));
    let mut call = bench.call(&bench.load(&loud).await, "1");
    let recorder = Arc::new(Recorder::default());
    call.host_calls = recorder.clone();
    let flood = tokio::spawn(bench.host.call(call));
    bench.busy(1).await;
    let mut heard = 0;
    while heard < 10 || !flood.is_finished() {
        let neighbour = Arc::new(Recorder::default());
        let mut call = bench.call(&quiet, "1");
        call.host_calls = neighbour.clone();
        assert_eq!(output(&bench.host.call(call).await), "1");
        assert_eq!(neighbour.lines(), ["hello"; 20]);
        heard += 1;
    }
    let end = flood.await.unwrap();
    assert_eq!((output(&end), end.usage.hostcalls), ("1", 1_000_000));
    let lines = recorder.lines();
    let (mark, kept) = lines.split_last().unwrap();
    assert!(kept.iter().all(|line| line == "\\r\\n\\u{1b}[2"), "{:?}", kept.first());
    assert_eq!(
        *mark,
        format!(
            "{} lines dropped (`limits.log_bytes`, `limits.log_lines_per_second`)",
            1_000_000 - kept.len()
        )
    );
    assert!(kept.iter().map(String::len).sum::<usize>() as u64 <= bench.limits.log_bytes);
    bench.is_well().await;
}

/// Case 33: one line of 10 MiB.
#[tokio::test]
async fn one_huge_line_is_cut() {
    let bench = Bench::new();
    let body = "(memory.fill (i32.const 65536) (i32.const 97) (i32.const 10485760))
        (call $log (i32.const 4) (i32.const 65536) (i32.const 10485760)) (call $number (i64.const 1))";
    let (end, recorder) =
        recorded(&bench, &Guest::tool("shouts").memory("170").imports(LOG).body(body)).await;
    assert_eq!(output(&end), "1");
    let lines = recorder.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].len() as u64 <= bench.limits.log_line_bytes && lines[0].ends_with('…'));
    bench.is_well().await;
}

/// Case 33: by each of the three ways into the log, nothing arrives that a terminal would obey, or that JSON would have
/// to escape as a control character.
#[tokio::test]
async fn nothing_in_a_line_can_draw() {
    let bench = Bench::new();
    let mut bytes: Vec<u8> = (0..32).chain([127]).filter(|byte| *byte != b'\n').collect();
    bytes.extend("\u{9b}31m\u{85}\u{202e}\u{2028}\u{feff}end".as_bytes());
    let len = bytes.len();
    let body = format!(
        "(call $log (i32.const 2) (i32.const 32768) (i32.const {len}))
         (call $print (call $stdout) (i32.const 32768) (i32.const {len}) (i32.const 40000))
         (call $print (call $stderr) (i32.const 32768) (i32.const {len}) (i32.const 40000)) (call $number (i64.const 1))"
    );
    let guest = Guest::tool("draws")
        .world(STDIO_WORLD)
        .imports(&format!("{LOG}{STDIO_IMPORTS}"))
        .data(32_768, &bytes)
        .body(&body);
    let (end, recorder) = recorded(&bench, &guest).await;
    assert_eq!(output(&end), "1");
    let lines = recorder.lines();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(*line, lines[0]);
        assert!(line.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line:?}");
        assert!(
            line.starts_with("\\u{0}") && line.contains("\\u{1b}") && line.ends_with("\\u{feff}end"),
            "{line}"
        );
    }
    bench.is_well().await;
}

/// Case 34.
#[tokio::test]
async fn randomness_is_bounded_and_paid_for() {
    let bench = Bench::new();
    let world = "import wasi:random/random@0.2.6;";
    let imports = r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $bytes (param i64 i32)))
        (import "heddle:host/random@0.1.0" "bytes" (func $own (param i32 i32)))"#;
    for body in [
        "(call $bytes (i64.const 1073741824) (i32.const 40000))",
        "(call $bytes (i64.const -1) (i32.const 40000))",
        "(call $own (i32.const 1073741824) (i32.const 40000))",
        "(call $own (i32.const 65537) (i32.const 40000))",
    ] {
        let guest =
            Guest::tool("greedy").world(world).imports(imports).body(&format!("{body} (i32.const 0)"));
        assert_eq!(bench.fails(&guest).await.kind, FailureKind::HostcallDataLimit);
    }
    let body = format!(
        "{} (call $number (i64.const 1))",
        times(100_000, "(global.set $heap (i32.const 65536)) (call $bytes (i64.const 64) (i32.const 40000))")
    );
    let sips = |guest: Guest| guest.world(world).imports(imports).body(&body);
    let end = bench.run(&sips(Guest::tool("sips"))).await;
    assert_eq!(output(&end), "1");
    assert!(end.usage.fuel > 100_000 * 101 && end.usage.hostcalls == 100_000, "{:?}", end.usage);
    let mut call = bench.call(&bench.load(&sips(Guest::tool("sips"))).await, "1");
    call.limits.fuel = 50_000 * 101;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::FuelExhausted);
    bench.is_well().await;
}

/// Adds up every clock and every source of randomness, under both their names.
fn senses(guest: Guest) -> Guest {
    guest
        .world("import wasi:clocks/wall-clock@0.2.6; import wasi:clocks/monotonic-clock@0.2.6; import wasi:random/random@0.2.6;
                import wasi:random/insecure@0.2.6; import wasi:random/insecure-seed@0.2.6;")
        .imports(
            r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))
            (import "heddle:host/clock@0.1.0" "monotonic-ns" (func $mono (result i64)))
            (import "heddle:host/random@0.1.0" "next-u64" (func $own (result i64)))
            (import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))
            (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $ticks (result i64)))
            (import "wasi:random/random@0.2.6" "get-random-u64" (func $random (result i64)))
            (import "wasi:random/insecure@0.2.6" "get-insecure-random-u64" (func $insecure (result i64)))
            (import "wasi:random/insecure-seed@0.2.6" "insecure-seed" (func $seed (param i32)))"#,
        )
        .body(
            "(call $wall (i32.const 40000)) (call $seed (i32.const 40016))
            (call $number (i64.add (i64.add (i64.add (call $now) (call $mono)) (i64.add (call $own) (i64.load (i32.const 40000))))
             (i64.add (i64.add (call $ticks) (call $random)) (i64.add (call $insecure) (i64.load (i32.const 40016))))))",
        )
}

/// Case 217.
#[tokio::test]
async fn a_transform_senses_nothing_a_tool_the_world() {
    let bench = Bench::new();
    let transform = bench.load(&senses(Guest::transform("pure"))).await;
    let tool = bench.load(&senses(Guest::tool("real"))).await;
    let mut call = bench.call(&transform, "1");
    let pure = output(&bench.host.call(call.clone()).await).to_owned();
    call.scope.seed = [1; 32];
    call.scope.clock_ms += 5;
    let elsewhere = Bench::new();
    elsewhere.load(&senses(Guest::transform("pure"))).await;
    assert_eq!(
        output(&elsewhere.host.call(call).await),
        pure,
        "a transform depends on its input and on nothing else"
    );
    let first = output(&bench.host.call(bench.call(&tool, "1")).await).to_owned();
    assert_ne!(output(&bench.host.call(bench.call(&tool, "1")).await), first);
}

/// Toolchains differ in the patch version that they emit, and one program may have several of them in it.
#[tokio::test]
async fn every_patch_version_of_wasi_0_2_links() {
    let bench = Bench::new();
    for patch in 0..=12 {
        let version = format!("0.2.{patch}");
        let guest = Guest::tool("senses").wasi_version(&version);
        let guest = senses(guest.world(STDIO_WORLD).imports(STDIO_IMPORTS)).build();
        let name = format!("wasi:cli/stdout@{version}");
        assert!(guest.windows(name.len()).any(|at| at == name.as_bytes()), "built for {version}");
        let loaded = bench.host.load(guest.into()).await.unwrap_or_else(|fault| panic!("{version}: {fault}"));
        output(&bench.host.call(bench.call(&loaded, "1")).await).parse::<u64>().unwrap();
    }
    // The next minor version is another contract.
    let refused = bench.try_load(&senses(Guest::tool("later")).wasi_version("0.3.0")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::ComponentInvalid);
    assert!(refused.to_string().contains("0.2.x"), "{refused}");
    bench.is_well().await;
}

#[tokio::test]
async fn clocks_go_by_kind_in_steps_of_a_millisecond() {
    let bench = Bench::new();
    let imports = r#"(import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $ticks (result i64)))"#;
    let world = "import wasi:clocks/monotonic-clock@0.2.6;";
    let asks = |guest: Guest, call: &str| {
        guest.world(world).imports(imports).body(&format!("(call $number (call {call}))"))
    };
    assert_eq!(output(&bench.run(&asks(Guest::transform("now"), "$now")).await), "946684800000");
    assert_eq!(output(&bench.run(&asks(Guest::transform("now"), "$ticks")).await), "0");
    let real: u64 = output(&bench.run(&asks(Guest::tool("now"), "$now")).await).parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now - real < 10_000, "{real} {now}");
    let ticks: u64 = output(&bench.run(&asks(Guest::tool("now"), "$ticks")).await).parse().unwrap();
    assert_eq!(ticks % 1_000_000, 0);
}

/// Case 36: a hundred thousand times each clock under each of its names, which is long enough to see it move. What is
/// finer than a millisecond is always nothing, and each look is paid for.
#[tokio::test]
async fn reading_the_clock_in_a_loop_is_paid_for_and_coarse() {
    let bench = Bench::new();
    let imports = r#"(import "heddle:host/clock@0.1.0" "monotonic-ns" (func $mono (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $ticks (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.6" "resolution" (func $step (result i64)))
        (import "wasi:clocks/wall-clock@0.2.6" "now" (func $wall (param i32)))"#;
    let read = "(call $wall (i32.const 40000))
        (local.set $wide (i64.or (local.get $wide) (i64.or
          (i64.or (i64.rem_u (call $mono) (i64.const 1000000)) (i64.rem_u (call $ticks) (i64.const 1000000)))
          (i64.extend_i32_u (i32.rem_u (i32.load (i32.const 40008)) (i32.const 1000000))))))";
    let body = format!(
        "(local.set $wide (i64.extend_i32_u (i64.lt_u (call $step) (i64.const 1000000)))) {} (if (i64.eqz (call $ticks)) (then (unreachable))) (call $number (local.get $wide))",
        times(100_000, read)
    );
    let world = "import wasi:clocks/monotonic-clock@0.2.6; import wasi:clocks/wall-clock@0.2.6;";
    let end = bench.run(&Guest::tool("looks").world(world).imports(imports).body(&body)).await;
    assert_eq!((output(&end), end.usage.hostcalls), ("0", 300_002));
    assert!(end.usage.fuel > 300_000 * 100, "{:?}", end.usage);
    bench.is_well().await;
}

fn sleeper(guest: Guest, body: &str) -> Guest {
    guest.world(support::SLEEP_WORLD).imports(support::SLEEP_IMPORTS).body(body)
}

/// A `poll` on so many pollables, all of which are ready in a hundred years.
fn poll_never(count: u32) -> Guest {
    let fill = format!(
        "(local.set $b (i32.const 65536)) (global.set $heap (i32.const 524288))
         {} (call $poll (i32.const 65536) (i32.const {count}) (i32.const 40000)) (i32.const 0)",
        times(
            count,
            "(i32.store (local.get $b) (call $sleep (i64.const 3155760000000000000))) (local.set $b (i32.add (local.get $b) (i32.const 4)))"
        )
    );
    sleeper(Guest::tool("polls").memory("10"), &fill)
}

/// Case 35: one thread for all guests, and each of the sleepers has a sandbox. Nobody can have woken up when the quick
/// one is done, since there is a minute for that.
#[tokio::test]
async fn sleeping_tools_hold_no_thread() {
    let bench = Bench::on(1, |_| {});
    let quick = bench.load(&Guest::transform("quick")).await;
    let sleeps = bench.load(&sleeper(Guest::tool("sleeps"), support::SLEEP_FOREVER)).await;
    let polls = bench.load(&poll_never(1_000)).await;
    let threads = support::process::held().threads;
    let sleeping: Vec<_> = [&sleeps, &polls]
        .repeat(4)
        .iter()
        .map(|l| tokio::spawn(bench.host.call(bench.call(l, "1"))))
        .collect();
    bench.busy(sleeping.len()).await;
    for _ in 0..10 {
        assert_eq!(output(&bench.host.call(bench.call(&quick, "2")).await), "2");
    }
    assert!(support::process::held().threads <= threads, "no thread for each of them either");
    for sleep in sleeping {
        assert!(!sleep.is_finished(), "the quick ones only ran when it was over");
        sleep.abort();
        assert!(sleep.await.unwrap_err().is_cancelled());
    }
    support::soon("not everything was given back", || bench.all_free()).await;
    bench.is_well().await;
}

/// Case 35: never before the deadline, and soon after it. Of a few, the one that was least in the way of other things
/// says how late the host itself is.
#[tokio::test]
async fn a_guest_that_waits_ends_at_its_deadline() {
    let bench = Bench::with(|limits| limits.set("step_wall_ms", 500).unwrap());
    for guest in [sleeper(Guest::tool("sleeps"), support::SLEEP_FOREVER), poll_never(1), poll_never(1_000)] {
        let loaded = bench.load(&guest).await;
        let mut least = u64::MAX;
        for _ in 0..3 {
            let end = bench.host.call(bench.call(&loaded, "1")).await;
            assert!(end.usage.wall_us >= 500_000, "{:?}", end.usage);
            least = least.min(end.usage.wall_us);
            let failed = failure(end);
            assert_eq!((failed.kind, failed.retryable), (FailureKind::DeadlineExceeded, true));
        }
        assert!(least < 600_000, "{least} µs");
        bench.is_well().await;
    }
}

#[tokio::test]
async fn sleeps_are_real_for_tools_and_over_at_once_for_transforms() {
    let bench = Bench::new();
    let nap = "(call $block (call $sleep (i64.const 80000000))) (call $ok (local.get $ptr) (local.get $len))";
    let end = bench.run(&sleeper(Guest::tool("naps"), nap)).await;
    assert!(matches!(end.outcome, Outcome::Done(_)) && end.usage.wall_us >= 79_000, "{end:?}");
    let end = bench.run(&sleeper(Guest::transform("naps"), support::SLEEP_FOREVER)).await;
    assert!(matches!(end.outcome, Outcome::Done(_)), "{end:?}");
}

/// Case 35.
#[tokio::test]
async fn polls_are_bounded() {
    let bench = Bench::new();
    let fill = |count: u32| {
        format!(
            "(local.set $a (call $sleep (i64.const 1))) (local.set $b (i32.const 65536)) (global.set $heap (i32.const 524288))
             {} (call $poll (i32.const 65536) (i32.const {count}) (i32.const 40000)) (call $number (i64.load32_u (i32.const 40004)))",
            times(count, "(i32.store (local.get $b) (local.get $a)) (local.set $b (i32.add (local.get $b) (i32.const 4)))")
        )
    };
    let guest = |count: u32| sleeper(Guest::tool("polls").memory("10"), &fill(count));
    assert_eq!(output(&bench.run(&guest(1_000)).await), "1000");
    assert_eq!(bench.fails(&guest(1_001)).await.kind, FailureKind::HandleLimit);
    assert_eq!(bench.fails(&guest(100_000)).await.kind, FailureKind::HandleLimit);
    let empty = "(call $poll (i32.const 0) (i32.const 0) (i32.const 40000)) (i32.const 0)";
    is(&bench.fails(&sleeper(Guest::tool("polls"), empty)).await, FailureKind::Trap, "empty_poll");
    let hoard = "(loop $more (drop (call $sleep (i64.const 1))) (br $more)) (unreachable)";
    assert_eq!(bench.fails(&sleeper(Guest::tool("hoards"), hoard)).await.kind, FailureKind::HandleLimit);
}

/// Case 215.
#[tokio::test]
async fn there_is_no_environment_no_file_and_no_network() {
    let bench = Bench::new();
    let world = "import wasi:cli/environment@0.2.6; import wasi:filesystem/preopens@0.2.6; import wasi:filesystem/types@0.2.6;
        import wasi:sockets/tcp-create-socket@0.2.6;";
    let imports = r#"(import "wasi:cli/environment@0.2.6" "get-environment" (func $environment (param i32)))
        (import "wasi:cli/environment@0.2.6" "get-arguments" (func $arguments (param i32)))
        (import "wasi:filesystem/preopens@0.2.6" "get-directories" (func $directories (param i32)))
        (import "wasi:filesystem/types@0.2.6" "[method]descriptor.sync-data" (func $sync (param i32 i32)))
        (import "wasi:sockets/tcp-create-socket@0.2.6" "create-tcp-socket" (func $socket (param i32 i32)))"#;
    // All three lengths, and then the socket's answer: an error (1) with `access-denied` (1).
    let body = "(call $environment (i32.const 40000)) (call $arguments (i32.const 40008)) (call $directories (i32.const 40016))
        (call $socket (i32.const 0) (i32.const 40024))
        (call $number (i64.extend_i32_u (i32.add
          (i32.add (i32.load (i32.const 40004)) (i32.add (i32.load (i32.const 40012)) (i32.load (i32.const 40020))))
          (i32.add (i32.mul (i32.load8_u (i32.const 40024)) (i32.const 10)) (i32.load8_u (i32.const 40028))))))";
    let end = bench.run(&Guest::tool("looks").world(world).imports(imports).body(body)).await;
    assert_eq!(output(&end), "11");
    let forged = Guest::tool("forges")
        .world(world)
        .imports(imports)
        .body("(call $sync (i32.const 5) (i32.const 40000)) (i32.const 0)");
    is(&bench.fails(&forged).await, FailureKind::Trap, "invalid_handle");
}

#[tokio::test]
async fn context_and_progress_reach_those_who_may_have_them() {
    let bench = Bench::new();
    let imports = r#"(import "heddle:host/context@0.1.0" "current" (func $context (param i32)))
        (import "heddle:host/progress@0.1.0" "report" (func $report (param i32 i32 i32 i32 i32 i32)))"#;
    // The record: tenant, run, step at 0, 8, 16; item at 24; attempt at 32.
    let body = "(call $context (i32.const 40000))
        (call $report (i32.const 32768) (i32.const 4) (i32.const 1) (i32.const 200) (i32.const 32772) (i32.const 3))
        (call $number (i64.extend_i32_u (i32.add (i32.mul (i32.load (i32.const 40028)) (i32.const 10)) (i32.load (i32.const 40032)))))";
    let guest = Guest::tool("knows").imports(imports).data(32_768, b"half\x1b[m").body(body);
    let (end, recorder) = recorded(&bench, &guest).await;
    assert_eq!(output(&end), "32", "item 3, attempt 2");
    let expected = Progress { stage: "half".into(), percent: Some(100), message: "\\u{1b}[m".into() };
    assert_eq!(*recorder.progress.lock().unwrap(), [expected]);
}

/// Case 216.
#[tokio::test]
async fn describe_has_the_rights_of_a_transform() {
    let bench = Bench::new();
    let imports = r#"(import "heddle:host/context@0.1.0" "current" (func $context (param i32)))"#;
    let guest =
        Guest::tool("peeks").imports(imports).describe("(call $context (i32.const 40000)) (i32.const 1024)");
    let refused = bench.try_load(&guest).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::CapabilityDenied, "{refused}");
    let sleepy = sleeper(Guest::tool("sleeps"), "(i32.const 0)")
        .describe("(call $block (call $sleep (i64.const 3155760000000000000))) (i32.const 1024)");
    assert_eq!(bench.load(&sleepy).await.metadata.kind, PluginKind::Tool);
}
