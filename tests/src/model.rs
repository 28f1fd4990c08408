//! A service that speaks as language models do: a real socket, the wire forms of the two providers, and answers by a script
//! of the test's.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
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
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
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
