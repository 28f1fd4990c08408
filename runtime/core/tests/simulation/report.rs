//! What happened in many runs.

use std::collections::BTreeMap;
use std::fmt;

/// What a simulation saw.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) crashes: u64,
    pub(crate) fenced: u64,
    pub(crate) duplicates: u64,
    pub(crate) effects: u64,
    pub(crate) children: u64,
    pub(crate) lost_rows: u64,
    /// Steps that had begun when their run moved, and moves that were refused because such a step differs.
    pub(crate) kept: u64,
    pub(crate) differed: u64,
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) finishes: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn add(&mut self, other: Report) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.fenced += other.fenced;
        self.duplicates += other.duplicates;
        self.effects += other.effects;
        self.children += other.children;
        self.lost_rows += other.lost_rows;
        self.kept += other.kept;
        self.differed += other.differed;
        for (kind, n) in other.events {
            *self.events.entry(kind).or_default() += n;
        }
        for (finish, n) in other.finishes {
            *self.finishes.entry(finish).or_default() += n;
        }
    }
}
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} crashes, {} rows lost, {} effects, {} children, {} duplicates, {} fenced, {} steps kept in moves, {} moves refused for what differs; {:?}; events {:?}",
            self.runs,
            self.crashes,
            self.lost_rows,
            self.effects,
            self.children,
            self.duplicates,
            self.fenced,
            self.kept,
            self.differed,
            self.finishes,
            self.events
        )
    }
}
