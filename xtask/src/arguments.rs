//! The few arguments that the commands take, read by hand: a parser would take longer to compile than the rest.

use anyhow::Result;
use std::fmt;

/// The arguments after the command's name, of which each is taken once.
pub(crate) struct Arguments(Vec<String>);

/// What was given is not what the command takes.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; `cargo xtask help` shows what each command takes", self.0)
    }
}

impl std::error::Error for Misuse {}

impl Misuse {
    pub(crate) fn new(what: String) -> Misuse {
        Misuse(what)
    }
}

impl Arguments {
    pub(crate) fn new(given: impl Iterator<Item = String>) -> Arguments {
        Arguments(given.collect())
    }

    /// Whether `--name` was given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|a| a != name);
        self.0.len() < before
    }

    /// The values of every `--name VALUE` and `--name=VALUE`.
    ///
    /// # Errors
    /// Where the value is missing.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<String>> {
        let mut values = Vec::new();
        let mut rest = Vec::new();
        let mut given = std::mem::take(&mut self.0).into_iter();
        while let Some(argument) = given.next() {
            if argument == name {
                values.push(given.next().ok_or_else(|| Misuse(format!("`{name}` wants a value")))?);
            } else if let Some(value) = argument.strip_prefix(name).and_then(|a| a.strip_prefix('=')) {
                values.push(value.to_owned());
            } else {
                rest.push(argument);
            }
        }
        self.0 = rest;
        Ok(values)
    }

    /// The next argument that is no flag.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|a| !a.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    /// What is left, for another program.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// # Errors
    /// Where something is left that nobody took.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(left) => Err(Misuse(format!("`{left}` is not understood")).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn each_is_taken_once() {
        let mut arguments = given("--keep --layer core some/Cargo.lock --layer=host");
        assert!(arguments.flag("--keep"));
        assert_eq!(arguments.values("--layer").unwrap(), ["core", "host"]);
        assert_eq!(arguments.word().as_deref(), Some("some/Cargo.lock"));
        arguments.finish().unwrap();
    }

    #[test]
    fn what_nobody_takes_is_a_fault() {
        assert!(given("--kepe").finish().unwrap_err().to_string().contains("--kepe"));
        assert!(given("--layer").values("--layer").unwrap_err().is::<Misuse>());
    }
}
