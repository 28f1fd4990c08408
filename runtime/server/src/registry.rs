//! Components in OCI registries: pulled by a node, pushed and pulled by an author. Everything goes by the same way out as
//! the requests of plugins (0049), so a registry that answers with a redirect into the node's own network gets nowhere.
//! What comes is held to the digest by which it was asked for, and read no further than it may go.

mod access;
mod session;

pub use access::Access;
pub(crate) use access::{is_here, of_docker};

use crate::app::outbound::Requests;
use crate::egress::Dialer;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::oci::bundle::{Bundle, Part, layout, title};
use heddle_core::oci::{
    self, Artifact, Descriptor, INDEX, Index, MANIFEST, MOST_BYTES, OciFault, Reference, Which, component_of,
    referrers_tag, signature_of, signatures, with_referrer,
};
use heddle_core::outside::{HttpFault, HttpFaultKind, HttpResponse};
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Why nothing was pulled or pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryFault {
    /// The node pulls nothing from there.
    #[error("{0}")]
    NotAllowed(String),
    /// As many are being pulled as may be.
    #[error("{most} components are being pulled already; try again later")]
    Busy {
        /// How many there may be.
        most: usize,
    },
    /// An address that nothing is sent to.
    #[error("{0}")]
    Denied(String),
    /// The registry has nothing by this name.
    #[error("{0}")]
    NotThere(String),
    /// The registry did not do what was asked.
    #[error("{0}")]
    Failed(String),
    /// What is there is no component, or not the one that was asked for.
    #[error("{0}")]
    Artifact(String),
}

impl From<OciFault> for RegistryFault {
    fn from(fault: OciFault) -> RegistryFault {
        RegistryFault::Artifact(fault.to_string())
    }
}

impl From<HttpFault> for RegistryFault {
    fn from(fault: HttpFault) -> RegistryFault {
        match fault.kind {
            HttpFaultKind::Denied => RegistryFault::Denied(fault.message),
            _ => RegistryFault::Failed(fault.message),
        }
    }
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The component.
    pub component: Vec<u8>,
    /// Texts of its signatures, the latest first.
    pub signatures: Vec<String>,
    /// The manifest that it came by.
    pub manifest: Digest,
}

/// Speaks with registries.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    /// What is read whole and little: everything but blobs.
    small: Arc<Requests>,
    blobs: Arc<Requests>,
    limits: Arc<Limits>,
}

impl Registry {
    /// By this way out.
    pub(crate) fn new(dialer: Dialer, limits: &Limits) -> Registry {
        let mut bounds = limits.clone();
        // Components are larger than the answers that plugins get, and take longer.
        bounds.http_response_bytes = limits.component_bytes.max(limits.document_bytes);
        // One bound for all of it (`within`): a body that is on its way to the registry is no answer that does not come.
        (bounds.http_ms, bounds.http_first_byte_ms) = (2 * limits.registry_ms, 2 * limits.registry_ms);
        let mut few = bounds.clone();
        few.http_response_bytes = MOST_BYTES as u64;
        let (bounds, few) = (Arc::new(bounds), Arc::new(few));
        let small = Arc::new(Requests { dialer: dialer.clone(), limits: few });
        Registry { small, blobs: Arc::new(Requests { dialer, limits: bounds.clone() }), limits: bounds }
    }

    /// Fetches a component with its signatures.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn pull(&self, reference: &Reference, access: &Access) -> Result<Pulled, RegistryFault> {
        self.within(reference, self.pull_all(reference, access)).await
    }

    async fn pull_all(&self, reference: &Reference, access: &Access) -> Result<Pulled, RegistryFault> {
        let mut session = self.session(reference, access, "pull");
        let (text, manifest) = get_manifest(&mut session, &reference.which).await?;
        let layer = component_of(&text)?;
        let most = self.limits.component_bytes;
        if layer.size > most {
            let size = layer.size;
            let message = format!("the component has {size} bytes; the limit component_bytes is {most}");
            return Err(RegistryFault::Artifact(message));
        }
        let component = get_blob(&mut session, layer.sha256()?, layer.size).await?;
        let mut texts = Vec::new();
        for signature in self.referrers(&mut session, manifest).await? {
            texts.extend(get_signature(&mut session, signature, manifest).await?);
        }
        Ok(Pulled { component, signatures: texts, manifest })
    }

    /// Sends a component with its signature, and gives the digest of its manifest.
    ///
    /// # Errors
    /// Why it is not there.
    pub(crate) async fn push(
        &self,
        reference: &Reference,
        access: &Access,
        (component, signature): (&Artifact, Option<&str>),
    ) -> Result<Digest, RegistryFault> {
        self.within(reference, self.push_all(reference, access, (component, signature))).await
    }

    async fn push_all(
        &self,
        reference: &Reference,
        access: &Access,
        (component, signature): (&Artifact, Option<&str>),
    ) -> Result<Digest, RegistryFault> {
        let mut session = self.session(reference, access, "pull,push");
        put_artifact(&mut session, component, &reference.which).await?;
        let digest = component.descriptor().sha256()?;
        if let Some(text) = signature {
            let signature = oci::of_signature(text, component.descriptor());
            let own = Which::Digest(signature.descriptor().sha256()?);
            let knows_referrers = put_artifact(&mut session, &signature, &own).await?;
            if !knows_referrers {
                let tag = Which::Tag(referrers_tag(digest));
                let index = with_referrer(get_index(&mut session, &tag).await?, &signature);
                put_manifest(&mut session, INDEX, index, &tag).await?;
            }
        }
        Ok(digest)
    }

    /// Fetches a workflow with the components that it calls. What comes back first are the signatures of its manifest, and
    /// what they sign.
    ///
    /// # Errors
    /// Why there is none, and why `judge` refuses it: nothing but the manifest is fetched before it was asked.
    pub(crate) async fn pull_bundle(
        &self,
        reference: &Reference,
        access: &Access,
        judge: impl FnOnce(&[u8], &[String]) -> Result<(), RegistryFault>,
    ) -> Result<(Bundle, Digest), RegistryFault> {
        self.within(reference, self.pull_parts(reference, access, judge)).await
    }

    async fn pull_parts(
        &self,
        reference: &Reference,
        access: &Access,
        judge: impl FnOnce(&[u8], &[String]) -> Result<(), RegistryFault>,
    ) -> Result<(Bundle, Digest), RegistryFault> {
        let mut session = self.session(reference, access, "pull");
        let (text, manifest) = get_manifest(&mut session, &reference.which).await?;
        let found = layout(&text)?;
        let mut texts = Vec::new();
        for signature in self.referrers(&mut session, manifest).await? {
            texts.extend(get_signature(&mut session, signature, manifest).await?);
        }
        judge(&text, &texts)?;
        let limits = &self.limits;
        let document = (limits.document_bytes, "document_bytes");
        let source = get_text(&mut session, &found.workflow, document).await?;
        let mut parts = Vec::new();
        for (component, signature) in &found.parts {
            let bytes =
                get_part(&mut session, component, (limits.component_bytes, "component_bytes")).await?;
            let signature = match signature {
                Some(layer) => {
                    let most = (crate::signature::MOST_BYTES as u64, "a signature");
                    Some(get_text(&mut session, layer, most).await?)
                }
                None => None,
            };
            let plugin = title(component).unwrap_or("a component").to_owned();
            parts.push(Part { plugin, bytes, signature });
        }
        Ok((Bundle { workflow: String::new(), source, parts }, manifest))
    }

    fn session<'a>(&'a self, reference: &'a Reference, access: &'a Access, actions: &'a str) -> Session<'a> {
        Session::new(
            (&self.small, &self.blobs),
            reference,
            access,
            (actions, Duration::from_millis(2 * self.limits.registry_ms)),
        )
    }

    /// The manifests of its signatures, the latest first.
    async fn referrers(
        &self,
        session: &mut Session<'_>,
        manifest: Digest,
    ) -> Result<Vec<Digest>, RegistryFault> {
        let answer = session.get(&format!("referrers/{manifest}"), &[INDEX]).await?;
        let index = match answer.status {
            200 => oci::index(&answer.body).map(Some).map_err(RegistryFault::from),
            // A registry that does not know of referrers.
            _ => get_index(session, &Which::Tag(referrers_tag(manifest))).await,
        };
        match index {
            Ok(index) => Ok(index.map(|index| signatures(&index)).unwrap_or_default()),
            // Whoever may attach something to a component must not be able to keep it from others.
            Err(fault @ (RegistryFault::Artifact(_) | RegistryFault::NotThere(_))) => {
                tracing::warn!(%fault, "what refers to a component cannot be read, and counts as no signature");
                Ok(Vec::new())
            }
            Err(fault) => Err(fault),
        }
    }

    async fn within<T>(
        &self,
        reference: &Reference,
        work: impl Future<Output = Result<T, RegistryFault>>,
    ) -> Result<T, RegistryFault> {
        let most = self.limits.registry_ms;
        let ended = timeout(Duration::from_millis(most), work).await;
        ended.unwrap_or_else(|_| {
            Err(RegistryFault::Failed(format!(
                "`{}` was not done after {most} ms (`limits.registry_ms`)",
                reference.registry
            )))
        })
    }
}

/// The bytes of a manifest, as far as they may go.
fn some_manifest(answer: HttpResponse) -> Result<Vec<u8>, RegistryFault> {
    match answer.body.len() > MOST_BYTES {
        true => Err(RegistryFault::Artifact(format!("its manifest has more than {MOST_BYTES} bytes"))),
        false => Ok(answer.body),
    }
}

async fn get_manifest(session: &mut Session<'_>, which: &Which) -> Result<(Vec<u8>, Digest), RegistryFault> {
    let answer = session.get(&format!("manifests/{which}"), &[MANIFEST, INDEX]).await?;
    let bytes = some_manifest(session.wanted(answer, 200, "its manifest")?)?;
    let digest = Digest::of(&bytes);
    match which {
        Which::Digest(wanted) if *wanted != digest => Err(other(*wanted, digest)),
        _ => Ok((bytes, digest)),
    }
}

fn other(wanted: Digest, digest: Digest) -> RegistryFault {
    RegistryFault::Artifact(format!("what the registry sent for {wanted} is {digest}"))
}

async fn get_index(session: &mut Session<'_>, which: &Which) -> Result<Option<Index>, RegistryFault> {
    let answer = session.get(&format!("manifests/{which}"), &[INDEX]).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    let bytes = some_manifest(session.wanted(answer, 200, "the list of its signatures")?)?;
    Ok(Some(oci::index(&bytes)?))
}

/// A layer that has no more bytes than it may.
async fn get_part(
    session: &mut Session<'_>,
    layer: &Descriptor,
    (most, limit): (u64, &str),
) -> Result<Vec<u8>, RegistryFault> {
    if layer.size > most {
        let size = layer.size;
        return Err(RegistryFault::Artifact(format!(
            "a layer has {size} bytes; the most is {most} ({limit})"
        )));
    }
    get_blob(session, layer.sha256()?, layer.size).await
}

async fn get_text(
    session: &mut Session<'_>,
    layer: &Descriptor,
    most: (u64, &str),
) -> Result<String, RegistryFault> {
    let bytes = get_part(session, layer, most).await?;
    String::from_utf8(bytes).map_err(|_| RegistryFault::Artifact("a layer that is text is none".to_owned()))
}

async fn get_blob(session: &mut Session<'_>, wanted: Digest, size: u64) -> Result<Vec<u8>, RegistryFault> {
    let answer = session.blob(wanted).await?;
    let bytes = session.wanted(answer, 200, "one of its layers")?.body;
    if bytes.len() as u64 != size {
        let message = format!("a layer has {} bytes, and its manifest says {size}", bytes.len());
        return Err(RegistryFault::Artifact(message));
    }
    match Digest::of(&bytes) {
        digest if digest == wanted => Ok(bytes),
        digest => Err(other(wanted, digest)),
    }
}

/// The text of a signature; none, where it is not there, of something else or no text.
async fn get_signature(
    session: &mut Session<'_>,
    manifest: Digest,
    subject: Digest,
) -> Result<Option<String>, RegistryFault> {
    match get_signature_text(session, manifest, subject).await {
        Err(fault @ (RegistryFault::Artifact(_) | RegistryFault::NotThere(_))) => {
            tracing::warn!(%fault, %manifest, "a signature cannot be read, and counts as none");
            Ok(None)
        }
        other => other,
    }
}

async fn get_signature_text(
    session: &mut Session<'_>,
    manifest: Digest,
    subject: Digest,
) -> Result<Option<String>, RegistryFault> {
    let (text, _) = get_manifest(session, &Which::Digest(manifest)).await?;
    let Ok(layer) = signature_of(&text, subject) else { return Ok(None) };
    if layer.size > crate::signature::MOST_BYTES as u64 {
        return Ok(None);
    }
    let bytes = get_blob(session, layer.sha256()?, layer.size).await?;
    Ok(String::from_utf8(bytes).ok())
}

/// Sends what is not there yet. Whether the registry says that it knows what refers to what.
async fn put_artifact(
    session: &mut Session<'_>,
    artifact: &Artifact,
    which: &Which,
) -> Result<bool, RegistryFault> {
    for blob in &artifact.blobs {
        let digest = Digest::of(blob);
        if session.head(&format!("blobs/{digest}")).await?.status != 200 {
            session.upload(digest, blob.clone()).await?;
        }
    }
    put_manifest(session, MANIFEST, artifact.manifest.clone(), which).await
}

async fn put_manifest(
    session: &mut Session<'_>,
    media_type: &str,
    bytes: Vec<u8>,
    which: &Which,
) -> Result<bool, RegistryFault> {
    let answer = session.put(&format!("manifests/{which}"), media_type, bytes).await?;
    let answer = session.wanted(answer, 201, "its manifest")?;
    Ok(answer.headers.iter().any(|(name, _)| name == "oci-subject"))
}
