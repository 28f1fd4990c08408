//! Files that attempts leave with their run. They are facts beside the end of the attempt that kept them, in the same row;
//! their bytes are values like others.

use super::apply::wrong;
use super::event::{Node, Payload};
use super::{Ended, IllegalEvent, Run};
use crate::id::Digest;
use crate::outcome::{Failure, FailureKind};
use crate::time::Timestamp;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes of a name.
const NAME_BYTES: usize = 128;
/// Bytes of a media type.
const TYPE_BYTES: usize = 128;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it is called; it has no path.
    pub name: Arc<str>,
    /// What it is, such as `text/markdown`.
    pub media_type: Arc<str>,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

/// The files of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactsOf {
    /// Which step or item.
    pub node: Node,
    /// Which attempt.
    pub attempt: u32,
    /// The files, in the order in which they were kept.
    pub artifacts: Vec<Artifact>,
}

/// What a file counts beside its bytes: what is told of it is kept as well.
const TOLD_BYTES: u64 = 512;

/// What files count, all in all.
pub fn weight(artifacts: &[Artifact]) -> u64 {
    artifacts.iter().map(|artifact| artifact.size + TOLD_BYTES).sum()
}

/// A file, with who kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The step or the item.
    pub node: Node,
    /// Which attempt.
    pub attempt: u32,
    /// When the attempt ended.
    pub at: Timestamp,
    /// The file.
    pub artifact: Artifact,
}

impl Run {
    /// Why the output and the files of an attempt that has ended so are not kept; nothing where there is room.
    pub fn too_much(&self, end: &Ended, artifacts: &[Artifact]) -> Option<Failure> {
        let output = match end {
            Ended::Done(Payload::Stored { size, .. }) => *size,
            Ended::Done(_) | Ended::Failed(_) => 0,
        };
        let most = self.limits.run_artifacts;
        if !artifacts.is_empty() && (self.artifacts.len() + artifacts.len()) as u64 > most {
            let message = format!("with these files the run has more than {most} (limit run_artifacts)");
            return Some(Failure::new(FailureKind::QuotaExceeded, message));
        }
        let (files, most) = (weight(artifacts), self.limits.run_stored_bytes);
        match files > 0 && self.stored + output + files > most {
            true => Some(Failure::new(
                FailureKind::QuotaExceeded,
                format!(
                    "with these files the outputs of the run have more than {most} bytes (limit run_stored_bytes)"
                ),
            )),
            false => self.no_room_for(output),
        }
    }
    /// Files that attempts have kept, in the order of the facts.
    pub fn artifacts(&self) -> &[Kept] {
        &self.artifacts
    }
    pub(super) fn keep_artifacts(&mut self, of: &ArtifactsOf, at: Timestamp) -> Result<(), IllegalEvent> {
        let node = self.steps.get(of.node.step as usize).and_then(|step| step.node(of.node.item));
        if node.and_then(|node| node.running()) != Some(of.attempt) {
            return Err(wrong("no such attempt is under way"));
        }
        self.stored += weight(&of.artifacts);
        let (node, attempt) = (of.node, of.attempt);
        let kept = of.artifacts.iter().map(|artifact| Kept { node, attempt, at, artifact: artifact.clone() });
        self.artifacts.extend(kept);
        Ok(())
    }
}

/// What a subscriber is told of a file.
pub(super) fn told(artifact: &Artifact) -> [(&'static str, Value); 4] {
    [
        ("name", Value::text(artifact.name.clone())),
        ("mediaType", Value::text(artifact.media_type.clone())),
        ("digest", Value::text(artifact.digest.to_string())),
        ("sizeBytes", Value::Int(artifact.size as i64)),
    ]
}

/// Why a file cannot be called this, or be this; nothing where it can.
pub fn fault(name: &str, media_type: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES || name.starts_with('.') || !name.bytes().all(fits) {
        return Some(format!(
            "the name of an artifact is such as `report.md`: letters, digits, `.`, `_`, `-`, no dot in front, at most {NAME_BYTES} bytes"
        ));
    }
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let is_type = media_type.split_once('/').is_some_and(|(kind, rest)| token(kind) && token(rest));
    (!is_type || media_type.len() > TYPE_BYTES).then(|| {
        format!("a media type is such as `text/markdown`, without parameters, at most {TYPE_BYTES} bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_path_and_types_no_parameters() {
        for name in ["report.md", "a", "A_1-2.tar.gz", &"x".repeat(128)] {
            assert_eq!(fault(name, "application/vnd.x+json"), None, "{name}");
        }
        for name in ["", ".ssh", "..", "a/b", "a\\b", "a b", "ü", "a\n", &"x".repeat(129)] {
            assert!(fault(name, "text/plain").is_some(), "{name}");
        }
        for bad in ["", "text", "text/", "/plain", "text/plain; charset=utf-8", "text/plain\r\nx: y", "a/b/c"]
        {
            assert!(fault("a", bad).is_some(), "{bad}");
        }
    }
}
