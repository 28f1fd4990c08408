//! A registry that answers what it is told, for what no honest one does.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is sent for a path: a whole answer, or the head of one whose body never ends.
#[derive(Clone)]
pub(crate) enum Says {
    /// This.
    Whole(Vec<u8>),
    /// This, and then zeros until the other side hangs up.
    Endless(Vec<u8>),
    /// Nothing.
    Silence,
}

/// The registry.
#[derive(Clone)]
pub(crate) struct Scripted {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    answers: Arc<Mutex<BTreeMap<String, Says>>>,
    came: Arc<Mutex<Vec<String>>>,
}

/// An answer.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Scripted {
    pub(crate) fn start() -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let scripted = Scripted { host, answers: Arc::default(), came: Arc::default() };
        let here = scripted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let here = here.clone();
                // Whoever hangs up in the middle is no concern of ours.
                std::thread::spawn(move || drop(here.serve(stream)));
            }
        });
        scripted
    }
    /// From now on.
    pub(crate) fn says(&self, path: &str, what: Says) {
        self.answers.lock().unwrap().insert(path.to_owned(), what);
    }
    /// The heads of the requests that came.
    pub(crate) fn came(&self) -> Vec<String> {
        self.came.lock().unwrap().clone()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (mut lines, mut head) = (BufReader::new(stream.try_clone()?), String::new());
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.came.lock().unwrap().push(head);
        let path = target.split('?').next().unwrap_or_default();
        let says = self.answers.lock().unwrap().get(path).cloned();
        let mut stream = stream;
        match says.unwrap_or_else(|| Says::Whole(answer(404, "", b"{}"))) {
            Says::Whole(bytes) => stream.write_all(&bytes),
            Says::Endless(head) => {
                stream.write_all(&head)?;
                loop {
                    stream.write_all(&[0; 65_536])?;
                }
            }
            Says::Silence => lines.read_line(&mut String::new()).map(drop),
        }
    }
}
