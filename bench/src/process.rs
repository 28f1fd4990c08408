//! Another process: started, metered from `/proc`, ended.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server in a process of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it. What it prints goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Process> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("`{}` cannot be started", command.get_program().display()))?;
        Ok(Process { child, log: log.to_owned() })
    }
    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
    /// CPU time so far, in milliseconds, user and system. The kernel counts in steps of 10.
    pub(crate) fn cpu_ms(&self) -> anyhow::Result<f64> {
        cpu_ms(self.id())
    }
    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
    /// Fails with the end of the log when the process has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        anyhow::bail!("the server ended by itself ({status}); it said last:\n{}", tail.join("\n"))
    }
    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
    /// SIGTERM, and waits until it has ended.
    pub(crate) fn end(mut self, at_most: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > at_most {
                anyhow::bail!("the server did not end within {at_most:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process so far, in milliseconds.
pub(crate) fn cpu_ms(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name is in brackets and may hold anything; the fields after it are plain numbers.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("no CPU time");
    Ok((ticks(11)? + ticks(12)?) * 10.0)
}

/// An address of the loopback that nobody listens at.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_ms(std::process::id()).unwrap();
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_millis(400) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_ms(std::process::id()).unwrap() > before);
    }
}
