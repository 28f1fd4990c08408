//! The life of versions at the real binary: what the guide shows, and every refusal as a person meets it.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Answer, Server, bash, guide, workflow};
use serde_json::{Value, json};
use std::path::Path;

fn said(server: &Server, folder: &Path, script: &str) -> (bool, String) {
    let output = bash(server, folder, script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), format!("{out}{err}"))
}

fn publish(server: &Server, query: &str, text: &str) -> Answer {
    server.post_bytes(&format!("/v1/workflows{query}"), "application/yaml", text)
}

fn version(name: &str, version: &str, body: &str) -> String {
    workflow(name, body).replacen("version: 1.0.0", &format!("version: {version}"), 1)
}

fn refused(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{answer:?}");
    answer.body["detail"].as_str().unwrap().to_owned()
}

#[test]
fn what_the_guide_shows() {
    let blocks = guide("versions");
    let folder = tempfile::tempdir().unwrap();
    let of = |wanted| blocks.iter().filter(move |(language, _)| language == wanted).collect::<Vec<_>>();
    let (yaml, sh) = (of("yaml"), of("sh"));
    let (yaml, sh) = ([yaml[0], yaml[2]], [sh[0], sh[2], sh[3]]);
    std::fs::write(folder.path().join("report.yaml"), &yaml[0].1).unwrap();
    std::fs::write(folder.path().join("copy.yaml"), &yaml[1].1).unwrap();
    let server = Server::start(folder.path(), &[]);
    let shown: Vec<String> = sh
        .iter()
        .map(|(_, script)| {
            let script = script.replace("heddle run ", "heddle run --server \"$HEDDLE_SERVER\" ");
            let (well, text) = said(&server, folder.path(), &script);
            assert!(well, "$ {script}\n{text}");
            text
        })
        .collect();
    let life = &shown[0];
    assert!(life.contains("it is draft; `heddle workflow activate acme/report@1.1.0`"), "{life}");
    let reports: Vec<&str> = life.lines().filter(|line| line.contains("\"from\":")).map(str::trim).collect();
    assert_eq!(
        reports,
        ["\"from\": \"acme\",", "\"from\": \"finance\",", "\"from\": \"finance\","],
        "{life}"
    );
    for line in [
        "step send was changed",
        "  /steps/send/set/from",
        "    - \"acme\"",
        "    + \"finance\"",
        "1 step the same",
    ] {
        assert!(life.lines().any(|shown| shown == line), "{line}\n{life}");
    }
    assert!(life.contains("acme/report@1.0.0 is deleted; the version stays taken"), "{life}");
    assert!(shown[1].contains("acme/report") && !shown[1].contains("1.0.0"), "{}", shown[1]);
    assert!(
        shown[2].contains("copied invoices: 25") && shown[2].contains("made of    acme/copy@1.0.0"),
        "{}",
        shown[2]
    );
}

#[test]
fn a_version_lives_and_every_refusal_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let slow = "steps: {a: {wait: {signal: go}}}";
    assert_eq!(publish(&server, "", &version("w", "1.0.0", slow)).status, 201);
    let draft = publish(&server, "?status=draft", &version("w", "1.1.0", slow));
    assert_eq!((draft.status, &draft.body["status"]), (201, &json!("draft")), "{draft:?}");
    refused(&publish(&server, "?status=archived", &version("w", "1.2.0", slow)), 400, "parameter_invalid");
    let newest = server.get("/v1/workflows/test/w").body;
    assert_eq!((&newest["version"], &newest["createdBy"]), (&json!("1.0.0"), &json!("api")));
    let run = |reference: &str| server.post("/v1/runs", &json!({ "workflow": reference }));
    let under_way = run("test/w").body["id"].as_str().unwrap().to_owned();
    let text = refused(&run("test/w@^1.1"), 409, "workflow_state");
    assert!(
        text.contains("1.1.0 is draft") && text.contains("heddle workflow activate test/w@1.1.0"),
        "{text}"
    );
    assert_eq!(run("test/w@=1.1.0").status, 202);
    let patch =
        |version: &str, body: &Value| server.patch(&format!("/v1/workflows/test/w/versions/{version}"), body);
    let text = refused(&patch("1.0.0", &json!({"status": "draft"})), 409, "workflow_state");
    assert!(text.contains("it can become `inactive` or `archived`"), "{text}");
    refused(&patch("1.0.0", &json!({"status": "gone"})), 400, "body_invalid");
    refused(&patch("1.0.0", &json!({})), 400, "body_invalid");
    refused(&patch("9.9.9", &json!({"status": "active"})), 404, "workflow_not_found");
    let inactive = patch("1.0.0", &json!({"status": "inactive"})).body;
    assert_eq!((&inactive["status"], &inactive["changed"]["by"]), (&json!("inactive"), &json!("api")));
    assert!(refused(&run("test/w@=1.0.0"), 409, "workflow_state").contains("inactive"));
    let delete = |version: &str| server.delete(&format!("/v1/workflows/test/w/versions/{version}"));
    let text = refused(&delete("1.0.0"), 409, "workflow_in_use");
    assert!(text.contains(&under_way), "{text}");
    // The state outlives the node, and the run that was under way goes on.
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let run = |reference: &str| server.post("/v1/runs", &json!({ "workflow": reference }));
    assert!(refused(&run("test/w@=1.0.0"), 409, "workflow_state").contains("inactive"));
    assert_eq!(server.post(&format!("/v1/runs/{under_way}/signal"), &json!({"name": "go"})).status, 202);
    assert_eq!(server.ended(&under_way)["status"], "succeeded");
    let delete = |version: &str| server.delete(&format!("/v1/workflows/test/w/versions/{version}"));
    assert_eq!(delete("1.0.0").status, 204);
    refused(&delete("1.0.0"), 404, "workflow_not_found");
    let text = refused(
        &publish(&server, "", &version("w", "1.0.0", "steps: {a: {set: 1}}")),
        409,
        "version_conflict",
    );
    assert!(text.contains("published and deleted"), "{text}");
    assert_eq!(
        publish(&server, "", &version("w", "1.0.0", slow)).status,
        201,
        "the same content may come back"
    );
}

#[test]
fn lists_are_filtered_and_what_is_archived_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for number in ["1.0.0", "1.1.0"] {
        assert_eq!(publish(&server, "", &version("w", number, "steps: {a: {set: 1}}")).status, 201);
    }
    assert_eq!(server.post("/v1/runs", &json!({"workflow": "test/w@=1.1.0"})).status, 202);
    let archived = server.patch("/v1/workflows/test/w/versions/1.1.0", &json!({"status": "archived"}));
    assert_eq!(archived.status, 200, "{archived:?}");
    let listed = |query: &str| {
        let items = server.get(&format!("/v1/workflows?{query}")).body["items"].clone();
        items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["version"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("workflow=test/w"), ["1.0.0"]);
    assert_eq!(listed("workflow=test/w&status=archived,active"), ["1.0.0", "1.1.0"]);
    assert_eq!(listed("createdBy=nobody"), Vec::<String>::new());
    let mistyped = server.get("/v1/workflows?status=live&created_by=x");
    assert_eq!(mistyped.body["errors"].as_array().unwrap().len(), 2, "{mistyped:?}");
    let runs = server.get("/v1/runs?workflow=test/w&version=1.1.0&createdBy=api").body;
    assert_eq!(
        (runs["items"].as_array().unwrap().len(), &runs["items"][0]["createdBy"]),
        (1, &json!("api")),
        "{runs}"
    );
    refused(&server.get("/v1/runs?version=1.1.0"), 400, "parameter_invalid");
}

#[test]
fn a_run_in_flight_moves_and_a_kill_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let first =
        "steps: {m: {set: 1}, w: {dependsOn: [m], wait: {signal: go}}, z: {dependsOn: [w], set: old}}";
    let second = "steps: {a: {set: 2}, m: {set: 1}, w: {dependsOn: [m], wait: {signal: go}}, y: {dependsOn: [w], set: \"${ steps.a.output + steps.m.output }\"}}";
    assert_eq!(publish(&server, "", &version("w", "1.0.0", first)).status, 201);
    let run = server.post("/v1/runs", &json!({"workflow": "test/w"})).body["id"].as_str().unwrap().to_owned();
    let document = |server: &Server| server.get(&format!("/v1/runs/{run}")).body;
    server.until(|| (document(&server)["status"] == "waiting").then_some(()));
    assert_eq!(publish(&server, "", &version("w", "2.0.0", second)).status, 201);
    assert_eq!(publish(&server, "", &version("w", "3.0.0", &second.replace("set: 1", "set: 3"))).status, 201);
    let migrate = |server: &Server, body: &Value| server.post(&format!("/v1/runs/{run}/migrate"), body);
    let answer = migrate(&server, &json!({"version": "3.0.0"}));
    refused(&answer, 409, "migration_refused");
    let places: Vec<&Value> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(places, ["/steps/m/set"], "{answer:?}");
    refused(&migrate(&server, &json!({"version": "9.0.0"})), 404, "workflow_not_found");
    refused(&migrate(&server, &json!({"version": "latest"})), 400, "body_invalid");
    refused(&migrate(&server, &json!({})), 400, "body_invalid");
    let (well, text) = said(&server, folder.path(), &format!("heddle runs migrate {run} 2.0.0"));
    assert!(well && text.contains("as soon as nothing of it is under way"), "{text}");
    server.until(|| (document(&server)["workflow"]["version"] == "2.0.0").then_some(()));
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let moved = document(&server);
    assert_eq!(
        (&moved["workflow"]["version"], &moved["migrations"][0]["version"]),
        (&json!("2.0.0"), &json!("2.0.0"))
    );
    let listed = server.get("/v1/runs?workflow=test/w&version=2.0.0").body;
    assert_eq!(listed["items"][0]["id"], json!(run), "{listed}");
    assert_eq!(server.post(&format!("/v1/runs/{run}/signal"), &json!({"name": "go"})).status, 202);
    let ended = server.ended(&run);
    assert_eq!((&ended["status"], &ended["output"]), (&json!("succeeded"), &json!({"y": 3})), "{ended}");
    refused(&migrate(&server, &json!({"version": "1.0.0"})), 409, "run_ended");
    let (well, text) = said(&server, folder.path(), &format!("heddle runs get {run}"));
    assert!(well && text.contains("moved     to 2.0.0 by "), "{text}");
}

#[test]
fn templates_over_http_and_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let template = "template: {parameters: {type: object, required: [n], properties: {n: {type: integer, examples: [1]}}}}\nsteps: {a: {set: \"${ param.n }\"}, b: {set: \"${ input.k + param.n }\"}}";
    let wrong = template.replace("examples: [1]", "minimum: 1").replace("param.n }\"}, b", "param.m }\"}, b");
    let answer = publish(&server, "", &version("t", "1.0.0", &wrong));
    refused(&answer, 422, "workflow_invalid");
    assert_eq!(answer.body["errors"][0]["pointer"], "/template/parameters/properties/n", "{answer:?}");
    let published = publish(&server, "", &version("t", "1.0.0", template));
    assert_eq!((published.status, published.body["parameters"].is_object()), (201, true), "{published:?}");
    let text = refused(&server.post("/v1/runs", &json!({"workflow": "test/t"})), 409, "workflow_state");
    assert!(text.contains("heddle workflow instantiate test/t"), "{text}");
    let inline = json!({"definition": version("t", "1.0.0", template)});
    refused(&server.post("/v1/runs", &inline), 409, "workflow_state");
    let make = |body: &Value| server.post("/v1/workflows/test/t/instantiate", body);
    let faulty = make(&json!({"name": "made", "parameters": {"m": 1}}));
    refused(&faulty, 422, "parameters_invalid");
    let pointers: Vec<&Value> =
        faulty.body["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/parameters/m", "/parameters/n"], "{faulty:?}");
    refused(&make(&json!({"parameters": {"n": 1}, "dryrun": true})), 400, "body_invalid");
    let dry = make(&json!({"name": "made", "parameters": {"n": 40}, "dryRun": true}));
    assert_eq!((dry.status, &dry.body["origin"]["template"]), (200, &json!("test/t")), "{dry:?}");
    refused(&server.get("/v1/workflows/test/made"), 404, "workflow_not_found");
    let made = make(&json!({"name": "made", "version": "2.0.0", "parameters": {"n": 40}}));
    let origin = json!({"template": "test/t", "version": "1.0.0", "digest": published.body["digest"], "parameters": {"n": 40}});
    assert_eq!((made.status, &made.body["origin"]), (201, &origin), "{made:?}");
    assert_eq!(make(&json!({"name": "made", "version": "2.0.0", "parameters": {"n": 40}})).status, 200);
    refused(
        &make(&json!({"name": "made", "version": "2.0.0", "parameters": {"n": 41}})),
        409,
        "version_conflict",
    );
    let run = server.post("/v1/runs", &json!({"workflow": "test/made", "input": {"k": 2}}));
    let run = server.ended(run.body["id"].as_str().unwrap());
    assert_eq!(run["output"], json!({"a": 40, "b": 42}), "{run}");
    refused(
        &server.post("/v1/workflows/test/made/instantiate", &json!({"name": "x"})),
        409,
        "workflow_state",
    );
    for (script, says) in [
        ("heddle workflow instantiate test/t more --param n=x", "is not of type"),
        ("heddle workflow instantiate test/t more --param n", "has no `=`"),
        ("heddle workflow instantiate test/none more", "no workflow `test/none`"),
        ("heddle workflow activate test/made", "names no version"),
        ("heddle workflow get made", "names no workflow"),
        ("heddle workflow rm test/made@3.0.0", "heddle workflow ls"),
        ("heddle workflow diff test/made@2.0.0 1.0.0 2.0.0", "heddle workflow diff test/made 1.0.0 2.0.0"),
    ] {
        let (well, text) = said(&server, folder.path(), script);
        assert!(!well && text.contains(says), "$ {script}\n{text}");
    }
    let (well, text) = said(
        &server,
        folder.path(),
        "heddle workflow get test/made --json | head -c 1; heddle workflow ls --json",
    );
    assert!(well && text.starts_with('{') && text.contains("\"origin\": \"test/t@1.0.0\""), "{text}");
}
