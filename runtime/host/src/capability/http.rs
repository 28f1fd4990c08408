//! `heddle:host/http`: requests to services outside. What may be sent is judged behind [`HostCalls`](crate::HostCalls);
//! here they are counted and bounded. Their time is a tool's own: one that waits for a slow service is slow.

use super::held::{Held, Hold};
use super::pending::{Pending, Running, places};
use crate::bindings::http::{Fault, FaultKind, Header, Request, Response};
use crate::guest::{Cx, Guest, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::{Answered, HostCall};
use heddle_core::outcome::Failure;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::outside::{HttpFault, HttpFaultKind, HttpRequest, HttpResponse};
use heddle_core::time::Timestamp;
use wasmtime::component::{Linker, Resource, ResourceType};

const INTERFACE: &str = "heddle:host/http@0.1.0";

type Answer = Result<HttpResponse, HttpFault>;
/// An answer that has come, what it costs the node until it is taken, and when it came; or why the attempt ends.
pub(super) type Arrived = Result<(Answer, Option<Hold>, Timestamp), Failure>;
type PendingResponse = Pending<Arrived>;

/// Bytes that a request carries.
fn weight(request: &Request) -> usize {
    let headers: usize = request.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    request.url.len() + headers + request.body.as_ref().map_or(0, Vec::len)
}

fn start(cx: &mut Cx<'_>, request: Request) -> PendingResponse {
    let request = HttpRequest {
        method: request.method,
        url: request.url,
        headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: request.body,
        timeout_ms: request.timeout_ms,
    };
    begin(cx.data_mut(), Ok(request))
}

/// Begins a request, or what is said in its place where it is none.
pub(super) fn begin(guest: &mut Guest, request: Result<HttpRequest, HttpFault>) -> PendingResponse {
    let now = Timestamp(guest.clock.now_ms());
    let said = |fault: HttpFault| std::future::ready(Ok((Err(fault), None, now)));
    let request = match request {
        Ok(request) => request,
        Err(fault) => return guest.http.start(tracing::Span::none(), said(fault)),
    };
    let Some(index) = guest.http.next() else {
        let message = format!("more than {} requests in one attempt (`limits.http_calls`)", guest.http.max());
        let fault = HttpFault::new(HttpFaultKind::TooMany, message);
        return guest.http.start(tracing::Span::none(), said(fault));
    };
    let span = tracing::debug_span!("host_call", capability = "http", method = request.method, index);
    let (call, held) = (guest.ask(HostCall::Http(request)), guest.http_held.clone());
    guest.http.start(span, async move {
        let Answered { answer, at } = call.await?;
        Ok(hold(&held, answer.http()?, at))
    })
}

/// Holds an answer until it is taken, where there is room for it.
fn hold(held: &Held, answer: Answer, at: Timestamp) -> (Answer, Option<Hold>, Timestamp) {
    let Ok(response) = &answer else { return (answer, None, at) };
    let headers: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    match held.hold((response.body.len() + headers) as u64) {
        Ok(hold) => (answer, Some(hold), at),
        Err(why) => (Err(HttpFault::new(HttpFaultKind::TooLarge, why)), None, at),
    }
}

/// An answer, once it is there. An agent's time stands still meanwhile, and goes on at that of the answer.
pub(super) async fn arrived(
    cx: &mut Cx<'_>,
    running: Running<Arrived>,
) -> wasmtime::Result<(Answer, Option<Hold>)> {
    let own_time = cx.data().own_time(running);
    let (answer, hold, at) = own_time.await?.map_err(Refusal::from)?;
    let guest = cx.data_mut();
    guest.clock.answered(at.0);
    // What the guest makes of it decides how its attempt ends; if it fails, then for this.
    guest.egress.note(answer.as_ref().err().map(|fault| fault.kind.failure()));
    Ok((answer, hold))
}

async fn take(
    cx: &mut Cx<'_>,
    running: Option<Running<Arrived>>,
) -> wasmtime::Result<Result<Response, Fault>> {
    let Some(running) = running else {
        let message = "this answer was taken before".to_owned();
        return Ok(Err(Fault { kind: FaultKind::Invalid, message }));
    };
    let (answer, _hold) = arrived(cx, running).await?;
    enter_more(cx, &answer)?;
    Ok(answer.map(raised).map_err(|fault| Fault { kind: kind(fault.kind), message: fault.message }))
}

/// What comes in is paid for as well.
fn enter_more(cx: &mut Cx<'_>, answer: &Answer) -> wasmtime::Result<()> {
    let bytes = answer.as_ref().map_or(0, |answer| answer.body.len());
    crate::guest::carried(cx, bytes)
}

fn raised(answer: HttpResponse) -> Response {
    let headers = answer.headers.into_iter().map(|(name, value)| Header { name, value });
    Response { status: answer.status, headers: headers.collect(), body: answer.body }
}

fn kind(kind: HttpFaultKind) -> FaultKind {
    match kind {
        HttpFaultKind::Denied => FaultKind::Denied,
        HttpFaultKind::Invalid => FaultKind::Invalid,
        HttpFaultKind::Failed => FaultKind::Failed,
        HttpFaultKind::TimedOut => FaultKind::TimedOut,
        HttpFaultKind::TooLarge => FaultKind::TooLarge,
        HttpFaultKind::TooMany => FaultKind::TooMany,
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut http = linker.instance(INTERFACE)?;
    http.resource("pending-response", ResourceType::host::<PendingResponse>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<PendingResponse>::new_own(rep))?;
        Ok(())
    })?;
    http.func_wrap_async("send", |mut cx: Cx<'_>, (request,): (Request,)| {
        Box::new(async move {
            require(&cx, &[Tool, Agent], INTERFACE)?;
            enter(&mut cx, weight(&request))?;
            let mut call = start(&mut cx, request);
            Ok((take(&mut cx, call.take()).await?,))
        })
    })?;
    http.func_wrap("start", |mut cx: Cx<'_>, (request,): (Request,)| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        enter(&mut cx, weight(&request))?;
        let call = start(&mut cx, request);
        Ok((cx.data_mut().push(call)?,))
    })?;
    http.func_wrap_async("wait", |mut cx: Cx<'_>, (calls,): (Vec<Resource<PendingResponse>>,)| {
        Box::new(async move {
            enter(&mut cx, calls.len() * 4)?;
            let guest = cx.data_mut();
            let (places, news) = (places(&guest.table, &calls)?, guest.http.news());
            let first = guest.first(news, places);
            Ok((first.await?,))
        })
    })?;
    http.func_wrap_async(
        "[method]pending-response.take",
        |mut cx: Cx<'_>, (call,): (Resource<PendingResponse>,)| {
            Box::new(async move {
                enter(&mut cx, 0)?;
                let running = cx.data_mut().table.get_mut(&call)?.take();
                Ok((take(&mut cx, running).await?,))
            })
        },
    )
}
