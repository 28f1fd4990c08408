//! Tools of MCP servers, of both generations, as steps and agents call them: real servers by the official SDK, and another
//! node of ours.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::model::{Models, completion};
use heddle_tests::{PATIENCE, Server, binary, root, tools, workflow};
use serde_json::{Value, json};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const KEY: &str = "s3cr3t-of-crm";

/// A service that speaks the protocol. Killed when dropped.
struct Crm {
    child: Child,
    url: String,
    log: PathBuf,
}

impl Crm {
    fn start(folder: &Path, python: &Path) -> Crm {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = folder.join("crm.log");
        let mut command = Command::new(python);
        command.arg(root().join("tests/tests/mcp/server.py")).args([&port.to_string(), KEY]);
        let said = std::fs::File::create(folder.join("crm.err")).unwrap();
        let came = std::fs::File::create(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(came).stderr(said).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < PATIENCE,
                "{}",
                std::fs::read_to_string(folder.join("crm.err")).unwrap()
            );
            std::thread::yield_now();
        }
        Crm { child, url: format!("http://127.0.0.1:{port}/mcp"), log }
    }
    /// The calls of a tool that came, by their keys.
    fn came(&self, tool: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let of_tool = log.lines().filter_map(|line| line.strip_prefix(tool)?.strip_prefix(' '));
        of_tool.map(str::to_owned).collect()
    }
    fn origin(&self) -> &str {
        self.url.trim_end_matches("/mcp")
    }
}

impl Drop for Crm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn import(folder: &Path, url: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(["connector", "import", "--mcp", url, "--name", "crm", "--output", "crm.yaml"]).args(more);
    let output = command.current_dir(folder).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn configured(folder: &Path, more: &str) {
    std::fs::write(folder.join("key.txt"), KEY).unwrap();
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\ncrm-key = \"file:key.txt\"\nopenai-key = \"file:key.txt\"\n{more}\n"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

/// The document that was imported, with who asks.
fn authorised(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("crm.yaml")).unwrap();
    let text = text.replace("\nendpoints:", "\nauth: {bearer: crm-key}\nendpoints:");
    assert!(text.contains("crm-key"), "{text}");
    std::fs::write(folder.join("crm.yaml"), &text).unwrap();
    text
}

fn grant(origin: &str, methods: &str) -> String {
    format!("[grants.\"tool:crm/*\"]\nhttp = [\"{methods} {origin}\"]\nsecrets = [\"crm-key {origin}\"]")
}

fn called(server: &Server, call: &str) -> Value {
    let body = format!(
        "steps: {{a: {{call: \"{call}\", with: {{q: Ada}}}}}}\noutput: {{as: \"${{ steps.a.output }}\"}}"
    );
    server.run(&workflow("calling", &body), json!({}))
}

/// Imported, granted, pushed and called, whatever the server speaks.
fn speaks(python: &Path, protocol: &str, methods: &str) {
    let folder = tempfile::tempdir().unwrap();
    let crm = Crm::start(folder.path(), python);
    // Whoever does not say who they are is told what to type.
    let (done, said) = import(folder.path(), &crm.url, &[]);
    assert!(!done && said.contains("401") && said.contains("--header"), "{said}");
    let header = format!("Authorization: Bearer {KEY}");
    let (done, said) = import(folder.path(), &crm.url, &["--header", &header]);
    assert!(done, "{said}");
    let text = authorised(folder.path());
    assert!(text.contains(protocol) && !text.contains(KEY), "{text}");
    assert!(text.contains("tool: find_customer") && text.contains("title: Find a customer"), "{text}");
    let checked = Command::new(binary())
        .args(["connector", "check", "crm.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let listed = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        listed.contains("tool:crm/drop-customer  MCP drop_customer") && listed.contains("(destructive)"),
        "{listed}"
    );
    assert!(said.contains(&format!("http = [\"{methods} {}\"]", crm.origin())), "{said}");
    configured(folder.path(), &grant(crm.origin(), methods));
    let server = Server::start(folder.path(), &[]);
    let pushed = server.post_bytes("/v1/connectors", "application/yaml", text);
    assert_eq!(pushed.status, 201, "{pushed:?}");

    let run = called(&server, "mcp:crm/find-customer");
    assert_eq!(run["output"], json!({ "name": "Ada", "balance": 12.5 }), "{run}");
    let run = called(&server, "tool:crm/drop-customer");
    // Of what has a schema a server makes an object.
    assert!(run["output"].to_string().contains("Ada is gone"), "{run}");
    let run = called(&server, "tool:crm/broken");
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("tool_error")), "{run}");
    assert!(
        run["error"]["message"].as_str().unwrap().contains("the tool failed: Error executing tool broken"),
        "{run}"
    );
    let keys = crm.came("find_customer");
    assert!(keys.len() == 1 && keys[0].len() > 20, "the call has a key: {keys:?}");
    assert!(!run.to_string().contains(KEY));
}

#[test]
fn a_server_without_sessions() {
    speaks(&tools::python_with_mcp(), "2026-07-28", "POST");
}

#[test]
fn a_server_with_sessions() {
    speaks(&tools::python_with_older_mcp(), "2025-11-25", "DELETE|POST");
}

/// An agent gets what a pattern has but for what destroys, and that by its name; what the server says of itself later
/// changes nothing.
#[test]
fn an_agent_gets_what_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let crm = Crm::start(folder.path(), &tools::python_with_mcp());
    let header = format!("Authorization: Bearer {KEY}");
    assert!(import(folder.path(), &crm.url, &["--header", &header]).0);
    let text = authorised(folder.path());
    let models = Models::start(|asked, _| match asked.body["messages"].as_array().unwrap().len() {
        2 => completion(None, &[("tool_crm_find-customer", &json!({ "q": "Ada" }))]),
        _ => completion(Some("she has 12.5"), &[]),
    });
    let provider = format!(
        "[providers.stub]\nurl = \"{}\"\nkey = \"openai-key\"\n[models.fast]\nuse = [\"stub/m\"]\n[grants.\"agent:react\"]\nmodels = [\"fast\"]\n{}",
        models.url("/v1"),
        grant(crm.origin(), "POST")
    );
    configured(folder.path(), &provider);
    let server = Server::with_plugins(folder.path(), &["react"]);
    assert_eq!(server.post_bytes("/v1/connectors", "application/yaml", text).status, 201);
    let asking = |tools: &str| {
        let body = format!(
            "steps: {{ask: {{agent: {{use: react, goal: {{goal: \"what has Ada?\"}}, tools: {tools}}}}}}}\noutput: {{as: \"${{ steps.ask.output }}\"}}"
        );
        let run = server.run(&workflow("asking", &body), json!({}));
        assert_eq!(run["output"]["answer"], "she has 12.5", "{run}");
        let asked = models.asked("/v1").pop().unwrap();
        let names = asked.body["tools"].as_array().unwrap().iter();
        names.map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of_pattern = asking("[\"mcp:crm/*\"]");
    assert!(of_pattern.iter().any(|name| name.contains("find-customer")), "{of_pattern:?}");
    assert!(!of_pattern.iter().any(|name| name.contains("drop-customer")), "{of_pattern:?}");
    let by_name = asking("[\"mcp:crm/*\", \"mcp:crm/drop-customer\"]");
    assert!(by_name.iter().any(|name| name.contains("drop-customer")), "{by_name:?}");
    assert_eq!(crm.came("find_customer").len(), 2);
}

/// One node calls another as anybody does. A call that is made again under its key is one run there.
#[test]
fn one_node_calls_another() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other = Server::start(folders.0.path(), &[("HEDDLE_LIMITS_CALL_WAIT_MS", "200ms")]);
    let text = "document: {dsl: \"1.0\", namespace: far, name: greet, version: 1.0.0, title: Greets}\ninput: {schema: {type: object, properties: {q: {type: string}}}}\nsteps: {say: {set: \"${ 'Hello, ' + input.q }\"}}\noutput: {as: {text: \"${ steps.say.output }\"}}\n";
    assert_eq!(other.post_bytes("/v1/workflows", "application/yaml", text.to_owned()).status, 201);
    let slow = "document: {dsl: \"1.0\", namespace: far, name: slow, version: 1.0.0}\nsteps: {sleep: {wait: {for: 1500ms}}}\noutput: {as: {slept: true}}\n";
    assert_eq!(other.post_bytes("/v1/workflows", "application/yaml", slow.to_owned()).status, 201);
    let (done, said) = import(folders.1.path(), &format!("{}/mcp", other.url), &[]);
    assert!(done, "{said}");
    configured(folders.1.path(), &format!("[grants.\"tool:crm/*\"]\nhttp = [\"POST {}\"]", other.url));
    let server = Server::start(folders.1.path(), &[]);
    let document = std::fs::read_to_string(folders.1.path().join("crm.yaml")).unwrap();
    assert_eq!(server.post_bytes("/v1/connectors", "application/yaml", document).status, 201);
    let run = called(&server, "tool:crm/far-greet");
    assert_eq!(run["output"], json!({ "text": "Hello, Ada" }), "{run}");
    // One that takes longer than a call there may is looked after.
    let run = called(&server, "tool:crm/far-slow");
    assert_eq!(run["output"], json!({ "slept": true }), "{run}");
    let there = other.get("/v1/runs?workflow=far/greet").body;
    assert_eq!(there["items"].as_array().map(Vec::len), Some(1), "{there}");
}
