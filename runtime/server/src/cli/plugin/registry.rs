//! Components in OCI registries: pushed and pulled by an author from here, or pulled by a node.

use super::super::client::Ask;
use super::super::exit::{Exit, Fault};
use super::super::paint::harmless;
use super::super::{Context, out};
use super::{Pushed, ended};
use crate::app::folder::signature_beside;
use crate::egress::Dialer;
use crate::registry::{Access, Registry, RegistryFault, is_here, of_docker};
use crate::signature::EXTENSION;
use clap::Args;
use heddle_core::egress::Egress;
use heddle_core::limits::Limits;
use heddle_core::oci::{Reference, Which, of_component};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variable with the password or token for a registry.
const PASSWORD: &str = "HEDDLE_REGISTRY_PASSWORD";

/// Who speaks with a registry from here.
#[derive(Args, Debug)]
pub(in crate::cli) struct Login {
    /// Who asks the registry; the password is taken from HEDDLE_REGISTRY_PASSWORD. Else what `docker login` keeps.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The registry has no TLS; one on this machine is taken to have none.
    #[arg(long)]
    plain_http: bool,
}

impl Login {
    pub(in crate::cli) fn access(&self, registry: &str) -> Result<Access, Fault> {
        let credentials = match &self.username {
            Some(name) => {
                let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
                let password = password.ok_or_else(|| {
                    Fault::usage(format!("there is no password for `{name}`"))
                        .with_hint(format!("set {PASSWORD}"))
                })?;
                Some((name.clone(), password))
            }
            None => of_docker(registry).map_err(Fault::usage)?,
        };
        Ok(Access { plain_http: self.plain_http || is_here(registry), credentials })
    }
}

/// From here everything may be dialled that whoever types may dial.
pub(in crate::cli) fn registry() -> Registry {
    let everything = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok());
    Registry::new(Dialer::new(Egress { open: everything.collect() }), &Limits::default())
}

pub(in crate::cli) fn read(text: &str) -> Result<Reference, Fault> {
    text.parse().map_err(|fault: heddle_core::oci::OciFault| Fault::usage(fault.to_string()))
}

pub(in crate::cli) fn told(fault: RegistryFault) -> Fault {
    let message = harmless(&fault.to_string());
    match fault {
        RegistryFault::NotThere(_) => Fault::failed(message).with_code("component_not_found"),
        RegistryFault::Artifact(_) => Fault::failed(message).with_code("component_invalid"),
        _ => Fault::failed(message).with_code("registry_failed").with_hint(format!(
            "who you are there: `docker login`, or `--username` with {PASSWORD}; `--plain-http` where it has no TLS"
        )),
    }
}

/// Sends a component, with the signature beside it.
pub(super) async fn send(file: &Path, to: &str, login: &Login, context: &Context) -> Result<Exit, Fault> {
    let reference = read(to)?;
    let Which::Tag(tag) = &reference.which else {
        return Err(Fault::usage("a component is pushed under a tag, such as `:1.2.0`"));
    };
    let shown = file.display();
    let bytes =
        std::fs::read(file).map_err(|error| Fault::usage(format!("`{shown}` cannot be read: {error}")))?;
    let inspection = crate::app::inspect_component(&bytes).map_err(|fault| {
        Fault::usage(format!("`{shown}` is no plugin that a node accepts: {}", fault.faults.join("; ")))
            .with_code(fault.kind.word())
    })?;
    let version = semver::Version::parse(tag).ok().map(|version| version.to_string());
    let version = version.map(|version| ("org.opencontainers.image.version".to_owned(), version));
    let annotations: BTreeMap<String, String> = version.into_iter().collect();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let artifact = of_component((bytes, &name), (&inspection.imports, &inspection.exports), annotations);
    let signature = signature_beside(file);
    let access = login.access(&reference.registry)?;
    let manifest =
        registry().push(&reference, &access, (&artifact, signature.as_deref())).await.map_err(told)?;
    let pinned = reference.at(manifest).to_string();
    match context.json {
        true => out::json(&json!({
            "file": file, "reference": reference.to_string(), "pinned": pinned,
            "digest": inspection.digest.to_string(), "signed": signature.is_some(),
        })),
        false => {
            out::line(&pinned);
            if signature.is_none() {
                out::note(&format!(
                    "it is not signed; `heddle plugin sign {shown}` makes a signature, which goes along"
                ));
            }
        }
    }
    Ok(Exit::Ok)
}

/// Writes a component into a file, and its signature beside it.
pub(super) async fn fetch(
    reference: &Reference,
    file: Option<PathBuf>,
    login: &Login,
    context: &Context,
) -> Result<Exit, Fault> {
    let access = login.access(&reference.registry)?;
    let pulled = registry().pull(reference, &access).await.map_err(told)?;
    let file = file.unwrap_or_else(|| {
        let name = reference.repository.rsplit('/').next().unwrap_or_default();
        match &reference.which {
            Which::Tag(tag) => format!("{name}-{tag}.wasm").into(),
            Which::Digest(digest) => format!("{name}-{}.wasm", &digest.hex()[..12]).into(),
        }
    });
    let beside = PathBuf::from(format!("{}.{EXTENSION}", file.display()));
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::write(path, bytes)
            .map_err(|error| Fault::usage(format!("`{}` cannot be written: {error}", path.display())))
    };
    write(&file, &pulled.component)?;
    if let Some(signature) = pulled.signatures.first() {
        write(&beside, signature.as_bytes())?;
    }
    let pinned = reference.at(pulled.manifest).to_string();
    let signed = !pulled.signatures.is_empty();
    match context.json {
        true => out::json(&json!({ "file": file, "pinned": pinned, "signed": signed })),
        false => {
            out::line(&format!("{} {pinned}", file.display()));
            let file = file.display();
            out::note(&match signed {
                true => format!("whose signature it has: `heddle plugin verify {file} --key KEY`"),
                false => "nobody has signed it".to_owned(),
            });
        }
    }
    Ok(Exit::Ok)
}

/// Has a node pull a component.
pub(super) async fn load(from: &str, context: &Context) -> Result<Exit, Fault> {
    let reference = read(from)?.to_string();
    let client = context.client()?;
    let body = json!({ "from": reference }).to_string();
    let component = client.json(Ask::post("/v1/plugins", "application/json", body)).await?;
    let source = component["source"].clone();
    let pushed = ended(&client, component).await?;
    let text = |name: &str| harmless(source[name].as_str().unwrap_or_default());
    if let Some(was) = source["was"].as_str() {
        out::note(&format!("{reference} has moved: it was {}, and is {}", harmless(was), text("manifest")));
    }
    match (pushed, context.json) {
        (Pushed::Ready(plugin), true) => {
            out::json(&json!({ "status": "ready", "plugin": plugin, "source": source }));
        }
        (Pushed::Ready(plugin), false) => out::line(&format!("{plugin} {}", text("manifest"))),
        (Pushed::Failed(reasons), true) => {
            out::json(&json!({ "status": "failed", "reasons": reasons, "source": source }));
            return Ok(Exit::Failed);
        }
        (Pushed::Failed(reasons), false) => {
            return Err(Fault::failed(format!(
                "`{reference}` is not loaded: {}",
                harmless(&reasons.join("; "))
            )));
        }
    }
    Ok(Exit::Ok)
}
