//! How a command ends.

use std::fmt;

/// The exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// As it should.
    Ok = 0,
    /// The run, or the command, failed.
    Failed = 1,
    /// It was asked wrongly: the arguments, a file, the configuration.
    Usage = 2,
    /// No node answers.
    Unreachable = 3,
    /// The node said no to who is asking.
    Denied = 4,
}

/// Why a command did not do what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is wrong, first line a summary.
    pub(crate) message: String,
    /// What to type next.
    pub(crate) hint: Option<String>,
    /// A stable code, where the node gave one.
    pub(crate) code: Option<String>,
}

impl Fault {
    fn new(exit: Exit, message: impl Into<String>) -> Fault {
        Fault { exit, message: message.into(), hint: None, code: None }
    }
    /// It was asked wrongly.
    pub(crate) fn usage(message: impl Into<String>) -> Fault {
        Fault::new(Exit::Usage, message)
    }
    /// It failed.
    pub(crate) fn failed(message: impl Into<String>) -> Fault {
        Fault::new(Exit::Failed, message)
    }
    /// No node answers.
    pub(crate) fn unreachable(url: &str, why: impl fmt::Display) -> Fault {
        Fault::new(Exit::Unreachable, format!("no node answers at `{url}`: {why}"))
            .with_hint("start one with `heddle dev`, or name another with `--server URL`")
    }
    /// The node said no to who is asking.
    pub(crate) fn denied(message: impl Into<String>) -> Fault {
        Fault::new(Exit::Denied, message)
    }
    /// The same, with what to type next.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
    /// The same, with the node's code.
    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Fault {
        self.code = Some(code.into());
        self
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Fault {
        Fault::failed(format!("{error:#}"))
    }
}
