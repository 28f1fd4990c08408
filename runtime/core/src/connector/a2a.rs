//! Other agents, by the Agent2Agent protocol 1.0: a message, and looks at its task until that is over.
//!
//! The message has an id that is the same in every attempt, and a conversation of its own. An attempt that may not be the
//! first one asks for that conversation before it sends anything, so what an agent has begun is looked after again and not
//! begun twice.

pub mod import;

use super::dialogue::{Told, Turn, asked, error_of, failed, header, passing};
use super::endpoint::refused;
use crate::id::Digest;
use crate::json::Json;
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::outside::{HttpRequest, HttpResponse};
use crate::value::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Wire;

/// The version that is spoken.
pub const VERSION: &str = "1.0";
/// How long after the first look the next one comes, in milliseconds, and the longest time between two.
const LOOKS: (u64, u64) = (100, 30_000);
/// How a task ends that is not done.
const FAILED: [&str; 3] = ["TASK_STATE_FAILED", "TASK_STATE_REJECTED", "TASK_STATE_CANCELED"];
/// Characters of what an agent says of its failure.
const EXCERPT: usize = 2_048;

/// What is asked of another agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteSkill {
    /// The skill, as the agent's card calls it; sent as `metadata.skill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Asks whether the conversation is there already.
    Recall,
    Send,
    /// Looks at the task.
    Look(String),
}

/// A call of another agent.
#[derive(Debug)]
pub struct Conversation<'a> {
    told: Told<'a>,
    skill: &'a RemoteSkill,
    /// Of the conversation, and of its first message.
    id: String,
    /// How many tasks of the conversation have failed before this message.
    nth: u64,
    stage: Stage,
    wait_ms: u64,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(told: Told<'a>, skill: &'a RemoteSkill) -> Conversation<'a> {
        let id = format!("heddle-{}", &Digest::of(told.key.as_bytes()).hex()[..32]);
        let stage = if told.again { Stage::Recall } else { Stage::Send };
        Conversation { told, skill, id, nth: 0, stage, wait_ms: LOOKS.0 }
    }
    pub(super) fn begin(&mut self) -> Turn {
        self.request().map_or_else(failed, |request| Turn::Send(Box::new(request)))
    }
    pub(super) fn next(&mut self, answer: &HttpResponse) -> Turn {
        match self.heard(answer) {
            Ok(turn) => turn,
            Err(failure) => failed(failure),
        }
    }
    fn heard(&mut self, answer: &HttpResponse) -> Result<Turn, Failure> {
        passing(answer)?;
        let message: Option<Wire> = serde_json::from_slice(&answer.body).ok();
        if self.stage == Stage::Recall {
            self.recalled(&message.unwrap_or_default()["result"]);
            return Ok(self.begin());
        }
        let message = message.unwrap_or_default();
        if let Some((code, said)) = error_of(&message) {
            let failure = Failure::new(FailureKind::GuestError, format!("the agent refused: {said}"));
            return Err(failure.with_code(format!("a2a_{}", code.unsigned_abs())));
        }
        let result = &message["result"];
        let task = match (&self.stage, result["task"].is_object()) {
            (Stage::Look(_), _) => result,
            (_, true) => &result["task"],
            (_, false) if result["message"].is_object() => {
                return Ok(Turn::Done(of_parts(result["message"]["parts"].as_array().into_iter().flatten())));
            }
            (_, false) if (200..300).contains(&answer.status) => {
                return Err(Failure::new(
                    FailureKind::InvalidOutput,
                    "the answer is none of the Agent2Agent protocol; is `baseUrl` the address of an agent?",
                ));
            }
            (_, false) => {
                return Err(refused(answer.status, &answer.body, header(answer, "retry-after")));
            }
        };
        self.seen(task)
    }
    /// What follows from what the agent knows of the conversation. One that keeps no list knows the message by its id, or
    /// not at all. What it has failed at is asked once more, by another message.
    fn recalled(&mut self, known: &Wire) {
        let newest = &known["tasks"][0];
        let state = newest["status"]["state"].as_str().unwrap_or_default();
        self.stage = match newest["id"].as_str() {
            Some(id) if !FAILED.contains(&state) => Stage::Look(id.to_owned()),
            Some(_) => {
                self.nth = known["totalSize"].as_u64().unwrap_or(1).max(1);
                Stage::Send
            }
            None => Stage::Send,
        };
    }
    /// What follows from how a task stands.
    fn seen(&mut self, task: &Wire) -> Result<Turn, Failure> {
        let state = task["status"]["state"].as_str().unwrap_or_default();
        let said = || {
            let parts = task["status"]["message"]["parts"].as_array().into_iter().flatten();
            let texts: Vec<&str> = parts.filter_map(|part| part["text"].as_str()).collect();
            texts.join(" ").chars().take(EXCERPT).collect::<String>()
        };
        let fault = |what: &str, code: &str| {
            Err(Failure::new(FailureKind::GuestError, format!("{what}: {}", said()))
                .with_code(code.to_owned()))
        };
        match state {
            "TASK_STATE_COMPLETED" => {
                let artifacts = task["artifacts"].as_array().into_iter().flatten();
                let parts = artifacts.flat_map(|artifact| artifact["parts"].as_array().into_iter().flatten());
                Ok(Turn::Done(of_parts(parts)))
            }
            "TASK_STATE_FAILED" => fault("the agent failed", "a2a_failed"),
            "TASK_STATE_REJECTED" => fault("the agent does not do that", "a2a_rejected"),
            "TASK_STATE_CANCELED" => fault("somebody cancelled it at the agent", "a2a_cancelled"),
            "TASK_STATE_INPUT_REQUIRED" | "TASK_STATE_AUTH_REQUIRED" => {
                fault("the agent asks something, and there is nobody to be asked", "a2a_input_required")
            }
            "TASK_STATE_SUBMITTED" | "TASK_STATE_WORKING" => {
                let id = task["id"].as_str().unwrap_or_default().to_owned();
                self.stage = Stage::Look(id);
                let wait = self.wait_ms;
                self.wait_ms = (wait * 2).min(LOOKS.1);
                Ok(Turn::Later(wait, Box::new(self.request()?)))
            }
            other => {
                let message = format!("the agent's task is in no state that is known: `{other}`");
                Err(Failure::new(FailureKind::InvalidOutput, message))
            }
        }
    }
    fn request(&self) -> Result<HttpRequest, Failure> {
        let text = |text: &str| Value::text(text);
        let message = match &self.stage {
            Stage::Recall => {
                asked("ListTasks", vec![("contextId", text(&self.id)), ("pageSize", Value::Int(1))])
            }
            Stage::Look(id) => asked("GetTask", vec![("id", text(id))]),
            Stage::Send => asked("SendMessage", self.message()),
        };
        let mut request = self.told.request(Some(message))?;
        request.headers.push(("a2a-version".to_owned(), VERSION.to_owned()));
        Ok(request)
    }
    fn message(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::text(text);
        let id = match self.nth {
            0 => self.id.clone(),
            nth => format!("{}-{nth}", self.id),
        };
        let mut message = vec![
            ("messageId", text(&id)),
            ("contextId", text(&self.id)),
            ("role", text("ROLE_USER")),
            ("parts", Value::list(parts(self.told.input.value()))),
        ];
        if let Some(skill) = &self.skill.skill {
            message.push(("metadata", Value::map([("skill", text(skill))])));
        }
        let configuration = Value::map([("returnImmediately", Value::Bool(true))]);
        vec![("message", Value::map(message)), ("configuration", configuration)]
    }
}

/// An input as parts: a text as text, the member `text` of an object too, everything else as data.
fn parts(input: &Value) -> Vec<Value> {
    let text = |text: &Value| Value::map([("text", text.clone())]);
    match input {
        Value::String(_) => vec![text(input)],
        Value::Map(members) => {
            let said = members.iter().find(|(name, value)| &***name == "text" && value.as_str().is_some());
            let rest: Vec<_> = members
                .iter()
                .filter(|(name, _)| said.is_none_or(|(said, _)| said != *name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let data = (!rest.is_empty() || said.is_none()).then(|| Value::map([("data", Value::map(rest))]));
            said.map(|(_, value)| text(value)).into_iter().chain(data).collect()
        }
        other => vec![Value::map([("data", other.clone())])],
    }
}

/// What parts come to: one text as text, one value as itself, several as a list; null where there are none.
fn of_parts<'a>(parts: impl Iterator<Item = &'a Wire>) -> Outcome {
    let value = |part: &Wire| match (part.get("data"), part["text"].as_str()) {
        (Some(data), _) => data.clone(),
        (None, Some(text)) => Wire::String(text.to_owned()),
        (None, None) => part.clone(),
    };
    let mut values: Vec<Wire> = parts.map(value).collect();
    let output = match values.len() {
        0 => Wire::Null,
        1 => values.remove(0),
        _ => Wire::Array(values),
    };
    match Json::parse(output.to_string().as_bytes()) {
        Ok(json) => Outcome::Done(json),
        Err(fault) => {
            let message = format!("what the agent gave is no JSON of ours: {fault}");
            Outcome::Failed(Failure::new(FailureKind::InvalidOutput, message))
        }
    }
}

#[cfg(test)]
mod tests;
