//! C: bindings of the plugin's own world, zig's clang, and a component around what it makes.

use super::Work;
use crate::language::Kind;
use crate::manifest::Asked;
use crate::toolchain::{AuthorFault, find, run, write};
use crate::world::WORLD;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

const HEADER: &str = include_str!("../../../../sdk/c/heddle.h");
const SOURCE: &str = include_str!("../../../../sdk/c/heddle.c");
/// What brings the toolchain.
const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install ziglang";

pub(super) fn build(work: &Work, file: &Path) -> Result<(), AuthorFault> {
    let mut compiling = compiler(&work.project)?;
    for (name, content) in bindings(&work.wit())? {
        write(&work.folder.join(name), content)?;
    }
    write(&work.folder.join("heddle.h"), HEADER)?;
    write(&work.folder.join("heddle.c"), SOURCE)?;
    write(&work.folder.join("entry.c"), glue(work))?;
    // Not `.wasm`: it is no component, and the folder is one of plugins.
    let module = work.folder.join("module.core");
    compiling.args(["-target", "wasm32-wasi", "-mexec-model=reactor", "-Os", "-Wall", "-Wl,--strip-all"]);
    compiling.arg("-I").arg(&work.folder).args(sources(work)?);
    for part in ["entry.c", "heddle.c", "plugin.c", "plugin_component_type.o"] {
        compiling.arg(work.folder.join(part));
    }
    compiling.arg("-o").arg(&module).current_dir(&work.project);
    run(&mut compiling)?;
    let module =
        std::fs::read(&module).map_err(|error| AuthorFault::Read(module.display().to_string(), error))?;
    write(file, component(&module)?)
}

/// The author's own files: the source, and every other one beside it.
fn sources(work: &Work) -> Result<Vec<PathBuf>, AuthorFault> {
    let folder = work.source.parent().unwrap_or(&work.project);
    let entries =
        std::fs::read_dir(folder).map_err(|error| AuthorFault::Read(folder.display().to_string(), error))?;
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    all.retain(|path| path.is_file() && path.extension().is_some_and(|end| end == "c"));
    all.sort();
    Ok(all)
}

fn compiler(project: &Path) -> Result<Command, AuthorFault> {
    if let Some(zig) = find(project, &[], &["zig"]) {
        let mut command = Command::new(zig);
        command.arg("cc");
        return Ok(command);
    }
    // The package of PyPI, which is the whole compiler.
    let pythons = [find(project, &[".venv/bin/python"], &[]), find(project, &[], &["python3"])];
    let with_zig = pythons.into_iter().flatten().find(|python| {
        let asked = Command::new(python).args(["-c", "import ziglang"]).output();
        asked.is_ok_and(|done| done.status.success())
    });
    let python = with_zig.ok_or_else(|| AuthorFault::Missing { what: "zig", install: INSTALL.to_owned() })?;
    let mut command = Command::new(python);
    command.args(["-m", "ziglang", "cc"]);
    Ok(command)
}

/// `plugin.h`, `plugin.c`, and the object file that says of what world it is.
fn bindings(wit: &Path) -> Result<Vec<(String, Vec<u8>)>, AuthorFault> {
    let fault =
        |fault: &dyn std::fmt::Display| AuthorFault::Component(format!("no bindings of the world: {fault}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(|error| fault(&format!("{error:#}")))?;
    let world =
        resolve.select_world(&[package], Some(WORLD)).map_err(|error| fault(&format!("{error:#}")))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).map_err(|error| fault(&format!("{error:#}")))?;
    Ok(files.iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect())
}

/// A component of a module that may speak WASI's first preview, as C libraries do.
fn component(module: &[u8]) -> Result<Vec<u8>, AuthorFault> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        })
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| AuthorFault::Component(format!("no component of the module: {error:#}")))
}

/// What the component exports, around what the author wrote.
fn glue(work: &Work) -> String {
    let text = |key: &str| literal(work.said[key].as_str().unwrap_or_default());
    let Asked { fuel, memory_bytes, wall_ms } = work.manifest.limits;
    let limits = [("fuel", fuel), ("memory_bytes", memory_bytes), ("wall_ms", wall_ms)];
    let limits: String = limits
        .iter()
        .filter_map(|(name, limit)| limit.map(|limit| (name, limit)))
        .map(|(name, limit)| {
            format!("  said->limits.{name}.is_some = true;\n  said->limits.{name}.val = {limit}ull;\n")
        })
        .collect();
    let provides = &work.manifest.provides;
    let names: String = provides
        .iter()
        .enumerate()
        .map(|(place, name)| {
            format!("  plugin_string_dup(&said->provides.ptr[{place}], {});\n", literal(name))
        })
        .collect();
    let provides = format!(
        "  said->provides.len = {0};\n  said->provides.ptr = {0} ? malloc({0} * sizeof(plugin_string_t)) : NULL;\n{names}",
        provides.len()
    );
    let members: String =
        [("name", "name"), ("version", "version"), ("title", "title"), ("description", "description")]
            .into_iter()
            .chain([("input_schema", "inputSchema"), ("output_schema", "outputSchema")])
            .chain([("documentation", "documentation")])
            .map(|(member, key)| format!("  plugin_string_dup(&said->{member}, {});\n", text(key)))
            .collect();
    let kind = work.manifest.kind;
    let describe = format!(
        "void exports_heddle_plugin_metadata_describe(exports_heddle_plugin_metadata_metadata_t *said) {{\n  \
         memset(said, 0, sizeof *said);\n  said->kind = EXPORTS_HEDDLE_PLUGIN_METADATA_KIND_{};\n{members}{provides}{limits}}}\n",
        kind.word().to_uppercase()
    );
    format!("{ENDED}\n{describe}\n{}", called(kind))
}

/// The export that calls the author's function.
fn called(kind: Kind) -> String {
    let (function, interface) = (kind.function(), kind.interface());
    let prefix = format!("exports_heddle_plugin_{interface}");
    match kind {
        Kind::Agent => format!(
            "bool {prefix}_{function}({prefix}_json_t *goal, {prefix}_json_t *state, {prefix}_outcome_t *done, \
             {prefix}_failure_t *failure) {{\n  heddle_result result = run(given(goal), given(state));\n  if (ended(&result, \
             failure)) return false;\n  done->tag = result.end == HEDDLE_CHECKPOINT;\n  copied(&done->val.done, \
             &result);\n  return true;\n}}\n"
        ),
        _ => format!(
            "bool {prefix}_{function}({prefix}_json_t *input, {prefix}_json_t *output, {prefix}_failure_t *failure) {{\n  \
             heddle_result result = {function}(given(input));\n  if (ended(&result, failure)) return false;\n  \
             copied(output, &result);\n  return true;\n}}\n"
        ),
    }
}

/// How the author's result becomes the host's.
const ENDED: &str = r#"#include "heddle.h"
#include "plugin.h"
#include <stdlib.h>
#include <string.h>

static heddle_text given(plugin_string_t *text) {
  heddle_text none = {NULL, 0};
  heddle_text some = {text ? (const char *)text->ptr : NULL, text ? text->len : 0};
  return text ? some : none;
}
static void copied(plugin_string_t *out, heddle_result *result) {
  out->len = result->json.len;
  out->ptr = malloc(out->len ? out->len : 1);
  if (!out->ptr) abort();
  memcpy(out->ptr, result->json.ptr ? result->json.ptr : "", out->len);
}
// Whether it failed, and how.
static bool ended(heddle_result *result, heddle_host_types_failure_t *failure) {
  heddle_host_types_detail_t *detail = &failure->val.permanent;
  if (result->end == HEDDLE_DONE || result->end == HEDDLE_CHECKPOINT) return false;
  memset(failure, 0, sizeof *failure);
  failure->tag = result->end == HEDDLE_RETRYABLE ? HEDDLE_HOST_TYPES_FAILURE_RETRYABLE : HEDDLE_HOST_TYPES_FAILURE_PERMANENT;
  if (result->end == HEDDLE_RATE_LIMITED) {
    failure->tag = HEDDLE_HOST_TYPES_FAILURE_RATE_LIMITED;
    failure->val.rate_limited.retry_after_ms = result->retry_after_ms;
    detail = &failure->val.rate_limited.detail;
  }
  plugin_string_dup(&detail->code, result->code ? result->code : "unexpected");
  plugin_string_dup(&detail->message, result->message ? result->message : "");
  return true;
}
"#;

/// A text as C has it.
fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b' ' | b'!' | b'#'..=b'>' | b'@'..=b'[' | b']'..=b'~' => out.push(byte.into()),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_itself_in_c() {
        assert_eq!(literal("a \"b\"\n\\??=é"), r#""a \042b\042\012\134\077\077=\303\251""#);
    }
}
