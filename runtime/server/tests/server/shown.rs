//! What commands show when all is well, and what they show of what is not: read as a person and as a program reads it.

use crate::program::{Place, tamper, until};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn limits_are_shown_with_their_values_and_where_these_come_from() {
    let place = Place::new();
    place.write("c.toml", "[limits]\nfan_out = 7\n");
    let flags = ["--config", "c.toml", "--set", "limits.signals=9"];
    let said = place.heddle(&[&["limits", "show"], &flags[..]].concat());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let row =
        |name: &str| said.out.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
    assert!(said.out.lines().next().unwrap().starts_with("LIMIT"), "{}", said.out);
    assert!(row("fan_out").contains(" 7 ") && row("fan_out").contains("c.toml"), "{}", row("fan_out"));
    assert!(row("signals").contains(" 9 ") && row("signals").contains("--set"), "{}", row("signals"));
    assert!(
        row("memory_bytes").contains("128MiB") && row("memory_bytes").contains("default"),
        "{}",
        row("memory_bytes")
    );
    assert!(row("interventions").contains("1000"), "{}", row("interventions"));
    let rows = json(&place.heddle(&[&["limits", "show", "--json"], &flags[..]].concat()).out);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), heddle_core::limits::TABLE.len());
    let fan_out = rows.iter().find(|row| row["name"] == "fan_out").unwrap();
    assert_eq!(
        (&fan_out["value"], &fan_out["max"], &fan_out["unit"]),
        (&7.into(), &10_000.into(), &"count".into())
    );
    assert!(fan_out["origin"].as_str().unwrap().contains("c.toml"), "{fan_out}");
}

#[test]
fn settings_are_shown_with_their_origins() {
    let place = Place::new();
    place.write("c.toml", "listen = \"127.0.0.1:7001\"\n");
    let said = place.heddle_with(
        &["config", "show", "--origin", "--config", "c.toml", "--set", "workers.at_once=3"],
        &[("HEDDLE_TELEMETRY_LEVEL", "debug")],
    );
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let row = |name: &str| {
        let found = said.out.lines().find(|line| line.starts_with(&format!("{name} ")));
        found.unwrap_or_else(|| panic!("no {name} in {}", said.out)).to_owned()
    };
    for (name, value, origin) in [
        ("listen", "127.0.0.1:7001", "c.toml"),
        ("workers.at_once", "3", "--set"),
        ("telemetry.level", "debug", "HEDDLE_TELEMETRY_LEVEL"),
        ("data", "", "default"),
    ] {
        assert!(row(name).contains(value) && row(name).contains(origin), "{}", row(name));
    }
    assert!(said.out.lines().next().unwrap().contains("ORIGIN"), "{}", said.out);
}

const UNDOES: &str = "document: {dsl: \"1.0\", namespace: t, name: undoes, version: 1.0.0}
steps:
  a: {set: {id: 7}, compensate: {set: \"${ input.nothing }\", hint: {text: refund it, command: refund 7, link: \"https://x.example/7\"}}}
  b: {set: \"${ [1][5] }\", dependsOn: [a]}
";

#[test]
fn a_workflow_is_drawn_and_published_from_its_file() {
    let place = Place::new();
    place.write("undoes.yaml", UNDOES);
    let mermaid = place.heddle(&["workflow", "graph", "undoes.yaml"]);
    assert_eq!((mermaid.code, mermaid.err.as_str()), (Some(0), ""), "{mermaid:?}");
    assert!(mermaid.out.starts_with("flowchart TD\n") && mermaid.out.contains("a --> b"), "{}", mermaid.out);
    assert!(mermaid.out.contains("a -. \"undone by\" .-> a.compensate"), "{}", mermaid.out);
    assert!(mermaid.out.contains(":::undoes") && mermaid.out.contains("classDef undoes"), "{}", mermaid.out);
    let dot = place.heddle(&["workflow", "graph", "undoes.yaml", "--format", "dot"]).out;
    assert!(dot.contains("\"a\" -> \"a.compensate\" [style=dotted, label=\"undone by\"]"), "{dot}");
    let graph = json(&place.heddle(&["workflow", "graph", "undoes.yaml", "--format", "json"]).out);
    let undoing =
        graph["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "a.compensate").unwrap();
    assert_eq!(undoing["undoes"], "a", "{graph}");
    let edge = serde_json::json!({"from": "a", "to": "a.compensate", "accepts": [], "kind": "undoes"});
    assert!(graph["edges"].as_array().unwrap().contains(&edge), "{graph}");

    let node = place.node("d");
    let publish = |flags: &[&str]| {
        place.heddle(&[&["workflow", "publish", "undoes.yaml", "--server", &node.url], flags].concat())
    };
    let said = publish(&[]);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (Some(0), "t/undoes@1.0.0\n", ""),
        "{said:?}"
    );
    let again = json(&publish(&["--json"]).out);
    assert_eq!((&again["name"], &again["status"]), (&"undoes".into(), &"active".into()), "{again}");
    let listed = place.heddle(&["workflow", "ls", "--server", &node.url]);
    assert!(listed.out.contains("t/undoes") && listed.out.contains("1.0.0"), "{listed:?}");
}

#[test]
fn what_was_not_undone_is_told_with_what_to_do_by_hand() {
    let place = Place::new();
    place.write("undoes.yaml", UNDOES);
    let node = place.node("d");
    let server = ["--server", &*node.url];
    let run =
        place.heddle(&[&["run", "undoes.yaml", "--detach"], &server[..]].concat()).out.trim().to_owned();
    assert_eq!(place.heddle(&[&["runs", "watch", &run], &server[..]].concat()).code, Some(1));
    let told = "a was not undone: refund it; `refund 7`; https://x.example/7";
    for command in ["get", "why"] {
        let said = place.heddle(&[&["runs", command, &run], &server[..]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("compensationFailed") && said.out.contains(told), "{}", said.out);
    }
    let why = json(&place.heddle(&[&["runs", "why", &run, "--json"], &server[..]].concat()).out);
    assert_eq!(
        (&why["steps"][0]["step"], &why["steps"][0]["hint"]["command"]),
        (&"a".into(), &"refund 7".into()),
        "{why}"
    );
    let graph = place.heddle(&[&["runs", "graph", &run], &server[..]].concat()).out;
    assert!(
        graph.contains(":::compensationFailed") && graph.contains("classDef compensationFailed"),
        "{graph}"
    );
    assert!(graph.contains("a -. \"undone by\" .-> a.compensate"), "{graph}");
}

#[test]
fn a_run_whose_index_row_is_damaged_takes_nothing_from_the_list() {
    let place = Place::new();
    for label in ["team=damage-me", "team=leave-me"] {
        assert_eq!(place.heddle(&["run", "gives.yaml", "--data", "d", "--label", label]).code, Some(0));
    }
    tamper(&place.path("d"), "\"damage-me\"]]", "\"damage-me\"]}");
    let node = place.node("d");
    let said = place.heddle(&["runs", "ls", "--server", &node.url]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("unreadable") && said.out.contains("t/gives@1.0.0"), "{}", said.out);
    assert!(said.err.contains("cannot be read") && said.err.contains("`heddle doctor`"), "{}", said.err);
    let page = json(&place.heddle(&["runs", "ls", "--json", "--server", &node.url]).out);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{page}");
    assert_eq!(
        (&items[0]["status"], &items[1]["status"]),
        (&"succeeded".into(), &"unreadable".into()),
        "{page}"
    );
    assert_eq!(items[1]["id"].as_str().unwrap().len(), 36, "{page}");
    assert!(items[1]["createdAt"].as_str().unwrap().starts_with("20"), "{page}");
    // The page for a browser has it, too.
    let html = until(|| Some(reqwest_get(&node.url)));
    assert!(html.contains("unreadable") && html.contains("t/gives@1.0.0"), "{html}");
}

fn reqwest_get(url: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_approval_after_the_steps_says_what_ends_it_first() {
    let place = Place::new();
    place.write(
        "last.yaml",
        "document: {dsl: \"1.0\", namespace: t, name: last, version: 1.0.0}\nsteps: {a: {set: 1}}\nfinally: {ask: {approval: {assignees: [bo]}}}\n",
    );
    let node = place.node("d");
    let server = ["--server", &*node.url];
    let run = place.heddle(&[&["run", "last.yaml", "--detach"], &server[..]].concat()).out.trim().to_owned();
    let why = until(|| {
        let said = place.heddle(&[&["runs", "why", &run], &server[..]].concat()).out;
        said.contains("approval").then_some(said)
    });
    assert!(why.contains("by the limit aftermath_ms") && why.contains("14m"), "{why}");
}
