//! What must hold of what follows the steps, of people's decisions, of pauses and of what is tried instead.

use heddle_core::plan::{Alternative, Compensation, Ending, Part, Plan, Verb};
use heddle_core::run::event::{CacheVerdict, Event, Finish, Node};
use heddle_core::run::orders::Wish;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct After {
    plan: Arc<Plan>,
    submitter: Arc<str>,
    finish: Option<Finish>,
    part: Part,
    /// Steps that have succeeded by work of their own, and lists of which some items have, in the order of their ends.
    done: Vec<u32>,
    worked: BTreeSet<u32>,
    /// Lists of which an item has succeeded by work of its own.
    gave: BTreeSet<u32>,
    undone: BTreeSet<u32>,
    /// Where nothing has begun, nothing follows.
    began: bool,
    forced: bool,
    paused: bool,
    /// People who have approved, by step.
    approvals: BTreeMap<u32, BTreeSet<Arc<str>>>,
    rejected: BTreeSet<u32>,
    alternatives: BTreeMap<Node, u32>,
}

impl After {
    pub(crate) fn new(plan: Arc<Plan>, submitter: &str) -> After {
        After {
            plan,
            submitter: submitter.into(),
            finish: None,
            part: Part::Main,
            done: Vec::new(),
            worked: BTreeSet::new(),
            gave: BTreeSet::new(),
            undone: BTreeSet::new(),
            began: false,
            forced: false,
            paused: false,
            approvals: BTreeMap::new(),
            rejected: BTreeSet::new(),
            alternatives: BTreeMap::new(),
        }
    }

    /// Whether the steps ended with a failure, which nothing takes back.
    pub(crate) fn has_failed(&self) -> bool {
        self.finish == Some(Finish::Failed)
    }

    fn part_of(&self, step: u32) -> Part {
        self.plan.steps[step as usize].part
    }

    pub(crate) fn see(&mut self, event: &Event, ended: &BTreeMap<u32, Ending>) -> Result<(), String> {
        match event {
            Event::RunStarted {} => self.began = true,
            Event::RunPaused { .. } => self.paused = true,
            Event::RunResumed { .. } => self.paused = false,
            Event::CancelRequested { force, .. } => {
                self.paused = false;
                self.forced |= *force;
            }
            Event::RunEnding { finish, .. } => {
                let open = self.plan.of_part(Part::Main).find(|step| !ended.contains_key(step));
                if let Some(step) = open {
                    return Err(format!("the steps are over and step {step} is open"));
                }
                self.finish = Some(*finish);
            }
            Event::PartBegan { part } => return self.part_begins(*part),
            Event::ApprovalDecided { step, decision } => {
                if !decision.approved {
                    self.rejected.insert(*step);
                } else if !self.approvals.entry(*step).or_default().insert(decision.by.clone()) {
                    return Err(format!("{} approves step {step} twice", decision.by));
                }
            }
            Event::StepOrdered { step, order } if matches!(order.what, Wish::Retry { .. }) => {
                self.alternatives.remove(&Node::step(*step));
            }
            Event::FallbackTaken { node, alternative, .. } => {
                let last = self.alternatives.insert(*node, *alternative).unwrap_or(0);
                let known = self.plan.steps[node.step as usize].fallback.len() as u32;
                if *alternative != last + 1 || *alternative > known {
                    return Err(format!("{node:?} takes alternative {alternative} of {known} after {last}"));
                }
            }
            // An item that failed may have done something, too.
            Event::StepFailed { node, .. } if node.item.is_some() => drop(self.worked.insert(node.step)),
            // What the items did is there, although the list is not.
            Event::StepFailed { node: Node { step, .. }, .. } | Event::StepCancelled { step, .. }
                if self.part == Part::Main && self.gave.contains(step) =>
            {
                self.done.push(*step);
            }
            Event::AttemptStarted { node, .. } => return self.begins(*node),
            Event::MapStarted { step, .. } | Event::WaitStarted { step, .. } if self.paused => {
                return Err(format!("step {step} begins in a paused run"));
            }
            Event::StepSucceeded { node, cache, .. } => return self.succeeds(*node, cache),
            _ => {}
        }
        Ok(())
    }

    fn begins(&self, node: Node) -> Result<(), String> {
        if self.paused {
            return Err(format!("{node:?} begins in a paused run"));
        }
        if self.part_of(node.step) != self.part {
            return Err(format!("{node:?} begins in the part {:?}", self.part));
        }
        let taken = self.alternatives.get(&node).copied().unwrap_or(0);
        let value =
            taken.checked_sub(1).map(|last| &self.plan.steps[node.step as usize].fallback[last as usize]);
        if matches!(value, Some(Alternative::Value(_))) {
            return Err(format!("{node:?} begins an attempt although a value stands for it"));
        }
        match self.plan.steps[node.step as usize].undoes {
            Some(undoes) if self.due_to_undo() != Some(undoes) => {
                Err(format!("step {undoes} is undone, and {:?} is due", self.due_to_undo()))
            }
            _ => Ok(()),
        }
    }
    /// The step that is undone next: the last that was done and has not been undone.
    fn due_to_undo(&self) -> Option<u32> {
        if self.plan.compensation == Compensation::None {
            return None;
        }
        let undoing = |step: &&u32| {
            self.plan.steps[**step as usize].compensation.is_some() && self.worked.contains(*step)
        };
        self.done.iter().filter(undoing).rfind(|step| !self.undone.contains(step)).copied()
    }

    fn part_begins(&mut self, part: Part) -> Result<(), String> {
        let Some(finish) = self.finish else {
            return Err(format!("{part:?} begins before the steps are over"));
        };
        let may = match part {
            Part::Main => false,
            Part::OnError => finish == Finish::Failed,
            Part::Compensate => finish != Finish::Succeeded && self.due_to_undo().is_some(),
            Part::Finally => true,
        };
        if !may || part <= self.part || (part == Part::Finally && self.left_undone(finish)) {
            return Err(format!("{part:?} begins after {:?} of a run that is {finish:?}", self.part));
        }
        self.part = part;
        Ok(())
    }
    /// Whether something is still to be undone.
    fn left_undone(&self, finish: Finish) -> bool {
        finish != Finish::Succeeded && self.due_to_undo().is_some()
    }

    fn succeeds(&mut self, node: Node, cache: &CacheVerdict) -> Result<(), String> {
        let step = node.step;
        // The list of a `forEach` is not work; its items are.
        let own = node.item.is_some() || self.plan.steps[step as usize].map.is_none();
        if own && !matches!(cache, CacheVerdict::Hit { .. }) {
            self.worked.insert(step);
            if node.item.is_some() {
                self.gave.insert(step);
            }
        }
        if node.item.is_some() {
            return Ok(());
        }
        if let Verb::Approval(approval) = &self.plan.steps[step as usize].verb {
            let by = self.approvals.get(&step).cloned().unwrap_or_default();
            let another = by.iter().any(|who| *who != self.submitter);
            let enough = by.len() as u32 >= approval.quorum && another;
            let by_time = approval.on_timeout == heddle_core::plan::OnTimeout::Approve;
            if self.rejected.contains(&step) || !(enough || by_time) {
                return Err(format!("step {step} is approved by {by:?}"));
            }
            if !enough && self.paused {
                return Err(format!("step {step} is approved by its time in a paused run"));
            }
        }
        if self.part == Part::Main {
            self.done.push(step);
        }
        Ok(())
    }

    /// A step has ended: what it undid is undone, or cannot be.
    pub(crate) fn ends(&mut self, step: u32) {
        self.undone.extend(self.plan.steps[step as usize].undoes);
    }

    pub(crate) fn finished(&self, finish: Finish, failed: bool) -> Result<(), String> {
        if let (Some(ending), false) = (self.finish, self.forced)
            && finish != ending
            && !(finish == Finish::Failed && failed)
        {
            return Err(format!("the steps ended {ending:?} and the run {finish:?}"));
        }
        if self.finish.is_some() && !self.forced && !failed && self.left_undone(finish) {
            return Err("something is left undone".into());
        }
        let last = self.plan.of_part(Part::Finally).next().is_some() && self.began;
        if last && self.part != Part::Finally && !self.forced && !failed {
            return Err("`finally` did not run".into());
        }
        Ok(())
    }
}
