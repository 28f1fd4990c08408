#![doc = include_str!("../README.md")]

// The generated bindings name this crate from the outside, and are also used inside it.
extern crate self as heddle_sdk;

pub mod artifacts;
pub mod clock;
pub mod config;
mod context;
mod failure;
mod host;
pub mod http;
mod json;
pub mod kv;
pub mod log;
pub mod model;
mod outcome;
mod plugin;
pub mod random;
pub mod secret;
mod tools;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[path = "component.rs"]
pub mod __component;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use heddle_sdk_macros::{agent, tool, transform};

pub use crate::context::Context;
pub use crate::failure::{Detail, Failure};
pub use crate::json::Json;
pub use crate::outcome::Outcome;
pub use crate::plugin::{Kind, Limits, Metadata, Plugin};
pub use crate::tools::{Agent, Pending, ToolInfo};

pub use {schemars, serde, serde_json};

/// What nearly every plugin needs: `use heddle_sdk::prelude::*;`.
///
/// The derive macros of `serde` and `schemars` name their own crates, so a plugin lists these two beside `heddle-sdk`
/// in its `Cargo.toml`.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    pub use crate::{
        Agent, Context, Failure, Json, Outcome, artifacts, clock, config, http, kv, model, random, secret,
    };
    pub use crate::{debug, error, info, trace, warn};
}
