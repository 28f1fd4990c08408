//! What the end-to-end tests share: the real binary as a child process on a folder of its own, and a client that
//! speaks HTTP to it and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test stops where something is not as it must be"
)]

pub mod author;
pub mod model;
pub mod receiver;
pub mod registry;
pub mod service;
pub mod tools;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The binary under test: built by `cargo build --workspace --bin heddle` into the same target folder as this test.
pub fn binary() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().and_then(Path::parent).unwrap().join("heddle");
    assert!(
        path.exists(),
        "there is no {}: run `cargo build --workspace --bin heddle` first",
        path.display()
    );
    path
}

/// A bundled plugin, built by `cargo xtask plugins`.
pub fn plugin(name: &str) -> Vec<u8> {
    let path = root().join("plugins/target/wasm32-wasip2/release").join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask plugins` first", path.display()))
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens, `http://…`.
    pub url: String,
    client: reqwest::blocking::Client,
}

/// An answer: status, headers and body.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, as JSON where it is JSON, else as a string.
    pub body: Value,
}

impl Server {
    /// Starts the server on this folder, with these variables in its environment, and waits until it is ready.
    pub fn start(folder: &Path, env: &[(&str, &str)]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server::start_at(folder, &format!("http://127.0.0.1:{port}"), env)
    }
    /// Starts the server at this address, as after a kill.
    pub fn start_at(folder: &Path, url: &str, env: &[(&str, &str)]) -> Server {
        let mut server = Server::spawn(folder, url, env);
        let since = Instant::now();
        while !server.is_ready() {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!(
                    "the server ended with {status}: {}",
                    std::fs::read_to_string(folder.join("server.log")).unwrap()
                );
            }
            assert!(
                since.elapsed() < PATIENCE,
                "the server is not ready: {}",
                std::fs::read_to_string(folder.join("server.log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
    /// Starts the server at this address and waits for nothing.
    pub fn spawn(folder: &Path, url: &str, env: &[(&str, &str)]) -> Server {
        let child = Command::new(binary())
            .arg("serve")
            .env("HEDDLE_LISTEN", url.trim_start_matches("http://"))
            .env("HEDDLE_DATA", folder)
            .envs(env.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(
                std::fs::File::options().create(true).append(true).open(folder.join("server.log")).unwrap(),
            )
            .spawn()
            .unwrap();
        let client = reqwest::blocking::Client::builder()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(64)
            .build()
            .unwrap();
        Server { child, url: url.to_owned(), client }
    }
    /// Whether it answers that it takes work.
    pub fn is_ready(&self) -> bool {
        self.try_get("/readyz").is_some_and(|answer| answer.status == 200)
    }
    /// Starts the server with these bundled plugins loaded.
    pub fn with_plugins(folder: &Path, plugins: &[&str]) -> Server {
        let server = Server::start(folder, &[]);
        for name in plugins {
            server.push(plugin(name));
        }
        server
    }

    /// Loads a component and waits until it is ready; gives its description.
    pub fn push(&self, bytes: Vec<u8>) -> Value {
        let answer = self.send(
            self.client.post(self.at("/v1/plugins")).header("content-type", "application/wasm").body(bytes),
        );
        assert!(matches!(answer.status, 200..=202), "{answer:?}");
        let place = answer.headers["location"].to_str().unwrap().to_owned();
        self.until(|| {
            let now = self.get(&place);
            assert_ne!(now.body["status"], "failed", "{now:?}");
            (now.body["status"] == "ready").then_some(now.body)
        })
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
    fn send(&self, request: reqwest::blocking::RequestBuilder) -> Answer {
        self.try_send(request).unwrap()
    }
    fn try_send(&self, request: reqwest::blocking::RequestBuilder) -> Option<Answer> {
        let response = request.send().ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().ok()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Some(Answer { status, headers, body })
    }
    /// `GET`, where the server may be gone.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send(self.client.get(self.at(path)))
    }
    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(self.at(path)))
    }
    /// `GET` with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.get(self.at(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request)
    }
    /// `GET`; gives the body as it came.
    pub fn text(&self, path: &str) -> String {
        self.client.get(self.at(path)).send().unwrap().text().unwrap()
    }
    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[])
    }
    /// `POST` of JSON with headers.
    pub fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        self.try_post(path, body, headers).unwrap()
    }
    /// `POST` of JSON, where the server may be gone.
    pub fn try_post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Option<Answer> {
        let mut request = self.client.post(self.at(path)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.try_send(request)
    }
    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Answer {
        self.send(self.client.delete(self.at(path)))
    }
    /// `PATCH` of JSON.
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.client.patch(self.at(path)).json(body))
    }
    /// `POST` of JSON as it is written, with headers: every number keeps its spelling.
    pub fn post_text(&self, path: &str, json: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.post(self.at(path)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(json.to_owned()))
    }
    /// `POST` of bytes, where the server may hang up before it has read them.
    pub fn try_post_bytes(&self, path: &str, kind: &str, bytes: Vec<u8>) -> Option<Answer> {
        self.try_send(self.client.post(self.at(path)).header("content-type", kind).body(bytes))
    }
    /// `POST` of bytes.
    pub fn post_bytes(&self, path: &str, kind: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        self.send(self.client.post(self.at(path)).header("content-type", kind).body(bytes.into()))
    }

    /// Submits a workflow that comes with the request; gives the run's id.
    pub fn submit(&self, definition: &str, input: Value) -> String {
        let answer = self.post("/v1/runs", &json!({"definition": definition, "input": input}));
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.body["id"].as_str().unwrap().to_owned()
    }
    /// Waits until the run has ended; gives its document.
    pub fn ended(&self, run: &str) -> Value {
        self.until(|| {
            let run = self.get(&format!("/v1/runs/{run}"));
            assert_eq!(run.status, 200, "{run:?}");
            matches!(run.body["status"].as_str(), Some("succeeded" | "failed" | "cancelled"))
                .then_some(run.body)
        })
    }
    /// Submits and waits.
    pub fn run(&self, definition: &str, input: Value) -> Value {
        let run = self.submit(definition, input);
        self.ended(&run)
    }
    /// The events of a run that has ended, or ends soon: id, type and data.
    pub fn events(&self, run: &str, after: Option<&str>) -> Vec<(String, String, Value)> {
        let mut request =
            self.client.get(self.at(&format!("/v1/runs/{run}/events"))).header("accept", "text/event-stream");
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        let response = request.send().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let (mut events, mut id, mut kind, mut data) =
            (Vec::new(), String::new(), String::new(), String::new());
        for line in BufReader::new(response).lines().map_while(Result::ok) {
            match line.split_once(": ").or_else(|| line.split_once(':')) {
                Some(("id", text)) => id = text.to_owned(),
                Some(("event", text)) => kind = text.to_owned(),
                Some(("data", text)) => data.push_str(text),
                None if line.is_empty() && !kind.is_empty() => {
                    let data = serde_json::from_str(&std::mem::take(&mut data)).unwrap_or(Value::Null);
                    events.push((std::mem::take(&mut id), std::mem::take(&mut kind), data));
                }
                _ => {}
            }
        }
        events
    }

    /// Asks again until there is something, within the patience of the tests.
    pub fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let since = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(since.elapsed() < PATIENCE, "nothing came within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// `SIGTERM`, without waiting for the end.
    pub fn signal_term(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }
    /// `SIGTERM`; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// `kill -9` at this instant, while others still use the server; [`Server::kill`] waits for its end.
    pub fn signal_kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs what somebody would type who has the binary and talks to this server.
pub fn bash(server: &Server, folder: &Path, script: &str) -> Output {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", path)
        .env("HEDDLE_SERVER", &server.url)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The blocks of code of a page of the guide, each with its language.
pub fn guide(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(format!("docs/guide/{page}.md"))).unwrap();
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').unwrap()).map(|(l, c)| (l.to_owned(), c.to_owned())).collect()
}

/// A workflow with this body under the usual head.
pub fn workflow(name: &str, body: &str) -> String {
    format!("document: {{dsl: \"1.0\", namespace: test, name: {name}, version: 1.0.0}}\n{body}\n")
}
