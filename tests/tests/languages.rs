//! Plugins in five languages, of each kind, as their authors make them: `heddle new`, the language's own toolchain,
//! `heddle build`, `test` and `check`, and a run in a workflow at a node. With the clocks and the randomness of each kind.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[allow(dead_code, reason = "shared with the tests of what plugins do outside")]
use heddle_tests::author::{built, project, succeeds, typed, with_toolchain};
use heddle_tests::model::{RETRIED, Twelve, configured, every_point};
use heddle_tests::service::Service;
use heddle_tests::{Server, workflow};
use serde_json::{Value, json};
use std::path::Path;

const KINDS: [&str; 3] = ["transform", "tool", "agent"];
/// 2000-01-01T00:00:00Z in milliseconds: what a transform takes to be now.
const FIXED: i64 = 946_684_800_000;

/// A source whose output is the time and a random number.
struct Telling {
    language: &'static str,
    /// The file, and its text with `FUNCTION`.
    file: &'static str,
    source: &'static str,
}

fn step(kind: &str, name: &str, with: &str) -> String {
    match kind {
        "agent" => format!("agent: {{use: {name}, goal: {with}}}"),
        kind => format!("call: \"{kind}:{name}\", with: {with}"),
    }
}

/// From `heddle new` to a run, for each kind; then with a source that tells the time and a random number.
fn every_kind(telling: &Telling) {
    let folder = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[]);
    for kind in KINDS {
        let project = project(folder.path(), telling.language, kind);
        let name = project.file_name().unwrap().to_str().unwrap();
        if telling.language == "python" && kind != "tool" {
            // It is the same interpreter, and compiling it takes a while: what comes next shows these kinds as well.
            tells_the_time(&server, telling, kind, &project, name);
            continue;
        }
        let tested = succeeds(&project, &["test"]);
        assert!(tested.contains("✓ greets") && tested.contains("✓ nobody"), "{tested}");
        server.push(built(&project));
        let here = ["run", "workflow.yaml", "--plugins", "build", "--arg", "name=Bo", "--ephemeral"];
        if telling.language != "python" {
            assert!(succeeds(&project, &here).contains("Hello, Bo!"), "as its own page says");
        }
        let definition = std::fs::read_to_string(project.join("workflow.yaml")).unwrap();
        let run = server.run(&definition, json!({ "name": "Ada" }));
        assert_eq!(run["output"], "Hello, Ada!", "{run}");
        tells_the_time(&server, telling, kind, &project, name);
    }
}

/// The clocks and the randomness of the kind, by the means of the language.
fn tells_the_time(server: &Server, telling: &Telling, kind: &str, project: &Path, name: &str) {
    let function = match kind {
        "transform" => "apply",
        "tool" => "call",
        _ => "run",
    };
    let is_agent = kind == "agent" && telling.language == "c";
    let source = telling.source.replace("FUNCTION", function).replace("KIND", kind).replace("SAME", name);
    let source = source.replace("STATE", if is_agent { ", heddle_text state" } else { "" });
    std::fs::write(project.join(telling.file), source).unwrap();
    let manifest = project.join(if telling.language == "rust" { "Cargo.toml" } else { "plugin.toml" });
    let text = std::fs::read_to_string(&manifest).unwrap().replacen("0.1.0", "0.2.0", 1);
    let text = match text.split_once("[output]") {
        Some((before, _)) => format!("{before}[output]\ntype = \"object\"\n"),
        None => text,
    };
    std::fs::write(&manifest, text).unwrap();
    server.push(built(project));
    let body = format!(
        "steps: {{a: {{{0}, cache: off}}, b: {{{0}, cache: off}}}}\noutput: {{as: \"${{ [steps.a.output, steps.b.output] }}\"}}",
        step(kind, name, "{name: x}")
    );
    let run = server.run(&workflow("telling", &body), json!({}));
    let outputs = run["output"].as_array().unwrap_or_else(|| panic!("{run}"));
    let began = run["startedAt"].as_str().unwrap();
    for output in outputs {
        let now = output["now"].as_i64().unwrap_or_else(|| panic!("{run}"));
        match kind {
            "transform" => assert_eq!(now / 1_000, FIXED / 1_000, "{run}"),
            _ => assert!(now > 1_700_000_000_000, "{began}: {run}"),
        }
    }
    let is_same = outputs[0]["random"] == outputs[1]["random"];
    assert_eq!(is_same, kind == "transform", "randomness is fixed for transforms only: {run}");
}

#[test]
fn javascript() {
    let source = "export function FUNCTION() {\n  return { now: Date.now(), random: Math.random() };\n}\n";
    every_kind(&Telling { language: "js", file: "plugin.js", source });
}

#[test]
fn typescript() {
    let source = "interface Told { now: number; random: number }\nexport function FUNCTION(): Told {\n  return { now: Date.now(), random: Math.random() };\n}\n";
    every_kind(&Telling { language: "ts", file: "plugin.ts", source });
}

#[test]
fn python() {
    let source = "import random, time\n\ndef FUNCTION(*given):\n    return {\"now\": int(time.time() * 1000), \"random\": random.random()}\n";
    every_kind(&Telling { language: "python", file: "plugin.py", source });
}

#[test]
fn c() {
    let source = "#include \"heddle.h\"\n#include <stdio.h>\n#include <time.h>\n#include <unistd.h>\n\nstatic char output[256];\n\nheddle_result FUNCTION(heddle_text input STATE) {\n  unsigned random = 0;\n  getentropy(&random, sizeof random);\n  snprintf(output, sizeof output, \"{\\\"now\\\":%lld,\\\"random\\\":%u}\", (long long)time(NULL) * 1000, random);\n  return heddle_done(output);\n}\n";
    every_kind(&Telling { language: "c", file: "plugin.c", source });
}

#[test]
fn rust() {
    let source = "//! Tells the time.\n\nuse heddle_sdk::prelude::*;\nuse std::time::{SystemTime, UNIX_EPOCH};\n\n/// Whatever.\n#[derive(Debug, Deserialize, JsonSchema)]\nstruct Input {\n    #[allow(dead_code)]\n    name: String,\n}\n\n/// What is told.\n#[derive(Debug, Serialize, JsonSchema)]\nstruct Output {\n    now: u64,\n    random: u64,\n}\n\n/// Tell.\n///\n/// Tells the time.\n#[heddle_sdk::KIND(name = \"SAME\")]\nfn tell(_: Input) -> Result<Output, Failure> {\n    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;\n    Ok(Output { now, random: random::next_u64() })\n}\n";
    every_kind(&Telling { language: "rust", file: "src/lib.rs", source });
}

/// What the SDK brings of the host: values that the plugin keeps, its context, failures that say when to come back.
fn keeps(language: &str, file: &str, source: &str) {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), language, "tool");
    let manifest = std::fs::read_to_string(project.join("plugin.toml")).unwrap();
    let (before, _) = manifest.split_once("[output]").unwrap();
    let manifest = before.replace("uses = []", "uses = [\"kv\", \"artifacts\"]");
    let more = "[output]\ntype = \"object\"\n\n[limits]\nwall-ms = 5000\n";
    std::fs::write(project.join("plugin.toml"), format!("{manifest}{more}")).unwrap();
    std::fs::write(project.join(file), source).unwrap();
    let grant = format!(
        "[grants.\"tool:{}\"]\nkv = true\nartifacts = true\n",
        project.file_name().unwrap().to_str().unwrap()
    );
    std::fs::write(project.join("heddle.toml"), grant).unwrap();
    std::fs::remove_dir_all(project.join("tests")).unwrap();
    std::fs::create_dir(project.join("tests")).unwrap();
    let case = |name: &str, text: &str| std::fs::write(project.join("tests").join(name), text).unwrap();
    case(
        "1-keeps.yaml",
        "input: {name: x}\noutput: {value: \"2é\", code: kv_conflict, sum: 5, keys: [a, n], missing: true, removed: true, key: true, item: true, file: [n.md, \"é\", artifacts_invalid]}\n",
    );
    case("2-again.yaml", "input: {name: again}\noutput: {sum: 10}\n");
    case(
        "3-later.yaml",
        "input: {name: later}\nfailure: {kind: guest_error, code: busy, message: come back, retryable: true, retryAfterMs: 1500, data: {a: 1}}\n",
    );
    let tested = succeeds(&project, &["test"]);
    assert_eq!(tested.matches('✓').count(), 3, "{tested}");
    let checked: Value = serde_json::from_str(&succeeds(&project, &["check", "--json"])).unwrap();
    assert_eq!(checked["plugin"]["limits"]["wallMs"], 5_000, "{checked}");
}

#[test]
fn javascript_keeps_values() {
    let source = r#"import { Failure, artifacts, context, kv } from "heddle";
export function call({ name }) {
  if (name === "later") throw Failure.rateLimited(1500, "busy", "come back", { a: 1 });
  if (name === "again") return { sum: kv.increment("n", 5) };
  const { idempotencyKey, item } = context.current();
  kv.set("a", "1");
  const { version } = kv.get("a");
  kv.setIf("a", "2é", version, 60000);
  let code;
  try {
    kv.setIf("a", "3", version);
  } catch (failure) {
    code = failure.code;
  }
  const said = { value: kv.get("a").text(), code, sum: kv.increment("n", 5), keys: kv.keys() };
  const missing = kv.get("nothing") === undefined;
  const kept = artifacts.put("n.md", "text/markdown", "é");
  const file = [kept.name, artifacts.get(kept.digest).text()];
  try {
    artifacts.get("nonsense");
  } catch (failure) {
    file.push(failure.code);
  }
  return { ...said, file, missing, removed: kv.remove("a"), key: idempotencyKey.length > 36, item: item === undefined };
}
"#;
    keeps("js", "plugin.js", source);
}

#[test]
fn python_keeps_values() {
    let source = r#"from heddle import Failure, artifacts, context, kv


def call(input):
    if input["name"] == "later":
        raise Failure("busy", "come back", {"a": 1}, retry_after_ms=1500)
    if input["name"] == "again":
        return {"sum": kv.increment("n", 5)}
    current = context.current()
    kv.set("a", b"1")
    version = kv.get("a").version
    kv.set_if("a", "2é".encode(), version, 60000)
    code = None
    try:
        kv.set_if("a", b"3", version)
    except Failure as failure:
        code = failure.code
    said = {"value": kv.get("a").value.decode(), "code": code, "sum": kv.increment("n", 5), "keys": kv.keys("")}
    missing = kv.get("nothing") is None
    kept = artifacts.put("n.md", "text/markdown", "é".encode())
    file = [kept.name, artifacts.get(kept.digest).decode()]
    try:
        artifacts.get("nonsense")
    except Failure as failure:
        file.append(failure.code)
    return {**said, "file": file, "missing": missing, "removed": kv.delete("a"), "key": len(current.idempotency_key) > 36,
            "item": current.item is None}
"#;
    keeps("python", "plugin.py", source);
}

/// Calls of the outside are recorded beside the case, without a secret, and answered from there when the service is gone.
#[test]
fn a_test_needs_its_service_once() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), "js", "tool");
    let service = Service::start();
    let at = service.url("");
    let with = |file: &str, text: &str| std::fs::write(project.join(file), text).unwrap();
    let manifest = std::fs::read_to_string(project.join("plugin.toml")).unwrap();
    let (before, _) = manifest.split_once("[output]").unwrap();
    let manifest = before.replace("uses = []", "uses = [\"http\", \"secret\", \"config\", \"kv\"]");
    with("plugin.toml", &format!("{manifest}[output]\ntype = \"object\"\n"));
    let source = r#"import { config, context, http, kv, secret } from "heddle";
export function call({ name }) {
  const headers = { authorization: `Bearer ${secret.get("api-key")}`, "idempotency-key": context.current().idempotencyKey };
  const answer = http.post(`${config.get("at")}/echo`, { name }, { headers });
  return { status: answer.status, said: answer.text().includes("Ada"), calls: kv.increment("calls") };
}
"#;
    with("plugin.js", source);
    with("key.txt", "s3cr3t-value-of-42");
    let settings = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\napi-key = \"file:key.txt\"\n[grants.\"tool:greet-js-tool\"]\nhttp = [\"POST {at}\"]\nsecrets = [\"api-key {at}\"]\nkv = true\nconfig = '{{\"at\": \"{at}\"}}'\n"
    );
    with("heddle.toml", &settings);
    std::fs::remove_file(project.join("tests/nobody.yaml")).unwrap();
    with("tests/greets.yaml", "input: {name: Ada}\noutput: {status: 200, said: true, calls: 1}\n");
    succeeds(&project, &["test", "--record"]);
    let came = service.came().len();
    assert_eq!(came, 1, "it was asked");
    let tape = std::fs::read_to_string(project.join("tests/greets.calls.json")).unwrap();
    assert!(
        !tape.contains("s3cr3t") && tape.contains("SECRET(api-key)") && tape.contains("RUN/call"),
        "{tape}"
    );
    let replayed = succeeds(&project, &["test"]);
    assert!(replayed.contains("✓ greets") && service.came().len() == came, "nobody is asked: {replayed}");
    // Not even the secret is needed.
    std::fs::remove_file(project.join("key.txt")).unwrap();
    succeeds(&project, &["test"]);
    with("plugin.js", &source.replace("/echo", "/other"));
    let (is_done, said) = typed(&project, &["test"]);
    assert!(!is_done && said.contains("asked what is not recorded") && said.contains("--record"), "{said}");
    with("plugin.js", "export const call = () => ({ status: 200, said: true, calls: 1 });\n");
    let (is_done, said) = typed(&project, &["test"]);
    assert!(!is_done && said.contains("did not ask what is recorded"), "{said}");
    with("tests/greets.calls.json", "[{]");
    let (is_done, said) = typed(&project, &["test"]);
    assert!(!is_done && said.contains("greets.calls.json"), "{said}");
}

/// What an author mistypes, and what is told.
#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |at: &Path, words: &[&str], says: &[&str]| {
        let (is_done, text) = typed(at, words);
        assert!(!is_done, "{words:?}: {text}");
        says.iter().for_each(|says| assert!(text.contains(says), "{words:?} says `{says}`: {text}"));
    };
    fails(folder.path(), &["new", "Greet"], &["no name of a plugin"]);
    fails(folder.path(), &["build"], &["neither `plugin.toml` nor `Cargo.toml`", "heddle new"]);
    succeeds(folder.path(), &["new", "greet", "--language", "js"]);
    fails(folder.path(), &["new", "greet", "--language", "c"], &["is there already"]);
    let greet = folder.path().join("greet");
    fails(&greet, &["build"], &["esbuild is missing", "next: `npm install`"]);
    with_toolchain(&greet, "js");
    let manifest = std::fs::read_to_string(greet.join("plugin.toml")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        std::fs::write(greet.join("plugin.toml"), manifest.replace(from, to)).unwrap();
    };
    with("uses = []", "uses = [\"htp\"]");
    fails(&greet, &["build"], &["a tool may use `http`", "`htp`"]);
    with("name = \"greet\"", "name = \"../greet\"");
    fails(&greet, &["build"], &["no name of a plugin"]);
    with("kind = \"tool\"", "knd = \"tool\"");
    fails(&greet, &["build"], &["plugin.toml", "knd"]);
    // What is not named is not there; when it is, an operator has to grant it.
    with("uses = []", "uses = []");
    let source =
        "import { http } from \"heddle\";\nexport const call = (input) => http.get(input.name).status;\n";
    std::fs::write(greet.join("plugin.js"), source).unwrap();
    fails(&greet, &["build"], &["esbuild", "No matching export", "http"]);
    with("uses = []", "uses = [\"http\"]");
    let checked = succeeds(&greet, &["check"]);
    assert!(checked.contains("[grants.\"tool:greet\"]") && checked.contains("http = ["), "{checked}");
    fails(&greet, &["test"], &["uses `http`, which nobody has granted"]);
    std::fs::write(greet.join("plugin.js"), "export const call = async () => 1;\n").unwrap();
    with("uses = []", "uses = []");
    std::fs::write(greet.join("tests/greets.yaml"), "input: {name: a}\nfailure: {code: promise}\n").unwrap();
    std::fs::write(greet.join("tests/nobody.yaml"), "input: {name: a}\noutput: 2\n").unwrap();
    fails(&greet, &["test"], &["✓ greets", "✗ nobody", "1 of 2 cases failed"]);
    // What goes in is a value, whatever it looks like, and `null` is one that may come out.
    let source = "export const call = (input) => (input.name === \"null\" ? null : { said: input.name });\n";
    std::fs::write(greet.join("plugin.js"), source).unwrap();
    let (before, _) = manifest.split_once("[output]").unwrap();
    std::fs::write(greet.join("plugin.toml"), format!("{before}[output]\n")).unwrap();
    let case = |name: &str, text: &str| std::fs::write(greet.join("tests").join(name), text).unwrap();
    case("greets.yaml", "input: {name: \"${ 1 + 1 } $${x\"}\noutput: {said: \"${ 1 + 1 } $${x\"}\n");
    case("nobody.yaml", "input: {name: \"null\"}\noutput: null\n");
    succeeds(&greet, &["test"]);
    case("nobody.yaml", "input: {name: a}\nfailure: no_name\n");
    fails(&greet, &["test"], &["nobody.yaml", "is no case"]);
    case("nobody.yaml", "input: {name: a}\nfailure: {code: no_output}\n");
    std::fs::write(greet.join("plugin.js"), "export const call = () => () => 1;\n").unwrap();
    fails(&greet, &["test"], &["✓ nobody"]);
    succeeds(&greet, &["build", "-o", "plugins"]);
    assert!(greet.join("plugins/greet.wasm").is_file());
    fails(&greet, &["test", "--plugins", "plugins"], &["`--plugins` has no use here"]);
    // A transform that is none.
    succeeds(folder.path(), &["new", "pure", "--language", "js", "--kind", "transform"]);
    let pure = folder.path().join("pure");
    with_toolchain(&pure, "js");
    let checked = succeeds(&pure, &["check", "--json", "--input", "{\"name\": \"a\"}"]);
    let checked: Value = serde_json::from_str(&checked).unwrap();
    assert_eq!((&checked["twice"]["same"], &checked["plugin"]["kind"]), (&json!(true), &json!("transform")));
}

/// An agent in this language that asks models: `kill -9` at each point of twelve calls, and nothing is paid twice.
fn asks_models(language: &str, file: &str, source: &str) {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let project = project(folder.path(), language, "agent");
    let name = project.file_name().unwrap().to_str().unwrap();
    std::fs::write(project.join(file), source).unwrap();
    let manifest = std::fs::read_to_string(project.join("plugin.toml")).unwrap();
    std::fs::write(
        project.join("plugin.toml"),
        manifest.replace("uses = []", "uses = [\"model\", \"artifacts\"]"),
    )
    .unwrap();
    let twelve = Twelve::start();
    configured(data.path(), &[("stub", &twelve.url("/v1"), "openai")], &twelve.grants(name));
    let mut server = Server::with_plugins(data.path(), &["http_fetch"]);
    server.push(built(&project));
    let body = format!(
        "steps: {{ask: {{agent: {{use: {name}, goal: {{name: all}}, tools: [\"tool:http-fetch\"]}}, {RETRIED}}}}}\noutput: {{as: \"${{ steps.ask.output }}\"}}"
    );
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("asking", &body));
    assert_eq!(published.status, 201, "{published:?}");
    for point in every_point() {
        let (_, ended) = twelve.killed(&mut server, data.path(), ("test/asking", json!({})), point);
        assert_eq!(ended["output"], json!({ "greeting": "done after eleven", "letters": 11 }), "{ended}");
    }
}

#[test]
fn an_agent_in_javascript_pays_nothing_twice() {
    asks_models(
        "js",
        "plugin.js",
        r#"import { artifacts, checkpoint, model, tools } from "heddle";

// All that it can see of the world goes into what it asks: told again, it must see the same. Half way it hands on what it
// has, and begins afresh.
export function run(goal, state) {
  const thread = new model.Thread();
  for (const message of state?.messages ?? []) thread.append(message);
  const specs = tools.list().map((tool) => ({ name: model.wireName(tool.name), parameters: tool.inputSchema }));
  let called = state?.called ?? 0;
  for (;;) {
    if (called === 6 && state === undefined) return checkpoint({ called, messages: thread.messages });
    artifacts.put(`note-${called}.txt`, "text/plain", String(called));
    thread.user(JSON.stringify([Date.now(), Math.random(), model.budget(), model.models(), goal.name]));
    const said = thread.complete({ tools: specs });
    if (said.calls.length === 0) return { greeting: said.text, letters: called };
    for (const call of said.calls) {
      thread.answer(call, JSON.stringify(tools.call("tool:http-fetch", JSON.parse(call.arguments))));
      called += 1;
    }
  }
}
"#,
    );
}

#[test]
fn an_agent_in_python_pays_nothing_twice() {
    asks_models(
        "python",
        "plugin.py",
        "from heddle import model\n\n\ndef run(goal, state=None):\n    assert model.models() == [\"fast\"]\n    thread = model.Thread()\n    thread.system(\"be brief\")\n    thread.user(goal[\"name\"])\n    said = model.converse(thread)\n    return {\"greeting\": said.text, \"letters\": model.budget().calls - 1}\n",
    );
}
