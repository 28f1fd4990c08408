//! What is counted, and must be zero.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The counters, each with what it means.
const COUNTERS: &[(&str, &str)] = &[
    ("lost_ack", "runs that were acknowledged and are not there"),
    ("dup_run", "requests that made more than one run"),
    ("lost_word", "cancels, signals, decisions, pauses and resumes that were acknowledged and had no effect"),
    ("dup_word", "words that were heard twice"),
    ("not_terminal", "runs that never ended"),
    ("wrong_end", "runs that ended as they should not have"),
    ("terminal_changed", "ends that the next process tells otherwise"),
    ("outcome_missing", "steps and items without an outcome"),
    ("outcome_dup", "steps and items with two"),
    ("effect_missing", "successes that nobody saw"),
    ("effect_unexplained", "effects without their cause in the journal, or whose attempt has no end there"),
    ("effect_again", "effects that were repeated although `onCrash: fail` forbids it, or under one attempt"),
    ("key_changed", "steps whose attempts had different idempotency keys"),
    ("blamed_wrongly", "steps given up that were not in a sandbox at as many kills"),
    ("seq_gap", "journals and event streams that are not whole"),
    ("seq_dup", "events that were told twice"),
    ("timer_early", "retries and waits that ended early"),
    ("began_paused", "attempts that began while their run stood still"),
    ("comp_missing", "what was not undone, or undone twice"),
    ("comp_order", "what was undone in the wrong order"),
    ("child_lost", "runs that a step waited for, went on from and that are not there, or ended otherwise"),
    ("child_dup", "attempts with two runs"),
    ("child_unexplained", "runs of steps that did not ask for them"),
    ("tick_lost", "times of a schedule that had no run"),
    ("tick_dup", "times of a schedule that had two"),
    ("leak", "slots, places in a queue and runs that were not given back"),
];

/// What was found.
#[derive(Default)]
pub(crate) struct Findings(Mutex<BTreeMap<&'static str, Vec<String>>>);

impl Findings {
    pub(crate) fn note(&self, counter: &'static str, what: String) {
        assert!(COUNTERS.iter().any(|(name, _)| *name == counter), "{counter} is not in the table");
        self.0.lock().unwrap().entry(counter).or_default().push(what);
    }
    pub(crate) fn check(&self, holds: bool, counter: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.note(counter, what());
        }
    }
    /// Prints every counter, and ends the test where one is not zero.
    pub(crate) fn judge(&self) {
        let found = self.0.lock().unwrap();
        let count = |name: &str| found.get(name).map_or(0, Vec::len);
        let counters: Vec<String> =
            COUNTERS.iter().map(|(name, _)| format!("{name}={}", count(name))).collect();
        println!("{}", counters.join(" "));
        let mut faults = String::new();
        for (name, means) in COUNTERS.iter().filter(|(name, _)| count(name) > 0) {
            faults.push_str(&format!("{} {means}:\n", count(name)));
            found[name].iter().take(5).for_each(|what| faults.push_str(&format!("  {what}\n")));
        }
        assert!(faults.is_empty(), "{faults}");
    }
}
