//! A workflow with the components that it calls, in an OCI registry: what somebody else needs to run it.

use super::super::client::{Ask, Client};
use super::super::exit::{Exit, Fault};
use super::super::paint::harmless;
use super::super::plugin::registry::{Login, read as read_reference, registry, told};
use super::super::plugin::{Pushed, ended, sign};
use super::super::{Context, input, out};
use super::{ask, read, refused, told as tell};
use crate::registry::RegistryFault;
use crate::signature::{EXTENSION, HEADER, id_of, to_header, verify};
use clap::Args;
use heddle_core::oci::Which;
use heddle_core::oci::bundle::{Bundle, Part, of_bundle};
use heddle_core::plan::Plan;
use heddle_core::plugin::pattern_has;
use heddle_core::route::Callee;
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(in crate::cli) struct PushArgs {
    /// YAML or JSON.
    file: PathBuf,
    /// `registry.example/acme/greet:1.0.0`.
    reference: String,
    /// The secret key that signs all of it; its password is taken from HEDDLE_KEY_PASSWORD.
    #[arg(long)]
    key: Option<PathBuf>,
    #[command(flatten)]
    login: Login,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct PullArgs {
    /// `registry.example/acme/greet:1.0.0`.
    reference: String,
    /// The public key that must have signed it: a `.pub` file, or its line.
    #[arg(long)]
    key: Option<String>,
    /// A folder for the files, instead of the node.
    #[arg(long, short)]
    output: Option<PathBuf>,
    #[command(flatten)]
    login: Login,
}

pub(super) async fn push(asked: &PushArgs, context: &Context) -> Result<Exit, Fault> {
    let reference = read_reference(&asked.reference)?;
    if !matches!(reference.which, Which::Tag(_)) {
        return Err(Fault::usage("a workflow is pushed under a tag, such as `:1.0.0`"));
    }
    let key = asked.key.as_deref().map(sign::secret_key).transpose()?;
    let source = input::file(&asked.file.display().to_string())?;
    let plan = read(&source).map_err(|(code, faults)| refused(&asked.file, &source, &faults, code))?;
    let client = context.client()?;
    let parts = called(&plan, &client).await?;
    let workflow = format!("{}@{}", plan.full_name(), plan.version);
    let plugins: Vec<String> = parts.iter().map(|part| part.plugin.clone()).collect();
    let artifact = of_bundle(Bundle { workflow: workflow.clone(), source, parts });
    let signature = key.map(|key| {
        let comment = format!("workflow:{workflow}");
        minisign::sign(None, &key, Cursor::new(&artifact.manifest), Some(&comment), None)
            .map(|signed| signed.into_string())
            .map_err(|fault| Fault::failed(format!("`{workflow}` cannot be signed: {fault}")))
    });
    let signature = signature.transpose()?;
    let access = asked.login.access(&reference.registry)?;
    let manifest =
        registry().push(&reference, &access, (&artifact, signature.as_deref())).await.map_err(told)?;
    let pinned = reference.at(manifest).to_string();
    if context.json {
        out::json(&json!({
            "workflow": workflow, "reference": reference.to_string(), "pinned": pinned, "plugins": plugins,
            "signed": signature.is_some(),
        }));
        return Ok(Exit::Ok);
    }
    out::line(&pinned);
    plugins.iter().for_each(|plugin| out::note(&format!("  with {plugin}")));
    if signature.is_none() {
        out::note(
            "it is not signed; `--key heddle.key` signs all of it, and `heddle plugin keygen` makes a key",
        );
    }
    Ok(Exit::Ok)
}

/// The components of the node that a workflow calls, each once.
async fn called(plan: &Plan, client: &Client) -> Result<Vec<Part>, Fault> {
    let page = client.json(Ask::get("/v1/plugins")).await?;
    let known: Vec<Value> = page["items"].as_array().cloned().unwrap_or_default();
    let mut wanted: Vec<&Value> = Vec::new();
    for callee in &plan.calls {
        let found = found(callee, &known);
        if found.is_empty() {
            return Err(Fault::failed(format!(
                "the node has nothing for `{callee}`, which the workflow calls"
            ))
            .with_hint("`heddle plugin push FILE` loads it; then push the workflow again"));
        }
        wanted.extend(found);
    }
    let tools = plan.steps.iter().flat_map(|step| &step.tools);
    for pattern in tools {
        let granted = known.iter().filter(|one| is_current(one) && pattern_has(pattern, &named(one)));
        wanted.extend(granted);
    }
    let mut parts: Vec<Part> = Vec::new();
    for plugin in wanted {
        let name = format!("{}@{}", named(plugin), text(plugin, "version"));
        if parts.iter().any(|part| part.plugin == name) {
            continue;
        }
        if named(plugin).contains('/') {
            return Err(Fault::failed(format!(
                "`{name}` is an endpoint of a connector, which does not go along"
            ))
            .with_hint("load the connector at the other node: `heddle connector push FILE`"));
        }
        let (bytes, signature) = client.component(text(plugin, "digest")).await?;
        parts.push(Part { plugin: name, bytes, signature });
    }
    Ok(parts)
}

fn text<'a>(plugin: &'a Value, member: &str) -> &'a str {
    plugin[member].as_str().unwrap_or_default()
}
fn named(plugin: &Value) -> String {
    format!("{}:{}", text(plugin, "kind"), text(plugin, "name"))
}
fn is_current(plugin: &Value) -> bool {
    plugin["standing"] == "current"
}

/// What a call means at the node: the current version where it fits, else the newest that does; of a capability all who
/// provide it.
fn found<'a>(callee: &Callee, known: &'a [Value]) -> Vec<&'a Value> {
    match callee {
        Callee::Plugin(reference) => {
            let wanted = format!("{}:{}", reference.kind.word(), reference.name);
            let version = |plugin: &Value| semver::Version::parse(text(plugin, "version")).ok();
            let fits = |plugin: &&Value| {
                named(plugin) == wanted
                    && version(plugin).is_some_and(|version| reference.range.matches(&version))
            };
            let best = known.iter().filter(fits).max_by_key(|plugin| (is_current(plugin), version(plugin)));
            best.into_iter().collect()
        }
        Callee::Capability(capability) => {
            let provides = |plugin: &&Value| {
                let provided = plugin["provides"].as_array().into_iter().flatten();
                is_current(plugin)
                    && text(plugin, "kind") == capability.kind.word()
                    && provided.into_iter().any(|name| *name == *capability.name)
            };
            known.iter().filter(provides).collect()
        }
    }
}

pub(super) async fn pull(asked: &PullArgs, context: &Context) -> Result<Exit, Fault> {
    let reference = read_reference(&asked.reference)?;
    let key = asked.key.as_deref().map(sign::public).transpose()?;
    let judge = |manifest: &[u8], signatures: &[String]| match &key {
        None => Ok(()),
        Some(key) if signatures.iter().any(|text| verify(key, manifest, text).is_ok()) => Ok(()),
        Some(key) => Err(RegistryFault::Artifact(format!(
            "`{reference}` is not signed by {}: it has {} signatures",
            id_of(key),
            signatures.len()
        ))),
    };
    let access = asked.login.access(&reference.registry)?;
    let (bundle, manifest) = registry().pull_bundle(&reference, &access, judge).await.map_err(told)?;
    let pinned = reference.at(manifest).to_string();
    if !context.json && key.is_none() {
        out::note("nobody has looked who signed it; `--key heddle.pub` does");
    }
    let plan = read(&bundle.source)
        .map_err(|(code, faults)| refused(Path::new("workflow.yaml"), &bundle.source, &faults, code))?;
    let workflow = format!("{}@{}", plan.full_name(), plan.version);
    match &asked.output {
        Some(folder) => write(folder, bundle, (&workflow, &pinned), context),
        None => load(bundle, &pinned, context).await,
    }
}

/// Writes all of it into a folder.
fn write(
    folder: &Path,
    bundle: Bundle,
    (workflow, pinned): (&str, &str),
    context: &Context,
) -> Result<Exit, Fault> {
    let mut files = Vec::new();
    let mut put = |file: PathBuf, bytes: &[u8]| {
        std::fs::write(&file, bytes)
            .map_err(|error| Fault::usage(format!("`{}` cannot be written: {error}", file.display())))?;
        files.push(file);
        Ok::<(), Fault>(())
    };
    let plugins = folder.join("plugins");
    std::fs::create_dir_all(&plugins)
        .map_err(|error| Fault::usage(format!("`{}` cannot be made: {error}", plugins.display())))?;
    put(folder.join("workflow.yaml"), bundle.source.as_bytes())?;
    for (number, part) in bundle.parts.into_iter().enumerate() {
        // The registry says what a file is called; a name with a path in it goes nowhere.
        let is_name = heddle_core::run::artifact::fault(&part.plugin, "a/b").is_none();
        let name = if is_name { part.plugin.clone() } else { format!("component-{number}.wasm") };
        put(plugins.join(&name), &part.bytes)?;
        if let Some(signature) = &part.signature {
            put(plugins.join(format!("{name}.{EXTENSION}")), signature.as_bytes())?;
        }
    }
    match context.json {
        true => out::json(&json!({ "workflow": workflow, "pinned": pinned, "files": files })),
        false => {
            out::line(&format!("{workflow} {pinned}"));
            let folder = folder.display();
            out::note(&format!("heddle run {folder}/workflow.yaml --plugins {folder}/plugins"));
        }
    }
    Ok(Exit::Ok)
}

/// Loads all of it into the node.
async fn load(bundle: Bundle, pinned: &str, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    for Part { plugin, bytes, signature } in bundle.parts {
        let mut asked = Ask::post("/v1/plugins", "application/wasm", bytes);
        if let Some(signature) = signature {
            asked = asked.with(HEADER, to_header(&signature));
        }
        let component = client.json(asked).await?;
        match ended(&client, component).await? {
            Pushed::Ready(plugin) if !context.json => out::note(&format!("  {}", harmless(&plugin))),
            Pushed::Ready(_) => {}
            Pushed::Failed(reasons) => {
                return Err(Fault::failed(format!(
                    "`{}` is not loaded, so the workflow is not published: {}",
                    harmless(&plugin),
                    harmless(&reasons.join("; "))
                )));
            }
        }
    }
    let published = ask(Path::new("workflow.yaml"), &bundle.source, "/v1/workflows", context).await?;
    match context.json {
        true => out::json(&json!({ "published": published, "pinned": pinned })),
        false => tell(&published),
    }
    Ok(Exit::Ok)
}
