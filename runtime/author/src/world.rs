//! The world of one plugin: the contract's, with only what it uses. A language that binds the whole world would
//! otherwise import, and need to be granted, what nobody calls.

use crate::language::Kind;
use crate::manifest::Manifest;

/// The world's name.
pub(crate) const WORLD: &str = "plugin";

const HOST: &str = include_str!("../../../wit/host-0.1.0/host.wit");
const PLUGIN: &str = include_str!("../../../wit/plugin-0.1.0/plugin.wit");

/// The contract, as `wit/` has it.
pub(crate) const FILES: [(&str, &str); 2] =
    [("host-0.1.0/host.wit", HOST), ("plugin-0.1.0/plugin.wit", PLUGIN)];

/// What of the host a plugin imports, in the order of the contract.
pub(crate) fn imports(kind: Kind, uses: &[String]) -> Vec<&'static str> {
    let used = kind.may_use().iter().filter(|name| uses.iter().any(|used| used == *name));
    kind.has().iter().chain(used).copied().collect()
}

/// The world and everything that it refers to, in one file.
pub(crate) fn text(manifest: &Manifest) -> String {
    let imports = imports(manifest.kind, &manifest.uses);
    let imports: String =
        imports.iter().map(|name| format!("    import heddle:host/{name}@0.1.0;\n")).collect();
    let interface = manifest.kind.interface();
    format!(
        "package heddle:project;\n\nworld {WORLD} {{\n{imports}    export heddle:plugin/metadata@0.1.0;\n    export \
         heddle:plugin/{interface}@0.1.0;\n}}\n\n{}\n{}",
        nested(HOST),
        nested(PLUGIN)
    )
}

/// A package of a file of its own as one within another file.
fn nested(package: &str) -> String {
    let mut out = String::new();
    for line in package.lines() {
        match line.strip_prefix("package ").and_then(|rest| rest.strip_suffix(';')) {
            Some(name) => out.push_str(&format!("package {name} {{\n")),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out.push_str("}\n");
    out
}
