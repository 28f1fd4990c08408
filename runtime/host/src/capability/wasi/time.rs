//! `wasi:clocks` and `wasi:random`: the same time and randomness as Heddle's own interfaces, under WASI's names.

use super::io::Pollable;
use super::name;
use crate::capability::clock::STEP_NS;
use crate::capability::random::{draw, draw_u64};
use crate::guest::{Cx, Guest, enter};
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};

#[derive(Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut wall = linker.instance(&name("clocks/wall-clock"))?;
    wall.func_wrap("now", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        let now_ms = cx.data().clock.now_ms();
        Ok((Datetime { seconds: now_ms / 1_000, nanoseconds: (now_ms % 1_000) as u32 * 1_000_000 },))
    })?;
    wall.func_wrap("resolution", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Datetime { seconds: 0, nanoseconds: STEP_NS as u32 },))
    })?;

    let mut monotonic = linker.instance(&name("clocks/monotonic-clock"))?;
    monotonic.func_wrap("now", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((cx.data().clock.monotonic_ns(),))
    })?;
    monotonic.func_wrap("resolution", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((STEP_NS,))
    })?;
    monotonic.func_wrap("subscribe-instant", |mut cx: Cx<'_>, (at,): (u64,)| subscribe(&mut cx, at))?;
    monotonic.func_wrap("subscribe-duration", |mut cx: Cx<'_>, (wait,): (u64,)| {
        let at = cx.data().clock.monotonic_ns().saturating_add(wait);
        subscribe(&mut cx, at)
    })?;

    let mut random = linker.instance(&name("random/random"))?;
    random.func_wrap("get-random-bytes", |mut cx: Cx<'_>, (len,): (u64,)| Ok((draw(&mut cx, len)?,)))?;
    random.func_wrap("get-random-u64", |mut cx: Cx<'_>, (): ()| Ok((draw_u64(&mut cx)?,)))?;
    let mut insecure = linker.instance(&name("random/insecure"))?;
    insecure.func_wrap("get-insecure-random-bytes", |mut cx: Cx<'_>, (len,): (u64,)| {
        Ok((draw(&mut cx, len)?,))
    })?;
    insecure.func_wrap("get-insecure-random-u64", |mut cx: Cx<'_>, (): ()| Ok((draw_u64(&mut cx)?,)))?;
    linker
        .instance(&name("random/insecure-seed"))?
        .func_wrap("insecure-seed", |mut cx: Cx<'_>, (): ()| Ok(((draw_u64(&mut cx)?, draw_u64(&mut cx)?),)))
}

/// A sleep is real where the kind's time is, and over at once where it is not.
fn subscribe(cx: &mut Cx<'_>, at_ns: u64) -> wasmtime::Result<(Resource<Pollable>,)> {
    enter(cx, 0)?;
    let pollable = cx.data().clock.instant_at(at_ns).map_or(Pollable::Ready, Pollable::At);
    Ok((cx.data_mut().push(pollable)?,))
}
