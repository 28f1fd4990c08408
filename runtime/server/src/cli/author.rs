//! What a plugin author types before any node is asked: `heddle new`, `build`, `check` and `test`.

mod bench;
mod cases;
mod check;
mod tape;

use super::exit::{Exit, Fault};
use super::node_args::NodeArgs;
use super::paint::harmless;
use super::{Context, out};
use clap::{Args, ValueEnum};
use heddle_author::{AuthorFault, Built, Kind, Language};
use heddle_host::Inspection;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindWord {
    Transform,
    Tool,
    Agent,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LanguageWord {
    Rust,
    Js,
    Ts,
    Python,
    C,
}

#[derive(Args, Debug)]
pub(super) struct NewArgs {
    /// The plugin's name, `[a-z][a-z0-9_-]*`; the folder has it too.
    name: String,
    /// Pure, acting on the world, or deciding as it goes.
    #[arg(long, value_enum, default_value = "tool")]
    kind: KindWord,
    /// In what it is written.
    #[arg(long, alias = "lang", value_enum, default_value = "rust")]
    language: LanguageWord,
}

#[derive(Args, Debug)]
pub(super) struct BuildArgs {
    /// The folder of the project.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Put the component here as well: a file that ends in `.wasm`, or a folder such as that of `heddle dev`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The folder of a project, which is built, or a component.
    #[arg(default_value = ".")]
    what: PathBuf,
    /// Run it twice with this input, and compare: `@file`, JSON, or `-` for stdin.
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// The folder of the project; each file in its folder `tests` is a case.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// A component that is there, instead of building one.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Make the calls that the plugin makes, and write what came back beside each case: from then on they are answered
    /// from there.
    #[arg(long)]
    record: bool,
    /// Only cases whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

impl From<AuthorFault> for Fault {
    fn from(fault: AuthorFault) -> Fault {
        let message = harmless_lines(&fault.to_string());
        let next = fault.next().map(|next| format!("`{next}`"));
        let told = match fault {
            AuthorFault::Name(_) | AuthorFault::IsThere(_) | AuthorFault::NoProject(_) => {
                Fault::usage(message)
            }
            _ => Fault::failed(message),
        };
        match next {
            Some(next) => told.with_hint(next),
            None => told,
        }
    }
}

/// What a toolchain says, line by line.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

pub(super) fn new(args: &NewArgs, context: &Context) -> Result<Exit, Fault> {
    let kind = match args.kind {
        KindWord::Transform => Kind::Transform,
        KindWord::Tool => Kind::Tool,
        KindWord::Agent => Kind::Agent,
    };
    let language = match args.language {
        LanguageWord::Rust => Language::Rust,
        LanguageWord::Js => Language::Js,
        LanguageWord::Ts => Language::Ts,
        LanguageWord::Python => Language::Python,
        LanguageWord::C => Language::C,
    };
    let made = heddle_author::make(&args.name, kind, language, Path::new("."))?;
    let mut next = vec![format!("cd {}", args.name)];
    next.extend(made.install.map(str::to_owned));
    next.push("heddle build".to_owned());
    next.push("heddle test".to_owned());
    match context.json {
        true => {
            out::json(&json!({ "folder": made.folder, "kind": kind, "language": language, "next": next }))
        }
        false => {
            out::line(&format!("`{}` is a {kind} in {language}. Next:", args.name));
            next.iter().for_each(|next| out::line(&format!("  {next}")));
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn build(args: &BuildArgs, context: &Context) -> Result<Exit, Fault> {
    let Built { mut file, language } = heddle_author::build(&args.project)?;
    let (bytes, inspection) = inspected(&file)?;
    if let Some(output) = &args.output {
        let target = match output.extension().is_some_and(|end| end == "wasm") {
            true => output.clone(),
            false => output.join(file.file_name().unwrap_or_default()),
        };
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder
            .map_or(Ok(()), std::fs::create_dir_all)
            .map_err(|error| Fault::failed(format!("`{}` cannot be made: {error}", output.display())))?;
        // In one step, so that whoever watches the folder never sees half of it.
        let beside = target.with_extension("wasm.part");
        let put = std::fs::write(&beside, &bytes).and_then(|()| std::fs::rename(&beside, &target));
        put.map_err(|error| Fault::failed(format!("`{}` cannot be written: {error}", target.display())))?;
        file = target;
    }
    if context.json {
        out::json(&json!({ "file": file, "language": language, "inspection": inspection }));
        return Ok(Exit::Ok);
    }
    out::line(&file.display().to_string());
    out::note(&format!("{} in {language}, {} bytes", inspection.kind.word(), inspection.size_bytes));
    Ok(Exit::Ok)
}

/// The bytes of a component that a node would accept, and what they show.
fn inspected(file: &Path) -> Result<(Vec<u8>, Inspection), Fault> {
    let bytes = std::fs::read(file)
        .map_err(|error| Fault::usage(format!("`{}` cannot be read: {error}", file.display())))?;
    let inspection = crate::app::inspect_component(&bytes).map_err(|fault| {
        let reasons: Vec<String> =
            fault.faults.iter().map(|reason| format!("  {}", harmless(reason))).collect();
        Fault::failed(format!(
            "`{}` is no plugin that a node accepts:\n{}",
            file.display(),
            reasons.join("\n")
        ))
        .with_code(fault.kind.word())
    })?;
    Ok((bytes, inspection))
}

/// The component of a project, built, or the one that is named.
fn component(what: &Path) -> Result<PathBuf, Fault> {
    match what.is_dir() {
        true => Ok(heddle_author::build(what)?.file),
        false => {
            inspected(what)?;
            Ok(what.to_owned())
        }
    }
}

pub(super) async fn check(args: &CheckArgs, context: &Context) -> Result<Exit, Fault> {
    let file = component(&args.what)?;
    check::check(&file, args, context).await
}

pub(super) async fn test(args: &TestArgs, context: &Context) -> Result<Exit, Fault> {
    let file = match &args.component {
        Some(file) => component(file)?,
        None => component(&args.project)?,
    };
    let cases = cases::read(&args.project.join("tests"), args.only.as_deref())?;
    cases::run(&file, &cases, args, context).await
}
