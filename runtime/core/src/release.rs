//! Which version of a plugin new runs get. Until somebody decides, the newest one that is loaded; then the one that was
//! promoted, with a share of the runs for the one that is being tried, and back again when that does badly.
//!
//! ```text
//!             promote v                    the gate holds, `then: promote`
//!   newest ───────────► current v ◄──────────────────────────────┐
//!                          │   ▲                                  │
//!             promote w,   │   └── rollback, or the gate fails ── canary w (a share of the runs)
//!             share 10     └────────────────────────────────────►─┘
//! ```
//!
//! Runs that were accepted keep the version that they were accepted with, whatever is decided later.

use crate::plugin::PluginRef;
use crate::time::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Decisions that are remembered.
pub const MOST_CHANGES: usize = 32;

/// What was decided about the versions of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The version that runs get; none while the newest one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Version>,
    /// The version that some runs get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Versions that only a workflow gets that names them exactly, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withdrawn: BTreeMap<Version, String>,
    /// What was decided, the latest last; at most [`MOST_CHANGES`].
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub changes: VecDeque<Change>,
}

/// A version on trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The version.
    pub version: Version,
    /// Of a hundred runs, how many get it: 1 to 100.
    pub share: u8,
    /// Since when.
    pub since: Timestamp,
    /// What is asked of it; nothing, where a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<HealthGate>,
}

/// What is asked of a version on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthGate {
    /// After so many calls it is judged; earlier, where it cannot hold any more.
    pub calls: u32,
    /// Of a hundred calls, how many may fail: 0 to 99.
    pub failures_percent: u8,
    /// What becomes of one that holds.
    #[serde(default)]
    pub then: Then,
}

/// What becomes of a version that has passed its gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// It keeps its share until a person decides.
    #[default]
    Hold,
    /// It becomes the current one.
    Promote,
}

/// What was decided, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Decision,
    /// The current version before; none for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// The version that it is about; none for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// Whether nobody asked for it: the gate did it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_gate: bool,
    /// Why, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Sorts of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// A version became the current one.
    Promoted,
    /// A share of the runs tries one.
    Tried,
    /// One was withdrawn.
    RolledBack,
    /// The newest is meant again.
    Followed,
}

/// How a version stands among those of its plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Runs get it that name none.
    Current,
    /// A share of the runs gets it.
    Trial,
    /// It was taken back.
    Withdrawn,
    /// Those get it who ask for it.
    Other,
}

impl Standing {
    /// As documents have it.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::Trial => "trial",
            Standing::Withdrawn => "withdrawn",
            Standing::Other => "other",
        }
    }
}

/// How a version has done since it is on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls that ended.
    pub calls: u32,
    /// Those that speak against it.
    pub failures: u32,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has held, and is to be the current version.
    Promote,
    /// It has not, for this reason.
    RollBack(String),
}

/// Why a decision cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseFault {
    /// No such version is loaded.
    NoVersion(Version),
    /// There is no version before that is loaded and not withdrawn.
    NothingBefore,
    /// It has been taken back already, for this reason.
    IsWithdrawn(Version, String),
    /// It is not the one that would be taken back, which is this one.
    NotIts(Version, Option<Version>),
    /// A share is 1 to 100.
    Share(u8),
    /// A gate's numbers.
    Gate,
}

impl fmt::Display for ReleaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReleaseFault::NoVersion(version) => write!(f, "version `{version}` is not loaded"),
            ReleaseFault::NothingBefore => {
                f.write_str("there is no other version to go back to: load one, or promote one by name")
            }
            ReleaseFault::IsWithdrawn(version, why) => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                write!(f, "version `{version}` has been taken back already{why}")
            }
            ReleaseFault::NotIts(version, Some(meant)) => write!(
                f,
                "version `{version}` is neither current nor on trial; what would be taken back is `{meant}`"
            ),
            ReleaseFault::NotIts(version, None) => {
                write!(f, "version `{version}` is neither current nor on trial")
            }
            ReleaseFault::Share(share) => write!(f, "a share is 1 to 100 of a hundred runs, not {share}"),
            ReleaseFault::Gate => f.write_str("a gate has 1 to 100000 `calls` and 0 to 99 `failuresPercent`"),
        }
    }
}

impl Release {
    /// The version that a reference means for a run; `on_trial` for those of the share. `loaded` has every version that
    /// is loaded, the oldest first.
    pub fn pick<'a, T>(
        &self,
        loaded: &'a BTreeMap<Version, T>,
        reference: &PluginRef,
        on_trial: bool,
    ) -> Option<&'a T> {
        // Who names no version gets what was decided, even where that is a pre-release, which no range has.
        let takes = |version: &Version| is_any(&reference.range) || reference.range.matches(version);
        let named = |version: &Version| loaded.get(version).filter(|_| takes(version));
        let trial = self.trial.as_ref().filter(|_| on_trial).map(|trial| &trial.version);
        if let Some(found) = trial.into_iter().chain(&self.current).find_map(named) {
            return Some(found);
        }
        let matching = loaded.iter().rev().filter(|(version, _)| reference.range.matches(version));
        let is_exact = is_exact(&reference.range);
        let tried = |version: &Version| self.trial.as_ref().is_some_and(|trial| trial.version == *version);
        let mut open = matching
            .filter(|(version, _)| is_exact || (!self.withdrawn.contains_key(version) && !tried(version)));
        let found = open.next().map(|(_, found)| found);
        // There are pre-releases only: who names no version gets the newest of them.
        found.or_else(|| self.newest(loaded).filter(|_| is_any(&reference.range)).map(|(_, found)| found))
    }
    /// The version that runs get which name none.
    pub fn live<'a, T>(&self, loaded: &'a BTreeMap<Version, T>, on_trial: bool) -> Option<&'a T> {
        let trial = self.trial.as_ref().filter(|_| on_trial).map(|trial| &trial.version);
        let found = trial.into_iter().chain(&self.current).find_map(|version| loaded.get(version));
        found.or_else(|| self.newest(loaded).map(|(_, found)| found))
    }
    /// How a version stands.
    pub fn standing<T>(&self, loaded: &BTreeMap<Version, T>, version: &Version) -> Standing {
        let current = self.current.as_ref().filter(|current| loaded.contains_key(current));
        let current = current.or_else(|| self.newest(loaded).map(|(newest, _)| newest));
        match () {
            () if self.trial.as_ref().is_some_and(|trial| trial.version == *version) => Standing::Trial,
            () if self.withdrawn.contains_key(version) => Standing::Withdrawn,
            () if current == Some(version) => Standing::Current,
            () => Standing::Other,
        }
    }
    /// The newest that may be meant, a pre-release only where there is nothing else; where all are withdrawn, none.
    fn newest<'a, T>(&self, loaded: &'a BTreeMap<Version, T>) -> Option<(&'a Version, &'a T)> {
        let tried = self.trial.as_ref().map(|trial| &trial.version);
        let mut open = loaded
            .iter()
            .rev()
            .filter(|(version, _)| !self.withdrawn.contains_key(version) && Some(*version) != tried);
        open.clone().find(|(version, _)| version.pre.is_empty()).or_else(|| open.next())
    }
    /// Whether the run with this number, counted from 0 over those that could have it, is among the share.
    pub fn tries(&self, number: u64) -> bool {
        let share = self.trial.as_ref().map_or(0, |trial| u64::from(trial.share));
        (number + 1) * share / 100 > number * share / 100
    }

    /// Makes a version the current one, or lets a share of the runs try it.
    ///
    /// # Errors
    /// Where it is not loaded, or the numbers are none.
    pub fn promote<T>(&mut self, loaded: &BTreeMap<Version, T>, wish: Trial) -> Result<(), ReleaseFault> {
        if !loaded.contains_key(&wish.version) {
            return Err(ReleaseFault::NoVersion(wish.version));
        }
        if !(1..=100).contains(&wish.share) {
            return Err(ReleaseFault::Share(wish.share));
        }
        if wish.gate.is_some_and(|gate| !(1..=100_000).contains(&gate.calls) || gate.failures_percent > 99) {
            return Err(ReleaseFault::Gate);
        }
        self.withdrawn.remove(&wish.version);
        let (at, version) = (wish.since, wish.version.clone());
        // All of the runs under a gate are a trial as well: there must be something to go back to.
        if wish.share == 100 && wish.gate.is_none() {
            self.become_current(version, at, false, String::new());
            return Ok(());
        }
        // The others keep what they get now. Where that is this very version, they get the one below it.
        let now = self.current.clone().filter(|current| loaded.contains_key(current));
        let now = now.or_else(|| self.newest(loaded).map(|(newest, _)| newest.clone()));
        let is_open = |other: &&Version| **other != version && !self.withdrawn.contains_key(*other);
        let others = now.filter(|now| *now != version).or_else(|| {
            let below = loaded.range(..&version).map(|(below, _)| below).rev().find(&is_open);
            below.or_else(|| loaded.keys().find(&is_open)).cloned()
        });
        self.current = Some(others.ok_or(ReleaseFault::NothingBefore)?);
        let from = self.current.clone();
        self.note(Change {
            at,
            what: Decision::Tried,
            from,
            to: Some(version),
            by_gate: false,
            why: String::new(),
        });
        self.trial = Some(wish);
        Ok(())
    }
    /// Takes back the version on trial, or else the current one for the one before it. Where a `version` is named, that
    /// one or none: whoever takes back what has been taken back already takes back nothing more.
    ///
    /// # Errors
    /// Where there is nothing to go back to, and where the version is not the one that would be taken back.
    pub fn roll_back<T>(
        &mut self,
        loaded: &BTreeMap<Version, T>,
        version: Option<&Version>,
        (at, why, by_gate): (Timestamp, String, bool),
    ) -> Result<(), ReleaseFault> {
        let what = Decision::RolledBack;
        let meant = self.trial.as_ref().map(|trial| &trial.version).or(self.current.as_ref());
        let meant = meant.or_else(|| self.newest(loaded).map(|(version, _)| version));
        if let Some(version) = version
            && meant != Some(version)
        {
            return Err(match self.withdrawn.get(version) {
                Some(why) => ReleaseFault::IsWithdrawn(version.clone(), why.clone()),
                None => ReleaseFault::NotIts(version.clone(), meant.cloned()),
            });
        }
        if let Some(trial) = self.trial.take() {
            let from = self.current.clone();
            self.withdrawn.insert(trial.version.clone(), why.clone());
            self.note(Change { at, what, from, to: Some(trial.version), by_gate, why });
            return Ok(());
        }
        let now = self.current.clone().or_else(|| self.newest(loaded).map(|(version, _)| version.clone()));
        let now = now.ok_or(ReleaseFault::NothingBefore)?;
        let usable = |version: &&Version| {
            **version != now && loaded.contains_key(version) && !self.withdrawn.contains_key(version)
        };
        // What was current before; where nobody decided, the version below.
        let decided = self.changes.iter().rev().filter(|change| change.what == Decision::Promoted);
        let before = decided
            .filter(|change| change.to.as_ref() == Some(&now))
            .find_map(|change| change.from.as_ref().filter(&usable))
            .or_else(|| loaded.range(..&now).map(|(version, _)| version).rev().find(&usable))
            .or_else(|| loaded.keys().find(&usable))
            .cloned()
            .ok_or(ReleaseFault::NothingBefore)?;
        self.withdrawn.insert(now.clone(), why.clone());
        self.current = Some(before);
        self.note(Change { at, what, from: Some(now.clone()), to: Some(now), by_gate, why });
        Ok(())
    }
    /// The newest version is meant again.
    pub fn follow(&mut self, at: Timestamp) {
        let from = self.current.take();
        self.trial = None;
        self.note(Change {
            at,
            what: Decision::Followed,
            from,
            to: None,
            by_gate: false,
            why: String::new(),
        });
    }
    /// What the gate of the trial that began then says by now; nothing, where another one is under way, or none.
    pub fn judge_since(&self, since: Timestamp, seen: Seen) -> Option<Verdict> {
        self.trial.as_ref().filter(|trial| trial.since == since)?;
        self.judge(seen)
    }
    /// What the gate of the version on trial says by now.
    pub fn judge(&self, seen: Seen) -> Option<Verdict> {
        let trial = self.trial.as_ref()?;
        let gate = trial.gate?;
        let allowed = u64::from(gate.calls) * u64::from(gate.failures_percent) / 100;
        let judged = u64::from(gate.calls.max(seen.calls));
        if u64::from(seen.failures) > allowed.max(judged * u64::from(gate.failures_percent) / 100) {
            let (failures, calls) = (seen.failures, seen.calls);
            return Some(Verdict::RollBack(format!(
                "{failures} of {calls} calls of {} failed; its gate allows {} % of {}",
                trial.version, gate.failures_percent, gate.calls
            )));
        }
        (seen.calls >= gate.calls && gate.then == Then::Promote).then_some(Verdict::Promote)
    }
    /// The version on trial becomes the current one, since its gate has held.
    pub fn pass(&mut self, at: Timestamp, seen: Seen) {
        if let Some(trial) = self.trial.take() {
            let why = format!("{} of {} calls failed, and its gate held", seen.failures, seen.calls);
            self.become_current(trial.version, at, true, why);
        }
    }
    /// Whether a version may not go: it is on trial, or it is the one that runs get and there are others.
    pub fn needs<T>(&self, loaded: &BTreeMap<Version, T>, version: &Version) -> bool {
        match self.standing(loaded, version) {
            Standing::Trial => true,
            Standing::Current => self.current.is_some() || loaded.len() > 1,
            Standing::Withdrawn | Standing::Other => false,
        }
    }

    fn become_current(&mut self, version: Version, at: Timestamp, by_gate: bool, why: String) {
        let from = self.current.replace(version.clone());
        self.trial = None;
        self.note(Change { at, what: Decision::Promoted, from, to: Some(version), by_gate, why });
    }
    fn note(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > MOST_CHANGES {
            self.changes.pop_front();
        }
    }
}

/// Whether a range is none at all.
fn is_any(range: &semver::VersionReq) -> bool {
    range.comparators.is_empty()
}

/// Whether a range names one version, as `=1.2.3` does.
fn is_exact(range: &semver::VersionReq) -> bool {
    matches!(&*range.comparators, [only] if only.op == semver::Op::Exact && only.patch.is_some())
}

#[cfg(test)]
mod tests;
