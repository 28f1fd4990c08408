//! `cargo xtask openapi`: writes what is generated and checked in (the API's description, the schemas, the examples), by
//! running the tests that compare it and telling them to write instead.

use crate::arguments::Arguments;
use crate::workspace::{Workspace, run as run_command};
use anyhow::Result;

/// Tells a test that compares a generated document to write it.
const UPDATE: &str = "HEDDLE_TEST_UPDATE";

pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let mut cargo = workspace.cargo("");
    cargo.args(["test", "--workspace", "--quiet", "--test", "server", "--", "generated"]).env(UPDATE, "1");
    run_command(&mut cargo)
}
