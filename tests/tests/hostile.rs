//! Hostile plugins in the real server, all in one process, beside a canary that must not notice.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]

// What the host's own tests throw at it, thrown at the whole server here.
#[path = "../../runtime/host/tests/one_host/attack.rs"]
mod attack;
#[path = "../../runtime/host/tests/one_host/boundary.rs"]
mod boundary;
#[path = "hostile/every.rs"]
mod every;
#[path = "../../runtime/host/tests/one_host/resources.rs"]
mod resources;
#[path = "../../runtime/host/tests/support/wasi.rs"]
#[allow(unreachable_pub, reason = "shared with tests that have it as a module of a module")]
mod support;

use heddle_tests::{Server, workflow};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a plugin is asked to do, and how the attempt must end.
const CASES: [(&str, &str); 9] = [
    ("loop", "fuel_exhausted"),
    ("trap", "trap"),
    // A Rust guest keeps its stack in its own memory, and runs out of that first; the host's tests overflow the real one.
    ("stack", "trap"),
    ("memory", "memory_limit"),
    ("exit", "guest_exit"),
    ("hang", "deadline_exceeded"),
    ("output", "output_too_large"),
    ("permanent", "guest_error"),
    ("rate-limited", "guest_error"),
];

fn canary(server: &Server) -> Duration {
    let since = Instant::now();
    let body = json!({"definition": workflow("canary", "steps: {a: {call: \"tool:echo\", with: {value: 1}}}"), "input": {}});
    let answer = server.post_with("/v1/runs", &body, &[("prefer", "wait=30")]);
    assert_eq!((answer.status, answer.body["status"].as_str()), (200, Some("succeeded")), "{answer:?}");
    since.elapsed()
}

/// A run of one attack.
fn attack(kind: &str) -> String {
    // The output is made in the guest's memory first, and must fit there.
    let memory = if kind == "output" { "256MiB" } else { "64MiB" };
    let body = format!(
        "steps: {{a: {{call: \"tool:fail\", with: {{kind: {kind}}}, limits: {{memory: {memory}, fuel: 2000000000, output: 64KiB}}, timeout: 2s}}}}"
    );
    workflow("attack", &body)
}

/// Open files, threads, and resident KiB of the server.
fn held(server: &Server) -> (usize, usize, u64) {
    let of = |what: &str| format!("/proc/{}/{what}", server.pid());
    let count = |what: &str| std::fs::read_dir(of(what)).unwrap().count();
    let status = std::fs::read_to_string(of("status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (count("fd"), count("task"), resident.trim().trim_end_matches(" kB").parse().unwrap())
}

/// No canary may take longer than this, whatever burns beside it. What it takes is the benchmark's to say.
const STARVED: Duration = Duration::from_millis(100);

fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

#[test]
fn every_attack_ends_as_a_value_and_the_neighbour_does_not_notice() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    let pid = server.pid();
    // Each attack once, so that what is made at first use is there.
    for (kind, _) in CASES {
        server.run(&attack(kind), json!({}));
    }
    let mut quiet: Vec<Duration> = (0..100).map(|_| canary(&server)).collect();
    let before = held(&server);
    let stop = AtomicBool::new(false);
    let (mut loud, mut ended): (Vec<Duration>, Vec<(&str, Value)>) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                times.push(canary(&server));
            }
            times
        });
        let runs: Vec<(&str, String)> = CASES
            .iter()
            .cycle()
            .take(CASES.len() * 4)
            .map(|(kind, expected)| (*expected, server.submit(&attack(kind), json!({}))))
            .collect();
        ended = runs.iter().map(|(expected, run)| (*expected, server.ended(run))).collect();
        stop.store(true, Ordering::Relaxed);
        loud = watcher.join().unwrap();
    });
    for (expected, run) in &ended {
        let found =
            (run["status"].as_str(), run["error"]["kind"].as_str(), run["steps"][0]["status"].as_str());
        assert_eq!(found, (Some("failed"), Some(*expected), Some("failed")), "{}", run["error"]);
    }
    println!(
        "canary p99: quiet {:?}, beside the attacks {:?} ({} runs)",
        p99(&mut quiet),
        p99(&mut loud),
        loud.len()
    );
    assert_eq!(server.pid(), pid);
    let node = server.until(|| {
        let node = server.get("/v1/node").body;
        (node["executor"]["runsActive"] == 0).then_some(node)
    });
    assert_eq!(node["executor"]["slots"][0], 0, "{node}");
    assert!(p99(&mut loud) < STARVED, "the canary starved");
    // Connections of the test's own client come and go.
    let after = server.until(|| {
        let after = held(&server);
        (after.0 <= before.0 + 8 && after.1 <= before.1 + 2).then_some(after)
    });
    println!("open files, threads, resident KiB: before {before:?}, after {after:?}");
    assert!(after.2 <= before.2 + (64 << 10), "memory grew: before {before:?}, after {after:?}");
}

/// Case 1, over HTTP.
#[test]
fn the_same_loop_burns_the_same_fuel() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail"]);
    let fuel: Vec<Value> = (0..3)
        .map(|_| {
            let run = server.run(
                &workflow(
                    "l",
                    "steps: {a: {call: \"tool:fail\", with: {kind: loop}, limits: {fuel: 300000000}}}",
                ),
                json!({}),
            );
            run["steps"][0]["attempts"][0]["usage"]["fuel"].clone()
        })
        .collect();
    assert!(fuel.iter().all(|f| *f == fuel[0]), "{fuel:?}");
}

/// Case 15.
#[test]
fn what_is_no_component_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (bytes, what) in [
        (b"hello".to_vec(), "text"),
        (b"\0asm\x01\0\0\0".to_vec(), "a core module"),
        (b"\0asm\x0d\0\x01\0\xff".to_vec(), "a truncated component"),
        (vec![0x7f, b'E', b'L', b'F', 2, 1, 1], "a precompiled file"),
        (Vec::new(), "nothing"),
    ] {
        let answer = server.post_bytes("/v1/plugins", "application/wasm", bytes);
        assert!(matches!(answer.status, 400 | 422), "{what}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(answer.body["detail"].as_str().is_some_and(|d| !d.is_empty()), "{what}: {answer:?}");
    }
    // The server hangs up on what is too large; whether the client reads the answer first is a matter of timing.
    let huge = server.try_post_bytes("/v1/plugins", "application/wasm", vec![0u8; 33 * 1024 * 1024]);
    assert!(huge.as_ref().is_none_or(|a| a.status == 413), "{huge:?}");
    // A connection that was hung up on may be tried first.
    server.until(|| server.try_get("/readyz").filter(|answer| answer.status == 200));
}

#[test]
fn garbage_over_http_is_answered_as_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, status) in [
        ("{", 400),
        ("{\"workflow\":\"a/b\",\"workflow\":\"a/c\"}", 400),
        (deep.as_str(), 400),
        ("{\"workflow\":\"a/b\"}", 404),
        ("{\"wrokflow\":\"a/b\"}", 400),
        ("[]", 400),
    ] {
        let answer = server.post_bytes("/v1/runs", "application/json", body);
        let found = answer.status;
        assert!(
            found == status || (status == 400 && found == 422) || (status == 404 && found == 422),
            "{}: {answer:?}",
            &body[..body.len().min(40)]
        );
        assert!(answer.body["code"].is_string(), "{answer:?}");
    }
    for path in ["/v1/nothing", "/v1/runs/xyz", "/v1/runs/0192f000-1234-7abc-8def-0123456789ab"] {
        let answer = server.get(path);
        assert!(matches!(answer.status, 400 | 404), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    assert_eq!(server.post("/livez", &json!({})).status, 405);
}

/// Case 24: the key of the cache knows no limits, so a failure that was kept would be served to whoever allows more.
#[test]
fn an_output_that_was_refused_is_not_cached() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["text"]);
    let repeat = |output: &str| {
        let with = "{text: x, operations: [{op: repeat, count: 4000}]}";
        workflow(
            "r",
            &format!(
                "steps: {{a: {{call: \"transform:text\", with: {with}, limits: {{output: {output}}}}}}}"
            ),
        )
    };
    for _ in 0..2 {
        let run = server.run(&repeat("1KiB"), json!({}));
        assert_eq!(run["error"]["kind"], "output_too_large", "{run}");
        assert!(run["steps"][0]["attempts"][0]["usage"]["fuel"].as_u64().unwrap() > 0, "{run}");
    }
    let run = server.run(&repeat("64KiB"), json!({}));
    assert_eq!(
        (run["status"].as_str(), run["steps"][0]["cache"]["verdict"].as_str()),
        (Some("succeeded"), Some("miss"))
    );
    let run = server.run(&repeat("64KiB"), json!({}));
    assert_eq!(run["steps"][0]["cache"]["verdict"], "hit");
}

/// Case 30: the guest has no room for its input; the run has it still, and whoever has room can take it.
#[test]
fn an_input_that_a_guest_could_not_take_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_BODY_BYTES", "16MiB")]);
    server.push(heddle_tests::plugin("echo"));
    let input = json!({"text": "x".repeat((8 << 20) - 1024)});
    let echo = |memory: &str| {
        let with = "{value: \"${ input.text }\"}";
        workflow(
            "e",
            &format!(
                "steps: {{a: {{call: \"tool:echo\", with: {with}, limits: {{memory: {memory}}}}}}}\noutput: {{as: \"${{ size(steps.a.output.value) }}\"}}"
            ),
        )
    };
    let run = server.run(&echo("4MiB"), input.clone());
    assert_eq!(run["error"]["kind"], "memory_limit", "{}", run["error"]);
    let digest = run["inputRef"]["digest"].as_str().unwrap();
    let kept = server.get(&format!("/v1/runs/{}/values/{digest}", run["id"].as_str().unwrap()));
    assert!(kept.body == input, "the input changed");
    let run = server.run(&echo("128MiB"), kept.body);
    assert_eq!(run["output"], (8 << 20) - 1024, "{}", run["error"]);
}

/// Case 37, by its users: a thousand runs, in the guest, in a host call, or still waiting for a sandbox.
#[test]
fn a_thousand_cancelled_runs_give_everything_back() {
    const RUNS: u64 = 1_000;
    const CLIENTS: u64 = 8;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    let cancel = |n: u64| {
        let what = if n.is_multiple_of(2) { "loop" } else { "hang" };
        let definition =
            workflow("c", &format!("steps: {{a: {{call: \"tool:fail\", with: {{kind: {what}}}}}}}"));
        let run = server.submit(&definition, json!({}));
        // Where the run is by then is left to chance; that it has not ended is not.
        std::thread::sleep(Duration::from_micros(n * 7_919 % 20_000));
        let answer = server.post(&format!("/v1/runs/{run}/cancel"), &json!({"reason": "enough"}));
        assert_eq!(answer.status, 202, "{answer:?}");
        let since = Instant::now();
        let ended = server.ended(&run);
        assert_eq!(ended["status"], "cancelled", "{ended}");
        since.elapsed()
    };
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || (client..RUNS).step_by(CLIENTS as usize).map(cancel).collect::<Vec<_>>())
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let p99 = p99(&mut took);
    println!("{RUNS} cancels: p99 {p99:?}, longest {:?}", took.last().unwrap());
    assert!(p99 < Duration::from_secs(1), "a cancel takes {p99:?}");
    server.until(|| {
        let node = server.get("/v1/node").body;
        (node["executor"]["runsActive"] == 0 && node["executor"]["slots"][0] == 0).then_some(())
    });
    canary(&server);
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("panic"), "{log}");
}

/// Case 39: the same bytes but for one digit of an interface's version, or one letter of its name.
#[test]
fn a_plugin_of_another_version_is_refused_and_the_old_one_serves_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo", "fail"]);
    let digest = |server: &Server| {
        let plugins = server.get("/v1/plugins").body;
        plugins["items"].as_array().unwrap().iter().map(|p| p["digest"].to_string()).collect::<Vec<_>>()
    };
    let before = digest(&server);
    assert_eq!(before.len(), 2);
    for (name, find, put, said) in [
        (
            "echo",
            "heddle:plugin/callable@0.1.0",
            "heddle:plugin/callable@0.1.1",
            "heddle:plugin/callable@0.1.1",
        ),
        (
            "echo",
            "heddle:plugin/callable@0.1.0",
            "heddle:plugin/callabel@0.1.0",
            "heddle:plugin/callabel@0.1.0",
        ),
        ("fail", "heddle:host/context@0.1.0", "heddle:host/context@0.2.0", "0.2.0"),
    ] {
        let bad = replaced(&heddle_tests::plugin(name), find, put);
        let answer = server.post_bytes("/v1/plugins", "application/wasm", bad);
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (422, Some("component_invalid")),
            "{answer:?}"
        );
        let text = answer.body.to_string();
        assert!(text.contains(find) && text.contains(said), "expected `{find}`, found `{said}`: {text}");
        canary(&server);
    }
    assert_eq!(digest(&server), before);
}

/// The bytes with one text in the place of another of the same length, wherever it stands.
fn replaced(bytes: &[u8], find: &str, put: &str) -> Vec<u8> {
    assert_eq!(find.len(), put.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        (0..=bytes.len() - find.len()).filter(|at| bytes[*at..].starts_with(find.as_bytes())).collect();
    assert!(!places.is_empty(), "`{find}` does not stand there");
    for at in places {
        bytes[at..at + put.len()].copy_from_slice(put.as_bytes());
    }
    bytes
}
