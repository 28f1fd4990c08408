//! A scenario: a workflow, what its plugins and people do and when, and what must come of it. One file, one story; the
//! same files are told to the bare core and to a whole executor.

use heddle_core::document::Doc;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::run::orders::{Order, Wish};
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A story.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) file: String,
    pub(crate) workflow: Doc,
    /// Workflows that are published before: each as `scenario/NAME@1.0.0`. A story that has some is told where they can
    /// run, and a story that runs others without having them is told where the script plays them.
    pub(crate) workflows: Vec<Doc>,
    pub(crate) input: Json,
    /// By step or `step/item`: what its attempts do, one after another; the last does for all that follow.
    pub(crate) script: BTreeMap<String, Vec<Act>>,
    /// What comes from outside, and when.
    pub(crate) outside: Vec<(u64, Word)>,
    /// How it looks on the way, and when.
    pub(crate) seen: Vec<(u64, Value)>,
    pub(crate) expect: Value,
}

/// What an attempt does.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// Milliseconds that it takes.
    pub(crate) takes: u64,
    pub(crate) end: ActEnd,
}

#[derive(Clone, Debug)]
pub(crate) enum ActEnd {
    /// Gives back its input.
    Echo,
    Output(Json),
    Fail(Failure),
    /// The process dies while it runs.
    Crash,
}

/// What somebody says to the run.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    Signal {
        name: Arc<str>,
        data: Json,
    },
    /// An event of the tenant, for everybody who listens.
    Event {
        name: Arc<str>,
        data: Json,
    },
    Cancel {
        force: bool,
    },
    Pause,
    Resume,
    Order {
        step: Arc<str>,
        groups: Vec<Arc<str>>,
        order: Order,
    },
    Decide {
        step: Arc<str>,
        by: Arc<str>,
        groups: Vec<Arc<str>>,
        approved: bool,
        form: Option<Json>,
        comment: Arc<str>,
    },
}

/// Every scenario of the repository, by name.
#[allow(clippy::disallowed_methods, reason = "a test reads its stories; the core reads no files")]
pub(crate) fn all() -> Vec<Scenario> {
    let folder = root().join("tests/scenarios");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder of scenarios").flatten() {
        files.extend(Some(entry.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml")));
    }
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

/// One file holds several stories, by name.
#[allow(clippy::disallowed_methods, reason = "as above")]
fn read(path: &Path) -> Vec<Scenario> {
    let text = std::fs::read_to_string(path).expect("a scenario");
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let doc = Doc::parse(&text, &Limits::default()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let heddle_core::document::Part::Map(stories) = &doc.part else {
        panic!("{name}: wants stories by name")
    };
    stories.iter().map(|(key, story)| one(&format!("{name}: {}", key.text), story)).collect()
}

fn one(file: &str, doc: &Doc) -> Scenario {
    let heddle_core::document::Part::Map(members) = &doc.part else { panic!("{file}: wants a map") };
    for (key, _) in members {
        let known = ["workflow", "sample", "workflows", "input", "script", "outside", "seen", "expect"]
            .contains(&&*key.text);
        assert!(known, "{file}: unknown key `{}`", key.text);
    }
    let value = |key: &str| doc.get(key).map(Doc::value).unwrap_or_default();
    let body = match doc.get("sample").and_then(Doc::as_str) {
        Some(name) => sample(file, name),
        None => value("workflow"),
    };
    let input = match value("input") {
        Value::Null => Json::trusted("{}"),
        given => Json::from_value(given),
    };
    Scenario {
        file: file.to_owned(),
        workflow: headed(file, "story", &body),
        workflows: match value("workflows") {
            Value::Map(named) => named.iter().map(|(name, body)| headed(file, name, body)).collect(),
            _ => Vec::new(),
        },
        input,
        script: script(file, &value("script")),
        outside: list(&value("outside")).iter().map(|word| outside(file, word)).collect(),
        seen: list(&value("seen")).iter().map(|look| seen(file, look)).collect(),
        expect: value("expect"),
    }
}

/// A workflow that is shipped: `plugins/samples/NAME.yaml`.
#[allow(clippy::disallowed_methods, reason = "as above")]
fn sample(file: &str, name: &str) -> Value {
    let path = root().join(format!("plugins/samples/{name}.yaml"));
    let text =
        std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{file}: {}: {fault}", path.display()));
    Doc::parse(&text, &Limits::default()).unwrap_or_else(|fault| panic!("{file}: {fault}")).value()
}

/// The root of the repository, from wherever these tests are.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|above| above.join("tests/scenarios/basics.yaml").is_file());
    root.expect("the folder of scenarios").to_owned()
}

/// A workflow with its head: `scenario/NAME@1.0.0`.
fn headed(file: &str, name: &str, body: &Value) -> Doc {
    let Value::Map(body) = body else { panic!("{file}: `workflow` is missing") };
    let mut body = (**body).clone();
    let head = [("dsl", "1.0"), ("namespace", "scenario"), ("name", name), ("version", "1.0.0")];
    body.insert("document".into(), Value::map(head.map(|(k, v)| (k, Value::text(v)))));
    Doc::of_value(&Value::Map(Arc::new(body)))
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::List(items) => items.to_vec(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

fn script(file: &str, value: &Value) -> BTreeMap<String, Vec<Act>> {
    let Value::Map(steps) = value else { return BTreeMap::new() };
    let acts = |value: &Value| list(value).iter().map(|value| act(file, value)).collect();
    steps.iter().map(|(step, value)| (step.to_string(), acts(value))).collect()
}

fn act(file: &str, value: &Value) -> Act {
    let takes = value.get("takes").and_then(Value::as_str).map_or(1, |text| millis(file, text));
    let end = if let Some(output) = value.get("output") {
        ActEnd::Output(Json::from_value(output.clone()))
    } else if let Some(kind) = value.get("fail").and_then(Value::as_str) {
        let kind = FailureKind::ALL.iter().find(|known| known.word() == kind);
        let kind = kind.copied().unwrap_or_else(|| panic!("{file}: unknown kind {value:?}"));
        let mut failure =
            Failure::new(kind, value.get("message").and_then(Value::as_str).unwrap_or("asked to"));
        if let Some(Value::Bool(retryable)) = value.get("retryable") {
            failure.retryable = *retryable;
        }
        if let Some(after) = value.get("retryAfter").and_then(Value::as_str) {
            failure.retry_after_ms = Some(millis(file, after));
        }
        ActEnd::Fail(failure)
    } else if value.as_str() == Some("crash") || value.get("crash").is_some() {
        ActEnd::Crash
    } else {
        assert!(
            value.as_str() == Some("ok") || value.get("takes").is_some(),
            "{file}: unknown act {value:?}"
        );
        ActEnd::Echo
    };
    Act { takes, end }
}

fn outside(file: &str, value: &Value) -> (u64, Word) {
    let at = value.get("after").and_then(Value::as_str).map_or(0, |text| millis(file, text));
    let text =
        |of: &Value, key: &str| Arc::<str>::from(of.get(key).and_then(Value::as_str).unwrap_or_default());
    let groups = |of: &Value| -> Vec<Arc<str>> {
        let groups = of.get("groups").map(list).unwrap_or_default();
        groups.iter().filter_map(Value::as_str).map(Arc::from).collect()
    };
    let decide = |of: &Value, approved| Word::Decide {
        step: text(of, "step"),
        by: text(of, "by"),
        groups: groups(of),
        approved,
        form: of.get("form").map(|form| Json::from_value(form.clone())),
        comment: text(of, "comment"),
    };
    let order = |of: &Value, what| {
        let (by, comment) = (text(of, "by"), text(of, "comment"));
        let by = if by.is_empty() { "ops".into() } else { by };
        Word::Order { step: text(of, "step"), groups: groups(of), order: Order { by, comment, what } }
    };
    let json = |of: &Value, key| of.get(key).map(|value| Json::from_value(value.clone()));
    let word = if let Some(retry) = value.get("retryStep") {
        order(retry, Wish::Retry { input: json(retry, "input") })
    } else if let Some(skip) = value.get("skipStep") {
        order(skip, Wish::Skip { value: json(skip, "value").unwrap_or_else(Json::null) })
    } else if let Some(fail) = value.get("failStep") {
        order(fail, Wish::Fail {})
    } else if let Some(cancel) = value.get("cancelStep") {
        order(cancel, Wish::Cancel {})
    } else if let Some(signal) = value.get("signal") {
        Word::Signal {
            name: text(signal, "name"),
            data: Json::from_value(signal.get("data").cloned().unwrap_or_default()),
        }
    } else if let Some(event) = value.get("event") {
        Word::Event {
            name: text(event, "name"),
            data: Json::from_value(event.get("data").cloned().unwrap_or_default()),
        }
    } else if let Some(cancel) = value.get("cancel") {
        Word::Cancel { force: matches!(cancel.get("force"), Some(Value::Bool(true))) }
    } else if value.get("pause").is_some() {
        Word::Pause
    } else if value.get("resume").is_some() {
        Word::Resume
    } else if let Some(approve) = value.get("approve") {
        decide(approve, true)
    } else if let Some(reject) = value.get("reject") {
        decide(reject, false)
    } else {
        panic!("{file}: unknown word {value:?}")
    };
    (at, word)
}

/// `{after: 1m, status: paused}`: what is expected of it at this time.
fn seen(file: &str, value: &Value) -> (u64, Value) {
    let Value::Map(look) = value else { panic!("{file}: `seen` wants maps, and one is {value:?}") };
    let mut look = (**look).clone();
    let after = look.remove("after").unwrap_or_default();
    let at = millis(file, after.as_str().unwrap_or_default());
    (at, Value::Map(Arc::new(look)))
}

fn millis(file: &str, text: &str) -> u64 {
    heddle_core::time::Span::parse(text).unwrap_or_else(|fault| panic!("{file}: {fault}")).0
}

/// When every scenario begins: 2026-11-18T11:06:40Z.
pub(crate) const START: Timestamp = Timestamp(1_795_000_000_000);

/// The person who asked for every scenario's run.
pub(crate) const SUBMITTER: &str = "ana";

/// What this attempt of a step or an item does.
pub(crate) fn act_of(scenario: &Scenario, name: &str, attempt: u32) -> Act {
    let step = name.split('/').next().unwrap_or(name);
    let acts = scenario.script.get(name).or_else(|| scenario.script.get(step));
    let act = acts.and_then(|acts| acts.get(attempt as usize - 1).or(acts.last()));
    act.cloned().unwrap_or(Act { takes: 1, end: ActEnd::Echo })
}
