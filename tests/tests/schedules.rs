//! Schedules of the real binary: what the guide shows, and ticks that are recorded once however often it is killed.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, bash, workflow};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All runs of a schedule, by the time of their tick.
fn by_tick(server: &Server, schedule: &str) -> BTreeMap<String, Vec<String>> {
    let (mut found, mut cursor) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/runs?limit=200&label=schedule={schedule}{cursor}"));
        assert_eq!(page.status, 200, "{page:?}");
        for run in page.body["items"].as_array().unwrap() {
            let tick = run["labels"]["scheduledAt"].as_str().unwrap().to_owned();
            found.entry(tick).or_default().push(run["id"].as_str().unwrap().to_owned());
        }
        match page.body["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[test]
fn a_tick_is_recorded_once_however_often_the_node_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let body = "schedule: [{id: beat, every: 1s, overlap: allowAll, catchup: 10m}]\nsteps: {a: {set: \"${ run.scheduledAt }\"}}";
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("beat", body));
    assert_eq!(published.status, 201, "{published:?}");
    let id = "test.beat.beat";
    for life in 1..=5 {
        // Two ticks more than before the kill, then the end, in the middle of whatever it does.
        let before = by_tick(&server, id).len();
        server.until(|| (by_tick(&server, id).len() >= before + 2).then_some(()));
        if life % 2 == 0 {
            // Right behind the next acceptance, before the row can say so.
            let seen = by_tick(&server, id).len();
            while by_tick(&server, id).len() == seen {
                std::thread::yield_now();
            }
        }
        server.kill();
        server = Server::start_at(folder.path(), &server.url, &[]);
    }
    let paused = server.post(&format!("/v1/schedules/{id}/pause"), &json!({"reason": "enough"}));
    assert_eq!((paused.status, &paused.body["status"]), (200, &json!("paused")), "{paused:?}");
    // What was owed before the pause is still started.
    let document = server.until(|| {
        let document = server.get(&format!("/v1/schedules/{id}")).body;
        let ticks = document["ticks"].as_array().unwrap();
        ticks.iter().all(|tick| tick["outcome"] == "started").then_some(document)
    });
    assert_eq!(document["paused"]["reason"], "enough");
    let found = by_tick(&server, id);
    assert!(found.len() >= 10, "{found:?}");
    assert!(found.values().all(|runs| runs.len() == 1), "a tick has two runs: {found:?}");
    let seconds: Vec<u64> = found.keys().map(|at| second(at)).collect();
    let steps: Vec<u64> = seconds.windows(2).map(|pair| (pair[1] + 3_600 - pair[0]) % 3_600).collect();
    assert!(steps.iter().all(|step| *step == 1), "a tick was lost: {found:?}");
    for tick in document["ticks"].as_array().unwrap() {
        let (at, run) = (tick["at"].as_str().unwrap(), tick["run"].as_str().unwrap());
        assert_eq!(found[at], [run]);
    }
    let (at, runs) = found.iter().next().unwrap();
    let run = server.ended(&runs[0]);
    assert_eq!((&run["status"], &run["output"]["a"]), (&json!("succeeded"), &json!(at)), "{run}");
}

/// The second of its hour.
fn second(at: &str) -> u64 {
    let number = |from: usize| at[from..from + 2].parse::<u64>().unwrap();
    number(14) * 60 + number(17)
}

#[test]
fn schedules_over_http_and_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let body = "schedule: [{id: rare, cron: \"0 0 29 2 *\", timezone: Europe/Madrid}, {every: 1h}]\nsteps: {a: {set: 1}}";
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("clock", body));
    assert_eq!(published.status, 201, "{published:?}");
    let bad = body.replace("Europe/Madrid", "Europe/Madird");
    let refused = server.post_bytes("/v1/workflows", "application/yaml", workflow("bad", &bad));
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("workflow_invalid")), "{refused:?}");
    assert_eq!(refused.body["errors"][0]["pointer"], "/schedule/0/timezone");
    let listed = server.get("/v1/schedules?limit=1").body;
    assert_eq!(listed["items"][0]["id"], "test.clock.every-1h");
    let next = server.get(&format!("/v1/schedules?cursor={}", listed["cursor"].as_str().unwrap())).body;
    assert_eq!((&next["items"][0]["id"], &next["cursor"]), (&json!("test.clock.rare"), &Value::Null));
    let rare = server.get("/v1/schedules/test.clock.rare").body;
    assert_eq!(rare["next"].as_array().unwrap().len(), 5);
    assert!(rare["next"][0].as_str().unwrap().ends_with("-02-28T23:00:00.000Z"), "{rare}");
    let headers = [("heddle-user", "ada")];
    let paused =
        server.post_with("/v1/schedules/test.clock.rare/pause", &json!({"reason": "why not"}), &headers);
    assert_eq!((&paused.body["paused"]["by"], &paused.body["next"]), (&json!("ada"), &json!([])));
    let run = server.post_with("/v1/schedules/test.clock.rare/trigger", &json!({}), &headers);
    assert_eq!((run.status, &run.body["outcome"]), (202, &json!("started")), "{run:?}");
    let run = server.ended(run.body["run"].as_str().unwrap());
    assert_eq!((&run["by"], &run["labels"]["schedule"]), (&json!("ada"), &json!("test.clock.rare")), "{run}");
    for (path, body, status, code) in [
        ("/v1/schedules/test.clock.none/pause", json!({}), 404, "schedule_not_found"),
        ("/v1/schedules/test.clock.rare/pause", json!({"raison": ""}), 400, "body_invalid"),
        ("/v1/schedules/test.clock.rare/resume", json!({"reason": ""}), 400, "body_invalid"),
        (
            "/v1/schedules/test.clock.rare/backfill",
            json!({"from": "2026-01-01T00:00:00Z"}),
            400,
            "body_invalid",
        ),
        (
            "/v1/schedules/test.clock.rare/backfill",
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}),
            422,
            "backfill_invalid",
        ),
        (
            "/v1/schedules/test.clock.every-1h/backfill",
            json!({"from": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
            422,
            "backfill_invalid",
        ),
    ] {
        let answer = server.post(path, &body);
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{path}: {answer:?}");
    }
    let shown = bash(&server, folder.path(), "heddle --json schedules get test.clock.rare");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["status"], &shown["ticks"][0]["by"]), (&json!("paused"), &json!("ada")), "{shown}");
    let resumed =
        bash(&server, folder.path(), "heddle schedules resume test.clock.rare && heddle schedules ls");
    let text = String::from_utf8_lossy(&resumed.stdout).into_owned();
    assert!(text.contains("0 0 29 2 * Europe/Madrid") && text.contains("active"), "{text}");
    let metrics = server.text("/metrics");
    assert!(metrics.contains("heddle_schedule_ticks_total{outcome=\"started\"} 1"), "{metrics}");
}
