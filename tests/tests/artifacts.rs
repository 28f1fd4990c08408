//! Files that runs keep, at the real binary: kept by one step and read by another, listed and downloaded, there after a
//! kill, and bounded.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_core::id::Digest;
use heddle_tests::{Server, bash, plugin, workflow};
use serde_json::{Value, json};
use std::path::Path;

const GRANTS: &str =
    "http = [\"http://127.0.0.1:9\"]\nsecrets = [\"api-key http://127.0.0.1:9\"]\nkv = true\nconfig = '{}'\n";

fn start(folder: &Path, artifacts: &str, env: &[(&str, &str)]) -> Server {
    std::fs::write(folder.join("key.txt"), "a secret value").unwrap();
    let text =
        format!("[secrets]\napi-key = \"file:key.txt\"\n[grants.\"tool:probe\"]\n{GRANTS}{artifacts}\n");
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
    let server = Server::start(folder, env);
    server.push(plugin("probe"));
    server
}

const GRANTED: &str = "artifacts = true";

fn asking(name: &str, more: &str) -> String {
    let body = format!(
        "steps: {{ask: {{call: \"tool:probe\", with: {{ask: \"${{ input.ask }}\", fail: \"${{ default(input.fail, false) }}\"}}{more}}}}}\noutput: {{as: \"${{ steps.ask.output.answers }}\"}}"
    );
    workflow(name, &body)
}

fn file(name: &str, bytes: usize) -> Value {
    json!({ "file": { "name": name, "mediaType": "text/html", "bytes": bytes } })
}

fn digest(bytes: usize) -> String {
    Digest::of(&vec![b'f'; bytes]).to_string()
}

fn files(server: &Server, run: &Value) -> Vec<Value> {
    let path = format!("/v1/runs/{}/artifacts", run["id"].as_str().unwrap());
    server.get(&path).body["items"].as_array().unwrap().clone()
}

/// What came of each question: the word of a fault, or the value.
fn words(run: &Value) -> Vec<String> {
    let answers = run["output"].as_array().unwrap_or_else(|| panic!("{run}"));
    let word = |answer: &Value| match answer.get("ok") {
        Some(value) => value.to_string().trim_matches('"').to_owned(),
        None => answer["fault"][0].as_str().unwrap().to_owned(),
    };
    answers.iter().map(word).collect()
}

#[test]
fn a_file_is_there_when_its_attempt_has_ended_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), GRANTED, &[]);
    let run = server.run(
        &asking("one", ""),
        json!({ "ask": [file("a.html", 10), file("big.bin", 300_000), file("a.html", 20)] }),
    );
    assert_eq!(words(&run), [digest(10), digest(300_000), digest(20)]);
    let kept = files(&server, &run);
    let shown: Vec<(&str, u64)> =
        kept.iter().map(|k| (k["name"].as_str().unwrap(), k["sizeBytes"].as_u64().unwrap())).collect();
    assert_eq!(shown, [("a.html", 10), ("big.bin", 300_000), ("a.html", 20)]);
    assert_eq!(
        (&kept[0]["step"], &kept[0]["attempt"], &kept[0]["digest"]),
        (&json!("ask"), &json!(1), &json!(digest(10)))
    );
    // Its subscribers are told, before the end of the attempt.
    let events = server.events(run["id"].as_str().unwrap(), None);
    let names: Vec<&str> = events.iter().map(|(_, name, _)| name.as_str()).collect();
    let at =
        |name: &str| names.iter().position(|other| *other == name).unwrap_or_else(|| panic!("{names:?}"));
    assert!(at("artifact.kept") < at("attempt.succeeded"), "{names:?}");
    // It is a download, and no page of this host.
    let got = server.get(&format!("/v1/artifacts/{}", digest(300_000)));
    assert_eq!((got.status, got.body.as_str().unwrap().len()), (200, 300_000));
    assert_eq!(got.headers["content-disposition"], "attachment; filename=\"big.bin\"");
    assert_eq!(got.headers["content-type"], "text/html");
    assert!(got.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    // It survives the process.
    server.kill();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(files(&server, &run), kept);
    assert_eq!(server.get(&format!("/v1/artifacts/{}", digest(20))).status, 200);
    for path in [format!("/v1/artifacts/{}", digest(21)), "/v1/artifacts/nonsense".into()] {
        let none = server.get(&path);
        assert_eq!((none.status, &none.body["code"]), (404, &json!("artifact_not_found")), "{none:?}");
    }
    // Other values of the run are no files of it.
    let output = run["steps"][0]["outputDigest"].as_str().map(str::to_owned);
    assert!(output.is_none_or(|digest| server.get(&format!("/v1/artifacts/{digest}")).status == 404));
    let said = bash(
        &server,
        folder.path(),
        &format!("heddle runs artifacts {} --save out && ls out", run["id"].as_str().unwrap()),
    );
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("300000") && said.contains("ask#1") && said.contains("big.bin"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("out/a.html")).unwrap().len(), 10);
    let other = format!("out/{}-a.html", &digest(20)["sha256:".len()..][..12]);
    assert_eq!(
        std::fs::read(folder.path().join(other)).unwrap().len(),
        20,
        "of two of a name both are there"
    );
}

/// Case 227.
#[test]
fn a_later_step_reads_what_an_earlier_one_kept_and_another_run_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), GRANTED, &[]);
    let body = "steps: {make: {call: \"tool:probe\", with: {ask: [{file: {name: x.bin, mediaType: a/b, bytes: 40}}]}}, read: {call: \"tool:probe\", with: {ask: [{filed: \"${ steps.make.output.answers[0].ok }\"}, {file: {name: y, mediaType: a/b, bytes: 5}}]}}}\noutput: {as: \"${ steps.read.output.answers }\"}";
    let run = server.run(&workflow("two", body), json!({}));
    assert_eq!(words(&run), ["40".to_owned(), digest(5)]);
    assert_eq!(files(&server, &run).len(), 2);
    let ask = json!([{ "filed": digest(40) }, file("z", 6), { "filed": digest(6) }, { "filed": "nonsense" }]);
    let other = server.run(&asking("other", ""), json!({ "ask": ask }));
    assert_eq!(
        words(&other),
        ["artifacts_not_there".to_owned(), digest(6), "6".into(), "artifacts_invalid".into()]
    );
}

#[test]
fn a_failed_attempt_leaves_its_files_and_none_comes_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), GRANTED, &[]);
    let ask = json!({ "ask": [file("log.txt", 9), { "filed": "nonsense" }], "fail": true });
    let run = server
        .run(&asking("failing", ", retry: {delay: 1ms, when: \"${ true }\", limit: {attempts: 2}}"), ask);
    assert_eq!(run["status"], "failed", "{run}");
    let attempts: Vec<Value> = files(&server, &run).iter().map(|kept| kept["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2], "of each attempt its own");
    // Twice the same, with the cache asked for: who is answered from it would have no file.
    let cached = asking("cached", ", cache: {ttl: 1h}");
    let twice = [0, 1].map(|_| server.run(&cached, json!({ "ask": [file("report.md", 12)] })));
    for run in &twice {
        assert_eq!((run["status"].as_str(), files(&server, run).len()), (Some("succeeded"), 1), "{run}");
        assert_eq!(run["steps"][0]["cache"]["verdict"], "miss", "{run}");
    }
}

/// Case 225.
#[test]
fn files_are_granted_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), "", &[]);
    let refused = server.post_bytes("/v1/workflows", "application/yaml", asking("closed", ""));
    let message = refused.body["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(refused.status == 422 && message.contains("artifacts = true"), "{refused:?}");
    drop(server);
    let limits = [
        ("HEDDLE_LIMITS_ARTIFACTS", "3"),
        ("HEDDLE_LIMITS_ARTIFACT_BYTES", "1KiB"),
        ("HEDDLE_LIMITS_ARTIFACTS_BYTES", "2KiB"),
    ];
    let server = start(folder.path(), GRANTED, &limits);
    let bad = json!([file("../x", 1), file(".x", 1), file("", 1), { "file": { "name": "x", "mediaType": "text/plain\r\nset-cookie: a=b", "bytes": 1 } }]);
    let run = server.run(&asking("names", ""), json!({ "ask": bad }));
    assert_eq!(words(&run), ["artifacts_invalid"; 4]);
    let large = json!([
        file("a", 1_025),
        file("b", 1_024),
        file("c", 1_000),
        file("d", 1_000),
        file("e", 1),
        file("f", 1)
    ]);
    let run = server.run(&asking("sizes", ""), json!({ "ask": large }));
    let too = "artifacts_too_large".to_owned();
    assert_eq!(words(&run), [too.clone(), digest(1_024), digest(1_000), too.clone(), digest(1), too]);
    assert_eq!(files(&server, &run).len(), 3);
    let page = server.get(&format!("/v1/runs/{}/artifacts?limit=2", run["id"].as_str().unwrap())).body;
    let rest = format!(
        "/v1/runs/{}/artifacts?cursor={}",
        run["id"].as_str().unwrap(),
        page["cursor"].as_str().unwrap()
    );
    assert_eq!(
        (page["items"].as_array().unwrap().len(), server.get(&rest).body["items"][0]["name"].as_str()),
        (2, Some("e"))
    );
}

/// What there is no room for is not on disk either, and what failed by itself has failed for that. Case 226.
#[test]
fn a_run_has_room_for_so_much() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [("HEDDLE_LIMITS_RUN_STORED_BYTES", "2MiB"), ("HEDDLE_LIMITS_RUN_ARTIFACTS", "4")];
    let server = start(folder.path(), GRANTED, &limits);
    let each = "steps: {ask: {forEach: {in: \"${ input.items }\", as: n, tolerateFailures: 100%}, call: \"tool:probe\", with: {ask: [{file: {name: a, mediaType: a/b, bytes: \"${ n }\"}}]}}}";
    let sizes: Vec<u64> = (0..12).map(|n| 700_000 + n).collect();
    let run = server.run(&workflow("large", each), json!({ "items": sizes }));
    assert_eq!(files(&server, &run).len(), 2, "{run}");
    let on_disk: u64 = sizes
        .iter()
        .filter(|size| {
            let digest = digest(**size as usize);
            let hex = digest.trim_start_matches("sha256:");
            folder.path().join("values").join(&hex[..2]).join(&hex[2..]).exists()
        })
        .count() as u64;
    assert_eq!(on_disk, 2, "what is refused is not written");
    let run = server.run(&workflow("many", each), json!({ "items": [0, 0, 0, 0, 0, 0, 0] }));
    assert_eq!(files(&server, &run).len(), 4, "{run}");
    let ask = json!({ "ask": [file("a", 3_000_000), { "filed": "nonsense" }], "fail": true });
    let run = server.run(&asking("failing", ""), ask);
    assert_eq!(run["steps"][0]["error"]["code"], "artifacts_invalid", "{run}");
}

/// A run that is run again has the files of what it takes over, also when the run before is gone.
#[test]
fn a_run_once_more_has_the_files_of_what_it_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), GRANTED, &[]);
    let body = "steps: {make: {call: \"tool:probe\", with: {ask: [{file: {name: x.bin, mediaType: a/b, bytes: 300000}}]}}, read: {call: \"tool:probe\", with: {ask: [{filed: \"${ steps.make.output.answers[0].ok }\"}]}}}\noutput: {as: \"${ steps.read.output.answers }\"}";
    let run = server.run(&workflow("again", body), json!({}));
    let again =
        server.post(&format!("/v1/runs/{}/rerun", run["id"].as_str().unwrap()), &json!({ "from": "read" }));
    let again = server.ended(again.body["id"].as_str().unwrap());
    assert_eq!(words(&again), ["300000"], "{again}");
    let kept = files(&server, &again);
    assert_eq!((kept.len(), &kept[0]["name"]), (1, &json!("x.bin")));
    let path = format!("/v1/runs/{}/artifacts/{}", again["id"].as_str().unwrap(), digest(300_000));
    assert_eq!(server.get(&path).headers["content-disposition"], "attachment; filename=\"x.bin\"");
}
