//! The host, seen from a plugin: one function for each import, in the SDK's own types.
//!
//! There are two of it. Inside a component it is the imports of `heddle:host`, of which only those that a plugin
//! really calls end up in the component. Natively it is a stand-in, so that a plugin's tests need no host.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
mod outside;

#[cfg(target_family = "wasm")]
pub(crate) use component::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
#[cfg(not(target_family = "wasm"))]
pub(crate) use outside::*;
