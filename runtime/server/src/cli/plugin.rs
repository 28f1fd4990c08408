//! `heddle plugin`: loading plugins into a node, looking at them, and deciding which version runs get.

pub(super) mod registry;
mod release;
pub(super) mod sign;

use super::client::{Ask, Client, Refused};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::faults::FileFault;
use super::follow::Show;
use super::paint::{Colour, Paint, harmless};
use super::runs::encode;
use super::{Context, out};
use crate::app::folder::signature_beside;
use crate::signature;
use bytes::Bytes;
use clap::Subcommand;
use futures_util::{StreamExt as _, stream};
use heddle_core::oci::Reference;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Components that are sent at the same time.
const AT_ONCE: usize = 4;
/// How often a component that is being compiled is looked at.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Subcommand, Debug)]
pub(super) enum PluginCommand {
    /// List the plugins that a node has loaded.
    Ls {
        /// Only this one.
        name: Option<String>,
        /// Only those that provide this, in the order in which a run would try them.
        #[arg(long, conflicts_with = "name")]
        capability: Option<String>,
        /// With `--capability`: of which kind.
        #[arg(long, requires = "capability", value_parser = ["tool", "transform", "agent"])]
        kind: Option<String>,
    },
    /// Say something of a plugin, for steps that call by capability: `region=eu cost=3`, and `region-` takes it away.
    Label {
        /// `kind:name`.
        plugin: String,
        /// `label=value`, or `label-`.
        #[arg(required = true)]
        labels: Vec<String>,
    },
    /// Load components into a node, so that the next run may use them; or send one to an OCI registry.
    Push {
        /// `*.wasm` files, or folders of them.
        #[arg(required_unless_present = "from")]
        files: Vec<PathBuf>,
        /// The node pulls the component from an OCI registry: `registry.example/acme/echo:1.2.0`.
        #[arg(long, value_name = "REFERENCE", conflicts_with_all = ["files", "to", "username", "plain_http"])]
        from: Option<String>,
        /// Send the component, with the signature beside it, to an OCI registry and not to a node.
        #[arg(long, value_name = "REFERENCE")]
        to: Option<String>,
        #[command(flatten)]
        login: registry::Login,
    },
    /// Let runs have a version: all of them, or a share, with or without a gate.
    Promote(release::Promote),
    /// Take back the version on trial, or else the current one; runs get what was current before.
    Rollback {
        /// `name` or `kind:name`.
        plugin: String,
        /// The version that is meant: where it has been taken back already, or another one would be, nothing changes.
        version: Option<semver::Version>,
        /// One sentence for whoever asks later.
        #[arg(long)]
        why: Option<String>,
    },
    /// Let runs have the newest version again, whatever is loaded.
    Follow {
        /// `name` or `kind:name`.
        plugin: String,
    },
    /// Delete a version that nothing uses.
    Rm {
        /// `name` or `kind:name`.
        plugin: String,
        /// The version.
        version: semver::Version,
    },
    /// Show what the calls of a plugin came to.
    Metrics {
        /// `name` or `kind:name`.
        plugin: String,
        /// RFC 3339; an hour ago where nothing is said.
        #[arg(long)]
        from: Option<String>,
        /// RFC 3339; now where nothing is said.
        #[arg(long)]
        to: Option<String>,
    },
    /// Make a pair of keys that sign plugins, in the format of minisign.
    Keygen {
        /// The file of the secret key; the public one gets the same name with `.pub`.
        #[arg(default_value = "heddle.key")]
        file: PathBuf,
    },
    /// Sign components or connectors: each gets a `.minisig` beside it, which goes along when it is pushed.
    Sign {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The secret key; its password is taken from HEDDLE_KEY_PASSWORD.
        #[arg(long, default_value = "heddle.key")]
        key: PathBuf,
    },
    /// Check the signature beside a file.
    Verify {
        /// The file.
        file: PathBuf,
        /// The public key: a `.pub` file, or its line.
        #[arg(long, default_value = "heddle.pub")]
        key: String,
    },
    /// Write the component of a plugin into a file: of a node, or out of an OCI registry.
    Pull {
        /// `name`, `kind:name`, or with `@version`; the current version where none is said. Or
        /// `registry.example/acme/echo:1.2.0`.
        plugin: String,
        /// Where; `name-version.wasm` in this folder where nothing is said.
        #[arg(long, short)]
        output: Option<PathBuf>,
        #[command(flatten)]
        login: registry::Login,
    },
    /// Show a plugin of a node, or read a component without loading it.
    Inspect {
        /// A file, or `name` or `kind:name` of a loaded plugin.
        what: String,
    },
}

/// What became of a component.
#[derive(Clone, Debug)]
pub(super) enum Pushed {
    /// `kind:name@version`.
    Ready(String),
    /// Why it is not loaded.
    Failed(Vec<String>),
}

pub(super) async fn plugin(command: &PluginCommand, context: &Context) -> Result<Exit, Fault> {
    match command {
        PluginCommand::Ls { name, capability, kind } => {
            let path = match (name, capability) {
                (Some(name), _) => format!("/v1/plugins/{}", encode(some_name(name)?)),
                (None, None) => "/v1/plugins".to_owned(),
                (None, Some(capability)) => {
                    let kind = kind.as_deref().map_or(String::new(), |kind| format!("&kind={kind}"));
                    format!("/v1/plugins?capability={}{kind}", encode(capability))
                }
            };
            ls(&context.client()?, &path, context).await
        }
        PluginCommand::Label { plugin, labels } => label(plugin, labels, context).await,
        PluginCommand::Push { from: Some(from), .. } => registry::load(from, context).await,
        PluginCommand::Push { files, to: Some(to), login, .. } => match files.as_slice() {
            [file] => registry::send(file, to, login, context).await,
            _ => Err(Fault::usage("one component is pushed under one reference; name one file")),
        },
        PluginCommand::Push { files, .. } => {
            let mut all = Vec::new();
            for file in files {
                match file.is_dir() {
                    true => all.extend(some_components(file)?),
                    false => all.push(file.clone()),
                }
            }
            pushed(&context.client()?, &all, context).await
        }
        PluginCommand::Inspect { what } => inspect(what, context).await,
        PluginCommand::Promote(wish) => release::promote(wish, context).await,
        PluginCommand::Rollback { plugin, version, why } => {
            release::rollback(plugin, version.as_ref(), why.as_deref(), context).await
        }
        PluginCommand::Follow { plugin } => release::follow(plugin, context).await,
        PluginCommand::Rm { plugin, version } => release::remove(plugin, version, context).await,
        PluginCommand::Metrics { plugin, from, to } => {
            release::metrics(plugin, (from.as_deref(), to.as_deref()), context).await
        }
        PluginCommand::Keygen { file } => sign::keygen(file, context),
        PluginCommand::Sign { files, key } => sign::sign(files, key, context),
        PluginCommand::Verify { file, key } => sign::verify(file, key, context),
        PluginCommand::Pull { plugin, output, login } => match plugin.parse::<Reference>() {
            Ok(reference) => registry::fetch(&reference, output.clone(), login, context).await,
            Err(_) => release::pull(plugin, output.clone(), context).await,
        },
    }
}

/// The components of a folder, by name.
pub(super) fn components(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let fault = |error| {
        Fault::usage(format!("the folder `{}` cannot be read: {error}", folder.display()))
            .with_hint("`--plugins FOLDER` names another")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The components of a folder that was named for them.
fn some_components(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let files = components(folder)?;
    match files.is_empty() {
        false => Ok(files),
        true => Err(Fault::usage(format!("the folder `{}` has no `*.wasm` file", folder.display())).with_hint(
            "`cargo build --release --target wasm32-wasip2` puts them under `target/wasm32-wasip2/release`",
        )),
    }
}

/// Loads components and waits until each is ready or has failed.
pub(super) async fn push(
    client: &Client,
    files: &[PathBuf],
    show: Show,
) -> Result<Vec<(PathBuf, Pushed)>, Fault> {
    let paint = Paint::for_stderr();
    let mut pending = stream::iter(files.iter().cloned().map(|file| async move {
        let pushed = push_one(client, &file).await;
        (file, pushed)
    }))
    .buffer_unordered(AT_ONCE);
    let mut results = Vec::new();
    while let Some((file, pushed)) = pending.next().await {
        let pushed = pushed?;
        if show == Show::People {
            match &pushed {
                Pushed::Ready(plugin) => out::note(&format!("  {} {plugin}", paint.with(Colour::Green, "✓"))),
                Pushed::Failed(reasons) => {
                    out::note(&format!(
                        "  {} {}: {}",
                        paint.with(Colour::Red, "✗"),
                        file.display(),
                        harmless(&reasons.join("; "))
                    ));
                }
            }
        }
        results.push((file, pushed));
    }
    results.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(results)
}

async fn push_one(client: &Client, file: &Path) -> Result<Pushed, Fault> {
    let bytes = std::fs::read(file)
        .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", file.display())))?;
    let bytes = Bytes::from(bytes);
    let component = loop {
        match client.json(signed(Ask::post("/v1/plugins", "application/wasm", bytes.clone()), file)).await {
            Ok(component) => break component,
            Err(Refused::By(refusal)) if refusal.status == 429 => {
                tokio::time::sleep(Duration::from_secs(refusal.retry_after_s.unwrap_or(1).clamp(1, 30)))
                    .await;
            }
            Err(Refused::By(refusal)) if refusal.status == 422 || refusal.code.starts_with("signature_") => {
                let reasons: Vec<String> = refusal.errors.into_iter().map(|e| e.message).collect();
                return Ok(Pushed::Failed(if reasons.is_empty() { vec![refusal.detail] } else { reasons }));
            }
            Err(refused) => return Err(refused.into()),
        }
    };
    ended(client, component).await
}

/// What became of a component that is being compiled.
pub(super) async fn ended(client: &Client, mut component: Exact) -> Result<Pushed, Fault> {
    let path = format!("/v1/components/{}", component["digest"].as_str().unwrap_or_default());
    while component["status"] == "compiling" {
        tokio::time::sleep(LOOK).await;
        component = client.json(Ask::get(&path)).await?;
    }
    if component["status"] == "ready" {
        return Ok(Pushed::Ready(component["plugin"].as_str().unwrap_or_default().to_owned()));
    }
    let reasons = component["failure"]["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Pushed::Failed(reasons.iter().filter_map(|reason| reason.as_str().map(str::to_owned)).collect()))
}

/// With the signature that stands beside the file.
pub(super) fn signed<'a>(ask: Ask<'a>, file: &Path) -> Ask<'a> {
    match signature_beside(file) {
        Some(text) => ask.with(signature::HEADER, signature::to_header(&text)),
        None => ask,
    }
}

async fn pushed(client: &Client, files: &[PathBuf], context: &Context) -> Result<Exit, Fault> {
    let results = push(client, files, if context.json { Show::Nothing } else { Show::People }).await?;
    let failed = results.iter().filter(|(_, pushed)| matches!(pushed, Pushed::Failed(_))).count();
    if context.json {
        let rows: Vec<Value> = results
            .iter()
            .map(|(file, pushed)| match pushed {
                Pushed::Ready(plugin) => {
                    serde_json::json!({ "file": file, "status": "ready", "plugin": plugin })
                }
                Pushed::Failed(reasons) => {
                    serde_json::json!({ "file": file, "status": "failed", "reasons": reasons })
                }
            })
            .collect();
        out::json(&rows);
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

async fn ls(client: &Client, path: &str, context: &Context) -> Result<Exit, Fault> {
    let page = client.json(Ask::get(path)).await?;
    if context.json {
        out::json(&page);
        return Ok(Exit::Ok);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |plugin: &Value| {
        let digest: String = text(&plugin["digest"]).chars().take(19).collect();
        let size = plugin["sizeBytes"]
            .as_u64()
            .map(|bytes| format!("{} KiB", bytes.div_ceil(1024)))
            .unwrap_or_default();
        vec![
            format!("{}:{}", text(&plugin["kind"]), text(&plugin["name"])),
            text(&plugin["version"]),
            text(&plugin["standing"]),
            text(&plugin["health"]["state"]),
            size,
            digest,
            told(&plugin["provides"], &plugin["labels"]),
            text(&plugin["title"]),
        ]
    };
    let items = page["items"].as_array().cloned().unwrap_or_default();
    out::table(
        &["PLUGIN", "VERSION", "STANDING", "HEALTH", "SIZE", "DIGEST", "PROVIDES", "TITLE"],
        &items.iter().map(row).collect::<Vec<_>>(),
    );
    Ok(Exit::Ok)
}

/// What a plugin provides, and what its operator says of it.
fn told(provides: &Value, labels: &Value) -> String {
    let names = provides.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let labels = labels.as_object().into_iter().flatten();
    let labels = labels.map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default()));
    harmless(&names.chain(labels).collect::<Vec<_>>().join(" "))
}

/// An empty name is most often an empty variable of a script.
fn some_name(name: &str) -> Result<&str, Fault> {
    match name.trim() {
        "" => Err(Fault::usage("the name of a plugin is empty").with_hint("`heddle plugin ls` lists them")),
        name => Ok(name),
    }
}

async fn label(plugin: &str, labels: &[String], context: &Context) -> Result<Exit, Fault> {
    let mut changes = serde_json::Map::new();
    for text in labels {
        let (label, value) = match (text.split_once('='), text.strip_suffix('-')) {
            (Some((label, value)), _) => (label, Value::from(value)),
            (None, Some(label)) => (label, Value::Null),
            (None, None) => {
                return Err(Fault::usage(format!("`{text}` is no label"))
                    .with_hint("write `region=eu` to set one, and `region-` to take it away"));
            }
        };
        changes.insert(label.to_owned(), value);
    }
    let path = format!("/v1/plugins/{}/labels", encode(some_name(plugin)?));
    let ask = Ask::patch(&path, "application/json", Value::Object(changes).to_string());
    let answer = context.client()?.json(ask).await?;
    if context.json {
        out::json(&answer);
        return Ok(Exit::Ok);
    }
    let labels = answer["labels"].as_object().into_iter().flatten();
    let said: Vec<String> =
        labels.map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default())).collect();
    out::line(&format!("{plugin}  {}", harmless(&said.join(" "))));
    Ok(Exit::Ok)
}

async fn inspect(what: &str, context: &Context) -> Result<Exit, Fault> {
    let what = some_name(what)?;
    let path = Path::new(what);
    let is_a_path = what.contains('/') || path.extension().is_some_and(|extension| extension == "wasm");
    if is_a_path && !path.is_file() {
        let why = match path.is_dir() {
            true => "is a folder; name one of its files",
            false => "is no file",
        };
        return Err(Fault::usage(format!("`{what}` {why}"))
            .with_hint("a loaded plugin is named `name` or `kind:name`: `heddle plugin ls`"));
    }
    if path.is_file() {
        let bytes =
            std::fs::read(path).map_err(|error| Fault::usage(format!("`{what}` cannot be read: {error}")))?;
        let inspection = crate::app::inspect_component(&bytes).map_err(|fault| {
            let reasons: Vec<String> =
                fault.faults.iter().map(|reason| format!("  {}", harmless(reason))).collect();
            let errors = fault.faults.iter().map(|reason| FileFault {
                file: Some(path.to_owned()),
                message: reason.clone(),
                ..FileFault::default()
            });
            Fault::usage(format!("`{what}` is no plugin that a node accepts"))
                .with_errors(errors.collect(), reasons.join("\n"))
                .with_code(fault.kind.word())
        })?;
        if context.json {
            out::json(&inspection);
            return Ok(Exit::Ok);
        }
        out::line(&format!("kind     {}", inspection.kind.word()));
        out::line(&format!("digest   {}", inspection.digest));
        out::line(&format!("size     {} bytes", inspection.size_bytes));
        out::line(&format!("imports  {}", inspection.imports.join("\n         ")));
        let needs = crate::app::loader::needs(&inspection.imports);
        let needs: Vec<&str> = needs.iter().map(|need| &**need).collect();
        out::line(&format!(
            "needs    {}",
            if needs.is_empty() { "no grant".into() } else { needs.join(", ") }
        ));
        out::line(&format!("exports  {}", inspection.exports.join("\n         ")));
        return Ok(Exit::Ok);
    }
    let page = context.client()?.json(Ask::get(&format!("/v1/plugins/{}", encode(what)))).await?;
    let newest = page["items"].as_array().and_then(|items| items.last()).cloned().unwrap_or_default();
    if context.json {
        out::json(&newest);
        return Ok(Exit::Ok);
    }
    out::line(&format!("{:<12} {}", "provides", told(&newest["provides"], &newest["labels"])));
    for key in ["kind", "name", "version", "digest", "title", "description"] {
        out::line(&format!("{key:<12} {}", newest[key].as_str().unwrap_or_default()));
    }
    let list = |key: &str| {
        let items = newest[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.collect::<Vec<_>>().join("\n             ")
    };
    out::line(&format!("{:<12} {}", "needs", list("needs")));
    out::line(&format!("{:<12} {}", "grants", list("grants")));
    for (title, key) in [("input", "inputSchema"), ("output", "outputSchema"), ("limits", "limits")] {
        out::line(&format!("\n{title}\n{}", serde_json::to_string_pretty(&newest[key]).unwrap_or_default()));
    }
    if let Some(documentation) = newest["documentation"].as_str() {
        out::line(&format!("\n{documentation}"));
    }
    Ok(Exit::Ok)
}
