//! How a version of a plugin does: what its calls came to, minute by minute, and what follows from that. Only calls that
//! ran in a sandbox count; what the cache answers says nothing of a plugin.

use crate::gate::circuit::Said;
use crate::release::Seen;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;

/// Minutes that are kept: a day.
pub const MINUTES: u64 = 24 * 60;
/// Changes of health that are kept.
pub const MOST_TURNS: usize = 32;
/// Minutes over which a version is judged.
pub const JUDGED_MINUTES: u64 = 5;
/// Calls in them below which nothing is said.
const LEAST_CALLS: u64 = 5;
/// Failures of a hundred calls from which it is degraded, and from which it is unhealthy.
const DEGRADED_PERCENT: u64 = 5;
const UNHEALTHY_PERCENT: u64 = 50;
/// How many times as slow as in the hour before it is degraded, and from which time on that is looked at.
const SLOWER: u64 = 4;
const SLOW_US: u64 = 50_000;
const HOUR: u64 = 60;
const MINUTE_MS: u64 = 60_000;
/// Steps in which times are kept, for each doubling.
const STEPS: u32 = 4;

/// How a version is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Too few calls to tell.
    #[default]
    Unknown,
    /// It does what it should.
    Healthy,
    /// Some of its calls fail, or it has become slow.
    Degraded,
    /// Half of its calls fail, or its circuit is open.
    Unhealthy,
}

impl State {
    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Healthy => "healthy",
            State::Degraded => "degraded",
            State::Unhealthy => "unhealthy",
        }
    }
    /// Reads [`Self::word`].
    pub fn from_word(word: &str) -> Option<State> {
        [State::Unknown, State::Healthy, State::Degraded, State::Unhealthy]
            .into_iter()
            .find(|state| state.word() == word)
    }
    /// What is tried before what: those of which nothing is known stand with those that do well.
    pub fn rank(self) -> u8 {
        match self {
            State::Unknown | State::Healthy => 0,
            State::Degraded => 1,
            State::Unhealthy => 2,
        }
    }
}

/// How a version is, and why that is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// How it is.
    pub state: State,
    /// One sentence.
    pub why: String,
}

/// A change of health.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// When it was noticed.
    pub at: Timestamp,
    /// How it is since.
    pub state: State,
    /// Why.
    pub why: String,
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What it says of what was called.
    pub said: Said,
    /// Whether it failed, for whatever reason.
    pub is_failure: bool,
    /// How long the plugin had it, in microseconds.
    pub wall_us: u64,
    /// The fuel that it used.
    pub fuel: u64,
}

/// What the calls of some time came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// Calls that ended.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose failure speaks against the plugin.
    pub against: u64,
    /// Fuel that they used.
    pub fuel: u64,
    /// All of their time, in microseconds.
    pub wall_us: u64,
    times: Vec<(u8, u32)>,
}

impl Sum {
    fn add(&mut self, call: Call) {
        self.calls += 1;
        self.failed += u64::from(call.is_failure);
        self.against += u64::from(call.said == Said::Ill);
        self.fuel = self.fuel.saturating_add(call.fuel);
        self.wall_us = self.wall_us.saturating_add(call.wall_us);
        self.time(step_of(call.wall_us), 1);
    }
    fn time(&mut self, step: u8, count: u32) {
        match self.times.binary_search_by_key(&step, |(step, _)| *step) {
            Ok(at) => self.times[at].1 = self.times[at].1.saturating_add(count),
            Err(at) => self.times.insert(at, (step, count)),
        }
    }
    fn merge(&mut self, other: &Sum) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.against += other.against;
        self.fuel = self.fuel.saturating_add(other.fuel);
        self.wall_us = self.wall_us.saturating_add(other.wall_us);
        for (step, count) in &other.times {
            self.time(*step, *count);
        }
    }
    /// The time within which so many of a hundred calls ended, in microseconds: 20 % too much at most. None without
    /// calls.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let wanted = (self.calls * percent).div_ceil(100).max(1);
        let mut so_far = 0;
        let step = self.times.iter().find_map(|(step, count)| {
            so_far += u64::from(*count);
            (so_far >= wanted).then_some(*step)
        });
        step.map(upper_us)
    }
    /// The share of its calls that failed, 0 to 1.
    pub fn error_rate(&self) -> f64 {
        share(self.failed, self.calls)
    }
    /// The share of its calls that do not speak against it, 0 to 1.
    pub fn availability(&self) -> f64 {
        1.0 - share(self.against, self.calls)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A time as one of few steps, [`STEPS`] for each doubling.
fn step_of(us: u64) -> u8 {
    let us = us.max(1);
    let doublings = us.ilog2();
    let rest = ((us - (1 << doublings)) * u64::from(STEPS)) >> doublings;
    (doublings * STEPS + rest as u32).min(u32::from(u8::MAX)) as u8
}

/// The longest time of a step.
fn upper_us(step: u8) -> u64 {
    let (doublings, rest) = (u32::from(step) / STEPS, u64::from(u32::from(step) % STEPS));
    (1 << doublings) + ((rest + 1) << doublings) / u64::from(STEPS)
}

/// The calls of one version, as far as they are kept.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    minutes: VecDeque<(u64, Sum)>,
    state: State,
    turns: VecDeque<Turn>,
    trial: Option<(Timestamp, Seen)>,
}

impl Traffic {
    /// Takes a call in that has ended.
    pub fn record(&mut self, now: Timestamp, call: Call) {
        let minute = now.0 / MINUTE_MS;
        // A clock that was set back writes into the last minute that there is.
        match self.minutes.back_mut().filter(|(last, _)| *last >= minute) {
            Some((_, sum)) => sum.add(call),
            None => {
                let mut sum = Sum::default();
                sum.add(call);
                self.minutes.push_back((minute, sum));
            }
        }
        while self.minutes.front().is_some_and(|(first, _)| first + MINUTES <= minute) {
            self.minutes.pop_front();
        }
        if let Some((_, seen)) = &mut self.trial {
            seen.calls = seen.calls.saturating_add(u32::from(call.said != Said::Nothing));
            seen.failures = seen.failures.saturating_add(u32::from(call.said == Said::Ill));
        }
    }
    /// How it has done in the trial that began then.
    pub fn seen(&mut self, since: Timestamp) -> Seen {
        match self.trial {
            Some((began, seen)) if began == since => seen,
            _ => {
                self.trial = Some((since, Seen::default()));
                Seen::default()
            }
        }
    }
    /// What its calls came to that ended between these times, by the minute.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Sum {
        let (from, to) = (from.0 / MINUTE_MS, to.0.div_ceil(MINUTE_MS));
        let mut sum = Sum::default();
        for (_, of_minute) in self.minutes.iter().filter(|(minute, _)| (from..to).contains(minute)) {
            sum.merge(of_minute);
        }
        sum
    }
    /// The first minute of which something is known.
    pub fn since(&self) -> Option<Timestamp> {
        self.minutes.front().map(|(minute, _)| Timestamp(minute * MINUTE_MS))
    }
    /// How it is now. A change is remembered.
    pub fn health(&mut self, now: Timestamp, is_circuit_open: bool) -> Health {
        let health = self.judged(now, is_circuit_open);
        if health.state != self.state {
            self.state = health.state;
            self.turns.push_back(Turn { at: now, state: health.state, why: health.why.clone() });
            while self.turns.len() > MOST_TURNS {
                self.turns.pop_front();
            }
        }
        health
    }
    /// Its changes of health, the latest last.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    fn judged(&self, now: Timestamp, is_circuit_open: bool) -> Health {
        let ago = |minutes: u64| Timestamp(now.0.saturating_sub(minutes * MINUTE_MS));
        let lately = self.between(ago(JUDGED_MINUTES), Timestamp(now.0 + 1));
        let health = |state, why| Health { state, why };
        if is_circuit_open {
            return health(State::Unhealthy, "its circuit is open".to_owned());
        }
        let Sum { calls, against, .. } = lately;
        if calls < LEAST_CALLS {
            return health(
                State::Unknown,
                format!("{calls} calls in {JUDGED_MINUTES} minutes are too few to tell"),
            );
        }
        let said = format!("{against} of {calls} calls in {JUDGED_MINUTES} minutes failed");
        match against * 100 / calls {
            UNHEALTHY_PERCENT.. => return health(State::Unhealthy, said),
            DEGRADED_PERCENT.. => return health(State::Degraded, said),
            _ => {}
        }
        let before = self.between(ago(JUDGED_MINUTES + HOUR), ago(JUDGED_MINUTES));
        let slow = lately.percentile_us(95).unwrap_or_default();
        let usual = before.percentile_us(95).filter(|_| before.calls >= 4 * LEAST_CALLS);
        match usual {
            Some(usual) if slow >= SLOW_US && slow >= usual * SLOWER => health(
                State::Degraded,
                format!(
                    "95 of 100 calls take up to {} ms, where they took {} ms in the hour before",
                    slow / 1_000,
                    usual.div_ceil(1_000)
                ),
            ),
            _ => health(State::Healthy, said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(said: Said, wall_us: u64) -> Call {
        Call { said, is_failure: said == Said::Ill, wall_us, fuel: 10 }
    }
    fn minute(number: u64) -> Timestamp {
        Timestamp(number * MINUTE_MS)
    }

    #[test]
    fn a_time_is_kept_to_a_fifth() {
        for us in [1, 2, 3, 7, 999, 1_000, 12_345, 1_000_000, 3_600_000_000] {
            let upper = upper_us(step_of(us));
            assert!(upper >= us && upper <= us + us.div_ceil(4) + 1, "{us}: {upper}");
        }
        let mut sum = Sum::default();
        assert_eq!(sum.percentile_us(50), None);
        (1..=100).for_each(|ms| sum.add(call(Said::Well, ms * 1_000)));
        let (half, most) = (sum.percentile_us(50).unwrap(), sum.percentile_us(99).unwrap());
        assert!((50_000..63_000).contains(&half) && (99_000..125_000).contains(&most), "{half} {most}");
    }

    #[test]
    fn health_follows_from_the_last_minutes() {
        let mut traffic = Traffic::default();
        let now = minute(1_000);
        assert_eq!(traffic.health(now, false).state, State::Unknown);
        (0..20).for_each(|_| traffic.record(now, call(Said::Well, 1_000)));
        assert_eq!(traffic.health(now, false).state, State::Healthy);
        traffic.record(now, call(Said::Ill, 1_000));
        assert_eq!(traffic.health(now, false).state, State::Healthy, "one of twenty-one");
        traffic.record(now, call(Said::Ill, 1_000));
        let health = traffic.health(now, false);
        assert_eq!(health.state, State::Degraded);
        assert_eq!(health.why, "2 of 22 calls in 5 minutes failed");
        (0..20).for_each(|_| traffic.record(now, call(Said::Ill, 1_000)));
        assert_eq!(traffic.health(now, false).state, State::Unhealthy);
        assert_eq!(traffic.health(minute(1_010), false).state, State::Unknown, "it is over");
        assert_eq!(traffic.health(minute(1_010), true).state, State::Unhealthy);
        let states: Vec<_> = traffic.turns().map(|turn| turn.state).collect();
        use State::*;
        assert_eq!(states, [Healthy, Degraded, Unhealthy, Unknown, Unhealthy]);
        let all = traffic.between(minute(0), minute(2_000));
        assert_eq!((all.calls, all.failed, all.fuel), (42, 22, 420));
        assert!(traffic.between(minute(0), minute(1_000)).calls == 0);
        traffic.record(minute(1_000 + MINUTES), call(Said::Well, 1));
        assert_eq!(traffic.between(minute(0), minute(9_000)).calls, 1, "a day is kept");
    }

    #[test]
    fn what_becomes_slow_is_degraded() {
        let mut traffic = Traffic::default();
        (0..30).for_each(|_| traffic.record(minute(100), call(Said::Well, 20_000)));
        (0..10).for_each(|_| traffic.record(minute(120), call(Said::Well, 55_000)));
        assert_eq!(traffic.health(minute(120), false).state, State::Healthy);
        (0..10).for_each(|_| traffic.record(minute(121), call(Said::Well, 300_000)));
        assert_eq!(traffic.health(minute(121), false).state, State::Degraded);
    }

    #[test]
    fn a_trial_is_counted_from_its_begin() {
        let mut traffic = Traffic::default();
        traffic.record(minute(1), call(Said::Ill, 1));
        assert_eq!(traffic.seen(minute(2)), Seen::default());
        for said in [Said::Ill, Said::Well, Said::Nothing] {
            traffic.record(minute(2), call(said, 1));
        }
        assert_eq!(traffic.seen(minute(2)), Seen { calls: 2, failures: 1 });
        assert_eq!(traffic.seen(minute(3)), Seen::default(), "of another trial");
    }
}
