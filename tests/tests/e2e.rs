//! The real binary over HTTP, as its users meet it.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, plugin, root, workflow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

const AUDIT: [&str; 4] = ["lockfile_parse", "package_examine", "markdown_table", "audit_report"];

fn audit(server: &Server, lockfile: &str) -> Value {
    let answer = server.post("/v1/runs", &json!({"workflow": "heddle/supply-chain-audit@^1", "input": {"lockfile": lockfile, "project": "heddle"}}));
    assert_eq!(answer.status, 202, "{answer:?}");
    server.ended(answer.body["id"].as_str().unwrap())
}
fn step<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["steps"].as_array().unwrap().iter().find(|s| s["id"] == id).unwrap()
}

#[test]
fn the_audit_runs_is_cached_and_runs_again_only_where_something_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_plugins(folder.path(), &AUDIT);
    let yaml = std::fs::read(root().join("plugins/samples/audit.yaml")).unwrap();
    let published = server.post_bytes("/v1/workflows", "application/yaml", yaml.clone());
    assert_eq!(published.status, 201, "{published:?}");
    assert_eq!(
        server.post_bytes("/v1/workflows", "application/yaml", yaml).status,
        200,
        "the same bytes are no new version"
    );
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();

    let first = audit(&server, &lock);
    assert_eq!(first["status"], "succeeded", "{}", first["error"]);
    let items = step(&first, "examine")["items"].clone();
    let total = items["total"].as_u64().unwrap();
    assert!(total > 200 && items["succeeded"] == total && items["cached"] == 0, "{items}");
    assert!(first["output"]["markdown"].as_str().unwrap().starts_with('#'));

    let second = audit(&server, &lock);
    assert_eq!(step(&second, "examine")["items"]["cached"], total);
    assert_eq!(step(&second, "parse")["cache"]["verdict"], "hit");
    assert_eq!(step(&second, "parse")["cache"]["sourceRun"], first["id"]);

    // Hits survive a restart, because the cache is in the store.
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(folder.path(), &[]);
    let changed = lock.replacen("name = \"itoa\"\nversion = \"1.", "name = \"itoa\"\nversion = \"9.", 1);
    assert_ne!(changed, lock);
    let third = audit(&server, &changed);
    assert_eq!(third["status"], "succeeded", "{}", third["error"]);
    // Exactly those packages are examined again of which the parser says something else than before.
    let (before, after) = (packages(&server, &first), packages(&server, &third));
    let changed: Vec<usize> = (0..after.len()).filter(|at| !before.contains(&after[*at])).collect();
    let verdicts = verdicts(&server, &third);
    let ran: Vec<usize> = (0..verdicts.len()).filter(|at| verdicts[*at] == "miss").collect();
    assert_eq!((ran, verdicts.len()), (changed.clone(), after.len()));
    assert!(!changed.is_empty() && changed.len() < 20, "{changed:?}");
}

/// What the parser gave for each package.
fn packages(server: &Server, run: &Value) -> Vec<Value> {
    let parse = step(run, "parse");
    let output = match parse["outputRef"]["digest"].as_str() {
        Some(digest) => server.get(&format!("/v1/runs/{}/values/{digest}", run["id"].as_str().unwrap())).body,
        None => parse["output"].clone(),
    };
    output["packages"].as_array().unwrap().clone()
}

/// What the cache said of each item, in the order of the list.
fn verdicts(server: &Server, run: &Value) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/runs/{}/steps/examine/items?limit=200{cursor}", run["id"].as_str().unwrap());
        let page = server.get(&path).body;
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|item| item["cache"]["verdict"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

/// What a run's document tells besides its end: times, the cache's entry, limits and what was used, how long it may
/// take, and where the request came from.
#[test]
fn a_run_tells_its_times_its_limits_and_where_its_outputs_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let definition = workflow("told", "steps: {a: {call: transform:identity, with: {n: 7}}}");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = json!({ "definition": definition, "input": {} });
    let run = |headers: &[(&str, &str)]| {
        let accepted = server.post_with("/v1/runs", &body, headers);
        server.ended(accepted.body["id"].as_str().unwrap())
    };
    let first = run(&[("traceparent", parent), ("heddle-user", "ana")]);
    assert_eq!((&first["traceparent"], &first["by"]), (&json!(parent), &json!("ana")));
    let (a, text) = (step(&first, "a"), |value: &Value| value.as_str().unwrap().to_owned());
    let times = [&first["createdAt"], &a["readyAt"], &a["startedAt"], &a["finishedAt"], &first["finishedAt"]];
    let times: Vec<String> = times.iter().map(|time| text(time)).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    let attempt = &a["attempts"][0];
    assert!(
        attempt["usage"]["fuel"].as_u64() > Some(0) && attempt["usage"]["memoryPeakBytes"].as_u64() > Some(0)
    );
    assert_eq!(
        (&attempt["limits"]["fuel"], &attempt["limits"]["memoryBytes"]),
        (&json!(200_000_000), &json!(134_217_728))
    );
    assert_eq!((&a["cache"]["verdict"], &a["part"]), (&json!("miss"), &json!("main")));
    let second = run(&[]);
    let cache = &step(&second, "a")["cache"];
    assert_eq!(
        (&cache["verdict"], &cache["hits"], &cache["sourceRun"]),
        (&json!("hit"), &json!(1), &first["id"])
    );
    assert_eq!(cache["key"], a["cache"]["key"]);
    assert!(text(&cache["storedAt"]) >= times[1] && second["estimate"]["durationMs"].is_u64(), "{second}");
    assert_eq!(step(&run(&[]), "a")["cache"]["hits"], 2);
    // Each decision says what was decided and why.
    let events = server.events(second["id"].as_str().unwrap(), None);
    let decisions: Vec<&Value> =
        events.iter().filter(|(_, kind, _)| kind == "decision").map(|(_, _, e)| e).collect();
    let about: Vec<&str> = decisions.iter().map(|e| e["data"]["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["provider", "cache"], "{events:?}");
    assert_eq!(decisions[0]["data"]["digest"], a["plugin"]["digest"]);
    assert!(text(&decisions[1]["data"]["reason"]).contains(first["id"].as_str().unwrap()), "{decisions:?}");
}

/// One step of each bundled transform, on input that is worth its work.
const PURE: &str = r#"
steps:
  parse: {call: "transform:lockfile-parse", with: {text: "${ input.lockfile }"}}
  examine: {forEach: {in: "${ steps.parse.output.packages }"}, call: "transform:package-examine", with: {package: "${ item }"}}
  examined: {call: "transform:identity", with: {all: "${ steps.examine.output }"}}
  table:
    call: "transform:markdown-table"
    with: {columns: [a, {title: b, align: right}], rows: [[x, 1.5], [null, true], ["Grüße", 1e21], ["|", 0.1]]}
  text: {call: "transform:text", with: {text: "Grüße, Ελλάδα", operations: [{op: upper}, {op: reverse}, {op: repeat, count: 40}]}}
  same: {call: "transform:identity", with: {z: 1.50, a: [1e3, 12345678901234567890123, "\u0000"]}}
"#;

/// The output of a step to the byte, by its digest where it is large, and the fuel that it took.
fn output_and_fuel(server: &Server, run: &str, id: &str) -> (String, Value) {
    let text = server.text(&format!("/v1/runs/{run}/steps/{id}"));
    let step: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(step["status"], "succeeded", "{id}: {step}");
    if step["outputRef"].is_object() {
        return (step["outputRef"].to_string(), step["fuelUsed"].clone());
    }
    if step["items"].is_object() {
        // Its output is put together from its items', and stands only where the next step takes it.
        return (step["items"].to_string(), step["fuelUsed"].clone());
    }
    let output = &text[text.find("\"output\":").unwrap_or_else(|| panic!("{text}")) + 9..];
    let mut values = serde_json::Deserializer::from_str(output).into_iter::<Value>();
    assert_eq!(values.next().unwrap().unwrap(), step["output"]);
    (output[..values.byte_offset()].to_owned(), step["fuelUsed"].clone())
}

#[test]
fn bundled_transforms_give_the_same_bytes_for_the_same_fuel_in_every_process() {
    const PLUGINS: [&str; 5] = ["lockfile_parse", "package_examine", "markdown_table", "text", "identity"];
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    // Another folder means another cache, and machine code that was compiled anew.
    let in_a_process = |env: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), env);
        for name in PLUGINS {
            server.push(heddle_tests::plugin(name));
        }
        let run = server.run(&workflow("pure", PURE), json!({"lockfile": lock}));
        assert_eq!(run["status"], "succeeded", "{}", run["error"]);
        let run = run["id"].as_str().unwrap();
        ["parse", "examine", "examined", "table", "text", "same"]
            .map(|id| (id, output_and_fuel(&server, run, id)))
    };
    let first = in_a_process(&[]);
    let second = in_a_process(&[("TZ", "Pacific/Chatham"), ("LANG", "tr_TR.UTF-8"), ("HOME", "/nowhere")]);
    for ((id, (output, fuel)), other) in first.iter().zip(&second) {
        assert!(output.len() > 40 && fuel.as_u64().is_some_and(|fuel| fuel > 0), "{id}: {output} {fuel}");
        assert_eq!((id, output, fuel), (&other.0, &other.1.0, &other.1.1));
    }
}

#[test]
fn events_are_gapless_resume_and_end_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let definition = workflow(
        "chain",
        "steps: {a: {call: \"tool:echo\", with: {value: 1, delayMs: 20}}, b: {call: \"tool:echo\", with: {value: \"${ steps.a.output.value }\"}}}",
    );
    let run = server.submit(&definition, json!({}));
    let events = server.events(&run, None);
    let kept: Vec<&(String, String, Value)> = events.iter().filter(|(id, ..)| !id.is_empty()).collect();
    assert_eq!((kept[0].1.as_str(), kept.last().unwrap().1.as_str()), ("run.queued", "run.succeeded"));
    let ids: Vec<(u64, u64)> = kept
        .iter()
        .map(|(id, ..)| id.split_once('.').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap())
        .collect();
    for pair in ids.windows(2) {
        assert!(
            pair[1] == (pair[0].0, pair[0].1 + 1) || (pair[1].0 > pair[0].0 && pair[1].1 == 0),
            "{pair:?}"
        );
    }
    let rest = server.events(&run, Some(&kept[2].0));
    assert_eq!(rest.len(), kept.len() - 3);
}

#[test]
fn one_key_is_one_run_even_from_fifty_clients() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let body = json!({"definition": workflow("one", "steps: {a: {call: \"transform:identity\", with: {n: 1}}}"), "input": {}});
    let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| server.post_with("/v1/runs", &body, &[("idempotency-key", "the-key")])))
            .collect();
        tries
            .into_iter()
            .map(|t| t.join().unwrap())
            .map(|a| {
                assert_eq!(a.status, 202, "{a:?}");
                a.body["id"].as_str().unwrap().to_owned()
            })
            .collect()
    });
    assert_eq!(ids.len(), 1);
    let other = server.post_with(
        "/v1/runs",
        &json!({"definition": body["definition"], "input": {"x": 1}}),
        &[("idempotency-key", "the-key")],
    );
    assert_eq!((other.status, other.body["code"].as_str()), (422, Some("idempotency_mismatch")), "{other:?}");
}

#[test]
fn prefer_wait_answers_with_the_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let body = json!({"definition": workflow("w", "steps: {a: {call: \"transform:identity\", with: {n: 1.50}}}"), "input": {}});
    let answer = server.post_with("/v1/runs", &body, &[("prefer", "wait=30")]);
    assert_eq!((answer.status, answer.body["status"].as_str()), (200, Some("succeeded")), "{answer:?}");
    assert_eq!(answer.body["output"]["a"].to_string(), "{\"n\":1.5}");
    assert!(
        answer.body["steps"][0]["attempts"][0]["usage"]["fuel"].as_u64().unwrap() > 0,
        "{}",
        answer.body["steps"][0]
    );
}

#[test]
fn a_cancel_ends_a_spinning_guest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail"]);
    let run =
        server.submit(&workflow("spin", "steps: {a: {call: \"tool:fail\", with: {kind: hang}}}"), json!({}));
    server.until(|| (server.get(&format!("/v1/runs/{run}")).body["status"] == "running").then_some(()));
    let answer = server.post(&format!("/v1/runs/{run}/cancel"), &json!({"reason": "enough"}));
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(server.ended(&run)["status"], "cancelled");
    assert_eq!(server.post(&format!("/v1/runs/{run}/cancel"), &json!({})).status, 409);
    assert!(server.get(&format!("/v1/runs/{run}/why")).body.to_string().contains("enough"));
}

#[test]
fn bad_workflows_are_told_what_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let bomb = {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
        }
        text
    };
    let long = format!("${{ 1{} }}", "+1".repeat(2_000));
    for (body, pointer, part) in [
        (
            "steps: {a: {set: 1, dependsOn: [b]}, b: {set: 1, dependsOn: [a]}}".to_owned(),
            "/steps/a/dependsOn",
            "wait for each other",
        ),
        (
            "steps: {a: {set: 1, dependsOn: [zz]}}".to_owned(),
            "/steps/a/dependsOn/0",
            "no step is called `zz`",
        ),
        ("steps: {a: {set: \"${ 1 + 'x' }\"}}".to_owned(), "/steps/a/set", "cannot work on int and string"),
        ("steps: {a: {set: 1, wehn: true}}".to_owned(), "/steps/a/wehn", "did you mean `when`"),
        (format!("steps: {{a: {{set: \"{long}\"}}}}"), "/steps/a/set", "limit"),
        ("steps: {a: {set: 1, timeout: 30}}".to_owned(), "/steps/a/timeout", "has no unit"),
        (
            "steps: {a: {call: \"transform:identiti\"}}".to_owned(),
            "/steps/a/call",
            "did you mean `transform:identity`",
        ),
    ] {
        let answer =
            server.post_bytes("/v1/workflows?dryRun=true", "application/yaml", workflow("bad", &body));
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let errors = answer.body["errors"].as_array().unwrap();
        assert!(
            errors.iter().any(|e| e["pointer"] == pointer && e["message"].as_str().unwrap().contains(part)),
            "{body}: {errors:?}"
        );
    }
    let answer = server.post_bytes("/v1/workflows", "application/yaml", bomb);
    assert_eq!((answer.status, &answer.body["code"]), (422, &json!("yaml_budget")), "{answer:?}");
    let every = server.post_bytes(
        "/v1/workflows?dryRun=true",
        "application/yaml",
        workflow("bad", "steps: {a: {set: 1, x: 1}, b: {set: 1, y: 1}, c: {call: z}}"),
    );
    assert_eq!(every.body["errors"].as_array().unwrap().len(), 3, "{every:?}");
}

#[test]
fn the_command_line_runs_a_workflow_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = root().join("plugins/target/wasm32-wasip2/release");
    let run = |args: &[&str]| {
        Command::new(heddle_tests::binary())
            .args(args)
            .env("HEDDLE_DATA", folder.path())
            .env("NO_COLOR", "1")
            .current_dir(root())
            .output()
            .unwrap()
    };
    let audit = [
        "run",
        "plugins/samples/audit.yaml",
        "--plugins",
        plugins.to_str().unwrap(),
        "--arg",
        "lockfile=@plugins/samples/risky.lock",
        "--json",
    ];
    let output = run(&audit);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["status"], "succeeded");
    assert!(document["output"]["markdown"].as_str().unwrap().contains("high"));
    let broken = run(&["workflow", "validate", "Cargo.toml"]);
    assert_eq!(broken.status.code(), Some(2), "{broken:?}");
    let nobody = run(&["runs", "ls", "--server", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("heddle dev"), "{nobody:?}");
}

/// What a client sends and what a plugin gives back is kept to the digit, in what people see as in what programs read.
#[test]
fn the_command_line_changes_no_digit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.yaml");
    let text = "document: {dsl: \"1.0\", namespace: test, name: numbers, version: 1.0.0}\n\
                steps: {a: {set: \"${ input }\"}}\noutput: {as: {all: \"${ steps.a.output }\"}}\n";
    std::fs::write(&file, text).unwrap();
    let server = Server::start(folder.path(), &[]);
    let said = |args: &[&str]| {
        let output = Command::new(heddle_tests::binary())
            .args(args)
            .env("HEDDLE_SERVER", &server.url)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let kept = folder.path().join("out.json");
    let (flow, kept) = (file.to_str().unwrap(), kept.to_str().unwrap());
    let numbers = r#"{"big":12345678901234567890123,"price":1.50,"zero":-0}"#;
    let run = said(&["run", flow, "--input", numbers, "--detach"]);
    let shown = [
        said(&["run", flow, "--input", numbers]),
        said(&["run", flow, "--input", numbers, "--pick", "/all"]),
        said(&["run", flow, "--input", numbers, "--json"]),
        {
            drop(said(&["run", flow, "--input", numbers, "-o", kept]));
            std::fs::read_to_string(kept).unwrap()
        },
        {
            server.ended(run.trim());
            said(&["runs", "get", run.trim(), "--json"])
        },
        said(&["runs", "get", run.trim(), "--output"]),
        said(&["runs", "journal", run.trim(), "--json"]),
        said(&["runs", "journal", run.trim()]),
    ];
    for shown in shown {
        let dense: String = shown.split_whitespace().collect();
        assert!(dense.contains(numbers), "{shown}");
    }
}

#[test]
fn a_term_signal_ends_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_plugins(folder.path(), &["echo"]);
    let body = "steps: {a: {call: \"tool:echo\", with: {value: 1, delayMs: 300}}, b: {call: \"tool:echo\", with: {value: 2}, dependsOn: [a]}}";
    let runs: Vec<String> = (0..10).map(|_| server.submit(&workflow("drain", body), json!({}))).collect();
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(folder.path(), &[]);
    for run in runs {
        let run = server.ended(&run);
        assert_eq!(run["status"], "succeeded", "{run}");
        assert_eq!(run["steps"][0]["attempts"].as_array().unwrap().len(), 1, "what ran was let end");
    }
}

/// A step that must not run twice is in its sandbox, and has had its effect, when the node ends and waits no longer.
#[test]
fn what_must_not_run_twice_does_not_although_the_node_ended_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("HEDDLE_LIMITS_DRAIN_MS", "50ms"), ("HEDDLE_TELEMETRY_LEVEL", "warn,heddle::guest=debug")];
    let mut server = Server::start(folder.path(), &settings);
    server.push(plugin("witness"));
    let body =
        |more: &str| format!("steps: {{a: {{call: \"tool:witness\", with: {{delayMs: 20000}}{more}}}}}");
    let once = server.submit(&workflow("once", &body(", onCrash: fail")), json!({}));
    let again = server.submit(&workflow("again", &body(", timeout: 1m")), json!({}));
    let log = folder.path().join("server.log");
    let seen = |run: &str| std::fs::read_to_string(&log).unwrap().matches(&format!("witness {run}")).count();
    server.until(|| (seen(&once) == 1 && seen(&again) == 1).then_some(()));
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(folder.path(), &settings);
    let ended = server.ended(&once);
    assert_eq!(
        (&ended["status"], &ended["error"]["kind"]),
        (&json!("failed"), &json!("interrupted")),
        "{ended}"
    );
    // The other may, and what ended in order is no mark against it.
    server.until(|| (seen(&again) == 2).then_some(()));
    assert_eq!(seen(&once), 1);
    assert_eq!(server.post(&format!("/v1/runs/{again}/cancel"), &json!({})).status, 202);
    server.ended(&again);
}

/// Three signals at once for a chain of four waits: each is heard once, so the fourth wait goes on. Then the fourth, with
/// clients that speak while the run is on its way into the store and out of it.
#[test]
fn what_a_run_is_told_is_heard_once_and_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let definition = workflow(
        "told",
        "steps: {a: {wait: {signal: go}}, b: {wait: {signal: go}, dependsOn: [a]}, c: {wait: {signal: go}, dependsOn: [b]}, d: {wait: {signal: go}, dependsOn: [c]}}",
    );
    for round in 0..30 {
        let run = server.submit(&definition, json!({}));
        let signal = |n: u64| {
            let sent = server.post(&format!("/v1/runs/{run}/signal"), &json!({ "name": "go", "data": n }));
            assert_eq!(sent.status, 202, "{sent:?}");
        };
        std::thread::scope(|scope| {
            for n in 0..3 {
                scope.spawn(move || signal(n));
            }
        });
        let status = |step: &str| {
            let found = server.get(&format!("/v1/runs/{run}/steps/{step}"));
            found.body["status"].as_str().unwrap().to_owned()
        };
        server.until(|| (status("c") == "succeeded").then_some(()));
        assert_eq!(status("d"), "waiting", "round {round}");
        signal(3);
        let ended = server.ended(&run);
        let mut heard: Vec<u64> =
            ["a", "b", "c"].iter().map(|id| step(&ended, id)["output"].as_u64().unwrap()).collect();
        heard.sort_unstable();
        assert_eq!((heard, step(&ended, "d")["output"].as_u64()), (vec![0, 1, 2], Some(3)), "round {round}");
        let journal = server.get(&format!("/v1/runs/{run}/journal?limit=200")).body.to_string();
        assert_eq!(journal.matches("signalReceived").count(), 4, "round {round}: {journal}");
    }
}

/// Whoever balances load sees it before the sockets are closed, and whoever still comes is told where it stands.
#[test]
fn a_node_that_ends_says_so_before_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let body = "steps: {a: {call: \"tool:echo\", with: {value: 1, delayMs: 20000}}}";
    let run = server.submit(&workflow("long", body), json!({}));
    server.until(|| (server.get(&format!("/v1/runs/{run}")).body["status"] == "running").then_some(()));
    assert_eq!(server.get("/readyz").status, 200);
    server.signal_term();
    let told = server.until(|| Some(server.get("/readyz")).filter(|answer| answer.status != 200));
    assert_eq!((told.status, &told.body["code"]), (503, &json!("draining")), "{told:?}");
    assert!(told.headers.contains_key("retry-after"), "{told:?}");
    // It lives, it can be asked, and it takes nothing more.
    assert_eq!(server.get("/livez").status, 200);
    assert_eq!(server.get(&format!("/v1/runs/{run}")).body["status"], "running");
    let refused = server.post("/v1/runs", &json!({"definition": workflow("more", body)}));
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("draining")), "{refused:?}");
}

/// The names in the documentation, with their kinds.
fn metrics_in_the_docs() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("docs/guide/operating.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `heddle_"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (format!("heddle_{}", cells[0].trim_end_matches('`')), cells[1].to_owned())).collect()
}

#[test]
fn the_metrics_of_the_docs_are_those_that_a_node_exports() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let body = "steps: {a: {call: \"transform:identity\", with: {x: 1}}}";
    for _ in 0..2 {
        assert_eq!(server.run(&workflow("counted", body), json!({}))["status"], "succeeded");
    }
    let scheduled = workflow("clock", "schedule: [{id: rare, every: 1h}]\nsteps: {a: {set: 1}}");
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", scheduled).status, 201);
    let ticked = server.post("/v1/schedules/test.clock.rare/trigger", &json!({}));
    assert!(ticked.status < 300, "{ticked:?}");
    // One waits for its turn, and one is refused.
    for (name, rule) in [("waits", "period: 100ms"), ("refused", "period: 1h, onLimit: reject")] {
        let body = format!(
            "steps: {{a: {{forEach: {{in: \"${{ [1, 2] }}\", as: n}}, call: \"transform:identity\", with: {{x: \"${{ n }}\"}}, cache: off, rateLimit: {{key: {name}, limit: 1, {rule}}}}}}}"
        );
        server.run(&workflow(name, &body), json!({}));
    }
    // A message that cannot be delivered is counted, too.
    let webhook = json!({"url": "http://127.0.0.1:9/", "events": ["run.*"]});
    let webhook = server.post("/v1/webhooks", &webhook).body["id"].as_str().unwrap().to_owned();
    assert!(server.post(&format!("/v1/webhooks/{webhook}/test"), &json!({})).status < 300);
    let documented = metrics_in_the_docs();
    assert!(documented.len() > 20, "{documented:?}");
    // What is recorded after an answer may come a moment later than the answer.
    server.until(|| {
        let exported: BTreeMap<String, String> = server
            .text("/metrics")
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect();
        let undocumented: Vec<_> =
            exported.iter().filter(|(name, _)| !documented.contains_key(*name)).collect();
        assert!(undocumented.is_empty(), "not in docs/guide/operating.md: {undocumented:?}");
        (exported == documented).then_some(())
    });
}

#[test]
fn a_plugin_is_described_from_its_file_and_from_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["identity"]);
    let file = root().join("plugins/target/wasm32-wasip2/release/identity.wasm");
    let inspect = |args: &[&str]| {
        let command = Command::new(heddle_tests::binary())
            .args(["plugin", "inspect"])
            .args(args)
            .env("NO_COLOR", "1")
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(command.status.success(), "{command:?}");
        String::from_utf8(command.stdout).unwrap()
    };
    let (file, digest) = (file.to_str().unwrap(), server.push(plugin("identity"))["digest"].clone());
    let digest = digest.as_str().unwrap();
    // Of a file its bytes tell; what it says of itself is known where it is loaded.
    let (from_file, from_node) = ([file], ["identity", "--server", &server.url]);
    for (from, words) in
        [(&from_file[..], &["transform", digest][..]), (&from_node, &["transform", "identity", digest])]
    {
        let (told, json) = (inspect(from), inspect(&[from, &["--json"]].concat()));
        let parsed: Value = serde_json::from_str(&json).unwrap();
        assert!(parsed.is_object() || parsed.is_array(), "{json}");
        for word in words {
            assert!(told.contains(word) && json.contains(word), "{word}: {told} {json}");
        }
    }
}
