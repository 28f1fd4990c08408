//! `heddle:host/artifacts`: files that a run keeps. Who may keep them and which there are is decided behind
//! [`HostCalls`](crate::HostCalls); here they are counted as memory until the attempt has ended.

use crate::bindings::artifacts::{Artifact, Fault};
use crate::guest::{Cx, Guest, answered, carried, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::HostCall;
use heddle_core::outcome::FailureKind;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use heddle_core::outside::{ArtifactAnswer, ArtifactCall, ArtifactFault};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/artifacts@0.1.0";

/// Asks, after the call was paid for.
async fn ask(
    cx: &mut Cx<'_>,
    bytes: usize,
    call: ArtifactCall,
) -> wasmtime::Result<Result<ArtifactAnswer, Fault>> {
    require(cx, &[Tool, Agent], INTERFACE)?;
    enter(cx, bytes)?;
    let answer = answered(cx, HostCall::Artifact(call)).await?.artifact().map_err(Refusal::from)?;
    Ok(answer.map_err(|fault| match fault {
        ArtifactFault::Denied(why) => Fault::Denied(why),
        ArtifactFault::Invalid(why) => Fault::Invalid(why),
        ArtifactFault::TooLarge(why) => Fault::TooLarge(why),
        ArtifactFault::NotThere(why) => Fault::NotThere(why),
        ArtifactFault::Failed(why) => Fault::Failed(why),
    }))
}

/// That an answer is to another question.
fn crossed<T>() -> wasmtime::Result<T> {
    Err(Refusal::new(FailureKind::Internal, "an answer of another kind than was asked for").into())
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut artifacts = linker.instance(INTERFACE)?;
    artifacts.func_wrap_async(
        "put",
        |mut cx: Cx<'_>, (name, media_type, bytes): (String, String, Vec<u8>)| {
            Box::new(async move {
                let hold = match cx.data().artifacts_held.hold(bytes.len() as u64) {
                    Ok(hold) => hold,
                    Err(why) => return Ok((Err(Fault::TooLarge(why)),)),
                };
                let size = name.len() + media_type.len() + bytes.len();
                let call = ArtifactCall::Put { name, media_type, bytes };
                let kept = match ask(&mut cx, size, call).await? {
                    Ok(ArtifactAnswer::Kept(kept)) => kept,
                    Ok(_) => return crossed(),
                    Err(fault) => return Ok((Err(fault),)),
                };
                cx.data_mut().artifacts.push(hold);
                Ok((Ok(Artifact {
                    name: kept.name.to_string(),
                    media_type: kept.media_type.to_string(),
                    digest: kept.digest.to_string(),
                    size: kept.size,
                }),))
            })
        },
    )?;
    artifacts.func_wrap_async("get", |mut cx: Cx<'_>, (digest,): (String,)| {
        Box::new(async move {
            let bytes = match ask(&mut cx, digest.len(), ArtifactCall::Get { digest }).await? {
                Ok(ArtifactAnswer::Bytes(bytes)) => bytes,
                Ok(_) => return crossed(),
                Err(fault) => return Ok((Err(fault),)),
            };
            carried(&mut cx, bytes.len())?;
            Ok((Ok(bytes.to_vec()),))
        })
    })
}
