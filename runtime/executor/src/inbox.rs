//! What outsiders may tell a run, as it lies in the run's inbox.

use crate::read::{self, ReadFault};
use crate::shared::Shared;
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, Usage};
use heddle_core::run::approval::Decision;
use heddle_core::run::event::{CacheVerdict, Node, Order, Parent, Pause, Payload};
use heddle_core::run::{Ended, Input};
use heddle_store::{RunRow, RunStatus};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What lies in an inbox.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Message {
    /// The run is to end.
    Cancel {
        /// Who wants it so.
        by: Arc<str>,
        /// Why.
        reason: Arc<str>,
        /// Whether nothing more is to run.
        #[serde(default)]
        force: bool,
    },
    /// The run is to stand still.
    Pause(Pause),
    /// The run is to go on.
    Resume {
        /// Who wants it so.
        by: Arc<str>,
    },
    /// It is to go on with another version of its workflow, as soon as nothing of it is under way.
    Migrate {
        /// Who wants it so.
        by: Arc<str>,
        /// The version.
        version: semver::Version,
    },
    /// It has every slot that it asked for.
    Admitted {},
    /// It is to make room for a newer run.
    Evicted {
        /// The key of the slot.
        key: Arc<str>,
    },
    /// A signal.
    Signal {
        /// Its name.
        name: Arc<str>,
        /// Who sends it.
        by: Arc<str>,
        /// What it says.
        data: Json,
    },
    /// An event of the tenant.
    Event {
        /// Its name.
        name: Arc<str>,
        /// Who sends it.
        by: Arc<str>,
        /// What it says.
        data: Json,
    },
    /// A run that the run had asked for has ended.
    ChildEnded {
        /// The step or item that asked.
        node: Node,
        /// Its attempt.
        attempt: u32,
        /// Its output.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        output: Option<Payload>,
        /// Its failure.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failure: Option<Failure>,
    },
    /// What a person wants of one step.
    Order {
        /// The step.
        step: Arc<str>,
        /// The person's groups.
        groups: Vec<Arc<str>>,
        /// Who, what, and why.
        order: Order,
    },
    /// What a person has decided.
    Decide {
        /// The step that asks.
        step: Arc<str>,
        /// The person's groups.
        groups: Vec<Arc<str>>,
        /// Who, what, and why.
        decision: Decision,
    },
}

impl Message {
    /// How a run ended, for the attempt that asked for it.
    pub(crate) fn child_ended(parent: &Parent, end: Ended) -> Message {
        let (output, failure) = match end {
            Ended::Done(Payload::Derived) => (None, None),
            Ended::Done(output) => (Some(output), None),
            Ended::Failed(failure) => (None, Some(failure)),
        };
        Message::ChildEnded { node: parent.node, attempt: parent.attempt, output, failure }
    }
    /// As it is kept.
    pub(crate) fn body(&self) -> Json {
        // A message is plain data: it always has a form.
        Json::trusted(serde_json::to_string(self).unwrap_or_default())
    }
}

/// What a message means to the core.
pub(crate) fn input_of(body: &Json) -> Option<Input> {
    Some(match serde_json::from_str(body.text()).ok()? {
        Message::Cancel { by, reason, force } => Input::Cancel { by, reason, force },
        Message::Admitted {} => Input::Admitted,
        // No matter for the core: the driver sees to it.
        Message::Migrate { .. } => return None,
        Message::Evicted { key } => {
            let reason = format!("one run too many with the concurrency key `{key}`").into();
            Input::Cancel { by: "workflow".into(), reason, force: false }
        }
        Message::Pause(pause) => Input::Pause(pause),
        Message::Resume { by } => Input::Resume { by },
        Message::Signal { name, by, data } => Input::Signal { name, data: Payload::Inline(data), by },
        Message::Event { name, by, data } => Input::Event { name, data: Payload::Inline(data), by },
        Message::ChildEnded { node, attempt, output, failure } => {
            let end = failure
                .map_or_else(|| Ended::Done(output.unwrap_or(Payload::Inline(Json::null()))), Ended::Failed);
            let (cache, usage) = (CacheVerdict::Off, Usage::default());
            Input::AttemptEnded { node, attempt, end, cache, usage, artifacts: Vec::new() }
        }
        Message::Order { step, groups, order } => Input::Order { step, groups, order },
        Message::Decide { step, groups, decision } => Input::Decide { step, groups, decision },
    })
}

/// The version that a message wants the run to go on with, and who wants it.
pub(crate) fn migration_of(body: &Json) -> Option<Moving> {
    match serde_json::from_str(body.text()).ok()? {
        Message::Migrate { by, version } => Some(Moving { by, version }),
        _ => None,
    }
}

/// A wish for another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moving {
    /// Who has it.
    pub(crate) by: Arc<str>,
    /// The version.
    pub(crate) version: semver::Version,
}

/// A run as it will stand once it has read its inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// Where it stands now.
    pub(crate) status: RunStatus,
    /// Whether it is paused, or will be.
    pub(crate) paused: bool,
    /// Pauses and decisions of people.
    pub(crate) interventions: u64,
}

/// What a run has been told by now, whether or not it has taken it.
pub(crate) async fn heard(shared: &Shared, row: &RunRow) -> Result<Heard, ReadFault> {
    // The inbox is read first: what the run takes from it meanwhile says the same once more, and nothing is missed.
    let messages = shared.store.inbox(row.run).await?;
    let run = read::replay(shared, row).await?.run;
    let (status, paused) = (run.standing(), run.paused().is_some());
    let mut heard = Heard { status, paused, interventions: run.interventions() };
    for input in messages.iter().filter_map(|message| input_of(&message.body)) {
        match input {
            Input::Pause(_) => (heard.paused, heard.interventions) = (true, heard.interventions + 1),
            Input::Resume { .. } | Input::Cancel { .. } => heard.paused = false,
            Input::Decide { .. } | Input::Order { .. } => heard.interventions += 1,
            _ => {}
        }
    }
    heard.paused &= !heard.status.is_terminal();
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_means_what_was_sent() {
        let (by, reason) = (Arc::<str>::from("ana"), Arc::<str>::from("wrong file"));
        let cancel = Message::Cancel { by: by.clone(), reason: reason.clone(), force: false };
        let wanted = Input::Cancel { by: by.clone(), reason, force: false };
        assert_eq!(input_of(&cancel.body()), Some(wanted.clone()));
        // As messages were kept before there was `force`.
        let before = Json::trusted(r#"{"cancel":{"by":"ana","reason":"wrong file"}}"#);
        assert_eq!(input_of(&before), Some(wanted));
        let data = Json::trusted(r#"{"id":7}"#);
        let signal = Message::Signal { name: "paid".into(), by: by.clone(), data: data.clone() };
        let wanted = Input::Signal { name: "paid".into(), data: Payload::Inline(data), by };
        assert_eq!(input_of(&signal.body()), Some(wanted));
        assert_eq!(input_of(&Json::null()), None);
    }
}
