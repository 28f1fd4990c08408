//! `heddle:host/secret`: what stands for a secret. The value is never here: it is put in on the way out.

use crate::guest::{Cx, Guest, enter, require};
use heddle_core::outcome::PluginKind::{Agent, Tool};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/secret@0.1.0";

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("get", |mut cx: Cx<'_>, (name,): (String,)| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        enter(&mut cx, name.len())?;
        let guest = cx.data();
        Ok((guest.host_calls.secret(&guest.scope, &name),))
    })
}
