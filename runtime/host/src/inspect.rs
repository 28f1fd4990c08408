//! Reading a component before any of its code runs: is it one, does it stay within the caps, what does it import, which
//! of the three kinds is it. All of it is synchronous and bounded by the size of the upload; nothing is compiled here.

mod form;
mod interface;
mod structure;

use crate::fault::ComponentFault;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::outcome::{FailureKind, PluginKind};
use serde::Serialize;

/// What a component shows of itself without being run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// The kind, by the interface that it exports.
    pub kind: PluginKind,
    /// Bytes.
    pub size_bytes: u64,
    /// The names of its imports, in its own order.
    pub imports: Vec<String>,
    /// The names of its exports, in its own order.
    pub exports: Vec<String>,
}

/// Faults reported of one component; more would not help anybody.
const MAX_FAULTS: usize = 20;

/// Reads a component. All faults that can be known at once come at once.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Inspection, ComponentFault> {
    if bytes.len() as u64 > limits.component_bytes {
        return Err(ComponentFault::invalid(format!(
            "the component has {} bytes and `limits.component_bytes` is {}; strip it (`wasm-tools strip`) or raise the limit",
            bytes.len(),
            limits.component_bytes
        )));
    }
    form::check(bytes).map_err(ComponentFault::invalid)?;
    let surface = structure::read(bytes, limits)?;
    let (kind, mut faults) = interface::read(&surface);
    faults.splice(0..0, surface.faults);
    match kind {
        Some(kind) if faults.is_empty() => Ok(Inspection {
            digest: Digest::of(bytes),
            kind,
            size_bytes: bytes.len() as u64,
            imports: surface.imports,
            exports: surface.exports,
        }),
        _ => {
            faults.truncate(MAX_FAULTS);
            Err(ComponentFault { kind: FailureKind::ComponentInvalid, faults })
        }
    }
}
