//! Which version of a plugin runs get: promoting, trying, going back and deleting while runs are under way, at the real
//! binary with components of many versions.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_host::testkit::Guest;
use heddle_tests::{Answer, Server, binary, workflow};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A tool that answers with its version.
fn version(version: &str) -> Vec<u8> {
    let answer = format!("\"{version}\"");
    let body = format!("(call $ok (i32.const 32768) (i32.const {}))", answer.len());
    Guest::tool("teller").version(version).data(32_768, answer.as_bytes()).body(&body).build()
}

/// One that traps on every call.
fn trapping(version: &str) -> Vec<u8> {
    Guest::tool("teller").version(version).body("unreachable").build()
}

fn asking(range: &str) -> String {
    let range = if range.is_empty() { String::new() } else { format!("@{range}") };
    let body = format!(
        "steps: {{a: {{call: \"tool:teller{range}\", cache: off}}}}\noutput: {{as: \"${{ steps.a.output }}\"}}"
    );
    workflow("asking", &body)
}

/// The version that a new run gets.
fn told(server: &Server, range: &str) -> Value {
    server.run(&asking(range), json!({}))["output"].clone()
}

fn push(server: &Server, numbers: &[&str]) {
    for number in numbers {
        server.push(version(number));
    }
}

fn decide(server: &Server, verb: &str, body: &Value) -> Answer {
    server.post(&format!("/v1/plugins/tool:teller/{verb}"), body)
}

fn promote(server: &Server, version: &str) {
    let answer = decide(server, "promote", &json!({ "version": version }));
    assert_eq!((answer.status, &answer.body["current"]), (200, &json!(version)), "{answer:?}");
}

#[test]
fn runs_get_what_was_decided_and_it_outlives_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    push(&server, &["1.0.0", "1.1.0", "2.0.0"]);
    assert_eq!([told(&server, ""), told(&server, "^1")], ["2.0.0", "1.1.0"], "the newest");
    promote(&server, "1.0.0");
    assert_eq!([told(&server, ""), told(&server, "^1"), told(&server, "^2")], ["1.0.0", "1.0.0", "2.0.0"]);
    // A version that is loaded later changes nothing until somebody says so.
    server.push(version("1.2.0"));
    assert_eq!(told(&server, ""), "1.0.0");
    promote(&server, "1.2.0");
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    assert_eq!(told(&server, ""), "1.2.0");
    let back = decide(&server, "rollback", &json!({ "why": "it is too slow" }));
    assert_eq!((back.status, &back.body["current"]), (200, &json!("1.0.0")), "{back:?}");
    assert_eq!(back.body["withdrawn"], json!([{ "version": "1.2.0", "why": "it is too slow" }]));
    assert_eq!([told(&server, "^1"), told(&server, "=1.2.0")], ["1.0.0", "1.2.0"]);
    let listed = server.get("/v1/plugins/teller").body;
    let standings: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["standing"].as_str().unwrap()).collect();
    assert_eq!(standings, ["current", "other", "withdrawn", "other"], "{listed}");
    let changes = server.get("/v1/plugins/teller/release").body["changes"].clone();
    let what: Vec<&str> =
        changes.as_array().unwrap().iter().map(|change| change["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["promoted", "promoted", "rolledBack"], "{changes}");
    decide(&server, "follow", &json!({}));
    assert_eq!(told(&server, ""), "2.0.0");
    // What cannot be is refused with what to do.
    let missing = decide(&server, "promote", &json!({ "version": "9.9.9", "shar": 3 }));
    assert_eq!(missing.status, 400, "{missing:?}");
    assert!(missing.body.to_string().contains("did you mean `share`?"), "{missing:?}");
    let missing = decide(&server, "promote", &json!({ "version": "9.9.9" }));
    assert_eq!((missing.status, &missing.body["code"]), (409, &json!("release_refused")));
    let gate = decide(&server, "promote", &json!({ "version": "1.0.0", "gate": { "calls": 0 } }));
    assert!(gate.status == 400 && gate.body.to_string().contains("1 to 100000"), "{gate:?}");
}

/// Case 67 and case 68.
#[test]
fn a_version_goes_when_nothing_uses_it_and_its_number_stays_taken() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    push(&server, &["1.0.0", "1.1.0", "2.0.0"]);
    let delete = |number: &str| server.delete(&format!("/v1/plugins/teller/versions/{number}"));
    // A run that waits was accepted with it.
    let waiting = workflow(
        "waiting",
        "steps:\n  before: {call: \"tool:teller@^1\"}\n  hold: {wait: {signal: go}, dependsOn: [before]}\n  after: {call: \"tool:teller@^1\", dependsOn: [hold]}",
    );
    let run = server.submit(&waiting, json!({}));
    let refused = delete("1.1.0");
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("plugin_in_use")), "{refused:?}");
    assert!(refused.body["detail"].as_str().unwrap().contains(&run), "{refused:?}");
    assert_eq!(server.post(&format!("/v1/runs/{run}/cancel"), &json!({})).status, 202);
    server.ended(&run);
    // A workflow that would find no other one needs it.
    let only = asking("^2").replace("name: asking", "name: only");
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", only).status, 201);
    let refused = delete("2.0.0");
    assert!(refused.body["detail"].as_str().unwrap().contains("test/only@"), "{refused:?}");
    assert!(refused.body["detail"].as_str().unwrap().contains("current one"), "{refused:?}");
    promote(&server, "1.0.0");
    let refused = delete("1.0.0");
    assert!(refused.body["detail"].as_str().unwrap().contains("current one"), "{refused:?}");
    assert_eq!(delete("1.1.0").status, 204);
    assert_eq!(delete("1.1.0").status, 404);
    assert_eq!(told(&server, "^1"), "1.0.0");
    // Other bytes never get its number; its own may come back.
    let other = Guest::tool("teller").version("1.1.0").build();
    let answer = server.post_bytes("/v1/plugins", "application/wasm", other);
    let place = answer.headers["location"].to_str().unwrap().to_owned();
    let failed = server.until(|| {
        let now = server.get(&place).body;
        (now["status"] != "compiling").then_some(now)
    });
    assert_eq!(failed["failure"]["code"], "version_conflict", "{failed}");
    server.push(version("1.1.0"));
    assert_eq!(told(&server, "=1.1.0"), "1.1.0");
    // What is left is not what a workflow would get: only one that was taken back.
    push(&server, &["3.0.0", "3.1.0"]);
    promote(&server, "3.1.0");
    assert_eq!(decide(&server, "rollback", &json!({ "version": "3.1.0" })).status, 200);
    let again = decide(&server, "rollback", &json!({ "version": "3.1.0", "why": "a click too many" }));
    assert_eq!((again.status, &again.body["code"]), (409, &json!("release_refused")), "{again:?}");
    assert!(again.body["detail"].as_str().unwrap().contains("taken back already"), "{again:?}");
    promote(&server, "1.0.0");
    let third = asking("^3").replace("name: asking", "name: third");
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", third).status, 201);
    let refused = delete("3.0.0");
    assert!(refused.body["detail"].as_str().unwrap().contains("test/third@"), "{refused:?}");
    // An agent that may call it by its name, or a capability of nobody else, needs the last version.
    server.push(Guest::tool("lonely").build());
    server.push(Guest::agent("asks").build());
    let asks = workflow("asks", "steps: {a: {agent: {use: asks, goal: {}, tools: [\"tool:lonely\"]}}}");
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", asks).status, 201);
    let lonely = &server.get("/v1/plugins/lonely").body["items"][0]["version"];
    let refused = server.delete(&format!("/v1/plugins/lonely/versions/{}", lonely.as_str().unwrap()));
    assert!(refused.body["detail"].as_str().unwrap().contains("test/asks@"), "{refused:?}");
    assert_eq!(server.get("/v1/plugins/tool:nobody/release").status, 404);
}

/// What the operator types.
#[test]
fn an_operator_decides_at_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    push(&server, &["1.0.0", "1.1.0"]);
    let typed = |line: &str| {
        let mut words = line.split(' ');
        let done = Command::new(binary())
            .args(words.by_ref())
            .args(["--server", &server.url])
            .current_dir(folder.path())
            .output()
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    let said = typed("plugin promote teller 1.1.0 --share 10 --max-failures 5");
    assert_eq!(
        said.trim(),
        "tool:teller: runs get 1.0.0; 10 of a hundred try 1.1.0; it is taken back when more than 5 % of 20 calls fail"
    );
    let said = typed("plugin rollback teller --why slow");
    assert_eq!(said.trim(), "tool:teller: runs get 1.0.0");
    assert!(typed("plugin ls teller").contains("withdrawn"), "{}", typed("plugin ls teller"));
    assert_eq!(typed("plugin follow teller").trim(), "tool:teller: runs get the newest version");
    assert_eq!(told(&server, ""), "1.0.0", "what was taken back is not the newest");
    let metrics = typed("plugin metrics teller");
    assert!(
        metrics.contains("1.0.0") && metrics.contains("0.0 %") && metrics.contains("100.0 %"),
        "{metrics}"
    );
    let said = typed("plugin pull teller@1.1.0 -o back.wasm");
    assert!(said.starts_with("back.wasm sha256:"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("back.wasm")).unwrap(), version("1.1.0"));
    assert!(typed("plugin rm teller 1.1.0").contains("is deleted"));
    assert!(typed("plugin push back.wasm").contains("tool:teller@1.1.0"), "it may come back");
    let said = typed("plugin promote teller 3.0.0");
    assert!(said.contains("version `3.0.0` is not loaded"), "{said}");
}

/// Case 65. Replaced twenty times while runs are under way, and once by a version that traps on every call: only runs of the
/// share fail, and every run has the version that it was accepted with.
#[test]
fn a_plugin_is_replaced_under_load() {
    const RUNS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.push(version("1.0.0"));
    let body = "steps:\n  a: {call: \"tool:teller\", cache: off}\n  b: {call: \"tool:teller\", cache: off, dependsOn: [a]}\n  c: {wait: {for: 50ms}, dependsOn: [b]}\n  d: {call: \"tool:teller\", cache: off, dependsOn: [c]}\noutput: {as: \"${ [steps.a.output, steps.b.output, steps.d.output] }\"}";
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("loaded", body));
    assert_eq!(published.status, 201, "{published:?}");
    let replaced = AtomicBool::new(false);
    let (server, replaced) = (&server, &replaced);
    let ask = json!({ "workflow": "test/loaded" });
    let submit = || server.post("/v1/runs", &ask).body["id"].as_str().unwrap().to_owned();
    let runs: Vec<String> = std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let mut runs = Vec::new();
                    // At least so many, and on until the last version has come and gone.
                    while runs.len() < RUNS / 4 || !replaced.load(Ordering::Acquire) {
                        runs.push(submit());
                    }
                    runs
                })
            })
            .collect();
        for patch in 1..=20 {
            let number = format!("1.0.{patch}");
            server.push(version(&number));
            promote(server, &number);
        }
        server.push(trapping("1.1.0"));
        let gate = json!({ "version": "1.1.0", "share": 10, "gate": { "calls": 20, "failuresPercent": 5 } });
        let tried = decide(server, "promote", &gate);
        assert_eq!((tried.status, &tried.body["trial"]["share"]), (200, &json!(10)), "{tried:?}");
        server.until(|| {
            let release = server.get("/v1/plugins/teller/release").body;
            (release["withdrawn"][0]["version"] == "1.1.0").then_some(release)
        });
        // By hand it takes less than a second as well.
        let since = Instant::now();
        let back = decide(server, "rollback", &json!({}));
        assert_eq!((back.status, &back.body["current"]), (200, &json!("1.0.19")), "{back:?}");
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        assert_eq!(told(server, ""), "1.0.19");
        replaced.store(true, Ordering::Release);
        submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()).collect()
    });
    assert!(runs.len() >= RUNS);
    let release = server.get("/v1/plugins/teller/release").body;
    let changes = release["changes"].as_array().unwrap();
    let by_gate = changes.iter().find(|change| change["by"] == "gate").unwrap();
    judge_the_runs(server, &runs, by_gate["at"].as_str().unwrap());
    let decided = changes.iter().filter(|change| change["by"] == "gate").count();
    let counted = server.text("/metrics");
    let counted = counted.lines().find(|line| line.contains("release_changes") && line.contains("\"gate\""));
    assert!(decided == 1 && counted.is_some_and(|line| line.ends_with(" 1")), "once: {decided}, {counted:?}");
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(log.contains("a plugin's version was decided on") && log.contains("gate"), "it is on record");
}

/// Only runs of the share have failed, and each has one version.
fn judge_the_runs(server: &Server, runs: &[String], taken_back: &str) {
    let (mut failed, mut during, mut versions) = (0, 0, std::collections::BTreeSet::new());
    for id in runs {
        let run = server.ended(id);
        let pinned = run["steps"][0]["plugin"]["version"].as_str().unwrap().to_owned();
        during += usize::from(run["createdAt"].as_str() <= Some(taken_back));
        match run["status"].as_str().unwrap() {
            "succeeded" => assert_eq!(run["output"], json!([pinned, pinned, pinned]), "{run}"),
            _ => {
                assert_eq!(pinned, "1.1.0", "only runs of the share fail: {run}");
                failed += 1;
            }
        }
        versions.insert(pinned);
    }
    assert!(failed >= 1 && failed * 10 <= during + 10, "{failed} of {during}");
    assert!(versions.len() > 3, "the runs saw several versions: {versions:?}");
}

/// How versions do is counted, judged and told, and what does badly is tried last.
#[test]
fn what_does_badly_is_tried_last() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    // `fail` is cheaper, so it is preferred; it fails, and each run goes on to `echo`.
    server.patch("/v1/plugins/fail/labels", &json!({ "cost": "1" }));
    server.patch("/v1/plugins/echo/labels", &json!({ "cost": "2" }));
    let body = "steps: {ask: {call: {capability: sample.answer, prefer: [cheapest]}, with: {value: 1}, cache: off, retry: {delay: 1ms, limit: {attempts: 3}}}}";
    let asking = workflow("asking", body);
    let attempts = || {
        let run = server.run(&asking, json!({}));
        assert_eq!(run["status"], "succeeded", "{run}");
        run["steps"][0]["attempts"].as_array().unwrap_or_else(|| panic!("{run}")).len()
    };
    assert_eq!(attempts(), 2);
    (1..6).for_each(|_| assert!(attempts() <= 2));
    let health = |name: &str| server.get(&format!("/v1/plugins/{name}")).body["items"][0]["health"].clone();
    let fail = health("fail");
    assert_eq!(fail["state"], "unhealthy", "{fail}");
    assert!(fail["advice"].as_str().unwrap().contains("heddle plugin rollback tool:fail"), "{fail}");
    assert!(fail["history"][0]["state"] == "unhealthy", "{fail}");
    assert_eq!(health("echo")["state"], "healthy");
    // The node looks every other second.
    server.until(|| (attempts() == 1).then_some(()));
    let listed = server.get("/v1/plugins?capability=sample.answer").body;
    let order: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["echo", "fail"]);
    assert!(listed["items"][1]["reason"].as_str().unwrap().contains("after all that do well"), "{listed}");
    let healthy = server.get("/v1/plugins?health=healthy&tag=cost").body;
    assert_eq!(healthy["items"].as_array().unwrap().len(), 1, "{healthy}");
    let metrics = server.get("/v1/plugins/fail/metrics").body;
    let version = &metrics["versions"][0];
    assert!(version["calls"].as_u64().unwrap() >= 6 && version["errorRate"] == 1.0, "{metrics}");
    assert_eq!(version["cost"], version["calls"].as_f64().unwrap());
    assert_eq!(server.get("/v1/plugins/fail/metrics?from=yesterday").status, 400);
}
