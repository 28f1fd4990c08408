//! The call logs of agents, by the rules of the SQLite store.

use super::state::State;
use crate::calls::{CallAppend, CallQuery, CallRow};
use crate::model::{AppendFault, StoreFault};
use crate::row;
use heddle_core::id::RunId;
use heddle_core::journal::LeaseStanding;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Entries with their checksums, by run, log and number.
pub(super) type Rows = BTreeMap<(RunId, Arc<str>, u64), (Vec<u8>, i64)>;

impl State {
    pub(super) fn append_calls(&mut self, append: CallAppend) -> Result<(), AppendFault> {
        let CallAppend { run, epoch, log, expected, entries, blobs, holds, urgency: _ } = append;
        if self.leases.standing(epoch, self.clock.steady()) != LeaseStanding::Living {
            return Err(AppendFault::Fenced { epoch });
        }
        let all = (run, log.clone(), 0)..=(run, log.clone(), u64::MAX);
        let found = self.calls.range(all).next_back().map_or(0, |((.., seq), _)| *seq);
        if found != expected {
            return Err(AppendFault::Conflict { run, expected, found });
        }
        for (seq, entry) in (expected + 1..).zip(&entries) {
            let coded = row::encode_call(run, &log, seq, entry)
                .map_err(|error| AppendFault::Unavailable(format!("an entry has no encoding: {error}")))?;
            self.calls.insert((run, log.clone(), seq), coded);
        }
        let named = entries.iter().flat_map(row::call_references).chain(holds);
        self.hold(run, blobs, named);
        Ok(())
    }

    pub(super) fn calls(&self, query: &CallQuery) -> Result<Vec<CallRow>, StoreFault> {
        let (log, after) = query.after.clone().unwrap_or_else(|| ("".into(), 0));
        let from = (Excluded((query.run, log, after)), Unbounded);
        let rows = self.calls.range(from).take_while(|((run, ..), _)| *run == query.run);
        let rows = rows.filter(|((_, log, _), _)| query.log.as_ref().is_none_or(|only| only == log));
        let rows = rows.take(query.limit as usize).map(|((run, log, seq), (body, checksum))| {
            row::decode_call(*run, log.clone(), *seq, body, *checksum)
        });
        rows.collect()
    }
}
