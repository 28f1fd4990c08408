//! A receiver of webhooks: a real socket that answers by script and writes down what came.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request that came.
#[derive(Clone, Debug)]
pub struct Came {
    /// When.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
}

impl Came {
    /// Reads one off a connection; nothing where whoever sends hangs up.
    pub fn read(stream: &TcpStream) -> Option<Came> {
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
        Some(Came { at: Instant::now(), path, headers, body })
    }
    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
    /// Its body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The receiver. What stands behind the last `/` of a path is its script: an answer for each request, with commas, the
/// last one for all further: a status, `hang`, or `STATUS;header=value`.
#[derive(Clone, Debug)]
pub struct Receiver {
    port: u16,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Receiver {
    /// Listens at a port of its own.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Receiver { port, came: Arc::default() };
        let here = receiver.clone();
        std::thread::spawn(move || {
            let seen = Arc::new(Mutex::new(HashMap::new()));
            for stream in listener.incoming().map_while(Result::ok) {
                let (here, seen) = (here.clone(), seen.clone());
                std::thread::spawn(move || here.serve(stream, &seen));
            }
        });
        receiver
    }
    /// The address of a script.
    pub fn url(&self, script: &str) -> String {
        format!("http://127.0.0.1:{}/{script}", self.port)
    }
    /// What came so far to a script.
    pub fn came(&self, script: &str) -> Vec<Came> {
        let came = self.came.lock().unwrap();
        came.iter().filter(|came| came.path == format!("/{script}")).cloned().collect()
    }
    /// All that came so far.
    pub fn all(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Nobody who hangs up in the middle has to be told.
    fn serve(&self, stream: TcpStream, seen: &Mutex<HashMap<String, usize>>) -> Option<()> {
        let came = Came::read(&stream)?;
        let path = came.path.clone();
        let script: Vec<String> = path.rsplit('/').next()?.split(',').map(str::to_owned).collect();
        let nth = {
            let mut seen = seen.lock().unwrap();
            let count = seen.entry(path.clone()).or_default();
            *count += 1;
            *count - 1
        };
        self.came.lock().unwrap().push(came);
        let mut parts = script[nth.min(script.len() - 1)].split(';');
        let status = parts.next()?;
        if status == "hang" {
            // Longer than any sender waits; it hangs up first.
            std::thread::sleep(Duration::from_secs(120));
            return None;
        }
        let more: String = parts.map(|part| format!("{}\r\n", part.replacen('=', ": ", 1))).collect();
        let mut stream = stream;
        stream.write_all(format!("HTTP/1.1 {status} X\r\n{more}content-length: 2\r\n\r\nok").as_bytes()).ok()
    }
}
