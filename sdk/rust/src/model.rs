//! Language models, for agents: methods of [`Agent`](crate::Agent), as the operator has set them up and granted them.
//!
//! ```no_run
//! use heddle_sdk::prelude::*;
//!
//! /// Helpful.
//! ///
//! /// Answers questions with the tools that its step grants.
//! #[heddle_sdk::agent]
//! fn helpful(goal: String, agent: &Agent) -> Result<String, Failure> {
//!     if agent.models().is_empty() {
//!         return Ok("no model is set up here".to_owned());
//!     }
//!     let mut thread = agent.thread();
//!     thread.system("Be brief.");
//!     thread.user(&goal);
//!     let answer = agent.converse(&mut thread, &model::Ask::default())?;
//!     Ok(answer.text.unwrap_or_default())
//! }
//! ```
//!
//! What a model says is recorded with what it was asked: an agent that is cut off is told it again, and nothing is paid
//! twice. Where nothing is left of what the step may spend, the agent ends as `budget_exhausted`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Agent, Failure, ToolInfo, host};

/// A tool that the model wants called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolUse {
    /// What the answer to it refers to.
    pub id: String,
    /// The tool, by the name that the call gave it.
    pub name: String,
    /// As the model wrote it: meant to be JSON, and not always so.
    pub arguments: String,
}

/// One message of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// How the model is to behave.
    System(String),
    /// From whoever wants something.
    User(String),
    /// From the model.
    Assistant {
        /// Text, where it said something.
        text: Option<String>,
        /// The tools that it wants called.
        calls: Vec<ToolUse>,
    },
    /// What a tool gave.
    Tool {
        /// Which call of the model it answers.
        id: String,
        /// What it gave, for the model to read.
        text: String,
        /// Whether it failed.
        failed: bool,
    },
}

/// A tool as the model is told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]`, at most 64 bytes: see [`wire_name`].
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Value,
}

impl ToolSpec {
    /// A granted plugin, as a model is told of it.
    pub fn of(tool: &ToolInfo) -> ToolSpec {
        let description = match tool.description.is_empty() {
            true => tool.title.clone(),
            false => tool.description.clone(),
        };
        ToolSpec { name: wire_name(&tool.name), description, parameters: tool.input_schema.clone() }
    }
}

/// The name of a granted plugin as models take it: `tool:orders/get` becomes `tool_orders_get`.
pub fn wire_name(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    name.chars().map(fits).take(64).collect()
}

/// Whether the model is to call a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// None.
    Never,
    /// One of them, whichever.
    Required,
    /// This one.
    Named(String),
}

/// How the model is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// A name of the operator's; the first that is granted where nothing is said.
    pub model: Option<String>,
    /// What it may want called.
    pub tools: Vec<ToolSpec>,
    /// Whether it is to.
    pub choice: ToolChoice,
    /// JSON Schema of its answer, where that is to be JSON.
    pub output_schema: Option<Value>,
    /// From 0.
    pub temperature: Option<f64>,
    /// Of the answer, at most.
    pub max_tokens: Option<u32>,
    /// For the whole call.
    pub timeout: Option<Duration>,
    /// [`Agent::converse`] sums up what came before once the thread has more bytes of text than this.
    pub summarize_at: Option<usize>,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// It was done.
    #[default]
    Stop,
    /// It wants tools called.
    ToolCalls,
    /// It had no tokens left.
    Length,
    /// The provider held something back.
    Filtered,
}

/// What the model said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Text, where it said something.
    pub text: Option<String>,
    /// The tools that it wants called.
    pub calls: Vec<ToolUse>,
    /// Why it stopped.
    pub finish: Finish,
    /// Tokens that were read.
    pub input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// Of those that were read, from the provider's cache.
    pub cached_tokens: u64,
    /// By the operator's prices, in millionths of their currency.
    pub cost_micros: u64,
    /// The model, as the provider names it.
    pub model: String,
}

impl Completion {
    /// The answer as what it is meant to be.
    ///
    /// # Errors
    /// `answer_invalid`, which may be otherwise at another try, where it is not.
    pub fn json<Output: DeserializeOwned>(&self) -> Result<Output, Failure> {
        let text = self.text.as_deref().unwrap_or_default().trim();
        // Some put their JSON between marks of code.
        let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
        let text = inner.and_then(|text| text.strip_suffix("```")).unwrap_or(text);
        serde_json::from_str(text).map_err(|fault| {
            Failure::retryable(
                "answer_invalid",
                format!("the model's answer is not what was asked for: {fault}"),
            )
        })
    }
}

/// What an agent has spent on models, and what it may still spend; nothing where there is no such bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Calls that are left.
    pub calls_left: Option<u64>,
    /// Tokens that are left, read and written.
    pub tokens_left: Option<u64>,
    /// Money that is left, in millionths of the operator's currency.
    pub cost_micros_left: Option<u64>,
    /// Calls so far.
    pub calls: u64,
    /// Tokens so far.
    pub tokens: u64,
    /// Money so far.
    pub cost_micros: u64,
}

/// Messages in their order, which the host keeps.
#[derive(Debug)]
pub struct Thread {
    inner: host::Thread,
    messages: Vec<Message>,
}

impl Thread {
    /// Adds a message.
    pub fn append(&mut self, message: Message) {
        host::append(&mut self.inner, &message);
        self.messages.push(message);
    }
    /// Adds how the model is to behave.
    pub fn system(&mut self, text: impl Into<String>) {
        self.append(Message::System(text.into()));
    }
    /// Adds what is wanted.
    pub fn user(&mut self, text: impl Into<String>) {
        self.append(Message::User(text.into()));
    }
    /// Adds what a tool gave.
    pub fn answer(&mut self, call: &ToolUse, text: impl Into<String>, failed: bool) {
        self.append(Message::Tool { id: call.id.clone(), text: text.into(), failed });
    }
    /// All messages.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
    /// The same without what came before the last `keep` messages: a summary stands in its place, behind what says how the
    /// model is to behave. A call of the model and what the tools gave for it stay together, so it may keep some more.
    fn summed_up(&self, summary: &str, keep: usize) -> Thread {
        let mut shorter = Thread { inner: host::thread(), messages: Vec::new() };
        let (system, kept) = self.split(keep);
        for message in system {
            shorter.append(message.clone());
        }
        shorter.user(format!("Summary of what came before:\n{summary}"));
        for message in kept {
            shorter.append(message.clone());
        }
        shorter
    }
    /// How the model is to behave, and the last messages, from one on that answers nothing that is not there.
    fn split(&self, keep: usize) -> (Vec<&Message>, &[Message]) {
        let is_system = |message: &&Message| matches!(message, Message::System(_));
        let mut from = self.messages.len().saturating_sub(keep);
        while from > 0 && matches!(self.messages[from], Message::Tool { .. }) {
            from -= 1;
        }
        (self.messages[..from].iter().filter(is_system).collect(), &self.messages[from..])
    }
    /// Bytes of text in all messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(text_bytes).sum()
    }
    /// Asks the model with all messages, and adds its answer to them.
    ///
    /// # Errors
    /// Where there is no answer: `rate_limited`, `provider_failed`, `model_not_granted` and others, each with whether
    /// another try may help.
    pub fn complete(&mut self, ask: &Ask) -> Result<Completion, Failure> {
        let completion = host::complete(&mut self.inner, ask)?;
        let (text, calls) = (completion.text.clone(), completion.calls.clone());
        self.messages.push(Message::Assistant { text, calls });
        Ok(completion)
    }
}

fn text_bytes(message: &Message) -> usize {
    match message {
        Message::System(text) | Message::User(text) | Message::Tool { text, .. } => text.len(),
        Message::Assistant { text, calls } => {
            let calls: usize = calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
            text.as_ref().map_or(0, String::len) + calls
        }
    }
}

/// Messages that are kept where a thread is summed up.
const KEPT: usize = 4;
/// What a model is asked for a summary.
const SUM_UP: &str = "Sum up the conversation below for somebody who goes on with it: what is wanted, what was found, with \
    every number, name and address that may be needed, what was decided, and what is still to be done. Nothing else.";

/// Errors of tools in a row after which [`Agent::converse`] gives up.
const ERRORS_IN_A_ROW: u32 = 5;
/// Bytes of a tool's answer that a model is given.
const ANSWER_BYTES: usize = 64 * 1024;

impl Agent {
    /// The names of the models that are granted, the default first. Empty where there are none: an agent works by rules
    /// then, and says so.
    pub fn models(&self) -> Vec<String> {
        host::models()
    }
    /// What has been spent on models, and what may still be.
    pub fn budget(&self) -> Budget {
        host::budget()
    }
    /// A thread without messages.
    pub fn thread(&self) -> Thread {
        Thread { inner: host::thread(), messages: Vec::new() }
    }
    /// Asks the model, calls the granted plugins that it wants called, and asks again, until it answers without wanting
    /// more. What a plugin fails with is told to the model.
    ///
    /// # Errors
    /// Those of [`Thread::complete`]; `tools_failing` where five calls in a row have failed. How often the model may be
    /// asked is for the step to say (`agent.maxTurns`).
    pub fn converse(&self, thread: &mut Thread, ask: &Ask) -> Result<Completion, Failure> {
        let tools = self.tools();
        let names: BTreeMap<String, &ToolInfo> =
            tools.iter().map(|tool| (wire_name(&tool.name), tool)).collect();
        let mut ask = ask.clone();
        if ask.tools.is_empty() {
            ask.tools = tools.iter().map(ToolSpec::of).collect();
        }
        let mut errors = 0;
        loop {
            if ask.summarize_at.is_some_and(|most| thread.bytes() > most) {
                self.sum_up(thread, &ask)?;
            }
            let completion = thread.complete(&ask)?;
            if completion.calls.is_empty() {
                return Ok(completion);
            }
            for call in &completion.calls {
                let given = self.answer_of(call, &names);
                let (text, failed) = match given {
                    Ok(text) => (text, false),
                    Err(text) => (text, true),
                };
                errors = if failed { errors + 1 } else { 0 };
                thread.answer(call, cut(text), failed);
            }
            if errors >= ERRORS_IN_A_ROW {
                let message =
                    format!("{errors} calls of tools in a row have failed; the last: {}", last(thread));
                return Err(Failure::permanent("tools_failing", message));
            }
            // Having been made to call one, it may answer now.
            if matches!(ask.choice, ToolChoice::Required | ToolChoice::Named(_)) {
                ask.choice = ToolChoice::Auto;
            }
        }
    }
    /// Has the model sum up what came before the last messages of a thread, which goes on from that. Nothing is lost: the
    /// whole of it stays in the record of the agent.
    ///
    /// # Errors
    /// Those of [`Thread::complete`].
    pub fn sum_up(&self, thread: &mut Thread, ask: &Ask) -> Result<(), Failure> {
        let (_, kept) = thread.split(KEPT);
        let before = &thread.messages[..thread.messages.len() - kept.len()];
        let before: Vec<String> = before.iter().filter_map(as_text).collect();
        if before.is_empty() {
            return Ok(());
        }
        let mut aside = self.thread();
        aside.system(SUM_UP);
        aside.user(before.join("\n\n"));
        let plain = Ask { model: ask.model.clone(), timeout: ask.timeout, ..Ask::default() };
        let said = aside.complete(&plain)?;
        *thread = thread.summed_up(said.text.as_deref().unwrap_or_default(), KEPT);
        Ok(())
    }
    fn answer_of(&self, call: &ToolUse, names: &BTreeMap<String, &ToolInfo>) -> Result<String, String> {
        let Some(tool) = names.get(&call.name) else {
            let known = names.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(format!("there is no tool `{}`; there are: {known}", call.name));
        };
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let input: Value = serde_json::from_str(arguments)
            .map_err(|fault| format!("the arguments are not JSON: {fault}"))?;
        match self.call::<Value>(&tool.name, &input) {
            Ok(Value::String(text)) => Ok(text),
            Ok(output) => Ok(output.to_string()),
            Err(failure) => Err(format!("{}: {}", failure.code(), failure.message())),
        }
    }
}

/// A message for somebody who reads the conversation; how the model is to behave is not part of it.
fn as_text(message: &Message) -> Option<String> {
    Some(match message {
        Message::System(_) => return None,
        Message::User(text) => format!("User: {text}"),
        Message::Tool { text, failed, .. } => {
            format!("{}: {text}", if *failed { "Tool (failed)" } else { "Tool" })
        }
        Message::Assistant { text, calls } => {
            let calls: String =
                calls.iter().map(|call| format!(" [{} {}]", call.name, call.arguments)).collect();
            format!("Assistant: {}{calls}", text.as_deref().unwrap_or_default())
        }
    })
}

fn last(thread: &Thread) -> &str {
    match thread.messages.last() {
        Some(Message::Tool { text, .. }) => text,
        _ => "",
    }
}

fn cut(mut text: String) -> String {
    if text.len() > ANSWER_BYTES {
        let end = (0..=ANSWER_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("… (cut)");
    }
    text
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    fn wants(name: &str, arguments: &str) -> Completion {
        let call = ToolUse { id: "1".into(), name: name.into(), arguments: arguments.into() };
        Completion { calls: vec![call], finish: Finish::ToolCalls, ..Completion::default() }
    }
    fn says(text: &str) -> Completion {
        Completion { text: Some(text.into()), ..Completion::default() }
    }

    #[test]
    fn tools_are_called_until_the_model_has_said_it() {
        testing::withdraw_all();
        testing::offer("tool:sum", |input| Ok(json!(input["a"].as_i64().unwrap_or(0) + 1)));
        testing::answer_model(|messages, ask| {
            assert_eq!(ask.tools[0].name, "tool_sum");
            Ok(match messages.len() {
                1 => wants("tool_sum", "{\"a\":"),
                3 => wants("tool_other", "{}"),
                5 => wants("tool_sum", "{\"a\":4}"),
                _ => says("five"),
            })
        });
        let agent = testing::agent();
        let mut thread = agent.thread();
        thread.user("add one to four");
        let said = agent.converse(&mut thread, &Ask::default()).unwrap();
        assert_eq!(said.text.as_deref(), Some("five"));
        let told: Vec<&str> = thread
            .messages()
            .iter()
            .filter_map(|message| match message {
                Message::Tool { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert!(told[0].contains("not JSON") && told[1].contains("no tool") && told[2] == "5", "{told:?}");
    }
    #[test]
    fn a_model_that_only_fails_is_given_up() {
        testing::withdraw_all();
        testing::answer_model(|_, _| Ok(wants("tool_none", "{}")));
        let agent = testing::agent();
        let failure = agent.converse(&mut agent.thread(), &Ask::default()).unwrap_err();
        assert_eq!(failure.detail().code, "tools_failing");
    }
    #[test]
    fn a_long_thread_is_summed_up_and_calls_stay_with_their_answers() {
        testing::withdraw_all();
        testing::offer("tool:page", |_| Ok(json!("x".repeat(400))));
        testing::answer_model(|messages, ask| {
            if ask.tools.is_empty() {
                assert!(matches!(&messages[1], Message::User(text) if text.contains("Tool: xxx")));
                return Ok(says("pages were read"));
            }
            // A tool's answer never stands without the call that it answers.
            for (at, message) in messages.iter().enumerate() {
                if matches!(message, Message::Tool { .. }) {
                    assert!(
                        matches!(&messages[at - 1], Message::Assistant { calls, .. } if !calls.is_empty())
                    );
                }
            }
            let is_summed_up =
                messages.iter().any(|m| matches!(m, Message::User(text) if text.contains("pages were read")));
            Ok(if is_summed_up { says("done") } else { wants("tool_page", "{}") })
        });
        let agent = testing::agent();
        let mut thread = agent.thread();
        thread.system("be brief");
        thread.user("read it all");
        let ask = Ask { summarize_at: Some(1_000), ..Ask::default() };
        assert_eq!(agent.converse(&mut thread, &ask).unwrap().text.as_deref(), Some("done"));
        assert_eq!(thread.messages()[0], Message::System("be brief".into()));
        assert!(thread.bytes() < 1_400, "{}", thread.bytes());
    }
    #[test]
    fn json_is_read_with_or_without_marks() {
        for text in ["[1]", "```json\n[1]\n```", "``` [1] ```"] {
            assert_eq!(says(text).json::<Vec<u8>>().unwrap(), [1], "{text}");
        }
        assert!(says("one").json::<Vec<u8>>().is_err());
    }
}
