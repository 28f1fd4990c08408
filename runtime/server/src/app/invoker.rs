//! The sandbox as the executor wants it: an [`Invocation`] becomes a [`Call`], and what a guest asks of its host is
//! asked of the attempt's [`Reach`].

use super::endpoints::Endpoints;
use futures_util::future::BoxFuture;
use heddle_core::call_log::Budget;
use heddle_core::host_call::{Answered, HostCall};
use heddle_core::outcome::{AttemptEnd, Failure};
use heddle_core::plugin::{Form, Pinned};
use heddle_executor::{Begin, Held, Invocation, Invoker, LogLevel, Reach};
use heddle_host::{Call, CallScope, Host, HostCalls, Mark, Progress, ToolInfo};
use std::sync::Arc;

/// The host, as the executor's invoker.
#[derive(Debug)]
pub(super) struct Sandbox(pub(super) Host);

/// Whoever can run what a plugin is made of.
#[derive(Debug)]
pub(super) struct Forms {
    pub(super) sandbox: Sandbox,
    pub(super) endpoints: Endpoints,
}

impl Invoker for Forms {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        match invocation.plugin.form {
            Form::Component => self.sandbox.invoke(invocation),
            Form::Endpoint => self.endpoints.invoke(invocation),
        }
    }
    fn is_quick(&self, plugin: &Pinned) -> bool {
        plugin.form.is_component() && self.sandbox.is_quick(plugin)
    }
}

/// Where an attempt stands, in the host's words.
pub(super) fn scope_of(invocation: &Invocation) -> CallScope {
    CallScope {
        share: invocation.share.clone(),
        run: invocation.run,
        step: invocation.step.clone(),
        step_number: invocation.step_number,
        item: invocation.item,
        attempt: invocation.attempt,
        told_attempt: invocation.told_attempt,
        alternative: invocation.alternative,
        within: invocation.within.clone(),
        at_most_once: invocation.at_most_once,
        deadline_ms: invocation.deadline.0,
        traceparent: invocation.traceparent.clone(),
        seed: invocation.seed,
        clock_ms: invocation.opened.0,
    }
}

impl Invoker for Sandbox {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let scope = scope_of(&invocation);
        let call = Call {
            component: invocation.plugin.digest,
            kind: invocation.plugin.kind,
            input: invocation.input,
            state: invocation.state,
            limits: invocation.limits,
            begin: match invocation.begin {
                Begin::Here => heddle_host::Begin::Here,
                Begin::Apart => heddle_host::Begin::Apart,
            },
            scope,
            host_calls: Arc::new(Bridge { reach: invocation.reach, held: invocation.held }),
        };
        Box::pin(self.0.call(call))
    }
    fn is_quick(&self, plugin: &Pinned) -> bool {
        self.0.is_quick(plugin.digest)
    }
}

/// What one attempt may reach, as the host asks for it.
struct Bridge {
    reach: Arc<dyn Reach>,
    held: Held,
}

impl HostCalls for Bridge {
    fn entered(&self, _scope: &CallScope, mark: &Mark) {
        self.held.hold(mark.clone());
    }
    fn log(&self, _scope: &CallScope, level: heddle_host::LogLevel, line: &str) {
        let level = match level {
            heddle_host::LogLevel::Trace => LogLevel::Trace,
            heddle_host::LogLevel::Debug => LogLevel::Debug,
            heddle_host::LogLevel::Info => LogLevel::Info,
            heddle_host::LogLevel::Warn => LogLevel::Warn,
            heddle_host::LogLevel::Error => LogLevel::Error,
        };
        self.reach.log(level, line);
    }
    fn dropped(&self, _scope: &CallScope, lines: u64, bytes: u64) {
        self.reach.dropped(lines, bytes);
    }
    fn progress(&self, _scope: &CallScope, progress: Progress) {
        self.reach.progress(&progress.stage, progress.percent, &progress.message);
    }
    fn ask(&self, _scope: &CallScope, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>> {
        self.reach.ask(call)
    }
    fn pick(&self, _scope: &CallScope, first: BoxFuture<'static, Vec<u32>>) -> BoxFuture<'static, Vec<u32>> {
        self.reach.pick(first)
    }
    fn budget(&self, _scope: &CallScope) -> Budget {
        self.reach.budget()
    }
    fn tools(&self, _scope: &CallScope) -> Vec<ToolInfo> {
        let granted = self.reach.tools().into_iter().map(|metadata| ToolInfo {
            name: metadata.reference(),
            title: metadata.title.clone(),
            description: metadata.description.clone(),
            input_schema: metadata.input_schema.clone(),
            output_schema: metadata.output_schema.clone(),
        });
        granted.collect()
    }
}
