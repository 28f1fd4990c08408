//! One HTTP request as a step: for services that need no plugin of their own. Where it may go, and with which secrets, is
//! the operator's to grant.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// What to send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// `https://host/path?query`.
    url: String,
    /// In capital letters.
    #[serde(default = "get")]
    method: String,
    /// Headers by their names.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// A body of text.
    #[serde(default)]
    body: Option<String>,
    /// A body of JSON instead, with the header that says so.
    #[serde(default)]
    json: Option<Json>,
    /// A header that carries a secret.
    #[serde(default)]
    auth: Option<Auth>,
    /// Milliseconds for all of it.
    #[serde(default)]
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
    /// Whether a status other than 2xx fails the step: 429 and 5xx so that another try may help.
    #[serde(default)]
    fail_on_status: bool,
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

/// What came back.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// The status.
    status: u16,
    /// Headers by their names, in lower case; of several with one name, the last.
    headers: std::collections::BTreeMap<String, String>,
    /// The body as text; what is no UTF-8 is replaced.
    body: String,
    /// The body as JSON, where it says that it is some and is.
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Json>,
}

/// HTTP fetch.
///
/// Sends one HTTP request and gives status, headers and body. Redirects are answers like any other.
#[heddle_sdk::tool(provides = ["http.fetch"])]
fn http_fetch(input: Input) -> Result<Output, Failure> {
    let mut request = http::Request::new(input.method, input.url);
    for (name, value) in &input.headers {
        request = request.header(name, value);
    }
    request = match (input.json, input.body) {
        (Some(_), Some(_)) => {
            return Err(Failure::permanent("two_bodies", "give `body` or `json`, not both"));
        }
        (Some(json), None) => request.json(&json)?,
        (None, Some(body)) => request.body(body),
        (None, None) => request,
    };
    if let Some(auth) = input.auth {
        let value = format!("{}{}", auth.prefix, secret::get(&auth.secret)?);
        request = request.header(&auth.header, &value);
    }
    if let Some(most) = input.timeout_ms {
        request = request.timeout(Duration::from_millis(most));
    }
    let mut answer = request.send()?;
    if input.fail_on_status {
        answer = answer.ok()?;
    }
    let says_json = answer.header("content-type").is_some_and(|kind| kind.contains("json"));
    Ok(Output {
        status: answer.status,
        body: answer.text(),
        json: if says_json { answer.json().ok() } else { None },
        headers: answer.headers.into_iter().collect(),
    })
}

fn get() -> String {
    "GET".to_owned()
}

fn authorization() -> String {
    "authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_sdk::testing;

    fn fetch(input: Value) -> Result<Output, Failure> {
        http_fetch(heddle_sdk::serde_json::from_value(input).expect("an input"))
    }

    #[test]
    fn what_is_sent_and_what_comes_back() {
        testing::answer_http(|request| {
            let mut answer = http::Response::new(201, format!("{request:?}"));
            answer.headers.push(("content-type".into(), "text/plain".into()));
            Ok(answer)
        });
        let output = fetch(json!({
            "url": "https://a.example/x", "method": "POST", "json": { "n": 1 }, "auth": { "secret": "key" },
            "headers": { "accept": "text/plain" }, "timeoutMs": 5
        }))
        .expect("an answer");
        assert_eq!((output.status, output.json.is_none()), (201, true));
        for part in ["POST", "https://a.example/x", "Bearer heddle-secret-key", "application/json", "Some(5)"]
        {
            assert!(output.body.contains(part), "{part} is not in {}", output.body);
        }
    }

    #[test]
    fn a_status_fails_the_step_where_that_is_wanted() {
        testing::answer_http(|_| Ok(http::Response::new(503, "{}")));
        assert_eq!(fetch(json!({ "url": "https://a.example" })).expect("an answer").status, 503);
        let failed =
            fetch(json!({ "url": "https://a.example", "failOnStatus": true })).expect_err("a failure");
        assert!(matches!(failed, Failure::Retryable(_)));
        let both = json!({ "url": "https://a.example", "body": "a", "json": 1 });
        assert_eq!(fetch(both).expect_err("two bodies").detail().code, "two_bodies");
    }
}
