//! Every setting there is, besides the limits: its name, its kind, its default, and what it is for.

use heddle_core::outcome::PluginKind;

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
    /// Ranges of addresses: a list, or text with commas; empty for none.
    Networks,
    /// An address of the web.
    Url,
    /// Types of events, or groups such as `run.*`: a list, or text with commas.
    Events,
    /// `https://console.example`, a list, or text with commas; empty for none.
    Origins,
    /// Where a secret is: `env:VARIABLE` or `file:PATH`.
    Source,
    /// `GET|POST https://api.example.com`: a list, or text with commas.
    Rules,
    /// `api-key https://api.example.com`: a list, or text with commas.
    Uses,
    /// `true` or `false`.
    Flag,
    /// A JSON object.
    Json,
    /// Public keys: a list, or text with commas; empty for none.
    Keys,
    /// `acme/echo`, or `acme/*` for all below: a list, or text with commas.
    Repositories,
    /// Workflows (`acme/report`, `acme/*`, `*`) and plugins (`tool:echo`, `tool:*`): a list, or text with commas; empty
    /// for none.
    Callable,
    /// Hosts, with or without a port: a list, or text with commas; empty for none.
    Hosts,
    /// Any text.
    Text,
    /// Several texts: a list, or text with commas.
    Texts,
}

impl Kind {
    /// Whether it may be written as a list.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Kind::Networks
                | Kind::Events
                | Kind::Origins
                | Kind::Rules
                | Kind::Uses
                | Kind::Keys
                | Kind::Repositories
                | Kind::Callable
                | Kind::Hosts
                | Kind::Texts
        )
    }
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
        why: "A folder whose `*.wasm` files are loaded at the start, and when they come or change.",
    },
    Setting {
        key: "api.origins",
        kind: Kind::Origins,
        default: "",
        why: "Origins whose pages may open `/v1/ws` and call `/mcp` and `/a2a` besides the node's own, separated by commas; empty for none.",
    },
    Setting {
        key: "api.hosts",
        kind: Kind::Hosts,
        default: "",
        why: "Names by which `/mcp` and `/a2a` are called besides `localhost` and the address that the node listens on, with or without a port.",
    },
    Setting {
        key: "mcp.tools",
        kind: Kind::Callable,
        default: "*",
        why: "What is a tool at `/mcp`: workflows (`acme/report`, `acme/*`, `*` for all that are published) and plugins (`tool:echo`, `transform:*`); empty for nothing.",
    },
    Setting {
        key: "a2a.skills",
        kind: Kind::Callable,
        default: "*",
        why: "What is a skill at `/a2a`, in the words of `mcp.tools`.",
    },
    Setting {
        key: "a2a.definitions",
        kind: Kind::Flag,
        default: "false",
        why: "Whether a message to `/a2a` may bring a workflow along. It may then call every plugin that is loaded, whatever `a2a.skills` says.",
    },
    Setting {
        key: "a2a.url",
        kind: Kind::Url,
        default: "",
        why: "The address of this node that its agent card names, `https://heddle.example`; empty for the one that the card is asked for by.",
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
    Setting {
        key: "egress.allow_private",
        kind: Kind::Networks,
        default: "",
        why: "Ranges of addresses that messages to webhooks and requests of plugins may go to although they are not public, such as `10.1.0.0/16`: a list.",
    },
    Setting {
        key: "signatures.policy",
        kind: Kind::Word(&["", "require", "warn", "off"]),
        default: "",
        why: "What becomes of a component that nobody trusted has signed: `require` refuses it, `warn` loads it and tells, `off` does not look. Where nothing is said: `require` with keys, `off` without.",
    },
    Setting {
        key: "signatures.keys",
        kind: Kind::Keys,
        default: "",
        why: "Public keys whose signatures are trusted, in the format of minisign: the second line of a `.pub` file. A list.",
    },
];

/// Settings in whose name the operator chooses what stands for `*`. They have no default, and no variable.
pub const FAMILIES: &[Setting] = &[
    Setting {
        key: "webhooks.*.url",
        kind: Kind::Url,
        default: "https://ops.example/hooks/heddle",
        why: "A webhook of this node, which is told of the runs of every tenant: where to.",
    },
    Setting {
        key: "webhooks.*.events",
        kind: Kind::Events,
        default: "run.failed, help.requested",
        why: "Of which events: types of the event catalogue, or groups such as `run.*`.",
    },
    Setting {
        key: "webhooks.*.secret",
        kind: Kind::Name,
        default: "ops-key",
        why: "The name of the secret that signs, from `[webhook_secrets]`.",
    },
    Setting {
        key: "webhook_secrets.*",
        kind: Kind::Source,
        default: "env:OPS_HOOK_SECRET",
        why: "Where a secret is that signs messages to webhooks, by the name that workflows and webhooks of this node give it: `env:VARIABLE` or `file:PATH`. Several, with white space between them, sign all: for a change of secrets.",
    },
    Setting {
        key: "secrets.*",
        kind: Kind::Source,
        default: "env:API_KEY",
        why: "Where a secret is that plugins may use as they are granted: `env:VARIABLE` or `file:PATH`. No plugin ever sees it.",
    },
    Setting {
        key: "grants.*.http",
        kind: Kind::Rules,
        default: "GET|HEAD https://*.example.com, POST https://api.example.com:8443",
        why: "Requests that a plugin may send, `[grants.\"tool:NAME\"]`: methods (all without them) and where to. What is not public needs `egress.allow_private`, too.",
    },
    Setting {
        key: "grants.*.secrets",
        kind: Kind::Uses,
        default: "api-key https://api.example.com",
        why: "Secrets that it may use, each where it may go.",
    },
    Setting {
        key: "grants.*.kv",
        kind: Kind::Flag,
        default: "true",
        why: "Whether it may keep values of its own.",
    },
    Setting {
        key: "grants.*.artifacts",
        kind: Kind::Flag,
        default: "true",
        why: "Whether it may leave files with its run.",
    },
    Setting {
        key: "grants.*.config",
        kind: Kind::Json,
        default: "{\"region\": \"eu\"}",
        why: "What it is told: a JSON object.",
    },
    Setting {
        key: "grants.*.models",
        kind: Kind::Texts,
        default: "fast, smart",
        why: "Language models that an agent may ask, by the names of `[models]`, the first by default; `*` for all.",
    },
    Setting {
        key: "providers.*.url",
        kind: Kind::Url,
        default: "https://api.openai.com/v1",
        why: "Where language models can be asked. Ollama's is `http://127.0.0.1:11434/v1`; what is not public needs `egress.allow_private`, too.",
    },
    Setting {
        key: "providers.*.speaks",
        kind: Kind::Word(&["openai", "anthropic"]),
        default: "openai",
        why: "`openai` for chat completions, which most others understand, or `anthropic` for messages.",
    },
    Setting {
        key: "providers.*.key",
        kind: Kind::Name,
        default: "openai-key",
        why: "The secret that is the key of the account, by its name in `[secrets]`; none where nothing is said.",
    },
    Setting {
        key: "providers.*.headers",
        kind: Kind::Texts,
        default: "x-team: search",
        why: "Headers that go with every request.",
    },
    Setting {
        key: "models.*.use",
        kind: Kind::Texts,
        default: "openai/gpt-4o-mini, ollama/llama3.2",
        why: "A name that agents ask for: a provider and its model, and what is asked where that fails.",
    },
    Setting {
        key: "models.*.prices",
        kind: Kind::Texts,
        default: "openai/gpt-4o-mini 0.15 0.60 0.075",
        why: "What a million tokens cost, in a currency of your own, that are read, written, and read from the provider's cache.",
    },
    Setting {
        key: "registries.*.repositories",
        kind: Kind::Repositories,
        default: "acme/*, tools/echo",
        why: "What the node pulls from an OCI registry, `[registries.\"ghcr.io\"]`: repositories, or `acme/*` for all below. From others it pulls nothing.",
    },
    Setting {
        key: "registries.*.username",
        kind: Kind::Text,
        default: "heddle-bot",
        why: "Who pulls; nobody in particular where nothing is said.",
    },
    Setting {
        key: "registries.*.password",
        kind: Kind::Source,
        default: "env:REGISTRY_TOKEN",
        why: "Where the password or token is: `env:VARIABLE` or `file:PATH`.",
    },
    Setting {
        key: "registries.*.plain_http",
        kind: Kind::Flag,
        default: "false",
        why: "Whether the registry has no TLS.",
    },
];

/// The setting with this name.
pub fn find(key: &str) -> Option<&'static Setting> {
    let named = SETTINGS.iter().find(|setting| setting.key == key);
    named.or_else(|| FAMILIES.iter().find(|family| chosen(family.key, key).is_some()))
}

/// What the operator chose for the `*` of a family, where the name is one of it.
pub fn chosen<'a>(family: &str, key: &'a str) -> Option<&'a str> {
    let (before, after) = family.split_once('*')?;
    let name = key.strip_prefix(before)?.strip_suffix(after)?;
    let fits = match family.split('.').next() {
        Some("registries") => heddle_core::oci::is_registry(name),
        Some("grants") => name.split_once(':').is_some_and(|(kind, name)| {
            PluginKind::from_word(kind).is_some_and(|kind| !kind.is_pure())
                && name != "*"
                && heddle_core::plugin::is_pattern(&format!("{kind}:{name}"))
        }),
        _ => heddle_core::id::is_name(name),
    };
    fits.then_some(name)
}

/// Whether settings stand under this name.
pub fn is_section(key: &str) -> bool {
    let under = |known: &str| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    let chosen_too = |family: &Setting| {
        let section = family.key.rsplit_once('.').map_or("", |(section, _)| section);
        under(family.key) || chosen(section, key).is_some()
    };
    key == "limits"
        || SETTINGS.iter().any(|setting| under(setting.key))
        // The name of a registry has dots, so what follows it could be taken for more of it.
        || (find(key).is_none() && FAMILIES.iter().any(chosen_too))
}

/// Names of `HEDDLE_*` variables that are no settings: what a client of the API goes by, and what the test suites set.
pub const OTHER_VARIABLES: &[&str] = &["HEDDLE_SERVER", "HEDDLE_CONFIG", "HEDDLE_REGISTRY_PASSWORD"];

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
