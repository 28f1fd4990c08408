//! The imports of a component, wrapped one to one.

use crate::__component::imports::heddle::host::{
    artifacts, clock, config, context, http, kv, log, model, progress, random, secret, tools,
};
use crate::__component::read_failure;
use crate::http::{self as http_fault, Request, Response};
use crate::kv::{self as kv_fault, Entry};
use crate::log::Level;
use crate::{Context, Failure, ToolInfo};

pub(crate) use http::PendingResponse;
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

pub(crate) fn send_http(request: Request) -> Result<Response, http_fault::Fault> {
    http::send(&lowered(request)).map(raised).map_err(fault)
}

pub(crate) fn start_http(request: Request) -> PendingResponse {
    http::start(&lowered(request))
}

pub(crate) fn wait_http(pending: &[&PendingResponse]) -> usize {
    http::wait(pending) as usize
}

pub(crate) fn take_http(pending: &PendingResponse) -> Result<Response, http_fault::Fault> {
    pending.take().map(raised).map_err(fault)
}

fn lowered(request: Request) -> http::Request {
    let headers = request.headers.into_iter().map(|(name, value)| http::Header { name, value });
    http::Request {
        method: request.method,
        url: request.url,
        headers: headers.collect(),
        body: request.body,
        timeout_ms: request.timeout_ms,
    }
}

fn raised(answer: http::Response) -> Response {
    let mut response = Response::new(answer.status, answer.body);
    response.headers = answer.headers.into_iter().map(|header| (header.name, header.value)).collect();
    response
}

fn fault(fault: http::Fault) -> http_fault::Fault {
    let kind = match fault.kind {
        http::FaultKind::Denied => http_fault::FaultKind::Denied,
        http::FaultKind::Invalid => http_fault::FaultKind::Invalid,
        http::FaultKind::Failed => http_fault::FaultKind::Failed,
        http::FaultKind::TimedOut => http_fault::FaultKind::TimedOut,
        http::FaultKind::TooLarge => http_fault::FaultKind::TooLarge,
        http::FaultKind::TooMany => http_fault::FaultKind::TooMany,
    };
    http_fault::Fault { kind, message: fault.message }
}

pub(crate) fn secret(name: &str) -> Result<String, String> {
    secret::get(name)
}

pub(crate) fn config(name: &str) -> Option<String> {
    config::get(name)
}

pub(crate) fn config_names() -> Vec<String> {
    config::names()
}

pub(crate) fn kv_get(key: &str) -> Result<Option<Entry>, kv_fault::Fault> {
    let entry = kv::get(key).map_err(kept)?;
    Ok(entry.map(|entry| Entry { value: entry.value, version: entry.version }))
}

pub(crate) fn kv_set(
    key: &str,
    value: &[u8],
    expected: Option<u64>,
    ttl_ms: Option<u64>,
) -> Result<u64, kv_fault::Fault> {
    let written = match expected {
        Some(version) => kv::set_if(key, value, version, ttl_ms),
        None => kv::set(key, value, ttl_ms),
    };
    written.map_err(kept)
}

pub(crate) fn kv_increment(key: &str, by: i64) -> Result<i64, kv_fault::Fault> {
    kv::increment(key, by).map_err(kept)
}

pub(crate) fn kv_delete(key: &str) -> Result<bool, kv_fault::Fault> {
    kv::delete(key).map_err(kept)
}

pub(crate) fn kv_keys(prefix: &str, after: &str, limit: u32) -> Result<Vec<String>, kv_fault::Fault> {
    kv::keys(prefix, after, limit).map_err(kept)
}

pub(crate) fn artifact_put(
    name: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<crate::artifacts::Artifact, crate::artifacts::Fault> {
    let kept = artifacts::put(name, media_type, bytes).map_err(file_fault)?;
    let artifacts::Artifact { name, media_type, digest, size } = kept;
    Ok(crate::artifacts::Artifact { name, media_type, digest, size })
}

pub(crate) fn artifact_get(digest: &str) -> Result<Vec<u8>, crate::artifacts::Fault> {
    artifacts::get(digest).map_err(file_fault)
}

fn file_fault(fault: artifacts::Fault) -> crate::artifacts::Fault {
    use crate::artifacts::Fault;
    match fault {
        artifacts::Fault::Denied(why) => Fault::Denied(why),
        artifacts::Fault::Invalid(why) => Fault::Invalid(why),
        artifacts::Fault::TooLarge(why) => Fault::TooLarge(why),
        artifacts::Fault::NotThere(why) => Fault::NotThere(why),
        artifacts::Fault::Failed(why) => Fault::Failed(why),
    }
}

fn kept(fault: kv::Fault) -> kv_fault::Fault {
    match fault {
        kv::Fault::Denied(why) => kv_fault::Fault::Denied(why),
        kv::Fault::TooLarge(why) => kv_fault::Fault::TooLarge(why),
        kv::Fault::Conflict(version) => kv_fault::Fault::Conflict(version),
        kv::Fault::NotANumber(why) => kv_fault::Fault::NotANumber(why),
        kv::Fault::Failed(why) => kv_fault::Fault::Failed(why),
    }
}

pub(crate) use model::Thread;

pub(crate) fn thread() -> Thread {
    Thread::new()
}

pub(crate) fn append(thread: &mut Thread, message: &crate::model::Message) {
    use crate::model::Message;
    thread.append(&match message.clone() {
        Message::System(text) => model::Message::System(text),
        Message::User(text) => model::Message::User(text),
        Message::Assistant { text, calls } => {
            let calls = calls.into_iter().map(|call| model::ToolUse {
                id: call.id,
                name: call.name,
                arguments: call.arguments,
            });
            model::Message::Assistant(model::AssistantMessage { text, calls: calls.collect() })
        }
        Message::Tool { id, text, failed } => model::Message::Tool(model::ToolMessage { id, text, failed }),
    });
}

pub(crate) fn complete(
    thread: &mut Thread,
    ask: &crate::model::Ask,
) -> Result<crate::model::Completion, Failure> {
    use crate::model::{Finish, ToolChoice, ToolUse};
    let tools = ask.tools.iter().map(|tool| model::ToolSpec {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.to_string(),
    });
    let settings = model::Settings {
        model: ask.model.clone(),
        tools: tools.collect(),
        choice: match &ask.choice {
            ToolChoice::Auto => model::ToolChoice::Auto,
            ToolChoice::Never => model::ToolChoice::Never,
            ToolChoice::Required => model::ToolChoice::Required,
            ToolChoice::Named(name) => model::ToolChoice::Named(name.clone()),
        },
        output_schema: ask.output_schema.as_ref().map(ToString::to_string),
        temperature: ask.temperature,
        max_tokens: ask.max_tokens,
        timeout_ms: ask.timeout.map(|most| u64::try_from(most.as_millis()).unwrap_or(u64::MAX)),
    };
    let said = thread.complete(&settings).map_err(read_failure)?;
    let calls = said.calls.into_iter().map(|call| ToolUse {
        id: call.id,
        name: call.name,
        arguments: call.arguments,
    });
    Ok(crate::model::Completion {
        text: said.text,
        calls: calls.collect(),
        finish: match said.finish {
            model::Finish::Stop => Finish::Stop,
            model::Finish::ToolCalls => Finish::ToolCalls,
            model::Finish::Length => Finish::Length,
            model::Finish::Filtered => Finish::Filtered,
        },
        input_tokens: said.input_tokens,
        output_tokens: said.output_tokens,
        cached_tokens: said.cached_tokens,
        cost_micros: said.cost_micros,
        model: said.model,
    })
}

pub(crate) fn models() -> Vec<String> {
    model::models()
}

pub(crate) fn budget() -> crate::model::Budget {
    let now = model::spent();
    crate::model::Budget {
        calls_left: now.calls_left,
        tokens_left: now.tokens_left,
        cost_micros_left: now.cost_micros_left,
        calls: now.calls,
        tokens: now.tokens,
        cost_micros: now.cost_micros,
    }
}
