//! `heddle:host/progress`: how far along the work is. Transient: never stored, may be dropped, and shares the rate of
//! the log so that it cannot flood whoever watches. Each report is a heartbeat, also one that is dropped.

use super::log::printable;
use crate::guest::{Cx, Guest, enter, require};
use crate::host_calls::Progress;
use heddle_core::outcome::PluginKind::{Agent, Tool};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/progress@0.1.0";
const STAGE_BYTES: usize = 128;
const MESSAGE_BYTES: usize = 1024;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap(
        "report",
        |mut cx: Cx<'_>, (stage, percent, message): (String, Option<u8>, String)| {
            require(&cx, &[Tool, Agent], INTERFACE)?;
            enter(&mut cx, stage.len() + message.len())?;
            let guest = cx.data_mut();
            guest.wall.beat();
            if guest.log.within_rate() {
                let progress = Progress {
                    stage: printable(&stage, STAGE_BYTES),
                    percent: percent.map(|percent| percent.min(100)),
                    message: printable(&message, MESSAGE_BYTES),
                };
                guest.host_calls.progress(&guest.scope, progress);
            }
            Ok(())
        },
    )
}
