//! The sample workflow as clients of other protocols run it: on this repository's own lock file, followed and to its report.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, root, tools};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn node(folder: &Path) -> Server {
    let server = Server::with_plugins(
        folder,
        &["audit_report", "lockfile_parse", "markdown_table", "package_examine"],
    );
    let sample = std::fs::read(root().join("plugins/samples/audit.yaml")).unwrap();
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", sample).status, 201);
    server
}

fn client(python: PathBuf, script: &str, place: &str) -> Value {
    let output = Command::new(python)
        .arg(root().join(script))
        .args([place, "demo"])
        .arg(root().join("Cargo.lock"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn by_mcp() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let seen = client(tools::python_with_mcp(), "tests/tests/mcp/client.py", &format!("{}/mcp", server.url));
    let report = &seen["report"];
    assert_eq!(report["error"], false, "{report}");
    assert!(report["structured"].to_string().contains("# "), "a report in Markdown: {report}");
    let progress = seen["progress"].as_array().unwrap();
    let last = progress.last().and_then(Value::as_f64).unwrap();
    assert!(last > 100.0, "a step for each package: {progress:?}");
}

#[test]
fn by_a2a() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let seen = client(tools::python_with_a2a(), "tests/tests/a2a/client.py", &server.url);
    let events = seen["stream"].as_array().unwrap();
    assert!(events[0]["task"]["id"].is_string(), "{}", events[0]);
    let report = events.iter().find_map(|event| event["artifactUpdate"]["artifact"]["parts"][0].as_object());
    assert!(Value::Object(report.unwrap().clone()).to_string().contains("# "), "a report in Markdown");
    let last = events.last().unwrap();
    assert_eq!(last["statusUpdate"]["status"]["state"], "TASK_STATE_COMPLETED", "{last}");
}
