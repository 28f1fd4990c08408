//! What a host is made from. Everything else (pool sizes, semaphores, compiler settings) is derived from these few
//! values, so that two numbers can never disagree.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What [`Host::new`](crate::Host::new) needs.
#[derive(Clone)]
pub struct HostConfig {
    /// The limits in force on this node.
    pub limits: Limits,
    /// A folder of our own for compiled components and the key that authenticates them. Made if it is missing; losing
    /// it costs compile time and nothing else.
    pub cache_dir: PathBuf,
    /// How the compiling process is started.
    pub compiler: Compiler,
    /// Threads that run guests: one for each core is right.
    pub guest_threads: usize,
    /// Where the bytes of an accepted component are kept.
    pub components: Arc<dyn ComponentSource>,
}

impl std::fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostConfig")
            .field("cache_dir", &self.cache_dir)
            .field("compiler", &self.compiler)
            .field("guest_threads", &self.guest_threads)
            .finish_non_exhaustive()
    }
}

/// The program that compiles: any executable whose `main` hands over to
/// [`compile_child_main`](crate::compile_child_main) when it is started with these arguments.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The executable, as a path.
    pub program: PathBuf,
    /// Arguments that make it a compiler.
    pub args: Vec<OsString>,
}

/// Where the bytes of an accepted component are kept, by digest: the server's store.
pub trait ComponentSource: Send + Sync {
    /// The bytes, or nothing when no such component was accepted. The host checks the digest of what it gets.
    fn bytes(&self, digest: Digest) -> BoxFuture<'static, Option<Bytes>>;
}

/// A source without any component: enough where everything is loaded from bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoComponents;

impl ComponentSource for NoComponents {
    fn bytes(&self, _digest: Digest) -> BoxFuture<'static, Option<Bytes>> {
        Box::pin(async { None })
    }
}

/// Why a host cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// The sandboxes would need more address space than the platform has.
    #[error(
        "{sandboxes} sandboxes of {memories} memories need {needed_gib} GiB of address space; lower \
         `limits.attempts_at_once`, `limits.memories` or `limits.memory_bytes`"
    )]
    AddressSpace {
        /// Sandboxes at the same time.
        sandboxes: u64,
        /// Memories of each.
        memories: u64,
        /// What they would need, in GiB.
        needed_gib: u64,
    },
    /// wasmtime refused its configuration.
    #[error("wasmtime cannot be configured: {0}")]
    Wasmtime(String),
    /// The cache folder cannot be used.
    #[error("the cache folder `{}` cannot be used: {fault}; choose a folder that this process may write", path.display())]
    CacheDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        fault: std::io::Error,
    },
    /// Threads cannot be started.
    #[error("the threads for guests cannot be started: {0}")]
    Threads(std::io::Error),
}
