//! `heddle:host/secret`: what stands for a secret. The value is never here: it is put in on the way out.

use crate::guest::{Cx, Guest, answered, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::HostCall;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/secret@0.1.0";

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap_async("get", |mut cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            require(&cx, &[Tool, Agent], INTERFACE)?;
            enter(&mut cx, name.len())?;
            let answer = answered(&mut cx, HostCall::Secret(name)).await?;
            Ok((answer.secret().map_err(Refusal::from)?,))
        })
    })
}
