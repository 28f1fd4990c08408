//! The components that are ready to be called, bounded; and how one gets there. A component comes from memory, from its
//! verified file, or from its bytes and the compiler, in this order. Whoever asks while it is on its way waits for the
//! same one instead of making another.

use crate::begin::{Begin, Quickness};
use crate::call::{CallScope, in_sandbox};
use crate::capability::Linkers;
use crate::compile::Compilers;
use crate::component::{Linked, Ready};
use crate::config::ComponentSource;
use crate::fault::ComponentFault;
use crate::guest::{Admission, Guest};
use crate::host::Node;
use crate::host_calls::NoHostCalls;
use crate::inspect::inspect;
use crate::precompiled::{CodeCache, Trusted};
use bytes::Bytes;
use heddle_core::id::{Digest, RunId};
use heddle_core::limits::AskedLimits;
use heddle_core::outcome::{FailureKind, PluginKind};
use heddle_core::schema::Schema;
use heddle_core::share::Share;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// All components of a host.
pub(crate) struct Components {
    /// The node that owns this, for the sandboxes in which `describe` runs.
    node: Weak<Node>,
    ready: moka::sync::Cache<Digest, Arc<Ready>>,
    on_their_way: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    linkers: Linkers,
    files: Arc<CodeCache>,
    pub(crate) compilers: Compilers,
    source: Arc<dyn ComponentSource>,
}

impl Components {
    pub(crate) fn new(
        node: Weak<Node>,
        linkers: Linkers,
        files: CodeCache,
        compilers: Compilers,
        source: Arc<dyn ComponentSource>,
        code_bytes: u64,
    ) -> Components {
        let weigh = |_: &Digest, ready: &Arc<Ready>| u32::try_from(ready.code_bytes).unwrap_or(u32::MAX);
        Components {
            node,
            ready: moka::sync::Cache::builder().max_capacity(code_bytes).weigher(weigh).build(),
            on_their_way: Mutex::default(),
            linkers,
            files: Arc::new(files),
            compilers,
            source,
        }
    }

    /// A component that was accepted before.
    pub(crate) async fn get(&self, digest: Digest) -> Result<Arc<Ready>, ComponentFault> {
        match self.ready.get(&digest) {
            Some(ready) => Ok(ready),
            None => self.fetch(digest, None).await,
        }
    }

    /// The component, if it is in memory and its attempts have been quick lately.
    pub(crate) fn quick(&self, digest: Digest) -> Option<Arc<Ready>> {
        self.ready.get(&digest).filter(|ready| ready.quickness.is_quick())
    }

    /// A component whose bytes are at hand and were inspected.
    pub(crate) async fn accept(&self, digest: Digest, bytes: Bytes) -> Result<Arc<Ready>, ComponentFault> {
        self.fetch(digest, Some(bytes)).await
    }

    /// Forgets the component, in memory and on disk.
    pub(crate) fn forget(&self, digest: Digest) {
        self.ready.invalidate(&digest);
        self.files.remove(digest);
    }

    async fn fetch(&self, digest: Digest, bytes: Option<Bytes>) -> Result<Arc<Ready>, ComponentFault> {
        let lane = self.lanes().entry(digest).or_default().clone();
        let turn = lane.lock().await;
        let fetched = match self.ready.get(&digest) {
            Some(ready) => Ok(ready),
            None => self.make(digest, bytes).await,
        };
        drop(turn);
        drop(lane);
        self.lanes().retain(|_, lane| Arc::strong_count(lane) > 1);
        fetched
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
        // Nothing that is done under this lock can leave it half done.
        self.on_their_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, digest: Digest, bytes: Option<Bytes>) -> Result<Arc<Ready>, ComponentFault> {
        let node =
            self.node.upgrade().ok_or_else(|| ComponentFault::internal("the host is being dropped"))?;
        let files = self.files.clone();
        let code = blocking(move || files.read(digest)).await?;
        let code = match code {
            Some(code) => code,
            None => {
                let bytes = match bytes {
                    Some(bytes) => bytes,
                    None => self.bytes(digest, &node).await?,
                };
                self.compile(digest, bytes).await?
            }
        };
        let engine = node.engine.clone();
        let (component, code_bytes) =
            blocking(move || code.load(&engine).map(|component| (component, code.size()))).await?.map_err(
                |fault| ComponentFault::internal(format!("compiled code cannot be loaded: {fault:#}")),
            )?;
        let linked = Linked::new(&self.linkers, &component)?;
        let ready = Arc::new(describe(&node, linked, code_bytes).await?);
        self.ready.insert(digest, ready.clone());
        Ok(ready)
    }

    /// The bytes of a component that was accepted before, held to its digest and inspected again.
    async fn bytes(&self, digest: Digest, node: &Arc<Node>) -> Result<Bytes, ComponentFault> {
        let bytes = self.source.bytes(digest).await.ok_or_else(|| {
            ComponentFault::internal(format!("{digest} is neither compiled nor stored; load it again"))
        })?;
        let limits = node.limits.clone();
        blocking(move || {
            let inspection = inspect(&bytes, &limits)?;
            if inspection.digest == digest {
                return Ok(bytes);
            }
            Err(ComponentFault::internal(format!(
                "the store holds other bytes ({}) under {digest}",
                inspection.digest
            )))
        })
        .await?
    }

    async fn compile(&self, digest: Digest, bytes: Bytes) -> Result<Trusted, ComponentFault> {
        let code = Trusted::from_child(self.compilers.compile(bytes).await?);
        let files = self.files.clone();
        blocking(move || {
            if let Err(fault) = files.write(digest, &code) {
                // It costs the next start a compilation, no more.
                tracing::warn!(%fault, %digest, "a compiled component could not be kept");
            }
            code
        })
        .await
    }
}

/// Asks the component what it is, as a transform, under limits.
async fn describe(node: &Node, linked: Linked, code_bytes: usize) -> Result<Ready, ComponentFault> {
    let mut attempt = node.limits.attempt(PluginKind::Transform, &AskedLimits::default());
    attempt.wall_ms = node.limits.describe_ms;
    let guest = Guest::new(Admission {
        acts_as: PluginKind::Transform,
        scope: nobody(),
        limits: node.limits.clone(),
        attempt,
        host_calls: Arc::new(NoHostCalls),
        node_memory: node.memory.clone(),
    });
    let (said, _) = in_sandbox(node, guest, Begin::Apart, async |store| linked.describe(store).await).await;
    let said = said.map_err(|failure| ComponentFault {
        kind: failure.kind,
        faults: vec![format!("`describe` failed: {}", failure.message)],
    })?;
    let metadata = said.check(linked.kind())?;
    let schema = |text| Schema::compile(text).map_err(|fault| ComponentFault::invalid(fault.to_string()));
    Ok(Ready {
        input_schema: schema(&metadata.input_schema)?,
        output_schema: schema(&metadata.output_schema)?,
        linked,
        metadata,
        code_bytes,
        quickness: Quickness::default(),
    })
}

/// For whom `describe` runs.
pub(crate) fn nobody() -> CallScope {
    CallScope {
        share: Share::of_the_node(),
        run: RunId(0),
        step: "describe".into(),
        step_number: 0,
        item: None,
        attempt: 1,
        told_attempt: 1,
        alternative: 0,
        within: None,
        at_most_once: false,
        deadline_ms: 0,
        traceparent: None,
        seed: [0; 32],
        clock_ms: 0,
    }
}

/// Work that would hold a guests' thread for long: hashing, inspection, files.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ComponentFault> {
    tokio::task::spawn_blocking(work).await.map_err(|fault| ComponentFault {
        kind: FailureKind::Internal,
        faults: vec![format!("loading a component failed: {fault}")],
    })
}
