//! `heddle:host/context`: who is being run, and for whom. Frozen when the attempt opens, but for the fuel.

use crate::bindings::Context;
use crate::guest::{Cx, Guest, enter, require};
use heddle_core::id::idempotency_key;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/context@0.1.0";

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("current", |mut cx: Cx<'_>, (): ()| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        enter(&mut cx, 0)?;
        let fuel_left = cx.get_fuel()?;
        let scope = &cx.data().scope;
        Ok((Context {
            tenant: scope.share.tenant.to_string(),
            run: scope.run.to_string(),
            step: scope.step.to_string(),
            item: scope.item,
            attempt: scope.told_attempt,
            idempotency_key: idempotency_key(
                scope.run,
                &scope.step,
                scope.item,
                scope.alternative,
                scope.within.as_deref(),
            ),
            deadline_ms: scope.deadline_ms,
            fuel_left,
            traceparent: scope.traceparent.clone(),
        },))
    })
}
