//! `heddle:host/kv`: values that a plugin keeps. What it may keep and where is decided behind
//! [`HostCalls`](crate::HostCalls).

use crate::bindings::kv::{Entry, Fault};
use crate::guest::{Cx, Guest, answered, carried, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::HostCall;
use heddle_core::outcome::FailureKind;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::outside::{KvAnswer, KvCall, KvFault};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/kv@0.1.0";
/// Keys of one list.
const KEYS: u32 = 1_000;

/// Asks, after the call was paid for.
async fn ask(cx: &mut Cx<'_>, bytes: usize, call: KvCall) -> wasmtime::Result<Result<KvAnswer, Fault>> {
    require(cx, &[Tool, Agent], INTERFACE)?;
    enter(cx, bytes)?;
    let answer = answered(cx, HostCall::Kv(call)).await?.kv().map_err(Refusal::from)?;
    Ok(answer.map_err(|fault| match fault {
        KvFault::Denied(why) => Fault::Denied(why),
        KvFault::TooLarge(why) => Fault::TooLarge(why),
        KvFault::Conflict(version) => Fault::Conflict(version),
        KvFault::NotANumber(why) => Fault::NotANumber(why),
        KvFault::Failed(why) => Fault::Failed(why),
    }))
}

/// That an answer is to another question.
fn crossed<T>(_: KvAnswer) -> wasmtime::Result<T> {
    Err(Refusal::new(FailureKind::Internal, "an answer of another kind than was asked for").into())
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut kv = linker.instance(INTERFACE)?;
    kv.func_wrap_async("get", |mut cx: Cx<'_>, (key,): (String,)| {
        Box::new(async move {
            let answer = match ask(&mut cx, key.len(), KvCall::Get { key }).await? {
                Ok(KvAnswer::Entry(entry)) => Ok(entry),
                Ok(other) => return crossed(other),
                Err(fault) => Err(fault),
            };
            if let Ok(Some((value, _))) = &answer {
                carried(&mut cx, value.len())?;
            }
            Ok((answer.map(|entry| entry.map(|(value, version)| Entry { value, version })),))
        })
    })?;
    kv.func_wrap_async("set", |mut cx: Cx<'_>, (key, value, ttl_ms): (String, Vec<u8>, Option<u64>)| {
        Box::new(async move {
            let bytes = key.len() + value.len();
            Ok((version(ask(&mut cx, bytes, KvCall::Set { key, value, expected: None, ttl_ms }).await?)?,))
        })
    })?;
    kv.func_wrap_async(
        "set-if",
        |mut cx: Cx<'_>, (key, value, expected, ttl_ms): (String, Vec<u8>, u64, Option<u64>)| {
            Box::new(async move {
                let bytes = key.len() + value.len();
                let call = KvCall::Set { key, value, expected: Some(expected), ttl_ms };
                Ok((version(ask(&mut cx, bytes, call).await?)?,))
            })
        },
    )?;
    kv.func_wrap_async("increment", |mut cx: Cx<'_>, (key, by): (String, i64)| {
        Box::new(async move {
            Ok((match ask(&mut cx, key.len(), KvCall::Increment { key, by }).await? {
                Ok(KvAnswer::Number(number)) => Ok(number),
                Ok(other) => return crossed(other),
                Err(fault) => Err(fault),
            },))
        })
    })?;
    kv.func_wrap_async("delete", |mut cx: Cx<'_>, (key,): (String,)| {
        Box::new(async move {
            Ok((match ask(&mut cx, key.len(), KvCall::Delete { key }).await? {
                Ok(KvAnswer::Deleted(was_there)) => Ok(was_there),
                Ok(other) => return crossed(other),
                Err(fault) => Err(fault),
            },))
        })
    })?;
    kv.func_wrap_async("keys", |mut cx: Cx<'_>, (prefix, after, limit): (String, String, u32)| {
        Box::new(async move {
            let bytes = prefix.len() + after.len();
            let call = KvCall::Keys { prefix, after, limit: limit.min(KEYS) };
            let keys = match ask(&mut cx, bytes, call).await? {
                Ok(KvAnswer::Keys(keys)) => Ok(keys),
                Ok(other) => return crossed(other),
                Err(fault) => Err(fault),
            };
            if let Ok(keys) = &keys {
                carried(&mut cx, keys.iter().map(String::len).sum())?;
            }
            Ok((keys,))
        })
    })
}

fn version(answer: Result<KvAnswer, Fault>) -> wasmtime::Result<Result<u64, Fault>> {
    match answer {
        Ok(KvAnswer::Version(version)) => Ok(Ok(version)),
        Ok(other) => crossed(other),
        Err(fault) => Ok(Err(fault)),
    }
}
