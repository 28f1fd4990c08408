//! When a workflow runs by itself. A [`Schedule`] is what an author said, checked; its points in time are its ticks.
//!
//! ```text
//!  definition + state ── decide(input, now) ──► facts ── apply ──► state ──► what is owed: starts, cancels, a wake
//! ```
//! Nothing here has a clock. Time comes in as an argument, and where a tick is spread by `jitter`, the spread is a hash
//! of the schedule's id and the tick, so that every node and every replay agree.

pub mod machine;
mod pattern;
pub mod state;

pub use pattern::{Cron, CronFault, Zone, ZoneFault};

use crate::json::Json;
use crate::time::{Span, Timestamp};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// A checked schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// `namespace.name.id`, unique among the schedules of a tenant.
    pub id: Arc<str>,
    /// When it ticks.
    pub timing: Timing,
    /// What becomes of a tick while a run of an earlier one is under way.
    pub overlap: Overlap,
    /// How late a tick may be and still count.
    pub catchup: Span,
    /// The most by which a tick is put off, so that many schedules do not all begin at once.
    pub jitter: Span,
    /// The input of its runs.
    pub input: Json,
    /// As the author wrote it, in canonical form.
    pub entry: Json,
}

/// When a schedule ticks.
#[derive(Clone, Debug)]
pub enum Timing {
    /// By the calendar of a time zone.
    Cron(Box<Cron>),
    /// At every multiple of this span since 1970-01-01T00:00:00Z.
    Every(Span),
    /// Once.
    At(Timestamp),
}

/// What becomes of a tick while a run of an earlier one is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped. The default.
    #[default]
    Skip,
    /// One waits; further ones are skipped.
    BufferOne,
    /// They all wait, and run one after the other.
    BufferAll,
    /// The run is cancelled, and the tick's own begins when it has ended. Of several ticks the last one runs.
    CancelOther,
    /// It runs beside the other.
    AllowAll,
}

impl Overlap {
    /// The words of the language.
    pub const WORDS: &[(&str, Overlap)] = &[
        ("skip", Overlap::Skip),
        ("bufferOne", Overlap::BufferOne),
        ("bufferAll", Overlap::BufferAll),
        ("cancelOther", Overlap::CancelOther),
        ("allowAll", Overlap::AllowAll),
    ];
    /// The word of the language.
    pub fn word(self) -> &'static str {
        Overlap::WORDS.iter().find(|(_, overlap)| *overlap == self).map_or("skip", |(word, _)| word)
    }
}

/// A time zone where none is said.
pub const DEFAULT_ZONE: &str = "UTC";
/// `catchup` where none is said.
pub const DEFAULT_CATCHUP: Span = Span(3_600_000);
/// A shorter `catchup` would lose ticks at every restart.
pub const LEAST_CATCHUP: Span = Span(10_000);

impl Timing {
    /// The first tick after this instant. `None` where there is none any more.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Timing::Cron(cron) => cron.next_after(instant),
            Timing::Every(span) => (instant.0 / span.0).checked_add(1)?.checked_mul(span.0).map(Timestamp),
            Timing::At(at) => Some(*at).filter(|at| *at > instant),
        }
    }
    /// In the words of the language: what the state of a schedule belongs to.
    pub fn text(&self) -> String {
        match self {
            Timing::Cron(cron) => format!("cron {} {}", cron.text(), cron.zone()),
            Timing::Every(span) => format!("every {span}"),
            Timing::At(at) => format!("at {}", at.rfc3339()),
        }
    }
    /// The id of a schedule that has none: it says what it can, and is the same wherever it stands in the list.
    pub fn default_id(&self) -> String {
        match self {
            Timing::Cron(_) => {
                let digest = crate::id::Digest::of(self.text().as_bytes()).hex();
                format!("cron-{}", &digest[..8])
            }
            Timing::Every(span) => format!("every-{span}"),
            Timing::At(at) => {
                let seconds = at.rfc3339().to_lowercase().replace(['-', ':'], "");
                format!("at-{}", seconds.replace(".000z", "z").replace('.', "-"))
            }
        }
    }
}

impl Schedule {
    /// The first tick after this instant, before jitter.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.timing.next_after(instant)
    }
    /// The next ticks after this instant, at most so many.
    pub fn next_times(&self, instant: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(instant), |at| self.next_after(*at)).take(count).collect()
    }
    /// When a tick is acted on: the tick, put off by its share of the jitter.
    pub fn fires_at(&self, tick: Timestamp) -> Timestamp {
        match self.jitter {
            Span(0) => tick,
            Span(most) => {
                let mut hash = Sha256::new();
                hash.update(self.id.as_bytes());
                hash.update([0]);
                hash.update(tick.0.to_be_bytes());
                let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
                tick.plus_ms(u64::from_be_bytes([a, b, c, d, e, f, g, h]) % (most + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_counted_from_the_epoch() {
        let every = Timing::Every(Span(900_000));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(every.next_after(at("2026-11-21T06:07:00Z")), Some(at("2026-11-21T06:15:00Z")));
        assert_eq!(every.next_after(at("2026-11-21T06:15:00Z")), Some(at("2026-11-21T06:30:00Z")));
        assert_eq!(every.next_after(Timestamp(u64::MAX)), None);
        assert_eq!(every.default_id(), "every-15m");
    }
    #[test]
    fn a_point_in_time_comes_once() {
        let at: Timestamp = "2026-12-01T06:00:00Z".parse().unwrap();
        let once = Timing::At(at);
        assert_eq!((once.next_after(Timestamp(0)), once.next_after(at)), (Some(at), None));
        assert_eq!(once.default_id(), "at-20261201t060000z");
    }
    #[test]
    fn jitter_is_the_same_everywhere_and_stays_within_its_bound() {
        let schedule = |id: &str, jitter| Schedule {
            id: id.into(),
            timing: Timing::Every(Span(60_000)),
            overlap: Overlap::Skip,
            catchup: DEFAULT_CATCHUP,
            jitter: Span(jitter),
            input: Json::trusted("{}"),
            entry: Json::trusted("{}"),
        };
        let spread = |id| {
            let schedule = schedule(id, 30_000);
            (0..500).map(|n| schedule.fires_at(Timestamp(n * 60_000)).0 - n * 60_000).collect::<Vec<_>>()
        };
        let one = spread("a.b.c");
        assert_eq!(one, spread("a.b.c"));
        assert_ne!(one, spread("a.b.d"));
        assert!(one.iter().all(|ms| *ms <= 30_000));
        assert!(one.iter().any(|ms| *ms < 5_000) && one.iter().any(|ms| *ms > 25_000), "{one:?}");
        assert_eq!(schedule("a.b.c", 0).fires_at(Timestamp(7)), Timestamp(7));
        // The value is part of the contract: a changed hash would move ticks of a running installation.
        assert_eq!(&one[..3], [23_531, 19_847, 4_300]);
    }
}
