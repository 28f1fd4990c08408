//! The stream of a run's events: whole, resumable, ending with the run.

use crate::support::{ask, get, hello};
use serde_json::{Value, json};

fn finished_run(name: &str) -> String {
    let definition: Value = serde_json::from_str(&hello(name, "1.0.0")).unwrap();
    let body = json!({ "definition": definition, "input": { "name": "x" } }).to_string();
    let run = ask("POST", "/v1/runs", &[("Content-Type", "application/json"), ("Prefer", "wait=20")], &body);
    run.json()["id"].as_str().unwrap().to_owned()
}

fn ids(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

#[test]
fn a_stream_tells_the_run_and_ends() {
    let run = finished_run("streamed");
    let answer = get(&format!("/v1/runs/{run}/events"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert!(answer.body.starts_with("retry: 1000\n\n"), "{}", answer.body);
    let kinds: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(kinds.first(), Some(&"run.queued"));
    assert_eq!(kinds.last(), Some(&"run.succeeded"));
    for data in answer.body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let data: Value = serde_json::from_str(data).unwrap();
        assert!(
            data["run"] == run.as_str() && data["time"].is_string() && data["data"].is_object(),
            "{data}"
        );
    }
}

#[test]
fn a_reader_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let run = finished_run("resumed");
    let path = format!("/v1/runs/{run}/events");
    let whole = get(&path).body;
    let all = ids(&whole);
    assert!(all.len() >= 4, "{whole}");
    let (last, earlier) = all.split_last().unwrap();
    for (at, id) in earlier.iter().enumerate() {
        let rest = ask("GET", &path, &[("Last-Event-ID", id)], "").body;
        assert_eq!(ids(&rest), &all[at + 1..], "after {id}");
        assert_eq!(ids(&get(&format!("{path}?after={id}")).body), &all[at + 1..]);
    }
    // Nothing comes after the last: 204 tells a browser not to ask again.
    let over = ask("GET", &path, &[("Last-Event-ID", last)], "");
    assert_eq!((over.status, over.body.as_str()), (204, ""));
    ask("GET", &path, &[("Last-Event-ID", "999.0")], "").is_problem(400, "parameter_invalid");
}
