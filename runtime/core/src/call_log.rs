//! The call log of an agent: what it asked of its host and what it was told, in the order of its own doing. An attempt
//! that takes the place of one that was cut off is told the same, until it asks what nobody has answered yet.
//!
//! ```text
//!  Opened ─► Asked 0 ─► Answered 0 ─► Asked 1 ─► Asked 2 ─► Answered 2 ─► Picked [1] ─► Answered 1 ─► Continued ─► Asked 3 …
//! ```
//!
//! Calls are numbered by the agent's own order of asking; answers come as they come, and which of several came first is
//! an entry of its own. An agent that hands on a state begins afresh from it, and what was before is never read again.

use crate::id::Digest;
use crate::json::Json;
use crate::outcome::{Failure, FailureKind, Spent};
use crate::run::artifact::Artifact;
use crate::run::event::Payload;
use crate::time::Timestamp;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// The first attempt began: its clock, and what it knows of itself.
    Opened {
        /// When.
        at: Timestamp,
        /// Which attempt.
        attempt: u32,
        /// When that was to end.
        deadline: Timestamp,
    },
    /// It asked. The entry is on disk before the call is made, where the call changes something.
    Asked {
        /// Which call, from 0.
        call: u64,
        /// The capability.
        capability: String,
        /// What was asked.
        request: Payload,
        /// Stands for it.
        digest: Digest,
        /// When.
        at: Timestamp,
    },
    /// It was told.
    Answered {
        /// Which call.
        call: u64,
        /// What it was told.
        answer: Payload,
        /// When.
        at: Timestamp,
        /// Files that the called plugin kept.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        files: Vec<Artifact>,
        /// What the call used of the budget.
        #[serde(skip_serializing_if = "Spent::is_nothing", default)]
        spent: Spent,
    },
    /// It waited for several, and these had ended.
    Picked {
        /// Which wait, from 0.
        pick: u64,
        /// By their places in what was waited for.
        these: Vec<u32>,
    },
    /// It handed on a state, and began afresh.
    Continued {
        /// The state.
        state: Payload,
        /// When.
        at: Timestamp,
    },
}

/// The capability by which models are asked.
pub const MODEL: &str = "model";

/// Bytes of a value.
pub fn size(payload: &Payload) -> u64 {
    match payload {
        Payload::Inline(json) => json.size() as u64,
        Payload::Stored { size, .. } => *size,
        Payload::Derived => 0,
    }
}

/// What an agent has spent, and what it may still spend; nothing where there is no such bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// What it has.
    pub spent: Spent,
    /// Calls of a model.
    pub calls_left: Option<u64>,
    /// Tokens, read and written.
    pub tokens_left: Option<u64>,
    /// Millionths of the operator's currency.
    pub cost_micros_left: Option<u64>,
}

/// A recorded answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What was told.
    pub answer: Payload,
    /// When.
    pub at: Timestamp,
    /// Files that the called plugin kept.
    pub files: Vec<Artifact>,
}

#[derive(Clone, Debug, PartialEq)]
struct Recorded {
    request: Payload,
    digest: Digest,
    told: Option<Told>,
}

/// What the record says of a call that is asked now.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It has not been asked before.
    New,
    /// It has been asked, and nobody knows what became of it: it is made again, with the same key.
    Open,
    /// It has been answered.
    Told(Told),
    /// Something else was asked in its place.
    Diverged(Payload),
}

/// What the entries of a log come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallLog {
    opened: Option<(Timestamp, u32, Timestamp)>,
    calls: BTreeMap<u64, Recorded>,
    picks: BTreeMap<u64, Vec<u32>>,
    state: Option<Payload>,
    entries: u64,
    next_call: u64,
    next_pick: u64,
    spent: Spent,
    segments: u64,
    models: u64,
    bytes: u64,
    /// What had been spent, and how often a model had been asked, when the segment began.
    before: (Spent, u64),
}

impl CallLog {
    /// Takes an entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.entries += 1;
        match entry {
            Entry::Opened { at, attempt, deadline } => self.opened = Some((*at, *attempt, *deadline)),
            Entry::Asked { call, capability, request, digest, .. } => {
                self.models += u64::from(capability == MODEL);
                self.bytes += size(request);
                let recorded = Recorded { request: request.clone(), digest: *digest, told: None };
                self.calls.insert(*call, recorded);
                self.next_call = self.next_call.max(call + 1);
            }
            Entry::Answered { call, answer, at, files, spent } => {
                self.spent = self.spent.and(*spent);
                self.bytes += size(answer);
                if let Some(recorded) = self.calls.get_mut(call) {
                    recorded.told = Some(Told { answer: answer.clone(), at: *at, files: files.clone() });
                }
            }
            Entry::Picked { pick, these } => {
                self.picks.insert(*pick, these.clone());
                self.next_pick = self.next_pick.max(pick + 1);
            }
            Entry::Continued { state, at } => {
                self.calls.clear();
                self.picks.clear();
                self.before = (self.spent, self.models);
                self.bytes += size(state);
                self.state = Some(state.clone());
                self.segments += 1;
                // The clock of the new segment begins where the old one stood.
                if let Some((opened, ..)) = &mut self.opened {
                    *opened = (*at).max(*opened);
                }
            }
        }
    }
    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }
    /// When the segment began that is under way, which attempt opened the log, and when that was to end.
    pub fn opened(&self) -> Option<(Timestamp, u32, Timestamp)> {
        self.opened
    }
    /// What the segment began with.
    pub fn state(&self) -> Option<&Payload> {
        self.state.as_ref()
    }
    /// Segments that have ended.
    pub fn segments(&self) -> u64 {
        self.segments
    }
    /// Where the numbers of the segment's calls and waits begin.
    pub fn begins(&self) -> (u64, u64) {
        let first = |numbers: Option<&u64>, next: u64| numbers.copied().unwrap_or(next);
        (first(self.calls.keys().next(), self.next_call), first(self.picks.keys().next(), self.next_pick))
    }
    /// What had been spent when the segment began, and how often a model had been asked.
    pub fn before(&self) -> (Spent, u64) {
        self.before
    }
    /// Bytes of all that was asked and told.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// What all answers used.
    pub fn spent(&self) -> Spent {
        self.spent
    }
    /// Whether the record has something to say of calls from this one on.
    pub fn knows_from(&self, call: u64) -> bool {
        self.calls.range(call..).next().is_some()
    }
    /// What the record says of a call.
    pub fn said(&self, call: u64, digest: Digest) -> Said {
        match self.calls.get(&call) {
            None => Said::New,
            Some(recorded) if recorded.digest != digest => Said::Diverged(recorded.request.clone()),
            Some(Recorded { told: Some(told), .. }) => Said::Told(told.clone()),
            Some(_) => Said::Open,
        }
    }
    /// Which had ended, where the record knows.
    pub fn picked(&self, pick: u64) -> Option<&[u32]> {
        self.picks.get(&pick).map(Vec::as_slice)
    }
}

/// That an agent asked something else than its record says, with both.
pub fn diverged(call: u64, recorded: Option<&Json>, asked: &Json) -> Failure {
    let of = |json: &Json| json.value().clone();
    let data = Value::map([
        ("call", Value::Int(call as i64)),
        ("recorded", recorded.map_or(Value::Null, of)),
        ("asked", of(asked)),
    ]);
    let message = format!(
        "call {call} of the agent is not the one that was recorded (`data` has both): its code reads something that is not in the record, or another build runs; its next attempt begins afresh"
    );
    Failure { data: Some(Json::from_value(data)), ..Failure::new(FailureKind::Diverged, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(text: &str) -> Payload {
        Payload::Inline(Json::trusted(text))
    }
    fn asked(call: u64, what: &str) -> Entry {
        let (request, digest) = (inline(what), Digest::of(what.as_bytes()));
        Entry::Asked { call, capability: "http".into(), request, digest, at: Timestamp(1) }
    }
    fn answered(call: u64) -> Entry {
        let spent = Spent { input_tokens: 2, ..Spent::default() };
        Entry::Answered { call, answer: inline("0"), at: Timestamp(5), files: Vec::new(), spent }
    }

    #[test]
    fn what_was_answered_is_told_again_and_what_was_not_is_asked_again() {
        let mut log = CallLog::default();
        for entry in [asked(0, "\"a\""), asked(1, "\"b\""), answered(1)] {
            log.apply(&entry);
        }
        let said = |call, what: &str| log.said(call, Digest::of(what.as_bytes()));
        assert_eq!(said(0, "\"a\""), Said::Open);
        assert!(matches!(said(1, "\"b\""), Said::Told(Told { at: Timestamp(5), .. })));
        assert_eq!(said(1, "\"c\""), Said::Diverged(inline("\"b\"")));
        assert_eq!(said(2, "\"b\""), Said::New);
        assert_eq!((log.begins(), log.knows_from(1), log.knows_from(2)), ((0, 0), true, false));
        assert_eq!(log.spent().tokens(), 2);
    }
    #[test]
    fn a_state_that_was_handed_on_leaves_nothing_of_what_was_before() {
        let mut log = CallLog::default();
        log.apply(&Entry::Opened { at: Timestamp(1), attempt: 2, deadline: Timestamp(9) });
        for entry in [asked(0, "1"), answered(0), Entry::Picked { pick: 0, these: vec![1] }] {
            log.apply(&entry);
        }
        log.apply(&Entry::Continued { state: inline("[1]"), at: Timestamp(7) });
        assert_eq!((log.begins(), log.picked(0), log.state()), ((1, 1), None, Some(&inline("[1]"))));
        assert_eq!(log.opened(), Some((Timestamp(7), 2, Timestamp(9))));
        log.apply(&asked(1, "2"));
        assert_eq!(log.begins(), (1, 1));
        assert_eq!(log.said(1, Digest::of(b"2")), Said::Open);
        assert_eq!((log.entries(), log.segments(), log.spent().tokens()), (6, 1, 2));
    }
    #[test]
    fn entries_are_read_as_they_are_written() {
        for entry in [asked(3, "{\"a\":1}"), answered(3), Entry::Picked { pick: 0, these: vec![0, 2] }] {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry, "{text}");
        }
    }
}
