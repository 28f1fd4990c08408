//! How a command ends.

use super::faults::FileFault;
use serde_json::{Value, json};
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

impl Exit {
    /// The code of a fault that has no finer one.
    fn word(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Unreachable => "unreachable",
            Exit::Denied => "denied",
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is wrong, in a line.
    pub(crate) message: String,
    /// More lines for a person: what the message is about, as it is best shown.
    pub(crate) shown: String,
    /// The same for a program: each single fault with its place.
    pub(crate) errors: Vec<FileFault>,
    /// What to type next.
    pub(crate) hint: Option<String>,
    /// A stable code: the node's, where it gave one, else the word of the exit code.
    pub(crate) code: Box<str>,
}

impl Fault {
    fn new(exit: Exit, message: impl Into<String>) -> Fault {
        let (shown, errors, code) = (String::new(), Vec::new(), exit.word().into());
        Fault { exit, message: message.into(), shown, errors, hint: None, code }
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
    /// Somebody took the connection and closed it before the answer was whole.
    pub(crate) fn cut_off(url: &str, why: impl fmt::Display) -> Fault {
        let message = format!("`{url}` took the connection and closed it before its answer was whole: {why}");
        Fault::new(Exit::Unreachable, message).with_hint(
            "it ends, or has as many connections as it may (`limits.connections`, `limits.connections_per_ip`): try again",
        )
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
    /// The same, with the node's code, where it gave one.
    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Fault {
        let code = code.into();
        if !code.is_empty() {
            self.code = code.into_boxed_str();
        }
        self
    }
    /// The same, with each single fault, and how they are shown to a person.
    pub(crate) fn with_errors(mut self, errors: Vec<FileFault>, shown: impl Into<String>) -> Fault {
        (self.errors, self.shown) = (errors, shown.into());
        self
    }
    /// The fault for a program. `errors` has the shape that it has in a problem document of the API.
    pub(crate) fn json(&self) -> Value {
        let mut value =
            json!({ "code": self.code, "message": self.message, "next": self.hint, "exit": self.exit as u8 });
        if !self.errors.is_empty() {
            value["errors"] = serde_json::to_value(&self.errors).unwrap_or_default();
        }
        value
    }
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Fault {
        Fault::failed(format!("{error:#}"))
    }
}
