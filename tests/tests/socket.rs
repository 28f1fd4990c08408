//! `/v1/ws` of the real binary, with WebSocket clients that others wrote: what is told, and what becomes of readers who
//! are cut off, slow, greedy, or no readers at all.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{PATIENCE, Server, bash, guide, tools, workflow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

struct Socket(WebSocket<TcpStream>);

/// What the node says.
#[derive(Debug)]
enum Said {
    Json(Value),
    /// It closes: the code.
    Close(u16),
    /// It is gone.
    Gone,
}

impl Socket {
    fn try_open(server: &Server, headers: &[(&'static str, &str)]) -> Result<Socket, (u16, Value)> {
        let address = server.url.trim_start_matches("http://").to_owned();
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(body).unwrap()))
            }
            Err(other) => panic!("{other}"),
        }
    }
    fn open(server: &Server) -> Socket {
        Socket::try_open(server, &[]).unwrap()
    }
    fn say(&mut self, what: &Value) {
        self.0.send(Message::text(what.to_string())).unwrap();
    }
    fn next(&mut self) -> Said {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Said::Json(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(close)) => return Said::Close(close.map_or(0, |c| c.code.into())),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came within {PATIENCE:?}")
                }
                Err(_) => return Said::Gone,
            }
        }
    }
    fn json(&mut self) -> Value {
        match self.next() {
            Said::Json(value) => value,
            other => panic!("{other:?}"),
        }
    }
    /// Subscribes; gives what is said to it.
    fn subscribe(&mut self, wish: &Value) -> Value {
        self.say(&json!({"subscribe": wish}));
        self.json()
    }
    /// Subscribes to all runs behind this place; gives the place that it begins behind.
    fn all(&mut self, after: Option<&str>) -> String {
        let said = self.subscribe(&json!({"id": "all", "all": true, "after": after}));
        said["subscribed"]["resumeAfter"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
    }
    /// Events until so many runs have ended, or the node is gone; and the last thing that is no event.
    fn events(&mut self, ends: usize) -> (Vec<Value>, Said) {
        let (mut events, mut left) = (Vec::new(), ends);
        while left > 0 {
            match self.next() {
                Said::Json(said) if said["event"].is_object() => {
                    left -= usize::from(is_end(&said));
                    events.push(said);
                }
                other => return (events, other),
            }
        }
        (events, Said::Gone)
    }
}

fn is_end(said: &Value) -> bool {
    matches!(said["event"]["type"].as_str(), Some("run.succeeded" | "run.failed" | "run.cancelled"))
}

/// The ids of each run's events, in the order in which they came.
fn by_run(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut runs = BTreeMap::<String, Vec<String>>::new();
    for event in events.iter().map(|said| &said["event"]).filter(|event| event["id"].is_string()) {
        let (run, id) = (event["run"].as_str().unwrap(), event["id"].as_str().unwrap());
        runs.entry(run.to_owned()).or_default().push(id.to_owned());
    }
    runs
}

/// The ids of a run's events as its own stream has them.
fn alone(server: &Server, run: &str) -> Vec<String> {
    server.events(run, None).into_iter().map(|(id, ..)| id).filter(|id| !id.is_empty()).collect()
}

fn cursor(events: &[Value]) -> Option<String> {
    events.iter().rev().find_map(|said| said["cursor"].as_str()).map(str::to_owned)
}

/// Submits so many runs from several threads; gives their ids.
fn submit_many(server: &Server, count: usize) -> Vec<JoinHandle<Vec<String>>> {
    let document =
        workflow("many", "steps: {a: {set: \"${ input.n }\"}, b: {set: \"${ steps.a.output + 1 }\"}}");
    let published = server.post_bytes("/v1/workflows", "application/yaml", document);
    assert!(matches!(published.status, 200 | 201), "{published:?}");
    let threads = 4;
    (0..threads)
        .map(|thread| {
            let url = format!("{}/v1/runs", server.url);
            std::thread::spawn(move || {
                let client = reqwest::blocking::Client::new();
                let numbers = (thread..count).step_by(threads);
                // Asked until it is answered, as whoever meets a kill has to.
                let accepted = numbers.map(|n| {
                    let body = json!({"workflow": "test/many", "input": {"n": n}});
                    let since = Instant::now();
                    loop {
                        let answer =
                            client.post(&url).json(&body).send().and_then(|answer| answer.json::<Value>());
                        match answer.ok().and_then(|answer| answer["id"].as_str().map(str::to_owned)) {
                            Some(id) => return id,
                            None => assert!(since.elapsed() < PATIENCE, "run {n} is not accepted"),
                        }
                        std::thread::yield_now();
                    }
                });
                accepted.collect()
            })
        })
        .collect()
}

fn joined(threads: Vec<JoinHandle<Vec<String>>>) -> Vec<String> {
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn a_run_is_followed_across_the_kill_of_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let run = server
        .submit(&workflow("w", "steps: {a: {set: 1}, w: {wait: {signal: go}}, z: {set: 2}}"), json!({}));
    let mut socket = Socket::open(&server);
    let begun = socket.subscribe(&json!({"id": "r", "run": run}));
    assert_eq!(begun, json!({"subscribed": {"subscription": "r"}}));
    let mut events = Vec::new();
    while events.last().is_none_or(|said: &Value| said["event"]["type"] != "step.waiting") {
        events.push(socket.json());
    }
    let last = &events[events.len() - 1];
    assert_eq!((&last["subscription"], &last["cursor"]), (&json!("r"), &last["event"]["id"]), "{last}");
    server.kill();
    // What lay in the socket still counts.
    let (seen, end) = socket.events(usize::MAX);
    assert!(matches!(end, Said::Gone), "{end:?}");
    events.extend(seen);

    let server = Server::start_at(folder.path(), &server.url, &[]);
    let mut socket = Socket::open(&server);
    let begun = socket.subscribe(&json!({"id": "r", "run": run, "after": cursor(&events)}));
    assert_eq!(begun["subscribed"]["resumeAfter"], json!(cursor(&events)));
    server.post(&format!("/v1/runs/{run}/signal"), &json!({"name": "go"}));
    let (rest, _) = socket.events(1);
    events.extend(rest);
    assert_eq!(by_run(&events)[&run], alone(&server, &run));
    let ended = socket.json();
    let wanted = json!({"subscription": "r", "reason": "run_ended", "resumeAfter": cursor(&events)});
    assert_eq!(ended["ended"], wanted);
    // Whoever comes back with the last one is told so at once.
    socket.subscribe(&json!({"id": "r", "run": run, "after": cursor(&events)}));
    assert_eq!(socket.json()["ended"], wanted);
}

#[test]
fn two_hundred_runs_at_once_are_told_once_each_across_kills() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut socket = Socket::open(&server);
    let mut after = socket.all(None);
    let (mut events, mut accepted) = (Vec::new(), Vec::new());
    // Two lives are cut off while runs are submitted and told; the third one ends what is left.
    for life in 0..3 {
        let threads = submit_many(&server, 70);
        if life < 2 {
            let (seen, _) = socket.events(30);
            after = cursor(&seen).unwrap_or(after);
            events.extend(seen);
            server.kill();
            // What lay in the socket still counts.
            let (seen, end) = socket.events(usize::MAX);
            assert!(matches!(end, Said::Gone), "{end:?}");
            after = cursor(&seen).unwrap_or(after);
            events.extend(seen);
            server = Server::start_at(folder.path(), &server.url, &[]);
            socket = Socket::open(&server);
            assert_eq!(socket.all(Some(&after)), after);
        }
        accepted.extend(joined(threads));
    }
    assert_eq!(accepted.len(), 210);
    let mut left: std::collections::BTreeSet<String> = accepted.iter().cloned().collect();
    for said in events.iter().filter(|said| is_end(said)) {
        left.remove(said["event"]["run"].as_str().unwrap());
    }
    while !left.is_empty() {
        let said = socket.json();
        if is_end(&said) {
            left.remove(said["event"]["run"].as_str().unwrap());
        }
        events.push(said);
    }
    let told = by_run(&events);
    let mut ends = BTreeMap::<&str, usize>::new();
    for said in events.iter().filter(|said| is_end(said)) {
        *ends.entry(said["event"]["run"].as_str().unwrap()).or_default() += 1;
    }
    for run in &accepted {
        assert_eq!(ends.get(&**run), Some(&1), "{run}");
        assert_eq!(told[run], alone(&server, run), "{run}");
    }
    let places: Vec<(u64, u64)> = events.iter().filter_map(|said| place(said["cursor"].as_str()?)).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "in one order, and each once");
}

fn place(cursor: &str) -> Option<(u64, u64)> {
    let (row, ordinal) = cursor.split_once('.')?;
    Some((row.parse().ok()?, ordinal.parse().ok()?))
}

/// Runs whose outputs fill every buffer between the node and a client that does not read.
fn fill(server: &Server, runs: usize) {
    let document = workflow("large", "steps: {a: {set: \"${ input.text }\"}}");
    let text = "x".repeat(60_000);
    for n in 0..runs {
        server.submit(&document, json!({"text": format!("{n} {text}")}));
    }
}

#[test]
fn a_slow_reader_is_told_so_and_comes_back_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [("HEDDLE_LIMITS_FEED_BACKLOG", "60"), ("HEDDLE_LIMITS_WS_STALL_MS", "60s")];
    let server = Server::start(folder.path(), &limits);
    let mut socket = Socket::open(&server);
    let from = socket.all(None);
    fill(&server, 300);
    let (mut events, said) = socket.events(300);
    let Said::Json(ended) = said else { panic!("{said:?} after {} events", events.len()) };
    let wanted = json!({"subscription": "all", "reason": "slow_reader", "resumeAfter": cursor(&events)});
    assert_eq!(ended["ended"], wanted, "{ended}");
    assert!(matches!(socket.next(), Said::Close(1013)));

    let mut socket = Socket::open(&server);
    socket.all(cursor(&events).as_deref());
    let left = 300 - events.iter().filter(|said| is_end(said)).count();
    let (rest, _) = socket.events(left);
    events.extend(rest);
    let mut again = Socket::open(&server);
    again.all(Some(&from));
    let (whole, _) = again.events(300);
    let places =
        |events: &[Value]| -> Vec<Value> { events.iter().map(|said| said["cursor"].clone()).collect() };
    assert_eq!(places(&events), places(&whole));
}

#[test]
fn whoever_takes_nothing_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        &[("HEDDLE_LIMITS_WS_STALL_MS", "500ms"), ("HEDDLE_LIMITS_WS_CONNECTIONS", "1")],
    );
    let mut socket = Socket::open(&server);
    let from = socket.all(None);
    fill(&server, 300);
    // Its place is free again although it has not hung up.
    let mut next = server.until(|| Socket::try_open(&server, &[]).ok());
    let (seen, end) = socket.events(300);
    assert!(matches!(end, Said::Gone), "{end:?}");
    next.all(Some(&cursor(&seen).unwrap_or(from)));
    let left = 300 - seen.iter().filter(|said| is_end(said)).count();
    assert_eq!(next.events(left).0.iter().filter(|said| is_end(said)).count(), left);
}

#[test]
fn subscriptions_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_WS_SUBSCRIPTIONS", "2")]);
    let mut socket = Socket::open(&server);
    assert!(socket.subscribe(&json!({"id": "w", "workflow": "test/own"}))["subscribed"].is_object());
    let twice = socket.subscribe(&json!({"id": "w", "all": true}));
    assert_eq!((&twice["error"]["code"], &twice["subscription"]), (&json!("body_invalid"), &json!("w")));
    assert!(socket.subscribe(&json!({"id": "all", "all": true}))["subscribed"].is_object());
    let third = socket.subscribe(&json!({"id": "x", "all": true}));
    assert_eq!(third["error"]["code"], "quota_exceeded", "{third}");
    assert_eq!(third["error"]["status"], 429);
    let other = server.submit(&workflow("other", "steps: {a: {set: 1}}"), json!({}));
    let own = server.submit(&workflow("own", "steps: {a: {set: 1}}"), json!({}));
    let (events, _) = socket.events(3);
    let of = |id: &str| {
        by_run(&events.iter().filter(|said| said["subscription"] == id).cloned().collect::<Vec<_>>())
    };
    assert_eq!(of("w").into_keys().collect::<Vec<_>>(), std::slice::from_ref(&own));
    assert_eq!(of("all").into_keys().collect::<Vec<_>>(), [other, own]);
    socket.say(&json!({"unsubscribe": "w"}));
    let ended = socket.json();
    assert_eq!(
        (&ended["ended"]["subscription"], &ended["ended"]["reason"]),
        (&json!("w"), &json!("unsubscribed"))
    );
    socket.say(&json!({"unsubscribe": "w"}));
    assert_eq!(socket.json()["error"]["code"], "body_invalid");
    socket.say(&json!({"ping": {"n": 1.50}}));
    assert_eq!(socket.json(), json!({"pong": {"n": 1.5}}));
    for (wish, code) in [
        (json!({"id": "n", "run": "01a1fbf4-1936-735f-a740-d8b73adb6c56"}), "run_not_found"),
        (json!({"id": "n", "all": true, "after": "999999"}), "parameter_invalid"),
        (json!({"id": "n", "run": "nobody"}), "body_invalid"),
    ] {
        let refused = socket.subscribe(&wish);
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    assert_eq!(server.get("/v1/node").body["executor"]["subscribers"], 1);
}

#[test]
fn garbage_is_answered_or_ends_the_connection_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_WS_MESSAGE_BYTES", "1KiB")]);
    let ends = |message: Message| {
        let mut socket = Socket::open(&server);
        socket.all(None);
        socket.0.send(message).unwrap();
        socket.next()
    };
    assert!(matches!(ends(Message::binary(vec![0, 1, 2])), Said::Close(1003)));
    assert!(matches!(ends(Message::text("x".repeat(2_000))), Said::Close(1009)));
    let mut socket = Socket::open(&server);
    for text in ["{", "[1]", "{\"subscribe\": 1}", "{\"a\": 1}", "", "\u{0}", &"[".repeat(500)] {
        socket.0.send(Message::text(text)).unwrap();
        let refused = socket.json();
        assert_eq!(refused["error"]["status"], 400, "{text}: {refused}");
    }
    // What is understood in between forgives.
    socket.say(&json!({"ping": 1}));
    socket.json();
    for _ in 0..16 {
        socket.0.send(Message::text("{")).unwrap();
        assert_eq!(socket.json()["error"]["code"], "json_invalid");
    }
    assert!(matches!(socket.next(), Said::Close(1008)));
    // Frames that are none: an opcode that nobody knows, a frame without a mask, text that is not UTF-8.
    for (bytes, code) in [
        (&[0x83, 0x80, 0, 0, 0, 0][..], 1002),
        (&[0x81, 0x01, b'x'][..], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
    ] {
        let mut socket = Socket::open(&server);
        socket.0.get_mut().write_all(bytes).unwrap();
        let said = socket.next();
        assert!(matches!(said, Said::Close(found) if found == code), "{bytes:?}: {said:?}");
    }
    // A client that says it will send more than memory has, and hangs up.
    let mut socket = Socket::open(&server);
    socket
        .0
        .get_mut()
        .write_all(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4])
        .unwrap();
    assert!(matches!(socket.next(), Said::Close(1009)));
    drop(socket);
    server.until(|| (server.get("/v1/node").body["executor"]["subscribers"] == 0).then_some(()));
    assert_eq!(server.run(&workflow("after", "steps: {a: {set: 1}}"), json!({}))["status"], "succeeded");
}

#[test]
fn who_may_open_one() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("HEDDLE_API_ORIGINS", "https://console.example"), ("HEDDLE_LIMITS_WS_CONNECTIONS", "2")];
    let server = Server::start(folder.path(), &env);
    let plain = server.get("/v1/ws");
    assert_eq!((plain.status, &plain.body["code"]), (426, &json!("upgrade_required")), "{plain:?}");
    assert_eq!(server.post("/v1/ws", &json!({})).status, 405);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        let refused = Socket::try_open(&server, &[("origin", origin)]).err().unwrap();
        assert_eq!((refused.0, &refused.1["code"]), (403, &json!("origin_denied")), "{origin}");
    }
    let mut own = Socket::try_open(&server, &[("origin", &server.url)]).ok().unwrap();
    let console = Socket::try_open(&server, &[("origin", "https://console.example")]).ok().unwrap();
    let third = Socket::try_open(&server, &[]).err().unwrap();
    assert_eq!((third.0, &third.1["code"]), (429, &json!("quota_exceeded")));
    drop(console);
    let mut next = server.until(|| Socket::try_open(&server, &[]).ok());
    for socket in [&mut own, &mut next] {
        socket.all(None);
    }
}

#[test]
fn a_node_that_ends_says_so_and_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut socket = Socket::open(&server);
    let from = socket.all(None);
    // It reads what it is told, and does not even answer the close.
    let reader = std::thread::spawn(move || (socket.json(), socket.next(), socket));
    let since = Instant::now();
    assert_eq!(server.terminate(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    let (said, close, _socket) = reader.join().unwrap();
    assert_eq!(said["ended"], json!({"subscription": "all", "reason": "draining", "resumeAfter": from}));
    assert!(matches!(close, Said::Close(1001)), "{close:?}");
}

const PYTHON: &str = r#"
import asyncio, json, sys, websockets
async def main(url, runs):
    ends = {}
    async with websockets.connect(url) as socket:
        await (await socket.ping())
        await socket.send(json.dumps({"subscribe": {"id": "all", "all": True, "after": "0"}}))
        async for text in socket:
            event = json.loads(text).get("event", {})
            if event.get("type") == "run.succeeded":
                ends[event["run"]] = event["data"]["output"]
                if len(ends) == runs:
                    break
    print(json.dumps(ends))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"#;

#[test]
fn a_client_that_others_wrote_reads_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let runs = joined(submit_many(&server, 20));
    let output = Command::new(tools::python_with_websockets())
        .args(["-c", PYTHON, &format!("{}/v1/ws", server.url.replace("http", "ws")), "20"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ends: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(runs.len() == 20 && runs.iter().all(|run| ends.contains_key(run)), "{ends:?}");
}

#[test]
fn what_the_guide_shows() {
    let blocks = guide("live");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let yaml = &blocks.iter().find(|(language, _)| language == "yaml").unwrap().1;
    std::fs::write(folder.path().join("greet.yaml"), yaml).unwrap();
    let scripts: Vec<&String> = blocks.iter().filter(|(l, _)| l == "sh").map(|(_, script)| script).collect();
    assert_eq!(scripts.len(), 2);
    let said: Vec<String> = scripts
        .iter()
        .map(|script| {
            let output = bash(&server, folder.path(), script);
            assert!(output.status.success(), "$ {script}\n{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
        .collect();
    let kinds = |text: &str| -> Vec<String> {
        let columns = text.lines().filter_map(|line| line.split("  ").nth(2));
        columns.filter(|kind| kind.contains('.')).map(str::to_owned).collect()
    };
    assert_eq!(kinds(&said[0]), ["run.queued", "run.running", "step.succeeded"], "{}", said[0]);
    let last: Value = serde_json::from_str(said[1].lines().last().unwrap()).unwrap();
    assert!(last["cursor"].is_string() && last["run"].is_string() && last["type"].is_string(), "{last}");
    // The messages that the page shows are such as the node takes and sends.
    for (_, text) in blocks.iter().filter(|(language, _)| language == "json") {
        let mut socket = Socket::open(&server);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            if ["subscribe", "unsubscribe", "ping"].iter().any(|word| message.get(*word).is_some()) {
                socket.say(&message);
                let said = socket.json();
                assert!(
                    said["error"].is_null() || said["error"]["code"] == "run_not_found",
                    "{line}: {said}"
                );
            }
        }
    }
}

#[test]
fn the_command_comes_back_to_a_node_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut command = Command::new(heddle_tests::binary())
        .args(["events", "--after", "0", "--json", "--workflow", "test/many"])
        .env("HEDDLE_SERVER", &server.url)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = command.stdout.take().unwrap();
    let mut text = String::new();
    let mut until = |ends: usize| {
        let mut chunk = [0; 4096];
        while text.matches("run.succeeded").count() < ends {
            let read = out.read(&mut chunk).unwrap();
            assert!(read > 0, "it ended: {text}");
            text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
        }
        text.clone()
    };
    let first = joined(submit_many(&server, 5));
    until(5);
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let second = joined(submit_many(&server, 5));
    let text = until(10);
    command.kill().unwrap();
    let mut stderr = String::new();
    command.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    command.wait().unwrap();
    assert!(stderr.contains("coming back for a while"), "{stderr}");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events: Vec<Value> = lines.map(|event| json!({"event": event})).collect();
    let told = by_run(&events);
    for run in first.iter().chain(&second) {
        let alone = alone(&server, run);
        assert_eq!(told[run][..], alone[..told[run].len()], "{run}");
    }
}
