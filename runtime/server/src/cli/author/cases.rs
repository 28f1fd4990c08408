//! `heddle test`: files that say what goes into a plugin and what comes out.

use super::super::exit::{Exit, Fault};
use super::super::paint::{Colour, Paint, harmless};
use super::super::{Context, out};
use super::TestArgs;
use super::bench::Bench;
use super::tape::{self, Mode};
use heddle_core::document::Doc;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A case, as a file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// The name of its file, without what it ends in.
    #[serde(skip)]
    name: String,
    /// What goes in.
    input: Value,
    /// What comes out.
    #[serde(default, deserialize_with = "some")]
    output: Option<Value>,
    /// How it fails: the members that are named must be so.
    #[serde(default)]
    failure: Option<serde_json::Map<String, Value>>,
}

/// What is there, `null` included.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The cases of a folder, by name.
pub(super) fn read(folder: &Path, only: Option<&str>) -> Result<Vec<Case>, Fault> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Fault::usage(format!("`{}` cannot be read: {error}", folder.display()))
            .with_hint("put a case there, such as `tests/greets.yaml` with `input: {..}` and `output: {..}`")
    })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
    files.retain(|file| !file.to_string_lossy().ends_with(".calls.json"));
    files.sort();
    let cases = files.iter().map(|file| case(file)).collect::<Result<Vec<_>, _>>()?;
    let cases: Vec<Case> =
        cases.into_iter().filter(|case| only.is_none_or(|only| case.name.contains(only))).collect();
    match cases.is_empty() {
        true => Err(Fault::usage(format!("`{}` has no such case", folder.display()))
            .with_hint("a case is a file such as `tests/greets.yaml` with `input: {..}` and `output: {..}`")),
        false => Ok(cases),
    }
}

fn case(file: &Path) -> Result<Case, Fault> {
    let fault = |why: String| Fault::usage(format!("`{}`: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let doc = Doc::parse(&text, &Limits::default()).map_err(|why| fault(why.to_string()))?;
    let json = Json::from_value(doc.value());
    let mut case: Case = serde_json::from_str(json.text())
        .map_err(|why| fault(format!("is no case (`input`, and `output` or `failure`): {why}")))?;
    if case.output.is_some() == case.failure.is_some() {
        return Err(fault("wants one of `output` and `failure`".to_owned()));
    }
    case.name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(case)
}

/// Calls the plugin for each.
pub(super) async fn run(
    file: &Path,
    cases: &[Case],
    args: &TestArgs,
    context: &Context,
) -> Result<Exit, Fault> {
    let folder = args.project.join("tests");
    let asks = args.record || cases.iter().any(|case| !tape::file_of(&folder, &case.name).is_file());
    let bench = Bench::open(file, &args.node, asks).await?;
    let (mut told, mut failed) = (Vec::new(), 0);
    let paint = Paint::for_stderr();
    let mut ended = Ok(());
    for case in cases {
        let why = match played(&bench, case, args).await {
            Ok(why) => why,
            Err(fault) => {
                ended = Err(fault);
                break;
            }
        };
        failed += usize::from(why.is_some());
        if !context.json {
            match &why {
                None => out::line(&format!("{} {}", paint.with(Colour::Green, "✓"), harmless(&case.name))),
                Some(why) => out::line(&format!(
                    "{} {}\n    {}",
                    paint.with(Colour::Red, "✗"),
                    harmless(&case.name),
                    harmless(why)
                )),
            }
        }
        told.push(json!({ "case": case.name, "passed": why.is_none(), "why": why }));
    }
    bench.close().await;
    ended?;
    if context.json {
        out::json(&json!({ "cases": told, "failed": failed }));
    }
    match failed {
        0 => Ok(Exit::Ok),
        _ => Err(Fault::failed(format!("{failed} of {} cases failed", cases.len()))),
    }
}

/// Calls the plugin for one case, and gives why it did not go as it says.
async fn played(bench: &Bench, case: &Case, args: &TestArgs) -> Result<Option<String>, Fault> {
    let file = tape::file_of(&args.project.join("tests"), &case.name);
    let mode = match (args.record, file.is_file()) {
        (true, _) => Mode::Record,
        (false, true) => Mode::Replay,
        (false, false) => Mode::Live,
    };
    bench.tape.begin(mode, &file)?;
    let run = bench.call(&case.input).await?;
    let off = bench.tape.end(&file)?;
    Ok(off.or_else(|| case.judged(&run)))
}

impl Case {
    /// Why it did not go as it says; nothing where it did.
    fn judged(&self, run: &Value) -> Option<String> {
        let succeeded = run["status"] == "succeeded";
        if let Some(output) = &self.output {
            return match (succeeded, &run["output"]) {
                (true, found) if found == output => None,
                (true, found) => Some(format!("gave {found}, and was to give {output}")),
                (false, _) => Some(format!("failed: {}", run["error"])),
            };
        }
        let wanted = self.failure.as_ref();
        if succeeded {
            return Some(format!("gave {}, and was to fail", run["output"]));
        }
        let mut off =
            wanted.into_iter().flatten().filter(|(key, value)| run["error"][key.as_str()] != **value);
        let (key, value) = off.next()?;
        Some(format!("failed with `{key}` {}, and was to have {value}", run["error"][key.as_str()]))
    }
}
