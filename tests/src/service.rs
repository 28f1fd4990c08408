//! A service at a real socket that behaves as its path says, well and badly.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    port: u16,
    came: Arc<Mutex<Vec<Vec<u8>>>>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Service {
    /// Starts it on a free port.
    pub fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Service { port, came: Arc::default(), now: Arc::default(), most: Arc::default() };
        let here = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let here = here.clone();
                // Whoever hangs up in the middle is no concern of ours.
                std::thread::spawn(move || drop(here.serve(stream)));
            }
        });
        service
    }
    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
    /// The requests that came, byte for byte.
    pub fn came(&self) -> Vec<Vec<u8>> {
        self.came.lock().unwrap().clone()
    }
    /// How many were here at the same time.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let request = read(&mut stream)?;
        self.came.lock().unwrap().push(request.clone());
        let text = String::from_utf8_lossy(&request).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = |stream: &mut TcpStream, more: &str, body: &[u8]| {
            stream.write_all(
                format!("HTTP/1.1 200 OK\r\n{more}content-length: {}\r\n\r\n", body.len()).as_bytes(),
            )?;
            stream.write_all(body)
        };
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        match path.split('/').nth(1).unwrap_or_default() {
            "echo" => answer(&mut stream, "", &request),
            "redirect" => stream.write_all(
                b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
            ),
            "bytes" => {
                let bytes = path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                answer(&mut stream, "", &vec![b'x'; bytes])
            }
            "status" => {
                let status = path.rsplit('/').next().unwrap_or_default();
                stream.write_all(
                    format!("HTTP/1.1 {status} As asked\r\ncontent-length: 2\r\n\r\nno").as_bytes(),
                )
            }
            "gzip" => answer(&mut stream, "content-encoding: gzip\r\n", b"0123456789"),
            "hang" => wait(&mut stream),
            "stall" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx")?;
                wait(&mut stream)
            }
            "drip" => {
                stream.write_all(chunked)?;
                loop {
                    stream.write_all(b"1\r\nx\r\n")?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            "endless" => {
                stream.write_all(chunked)?;
                loop {
                    stream.write_all(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes())?;
                }
            }
            "headers" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    stream.write_all(format!("x: {}\r\n", "x".repeat(1_000)).as_bytes())?;
                }
            }
            "many-headers" => {
                let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
                answer(&mut stream, &many, b"")
            }
            "short" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx"),
            "garbage" => stream.write_all(b"\0\0\0 this is no answer\r\n\r\n"),
            "busy" => {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(30));
                self.now.fetch_sub(1, Ordering::SeqCst);
                answer(&mut stream, "", b"done")
            }
            _ => Ok(()),
        }
    }
}

/// Waits until the other side hangs up.
fn wait(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0]).map(drop)
}

/// One request, with its body by `content-length`.
fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part)?;
        request.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if request.len() >= head.len() + 4 + length {
                return Ok(request);
            }
        }
        if count == 0 {
            return Ok(request);
        }
    }
}
