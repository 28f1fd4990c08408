//! A run that stands still because somebody said so, or because a step has a breakpoint. What is under way ends; what
//! is due is noted; nothing new begins. A run that fails or is cancelled ends all the same.

use super::Run;
use super::event::Event;
use super::state::Phase;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a run stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Who wants it so.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// The step whose breakpoint it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<u32>,
}

impl Run {
    /// Who paused the run and why, where it is paused.
    pub fn paused(&self) -> Option<&Pause> {
        self.paused.as_deref()
    }
    pub(super) fn decide_pause(&self, pause: &Pause) -> Vec<Event> {
        match self.paused {
            Some(_) => Vec::new(),
            None if self.is_left_alone() => Vec::new(),
            None => vec![Event::RunPaused { pause: Box::new(pause.clone()) }],
        }
    }
    /// Whether people have done as much with the run as they may. What was paused can go on all the same, so that
    /// nobody can shut it in.
    pub(super) fn is_left_alone(&self) -> bool {
        self.interventions >= self.limits.interventions
    }
    pub(super) fn decide_resume(&self, by: &Arc<str>) -> Vec<Event> {
        match self.paused {
            Some(_) => vec![Event::RunResumed { by: by.clone() }],
            None => Vec::new(),
        }
    }
    /// The pause before a step that has a breakpoint, the first time that it could begin.
    pub(super) fn breakpoint(&self, step: u32) -> Option<Event> {
        let (plan, state) = (&self.plan.steps[step as usize], &self.steps[step as usize]);
        (plan.breakpoint && !state.stopped).then(|| {
            let reason = format!("the breakpoint of `{}`", plan.id);
            let pause = Pause { by: "workflow".into(), reason: reason.into(), step: Some(step) };
            Event::RunPaused { pause: Box::new(pause) }
        })
    }
    pub(super) fn apply_pause(&mut self, pause: &Pause) {
        self.interventions += u64::from(pause.step.is_none());
        self.paused = Some(Box::new(pause.clone()));
        if let Some(step) = pause.step
            && let Some(state) = self.steps.get_mut(step as usize)
        {
            state.stopped = true;
            if state.phase == Phase::Ready {
                self.classify(step);
            }
        }
    }
}
