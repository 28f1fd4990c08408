//! `wasi:io`: streams that end in the log, and pollables.
//!
//! stdin is at its end. stdout and stderr take everything and keep what the limits let them. A pollable is ready at
//! once, or at an instant; a guest that polls holds no thread while it waits.

use super::name;
use crate::capability::log::Stdio;
use crate::guest::{Cx, Guest, enter};
use crate::refusal::Refusal;
use heddle_core::outcome::FailureKind;
use std::time::Instant;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

/// `wasi:io/error.error`: never made, because nothing here fails.
pub(super) enum StreamFault {}
/// `input-stream`: there is only [`STDIN`].
pub(super) enum InputStream {}
/// `output-stream`: [`STDOUT`] or [`STDERR`].
pub(super) enum OutputStream {}

/// The three streams are known by number; no table has to hold them.
pub(super) const STDIN: u32 = 0;
pub(super) const STDOUT: u32 = 1;
pub(super) const STDERR: u32 = 2;

/// What `check-write` grants at a time.
const WRITE_BYTES: u64 = 64 << 10;
/// What `write-zeroes` hands on at a time.
const ZEROES: [u8; 4096] = [0; 4096];

/// `wasi:io/poll.pollable`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pollable {
    Ready,
    At(Instant),
}

impl Pollable {
    /// When it is ready; nothing when it is already.
    fn waits_for(self) -> Option<Instant> {
        match self {
            Pollable::At(instant) if instant > Instant::now() => Some(instant),
            Pollable::At(_) | Pollable::Ready => None,
        }
    }
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
    poll.func_wrap("[method]pollable.ready", |mut cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
        enter(&mut cx, 0)?;
        Ok((cx.data().table.get(&pollable)?.waits_for().is_none(),))
    })?;
    poll.func_wrap_async("[method]pollable.block", |mut cx: Cx<'_>, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move {
            enter(&mut cx, 0)?;
            if let Some(instant) = cx.data().table.get(&pollable)?.waits_for() {
                tokio::time::sleep_until(instant.into()).await;
            }
            Ok(())
        })
    })?;
    poll.func_wrap_async("poll", |mut cx: Cx<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move {
            enter(&mut cx, pollables.len() * 4)?;
            let guest = cx.data();
            refuse_lengths(guest, pollables.len())?;
            let waits: Vec<Option<Instant>> = pollables
                .iter()
                .map(|pollable| guest.table.get(pollable).map(|pollable| pollable.waits_for()))
                .collect::<Result<_, _>>()?;
            let first = waits.iter().copied().min().flatten();
            if let Some(first) = first {
                tokio::time::sleep_until(first.into()).await;
            }
            let ready = |wait: &Option<Instant>| wait.is_none_or(|instant| Some(instant) <= first);
            let indexes =
                waits.iter().enumerate().filter(|(_, wait)| ready(wait)).map(|(index, _)| index as u32);
            Ok((indexes.collect::<Vec<u32>>(),))
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
    streams.resource("input-stream", ResourceType::host::<InputStream>(), |_, _| Ok(()))?;
    for function in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        streams.func_wrap(function, |mut cx: Cx<'_>, (_, _): (Resource<InputStream>, u64)| {
            enter(&mut cx, 0)?;
            Ok((End::<Vec<u8>>::Err(StreamError::Closed),))
        })?;
    }
    for function in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        streams.func_wrap(function, |mut cx: Cx<'_>, (_, _): (Resource<InputStream>, u64)| {
            enter(&mut cx, 0)?;
            Ok((End::<u64>::Err(StreamError::Closed),))
        })?;
    }
    streams.func_wrap("[method]input-stream.subscribe", |mut cx: Cx<'_>, (_,): (Resource<InputStream>,)| {
        ready(&mut cx)
    })
}

fn output(streams: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Done<T> = Result<T, StreamError>;
    streams.resource("output-stream", ResourceType::host::<OutputStream>(), |_, _| Ok(()))?;
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
            |mut cx: Cx<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                enter(&mut cx, bytes.len())?;
                cx.data_mut().write_stdio(stdio(&stream), &bytes);
                Ok((Done::Ok(()),))
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
        streams.func_wrap(function, |mut cx: Cx<'_>, (stream, len): (Resource<OutputStream>, u64)| {
            let len = len.min(WRITE_BYTES) as usize;
            enter(&mut cx, len)?;
            for begin in (0..len).step_by(ZEROES.len()) {
                cx.data_mut().write_stdio(stdio(&stream), &ZEROES[..ZEROES.len().min(len - begin)]);
            }
            Ok((Done::Ok(()),))
        })?;
    }
    for function in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        type Params = (Resource<OutputStream>, Resource<InputStream>, u64);
        streams.func_wrap(function, |mut cx: Cx<'_>, (_, _, _): Params| {
            enter(&mut cx, 0)?;
            Ok((Done::<u64>::Err(StreamError::Closed),))
        })?;
    }
    Ok(())
}

fn stdio(stream: &Resource<OutputStream>) -> Stdio {
    if stream.rep() == STDERR { Stdio::Err } else { Stdio::Out }
}
