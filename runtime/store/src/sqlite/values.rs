//! Large values as files named by their digest: `values/ab/cdef…`. A file appears under its name only when it is whole
//! and on disk, and before the row that refers to it is written.

use heddle_core::id::Digest;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Values above this many bytes are files.
pub(super) const FILE_BYTES: usize = 256 * 1024;

/// The folder of values.
pub(super) struct Values {
    folder: PathBuf,
    /// Values whose file is being written or whose row is not written yet: retention leaves their files alone.
    claimed: Mutex<HashMap<Digest, u32>>,
    next_name: AtomicU64,
}

/// Keeps the files of these values while it lives.
pub(super) struct Claim {
    values: Arc<Values>,
    digests: Vec<Digest>,
}

impl Values {
    /// The folder in this data folder. What a process that died left half-written is removed.
    pub(super) fn open(data: &Path) -> io::Result<Values> {
        let folder = data.join("values");
        let unfinished = folder.join("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)?;
        sync_folder(data)?;
        Ok(Values::at(data))
    }
    /// The folder in this data folder, for reading only.
    pub(super) fn at(data: &Path) -> Values {
        Values { folder: data.join("values"), claimed: Mutex::default(), next_name: AtomicU64::new(0) }
    }
    fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder.join(&hex[..2]).join(&hex[2..])
    }
    fn claims(&self) -> MutexGuard<'_, HashMap<Digest, u32>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims these values, before they are written.
    pub(super) fn claim(self: &Arc<Self>, digests: Vec<Digest>) -> Claim {
        let mut claims = self.claims();
        for digest in &digests {
            *claims.entry(*digest).or_default() += 1;
        }
        drop(claims);
        Claim { values: self.clone(), digests }
    }
    /// Writes a value that is claimed. Returns when it is on disk under its name.
    pub(super) fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let shard = path.parent().unwrap_or(&self.folder);
        // A file that is there already is compared, so that a damaged one is replaced.
        if fs::read(&path).is_ok_and(|found| found == bytes) {
            return sync_folder(shard);
        }
        if !shard.exists() {
            fs::create_dir_all(shard)?;
            sync_folder(&self.folder)?;
        }
        let name = self.next_name.fetch_add(1, Ordering::Relaxed).to_string();
        let unfinished = self.folder.join("new").join(name);
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_folder(shard)
    }
    /// The bytes, unchecked.
    pub(super) fn read(&self, digest: Digest) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(digest)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
    /// Removes a file whose row was removed, unless somebody is about to write the row again. Only the writer's thread
    /// calls this, right after the commit: a row that comes later is written by that thread, too.
    pub(super) fn remove(&self, digest: Digest) {
        let claims = self.claims();
        if !claims.contains_key(&digest)
            && let Err(error) = fs::remove_file(self.path(digest))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%digest, %error, "a value's file could not be removed; the next start tries again");
        }
    }
    /// Removes the files that no row knows: those of appends that were never committed.
    pub(super) fn sweep(&self, mut known: impl FnMut(Digest) -> bool) -> io::Result<u64> {
        let mut removed = 0;
        for shard in fs::read_dir(&self.folder)? {
            let shard = shard?;
            let prefix = shard.file_name();
            for file in fs::read_dir(shard.path())? {
                let file = file?;
                let name =
                    format!("sha256:{}{}", prefix.to_string_lossy(), file.file_name().to_string_lossy());
                if name.parse().is_ok_and(|digest| !known(digest)) {
                    fs::remove_file(file.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = self.values.claims();
        for digest in &self.digests {
            if let Some(count) = claims.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    claims.remove(digest);
                }
            }
        }
    }
}

/// A name in a folder is on disk when the folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
