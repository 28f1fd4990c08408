//! Every setting there is, besides the limits: its name, its kind, its default, and what it is for.

/// How a setting's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `127.0.0.1:7878`; empty for none.
    Address,
    /// A path; empty for none.
    Path,
    /// `[a-z][a-z0-9_-]*`.
    Name,
    /// A whole number from 1; empty for none.
    Count,
    /// Bytes, `16MiB`.
    Size,
    /// `30s`; empty for none.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Directives of `tracing`'s filter.
    Level,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: `section.name`, or `name` at the top. `HEDDLE_SECTION_NAME` in the environment.
    pub key: &'static str,
    /// How its value is written.
    pub kind: Kind,
    /// What holds where nobody says otherwise; empty for nothing.
    pub default: &'static str,
    /// What it is for.
    pub why: &'static str,
}

/// The table.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        kind: Kind::Address,
        default: "127.0.0.1:7878",
        why: "Where the API listens. There are no keys yet: listen beyond this machine only behind something that asks for one.",
    },
    Setting {
        key: "data",
        kind: Kind::Path,
        default: ".heddle",
        why: "Where runs, plugins and the cache are kept. One process at a time may use it.",
    },
    Setting {
        key: "node",
        kind: Kind::Name,
        default: "local",
        why: "The name of this node; its lease is under it.",
    },
    Setting {
        key: "plugins",
        kind: Kind::Path,
        default: "",
        why: "A folder whose `*.wasm` files are loaded at the start.",
    },
    Setting {
        key: "runs.max_parallel",
        kind: Kind::Count,
        default: "16",
        why: "Attempts of one run at once, where its workflow does not say `maxParallel`.",
    },
    Setting {
        key: "runs.retry_attempts",
        kind: Kind::Count,
        default: "",
        why: "Attempts of a step that fails with something retryable, the first included, where its workflow does not say `retry`; empty for one.",
    },
    Setting {
        key: "runs.retry_delay",
        kind: Kind::Duration,
        default: "1s",
        why: "The wait before the second attempt of such a step; it doubles up to a minute, and is spread.",
    },
    Setting {
        key: "runs.attempt_timeout",
        kind: Kind::Duration,
        default: "",
        why: "How long one attempt may take where its workflow does not say `timeout`; empty for what its kind may take (`limits`).",
    },
    Setting {
        key: "workers.at_once",
        kind: Kind::Count,
        default: "16",
        why: "Attempts of this node at once.",
    },
    Setting {
        key: "workers.start_rate",
        kind: Kind::Count,
        default: "",
        why: "The most attempts that this node begins in a second; empty for no such bound.",
    },
    Setting {
        key: "telemetry.format",
        kind: Kind::Word(&["text", "json"]),
        default: "text",
        why: "Log lines for people, or one JSON object a line.",
    },
    Setting {
        key: "telemetry.level",
        kind: Kind::Level,
        default: "info",
        why: "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,heddle_host=debug`.",
    },
    Setting { key: "telemetry.file", kind: Kind::Path, default: "", why: "A log file instead of stderr." },
    Setting {
        key: "telemetry.file_bytes",
        kind: Kind::Size,
        default: "16MiB",
        why: "How large the log file becomes before it is put aside.",
    },
    Setting {
        key: "telemetry.files",
        kind: Kind::Count,
        default: "5",
        why: "How many files put aside are kept.",
    },
    Setting {
        key: "metrics.listen",
        kind: Kind::Address,
        default: "",
        why: "An address of its own for `/metrics`, besides the one of the API.",
    },
];

/// Names of `HEDDLE_*` variables that are no settings: what a client of the API goes by, and what the test suites set.
pub const OTHER_VARIABLES: &[&str] = &["HEDDLE_SERVER", "HEDDLE_CONFIG"];

/// Prefix of variables that belong to the test suites.
pub const TEST_VARIABLES: &str = "HEDDLE_TEST_";

/// The names of all settings, limits included.
pub fn keys() -> Vec<String> {
    let limits = heddle_core::limits::TABLE.iter().map(|row| format!("limits.{}", row.name));
    SETTINGS.iter().map(|s| s.key.to_owned()).chain(limits).collect()
}

/// The variable of a setting.
pub fn variable(key: &str) -> String {
    format!("HEDDLE_{}", key.replace('.', "_").to_ascii_uppercase())
}
