//! A folder of components that is watched: what comes or changes is loaded, and new runs get it. A file that is broken
//! or half written takes nothing away; it is looked at again when it changes. A file that goes takes nothing away
//! either: `heddle plugin rm` does.

use super::loader::{AcceptFault, Loader, Progress, Replacing, Upload};
use crate::signature;
use bytes::Bytes;
use heddle_core::id::{Digest, Tenant};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// A folder is looked at when nothing has changed in it for so long.
const QUIET: Duration = Duration::from_millis(150);
/// And after so long, however much changes.
const AT_LAST: Duration = Duration::from_secs(2);
/// How often it is looked at where the system does not tell of changes.
const POLL: Duration = Duration::from_secs(2);
/// How often it is looked at in any case: a system may tell of some changes only, and the folder may be another one.
const ANYHOW: Duration = Duration::from_secs(15);

/// How a file was when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Looks {
    bytes: u64,
    changed: Option<SystemTime>,
    /// Of the signature beside it: a file that was refused is looked at again when it is signed.
    signed: Option<Digest>,
    /// Of what was in it, once it was read.
    digest: Option<Digest>,
}

/// A file as it was looked at.
struct Seen {
    looks: Looks,
    /// Whether it was not loaded for a reason that is not its own: it is tried again.
    is_open: bool,
    /// Why it was not loaded, as it was told.
    why: Vec<String>,
}

/// What became of a file that was new or had changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The file.
    pub file: PathBuf,
    /// `kind:name@version`, or why it was not loaded.
    pub outcome: Result<String, Vec<String>>,
}

/// A folder with what was last seen in it.
pub struct Folder {
    path: PathBuf,
    loader: Loader,
    replacing: Replacing,
    most_bytes: u64,
    seen: HashMap<PathBuf, Seen>,
    changes: mpsc::Receiver<()>,
    /// Tells of changes while it is there.
    watcher: Option<RecommendedWatcher>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folder({})", self.path.display())
    }
}

impl Folder {
    /// A folder of which nothing has been seen. What changes from now on is not missed, whenever it is looked at.
    pub fn new(path: &Path, loader: Loader, replacing: Replacing, most_bytes: u64) -> Folder {
        let (sender, changes) = mpsc::channel(1);
        let watcher = watcher(path, sender);
        if let Err(fault) = &watcher {
            tracing::warn!(folder = %path.display(), %fault, "changes of the folder are not told; it is looked at every other second");
        }
        let (path, seen, watcher) = (path.to_owned(), HashMap::new(), watcher.ok());
        Folder { path, loader, replacing, most_bytes, seen, changes, watcher }
    }

    /// Loads what is new or has changed, each file on its own. A folder that cannot be read has nothing new.
    pub async fn look(&mut self) -> Vec<Loaded> {
        let mut done = Vec::new();
        for (file, looks) in self.changed() {
            let before = self.seen.get(&file);
            let told = before.map(|before| before.why.clone()).unwrap_or_default();
            let before = before.filter(|before| before.looks.signed == looks.signed && !before.is_open);
            let before = before.and_then(|before| before.looks.digest);
            let read = match looks.bytes > self.most_bytes {
                true => Err(format!(
                    "it has {} bytes; the limit component_bytes is {}",
                    looks.bytes, self.most_bytes
                )),
                false => tokio::fs::read(&file).await.map_err(|error| format!("it cannot be read: {error}")),
            };
            let digest = read.as_ref().ok().map(|bytes| Digest::of(bytes));
            let looks = Looks { digest, ..looks };
            if digest.is_some() && digest == before {
                self.seen.insert(file, Seen { looks, is_open: false, why: told });
                continue;
            }
            let (outcome, is_open) = match read {
                Ok(bytes) => self.load(&file, bytes.into()).await,
                Err(why) => (Err(vec![why]), looks.bytes <= self.most_bytes),
            };
            let why = outcome.as_ref().err().cloned().unwrap_or_default();
            let is_told = is_open && why == told;
            self.seen.insert(file.clone(), Seen { looks, is_open, why });
            if !is_told {
                done.push(Loaded { file, outcome });
            }
        }
        done
    }

    /// Loads a file, and says whether it is to be tried again as it is.
    async fn load(&self, file: &Path, bytes: Bytes) -> (Result<String, Vec<String>>, bool) {
        let (signature, replacing) = (signature_beside(file), self.replacing);
        let upload = Upload {
            bytes,
            signatures: signature.into_iter().collect(),
            source: None,
            replacing,
            brings_back: false,
        };
        match self.loader.load(Tenant::default(), upload).await {
            Err(fault) => {
                let is_open = matches!(fault, AcceptFault::Busy { .. } | AcceptFault::Store(_));
                (Err(vec![fault.to_string()]), is_open)
            }
            Ok(standing) => match standing.progress {
                Progress::Ready { plugin } => (Ok(plugin), false),
                Progress::Failed { reasons, code } => (Err(reasons), code == "store_unavailable"),
                Progress::Compiling => (Err(vec!["the node is ending".to_owned()]), true),
            },
        }
    }

    /// The components that do not look as they did, by name.
    fn changed(&self) -> Vec<(PathBuf, Looks)> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path());
        let components = files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm"));
        let mut changed: Vec<_> = components
            .filter_map(|file| {
                let metadata = std::fs::metadata(&file).ok().filter(std::fs::Metadata::is_file)?;
                let signed = signature_beside(&file).map(|text| Digest::of(text.as_bytes()));
                let (bytes, changed) = (metadata.len(), metadata.modified().ok());
                let looks = Looks { bytes, changed, signed, digest: None };
                let before = self.seen.get(&file).filter(|before| !before.is_open);
                let before = before.map(|before| Looks { digest: None, ..before.looks });
                (before != Some(looks)).then_some((file, looks))
            })
            .collect();
        changed.sort_by(|a, b| a.0.cmp(&b.0));
        changed
    }

    /// Looks whenever something changes, for as long as the process lives.
    pub async fn watch(mut self, mut tell: impl FnMut(&Loaded)) {
        loop {
            match &mut self.watcher {
                Some(watcher) => {
                    if timeout(ANYHOW, quiet(&mut self.changes)).await.is_err() {
                        // Another folder may have this name by now.
                        let _ = watcher.unwatch(&self.path);
                        let _ = watcher.watch(&self.path, RecursiveMode::NonRecursive);
                    }
                }
                None => tokio::time::sleep(POLL).await,
            }
            self.look().await.iter().for_each(&mut tell);
        }
    }
}

/// The signature that stands beside a file: `plugin.wasm.minisig`. Too large a one is none.
pub fn signature_beside(file: &Path) -> Option<String> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", signature::EXTENSION));
    let is_small = std::fs::metadata(&beside).is_ok_and(|found| found.len() <= signature::MOST_BYTES as u64);
    is_small.then(|| std::fs::read_to_string(&beside).ok()).flatten()
}

fn watcher(folder: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // One is enough; to be read is no change.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = sender.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Waits for a change, and then until nothing changes for a while.
async fn quiet(changes: &mut mpsc::Receiver<()>) {
    if changes.recv().await.is_none() {
        return tokio::time::sleep(POLL).await;
    }
    let until = Instant::now() + AT_LAST;
    while Instant::now() < until {
        if timeout(QUIET, changes.recv()).await.is_err() {
            return;
        }
    }
}
