//! How long everything is measured: a minute in all to see that nothing broke, several to believe a figure.

use crate::load::Span;
use std::time::Duration;

/// How long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// What the report calls it.
    pub(crate) mode: &'static str,
    /// Each load.
    pub(crate) span: Span,
    /// How often bare and product are measured in turn; the middle one of the ratios counts.
    pub(crate) rounds: usize,
    /// Bare sandbox calls.
    pub(crate) calls: usize,
    /// Flushes, and SQLite commits of each size.
    pub(crate) flushes: usize,
    /// Plugins at the start that is timed.
    pub(crate) plugins: usize,
    /// Starts that are timed.
    pub(crate) starts: usize,
    /// Runs that are parked.
    pub(crate) parked: usize,
}

impl Pace {
    /// About a minute.
    pub(crate) const QUICK: Pace = Pace {
        mode: "quick",
        span: Span { warm: Duration::from_millis(500), counted: Duration::from_millis(2_000) },
        rounds: 1,
        calls: 3_000,
        flushes: 300,
        plugins: 100,
        starts: 3,
        parked: 10_000,
    };
    /// Several.
    pub(crate) const FULL: Pace = Pace {
        mode: "full",
        span: Span { warm: Duration::from_millis(2_000), counted: Duration::from_millis(6_000) },
        rounds: 3,
        calls: 20_000,
        flushes: 2_000,
        plugins: 100,
        starts: 9,
        parked: 100_000,
    };
}
