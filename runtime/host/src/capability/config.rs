//! `heddle:host/config`: what the operator tells the plugin.

use crate::guest::{Cx, Guest, enter, require};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::value::Value;
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/config@0.1.0";

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut config = linker.instance(INTERFACE)?;
    config.func_wrap("get", |mut cx: Cx<'_>, (name,): (String,)| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        let said = said(&cx);
        let value = said.and_then(|said| said.value().get(&name).cloned()).map(Json::from_value);
        enter(&mut cx, name.len() + value.as_ref().map_or(0, Json::size))?;
        Ok((value.map(|value| value.text().to_owned()),))
    })?;
    config.func_wrap("names", |mut cx: Cx<'_>, (): ()| {
        require(&cx, &[Tool, Agent], INTERFACE)?;
        let names: Vec<String> = match said(&cx).as_ref().map(Json::value) {
            Some(Value::Map(said)) => said.keys().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        enter(&mut cx, names.iter().map(String::len).sum())?;
        Ok((names,))
    })
}

fn said(cx: &Cx<'_>) -> Option<Json> {
    let guest = cx.data();
    guest.host_calls.config(&guest.scope)
}
