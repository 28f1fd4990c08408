//! `wasi:cli`: nothing but streams into the log, and `exit`.

use super::io::{InputStream, OutputStream, STDERR, STDIN, STDOUT};
use super::name;
use crate::guest::{Cx, Guest, enter};
use crate::refusal::Refusal;
use heddle_core::outcome::FailureKind;
use wasmtime::component::{Linker, Resource, ResourceType};

/// `terminal-input` and `terminal-output`: there is never one.
enum Terminal {}

fn exit(cx: &mut Cx<'_>, status: u8) -> wasmtime::Error {
    if let Err(fault) = enter(cx, 0) {
        return fault;
    }
    let message =
        format!("the guest called `exit({status})` instead of returning; return the output or a failure");
    Refusal::new(FailureKind::GuestExit, message).with_code(status.to_string()).into()
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut environment = linker.instance(&name("cli/environment"))?;
    environment.func_wrap("get-environment", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    environment.func_wrap("get-arguments", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Vec::<String>::new(),))
    })?;
    environment.func_wrap("initial-cwd", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((None::<String>,))
    })?;

    let mut exits = linker.instance(&name("cli/exit"))?;
    exits.func_wrap("exit", |mut cx: Cx<'_>, (status,): (Result<(), ()>,)| {
        Err::<(), _>(exit(&mut cx, u8::from(status.is_err())))
    })?;
    exits.func_wrap("exit-with-code", |mut cx: Cx<'_>, (status,): (u8,)| {
        Err::<(), _>(exit(&mut cx, status))
    })?;

    linker.instance(&name("cli/stdin"))?.func_wrap("get-stdin", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Resource::<InputStream>::new_own(STDIN),))
    })?;
    linker.instance(&name("cli/stdout"))?.func_wrap("get-stdout", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Resource::<OutputStream>::new_own(STDOUT),))
    })?;
    linker.instance(&name("cli/stderr"))?.func_wrap("get-stderr", |mut cx: Cx<'_>, (): ()| {
        enter(&mut cx, 0)?;
        Ok((Resource::<OutputStream>::new_own(STDERR),))
    })?;
    terminals(linker)
}

fn terminals(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for (interface, resource) in
        [("cli/terminal-input", "terminal-input"), ("cli/terminal-output", "terminal-output")]
    {
        linker
            .instance(&name(interface))?
            .resource(resource, ResourceType::host::<Terminal>(), |_, _| Ok(()))?;
    }
    for (interface, function) in [
        ("cli/terminal-stdin", "get-terminal-stdin"),
        ("cli/terminal-stdout", "get-terminal-stdout"),
        ("cli/terminal-stderr", "get-terminal-stderr"),
    ] {
        linker.instance(&name(interface))?.func_wrap(function, |mut cx: Cx<'_>, (): ()| {
            enter(&mut cx, 0)?;
            Ok((None::<Resource<Terminal>>,))
        })?;
    }
    Ok(())
}
