//! `cargo xtask bench`: the benchmark, with the arguments that it is given. The server under load is a process of its
//! own, so both programs are built first.

use crate::arguments::Arguments;
use crate::build::Profile;
use crate::workspace::{Workspace, run as run_command};
use crate::{build, plugins};
use anyhow::{Context, Result};
use std::process::Command;

pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Result<()> {
    plugins::build(workspace)?;
    let programs = build::programs(workspace, Profile::Release, &["heddle", "heddle-bench"])?;
    let bench = programs.last().context("the benchmark was built")?;
    run_command(Command::new(bench).current_dir(&workspace.root).args(arguments.rest()))
}
