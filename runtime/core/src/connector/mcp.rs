//! Tools of servers that speak the Model Context Protocol, by HTTP: a call as messages to and fro.
//!
//! A server of 2026-07-28 is asked once, and where it makes a task of the call, that is looked at until it is over. An older one wants a session first, so a call of it is four requests: hello,
//! ready, the call, goodbye. Which it is stands in the document, so nothing is tried out while a run waits.

pub mod import;

use super::dialogue::{ID, Told, Turn, asked, error_of, header, passing};
use super::endpoint::refused;
use crate::json::Json;
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::outside::{HttpRequest, HttpResponse};
use crate::value::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Wire;
use std::sync::Arc;

/// The version without sessions.
pub const MODERN: &str = "2026-07-28";
/// Versions with them that are spoken, the newest first.
pub const LEGACY: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];
/// How long after the first look at a task the next one comes, in milliseconds, and the longest time between two.
const LOOKS: (u64, u64) = (100, 30_000);
/// Bytes of what a tool says of its failure, as a failure keeps them.
const EXCERPT: usize = 2_048;

/// What is called at such a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteTool {
    /// The version of the protocol.
    pub protocol: String,
    /// The tool's name there.
    pub name: String,
}

impl RemoteTool {
    /// Whether it wants a session.
    pub fn has_session(&self) -> bool {
        self.protocol != MODERN
    }
}

/// Where a call stands.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Hello,
    Ready,
    Call,
    /// Looks at what the call has become: the server's task.
    Look(String),
    /// What came of it is known; what comes of the goodbye matters to nobody.
    Goodbye(Outcome),
    Over(Outcome),
}

/// A call of a tool.
#[derive(Debug)]
pub struct Conversation<'a> {
    told: Told<'a>,
    tool: &'a RemoteTool,
    session: Option<String>,
    stage: Stage,
    /// How long the next look waits, in milliseconds.
    wait_ms: u64,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(told: Told<'a>, tool: &'a RemoteTool) -> Conversation<'a> {
        let stage = if tool.has_session() { Stage::Hello } else { Stage::Call };
        Conversation { told, tool, session: None, stage, wait_ms: LOOKS.0 }
    }
    pub(super) fn begin(&mut self) -> Turn {
        self.send()
    }
    pub(super) fn next(&mut self, answer: &HttpResponse) -> Turn {
        match self.heard(answer) {
            Ok(stage) => self.stage = stage,
            Err(failure) => self.stage = Stage::Over(Outcome::Failed(failure)),
        }
        self.send()
    }
    /// What came of it, where that is known whatever becomes of what was sent last.
    pub(super) fn known(&self) -> Option<Outcome> {
        match &self.stage {
            Stage::Goodbye(outcome) | Stage::Over(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }
    fn heard(&mut self, answer: &HttpResponse) -> Result<Stage, Failure> {
        let tool = self.tool;
        match &self.stage {
            Stage::Hello => {
                let result = result_of(answer)?;
                let agreed = result["protocolVersion"].as_str().unwrap_or_default();
                if agreed != tool.protocol {
                    let message = format!(
                        "the server speaks version `{agreed}` of the protocol now, not {}: import the connector again",
                        tool.protocol
                    );
                    return Err(Failure::new(FailureKind::GuestError, message).with_code("mcp_version"));
                }
                self.session = header(answer, "mcp-session-id").map(str::to_owned);
                Ok(Stage::Ready)
            }
            Stage::Ready => match answer.status {
                200..=299 => Ok(Stage::Call),
                status => Err(refused(status, &answer.body, header(answer, "retry-after"))),
            },
            Stage::Call | Stage::Look(_) => {
                let outcome = match result_of(answer) {
                    Err(failure) => Outcome::Failed(failure),
                    Ok(result) => match becomes(&self.stage, &result) {
                        Becomes::Task(id) => return Ok(Stage::Look(id)),
                        Becomes::Outcome(outcome) => outcome,
                    },
                };
                match self.session {
                    Some(_) => Ok(Stage::Goodbye(outcome)),
                    None => Ok(Stage::Over(outcome)),
                }
            }
            Stage::Goodbye(outcome) | Stage::Over(outcome) => Ok(Stage::Over(outcome.clone())),
        }
    }
    fn send(&mut self) -> Turn {
        match self.request() {
            Ok(Some(request)) if matches!(self.stage, Stage::Look(_)) => {
                let wait = self.wait_ms;
                self.wait_ms = (wait * 2).min(LOOKS.1);
                Turn::Later(wait, Box::new(request))
            }
            Ok(Some(request)) => Turn::Send(Box::new(request)),
            Ok(None) => match &self.stage {
                Stage::Over(outcome) => Turn::Done(outcome.clone()),
                _ => {
                    Turn::Done(Outcome::Failed(Failure::new(FailureKind::Internal, "nothing is left to say")))
                }
            },
            Err(failure) => Turn::Done(Outcome::Failed(failure)),
        }
    }
    fn request(&self) -> Result<Option<HttpRequest>, Failure> {
        let message = match &self.stage {
            Stage::Over(_) => return Ok(None),
            Stage::Goodbye(_) => return self.posted(None, "DELETE").map(Some),
            Stage::Hello => hello(&self.tool.protocol),
            Stage::Ready => told("notifications/initialized"),
            Stage::Call => asked("tools/call", self.params()),
            Stage::Look(id) => {
                asked("tasks/get", vec![("taskId", Value::text(&**id)), ("_meta", Value::map(who()))])
            }
        };
        self.posted(Some(message), "POST").map(Some)
    }
    fn params(&self) -> Vec<(&'static str, Value)> {
        let mut meta = vec![("heddle/idempotencyKey", Value::text(self.told.key))];
        if !self.tool.has_session() {
            meta.extend(who());
        }
        let arguments = self.told.input.value().clone();
        vec![("name", Value::text(&*self.tool.name)), ("arguments", arguments), ("_meta", Value::map(meta))]
    }
    fn posted(&self, message: Option<Value>, method: &str) -> Result<HttpRequest, Failure> {
        let named = match &self.stage {
            Stage::Call => Some(("tools/call", &*self.tool.name)),
            Stage::Look(id) => Some(("tasks/get", &**id)),
            _ => None,
        };
        let mut request = self.told.request(message)?;
        request.method = method.to_owned();
        let mut set = |name: &str, value: &str| request.headers.push((name.to_owned(), value.to_owned()));
        // A session has no version before it is agreed.
        if self.stage != Stage::Hello {
            set("mcp-protocol-version", &self.tool.protocol);
        }
        if let Some((method, name)) = named.filter(|_| !self.tool.has_session()) {
            set("mcp-method", method);
            set("mcp-name", name);
        }
        if let Some(session) = &self.session {
            set("mcp-session-id", session);
        }
        Ok(request)
    }
}

/// What is sent with every request to such a server.
pub(super) const ACCEPT: &str = "application/json, text/event-stream";

/// What a request says of its sender, where there is no session that knows.
fn who() -> Vec<(&'static str, Value)> {
    // What takes long becomes a task, and a task is looked after.
    let extensions = Value::map([("io.modelcontextprotocol/tasks", Value::map::<Arc<str>>([]))]);
    vec![
        ("io.modelcontextprotocol/protocolVersion", Value::text(MODERN)),
        ("io.modelcontextprotocol/clientCapabilities", Value::map([("extensions", extensions)])),
        ("io.modelcontextprotocol/clientInfo", client()),
    ]
}

fn client() -> Value {
    Value::map([("name", Value::text("heddle")), ("version", Value::text(env!("CARGO_PKG_VERSION")))])
}

fn hello(protocol: &str) -> Value {
    let params = vec![
        ("protocolVersion", Value::text(protocol)),
        ("capabilities", Value::map::<Arc<str>>([])),
        ("clientInfo", client()),
    ];
    asked("initialize", params)
}

fn told(method: &str) -> Value {
    Value::map([("jsonrpc", Value::text("2.0")), ("method", Value::text(method))])
}

/// The answer to the message that was asked, among the others that may come before it.
fn message_of(answer: &HttpResponse) -> Option<Wire> {
    let is_ours = |message: &Wire| message["id"] == ID && message.get("method").is_none();
    let kind = header(answer, "content-type").unwrap_or_default().to_ascii_lowercase();
    if !kind.starts_with("text/event-stream") {
        // An error that belongs to no message has no id.
        return serde_json::from_slice(&answer.body)
            .ok()
            .filter(|m: &Wire| is_ours(m) || m["error"].is_object());
    }
    let text = String::from_utf8_lossy(&answer.body).replace("\r\n", "\n");
    let events = text.split("\n\n").map(|event| {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    });
    events.filter_map(|data| serde_json::from_str(&data).ok()).find(is_ours)
}

/// The result that a server gives, or why there is none.
fn result_of(answer: &HttpResponse) -> Result<Wire, Failure> {
    let message = message_of(answer);
    passing(answer)?;
    if let Some((code, said)) = message.as_ref().and_then(error_of) {
        let failure = Failure::new(FailureKind::GuestError, format!("the server refused: {said}"));
        return Err(failure.with_code(format!("mcp_{}", code.unsigned_abs())));
    }
    match (answer.status, message) {
        (200..=299, Some(mut message)) if message["result"].is_object() => Ok(message["result"].take()),
        (200..=299, _) => Err(Failure::new(
            FailureKind::InvalidOutput,
            "the answer is none of the Model Context Protocol; is `baseUrl` the address of such a server?",
        )),
        (status, _) => Err(refused(status, &answer.body, header(answer, "retry-after"))),
    }
}

/// The texts of a result, one after the other.
fn texts(result: &Wire) -> Option<String> {
    let blocks = result["content"].as_array()?;
    let texts: Option<Vec<&str>> =
        blocks.iter().map(|block| (block["type"] == "text").then(|| block["text"].as_str())?).collect();
    texts.map(|texts| texts.join("\n"))
}

/// What a call has become.
enum Becomes {
    /// A task of the server, to be looked at later.
    Task(String),
    Outcome(Outcome),
}

fn becomes(stage: &Stage, result: &Wire) -> Becomes {
    let status = result["status"].as_str().unwrap_or_default();
    let id = result["taskId"].as_str();
    let failed = |what: &str, code: &str| {
        let said: String =
            result["statusMessage"].as_str().unwrap_or_default().chars().take(EXCERPT).collect();
        let failure = Failure::new(FailureKind::GuestError, format!("{what}: {said}"));
        Becomes::Outcome(Outcome::Failed(failure.with_code(code.to_owned())))
    };
    let is_task = matches!(stage, Stage::Look(_)) || result["resultType"] == "task";
    match (is_task, status, id) {
        (false, ..) => Becomes::Outcome(outcome_of(result)),
        (true, "working", Some(id)) => Becomes::Task(id.to_owned()),
        (true, "completed", _) if result["result"].is_object() => {
            Becomes::Outcome(outcome_of(&result["result"]))
        }
        // It is over, and what came of it is told by the next look.
        (true, "completed", Some(id)) if !matches!(stage, Stage::Look(_)) => Becomes::Task(id.to_owned()),
        (true, "input_required", _) => failed(
            "the tool asks its caller's user something, and there is nobody to be asked",
            "mcp_input_required",
        ),
        (true, "cancelled", _) => failed("somebody cancelled it at the server", "mcp_cancelled"),
        (true, "failed", _) => {
            let (code, said) = error_of(result).unwrap_or_default();
            let failure = Failure::new(FailureKind::GuestError, format!("the server refused: {said}"));
            Becomes::Outcome(Outcome::Failed(failure.with_code(format!("mcp_{}", code.unsigned_abs()))))
        }
        _ => Becomes::Outcome(Outcome::Failed(Failure::new(
            FailureKind::InvalidOutput,
            format!("the server's task is in no state that is known: `{status}`"),
        ))),
    }
}

/// What a call came to: what is structured, else the text, else everything as it came.
fn outcome_of(result: &Wire) -> Outcome {
    let kind = result["resultType"].as_str().unwrap_or("complete");
    if kind != "complete" {
        let message = match kind {
            "input_required" => "the tool asks its caller's user something, and there is nobody to be asked",
            _ => "the tool answers with something else than a result",
        };
        return Outcome::Failed(
            Failure::new(FailureKind::GuestError, message).with_code("mcp_input_required"),
        );
    }
    if result["isError"] == true {
        let said = texts(result).unwrap_or_else(|| result["content"].to_string());
        let said: String = said.chars().take(EXCERPT).collect();
        let failure = Failure::new(FailureKind::GuestError, format!("the tool failed: {said}"));
        return Outcome::Failed(failure.with_code("tool_error"));
    }
    let output = match (result.get("structuredContent"), texts(result)) {
        (Some(structured), _) if !structured.is_null() => structured.clone(),
        (_, Some(text)) => Wire::String(text),
        (_, None) => result["content"].clone(),
    };
    match Json::parse(output.to_string().as_bytes()) {
        Ok(json) => Outcome::Done(json),
        Err(fault) => Outcome::Failed(Failure::new(
            FailureKind::InvalidOutput,
            format!("what the tool gave is no JSON of ours: {fault}"),
        )),
    }
}

#[cfg(test)]
mod tests;
