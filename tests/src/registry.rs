//! The registry of Debian, as a process of its own on this machine.

use crate::{PATIENCE, tools};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `open sesame`, as bcrypt keeps it.
const HASH: &str = "$2b$12$9nIYmu1TZe6srrEvm1UfduCJwTYWC1Ysm1b913rIkkktKGgheu0xy";

/// Who may use it.
#[derive(Clone, Debug)]
pub enum Door {
    /// Everybody.
    Open,
    /// `ann`, with the password `open sesame`.
    Password,
    /// Whoever has a token of this realm.
    Token(String),
}

/// A registry. It ends with this.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts one that keeps its data in this folder.
    pub fn start(folder: &Path, door: &Door) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let auth = match door {
            Door::Open => String::new(),
            Door::Password => {
                let file = folder.join("htpasswd");
                std::fs::write(&file, format!("ann:{HASH}\n")).unwrap();
                format!("auth:\n  htpasswd:\n    realm: here\n    path: {}\n", file.display())
            }
            Door::Token(realm) => format!("auth:\n  silly:\n    realm: {realm}\n    service: here\n"),
        };
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: {host}}}\n{auth}",
            folder.join("registry").display()
        );
        let file = folder.join("registry.yml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(tools::docker_registry());
        command.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Registry { child: command.spawn().unwrap(), host };
        let since = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            assert!(since.elapsed() < PATIENCE, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }
    /// A reference into it.
    pub fn named(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }
}
