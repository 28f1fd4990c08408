//! From an input to a request, and from an answer to an outcome.

use super::{Auth, Endpoint, Place};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::outside::{HttpRequest, HttpResponse};
use crate::value::Value;
use url::form_urlencoded;

/// Bytes of an answer that went wrong, as a failure keeps them.
const EXCERPT: usize = 2_048;
/// The longest that a service may ask us to wait, in milliseconds: a day.
const MOST_WAIT_MS: u64 = 86_400_000;

impl Endpoint {
    /// The secret that its requests carry.
    pub fn secret(&self) -> Option<&str> {
        self.auth.as_ref().map(|auth| &*auth.secret)
    }
    /// The request of a call. `secret` gives what stands for a secret; `key` is the same for every attempt of a step.
    ///
    /// # Errors
    /// `invalid_input` where a parameter cannot stand where it goes, `capability_denied` where the secret is not
    /// granted.
    pub fn request(
        &self,
        input: &Json,
        secret: impl Fn(&str) -> Result<String, String>,
        key: &str,
    ) -> Result<HttpRequest, Failure> {
        let mut path = self.path.clone();
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut headers = self.headers.clone();
        // What is said last holds: no header goes twice.
        let mut set = |name: &str, value: String| {
            let name = name.to_ascii_lowercase();
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        };
        for parameter in &self.parameters {
            let found = input.value().get(&parameter.name).filter(|value| !matches!(value, Value::Null));
            let Some(value) = found else {
                if parameter.place == Place::Path {
                    let message = format!("`{}` stands in the path, and is not there", parameter.name);
                    return Err(Failure::new(FailureKind::InvalidInput, message));
                }
                continue;
            };
            let texts = texts_of(value);
            match parameter.place {
                Place::Path => {
                    let text = texts.join(",");
                    if text.is_empty() || text == "." || text == ".." {
                        let message =
                            format!("`{}` is `{text}`, which cannot stand in a path", parameter.name);
                        return Err(Failure::new(FailureKind::InvalidInput, message));
                    }
                    path = path.replace(&format!("{{{}}}", parameter.wire), &escaped(&text));
                }
                Place::Query => texts.iter().for_each(|text| {
                    query.append_pair(&parameter.wire, text);
                }),
                Place::Header => set(&parameter.wire, texts.join(",")),
            }
        }
        if let Some(Auth { secret: name, place, name: at, prefix }) = &self.auth {
            let value = secret(name).map_err(|why| Failure::new(FailureKind::CapabilityDenied, why))?;
            match place {
                Place::Header => set(at, format!("{prefix}{value}")),
                Place::Path | Place::Query => drop(query.append_pair(at, &format!("{prefix}{value}"))),
            }
        }
        let body = input.value().get("body").filter(|_| self.has_body);
        let body = body.map(|value| Json::from_value(value.clone()).text().as_bytes().to_vec());
        // Ours, where the document and its input have none of their own.
        let key = self.idempotency_header.as_deref().map(|name| (name, key));
        let ours = key.into_iter().chain(body.as_ref().map(|_| ("content-type", "application/json")));
        for (name, value) in ours {
            if !headers.iter().any(|(known, _)| known == name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.base);
        Ok(HttpRequest { method: self.method.clone(), url, headers, body, timeout_ms: self.timeout_ms })
    }

    /// What the answer is to a workflow: its body as JSON, as text where it is none, null where there is nothing.
    pub fn answer(&self, response: &HttpResponse) -> Outcome {
        let header = |name: &str| {
            let mut found = response.headers.iter().filter(|(known, _)| known == name);
            found.next().map(|(_, value)| value.as_str())
        };
        match response.status {
            200..=299 => match body_of(&response.body, header("content-type").unwrap_or_default()) {
                Ok(json) => Outcome::Done(json),
                Err(why) => Outcome::Failed(Failure::new(FailureKind::InvalidOutput, why)),
            },
            status => Outcome::Failed(refused(status, &response.body, header("retry-after"))),
        }
    }
}

/// What a service says that it did not do what was asked.
pub(super) fn refused(status: u16, body: &[u8], retry_after: Option<&str>) -> Failure {
    let excerpt = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]).into_owned();
    let retry_after_ms = retry_after
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(|seconds| seconds.saturating_mul(1_000).min(MOST_WAIT_MS));
    let data = Value::map([("status", Value::Int(i64::from(status))), ("body", Value::text(excerpt))]);
    let (said, retryable) = match status {
        300..=399 => ("the service sends elsewhere, and nothing is followed: correct `baseUrl`", false),
        429 => ("the service wants fewer requests", true),
        408 | 425 | 500..=599 => ("the service failed", true),
        _ => ("the service refused", false),
    };
    Failure {
        retryable,
        retry_after_ms: retry_after_ms.filter(|_| retryable),
        data: Some(Json::from_value(data)),
        ..Failure::new(FailureKind::GuestError, format!("{said}: HTTP {status}"))
    }
    .with_code(format!("http_{status}"))
}

fn body_of(body: &[u8], content_type: &str) -> Result<Json, String> {
    if body.is_empty() {
        return Ok(Json::null());
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" || kind.ends_with("+json") {
        return Json::parse(body)
            .map_err(|fault| format!("the answer says that it is JSON, and is not: {fault}"));
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok(Json::from_value(Value::text(text))),
        Err(_) => Err(format!("the answer is `{kind}`, neither JSON nor text")),
    }
}

/// The texts of a parameter: one, or one of each item of a list. What is no text is written as JSON.
fn texts_of(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => Json::from_value(value.clone()).text().to_owned(),
    };
    match value {
        Value::List(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

/// A text as a part of a path: only what never means anything there stays as it is.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
