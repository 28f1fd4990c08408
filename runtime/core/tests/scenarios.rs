#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
//! The scenarios of `tests/scenarios`, told to the bare core: a clock that jumps, and attempts that do what the file
//! says. A crash here forgets the state and reads the journal again.

#[path = "scenario/expect.rs"]
mod expect;
#[path = "scenario/file.rs"]
mod file;
#[path = "scenario/view.rs"]
mod view;

use expect::{Outcome, faults, refusal_faults};
use file::{Act, ActEnd, START, SUBMITTER, Scenario, Word, all};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{Failure, FailureKind, Usage};
use heddle_core::plan::{Plan, Verb};
use heddle_core::run::approval::Decision;
use heddle_core::run::event::{Accepted, Batch, CacheVerdict, Event, Node, Pause, Payload, Queueing};
use heddle_core::run::queue;
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Change, Ended, Entered, Input, Run, Settled, Timer};
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens next: by time, and among the same times in the order in which it was decided.
#[derive(Debug)]
enum Next {
    Ends(Node, u32, Act, Json),
    Timer(Timer),
    Outside(Word),
    /// Somebody looks at the run, and expects this.
    Seen(Value),
}

struct Teller<'a> {
    scenario: &'a Scenario,
    run: Run,
    plan: Arc<Plan>,
    limits: Arc<Limits>,
    values: Values,
    now: Timestamp,
    journal: Vec<Batch>,
    agenda: BTreeMap<(Timestamp, u64), Next>,
    count: u64,
    began: Vec<String>,
    /// What was not as expected on the way.
    wrong: Vec<String>,
}

fn name(plan: &Plan, node: Node) -> String {
    let id = &plan.steps[node.step as usize].id;
    node.item.map_or_else(|| id.to_string(), |item| format!("{id}/{item}"))
}

impl Teller<'_> {
    /// The run at its beginning, or what the refusal of its workflow or its input says.
    fn new(scenario: &Scenario) -> Result<Teller<'_>, Vec<String>> {
        let limits = Arc::new(Limits::default());
        let plan = Plan::read(&scenario.workflow, None, &limits).map_err(said)?;
        let plan = Arc::new(plan);
        let input = plan.accept_input(&scenario.input).map_err(said)?;
        let mut accepted = Accepted {
            tenant: Tenant::default(),
            snapshot: Digest::of(b""),
            input: Payload::Inline(input.clone()),
            max_parallel: plan.max_parallel.unwrap_or(64),
            max_parallel_from: "node".into(),
            by: Some(SUBMITTER.into()),
            labels: Vec::new(),
            traceparent: None,
            parent: None,
            deadline: None,
            defaults: None,
            queue: None,
            rerun: None,
        };
        let admission = queue::admission(&plan, (RunId(7), &accepted), &input, &limits);
        accepted.deadline = admission.as_ref().ok().and_then(|admission| admission.deadline);
        let queue::Admission { slots, place, .. } = admission.map_err(|fault| vec![fault.to_string()])?;
        if !slots.is_empty() {
            accepted.queue = Some(Box::new(Queueing { start_at: None, slots, place }));
        }
        let first = Batch { at: START, events: vec![Event::RunAccepted(Arc::new(accepted))] };
        let mut run = Run::new(RunId(7), plan.clone(), limits.clone());
        run.apply(&first.events[0], START).unwrap();
        let words = scenario.outside.iter().map(|(at, word)| (*at, Next::Outside(word.clone())));
        let looks = scenario.seen.iter().map(|(at, look)| (*at, Next::Seen(look.clone())));
        let outside = words.chain(looks).enumerate();
        let agenda = outside.map(|(order, (at, next))| ((START.plus_ms(at), order as u64), next)).collect();
        Ok(Teller {
            scenario,
            run,
            plan,
            limits,
            values: Values::default(),
            now: START,
            journal: vec![first],
            agenda,
            count: 1_000,
            began: Vec::new(),
            wrong: Vec::new(),
        })
    }

    /// What is not as its file says.
    fn tell(mut self) -> Vec<String> {
        self.settle(Input::Taken(Entered::Unknown));
        // Nobody else wants them.
        self.settle(Input::Admitted);
        while !self.run.is_finished() {
            let Some(((at, _), next)) = self.agenda.pop_first() else {
                panic!("{}: nothing happens any more: {}", self.scenario.file, self.run.status())
            };
            self.now = self.now.max(at);
            self.take(next);
        }
        for next in self.agenda.values() {
            if let Next::Seen(look) = next {
                self.wrong.push(format!("it ended before anybody saw {look:?}"));
            }
        }
        self.wrong.extend(faults(&self.scenario.expect, &self.outcome()));
        self.wrong
    }

    fn outcome(&self) -> Outcome {
        view::outcome(&self.run.view(), self.began.clone(), self.now.since_ms(START))
    }

    fn take(&mut self, next: Next) {
        let input = match next {
            Next::Timer(timer) => Input::TimerFired(timer),
            Next::Outside(word) => spoken(word),
            Next::Seen(look) => {
                let at = self.now.since_ms(START);
                let differ = faults(&look, &self.outcome());
                self.wrong.extend(differ.iter().map(|fault| format!("after {at} ms: {fault}")));
                return;
            }
            Next::Ends(_, _, Act { end: ActEnd::Crash, .. }, _) => return self.crash(),
            Next::Ends(node, attempt, act, echo) => {
                let end = match act.end {
                    ActEnd::Fail(failure) => Ended::Failed(failure),
                    ActEnd::Output(json) => Ended::Done(Payload::Inline(json)),
                    ActEnd::Echo | ActEnd::Crash => Ended::Done(Payload::Inline(echo)),
                };
                Input::AttemptEnded {
                    node,
                    attempt,
                    end,
                    cache: CacheVerdict::Off,
                    usage: Usage::default(),
                    artifacts: vec![],
                }
            }
        };
        self.settle(input);
    }

    /// Everything that is not in the journal is gone.
    fn crash(&mut self) {
        self.run = Run::replay(RunId(7), self.plan.clone(), self.limits.clone(), &self.journal).unwrap();
        let plan = self.plan.clone();
        let child = |node: &Node| matches!(plan.steps[node.step as usize].verb, Verb::Workflow(_));
        self.agenda.retain(|_, next| match next {
            Next::Outside(_) | Next::Seen(_) => true,
            // A run of its own goes on.
            Next::Ends(node, ..) => child(node),
            Next::Timer(_) => false,
        });
        for action in self.run.pending().clone() {
            if let Action::Wake { timer, at } = action {
                self.note(at, Next::Timer(timer));
            }
        }
        self.settle(Input::Taken(Entered::Unknown));
    }

    fn note(&mut self, at: Timestamp, next: Next) {
        self.count += 1;
        self.agenda.insert((at, self.count), next);
    }

    fn settle(&mut self, mut input: Input) {
        loop {
            let mut events = Vec::new();
            let settled = self.run.settle(&input, self.now, &self.values, 256, &mut events).unwrap();
            input = Input::Advance;
            for (digest, json) in self.run.take_made() {
                self.values.insert(digest, json);
            }
            if !events.is_empty() {
                self.journal.push(Batch { at: self.now, events });
            }
            if settled == Settled::Quiet {
                break;
            }
        }
        for change in self.run.take_changes() {
            match change {
                Change::Owed(Action::Wake { timer, at }) => self.note(at, Next::Timer(timer)),
                Change::Dropped(Action::Wake { timer, .. }) => {
                    self.agenda.retain(|_, next| !matches!(next, Next::Timer(known) if *known == timer));
                }
                Change::Owed(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => {
                    self.begin(node, attempt)
                }
                Change::Dropped(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => self
                    .agenda
                    .retain(|_, next| !matches!(next, Next::Ends(n, a, ..) if *n == node && *a == attempt)),
            }
        }
    }

    fn begin(&mut self, node: Node, attempt: u32) {
        let name = name(&self.plan, node);
        let input = match self.run.child_of(node, attempt) {
            Some(_) => self.run.wanted_child(node, attempt, &self.values).map(|wanted| wanted.input),
            None => self.run.input_of(node, &self.values),
        };
        let (act, echo) = match input {
            Err(failure) => (Act { takes: 0, end: ActEnd::Fail(failure) }, Json::null()),
            Ok(input) => {
                self.began.push(format!("{name}#{attempt}"));
                (file::act_of(self.scenario, &name, attempt), input)
            }
        };
        let act = self.in_time(node, act);
        self.note(self.now.plus_ms(act.takes), Next::Ends(node, attempt, act, echo));
    }

    /// An attempt that would outlive its `timeout.run` is ended by whoever runs it.
    fn in_time(&self, node: Node, act: Act) -> Act {
        match self.plan.steps[node.step as usize].timeouts.run {
            Some(run) if act.takes > run.0 => {
                let failure = Failure::new(FailureKind::DeadlineExceeded, format!("not done within {run}"));
                Act { takes: run.0, end: ActEnd::Fail(failure) }
            }
            _ => act,
        }
    }
}

/// A refusal in words.
fn said<Fault: ToString>(faults: Vec<Fault>) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

fn spoken(word: Word) -> Input {
    let by: Arc<str> = "ops".into();
    match word {
        Word::Signal { name, data } => Input::Signal { name, data: Payload::Inline(data), by },
        Word::Event { name, data } => Input::Event { name, data: Payload::Inline(data), by },
        Word::Cancel { force } => Input::Cancel { by, reason: "".into(), force },
        Word::Pause => Input::Pause(Pause { by, reason: "".into(), step: None }),
        Word::Resume => Input::Resume { by },
        Word::Order { step, groups, order } => Input::Order { step, groups, order },
        Word::Decide { step, by, groups, approved, form, comment } => {
            Input::Decide { step, groups, decision: Decision { by, approved, comment, form } }
        }
    }
}

#[test]
fn every_scenario_ends_as_its_file_says() {
    let scenarios: Vec<Scenario> = all().into_iter().filter(|story| story.workflows.is_empty()).collect();
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let faults = match Teller::new(scenario) {
            Ok(teller) => teller.tell(),
            Err(said) => refusal_faults(&scenario.expect, &said),
        };
        for fault in faults {
            wrong.push(format!("{}: {fault}", scenario.file));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} faults in {} scenarios:\n{}",
        wrong.len(),
        scenarios.len(),
        wrong.join("\n")
    );
    assert!(scenarios.len() >= 450, "{} scenarios", scenarios.len());
}
