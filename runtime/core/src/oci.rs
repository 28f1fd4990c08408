//! Components in an OCI registry, as data: how one is named there, what its manifest says, and how its signature refers
//! to it. The layout is that of the wasm artifact that other toolchains push and pull.
//!
//! ```text
//!  reference ─► manifest ─► config (what it imports and exports)
//!                 ▲    └──► layer  (the component)
//!                 │ subject
//!              manifest of its signature ─► layer (the text of a `.minisig` file)
//! ```
//!
//! A registry without the referrers API has the signature under the tag `sha256-<hex>`, as the distribution
//! specification says: an index of all manifests that refer to that one.

pub mod bundle;

use crate::id::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What a component's config is.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// What its layer is.
pub const WASM_LAYER: &str = "application/wasm";
/// What older toolchains call it.
const WASM_LAYER_BEFORE: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// What a signature is.
pub const SIGNATURE: &str = "application/vnd.heddle.signature.minisign.v1";
/// The config of what has none.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Bytes of that.
pub const EMPTY_BYTES: &[u8] = b"{}";
/// Bytes of a manifest or an index that are read.
pub const MOST_BYTES: usize = 256 * 1024;
/// Signatures of one component that are looked at.
pub const MOST_SIGNATURES: usize = 8;

/// Bytes of the name of a repository, and of a tag.
const NAME_BYTES: usize = 255;
const TAG_BYTES: usize = 128;

/// Why something is no artifact that is used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OciFault {
    /// The text names nothing in a registry.
    #[error(
        "`{0}` names nothing in a registry; write such as `registry.example/acme/echo:1.2.0`, or with `@sha256:...` instead of the tag"
    )]
    Reference(String),
    /// The manifest is not of a bundle.
    #[error("it is not the artifact of a workflow: {0}")]
    Bundle(String),
    /// The manifest is not of a component.
    #[error("it is not the artifact of a component: {0}")]
    Manifest(String),
}

/// Where something is in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `registry.example` or `127.0.0.1:5000`.
    pub registry: String,
    /// `acme/echo`.
    pub repository: String,
    /// Which of it.
    pub which: Which,
}

/// Which manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// Whatever has this tag now.
    Tag(String),
    /// These bytes.
    Digest(Digest),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Tag(tag) => f.write_str(tag),
            Which::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if matches!(self.which, Which::Tag(_)) { ':' } else { '@' };
        write!(f, "{}/{}{between}{}", self.registry, self.repository, self.which)
    }
}

impl FromStr for Reference {
    type Err = OciFault;
    fn from_str(text: &str) -> Result<Reference, OciFault> {
        let fault = || OciFault::Reference(text.chars().take(200).collect());
        let (registry, rest) = text.split_once('/').ok_or_else(fault)?;
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(digest.parse::<Digest>().map_err(|_| fault())?)),
            None => (rest, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (named, None),
        };
        let which = match (digest, tag) {
            // Beside a digest a tag says nothing, and is left out.
            (Some(digest), tag) if tag.is_none_or(is_tag) => Which::Digest(digest),
            (None, Some(tag)) if is_tag(tag) => Which::Tag(tag.to_owned()),
            _ => return Err(fault()),
        };
        if !is_registry(registry) || !is_repository(repository) {
            return Err(fault());
        }
        Ok(Reference { registry: registry.to_owned(), repository: repository.to_owned(), which })
    }
}

impl Reference {
    /// The same repository, at this manifest.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference { which: Which::Digest(digest), ..self.clone() }
    }
}

/// Whether this is a host of a registry: with a dot, a port, or `localhost`, so that it cannot be the first part of a path.
pub fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (host == "localhost" || host.contains('.') || port.is_some())
        && host.len() <= 253
        && host.split('.').all(label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends_well = |byte: Option<u8>| byte.is_some_and(alphanumeric);
        ends_well(part.bytes().next())
            && ends_well(part.bytes().last())
            && part.bytes().all(|b| alphanumeric(b) || b"._-".contains(&b))
            && !part.contains("..")
    };
    text.len() <= NAME_BYTES && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let begins = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_BYTES
        && text.bytes().next().is_some_and(begins)
        && text.bytes().all(|b| begins(b) || b == b'.' || b == b'-')
}

/// Which repositories of a registry are meant: `acme/echo`, or `acme/*` for all below.
pub fn is_pattern(text: &str) -> bool {
    text == "*" || is_repository(text.strip_suffix("/*").unwrap_or(text))
}

/// Whether a repository is among those that are meant.
pub fn pattern_has(pattern: &str, repository: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(before) => repository.starts_with(before),
        None => pattern == repository,
    }
}

/// Something that a manifest points to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// In an index: what the manifest is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What others say of it: it is kept where a list is written again.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

impl Descriptor {
    /// What points to these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            ..Descriptor::default()
        }
    }
    /// The digest, where it is one that is used here.
    ///
    /// # Errors
    /// Where it is by another algorithm.
    pub fn sha256(&self) -> Result<Digest, OciFault> {
        let digest: String = self.digest.chars().take(100).collect();
        self.digest.parse().map_err(|_| OciFault::Manifest(format!("`{digest}` is no sha256 digest")))
    }
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    #[serde(default)]
    pub media_type: String,
    /// What it is of, where that is not its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What is said of the layers.
    pub config: Descriptor,
    /// What it is made of.
    pub layers: Vec<Descriptor>,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// [`INDEX`].
    #[serde(default = "index_type")]
    pub media_type: String,
    /// The manifests.
    #[serde(default, deserialize_with = "or_none")]
    pub manifests: Vec<Descriptor>,
    /// What others say of it.
    #[serde(flatten)]
    pub more: BTreeMap<String, Value>,
}

fn index_type() -> String {
    INDEX.to_owned()
}

/// A list that some registries write as `null` where it is empty.
fn or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    Option::<Vec<Descriptor>>::deserialize(from).map(Option::unwrap_or_default)
}

/// Everything that is sent for one manifest: blobs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// What the manifest points to.
    pub blobs: Vec<Vec<u8>>,
}

impl Artifact {
    fn of(manifest: &Manifest, blobs: Vec<Vec<u8>>) -> Artifact {
        // Plain data: it always has a form.
        Artifact { manifest: serde_json::to_vec(manifest).unwrap_or_default(), blobs }
    }
    /// What points to its manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(MANIFEST, &self.manifest)
    }
}

/// The artifact of a component: what it imports and exports, the component by the name of its file, and what is said of it.
pub fn of_component(
    (component, file): (Vec<u8>, &str),
    (imports, exports): (&[String], &[String]),
    annotations: BTreeMap<String, String>,
) -> Artifact {
    let title = [("org.opencontainers.image.title".to_owned(), file.to_owned())];
    let layer = Descriptor { annotations: title.into(), ..Descriptor::of(WASM_LAYER, &component) };
    let config = json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest],
        "component": { "imports": imports, "exports": exports },
    });
    let config = config.to_string().into_bytes();
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: None,
        config: Descriptor::of(WASM_CONFIG, &config),
        layers: vec![layer],
        subject: None,
        annotations,
    };
    Artifact::of(&manifest, vec![config, component])
}

/// The artifact of a signature of the manifest that `subject` points to.
pub fn of_signature(signature: &str, subject: Descriptor) -> Artifact {
    let signature = signature.as_bytes().to_vec();
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: Some(SIGNATURE.to_owned()),
        config: Descriptor::of(EMPTY, EMPTY_BYTES),
        layers: vec![Descriptor::of(SIGNATURE, &signature)],
        subject: Some(subject),
        annotations: BTreeMap::new(),
    };
    Artifact::of(&manifest, vec![EMPTY_BYTES.to_vec(), signature])
}

/// The tag under which a registry without the referrers API has what refers to a manifest.
pub fn referrers_tag(manifest: Digest) -> String {
    manifest.to_string().replace(':', "-")
}

/// The index of what refers to a manifest, with one more.
pub fn with_referrer(index: Option<Index>, artifact: &Artifact) -> Vec<u8> {
    let empty = || Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        manifests: Vec::new(),
        more: BTreeMap::new(),
    };
    let mut index = index.unwrap_or_else(empty);
    let one = Descriptor { artifact_type: Some(SIGNATURE.to_owned()), ..artifact.descriptor() };
    index.manifests.retain(|other| other.digest != one.digest);
    index.manifests.push(one);
    // Plain data: it always has a form.
    serde_json::to_vec(&index).unwrap_or_default()
}

/// The signatures among what refers to a manifest, the latest first, and no more than are looked at.
pub fn signatures(index: &Index) -> Vec<Digest> {
    let ours = index.manifests.iter().rev().filter(|one| one.artifact_type.as_deref() == Some(SIGNATURE));
    ours.filter_map(|one| one.sha256().ok()).take(MOST_SIGNATURES).collect()
}

/// Reads an index.
///
/// # Errors
/// Why it is none.
pub fn index(bytes: &[u8]) -> Result<Index, OciFault> {
    serde_json::from_slice(bytes).map_err(|fault| OciFault::Manifest(format!("no index: {fault}")))
}

/// The layer with the component.
///
/// # Errors
/// Where the manifest is of something else.
pub fn component_of(manifest: &[u8]) -> Result<Descriptor, OciFault> {
    let manifest = read(manifest)?;
    let is_wasm = |layer: &Descriptor| [WASM_LAYER, WASM_LAYER_BEFORE].contains(&layer.media_type.as_str());
    match manifest.layers.as_slice() {
        [layer] if is_wasm(layer) => layer.sha256().map(|_| layer.clone()),
        [layer] => Err(OciFault::Manifest(format!(
            "its layer is `{}` and not `{WASM_LAYER}`",
            shown(&layer.media_type)
        ))),
        layers => Err(OciFault::Manifest(format!("it has {} layers and not one", layers.len()))),
    }
}

/// The layer with the text of a signature of this manifest.
///
/// # Errors
/// Where it is of something else, or refers to another.
pub fn signature_of(manifest: &[u8], subject: Digest) -> Result<Descriptor, OciFault> {
    let manifest = read(manifest)?;
    let fault = |what: &str| Err(OciFault::Manifest(what.to_owned()));
    match &manifest.subject {
        Some(said) if said.sha256()? == subject => {}
        _ => return fault("it signs something else"),
    }
    match manifest.layers.as_slice() {
        [layer] if layer.media_type == SIGNATURE => layer.sha256().map(|_| layer.clone()),
        _ => fault("it is no signature"),
    }
}

fn read(bytes: &[u8]) -> Result<Manifest, OciFault> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|fault| OciFault::Manifest(format!("its manifest is no JSON: {fault}")))?;
    if value.get("manifests").is_some() {
        let message = "it is an index of several manifests; name one of them by its digest";
        return Err(OciFault::Manifest(message.to_owned()));
    }
    serde_json::from_value(value)
        .map_err(|fault| OciFault::Manifest(format!("its manifest cannot be read: {fault}")))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let digest = Digest::of(b"x");
        for good in [
            "registry.example/acme/echo:1.2.0".to_owned(),
            "127.0.0.1:5000/echo:latest".to_owned(),
            "localhost/a/b/c:v1_2-3.4".to_owned(),
            "localhost:80/a__b/c-d:x".to_owned(),
            format!("registry.example/acme/echo@{digest}"),
        ] {
            assert_eq!(good.parse::<Reference>().unwrap().to_string(), good);
        }
        let both: Reference = format!("registry.example/echo:1.0@{digest}").parse().unwrap();
        assert_eq!(both.which, Which::Digest(digest));
        for bad in [
            "",
            "echo",
            "echo:1",
            "acme/echo:1",
            "registry.example/acme/echo",
            "registry.example/acme/echo:",
            "registry.example/acme/echo:a b",
            "registry.example/Acme/echo:1",
            "registry.example/acme//echo:1",
            "registry.example/../echo:1",
            "registry.example/a..b:1",
            "registry.example/-a:1",
            "registry.example/a:1@sha256:12",
            "registry.example:0/a:1",
            "registry.example:99999/a:1",
            "user@registry.example/a:1",
            "https://registry.example/a:1",
            "-x.example/a:1",
        ] {
            assert!(matches!(bad.parse::<Reference>(), Err(OciFault::Reference(_))), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, repository, has) in [
            ("acme/*", "acme/echo", true),
            ("acme/*", "acme/a/b", true),
            ("acme/*", "acmes/echo", false),
            ("acme/*", "acme", false),
            ("acme/echo", "acme/echo", true),
            ("acme/echo", "acme/echo2", false),
            ("*", "anything/at/all", true),
        ] {
            assert_eq!(pattern_has(pattern, repository), has, "{pattern} {repository}");
            assert!(is_pattern(pattern));
        }
        assert!(!is_pattern("") && !is_pattern("a*") && !is_pattern("/*") && !is_pattern("A/*"));
    }

    #[test]
    fn a_component_and_its_signature() {
        let component = b"component".to_vec();
        let imports = ["heddle:host/log@0.1.0".to_owned()];
        let artifact = of_component((component.clone(), "a.wasm"), (&imports, &[]), BTreeMap::new());
        let layer = component_of(&artifact.manifest).unwrap();
        assert_eq!((layer.sha256().unwrap(), layer.size), (Digest::of(&component), 9));
        let subject = artifact.descriptor().sha256().unwrap();
        let signature = of_signature("signed", artifact.descriptor());
        let layer = signature_of(&signature.manifest, subject).unwrap();
        assert_eq!(layer.sha256().unwrap(), Digest::of(b"signed"));
        assert!(signature_of(&signature.manifest, Digest::of(b"another")).is_err());
        assert!(signature_of(&artifact.manifest, subject).is_err());
        assert!(
            component_of(&signature.manifest).unwrap_err().to_string().contains("not `application/wasm`")
        );
        let list = with_referrer(None, &signature);
        let list = with_referrer(Some(index(&list).unwrap()), &signature);
        let other = of_signature("signed by another", artifact.descriptor());
        let list = index(&with_referrer(Some(index(&list).unwrap()), &other)).unwrap();
        let digests = [other, signature].map(|one| one.descriptor().sha256().unwrap());
        assert_eq!(signatures(&list), digests, "once each, the latest first");
        let others = br#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:1","size":1,"platform":{"os":"a"}}],"annotations":{"a":"b"}}"#;
        let kept = with_referrer(Some(index(others).unwrap()), &of_signature("x", artifact.descriptor()));
        let kept = String::from_utf8(kept).unwrap();
        assert!(
            kept.contains(r#""platform":{"os":"a"}"#) && kept.contains(r#""annotations":{"a":"b"}"#),
            "{kept}"
        );
        assert_eq!(signatures(&index(br#"{"schemaVersion":2,"manifests":null}"#).unwrap()), []);
        assert_eq!(referrers_tag(subject), subject.to_string().replace(':', "-"));
    }

    #[test]
    fn what_is_no_artifact_is_told() {
        for (manifest, why) in [
            ("{", "no JSON"),
            ("[]", "cannot be read"),
            (r#"{"schemaVersion":2,"manifests":[]}"#, "an index"),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"y","size":1},"layers":[]}"#,
                "0 layers",
            ),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"y","size":1},"layers":[{"mediaType":"application/wasm","digest":"sha512:00","size":1}]}"#,
                "no sha256 digest",
            ),
            (
                r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"y","size":1},"layers":[{"mediaType":"application/wasm","digest":"sha256:00","size":-1}]}"#,
                "cannot be read",
            ),
        ] {
            let said = component_of(manifest.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(why), "{manifest}: {said}");
        }
    }
}
