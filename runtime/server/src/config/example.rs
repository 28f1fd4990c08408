//! A `heddle.toml` that says every default, with what each setting is for: printed by `heddle config show --example`.

use super::quantity;
use super::table::{FAMILIES, Kind, SETTINGS, Setting};
use heddle_core::limits::{TABLE, Unit};
use std::fmt::Write as _;

/// The text of the example. Everything is commented out, because everything is the default.
pub fn text() -> String {
    let mut out = String::from(
        "# heddle.toml: every setting, with its default. A setting is taken from a flag, else from HEDDLE_SECTION_NAME in the\n\
         # environment, else from this file, else from the default. `heddle config show --origin` says where each came from.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (own, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if own != section {
            section = own;
            let _ = write!(out, "\n[{section}]");
        }
        let _ = write!(out, "\n# {}\n# {name} = {}\n", setting.why, written(setting));
    }
    families(&mut out);
    out.push_str("\n# A limit may be any value from 1 to its hard maximum.\n[limits]\n");
    for row in TABLE {
        let value = quantity::print(row.default, row.unit);
        let value = if matches!(row.unit, Unit::Count | Unit::Fuel) { value } else { format!("\"{value}\"") };
        let _ = write!(
            out,
            "\n# {} At most {}.\n# {} = {value}\n",
            row.why,
            quantity::print(row.max, row.unit),
            row.name
        );
    }
    out
}

/// Sections whose names are chosen, as one may write them.
fn families(out: &mut String) {
    let mut section = "";
    for family in FAMILIES {
        let (own, name) = family.key.rsplit_once('.').unwrap_or(("", family.key));
        if own != section {
            section = own;
            let _ = write!(out, "\n#   [{}]", chosen(section));
        }
        let value = match family.kind.is_list() {
            true => format!(
                "[{}]",
                family.default.split(", ").map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
            ),
            false if family.kind == Kind::Flag => family.default.to_owned(),
            false if family.kind == Kind::Json => format!("'{}'", family.default),
            false => format!("\"{}\"", family.default),
        };
        let _ = write!(out, "\n# {}\n#   {} = {value}\n", family.why, name.replace('*', "ops-key"));
    }
}

/// A section with a name in it that one may have chosen.
fn chosen(section: &str) -> String {
    let name = match section.split('.').next() {
        Some("grants") => "\"tool:http-fetch\"",
        Some("registries") => "\"ghcr.io\"",
        Some("providers") => "openai",
        Some("models") => "fast",
        _ => "ops",
    };
    section.replace('*', name)
}

/// The same for a program.
pub fn rows() -> Vec<Row> {
    let settings = SETTINGS.iter().map(|setting| Row {
        key: setting.key.to_owned(),
        default: setting.default.to_owned(),
        max: None,
        why: setting.why,
    });
    let families = FAMILIES.iter().map(|family| Row {
        key: family.key.to_owned(),
        default: String::new(),
        max: None,
        why: family.why,
    });
    let limits = TABLE.iter().map(|row| Row {
        key: format!("limits.{}", row.name),
        default: quantity::print(row.default, row.unit),
        max: Some(quantity::print(row.max, row.unit)),
        why: row.why,
    });
    settings.chain(families).chain(limits).collect()
}

/// A setting as the example documents it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// Its name.
    pub key: String,
    /// Its default, as one would write it; empty for nothing.
    pub default: String,
    /// The most that a limit may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// What it is for.
    pub why: &'static str,
}

fn written(setting: &Setting) -> String {
    match setting.kind {
        Kind::Count if !setting.default.is_empty() => setting.default.to_owned(),
        _ => format!("\"{}\"", setting.default),
    }
}
