//! A circuit opens when too many of the last calls failed, and lets nobody through for a while. Then one call is the
//! probe: when it ends well the circuit is closed again, and when it does not, it stays open for as long again.
//!
//! Steps with the same key may have different rules. What their calls say counts under each of the rules that were asked
//! with lately, and the first of them that says so opens the circuit, for as long as it says.

use crate::time::{Span, Timestamp};

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The share of calls that may fail, above 0 and at most 1: at this share it opens.
    pub failure_rate: f64,
    /// With fewer calls in the window it does not open.
    pub min_calls: u32,
    /// How far back calls count.
    pub window: Span,
    /// For how long it stays open.
    pub open_for: Span,
    /// What becomes of a call while it is open.
    pub when_open: WhenOpen,
}

/// What becomes of a call while the circuit is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenOpen {
    /// It waits until the circuit lets it through. The default of a step without a fallback.
    Wait,
    /// It fails at once. The default of a step with one.
    Fail,
}

impl Rule {
    /// Whether both open a circuit at the same time and for as long.
    fn judges_as(&self, other: &Rule) -> bool {
        Rule { when_open: other.when_open, ..*self } == *other
    }
}

/// The window, in parts that are forgotten one by one.
const PARTS: u64 = 10;
/// Rules that one circuit is judged by; of more, those that were asked with last.
const RULES: usize = 4;

/// Calls of one part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    /// Which part of time it is.
    number: u64,
    calls: u32,
    failures: u32,
}

/// What was seen in the window of one rule.
#[derive(Clone, Debug)]
struct Tally {
    rule: Rule,
    parts: [Part; PARTS as usize],
}

impl Tally {
    fn new(rule: Rule) -> Tally {
        Tally { rule, parts: [Part::default(); PARTS as usize] }
    }
    fn part_of(&self, now: Timestamp) -> u64 {
        now.0 / (self.rule.window.0 / PARTS).max(1)
    }
    fn count(&mut self, failed: bool, now: Timestamp) {
        let number = self.part_of(now);
        let part = &mut self.parts[(number % PARTS) as usize];
        if part.number != number {
            *part = Part { number, ..Part::default() };
        }
        part.calls = part.calls.saturating_add(1);
        part.failures = part.failures.saturating_add(u32::from(failed));
    }
    /// Calls of the window, and how many of them failed.
    fn lately(&self, now: Timestamp) -> (u32, u32) {
        let this = self.part_of(now);
        let parts = self.parts.iter().filter(|part| part.number <= this && part.number + PARTS > this);
        parts.fold((0, 0), |(calls, failures), part| {
            (calls.saturating_add(part.calls), failures.saturating_add(part.failures))
        })
    }
    /// Whether its rule says that the circuit is to open.
    fn opens(&self, now: Timestamp) -> bool {
        let (calls, failures) = self.lately(now);
        let enough = calls >= self.rule.min_calls.max(1);
        enough && failures > 0 && f64::from(failures) >= f64::from(calls) * self.rule.failure_rate
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Timestamp,
    },
    /// One call is under way that decides.
    Probing,
}

/// Where a circuit stands, as people are shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Calls go through.
    Closed,
    /// Nobody goes through before this time.
    Open(Timestamp),
    /// The next call is the probe.
    HalfOpen,
    /// The probe is under way.
    Probing,
}

impl Standing {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Closed => "closed",
            Standing::Open(_) => "open",
            Standing::HalfOpen | Standing::Probing => "halfOpen",
        }
    }
}

/// One circuit.
#[derive(Clone, Debug)]
pub struct Circuit {
    /// That of the rule which was asked with last comes first.
    tallies: Vec<Tally>,
    state: State,
    /// How often it has opened or closed: what began before says nothing of what is now.
    turns: u64,
    opened: u64,
}

/// That a call went through, to be told how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    turn: u64,
    probe: bool,
}

/// Whether a call goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It does.
    Through(Pass),
    /// Not before this time.
    Shut(Timestamp),
    /// Not before the probe has ended.
    Probed,
}

/// What a call's end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// What was called answered.
    Well,
    /// It did not.
    Ill,
    /// Nothing: the call never got that far.
    Nothing,
}

/// What a call's end changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Nothing.
    Not,
    /// It is open now.
    Opened,
    /// It is closed again.
    Closed,
    /// The probe said nothing; the next call is the probe.
    Again,
}

impl Default for Circuit {
    fn default() -> Circuit {
        Circuit { tallies: Vec::new(), state: State::Closed, turns: 0, opened: 0 }
    }
}

impl Circuit {
    /// A call asks, under this rule.
    pub fn ask(&mut self, rule: &Rule, now: Timestamp) -> Asked {
        self.heed(rule);
        match self.state {
            State::Closed => Asked::Through(Pass { turn: self.turns, probe: false }),
            State::Open { until } if now < until => Asked::Shut(until),
            State::Open { .. } => {
                self.state = State::Probing;
                Asked::Through(Pass { turn: self.turns, probe: true })
            }
            State::Probing => Asked::Probed,
        }
    }
    /// A call that went through has ended.
    pub fn ended(&mut self, rule: &Rule, pass: Pass, said: Said, now: Timestamp) -> Turned {
        if pass.turn != self.turns {
            return Turned::Not;
        }
        match (pass.probe, said) {
            (true, Said::Well) => {
                self.close();
                Turned::Closed
            }
            (true, Said::Ill) => self.open(rule.open_for, now),
            (true, Said::Nothing) => {
                self.state = State::Open { until: now };
                Turned::Again
            }
            (false, Said::Nothing) => Turned::Not,
            (false, said) => {
                self.tallies.iter_mut().for_each(|tally| tally.count(said == Said::Ill, now));
                match self.tallies.iter().find(|tally| tally.opens(now)).map(|tally| tally.rule.open_for) {
                    Some(open_for) => self.open(open_for, now),
                    None => Turned::Not,
                }
            }
        }
    }
    /// Closes it, whatever it has seen.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.turns(0);
    }
    fn open(&mut self, open_for: Span, now: Timestamp) -> Turned {
        self.state = State::Open { until: now.plus_ms(open_for.0) };
        self.turns(1);
        Turned::Opened
    }
    /// What it has seen so far says nothing any more.
    fn turns(&mut self, opened: u64) {
        self.tallies.iter_mut().for_each(|tally| *tally = Tally::new(tally.rule));
        self.turns += 1;
        self.opened += opened;
    }
    /// This rule counts, too, and before all others.
    fn heed(&mut self, rule: &Rule) {
        match self.tallies.iter().position(|tally| tally.rule.judges_as(rule)) {
            Some(0) => {}
            Some(place) => self.tallies[..=place].rotate_right(1),
            None => {
                self.tallies.insert(0, Tally::new(*rule));
                self.tallies.truncate(RULES);
            }
        }
        if let Some(first) = self.tallies.first_mut() {
            first.rule.when_open = rule.when_open;
        }
    }
    /// The rule that was asked with last.
    pub fn rule(&self) -> Option<&Rule> {
        self.tallies.first().map(|tally| &tally.rule)
    }
    /// Calls in the window of that rule, and how many of them failed.
    pub fn lately(&self, now: Timestamp) -> (u32, u32) {
        self.tallies.first().map_or((0, 0), |tally| tally.lately(now))
    }
    /// Whether forgetting it changes nothing.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.state == State::Closed && self.tallies.iter().all(|tally| tally.lately(now) == (0, 0))
    }
    /// Where it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { until } if now < until => Standing::Open(until),
            State::Open { .. } => Standing::HalfOpen,
            State::Probing => Standing::Probing,
        }
    }
    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        failure_rate: 0.5,
        min_calls: 4,
        window: Span(10_000),
        open_for: Span(5_000),
        when_open: WhenOpen::Fail,
    };
    const T: Timestamp = Timestamp(1_000_000);

    fn through(circuit: &mut Circuit, now: Timestamp) -> Pass {
        match circuit.ask(&RULE, now) {
            Asked::Through(pass) => pass,
            other => panic!("{other:?}"),
        }
    }
    fn call(circuit: &mut Circuit, said: Said, now: Timestamp) -> Turned {
        let pass = through(circuit, now);
        circuit.ended(&RULE, pass, said, now)
    }
    fn opened() -> Circuit {
        let mut circuit = Circuit::default();
        let turned: Vec<Turned> = (0..4).map(|_| call(&mut circuit, Said::Ill, T)).collect();
        assert_eq!(turned, [Turned::Not, Turned::Not, Turned::Not, Turned::Opened]);
        circuit
    }

    #[test]
    fn it_opens_at_its_share_and_not_before_enough_calls() {
        let mut circuit = Circuit::default();
        let calls = [Said::Well, Said::Ill, Said::Well, Said::Well, Said::Ill, Said::Ill];
        let turned = calls.map(|said| call(&mut circuit, said, T));
        assert_eq!(turned[..5], [Turned::Not; 5]);
        assert_eq!(turned[5], Turned::Opened, "three of six");
        assert_eq!(circuit.standing(T), Standing::Open(T.plus_ms(5_000)));
    }
    #[test]
    fn what_is_long_ago_does_not_count() {
        let mut circuit = Circuit::default();
        (0..3).for_each(|_| assert_eq!(call(&mut circuit, Said::Ill, T), Turned::Not));
        let later = T.plus_ms(10_000);
        assert_eq!(call(&mut circuit, Said::Ill, later), Turned::Not);
        assert_eq!(circuit.lately(later), (1, 1));
    }
    /// Two steps with one key and different rules: the calls of both count under both, however far apart the windows
    /// are, and whoever asks last takes nothing from the other.
    #[test]
    fn the_first_rule_that_says_so_opens_it() {
        let strict = Rule { min_calls: 3, window: Span(3_600_000), open_for: Span(60_000), ..RULE };
        let loose = Rule { min_calls: 1_000, window: Span(100), ..RULE };
        let mut circuit = Circuit::default();
        for (at, turned) in [(0, Turned::Not), (20_000, Turned::Not), (40_000, Turned::Opened)] {
            let now = T.plus_ms(at);
            // The strict one has only asked.
            assert!(at > 0 || matches!(circuit.ask(&strict, now), Asked::Through(_)));
            let Asked::Through(pass) = circuit.ask(&loose, now) else { panic!("it is closed") };
            assert_eq!(circuit.ended(&loose, pass, Said::Ill, now), turned);
        }
        assert_eq!(circuit.standing(T.plus_ms(99_999)), Standing::Open(T.plus_ms(100_000)));
        assert_eq!(circuit.rule(), Some(&loose));
        // As many rules as it heeds, and the oldest is forgotten.
        for calls in 1..=9 {
            circuit.ask(&Rule { min_calls: calls, ..RULE }, T);
        }
        assert_eq!(circuit.tallies.len(), RULES);
        assert!(!circuit.is_idle(T));
        circuit.close();
        assert!(circuit.is_idle(T) && circuit.rule().is_some_and(|rule| rule.min_calls == 9));
    }
    #[test]
    fn one_probe_decides() {
        let mut circuit = opened();
        assert_eq!(circuit.ask(&RULE, T.plus_ms(4_999)), Asked::Shut(T.plus_ms(5_000)));
        let now = T.plus_ms(5_000);
        assert_eq!(circuit.standing(now), Standing::HalfOpen);
        let probe = through(&mut circuit, now);
        assert_eq!((circuit.ask(&RULE, now), circuit.standing(now)), (Asked::Probed, Standing::Probing));
        assert_eq!(circuit.ended(&RULE, probe, Said::Ill, now), Turned::Opened);
        assert_eq!(circuit.standing(now), Standing::Open(T.plus_ms(10_000)));
        let now = T.plus_ms(10_000);
        assert_eq!(call(&mut circuit, Said::Nothing, now), Turned::Again);
        assert_eq!(call(&mut circuit, Said::Well, now), Turned::Closed);
        assert_eq!((circuit.standing(now), circuit.opened()), (Standing::Closed, 2));
        assert_eq!(circuit.lately(now), (0, 0), "it begins anew");
    }
    #[test]
    fn what_began_before_it_opened_says_nothing() {
        let mut circuit = Circuit::default();
        let early = through(&mut circuit, T);
        for _ in 0..4 {
            call(&mut circuit, Said::Ill, T);
        }
        let now = T.plus_ms(5_000);
        let probe = through(&mut circuit, now);
        assert_eq!(circuit.ended(&RULE, early, Said::Well, now), Turned::Not);
        assert_eq!(circuit.standing(now), Standing::Probing);
        circuit.close();
        assert_eq!(circuit.ended(&RULE, probe, Said::Ill, now), Turned::Not, "somebody closed it");
        assert_eq!(circuit.standing(now), Standing::Closed);
    }
    /// Whatever happens, at most one call is under way while it is half open, and nobody passes before its time.
    #[test]
    fn a_thousand_random_lives() {
        let mut random = 1_u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..1_000 {
            let (mut circuit, mut now, mut under_way) = (Circuit::default(), T, Vec::new());
            for _ in 0..60 {
                now = now.plus_ms(next(1_500));
                if next(2) == 0 || under_way.is_empty() {
                    let before = circuit.standing(now);
                    match (before, circuit.ask(&RULE, now)) {
                        (Standing::Closed | Standing::HalfOpen, Asked::Through(pass)) => under_way.push(pass),
                        (Standing::Open(until), Asked::Shut(at)) => assert!(at == until && now < at),
                        (Standing::Probing, Asked::Probed) => {}
                        other => panic!("{other:?}"),
                    }
                } else {
                    let pass = under_way.swap_remove(next(under_way.len() as u64) as usize);
                    let said = [Said::Well, Said::Ill, Said::Nothing][next(3) as usize];
                    circuit.ended(&RULE, pass, said, now);
                }
                let probes = under_way.iter().filter(|pass| pass.probe && pass.turn == circuit.turns).count();
                assert_eq!(probes, usize::from(circuit.standing(now) == Standing::Probing));
            }
        }
    }
}
