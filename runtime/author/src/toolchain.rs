//! The programs of a language, where they are, and what to type where they are not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no project, or no component.
#[derive(Debug, thiserror::Error)]
pub enum AuthorFault {
    /// A file cannot be read.
    #[error("`{0}` cannot be read: {1}")]
    Read(String, #[source] std::io::Error),
    /// A file cannot be written.
    #[error("`{0}` cannot be written: {1}")]
    Write(String, #[source] std::io::Error),
    /// What a plugin says of itself.
    #[error("`{0}`: {1}")]
    Manifest(String, String),
    /// The name of a project.
    #[error("`{0}` is no name of a plugin: `[a-z][a-z0-9_-]*`, at most 64 bytes")]
    Name(String),
    /// There is something already.
    #[error("`{0}` is there already, and is not empty; choose another name or folder")]
    IsThere(String),
    /// It is no project.
    #[error("`{0}` has neither `plugin.toml` nor `Cargo.toml`; `heddle new NAME` makes a project")]
    NoProject(String),
    /// A program is missing.
    #[error("{what} is missing")]
    Missing {
        /// Which.
        what: &'static str,
        /// What to type.
        install: String,
    },
    /// A program failed.
    #[error("`{program}` failed:\n{said}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
    /// It built something that is no component of a plugin.
    #[error("{0}")]
    Component(String),
}

impl AuthorFault {
    /// The next command to type, where there is one.
    pub fn next(&self) -> Option<&str> {
        match self {
            AuthorFault::Missing { install, .. } => Some(install),
            _ => None,
        }
    }
}

/// A program: of the project (such as `node_modules/.bin/esbuild`), or of the machine.
pub(crate) fn find(project: &Path, of_project: &[&str], of_machine: &[&str]) -> Option<PathBuf> {
    let own = of_project.iter().map(|path| project.join(path)).find(|path| path.is_file());
    own.or_else(|| {
        let path = std::env::var_os("PATH")?;
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut named =
            of_machine.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        named.find(|path| path.is_file())
    })
}

/// Runs a program, and gives what it wrote to stdout.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, AuthorFault> {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output();
    let done =
        done.map_err(|error| AuthorFault::Failed { program: program.clone(), said: error.to_string() })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = [String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)].concat();
    Err(AuthorFault::Failed { program, said: said.trim().to_owned() })
}

/// Writes a file, and the folders that it stands in.
pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<(), AuthorFault> {
    let fault = |error| AuthorFault::Write(file.display().to_string(), error);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(fault)?;
    }
    std::fs::write(file, content).map_err(fault)
}
