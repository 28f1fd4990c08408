//! Python: componentize-py puts CPython around the source, its packages and our glue.

use super::Work;
use crate::language::Kind;
use crate::manifest::Asked;
use crate::toolchain::{AuthorFault, find, run, write};
use crate::world::WORLD;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};
use std::process::Command;

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/python/heddle");
/// What brings the toolchain.
const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";

pub(super) fn build(work: &Work, file: &Path) -> Result<(), AuthorFault> {
    let making = find(&work.project, &[".venv/bin/componentize-py"], &["componentize-py"]);
    let making = making
        .ok_or_else(|| AuthorFault::Missing { what: "componentize-py", install: INSTALL.to_owned() })?;
    let python = work.folder.join("python");
    let has = work.imports();
    for part in SDK.files().filter(|part| part.path().extension().is_some_and(|end| end == "py")) {
        let name = part.path().file_stem().unwrap_or_default().to_string_lossy();
        let target = python.join("heddle").join(part.path());
        let is_there = matches!(&*name, "__init__" | "failure") || has.contains(&&*name);
        match is_there {
            true => write(&target, part.contents())?,
            // Left from a build when the manifest still had it.
            false => drop(std::fs::remove_file(&target)),
        }
    }
    write(&python.join("heddle_entry.py"), glue(work))?;
    let mut command = Command::new(making);
    command.arg("--wit-path").arg(work.wit()).args(["--world", WORLD, "componentize", "heddle_entry"]);
    let source = work.source.parent().unwrap_or(&work.project);
    for path in [Some(python), Some(source.to_owned()), packages(&work.project)].into_iter().flatten() {
        command.arg("--python-path").arg(path);
    }
    command.arg("--output").arg(file).current_dir(&work.project);
    run(&mut command).map(drop)
}

/// Where the project's own packages are.
fn packages(project: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(project.join(".venv/lib")).ok()?;
    let mut found = versions.flatten().map(|entry| entry.path().join("site-packages"));
    found.find(|path| path.is_dir())
}

/// What the component exports, around what the author wrote.
fn glue(work: &Work) -> String {
    let kind = work.manifest.kind;
    let module = serde_json::Value::from(work.source.file_stem().unwrap_or_default().to_string_lossy());
    let Asked { fuel, memory_bytes, wall_ms } = work.manifest.limits;
    let limit = |limit: Option<u64>| limit.map_or("None".to_owned(), |limit| limit.to_string());
    let (function, interface) = (kind.function(), kind.interface());
    let class = format!("{}{}", interface[..1].to_uppercase(), &interface[1..]);
    let body = match kind {
        Kind::Agent => {
            "    def run(self, goal, state):\n        is_done, text = _tried(lambda: _failure.outcome(_plugin.run(_json.loads(goal), None if state is None else _json.loads(state))))\n        return _kind.Outcome_Done(text) if is_done else _kind.Outcome_Continue(text)\n".to_owned()
        }
        _ => format!(
            "    def {function}(self, input):\n        return _tried(lambda: _failure.text(_plugin.{function}(_json.loads(input))))\n"
        ),
    };
    format!(
        "import importlib as _importlib\nimport json as _json\n\nfrom componentize_py_types import Err as _Err\nfrom heddle import \
         failure as _failure\nfrom wit_world import exports\nfrom wit_world.exports import metadata as _metadata, \
         {interface} as _kind\nfrom wit_world.imports import types as _types\n\n_plugin = _importlib.import_module({module})\n_said = _json.loads({said})\n\n\ndef \
         _tried(call):\n    _failure.seeded()\n    try:\n        return call()\n    except (Exception, SystemExit) as failure:\n        raise \
         _Err(_failure.wire(_types, failure)) from None\n\n\nclass Metadata(exports.Metadata):\n    def \
         describe(self):\n        return _metadata.Metadata(\n            name=_said[\"name\"], \
         version=_said[\"version\"], kind=_metadata.Kind.{kind},\n            title=_said[\"title\"], \
         description=_said[\"description\"],\n            input_schema=_said[\"inputSchema\"], \
         output_schema=_said[\"outputSchema\"],\n            provides=_said[\"provides\"], \
         limits=_metadata.Limits({fuel}, {memory}, {wall}),\n            \
         documentation=_said[\"documentation\"])\n\n\nclass {class}(exports.{class}):\n{body}",
        said = serde_json::Value::from(work.said.to_string()),
        kind = kind.word().to_uppercase(),
        fuel = limit(fuel),
        memory = limit(memory_bytes),
        wall = limit(wall_ms),
    )
}
