//! What programs of others say: a fuzzer that knows only the OpenAPI document, and Prometheus' own reader.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]

use heddle_tests::{Server, tools, workflow};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const BODY: &str = r#"
steps:
  many: {forEach: {in: "${ [1, 2, 3] }"}, call: "tool:echo", with: {value: "${ item }"}}
  last: {call: "transform:identity", with: {n: "${ steps.many.output }"}}
"#;

/// A node that has something to show, and a run of it.
fn node(folder: &Path) -> (Server, String) {
    let server = Server::with_plugins(folder, &["echo", "identity"]);
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("shown", BODY));
    assert_eq!(published.status, 201, "{published:?}");
    let mut id = String::new();
    for _ in 0..3 {
        let run = server.post_with("/v1/runs", &json!({"workflow": "test/shown"}), &[("prefer", "wait=30")]);
        assert_eq!(run.status, 200, "{run:?}");
        id = run.body["id"].as_str().unwrap().to_owned();
    }
    (server, id)
}

/// Lets the fuzzer loose. Left out is one opinion of it: that whatever fits a schema must be accepted. A workflow that
/// calls a plugin which nobody has loaded fits, too.
fn fuzz(server: &Server, folder: &Path) {
    let output = Command::new(tools::schemathesis())
        .arg("run")
        .arg(format!("{}/openapi.json", server.url))
        .args(["--exclude-checks", "positive_data_acceptance", "--max-examples", "40", "--seed", "1"])
        .args(["--generation-database", "none", "--no-color"])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let line = |of: &str| said.lines().find(|line| line.contains(of)).unwrap_or_default().trim().to_owned();
    println!("operations: {}; requests: {}", line("Tested:"), line(" generated"));
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn a_fuzzer_that_guesses_every_id_finds_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = node(folder.path());
    fuzz(&server, folder.path());
}

#[test]
fn a_fuzzer_that_knows_what_is_there_finds_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let (server, run) = node(folder.path());
    let known = format!(
        "[parameters]\n\"path.id\" = \"{run}\"\n\"path.step\" = \"many\"\n\"path.namespace\" = \"test\"\n\
         \"path.name\" = \"shown\"\n\"path.version\" = \"1.0.0\"\n\"path.code\" = \"not_found\"\n"
    );
    std::fs::write(folder.path().join("schemathesis.toml"), known).unwrap();
    fuzz(&server, folder.path());
}

#[test]
fn prometheus_reads_the_metrics_and_has_nothing_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = node(folder.path());
    let metrics = server.get("/metrics").body.as_str().unwrap().to_owned();
    for name in ["heddle_runs_finished_total{status=\"succeeded\"} 3", "heddle_run_duration_seconds_bucket"] {
        assert!(metrics.contains(name), "{metrics}");
    }
    let mut promtool = Command::new(tools::promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
