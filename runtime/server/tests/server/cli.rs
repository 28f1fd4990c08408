//! The command line: what is refused before anything is done, and how faults are told to people and to programs.

use crate::program::{GIVES, Place, answer, fake, until};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn flags_that_would_be_passed_over_are_refused() {
    let place = Place::new();
    // A node that counts who comes: nobody may.
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let url = fake(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        None
    });
    for flags in
        [&["--ephemeral"][..], &["--data", "d"], &["--set", "limits.fuel=1"], &["--config", "c.toml"]]
    {
        let said = place.heddle(&[&["run", "gives.yaml", "--server", &url], flags].concat());
        said.is_refused(&[flags[0], "leave", "to run it there"]);
    }
    place
        .heddle(&["run", "gives.yaml", "--listen", "127.0.0.1:0"])
        .is_refused(&["listens nowhere", "heddle serve --listen"]);
    place.heddle(&["run", "gives.yaml", "--ephemeral", "--data", "d"]).is_refused(&["leave one of them out"]);
    place.heddle(&["run", "gives.yaml", "--detach"]).is_refused(&["needs a node", "--server"]);
    place
        .heddle(&["run", "gives.yaml", "--detach", "--pick", "/a", "--server", &url])
        .is_refused(&["--detach"]);
    for command in
        [&["limits", "show"][..], &["config", "show"], &["dev"], &["serve"], &["workflow", "schema"]]
    {
        let said = place.heddle(&[command, &["--server", &url]].concat());
        said.is_refused(&["has no use here", "leave `--server` out"]);
    }
    place.heddle(&["config", "show", "--example", "--origin"]).is_refused(&["--example"]);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert!(!place.path("d").exists() && !place.path(".heddle").exists());
}

#[test]
fn a_flag_for_here_wins_over_the_variable_and_says_so() {
    let place = Place::new();
    let said = place.heddle_with(&["run", "gives.yaml", "--ephemeral"], &[("HEDDLE_SERVER", NOBODY)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("HEDDLE_SERVER") && said.err.contains("is not asked"), "{said:?}");
    let said = place.heddle_with(&["run", "gives.yaml"], &[("HEDDLE_SERVER", NOBODY)]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let said = place.heddle_with(&["runs", "ls"], &[("HEDDLE_SERVER", "nowhere:1")]);
    said.is_refused(&["HEDDLE_SERVER", "did you mean `http://nowhere:1`?"]);
}

#[test]
fn what_cannot_succeed_is_said_before_the_run() {
    let place = Place::new();
    place.write("taken", "");
    for (flags, words) in [
        (&["--pick", "a.b"][..], &["no JSON pointer", "--pick /a/b"][..]),
        (&["--pick", "/a~2"], &["no JSON pointer"]),
        (&["-o", "nowhere/file"], &["cannot be written", "nowhere"]),
        (&["-o", "taken/file"], &["cannot be written"]),
        (&["-o", "."], &["it is a folder"]),
        (&["--plugins", "nowhere"], &["the folder `nowhere` cannot be read"]),
        (&["--arg", "a=1", "--arg", "a=2"], &["given twice", "a list is JSON"]),
        (&["--arg", "=1"], &["no name before its `=`"]),
        (&["--label", "a=1", "--label", "a=2"], &["given twice"]),
        (&["--input", "{"], &["`--input`: not JSON", "--arg key=value"]),
    ] {
        place.heddle(&[&["run", "gives.yaml"], flags].concat()).is_refused(words);
    }
    assert!(!place.path(".heddle").exists(), "nothing was run");
    let said = place.heddle(&["run", "gives.yaml", "--ephemeral", "--arg", "x=1", "--pick", "/b"]);
    assert!(said.err.contains("has nothing at `/b`; it has `/a`"), "{said:?}");
    let file = place.path("out.json");
    let said = place.heddle(&[
        "run",
        "gives.yaml",
        "--ephemeral",
        "--arg",
        "x=1",
        "--pick",
        "/a/x",
        "-o",
        "out.json",
    ]);
    assert_eq!((said.code, std::fs::read_to_string(file).unwrap().trim()), (Some(0), "1"), "{said:?}");
}

#[test]
fn a_folder_of_plugins_is_looked_at_before_a_node_takes_runs() {
    let place = Place::new();
    for command in ["serve", "dev"] {
        let said = place.heddle(&[command, "--plugins", "nowhere", "--listen", "127.0.0.1:0", "--data", "d"]);
        said.is_refused(&["the folder `nowhere` cannot be read", "--plugins FOLDER"]);
        assert!(!said.err.contains("takes work"), "{said:?}");
    }
    assert!(!place.path("d").exists(), "the store was opened");
}

#[test]
fn a_plugin_that_is_none_does_not_go_unsaid() {
    let place = Place::new();
    std::fs::create_dir(place.path("plugins")).unwrap();
    place.write("plugins/x.wasm", "x");
    let _node = place.node_with("d", &["--plugins", "plugins"]);
    until(|| {
        let log = std::fs::read_to_string(place.path("node.log")).unwrap();
        (log.contains("no WebAssembly") && log.contains("x.wasm") && log.contains("no plugin of this folder"))
            .then_some(())
    });
}

#[test]
fn a_folder_that_is_in_use_says_who_could_do_it() {
    let place = Place::new();
    let _node = place.node("d");
    for command in [&["run", "gives.yaml"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let said = place.heddle(&[command, &["--data", "d"]].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("is in use") && said.err.contains("--server http://"), "{said:?}");
    }
    let said = place.heddle(&["doctor", "--data", "d"]);
    assert!(said.out.contains("warn  store") && said.out.contains("is in use"), "{said:?}");
}

#[test]
fn what_a_node_refuses_says_where_and_what_next() {
    let place = Place::new();
    let node = place.node("d");
    place.write("calls.yaml", &GIVES.replace("set: \"${ input }\"", "call: \"tool:nosuch\""));
    let run = place.heddle(&["run", "gives.yaml", "--detach", "--server", &node.url]).out.trim().to_owned();
    for (args, words) in [
        (
            &["runs", "signal", &run, ""][..],
            &["`name` is the name of a signal", "/docs/errors/body_invalid"][..],
        ),
        (
            &["runs", "ls", "--status", "bogus"],
            &["error: `status` is statuses", "/docs/errors/parameter_invalid"],
        ),
        (&["runs", "get", "nope"], &["there is no run `nope`", "`heddle runs ls`"]),
        (&["plugin", "inspect", "nope"], &["no plugin `nope` is loaded", "`heddle plugin ls`"]),
        (&["run", "calls.yaml"], &["no plugin `tool:nosuch@*` is loaded", "heddle plugin push"]),
    ] {
        place.heddle(&[args, &["--server", &node.url]].concat()).is_refused(words);
    }
    place.heddle(&["run", "calls.yaml", "--ephemeral"]).is_refused(&["is loaded", "`--plugins FOLDER`"]);
    let both = r#"{"workflow":"a/b","definition":"x"}"#;
    let told = crate::support::post("/v1/runs", both).is_problem(400, "body_invalid");
    assert!(
        told["detail"].as_str().unwrap().contains("`workflow` and `definition` are both given"),
        "{told}"
    );
}

#[test]
fn an_empty_name_is_none() {
    let place = Place::new();
    for command in [["plugin", "inspect"], ["plugin", "ls"]] {
        place
            .heddle(&[command[0], command[1], ""])
            .is_refused(&["the name of a plugin is empty", "plugin ls"]);
    }
    place.heddle(&["plugin", "inspect", "no.wasm"]).is_refused(&["`no.wasm` is no file"]);
    place.heddle(&["runs", "get", ""]).is_refused(&["the id of a run is missing"]);
    place.heddle(&["serve", "--data", ""]).is_refused(&["`--data` is empty"]);
}

#[test]
fn faults_of_a_workflow_are_data_for_a_program() {
    let place = Place::new();
    let head = "document: {dsl: \"1.0\", namespace: t, name: bad, version: 1.0.0}\n";
    place.write("bad.yaml", &format!("{head}steps: {{a: {{set: 1, wehn: 2}}, b: {{call: x}}}}\n"));
    let said = place.heddle(&["workflow", "validate", "bad.yaml", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(2), ""), "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&report["valid"], &report["error"]["code"]),
        (&Value::Bool(false), &"workflow_invalid".into())
    );
    let errors = report["error"]["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{report}");
    assert_eq!(
        (&errors[0]["file"], &errors[0]["line"], &errors[0]["column"], &errors[0]["pointer"]),
        (&"bad.yaml".into(), &2.into(), &21.into(), &"/steps/a/wehn".into())
    );
    assert!(errors[0]["message"].as_str().unwrap().contains("did you mean `when`?"), "{report}");
    assert_eq!(report["error"]["message"], "`bad.yaml` has 2 faults");
    assert!(report["error"]["next"].is_string(), "{report}");
    // The same faults in the same shape where a run was wanted, from the node and from here.
    let run = place.heddle(&["run", "bad.yaml", "--ephemeral", "--json"]);
    assert_eq!(&run.error()["errors"], &report["error"]["errors"]);
    let said = place.heddle(&["workflow", "validate", "gives.yaml"]);
    assert!(said.err.contains("with 1 step and"), "{said:?}");
}

#[test]
fn every_fault_has_a_code_and_is_json_on_stderr_where_that_was_wanted() {
    let place = Place::new();
    let error = |args: &[&str]| place.heddle(args).error();
    for (args, code, message) in [
        (&["rnu", "--json"][..], "usage", "unrecognized subcommand 'rnu'"),
        (&["--json", "runs", "get"], "usage", "not provided: <ID>"),
        (&["runs", "ls", "--limit", "x", "--json"], "usage", "--limit"),
        (&["workflow", "validate", "no.yaml", "--json"], "usage", "`no.yaml` cannot be read"),
        (&["runs", "ls", "--server", NOBODY, "--json"], "unreachable", "no node answers"),
        (&["run", "a/b", "--ephemeral", "--json"], "workflow_not_found", "no workflow `a/b` is published"),
    ] {
        let found = error(args);
        assert_eq!(found["code"], code, "{found}");
        assert!(found["message"].as_str().unwrap().contains(message), "{found}");
    }
    assert!(error(&["rnu", "--json"])["next"].as_str().unwrap().contains("heddle [OPTIONS] <COMMAND>"));
    let config = error(&["serve", "--set", "nod=a", "--set", "listen=x", "--json"]);
    assert_eq!(config["errors"].as_array().unwrap().len(), 2, "{config}");
    let help = place.heddle(&["run", "--help", "--json"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "help is what was asked for");
    let said = place.heddle(&["rnu"]);
    assert!(said.err.starts_with("error: unrecognized"), "{said:?}");
    let example = place.heddle(&["config", "show", "--example", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&example.out).unwrap();
    assert!(rows.iter().any(|row| row["key"] == "limits.fuel" && row["max"].is_string()), "{example:?}");
}

#[test]
fn a_node_that_hangs_up_is_not_a_node_that_is_not_there() {
    let place = Place::new();
    let url = fake(|_, _| None);
    let hung_up = place.heddle(&["runs", "ls", "--server", &url]);
    assert_eq!(hung_up.code, Some(3), "{hung_up:?}");
    assert!(hung_up.err.contains("took the connection and closed it"), "{hung_up:?}");
    assert!(hung_up.err.contains("limits.connections_per_ip") && !hung_up.err.contains("no node answers"));
    let nobody = place.heddle(&["runs", "ls", "--server", NOBODY]);
    assert!(nobody.err.contains("no node answers") && nobody.err.contains("heddle dev"), "{nobody:?}");
    let url = fake(|_, _| answer("404 Not Found", "", "nothing here"));
    let other = place.heddle(&["runs", "ls", "--server", &url]);
    assert!(other.err.contains("is another program there?"), "{other:?}");
}

const RUN: &str = "01900000-0001-7000-8000-000000000001";

/// A node with one run, whose stream is refused this many times. The run has ended when `ended` streams were refused.
fn busy(times: usize, ended: usize) -> String {
    let mut refused = 0;
    fake(move |path, _| {
        let json = "content-type: application/json\r\n";
        if path.ends_with("/graph") {
            return answer("200 OK", json, r#"{"workflow":"t/w@1.0.0","nodes":[{"id":"a"}]}"#);
        }
        if path.ends_with("/events") && refused < times {
            refused += 1;
            let problem = r#"{"code":"quota_exceeded","detail":"8 streams are open, as many as may be"}"#;
            return answer("429 Too Many Requests", &format!("{json}retry-after: 1\r\n"), problem);
        }
        if path.ends_with("/events") {
            let event = r#"{"time":"2026-11-21T06:00:00.000Z","data":{}}"#;
            let events = format!(
                "id: 1.0\nevent: run.running\ndata: {event}\n\nid: 1.1\nevent: run.succeeded\ndata: {event}\n\n"
            );
            return answer("200 OK", "content-type: text/event-stream\r\n", &events);
        }
        let over = if refused >= ended { r#","finishedAt":"2026-11-21T06:00:00.000Z""# } else { "" };
        let status = if refused >= ended { "succeeded" } else { "running" };
        answer("200 OK", json, &format!(r#"{{"id":"{RUN}","status":"{status}"{over}}}"#))
    })
}

#[test]
fn a_stream_that_is_refused_is_waited_for_and_told_once() {
    let place = Place::new();
    // It is granted at the third try, before the run has ended as far as the document says.
    let said = place.heddle(&["runs", "watch", RUN, "--server", &busy(2, 2)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err.matches("gives no stream of events now").count(), 1, "{said:?}");
    assert!(said.err.contains("8 streams are open") && said.err.contains("every 1 s"), "{said:?}");
    // It is never granted: the run is seen to end all the same.
    let said = place.heddle(&["runs", "watch", RUN, "--server", &busy(usize::MAX, 2)]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains(&format!("run {RUN} has succeeded")), "{said:?}");
}
