//! The server under demonstration: a process of its own on a free port, stopped whatever happens.

use super::api::Api;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take until the server is ready, and until it has stopped.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    /// How it is talked to.
    pub(crate) api: Api,
    /// What it says.
    pub(crate) log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `heddle serve` with an empty data folder, and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not become ready, with what it said.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Server> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let log = folder.join("server.log");
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        // Nothing that the user has set for a server of their own is meant for this one.
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEDDLE_")).for_each(
            |(name, _)| {
                command.env_remove(name);
            },
        );
        command.arg("serve").current_dir(folder).stdin(Stdio::null());
        command.env("HEDDLE_LISTEN", address.to_string()).env("HEDDLE_DATA", folder.join("data"));
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let child = command.spawn().with_context(|| format!("`{}` cannot be started", program.display()))?;
        let mut server = Server { api: Api::new(format!("http://{address}")), log, child };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.api.get("/readyz") {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.complaints());
            }
            ensure!(Instant::now() < until, "the server is not ready: {error:#}\n{}", self.complaints());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn complaints(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].iter().map(|line| format!("  | {line}\n")).collect()
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// Where it does not end by itself, or ends badly.
    pub(crate) fn stop(mut self) -> Result<()> {
        // The shell's own `kill`: not every machine has a program of that name.
        let asked = Command::new("sh").args(["-c", "kill \"$0\"", &self.child.id().to_string()]).status();
        ensure!(asked.is_ok_and(|status| status.success()), "the server cannot be asked to end");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}:\n{}", self.complaints());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the server was asked to end and did not:\n{}", self.complaints())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
