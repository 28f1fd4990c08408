//! A service that speaks as language models do: a real socket, the wire forms of the two providers, and answers by a script
//! of the test's.

use crate::Server;
use crate::receiver::Came;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// One request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Value,
}

/// What is answered: status, headers, body.
#[derive(Clone, Debug)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Said {
    /// This body, and that all is well.
    pub fn json(body: &Value) -> Said {
        Said { status: 200, headers: Vec::new(), body: body.to_string() }
    }
    /// A refusal.
    pub fn refused(status: u16, message: &str) -> Said {
        let body = json!({ "error": { "message": message, "type": "refused" } });
        Said { status, headers: Vec::new(), body: body.to_string() }
    }
}

type Script = dyn Fn(&Asked, usize) -> Said + Send + Sync;

/// The service.
#[derive(Clone)]
pub struct Models {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Script>,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Models({})", self.port)
    }
}

impl Models {
    /// Listens at a port of its own. The script gets each request and how many came before it.
    pub fn start(script: impl Fn(&Asked, usize) -> Said + Send + Sync + 'static) -> Models {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let models = Models { port, asked: Arc::default(), script: Arc::new(script) };
        let here = models.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let here = here.clone();
                std::thread::spawn(move || here.serve(stream));
            }
        });
        models
    }
    /// An address there.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
    /// What came so far to addresses that begin so.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path.starts_with(path)).cloned().collect()
    }

    /// Nobody who hangs up in the middle has to be told.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let Came { path, headers, body, .. } = Came::read(&stream)?;
        let asked = Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
        let before = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let Said { status, headers, body } = (self.script)(&asked, before);
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()
    }
}

/// An answer of chat completions: text, or calls of tools as name and arguments.
pub fn completion(text: Option<&str>, calls: &[(&str, &Value)]) -> Said {
    let wanted: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(n, (name, arguments))| {
            let function = json!({ "name": name, "arguments": arguments.to_string() });
            json!({ "id": format!("call_{n}"), "type": "function", "function": function })
        })
        .collect();
    let finish = if wanted.is_empty() { "stop" } else { "tool_calls" };
    let mut message = json!({ "role": "assistant", "content": text });
    if !wanted.is_empty() {
        message["tool_calls"] = wanted.into();
    }
    Said::json(&json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "stub-1",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 },
    }))
}

/// The key of the account: a secret.
pub const KEY: &str = "sk-s3cr3t-0f-42-0123456789";

/// Writes `heddle.toml`: providers by name, with where they are and what they speak, and whatever else is given.
pub fn configured(folder: &Path, providers: &[(&str, &str, &str)], rest: &str) {
    std::fs::write(folder.join("key.txt"), format!("{KEY}\n")).unwrap();
    let mut text =
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\nmodel-key = \"file:key.txt\"\n".to_owned();
    for (name, url, speaks) in providers {
        text += &format!(
            "[providers.{name}]\nurl = \"{url}\"\nspeaks = \"{speaks}\"\nkey = \"model-key\"\nheaders = [\"x-team: search\"]\n"
        );
    }
    std::fs::write(folder.join("heddle.toml"), text + rest).unwrap();
}

/// How many tools have answered in a request.
pub fn answers(asked: &Asked) -> usize {
    let messages = asked.body["messages"].as_array().unwrap();
    messages.iter().filter(|message| message["role"] == "tool").count()
}

/// What a step says that is to go on after a crash.
pub const RETRIED: &str = "retry: {limit: {attempts: 3}, delay: 10ms}";

/// Every call of an agent that asks twelve times and calls eleven tools: where it goes, and which of them it is. And none.
pub fn every_point() -> impl Iterator<Item = (&'static str, usize)> {
    let models = (1..=12).map(|nth| ("/v1", nth));
    models.chain((1..=11).map(|nth| ("/tool", nth))).chain([("/none", 1)])
}

/// Who is killed, and at which request.
#[derive(Debug)]
struct Doom {
    pid: u32,
    at: &'static str,
    left: usize,
}

/// A model that wants a tool called eleven times and then says so, and that tool. At one request of one of both, whoever asks
/// is killed before the answer goes out.
#[derive(Clone, Debug)]
pub struct Twelve {
    models: Models,
    doom: Arc<Mutex<Option<Doom>>>,
}

impl Twelve {
    /// Listens at a port of its own.
    pub fn start() -> Twelve {
        let doom: Arc<Mutex<Option<Doom>>> = Arc::default();
        let (here, there) = (Arc::new(Mutex::new(String::new())), doom.clone());
        let at = here.clone();
        let models = Models::start(move |asked, _| {
            doomed(&there, &asked.path);
            if asked.path.starts_with("/tool") {
                return Said::json(&json!({ "told": asked.path }));
            }
            match answers(asked) {
                11 => completion(Some("done after eleven"), &[]),
                n => {
                    let url = format!("{}/{n}", at.lock().unwrap());
                    completion(None, &[("tool_http-fetch", &json!({ "url": url }))])
                }
            }
        });
        *here.lock().unwrap() = models.url("/tool");
        Twelve { models, doom }
    }
    /// An address there.
    pub fn url(&self, path: &str) -> String {
        self.models.url(path)
    }
    /// What an operator grants to such an agent, and to its tool.
    pub fn grants(&self, agent: &str) -> String {
        format!(
            "[models.fast]\nuse = [\"stub/m\"]\nprices = [\"stub/m 1 2\"]\n[grants.\"agent:{agent}\"]\nmodels = [\"fast\"]\nartifacts = true\n[grants.\"tool:http-fetch\"]\nhttp = [\"GET {}\"]\n",
            self.url("")
        )
    }
    /// Runs this workflow at a node that is killed at this point and started again: its id, and how it ended. Whatever was
    /// killed, the model was asked twelve times, and once more under the same key where it was asked when the kill fell.
    pub fn killed(
        &self,
        server: &mut Server,
        folder: &Path,
        (workflow, input): (&str, Value),
        (at, nth): (&'static str, usize),
    ) -> (String, Value) {
        let (models, tools) = (self.models.asked("/v1").len(), self.models.asked("/tool").len());
        *self.doom.lock().unwrap() = Some(Doom { pid: server.pid(), at, left: nth });
        let run = server.post("/v1/runs", &json!({ "workflow": workflow, "input": input }));
        assert_eq!(run.status, 202, "{run:?}");
        let run = run.body["id"].as_str().unwrap().to_owned();
        if at != "/none" {
            server.until(|| self.doom.lock().unwrap().is_none().then_some(()));
            server.kill();
            *server = Server::start_at(folder, &server.url.clone(), &[]);
        }
        let ended = server.ended(&run);
        let what = format!("{at} {nth}: {ended}");
        assert_eq!(ended["status"], "succeeded", "{what}");
        let asked = self.models.asked("/v1").split_off(models);
        let keys: Vec<&str> = asked.iter().map(|asked| &*asked.headers["idempotency-key"]).collect();
        let different: std::collections::BTreeSet<&str> = keys.iter().copied().collect();
        assert_eq!(different.len(), 12, "{what}");
        assert_eq!(asked.len(), if at == "/v1" { 13 } else { 12 }, "{what}");
        if at == "/v1" {
            assert_eq!(keys[nth - 1], keys[nth], "the same call has the same key");
            assert_eq!(asked[nth - 1].body, asked[nth].body);
        }
        let called = self.models.asked("/tool").len() - tools;
        assert_eq!(called, if at == "/tool" { 12 } else { 11 }, "{what}");
        // Each recorded answer is charged once.
        let expected =
            json!({ "modelCalls": 12, "inputTokens": 1200, "outputTokens": 120, "costMicros": 1440 });
        assert_eq!(ended["steps"][0]["spent"], expected, "{what}");
        (run, ended)
    }
}

/// Kills who asks, where this is the request.
fn doomed(doom: &Mutex<Option<Doom>>, path: &str) {
    let mut doom = doom.lock().unwrap();
    let Some(Doom { pid, left, .. }) = doom.as_mut().filter(|doom| path.starts_with(doom.at)) else { return };
    *left -= 1;
    if *left == 0 {
        let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        *doom = None;
    }
}
