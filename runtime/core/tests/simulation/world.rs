//! A node, a store that can lose its tail, a witness of what was really started, and now and then a second node.

#[path = "journal.rs"]
mod journal;
#[path = "moving.rs"]
mod moving;
#[path = "others.rs"]
mod others;

use super::checker::{Checker, SUBMITTER};
use super::children::Children;
use super::plans::Case;
use super::report::Report;
use super::rng::Rng;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::journal::{Gate, LeaseStanding, Nature, Refusal, admit};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{Failure, FailureKind, Usage};
use heddle_core::plan::{Plan, Step, Verb};
use heddle_core::run::approval::Decision;
use heddle_core::run::artifact::Artifact;
use heddle_core::run::child::Orphan;
use heddle_core::run::event::{Accepted, Batch, CacheVerdict, Event, Node, Pause, Payload};
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Change, Ended, Entered, Input, Run, Settled, Timer};
use heddle_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

static LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| Arc::new(Limits::default()));
/// Steps of one simulated run; a run that needs more does not end.
const STEPS: u32 = 5_000;
/// Facts of one append.
const MOST: usize = 8;

/// The store: rows up to `durable` survive a crash.
struct Store {
    rows: Vec<Batch>,
    durable: usize,
    epoch: u64,
    checker: Checker,
    max_parallel: u32,
    /// The plans that runs own, by the snapshots that their journals name.
    snapshots: BTreeMap<Digest, Arc<Plan>>,
}

impl Store {
    fn append(&mut self, expected: u64, epoch: u64, batch: Batch) -> Result<Result<(), Refusal>, String> {
        let lease = if epoch == self.epoch { LeaseStanding::Living } else { LeaseStanding::Ended };
        if let Err(refusal) = admit(expected, self.rows.len() as u64, lease) {
            return Ok(Err(refusal));
        }
        if epoch != self.epoch {
            return Err("a row was let in under an ended lease".into());
        }
        if expected != self.rows.len() as u64 {
            return Err("a row was let in that was decided on another journal".into());
        }
        for event in &batch.events {
            self.checker.see(event, batch.at)?;
        }
        let moves = journal::moved_to(&batch).is_some();
        self.rows.push(batch);
        if moves {
            self.check_again()?;
        }
        Ok(Ok(()))
    }
    fn is_durable(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.rows[..self.durable].iter().flat_map(|r| &r.events).any(wanted)
    }
}

/// What a row sends to others when it is committed: children that are to end, and how many events.
type Sent = (Vec<Orphan>, u64);

/// A process that drives the run.
struct Process {
    run: Run,
    gate: Gate<(Node, u32)>,
    values: Values,
    epoch: u64,
    flying: BTreeSet<(Node, u32)>,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Rows handed to the store and not yet answered, with the children that they tell to end.
    queued: Vec<(u64, Batch, Sent)>,
    told_accepted: bool,
}

pub(crate) struct World<'a> {
    case: &'a Case,
    rng: Rng,
    now: Timestamp,
    store: Store,
    process: Process,
    zombie: Option<Process>,
    /// Every attempt that has really been started, and those that have ended.
    started: BTreeSet<(Node, u32)>,
    ended: BTreeSet<(Node, u32)>,
    /// Events that have been sent.
    emitted: u64,
    /// The children that there are.
    children: Children,
    blobs: BTreeMap<Digest, Json>,
    /// The version that it is to go on with, as long as the wish lies in its inbox, and the wishes that have an answer.
    wanted: Option<usize>,
    answered: u64,
    crash_rate: u64,
    report: Report,
}

type Checked<T = ()> = Result<T, String>;

impl<'a> World<'a> {
    pub(crate) fn new(case: &'a Case, seed: u64) -> World<'a> {
        let mut rng = Rng::new(seed ^ 0xABCD);
        let (queue, deadline) = crate::queue::any(&mut rng, Timestamp(1_000));
        let accepted = Accepted {
            tenant: Tenant::default(),
            snapshot: journal::FIRST,
            input: Payload::Inline(case.input.clone()),
            max_parallel: case.max_parallel,
            max_parallel_from: "node".into(),
            by: Some(SUBMITTER.into()),
            labels: Vec::new(),
            traceparent: None,
            parent: None,
            deadline,
            queue,
            rerun: None,
            defaults: None,
        };
        let first = Batch { at: Timestamp(1_000), events: vec![Event::RunAccepted(Arc::new(accepted))] };
        let mut checker = Checker::new(case.plan.clone(), case.max_parallel);
        let _ = checker.see(&first.events[0], first.at);
        let snapshots = BTreeMap::from([(journal::FIRST, case.plan.clone())]);
        let max_parallel = case.max_parallel;
        let store = Store { rows: vec![first], durable: 1, epoch: 1, checker, max_parallel, snapshots };
        let crash_rate = [0, 4, 12, 40][rng.below(4) as usize];
        let process = Process::take(seed, &store).unwrap_or_else(|f| panic!("{f}"));
        World {
            case,
            rng,
            now: Timestamp(1_000),
            store,
            process,
            zombie: None,
            started: BTreeSet::new(),
            ended: BTreeSet::new(),
            emitted: 0,
            children: Children::default(),
            blobs: BTreeMap::new(),
            wanted: None,
            answered: 0,
            crash_rate,
            report: Report { runs: 1, ..Report::default() },
        }
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Checked<Report> {
        self.settle(Input::Taken(Entered::Unknown))?;
        for _ in 0..STEPS {
            if self.process.run.is_finished() && self.process.queued.is_empty() {
                return self.finish();
            }
            self.step()?;
            self.invariants()?;
        }
        Err("the run does not end".into())
    }

    fn finish(mut self) -> Checked<Report> {
        if !self.store.is_durable(|e| matches!(e, Event::RunFinished { .. })) {
            return Err("the end was told and is not durable".into());
        }
        if !self.process.run.pending().is_empty() {
            return Err("a finished run owes something".into());
        }
        self.children.none_is_forgotten(&self.process.run)?;
        self.each_is_sent_once()?;
        self.ends_by_its_plan()?;
        // One in so many is told, since each event goes through a schema.
        if self.rng.once_in(100) {
            self.store.is_told()?;
        }
        for batch in &self.store.rows {
            for event in &batch.events {
                *self.report.events.entry(event.kind()).or_default() += 1;
                if let Event::RunFinished { finish, .. } = event {
                    *self.report.finishes.entry(format!("{finish:?}")).or_default() += 1;
                }
            }
        }
        Ok(self.report)
    }

    fn step(&mut self) -> Checked {
        if self.crash_rate > 0 && self.rng.once_in(self.crash_rate * 2) {
            return self.crash();
        }
        if !self.case.versions.is_empty() && self.is_to_move()? {
            return Ok(());
        }
        if self.rng.once_in(400) {
            let force = self.rng.once_in(3);
            return self.settle(Input::Cancel { by: "sim".into(), reason: "".into(), force });
        }
        if self.rng.once_in(150) {
            return self.settle(Input::Pause(Pause { by: "sim".into(), reason: "".into(), step: None }));
        }
        if self.process.run.paused().is_some() && self.rng.once_in(4) {
            return self.settle(Input::Resume { by: "sim".into() });
        }
        if self.rng.once_in(10) && self.may_be_admitted() {
            self.store.checker.before.admitted = true;
            return self.settle(Input::Admitted);
        }
        if self.rng.once_in(8) {
            return if self.rng.once_in(2) { self.people_decide() } else { self.people_order() };
        }
        if self.rng.once_in(12) {
            let name = if self.rng.once_in(5) { "other" } else { "go" };
            let data = Json::parse(format!("{{\"n\":{}}}", self.rng.below(4)).as_bytes());
            let data = Payload::Inline(data.unwrap_or_else(|_| Json::null()));
            let (name, by) = (name.into(), "sim".into());
            let for_all = self.rng.once_in(3);
            return self.settle(match for_all {
                true => Input::Event { name, data, by },
                false => Input::Signal { name, data, by },
            });
        }
        if let Some(mut zombie) = self.zombie.take() {
            if self.rng.once_in(3) {
                self.zombie_acts(&mut zombie)?;
            }
            if !self.rng.once_in(6) {
                self.zombie = Some(zombie);
            }
        }
        if self.rng.once_in(3) && self.child_ends()? {
            return Ok(());
        }
        match self.rng.below(5) {
            0 if !self.process.queued.is_empty() => self.commit(),
            1 if !self.process.timers.is_empty() && self.rng.once_in(6) => self.time(),
            2 => self.stale(),
            _ if !self.process.flying.is_empty() => self.attempt_ends(),
            _ if !self.process.queued.is_empty() => self.commit(),
            _ if !self.process.timers.is_empty() => self.time(),
            _ if self.children.any_open() || self.process.run.paused().is_some() => Ok(()),
            _ if self.may_be_admitted() => Ok(()),
            _ => Err(format!("a live run owes nothing: {}", self.process.run.status())),
        }
    }

    /// Somebody decides something, whether or not they are asked.
    fn people_decide(&mut self) -> Checked {
        let plan = self.process.run.plan.clone();
        let asks: Vec<&Step> = plan.steps.iter().filter(|s| matches!(s.verb, Verb::Approval(_))).collect();
        let Some(step) = asks.get(self.rng.below(asks.len().max(1) as u64) as usize) else { return Ok(()) };
        let by = ["ana", "bo", "cy"][self.rng.below(3) as usize];
        let groups = if self.rng.once_in(2) { vec!["ops".into()] } else { Vec::new() };
        let approved = !self.rng.once_in(4);
        let decision = Decision { by: by.into(), approved, comment: "".into(), form: None };
        self.settle(Input::Decide { step: step.id.clone(), groups, decision })
    }

    fn invariants(&self) -> Checked {
        let run = &self.process.run;
        // What is kept up to date event by event is what the journal gives afresh.
        if self.process.queued.is_empty() {
            let again = Process::take(run.id.0 as u64, &self.store)?;
            if again.run.pending() != run.pending() || again.run.status() != run.status() {
                let (live, replayed) = (run.pending(), again.run.pending());
                return Err(format!("the live run owes {live:?}, its replay {replayed:?}"));
            }
        }
        let owed = run.pending().iter().filter(|a| !matches!(a, Action::Wake { .. })).count();
        if run.running() as usize != owed {
            return Err(format!("{} attempts are counted, {owed} are owed", run.running()));
        }
        // It takes a whole look at the run, so not at every step.
        match run.events() % 4 {
            0 => crate::why::check(run),
            _ => Ok(()),
        }
    }

    /// The machine loses power: what was not synced is gone, what had been started had been started.
    fn crash(&mut self) -> Checked {
        self.report.crashes += 1;
        self.report.lost_rows += self.process.queued.len() as u64;
        self.store.rows.truncate(self.store.durable);
        self.store.check_again()?;
        self.store.epoch += 1;
        let fresh = Process::take(self.process.run.id.0 as u64, &self.store)?;
        let again = Process::take(self.process.run.id.0 as u64, &self.store)?;
        if fresh.run.pending() != again.run.pending() {
            return Err("two replays of one journal owe different things".into());
        }
        let old = std::mem::replace(&mut self.process, fresh);
        // The old process may only have lost its lease, and not know it.
        if self.rng.once_in(3) {
            self.zombie = Some(old);
        }
        let entered = self.entered();
        let owed = self.process.run.pending().clone();
        self.settle(Input::Taken(entered))?;
        // What was owed is seen to again: nobody knows whether it was.
        for action in owed {
            if let Action::Child { node, attempt } = action {
                self.start(node, attempt)?;
            }
        }
        Ok(())
    }

    /// What the process that went away left behind: nothing that is known, or a part of what it had started.
    fn entered(&mut self) -> Entered {
        if self.rng.once_in(3) {
            return Entered::Unknown;
        }
        let open: Vec<(Node, u32)> = self.started.difference(&self.ended).copied().collect();
        Entered::Only(open.into_iter().filter(|_| self.rng.once_in(2)).collect())
    }

    /// A process without a lease goes on for a while; nothing that it decides may get in.
    fn zombie_acts(&mut self, zombie: &mut Process) -> Checked {
        let Some(&(node, attempt)) = zombie.flying.iter().next() else { return Ok(()) };
        zombie.flying.remove(&(node, attempt));
        let end = Ended::Done(Payload::Inline(Json::null()));
        let mut events = Vec::new();
        let input = Input::AttemptEnded {
            node,
            attempt,
            end,
            cache: CacheVerdict::Off,
            usage: Usage::default(),
            artifacts: vec![],
        };
        let _ = zombie.run.settle(&input, self.now, &zombie.values, MOST, &mut events);
        if events.is_empty() {
            return Ok(());
        }
        let expected = if self.rng.once_in(2) { self.store.rows.len() as u64 } else { zombie.gate.decided() };
        match self.store.append(expected, zombie.epoch, Batch { at: self.now, events })? {
            Ok(()) => Err("a process without a lease wrote".into()),
            Err(_) => {
                self.report.fenced += 1;
                Ok(())
            }
        }
    }

    /// The store makes some of the rows durable and says so.
    fn commit(&mut self) -> Checked {
        let count = 1 + self.rng.below(self.process.queued.len() as u64) as usize;
        for (seq, batch, (orphans, emitted)) in self.process.queued.drain(..count).collect::<Vec<_>>() {
            // Now and then the answer to an earlier question comes late: a row decided on a journal that has moved on.
            if self.rng.once_in(50)
                && self.store.append(seq.saturating_sub(2), self.process.epoch, batch.clone())?.is_ok()
            {
                return Err("a row was let in twice".into());
            }
            if self.store.append(seq - 1, self.process.epoch, batch)?.is_err() {
                return Err("the owner of the run was refused".into());
            }
            self.store.durable = self.store.rows.len();
            self.children.told_to_end(&orphans);
            self.emitted += emitted;
            for (node, attempt) in self.process.gate.committed(seq) {
                self.start(node, attempt)?;
            }
        }
        self.answer()
    }

    /// What a caller may be told now must be durable.
    fn answer(&mut self) -> Checked {
        if self.process.gate.may_tell(self.process.gate.decided()) {
            // One that has ended without having begun was never told to have.
            let began = self.process.run.held_back().is_none() && !self.process.run.is_finished();
            if began
                && !self.process.told_accepted
                && !self.store.is_durable(|e| matches!(e, Event::RunStarted {}))
            {
                return Err("the start was told before it was durable".into());
            }
            self.process.told_accepted = true;
            if self.process.run.is_finished()
                && !self.store.is_durable(|e| matches!(e, Event::RunFinished { .. }))
            {
                return Err("the end was told before it was durable".into());
            }
        }
        Ok(())
    }

    fn time(&mut self) -> Checked {
        let timers: Vec<(Timestamp, Timer)> = self.process.timers.iter().copied().collect();
        let (at, timer) = timers[self.rng.below(timers.len() as u64) as usize];
        if self.rng.once_in(3) {
            // A timer that fires early must mean nothing.
            return self.settle(Input::TimerFired(timer));
        }
        let first = timers[0].0;
        self.now = self.now.max(if self.rng.once_in(4) { at } else { first });
        let due: Vec<Timer> = timers.iter().filter(|(at, _)| *at <= self.now).map(|(_, t)| *t).collect();
        for timer in due {
            self.settle(Input::TimerFired(timer))?;
        }
        Ok(())
    }

    /// The end of an attempt that is long over, or has just been told, is told again.
    fn stale(&mut self) -> Checked {
        let past: Vec<(Node, u32)> = self.ended.iter().copied().collect();
        if past.is_empty() {
            return Ok(());
        }
        self.report.duplicates += 1;
        let (node, attempt) = past[self.rng.below(past.len() as u64) as usize];
        if self.process.flying.contains(&(node, attempt)) {
            return Ok(());
        }
        let input = self.end(node, attempt);
        self.settle(input)
    }

    fn attempt_ends(&mut self) -> Checked {
        let flying: Vec<(Node, u32)> = self.process.flying.iter().copied().collect();
        let (node, attempt) = flying[self.rng.below(flying.len() as u64) as usize];
        self.process.flying.remove(&(node, attempt));
        self.ended.insert((node, attempt));
        self.now = self.now.plus_ms(self.rng.below(50));
        let input = self.end(node, attempt);
        self.settle(input)
    }

    fn end(&mut self, node: Node, attempt: u32) -> Input {
        let mut cache = CacheVerdict::Off;
        let end = match self.rng.below(16) {
            0 | 3 => {
                Ended::Failed(Failure { retryable: true, ..Failure::new(FailureKind::GuestError, "asked") })
            }
            1 => Ended::Failed(Failure::new(FailureKind::Trap, "asked")),
            2 => {
                let value =
                    Json::parse(format!("{{\"n\":{attempt}}}").as_bytes()).unwrap_or_else(|_| Json::null());
                let (digest, size) = (value.digest(), value.size() as u64);
                self.blobs.insert(digest, value);
                cache = CacheVerdict::Miss { key: digest };
                Ended::Done(Payload::Stored { digest, size })
            }
            _ => Ended::Done(Payload::Inline(Json::null())),
        };
        let artifact = Artifact {
            name: "file".into(),
            media_type: "text/plain".into(),
            digest: Digest::of(b"file"),
            size: u64::from(attempt),
        };
        let artifacts = if self.rng.once_in(4) { vec![artifact] } else { Vec::new() };
        Input::AttemptEnded { node, attempt, end, cache, usage: Usage::default(), artifacts }
    }

    /// What the driver does with an input.
    fn settle(&mut self, input: Input) -> Checked {
        let mut input = input;
        loop {
            let mut events = Vec::new();
            let settled = self
                .process
                .run
                .settle(&input, self.now, &self.process.values, MOST, &mut events)
                .map_err(|e| e.to_string())?;
            input = Input::Advance;
            for (digest, json) in self.process.run.take_made() {
                self.blobs.insert(digest, json.clone());
                self.process.values.insert(digest, json);
            }
            for event in &events {
                if let Event::StepSucceeded { node, attempt, .. } | Event::AttemptFailed { node, attempt, .. } =
                    event
                    && *attempt > 0
                    && !self.ended.contains(&(*node, *attempt))
                {
                    return Err(format!("{node:?} has an outcome of attempt {attempt}, which has not ended"));
                }
            }
            if !events.is_empty() {
                let seq = self.process.gate.handed_over();
                let sent = (self.process.run.take_orphans(), self.process.run.take_emitted().len() as u64);
                self.process.queued.push((seq, Batch { at: self.now, events }, sent));
            }
            match settled {
                Settled::Quiet => break,
                Settled::More => {}
                Settled::Needs(digests) => {
                    for digest in digests {
                        let value = self.blobs.get(&digest).ok_or("a value was never kept")?.clone();
                        self.process.values.insert(digest, value);
                    }
                }
            }
        }
        self.act()?;
        self.answer()
    }

    fn act(&mut self) -> Checked {
        for change in self.process.run.take_changes() {
            match change {
                Change::Owed(Action::Wake { timer, at }) => drop(self.process.timers.insert((at, timer))),
                Change::Dropped(Action::Wake { timer, at }) => drop(self.process.timers.remove(&(at, timer))),
                Change::Owed(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => {
                    let nature = self.process.run.plan.nature_of(node.step);
                    if let Some((node, attempt)) = self.process.gate.ask(nature, (node, attempt)) {
                        self.start(node, attempt)?;
                    }
                }
                Change::Dropped(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => {
                    self.process.gate.retain(|held| *held != (node, attempt));
                    self.process.flying.remove(&(node, attempt));
                }
            }
        }
        Ok(())
    }

    /// The witness: an effect that begins must have a durable cause.
    fn start(&mut self, node: Node, attempt: u32) -> Checked {
        if let Some(run) = self.process.run.child_of(node, attempt) {
            return self.start_child(run, node, attempt);
        }
        if !self.process.run.pending().contains(&Action::Invoke { node, attempt }) {
            return Ok(());
        }
        if !Checker::calls(&self.process.run.plan, node) {
            return Err(format!("{node:?} calls nothing and was started"));
        }
        if self.process.run.plan.nature_of(node.step) == Nature::Effect {
            self.report.effects += 1;
            let caused = |e: &Event| matches!(e, Event::AttemptStarted { node: n, attempt: a, .. } if *n == node && *a == attempt);
            if !self.store.is_durable(caused) {
                return Err(format!(
                    "the effect of {node:?} attempt {attempt} began without a durable cause"
                ));
            }
            if !self.started.insert((node, attempt)) {
                return Err(format!("the effect of {node:?} attempt {attempt} began twice"));
            }
        }
        // A pure attempt whose record was lost with the tail may begin again under the same number.
        self.ended.remove(&(node, attempt));
        self.process.flying.insert((node, attempt));
        Ok(())
    }
}

impl Process {
    fn take(id: u64, store: &Store) -> Checked<Process> {
        let (plan, rows) = store.told(&store.rows[..store.durable])?;
        let run =
            Run::replay(RunId(u128::from(id)), plan, LIMITS.clone(), &*rows).map_err(|e| e.to_string())?;
        let timers = run.pending().iter().filter_map(|a| match *a {
            Action::Wake { timer, at } => Some((at, timer)),
            Action::Invoke { .. } | Action::Child { .. } => None,
        });
        Ok(Process {
            gate: Gate::new(rows.len() as u64),
            timers: timers.collect(),
            values: Values::default(),
            epoch: store.epoch,
            flying: BTreeSet::new(),
            queued: Vec::new(),
            told_accepted: false,
            run,
        })
    }
}
