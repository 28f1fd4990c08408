//! `heddle:host/random`, and the randomness that WASI's interfaces give too.
//!
//! Real for tools; from the attempt's seed for agents, so that a replay draws the same numbers; from a fixed seed for
//! transforms, so that they stay functions of their input.

use crate::guest::{Cx, Guest, enter};
use crate::refusal::Refusal;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use heddle_core::outcome::{FailureKind, PluginKind};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/random@0.1.0";
/// What every transform's randomness is made from.
const FIXED_SEED: [u8; 32] = *b"heddle transforms draw the same.";

/// The randomness of one guest.
#[derive(Debug)]
pub(crate) enum Randomness {
    /// The system's.
    Real,
    /// Not yet used.
    Seed([u8; 32]),
    /// In use.
    Seeded(Box<ChaCha20Rng>),
}

impl Randomness {
    pub(crate) fn of(kind: PluginKind, seed: [u8; 32]) -> Randomness {
        match kind {
            PluginKind::Transform => Randomness::Seed(FIXED_SEED),
            PluginKind::Tool => Randomness::Real,
            PluginKind::Agent => Randomness::Seed(seed),
        }
    }
    fn fill(&mut self, out: &mut [u8]) -> wasmtime::Result<()> {
        if let Randomness::Seed(seed) = *self {
            *self = Randomness::Seeded(Box::new(ChaCha20Rng::from_seed(seed)));
        }
        match self {
            Randomness::Seeded(generator) => generator.fill_bytes(out),
            Randomness::Seed(_) | Randomness::Real => getrandom::fill(out).map_err(|fault| {
                Refusal::new(FailureKind::Internal, format!("the system gave no randomness: {fault}"))
            })?,
        }
        Ok(())
    }
}

/// Draws this many bytes for the guest, within the cap of one call.
pub(crate) fn draw(cx: &mut Cx<'_>, len: u64) -> wasmtime::Result<Vec<u8>> {
    let max = cx.data().limits.random_bytes;
    if len > max {
        let message = format!(
            "{len} random bytes in one call; `limits.random_bytes` is {max}; ask for fewer at a time"
        );
        return Err(Refusal::new(FailureKind::HostcallDataLimit, message).into());
    }
    enter(cx, len as usize)?;
    let mut bytes = vec![0; len as usize];
    cx.data_mut().random.fill(&mut bytes)?;
    Ok(bytes)
}

/// Draws one number for the guest.
pub(crate) fn draw_u64(cx: &mut Cx<'_>) -> wasmtime::Result<u64> {
    enter(cx, 8)?;
    let mut bytes = [0; 8];
    cx.data_mut().random.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut random = linker.instance(INTERFACE)?;
    random.func_wrap("bytes", |mut cx: Cx<'_>, (len,): (u32,)| Ok((draw(&mut cx, len.into())?,)))?;
    random.func_wrap("next-u64", |mut cx: Cx<'_>, (): ()| Ok((draw_u64(&mut cx)?,)))
}
