//! Rates, circuit breakers and heartbeats at the real binary.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, bash, plugin, workflow};
use serde_json::{Value, json};

/// A workflow whose step fails when its input says so.
fn failing(name: &str, rules: &str) -> String {
    let with = "{kind: retryable, untilAttempt: \"${ input.fails ? 9 : 1 }\"}";
    workflow(name, &format!("steps: {{a: {{call: \"tool:fail\", with: {with}, {rules}}}}}"))
}
fn fails(fails: bool) -> Value {
    json!({"fails": fails})
}
fn why(server: &Server, run: &str) -> String {
    server.get(&format!("/v1/runs/{run}/why")).body["steps"][0]["why"].as_str().unwrap_or_default().to_owned()
}
fn circuit(server: &Server, key: &str) -> Value {
    let items = server.get("/v1/circuits").body["items"].clone();
    items.as_array().unwrap().iter().find(|item| item["key"] == key).cloned().unwrap_or_default()
}

#[test]
fn what_fails_too_often_is_not_called_until_somebody_closes_the_circuit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail"]);
    let rule = "key: far/off, minCalls: 2, failureRate: 1, window: 1h, openFor: 1h";
    let waits = failing("waits", &format!("circuitBreaker: {{{rule}}}"));
    let instead = failing("instead", &format!("circuitBreaker: {{{rule}}}, fallback: [{{value: none}}]"));

    assert_eq!(server.run(&waits, fails(true))["status"], "failed");
    let seen = circuit(&server, "far/off");
    assert_eq!((&seen["state"], &seen["calls"], &seen["failures"]), (&json!("closed"), &json!(1), &json!(1)));
    assert_eq!(server.run(&waits, fails(true))["status"], "failed");
    let seen = circuit(&server, "far/off");
    assert_eq!((&seen["state"], &seen["opened"]), (&json!("open"), &json!(1)), "{seen}");
    assert!(seen["openUntil"].is_string(), "{seen}");

    // A step with something else to do does that at once.
    let run = server.run(&instead, fails(false));
    assert_eq!((&run["status"], &run["output"]), (&json!("succeeded"), &json!({"a": "none"})), "{run}");
    let error = &run["steps"][0]["attempts"][0]["error"];
    assert_eq!(error["kind"], "circuit_open");
    assert!(error["retryAfterMs"].as_u64().unwrap() > 3_000_000, "{error}");
    // One without waits, and says for what.
    let waiting = server.submit(&waits, fails(false));
    let said = server.until(|| Some(why(&server, &waiting)).filter(|said| said.contains("circuit")));
    assert!(
        said.contains("the circuit `far/off` is open for ") && said.contains("heddle circuits close"),
        "{said}"
    );
    // It can be cancelled there.
    let cancelled = server.submit(&waits, fails(false));
    server.until(|| why(&server, &cancelled).contains("circuit").then_some(()));
    assert_eq!(server.post(&format!("/v1/runs/{cancelled}/cancel"), &json!({})).status, 202);
    assert_eq!(server.ended(&cancelled)["status"], "cancelled");

    let unknown = server.post("/v1/circuits/far%2Faway/close", &json!({}));
    assert_eq!((unknown.status, &unknown.body["code"]), (404, &json!("circuit_not_found")), "{unknown:?}");
    let shown = bash(&server, folder.path(), "heddle circuits ls; heddle circuits close far/off");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned() + &String::from_utf8_lossy(&shown.stderr);
    assert!(text.contains("far/off  open") && text.contains("circuit `far/off` is closed"), "{text}");
    assert_eq!(server.ended(&waiting)["status"], "succeeded");
    assert_eq!(circuit(&server, "far/off")["state"], "closed");
}

#[test]
fn a_probe_closes_the_circuit_or_opens_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail"]);
    let rule = "circuitBreaker: {minCalls: 1, failureRate: 1, openFor: 50ms}";
    let calls = failing("calls", rule);
    for opened in 1..=3 {
        // Each is the probe of the one before, and fails.
        assert_eq!(server.run(&calls, fails(true))["status"], "failed");
        assert_eq!(circuit(&server, "tool:fail")["opened"], opened);
    }
    // Many wait for one probe; it ends well, and all of them go on.
    let runs: Vec<String> = (0..8).map(|_| server.submit(&calls, fails(false))).collect();
    for run in &runs {
        assert_eq!(server.ended(run)["status"], "succeeded");
    }
    let seen = circuit(&server, "tool:fail");
    assert_eq!((&seen["state"], &seen["opened"]), (&json!("closed"), &json!(3)), "{seen}");
    // What the caller did wrong says nothing of what it calls.
    let wrong = workflow(
        "wrong",
        "steps: {a: {call: \"tool:fail\", with: {kind: permanent}, circuitBreaker: {minCalls: 1, failureRate: 0.1}}}",
    );
    assert_eq!(server.run(&wrong, json!({}))["status"], "failed");
    assert_eq!(circuit(&server, "tool:fail")["opened"], 3);
}

#[test]
fn a_rate_is_kept_and_what_is_cached_waits_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_plugins(folder.path(), &["echo", "identity"]);
    let each = workflow(
        "each",
        "steps: {a: {forEach: {in: \"${ [1, 2, 3, 4, 5, 6] }\", as: n}, call: \"tool:echo\", with: {value: \"${ n }\"}, rateLimit: {key: each, limit: 10, period: 1s, burst: 2}}}",
    );
    let run = server.run(&each, json!({}));
    assert_eq!(run["status"], "succeeded");
    assert!(run["durationMs"].as_u64().unwrap() >= 400, "two at once, then four, 100 ms apart: {run}");

    let refused = workflow(
        "refused",
        "steps: {a: {call: \"tool:echo\", with: {value: 1}, rateLimit: {key: \"k/${ input.n }\", limit: 1, period: 1h, onLimit: reject}}}",
    );
    assert_eq!(server.run(&refused, json!({"n": 1}))["status"], "succeeded");
    assert_eq!(server.run(&refused, json!({"n": 2}))["status"], "succeeded", "each key has its own");
    let error = server.run(&refused, json!({"n": 1}))["error"].clone();
    assert_eq!(
        (&error["kind"], &error["code"]),
        (&json!("quota_exceeded"), &json!("rate_limited")),
        "{error}"
    );
    assert!((3_500_000..=3_600_000).contains(&error["retryAfterMs"].as_u64().unwrap()), "{error}");
    let no_key = workflow(
        "nokey",
        "steps: {a: {call: \"tool:echo\", with: {value: 1}, rateLimit: {key: \"${ input.list }\", limit: 1, period: 1h}}}",
    );
    let error = server.run(&no_key, json!({"list": []}))["error"].clone();
    assert_eq!(error["kind"], "expression_failed");
    assert!(error["message"].as_str().unwrap().contains("`rateLimit.key` of `a`"), "{error}");

    // One step a hour: the second run waits, unless it is served from the cache.
    let hourly = workflow(
        "hourly",
        "steps: {a: {call: \"transform:identity\", with: {n: \"${ input.n }\"}, onCrash: fail, rateLimit: {limit: 1, period: 1h}}}",
    );
    assert_eq!(server.run(&hourly, json!({"n": 1}))["status"], "succeeded");
    assert_eq!(server.run(&hourly, json!({"n": 1}))["status"], "succeeded");
    let late = workflow(
        "late",
        "steps: {a: {call: \"transform:identity\", with: {n: 9}, timeout: {queue: 1s}, rateLimit: {limit: 1, period: 1h}}}",
    );
    assert_eq!(server.run(&late, json!({}))["error"]["kind"], "deadline_exceeded");
    let waiting = server.submit(&hourly, json!({"n": 2}));
    let said = server.until(|| Some(why(&server, &waiting)).filter(|said| said.contains("rateLimit")));
    assert!(said.contains("`transform:identity` may have 1 in 1h"), "{said}");
    let metrics = server.text("/metrics");
    assert!(metrics.contains("heddle_gate_waits_total{gate=\"rate\"}"), "{metrics}");
    assert!(metrics.contains("heddle_gate_refusals_total{gate=\"rate\"} 1"), "{metrics}");

    // Another process knows nothing of what was had; what waited was in no sandbox, so it may begin again.
    server.kill();
    let server = Server::start_at(folder.path(), &server.url, &[]);
    let run = server.ended(&waiting);
    assert_eq!(run["status"], "succeeded", "{run}");
}

/// What waits for a sandbox has not begun: it takes nothing of a rate, it is no probe, and it does not call what has
/// been found dead meanwhile. Nor does a run that stands still.
#[test]
fn nothing_is_taken_before_a_call_begins() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_WORKERS_AT_ONCE", "1")]);
    for name in ["echo", "fail"] {
        server.push(plugin(name));
    }
    let hog = workflow("hog", "steps: {a: {call: \"tool:echo\", with: {value: 1, delayMs: 800}}}");
    let one = |name: &str, rule: &str| {
        workflow(name, &format!("steps: {{a: {{call: \"tool:echo\", with: {{value: 1}}, {rule}}}}}"))
    };
    let running = |run: &str| {
        server.until(|| {
            let steps = server.get(&format!("/v1/runs/{run}")).body["steps"].clone();
            (steps[0]["status"] == "running").then_some(())
        });
    };
    // Six calls come while the only sandbox is in use; they begin evenly all the same.
    let first = server.submit(&hog, json!({}));
    running(&first);
    let each = workflow(
        "each",
        "steps: {a: {forEach: {in: \"${ [1, 2, 3, 4, 5, 6] }\", as: n}, call: \"tool:echo\", with: {value: \"${ n }\"}, rateLimit: {limit: 10, period: 1s}}}",
    );
    let run = server.submit(&each, json!({}));
    let first = server.ended(&first);
    let run = server.ended(&run);
    let took = run["finishedAt"].as_str().unwrap() > first["finishedAt"].as_str().unwrap();
    assert!(took && run["durationMs"].as_u64().unwrap() >= 1_000, "500 ms after the sandbox was free: {run}");

    // A call whose turn at a rate is far away is no probe.
    let rule = "circuitBreaker: {key: shared, minCalls: 1, failureRate: 1, openFor: 50ms}";
    assert_eq!(server.run(&failing("opens", rule), fails(true))["status"], "failed");
    let rate = "rateLimit: {key: far, limit: 1, period: 1h}";
    assert_eq!(server.run(&one("used", rate), json!({}))["status"], "succeeded");
    let late = server.submit(&one("late", &format!("{rate}, {rule}")), json!({}));
    server.until(|| why(&server, &late).contains("rateLimit").then_some(()));
    assert_eq!(server.run(&failing("probe", rule), fails(false))["status"], "succeeded");
    assert_eq!(circuit(&server, "shared")["state"], "closed");

    // What stands still begins nothing when its gate opens.
    let rule = "circuitBreaker: {key: held, minCalls: 1, failureRate: 1, openFor: 1h}";
    assert_eq!(server.run(&failing("shuts", rule), fails(true))["status"], "failed");
    let paused = server.submit(&failing("paused", rule), fails(false));
    server.until(|| why(&server, &paused).contains("circuit").then_some(()));
    assert_eq!(server.post(&format!("/v1/runs/{paused}/pause"), &json!({})).status, 202);
    server.until(|| (server.get(&format!("/v1/runs/{paused}")).body["status"] == "paused").then_some(()));
    assert_eq!(server.post("/v1/circuits/held/close", &json!({})).status, 200);
    assert_eq!(server.run(&failing("passes", rule), fails(false))["status"], "succeeded");
    assert_eq!(server.get(&format!("/v1/runs/{paused}")).body["steps"][0]["status"], "running");
    assert_eq!(server.post(&format!("/v1/runs/{paused}/resume"), &json!({})).status, 202);
    assert_eq!(server.ended(&paused)["status"], "succeeded");
}

#[test]
fn rates_are_shown_with_who_waits_and_when_the_next_may_begin() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let rule = "rateLimit: {key: \"a/${ input.n }\", limit: 2, period: 1h, burst: 2}";
    let calls =
        workflow("calls", &format!("steps: {{a: {{call: \"tool:echo\", with: {{value: 1}}, {rule}}}}}"));
    assert_eq!(server.run(&calls, json!({"n": 1}))["status"], "succeeded");
    let shown = server.get("/v1/rates").body["items"].clone();
    let rule = json!({"limit": 2, "periodMs": 3_600_000, "burst": 2, "onLimit": "queue"});
    assert_eq!(shown, json!([{"key": "a/1", "waiting": 0, "nextInMs": 0, "rule": rule}]));
    assert_eq!(server.run(&calls, json!({"n": 1}))["status"], "succeeded");
    let waiting = [(); 2].map(|()| server.submit(&calls, json!({"n": 1})));
    let shown = server.until(|| {
        let shown = server.get("/v1/rates").body["items"][0].clone();
        (shown["waiting"] == 2).then_some(shown)
    });
    let next = shown["nextInMs"].as_u64().unwrap();
    assert!((1_700_000..=1_800_000).contains(&next), "half an hour: {shown}");
    assert_eq!(server.run(&calls, json!({"n": 2}))["status"], "succeeded");
    let page = server.get("/v1/rates?limit=1").body;
    assert_eq!((&page["items"][0]["key"], &page["cursor"]), (&json!("a/1"), &json!("a/1")), "{page}");
    assert_eq!(server.get("/v1/rates?cursor=a/1").body["items"][0]["key"], "a/2");
    let text = bash(
        &server,
        folder.path(),
        "heddle rates; heddle rates --json; heddle circuits close .. 2>&1 || true",
    );
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("a/1   2 in 1h  2      in ") && text.contains("\"waiting\": 2"), "{text}");
    assert!(text.contains("`..` is the key of no circuit"), "{text}");
    for run in waiting {
        assert_eq!(server.post(&format!("/v1/runs/{run}/cancel"), &json!({})).status, 202);
        server.ended(&run);
    }
    assert_eq!(server.get("/v1/rates").body["items"][0]["waiting"], 0);
}

#[test]
fn a_workflow_of_many_keys_leaves_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_GATE_KEYS", "8")]);
    server.push(plugin("echo"));
    let each = |name: &str, keys: u32| {
        let items: Vec<u32> = (1..=keys).collect();
        let list = format!(
            "forEach: {{in: \"${{ {items:?} }}\", as: n}}, call: \"tool:echo\", with: {{value: \"${{ n }}\"}}"
        );
        let rule = format!("rateLimit: {{key: \"{name}/${{ n }}\", limit: 10, period: 1h, burst: 10}}");
        workflow(name, &format!("steps: {{a: {{{list}, {rule}}}}}"))
    };
    assert_eq!(server.run(&each("hog", 4), json!({}))["status"], "succeeded");
    let refused = server.run(&each("hog", 5), json!({}));
    let told = refused["steps"][0]["error"].to_string() + &refused["error"].to_string();
    assert_eq!(refused["status"], "failed", "{refused}");
    let failed =
        server.get(&format!("/v1/runs/{}/steps/a/items", refused["id"].as_str().unwrap())).body.to_string();
    assert!(
        failed.contains("`test/hog` has 4 keys of rate limits") && failed.contains("gate_keys"),
        "{told} {failed}"
    );
    assert_eq!(server.run(&each("other", 2), json!({}))["status"], "succeeded");
    assert_eq!(server.run(&each("third", 1), json!({}))["status"], "succeeded");
}

#[test]
fn what_is_no_key_is_found_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let long = "k".repeat(257);
    for (key, what) in
        [("..", "`..` is no key"), ("\"\"", "`` is no key"), (&*long, "the limit flow_key_bytes is 256")]
    {
        for place in ["rateLimit", "circuitBreaker"] {
            let rule = match place {
                "rateLimit" => format!("rateLimit: {{key: {key}, limit: 1, period: 1s}}"),
                _ => format!("circuitBreaker: {{key: {key}}}"),
            };
            let body =
                workflow("w", &format!("steps: {{a: {{call: \"tool:echo\", with: {{value: 1}}, {rule}}}}}"));
            let refused = server.post_bytes("/v1/workflows", "application/yaml", body);
            assert_eq!(refused.status, 422, "{refused:?}");
            let fault = &refused.body["errors"][0];
            assert_eq!(fault["pointer"], format!("/steps/a/{place}/key"), "{fault}");
            assert!(fault["message"].as_str().unwrap().contains(what), "{fault}");
        }
    }
    let body = workflow("w", &format!("concurrency: {{key: {long}, limit: 1}}\nsteps: {{a: {{set: 1}}}}"));
    let refused = server.post_bytes("/v1/workflows", "application/yaml", body);
    assert_eq!(refused.body["errors"][0]["pointer"], "/concurrency/key", "{refused:?}");
    // One that comes out of an expression is found by the run.
    let rule = "circuitBreaker: {key: \"${ input.k }\"}";
    let computed =
        workflow("w", &format!("steps: {{a: {{call: \"tool:echo\", with: {{value: 1}}, {rule}}}}}"));
    let error = server.run(&computed, json!({"k": "."}))["error"].clone();
    assert_eq!(error["kind"], "expression_failed");
    assert!(error["message"].as_str().unwrap().contains("`.` is no key"), "{error}");
}

#[test]
fn who_reports_no_progress_is_stopped_and_who_does_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let waits = |name: &str, report: &str| {
        let with = format!("{{value: 1, delayMs: 900{report}}}");
        let more = "retry: {delay: 1ms, limit: {attempts: 2}}, timeout: {heartbeat: 300ms}";
        workflow(name, &format!("steps: {{a: {{call: \"tool:echo\", with: {with}, {more}}}}}"))
    };
    assert_eq!(server.run(&waits("beats", ", reportMs: 20"), json!({}))["status"], "succeeded");
    let silent = server.run(&waits("silent", ""), json!({}));
    assert_eq!(silent["error"]["kind"], "heartbeat_timeout", "{silent}");
    assert_eq!(silent["steps"][0]["attempts"].as_array().unwrap().len(), 2, "it is tried again: {silent}");
}
