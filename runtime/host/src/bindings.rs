//! Typed bindings of the three worlds, made from the contract's own WIT. Only the export side is called through them:
//! imports are linked one capability at a time (see [`capability`](crate::capability)), because every host call must
//! charge fuel and so needs the store.

#![allow(unreachable_pub, missing_debug_implementations, reason = "generated code")]

pub(crate) mod agent {
    wasmtime::component::bindgen!({
        path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"],
        world: "heddle:plugin/agent",
        exports: { default: async },
    });
}

pub(crate) mod tool {
    wasmtime::component::bindgen!({
        path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"],
        world: "heddle:plugin/tool",
        exports: { default: async },
        with: { "heddle:host": super::agent::heddle::host },
    });
}

pub(crate) mod transform {
    wasmtime::component::bindgen!({
        path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"],
        world: "heddle:plugin/transform",
        exports: { default: async },
        with: { "heddle:host": super::agent::heddle::host },
    });
}

pub(crate) use agent::exports::heddle::plugin::runnable::Outcome as Segment;
pub(crate) use agent::heddle::host::context::Context;
pub(crate) use agent::heddle::host::log::Level;
pub(crate) use agent::heddle::host::tools::{Request, ToolInfo};
pub(crate) use agent::heddle::host::types::{Detail, Failure, Later};
pub(crate) use agent::heddle::host::{artifacts, http, kv, model};
pub(crate) use agent::{Agent, AgentPre};
pub(crate) use tool::{Tool, ToolPre};
pub(crate) use transform::{Transform, TransformPre};
