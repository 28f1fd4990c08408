//! What has to be on the machine besides cargo, installed when it is missing.

use crate::workspace::{Workspace, output, run};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of the plugins.
pub(crate) const WASM: &str = "wasm32-wasip2";

/// The version of cargo-nextest that is installed where there is none.
const NEXTEST: &str = "0.9.143";

/// Installs the standard library of the plugins' target, unless the toolchain has it. `rustc` is asked, not rustup, so
/// that a toolchain from a distribution will do, and one that a rust-toolchain file names is the one that gets it.
///
/// # Errors
/// Where it is missing and rustup cannot add it.
pub(crate) fn wasm_target(workspace: &Workspace) -> Result<()> {
    let libraries = || -> Result<PathBuf> {
        let mut rustc = Command::new("rustc");
        rustc.current_dir(workspace.path("plugins")).args(["--print", "target-libdir", "--target", WASM]);
        Ok(output(&mut rustc)?.trim().into())
    };
    if libraries()?.is_dir() {
        return Ok(());
    }
    println!("the toolchain lacks the target {WASM}; adding it");
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace.path("plugins")).args(["target", "add", WASM]).stdin(Stdio::null());
    run(&mut rustup)
        .with_context(|| format!("install rustup, or the standard library of {WASM} from where rustc came"))
}

/// What runs the tests.
pub(crate) enum Runner {
    /// cargo-nextest: a process per test. Holds the program where it is not a subcommand of cargo.
    Nextest(Option<PathBuf>),
    /// `cargo test`, where nextest cannot be had.
    Plain,
}

impl Runner {
    /// Finds cargo-nextest, or builds it under the target folder: without optimisation and without its self-update,
    /// which is two minutes instead of ten.
    pub(crate) fn find(workspace: &Workspace) -> Runner {
        if works(workspace.cargo("").arg("nextest")) {
            return Runner::Nextest(None);
        }
        let root = workspace.target.join("tools");
        let program = root.join("bin/cargo-nextest");
        if works(Command::new(&program).arg("nextest")) {
            return Runner::Nextest(Some(program));
        }
        println!("cargo-nextest is missing; building it into {}", workspace.shown(&root));
        match run(&mut install(workspace, &root)) {
            Ok(()) => Runner::Nextest(Some(program)),
            Err(error) => {
                println!("going on with `cargo test`, which may compile wasmtime more than once: {error:#}");
                Runner::Plain
            }
        }
    }

    /// The beginning of a command that runs tests in a folder.
    pub(crate) fn command(&self, workspace: &Workspace, folder: &str) -> Command {
        match self {
            Runner::Nextest(None) => {
                let mut command = workspace.cargo(folder);
                command.arg("nextest");
                command
            }
            Runner::Nextest(Some(program)) => {
                let mut command = Command::new(program);
                command.current_dir(workspace.path(folder)).stdin(Stdio::null()).arg("nextest");
                command
            }
            Runner::Plain => workspace.cargo(folder),
        }
    }
}

fn works(command: &mut Command) -> bool {
    let quiet = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn install(workspace: &Workspace, root: &Path) -> Command {
    let mut cargo = workspace.cargo("");
    cargo.args(["install", "cargo-nextest", "--locked", "--debug", "--version", NEXTEST]);
    cargo.args(["--no-default-features", "--features", "default-no-update", "--root"]).arg(root);
    cargo
}
