//! What plugins may do outside their sandboxes, with the real binary, real components and services at real sockets: what
//! is granted and what is not, secrets that no guest ever has, services that misbehave, and values that are kept.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::service::Service;
use heddle_tests::{Server, binary, plugin, workflow};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const SECRET: &str = "s3cr3t/value+of-42";

/// A node that may dial this machine, with these grants for `tool:probe`.
fn configured(folder: &Path, grants: &str) {
    std::fs::write(folder.join("key.txt"), format!("{SECRET}\n")).unwrap();
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\napi-key = \"file:key.txt\"\n[grants.\"tool:probe\"]\n{grants}\n"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

fn probing(folder: &Path, env: &[(&str, &str)]) -> Server {
    let server = Server::start(folder, env);
    server.push(plugin("probe"));
    let body = "steps: {ask: {call: \"tool:probe\", with: {ask: \"${ input.ask }\", together: \"${ default(input.together, false) }\", fail: \"${ default(input.fail, false) }\"}}}\noutput: {as: \"${ steps.ask.output.answers }\"}";
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("probe", body));
    assert_eq!(published.status, 201, "{published:?}");
    server
}

/// What came of these questions.
fn ask(server: &Server, questions: Value) -> Vec<Value> {
    let run = run(server, json!({ "ask": questions }));
    run["output"].as_array().unwrap_or_else(|| panic!("{run}")).clone()
}

fn run(server: &Server, input: Value) -> Value {
    let asked = json!({ "workflow": "test/probe", "input": input });
    let run = server.post("/v1/runs", &asked);
    assert_eq!(run.status, 202, "{run:?}");
    server.ended(run.body["id"].as_str().unwrap())
}

fn http(url: &str) -> Value {
    json!({ "http": { "url": url } })
}

/// The word and the sentence of a fault.
fn fault(answer: &Value) -> (String, String) {
    let fault = answer["fault"].as_array().unwrap_or_else(|| panic!("{answer} is no fault"));
    (fault[0].as_str().unwrap().to_owned(), fault[1].as_str().unwrap().to_owned())
}

#[test]
fn nothing_is_granted_that_is_not_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.push(plugin("probe"));
    let inspected = server.get("/v1/plugins/probe").body;
    assert_eq!(
        inspected["items"][0]["needs"],
        json!(["http", "secret", "config", "kv", "artifacts"]),
        "{inspected}"
    );
    assert_eq!(inspected["items"][0]["grants"], json!([]));
    let body = "steps: {ask: {call: \"tool:probe\", with: {ask: []}}}";
    let refused = server.post_bytes("/v1/workflows", "application/yaml", workflow("probe", body));
    let error = &refused.body["errors"][0];
    assert_eq!((refused.status, &error["pointer"]), (422, &json!("/steps/ask/call")), "{refused:?}");
    let message = error["message"].as_str().unwrap();
    for part in ["`http`, `secret`, `config`, `kv`, `artifacts`", "[grants.\"tool:probe\"]", "http = ["] {
        assert!(message.contains(part), "{message}");
    }
    // Whatever was published while it was granted finds that it is no more.
    drop(server);
    let granted = "http = [\"http://127.0.0.1:9\"]\nsecrets = [\"api-key http://127.0.0.1:9\"]\nkv = true\nartifacts = true\nconfig = '{}'";
    configured(folder.path(), granted);
    drop(probing(folder.path(), &[]));
    std::fs::write(folder.path().join("heddle.toml"), "").unwrap();
    let server = Server::start(folder.path(), &[]);
    let questions =
        json!([http("http://127.0.0.1:9/"), { "secret": "api-key" }, { "kept": "a" }, { "config": "a" }]);
    let answers = ask(&server, questions);
    assert_eq!(fault(&answers[0]).0, "Denied");
    assert_eq!(fault(&answers[1]).0, "secret_denied");
    assert_eq!(fault(&answers[2]).0, "kv_denied");
    assert_eq!(answers[3], json!({ "ok": null }));
}

/// Case 40, case 44 and case 50.
#[test]
fn what_is_granted_is_sent_and_nothing_else() {
    let (folder, service, other) = (tempfile::tempdir().unwrap(), Service::start(), Service::start());
    let at = service.url("");
    configured(
        folder.path(),
        &format!(
            "http = [\"GET|POST {at}\", \"GET http://*.example.invalid\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nartifacts = true\nconfig = '{{\"region\": \"eu\", \"n\": 1}}'"
        ),
    );
    let server = probing(folder.path(), &[]);
    let port = service.port();
    let answers = ask(
        &server,
        json!([
            http(&service.url("/echo/a?b=c")),
            { "http": { "url": service.url("/echo"), "method": "POST", "headers": [["X-Own", "1"]], "body": "hello" } },
            { "http": { "url": service.url("/echo"), "method": "DELETE" } },
            http(&other.url("/echo")),
            http(&format!("http://localhost:{port}/echo")),
            http(&format!("http://2130706433:{port}/echo/decimal")),
            http(&format!("http://127.0.0.1.nip.invalid:{port}/")),
            http("http://169.254.169.254/latest/meta-data"),
            http("http://name.example.invalid/"),
            { "http": { "url": service.url("/echo"), "headers": [["Host", "evil"]] } },
            { "http": { "url": service.url("/echo"), "headers": [["Transfer-Encoding", "chunked"]] } },
            { "http": { "url": service.url("/echo"), "headers": [["a", "b\r\nc: d"]] } },
            http(&format!("http://user:pass@127.0.0.1:{port}/")),
            http("file:///etc/passwd"),
            http(&service.url("/redirect")),
            { "config": "region" },
            { "config": "" },
        ]),
    );
    let got = answers[0]["ok"]["body"].as_str().unwrap();
    assert!(
        got.starts_with("GET /echo/a?b=c HTTP/1.1\r\n") && got.contains(&format!("host: 127.0.0.1:{port}")),
        "{got}"
    );
    assert!(got.contains("user-agent: heddle/"), "{got}");
    let got = answers[1]["ok"]["body"].as_str().unwrap();
    assert!(
        got.contains("x-own: 1") && got.contains("content-length: 5") && got.ends_with("\r\n\r\nhello"),
        "{got}"
    );
    for denied in [2, 3, 4, 6, 7] {
        assert_eq!(fault(&answers[denied]).0, "Denied", "{denied}: {}", answers[denied]);
    }
    // However it is written, it is the address that was granted.
    assert_eq!(answers[5]["ok"]["status"], 200, "{}", answers[5]);
    assert_eq!(fault(&answers[8]).0, "Failed", "a name that there is not: {}", answers[8]);
    for invalid in [9, 10, 11, 12, 13] {
        assert_eq!(fault(&answers[invalid]).0, "Invalid", "{invalid}: {}", answers[invalid]);
    }
    assert_eq!(
        (&answers[14]["ok"]["status"], &answers[14]["ok"]["headers"]["location"]),
        (&json!(302), &json!("http://169.254.169.254/"))
    );
    assert_eq!((&answers[15], &answers[16]), (&json!({"ok": "eu"}), &json!({"ok": ["n", "region"]})));
    assert_eq!(other.came().len(), 0, "nothing left for where nothing may go");
    // A plugin that fails for a request fails for that.
    let run = run(&server, json!({ "ask": [http(&other.url("/"))], "fail": true }));
    assert_eq!(run["error"]["kind"], "egress_denied", "{run}");
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(log.contains("outcome=\"denied\"") && log.contains("plugin=tool:probe"), "{log}");
    assert!(
        server
            .text("/metrics")
            .contains("heddle_outside_calls_total{capability=\"http\",outcome=\"denied\"}")
    );
}

/// Case 41.
#[test]
fn a_private_address_needs_an_open_range_besides_the_grant() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    configured(
        folder.path(),
        "http = [\"http://127.0.0.1:1\"]\nsecrets = [\"api-key http://127.0.0.1:1\"]\nkv = true\nartifacts = true\nconfig = '{}'",
    );
    let text = std::fs::read_to_string(folder.path().join("heddle.toml")).unwrap();
    let any = format!("http = [\"http://*:{}\"]", service.port());
    let text = text
        .replace("allow_private = [\"127.0.0.0/8\"]", "")
        .replace("http = [\"http://127.0.0.1:1\"]", &any);
    std::fs::write(folder.path().join("heddle.toml"), text).unwrap();
    let server = probing(folder.path(), &[]);
    let port = service.port();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "0x7f.1", "127.1", "[::]"]
    {
        let answers = ask(&server, json!([http(&format!("http://{host}:{port}/echo"))]));
        let (word, why) = fault(&answers[0]);
        assert_eq!(word, "Denied", "{host}: {why}");
        assert!(why.contains("egress.allow_private"), "{host}: {why}");
    }
    assert_eq!(service.came().len(), 0);
}

/// Case 51.
#[test]
fn no_guest_ever_has_a_secret() {
    let (folder, service, other) = (tempfile::tempdir().unwrap(), Service::start(), Service::start());
    let (at, elsewhere) = (service.url(""), other.url(""));
    configured(
        folder.path(),
        &format!(
            "http = [\"{at}\", \"{elsewhere}\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nartifacts = true\nconfig = '{{}}'"
        ),
    );
    let server = probing(folder.path(), &[("HEDDLE_TELEMETRY_LEVEL", "trace")]);
    let carrying = |url: String| {
        json!({ "http": { "url": format!("{url}/{{secret:api-key}}?q={{secret:api-key}}"), "method": "POST",
            "headers": [["authorization", "Bearer {secret:api-key}"]], "body": "{\"k\": \"{secret:api-key}\"}" } })
    };
    let answers = ask(
        &server,
        json!([carrying(service.url("/echo")), carrying(other.url("/echo")), { "secret": "api-key" }, { "secret": "nobody" }, carrying(service.url("/hangup"))]),
    );
    let came = String::from_utf8_lossy(&service.came()[0]).into_owned();
    assert!(came.contains(&format!("authorization: Bearer {SECRET}")), "{came}");
    assert!(
        came.contains(&format!("{{\"k\": \"{SECRET}\"}}")) && came.contains("q=s3cr3t%2Fvalue%2Bof-42"),
        "{came}"
    );
    // It is taken out of what comes back, and where it may not go it never went.
    let placeholder = answers[2]["ok"].as_str().unwrap();
    let echoed = answers[0]["ok"]["body"].as_str().unwrap();
    assert!(echoed.contains(&format!("authorization: Bearer {placeholder}")), "{echoed}");
    let came = String::from_utf8_lossy(&other.came()[0]).into_owned();
    assert!(came.contains(&format!("authorization: Bearer {placeholder}")), "{came}");
    assert!(fault(&answers[3]).1.contains("is not granted"), "{}", answers[3]);
    assert_eq!(fault(&answers[4]).0, "Failed");
    // Another attempt has another text, and that of the last one means nothing there.
    let later = json!([{ "secret": "api-key" }, { "http": { "url": service.url("/echo"), "headers": [["x", placeholder]] } }]);
    let answers = ask(&server, later);
    assert_ne!(answers[0]["ok"], placeholder);
    assert!(answers[1]["ok"]["body"].as_str().unwrap().contains(&format!("x: {placeholder}")));
    drop(server);
    let mut looked_at = 0;
    for entry in walk(folder.path()) {
        if entry.file_name().is_some_and(|name| name == "key.txt") {
            continue;
        }
        let bytes = std::fs::read(&entry).unwrap();
        looked_at += 1;
        for form in [SECRET, "s3cr3t%2Fvalue"] {
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "`{form}` stands in {}", entry.display());
        }
    }
    assert!(looked_at >= 3, "the database and the log are there");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(walk(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Case 46, case 47, case 48 and case 49.
#[test]
fn a_service_that_misbehaves_costs_its_own_step() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let at = service.url("");
    configured(
        folder.path(),
        &format!(
            "http = [\"{at}\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nartifacts = true\nconfig = '{{}}'"
        ),
    );
    let env = [
        ("HEDDLE_LIMITS_HTTP_FIRST_BYTE_MS", "300ms"),
        ("HEDDLE_LIMITS_HTTP_IDLE_MS", "300ms"),
        ("HEDDLE_LIMITS_HTTP_MS", "1500ms"),
        ("HEDDLE_LIMITS_HTTP_RESPONSE_BYTES", "1MiB"),
        ("HEDDLE_LIMITS_HTTP_HELD_BYTES", "3MiB"),
        ("HEDDLE_LIMITS_HTTP_HEADER_BYTES", "16KiB"),
    ];
    let server = probing(folder.path(), &env);
    let asked = |path: &str| ask(&server, json!([http(&service.url(path))])).remove(0);
    for (path, word, says) in [
        ("/hang", "TimedOut", "no answer after 300 ms"),
        ("/stall", "TimedOut", "nothing more came after 300 ms"),
        ("/drip", "TimedOut", "not over after 1500 ms"),
        ("/endless", "TooLarge", "http_response_bytes"),
        ("/bytes/1048577", "TooLarge", "http_response_bytes"),
        ("/headers", "TooLarge", "the head of the answer"),
        ("/many-headers", "TooLarge", "the head of the answer"),
        ("/short", "Failed", "broke off"),
        ("/garbage", "Failed", "the connection broke"),
        ("/hangup", "Failed", "the connection broke"),
    ] {
        let (found, why) = fault(&asked(path));
        assert_eq!((found.as_str(), why.contains(says)), (word, true), "{path}: {why}");
    }
    assert_eq!(asked("/bytes/1048576")["ok"]["bytes"], 1_048_576);
    // Nothing is unpacked, so there is no bomb.
    let packed = asked("/gzip");
    assert_eq!(
        (&packed["ok"]["headers"]["content-encoding"], &packed["ok"]["bytes"]),
        (&json!("gzip"), &json!(10))
    );
    for (timeout, word) in [(0_u64, "TimedOut"), (u64::MAX, "TimedOut")] {
        let answer = ask(&server, json!([{ "http": { "url": service.url("/hang"), "timeoutMs": timeout } }]));
        assert_eq!(fault(&answer[0]).0, word, "{timeout}");
    }
    // Answers that have come and wait to be taken are held as far as may be: all come while the first one is awaited.
    let held: Vec<Value> =
        ["/hang"].into_iter().chain(["/bytes/1000000"; 9]).map(|path| http(&service.url(path))).collect();
    let answers =
        run(&server, json!({ "ask": held, "together": true }))["output"].as_array().unwrap().clone();
    let refused = answers[1..].iter().filter(|answer| answer["ok"].is_null()).map(fault);
    let refused: Vec<_> = refused.filter(|(word, _)| word == "TooLarge").map(|(_, why)| why).collect();
    assert!(!refused.is_empty() && refused.iter().all(|why| why.contains("http_held_bytes")), "{refused:?}");
    // As many as may be, no more than six at once, and the rest is refused.
    let many: Vec<Value> = (0..40).map(|_| http(&service.url("/busy"))).collect();
    let answers =
        run(&server, json!({ "ask": many, "together": true }))["output"].as_array().unwrap().clone();
    let sent = answers.iter().filter(|answer| answer["ok"]["status"] == 200).count();
    let refused = answers.iter().filter(|answer| answer["fault"][0] == "TooMany").count();
    assert_eq!((sent, refused), (32, 8), "{answers:?}");
    assert!((2..=6).contains(&service.most_at_once()), "{} at once", service.most_at_once());
    // The node and others are none the worse for it.
    assert_eq!(server.get("/readyz").status, 200);
}

/// Case 222.
#[test]
fn a_request_that_is_broken_off_is_written_down() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let at = service.url("");
    configured(
        folder.path(),
        &format!(
            "http = [\"{at}\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nartifacts = true\nconfig = '{{}}'"
        ),
    );
    let server = probing(folder.path(), &[]);
    let asked = json!({ "workflow": "test/probe", "input": { "ask": [http(&service.url("/hang"))] } });
    let run = server.post("/v1/runs", &asked).body["id"].as_str().unwrap().to_owned();
    server.until(|| (!service.came().is_empty()).then_some(()));
    let aborted = "heddle_outside_calls_total{capability=\"http\",outcome=\"aborted\"} 1";
    assert!(!server.text("/metrics").contains(aborted));
    assert_eq!(server.post(&format!("/v1/runs/{run}/cancel"), &json!({})).status, 202);
    assert_eq!(server.ended(&run)["status"], "cancelled");
    server.until(|| server.text("/metrics").contains(aborted).then_some(()));
}

/// Case 221.
#[test]
fn what_a_plugin_keeps_is_its_own_and_outlives_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("HEDDLE_LIMITS_KV_ENTRIES", "3"), ("HEDDLE_LIMITS_KV_VALUE_BYTES", "1000")];
    configured(
        folder.path(),
        "http = [\"http://127.0.0.1:9\"]\nsecrets = [\"api-key http://127.0.0.1:9\"]\nkv = true\nartifacts = true\nconfig = '{}'\n[grants.\"tool:kv\"]\nkv = true",
    );
    let mut server = probing(folder.path(), &env);
    server.push(plugin("kv"));
    let answers = ask(
        &server,
        json!([
            { "keep": { "key": "a", "bytes": 10 } }, { "keep": { "key": "a", "bytes": 20 } }, { "kept": "a" }, { "kept": "b" },
            { "keep": { "key": "big", "bytes": 1001 } }, { "keep": { "key": "", "bytes": 1 } }, { "keep": { "key": "k".repeat(600), "bytes": 1 } },
            { "keep": { "key": "b", "bytes": 1 } }, { "keep": { "key": "c", "bytes": 1 } }, { "keep": { "key": "d", "bytes": 1 } }, { "keep": { "key": "a", "bytes": 5 } },
        ]),
    );
    assert_eq!(answers[2..4], [json!({"ok": 20}), json!({"ok": null})]);
    let versions = [0, 1, 10].map(|at| answers[at]["ok"].as_u64().unwrap_or_else(|| panic!("{answers:?}")));
    for (large, limit) in [(4, "kv_value_bytes"), (5, "kv_key_bytes"), (6, "kv_key_bytes"), (9, "kv_entries")]
    {
        let (word, why) = fault(&answers[large]);
        assert!(word == "kv_too_large" && why.contains(limit), "{large}: {why}");
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}: what is there already may be written");
    // Another plugin has values of its own under the same keys, and counts them apart.
    let body = "steps:\n  one: {call: \"tool:kv\", with: {op: increment, key: a}}\n  many: {forEach: {in: \"${ [1, 2, 3, 4, 5, 6, 7, 8] }\"}, call: \"tool:kv\", with: {op: increment, key: a}, dependsOn: [one]}\n  last: {call: \"tool:kv\", with: {op: get, key: a}, dependsOn: [many]}\noutput: {as: \"${ steps.last.output.value }\"}";
    let run = server.submit(&workflow("count", body), json!({}));
    assert_eq!(server.ended(&run)["output"], 9, "eight at once, and none is lost");
    // A version is not had twice, by one that was deleted and written again either.
    let again = "steps:\n  a: {call: \"tool:kv\", with: {op: set, key: v, value: 1}}\n  b: {call: \"tool:kv\", with: {op: delete, key: v}, dependsOn: [a]}\n  c: {call: \"tool:kv\", with: {op: set, key: v, value: 1}, dependsOn: [b]}\n  d: {call: \"tool:kv\", with: {op: set, key: v, value: 2, ifVersion: \"${ steps.a.output.version }\"}, dependsOn: [c]}";
    let ended = server.ended(&server.submit(&workflow("again", again), json!({})));
    assert!(ended.to_string().contains("conflict"), "{ended}");
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &env);
    let run = server.submit(&workflow("count", body), json!({}));
    assert_eq!(server.ended(&run)["output"], 18);
    assert_eq!(ask(&server, json!([{ "kept": "a" }]))[0], json!({"ok": 5}));
}

#[test]
fn what_an_operator_writes_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    for (text, says) in [
        ("[grants.\"tool:a\"]\nhttp = [\"api.example.com\"]", "is no place"),
        ("[grants.\"tool:a\"]\nhttp = [\"get https://a.example\"]", "is no method"),
        ("[grants.\"tool:a\"]\nkv = 1", "`true` or `false`"),
        ("[grants.\"tool:a\"]\nconfig = '[1]'", "is a JSON object"),
        ("[grants.\"tool:a\"]\nsecrets = [\"key https://a.example\"]", "has no secret `key`"),
        (
            "[secrets]\nkey = \"env:A\"\n[grants.\"tool:a\"]\nsecrets = [\"kay https://a.example\"]",
            "did you mean `key`?",
        ),
        ("[secrets]\nkey = \"env:A\"\n[grants.\"tool:a\"]\nsecrets = [\"key\"]", "does not say where"),
        ("[secrets]\nkey = \"plain-value\"", "the secret itself never stands here"),
        ("[secrets]\nkey = \"env:NOT_SET_ANYWHERE\"", "`NOT_SET_ANYWHERE` is not set"),
        ("[grants.a]\nkv = true", "no setting is called"),
        ("[grants.\"tool:a\"]\nhtp = [\"https://a.example\"]", "did you mean `grants.tool:a.http`?"),
    ] {
        std::fs::write(folder.path().join("heddle.toml"), text).unwrap();
        // One that is taken after all would serve for ever.
        let mut command = Command::new("timeout");
        command.arg("30").arg(binary()).args(["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
        let output = command.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{text}\n{said}");
        assert!(!said.contains("plain-value"), "{said}");
    }
}

/// A server that grants the probe each thing that a step can take away.
fn granting_much(folder: &Path, at: &str) -> Server {
    let grants = format!(
        "http = [\"GET|POST {at}\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nartifacts = true\nconfig = '{{\"region\": \"eu\"}}'"
    );
    configured(folder, &grants);
    let server = Server::start(folder, &[]);
    server.push(plugin("probe"));
    server
}

/// A workflow of one step that asks the probe, with these lines above it and in it.
fn asking(name: &str, top: &str, step: &str) -> String {
    let body = format!(
        "{top}steps: {{ask: {{call: \"tool:probe\", with: {{ask: \"${{ input }}\"}}, {step}}}}}\noutput: {{as: \"${{ steps.ask.output.answers }}\"}}"
    );
    workflow(name, &body)
}

/// A step takes away of what is granted, and never adds. Case 223.
#[test]
fn a_step_leaves_less_than_is_granted() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let at = service.url("");
    let server = granting_much(folder.path(), &at);
    let answers = |definition: &str, questions: Value| {
        let run = server.run(definition, questions);
        run["output"].as_array().unwrap_or_else(|| panic!("{run}")).clone()
    };
    let echo = |secret: &str, method: &str| json!({ "http": { "url": format!("{at}/echo"), "method": method, "headers": [["x-key", format!("{{secret:{secret}}}")]] } });
    // By another name, and only for what the step leaves.
    let narrow = asking(
        "narrow",
        "",
        &format!(
            "secrets: {{SHOP_KEY: api-key}}, grants: {{http: [\"GET {at}\"], kv: false, config: false, artifacts: false}}"
        ),
    );
    let questions = json!([
        echo("SHOP_KEY", "GET"), echo("SHOP_KEY", "POST"), { "secret": "api-key" }, { "config": "region" },
        { "keep": { "key": "a", "bytes": 1 } }, { "file": { "name": "a", "mediaType": "a/b", "bytes": 1 } }
    ]);
    let came = answers(&narrow, questions.clone());
    assert_eq!(came[0]["ok"]["status"], 200, "{came:?}");
    assert!(String::from_utf8_lossy(&service.came()[0]).contains(SECRET));
    let (code, message) = fault(&came[1]);
    assert!(code == "Denied" && message.contains("is not among what the step leaves"), "{message}");
    assert!(fault(&came[2]).1.contains("it leaves `SHOP_KEY`"), "{came:?}");
    assert_eq!(came[3]["ok"], Value::Null, "{came:?}");
    assert_eq!((fault(&came[4]).0.as_str(), fault(&came[5]).0.as_str()), ("kv_denied", "artifacts_denied"));
    assert_eq!(service.came().len(), 1, "what is denied is not sent");
    // What nobody has granted does not come by a step.
    let wide = asking("wide", "", "grants: {http: [\"GET http://127.0.0.1:1\"]}");
    let (_, message) = fault(&answers(&wide, json!([{ "http": { "url": "http://127.0.0.1:1/" } }]))[0]);
    assert!(message.contains("is not among what is granted"), "{message}");
    let none = asking("none", "", "grants: {http: []}");
    assert_eq!(fault(&answers(&none, json!([echo("x", "GET")]))[0]).0, "Denied");
    // The workflow's own list, and what it does not name.
    let named = asking("named", "use: {secrets: []}\n", "cache: {ttl: 1h}");
    assert!(fault(&answers(&named, json!([{ "secret": "api-key" }]))[0]).1.contains("it leaves none"));
    // Another list is another entry of the cache.
    let more = asking("named", "use: {secrets: [api-key]}\n", "cache: {ttl: 1h, scope: tenant}");
    assert!(answers(&more, json!([{ "secret": "api-key" }]))[0]["ok"].is_string());
    for (top, step, says) in [
        ("use: {secrets: [api-key]}\n", "secrets: {A: other}", "`use.secrets` does not name `other`"),
        ("", "secrets: {A: other}", "the secret `other` is not granted to `tool:probe`"),
        ("", "grants: {kv: true}", "a step takes away and never grants"),
    ] {
        let refused = server.post_bytes("/v1/workflows", "application/yaml", asking("bad", top, step));
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(refused.body["errors"].to_string().contains(says), "{says}: {refused:?}");
    }
}

/// What a step does not leave is not told by an answer, and not had by what the step calls instead. Case 224.
#[test]
fn what_a_step_leaves_holds_for_answers_and_for_what_is_called_instead() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let at = service.url("");
    let server = granting_much(folder.path(), &at);
    let answers = |definition: &str, questions: Value| {
        let run = server.run(definition, questions);
        run["output"].as_array().unwrap_or_else(|| panic!("{run}")).clone()
    };
    // What is not left is not told either: a value that comes back is taken out whatever the step leaves.
    let echoing = json!([{ "http": { "url": format!("{at}/echo/{SECRET}") } }]);
    for step in ["secrets: {}", "grants: {kv: false}"] {
        let came = answers(&asking("quiet", "", step), echoing.clone());
        assert!(came[0]["ok"]["bytes"].is_u64() && !came[0].to_string().contains(SECRET), "{came:?}");
    }
    // What holds for a step holds for what it calls instead.
    let instead = "use: {secrets: []}\nsteps: {ask: {call: \"transform:jq\", with: {program: nonsense, value: 1}, fallback: [{call: \"tool:probe\", with: {ask: \"${ input }\"}}]}}\noutput: {as: \"${ steps.ask.output.answers }\"}";
    server.push(plugin("jq"));
    let came = answers(&workflow("instead", instead), json!([{ "secret": "api-key" }]));
    assert!(fault(&came[0]).1.contains("it leaves none"), "{came:?}");
}
