//! What is asked of a language model, and what it says: the same for every provider. A guest hands its messages to a
//! thread that the host keeps, so that a call carries only what is new since the one before.

mod anthropic;
mod openai;
pub mod provider;

use crate::id::Digest;
use crate::json::Json;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// One message of a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "role")]
pub enum Message {
    /// How the model is to behave.
    System {
        /// Text.
        text: String,
    },
    /// From whoever wants something.
    User {
        /// Text.
        text: String,
    },
    /// From the model.
    Assistant {
        /// Text, where it said something.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
        /// The tools that it wants called.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        calls: Vec<ToolUse>,
    },
    /// What a tool gave.
    Tool {
        /// Which call of the model it answers.
        id: String,
        /// What it gave, for the model to read.
        text: String,
        /// Whether it failed.
        #[serde(default)]
        failed: bool,
    },
}

/// A tool that the model wants called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUse {
    /// What the answer to it refers to.
    pub id: String,
    /// The tool, by the name that the call gave it.
    pub name: String,
    /// As the model wrote it: meant to be JSON, and not always so.
    pub arguments: String,
}

/// A tool as the model is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// `[a-zA-Z0-9_-]`, at most 64 bytes.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: Json,
}

/// Whether the model is to call a tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// None.
    Never,
    /// One, whichever.
    Required,
    /// This one.
    Named(String),
}

/// How the model is to answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// A name of the operator's; the node's default where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it may want called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// Whether it is to.
    pub tool_choice: ToolChoice,
    /// JSON Schema of its answer, where that is to be JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Json>,
    /// From 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Of the answer, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// For the whole call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// A call of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelCall {
    /// How it is to answer.
    pub settings: Settings,
    /// Stands for all messages that an earlier call of the thread has carried; none at its first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// What is new since then.
    pub messages: Vec<Arc<Message>>,
    /// The earlier ones themselves: they are in the record already.
    #[serde(skip)]
    pub earlier: Vec<Arc<Message>>,
}

impl ModelCall {
    /// Every message, in order.
    pub fn thread(&self) -> impl Iterator<Item = &Message> {
        self.earlier.iter().chain(&self.messages).map(|message| &**message)
    }
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finish {
    /// It was done.
    Stop,
    /// It wants tools called.
    ToolCalls,
    /// It had no tokens left.
    Length,
    /// The provider held something back.
    Filtered,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    /// Read, those from the provider's cache included.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Of those that were read, from the provider's cache.
    pub cached: u64,
}

impl Tokens {
    /// Read and written.
    pub fn all(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What the model said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// Text, where it said something.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The tools that it wants called.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub calls: Vec<ToolUse>,
    /// Why it stopped.
    pub finish: Finish,
    /// What it used.
    pub tokens: Tokens,
    /// The model, as the provider names it.
    pub model: String,
    /// The provider, as the operator names it.
    pub provider: String,
    /// What it cost by the operator's prices, in millionths of their currency.
    pub cost_micros: u64,
}

impl Completion {
    /// The message that it is in its thread.
    pub fn message(&self) -> Message {
        Message::Assistant { text: self.text.clone(), calls: self.calls.clone() }
    }
}

/// A thread of messages, as a guest builds it.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    messages: Vec<Arc<Message>>,
    /// How many of them a call has carried already, and what stands for those.
    carried: usize,
    before: Option<Digest>,
}

impl Thread {
    /// Adds a message.
    pub fn append(&mut self, message: Message) {
        self.messages.push(Arc::new(message));
    }
    /// A call with all that is there. What is new is carried from now on.
    pub fn call(&mut self, settings: Settings) -> ModelCall {
        let (earlier, messages) = self.messages.split_at(self.carried);
        let call = ModelCall {
            settings,
            before: self.before,
            messages: messages.to_vec(),
            earlier: earlier.to_vec(),
        };
        let mut hash = Sha256::new();
        hash.update(self.before.map_or([0; 32], |digest| digest.0));
        for message in messages {
            let text = serde_json::to_vec(message).unwrap_or_default();
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
        }
        self.before = Some(Digest(hash.finalize().into()));
        self.carried = self.messages.len();
        call
    }
}

/// Bytes that a message counts.
pub fn weight(message: &Message) -> usize {
    let calls = |calls: &[ToolUse]| {
        calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum::<usize>()
    };
    64 + match message {
        Message::System { text } | Message::User { text } => text.len(),
        Message::Assistant { text, calls: wanted } => text.as_ref().map_or(0, String::len) + calls(wanted),
        Message::Tool { id, text, .. } => id.len() + text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_carries_what_is_new_and_stands_for_the_rest() {
        let said = |text: &str| Message::User { text: text.to_owned() };
        let run = |texts: [&str; 2]| {
            let mut thread = Thread::default();
            thread.append(said(texts[0]));
            let first = thread.call(Settings::default());
            thread.append(said(texts[1]));
            (first, thread.call(Settings::default()))
        };
        let (first, second) = run(["a", "b"]);
        assert_eq!((first.before, first.messages.len()), (None, 1));
        assert_eq!((second.messages.len(), second.thread().count()), (1, 2));
        let (_, other) = run(["another", "b"]);
        assert_ne!(second.before, other.before, "what came before is part of the call");
        assert_eq!(second.messages, other.messages);
    }
}
