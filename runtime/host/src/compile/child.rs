//! Compiling, in the child: reads an order and a component from stdin, writes machine code to stdout.
//!
//! It limits itself before it looks at the component: address space, CPU time, priority, no core file. It uses the
//! on-demand allocator, because a pool would not even start within the address space limit.

use crate::engine::{self, Shape};
use heddle_core::id::Digest;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, Read as _, Write as _};
use std::process::ExitCode;

/// The component does not compile; stderr says why.
pub(super) const EXIT_INVALID: u8 = 3;
/// A fault of the compiler itself; stderr says which.
pub(super) const EXIT_FAULT: u8 = 4;
/// Memory ran out, and was noticed in time.
pub(super) const EXIT_MEMORY: u8 = 5;
/// How much nicer the compiler is than the host.
const NICENESS: i32 = 10;

/// What the parent says before the component: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) shape: Shape,
    /// What the parent's own code settings hash to. Two programs that disagree must not share code.
    pub(super) code: Digest,
    pub(super) memory_bytes: u64,
    pub(super) cpu_seconds: u64,
}

/// The whole of a compiling process. A program that serves as [`Compiler`](crate::Compiler) calls this from `main`
/// when it is started with the agreed arguments, and does nothing else.
pub fn compile_child_main() -> ExitCode {
    match compile() {
        Ok(code) => match std::io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(EXIT_FAULT),
        },
        Err((exit, message)) => {
            let _ = writeln!(std::io::stderr(), "{message}");
            ExitCode::from(exit)
        }
    }
}

fn compile() -> Result<Vec<u8>, (u8, String)> {
    let fault = |what: &str, fault: &dyn std::fmt::Display| (EXIT_FAULT, format!("{what}: {fault}"));
    let mut stdin = std::io::stdin().lock();
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|e| fault("no order", &e))?;
    let order: Order = serde_json::from_str(&line).map_err(|e| fault("the order cannot be read", &e))?;
    limit_myself(&order).map_err(|e| fault("limits cannot be set", &e))?;
    let mut component = Vec::new();
    stdin.read_to_end(&mut component).map_err(|e| fault("no component", &e))?;
    let engine = engine::compiling(order.shape).map_err(|e| fault("wasmtime cannot be configured", &e))?;
    if engine::code_digest(&engine) != order.code {
        return Err((
            EXIT_FAULT,
            "the compiler and the host are different builds; use one executable".into(),
        ));
    }
    engine.precompile_component(&component).map_err(|e| {
        let message = format!("{e:#}");
        let exit = if message.contains("allocate memory") || message.contains("mmap") {
            EXIT_MEMORY
        } else {
            EXIT_INVALID
        };
        (exit, message.chars().take(4_000).collect())
    })
}

fn limit_myself(order: &Order) -> rustix::io::Result<()> {
    lower(Resource::Core, 0)?;
    lower(Resource::As, order.memory_bytes)?;
    lower(Resource::Cpu, order.cpu_seconds)?;
    setpriority_process(None, NICENESS)
}

/// Lowers a limit, and never tries to raise one that whoever started us set lower.
fn lower(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let had = getrlimit(resource);
    let value = had.maximum.map_or(value, |maximum| maximum.min(value));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}
