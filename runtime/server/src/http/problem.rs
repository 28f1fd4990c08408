//! What the API answers when it cannot do what was asked: RFC 9457, with a stable `code` and the places of all faults.
//!
//! A [`Problem`] travels in the response's extensions, so that the outermost layer, which knows the request, completes
//! it with `instance` and `trace_id`.

use super::codes::Code;
use axum::response::{IntoResponse, Response};
use heddle_core::document::Fault;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub code: Code,
    /// What is wrong with this request, in a sentence for a person.
    pub detail: String,
    /// What to do next, where there is more to say than `detail` and the faults do.
    pub next: Option<&'static str>,
    /// Each fault with its place.
    pub errors: Vec<Place>,
    /// Milliseconds before which another try is useless.
    pub retry_after_ms: Option<u64>,
}

/// One fault of a request, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Place {
    /// JSON pointer into the document; empty for the whole.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line in the text, from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in the text, from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl From<Fault> for Place {
    fn from(fault: Fault) -> Place {
        let has_place = fault.place.line > 0;
        Place {
            pointer: fault.path,
            message: fault.message,
            line: has_place.then_some(fault.place.line),
            column: has_place.then_some(fault.place.column),
        }
    }
}

/// An error on the wire: RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// The page that explains the code, relative to this server.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What is wrong with this request.
    pub detail: String,
    /// What to do next, where there is more to say than `detail` and `errors` do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<&'static str>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Each fault with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Place>,
    /// The trace of the request, for whoever reads the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Problem {
    /// A problem with nothing finer to say.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), next: None, errors: Vec::new(), retry_after_ms: None }
    }
    /// The same, with the places of its faults.
    pub fn at(mut self, errors: impl IntoIterator<Item = Place>) -> Problem {
        self.errors.extend(errors);
        self
    }
    /// The same, with what to do next.
    pub fn then(mut self, next: &'static str) -> Problem {
        self.next = Some(next);
        self
    }
    /// The same, to be tried again after this time.
    pub fn after(mut self, retry_after_ms: u64) -> Problem {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
    /// The document, with what is known of the request.
    pub fn body(&self, instance: Option<&str>, trace_id: Option<&str>) -> ProblemBody {
        ProblemBody {
            kind: format!("/docs/errors/{}", self.code.word()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            code: self.code.word().to_owned(),
            detail: self.detail.clone(),
            next: self.next,
            instance: instance.map(str::to_owned),
            errors: self.errors.clone(),
            trace_id: trace_id.map(str::to_owned),
        }
    }
    /// The answer, with what is known of the request.
    pub fn answer(&self, instance: Option<&str>, trace_id: Option<&str>) -> Response {
        let text = serde_json::to_vec(&self.body(instance, trace_id)).unwrap_or_default();
        let mut response = (self.code.status(), text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.answer(None, None);
        response.extensions_mut().insert(self);
        response
    }
}
