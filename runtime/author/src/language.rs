//! The kinds of plugins, and the languages in which they are written.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pure.
    Transform,
    /// Acts on the world.
    Tool,
    /// Decides as it goes.
    Agent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Transform, Kind::Tool, Kind::Agent];

    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Transform => "transform",
            Kind::Tool => "tool",
            Kind::Agent => "agent",
        }
    }
    /// The function that an author writes.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Kind::Transform => "apply",
            Kind::Tool => "call",
            Kind::Agent => "run",
        }
    }
    /// The interface that a component of it exports.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            Kind::Transform => "transformer",
            Kind::Tool => "callable",
            Kind::Agent => "runnable",
        }
    }
    /// What of the host it has in any case.
    pub(crate) fn has(self) -> &'static [&'static str] {
        match self {
            Kind::Transform => &["log", "clock", "random"],
            Kind::Tool => &["log", "clock", "random", "context", "progress"],
            Kind::Agent => &["log", "clock", "random", "context", "progress", "tools"],
        }
    }
    /// What it may use besides, where an operator grants it.
    pub(crate) fn may_use(self) -> &'static [&'static str] {
        match self {
            Kind::Transform => &[],
            Kind::Tool => &["http", "secret", "config", "kv", "artifacts"],
            Kind::Agent => &["http", "secret", "config", "kv", "artifacts", "model"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, by cargo.
    Rust,
    /// JavaScript, by QuickJS.
    Js,
    /// TypeScript, by QuickJS.
    Ts,
    /// Python, by CPython.
    Python,
    /// C, by zig's clang.
    C,
}

impl Language {
    /// Every language.
    pub const ALL: [Language; 5] =
        [Language::Rust, Language::Js, Language::Ts, Language::Python, Language::C];

    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Js => "js",
            Language::Ts => "ts",
            Language::Python => "python",
            Language::C => "c",
        }
    }
    /// What its files end in.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Language::Rust => "rs",
            Language::Js => "js",
            Language::Ts => "ts",
            Language::Python => "py",
            Language::C => "c",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
