//! How a component becomes a plugin: inspected while its sender waits, then compiled, described, kept and registered
//! behind the answer. Where each upload stands is remembered until the process ends; what is ready is on the shelf.

use crate::signature::{SignatureFault, Trust};
use bytes::Bytes;
use heddle_core::grant::CAPABILITIES;
use heddle_core::id::{Digest, Tenant};
use heddle_core::plugin::Metadata;
use heddle_executor::telemetry::{COMPILE_SECONDS, COMPILES};
use heddle_executor::{Clock as _, Executor, NewPlugin, PluginEntry, PluginFault, PulledFrom, SystemClock};
use heddle_host::{ComponentFault, Host, Inspection, Loaded};
use heddle_store::{RunStore, StoreFault};
use metrics::{counter, histogram};
use semver::BuildMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Components on their way at the same time; further uploads are told to come back.
const UNDER_WAY: usize = 64;
/// Uploads whose end is remembered.
const REMEMBERED: usize = 4_096;

/// Where an uploaded component stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What it shows without being run.
    pub inspection: Inspection,
    /// How far it is.
    pub progress: Progress,
}

/// How far an uploaded component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is being compiled, or waits for its turn.
    Compiling,
    /// Runs may use it.
    Ready {
        /// `kind:name@version`.
        plugin: String,
    },
    /// It is not loaded.
    Failed {
        /// A kind of failure, or `version_conflict`.
        code: &'static str,
        /// One sentence each.
        reasons: Vec<String>,
    },
}

/// What becomes of other bytes under a version that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacing {
    /// They are refused: a version never means two things.
    Never,
    /// For development: they get a version of their own, `1.2.3+dev.TIME`, which is newer than the one before.
    AsBuild,
}

/// A component that is sent.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its signatures, texts of `.minisig` files: one that is good is enough.
    pub signatures: Vec<String>,
    /// The registry that it was pulled from.
    pub source: Option<PulledFrom>,
    /// What becomes of it where its version is taken.
    pub replacing: Replacing,
    /// Whether it comes back where its version was deleted.
    pub brings_back: bool,
}

/// What is known of a component besides its bytes.
struct Known {
    /// The id of the key that signed it, where somebody looked.
    signer: Option<Arc<str>>,
    signature: Option<Arc<str>>,
    source: Option<PulledFrom>,
    replacing: Replacing,
    brings_back: bool,
}

/// Why an upload was refused.
#[derive(Debug, thiserror::Error)]
pub enum AcceptFault {
    /// Nobody whom this node trusts has signed it.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// The bytes are no component that this host accepts.
    #[error(transparent)]
    Component(#[from] ComponentFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Too many are on their way.
    #[error("{most} components are being compiled already; try again later")]
    Busy {
        /// How many there may be.
        most: usize,
    },
}

/// Loads components. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    host: Host,
    executor: Executor,
    store: Arc<dyn RunStore>,
    trust: Trust,
    uploads: Arc<Mutex<BTreeMap<Digest, watch::Sender<Standing>>>>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("uploads", &self.uploads().len()).finish_non_exhaustive()
    }
}

impl Loader {
    pub(super) fn new(host: Host, executor: Executor, store: Arc<dyn RunStore>, trust: Trust) -> Loader {
        Loader { host, executor, store, trust, uploads: Arc::default() }
    }

    /// Takes a component: inspects it now, and goes on in the background. The same bytes again are not loaded twice,
    /// unless they failed.
    pub async fn accept(&self, tenant: Tenant, upload: Upload) -> Result<Standing, AcceptFault> {
        Ok(self.begin(tenant, upload).await?.borrow().clone())
    }

    /// The same, and waits for the end.
    pub async fn load(&self, tenant: Tenant, upload: Upload) -> Result<Standing, AcceptFault> {
        let mut standing = self.begin(tenant, upload).await?;
        let ended = standing
            .wait_for(|standing| standing.progress != Progress::Compiling)
            .await
            .map(|ended| ended.clone());
        // The sender lives as long as the upload is remembered; should it go away, the last word stands.
        Ok(ended.unwrap_or_else(|_| standing.borrow().clone()))
    }

    /// Where the component with this digest stands.
    pub async fn standing(&self, tenant: &Tenant, digest: Digest) -> Result<Option<Standing>, AcceptFault> {
        if let Some(upload) = self.uploads().get(&digest) {
            return Ok(Some(upload.borrow().clone()));
        }
        let Some(entry) = self.component(tenant, digest) else { return Ok(None) };
        // Loaded before the process started: what it shows is read again from its bytes.
        let Some(bytes) = self.store.blob(digest).await? else { return Ok(None) };
        let inspection = self.inspect(Bytes::from_owner(bytes)).await?;
        let plugin = format!("{}@{}", entry.metadata.reference(), entry.metadata.version);
        Ok(Some(Standing { inspection, progress: Progress::Ready { plugin } }))
    }

    /// The bytes of a component that is loaded, with the text of its signature.
    pub async fn bytes(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Option<(Bytes, Option<Arc<str>>)>, StoreFault> {
        let Some(entry) = self.component(tenant, digest) else { return Ok(None) };
        Ok(self.store.blob(digest).await?.map(|bytes| (Bytes::from_owner(bytes), entry.signature)))
    }
    /// The plugin that is this component; an endpoint of a connector is none.
    fn component(&self, tenant: &Tenant, digest: Digest) -> Option<PluginEntry> {
        let entries = self.executor.plugins(tenant).into_iter();
        entries.filter(|entry| entry.form.is_component()).find(|entry| entry.digest == digest)
    }

    /// Reads a component without compiling any of it.
    pub async fn inspect(&self, bytes: Bytes) -> Result<Inspection, ComponentFault> {
        let host = self.host.clone();
        let inspected = tokio::task::spawn_blocking(move || host.inspect(&bytes)).await;
        inspected.unwrap_or_else(|fault| {
            let faults = vec![format!("inspecting the component failed: {fault}")];
            Err(ComponentFault { kind: heddle_core::outcome::FailureKind::Internal, faults })
        })
    }

    /// Who signed what is not compiled here, such as a connector.
    ///
    /// # Errors
    /// Where nobody has who is trusted, and the policy asks for it.
    pub fn judge(&self, bytes: &[u8], signature: Option<&str>) -> Result<Option<Arc<str>>, SignatureFault> {
        self.trust.judge(bytes, signature)
    }

    async fn begin(&self, tenant: Tenant, upload: Upload) -> Result<watch::Receiver<Standing>, AcceptFault> {
        // Before anything of it is read: who is not trusted has nothing read.
        let signer = self.trust.judge_any(&upload.bytes, &upload.signatures)?;
        let Upload { bytes, source, replacing, brings_back, signatures } = upload;
        let signature = self.trust.best(&bytes, &signatures).map(Arc::from);
        let inspection = self.inspect(bytes.clone()).await?;
        let digest = inspection.digest;
        let mut uploads = self.uploads();
        if let Some(upload) = uploads.get(&digest)
            && self.is_good(
                (&tenant, digest),
                (replacing, signer.is_some() || signature.is_some(), source.is_some()),
                &upload.borrow().progress,
            )
        {
            return Ok(upload.subscribe());
        }
        if uploads.values().filter(|upload| upload.borrow().progress == Progress::Compiling).count()
            >= UNDER_WAY
        {
            return Err(AcceptFault::Busy { most: UNDER_WAY });
        }
        if uploads.len() >= REMEMBERED {
            uploads.retain(|_, upload| upload.borrow().progress == Progress::Compiling);
        }
        let (upload, standing) = watch::channel(Standing { inspection, progress: Progress::Compiling });
        uploads.insert(digest, upload.clone());
        drop(uploads);
        let loader = self.clone();
        tokio::spawn(async move {
            let known = Known { signer, signature, source, replacing, brings_back };
            let progress = loader.finish(&tenant, digest, bytes, known).await;
            upload.send_modify(|standing| standing.progress = progress);
        });
        Ok(standing)
    }

    /// Whether an upload needs not be done again: one that failed does, one that was deleted since, one that is signed
    /// now and was not, one of which it is told now where it is from, and under development one that others have come after.
    fn is_good(
        &self,
        (tenant, digest): (&Tenant, Digest),
        (replacing, is_signed, is_pulled): (Replacing, bool, bool),
        progress: &Progress,
    ) -> bool {
        match progress {
            Progress::Compiling => true,
            Progress::Failed { .. } => false,
            Progress::Ready { .. } => {
                let known = self.component(tenant, digest).filter(|_| replacing == Replacing::Never);
                known.is_some_and(|entry| {
                    (entry.signature.is_some() || !is_signed) && (entry.source.is_some() || !is_pulled)
                })
            }
        }
    }

    async fn finish(&self, tenant: &Tenant, digest: Digest, bytes: Bytes, known: Known) -> Progress {
        let began = Instant::now();
        let loaded = self.host.load(bytes.clone()).await;
        histogram!(COMPILE_SECONDS).record(began.elapsed().as_secs_f64());
        counter!(COMPILES, "result" => if loaded.is_ok() { "ready" } else { "failed" }).increment(1);
        let progress = match loaded {
            Ok(loaded) => self.register(tenant, &bytes, loaded, known).await,
            Err(fault) => Progress::Failed { code: fault.kind.word(), reasons: fault.faults },
        };
        match &progress {
            Progress::Ready { plugin } => {
                tracing::info!(plugin, %digest, ms = began.elapsed().as_millis() as u64, "a plugin is ready")
            }
            Progress::Failed { code, reasons } => {
                tracing::warn!(code, %digest, reasons = reasons.join("; "), "a component was not loaded")
            }
            Progress::Compiling => {}
        }
        progress
    }

    async fn register(
        &self,
        tenant: &Tenant,
        bytes: &Bytes,
        loaded: Loaded,
        Known { signer, signature, source, replacing, brings_back }: Known,
    ) -> Progress {
        let mut metadata = loaded.metadata;
        let store_failed = |fault: StoreFault| Progress::Failed {
            code: "store_unavailable",
            reasons: vec![fault.to_string()],
        };
        let digest = match self.executor.put_blob(Arc::from(&bytes[..])).await {
            Ok(digest) => digest,
            Err(fault) => return store_failed(fault),
        };
        let (needs, size) = (needs(&loaded.inspection.imports), bytes.len() as u64);
        let add = |metadata: Metadata| {
            let (needs, signer, signature, source) =
                (needs.clone(), signer.clone(), signature.clone(), source.clone());
            self.executor.add(
                tenant,
                NewPlugin { metadata, digest, size, needs, signer, signature, source, brings_back },
            )
        };
        if replacing == Replacing::AsBuild
            && let Some(latest) = self.latest_build(tenant, &metadata)
        {
            metadata.version.build = match latest.digest == digest {
                true => latest.metadata.version.build.clone(),
                // What others have come after, or what comes after others.
                false => build(),
            };
        }
        let mut added = add(metadata.clone()).await;
        if let (Err(PluginFault::VersionConflict { .. }), Replacing::AsBuild) = (&added, replacing) {
            metadata.version.build = build();
            added = add(metadata.clone()).await;
        }
        match added {
            Ok(()) => Progress::Ready { plugin: format!("{}@{}", metadata.reference(), metadata.version) },
            Err(fault @ (PluginFault::VersionConflict { .. } | PluginFault::Removed { .. })) => {
                Progress::Failed { code: "version_conflict", reasons: vec![fault.to_string()] }
            }
            Err(PluginFault::Store(fault)) => store_failed(fault),
        }
    }

    /// The latest build of the version that a component says it is.
    fn latest_build(&self, tenant: &Tenant, metadata: &Metadata) -> Option<PluginEntry> {
        let entries = self.executor.plugins(tenant).into_iter();
        let same = entries.filter(|entry| {
            let other = &entry.metadata;
            (other.kind, &other.name) == (metadata.kind, &metadata.name)
                && other.version.cmp_precedence(&metadata.version).is_eq()
        });
        same.max_by(|a, b| a.metadata.version.cmp(&b.metadata.version))
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<Digest, watch::Sender<Standing>>> {
        // Nothing that is done under this lock can leave it half done.
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A build that is newer than every one before: their order is that of their text.
fn build() -> BuildMetadata {
    BuildMetadata::new(&format!("dev.{:015}", SystemClock.now().0)).unwrap_or(BuildMetadata::EMPTY)
}

/// What of these imports an operator must grant.
pub fn needs(imports: &[String]) -> Vec<Arc<str>> {
    let named = |import: &String| {
        let name = match import.split('@').next()? {
            // What ordinary libraries import sends the same requests.
            "wasi:http/outgoing-handler" => "http",
            own => own.strip_prefix("heddle:host/")?,
        };
        CAPABILITIES.iter().copied().find(|capability| *capability == name)
    };
    let mut told = BTreeSet::new();
    let new = imports.iter().filter_map(named).filter(|capability| told.insert(*capability));
    new.map(Arc::from).collect()
}
