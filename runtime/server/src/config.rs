//! What the operator chose, and who said it: default, then `heddle.toml`, then `HEDDLE_*`, then a flag.
//!
//! [`table`] names every setting with its kind, default and meaning. [`said`] collects what the layers say, each value
//! with its origin. Here what was said becomes what is meant: all faults come at once, each with its place, and an
//! unknown name is refused with the nearest known one.

pub mod example;
mod grants;
pub mod models;
pub mod offer;
pub mod quantity;
pub mod registries;
pub mod said;
mod signatures;
pub mod table;
pub mod webhooks;

use crate::signature::Trust;
use heddle_core::egress::Egress;
use heddle_core::grant::Grants;
use heddle_core::limits::{Limits, TABLE};
use heddle_core::run::event::Defaults;
use heddle_core::time::Span;
use heddle_executor::NodeWebhook;
use said::{Said, Sayings};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{Kind, SETTINGS};
use webhooks::SecretSource;

/// Everything that a node is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where data is kept.
    pub data: PathBuf,
    /// The node's name; its lease is under it.
    pub node: Arc<str>,
    /// A folder whose `*.wasm` files are loaded at the start.
    pub plugins: Option<PathBuf>,
    /// Origins whose pages may open a WebSocket, besides the node's own.
    pub origins: Vec<String>,
    /// What clients of other protocols may call.
    pub doors: offer::DoorSettings,
    /// Attempts of one run at once, where its workflow says nothing.
    pub run_parallel: u32,
    /// What steps do whose workflow says nothing.
    pub defaults: Defaults,
    /// Attempts of the node at once.
    pub workers: usize,
    /// The most attempts begun in a second.
    pub start_rate_per_s: Option<u32>,
    /// What is told to operators.
    pub telemetry: Telemetry,
    /// Where `/metrics` listens besides the API.
    pub metrics_listen: Option<SocketAddr>,
    /// Which addresses may be dialled.
    pub egress: Egress,
    /// Whose signatures are trusted.
    pub trust: Trust,
    /// Where the secrets are that sign messages to webhooks, by name.
    pub webhook_secrets: BTreeMap<Arc<str>, SecretSource>,
    /// Webhooks of the node.
    pub webhooks: Vec<NodeWebhook>,
    /// Where the secrets are that plugins may use, by name.
    pub secrets: BTreeMap<Arc<str>, SecretSource>,
    /// What plugins may do outside their sandboxes, by `kind:name`.
    pub grants: BTreeMap<String, Arc<Grants>>,
    /// Language models, and who can be asked for them.
    pub models: models::ModelSettings,
    /// What the node pulls from OCI registries, by their hosts.
    pub registries: BTreeMap<String, registries::Source>,
    /// The limits.
    pub limits: Limits,
    /// Every setting with its value and its origin, in the order of the table, limits last.
    pub shown: Vec<Shown>,
}

/// What is told to operators, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Lines for people or for programs.
    pub format: LogFormat,
    /// Directives of `tracing`'s filter: `info`, or `info,heddle_host=debug`.
    pub level: String,
    /// A file instead of stderr.
    pub file: Option<PathBuf>,
    /// Bytes after which the file is rotated.
    pub file_bytes: u64,
    /// Rotated files that are kept.
    pub files: u32,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One setting as `heddle config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// Its name.
    pub key: String,
    /// Its value, as one would write it.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the file as a whole.
        line: usize,
    },
    /// A variable of the environment.
    Env(String),
    /// A flag of the command.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            // Of a file that cannot be read there are no lines.
            Origin::File { path, line: 0 } => write!(f, "{}", path.display()),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Env(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One thing that is wrong with what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ConfigFault {
    /// Who said it.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub message: String,
}

/// Everything that is wrong with what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}
impl std::error::Error for ConfigFaults {}

/// Where the layers above the defaults come from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file; without it `heddle.toml` in the working folder, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Flags: the setting, the flag as it was typed, the value.
    pub flags: Vec<(String, String, String)>,
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// Every fault of every layer, at once.
    pub fn load(layers: &Layers) -> Result<Config, ConfigFaults> {
        let mut faults = Vec::new();
        let sayings = said::collect(layers, &mut faults);
        let config = mean(&sayings, &mut faults);
        match faults.is_empty() {
            true => Ok(config),
            false => Err(ConfigFaults(faults)),
        }
    }
}

/// What was said becomes what is meant. A faulty value is replaced by its default, so that all faults are found.
fn mean(sayings: &Sayings, faults: &mut Vec<ConfigFault>) -> Config {
    let mut reader = Reader { sayings, faults, shown: Vec::new() };
    let listen = reader.address("listen");
    let data = reader.path("data").unwrap_or_else(|| PathBuf::from(".heddle"));
    let node = reader.text("node");
    let plugins = reader.path("plugins");
    let origins = reader.origins("api.origins");
    let doors = reader.doors(listen);
    let run_parallel = reader.count("runs.max_parallel").unwrap_or(16) as u32;
    let retry_attempts = reader.count("runs.retry_attempts").map(|attempts| attempts as u32);
    let retry_delay = reader.duration("runs.retry_delay").filter(|_| retry_attempts.is_some());
    let attempt_timeout = reader.duration("runs.attempt_timeout");
    let defaults = Defaults { retry_attempts, retry_delay, attempt_timeout };
    let workers = reader.count("workers.at_once").unwrap_or(16) as usize;
    let start_rate_per_s = reader.count("workers.start_rate").map(|rate| rate as u32);
    let telemetry = Telemetry {
        format: if reader.text("telemetry.format") == "json" { LogFormat::Json } else { LogFormat::Text },
        level: reader.text("telemetry.level"),
        file: reader.path("telemetry.file"),
        file_bytes: reader.count("telemetry.file_bytes").unwrap_or(16 << 20),
        files: reader.count("telemetry.files").unwrap_or(5) as u32,
    };
    let metrics_listen = reader.maybe_address("metrics.listen");
    let egress = reader.egress();
    let trust = reader.trust();
    let webhook_secrets = reader.secrets();
    let webhooks = reader.webhooks(&webhook_secrets);
    let secrets = reader.plugin_secrets();
    let models = reader.models(&secrets);
    let grants = reader.grants(&secrets, &models.aliases);
    let registries = reader.registries();
    let limits = reader.limits();
    let shown = reader.shown;
    check_together((run_parallel, workers, defaults), &limits, sayings, faults);
    Config {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7878))),
        data,
        node: node.into(),
        plugins,
        origins,
        doors,
        run_parallel,
        defaults,
        workers,
        start_rate_per_s,
        telemetry,
        metrics_listen,
        egress,
        trust,
        webhook_secrets,
        webhooks,
        secrets,
        grants,
        models,
        registries,
        limits,
        shown,
    }
}

/// Whether this is a filter of log lines. The library takes a word that is no level for the name of a module, and
/// logs nothing else.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let plain_is_level = text
        .split(',')
        .filter(|part| !part.contains('='))
        .all(|part| LEVELS.contains(&part.trim().to_ascii_lowercase().as_str()));
    plain_is_level && text.parse::<tracing_subscriber::EnvFilter>().is_ok()
}

/// Whether this is an origin as browsers write one: a scheme, a host, perhaps a port, and no path.
fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    authority.is_some_and(|authority| !authority.is_empty() && authority.chars().all(fits))
}

/// Settings that bound each other.
fn check_together(
    (run_parallel, workers, defaults): (u32, usize, Defaults),
    limits: &Limits,
    sayings: &Sayings,
    faults: &mut Vec<ConfigFault>,
) {
    let mut over = |key: &str, value: u64, limit: &str, most: u64| {
        if value > most {
            let origin = sayings.origin(key);
            faults.push(ConfigFault {
                origin,
                message: format!(
                    "`{key}` is {value}, and `limits.{limit}` is {most}; lower the one or raise the other"
                ),
            });
        }
    };
    over(
        "runs.retry_attempts",
        u64::from(defaults.retry_attempts.unwrap_or(1)),
        "retry_attempts",
        limits.retry_attempts,
    );
    over("runs.max_parallel", u64::from(run_parallel), "run_parallel", limits.run_parallel);
    over("workers.at_once", workers as u64, "attempts_at_once", limits.attempts_at_once);
    if limits.hostcall_bytes <= limits.output_bytes {
        faults.push(ConfigFault {
            origin: sayings.origin("limits.output_bytes"),
            message: format!(
                "`limits.hostcall_bytes` is {} and must exceed `limits.output_bytes`, which is {}",
                limits.hostcall_bytes, limits.output_bytes
            ),
        });
    }
}

struct Reader<'a> {
    sayings: &'a Sayings,
    faults: &'a mut Vec<ConfigFault>,
    shown: Vec<Shown>,
}

impl Reader<'_> {
    /// The text of a setting, as said or by default, noted as shown.
    fn take(&mut self, key: &str) -> (String, Origin) {
        let default = SETTINGS.iter().find(|s| s.key == key).map_or("", |s| s.default);
        let (value, origin) = match self.sayings.get(key) {
            Some(Said { text, origin }) => (text.clone(), origin.clone()),
            None => (default.to_owned(), Origin::Default),
        };
        self.shown.push(Shown { key: key.to_owned(), value: value.clone(), origin: origin.clone() });
        (value, origin)
    }
    /// Notes a saying as shown.
    fn show(&mut self, key: &str, said: &Said) {
        let (value, origin) = (said.text.clone(), said.origin.clone());
        self.shown.push(Shown { key: key.to_owned(), value, origin });
    }
    fn fault(&mut self, origin: Origin, message: String) {
        self.faults.push(ConfigFault { origin, message });
    }
    fn text(&mut self, key: &str) -> String {
        let (value, origin) = self.take(key);
        let kind = SETTINGS.iter().find(|s| s.key == key).map(|s| s.kind);
        match kind {
            Some(Kind::Word(words)) if !words.contains(&&*value) => {
                let list = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
                self.fault(origin, format!("`{key}` is {list}, not `{value}`"));
            }
            Some(Kind::Name) if !heddle_core::id::is_name(&value) => {
                self.fault(
                    origin,
                    format!("`{key}` is a name (`[a-z][a-z0-9_-]*`, at most 64 bytes), not `{value}`"),
                );
            }
            Some(Kind::Level) if !is_filter(&value) => {
                self.fault(origin, format!("`{key}` is `info` or `info,heddle_host=debug`, not `{value}`"));
            }
            _ => {}
        }
        value
    }
    fn path(&mut self, key: &str) -> Option<PathBuf> {
        let (value, origin) = self.take(key);
        if value.is_empty() {
            return None;
        }
        // A path in a file is meant from that file's folder; one that was typed, from the working folder.
        Some(match &origin {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")).join(value),
            _ => PathBuf::from(value),
        })
    }
    fn origins(&mut self, key: &str) -> Vec<String> {
        let (value, origin) = self.take(key);
        let said: Vec<String> =
            value.split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        for one in said.iter().filter(|one| !is_origin(one)) {
            let message = format!("`{key}` lists origins such as `https://console.example`, not `{one}`");
            self.fault(origin.clone(), message);
        }
        said
    }
    fn maybe_address(&mut self, key: &str) -> Option<SocketAddr> {
        let (value, origin) = self.take(key);
        if value.is_empty() {
            return None;
        }
        let read = value.parse().ok();
        if read.is_none() {
            self.fault(
                origin,
                format!("`{key}` is an address and a port such as `127.0.0.1:7878`, not `{value}`"),
            );
        }
        read
    }
    fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.maybe_address(key)
    }
    fn count(&mut self, key: &str) -> Option<u64> {
        let (value, origin) = self.take(key);
        if value.is_empty() {
            return None;
        }
        let size = SETTINGS.iter().any(|s| s.key == key && matches!(s.kind, Kind::Size));
        let read = if size { quantity::size(&value) } else { value.parse::<u32>().ok().map(u64::from) };
        match read {
            Some(0) => self.fault(origin, format!("`{key}` is 0; give a value from 1")),
            Some(count) => return Some(count),
            None => self.fault(origin, format!("`{key}` is a whole number from 1, not `{value}`")),
        }
        None
    }
    fn duration(&mut self, key: &str) -> Option<Span> {
        let (value, origin) = self.take(key);
        if value.is_empty() {
            return None;
        }
        match Span::parse(&value) {
            Ok(span) if span.0 > 0 => return Some(span),
            Ok(_) => self.fault(origin, format!("`{key}` is 0; leave it out for none")),
            Err(fault) => self.fault(origin, format!("`{key}`: {fault}")),
        }
        None
    }
    fn limits(&mut self) -> Limits {
        let mut limits = Limits::default();
        for row in TABLE {
            let key = format!("limits.{}", row.name);
            let (value, origin) = match self.sayings.get(&key) {
                None => (quantity::print(row.default, row.unit), Origin::Default),
                Some(Said { text, origin }) => {
                    match quantity::limit(text, row.unit) {
                        Some(value) => {
                            if let Err(fault) = limits.set(row.name, value) {
                                self.faults
                                    .push(ConfigFault { origin: origin.clone(), message: fault.to_string() });
                            }
                        }
                        None => {
                            let wants = quantity::wants(row.unit);
                            self.faults.push(ConfigFault {
                                origin: origin.clone(),
                                message: format!("`{key}` is {wants}, not `{text}`"),
                            });
                        }
                    }
                    (
                        limits.get(row.name).map_or_else(String::new, |v| quantity::print(v, row.unit)),
                        origin.clone(),
                    )
                }
            };
            self.shown.push(Shown { key, value, origin });
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::{is_filter, is_origin};

    #[test]
    fn an_origin_has_no_path() {
        let good = ["https://console.example", "http://127.0.0.1:3000", "http://[::1]:80"];
        assert!(good.into_iter().all(is_origin));
        let bad = ["", "*", "console.example", "https://", "https://a.example/", "https://A.example"];
        assert!(!bad.into_iter().any(is_origin));
    }

    #[test]
    fn a_filter_of_log_lines_has_levels() {
        let good = ["info", "WARN", "info,heddle_host=debug", "heddle::guest=trace", "off"];
        assert!(good.into_iter().all(is_filter));
        assert!(!["", "loud", "info,loud", "info,heddle_host=loud"].into_iter().any(is_filter));
    }
}
