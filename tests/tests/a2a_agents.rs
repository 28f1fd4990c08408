//! Other agents as steps call them: a real one by the official SDK, and another node of ours that is still at work when the
//! node that asked it is killed.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{PATIENCE, Server, binary, root, tools, workflow};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// An agent of somebody else's. Killed when dropped.
struct Trips {
    child: Child,
    url: String,
}

impl Trips {
    fn start(folder: &Path) -> Trips {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(tools::python_with_a2a());
        command.arg(root().join("tests/tests/a2a/server.py")).arg(port.to_string());
        let said = std::fs::File::create(folder.join("trips.err")).unwrap();
        let came = std::fs::File::create(folder.join("trips.log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(came).stderr(said).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = std::fs::read_to_string(folder.join("trips.err")).unwrap();
            assert!(began.elapsed() < PATIENCE, "{said}");
            std::thread::yield_now();
        }
        Trips { child, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Trips {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The connector that the card of an agent makes, granted and loaded.
fn loaded(folder: &Path, url: &str) -> Server {
    let output = Command::new(binary())
        .args(["connector", "import", "--a2a", url, "--name", "far", "--output", "far.yaml"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let checked =
        Command::new(binary()).args(["connector", "check", "far.yaml"]).current_dir(folder).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[grants.\"tool:far/*\"]\nhttp = [\"POST {url}\"]\n"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
    let server = Server::start(folder, &[]);
    let document = std::fs::read_to_string(folder.join("far.yaml")).unwrap();
    let pushed = server.post_bytes("/v1/connectors", "application/yaml", document);
    assert_eq!(pushed.status, 201, "{pushed:?}");
    server
}

fn calling(call: &str, with: &str) -> String {
    let body = format!(
        "steps: {{a: {{call: \"{call}\", with: {with}, retry: {{limit: {{attempts: 3}}, delay: 100ms}}}}}}\noutput: {{as: \"${{ steps.a.output }}\"}}"
    );
    workflow("calling", &body)
}

#[test]
fn an_agent_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let trips = Trips::start(folder.path());
    let server = loaded(folder.path(), &trips.url);
    let run = server.run(&calling("tool:far/say", "{text: hello}"), json!({}));
    assert_eq!(run["output"], "you said hello", "{run}");
    let run = server.run(&calling("tool:far/plan-trip", "{text: to Rome, days: 3}"), json!({}));
    // By the form of its messages every number of the protocol is one with a fraction.
    assert_eq!(run["output"], json!({ "stops": 6.0 }), "{run}");
    assert!(run["steps"][0]["attempts"][0]["usage"]["hostcalls"].as_u64().unwrap() > 2, "{run}");
    let run = server.run(&calling("tool:far/refuse", "{text: x}"), json!({}));
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("a2a_rejected")), "{run}");
    assert!(run["error"]["message"].as_str().unwrap().contains("not on a Monday"), "{run}");
    // The same agent is asked once for each of them.
    let log = std::fs::read_to_string(folder.path().join("trips.log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("heddle-")).count(), 3, "{log}");
}

/// What another agent has begun is looked after again by the attempt that follows a kill, and not begun twice.
#[test]
fn a_killed_node_finds_its_agent_at_work() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Server::start(folders.0.path(), &[]);
    let text = "document: {dsl: \"1.0\", namespace: far, name: ponder, version: 1.0.0, title: Ponders}\nsteps: {wait: {wait: {signal: go}}}\noutput: {as: pondered}\n";
    assert_eq!(other.post_bytes("/v1/workflows", "application/yaml", text.to_owned()).status, 201);
    let mut server = loaded(folders.1.path(), &other.url);
    let run = server.submit(&calling("tool:far/far-ponder", "{}"), json!({}));
    let there = || {
        let page = other.get("/v1/runs?workflow=far/ponder").body;
        page["items"].as_array().unwrap().clone()
    };
    let begun: Vec<Value> = other.until(|| Some(there()).filter(|runs| !runs.is_empty()));
    server.kill();
    let server = Server::start_at(folders.1.path(), &server.url.clone(), &[]);
    // The new attempt looks at what was begun; only then it may end.
    server.until(|| {
        let now = server.get(&format!("/v1/runs/{run}")).body;
        (now["steps"][0]["attempts"].as_array().is_some_and(|attempts| attempts.len() > 1)).then_some(())
    });
    let id = begun[0]["id"].as_str().unwrap();
    let told = other.post(&format!("/v1/runs/{id}/signal"), &json!({ "name": "go" }));
    assert_eq!(told.status, 202, "{told:?}");
    let ended = server.ended(&run);
    assert_eq!(ended["output"], "pondered", "{ended}");
    assert_eq!(there().len(), 1, "{:?}", there());
}
