//! A project that builds, in each language and of each kind: the same small plugin, which greets.

use crate::language::{Kind, Language};
use crate::manifest::MANIFEST;
use crate::toolchain::{AuthorFault, write};
use crate::world;
use heddle_core::id::is_name;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};

static JS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/js/templates");
static PYTHON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/python/templates");
static C: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/c/templates");
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust/templates");
static RUST_SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust");
const TYPES: &str = include_str!("../../../sdk/js/heddle/heddle.d.ts");

const GREETS: &str = "input: { name: Ada }\noutput: { greeting: \"Hello, Ada!\", letters: 3 }\n";
const NOBODY: &str =
    "input: { name: \"\" }\nfailure: { kind: guest_error, code: no_name, retryable: false }\n";

/// Where a project in Rust has the SDK. It reads the WIT where it does in our own tree.
const OWN_SDK: &str = "heddle/sdk/rust";

/// A project that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its folder.
    pub folder: PathBuf,
    /// What to type before it can be built, where there is anything.
    pub install: Option<&'static str>,
}

/// Makes a project in a new folder of this name.
///
/// # Errors
/// Where the name is none, or there is something in the folder.
pub fn make(name: &str, kind: Kind, language: Language, within: &Path) -> Result<Made, AuthorFault> {
    if !is_name(name) {
        return Err(AuthorFault::Name(name.chars().take(80).collect()));
    }
    let folder = within.join(name);
    if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(AuthorFault::IsThere(folder.display().to_string()));
    }
    let plugin = Plugin { name, kind, language };
    for (path, content) in plugin.files() {
        write(&folder.join(path), content)?;
    }
    let install = match language {
        Language::Rust => None,
        Language::Js | Language::Ts => Some("npm install"),
        Language::Python => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        Language::C => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
    };
    Ok(Made { folder, install })
}

struct Plugin<'a> {
    name: &'a str,
    kind: Kind,
    language: Language,
}

impl Plugin<'_> {
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = match self.language {
            Language::Rust => self.rust(),
            Language::Js | Language::Ts => self.javascript(),
            Language::Python => self.python(),
            Language::C => self.c(),
        };
        files.push(("workflow.yaml".to_owned(), self.workflow()));
        files.push(("README.md".to_owned(), self.readme()));
        files.push(("tests/greets.yaml".to_owned(), GREETS.into()));
        files.push(("tests/nobody.yaml".to_owned(), NOBODY.into()));
        files
    }

    fn javascript(&self) -> Vec<(String, Vec<u8>)> {
        let is_typed = self.language == Language::Ts;
        let typescript = if is_typed { ",\n    \"typescript\": \"5.9.3\"" } else { "" };
        let package = format!(
            "{{\n  \"name\": \"{}\",\n  \"private\": true,\n  \"type\": \"module\",\n  \"devDependencies\": {{\n    \
             \"componentize-qjs\": \"0.4.5\",\n    \"esbuild\": \"0.25.12\"{typescript}\n  }}\n}}\n",
            self.name
        );
        let config = "{\n  \"compilerOptions\": {\n    \"target\": \"es2022\",\n    \"module\": \"esnext\",\n    \
                      \"moduleResolution\": \"bundler\",\n    \"strict\": true,\n    \"checkJs\": false,\n    \"noEmit\": \
                      true,\n    \"types\": []\n  },\n  \"include\": [\"*.js\", \"*.ts\", \"types/*.d.ts\"]\n}\n";
        let config_name = if is_typed { "tsconfig.json" } else { "jsconfig.json" };
        let mut files = self.with_manifest(&JS);
        files.push(("package.json".to_owned(), package.into_bytes()));
        files.push((config_name.to_owned(), config.into()));
        files.push(("types/heddle.d.ts".to_owned(), TYPES.into()));
        files.push((".gitignore".to_owned(), "build/\nnode_modules/\n".into()));
        files
    }

    fn python(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.with_manifest(&PYTHON);
        files.push(("requirements.txt".to_owned(), "componentize-py==0.25.1\n".into()));
        files.push((".gitignore".to_owned(), "build/\n.venv/\n__pycache__/\n".into()));
        files
    }

    fn c(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.with_manifest(&C);
        files.push(("requirements.txt".to_owned(), "ziglang==0.17.1\n".into()));
        files.push((".gitignore".to_owned(), "build/\n.venv/\n".into()));
        files
    }

    /// A project on its own: the SDK goes along, so that it builds with this very host's contract.
    fn rust(&self) -> Vec<(String, Vec<u8>)> {
        let manifest = text(&RUST, "Cargo.toml.txt").replace("NAME", self.name);
        let library = text(&RUST, &format!("{}.rs", self.kind)).replace("NAME", self.name);
        let mut files = vec![
            ("Cargo.toml".to_owned(), manifest.into_bytes()),
            ("src/lib.rs".to_owned(), library.into_bytes()),
            (".gitignore".to_owned(), "build/\ntarget/\n".into()),
        ];
        for (path, wit) in world::FILES {
            files.push((format!("heddle/wit/{path}"), wit.into()));
        }
        let mut folders = vec![&RUST_SDK];
        while let Some(folder) = folders.pop() {
            folders.extend(folder.dirs().filter(|folder| {
                let name = folder.path().file_name().unwrap_or_default();
                !["templates", "tests", "target"].iter().any(|other| name == *other)
            }));
            for file in folder.files() {
                let path = format!("{OWN_SDK}/{}", file.path().display());
                let is_manifest = file.path().file_name().is_some_and(|name| name == "Cargo.toml");
                let content = match file.contents_utf8().filter(|_| is_manifest) {
                    Some(text) => own_workspace(text).into_bytes(),
                    None => file.contents().to_vec(),
                };
                files.push((path, content));
            }
        }
        files
    }

    fn with_manifest(&self, templates: &Dir<'_>) -> Vec<(String, Vec<u8>)> {
        let extension = self.language.extension();
        // Not the plugin's name, which may be that of a module of the language.
        let source = format!("plugin.{extension}");
        let content = text(templates, &format!("{}.{extension}", self.kind));
        let uses = match self.kind {
            Kind::Transform => "",
            _ => {
                "# What it needs that an operator grants: any of http, secret, config, kv, artifacts.\nuses = []\n"
            }
        };
        let manifest = format!(
            "# What the plugin says of itself; `heddle build` makes a component of it and of `{source}`.\nname = \
             \"{}\"\nversion = \"0.1.0\"\nkind = \"{}\"\nlanguage = \"{}\"\nsource = \"{source}\"\ntitle = \
             \"Greet\"\ndescription = \"Greets a person by name.\"\n{uses}\n# JSON Schema of what goes in, and of what \
             comes out.\n[input]\ntype = \"object\"\nrequired = [\"name\"]\nadditionalProperties = \
             false\n[input.properties.name]\ntype = \"string\"\ndescription = \"Who is greeted.\"\n\n[output]\ntype = \
             \"object\"\nrequired = [\"greeting\", \"letters\"]\n[output.properties.greeting]\ntype = \
             \"string\"\n[output.properties.letters]\ntype = \"integer\"\n",
            self.name, self.kind, self.language,
        );
        vec![(MANIFEST.to_owned(), manifest.into_bytes()), (source, content.as_bytes().to_vec())]
    }

    fn workflow(&self) -> Vec<u8> {
        let step = match self.kind {
            Kind::Agent => {
                format!("agent: {{ use: {}, goal: {{ name: \"${{ input.name }}\" }} }}", self.name)
            }
            kind => format!("call: \"{kind}:{}\"\n    with: {{ name: \"${{ input.name }}\" }}", self.name),
        };
        format!(
            "document: {{ dsl: \"1.0\", namespace: examples, name: {}, version: 0.1.0 }}\ninput:\n  schema: {{ type: object, \
             required: [name], properties: {{ name: {{ type: string }} }} }}\nsteps:\n  greet:\n    {step}\noutput: {{ as: \
             \"${{ steps.greet.output.greeting }}\" }}\n",
            self.name,
        )
        .into_bytes()
    }

    fn readme(&self) -> Vec<u8> {
        let install = match self.language {
            Language::Rust => "rustup target add wasm32-wasip2",
            Language::Js | Language::Ts => "npm install",
            Language::Python | Language::C => {
                "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
            }
        };
        format!(
            "# {}\n\nA Heddle {} in {}.\n\n```sh\n{install}\nheddle build                          # makes the \
             component, and says where it is\nheddle test                           # the cases in `tests`\nheddle check                          # what it is, and what it needs\nheddle run workflow.yaml --plugins build --arg name=Ada\n```\n",
            self.name, self.kind, self.language,
        )
        .into_bytes()
    }
}

/// A template; it is part of this program.
fn text<'a>(templates: &'a Dir<'_>, name: &str) -> &'a str {
    templates.get_file(name).and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// A manifest of the SDK as a member of the project's own workspace.
fn own_workspace(manifest: &str) -> String {
    let lines = manifest.lines().filter(|line| !line.starts_with("workspace = "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn every_project_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for kind in Kind::ALL {
                let name = format!("greet-{language}-{kind}");
                let made = make(&name, kind, language, folder.path()).unwrap();
                if language != Language::Rust {
                    let manifest = Manifest::read(&made.folder).unwrap();
                    assert_eq!((manifest.kind, manifest.language), (kind, language));
                    let source = std::fs::read_to_string(made.folder.join(manifest.source)).unwrap();
                    assert!(source.contains(kind.function()), "{source}");
                }
                let again = make(&name, kind, language, folder.path());
                assert!(matches!(again, Err(AuthorFault::IsThere(_))));
            }
        }
        for bad in ["", "Greet", "../x", "a b", "1a"] {
            assert!(matches!(make(bad, Kind::Tool, Language::C, folder.path()), Err(AuthorFault::Name(_))));
        }
    }
}
