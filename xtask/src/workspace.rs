//! Where things are, and how cargo is called.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This checkout.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this program was built from.
    ///
    /// # Errors
    /// Where cargo cannot read its manifests.
    pub(crate) fn open() -> Result<Workspace> {
        let here =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here).parent().context("`xtask` is a folder of the workspace")?.to_owned();
        let metadata = metadata(&root)?;
        let target = metadata["target_directory"].as_str().context("cargo names no target folder")?.into();
        Ok(Workspace { root, target })
    }

    /// A path of the checkout.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Cargo, in a folder of the checkout; `""` is the root.
    pub(crate) fn cargo(&self, folder: &str) -> Command {
        cargo(&self.root.join(folder))
    }

    /// What cargo knows of the workspace in a folder: its packages, without their dependencies' own.
    ///
    /// # Errors
    /// Where cargo cannot read its manifests.
    pub(crate) fn metadata(&self, folder: &str) -> Result<Value> {
        metadata(&self.root.join(folder))
    }

    /// A path as people know it: from the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn cargo(folder: &Path) -> Command {
    // The very cargo that runs this program, so that no second toolchain comes in.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn metadata(folder: &Path) -> Result<Value> {
    let text = output(cargo(folder).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// The command as one would type it.
pub(crate) fn typed(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let quoted = |word: &str| match word.contains([' ', '(', '&']) {
        true => format!("'{word}'"),
        false => word.to_owned(),
    };
    let words = command.get_args().map(|a| quoted(&a.to_string_lossy()));
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs a command and shows what it says.
///
/// # Errors
/// Where it cannot be started or does not end well.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", typed(command));
    let status = command.status().with_context(|| format!("`{}` cannot be started", typed(command)))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{}` ended with {status}", typed(command)),
    }
}

/// Runs a command and takes what it says.
///
/// # Errors
/// Where it cannot be started or does not end well, with its complaint.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("`{}` cannot be started", typed(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", typed(command), output.status, said.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
