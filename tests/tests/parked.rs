//! Runs that no node drives: how many there may be is bounded and seen, and each costs its rows and nothing else.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Answer, Server, bash, workflow};
use serde_json::{Value, json};

const LIMITS: &[(&str, &str)] = &[
    ("HEDDLE_LIMITS_RUNS_FOR_SLOT", "2"),
    ("HEDDLE_LIMITS_RUNS_FOR_TIME", "1"),
    ("HEDDLE_LIMITS_RUNS_PARKED", "4"),
];

/// A workflow whose runs last until somebody says `go`.
fn lasting(name: &str, rules: &str) -> String {
    workflow(name, &format!("{rules}\nsteps: {{a: {{wait: {{signal: go}}}}}}"))
}

fn published(server: &Server, document: String) {
    let answer = server.post_bytes("/v1/workflows", "application/yaml", document);
    assert_eq!(answer.status, 201, "{answer:?}");
}
fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}
fn run(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/runs/{id}")).body
}
fn cancelled(server: &Server, run: &str) {
    let answer = server.post(&format!("/v1/runs/{run}/cancel"), &json!({}));
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(server.ended(run)["status"], "cancelled");
}

/// Waits until so many runs wait for a slot and for their time, and are parked.
fn count(server: &Server, wanted: [u64; 3]) {
    server.until(|| {
        let executor = &server.get("/v1/node").body["executor"];
        let counts =
            ["runsForSlot", "runsForTime", "runsParked"].map(|name| executor[name].as_u64().unwrap());
        (counts == wanted).then_some(())
    });
}

/// That this is refused because as many runs wait as may, by this limit.
fn full(answer: &Answer, limit: &str) {
    assert_eq!((answer.status, &answer.body["code"]), (503, &json!("queue_full")), "{answer:?}");
    assert!(answer.body["detail"].as_str().unwrap().contains(&format!("(limit {limit})")), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

#[test]
fn what_waits_is_bounded_and_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), LIMITS);
    published(&server, lasting("one", "concurrency: {limit: 1}"));
    published(&server, lasting("free", ""));
    let submit = |server: &Server, wish: Value| server.post("/v1/runs", &wish);
    let holder = id(&submit(&server, json!({"workflow": "test/one"})));
    count(&server, [0, 0, 1]);
    let line = [(); 2].map(|()| id(&submit(&server, json!({"workflow": "test/one"}))));
    full(&submit(&server, json!({"workflow": "test/one"})), "runs_for_slot");
    // Whoever finds a slot at once waits for none.
    published(&server, lasting("other", "concurrency: {limit: 1}"));
    let other = id(&submit(&server, json!({"workflow": "test/other"})));
    count(&server, [2, 0, 2]);
    full(&submit(&server, json!({"workflow": "test/other"})), "runs_for_slot");
    cancelled(&server, &other);
    let timed = id(&submit(&server, json!({"workflow": "test/free", "delay": "10m"})));
    full(&submit(&server, json!({"workflow": "test/free", "delay": "10m"})), "runs_for_time");
    let free = [(); 3].map(|()| id(&submit(&server, json!({"workflow": "test/free"}))));
    count(&server, [2, 1, 4]);
    full(&submit(&server, json!({"workflow": "test/free"})), "runs_parked");

    // What was counted is counted again by a process that knows nothing of it.
    server.kill();
    server = Server::start_at(folder.path(), &server.url, LIMITS);
    count(&server, [2, 1, 4]);
    full(&submit(&server, json!({"workflow": "test/free"})), "runs_parked");
    let metrics = server.text("/metrics");
    for line in ["for=\"slot\"} 2", "for=\"time\"} 1", "for=\"outside\"} 4", "for=\"node\"} 0"] {
        assert!(metrics.contains(&format!("heddle_runs_waiting{{{line}")), "{line}: {metrics}");
    }
    assert!(!metrics.contains("\nheddle_runs_waiting "), "each has what it waits for: {metrics}");
    let page = server.text("/");
    assert!(page.contains("0 wait for a node, 2 for a slot") && page.contains("4 are parked"), "{page}");
    let shown = bash(
        &server,
        folder.path(),
        &format!("heddle doctor || true; heddle runs get {}; heddle runs get {timed}", line[0]),
    );
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("in the middle, for a time, a signal") && shown.contains("limits.runs_parked"),
        "{shown}"
    );
    let waits = format!("waits     for one of 1 slots of the key `test/one:`; run {holder} has one");
    assert!(shown.contains(&waits) && shown.contains("begins    "), "{shown}");

    // Each that ends makes room for one.
    cancelled(&server, &free[0]);
    cancelled(&server, &timed);
    cancelled(&server, &line[1]);
    count(&server, [1, 0, 3]);
    id(&submit(&server, json!({"workflow": "test/free", "delay": "10m"})));
    id(&submit(&server, json!({"workflow": "test/one"})));
    cancelled(&server, &holder);
    // The next has its slot, and is parked.
    count(&server, [1, 1, 3]);
}

#[test]
fn a_child_for_which_there_is_no_room_fails_its_step_and_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), LIMITS);
    published(&server, lasting("free", ""));
    let retry = "retry: {delay: 200ms, backoff: constant, limit: {attempts: 10}}";
    let steps =
        format!("steps: {{first: {{wait: 1s}}, sub: {{workflow: test/free, dependsOn: [first], {retry}}}}}");
    published(&server, workflow("parent", &steps));
    // It is driven while its short wait lasts, so that it is none of the four.
    let parent = id(&server.post("/v1/runs", &json!({"workflow": "test/parent"})));
    let free = [(); 4].map(|()| id(&server.post("/v1/runs", &json!({"workflow": "test/free"}))));
    let sub = |server: &Server| {
        let steps = run(server, &parent)["steps"].clone();
        steps.as_array().unwrap().iter().find(|step| step["id"] == "sub").unwrap()["attempts"].clone()
    };
    let failure =
        server.until(|| sub(&server)[0]["error"].is_object().then(|| sub(&server)[0]["error"].clone()));
    assert_eq!(failure["kind"], "quota_exceeded", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("(limit runs_parked)"), "{failure}");
    cancelled(&server, &free[0]);
    let child = server.until(|| {
        let attempts = sub(&server);
        let last = attempts.as_array().unwrap().last().unwrap();
        last["error"].is_null().then(|| last["run"].as_str().map(str::to_owned)).flatten()
    });
    let told = server.post(&format!("/v1/runs/{child}/signal"), &json!({"name": "go"}));
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(server.ended(&parent)["status"], "succeeded");
}

/// It is counted by what it waits for in turn, also by a process that knows nothing of it.
#[test]
fn a_run_whose_time_has_come_waits_for_its_slot() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    published(&server, lasting("one", "concurrency: {limit: 1}"));
    let holder = id(&server.post("/v1/runs", &json!({"workflow": "test/one"})));
    count(&server, [0, 0, 1]);
    let later = id(&server.post("/v1/runs", &json!({"workflow": "test/one", "delay": "700ms"})));
    count(&server, [0, 1, 1]);
    count(&server, [1, 0, 1]);
    // One that is paused has not begun either.
    assert_eq!(server.post(&format!("/v1/runs/{later}/pause"), &json!({})).status, 202);
    server.until(|| (run(&server, &later)["status"] == "paused").then_some(()));
    count(&server, [1, 0, 1]);
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    count(&server, [1, 0, 1]);
    assert_eq!(server.post(&format!("/v1/runs/{later}/resume"), &json!({})).status, 202);
    cancelled(&server, &holder);
    server.until(|| run(&server, &later)["startedAt"].is_string().then_some(()));
    count(&server, [0, 0, 1]);
    cancelled(&server, &later);
    count(&server, [0, 0, 0]);
}

#[test]
fn a_run_begins_within_a_year() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    published(&server, lasting("free", ""));
    for time in [json!({"startAt": "2999-01-01T00:00:00Z"}), json!({"delay": "367d"})] {
        let mut wish = json!({"workflow": "test/free"});
        wish.as_object_mut().unwrap().extend(time.as_object().unwrap().clone());
        let refused = server.post("/v1/runs", &wish);
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("input_too_large")), "{refused:?}");
        assert!(refused.body["detail"].as_str().unwrap().contains("start_ahead_ms is 366d"), "{refused:?}");
    }
    id(&server.post("/v1/runs", &json!({"workflow": "test/free", "delay": "365d"})));
}

#[test]
fn the_command_line_says_what_keeps_a_run_from_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    published(&server, lasting("one", "concurrency: {limit: 1}"));
    let holder = id(&server.post("/v1/runs", &json!({"workflow": "test/one"})));
    let script = format!(
        "heddle run test/one 2>said & \
         until grep -q 'it waits for one of the 1 slots' said; do sleep 0.05; done; \
         heddle runs signal {holder} go; sed -n 's/^run //p' said >id; \
         heddle runs signal \"$(cat id)\" go; wait %1"
    );
    let output = bash(&server, folder.path(), &script);
    let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("run {holder} has one: `heddle runs why {holder}`")), "{said}");
}

/// Resident memory of a process, in KiB.
fn resident_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The benchmark does this with a hundred thousand. A driver with its run takes some ten KiB; so many of them would be
/// seen here as well.
#[test]
fn parked_runs_hold_no_driver_and_a_signal_finds_the_right_one() {
    const RUNS: usize = 3_000;
    const CLIENTS: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let waits = [
        "wait: 20d",
        "approval: {assignees: [ana]}",
        "wait: {signal: go, match: \"${ event.data == input.n }\"}",
    ];
    for (kind, step) in waits.iter().enumerate() {
        published(
            &server,
            workflow(&format!("kind{kind}"), &format!("timeout: 25d\nsteps: {{a: {{{step}}}}}")),
        );
    }
    server.terminate();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let empty = resident_kib(&server);
    let submitted: Vec<String> = std::thread::scope(|scope| {
        let client = |from: usize| {
            let server = &server;
            scope.spawn(move || -> Vec<String> {
                let share = (from..RUNS).step_by(CLIENTS);
                let wish = |n: usize| json!({"workflow": format!("test/kind{}", n % 3), "input": {"n": n}});
                share.map(|n| id(&server.post("/v1/runs", &wish(n)))).collect()
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(submitted.len(), RUNS);
    count(&server, [0, 0, RUNS as u64]);

    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let held = resident_kib(&server).saturating_sub(empty);
    assert!(held < 8 * 1024, "{held} KiB more with {RUNS} parked runs");
    let executor = server.get("/v1/node").body["executor"].clone();
    assert_eq!((&executor["runsActive"], &executor["runsParked"]), (&json!(0), &json!(RUNS)), "{executor}");

    // One that waits for a signal gets it, and no other moves.
    let right = server.get("/v1/runs?workflow=test/kind2&limit=200").body["items"][77]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let n = run(&server, &right)["input"]["n"].clone();
    let told = server.post(&format!("/v1/runs/{right}/signal"), &json!({"name": "go", "data": n}));
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(server.ended(&right)["output"], json!({"a": n}));
    let ended = server.get("/v1/runs?status=succeeded,failed,cancelled,running").body["items"].clone();
    assert_eq!(ended.as_array().map(Vec::len), Some(1), "{ended}");
    // An event is for all that wait for it, and goes to the one that it fits.
    let other = server.get("/v1/runs?workflow=test/kind2&limit=200").body["items"][99]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let n = run(&server, &other)["input"]["n"].clone();
    let sent = server.post("/v1/events", &json!({"name": "go", "data": n}));
    assert_eq!(sent.body["reached"], RUNS as u64 / 3 - 1, "{sent:?}");
    assert_eq!(server.ended(&other)["status"], "succeeded");
    count(&server, [0, 0, RUNS as u64 - 2]);
}
