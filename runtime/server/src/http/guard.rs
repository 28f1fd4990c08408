//! What happens to every request: it gets a trace, its head is held to the bounds, its answer is counted, and a
//! problem is completed with what only the request knows.

use super::Api;
use super::codes::Code;
use super::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use heddle_core::limits::Limits;
use heddle_executor::telemetry::{HTTP_REQUESTS, HTTP_SECONDS};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use metrics::{counter, histogram};
use std::time::Instant;
use tracing::Instrument as _;

/// The trace of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// What the caller sent in `traceparent`, where it is one.
    pub parent: Option<String>,
    /// The id by which the log can be searched: the caller's, or one of ours.
    pub id: String,
}

/// The outermost layer.
pub(crate) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let trace = trace(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |path| path.as_str()).to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::debug_span!("request", %method, route, trace_id = trace.id);
    request.extensions_mut().insert(trace.clone());
    let response = match bounds(&request, &api.app.limits) {
        Ok(()) => next.run(request).instrument(span).await,
        Err(problem) => problem.into_response(),
    };
    let mut response = complete(response, &path, &trace);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16();
    if status >= 500 {
        tracing::warn!(%method, path, status, trace_id = trace.id, "a request was not answered as asked");
    }
    let method = known_method(method.as_str());
    counter!(HTTP_REQUESTS, "route" => route.clone(), "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!(HTTP_SECONDS, "route" => route).record(began.elapsed().as_secs_f64());
    response
}

/// Methods are a closed list in a label, whatever clients send.
fn known_method(method: &str) -> &'static str {
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("other")
}

fn complete(mut response: Response, path: &str, trace: &Trace) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut completed = problem.answer(Some(path), Some(&trace.id));
    // What was set beside the body, such as `Allow`, stays.
    for (name, value) in response.headers() {
        if !completed.headers().contains_key(name) && name != hyper::header::CONTENT_LENGTH {
            completed.headers_mut().insert(name.clone(), value.clone());
        }
    }
    completed
}

fn bounds(request: &Request, limits: &Limits) -> Result<(), Problem> {
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if target as u64 > limits.url_bytes {
        let detail =
            format!("the request target has {target} bytes; `limits.url_bytes` is {}", limits.url_bytes);
        return Err(Problem::new(Code::UriTooLong, detail));
    }
    if !is_text(uri.path()) {
        return Err(Problem::new(Code::RouteNotFound, "the path is not UTF-8 text when its `%` are decoded"));
    }
    let headers = request.headers();
    if headers.len() as u64 > limits.headers {
        let detail =
            format!("the request has {} headers; `limits.headers` is {}", headers.len(), limits.headers);
        return Err(Problem::new(Code::HeadersTooLarge, detail));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes as u64 > limits.header_bytes {
        let detail =
            format!("the headers have {bytes} bytes; `limits.header_bytes` is {}", limits.header_bytes);
        return Err(Problem::new(Code::HeadersTooLarge, detail));
    }
    Ok(())
}

/// Whether a path is text once it is decoded: no route can have another.
fn is_text(path: &str) -> bool {
    let mut bytes = path.bytes();
    let digit = |byte: Option<u8>| byte.and_then(|b| (b as char).to_digit(16));
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// W3C trace context: `00-<32 hex>-<16 hex>-<2 hex>`, neither id all zeros.
fn trace(headers: &HeaderMap) -> Trace {
    let parent =
        headers.get("traceparent").and_then(|value| value.to_str().ok()).filter(|text| is_traceparent(text));
    match parent {
        Some(text) => Trace { parent: Some(text.to_owned()), id: text[3..35].to_owned() },
        None => Trace { parent: None, id: uuid::Uuid::now_v7().simple().to_string() },
    }
}

pub(crate) fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    *version == "00"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && span.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text() {
        for path in ["/v1/runs", "/v1/runs/%C3%A9", "/%", "/%zz", "/%2"] {
            assert!(is_text(path), "{path}");
        }
        for path in ["/v1/runs/%ff", "/%C3", "/%80x"] {
            assert!(!is_text(path), "{path}");
        }
    }

    #[test]
    fn only_a_traceparent_is_kept() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in [
            "",
            "00-0-0-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
