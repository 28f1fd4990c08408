//! What stands before a sandbox: rates and circuits by key, for every tenant of its own, kept in this node's memory.
//! A node that starts has closed circuits and full bursts.
//!
//! Who waits here has no slot, and who waits for a slot has taken nothing here: a turn is taken, and a probe made, when
//! the call begins. At a rate the line is kept by its lock, first come, first served; at an open circuit everybody waits
//! for its time, one becomes the probe, and the others wait for what it says.

mod keys;

use self::keys::{Key, Keys};
use crate::parts::Clock;
use crate::slots::QueueTimeout;
use crate::telemetry as t;
use heddle_core::gate::circuit::{
    Asked, Circuit, Pass, Rule as CircuitRule, Said, Standing, Turned, WhenOpen,
};
use heddle_core::gate::rate::{Account, OnLimit, Rule as RateRule};
use heddle_core::gate::{self, Gates as Wanted};
use heddle_core::id::{RunId, Tenant};
use heddle_core::outcome::{Failure, FailureKind, Outcome};
use heddle_core::run::event::Node;
use heddle_core::share::Share;
use heddle_core::time::{Span, Timestamp};
use metrics::counter;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// All of a node.
pub(crate) struct Gates {
    rates: Mutex<Keys<Arc<Line>>>,
    circuits: Mutex<Keys<Circuit>>,
    /// A circuit has turned.
    turned: Notify,
    waiting: Mutex<BTreeMap<(RunId, Node), Hold>>,
    clock: Arc<dyn Clock>,
    began: Instant,
}

/// Who has the lock is the next to begin. Whoever has come to it and not begun holds the line itself.
struct Line {
    account: tokio::sync::Mutex<Account>,
    /// The rule as the last call had it that came, and what the key has had, for people to look at.
    shown: Mutex<(RateRule, Account)>,
}

impl Line {
    fn new(rule: RateRule) -> Line {
        Line { account: tokio::sync::Mutex::default(), shown: Mutex::new((rule, Account::default())) }
    }
}

/// A rate, as people are shown it.
#[derive(Clone, Debug, PartialEq)]
pub struct RateReport {
    /// Its key.
    pub key: Arc<str>,
    /// Its rule, as the last call had it.
    pub rule: RateRule,
    /// Attempts that wait: for their turn, or for a sandbox while the turn is theirs.
    pub waiting: u32,
    /// Milliseconds until the next one may begin; 0 when it may now.
    pub next_in_ms: u64,
}

/// Where an attempt waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// The key.
    pub key: Arc<str>,
    /// At what.
    pub at: HoldAt,
}

/// What an attempt waits at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HoldAt {
    /// A rate: so many in so long.
    Rate(u32, Span),
    /// A circuit that is open until then.
    Open(Timestamp),
    /// A circuit whose probe is under way.
    Probed,
}

/// A circuit, as people are shown it.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitReport {
    /// Its key.
    pub key: Arc<str>,
    /// Where it stands.
    pub standing: Standing,
    /// Calls that count, of the window.
    pub calls: u32,
    /// How many of them failed.
    pub failures: u32,
    /// How often it has opened.
    pub opened: u64,
    /// Its rule, as the last call had it.
    pub rule: CircuitRule,
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gates({} wait)", lock(&self.waiting).len())
    }
}

/// What stands before an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    /// What it must pass.
    pub(crate) gates: Wanted,
    /// Whether its run stands still.
    pub(crate) still: watch::Receiver<bool>,
}

/// Who wants to enter.
pub(crate) struct Who<'a> {
    /// The step or item of a run.
    pub(crate) who: (RunId, Node),
    /// On whose account.
    pub(crate) share: &'a Share,
    /// Whether the run stands still.
    pub(crate) still: &'a watch::Receiver<bool>,
}

type MutexGuardOf<'a> = tokio::sync::MutexGuard<'a, Account>;

/// Waits while the run stands still.
async fn goes_on(mut still: watch::Receiver<bool>) {
    // Whoever drove the run is gone where this fails, and with it the attempt.
    let _ = still.wait_for(|still| !still).await;
}

pub(crate) fn no_sandbox() -> Failure {
    Failure::new(FailureKind::DeadlineExceeded, "no sandbox was free within `timeout.queue`")
}

/// That an attempt has passed; to be told how it ended. Dropped without, its call said nothing.
pub(crate) struct Passed<'a> {
    gates: &'a Gates,
    circuit: Option<(Key, CircuitRule, Pass)>,
}

impl Passed<'_> {
    pub(crate) fn ended(mut self, outcome: &Outcome) {
        self.tell(gate::said(outcome));
    }
    fn tell(&mut self, said: Said) {
        if let Some((key, rule, pass)) = self.circuit.take() {
            self.gates.told(&key, &rule, pass, said);
        }
    }
}
impl Drop for Passed<'_> {
    fn drop(&mut self) {
        self.tell(Said::Nothing);
    }
}

impl Gates {
    /// None known yet, and so many at most of each sort.
    pub(crate) fn new(most: u64, clock: Arc<dyn Clock>) -> Gates {
        Gates {
            rates: Mutex::new(Keys::new(most, "rate limits")),
            circuits: Mutex::new(Keys::new(most, "circuit breakers")),
            turned: Notify::new(),
            waiting: Mutex::default(),
            clock,
            began: Instant::now(),
        }
    }

    /// Passes what is wanted and takes a sandbox, until this time at most. Nothing is taken of a rate or a circuit
    /// before the sandbox is there and the run does not stand still: what has not begun holds nobody up.
    ///
    /// # Errors
    /// `circuit_open` and `quota_exceeded` where the step would rather fail than wait, `deadline_exceeded` where it has
    /// waited long enough.
    pub(crate) async fn enter<S, F: Future<Output = Result<S, QueueTimeout>>>(
        &self,
        Who { who, share, still }: Who<'_>,
        wanted: &Wanted,
        until: Option<Instant>,
        take: impl Fn() -> F,
    ) -> Result<(S, Passed<'_>), Failure> {
        let key = |key: &Arc<str>| (share.tenant.clone(), key.clone());
        let circuit = wanted.circuit.as_ref().map(|(own, rule)| (key(own), *rule));
        let rate = wanted.rate.as_ref().map(|(own, rule)| (key(own), *rule));
        let enter = async {
            loop {
                goes_on(still.clone()).await;
                if let Some((key, rule)) = &circuit {
                    self.await_circuit(who, key, *rule).await?;
                }
                let line = rate.as_ref().map(|(key, rule)| self.line(key, share, *rule)).transpose()?;
                let turn = match (&line, &rate) {
                    (Some(line), Some((key, rule))) => self.turn(who, line, key, *rule).await?,
                    _ => None,
                };
                let slot = take().await.map_err(|QueueTimeout| no_sandbox())?;
                if *still.borrow() {
                    continue;
                }
                let pass = match &circuit {
                    None => None,
                    Some((key, rule)) => match self.ask(key, share, rule)? {
                        Asked::Through(pass) => Some((key.clone(), *rule, pass)),
                        // It has turned meanwhile.
                        Asked::Shut(_) | Asked::Probed => continue,
                    },
                };
                let passed = Passed { gates: self, circuit: pass };
                if let (Some(line), Some((key, rule))) = (&line, &rate) {
                    self.begin(line, turn, key, *rule)?;
                }
                return Ok((slot, passed));
            }
        };
        match until {
            None => enter.await,
            Some(until) => match tokio::time::timeout_at(until, enter).await {
                Ok(entered) => entered,
                Err(_) => {
                    let message = "its turn did not come within `timeout.queue`";
                    Err(Failure::new(FailureKind::DeadlineExceeded, message))
                }
            },
        }
    }

    /// Waits for the turn of a call that waits: the lock is that of the next to begin.
    async fn turn<'a>(
        &self,
        who: (RunId, Node),
        line: &'a Line,
        key: &Key,
        rule: RateRule,
    ) -> Result<Option<MutexGuardOf<'a>>, Failure> {
        if rule.on_limit == OnLimit::Reject {
            return Ok(None);
        }
        let mut waiting = None;
        let account = match line.account.try_lock() {
            Ok(account) => account,
            Err(_) => {
                waiting = Some(self.waits(who, "rate", rate_hold(key, rule)));
                line.account.lock().await
            }
        };
        let wait = account.wait_us(rule, self.now_us());
        if wait > 0 {
            waiting.get_or_insert_with(|| self.waits(who, "rate", rate_hold(key, rule)));
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
        Ok(Some(account))
    }
    /// A call begins; one that would rather fail than wait fails here, where it is too early.
    fn begin(
        &self,
        line: &Line,
        turn: Option<MutexGuardOf<'_>>,
        key: &Key,
        rule: RateRule,
    ) -> Result<(), Failure> {
        let now = self.now_us();
        let mut account = match turn.map(Ok).unwrap_or_else(|| line.account.try_lock()) {
            Ok(account) => account,
            Err(_) => return Err(too_many(key, rule, None)),
        };
        match account.wait_us(rule, now) {
            early if early > 0 && rule.on_limit == OnLimit::Reject => Err(too_many(key, rule, Some(early))),
            _ => {
                account.begin(rule, now);
                lock(&line.shown).1 = *account;
                Ok(())
            }
        }
    }

    /// Waits until a call would be let through, or fails where the step would rather do that.
    async fn await_circuit(&self, who: (RunId, Node), key: &Key, rule: CircuitRule) -> Result<(), Failure> {
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let mut turned = std::pin::pin!(self.turned.notified());
            // From here on a turn is not missed.
            turned.as_mut().enable();
            let now = self.clock.now();
            let (at, left) = match self.standing(key, now) {
                Standing::Closed | Standing::HalfOpen => return Ok(()),
                Standing::Open(until) => (HoldAt::Open(until), Some(until.since_ms(now))),
                Standing::Probing => (HoldAt::Probed, None),
            };
            if rule.when_open == WhenOpen::Fail {
                counter!(t::GATE_REFUSALS, "gate" => "circuit").increment(1);
                let message = match at {
                    HoldAt::Open(until) => {
                        format!("the circuit `{}` is open until {}", key.1, until.rfc3339())
                    }
                    _ => format!("the circuit `{}` is open, and a probe is under way", key.1),
                };
                return Err(Failure {
                    retry_after_ms: left,
                    ..Failure::new(FailureKind::CircuitOpen, message)
                });
            }
            let hold = Hold { key: key.1.clone(), at };
            match &waiting {
                Some(waiting) => waiting.moves_to(hold),
                None => waiting = Some(self.waits(who, "circuit", hold)),
            }
            match left {
                Some(ms) => drop(tokio::time::timeout(Duration::from_millis(ms), turned).await),
                None => turned.await,
            }
        }
    }

    /// Where a circuit stands; one that nobody has asked is closed.
    fn standing(&self, key: &Key, now: Timestamp) -> Standing {
        lock(&self.circuits).get(key).map_or(Standing::Closed, |circuit| circuit.standing(now))
    }
    fn ask(&self, key: &Key, share: &Share, rule: &CircuitRule) -> Result<Asked, Failure> {
        let (now, mut circuits) = (self.clock.now(), lock(&self.circuits));
        let circuit = circuits.of_call(key, share, |circuit| circuit.is_idle(now), Circuit::default)?;
        Ok(circuit.ask(rule, now))
    }
    fn told(&self, key: &Key, rule: &CircuitRule, pass: Pass, said: Said) {
        let now = self.clock.now();
        let turned = match lock(&self.circuits).get_mut(key) {
            Some(circuit) => circuit.ended(rule, pass, said, now),
            None => Turned::Not,
        };
        match turned {
            Turned::Not => return,
            Turned::Opened => {
                counter!(t::CIRCUITS_OPENED).increment(1);
                tracing::warn!(key = &*key.1, for_ms = rule.open_for.0, "a circuit has opened");
            }
            Turned::Closed => tracing::info!(key = &*key.1, "a circuit is closed again"),
            Turned::Again => {}
        }
        self.turned.notify_waiters();
    }
    fn line(&self, key: &Key, share: &Share, rule: RateRule) -> Result<Arc<Line>, Failure> {
        let now = self.now_us();
        // One that nobody holds can be locked, and nobody comes to it meanwhile.
        let is_idle = |line: &Arc<Line>| {
            Arc::strong_count(line) == 1 && line.account.try_lock().is_ok_and(|account| account.is_level(now))
        };
        let mut rates = lock(&self.rates);
        let line = rates.of_call(key, share, is_idle, || Arc::new(Line::new(rule)))?.clone();
        lock(&line.shown).0 = rule;
        Ok(line)
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }
    fn waits(&self, who: (RunId, Node), gate: &'static str, hold: Hold) -> Waiting<'_> {
        counter!(t::GATE_WAITS, "gate" => gate).increment(1);
        lock(&self.waiting).insert(who, hold);
        Waiting(self, who)
    }

    /// The steps of a run of which attempts wait here: where one of them does, and how many there are.
    pub(crate) fn held_steps(&self, run: RunId) -> BTreeMap<u32, (Hold, u32)> {
        let (first, last) = ((run, Node::step(0)), (run, Node::item(u32::MAX, u32::MAX)));
        let mut steps: BTreeMap<u32, (Hold, u32)> = BTreeMap::new();
        for ((_, node), hold) in lock(&self.waiting).range(first..=last) {
            steps.entry(node.step).or_insert_with(|| (hold.clone(), 0)).1 += 1;
        }
        steps
    }
    /// The circuits of a tenant, in the order of their keys.
    pub(crate) fn circuits(&self, tenant: &Tenant) -> Vec<CircuitReport> {
        let now = self.clock.now();
        let known = lock(&self.circuits);
        let reports = known.of(tenant).into_iter().filter_map(|(key, circuit)| report(key, circuit, now));
        reports.collect()
    }
    /// The rates of a tenant, in the order of their keys.
    pub(crate) fn rates(&self, tenant: &Tenant) -> Vec<RateReport> {
        let now = self.now_us();
        let known = lock(&self.rates);
        let report = |(key, line): (&Arc<str>, &Arc<Line>)| {
            let (rule, account) = *lock(&line.shown);
            let waiting = (Arc::strong_count(line) - 1) as u32;
            RateReport {
                key: key.clone(),
                rule,
                waiting,
                next_in_ms: account.wait_us(rule, now).div_ceil(1_000),
            }
        };
        known.of(tenant).into_iter().map(report).collect()
    }
    /// Closes a circuit. `None` where there is none of this key.
    pub(crate) fn close(&self, tenant: &Tenant, key: &str) -> Option<CircuitReport> {
        let key: Key = (tenant.clone(), key.into());
        let mut circuits = lock(&self.circuits);
        let circuit = circuits.get_mut(&key)?;
        circuit.close();
        let report = report(&key.1, circuit, self.clock.now());
        drop(circuits);
        self.turned.notify_waiters();
        report
    }
}

/// `None` where no call has asked it.
fn report(key: &Arc<str>, circuit: &Circuit, now: Timestamp) -> Option<CircuitReport> {
    let (calls, failures) = circuit.lately(now);
    Some(CircuitReport {
        key: key.clone(),
        standing: circuit.standing(now),
        calls,
        failures,
        opened: circuit.opened(),
        rule: *circuit.rule()?,
    })
}

fn rate_hold(key: &Key, rule: RateRule) -> Hold {
    Hold { key: key.1.clone(), at: HoldAt::Rate(rule.limit, rule.period) }
}

fn too_many(key: &Key, rule: RateRule, wait_us: Option<u64>) -> Failure {
    counter!(t::GATE_REFUSALS, "gate" => "rate").increment(1);
    let message =
        format!("`{}` has had its {} in {} (`rateLimit`, `onLimit: reject`)", key.1, rule.limit, rule.period);
    let failure = Failure::new(FailureKind::QuotaExceeded, message).with_code("rate_limited");
    Failure { retryable: true, retry_after_ms: wait_us.map(|us| us.div_ceil(1_000)), ..failure }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who waits is known, however the waiting ends.
struct Waiting<'a>(&'a Gates, (RunId, Node));

impl Waiting<'_> {
    fn moves_to(&self, hold: Hold) {
        lock(&self.0.waiting).insert(self.1, hold);
    }
}
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}
