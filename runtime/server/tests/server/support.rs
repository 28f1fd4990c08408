//! One node for all tests of the process, at a real socket, with times short enough to be waited for.

use heddle_server::app::{App, Keeping};
use heddle_server::config::{Config, Layers};
use heddle_server::http::server::{listen, serve};
use heddle_server::http::{Api, router};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long the head and the body of a request may take on the node of the tests.
pub(crate) const PATIENCE_MS: u64 = 700;

/// Where the node is.
pub(crate) fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .thread_stack_size(8 << 20)
                .build()
                .unwrap();
            runtime.block_on(async {
                let patience = PATIENCE_MS.to_string();
                let set =
                    |key: &str, value: &str| (format!("limits.{key}"), "test".to_owned(), value.to_owned());
                let flags = vec![
                    ("listen".into(), "test".into(), "127.0.0.1:0".into()),
                    set("header_read_ms", &patience),
                    set("body_read_ms", &patience),
                    set("subscriptions", "8"),
                    set("attempts_at_once", "16"),
                    set("body_bytes", "200000"),
                    set("component_bytes", "300000"),
                ];
                let config = Config::load(&Layers { flags, ..Layers::default() }).unwrap();
                let (listener, address) = listen(config.listen).await.unwrap();
                let app = Arc::new(App::open(&config, Keeping::Nothing).await.unwrap());
                let (end, ending) = tokio::sync::watch::channel(false);
                let limits = app.limits.clone();
                tell.send(address).unwrap();
                serve(listener, router(Api::new(app, ending.clone())), limits, ending).await;
                drop(end);
            });
        });
        told.recv().unwrap()
    })
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
    /// Asserts that this is a problem with this status and code, as RFC 9457 and the API want it.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/docs/errors/{code}"));
        assert!(problem["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{problem}");
        assert!(problem["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{problem}");
        problem
    }
}

/// Sends these bytes and reads the answer until the connection is closed.
pub(crate) fn raw(bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The node may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let (mut answer, mut chunk, end) = (Vec::new(), [0; 4096], Instant::now() + DEADLINE);
    while Instant::now() < end {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return parse(&answer),
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
        }
    }
    panic!("the answer does not end: {}", String::from_utf8_lossy(&answer));
}

/// A stream may keep itself alive for ever, so an answer has a time in which it must have ended.
const DEADLINE: Duration = Duration::from_secs(25);

pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Answer { status: 0, headers: Vec::new(), body: text };
    };
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let chunked = headers.iter().any(|(n, v)| n.eq_ignore_ascii_case("transfer-encoding") && v == "chunked");
    Answer { status, headers, body: if chunked { unchunk(body) } else { body.to_owned() } }
}

fn unchunk(mut text: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        out.push_str(&rest[..size]);
        text = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    out
}

/// A request with these headers and this body.
pub(crate) fn ask(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{body}"));
    raw(request.as_bytes())
}

pub(crate) fn get(target: &str) -> Answer {
    ask("GET", target, &[], "")
}

pub(crate) fn post(target: &str, body: &str) -> Answer {
    ask("POST", target, &[("Content-Type", "application/json")], body)
}

/// A workflow that needs no plugin: `greet` says hello to the input's `name`.
pub(crate) fn hello(name: &str, version: &str) -> String {
    format!(
        r#"{{"document":{{"dsl":"1.0","namespace":"test","name":"{name}","version":"{version}"}},
            "input":{{"schema":{{"type":"object","properties":{{"name":{{"type":"string"}}}},"required":["name"]}}}},
            "steps":{{"greet":{{"set":"hello ${{ input.name }}"}},"shout":{{"set":"${{ steps.greet.output + '!' }}"}}}},
            "output":{{"as":"${{ steps.shout.output }}"}}}}"#
    )
}
