//! `heddle:host/tools`: other plugins, for agents.
//!
//! A call is asked of [`HostCalls`](crate::HostCalls), which knows the grants and keeps the record. Here is only what
//! the sandbox needs: the order in which calls were started, how many run at once, and which ended first. Calls started
//! and never taken are dropped with the sandbox, which cancels them.

use crate::bindings::{Detail, Failure as WitFailure, Later, Request, ToolInfo as WitToolInfo};
use crate::guest::{Cx, Guest, enter, require};
use crate::host_calls::ToolAnswer;
use crate::refusal::Refusal;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::PluginKind::Agent;
use heddle_core::outcome::{Failure, FailureKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use wasmtime::component::{Linker, Resource, ResourceType};

const INTERFACE: &str = "heddle:host/tools@0.1.0";

/// The tool calls of one attempt.
#[derive(Debug)]
pub(crate) struct ToolCalls {
    started: u64,
    max: u64,
    at_once: usize,
    /// Made at the first call: most attempts make none.
    turnstile: Option<Turnstile>,
}

#[derive(Clone, Debug)]
struct Turnstile {
    running: Arc<Semaphore>,
    ended: Arc<AtomicU64>,
    news: Arc<Notify>,
}

impl ToolCalls {
    pub(crate) fn new(limits: &Limits) -> ToolCalls {
        ToolCalls {
            started: 0,
            max: limits.tool_calls,
            at_once: limits.tool_calls_at_once as usize,
            turnstile: None,
        }
    }
    fn turnstile(&mut self) -> Turnstile {
        let at_once = self.at_once;
        let make = || Turnstile {
            running: Arc::new(Semaphore::new(at_once)),
            ended: Arc::default(),
            news: Arc::default(),
        };
        self.turnstile.get_or_insert_with(make).clone()
    }
}

/// A call under way: the resource behind a guest's `pending-call`.
#[derive(Debug)]
pub(crate) struct PendingCall {
    state: State,
    /// The place in the order in which calls ended, from 1; 0 while it runs.
    place: Arc<AtomicU64>,
}

#[derive(Debug)]
enum State {
    Running(JoinHandle<ToolAnswer>),
    Taken,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let State::Running(call) = &self.state {
            call.abort();
        }
    }
}

/// Starts a call, or says why not.
fn start(cx: &mut Cx<'_>, request: Request) -> wasmtime::Result<PendingCall> {
    let guest = cx.data_mut();
    let index = guest.tools.started;
    if index >= guest.tools.max {
        let message =
            format!("more than {} tool calls in one attempt (`limits.tool_calls`)", guest.tools.max);
        return Err(Refusal::new(FailureKind::HostcallLimit, message).into());
    }
    guest.tools.started += 1;
    let span = tracing::debug_span!("host_call", capability = "tools", name = request.name, index);
    let turnstile = guest.tools.turnstile();
    let opened_ms = guest.scope.clock_ms;
    let answer = Json::parse_within(request.input.as_bytes(), guest.limits.json_depth)
        .map(|input| guest.host_calls.call_tool(&guest.scope, request.name, input, index))
        .map_err(|fault| {
            Failure::new(
                FailureKind::InvalidInput,
                format!("the input is not JSON that can be sent: {fault}"),
            )
        });
    let place = Arc::new(AtomicU64::new(0));
    let ends = place.clone();
    let call = async move {
        // Never closed, so the permit is always had in the end.
        let permit = turnstile.running.acquire().await;
        let answer = match answer {
            Ok(answer) => answer.await,
            Err(failure) => ToolAnswer { result: Err(failure), at_ms: opened_ms },
        };
        drop(permit);
        ends.store(turnstile.ended.fetch_add(1, Relaxed) + 1, Relaxed);
        turnstile.news.notify_one();
        answer
    };
    let call = tokio::spawn(call.instrument(span));
    Ok(PendingCall { state: State::Running(call), place })
}

/// Waits for a call's answer without counting the time as the guest's own.
async fn take(
    cx: &mut Cx<'_>,
    mut call: PendingCall,
) -> wasmtime::Result<(Result<String, WitFailure>, PendingCall)> {
    let State::Running(running) = std::mem::replace(&mut call.state, State::Taken) else {
        let taken = WitFailure::Permanent(Detail {
            code: "already_taken".into(),
            message: "this call's answer was taken before".into(),
            data: None,
        });
        return Ok((Err(taken), call));
    };
    let running = AbortOnDrop(running);
    let wall = cx.data().wall.clone();
    let answer = wall.wait(running).await.map_err(|fault| {
        Refusal::new(FailureKind::Internal, format!("a tool call ended without an answer: {fault}"))
    })?;
    cx.data_mut().clock.answered(answer.at_ms);
    Ok((lower(answer.result), call))
}

/// A call that is being awaited: when the sandbox goes, it goes.
struct AbortOnDrop(JoinHandle<ToolAnswer>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Future for AbortOnDrop {
    type Output = Result<ToolAnswer, tokio::task::JoinError>;
    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

/// An answer in the guest's words.
fn lower(result: Result<Json, Failure>) -> Result<String, WitFailure> {
    let failure = match result {
        Ok(output) => return Ok(output.text().to_owned()),
        Err(failure) => failure,
    };
    let detail = Detail {
        code: failure.code.unwrap_or_else(|| failure.kind.word().to_owned()),
        message: failure.message,
        data: failure.data.map(|data| data.text().to_owned()),
    };
    Err(match (failure.retryable, failure.retry_after_ms) {
        (true, Some(retry_after_ms)) => WitFailure::RateLimited(Later { retry_after_ms, detail }),
        (true, None) => WitFailure::Retryable(detail),
        (false, _) => WitFailure::Permanent(detail),
    })
}

/// The index of the call that ended first among these, once one has.
async fn first_ended(news: &Notify, places: &[Arc<AtomicU64>]) -> u32 {
    loop {
        let ended =
            places.iter().map(|place| place.load(Relaxed)).enumerate().filter(|(_, place)| *place > 0);
        if let Some((index, _)) = ended.min_by_key(|(_, place)| *place) {
            return index as u32;
        }
        news.notified().await;
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
            let call = start(&mut cx, request)?;
            let (answer, _) = take(&mut cx, call).await?;
            Ok((answer,))
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
            if calls.is_empty() {
                let message = "`wait` needs at least one call; it was given none";
                return Err(Refusal::new(FailureKind::Trap, message).with_code("empty_wait").into());
            }
            let guest = cx.data_mut();
            let places: Result<Vec<_>, _> =
                calls.iter().map(|call| guest.table.get(call).map(|call| call.place.clone())).collect();
            let (places, news) = (places?, guest.tools.turnstile().news);
            let wall = guest.wall.clone();
            Ok((wall.wait(first_ended(&news, &places)).await,))
        })
    })?;
    tools.func_wrap_async("[method]pending-call.take", |mut cx: Cx<'_>, (call,): (Resource<PendingCall>,)| {
        Box::new(async move {
            enter(&mut cx, 0)?;
            let pending = cx.data_mut().table.get_mut(&call)?.share();
            let (answer, _) = take(&mut cx, pending).await?;
            Ok((answer,))
        })
    })
}

impl PendingCall {
    /// The call itself, leaving a taken one in the table: an await cannot hold on to the table.
    fn share(&mut self) -> PendingCall {
        PendingCall { state: std::mem::replace(&mut self.state, State::Taken), place: self.place.clone() }
    }
}
