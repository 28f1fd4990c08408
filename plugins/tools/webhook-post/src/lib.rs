//! An event to a service that listens for some: one POST, with an id that is the same however often the step is tried, so
//! that a receiver can tell a repetition.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_sdk::prelude::*;

/// Bytes of an answer that are kept.
const ANSWER_BYTES: usize = 4 * 1024;

/// What to send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// `https://host/path`.
    url: String,
    /// What happened, such as `order.paid`.
    event: String,
    /// More about it.
    #[serde(default)]
    data: Option<Json>,
    /// Further headers by their names.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A header that carries a secret.
    #[serde(default)]
    auth: Option<Auth>,
    /// Milliseconds for all of it.
    #[serde(default)]
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
}

/// A header that carries a secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Auth {
    /// The name of the secret, which the operator has granted.
    secret: String,
    /// The header.
    #[serde(default = "authorization")]
    header: String,
    /// What stands before the secret.
    #[serde(default = "bearer")]
    prefix: String,
}

fn authorization() -> String {
    "authorization".to_owned()
}
fn bearer() -> String {
    "Bearer ".to_owned()
}

/// That it was taken.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// The id of the event: `webhook-id` of the request.
    id: String,
    /// The status of the answer.
    status: u16,
    /// The beginning of the answer.
    answer: String,
}

/// Webhook post.
///
/// Sends `{type, timestamp, data}` to a webhook, under an id that stays the same however often it is tried. What is refused for good fails for good; 408, 425, 429 and 5xx fail so that another try may help, after as long as the service says.
#[heddle_sdk::tool(name = "webhook-post", provides = ["webhook.send"])]
fn webhook_post(input: Input, ctx: &Context) -> Result<Output, Failure> {
    if input.event.trim().is_empty() {
        return Err(Failure::permanent("no_event", "say what happened in `event`, such as `order.paid`"));
    }
    let id = ctx.idempotency_key.clone();
    let seconds = clock::now_ms() / 1_000;
    let body = json!({ "type": input.event, "timestamp": seconds, "data": input.data });
    let mut request = http::post(input.url).json(&body)?;
    request = request.header("webhook-id", &id).header("webhook-timestamp", &seconds.to_string());
    for (name, value) in &input.headers {
        request = request.header(name, value);
    }
    if let Some(auth) = input.auth {
        request = request.header(&auth.header, &format!("{}{}", auth.prefix, secret::get(&auth.secret)?));
    }
    if let Some(most) = input.timeout_ms {
        request = request.timeout(Duration::from_millis(most));
    }
    let answer = request.send()?;
    let mut text = answer.text();
    let end = (0..=ANSWER_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    let status = answer.status;
    match status {
        200..=299 => Ok(Output { id, status, answer: text }),
        408 | 425 | 429 | 500..=599 => {
            let after = answer.header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
            let message = format!("the webhook answered {status}");
            let failure = match after {
                Some(seconds) => Failure::rate_limited(Duration::from_secs(seconds), "webhook_busy", message),
                None => Failure::retryable("webhook_failed", message),
            };
            Err(failure.with_data(json!({ "status": status, "answer": text })))
        }
        _ => {
            let what = if status == 410 { "is gone" } else { "refused the event" };
            let failure = Failure::permanent("webhook_refused", format!("the webhook {what}: {status}"));
            Err(failure.with_data(json!({ "status": status, "answer": text })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_sdk::testing;

    fn post(input: Value) -> Result<Output, Failure> {
        webhook_post(heddle_sdk::serde_json::from_value(input).expect("an input"), &testing::context())
    }

    #[test]
    fn the_id_is_that_of_the_step() {
        testing::answer_http(|request| Ok(http::Response::new(202, format!("{request:?}"))));
        let output = post(
            json!({ "url": "https://a.example/hook", "event": "order.paid", "data": { "n": 1 }, "auth": { "secret": "key" } }),
        );
        let output = output.expect("taken");
        assert_eq!((output.status, output.id.as_str()), (202, "run-1/step"));
        for part in ["webhook-id", "run-1/step", "Bearer heddle-secret-key", "POST", "webhook-timestamp"] {
            assert!(output.answer.contains(part), "{part} is not in {}", output.answer);
        }
    }

    #[test]
    fn what_may_help_is_told_apart() {
        let answered = |status: u16, after: Option<&'static str>| {
            testing::answer_http(move |_| {
                let mut answer = http::Response::new(status, "no");
                answer.headers.extend(after.map(|after| ("retry-after".into(), after.into())));
                Ok(answer)
            });
            post(json!({ "url": "https://a.example", "event": "e" })).expect_err("a failure")
        };
        assert!(matches!(answered(503, None), Failure::Retryable(_)));
        assert!(matches!(answered(429, Some("7")), Failure::RateLimited { retry_after_ms: 7_000, .. }));
        for status in [302, 400, 410] {
            assert!(matches!(answered(status, None), Failure::Permanent(_)), "{status}");
        }
        assert_eq!(
            post(json!({ "url": "https://a.example", "event": " " })).expect_err("no event").code(),
            "no_event"
        );
    }
}
