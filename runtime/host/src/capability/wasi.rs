//! WASI 0.2, empty: what ordinary toolchains import whether they need it or not.
//!
//! The interfaces are here so that such plugins link; they give what a plugin may have anyway. No environment and no
//! arguments, no files, no network; stdout and stderr go to the log; time and randomness are those of the kind. They are
//! implemented here and not taken from a library, because the libraries' ones read the real clock, build a context for
//! each instance, charge no fuel, and bring file and socket code into the process that we then would have to keep shut.
//!
//! wasmtime links by semantic version, so one definition at [`VERSION`] serves guests built for 0.2.0 and for 0.2.12.

mod absent;
mod cli;
pub(super) mod http;
mod io;
mod time;

use crate::guest::Guest;
use wasmtime::component::Linker;

/// The version that the definitions carry: the newest of the line.
const VERSION: &str = "0.2.12";

/// The full name of an interface.
fn name(interface: &str) -> String {
    format!("wasi:{interface}@{VERSION}")
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    io::link(linker)?;
    cli::link(linker)?;
    time::link(linker)?;
    absent::link(linker)
}
