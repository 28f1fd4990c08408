//! Other plugins, for agents.
//!
//! They are methods of [`Agent`], which only an agent is handed: a transform or a tool that tries to call another
//! plugin does not compile, instead of being refused by the host.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Context, Failure, host};

/// A plugin that the step grants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ToolInfo {
    /// What [`Agent::call`] takes: `tool:name` or `transform:name`.
    pub name: String,
    /// A few words for a list.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// JSON Schema of what it takes.
    pub input_schema: Value,
    /// JSON Schema of what it gives.
    pub output_schema: Value,
}

/// What an agent can do beyond computing. Every call and its answer is recorded: after a crash the agent is run again,
/// and gets the recorded answers instead of paying for them twice.
#[derive(Debug)]
pub struct Agent {
    _opened_by_the_sdk: (),
}

impl Agent {
    pub(crate) fn new() -> Agent {
        Agent { _opened_by_the_sdk: () }
    }

    /// The attempt that this agent runs in, frozen when it opened.
    pub fn context(&self) -> Context {
        host::context()
    }

    /// Tells whoever watches the run how far along the work is; see [`Context::progress`].
    pub fn progress(&self, stage: &str, percent: Option<u8>, message: &str) {
        host::progress(stage, percent, message);
    }

    /// The granted plugins, in the order of their names.
    pub fn tools(&self) -> Vec<ToolInfo> {
        host::list_tools()
    }

    /// Calls a granted plugin and waits for its answer.
    ///
    /// Fails with the failure of the plugin, with a permanent failure where the plugin is not granted, and with
    /// `invalid_json` where the input cannot be written or the answer does not fit `Output`.
    pub fn call<Output: DeserializeOwned>(
        &self,
        name: &str,
        input: &impl Serialize,
    ) -> Result<Output, Failure> {
        let answer = host::call_tool(name, &serde_json::to_string(input)?)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Starts a call and goes on. At most 6 run at once; further ones wait their turn.
    ///
    /// Fails only where the input cannot be written as JSON; all else is told by [`Pending::take`].
    pub fn start<Output: DeserializeOwned>(
        &self,
        name: &str,
        input: &impl Serialize,
    ) -> Result<Pending<Output>, Failure> {
        let call = host::start_tool(name, &serde_json::to_string(input)?);
        Ok(Pending { call, output: PhantomData })
    }

    /// Waits until one of these calls has ended, and gives its index. `None` for an empty list.
    pub fn wait<Output>(&self, calls: &[Pending<Output>]) -> Option<usize> {
        if calls.is_empty() {
            return None;
        }
        Some(host::wait_tools(&calls.iter().map(|pending| &pending.call).collect::<Vec<_>>()))
    }
}

/// A call that has been started and whose answer has not been taken.
#[must_use = "a started call has an answer: take it"]
pub struct Pending<Output> {
    call: host::PendingCall,
    output: PhantomData<fn() -> Output>,
}

impl<Output: DeserializeOwned> Pending<Output> {
    /// Waits for the answer. Fails as [`Agent::call`] does.
    pub fn take(self) -> Result<Output, Failure> {
        let answer = host::take(&self.call)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl<Output> std::fmt::Debug for Pending<Output> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Pending")
    }
}
