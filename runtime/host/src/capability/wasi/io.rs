//! `wasi:io`: streams that end in the log, and pollables.
//!
//! stdin is at its end. stdout and stderr take everything and keep what the limits let them; the bodies of requests and
//! answers are streams too ([`http`](super::http)). A pollable is ready at once, at an instant, or when there is an answer;
//! a guest that polls holds no thread while it waits.

use super::http::Exchange;
use super::name;
use crate::capability::held::Hold;
use crate::capability::log::Stdio;
use crate::guest::{Cx, Guest, carried, enter};
use crate::refusal::Refusal;
use heddle_core::outcome::{FailureKind, PluginKind};
use std::time::Instant;
use tokio::sync::Notify;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

/// `wasi:io/error.error`: never made, because nothing here fails.
pub(super) enum StreamFault {}
/// `input-stream`: [`STDIN`], or a [`Source`] of the table.
pub(super) enum InputStream {}
/// `output-stream`: [`STDOUT`], [`STDERR`], or a [`Sink`] of the table.
pub(super) enum OutputStream {}

/// Bytes that have come, as far as they were not read.
struct Source {
    bytes: Vec<u8>,
    at: usize,
    /// What they take.
    _hold: Option<Hold>,
}

/// The body of a request.
struct Sink(Exchange);

/// A stream of bytes that have come.
pub(super) fn source(
    guest: &mut Guest,
    bytes: Vec<u8>,
    hold: Option<Hold>,
) -> wasmtime::Result<Resource<InputStream>> {
    let source = guest.push(Source { bytes, at: 0, _hold: hold })?;
    Ok(Resource::new_own(source.rep() + TABLE))
}

/// A stream into the body of a request.
pub(super) fn sink(guest: &mut Guest, exchange: Exchange) -> wasmtime::Result<Resource<OutputStream>> {
    let sink = guest.push(Sink(exchange))?;
    Ok(Resource::new_own(sink.rep() + TABLE))
}

/// What a stream is in the table; nothing for one that is known by number.
fn in_table<T: 'static>(rep: u32) -> Option<Resource<T>> {
    rep.checked_sub(TABLE).map(Resource::new_own)
}

/// The three streams are known by number; no table has to hold them.
pub(super) const STDIN: u32 = 0;
pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;
/// Streams of the table are known by their number there and this.
const TABLE: u32 = 16;

/// What `check-write` grants at a time.
const WRITE_BYTES: u64 = 64 << 10;
/// What `write-zeroes` hands on at a time.
const ZEROES: [u8; 4096] = [0; 4096];

/// `wasi:io/poll.pollable`.
#[derive(Clone, Debug)]
pub(super) enum Pollable {
    Ready,
    At(Instant),
    Answer(Exchange),
}

impl Pollable {
    fn is_ready(&self) -> bool {
        match self {
            Pollable::Ready => true,
            Pollable::At(instant) => *instant <= Instant::now(),
            Pollable::Answer(exchange) => exchange.is_answered(),
        }
    }
    /// When it is ready, where that is known.
    fn at(&self) -> Option<Instant> {
        match self {
            Pollable::At(instant) => Some(*instant),
            Pollable::Ready | Pollable::Answer(_) => None,
        }
    }
}

/// Waits until one of these is ready, and gives the indexes of those that are. `news` are told whenever an answer comes.
async fn first_ready(news: &Notify, pollables: &[Pollable]) -> Vec<u32> {
    loop {
        let ready = pollables.iter().enumerate().filter(|(_, pollable)| pollable.is_ready());
        let ready: Vec<u32> = ready.map(|(index, _)| index as u32).collect();
        if !ready.is_empty() {
            return ready;
        }
        match pollables.iter().filter_map(Pollable::at).min() {
            // That it is over is what was waited for.
            Some(first) => drop(tokio::time::timeout_at(first.into(), news.notified()).await),
            None => news.notified().await,
        }
    }
}

/// For an agent, an exchange that is answered if it was sent: its time stands still until then, so whether an answer is
/// there already is nothing that it could see, and nothing that has to be recorded.
pub(super) async fn settled(cx: &mut Cx<'_>, exchange: Exchange) -> Exchange {
    let guest = cx.data_mut();
    if guest.acts_as == PluginKind::Agent && exchange.is_sent() {
        let news = guest.http.news();
        let awaited = [Pollable::Answer(exchange.clone())];
        let waits = guest.own_time(async move { first_ready(&news, &awaited).await });
        waits.await;
    }
    exchange
}

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "part of the interface's type; nothing here fails")]
    LastOperationFailed(Resource<StreamFault>),
    #[component(name = "closed")]
    Closed,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut error = linker.instance(&name("io/error"))?;
    error.resource("error", ResourceType::host::<StreamFault>(), |_, _| Ok(()))?;
    error.func_wrap("[method]error.to-debug-string", |mut cx: Cx<'_>, (_,): (Resource<StreamFault>,)| {
        enter(&mut cx, 0)?;
        Ok((String::new(),))
    })?;
    poll(&mut linker.instance(&name("io/poll"))?)?;
    let mut streams = linker.instance(&name("io/streams"))?;
    input(&mut streams)?;
    output(&mut streams)
}

fn poll(poll: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    poll.resource("pollable", ResourceType::host::<Pollable>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Pollable>::new_own(rep))?;
        Ok(())
    })?;
    poll.func_wrap_async("[method]pollable.ready", |mut cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move {
            enter(&mut cx, 0)?;
            let pollable = cx.data().table.get(&pollable)?.clone();
            Ok((match pollable {
                Pollable::Answer(exchange) => settled(&mut cx, exchange).await.is_answered(),
                other => other.is_ready(),
            },))
        })
    })?;
    poll.func_wrap_async("[method]pollable.block", |mut cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move {
            enter(&mut cx, 0)?;
            let guest = cx.data_mut();
            let pollable = guest.table.get(&pollable)?.clone();
            let news = guest.http.news();
            let pollables = [pollable];
            let waits = guest.own_time(async move { first_ready(&news, &pollables).await });
            waits.await;
            Ok(())
        })
    })?;
    poll.func_wrap_async("poll", |mut cx: Cx<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move {
            enter(&mut cx, pollables.len() * 4)?;
            let guest = cx.data_mut();
            refuse_lengths(guest, pollables.len())?;
            let found = pollables.iter().map(|pollable| guest.table.get(pollable).cloned());
            let found: Vec<Pollable> = found.collect::<Result<_, _>>()?;
            let (news, count) = (guest.http.news(), found.len() as u32);
            let first = async move { first_ready(&news, &found).await };
            let picked = guest.host_calls.pick(&guest.scope, Box::pin(first));
            let picked = guest.own_time(picked);
            let mut ready = picked.await;
            ready.retain(|index| *index < count);
            Ok((ready,))
        })
    })
}

fn refuse_lengths(guest: &Guest, len: usize) -> Result<(), Refusal> {
    let max = guest.limits.pollables;
    if len == 0 {
        return Err(Refusal::new(FailureKind::Trap, "`poll` was given no pollable").with_code("empty_poll"));
    }
    if len as u64 > max {
        let message = format!("{len} pollables in one `poll`; `limits.pollables` is {max}");
        return Err(Refusal::new(FailureKind::HandleLimit, message));
    }
    Ok(())
}

/// A pollable that is ready, for streams.
fn ready(cx: &mut Cx<'_>) -> wasmtime::Result<(Resource<Pollable>,)> {
    enter(cx, 0)?;
    Ok((cx.data_mut().push(Pollable::Ready)?,))
}

fn input(streams: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type End<T> = Result<T, StreamError>;
    streams.resource("input-stream", ResourceType::host::<InputStream>(), |mut cx, rep| {
        if let Some(source) = in_table::<Source>(rep) {
            cx.data_mut().table.delete(source)?;
        }
        Ok(())
    })?;
    for function in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        streams.func_wrap(function, |mut cx: Cx<'_>, (stream, len): (Resource<InputStream>, u64)| {
            enter(&mut cx, 0)?;
            Ok((End::<Vec<u8>>::from(read(&mut cx, &stream, len)?.ok_or(StreamError::Closed)),))
        })?;
    }
    for function in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        streams.func_wrap(function, |mut cx: Cx<'_>, (stream, len): (Resource<InputStream>, u64)| {
            enter(&mut cx, 0)?;
            let skipped = read(&mut cx, &stream, len)?.map(|bytes| bytes.len() as u64);
            Ok((End::<u64>::from(skipped.ok_or(StreamError::Closed)),))
        })?;
    }
    streams.func_wrap("[method]input-stream.subscribe", |mut cx: Cx<'_>, (_,): (Resource<InputStream>,)| {
        ready(&mut cx)
    })
}

/// The next bytes of a stream; none at its end.
fn read(cx: &mut Cx<'_>, stream: &Resource<InputStream>, len: u64) -> wasmtime::Result<Option<Vec<u8>>> {
    let Some(source) = in_table::<Source>(stream.rep()) else { return Ok(None) };
    let source = cx.data_mut().table.get_mut(&source)?;
    let left = source.bytes.len() - source.at;
    if left == 0 {
        return Ok(None);
    }
    let end = source.at + left.min(len.min(WRITE_BYTES) as usize);
    let bytes = source.bytes[source.at..end].to_vec();
    source.at = end;
    carried(cx, bytes.len())?;
    Ok(Some(bytes))
}

/// Writes into a stream. `false` where it takes no more.
fn write(cx: &mut Cx<'_>, stream: &Resource<OutputStream>, bytes: &[u8]) -> wasmtime::Result<bool> {
    let Some(sink) = in_table::<Sink>(stream.rep()) else {
        cx.data_mut().write_stdio(stdio(stream), bytes);
        return Ok(true);
    };
    let exchange = cx.data().table.get(&sink)?.0.clone();
    Ok(exchange.write(cx.data(), bytes))
}

fn output(streams: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Done<T> = Result<T, StreamError>;
    let written = |is_open: bool| if is_open { Done::Ok(()) } else { Done::Err(StreamError::Closed) };
    streams.resource("output-stream", ResourceType::host::<OutputStream>(), |mut cx, rep| {
        if let Some(sink) = in_table::<Sink>(rep) {
            cx.data_mut().table.delete(sink)?;
        }
        Ok(())
    })?;
    streams.func_wrap(
        "[method]output-stream.check-write",
        |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
            enter(&mut cx, 0)?;
            Ok((Done::Ok(WRITE_BYTES),))
        },
    )?;
    for function in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        streams.func_wrap(
            function,
            move |mut cx: Cx<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                enter(&mut cx, bytes.len())?;
                Ok((written(write(&mut cx, &stream, &bytes)?),))
            },
        )?;
    }
    for function in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        streams.func_wrap(function, |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
            enter(&mut cx, 0)?;
            Ok((Done::Ok(()),))
        })?;
    }
    streams
        .func_wrap("[method]output-stream.subscribe", |mut cx: Cx<'_>, (_,): (Resource<OutputStream>,)| {
            ready(&mut cx)
        })?;
    for function in
        ["[method]output-stream.write-zeroes", "[method]output-stream.blocking-write-zeroes-and-flush"]
    {
        streams.func_wrap(
            function,
            move |mut cx: Cx<'_>, (stream, len): (Resource<OutputStream>, u64)| {
                let len = len.min(WRITE_BYTES) as usize;
                enter(&mut cx, len)?;
                let mut is_open = true;
                for begin in (0..len).step_by(ZEROES.len()) {
                    is_open = write(&mut cx, &stream, &ZEROES[..ZEROES.len().min(len - begin)])?;
                }
                Ok((written(is_open),))
            },
        )?;
    }
    for function in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        type Params = (Resource<OutputStream>, Resource<InputStream>, u64);
        streams.func_wrap(function, |mut cx: Cx<'_>, (to, from, len): Params| {
            enter(&mut cx, 0)?;
            let Some(bytes) = read(&mut cx, &from, len)? else {
                return Ok((Done::<u64>::Err(StreamError::Closed),));
            };
            let is_open = write(&mut cx, &to, &bytes)?;
            Ok((if is_open { Done::Ok(bytes.len() as u64) } else { Done::Err(StreamError::Closed) },))
        })?;
    }
    Ok(())
}

fn stdio(stream: &Resource<OutputStream>) -> Stdio {
    if stream.rep() == STDERR { Stdio::Err } else { Stdio::Out }
}
