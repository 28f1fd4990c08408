//! What a guest asks of the world outside its sandbox, as data: between the sandbox, which reads it off a component's
//! calls, and the shell, which does it. What can be refused without looking anywhere is refused here.

use crate::host_call::bytes;
use crate::limits::Limits;
use crate::outcome::FailureKind;
use crate::run::artifact::Artifact;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
pub use url::Url;

/// Headers that belong to the connection, and so to us. A guest that sends one is told so.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];
/// What the names of other such headers begin with.
const OURS_BEGIN: &[&str] = &["proxy-", "sec-"];
/// Bytes that a secret has at least: shorter ones cannot be told from other text where they come back.
pub const SECRET_LEAST_BYTES: usize = 6;
/// Bytes of an address.
pub const URL_BYTES: usize = 8 * 1024;
/// Methods that tunnel or echo, and that no plugin has a use for.
const METHODS_REFUSED: &[&str] = &["CONNECT", "TRACE", "TRACK"];

/// A request, as a guest makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRequest {
    /// `GET` and its like.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    #[serde(with = "bytes::option")]
    pub body: Option<Vec<u8>>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// A request that may be sent, as far as that can be said without knowing who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Capital letters.
    pub method: String,
    /// `http` or `https`, with a host, without a user.
    pub url: Url,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    /// The status. A redirect is an answer like any other.
    pub status: u16,
    /// Names in lower case, and values; what is no text is left out.
    pub headers: Vec<(String, String)>,
    /// The body as it came: nothing is unpacked.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HttpFaultKind {
    /// The plugin may not send it, or the address may not be dialled.
    Denied,
    /// It is no request.
    Invalid,
    /// The other side did not answer as it should.
    Failed,
    /// It took too long.
    TimedOut,
    /// The answer is larger than it may be.
    TooLarge,
    /// The attempt has sent as many as it may.
    TooMany,
}

impl HttpFaultKind {
    /// How an attempt failed that failed for this.
    pub fn failure(self) -> FailureKind {
        match self {
            HttpFaultKind::Denied | HttpFaultKind::Invalid => FailureKind::EgressDenied,
            HttpFaultKind::Failed | HttpFaultKind::TooLarge => FailureKind::EgressFailed,
            HttpFaultKind::TimedOut => FailureKind::EgressTimeout,
            HttpFaultKind::TooMany => FailureKind::HostcallLimit,
        }
    }
    /// A word for counters and records.
    pub fn word(self) -> &'static str {
        match self {
            HttpFaultKind::Denied => "denied",
            HttpFaultKind::Invalid => "invalid",
            HttpFaultKind::Failed => "failed",
            HttpFaultKind::TimedOut => "timed_out",
            HttpFaultKind::TooLarge => "too_large",
            HttpFaultKind::TooMany => "too_many",
        }
    }
}

/// Why there is no answer, in a word and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct HttpFault {
    /// The word.
    pub kind: HttpFaultKind,
    /// The sentence. No secret is in it.
    pub message: String,
}

impl HttpFault {
    /// A fault.
    pub fn new(kind: HttpFaultKind, message: impl Into<String>) -> HttpFault {
        HttpFault { kind, message: message.into() }
    }
}

/// Reads a request.
///
/// # Errors
/// What is wrong with it.
pub fn prepare(request: HttpRequest, limits: &Limits) -> Result<Prepared, HttpFault> {
    let invalid = |message: String| HttpFault::new(HttpFaultKind::Invalid, message);
    let method = request.method;
    if method.is_empty() || method.len() > 32 || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
    {
        return Err(invalid("a method is such as `GET`, in capital letters".into()));
    }
    if METHODS_REFUSED.contains(&method.as_str()) {
        return Err(invalid(format!("`{method}` is not sent")));
    }
    let url = address(&request.url).map_err(invalid)?;
    let (most, most_bytes) = (limits.http_headers as usize, limits.http_header_bytes as usize);
    let bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if request.headers.len() > most || bytes > most_bytes {
        let found = request.headers.len();
        return Err(invalid(format!(
            "{found} headers with {bytes} bytes; the limits http_headers and http_header_bytes are {most} and {most_bytes}"
        )));
    }
    let headers = request.headers.into_iter().map(|(name, value)| header(&name, value));
    let headers = headers.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let body = request.body.unwrap_or_default();
    if body.len() as u64 > limits.http_request_bytes {
        let most = limits.http_request_bytes;
        return Err(invalid(format!(
            "the body has {} bytes; the limit http_request_bytes is {most}",
            body.len()
        )));
    }
    let timeout = request.timeout_ms.unwrap_or(limits.http_ms).clamp(1, limits.http_ms);
    Ok(Prepared { method, url, headers, body, timeout: Duration::from_millis(timeout) })
}

fn address(text: &str) -> Result<Url, String> {
    if text.len() > URL_BYTES {
        return Err(format!("the address has {} bytes; at most {URL_BYTES} are sent", text.len()));
    }
    let url = Url::parse(text).map_err(|fault| format!("the address cannot be read: {fault}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("requests go by `https` or `http`, not by `{}`", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the address names no host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address has no user and no password in it; send a header".into());
    }
    Ok(url)
}

/// A header as it is sent: its name in lower case.
///
/// # Errors
/// Why a plugin may not send it.
pub fn header(name: &str, value: String) -> Result<(String, String), String> {
    let name = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("the name of a header has a character that no such name has".into());
    }
    if is_ours(&name) {
        return Err(format!("the header `{name}` is the host's to send; leave it out"));
    }
    if value.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
        return Err(format!("the value of the header `{name}` has a control character in it"));
    }
    Ok((name, value))
}

/// What a plugin asks of the files of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ArtifactCall {
    /// Keeps one.
    Put {
        /// Its name.
        name: String,
        /// What it is.
        media_type: String,
        /// Its bytes.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// Reads one.
    Get {
        /// Its digest, as text.
        digest: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactAnswer {
    /// It is kept.
    Kept(Artifact),
    /// Its bytes.
    Bytes(#[serde(with = "bytes")] Arc<[u8]>),
}

/// Why it did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactFault {
    /// Nobody has granted it.
    Denied(String),
    /// The name, the media type or the digest is none.
    Invalid(String),
    /// The file, or the number of them.
    TooLarge(String),
    /// The run has none with this digest.
    NotThere(String),
    /// The store.
    Failed(String),
}

/// Whether a header, in lower case, is the host's to send.
pub fn is_ours(name: &str) -> bool {
    // Servers behind CGI and WSGI take one for the other.
    let as_read = name.replace('_', "-");
    OURS.contains(&as_read.as_str()) || OURS_BEGIN.iter().any(|start| as_read.starts_with(start))
}

/// What a plugin asks of the values that it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum KvCall {
    /// Reads one.
    Get {
        /// Its key.
        key: String,
    },
    /// Writes one.
    Set {
        /// Its key.
        key: String,
        /// Its value.
        #[serde(with = "bytes")]
        value: Vec<u8>,
        /// Only if it has this version; 0 for one that is not there. Whatever it is, where nothing is said.
        expected: Option<u64>,
        /// After so many milliseconds it is gone.
        ttl_ms: Option<u64>,
    },
    /// Adds to a number; one that is not there is 0.
    Increment {
        /// Its key.
        key: String,
        /// How much.
        by: i64,
    },
    /// Removes one.
    Delete {
        /// Its key.
        key: String,
    },
    /// Lists keys, in their order.
    Keys {
        /// Only those that begin so.
        prefix: String,
        /// Only those behind this one.
        after: String,
        /// How many at most.
        limit: u32,
    },
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KvAnswer {
    /// A value with its version, where it is there.
    Entry(#[serde(with = "bytes::entry")] Option<(Vec<u8>, u64)>),
    /// The version that was written.
    Version(u64),
    /// The sum.
    Number(i64),
    /// Whether there was one.
    Deleted(bool),
    /// Keys.
    Keys(Vec<String>),
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KvFault {
    /// The plugin may keep nothing.
    #[error("{0}")]
    Denied(String),
    /// A key, a value or all of them are larger than they may be.
    #[error("{0}")]
    TooLarge(String),
    /// It has another version, which is this one; 0 where it is not there.
    #[error("the value is at version {0}")]
    Conflict(u64),
    /// It is no number, or the sum is none of 64 bits.
    #[error("{0}")]
    NotANumber(String),
    /// The store did not answer.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Prepared, HttpFault> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request =
            HttpRequest { method: method.into(), url: url.into(), headers, ..HttpRequest::default() };
        prepare(request, &Limits::default())
    }

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        for (method, url, headers, says) in [
            ("get", "https://a.example", &[][..], "capital letters"),
            ("", "https://a.example", &[], "capital letters"),
            ("CONNECT", "https://a.example", &[], "not sent"),
            ("GET", "a.example", &[], "cannot be read"),
            ("GET", "file:///etc/passwd", &[], "not by `file`"),
            ("GET", "https://u:p@a.example", &[], "no user"),
            ("GET", "https://a.example", &[("Host", "b.example")], "`host` is the host's"),
            ("GET", "https://a.example", &[("Transfer-Encoding", "chunked")], "`transfer-encoding`"),
            ("GET", "https://a.example", &[("Proxy-Authorization", "x")], "`proxy-authorization`"),
            ("GET", "https://a.example", &[("Content_Length", "1")], "`content_length`"),
            ("GET", "https://a.example", &[("Proxy", "x")], "`proxy`"),
            ("GET", "https://a.example", &[("a b", "x")], "no such name"),
            ("GET", "https://a.example", &[("a", "x\r\nb: y")], "control character"),
        ] {
            let fault = prepared(method, url, headers).unwrap_err();
            assert!(fault.message.contains(says), "{method} {url}: {fault}");
            assert_eq!(fault.kind, HttpFaultKind::Invalid);
        }
        let many = vec![("a", "b"); 101];
        assert!(prepared("GET", "https://a.example", &many).unwrap_err().message.contains("http_headers"));
        let long = format!("https://a.example/{}", "x".repeat(9_000));
        assert!(prepared("GET", &long, &[]).unwrap_err().message.contains("at most"));
    }

    #[test]
    fn a_timeout_is_held_within_what_may_be() {
        let timeout = |ms| {
            let request = HttpRequest {
                method: "GET".into(),
                url: "https://a.example".into(),
                timeout_ms: ms,
                ..HttpRequest::default()
            };
            prepare(request, &Limits::default()).unwrap().timeout.as_millis() as u64
        };
        let most = Limits::default().http_ms;
        assert_eq!((timeout(Some(0)), timeout(Some(u64::MAX)), timeout(None)), (1, most, most));
    }
}
