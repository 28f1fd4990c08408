//! Names and digests. Each is a type of its own, so that a run's id cannot stand where a tenant belongs.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The id of a run: a UUID, version 7, made by the shell (core has no clock and no randomness).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u128);

impl RunId {
    /// When the id was made, which it says itself.
    pub fn created(self) -> Timestamp {
        Timestamp((self.0 >> 80) as u64)
    }
}

/// The same for every attempt of a step and item with one plugin, and for nothing else: `RUN/STEP[/ITEM]`,
/// `/fallback-N` where it is the step's Nth alternative, and `/call-..` for a tool that an agent calls ([`call_within`]).
pub fn idempotency_key(
    run: RunId,
    step: &str,
    item: Option<u32>,
    alternative: u32,
    within: Option<&str>,
) -> String {
    let mut key = format!("{run}/{step}");
    if let Some(item) = item {
        key.push_str(&format!("/{item}"));
    }
    if alternative > 0 {
        key.push_str(&format!("/fallback-{alternative}"));
    }
    if let Some(within) = within {
        key.push_str(&format!("/call-{within}"));
    }
    key
}

/// Which of an agent's calls it is: its number in the attempt and what is called with what. An agent that does the same
/// again in its next attempt has the same; another call never has it.
pub fn call_within(number: u64, name: &str, input: &str) -> String {
    let called = Digest::of(format!("{name} {input}").as_bytes()).to_string();
    let short = called.rsplit(':').next().unwrap_or_default();
    format!("{number}-{}", &short[..short.len().min(16)])
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for shift in (0..32).rev() {
            if matches!(at, 8 | 13 | 18 | 23) {
                at += 1;
            }
            text[at] = b"0123456789abcdef"[(self.0 >> (shift * 4)) as usize & 15];
            at += 1;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}
impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
/// The text is not an id of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct IdFault(pub String, pub &'static str);

impl FromStr for RunId {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<RunId, IdFault> {
        let fault = || IdFault(text.chars().take(64).collect(), "a run id (a UUID)");
        let bytes = text.as_bytes();
        if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|&i| bytes[i] != b'-') {
            return Err(fault());
        }
        let mut id = 0u128;
        for (i, c) in text.chars().enumerate() {
            if ![8, 13, 18, 23].contains(&i) {
                id = id << 4 | u128::from(c.to_digit(16).ok_or_else(fault)?);
            }
        }
        Ok(RunId(id))
    }
}
impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<RunId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A SHA-256. Written as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
    /// The 64 hexadecimal digits, without the prefix: for file names.
    pub fn hex(&self) -> String {
        let mut out = String::with_capacity(64);
        for b in self.0 {
            out.push(char::from_digit(u32::from(b >> 4), 16).unwrap_or('0'));
            out.push(char::from_digit(u32::from(b & 15), 16).unwrap_or('0'));
        }
        out
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}…", &self.hex()[..12])
    }
}
impl FromStr for Digest {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<Digest, IdFault> {
        let fault =
            || IdFault(text.chars().take(80).collect(), "a digest (`sha256:` and 64 hexadecimal digits)");
        let hex = text.strip_prefix("sha256:").ok_or_else(fault)?.as_bytes();
        if hex.len() != 64 {
            return Err(fault());
        }
        let mut out = [0u8; 32];
        for (i, pair) in hex.chunks_exact(2).enumerate() {
            let digit = |b: u8| (b as char).to_digit(16).ok_or_else(fault);
            out[i] = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Digest(out))
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The owner of everything. Until keys exist there is one: `default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(pub Arc<str>);

impl Default for Tenant {
    fn default() -> Self {
        Tenant("default".into())
    }
}
impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the text may be a step id or a plugin name: `[a-z][a-z0-9_-]*`, at most 64 bytes.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Whether the text may name a plugin: a name, or `service/endpoint` for an endpoint of a connector.
pub fn is_plugin_name(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name(text),
        Some((service, endpoint)) => is_name(service) && is_name(endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print() {
        let id = RunId(0x0192_f000_1234_7abc_8def_0123_4567_89ab);
        assert_eq!(id.to_string(), "0192f000-1234-7abc-8def-0123456789ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("0192f000-1234".parse::<RunId>().is_err());
        assert!("é192f000-1234-7abc-8def-0123456789ab".parse::<RunId>().is_err());
        let digest = Digest::of(b"heddle");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("sha256:abc".parse::<Digest>().is_err());
    }
    #[test]
    fn names() {
        assert!(
            is_name("a-b_9") && !is_name("9a") && !is_name("A") && !is_name("") && !is_name(&"a".repeat(65))
        );
    }
}
