//! The built program in a folder of its own: as a command, as a node, and beside something that only looks like one.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workflow of one step, which gives its input back.
pub(crate) const GIVES: &str = "document: {dsl: \"1.0\", namespace: t, name: gives, version: 1.0.0}\nsteps: {a: {set: \"${ input }\"}}\n";
/// A workflow that waits to be signalled.
pub(crate) const WAITS: &str = "document: {dsl: \"1.0\", namespace: t, name: waits, version: 1.0.0}\nsteps: {a: {wait: {signal: go, timeout: 30m}}}\n";

/// A folder in which commands are typed.
pub(crate) struct Place(TempDir);

/// What a command has printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// A folder with the workflows.
    pub(crate) fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("gives.yaml", GIVES);
        place.write("waits.yaml", WAITS);
        place
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heddle"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env("NO_COLOR", "1");
        for variable in ["HEDDLE_SERVER", "HEDDLE_CONFIG", "HEDDLE_DATA"] {
            command.env_remove(variable);
        }
        command
    }
    /// Types a command.
    pub(crate) fn heddle(&self, args: &[&str]) -> Said {
        self.heddle_with(args, &[])
    }
    /// Types a command with these variables set.
    pub(crate) fn heddle_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Said {
        let output = self.command(args).envs(variables.iter().copied()).output().unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
    /// Types a command, and does not wait for its end. What it says on stderr can be read meanwhile.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }
    /// Starts a node on the data folder `name` and waits until it takes work.
    pub(crate) fn node(&self, name: &str) -> Node {
        self.node_with(name, &[])
    }
    /// The same, with these flags besides.
    pub(crate) fn node_with(&self, name: &str, flags: &[&str]) -> Node {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = std::fs::File::create(self.path("node.log")).unwrap();
        let child = self
            .command(&[&["serve", "--data", name, "--listen", &address], flags].concat())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Node { child, url: format!("http://{address}") };
        until(|| http_get(&address, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
        node
    }
}

/// A node, killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// The fault on stderr, of a command with `--json`.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        let error = serde_json::from_str::<Value>(&self.err).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(error["error"]["exit"].as_i64(), self.code.map(i64::from), "{self:?}");
        assert!(error["error"]["code"].as_str().is_some_and(|code| !code.is_empty()), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        error["error"].clone()
    }
    /// Holds that it was refused as typed wrongly, before anything was done, with these words.
    #[track_caller]
    pub(crate) fn is_refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word}: {self:?}");
        }
        assert!(!self.err.contains("succeeded"), "{self:?}");
    }
}

/// Asks again until there is something.
#[track_caller]
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "nothing came within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn http_get(address: &str, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut text);
    }
    text
}

/// Something that answers like a node: `answer` gets each path and how many requests came before; `None` hangs up.
pub(crate) fn fake(mut answer: impl FnMut(&str, usize) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            if let Some(answer) = answer(path, number) {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    url
}

/// An answer of a fake node, after which it closes the connection.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}"))
}

/// Changes what is stored: every place where the one text stands gets the other, of the same length.
pub(crate) fn tamper(data: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let file = data.join("heddle.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "`{from}` is not in the database");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    std::fs::write(file, bytes).unwrap();
}
