//! Compiling, seen from the host: a process of its own that may be killed.
//!
//! One function can cost a minute or gigabytes of memory, and a compiler that runs in here cannot be stopped. So the
//! component goes to a child over stdin, with limits that the child sets on itself before it reads a byte of it; the
//! precompiled form comes back over stdout. The child is killed when the time is up, or when the upload goes away.

pub(crate) mod child;

use crate::config::Compiler;
use crate::engine::Shape;
use crate::fault::ComponentFault;
use bytes::Bytes;
use child::{EXIT_FAULT, EXIT_INVALID, EXIT_MEMORY, Order};
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// What is read of the child's messages.
const STDERR_BYTES: u64 = 16 << 10;
/// Machine code is a few times larger than the component it was made from; more than this is a bomb.
const GROWTH: u64 = 16;

/// Starts compiling children.
#[derive(Debug)]
pub(crate) struct Compilers {
    compiler: Compiler,
    shape: Shape,
    code: Digest,
    time: Duration,
    memory_bytes: u64,
    output_bytes: u64,
    turns: Semaphore,
}

impl Compilers {
    pub(crate) fn new(compiler: Compiler, shape: Shape, code: Digest, limits: &Limits) -> Compilers {
        Compilers {
            compiler,
            shape,
            code,
            time: Duration::from_millis(limits.compile_ms),
            memory_bytes: limits.compile_bytes,
            output_bytes: limits.component_bytes.saturating_mul(GROWTH),
            turns: Semaphore::new(limits.compiles_at_once as usize),
        }
    }

    /// Compiles a component that was inspected, waiting for a turn first.
    pub(crate) async fn compile(&self, component: Bytes) -> Result<Vec<u8>, ComponentFault> {
        let _turn = self.turns.acquire().await.map_err(ComponentFault::internal)?;
        let mut child = self.spawn()?;
        let work = self.talk(&mut child, component);
        match tokio::time::timeout(self.time, work).await {
            Ok(done) => done,
            Err(_) => {
                // Also reaps it; dropping it would kill it without waiting.
                let _ = child.kill().await;
                Err(ComponentFault::compile_limit(format!(
                    "compiling took longer than {} ms (`limits.compile_ms`); make its functions smaller",
                    self.time.as_millis()
                )))
            }
        }
    }

    /// Turns that are free, for tests and metrics.
    pub(crate) fn free(&self) -> usize {
        self.turns.available_permits()
    }

    fn spawn(&self) -> Result<Child, ComponentFault> {
        Command::new(&self.compiler.program)
            .args(&self.compiler.args)
            .env_clear()
            // Each arena of the C library reserves address space, which is what the child is limited by.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| {
                let program = self.compiler.program.display();
                ComponentFault::internal(format!("the compiler `{program}` cannot be started: {fault}"))
            })
    }

    async fn talk(&self, child: &mut Child, component: Bytes) -> Result<Vec<u8>, ComponentFault> {
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(ComponentFault::internal("the compiler has no pipes"));
        };
        let order = self.order()?;
        let send = async move {
            // A child that dies early closes the pipe; its exit says why.
            let _ = stdin.write_all(&order).await;
            let _ = stdin.write_all(&component).await;
            drop(stdin);
        };
        let (code, said, ()) =
            tokio::join!(read_up_to(stdout, self.output_bytes), read_up_to(stderr, STDERR_BYTES), send);
        let code = code.map_err(ComponentFault::internal)?;
        if code.len() as u64 > self.output_bytes {
            let _ = child.kill().await;
            return Err(ComponentFault::compile_limit(format!(
                "the machine code is larger than {} bytes",
                self.output_bytes
            )));
        }
        let status = child.wait().await.map_err(ComponentFault::internal)?;
        if status.success() {
            return Ok(code);
        }
        Err(self.verdict(status, &String::from_utf8_lossy(&said.unwrap_or_default())))
    }

    fn order(&self) -> Result<Vec<u8>, ComponentFault> {
        let order = Order {
            shape: self.shape,
            code: self.code,
            memory_bytes: self.memory_bytes,
            // All threads of the child together may use no more CPU than it could in its time.
            cpu_seconds: self.time.as_secs().max(1)
                * std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        };
        let mut line = serde_json::to_vec(&order).map_err(ComponentFault::internal)?;
        line.push(b'\n');
        Ok(line)
    }

    fn verdict(&self, status: ExitStatus, said: &str) -> ComponentFault {
        let said = said.trim();
        match status.code() {
            Some(code) if code == i32::from(EXIT_INVALID) => {
                ComponentFault::invalid(format!("not compilable: {said}"))
            }
            Some(code) if code == i32::from(EXIT_FAULT) => {
                ComponentFault::internal(format!("the compiler failed: {said}"))
            }
            Some(code) if code == i32::from(EXIT_MEMORY) => ComponentFault::compile_limit(format!(
                "compiling needs more than {} bytes of memory (`limits.compile_bytes`); make its functions smaller",
                self.memory_bytes
            )),
            // Killed by a limit, by the system for want of memory, or ended by its own panic: all say too much.
            _ => ComponentFault::compile_limit(format!(
                "the compiler ended early ({status}{}), which means that it reached `limits.compile_bytes` ({}) or was \
                 killed; make the component's functions smaller, or try again",
                last_words(said),
                self.memory_bytes
            )),
        }
    }
}

/// What a compiler said before it ended, for people: the first lines of its panic.
fn last_words(said: &str) -> String {
    let words: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    match words.is_empty() {
        true => String::new(),
        false => format!(": {}", words.join(" ").chars().take(300).collect::<String>()),
    }
}

/// Everything, up to one byte more than the maximum, so that the excess shows.
async fn read_up_to(from: impl AsyncRead + Unpin, max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
