//! `heddle:host/config`: what the operator tells the plugin.

use crate::guest::{Cx, Guest, answered, carried, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::HostCall;
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::value::Value;
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/config@0.1.0";

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut config = linker.instance(INTERFACE)?;
    config.func_wrap_async("get", |mut cx: Cx<'_>, (name,): (String,)| {
        Box::new(async move {
            let said = said(&mut cx, name.len()).await?;
            let value = said.and_then(|said| said.value().get(&name).cloned()).map(Json::from_value);
            carried(&mut cx, value.as_ref().map_or(0, Json::size))?;
            Ok((value.map(|value| value.text().to_owned()),))
        })
    })?;
    config.func_wrap_async("names", |mut cx: Cx<'_>, (): ()| {
        Box::new(async move {
            let names: Vec<String> = match said(&mut cx, 0).await?.as_ref().map(Json::value) {
                Some(Value::Map(said)) => said.keys().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            carried(&mut cx, names.iter().map(String::len).sum())?;
            Ok((names,))
        })
    })
}

async fn said(cx: &mut Cx<'_>, bytes: usize) -> wasmtime::Result<Option<Json>> {
    require(cx, &[Tool, Agent], INTERFACE)?;
    enter(cx, bytes)?;
    // It says the same for as long as the attempt lasts, so it is asked for once.
    if let Some(told) = cx.data().told_config.clone() {
        return Ok(told);
    }
    let told = answered(cx, HostCall::Config).await?.config().map_err(Refusal::from)?;
    cx.data_mut().told_config = Some(told.clone());
    Ok(told)
}
