//! What a guest may import. One interface is one file here, and a file does three things: it names its interface, it
//! links its functions, and each function begins with [`enter`](crate::guest::enter), so that it is counted and paid for.
//!
//! To add a capability:
//! 1. one interface in `wit/host-<version>/host.wit`, and one line in the worlds that may have it;
//! 2. one file in this folder, with `INTERFACE` and `link`; functions are given the store, never a global;
//! 3. one line in [`linkers`], and one row in the kind table of `purity.rs`;
//! 4. what it asks of the rest of the product is a method of [`HostCalls`](crate::HostCalls), and nothing else;
//! 5. one test in `tests/`, with a guest that uses it and one that may not.
//!
//! An effect has a blocking form and a `start` / `wait` form (`pending.rs`). What has a deadline of its own does not
//! count as the guest's time ([`WallClock::wait`](crate::wall::WallClock::wait)); a request to the outside does.

mod artifacts;
pub(crate) mod clock;
mod config;
mod context;
pub(crate) mod held;
mod http;
mod kv;
pub(crate) mod log;
mod model;
pub(crate) mod pending;
mod progress;
pub(crate) mod random;
mod secret;
mod tools;
pub(crate) mod wasi;

use crate::guest::Guest;
use heddle_core::outcome::PluginKind;
use wasmtime::Engine;
use wasmtime::component::Linker;

/// The linkers of the three kinds, made once: what a kind may not have is not there to be linked.
pub(crate) struct Linkers {
    transform: Linker<Guest>,
    tool: Linker<Guest>,
    agent: Linker<Guest>,
}

impl Linkers {
    pub(crate) fn of(&self, kind: PluginKind) -> &Linker<Guest> {
        match kind {
            PluginKind::Transform => &self.transform,
            PluginKind::Tool => &self.tool,
            PluginKind::Agent => &self.agent,
        }
    }
}

/// Builds all three.
pub(crate) fn linkers(engine: &Engine) -> wasmtime::Result<Linkers> {
    Ok(Linkers {
        transform: linker(engine, PluginKind::Transform)?,
        tool: linker(engine, PluginKind::Tool)?,
        agent: linker(engine, PluginKind::Agent)?,
    })
}

fn linker(engine: &Engine, kind: PluginKind) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance("heddle:host/types@0.1.0")?;
    log::link(&mut linker)?;
    clock::link(&mut linker)?;
    random::link(&mut linker)?;
    wasi::link(&mut linker)?;
    if kind != PluginKind::Transform {
        context::link(&mut linker)?;
        progress::link(&mut linker)?;
        http::link(&mut linker)?;
        wasi::http::link(&mut linker)?;
        secret::link(&mut linker)?;
        config::link(&mut linker)?;
        kv::link(&mut linker)?;
        artifacts::link(&mut linker)?;
    }
    if kind == PluginKind::Agent {
        model::link(&mut linker)?;
        tools::link(&mut linker)?;
    }
    Ok(linker)
}
