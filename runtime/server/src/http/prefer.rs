//! The `Prefer` header (RFC 7240). What is not understood is ignored, as it wants; so are parameters.

use hyper::header::{HeaderMap, HeaderValue};
use std::time::Duration;

/// What a client prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `wait=30`: how long the answer may take.
    pub(super) wait: Option<Duration>,
    /// `return=minimal`: a run without its steps.
    pub(super) minimal: bool,
}

impl Preferences {
    /// Reads them. The first of a name counts.
    pub(super) fn of(headers: &HeaderMap) -> Preferences {
        let texts = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let (mut wait, mut returns) = (None, None);
        for part in texts.flat_map(|text| text.split(',')) {
            let named = part.split(';').next().and_then(|part| part.split_once('='));
            let Some((name, value)) = named else { continue };
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("wait") {
                wait = wait.or(seconds(value));
            } else if name.eq_ignore_ascii_case("return") {
                returns = returns.or(Some(value.eq_ignore_ascii_case("minimal")));
            }
        }
        Preferences { wait, minimal: returns.unwrap_or(false) }
    }
    /// The `Preference-Applied` header of an answer that did as preferred.
    pub(super) fn applied(self) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let minimal = self.minimal.then(|| "return=minimal".to_owned());
        let applied: Vec<String> = [wait, minimal].into_iter().flatten().collect();
        HeaderValue::from_str(&applied.join(", ")).ok().filter(|value| !value.is_empty())
    }
}

/// More than a number can hold is as long as there may be.
fn seconds(digits: &str) -> Option<Duration> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Preferences {
        Preferences::of(&HeaderMap::from_iter([("prefer".parse().unwrap(), HeaderValue::from_static(text))]))
    }

    #[test]
    fn a_preference_is_read_as_it_may_be_written() {
        let wait = |text| read(text).wait.map(|wait| wait.as_secs());
        assert_eq!([wait("wait=3"), wait("respond-async, WAIT = \"4\"; foo")], [Some(3), Some(4)]);
        assert_eq!(wait("wait=99999999999999999999"), Some(u64::from(u32::MAX)));
        assert_eq!([wait("wait=-1"), wait("wait="), wait("wait"), wait("waits=3")], [None; 4]);
        assert!(read("wait=3, return=minimal").minimal && read("Return=\"Minimal\"").minimal);
        assert!(!read("return=representation, return=minimal").minimal && !read("return").minimal);
    }
    #[test]
    fn what_was_done_is_said() {
        let applied = |text| read(text).applied().map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(applied("wait=3,return=minimal").as_deref(), Some("wait=3, return=minimal"));
        assert_eq!(
            [applied("return=minimal").as_deref(), applied("a=b").as_deref()],
            [Some("return=minimal"), None]
        );
    }
}
