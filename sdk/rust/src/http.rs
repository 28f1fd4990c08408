//! Requests to services outside, for tools and agents, as far as the operator has granted them.
//!
//! ```no_run
//! use heddle_sdk::prelude::*;
//!
//! # fn f() -> Result<(), Failure> {
//! let answer = http::get("https://api.example.com/v1/orders/7")
//!     .header("authorization", &format!("Bearer {}", secret::get("api-key")?))
//!     .send()?
//!     .ok()?;
//! let order: Value = answer.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! A redirect is an answer like any other. Nothing is unpacked, so do not ask for a compressed body that you do not
//! unpack yourself. Requests that have been started together are on their way together: see [`Request::start`].

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// A request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) timeout_ms: Option<u64>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nobody has granted it, or the address may not be dialled.
    Denied,
    /// It is no request.
    Invalid,
    /// The other side cannot be reached or did not answer as it should.
    Failed,
    /// It took too long.
    TimedOut,
    /// The answer is larger than it may be.
    TooLarge,
    /// The attempt has sent as many as it may.
    TooMany,
}

/// Why there is no answer, in a word and a sentence. Through `?` it becomes a [`Failure`]: a retryable one where another
/// try may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The word.
    pub kind: FaultKind,
    /// The sentence.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault.kind {
            FaultKind::Failed => Failure::retryable("http_failed", fault.message),
            FaultKind::TimedOut => Failure::retryable("http_timed_out", fault.message),
            FaultKind::Denied => Failure::permanent("http_denied", fault.message),
            FaultKind::Invalid => Failure::permanent("http_invalid", fault.message),
            FaultKind::TooLarge => Failure::permanent("http_too_large", fault.message),
            FaultKind::TooMany => Failure::permanent("http_too_many", fault.message),
        }
    }
}

/// A `GET` to this address.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A `POST` to this address.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

impl Request {
    /// A request by this method, in capital letters, to this address.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Request {
        Request { method: method.into(), url: url.into(), headers: Vec::new(), body: None, timeout_ms: None }
    }

    /// With this header besides.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// With this body as JSON, and the header that says so.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Request, serde_json::Error> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// No longer than this, all in all. The host may allow less.
    #[must_use]
    pub fn timeout(mut self, most: Duration) -> Request {
        self.timeout_ms = Some(u64::try_from(most.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    /// Where there is none.
    pub fn send(self) -> Result<Response, Fault> {
        host::send_http(self)
    }

    /// Sends it, and goes on: see [`Pending::take`] and [`wait`].
    pub fn start(self) -> Pending {
        Pending(host::start_http(self))
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Pending(host::PendingResponse);

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// Where there is none.
    pub fn take(self) -> Result<Response, Fault> {
        host::take_http(&self.0)
    }
}

/// Waits until one of these has its answer, and gives its index.
///
/// # Panics
/// Where there are none: that would be waiting for ever.
pub fn wait(pending: &[Pending]) -> usize {
    assert!(!pending.is_empty(), "`wait` needs at least one request");
    let calls: Vec<&host::PendingResponse> = pending.iter().map(|pending| &pending.0).collect();
    host::wait_http(&calls)
}

impl Response {
    /// An answer with this status and body, as a test hands it to the plugin.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is none of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The answer itself where its status is 2xx.
    ///
    /// # Errors
    /// Otherwise a failure that says the status: `http_status`, retryable for 429 (as `Retry-After` says) and 5xx.
    pub fn ok(self) -> Result<Response, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let message = format!("the service answered with {}", self.status);
        let seconds = self.header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
        let failure = match (self.status, seconds) {
            (429 | 503, Some(seconds)) => {
                Failure::rate_limited(Duration::from_secs(seconds), "http_status", message)
            }
            (429 | 500..=599, _) => Failure::retryable("http_status", message),
            _ => Failure::permanent("http_status", message),
        };
        Err(failure.with_data(serde_json::json!({ "status": self.status })))
    }
}
