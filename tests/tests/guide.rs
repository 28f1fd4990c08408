//! The guide, typed as it stands there: every workflow of a page is written to a file of its name, every block of
//! commands is typed in its order, and what does not succeed is a fault of the page or of the product.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::registry::{Door, Registry};
use heddle_tests::{Server, bash, binary, guide, plugin, root};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Plugins that the pages call.
const PLUGINS: &[&str] = &[
    "csv",
    "echo",
    "fail",
    "http_fetch",
    "identity",
    "jq",
    "json_schema_validate",
    "kv",
    "markdown",
    "planner",
    "template",
    "text",
    "text_chunk",
];

/// What somebody does who types: they look whether there is something to decide before they decide it.
const PATIENT: &str = r#"
heddle() {
    case "${1:-} ${2:-}" in
        "runs approve" | "runs reject" | "runs step")
            for try in $(seq 300); do
                if command heddle "$@"; then return 0; fi
                sleep 0.1
            done
            return 1 ;;
        *) command heddle "$@" ;;
    esac
}
"#;

/// Blocks that are not typed here, each with the reason. That their commands are there is looked at all the same.
const NOT_TYPED: &[(&str, &str)] = &[
    (
        "agents",
        "its models are somebody's: `models.rs` and `languages.rs` type it with services that speak as they do",
    ),
    ("operating", "a node that listens until it is told to end"),
    ("plugins", "builds a plugin, as the tour of the README does"),
    ("plugin-versions", "its plugin has many versions: `releases.rs` types what it shows"),
    ("connectors", "its service is an example: `connectors.rs` types it with the node's own API"),
    ("examples", "what it prints is compared: `examples.rs` types it"),
    ("versions", "its versions follow each other: `versions.rs` types it"),
    ("webhooks", "its node has secrets and an open address: `webhooks.rs` types it"),
];

/// Pages whose node has the settings that they show, and the secret that those name.
const CONFIGURED: &[&str] = &["triggers", "outside", "registry", "first-plugin"];
/// Pages that use an OCI registry, by the address that they give it.
const WITH_REGISTRY: &[&str] = &["registry", "first-plugin"];
const REGISTRY: &str = "127.0.0.1:5000";
const SECRET: (&str, &str) = ("SHOP_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

/// What must be said somewhere while a page is typed.
const SAID: &[(&str, &[&str])] = &[
    ("flow-control", &["one of the 1 slots of the concurrency key `acme/sync:c1`"]),
    ("when-a-step-fails", &["the booking: booked", "the booking: by hand"]),
    (
        "schedules",
        &[
            "schedule acme.digest.daily (cron 0 6 * * 1-5 Europe/Madrid): 20",
            "2126-12-01T06:00:00.000Z",
            "is accepted",
        ],
    ),
    (
        "triggers",
        &[
            "acme.receipt.lost        run acme/shipping (failed)",
            "trigger acme.receipt.order-paid starts a run",
            "\"starts\":true",
        ],
    ),
    ("first-plugin", &["tool:greet@0.1.0 sha256:"]),
    (
        "registry",
        &[
            "echo-1.0.0.wasm is signed by",
            "/acme/echo@sha256:",
            "acme/greet@1.0.0 127.0.0.1:",
            "\"manifest\":\"sha256:",
        ],
    ),
    ("mcp", &["\"name\":\"acme_greet\"", "Hello, Ada"]),
    ("a2a", &["\"id\":\"acme_greet\"", "TASK_STATE_COMPLETED", "Hello, Ada"]),
    ("shelf", &["Milk. Bread.", "<strong>milk</strong>", "at `/0/price`", "refused: the price is no number"]),
    ("outside", &["http GET|HEAD http://127.0.0.1:", "\"times\": 1"]),
    ("rates-and-circuits", &["vendor-x  open", "50 in 1s"]),
    ("waiting", &["it waits for the signal `paid`"]),
    ("looking-after-runs", &["it was paused by", "the runs differ in: input, output"]),
    ("after-the-steps", &["released R-7", "swept"]),
];

/// The files of workflows that are shown without their head. They may call plugins that are not there.
const PART: &str = "part-";

/// Types a page.
fn page(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let blocks = guide(name);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let kept = tempfile::tempdir().unwrap();
    let registry = WITH_REGISTRY.contains(&name).then(|| Registry::start(kept.path(), &Door::Open));
    let host = registry.as_ref().map_or(REGISTRY, |registry| &registry.host);
    let here = |text: &str| text.replace("http://127.0.0.1:7878", &url).replace(REGISTRY, host);
    if CONFIGURED.contains(&name) {
        let settings = blocks.iter().find(|(language, _)| language == "toml").unwrap();
        std::fs::write(folder.path().join("heddle.toml"), here(&settings.1)).unwrap();
    }
    let server = Server::start_at(folder.path(), &url, &[SECRET]);
    PLUGINS.iter().for_each(|name| drop(server.push(plugin(name))));
    let workflows = blocks.iter().enumerate().filter(|(_, (language, _))| language == "yaml");
    let files: Vec<PathBuf> = workflows
        .map(|(number, (_, text))| {
            let file = folder.path().join(file_of(text, number));
            std::fs::write(&file, here(&whole(text))).unwrap();
            file
        })
        .collect();
    let typed: Vec<&str> =
        blocks.iter().filter(|(language, _)| language == "sh").map(|(_, text)| &**text).collect();
    let script = format!("{PATIENT}\n{}", typed.join("\n"));
    let script = here(&script);
    let script = format!("export {}='{}'\n{script}", SECRET.0, SECRET.1);
    std::os::unix::fs::symlink(root().join("plugins"), folder.path().join("plugins")).unwrap();
    let output = bash(&server, folder.path(), &script);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    // Also those that no command names; they may call what the others have published.
    for file in &files {
        let is_part = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PART));
        validated((!is_part).then_some(&server), file);
    }
    for wanted in SAID.iter().filter(|(page, _)| *page == name).flat_map(|(_, said)| said.iter()) {
        assert!(said.contains(wanted), "`{wanted}` is not in: {said}");
    }
}

/// The file of a workflow: it is called as its document is.
fn file_of(text: &str, number: usize) -> String {
    let name = text.split("name: ").nth(1).and_then(|rest| rest.split(['\n', ',', ' ']).next());
    format!("{}.yaml", name.filter(|_| text.contains("document:")).unwrap_or(&format!("{PART}{number}")))
}
/// A workflow that is shown without its head has one.
fn whole(text: &str) -> String {
    match text.contains("document:") {
        true => text.to_owned(),
        false => format!("document: {{dsl: \"1.0\", namespace: guide, name: shown, version: 1.0.0}}\n{text}"),
    }
}
/// What a page shows is a workflow, by what this node knows where there is one.
fn validated(server: Option<&Server>, file: &Path) {
    let mut command = Command::new(binary());
    command.args(["workflow", "validate"]).arg(file).env_remove("HEDDLE_SERVER");
    command.args(server.iter().flat_map(|server| ["--server", &server.url]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
}

macro_rules! pages {
    ($($test:ident: $page:literal;)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(#[test] fn $test() { page($page); })*
    };
}
pages! {
    first_plugin: "first-plugin";
    registry: "registry";
    shelf: "shelf";
    live: "live";
    mcp: "mcp";
    a2a: "a2a";
    workflow_language: "workflow-language";
    calls: "calls";
    graph_form: "graph-form";
    dependencies: "dependencies";
    lists: "lists";
    expressions: "expressions";
    waiting: "waiting";
    runs_of_runs: "runs-of-runs";
    cache: "cache";
    failure: "failure";
    when_a_step_fails: "when-a-step-fails";
    after_the_steps: "after-the-steps";
    flow_control: "flow-control";
    rates_and_circuits: "rates-and-circuits";
    outside: "outside";
    schedules: "schedules";
    triggers: "triggers";
    looking_after_runs: "looking-after-runs";
    events: "events";
    http_api: "http-api";
}

/// Every chapter with commands is typed, or it is said why not; and there what is shown is at least a command.
#[test]
fn no_page_is_passed_over() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let chapters = summary.split("](guide/").skip(1).map(|rest| rest.split(".md").next().unwrap().to_owned());
    let commands = |page: &str| -> Vec<String> {
        let blocks = guide(page).into_iter().filter(|(language, _)| language == "sh" || language == "yaml");
        blocks.map(|(_, text)| text).collect()
    };
    let with: BTreeSet<String> = chapters.filter(|page| !commands(page).is_empty()).collect();
    let typed = PAGES.iter().copied().chain(NOT_TYPED.iter().map(|(page, _)| *page)).map(str::to_owned);
    assert_eq!(
        with,
        typed.collect(),
        "chapters with examples, and those that are typed: add to `pages!` what is new"
    );
    for (page, _) in NOT_TYPED {
        for block in commands(page) {
            for line in block.lines().filter(|line| line.starts_with("heddle ")) {
                // The verbs; what follows them is a name, a file or a remark.
                let words = line.split(' ').skip(1).take(2);
                let words = words.take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
                let output = Command::new(binary()).args(words).arg("--help").output().unwrap();
                assert!(output.status.success(), "{page}: {line}: {output:?}");
            }
        }
    }
}
