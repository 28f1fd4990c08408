//! JavaScript and TypeScript: esbuild makes one module of the source, its packages and our glue, and QuickJS goes
//! around it (the engine that jco's QuickJS backend has, without jco: docs/decisions/0048-five-languages.md).

use super::Work;
use crate::language::Kind;
use crate::manifest::Asked;
use crate::toolchain::{AuthorFault, find, run, write};
use crate::world::WORLD;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};
use std::process::Command;

static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/js/heddle");

pub(super) fn build(work: &Work, file: &Path) -> Result<(), AuthorFault> {
    let (esbuild, qjs) = (tool(work, "esbuild")?, tool(work, "componentize-qjs")?);
    let sdk = work.folder.join("heddle");
    for part in SDK.files() {
        write(&sdk.join(part.path()), part.contents())?;
    }
    let index: String = work
        .imports()
        .iter()
        .filter(|name| SDK.get_file(format!("{name}.js")).is_some())
        .map(|name| format!("export * as {name} from \"./{name}.js\";\n"))
        .collect();
    let index = format!("export {{ Failure, checkpoint }} from \"./failure.js\";\n{index}");
    write(&sdk.join("index.js"), index)?;
    let (entry, bundle) = (work.folder.join("entry.js"), work.folder.join("bundle.js"));
    write(&entry, glue(work))?;
    let mut bundling = Command::new(esbuild);
    bundling.arg(&entry).args(["--bundle", "--format=esm", "--target=es2022", "--log-level=warning"]);
    bundling.arg("--external:heddle:*").arg(format!("--alias:heddle={}", sdk.join("index.js").display()));
    bundling.arg(format!("--outfile={}", bundle.display())).current_dir(&work.project);
    run(&mut bundling)?;
    let mut making = Command::new(qjs);
    making.arg("--wit").arg(work.wit()).arg("--js").arg(&bundle).args(["--world", WORLD, "--sync"]);
    making.arg("--output").arg(file).current_dir(&work.project);
    run(&mut making).map(drop)
}

fn tool(work: &Work, name: &'static str) -> Result<PathBuf, AuthorFault> {
    let own = format!("node_modules/.bin/{name}");
    find(&work.project, &[&own], &[name])
        .ok_or_else(|| AuthorFault::Missing { what: name, install: "npm install".to_owned() })
}

/// What the component exports, around what the author wrote.
fn glue(work: &Work) -> String {
    let kind = work.manifest.kind;
    let (function, interface) = (kind.function(), kind.interface());
    let Asked { fuel, memory_bytes, wall_ms } = work.manifest.limits;
    let limit = |limit: Option<u64>| limit.map_or("undefined".to_owned(), |limit| limit.to_string());
    let limits = format!(
        "{{ fuel: {}, memoryBytes: {}, wallMs: {} }}",
        limit(fuel),
        limit(memory_bytes),
        limit(wall_ms)
    );
    let source = serde_json::Value::from(work.source.display().to_string());
    let ran = match kind {
        Kind::Agent => "run: (goal, state) => ended(plugin.run, \"run\", [JSON.parse(goal), state == null ? undefined : JSON.parse(state)], outcome)".to_owned(),
        _ => format!("{function}: (input) => ended(plugin.{function}, \"{function}\", [JSON.parse(input)], text)"),
    };
    format!(
        "import {{ ended, outcome, text }} from \"./heddle/failure.js\";\nimport * as plugin from {source};\n\nexport \
         const metadata = {{ describe: () => ({{ ...{}, limits: {limits} }}) }};\nexport const {interface} = {{ {ran} \
         }};\n",
        work.said
    )
}
