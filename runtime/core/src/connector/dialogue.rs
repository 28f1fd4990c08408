//! A call of an endpoint as requests to and fro. A plain one is one request; a tool of an MCP server ([`super::mcp`]) one or
//! four; another agent ([`super::a2a`]) is asked, and looked after until it is done.

use super::endpoint::refused;
use super::{Endpoint, Remote, a2a, mcp};
use crate::json::Json;
use crate::outcome::{Failure, Outcome};
use crate::outside::{HttpRequest, HttpResponse};
use crate::value::Value;
use serde_json::Value as Wire;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Send this, and come back with the answer.
    Send(Box<HttpRequest>),
    /// The same, when so many milliseconds have gone by.
    Later(u64, Box<HttpRequest>),
    /// It is over.
    Done(Outcome),
}

/// What stays the same in a call.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// What is called.
    pub endpoint: &'a Endpoint,
    /// With what.
    pub input: &'a Json,
    /// What stands for the endpoint's secret, or why there is none.
    pub secret: Result<String, String>,
    /// The same for every attempt of a step.
    pub key: &'a str,
    /// Whether an attempt before this one may have asked already.
    pub again: bool,
}

impl Told<'_> {
    /// A request with this as its body, to the endpoint's address.
    pub(super) fn request(&self, message: Option<Value>) -> Result<HttpRequest, Failure> {
        let body = Json::from_value(Value::map(message.map(|message| ("body", message))));
        self.endpoint.request(&body, |_| self.secret.clone(), self.key)
    }
}

/// A call that is under way.
#[derive(Debug)]
pub enum Dialogue<'a> {
    /// One request.
    Plain(Told<'a>),
    /// A tool of an MCP server.
    Mcp(mcp::Conversation<'a>),
    /// Another agent.
    A2a(a2a::Conversation<'a>),
}

impl<'a> Dialogue<'a> {
    /// A call that has not begun.
    pub fn new(told: Told<'a>) -> Dialogue<'a> {
        match &told.endpoint.remote {
            None => Dialogue::Plain(told),
            Some(Remote::Mcp(tool)) => Dialogue::Mcp(mcp::Conversation::new(told, tool)),
            Some(Remote::A2a(skill)) => Dialogue::A2a(a2a::Conversation::new(told, skill)),
        }
    }
    /// The first thing to do.
    pub fn begin(&mut self) -> Turn {
        match self {
            Dialogue::Plain(told) => {
                let request = told.endpoint.request(told.input, |_| told.secret.clone(), told.key);
                request.map_or_else(failed, |request| Turn::Send(Box::new(request)))
            }
            Dialogue::Mcp(conversation) => conversation.begin(),
            Dialogue::A2a(conversation) => conversation.begin(),
        }
    }
    /// What follows from the answer to what was sent last.
    pub fn next(&mut self, answer: &HttpResponse) -> Turn {
        match self {
            Dialogue::Plain(told) => Turn::Done(told.endpoint.answer(answer)),
            Dialogue::Mcp(conversation) => conversation.next(answer),
            Dialogue::A2a(conversation) => conversation.next(answer),
        }
    }
    /// What came of it, where that is known whatever becomes of what was sent last.
    pub fn known(&self) -> Option<Outcome> {
        match self {
            Dialogue::Mcp(conversation) => conversation.known(),
            Dialogue::Plain(_) | Dialogue::A2a(_) => None,
        }
    }
}

pub(super) fn failed(failure: Failure) -> Turn {
    Turn::Done(Outcome::Failed(failure))
}

/// A value of a header.
pub(super) fn header<'a>(answer: &'a HttpResponse, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

/// Refuses an answer whose status says that another try may do better, whatever stands in it.
pub(super) fn passing(answer: &HttpResponse) -> Result<(), Failure> {
    match answer.status {
        408 | 425 | 429 | 500.. => Err(refused(answer.status, &answer.body, header(answer, "retry-after"))),
        _ => Ok(()),
    }
}

/// The error of a JSON-RPC message, where it has one: its code and what it says.
pub(super) fn error_of(message: &Wire) -> Option<(i64, String)> {
    let error = message["error"].as_object()?;
    let said = error.get("message").and_then(Wire::as_str).unwrap_or_default();
    let code = error.get("code").and_then(Wire::as_i64).unwrap_or_default();
    Some((code, said.chars().take(2_048).collect()))
}

/// The id of every message that asks: an exchange has one at a time.
pub(super) const ID: i64 = 1;

/// A JSON-RPC message that asks.
pub(super) fn asked(method: &str, params: Vec<(&'static str, Value)>) -> Value {
    Value::map([
        ("jsonrpc", Value::text("2.0")),
        ("id", Value::Int(ID)),
        ("method", Value::text(method)),
        ("params", Value::map(params)),
    ])
}
