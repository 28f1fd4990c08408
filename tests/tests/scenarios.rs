//! The stories of `tests/scenarios`, told to the real binary over HTTP with SQLite: the same files as the core and the
//! executor are told. A bundled component plays each tool, by the story's script; time is real. A third of them at
//! least must be told; each of the others is printed with the reason.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]

#[path = "scenarios/cast.rs"]
mod cast;
#[path = "../../runtime/core/tests/scenario/expect.rs"]
mod expect;
#[path = "../../runtime/core/tests/scenario/file.rs"]
#[allow(dead_code, reason = "time is real here")]
mod file;

use cast::{Told, cast};
use expect::{Fault, Outcome, Shown, faults, refusal_faults};
use file::{SUBMITTER, Scenario, Word, all};
use heddle_core::json::Json;
use heddle_core::run::orders::Wish;
use heddle_core::value::Value;
use heddle_tests::{Answer, Server};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a story may be told before it must end as its file says.
const TELLINGS: u32 = 2;
/// Stories that are told at the same time.
const TELLERS: usize = 16;
/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much later than it should something may be, on two busy cores.
const LATE: Duration = Duration::from_secs(15);

/// What happens at its time: somebody says something, or looks.
enum Next<'a> {
    Said(&'a Word),
    Seen(&'a Value),
}

struct Teller<'a> {
    server: &'a Server,
    scenario: &'a Scenario,
    told: &'a Told,
}

impl Teller<'_> {
    /// What is not as the file says.
    fn tell(&self) -> Vec<String> {
        for workflow in &self.told.workflows {
            let published =
                self.server.post_text("/v1/workflows", Json::from_value(workflow.clone()).text(), &[]);
            assert!(matches!(published.status, 200 | 201), "{}: {published:?}", self.scenario.file);
        }
        let (definition, input) = (self.told.workflow.clone(), self.scenario.input.value().clone());
        let answer = self.post("/v1/runs", &[("definition", definition), ("input", input)], SUBMITTER, &[]);
        if answer.status != 202 {
            return refusal_faults(&self.told.expect, &said(&answer.body));
        }
        let (run, since) = (answer.body["id"].as_str().unwrap().to_owned(), Instant::now());
        let mut wrong = Vec::new();
        let words = self.scenario.outside.iter().map(|(at, word)| (*at, Next::Said(word)));
        let looks = self.scenario.seen.iter().map(|(at, look)| (*at, Next::Seen(look)));
        let mut agenda: Vec<(u64, Next<'_>)> = words.chain(looks).collect();
        agenda.sort_by_key(|(at, _)| *at);
        for (at, next) in agenda {
            let at = Duration::from_millis((at as f64 / self.told.pace) as u64);
            std::thread::sleep(at.saturating_sub(since.elapsed()));
            match next {
                Next::Said(word) => self.say(&run, word),
                Next::Seen(look) => wrong.extend(self.look(&run, look, at)),
            }
        }
        if !self.ends(&run) {
            let why = self.server.get(&format!("/v1/runs/{run}/why")).body;
            return vec![format!("it has not ended after {:?}: {why}", since.elapsed())];
        }
        wrong.extend(faults(&self.told.expect, &self.outcome(&run)));
        wrong
    }

    /// Whether it ends within the patience of the tests.
    fn ends(&self, run: &str) -> bool {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if self.server.get(&format!("/v1/runs/{run}")).body["finishedAt"].is_string() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// It looks like this, as soon as whatever was on its way has come to be.
    fn look(&self, run: &str, look: &Value, at: Duration) -> Vec<String> {
        let since = Instant::now();
        loop {
            let differ = faults(look, &self.outcome(run));
            if differ.is_empty() || since.elapsed() > LATE {
                return differ.iter().map(|fault| format!("after {at:?}: {fault}")).collect();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn post(&self, path: &str, body: &[(&str, Value)], by: &str, groups: &[Arc<str>]) -> Answer {
        let groups = groups.join(",");
        let body = Json::from_value(Value::map(body.iter().cloned()));
        let answer =
            self.server.post_text(path, body.text(), &[("heddle-user", by), ("heddle-groups", &groups)]);
        // What is refused is refused; the file says what comes of it.
        assert!(answer.status < 500, "{}: {answer:?}", self.scenario.file);
        answer
    }

    fn say(&self, run: &str, word: &Word) {
        let of = |what: &str| format!("/v1/runs/{run}/{what}");
        let data = |json: &Json| json.value().clone();
        let text = |text: &Arc<str>| Value::String(text.clone());
        let ops: Arc<str> = "ops".into();
        let (path, body, by, groups) = match word {
            Word::Signal { name, data: json } => {
                (of("signal"), vec![("name", text(name)), ("data", data(json))], &ops, &[][..])
            }
            Word::Event { .. } => panic!("events reach every story"),
            Word::Cancel { force } => (of("cancel"), vec![("force", Value::Bool(*force))], &ops, &[][..]),
            Word::Pause => (of("pause"), Vec::new(), &ops, &[][..]),
            Word::Resume => (of("resume"), Vec::new(), &ops, &[][..]),
            Word::Order { step, groups, order } => {
                let (what, more) = match &order.what {
                    Wish::Retry { input } => {
                        ("retry", input.as_ref().map(|input| ("input", self.told.input(input))))
                    }
                    Wish::Skip { value } => ("skip", Some(("value", data(value)))),
                    Wish::Fail {} => ("fail", None),
                    Wish::Cancel {} => ("cancel", None),
                };
                let body = [("comment", text(&order.comment))].into_iter().chain(more).collect();
                (of(&format!("steps/{step}/{what}")), body, &order.by, groups.as_slice())
            }
            Word::Decide { step, by, groups, approved, form, comment } => {
                let decision = if *approved { "approve" } else { "reject" };
                let mut body = vec![("decision", Value::text(decision)), ("comment", text(comment))];
                body.extend(form.as_ref().map(|form| ("form", data(form))));
                (format!("/v1/approvals/{run}.{step}"), body, by, groups.as_slice())
            }
        };
        self.post(&path, &body, by, groups);
    }

    /// What came of it so far.
    fn outcome(&self, run: &str) -> Outcome {
        let doc =
            Json::parse(self.server.text(&format!("/v1/runs/{run}")).as_bytes()).unwrap().value().clone();
        let json = |of: &Value, key: &str| {
            of.get(key)
                .filter(|value| !matches!(value, Value::Null))
                .map(|value| Json::from_value(value.clone()))
        };
        let steps = list(&doc, "steps").map(|step| {
            let counts = match step.get("items") {
                Some(Value::Map(counts)) => {
                    counts.iter().map(|(word, n)| (word.to_string(), n.clone())).collect()
                }
                _ => Vec::new(),
            };
            let shown = Shown {
                status: text(step, "status").unwrap_or_default(),
                output: json(step, "output"),
                reason: text(step, "reason"),
                attempts: list(step, "attempts").filter_map(|attempt| text(attempt, "status")).collect(),
                failure: step.get("error").and_then(fault),
                items: counts.into_iter().filter_map(|(word, n)| Some((word, n.as_f64()? as u32))).collect(),
                hint: json(step, "hint"),
            };
            (text(step, "id").unwrap_or_default(), shown)
        });
        let has_ended = doc.get("finishedAt").is_some();
        Outcome {
            status: text(&doc, "status").unwrap_or_default(),
            output: json(&doc, "output"),
            error: doc.get("error").and_then(fault),
            steps: steps.collect(),
            began: if has_ended { self.began(run) } else { Vec::new() },
            took: doc.get("durationMs").and_then(Value::as_f64).unwrap_or_default() as u64,
            late: LATE.as_millis() as u64,
        }
    }

    /// Attempts in the order in which they began; one whose input could not be computed did not.
    fn began(&self, run: &str) -> Vec<String> {
        let events = self.server.events(run, None);
        let name = |event: &serde_json::Value| {
            let (data, item) = (&event["data"], event["data"]["item"].as_u64());
            let item = item.map_or_else(String::new, |item| format!("/{item}"));
            format!("{}{item}#{}", data["step"].as_str().unwrap_or_default(), data["attempt"])
        };
        let of = |wanted: &'static str| {
            events.iter().filter(move |(_, kind, _)| kind == wanted).map(|(.., event)| event)
        };
        let never =
            of("attempt.failed").filter(|event| event["data"]["error"]["kind"] == "expression_failed");
        let never: Vec<String> = never.map(name).collect();
        of("attempt.started").map(name).filter(|name| !never.contains(name)).collect()
    }
}

fn fault(error: &Value) -> Option<Fault> {
    let message = text(error, "message").unwrap_or_default();
    Some(Fault { kind: text(error, "kind")?, step: text(error, "step"), message })
}

fn text(of: &Value, key: &str) -> Option<String> {
    of.get(key)?.as_str().map(str::to_owned)
}

fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    match of.get(key) {
        Some(Value::List(items)) => items.iter(),
        _ => [].iter(),
    }
}

/// A refusal in words: what it says in all, and each place with what is wrong there.
fn said(problem: &serde_json::Value) -> Vec<String> {
    let places = problem["errors"].as_array().into_iter().flatten();
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let places = places.map(|place| format!("{}: {}", text(place, "pointer"), text(place, "message")));
    places.chain([text(problem, "detail")]).collect()
}

#[test]
fn a_third_of_the_scenarios_end_over_http_as_their_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_RUNS_MAX_PARALLEL", "64")]);
    for name in ["actor", "identity"] {
        server.push(heddle_tests::plugin(name));
    }
    let scenarios = all();
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut told = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        match cast(scenario, number) {
            Ok(cast) => told.push((scenario, cast)),
            Err(reason) => reasons.entry(reason).or_default().push(&scenario.file),
        }
    }
    // The long ones first, so that nobody waits for one of them in the end.
    told.sort_by_key(|(scenario, _)| std::cmp::Reverse(scenario.outside.len() + scenario.seen.len()));
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TELLERS {
            scope.spawn(|| {
                while let Some((scenario, told)) = told.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let teller = Teller { server: &server, scenario, told };
                    // Two things that end at nearly the same time may end in another order on a busy machine. What is
                    // wrong is wrong every time.
                    let faults = (0..TELLINGS).map(|_| teller.tell()).find(Vec::is_empty);
                    let faults = faults.unwrap_or_else(|| teller.tell());
                    let faults =
                        faults.iter().map(|fault| format!("{} ({}): {fault}", scenario.file, told.space()));
                    wrong.lock().unwrap().extend(faults);
                }
            });
        }
    });
    println!("{} of {} scenarios are told over HTTP", told.len(), scenarios.len());
    for (reason, files) in &reasons {
        println!("{} not, because {reason}: {}", files.len(), files.join("; "));
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    assert!(told.len() >= 170 && told.len() * 3 >= scenarios.len(), "only {} are told", told.len());
}
