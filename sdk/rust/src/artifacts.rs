//! Files that a run keeps: for people, or for later steps, without a place in an output.
//!
//! They are there for all to see when the attempt has ended, well or badly, and go when the run goes. One that is
//! cut off leaves none.

use crate::{Failure, host};

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is called.
    pub name: String,
    /// What it is, such as `text/markdown`.
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits: what [`get`] and later steps know it by.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Why not. Through `?` it becomes a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator has not granted it.
    Denied(String),
    /// The name, the media type or the digest.
    Invalid(String),
    /// The file, or the number of them, is larger than it may be.
    TooLarge(String),
    /// The run has none with this digest.
    NotThere(String),
    /// The store did not answer.
    Failed(String),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        match fault {
            Fault::Denied(why) => Failure::permanent("artifacts_denied", why),
            Fault::Invalid(why) => Failure::permanent("artifacts_invalid", why),
            Fault::TooLarge(why) => Failure::permanent("artifacts_too_large", why),
            Fault::NotThere(why) => Failure::permanent("artifacts_not_there", why),
            Fault::Failed(why) => Failure::retryable("artifacts_failed", why),
        }
    }
}

/// Keeps bytes under a name such as `report.md`: letters, digits, `.`, `_` and `-`.
///
/// # Errors
/// Why it is not kept.
pub fn put(name: &str, media_type: &str, bytes: impl AsRef<[u8]>) -> Result<Artifact, Fault> {
    host::artifact_put(name, media_type, bytes.as_ref())
}

/// The bytes of a file that this run has kept, in this attempt or before.
///
/// # Errors
/// Why there is none.
pub fn get(digest: &str) -> Result<Vec<u8>, Fault> {
    host::artifact_get(digest)
}
