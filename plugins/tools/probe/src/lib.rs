//! A tool that asks the outside whatever it is told to, and gives back what came of it, faults included. What a host lets
//! plugins do is tried against it.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// What to ask, in this order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// Questions.
    ask: Vec<Question>,
    /// Whether the requests among them are started together, before the first answer is taken.
    #[serde(default)]
    together: bool,
    /// Fails with what the last one failed with.
    #[serde(default)]
    fail: bool,
}

/// One question.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Question {
    /// A request; what stands for a secret is put in for `{secret:NAME}` in address, headers and body.
    Http {
        /// The address.
        url: String,
        /// The method.
        #[serde(default = "get")]
        method: String,
        /// Names and values.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: Option<String>,
        /// Milliseconds for all of it.
        #[serde(default)]
        timeout_ms: Option<u64>,
    },
    /// What stands for a secret.
    Secret(String),
    /// What the operator says under this name; all names for the empty one.
    Config(String),
    /// Writes a value of so many bytes.
    Keep {
        /// Its key.
        key: String,
        /// How long it is.
        bytes: usize,
    },
    /// Reads a value: how long it is.
    Kept(String),
    /// Leaves a file of so many bytes with the run.
    File {
        /// What it is called.
        name: String,
        /// What it is.
        media_type: String,
        /// How long it is.
        bytes: usize,
    },
    /// Reads a file: how long it is.
    Filed(String),
}

/// What came of one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Answer {
    /// Something.
    Ok(Value),
    /// A fault: its word and its sentence.
    Fault(String, String),
}

/// What came of them.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// An answer for each question.
    answers: Vec<Answer>,
}

/// Probe.
///
/// Asks the outside what it is told to ask, and gives back what came of it.
#[heddle_sdk::tool]
fn probe(input: Input) -> Result<Output, Failure> {
    let together: Vec<Option<http::Pending>> = input
        .ask
        .iter()
        .map(|question| match question {
            Question::Http { .. } if input.together => Some(request(question).start()),
            _ => None,
        })
        .collect();
    let mut answers = Vec::new();
    for (question, pending) in input.ask.iter().zip(together) {
        let answer = match pending {
            Some(pending) => http_answer(pending.take()),
            None => answer(question),
        };
        if let (Answer::Fault(code, message), true) = (&answer, input.fail) {
            return Err(Failure::permanent(code.clone(), message.clone()));
        }
        answers.push(answer);
    }
    Ok(Output { answers })
}

fn request(question: &Question) -> http::Request {
    let Question::Http { url, method, headers, body, timeout_ms } = question else {
        unreachable!("only requests are sent")
    };
    let mut request = http::Request::new(method, filled(url));
    for (name, value) in headers {
        request = request.header(name, &filled(value));
    }
    if let Some(body) = body {
        request = request.body(filled(body));
    }
    match timeout_ms {
        Some(most) => request.timeout(Duration::from_millis(*most)),
        None => request,
    }
}

/// With what stands for the secrets that it names.
fn filled(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{secret:") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&secret::get(name).unwrap_or_else(|_| "no-secret".into()));
        rest = after;
    }
    out + rest
}

fn http_answer(answer: Result<http::Response, http::Fault>) -> Answer {
    match answer {
        Ok(answer) => {
            let headers: std::collections::BTreeMap<&String, &String> =
                answer.headers.iter().map(|(name, value)| (name, value)).collect();
            Answer::Ok(
                json!({ "status": answer.status, "headers": headers, "bytes": answer.body.len(), "body": answer.text().chars().take(4_000).collect::<String>() }),
            )
        }
        Err(fault) => Answer::Fault(format!("{:?}", fault.kind), fault.message),
    }
}

fn answer(question: &Question) -> Answer {
    let failed =
        |failure: Failure| Answer::Fault(failure.detail().code.clone(), failure.detail().message.clone());
    let kept = |fault: kv::Fault| failed(fault.into());
    match question {
        Question::Http { .. } => http_answer(request(question).send()),
        Question::Secret(name) => secret::get(name).map_or_else(failed, |text| Answer::Ok(json!(text))),
        Question::Config(name) if name.is_empty() => Answer::Ok(json!(config::names())),
        Question::Config(name) => {
            config::get::<Value>(name).map_or_else(failed, |value| Answer::Ok(json!(value)))
        }
        Question::Keep { key, bytes } => kv::set(key, &vec![7; *bytes], kv::Keep::Always)
            .map_or_else(kept, |version| Answer::Ok(json!(version))),
        Question::File { name, media_type, bytes } => artifacts::put(name, media_type, vec![b'f'; *bytes])
            .map_or_else(|fault| failed(fault.into()), |kept| Answer::Ok(json!(kept.digest))),
        Question::Filed(digest) => artifacts::get(digest)
            .map_or_else(|fault| failed(fault.into()), |bytes| Answer::Ok(json!(bytes.len()))),
        Question::Kept(key) => {
            kv::get(key).map_or_else(kept, |entry| Answer::Ok(json!(entry.map(|entry| entry.value.len()))))
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}
