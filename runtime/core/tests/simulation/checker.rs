//! What must hold of a run's events, worked out from the plan and the events alone: nothing here asks the machine
//! that is being checked.

use super::after::After;
use super::queue::Before;
use heddle_core::plan::{Ending, Part, Plan, Verb, Wait};
use heddle_core::run::event::{ArtifactsOf, Event, Finish, Node, RetryVerdict};
use heddle_core::run::orders::{Order, Wish};
use heddle_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Interruptions in a row after which a step must not begin again.
const INTERRUPTIONS: u32 = 3;

/// Who asked for every simulated run.
pub(crate) const SUBMITTER: &str = "ana";

#[derive(Clone)]
pub(crate) struct Checker {
    plan: Arc<Plan>,
    max_parallel: u32,
    endings: BTreeMap<u32, Ending>,
    node_ended: BTreeSet<Node>,
    open: BTreeMap<Node, u32>,
    failures: BTreeMap<Node, u32>,
    interruptions: BTreeMap<Node, u32>,
    /// Steps that wait: until when, and the last signal that they have looked at.
    waiting: BTreeMap<u32, (Option<Timestamp>, Option<u32>)>,
    /// Signals by name, and whether they are taken.
    signals: Vec<(Arc<str>, bool)>,
    due: BTreeMap<Node, Timestamp>,
    /// Steps that have failed and ask people.
    asking: BTreeSet<u32>,
    items: BTreeMap<u32, u32>,
    cancelled: bool,
    over: bool,
    finished: bool,
    after: After,
    /// The time before it begins.
    pub(crate) before: Before,
}

impl Checker {
    pub(crate) fn new(plan: Arc<Plan>, max_parallel: u32) -> Checker {
        let after = After::new(plan.clone(), SUBMITTER);
        Checker {
            plan,
            max_parallel,
            endings: BTreeMap::new(),
            node_ended: BTreeSet::new(),
            open: BTreeMap::new(),
            failures: BTreeMap::new(),
            interruptions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            signals: Vec::new(),
            due: BTreeMap::new(),
            asking: BTreeSet::new(),
            items: BTreeMap::new(),
            cancelled: false,
            over: false,
            finished: false,
            after,
            before: Before::default(),
        }
    }

    /// Takes one event; the fault says what must never happen.
    pub(crate) fn see(&mut self, event: &Event, now: Timestamp) -> Result<(), String> {
        if self.finished {
            return Err(format!("{} after the end", event.kind()));
        }
        self.after.see(event, &self.endings)?;
        self.before.see(event, now)?;
        self.over |= matches!(event, Event::RunEnding { .. });
        match event {
            Event::RunAccepted(_)
            | Event::RunStarted {}
            | Event::RunDue {}
            | Event::RunEnding { .. }
            | Event::PartBegan { .. }
            | Event::RunMigrated { .. }
            | Event::MigrationRefused { .. }
            | Event::ApprovalDecided { .. }
            | Event::RunPaused { .. }
            | Event::RunResumed { .. } => Ok(()),
            Event::HelpAsked { step, .. } => self.asks(*step),
            Event::StepOrdered { step, order } => self.ordered(*step, order),
            Event::FallbackTaken { node, .. } => self.begins_anew(*node),
            Event::CancelRequested { .. } => {
                self.cancelled = true;
                Ok(())
            }
            Event::ConditionHeld { step } => self.may_begin(*step),
            Event::MapStarted { step, count, .. } => {
                self.items.insert(*step, *count);
                self.may_begin(*step)
            }
            Event::AttemptStarted { node, attempt, .. } => self.attempt_started(*node, *attempt),
            Event::AttemptInterrupted { node, attempt, entered } => {
                self.interrupted(*node, *attempt, *entered)
            }
            Event::AttemptFailed { node, attempt, retry, .. } => {
                self.closes(*node, *attempt)?;
                let failures = self.failures.entry(*node).or_default();
                *failures += 1;
                self.interruptions.remove(node);
                if let RetryVerdict::At(at) = retry {
                    let most = self.plan.steps[node.step as usize].retry.as_ref().map_or(1, |r| r.attempts);
                    if *failures >= most {
                        return Err(format!("{node:?} gets attempt {} of {most}", *failures + 1));
                    }
                    self.due.insert(*node, *at);
                }
                Ok(())
            }
            Event::ArtifactsKept(of) => self.keeps_files(of),
            Event::RetryDue { node, .. } => self.retry_due(*node, now),
            Event::WaitStarted { .. }
            | Event::SignalReceived { .. }
            | Event::SignalPassed { .. }
            | Event::SignalTaken { .. } => self.waits(event),
            Event::StepSucceeded { node, attempt, .. } => {
                if *attempt > 0 {
                    self.closes(*node, *attempt)?;
                }
                self.wait_ends(*node, now)?;
                self.ends(*node, Ending::Succeeded)
            }
            Event::StepFailed { node, .. } => self.ends(*node, Ending::Failed),
            Event::StepSkipped { step, .. } => self.ends(Node::step(*step), Ending::Skipped),
            Event::StepCancelled { step, .. } => self.ends(Node::step(*step), Ending::Cancelled),
            Event::RunFinished { finish, .. } => self.run_finished(*finish),
        }
    }

    /// What it failed with before counts no more.
    fn begins_anew(&mut self, node: Node) -> Result<(), String> {
        self.failures.insert(node, 0);
        self.interruptions.remove(&node);
        Ok(())
    }

    /// A step asks where it says so, once it has nothing under way.
    fn asks(&mut self, step: u32) -> Result<(), String> {
        if self.plan.steps[step as usize].on_failure.is_none() || self.endings.contains_key(&step) {
            return Err(format!("step {step} asks for help, and may not"));
        }
        if self.open.keys().any(|node| node.step == step) || self.due.keys().any(|node| node.step == step) {
            return Err(format!("step {step} asks for help and goes on by itself"));
        }
        match self.asking.insert(step) {
            true => Ok(()),
            false => Err(format!("step {step} asks for help twice")),
        }
    }
    /// What people want of a step counts where it may be wanted, and from whom.
    fn ordered(&mut self, step: u32, order: &Order) -> Result<(), String> {
        let plan = &self.plan.steps[step as usize];
        let may = match &order.what {
            Wish::Retry { .. } => {
                self.begins_anew(Node::step(step))?;
                self.asking.remove(&step)
            }
            Wish::Fail {} => self.asking.contains(&step),
            Wish::Skip { .. } => plan.skippable,
            Wish::Cancel {} => plan.part == Part::Main,
        };
        match may && !self.endings.contains_key(&step) {
            true => Ok(()),
            false => Err(format!("step {step} is told to {}, and cannot be", order.what.word())),
        }
    }

    fn interrupted(&mut self, node: Node, attempt: u32, entered: bool) -> Result<(), String> {
        if matches!(self.plan.steps[node.step as usize].verb, Verb::Workflow(_)) {
            return Err(format!("{node:?} waits for a run of its own and is interrupted"));
        }
        self.closes(node, attempt)?;
        *self.interruptions.entry(node).or_default() += u32::from(entered);
        Ok(())
    }

    fn waits(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::WaitStarted { step, until } => {
                self.may_begin(*step)?;
                match self.waiting.insert(*step, (*until, None)) {
                    None => Ok(()),
                    Some(_) => Err(format!("step {step} begins to wait twice")),
                }
            }
            Event::SignalReceived { name, .. } => {
                self.signals.push((name.clone(), false));
                Ok(())
            }
            Event::SignalPassed { step, signal } => self.looks(*step, *signal).map(drop),
            Event::SignalTaken { step, signal } => {
                let taken = self.looks(*step, *signal)?;
                match std::mem::replace(taken, true) {
                    false => Ok(()),
                    true => Err(format!("signal {signal} is taken twice")),
                }
            }
            _ => Ok(()),
        }
    }

    /// A waiting step looks at a signal: one of its name, and never at one before the last.
    fn looks(&mut self, step: u32, signal: u32) -> Result<&mut bool, String> {
        let Verb::Wait(Wait::Signal { name, .. }) = &self.plan.steps[step as usize].verb else {
            return Err(format!("step {step} waits for no signal"));
        };
        let Some((_, last)) = self.waiting.get_mut(&step) else {
            return Err(format!("step {step} does not wait"));
        };
        if last.is_some_and(|last| signal <= last) {
            return Err(format!("step {step} looks at signal {signal} again"));
        }
        *last = Some(signal);
        let Some((of, taken)) = self.signals.get_mut(signal as usize) else {
            return Err(format!("there is no signal {signal}"));
        };
        if of != name {
            return Err(format!("step {step} waits for `{name}` and looks at `{of}`"));
        }
        Ok(taken)
    }

    /// A wait for a time ends no earlier; one for a signal ends with one.
    fn wait_ends(&mut self, node: Node, now: Timestamp) -> Result<(), String> {
        let Some((until, last)) = self.waiting.get(&node.step) else { return Ok(()) };
        match &self.plan.steps[node.step as usize].verb {
            Verb::Wait(Wait::Signal { .. }) if !last.is_some_and(|l| self.signals[l as usize].1) => {
                Err(format!("{node:?} has waited for a signal and took none"))
            }
            Verb::Wait(Wait::Signal { .. }) | Verb::Approval(_) => Ok(()),
            _ if until.is_some_and(|until| until <= now) => Ok(()),
            _ => Err(format!("{node:?} waits until {until:?} and ends at {now:?}")),
        }
    }

    fn retry_due(&mut self, node: Node, now: Timestamp) -> Result<(), String> {
        match self.due.remove(&node) {
            Some(at) if at <= now => Ok(()),
            Some(at) => Err(format!("{node:?} is retried {} ms early", at.0 - now.0)),
            None => Err(format!("{node:?} is retried and waits for nothing")),
        }
    }

    fn keeps_files(&self, of: &ArtifactsOf) -> Result<(), String> {
        let ArtifactsOf { node, attempt, .. } = of;
        match self.open.get(node) {
            Some(open) if open == attempt => Ok(()),
            other => Err(format!("{node:?} keeps files of attempt {attempt}, and {other:?} is open")),
        }
    }

    fn attempt_started(&mut self, node: Node, attempt: u32) -> Result<(), String> {
        if node.item.is_none()
            && !self.failures.contains_key(&node)
            && !self.interruptions.contains_key(&node)
        {
            self.may_begin(node.step)?;
        }
        if self.cancelled && !self.over {
            return Err(format!("{node:?} begins in a cancelled run"));
        }
        if self.asking.contains(&node.step) {
            return Err(format!("{node:?} begins while people are asked"));
        }
        if self.endings.contains_key(&node.step) || self.node_ended.contains(&node) {
            return Err(format!("{node:?} begins after its end"));
        }
        if self.interruptions.get(&node).is_some_and(|n| *n >= INTERRUPTIONS) {
            return Err(format!("{node:?} begins after {INTERRUPTIONS} interruptions in a row"));
        }
        if self.open.insert(node, attempt).is_some() {
            return Err(format!("{node:?} has two attempts at once"));
        }
        if self.open.len() > self.max_parallel as usize {
            return Err(format!("{} attempts at once, and {} may", self.open.len(), self.max_parallel));
        }
        let cap = self.plan.steps[node.step as usize].map.as_ref().and_then(|m| m.max_parallel);
        let of_step = self.open.keys().filter(|n| n.step == node.step).count();
        if cap.is_some_and(|cap| of_step > cap as usize) {
            return Err(format!("step {} has {of_step} items at once, and {cap:?} may", node.step));
        }
        Ok(())
    }

    fn may_begin(&self, step: u32) -> Result<(), String> {
        for dependency in &self.plan.steps[step as usize].depends {
            match self.endings.get(&dependency.step) {
                Some(ending) if dependency.accepts.contains(ending) => {}
                other => {
                    return Err(format!("step {step} begins although step {} is {other:?}", dependency.step));
                }
            }
        }
        Ok(())
    }

    fn closes(&mut self, node: Node, attempt: u32) -> Result<(), String> {
        match self.open.remove(&node) {
            Some(open) if open == attempt => Ok(()),
            other => Err(format!("{node:?} ends attempt {attempt}, and {other:?} is open")),
        }
    }

    fn ends(&mut self, node: Node, ending: Ending) -> Result<(), String> {
        if self.endings.contains_key(&node.step) || !self.node_ended.insert(node) {
            return Err(format!("{node:?} ends twice"));
        }
        if node.item.is_none() {
            if ending == Ending::Succeeded
                && let Some(count) = self.items.get(&node.step)
            {
                let ended =
                    self.node_ended.iter().filter(|n| n.step == node.step && n.item.is_some()).count();
                if ended != *count as usize {
                    return Err(format!("step {} succeeded with {ended} of {count} items ended", node.step));
                }
            }
            self.asking.remove(&node.step);
            self.open.retain(|n, _| n.step != node.step);
            self.due.retain(|n, _| n.step != node.step);
            self.endings.insert(node.step, ending);
            self.after.ends(node.step);
        }
        Ok(())
    }

    fn run_finished(&mut self, finish: Finish) -> Result<(), String> {
        self.finished = true;
        let main: Vec<u32> = self.plan.of_part(Part::Main).collect();
        if let Some(open) = main.iter().find(|step| !self.endings.contains_key(step)) {
            return Err(format!("the run ends and step {open} has not"));
        }
        let failed_after = self.endings.iter().any(|(step, ending)| {
            !main.contains(step) && matches!(ending, Ending::Failed | Ending::Cancelled)
        });
        self.after.finished(finish, failed_after)?;
        let cancelled = finish == Finish::Cancelled;
        if cancelled && !self.cancelled
            || (self.cancelled && !cancelled && !failed_after && !self.after.has_failed())
        {
            return Err(format!("the run ends {finish:?}, cancelled: {}", self.cancelled));
        }
        let failed = main.iter().any(|step| self.endings.get(step) == Some(&Ending::Failed));
        if finish == Finish::Succeeded && failed {
            return Err("the run succeeded with a failed step".into());
        }
        Ok(())
    }

    /// Whether the plan calls something at this step.
    pub(crate) fn calls(plan: &Plan, node: Node) -> bool {
        matches!(plan.steps[node.step as usize].verb, Verb::Call { .. })
    }
}
