//! The wiring: the only file that names concrete parts. It opens the store, makes the host, starts the executor, and
//! takes them down again in the opposite order.

mod courier;
mod endpoints;
pub mod folder;
mod invoker;
pub mod loader;
pub(crate) mod outbound;
pub mod puller;
mod secrets;

use crate::config::Config;
use crate::config::offer::DoorSettings;
use anyhow::Context as _;
use bytes::Bytes;
use endpoints::Endpoints;
use futures_util::future::BoxFuture;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::run::event::{Defaults, Node};
use heddle_executor::{Executor, Held, Invoker, LeftInside, Parts, Settings, SystemClock};
use heddle_host::{Compiler, ComponentFault, ComponentSource, Host, HostConfig, Inspection};
use heddle_store::{MemoryStore, RunStore, Shelf, SqliteOptions, SqliteStore, StoreClock, StoreFault};
use invoker::{Forms, Sandbox};
use loader::Loader;
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// The hidden command under which the program compiles components for itself.
pub const COMPILE_COMMAND: &str = "compile-component";

/// Whether anything outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Everything, in the data folder.
    Everything,
    /// Nothing: runs are in memory, compiled code in a folder that is removed.
    Nothing,
}

/// The parts of a running node.
#[derive(Debug)]
pub struct App {
    /// Runs and workflows.
    pub executor: Executor,
    /// Components.
    pub loader: Loader,
    /// Pulls components from OCI registries.
    pub puller: puller::Puller,
    /// The limits in force.
    pub limits: Arc<Limits>,
    /// Origins whose pages may open a WebSocket or call `/mcp`, besides the node's own.
    pub origins: Arc<[String]>,
    /// What clients of other protocols may call.
    pub doors: Arc<DoorSettings>,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    host: Host,
    /// Last, so that it is removed when nothing uses it.
    _scratch: Option<TempDir>,
}

type Stores = (Arc<dyn RunStore>, Arc<dyn Shelf>);

impl App {
    /// Opens everything and begins to drive what nobody drives.
    ///
    /// # Errors
    /// In words for the person who started it.
    pub async fn open(config: &Config, keeping: Keeping) -> anyhow::Result<App> {
        App::open_with(config, keeping, |invoker| invoker).await
    }

    /// The same with something around whoever calls plugins.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_with(
        config: &Config,
        keeping: Keeping,
        around: impl FnOnce(Arc<dyn Invoker>) -> Arc<dyn Invoker>,
    ) -> anyhow::Result<App> {
        let metrics = crate::telemetry::metrics();
        let limits = Arc::new(config.limits.clone());
        let scratch = match keeping {
            Keeping::Everything => None,
            Keeping::Nothing => {
                Some(tempfile::tempdir().context("a folder for compiled components cannot be made")?)
            }
        };
        let folder = scratch.as_ref().map_or(config.data.as_path(), TempDir::path);
        let (store, shelf) = stores(folder, keeping, &limits)?;
        let host = host(folder, &limits, store.clone())?;
        let webhooks = secrets::webhook_parts(config, folder)?;
        let parts = Parts {
            store: store.clone(),
            shelf,
            invoker: around(Arc::new(Forms {
                sandbox: Sandbox(host.clone()),
                endpoints: Endpoints::new(host.clone(), store.clone(), limits.clone()),
            })),
            clock: Arc::new(SystemClock),
            limits: limits.clone(),
            settings: Settings {
                node: config.node.clone(),
                run_parallel: config.run_parallel,
                workers: config.workers,
                start_rate_per_s: config.start_rate_per_s,
                defaults: Some(config.defaults).filter(|defaults| *defaults != Defaults::default()),
                ..Settings::default()
            },
            left_inside: Some(host.take_left_inside().into_iter().map(left_inside).collect()),
            webhooks,
            outside: secrets::outside_parts(config, &limits)?,
            models: secrets::model_parts(config, &limits)?,
        };
        let executor = Executor::start(parts).await.context("the node cannot start")?;
        let puller = puller::Puller::new(config, &limits)?;
        let loader = Loader::new(host.clone(), executor.clone(), store, config.trust.clone());
        let origins = config.origins.clone().into();
        let doors = config.doors.clone().into();
        Ok(App { executor, loader, puller, limits, origins, doors, metrics, host, _scratch: scratch })
    }

    /// Begins nothing new, lets what runs end, and gives everything back.
    pub async fn close(&self) {
        self.executor.drain().await;
        self.host.end_in_order();
    }

    /// What the sandbox has in use.
    pub fn gauges(&self) -> heddle_host::Gauges {
        self.host.gauges()
    }
}

fn stores(folder: &Path, keeping: Keeping, limits: &Limits) -> anyhow::Result<Stores> {
    if keeping == Keeping::Nothing {
        let store = Arc::new(MemoryStore::new(StoreClock::system()));
        return Ok((store.clone(), store));
    }
    // What was not flushed is not acknowledged, so a process that cannot flush must not go on.
    let on_fatal = Arc::new(|why: String| {
        eprintln!(
            "heddle: the store failed and nothing more can be kept: {why}; check the disk with `heddle doctor`, then start again"
        );
        std::process::exit(1);
    });
    let options = SqliteOptions { wal_bytes: limits.wal_bytes, ..SqliteOptions::new(folder, on_fatal) };
    let store = SqliteStore::open(options)
        .with_context(|| format!("the data folder `{}` cannot be opened", folder.display()))?;
    let store = Arc::new(store);
    Ok((store.clone(), store))
}

fn left_inside((left, mark): heddle_host::Left) -> (LeftInside, Held) {
    let (node, held) = (Node { step: left.step, item: left.item }, Held::default());
    held.hold(mark);
    (LeftInside { run: left.run, node, attempt: left.attempt }, held)
}

fn host(folder: &Path, limits: &Limits, store: Arc<dyn RunStore>) -> anyhow::Result<Host> {
    let program = std::env::current_exe()
        .context("the program does not know its own path, which the compiler needs")?;
    let host = Host::new(HostConfig {
        limits: limits.clone(),
        cache_dir: folder.join("compiled"),
        compiler: Compiler { program, args: vec![COMPILE_COMMAND.into()] },
        guest_threads: std::thread::available_parallelism().map_or(2, usize::from),
        components: Arc::new(StoredComponents(store)),
    });
    host.context("the sandbox cannot be made")
}

/// Components, from among the values of the store.
struct StoredComponents(Arc<dyn RunStore>);

impl ComponentSource for StoredComponents {
    fn bytes(&self, digest: Digest) -> BoxFuture<'static, Option<Bytes>> {
        let found = self.0.blob(digest);
        Box::pin(async move {
            match found.await {
                Ok(bytes) => bytes.map(Bytes::from_owner),
                Err(fault) => {
                    tracing::error!(%digest, %fault, "a component cannot be read");
                    None
                }
            }
        })
    }
}

/// Looks at a data folder that no process has open: all of it, and without writing to it. `None` where there is no
/// store in it.
///
/// # Errors
/// [`StoreFault::InUse`] while a node has it open; others where nothing of it can be read.
pub async fn look_at_store(folder: &Path) -> Result<Option<heddle_store::Inspection>, StoreFault> {
    let folder = folder.to_owned();
    let looked = tokio::task::spawn_blocking(move || heddle_store::inspect(&folder)).await;
    looked.unwrap_or_else(|error| Err(StoreFault::Unavailable(format!("the look itself failed: {error}"))))
}

/// Reads a component without a node: no store, nothing compiled.
///
/// # Errors
/// Everything that is wrong with it, as far as it can be known without running it.
pub fn inspect_component(bytes: &[u8]) -> Result<Inspection, ComponentFault> {
    heddle_host::inspect(bytes, &Limits::default())
}
