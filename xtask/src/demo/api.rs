//! A client of the HTTP API, as small as the demo needs it. What the server refuses becomes an error with the server's
//! own explanation.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Agent, Body};

/// The most that one answer may be.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// One server.
pub(crate) struct Api {
    /// `http://127.0.0.1:7878`.
    pub(crate) base: String,
    agent: Agent,
}

impl Api {
    pub(crate) fn new(base: String) -> Api {
        // The server is on this machine, so no proxy; a stream of events shows that it is alive every 15 s.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        Api { base, agent: config.build().new_agent() }
    }

    /// # Errors
    /// Where the server does not answer, or refuses.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        answer(self.agent.get(format!("{}{path}", self.base)).call(), path)
    }

    /// # Errors
    /// Where the server does not answer, or refuses.
    pub(crate) fn post(&self, path: &str, media_type: &str, body: &[u8]) -> Result<Value> {
        answer(self.agent.post(format!("{}{path}", self.base)).content_type(media_type).send(body), path)
    }

    /// The server-sent events of a path, until it ends the stream.
    ///
    /// # Errors
    /// Where the server does not answer, or refuses.
    pub(crate) fn events(&self, path: &str) -> Result<Events<impl BufRead + use<>>> {
        let response =
            self.agent.get(format!("{}{path}", self.base)).header("accept", "text/event-stream").call();
        let response = response.with_context(|| format!("`{path}` did not answer"))?;
        if !response.status().is_success() {
            answer(Ok(response), path)?;
            bail!("`{path}` is no stream");
        }
        Ok(Events(BufReader::new(response.into_body().into_reader())))
    }
}

fn answer(response: Result<Response<Body>, ureq::Error>, path: &str) -> Result<Value> {
    let response = response.with_context(|| format!("`{path}` did not answer"))?;
    let status = response.status();
    let mut text = String::new();
    response.into_body().into_with_config().limit(ANSWER_BYTES).reader().read_to_string(&mut text)?;
    if !status.is_success() {
        bail!("`{path}` answered {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("`{path}` did not answer JSON"))
}

/// One event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// Its type, such as `step.succeeded`.
    pub(crate) kind: String,
    /// What it says.
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct Events<R>(R);

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let (mut kind, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error).context("the stream of events broke off")),
            }
            match line
                .trim_end_matches(['\r', '\n'])
                .split_once(':')
                .map(|(field, value)| (field, value.trim_start()))
            {
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => data += value,
                // The blank line that ends an event; comments and times to wait have no data.
                None if !data.is_empty() => {
                    return Some(
                        serde_json::from_str(&data)
                            .context("an event is not JSON")
                            .map(|data| Event { kind, data }),
                    );
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let text = "retry: 1000\n\nid: 1.0\nevent: run.queued\ndata: {\"a\":1}\n\n: heartbeat\n\nevent: x\ndata: {\"b\":\ndata: 2}\n\n";
        let events: Vec<Event> = Events(text.as_bytes()).map(Result::unwrap).collect();
        let event = |kind: &str, data| Event { kind: kind.to_owned(), data };
        assert_eq!(
            events,
            [event("run.queued", serde_json::json!({"a": 1})), event("x", serde_json::json!({"b": 2}))]
        );
    }

    #[test]
    fn what_is_no_json_is_a_fault() {
        assert!(Events("data: {\n\n".as_bytes()).next().unwrap().is_err());
    }
}
