//! Steps that ask people. What each of them decided is a fact; the step ends with the first rejection, or when enough
//! have approved and one of them is not the person who asked for the run.

use super::advance::succeeded;
use super::apply::wrong;
use super::event::{Event, Node, Payload};
use super::state::{Phase, StepState};
use super::{Action, IllegalEvent, Run, Timer};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::{Approval, OnTimeout, Verb};
use crate::time::Timestamp;
use crate::value::Value;
use std::sync::Arc;

/// What a person decided.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Who.
    pub by: Arc<str>,
    /// Whether they approve.
    pub approved: bool,
    /// Why, in their words.
    #[serde(skip_serializing_if = "is_empty", default)]
    pub comment: Arc<str>,
    /// What they filled in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub form: Option<Json>,
}

fn is_empty(text: &Arc<str>) -> bool {
    text.is_empty()
}

/// Why a decision is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecidable {
    /// No such step, or none that asks people.
    #[error("the run has no approval `{0}`")]
    NoSuchStep(String),
    /// No such step.
    #[error("the run has no step `{0}`")]
    NoStep(String),
    /// It is not where this could be done to it.
    #[error("`{step}` cannot be told to {wish} now ({status}): {why}")]
    Impossible {
        /// The step.
        step: String,
        /// Where it stands.
        status: &'static str,
        /// What was wanted.
        wish: &'static str,
        /// Why it cannot be.
        why: &'static str,
    },
    /// It asks for something else.
    #[error(
        "`{0}` is no approval: it has failed and asks what becomes of that; `heddle runs step retry`, `skip` or `fail` answers"
    )]
    AsksHelp(String),
    /// It has not begun, or has ended.
    #[error("`{step}` does not ask for a decision now: it is {status}")]
    NotAsked {
        /// The step.
        step: String,
        /// Where it stands.
        status: &'static str,
    },
    /// Somebody else's decision.
    #[error("`{by}` may not decide `{step}`; {who} may")]
    NotAssigned {
        /// The step.
        step: String,
        /// Who tried.
        by: String,
        /// Who may.
        who: String,
    },
    /// A second decision of the same person.
    #[error("`{0}` has decided already")]
    Twice(String),
    /// It was decided before this could count.
    #[error("`{0}` was decided before this decision could count")]
    TooLate(String),
    /// People have done as much with the run as they may.
    #[error(
        "the run has had {most} pauses and decisions already (limit interventions); it can be resumed and cancelled"
    )]
    TooMany {
        /// How many that is.
        most: u64,
    },
    /// The form is not as the step wants it.
    #[error("the form does not match: {0}")]
    Form(String),
}

impl Run {
    /// The approval of this name, where the run asks for it now.
    fn asked(&self, step: &str) -> Result<(u32, &Approval, &StepState), Undecidable> {
        let none = || Undecidable::NoSuchStep(step.to_owned());
        let index = self.plan.step(step).ok_or_else(none)?;
        let Verb::Approval(approval) = &self.plan.steps[index as usize].verb else {
            return Err(match self.steps[index as usize].asks() {
                Some(_) => Undecidable::AsksHelp(step.to_owned()),
                None => none(),
            });
        };
        let state = &self.steps[index as usize];
        match state.phase == Phase::Active && self.finished.is_none() {
            true => Ok((index, approval, state)),
            false => Err(Undecidable::NotAsked { step: step.to_owned(), status: state.word() }),
        }
    }

    /// Whether this decision counts.
    ///
    /// # Errors
    /// Why it does not.
    pub fn may_decide(
        &self,
        step: &str,
        groups: &[Arc<str>],
        decision: &Decision,
    ) -> Result<u32, Undecidable> {
        let (index, approval, state) = self.asked(step)?;
        if self.is_left_alone() {
            return Err(Undecidable::TooMany { most: self.limits.interventions });
        }
        if !approval.may_decide(&decision.by, groups) {
            let who: Vec<String> = approval.assignees.iter().map(|who| format!("`{who}`")).collect();
            return Err(Undecidable::NotAssigned {
                step: step.to_owned(),
                by: decision.by.to_string(),
                who: who.join(", "),
            });
        }
        if state.decisions.iter().any(|known| known.by == decision.by) {
            return Err(Undecidable::Twice(decision.by.to_string()));
        }
        if let (Some(schema), true) = (&approval.form, decision.approved) {
            let empty = Json::trusted("{}");
            schema
                .check(decision.form.as_ref().unwrap_or(&empty))
                .map_err(|mismatches| Undecidable::Form(mismatches[0].to_string()))?;
        }
        Ok(index)
    }

    /// What people have decided at this step.
    pub fn decided(&self, step: &str) -> &[Decision] {
        let step = self.plan.step(step).and_then(|step| self.steps.get(step as usize));
        step.map_or(&[], |step| &step.decisions)
    }

    pub(super) fn decide_decision(&self, step: &str, groups: &[Arc<str>], decision: &Decision) -> Vec<Event> {
        let Ok(index) = self.may_decide(step, groups, decision) else { return Vec::new() };
        let Ok((_, approval, state)) = self.asked(step) else { return Vec::new() };
        let mut events = vec![Event::ApprovalDecided { step: index, decision: decision.clone() }];
        if !decision.approved {
            let why = match decision.comment.is_empty() {
                true => String::new(),
                false => format!(": {}", decision.comment),
            };
            let failure = Failure::new(FailureKind::Rejected, format!("{} rejected it{why}", decision.by));
            events.push(Event::StepFailed { node: Node::step(index), failure: Box::new(failure) });
            return events;
        }
        let submitter = self.accepted.as_ref().and_then(|a| a.by.clone());
        let approvals = state.decisions.iter().chain([decision]);
        let (mut count, mut another) = (0, false);
        for approval in approvals {
            count += 1;
            another |= submitter.as_ref() != Some(&approval.by);
        }
        if count >= approval.quorum && another {
            events.push(self.approved(index, Some(decision)));
        }
        events
    }

    /// The step's end, with everything that was said.
    fn approved(&self, step: u32, last: Option<&Decision>) -> Event {
        let said = self.steps[step as usize].decisions.iter().chain(last);
        let said = said.map(|decision| {
            Value::map([
                ("by", Value::text(decision.by.clone())),
                ("approved", Value::Bool(decision.approved)),
                ("comment", Value::text(decision.comment.clone())),
                ("form", decision.form.as_ref().map(|form| form.value().clone()).unwrap_or_default()),
            ])
        });
        let output = Value::map([
            ("approved", Value::Bool(true)),
            ("timedOut", Value::Bool(last.is_none())),
            ("decisions", Value::list(said.collect())),
        ]);
        succeeded(Node::step(step), Payload::Inline(Json::from_value(output)))
    }

    /// What approves by itself when its time is up does so in a run that goes on: while it stands still, the timer is
    /// not even wanted. People can decide meanwhile.
    pub(super) fn time_approvals(&mut self) {
        let plan = self.plan.clone();
        let by_time = |step: &u32| matches!(&plan.steps[*step as usize].verb, Verb::Approval(approval) if approval.on_timeout == OnTimeout::Approve);
        for step in self.waiting.iter().copied().filter(by_time).collect::<Vec<_>>() {
            let until = self.steps[step as usize].waiting.and_then(|waiting| waiting.until);
            let Some(at) = until else { continue };
            let wake = Action::Wake { timer: Timer::Wait { step }, at };
            match self.paused {
                Some(_) => self.drop_action(wake),
                None => self.owe(wake),
            }
        }
    }

    /// Nobody decided in time.
    pub(super) fn decide_unanswered(&self, step: u32, approval: &Approval) -> Vec<Event> {
        let fail = |kind, message: &str| {
            vec![Event::StepFailed { node: Node::step(step), failure: Box::new(Failure::new(kind, message)) }]
        };
        match approval.on_timeout {
            // The timer was under way when the run was paused.
            OnTimeout::Approve if self.paused.is_some() => Vec::new(),
            OnTimeout::Approve => vec![self.approved(step, None)],
            OnTimeout::Reject => {
                fail(FailureKind::Rejected, "nobody decided in time, which counts as a rejection")
            }
            OnTimeout::Fail => fail(FailureKind::DeadlineExceeded, "nobody decided in time"),
        }
    }

    /// An approval begins to wait.
    pub(super) fn begin_approval(&self, step: u32, approval: &Approval, now: Timestamp) -> Vec<Event> {
        vec![Event::WaitStarted { step, until: approval.timeout.map(|timeout| now.plus_ms(timeout.0)) }]
    }

    pub(super) fn apply_decision(&mut self, step: u32, decision: &Decision) -> Result<(), IllegalEvent> {
        let state = &mut self.steps[step as usize];
        if state.phase != Phase::Active || state.waiting.is_none() {
            return Err(wrong("the step asks nobody"));
        }
        state.decisions.push(decision.clone());
        self.interventions += 1;
        Ok(())
    }
}
