//! A schedule, its row and its nodes, with a crash before or after any write, a clock that jumps, and a second node
//! that believes what is no longer so. After each seed every tick has been decided exactly once.

#![allow(clippy::unwrap_used, reason = "tests")]

use heddle_core::document::Doc;
use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::schedule_of;
use heddle_core::schedule::machine::{Bounds, Fact, Input, Order, decide, wake};
use heddle_core::schedule::state::{State, Tick};
use heddle_core::schedule::{Overlap, Schedule};
use heddle_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

struct Rng(u64);
impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How a node works: as it should, or with a fault that must be found.
#[derive(Clone, Copy, PartialEq)]
enum Node {
    Sound,
    /// Starts what it has decided before the decision is written.
    StartsBeforeItWrites,
    /// Asks for runs without a key.
    WithoutKeys,
    /// Writes whatever the row has become.
    WithoutVersions,
}

struct Run {
    tick: Tick,
    tracked: bool,
    ends: u64,
    ended: bool,
}

/// What is on disk, and the runs there are.
struct World {
    schedule: Schedule,
    bounds: Bounds,
    now: u64,
    row: (u64, State),
    keys: BTreeMap<String, RunId>,
    runs: BTreeMap<RunId, Run>,
    /// What was committed, by tick: how often it was decided to run, and to be let go.
    owed: BTreeMap<Tick, u32>,
    gone: BTreeMap<Tick, u32>,
    passed: Vec<(u64, u64)>,
    rng: Rng,
    node: Node,
}

/// A process: what it believes of the row.
struct Process {
    seen: (u64, State),
}

/// The process dies here.
struct Crash;

impl World {
    fn new(seed: u64, node: Node) -> World {
        let mut rng = Rng(seed);
        let overlap = Overlap::WORDS[rng.below(5) as usize].0;
        let jitter = if rng.one_in(2) { ", jitter: 20s" } else { "" };
        let timing = if rng.one_in(3) { "cron: \"*/2 * * * *\"" } else { "every: 1m" };
        let entry = format!("{{{timing}, overlap: {overlap}, catchup: {}s{jitter}}}", 60 + rng.below(900));
        let doc = Doc::parse(&entry, &Limits::default()).unwrap();
        let start = 1_795_000_000_000 + rng.below(1 << 30);
        World {
            schedule: schedule_of("sim.one", &Json::from_value(doc.value())).unwrap(),
            bounds: Bounds { buffer: 1 + rng.below(5), backfill: 5, history: 3 },
            now: start,
            row: (1, State::since(Timestamp(start))),
            keys: BTreeMap::new(),
            runs: BTreeMap::new(),
            owed: BTreeMap::new(),
            gone: BTreeMap::new(),
            passed: Vec::new(),
            rng,
            node,
        }
    }

    fn crash(&mut self, one_in: u64) -> Result<(), Crash> {
        if one_in > 0 && self.rng.one_in(one_in) { Err(Crash) } else { Ok(()) }
    }

    /// Writes what follows from an input, if nobody else has written meanwhile.
    fn tell(&mut self, process: &mut Process, input: &Input, risk: u64) -> Result<(), Crash> {
        let now = Timestamp(self.now);
        let (version, state) = &process.seen;
        let Ok(facts) = decide(&self.schedule, &self.bounds, state, input, now) else { return Ok(()) };
        if facts.is_empty() {
            return Ok(());
        }
        let mut state = state.clone();
        for fact in &facts {
            state.apply(fact, now, &self.bounds);
        }
        if self.node == Node::StartsBeforeItWrites {
            for owed in state.starting.clone() {
                self.submit(&owed.tick, owed.tracked);
            }
        }
        self.crash(risk)?;
        if self.row.0 == *version || self.node == Node::WithoutVersions {
            for fact in &facts {
                self.committed(fact);
            }
            self.row = (self.row.0 + 1, state);
            assert!(self.row.1.buffer.len() as u64 <= self.bounds.buffer, "the buffer is past its bound");
        }
        self.crash(risk)?;
        process.seen = self.row.clone();
        Ok(())
    }

    fn committed(&mut self, fact: &Fact) {
        match fact {
            Fact::Owed { tick, .. } => {
                *self.owed.entry(tick.clone()).or_default() += 1;
                if tick.asked.is_none() && !self.row.1.buffer.iter().any(|w| w.tick == *tick) {
                    let fires = self.schedule.fires_at(tick.at);
                    assert!(fires.0 <= self.now, "a tick came early");
                    assert!(self.now - fires.0 <= self.schedule.catchup.0, "a tick came too late");
                }
            }
            Fact::Skipped(tick, _) => *self.gone.entry(tick.clone()).or_default() += 1,
            Fact::Passed { first, several, until, .. } => {
                self.passed.push((first.0, if several.more { until.0 } else { several.last.0 }));
            }
            _ => {}
        }
    }

    /// The store accepts one run for a key.
    fn submit(&mut self, tick: &Tick, tracked: bool) -> RunId {
        let key = match self.node {
            Node::WithoutKeys => format!("{}", self.runs.len()),
            _ => tick.key(&self.schedule.id),
        };
        if let Some(run) = self.keys.get(&key) {
            return *run;
        }
        let open = self.runs.values().filter(|run| run.tracked && !run.ended).count();
        assert!(!tracked || open == 0, "two runs beside each other");
        let run = RunId(self.runs.len() as u128 + 1);
        let ends = self.now + self.rng.below(200_000);
        self.runs.insert(run, Run { tick: tick.clone(), tracked, ends, ended: false });
        self.keys.insert(key, run);
        run
    }

    /// All that a node does when it looks at the schedule.
    fn turn(&mut self, process: &mut Process, risk: u64) -> Result<(), Crash> {
        for running in process.seen.1.running.clone() {
            if self.runs.get(&running.run).is_none_or(|run| run.ended) {
                self.tell(process, &Input::Ended(running.run), risk)?;
            }
        }
        self.tell(process, &Input::Due, risk)?;
        for owed in process.seen.1.starting.clone() {
            let run = self.submit(&owed.tick, owed.tracked);
            self.crash(risk)?;
            self.tell(process, &Input::Started(owed.tick, run), risk)?;
        }
        for run in process.seen.1.to_cancel() {
            if let Some(run) = self.runs.get_mut(&run) {
                run.ends = run.ends.min(self.now + 1_000);
            }
            self.crash(risk)?;
            self.tell(process, &Input::CancelSent(run), risk)?;
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        self.now = match self.rng.below(40) {
            0 => self.now + self.rng.below(4_000_000),
            1 => self.now - self.rng.below(600_000),
            _ => self.now + self.rng.below(90_000),
        };
        for run in self.runs.values_mut() {
            run.ended |= run.ends <= self.now;
        }
    }

    fn somebody_asks(&mut self, process: &mut Process, step: u64, risk: u64) -> Result<(), Crash> {
        let (id, by) = (format!("{step}").into(), "ada".into());
        let wish = match self.rng.below(5) {
            0 => Input::Pause { by, reason: "".into() },
            1 | 2 => Input::Resume,
            3 => Input::Trigger { id, by },
            _ => {
                let to = Timestamp(self.now - self.rng.below(600_000));
                let from = Timestamp(to.0 - self.rng.below(400_000));
                let order = if self.rng.one_in(2) { Order::AtOnce } else { Order::OneByOne };
                Input::Backfill { id, by, from, to, order }
            }
        };
        // Whoever asks reads the row first.
        let mut asking = Process { seen: self.row.clone() };
        self.tell(&mut asking, &wish, risk)?;
        if self.rng.one_in(2) {
            process.seen = self.row.clone();
        }
        Ok(())
    }

    /// The life of an installation, then a calm time in which everything comes to its end.
    fn live(&mut self) {
        let start = self.row.1.after;
        let mut nodes = [Process { seen: self.row.clone() }, Process { seen: self.row.clone() }];
        for step in 0..60 + self.rng.below(60) {
            self.pass_time();
            let one = if self.rng.one_in(8) { 1 } else { 0 };
            let process = &mut nodes[one];
            let asked = match self.rng.one_in(10) {
                true => self.somebody_asks(process, step, 12),
                false => Ok(()),
            };
            if asked.is_err() || self.turn(process, 12).is_err() {
                nodes[one] = Process { seen: self.row.clone() };
            }
        }
        let mut process = Process { seen: self.row.clone() };
        let _ = self.tell(&mut process, &Input::Resume, 0);
        // The clock is right in the end, and so late that nothing of before is to come.
        self.now = self.now.max(self.row.1.after.0) + 1_000;
        for _ in 0..2_000 {
            // Runs are short now, or ticks would queue for ever.
            self.runs.values_mut().for_each(|run| run.ended = true);
            let _ = self.turn(&mut process, 0);
            let state = &self.row.1;
            let next = wake(&self.schedule, state).map_or(u64::MAX, |at| at.0);
            if state.starting.is_empty() && state.buffer.is_empty() && next > self.now {
                return self.check(start);
            }
            self.now += 500;
        }
        panic!("it does not come to rest: {:?}", self.row.1);
    }

    fn check(&self, start: Timestamp) {
        let of = |map: &BTreeMap<Tick, u32>, tick: &Tick| map.get(tick).copied().unwrap_or(0);
        let mut at = start;
        while let Some(next) = self.schedule.next_after(at).filter(|next| *next <= self.row.1.after) {
            at = next;
            let tick = Tick::of(at);
            let passed = self.passed.iter().filter(|(from, to)| (*from..=*to).contains(&at.0)).count() as u32;
            let decided = of(&self.owed, &tick) + of(&self.gone, &tick) + passed;
            assert_eq!(decided, 1, "tick {} was decided {decided} times", at.rfc3339());
        }
        let mut with_run = BTreeSet::new();
        for run in self.runs.values() {
            assert!(with_run.insert(&run.tick), "tick {:?} has two runs", run.tick);
            assert_eq!(
                of(&self.owed, &run.tick),
                1,
                "a run of a tick that is not to have one: {:?}",
                run.tick
            );
        }
        for tick in self.owed.keys() {
            assert!(with_run.contains(tick), "tick {tick:?} was lost");
        }
    }
}

const SEEDS: u64 = 4_000;

#[test]
fn every_tick_is_decided_once_whatever_happens() {
    let (mut runs, mut gone) = (0, 0);
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, Node::Sound);
            world.live();
            (world.runs.len(), world.gone.len() + world.passed.len())
        });
        match result {
            Ok((some, more)) => (runs, gone) = (runs + some, gone + more),
            Err(_) => panic!("seed {seed}"),
        }
    }
    assert!(
        runs > 20_000 && gone > 5_000,
        "{runs} runs and {gone} skipped ticks are too few to mean anything"
    );
}

#[test]
fn planted_faults_are_found() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = [Node::StartsBeforeItWrites, Node::WithoutKeys, Node::WithoutVersions].map(|node| {
        (0..SEEDS).any(|seed| std::panic::catch_unwind(|| World::new(seed, node).live()).is_err())
    });
    std::panic::set_hook(quiet);
    assert_eq!(found, [true; 3], "a fault that nobody finds: this simulation proves nothing");
}
