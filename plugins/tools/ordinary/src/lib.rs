//! A tool whose requests are those of an ordinary HTTP library: `wstd`, which knows `wasi:http` and nothing of Heddle.

use std::time::Duration;

use heddle_sdk::prelude::*;
use wstd::http::{Body, Client, Request};
use wstd::runtime::{block_on, spawn};

/// What to send.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The address.
    url: String,
    /// The method.
    #[serde(default = "get")]
    method: String,
    /// Names and values; `{secret}` is what stands for the secret `api-key`.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Bytes of the body.
    #[serde(default)]
    body: Option<usize>,
    /// Milliseconds for the first byte of the answer.
    #[serde(default)]
    first_byte_ms: Option<u64>,
    /// How many such requests are sent at the same time.
    #[serde(default = "one")]
    times: usize,
    /// Whether the tool fails where a request does.
    #[serde(default)]
    fail: bool,
}

/// What came.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// Of each request.
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Ok {
        status: u16,
        headers: Vec<(String, String)>,
        bytes: usize,
        /// Where it begins.
        body: String,
    },
    Fault(String),
}

fn get() -> String {
    "GET".to_owned()
}

fn one() -> usize {
    1
}

/// Ordinary.
///
/// Sends requests by a library that knows nothing of Heddle, for tests.
#[heddle_sdk::tool]
fn ordinary(input: Input, _ctx: &Context) -> Result<Output, Failure> {
    let standing = secret::get("api-key").unwrap_or_default();
    let answers = block_on(async {
        let all: Vec<_> =
            (0..input.times).map(|_| spawn(send(request(&input, &standing), input.first_byte_ms))).collect();
        let mut answers = Vec::new();
        for one in all {
            answers.push(one.await);
        }
        answers
    });
    if let (true, Some(Answer::Fault(why))) = (input.fail, answers.first()) {
        return Err(Failure::permanent("no_answer", why.clone()));
    }
    Ok(Output { answers })
}

fn request(input: &Input, standing: &str) -> Result<Request<Body>, String> {
    let mut request = Request::builder().method(input.method.as_str()).uri(&input.url);
    for (name, value) in &input.headers {
        request = request.header(name, value.replace("{secret}", standing));
    }
    let body = input.body.map_or_else(Body::empty, |bytes| Body::from(vec![b'x'; bytes]));
    request.body(body).map_err(|fault| fault.to_string())
}

async fn send(request: Result<Request<Body>, String>, first_byte_ms: Option<u64>) -> Answer {
    let told = |fault: wstd::http::Error| Answer::Fault(format!("{fault:?}"));
    let request = match request {
        Ok(request) => request,
        Err(fault) => return Answer::Fault(fault),
    };
    let mut client = Client::new();
    if let Some(ms) = first_byte_ms {
        client.set_first_byte_timeout(Duration::from_millis(ms));
    }
    let answer = match client.send(request).await {
        Ok(answer) => answer,
        Err(fault) => return told(fault),
    };
    let status = answer.status().as_u16();
    let text = |(name, value): (&wstd::http::HeaderName, &wstd::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = answer.headers().iter().map(text).collect();
    let mut body = answer.into_body();
    match body.contents().await {
        Ok(bytes) => {
            let begins: String = String::from_utf8_lossy(bytes).chars().take(4_000).collect();
            Answer::Ok { status, headers, bytes: bytes.len(), body: begins }
        }
        Err(fault) => told(fault),
    }
}
