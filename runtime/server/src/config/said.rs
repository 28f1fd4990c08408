//! What the layers say: for each setting the last value said and who said it. Nothing is understood here beyond names.

use super::table::{FAMILIES, OTHER_VARIABLES, TEST_VARIABLES, chosen, find, is_section, keys, variable};
use super::{ConfigFault, Layers, Origin};
use heddle_core::expr::tree::nearest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// One value, as text, and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The value.
    pub text: String,
    /// Who said it.
    pub origin: Origin,
}

/// The last value said of each setting.
#[derive(Clone, Debug, Default)]
pub struct Sayings(BTreeMap<String, Said>);

impl Sayings {
    /// What was said of a setting.
    pub fn get(&self, key: &str) -> Option<&Said> {
        self.0.get(key)
    }
    /// What was said of a family: what the operator chose for its `*`, and the value.
    pub fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a str, &'a Said)> {
        self.0.iter().filter_map(move |(key, said)| Some((chosen(family, key)?, said)))
    }
    /// Who said it; the default where nobody did.
    pub fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::Default, |said| said.origin.clone())
    }
}

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "heddle.toml";

/// Collects what all layers say, the later ones over the earlier.
pub fn collect(layers: &Layers, faults: &mut Vec<ConfigFault>) -> Sayings {
    let known = keys();
    let mut sayings = Sayings::default();
    if let Some((path, text)) = read_file(layers, faults) {
        from_file(&path, &text, &known, &mut sayings, faults);
    }
    from_env(&layers.env, &known, &mut sayings, faults);
    for (at, (key, flag, text)) in layers.flags.iter().enumerate() {
        let origin = Origin::Flag(flag.clone());
        if let Some((_, other, _)) = layers.flags[..at].iter().find(|(earlier, ..)| earlier == key) {
            let message = format!("`{key}` is said already by `{other}`; say it once");
            faults.push(ConfigFault { origin, message });
            continue;
        }
        match known.contains(key) || find(key).is_some() {
            true => drop(sayings.0.insert(key.clone(), Said { text: text.clone(), origin })),
            false => faults.push(unknown(key, &known, origin)),
        }
    }
    sayings
}

fn unknown(key: &str, known: &[String], origin: Origin) -> ConfigFault {
    // A name that the operator has chosen is no misspelling.
    let name = key.split('.').nth(1).unwrap_or_default();
    let families: Vec<String> = FAMILIES.iter().map(|family| family.key.replace('*', name)).collect();
    if name.starts_with("http") && key.starts_with("registries.") {
        let message = format!("`{key}`: a registry is named by its host, such as `[registries.\"ghcr.io\"]`");
        return ConfigFault { origin, message };
    }
    let hint = match nearest(key, known.iter().chain(&families).map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`heddle config show` lists them".to_owned(),
    };
    ConfigFault { origin, message: format!("no setting is called `{key}`; {hint}") }
}

fn read_file(layers: &Layers, faults: &mut Vec<ConfigFault>) -> Option<(PathBuf, String)> {
    let (path, must_exist) = match &layers.file {
        Some(path) => (path.clone(), true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => None,
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            faults.push(ConfigFault { origin: Origin::File { path, line: 0 }, message });
            None
        }
    }
}

fn from_file(
    path: &Path,
    text: &str,
    known: &[String],
    sayings: &mut Sayings,
    faults: &mut Vec<ConfigFault>,
) {
    let line_of =
        |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let origin = |at: usize| Origin::File { path: path.to_owned(), line: line_of(at) };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        faults.push(ConfigFault { origin: origin(at), message: format!("not TOML: {}", error.message()) });
    }
    if errors.is_empty() {
        walk(table.get_ref(), "", &origin, known, sayings, faults);
    }
}

fn walk(
    table: &DeTable<'_>,
    prefix: &str,
    origin: &dyn Fn(usize) -> Origin,
    known: &[String],
    sayings: &mut Sayings,
    faults: &mut Vec<ConfigFault>,
) {
    for (name, value) in table.iter() {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let origin_here = origin(name.span().start);
        let section = is_section(&key);
        match value.get_ref() {
            DeValue::Table(inner) if section => walk(inner, &key, origin, known, sayings, faults),
            // The name of a registry has dots, so that a word that is no setting of one looks like more of its name.
            _ if section && key.starts_with("registries.") => {
                faults.push(unknown(&key, known, origin_here));
            }
            _ if section => faults.push(ConfigFault {
                origin: origin_here,
                message: format!("`{key}` is a section: write `[{key}]`"),
            }),
            _ if !known.contains(&key) && find(&key).is_none() => {
                faults.push(unknown(&key, known, origin_here));
            }
            value => match written(&key, value) {
                Some(text) => drop(sayings.0.insert(key, Said { text, origin: origin_here })),
                None => {
                    let message = format!("`{key}` is text or a number, not {}", value.type_str());
                    faults.push(ConfigFault { origin: origin_here, message });
                }
            },
        }
    }
}

/// The text of a value; that of a list has commas.
fn written(key: &str, value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Array(items) if find(key).is_some_and(|setting| setting.kind.is_list()) => {
            let items = items.iter().map(|item| scalar(item.get_ref()));
            items.collect::<Option<Vec<_>>>().map(|items| items.join(", "))
        }
        other => scalar(other),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn from_env(
    env: &[(String, String)],
    known: &[String],
    sayings: &mut Sayings,
    faults: &mut Vec<ConfigFault>,
) {
    let variables: Vec<String> = known.iter().map(|key| variable(key)).collect();
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("HEDDLE_")) {
        if OTHER_VARIABLES.contains(&&**name) || name.starts_with(TEST_VARIABLES) {
            continue;
        }
        let origin = Origin::Env(name.clone());
        match variables.iter().position(|v| v == name) {
            Some(at) => drop(sayings.0.insert(known[at].clone(), Said { text: text.clone(), origin })),
            None => {
                let hint = match nearest(name, variables.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`heddle config show` lists the settings".to_owned(),
                };
                faults.push(ConfigFault { origin, message: format!("no setting has this variable; {hint}") });
            }
        }
    }
}

/// The variables of the process that may be settings.
pub fn process_env() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("HEDDLE_"))
        .collect()
}

/// Whether a name is a setting that is no limit.
pub fn is_setting(key: &str) -> bool {
    find(key).is_some()
}
