//! Every workflow of the repository that is shown to anybody: the stories, the samples, the pages of the guide, and the
//! documents that together have every key.

use heddle_core::document::{Doc, Part};
use heddle_core::limits::Limits;
use std::path::Path;

/// The JSON Schema for editors, which says in which order keys stand.
pub(crate) const SCHEMA: &str = include_str!("../../../server/src/cli/workflow/schema.json");

/// A text with the name of where it is from.
pub(crate) type Named = (String, String);

/// The text of every file of a folder.
#[allow(clippy::disallowed_methods, reason = "a test reads its documents; the core reads no files")]
pub(crate) fn files(folder: &str, extension: &str) -> Vec<Named> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|known| known == extension) {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).expect("a text")));
        }
    }
    found.sort();
    found
}

/// What authors have typed, comments and all.
pub(crate) fn texts() -> Vec<Named> {
    let mut texts = files("plugins/samples", "yaml");
    texts.extend(files("tests/scenarios", "yaml"));
    texts.extend(files("runtime/core/tests/editor_schema", "yaml"));
    for (name, page) in files("docs/guide", "md") {
        let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
        texts.extend(blocks.map(|(block, _)| (name.clone(), block.to_owned())));
    }
    texts
}

/// The workflows among them, each with a head.
pub(crate) fn workflows() -> Vec<(String, Doc)> {
    let mut found = Vec::new();
    for (name, text) in texts() {
        let doc = Doc::parse(&text, &Limits::default()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        collect(&name, &doc, &mut found);
    }
    found
}

/// A workflow has steps, or nodes; a file may hold many.
fn collect(name: &str, doc: &Doc, found: &mut Vec<(String, Doc)>) {
    let Part::Map(entries) = &doc.part else { return };
    let is_map = |steps: &Doc| matches!(steps.part, Part::Map(_));
    if doc.get("steps").is_some_and(is_map) || doc.get("nodes").is_some() {
        return found.push((name.to_owned(), headed(doc)));
    }
    for (key, inner) in entries {
        collect(&format!("{name}: {}", key.text), inner, found);
    }
}

fn headed(doc: &Doc) -> Doc {
    let mut doc = doc.clone();
    let is_headed = doc.get("document").is_some();
    if let (false, Part::Map(entries)) = (is_headed, &mut doc.part) {
        let text = "{document: {dsl: \"1.0\", namespace: scenario, name: story, version: 1.0.0}}";
        let head = Doc::parse(text, &Limits::default()).expect("a head");
        let Part::Map(head) = head.part else { return doc };
        entries.splice(0..0, head);
    }
    doc
}
