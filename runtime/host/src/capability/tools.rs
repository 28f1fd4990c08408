//! `heddle:host/tools`: other plugins, for agents.
//!
//! A call is asked of [`HostCalls`](crate::HostCalls), which knows the grants and keeps the record.

use super::pending::{Pending, Running, places};
use crate::bindings::{Detail, Failure as WitFailure, Later, Request, ToolInfo as WitToolInfo};
use crate::genai;
use crate::guest::{Cx, Guest, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::{Answered, HostCall, ToolCall};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind::Agent;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::time::Timestamp;
use wasmtime::component::{Linker, Resource, ResourceType};

const INTERFACE: &str = "heddle:host/tools@0.1.0";

/// A call under way.
type PendingCall = Pending<Answer>;
/// How it ended, or why the attempt ends.
type Answer = Result<(Result<Json, Failure>, Timestamp), Failure>;

/// Starts a call, or says why not.
fn start(cx: &mut Cx<'_>, request: Request) -> wasmtime::Result<PendingCall> {
    let guest = cx.data_mut();
    let Some(index) = guest.tools.next() else {
        let message =
            format!("more than {} tool calls in one attempt (`limits.tool_calls`)", guest.tools.max());
        return Err(Refusal::new(FailureKind::HostcallLimit, message).into());
    };
    let span = genai::execute_tool(&request.name, index);
    let now = Timestamp(guest.clock.now_ms());
    let asked = Json::parse_within(request.input.as_bytes(), guest.limits.json_depth)
        .map(|input| guest.ask(HostCall::Tool(ToolCall { name: request.name, input })))
        .map_err(|fault| {
            Failure::new(
                FailureKind::InvalidInput,
                format!("the input is not JSON that can be sent: {fault}"),
            )
        });
    let call = async move {
        match asked {
            Ok(asked) => {
                let Answered { answer, at } = asked.await?;
                Ok((answer.tool()?, at))
            }
            Err(failure) => Ok((Err(failure), now)),
        }
    };
    Ok(guest.tools.start(span, call))
}

/// Waits for a call's answer without counting the time as the guest's own.
async fn take(
    cx: &mut Cx<'_>,
    running: Option<Running<Answer>>,
) -> wasmtime::Result<Result<String, WitFailure>> {
    let Some(running) = running else {
        return Ok(Err(taken_before()));
    };
    let own_time = cx.data().own_time(running);
    let (result, at) = own_time.await?.map_err(Refusal::from)?;
    cx.data_mut().clock.answered(at.0);
    Ok(result.map(|output| output.text().to_owned()).map_err(lower))
}

/// That an answer was taken already.
pub(super) fn taken_before() -> WitFailure {
    WitFailure::Permanent(Detail {
        code: "already_taken".into(),
        message: "this call's answer was taken before".into(),
        data: None,
    })
}

/// A failure in the guest's words.
pub(super) fn lower(failure: Failure) -> WitFailure {
    let detail = Detail {
        code: failure.code.unwrap_or_else(|| failure.kind.word().to_owned()),
        message: failure.message,
        data: failure.data.map(|data| data.text().to_owned()),
    };
    match (failure.retryable, failure.retry_after_ms) {
        (true, Some(retry_after_ms)) => WitFailure::RateLimited(Later { retry_after_ms, detail }),
        (true, None) => WitFailure::Retryable(detail),
        (false, _) => WitFailure::Permanent(detail),
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut tools = linker.instance(INTERFACE)?;
    tools.resource("pending-call", ResourceType::host::<PendingCall>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<PendingCall>::new_own(rep))?;
        Ok(())
    })?;
    tools.func_wrap("list", |mut cx: Cx<'_>, (): ()| {
        require(&cx, &[Agent], INTERFACE)?;
        let guest = cx.data();
        let granted = guest.host_calls.tools(&guest.scope);
        let carried: usize =
            granted.iter().map(|tool| tool.input_schema.size() + tool.output_schema.size()).sum();
        enter(&mut cx, carried)?;
        let granted = granted.into_iter().map(|tool| WitToolInfo {
            name: tool.name,
            title: tool.title,
            description: tool.description,
            input_schema: tool.input_schema.text().to_owned(),
            output_schema: tool.output_schema.text().to_owned(),
        });
        Ok((granted.collect::<Vec<_>>(),))
    })?;
    tools.func_wrap_async("call", |mut cx: Cx<'_>, (request,): (Request,)| {
        Box::new(async move {
            require(&cx, &[Agent], INTERFACE)?;
            enter(&mut cx, request.name.len() + request.input.len())?;
            let mut call = start(&mut cx, request)?;
            Ok((take(&mut cx, call.take()).await?,))
        })
    })?;
    tools.func_wrap("start", |mut cx: Cx<'_>, (request,): (Request,)| {
        require(&cx, &[Agent], INTERFACE)?;
        enter(&mut cx, request.name.len() + request.input.len())?;
        let call = start(&mut cx, request)?;
        Ok((cx.data_mut().push(call)?,))
    })?;
    tools.func_wrap_async("wait", |mut cx: Cx<'_>, (calls,): (Vec<Resource<PendingCall>>,)| {
        Box::new(async move {
            enter(&mut cx, calls.len() * 4)?;
            let guest = cx.data_mut();
            let (places, news) = (places(&guest.table, &calls)?, guest.tools.news());
            let first = guest.first(news, places);
            Ok((first.await?,))
        })
    })?;
    tools.func_wrap_async("[method]pending-call.take", |mut cx: Cx<'_>, (call,): (Resource<PendingCall>,)| {
        Box::new(async move {
            enter(&mut cx, 0)?;
            let running = cx.data_mut().table.get_mut(&call)?.take();
            Ok((take(&mut cx, running).await?,))
        })
    })
}
