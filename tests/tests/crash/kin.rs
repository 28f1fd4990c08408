//! Runs that nobody asked for over HTTP: those that a step of another run waits for, and those of a schedule. Each is
//! there once, for a cause that stands in a journal or on the clock.

use crate::findings::Findings;
use crate::ledger::Listed;
use crate::mix::{Kind, SCHEDULE};
use crate::story::{Place, Story};
use crate::witness::millis;
use heddle_tests::Server;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds from one tick to the next.
const BEAT_MS: u64 = 1_000;

/// A run that a step of another run asked for.
#[derive(Debug)]
pub(crate) struct Child {
    id: String,
    /// The step or item, and its attempt.
    of: (Place, u64),
    status: String,
    output: Value,
    error: String,
}

impl Child {
    /// Whether a step of it was given up after kills, which its parent is not to blame for.
    pub(crate) fn was_given_up(&self) -> bool {
        self.status == "failed" && self.error == "interrupted"
    }
    /// Whether this step or item ended as it did.
    pub(crate) fn is_of(&self, place: &Place) -> bool {
        self.of.0 == *place
    }
}

/// The children of each run.
pub(crate) fn families(
    server: &Server,
    listed: &[Listed],
    findings: &Findings,
) -> BTreeMap<String, Vec<Child>> {
    let mut families: BTreeMap<String, Vec<Child>> = BTreeMap::new();
    for run in listed.iter().filter(|run| run.kind == Kind::Child) {
        let doc = server.get(&format!("/v1/runs/{}", run.id)).body;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parent = &doc["parent"];
        let place = (text(&parent["step"]), parent["item"].as_u64());
        let Some(attempt) = parent["attempt"].as_u64() else {
            findings.note("child_unexplained", format!("{} has no parent", run.id));
            continue;
        };
        families.entry(text(&parent["run"])).or_default().push(Child {
            id: run.id.clone(),
            of: (place, attempt),
            status: text(&doc["status"]),
            output: doc["output"].clone(),
            error: text(&doc["error"]["kind"]),
        });
    }
    for parent in families.keys().filter(|id| !listed.iter().any(|run| run.id == **id)) {
        findings.note("child_unexplained", format!("there is no run {parent}, and it has children"));
    }
    families
}

/// Each attempt has one child or none, each child an attempt that asked for it, and whatever the parent went on from
/// is what its child gave.
pub(crate) fn judge(story: &Story, children: &[Child], findings: &Findings) {
    let id = &story.id;
    let mut by_attempt: BTreeMap<&(Place, u64), &Child> = BTreeMap::new();
    for child in children {
        let before = by_attempt.insert(&child.of, child);
        findings.check(before.is_none(), "child_dup", || format!("{id}: {child:?}, {before:?}"));
        let asked = |fact: &&crate::story::Fact| {
            fact.is_at("attemptStarted", &child.of.0) && fact.attempt() == child.of.1
        };
        let causes = story.facts.iter().filter(asked).count();
        findings.check(causes == 1, "child_unexplained", || {
            format!("{id}: {} has {causes} causes: {child:?}", child.id)
        });
    }
    let runs_others = |place: &Place| story.kind == Kind::Family && matches!(&*place.0, "sub" | "several");
    for fact in story.of("stepSucceeded").filter(|fact| fact.attempt() > 0) {
        let Some(place) = fact.place.clone().filter(runs_others) else { continue };
        let child = by_attempt.get(&(place.clone(), fact.attempt()));
        let given = child.filter(|child| child.status == "succeeded").map(|child| &child.output);
        let n = story.n + place.1.unwrap_or_default();
        findings.check(given.is_some_and(|output| output["n"] == n), "child_lost", || {
            format!("{id}: {place:?} went on from {child:?}")
        });
    }
}

/// Lets the schedule start nothing more, and waits until it has started what it owed.
pub(crate) fn stop(server: &Server) {
    let paused = server.post(&format!("/v1/schedules/{SCHEDULE}/pause"), &json!({"reason": "enough"}));
    assert_eq!(paused.status, 200, "{paused:?}");
    server.until(|| {
        let schedule = server.get(&format!("/v1/schedules/{SCHEDULE}")).body;
        let ticks = schedule["ticks"].as_array()?;
        let started = ticks.iter().all(|tick| tick["outcome"] == "started" || tick["reason"] == "paused");
        (started && schedule["waiting"] == 0).then_some(())
    });
}

/// Every time from the first tick to the last has one run. Gives how many there were.
pub(crate) fn ticks(listed: &[Listed], findings: &Findings) -> usize {
    let mut by_time: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for run in listed.iter().filter(|run| run.kind == Kind::Tick) {
        match &run.tick {
            Some(at) => by_time.entry(millis(&format!("{}.000Z", &at[..19]))).or_default().push(&run.id),
            None => findings.note("tick_dup", format!("{} has no time", run.id)),
        }
    }
    for (at, runs) in by_time.iter().filter(|(_, runs)| runs.len() > 1) {
        findings.note("tick_dup", format!("{at}: {runs:?}"));
    }
    let times: BTreeSet<u64> = by_time.keys().copied().collect();
    let (first, last) = (times.first().copied().unwrap_or(1), times.last().copied().unwrap_or(0));
    for at in (first..=last).step_by(BEAT_MS as usize).filter(|at| !times.contains(at)) {
        findings.note("tick_lost", format!("{at}, between {first} and {last}"));
    }
    times.len()
}
