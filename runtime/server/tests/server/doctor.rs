//! `heddle doctor`: what it finds, what it says to type, and that it leaves everything as it is.

use crate::program::{Node, Place, Said, answer, fake, tamper, until};
use serde_json::Value;
use std::path::Path;

/// The finding of this name, from `--json`.
#[track_caller]
fn finding(said: &Said, name: &str) -> Value {
    let findings: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"));
    findings.into_iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("no {name}: {said:?}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_damaged_journal_is_found_offline_and_named() {
    let place = Place::new();
    for mark in ["mark=damage-me", "mark=leave-me"] {
        assert_eq!(place.heddle(&["run", "gives.yaml", "--data", "a b", "--arg", mark]).code, Some(0));
    }
    let whole = place.heddle(&["doctor", "--data", "a b", "--json"]);
    assert_eq!((whole.code, text(&finding(&whole, "journals")["health"])), (Some(0), "ok"), "{whole:?}");
    tamper(&place.path("a b"), "damage-me", "damage-it");
    let said = place.heddle(&["doctor", "--data", "a b", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let journals = finding(&said, "journals");
    assert_eq!(journals["health"], "bad");
    let details = journals["details"].as_array().unwrap();
    assert_eq!(details.len(), 1, "{journals}");
    assert!(text(&details[0]).contains(": row 1: its checksum does not hold"), "{journals}");
    assert!(text(&journals["fix"]).contains("`cp -a 'a b' 'a b.damaged'`"), "{journals}");
    assert!(text(&journals["fix"]).contains("`heddle serve --data 'a b'`"), "{journals}");
    // For a person it is a report, and a report is on stdout.
    let told = place.heddle(&["doctor", "--data", "a b"]);
    assert_eq!((told.code, told.err.as_str()), (Some(1), ""));
    assert!(
        told.out.contains("bad   journals") && told.out.contains("its checksum does not hold"),
        "{told:?}"
    );
}

#[test]
fn a_folder_without_a_store_stays_without_one() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    let said = place.heddle(&["doctor", "--data", "empty", "--json"]);
    let store = finding(&said, "store");
    assert_eq!((said.code, text(&store["health"])), (Some(1), "bad"), "{said:?}");
    assert!(text(&store["found"]).contains("no store in `empty`"), "{store}");
    assert!(text(&store["fix"]).contains("`heddle serve --data empty`"), "{store}");
    assert_eq!(names(&place.path("empty")), [""; 0]);
    // Before the first start there is nothing wrong with that.
    let before = names(&place.path(""));
    let said = place.heddle(&["doctor", "--set", "listen=127.0.0.1:9", "--json"]);
    assert_eq!((said.code, text(&finding(&said, "store")["health"])), (Some(0), "ok"), "{said:?}");
    assert_eq!(names(&place.path("")), before);
}

#[test]
fn a_database_that_is_gone_is_noticed() {
    let place = Place::new();
    assert_eq!(place.heddle(&["run", "gives.yaml", "--data", "d"]).code, Some(0));
    std::fs::write(place.path("d/heddle.db"), "").unwrap();
    let empty = place.heddle(&["doctor", "--data", "d", "--json"]);
    assert!(text(&finding(&empty, "store")["found"]).contains("`heddle.db` is empty"), "{empty:?}");
    std::fs::remove_file(place.path("d/heddle.db")).unwrap();
    let gone = place.heddle(&["doctor", "--data", "d", "--json"]);
    assert!(text(&finding(&gone, "store")["found"]).contains("`heddle.db` is missing"), "{gone:?}");
    assert_eq!((empty.code, gone.code), (Some(1), Some(1)));
    let run = place.heddle(&["run", "gives.yaml", "--data", "d"]);
    assert!(run.err.contains("`heddle doctor --data d`"), "the advice names the same folder: {run:?}");
    assert!(!place.path("d/heddle.db").exists());
}

#[test]
fn a_folder_that_was_typed_wins_over_a_variable_and_not_over_a_flag() {
    let place = Place::new();
    assert_eq!(place.heddle(&["run", "gives.yaml", "--data", "d"]).code, Some(0));
    let said =
        place.heddle_with(&["doctor", "--data", "d", "--json"], &[("HEDDLE_SERVER", "http://127.0.0.1:9")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(text(&finding(&said, "store")["found"]).starts_with("sqlite d: "), "{said:?}");
    let both = place.heddle(&["doctor", "--data", "d", "--server", "http://127.0.0.1:9"]);
    both.is_refused(&["`--server` asks a node", "leave one of them out"]);
}

/// A node with a run that cannot go on.
fn with_stuck_run(place: &Place) -> (Node, String) {
    let node = place.node("d");
    let args = ["run", "waits.yaml", "--arg", "mark=damage-me", "--detach", "--server"];
    let run = place.heddle(&[&args[..], &[&*node.url]].concat()).out.trim().to_owned();
    until(|| {
        let said = place.heddle(&["runs", "ls", "--status", "waiting", "--server", &node.url]);
        said.out.contains(&run).then_some(())
    });
    drop(node);
    // A look at it moves nothing; a node that starts and ends in order moves the log into the database.
    drop(place.heddle(&["run", "gives.yaml", "--data", "d"]));
    tamper(&place.path("d"), "damage-me", "damage-it");
    let node = place.node("d");
    // Whoever asks gently is told that the run cannot be read; by force the wish is kept, and the node meets the damage.
    let gently = place.heddle(&["runs", "cancel", &run, "--server", &node.url]);
    assert!(gently.err.contains("its checksum does not hold"), "{gently:?}");
    let cancelled = place.heddle(&["runs", "cancel", &run, "--force", "--server", &node.url]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    (node, run)
}

#[test]
fn a_stuck_run_is_damage_and_its_advice_can_be_followed() {
    let place = Place::new();
    let (node, run) = with_stuck_run(&place);
    let said = until(|| {
        let said = place.heddle(&["doctor", "--server", &node.url, "--json"]);
        (finding(&said, "stuck runs")["health"] == "bad").then_some(said)
    });
    assert_eq!(said.code, Some(1), "{said:?}");
    let (stuck, store) = (finding(&said, "stuck runs"), finding(&said, "store"));
    assert!(text(&stuck["details"][0]).contains(&run), "{stuck}");
    assert_eq!(store["health"], "bad", "{store}");
    assert!(!text(&store["found"]).contains("no damage"), "{store}");
    let fix = text(&stuck["fix"]);
    assert!(fix.contains("`heddle doctor --data d`") && !fix.contains("journal RUN"), "{fix}");
    // What is told to be typed does what it is told for.
    drop(node);
    let offline = place.heddle(&["doctor", "--data", "d", "--json"]);
    assert!(text(&finding(&offline, "journals")["details"][0]).contains(&run), "{offline:?}");
}

#[test]
fn the_size_of_a_store_has_its_log_in_it() {
    let place = Place::new();
    let node = place.node("d");
    let said = place.heddle(&["doctor", "--server", &node.url, "--json"]);
    let found = finding(&said, "store");
    let log = std::fs::metadata(place.path("d/heddle.db-wal")).unwrap().len();
    assert!(log > 0);
    assert!(text(&found["found"]).contains(&format!("log {}KiB)", log.div_ceil(1024))), "{found}");
    assert!(text(&finding(&said, "disk")["found"]).contains("on this machine"), "{said:?}");
}

#[test]
fn of_another_machine_no_disk_is_told() {
    let place = Place::new();
    // Its data folder is not here, so it is elsewhere: whatever its address is.
    let report = r#"{"executor":{"slots":[0,16],"runsActive":0,"runsQueued":0,"attemptsQueued":0,"stuck":{}},"store":{"backend":"sqlite","place":"/srv/elsewhere","bytes":4096,"walBytes":0,"runs":{},"damage":[]},"limits":{"runsQueued":10}}"#;
    let url = fake(move |_, _| answer("200 OK", "content-type: application/json\r\n", report));
    let said = place.heddle(&["doctor", "--server", &url, "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(text(&finding(&said, "machine")["found"]).contains("cannot be seen from here"), "{said:?}");
    for name in ["\"disk\"", "\"memory\""] {
        assert!(!said.out.contains(name), "{said:?}");
    }
}
