//! Files that an attempt keeps. They are handed over with its end, so that they are there exactly when that is; until then
//! they are in memory, as many as there may be.

use super::For;
use crate::shared::Shared;
use heddle_core::id::{Digest, RunId};
use heddle_core::outside::{ArtifactAnswer, ArtifactCall, ArtifactFault};
use heddle_core::run::artifact::{Artifact, fault};
use heddle_store::{Blob, Listed, RunQuery};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files of one attempt, those included that the plugins kept which it called. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Mutex<WithBytes>>);

/// Those without bytes are among the values of the run already.
type WithBytes = Vec<(Artifact, Option<Arc<[u8]>>)>;

impl Files {
    fn kept(&self) -> MutexGuard<'_, WithBytes> {
        // Nothing that is done under this lock can leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }
    /// All of them, with their bytes.
    pub(crate) fn take(&self) -> (Vec<Artifact>, Vec<Blob>) {
        told(std::mem::take(&mut *self.kept()))
    }
    /// Takes over the files of a plugin that was called, and gives what is to be recorded of them.
    pub(crate) fn take_over(&self, of: Files) -> (Vec<Artifact>, Vec<Blob>) {
        let theirs = std::mem::take(&mut *of.kept());
        self.kept().extend(theirs.iter().cloned());
        told(theirs)
    }
    /// Takes over files that are recorded.
    pub(crate) fn adopt(&self, files: Vec<Artifact>) {
        self.kept().extend(files.into_iter().map(|file| (file, None)));
    }
    fn put(
        &self,
        shared: &Shared,
        (name, media_type): (&str, &str),
        bytes: Vec<u8>,
    ) -> Result<Artifact, ArtifactFault> {
        if let Some(why) = fault(name, media_type) {
            return Err(ArtifactFault::Invalid(why));
        }
        let (size, limits) = (bytes.len() as u64, &shared.limits);
        if size > limits.artifact_bytes {
            return Err(ArtifactFault::TooLarge(format!(
                "`{name}` has {size} bytes; the limit artifact_bytes is {}",
                limits.artifact_bytes
            )));
        }
        let mut kept = self.kept();
        let all: u64 = kept.iter().map(|(artifact, _)| artifact.size).sum();
        if kept.len() as u64 >= limits.artifacts || all + size > limits.artifacts_bytes {
            return Err(ArtifactFault::TooLarge(format!(
                "an attempt keeps at most {} files with {} bytes (limits artifacts, artifacts_bytes)",
                limits.artifacts, limits.artifacts_bytes
            )));
        }
        let digest = Digest::of(&bytes);
        let artifact = Artifact { name: name.into(), media_type: media_type.into(), digest, size };
        kept.push((artifact.clone(), Some(bytes.into())));
        Ok(artifact)
    }
    fn get(&self, digest: Digest) -> Option<Arc<[u8]>> {
        let kept = self.kept();
        kept.iter().find(|(artifact, _)| artifact.digest == digest).and_then(|(_, bytes)| bytes.clone())
    }
}

/// Files, and the bytes of those that have theirs with them.
fn told(files: WithBytes) -> (Vec<Artifact>, Vec<Blob>) {
    let blobs =
        files.iter().filter_map(|(file, bytes)| Some(Blob { digest: file.digest, bytes: bytes.clone()? }));
    let blobs = blobs.collect();
    (files.into_iter().map(|(file, _)| file).collect(), blobs)
}

/// Does it.
pub(super) async fn done(
    shared: &Shared,
    who: &For,
    files: &Files,
    call: ArtifactCall,
) -> Result<ArtifactAnswer, ArtifactFault> {
    match call {
        ArtifactCall::Put { name, media_type, bytes } => {
            files.put(shared, (&name, &media_type), bytes).map(ArtifactAnswer::Kept)
        }
        ArtifactCall::Get { digest } => {
            let shown: String = digest.chars().take(80).collect();
            let parsed = digest.parse().map_err(|_| {
                ArtifactFault::Invalid(format!("`{shown}` is no digest: `sha256:` and 64 hexadecimal digits"))
            })?;
            let found = match files.get(parsed) {
                Some(bytes) => Some(bytes),
                None => of_run(shared, who, parsed).await?,
            };
            let none = || ArtifactFault::NotThere(format!("the run has no file `{shown}`"));
            found.map(ArtifactAnswer::Bytes).ok_or_else(none)
        }
    }
}

/// The bytes of a value that this very run holds.
async fn of_run(shared: &Shared, who: &For, digest: Digest) -> Result<Option<Arc<[u8]>>, ArtifactFault> {
    let failed = |fault| ArtifactFault::Failed(format!("the store did not answer: {fault}"));
    let query = RunQuery {
        holding: Some(digest),
        tenant: who.tenant.clone(),
        // The newest that is no newer than this one.
        before: Some(RunId(who.run.0 + 1)),
        limit: 1,
        ..RunQuery::default()
    };
    let holders = shared.store.runs(query).await.map_err(failed)?;
    let is_ours = |listed: &Listed| matches!(listed, Listed::Run(row) if row.run == who.run);
    match holders.iter().any(is_ours) {
        true => shared.store.blob(digest).await.map_err(failed),
        false => Ok(None),
    }
}
