//! Providers of language models: what is sent to one, and what its answer means. The wire forms are in `openai.rs`, which
//! most others speak too, and `anthropic.rs`.

use super::{Completion, Finish, ModelCall, Tokens, ToolUse, anthropic, openai};
use crate::outcome::{Failure, FailureKind};
use crate::outside::{HttpRequest, HttpResponse};
use serde_json::Value;

/// Which wire form a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST {url}/chat/completions`, and so every service that is compatible with it.
    OpenAi,
    /// `POST {url}/v1/messages`.
    Anthropic,
}

/// What the next try of the same call is known by, so that a provider that honours it answers once.
pub const KEY_HEADER: &str = "idempotency-key";
/// Bytes of what a provider says that are told.
const TOLD_BYTES: usize = 500;

/// The request for a call, without what is secret.
pub fn request(kind: Kind, url: &str, model: &str, call: &ModelCall, key: &str) -> HttpRequest {
    let url = url.trim_end_matches('/');
    let (url, body, mut headers) = match kind {
        Kind::OpenAi => {
            // The service whose form it is has another word for it since its models think.
            let most = if url.contains("://api.openai.com") { "max_completion_tokens" } else { "max_tokens" };
            (format!("{url}/chat/completions"), openai::body(model, call, most), Vec::new())
        }
        Kind::Anthropic => {
            let version = ("anthropic-version".to_owned(), anthropic::VERSION.to_owned());
            (format!("{url}/v1/messages"), anthropic::body(model, call), vec![version])
        }
    };
    headers.push(("content-type".to_owned(), "application/json".to_owned()));
    headers.push(("accept".to_owned(), "application/json".to_owned()));
    headers.push((KEY_HEADER.to_owned(), key.to_owned()));
    HttpRequest {
        method: "POST".to_owned(),
        url,
        headers,
        body: Some(body.to_string().into_bytes()),
        timeout_ms: None,
    }
}

/// The header that carries the key of the account.
pub fn authorization(kind: Kind, key: &str) -> (String, String) {
    match kind {
        Kind::OpenAi => ("authorization".to_owned(), format!("Bearer {key}")),
        Kind::Anthropic => ("x-api-key".to_owned(), key.to_owned()),
    }
}

/// Reads an answer. Price and provider are for the caller to add.
///
/// # Errors
/// What the provider says is wrong, or why its answer is none: whether trying again may help, and when.
pub fn answer(kind: Kind, response: &HttpResponse) -> Result<Completion, Failure> {
    let body = serde_json::from_slice::<Value>(&response.body);
    if !(200..300).contains(&response.status) {
        return Err(refused(response, body.as_ref().ok()));
    }
    let body = body.map_err(|fault| no_answer(&format!("it is not JSON: {fault}")))?;
    let read = match kind {
        Kind::OpenAi => openai::answer(&body),
        Kind::Anthropic => anthropic::answer(&body),
    };
    read.map_err(|why| no_answer(&why))
}

fn no_answer(why: &str) -> Failure {
    let message = format!("the provider's answer cannot be read: {why}");
    Failure {
        retryable: true,
        ..Failure::new(FailureKind::EgressFailed, message).with_code("answer_invalid")
    }
}

fn refused(response: &HttpResponse, body: Option<&Value>) -> Failure {
    let said = body.and_then(|body| {
        let error = body.get("error")?;
        error.get("message").unwrap_or(error).as_str()
    });
    let said: String = said.unwrap_or("it says no more").chars().take(TOLD_BYTES).collect();
    let (code, retryable) = match response.status {
        429 => ("rate_limited", true),
        408 | 409 => ("provider_busy", true),
        401..=403 => ("provider_refused", false),
        413 => ("request_too_large", false),
        404 => ("model_unknown", false),
        500.. => ("provider_failed", true),
        _ => ("request_invalid", false),
    };
    let message = format!("the provider answered {}: {said}", response.status);
    let retry_after_ms = response
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after")
        .and_then(|(_, value)| value.trim().parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .map(|seconds| (seconds * 1_000.0).min(86_400_000.0) as u64);
    let failure = Failure::new(FailureKind::EgressFailed, message).with_code(code);
    Failure { retryable, retry_after_ms: retry_after_ms.filter(|_| retryable), ..failure }
}

/// The parts of an answer, as both forms have them.
pub(super) struct Read {
    pub(super) text: Option<String>,
    pub(super) calls: Vec<ToolUse>,
    pub(super) finish: Finish,
    pub(super) tokens: Tokens,
    pub(super) model: String,
}

impl From<Read> for Completion {
    fn from(read: Read) -> Completion {
        let Read { text, calls, finish, tokens, model } = read;
        Completion { text, calls, finish, tokens, model, provider: String::new(), cost_micros: 0 }
    }
}

/// A number of an answer; none is 0.
pub(super) fn count(of: &Value, path: &str) -> u64 {
    of.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        HttpResponse { status, headers: headers.collect(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn what_a_refusal_means() {
        for (status, retry_after, retryable, code, wait) in [
            (429, Some("2"), true, "rate_limited", Some(2_000)),
            (429, None, true, "rate_limited", None),
            (503, Some("0.25"), true, "provider_failed", Some(250)),
            (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), true, "provider_failed", None),
            (401, Some("9"), false, "provider_refused", None),
            (400, None, false, "request_invalid", None),
            (404, None, false, "model_unknown", None),
        ] {
            let headers: Vec<(&str, &str)> =
                retry_after.map(|after| ("retry-after", after)).into_iter().collect();
            let body = r#"{"error":{"message":"no","type":"x"}}"#;
            let failure = answer(Kind::OpenAi, &response(status, &headers, body)).unwrap_err();
            let found = (failure.retryable, failure.code.as_deref(), failure.retry_after_ms);
            assert_eq!(found, (retryable, Some(code), wait), "{status}");
            assert!(failure.message.contains("no"), "{}", failure.message);
        }
    }
    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        for body in
            ["", "[]", "{}", "<html>", r#"{"choices":[]}"#, r#"{"choices":[{"message":{"content":7}}]}"#]
        {
            for kind in [Kind::OpenAi, Kind::Anthropic] {
                let failure = answer(kind, &response(200, &[], body)).unwrap_err();
                assert_eq!(failure.code.as_deref(), Some("answer_invalid"), "{body}");
            }
        }
    }
}
