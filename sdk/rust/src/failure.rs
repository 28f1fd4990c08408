//! How a plugin says that it failed.
//!
//! The plugin knows one thing that the host cannot: whether trying again may help. So that is what the three variants
//! tell apart; how often and when to try again is the workflow's to decide.

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// What went wrong, for a person and for a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// A stable word in `snake_case` that a workflow can match, such as `not_found`. At most 64 bytes.
    pub code: String,
    /// One sentence for a person. At most 8 KiB.
    pub message: String,
    /// Anything else worth keeping. At most 64 KiB of JSON.
    pub data: Option<Value>,
}

/// Why a call failed, and whether the same call may succeed later.
///
/// Any error of type `E: std::error::Error` becomes a permanent failure with the code `unexpected` (`invalid_json` for
/// errors of `serde_json`) through `?`, with the messages of its sources joined. For that reason `Failure` itself does
/// not implement `std::error::Error`.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The same call may succeed later.
    Retryable(Detail),
    /// The same call will fail again.
    Permanent(Detail),
    /// The same call may succeed after the given time.
    RateLimited {
        /// Milliseconds to wait before the next try.
        retry_after_ms: u64,
        /// What happened.
        detail: Detail,
    },
}

impl Failure {
    /// A failure that will happen again: wrong input, a missing thing, a refusal.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::Permanent(Detail { code: code.into(), message: message.into(), data: None })
    }

    /// A failure that may pass: a service that is down, a broken connection.
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::Retryable(Detail { code: code.into(), message: message.into(), data: None })
    }

    /// A request to come back after `after`. The host may wait longer, and waits at most one day.
    pub fn rate_limited(after: Duration, code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::RateLimited {
            retry_after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            detail: Detail { code: code.into(), message: message.into(), data: None },
        }
    }

    /// Adds data for a program. What cannot be written as JSON is left out.
    #[must_use]
    pub fn with_data(mut self, data: impl Serialize) -> Failure {
        let data = serde_json::to_value(data).ok();
        match &mut self {
            Failure::Retryable(detail) | Failure::Permanent(detail) | Failure::RateLimited { detail, .. } => {
                detail.data = data;
            }
        }
        self
    }

    /// The code, message and data, whichever kind of failure it is.
    pub fn detail(&self) -> &Detail {
        match self {
            Failure::Retryable(detail) | Failure::Permanent(detail) | Failure::RateLimited { detail, .. } => {
                detail
            }
        }
    }

    /// The stable word that a workflow can match.
    pub fn code(&self) -> &str {
        &self.detail().code
    }

    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.detail().message
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let code = match (&error as &dyn Any).is::<serde_json::Error>() {
            true => "invalid_json",
            false => "unexpected",
        };
        Failure::permanent(code, with_sources(&error))
    }
}

/// The messages of an error and of what caused it, from the outside in.
fn with_sources(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        next = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, Failure> {
        Ok(text.parse::<u32>()?)
    }

    fn json(text: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_str(text)?)
    }

    #[test]
    fn question_mark_turns_any_error_into_a_permanent_failure() {
        assert_eq!(number("7"), Ok(7));
        assert_eq!(number("x"), Err(Failure::permanent("unexpected", "invalid digit found in string")));
        assert_eq!(json("{").expect_err("not JSON").code(), "invalid_json");
    }

    #[test]
    fn data_is_kept_on_every_kind() {
        for failure in [
            Failure::permanent("a", "b"),
            Failure::retryable("a", "b"),
            Failure::rate_limited(Duration::from_secs(2), "a", "b"),
        ] {
            assert_eq!(failure.with_data([1, 2]).detail().data, Some(serde_json::json!([1, 2])));
        }
    }

    #[test]
    fn sources_are_told() {
        let inner = std::io::Error::other("disk on fire");
        let outer = std::io::Error::other(inner);
        assert!(Failure::from(outer).message().contains("disk on fire"));
    }
}
