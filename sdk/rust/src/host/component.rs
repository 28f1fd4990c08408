//! The imports of a component, wrapped one to one.

use crate::__component::imports::heddle::host::{clock, context, log, progress, random, tools};
use crate::__component::read_failure;
use crate::log::Level;
use crate::{Context, Failure, ToolInfo};

pub(crate) use tools::PendingCall;

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::write(level, message);
}

pub(crate) fn now_ms() -> u64 {
    clock::now_ms()
}

pub(crate) fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}

pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    random::bytes(u32::try_from(len).unwrap_or(u32::MAX))
}

pub(crate) fn random_u64() -> u64 {
    random::next_u64()
}

pub(crate) fn progress(stage: &str, percent: Option<u8>, message: &str) {
    progress::report(stage, percent, message);
}

pub(crate) fn context() -> Context {
    let now = context::current();
    Context {
        tenant: now.tenant,
        run: now.run,
        step: now.step,
        item: now.item,
        attempt: now.attempt,
        idempotency_key: now.idempotency_key,
        deadline_ms: now.deadline_ms,
        fuel_left: now.fuel_left,
        traceparent: now.traceparent,
    }
}

pub(crate) fn list_tools() -> Vec<ToolInfo> {
    let schema = |text: &str| serde_json::from_str(text).unwrap_or_default();
    tools::list()
        .into_iter()
        .map(|tool| ToolInfo {
            input_schema: schema(&tool.input_schema),
            output_schema: schema(&tool.output_schema),
            name: tool.name,
            title: tool.title,
            description: tool.description,
        })
        .collect()
}

pub(crate) fn call_tool(name: &str, input: &str) -> Result<String, Failure> {
    tools::call(&request(name, input)).map_err(read_failure)
}

pub(crate) fn start_tool(name: &str, input: &str) -> PendingCall {
    tools::start(&request(name, input))
}

pub(crate) fn wait_tools(calls: &[&PendingCall]) -> usize {
    tools::wait(calls) as usize
}

pub(crate) fn take(call: &PendingCall) -> Result<String, Failure> {
    call.take().map_err(read_failure)
}

fn request(name: &str, input: &str) -> tools::Request {
    tools::Request { name: name.to_owned(), input: input.to_owned() }
}
