//! Requests, their bodies, and sending them.

use super::fields::Fields;
use super::kinds::{ErrorCode, Method, Scheme};
use crate::capability::held::Hold;
use crate::capability::http::{Arrived, begin};
use crate::capability::pending::Pending;
use crate::capability::wasi::io::{OutputStream, sink};
use crate::guest::{Cx, Guest, enter, require};
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::outside::{HttpFault, HttpFaultKind, HttpRequest};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::component::{LinkerInstance, Resource, ResourceType};

const INTERFACE: &str = "wasi:http/outgoing-handler";
/// Nanoseconds of a millisecond.
const MS: u64 = 1_000_000;

/// A request before it goes.
#[derive(Debug, Default)]
struct OutgoingRequest {
    method: Method,
    scheme: Option<Scheme>,
    authority: Option<String>,
    path_with_query: Option<String>,
    headers: Fields,
    exchange: Exchange,
    /// Whether the guest has its body.
    has_body: bool,
}

/// How long a request may take, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct RequestOptions {
    connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

impl RequestOptions {
    /// For all of it; whoever waits for the first byte waits for the last one here.
    fn timeout_ms(self) -> Option<u64> {
        let rest = self.connect.unwrap_or(0).saturating_add(self.between_bytes.unwrap_or(0));
        self.first_byte.map(|first| first.saturating_add(rest) / MS)
    }
}

/// One request and its answer, as its body, its future and its pollables share it.
#[derive(Clone, Debug, Default)]
pub(in crate::capability::wasi) struct Exchange(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    body: Vec<u8>,
    /// What the body takes.
    hold: Option<Hold>,
    /// How the body ended, once it has.
    ended: Option<Result<(), HttpFault>>,
    /// The rest of the request, once it was handed over, until it goes.
    request: Option<(HttpRequest, Option<String>)>,
    call: Option<Pending<Arrived>>,
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether there is an answer, or why there is none.
    pub(crate) fn is_answered(&self) -> bool {
        let is_there = |call: &Pending<Arrived>| call.place().load(std::sync::atomic::Ordering::Relaxed) > 0;
        self.state().call.as_ref().is_some_and(is_there)
    }
    /// Whether it is on its way, or answered.
    pub(crate) fn is_sent(&self) -> bool {
        self.state().call.is_some()
    }
    /// The call, which is taken once.
    pub(super) fn take(&self) -> Option<crate::capability::pending::Running<Arrived>> {
        self.state().call.as_mut()?.take()
    }
    /// Takes what the guest writes of the body. `false` where there may be no more of it.
    pub(crate) fn write(&self, guest: &Guest, bytes: &[u8]) -> bool {
        let mut state = self.state();
        let most = guest.limits.http_request_bytes;
        if state.ended.is_some() {
            return false;
        }
        let fault = |message: String| Some(Err(HttpFault::new(HttpFaultKind::Invalid, message)));
        if (state.body.len() + bytes.len()) as u64 > most {
            state.ended = fault(format!("the body has more than {most} bytes (`limits.http_request_bytes`)"));
            return false;
        }
        match guest.http_held.hold(bytes.len() as u64) {
            Ok(hold) => match &mut state.hold {
                Some(held) => held.add(hold),
                empty => *empty = Some(hold),
            },
            Err(why) => {
                state.ended = fault(why);
                return false;
            }
        }
        state.body.extend_from_slice(bytes);
        true
    }
    /// The body has ended; where the request waits for that, it goes.
    fn end(&self, guest: &mut Guest, how: Result<(), HttpFault>) {
        let mut state = self.state();
        state.ended.get_or_insert(how);
        go(&mut state, guest);
    }
}

/// Sends a request whose body has ended.
fn go(state: &mut State, guest: &mut Guest) {
    if state.ended.is_none() {
        return;
    }
    let Some((request, length)) = state.request.take() else { return };
    let body = std::mem::take(&mut state.body);
    state.hold = None;
    let wrong = length.filter(|length| length.trim() != body.len().to_string());
    let ended = state.ended.clone().unwrap_or(Ok(()));
    let ended = ended.and(match wrong {
        None => Ok(()),
        Some(length) => Err(HttpFault::new(
            HttpFaultKind::Invalid,
            format!("the header `content-length` says `{length}`, and the body has {} bytes", body.len()),
        )),
    });
    let request = ended.map(|()| HttpRequest { body: Some(body), ..request });
    state.call = Some(begin(guest, request));
}

/// The body of a request, as the guest writes it. One that is dropped before it is finished is no body.
#[derive(Debug)]
struct OutgoingBody {
    exchange: Exchange,
    is_written: bool,
}

pub(super) fn link(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    requests(types)?;
    options(types)?;
    bodies(types)
}

/// Sends a request.
pub(super) fn link_handler(handler: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Params = (Resource<OutgoingRequest>, Option<Resource<RequestOptions>>);
    handler.func_wrap("handle", |mut cx: Cx<'_>, (request, options): Params| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        enter(&mut cx, 0)?;
        let guest = cx.data_mut();
        let request = guest.table.delete(request)?;
        let options = options.map(|options| guest.table.delete(options)).transpose()?.unwrap_or_default();
        let scheme = request.scheme.unwrap_or(Scheme::Https);
        let authority = request.authority.unwrap_or_default();
        let path = request.path_with_query.unwrap_or_else(|| "/".to_owned());
        let (headers, length) = request.headers.sent();
        let whole = HttpRequest {
            method: request.method.word().to_owned(),
            url: format!("{}://{authority}{path}", scheme.word()),
            headers,
            body: None,
            timeout_ms: options.timeout_ms(),
        };
        let exchange = request.exchange;
        let mut state = exchange.state();
        state.request = Some((whole, length));
        if !request.has_body {
            state.ended = Some(Ok(()));
        }
        go(&mut state, guest);
        drop(state);
        Ok((Ok::<_, ErrorCode>(guest.push(super::response::FutureResponse(exchange))?),))
    })
}

fn requests(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("outgoing-request", ResourceType::host::<OutgoingRequest>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<OutgoingRequest>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap("[constructor]outgoing-request", |mut cx: Cx<'_>, (headers,): (Resource<Fields>,)| {
        enter(&mut cx, 0)?;
        let headers = cx.data_mut().table.delete(headers)?.fix();
        Ok((cx.data_mut().push(OutgoingRequest { headers, ..OutgoingRequest::default() })?,))
    })?;
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut cx: Cx<'_>, (request,): (Resource<OutgoingRequest>,)| {
            enter(&mut cx, 0)?;
            let request = cx.data_mut().table.get_mut(&request)?;
            if std::mem::replace(&mut request.has_body, true) {
                return Ok((Err(()),));
            }
            let exchange = request.exchange.clone();
            Ok((Ok(cx.data_mut().push(OutgoingBody { exchange, is_written: false })?),))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.headers",
        |mut cx: Cx<'_>, (request,): (Resource<OutgoingRequest>,)| {
            enter(&mut cx, 0)?;
            let entries = cx.data().table.get(&request)?.headers.entries().clone();
            Ok((Fields::hold(cx.data_mut(), entries, true)?,))
        },
    )?;
    parts(types)
}

/// The parts of a request that can be read and set.
fn parts(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    macro_rules! part {
        ($get:literal, $set:literal, $field:ident: $type:ty, $bytes:expr) => {
            types.func_wrap($get, |mut cx: Cx<'_>, (request,): (Resource<OutgoingRequest>,)| {
                enter(&mut cx, 0)?;
                Ok((cx.data().table.get(&request)?.$field.clone(),))
            })?;
            types.func_wrap(
                $set,
                |mut cx: Cx<'_>, (request, part): (Resource<OutgoingRequest>, $type)| {
                    let bytes: fn(&$type) -> usize = $bytes;
                    let bytes = bytes(&part);
                    enter(&mut cx, bytes)?;
                    // What is longer is no part of any address or method that is sent.
                    if bytes > heddle_core::outside::URL_BYTES {
                        return Ok((Err(()),));
                    }
                    cx.data_mut().table.get_mut(&request)?.$field = part;
                    Ok((Ok::<(), ()>(()),))
                },
            )?;
        };
    }
    part!("[method]outgoing-request.method", "[method]outgoing-request.set-method", method: Method, |method| method.word().len());
    part!("[method]outgoing-request.scheme", "[method]outgoing-request.set-scheme", scheme: Option<Scheme>, |scheme| scheme.as_ref().map_or(0, |scheme| scheme.word().len()));
    part!("[method]outgoing-request.authority", "[method]outgoing-request.set-authority", authority: Option<String>, |text| text.as_ref().map_or(0, String::len));
    part!("[method]outgoing-request.path-with-query", "[method]outgoing-request.set-path-with-query", path_with_query: Option<String>, |text| text.as_ref().map_or(0, String::len));
    Ok(())
}

fn options(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("request-options", ResourceType::host::<RequestOptions>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<RequestOptions>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap("[constructor]request-options", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((cx.data_mut().push(RequestOptions::default())?,))
    })?;
    macro_rules! timeout {
        ($get:literal, $set:literal, $field:ident) => {
            types.func_wrap($get, |mut cx: Cx<'_>, (options,): (Resource<RequestOptions>,)| {
                enter(&mut cx, 0)?;
                Ok((cx.data().table.get(&options)?.$field,))
            })?;
            type Params = (Resource<RequestOptions>, Option<u64>);
            types.func_wrap($set, |mut cx: Cx<'_>, (options, time): Params| {
                enter(&mut cx, 0)?;
                cx.data_mut().table.get_mut(&options)?.$field = time;
                Ok((Ok::<(), ()>(()),))
            })?;
        };
    }
    {
        timeout!(
            "[method]request-options.connect-timeout",
            "[method]request-options.set-connect-timeout",
            connect
        );
    }
    {
        timeout!(
            "[method]request-options.first-byte-timeout",
            "[method]request-options.set-first-byte-timeout",
            first_byte
        );
    }
    {
        timeout!(
            "[method]request-options.between-bytes-timeout",
            "[method]request-options.set-between-bytes-timeout",
            between_bytes
        );
    }
    Ok(())
}

fn bodies(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("outgoing-body", ResourceType::host::<OutgoingBody>(), |mut cx, rep| {
        let guest = cx.data_mut();
        let body = guest.table.delete(Resource::<OutgoingBody>::new_own(rep))?;
        let message = "the body of a request was dropped before it was finished";
        body.exchange.end(guest, Err(HttpFault::new(HttpFaultKind::Invalid, message)));
        Ok(())
    })?;
    types.func_wrap(
        "[method]outgoing-body.write",
        |mut cx: Cx<'_>, (body,): (Resource<OutgoingBody>,)| {
            enter(&mut cx, 0)?;
            let body = cx.data_mut().table.get_mut(&body)?;
            if std::mem::replace(&mut body.is_written, true) {
                return Ok((Err(()),));
            }
            let exchange = body.exchange.clone();
            Ok((Ok::<Resource<OutputStream>, ()>(sink(cx.data_mut(), exchange)?),))
        },
    )?;
    type Params = (Resource<OutgoingBody>, Option<Resource<Fields>>);
    types.func_wrap("[static]outgoing-body.finish", |mut cx: Cx<'_>, (body, trailers): Params| {
        enter(&mut cx, 0)?;
        let guest = cx.data_mut();
        let body = guest.table.delete(body)?;
        let trailers = trailers.map(|trailers| guest.table.delete(trailers)).transpose()?;
        let is_plain = trailers.is_none_or(|trailers| trailers.entries().is_empty());
        let how = match is_plain {
            true => Ok(()),
            false => Err(HttpFault::new(HttpFaultKind::Invalid, "requests are sent without trailers")),
        };
        body.exchange.end(guest, how);
        Ok((Ok::<(), ErrorCode>(()),))
    })
}
