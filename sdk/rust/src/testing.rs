//! Natively only: what a plugin's own tests need in place of the host.
//!
//! A plugin's function is an ordinary function, so most tests just call it. A tool is handed [`context()`], an agent
//! [`agent()`] after the test has said with [`offer`] which plugins it may call. [`describe!`](crate::describe!) gives
//! what the component will say of itself.

use std::rc::Rc;

use serde_json::Value;

use crate::{Agent, Context, Failure, host, http, model};

/// A context for a tool under test: tenant `test`, first attempt, a deadline in a minute. Its fields can be changed.
pub fn context() -> Context {
    host::context()
}

/// A handle for an agent under test. It may call what this thread has offered.
pub fn agent() -> Agent {
    Agent::new()
}

/// Grants a stand-in for a plugin to the agents of this thread, until [`withdraw_all`].
pub fn offer(name: &str, tool: impl Fn(Value) -> Result<Value, Failure> + 'static) {
    host::offer(name, Rc::new(tool));
}

/// From now on requests of this thread are answered so.
pub fn answer_http(answers: impl Fn(&http::Request) -> Result<http::Response, http::Fault> + 'static) {
    host::answer_http(Rc::new(answers));
}

/// From now on the model of this thread answers so, given its messages; until [`withdraw_all`] there is one, called
/// `test`.
pub fn answer_model(
    answers: impl Fn(&[model::Message], &model::Ask) -> Result<model::Completion, Failure> + 'static,
) {
    host::answer_model(Rc::new(answers));
}

/// From now on the plugin is told this under this name.
pub fn configure(name: &str, value: Value) {
    host::configure(name, value);
}

/// Takes back everything that this thread has offered.
pub fn withdraw_all() {
    host::withdraw_all();
}

/// The [`Metadata`](crate::Metadata) of the plugin that is defined in this module.
#[macro_export]
macro_rules! describe {
    () => {
        <__heddle_plugin as $crate::Plugin>::describe()
    };
}

/// Runs the plugin that is defined in this module on JSON text, through the same code as in the component.
///
/// Takes the input, and for an agent with checkpoints the state as an `Option<&str>`.
#[macro_export]
macro_rules! run {
    ($input:expr) => {
        <__heddle_plugin as $crate::Plugin>::run($input, ::core::option::Option::None)
    };
    ($input:expr, $state:expr) => {
        <__heddle_plugin as $crate::Plugin>::run($input, $state)
    };
}
