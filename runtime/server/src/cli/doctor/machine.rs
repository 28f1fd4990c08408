//! What a node needs of the machine that the command is typed on: room, memory, and the tools that build plugins.

use super::{Finding, bad, ok, warn};
use crate::config::Config;
use std::path::Path;
use std::process::Command;

/// Free bytes of the disk below which a node is in danger.
const DISK_LOW: u64 = 1 << 30;

/// The room for a data folder, whether it is there yet or not.
pub(super) fn disk(folder: &Path) -> Finding {
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    match rustix::fs::statvfs(existing) {
        Err(error) => warn("disk", format!("its room is not known: {error}"), "check it with `df -h`"),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let shown = format!("{} MiB free for `{}`, on this machine", free >> 20, folder.display());
            match free < DISK_LOW {
                true => bad("disk", shown, "make room: a node whose commit fails ends itself"),
                false => ok("disk", shown),
            }
        }
    }
}

/// Whether the guests of a node with this configuration have the memory that they may use.
pub(super) fn memory(config: &Config) -> Finding {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let most = config.limits.guest_memory_bytes;
    let shown =
        |free: u64| format!("{} MiB free on this machine; guests may use {} MiB", free >> 20, most >> 20);
    match available {
        None => ok("memory", "how much is free is not known on this system"),
        Some(free) if free < most => warn(
            "memory",
            shown(free),
            format!("lower it: `limits.guest_memory_bytes = \"{}MiB\"`", (free / 2) >> 20),
        ),
        Some(free) => ok("memory", shown(free)),
    }
}

/// What building plugins needs. A node itself needs none of it.
pub(super) fn toolchains() -> Vec<Finding> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(cargo) = said("cargo", &["--version"]) else {
        return vec![warn(
            "cargo",
            "it is not installed on this machine; only building plugins in Rust needs it",
            "install it from rustup.rs",
        )];
    };
    let mut findings = vec![ok("cargo", format!("{cargo}, on this machine"))];
    findings.push(match said("rustup", &["target", "list", "--installed"]) {
        None => warn(
            "wasm target",
            "rustup is not installed, so it is not known",
            "install rustup, then `rustup target add wasm32-wasip2`",
        ),
        Some(targets) if targets.lines().any(|t| t == "wasm32-wasip2") => {
            ok("wasm target", "wasm32-wasip2 is installed")
        }
        Some(_) => warn(
            "wasm target",
            "wasm32-wasip2 is missing; building plugins in Rust needs it",
            "rustup target add wasm32-wasip2",
        ),
    });
    findings
}
