//! Speaking to a node: over a socket, or to the same routes in this process. Both answer the same bytes, so every
//! command is written once.

use super::exact::Exact;
use super::exit::Fault;
use super::faults::FileFault;
use super::paint::harmless;
use crate::signature;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use serde_json::Value;
use std::time::Duration;
use tower::ServiceExt as _;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// A node to speak to.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    /// Over a socket.
    There {
        /// Its URL, without a slash at the end.
        url: String,
        /// The connections to it.
        http: reqwest::Client,
    },
    /// In this process.
    Here(Router),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Ask<'a> {
    /// Reads something.
    pub(crate) fn get(path: &'a str) -> Ask<'a> {
        Ask { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }
    /// Sends something of this type.
    pub(crate) fn post(path: &'a str, media_type: &str, body: impl Into<Bytes>) -> Ask<'a> {
        let headers = vec![(CONTENT_TYPE.as_str(), media_type.to_owned())];
        Ask { method: Method::POST, path, headers, body: body.into() }
    }
    /// Changes something by something of this type.
    pub(crate) fn patch(path: &'a str, media_type: &str, body: impl Into<Bytes>) -> Ask<'a> {
        Ask { method: Method::PATCH, ..Ask::post(path, media_type, body) }
    }
    /// Removes something.
    pub(crate) fn delete(path: &'a str) -> Ask<'a> {
        Ask { method: Method::DELETE, ..Ask::get(path) }
    }
    /// The same, with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer whose body has not been read yet.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    /// The text of the signature of a component.
    pub(crate) signature: Option<String>,
    /// Whether its body is a stream of events.
    pub(crate) streams: bool,
    pub(crate) body: BoxStream<'static, Result<Bytes, String>>,
}

/// What a node refused, in its own words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: String,
    /// What is wrong.
    pub(crate) detail: String,
    /// Each fault with its place.
    pub(crate) errors: Vec<FileFault>,
    /// Seconds before another try is useful.
    pub(crate) retry_after_s: Option<u64>,
    /// The URL of the node that refused; empty for this process.
    pub(crate) node: String,
}

/// Why there is no answer as it was wanted.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// The node refused.
    By(Refusal),
    /// Nobody answered, or not as a node does.
    Fault(Fault),
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        match refused {
            Refused::Fault(fault) => fault,
            Refused::By(refusal) => refusal.into_fault(),
        }
    }
}

impl Refusal {
    /// The refusal as the end of a command.
    pub(crate) fn into_fault(self) -> Fault {
        let detail = harmless(&self.detail);
        let message = match self.errors.as_slice() {
            // The one fault is the detail. Where it does not name its place, that is put before it.
            [one] if one.message == self.detail => match one.pointer.trim_start_matches('/') {
                "" => detail,
                place if detail.contains(&format!("`{place}`")) || detail.contains(&one.pointer) => detail,
                place => format!("`{place}` {detail}"),
            },
            _ => detail,
        };
        // One fault is the detail itself.
        let shown: Vec<String> = match self.errors.as_slice() {
            [] | [_] => Vec::new(),
            more => more
                .iter()
                .map(|error| {
                    let place =
                        if error.pointer.is_empty() { String::new() } else { format!("{}: ", error.pointer) };
                    format!("  {place}{}", harmless(&error.message))
                })
                .collect(),
        };
        let fault = match self.status {
            401 | 403 => Fault::denied(message),
            500..=599 => Fault::failed(message),
            _ => Fault::usage(message),
        };
        let fault = fault.with_code(self.code.clone()).with_errors(self.errors, shown.join("\n"));
        match self.code.as_str() {
            "" => fault,
            "plugin_missing" => fault.with_hint(
                "load it with `heddle plugin push FILE`, or give its folder with `--plugins FOLDER`",
            ),
            "circuit_not_found" => fault.with_hint("`heddle circuits ls` lists the circuits"),
            "trigger_not_found" => fault.with_hint("`heddle triggers ls` lists the triggers"),
            "schedule_not_found" => fault.with_hint("`heddle schedules ls` lists the schedules"),
            "run_not_found" => fault.with_hint("`heddle runs ls` lists the runs"),
            "workflow_not_found" => fault.with_hint("`heddle workflow ls` lists the published workflows"),
            "plugin_not_found" => fault.with_hint("`heddle plugin ls` lists the loaded plugins"),
            "internal" => fault.with_hint("the node's log says more; `heddle doctor` looks for the cause"),
            code if self.node.is_empty() => fault.with_hint(format!("read docs/errors/{code}.md")),
            code => fault.with_hint(format!("`curl {}/docs/errors/{code}` says more", self.node)),
        }
    }
    /// Whether the same may be granted a little later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

impl Client {
    /// A client of the node at this URL.
    pub(crate) fn to(url: &str) -> Result<Client, Fault> {
        let url = well_formed(url)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy()
            .build()
            .map_err(|error| Fault::failed(format!("the HTTP client cannot be made: {error}")))?;
        Ok(Client::There { url, http })
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> &str {
        match self {
            Client::There { url, .. } => url,
            Client::Here(_) => "this process",
        }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Answered, Fault> {
        match self {
            Client::There { url, http } => {
                let mut request = http.request(ask.method, format!("{url}{}", ask.path)).body(ask.body);
                for (name, value) in ask.headers {
                    request = request.header(name, value);
                }
                let response = request.send().await.map_err(|error| not_answered(url, &error))?;
                let retry_after_s = retry_after(response.headers());
                let status = response.status().as_u16();
                let (signature, streams) = (signature_of(response.headers()), streams(response.headers()));
                let body = response.bytes_stream().map_err(|error| innermost(&error)).boxed();
                Ok(Answered { status, retry_after_s, signature, streams, body })
            }
            Client::Here(router) => {
                let mut request = Request::builder().method(ask.method).uri(ask.path);
                for (name, value) in ask.headers {
                    request = request.header(name, value);
                }
                let request = request
                    .body(Body::from(ask.body))
                    .map_err(|error| Fault::usage(format!("the request is not well-formed: {error}")))?;
                // A router never fails; its error is `Infallible`.
                let Ok(response) = router.clone().oneshot(request).await;
                let retry_after_s = retry_after(response.headers());
                let status = response.status().as_u16();
                let (signature, streams) = (signature_of(response.headers()), streams(response.headers()));
                let body = response.into_body().into_data_stream().map_err(|error| error.to_string()).boxed();
                Ok(Answered { status, retry_after_s, signature, streams, body })
            }
        }
    }

    /// Sends a request whose answer is read piece by piece. A refusal is read here.
    pub(crate) async fn open(&self, ask: Ask<'_>) -> Result<Answered, Refused> {
        let answered = self.send(ask).await.map_err(Refused::Fault)?;
        let (status, retry_after_s) = (answered.status, answered.retry_after_s);
        match (200..300).contains(&status) {
            true => Ok(answered),
            false => {
                let refusal = refusal(status, retry_after_s, &self.read(answered).await?);
                let node = match self {
                    Client::There { url, .. } => url.clone(),
                    Client::Here(_) => String::new(),
                };
                Err(Refused::By(Refusal { node, ..refusal }))
            }
        }
    }

    async fn collect(&self, answered: Answered) -> Result<Vec<u8>, Refused> {
        let read: Result<Vec<Bytes>, String> = answered.body.try_collect().await;
        Ok(read.map_err(|why| Refused::Fault(Fault::cut_off(self.place(), why)))?.concat())
    }
    async fn read(&self, answered: Answered) -> Result<String, Refused> {
        Ok(String::from_utf8_lossy(&self.collect(answered).await?).into_owned())
    }

    /// Sends a request and reads an answer of any bytes.
    pub(crate) async fn bytes(&self, ask: Ask<'_>) -> Result<Vec<u8>, Refused> {
        let answered = self.open(ask).await?;
        self.collect(answered).await
    }

    /// The component with this digest, with the text of its signature, where it came with one.
    pub(crate) async fn component(&self, digest: &str) -> Result<(Vec<u8>, Option<String>), Refused> {
        let path = format!("/v1/components/{digest}/content");
        let mut answered = self.open(Ask::get(&path)).await?;
        let signature = answered.signature.take();
        Ok((self.collect(answered).await?, signature))
    }

    /// Sends a request and reads an answer that is JSON.
    pub(crate) async fn json(&self, ask: Ask<'_>) -> Result<Exact, Refused> {
        let text = self.text(ask).await?;
        Exact::parse(&text).map_err(|error| {
            Refused::Fault(Fault::failed(format!(
                "`{}` answered something that is not JSON ({error}); is it a Heddle node?",
                self.place()
            )))
        })
    }

    /// The items of a whole list, page by page.
    pub(crate) async fn pages(&self, list: &str) -> Result<Vec<serde_json::Value>, Refused> {
        let (mut items, mut from) = (Vec::new(), String::new());
        loop {
            let page = self.json(Ask::get(&format!("{list}{from}"))).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["cursor"].as_str() {
                Some(cursor) => from = format!("?cursor={}", super::runs::encode(cursor)),
                None => return Ok(items),
            }
        }
    }

    /// Sends a request and reads an answer that is text.
    pub(crate) async fn text(&self, ask: Ask<'_>) -> Result<String, Refused> {
        let answered = self.open(ask).await?;
        self.read(answered).await
    }
}

/// The URL of a node, without a slash at the end.
fn well_formed(said: &str) -> Result<String, Fault> {
    let trimmed = said.trim();
    let url = trimmed.trim_end_matches('/');
    let fault = |why: &str| {
        let fault = Fault::usage(format!("`{said}` is not the URL of a node: {why}"));
        match trimmed.contains("://") || url.is_empty() {
            true => fault.with_hint(format!("a node's URL is such as `{}`", super::DEFAULT_SERVER)),
            false => fault.with_hint(format!("did you mean `http://{url}`?")),
        }
    };
    if url.starts_with("https://") {
        return Err(fault("nodes speak plain HTTP; what speaks TLS stands before one"));
    }
    if !trimmed.starts_with("http://") {
        return Err(fault("it does not begin with `http://`"));
    }
    if !url.starts_with("http://") {
        return Err(fault("it names no host"));
    }
    let parsed = reqwest::Url::parse(url).map_err(|error| fault(&error.to_string()))?;
    match (parsed.query(), parsed.fragment()) {
        (None, None) => Ok(url.to_owned()),
        _ => Err(fault("it ends with a query or a fragment")),
    }
}

/// Nobody there, or somebody who hung up: the two want different things done.
fn not_answered(url: &str, error: &reqwest::Error) -> Fault {
    match error.is_connect() {
        true => Fault::unreachable(url, innermost(error)),
        false => Fault::cut_off(url, innermost(error)),
    }
}

fn streams(headers: &hyper::HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| media.starts_with("text/event-stream"))
}

fn retry_after(headers: &hyper::HeaderMap) -> Option<u64> {
    headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn signature_of(headers: &hyper::HeaderMap) -> Option<String> {
    signature::of_header(headers.get(signature::HEADER)?.to_str().ok()?).ok()
}

fn refusal(status: u16, retry_after_s: Option<u64>, text: &str) -> Refusal {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let word = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let place = |value: &Value, name: &str| value[name].as_u64().and_then(|n| u32::try_from(n).ok());
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let errors = errors.iter().map(|error| FileFault {
        file: None,
        line: place(error, "line"),
        column: place(error, "column"),
        pointer: error["pointer"].as_str().unwrap_or_default().to_owned(),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
    });
    let detail = match word("detail") {
        empty if empty.is_empty() => {
            format!("it answered {status} and not as a Heddle node does; is another program there?")
        }
        detail => detail,
    };
    Refusal {
        status,
        code: word("code"),
        detail,
        errors: errors.collect(),
        retry_after_s,
        node: String::new(),
    }
}

/// The cause that says most: libraries wrap it several times.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
