//! Machine code on disk, and the one place that loads it.
//!
//! Loading precompiled code runs it, whatever it says: wasmtime checks that it was made for this build, not that it was
//! made by us. So a file counts only when its authentication code holds, under a key that never leaves the cache
//! folder, over the component's digest, the settings and every byte. What was verified is what is loaded: the bytes are
//! read once and never mapped from a file that could change underneath.

#![allow(unsafe_code, reason = "the one module that may: deserialising machine code; see SAFETY below")]

use heddle_core::id::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::Mode;
use sha2::Sha256;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"HEDDLEC1";
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + MAC_BYTES;
const KEY_FILE: &str = "key";

/// Machine code that this host's compiler made, or that was proven to be.
pub(crate) struct Trusted {
    bytes: Vec<u8>,
    skip: usize,
}

impl Trusted {
    /// Straight from the compiling child, over its pipe.
    pub(crate) fn from_child(bytes: Vec<u8>) -> Trusted {
        Trusted { bytes, skip: 0 }
    }
    fn code(&self) -> &[u8] {
        &self.bytes[self.skip..]
    }
    pub(crate) fn size(&self) -> usize {
        self.code().len()
    }
    /// Loads it.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` demands bytes that wasmtime itself produced, unchanged. A `Trusted` is made in two
        // places only: from the stdout of the compiling process, which is this build's own executable running
        // `Engine::precompile_component`; and by `CodeCache::read`, after an HMAC-SHA256 over all of the bytes held,
        // under a key that only this host writes with. The bytes are owned and cannot have changed since.
        unsafe { Component::deserialize(engine, self.code()) }
    }
}

/// Compiled components in a folder of ours.
pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; 32],
    settings: Digest,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("dir", &self.dir)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl CodeCache {
    /// Opens the folder, making it and its key where they are missing. `settings` is the digest of everything that
    /// shapes code.
    pub(crate) fn open(dir: &Path, settings: Digest) -> io::Result<CodeCache> {
        fs::create_dir_all(dir)?;
        let key = read_or_make_key(&dir.join(KEY_FILE))?;
        let cache = CodeCache { dir: dir.to_owned(), key, settings };
        cache.sweep()?;
        Ok(cache)
    }

    /// Removes code that other builds and settings left, which would never be read again.
    fn sweep(&self) -> io::Result<()> {
        let ours = self.suffix();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".cwasm") && !name.ends_with(&ours) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn suffix(&self) -> String {
        format!("-{}.cwasm", &self.settings.hex()[..16])
    }

    fn path(&self, component: Digest) -> PathBuf {
        self.dir.join(component.hex() + &self.suffix())
    }

    fn mac(&self, component: Digest, code: &[u8]) -> io::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(io::Error::other)?;
        mac.update(MAGIC);
        mac.update(&component.0);
        mac.update(&self.settings.0);
        mac.update(&(code.len() as u64).to_le_bytes());
        mac.update(code);
        Ok(mac)
    }

    /// The code of this component, if it is here and genuine. A file that is not is logged and removed.
    pub(crate) fn read(&self, component: Digest) -> Option<Trusted> {
        let path = self.path(component);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return None,
            Err(fault) => {
                tracing::warn!(%fault, path = %path.display(), "a compiled component cannot be read; compiling it again");
                return None;
            }
        };
        if self.is_genuine(component, &bytes) {
            return Some(Trusted { bytes, skip: HEADER_BYTES });
        }
        tracing::error!(
            path = %path.display(),
            "a compiled component is not what this host wrote: tampered with or damaged; compiling it again"
        );
        let _ = fs::remove_file(&path);
        None
    }

    /// Removes the code of this component, if it is here.
    pub(crate) fn remove(&self, component: Digest) {
        if let Err(fault) = fs::remove_file(self.path(component))
            && fault.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%fault, %component, "a compiled component could not be removed");
        }
    }

    fn is_genuine(&self, component: Digest, bytes: &[u8]) -> bool {
        let Some((header, code)) = bytes.split_at_checked(HEADER_BYTES) else { return false };
        header.starts_with(MAGIC)
            && self.mac(component, code).is_ok_and(|mac| mac.verify_slice(&header[MAGIC.len()..]).is_ok())
    }

    /// Keeps the code of this component: under a temporary name first, so that a file with the real name is whole.
    pub(crate) fn write(&self, component: Digest, code: &Trusted) -> io::Result<()> {
        let mac = self.mac(component, code.code())?.finalize().into_bytes();
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let temporary = self.dir.join(format!("{}.{:016x}.tmp", component.hex(), u64::from_le_bytes(nonce)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&mac)?;
            file.write_all(code.code())?;
            file.sync_all()?;
            fs::rename(&temporary, self.path(component))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; 32]> {
    if fs::metadata(path).is_ok_and(|key| key.len() != 32) {
        // Code that it authenticated is compiled again; nothing else is lost.
        tracing::warn!(path = %path.display(), "the key of the compiled components is damaged; a new one is made");
        fs::remove_file(path)?;
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Written beside and linked into place, so that two hosts on one folder cannot see half a key.
    let temporary =
        path.with_extension(format!("{:08x}.tmp", u32::from_le_bytes([key[0], key[9], key[18], key[27]])));
    let made = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(io::Error::other)?;
        file.write_all(&fresh)?;
        file.sync_all()?;
        fs::hard_link(&temporary, path)
    })();
    let _ = fs::remove_file(&temporary);
    match made {
        Err(fault) if fault.kind() != io::ErrorKind::AlreadyExists => return Err(fault),
        _ => {}
    }
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & (Mode::RWXG | Mode::RWXO).bits() != 0 {
        return Err(io::Error::other(format!(
            "`{}` may be read by others (mode {:o}); set it to 600",
            path.display(),
            mode & 0o777
        )));
    }
    file.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &Path) -> CodeCache {
        CodeCache::open(dir, Digest::of(b"settings")).unwrap()
    }

    #[test]
    fn only_what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let store = cache(dir.path());
        assert!(store.read(one).is_none());
        store.write(one, &Trusted::from_child(b"code".to_vec())).unwrap();
        assert_eq!(cache(dir.path()).read(one).unwrap().code(), b"code");
        // Under another component's name, under other settings, with another key, cut, and changed: never.
        fs::copy(store.path(one), store.path(other)).unwrap();
        assert!(store.read(other).is_none() && !store.path(other).exists());
        let good = fs::read(store.path(one)).unwrap();
        let elsewhere = CodeCache::open(dir.path(), Digest::of(b"other settings")).unwrap();
        assert!(!store.path(one).exists(), "code of other settings is swept");
        fs::write(elsewhere.path(one), &good).unwrap();
        assert!(elsewhere.read(one).is_none());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(!store.is_genuine(one, &bad) && !store.is_genuine(one, &good[..at]), "{at}");
        }
        assert!(store.is_genuine(one, &good));
    }
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path());
        let key = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(CodeCache::open(dir.path(), Digest::of(b"settings")).is_err());
    }
}
