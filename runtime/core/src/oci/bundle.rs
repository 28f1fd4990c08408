//! A workflow with the components that it calls, as one artifact: what it takes to run it elsewhere. Its manifest names
//! every part by its digest, so whoever signs the manifest signs all of it.
//!
//! ```text
//!  manifest ─► config (what is in it, for people)
//!          └─► layers: workflow, component, [its signature], component, ...
//! ```

use super::{Artifact, Descriptor, MANIFEST, Manifest, OciFault, SIGNATURE, WASM_LAYER, read};
use serde_json::json;

/// What such an artifact is.
pub const BUNDLE: &str = "application/vnd.heddle.bundle.v1";
/// What its config is.
const BUNDLE_CONFIG: &str = "application/vnd.heddle.bundle.config.v1+json";
/// What its workflow is.
const WORKFLOW: &str = "application/vnd.heddle.workflow.v1+yaml";
/// Components of one.
pub const MOST_COMPONENTS: usize = 64;
/// The name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";

/// A component of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `kind:name@version`.
    pub plugin: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The text of its signature, where it has one.
    pub signature: Option<String>,
}

/// What a bundle is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// `namespace/name@version`.
    pub workflow: String,
    /// Its document, as its author wrote it.
    pub source: String,
    /// What it calls.
    pub parts: Vec<Part>,
}

/// Where the parts of a bundle are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The document.
    pub workflow: Descriptor,
    /// The components, each with its signature.
    pub parts: Vec<(Descriptor, Option<Descriptor>)>,
}

fn titled(media_type: &str, bytes: &[u8], title: &str) -> Descriptor {
    let annotations = [(TITLE.to_owned(), title.to_owned())].into();
    Descriptor { annotations, ..Descriptor::of(media_type, bytes) }
}

/// The file of a plugin, `tool:echo@1.2.0`: a name without what no file has.
pub fn file_of(plugin: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || ".-_+".contains(c) { c } else { '-' };
    format!("{}.wasm", plugin.chars().map(fits).collect::<String>())
}

/// The artifact of a bundle.
pub fn of_bundle(bundle: Bundle) -> Artifact {
    let Bundle { workflow, source, parts } = bundle;
    let plugins: Vec<_> = parts
        .iter()
        .map(
            |part| json!({ "plugin": part.plugin, "digest": Descriptor::of(WASM_LAYER, &part.bytes).digest }),
        )
        .collect();
    let config = json!({ "workflow": workflow, "plugins": plugins }).to_string().into_bytes();
    let mut layers = vec![titled(WORKFLOW, source.as_bytes(), "workflow.yaml")];
    let mut blobs = vec![config.clone(), source.into_bytes()];
    for Part { plugin, bytes, signature } in parts {
        let file = file_of(&plugin);
        layers.push(titled(WASM_LAYER, &bytes, &file));
        blobs.push(bytes);
        if let Some(signature) = signature {
            layers.push(titled(SIGNATURE, signature.as_bytes(), &format!("{file}.minisig")));
            blobs.push(signature.into_bytes());
        }
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Descriptor::of(BUNDLE_CONFIG, &config),
        layers,
        subject: None,
        annotations: [("org.opencontainers.image.title".to_owned(), workflow)].into(),
    };
    Artifact::of(&manifest, blobs)
}

/// Reads the manifest of a bundle.
///
/// # Errors
/// Where it is of something else.
pub fn layout(manifest: &[u8]) -> Result<Layout, OciFault> {
    let fault = |what: String| OciFault::Bundle(what);
    let manifest = read(manifest).map_err(|bad| fault(bad.to_string()))?;
    if manifest.artifact_type.as_deref() != Some(BUNDLE) {
        return Err(fault(format!("it is no `{BUNDLE}`")));
    }
    let mut layers = manifest.layers.into_iter();
    let workflow = layers.next().filter(|layer| layer.media_type == WORKFLOW);
    let workflow = workflow.ok_or_else(|| fault("its first layer is no workflow".to_owned()))?;
    let mut parts: Vec<(Descriptor, Option<Descriptor>)> = Vec::new();
    for layer in layers {
        layer.sha256()?;
        match (layer.media_type.as_str(), parts.last_mut()) {
            (WASM_LAYER, _) => parts.push((layer, None)),
            (SIGNATURE, Some((_, signature @ None))) => *signature = Some(layer),
            (other, _) => return Err(fault(format!("it has a layer `{}`", super::shown(other)))),
        }
    }
    if parts.len() > MOST_COMPONENTS {
        return Err(fault(format!("it has {} components; at most {MOST_COMPONENTS} are read", parts.len())));
    }
    workflow.sha256()?;
    Ok(Layout { workflow, parts })
}

/// The name of a layer's file, where it has one.
pub fn title(layer: &Descriptor) -> Option<&str> {
    layer.annotations.get(TITLE).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_put_in_comes_out() {
        let part = |plugin: &str, signature: Option<&str>| Part {
            plugin: plugin.to_owned(),
            bytes: plugin.as_bytes().to_vec(),
            signature: signature.map(str::to_owned),
        };
        let parts = vec![part("tool:a@1.0.0", Some("signed")), part("transform:b@2.0.0", None)];
        let bundle = Bundle { workflow: "demo/w@1.0.0".into(), source: "document: {}".into(), parts };
        let artifact = of_bundle(bundle);
        let found = layout(&artifact.manifest).unwrap();
        assert_eq!(found.workflow.sha256().unwrap(), Digest::of(b"document: {}"));
        assert_eq!(found.parts[0].1.as_ref().unwrap().sha256().unwrap(), Digest::of(b"signed"));
        assert_eq!((found.parts.len(), &found.parts[1].1), (2, &None));
        assert_eq!(title(&found.parts[1].0), Some("transform-b-2.0.0.wasm"));
        assert_eq!(artifact.blobs.len(), 5);
        let component = super::super::of_component((vec![1], "a.wasm"), (&[], &[]), BTreeMap::new());
        assert!(layout(&component.manifest).is_err());
        assert!(super::super::component_of(&artifact.manifest).is_err());
    }

    #[test]
    fn what_is_no_bundle_is_told() {
        let layer =
            |kind: &str| json!({ "mediaType": kind, "digest": Digest::of(b"x").to_string(), "size": 1 });
        let of = |layers: Vec<serde_json::Value>| {
            let config = layer("x");
            json!({ "schemaVersion": 2, "artifactType": BUNDLE, "config": config, "layers": layers })
                .to_string()
        };
        let many = std::iter::once(layer(WORKFLOW)).chain((0..65).map(|_| layer(WASM_LAYER))).collect();
        for (manifest, says) in [
            (of(vec![]), "no workflow"),
            (of(vec![layer(WASM_LAYER)]), "no workflow"),
            (of(vec![layer(WORKFLOW), layer(SIGNATURE)]), "a layer"),
            (of(vec![layer(WORKFLOW), layer(WASM_LAYER), layer(SIGNATURE), layer(SIGNATURE)]), "a layer"),
            (of(vec![layer(WORKFLOW), layer("application/tar")]), "`application/tar`"),
            (of(many), "at most 64"),
            ("{}".to_owned(), "cannot be read"),
        ] {
            let said = layout(manifest.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(says), "{manifest}: {said}");
        }
    }
}
