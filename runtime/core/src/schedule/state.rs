//! What is remembered of a schedule from one look at it to the next: one row of the store.

use crate::id::{Digest, RunId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// One point in time at which a schedule asks for a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// The time that the run is for.
    pub at: Timestamp,
    /// The wish of a person that it comes from; absent where it comes from the schedule itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked: Option<Asked>,
}

/// What a person asked of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What it is.
    pub wish: Wish,
    /// Its own id, so that the same time asked for twice is two ticks.
    pub id: Arc<str>,
    /// Who asked.
    pub by: Arc<str>,
}

/// The wishes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// A run now.
    Trigger,
    /// The runs of a time that is over.
    Backfill,
}

impl Tick {
    /// A tick of the schedule itself.
    pub fn of(at: Timestamp) -> Tick {
        Tick { at, asked: None }
    }
    /// What makes its run the only one: the idempotency key of a tick of this schedule. No client can send it, since no
    /// header carries its first character.
    pub fn key(&self, schedule: &str) -> String {
        let asked = self.asked.as_ref().map_or("", |asked| &asked.id);
        let text = format!("{}:{schedule}\n{}\n{asked}", schedule.len(), self.at.0);
        format!("\u{1}tick/{}", Digest::of(text.as_bytes()).hex())
    }
}

/// Where a schedule stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Every tick of the schedule itself up to here has been decided. Never goes back.
    pub after: Timestamp,
    /// Who keeps it from ticking, where somebody does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<Stopped>,
    /// Decided to run, and no run known yet.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub starting: Vec<Starting>,
    /// Waiting for a run to end.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub buffer: VecDeque<Waiting>,
    /// Runs that later ticks have to look at.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub running: Vec<Running>,
    /// The last ticks, the oldest first.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    pub recent: VecDeque<Record>,
    /// Whether the workflow has it no more.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub retired: bool,
}

/// Why a schedule does not tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Who says so.
    pub by: Arc<str>,
    /// In their words.
    pub reason: Arc<str>,
    /// Since when.
    pub at: Timestamp,
}

/// A tick whose run is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// The tick.
    pub tick: Tick,
    /// Whether later ticks have to look at its run.
    pub tracked: bool,
}

/// A tick that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The tick.
    pub tick: Tick,
    /// Whether what it waits for is cancelled.
    pub cancels: bool,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its tick.
    pub tick: Tick,
    /// The run.
    pub run: RunId,
    /// Whether it has been asked to end.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cancelled: bool,
}

/// What became of a tick, or of several in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The tick; the first one, where there are several.
    pub tick: Tick,
    /// What became of it.
    pub outcome: Outcome,
    /// When that was decided.
    pub decided: Timestamp,
    /// The others, where there are several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub several: Option<Several>,
}

/// Ticks in a row that nothing came of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Several {
    /// The last one.
    pub last: Timestamp,
    /// How many, the first and the last included; at least, where `more`.
    pub count: u64,
    /// Whether there were more than were counted.
    pub more: bool,
}

/// What can become of a tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Its run is owed.
    Starting,
    /// It waits for a run to end.
    Buffered,
    /// It has a run.
    Started(RunId),
    /// No run, by the rules of the schedule.
    Skipped(Skip),
    /// No run, because it was not accepted.
    Refused(Arc<str>),
}

/// Why a tick has no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Skip {
    /// A run of an earlier tick was under way.
    Overlap,
    /// As many ticks waited as may wait.
    BufferFull,
    /// A later tick took its place.
    Replaced,
    /// The schedule was paused.
    Paused,
    /// Nobody was there in time: it was later than `catchup` allows.
    Missed,
    /// The workflow's newest version has no such schedule.
    Withdrawn,
}

impl Skip {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Skip::Overlap => "overlap",
            Skip::BufferFull => "bufferFull",
            Skip::Replaced => "replaced",
            Skip::Paused => "paused",
            Skip::Missed => "missed",
            Skip::Withdrawn => "withdrawn",
        }
    }
    /// One sentence for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Skip::Overlap => "a run of an earlier tick was under way",
            Skip::BufferFull => "as many ticks waited as may wait",
            Skip::Replaced => "a later tick took its place",
            Skip::Paused => "the schedule was paused",
            Skip::Missed => "nobody was there in time: it was later than `catchup` allows",
            Skip::Withdrawn => "the workflow's newest version has no such schedule",
        }
    }
}

impl Outcome {
    /// The word of the API.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Starting => "starting",
            Outcome::Buffered => "buffered",
            Outcome::Started(_) => "started",
            Outcome::Skipped(_) => "skipped",
            Outcome::Refused(_) => "refused",
        }
    }
}

impl State {
    /// A schedule of which nothing has come yet: it ticks after this instant.
    pub fn since(instant: Timestamp) -> State {
        State { after: instant, ..State::default() }
    }
    /// Whether a tick would meet another's run.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty() || self.starting.iter().any(|owed| owed.tracked)
    }
    /// Runs that must be asked to end, because a tick waits that takes their place.
    pub fn to_cancel(&self) -> Vec<RunId> {
        match self.buffer.iter().any(|waiting| waiting.cancels) {
            true => self.running.iter().filter(|r| !r.cancelled).map(|r| r.run).collect(),
            false => Vec::new(),
        }
    }
    /// What became of a tick, as far as it is remembered.
    pub fn outcome(&self, tick: &Tick) -> Option<&Outcome> {
        self.recent.iter().rev().find(|record| record.tick == *tick).map(|record| &record.outcome)
    }
}
