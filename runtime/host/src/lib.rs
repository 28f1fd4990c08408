//! Everything that knows a WebAssembly component.
//!
//! A plugin comes in as bytes and is read ([`Host::inspect`]), compiled in a process of its own, linked for its kind
//! and asked what it is ([`Host::load`]). From then on each attempt ([`Host::call`]) is a fresh sandbox that ends as a
//! value, whatever the guest does:
//!
//! ```text
//!  bytes ── inspect ── compile (child process) ── verified file ── link once ── describe
//!                                                                      │
//!  Call ── input schema ── fresh store ── instantiate ── export ── output schema ── AttemptEnd
//!                              │ fuel, memory, tables, handles, CPU, wall, host calls
//!                              └ capability/*: what the kind may import ── HostCalls (the rest of the product)
//! ```
//!
//! What a plugin may touch is decided by what is linked, not by what it is trusted to do.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod begin;
mod bindings;
mod call;
mod capability;
mod classify;
mod compile;
mod component;
mod config;
mod cpu;
mod describe;
mod engine;
mod fault;
mod genai;
mod guest;
mod host;
mod host_calls;
mod inside;
mod inspect;
mod limiter;
mod output;
mod precompiled;
mod purity;
mod refusal;
mod registry;
#[cfg(feature = "testkit")]
pub mod testkit;
mod threads;
mod turns;
mod wall;

pub use begin::Begin;
pub use call::{Call, CallScope};
pub use compile::child::compile_child_main;
pub use config::{Compiler, ComponentSource, HostConfig, HostFault, NoComponents};
pub use engine::bare_wasmtime;
pub use fault::ComponentFault;
pub use host::{Gauges, Host, Loaded};
pub use host_calls::{HostCalls, LogLevel, NoHostCalls, Progress, ToolInfo};
pub use inside::{Left, LeftInside, Mark};
pub use inspect::{Inspection, inspect};
pub use output::{check_input, check_output};
