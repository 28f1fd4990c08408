//! What a simulated run has to do with others: runs that it asks for, events that it sends, slots, and what people
//! want of its steps.

use super::{Checked, World};
use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::outcome::Usage;
use heddle_core::plan::Verb;
use heddle_core::run::event::{CacheVerdict, Event, Node, Payload};
use heddle_core::run::orders::{Order, Wish};
use heddle_core::run::{Action, Input};

impl World<'_> {
    /// What is not durable has not been asked for.
    pub(super) fn may_be_admitted(&self) -> bool {
        let durable = &self.store.rows[..self.store.durable];
        self.process.run.held_back().is_some() && self.store.checker.before.may_be_admitted(durable)
    }

    /// A run that this one waits for ends, or its end is told again.
    pub(super) fn child_ends(&mut self) -> Checked<bool> {
        let pick = self.rng.below(64);
        let Some((run, node, attempt)) = self.children.pick(pick) else { return Ok(false) };
        self.ended.insert((node, attempt));
        let fresh = match self.end(node, attempt) {
            Input::AttemptEnded { end, .. } => end,
            _ => return Ok(false),
        };
        let end = self.children.ends(run, fresh);
        self.now = self.now.plus_ms(self.rng.below(50));
        let (cache, usage) = (CacheVerdict::Off, Usage::default());
        self.settle(Input::AttemptEnded { node, attempt, end, cache, usage, artifacts: Vec::new() })?;
        Ok(true)
    }

    /// The witness of children: one begins only where its cause is durable; asking twice is asking once.
    pub(super) fn start_child(&mut self, run: RunId, node: Node, attempt: u32) -> Checked {
        if !self.process.run.pending().contains(&Action::Child { node, attempt }) {
            return Ok(());
        }
        let caused = |e: &Event| matches!(e, Event::AttemptStarted { node: n, attempt: a, .. } if *n == node && *a == attempt);
        if !self.store.is_durable(caused) {
            return Err(format!("the child of {node:?} attempt {attempt} began without a durable cause"));
        }
        self.report.children += u64::from(self.children.starts(run, node, attempt));
        Ok(())
    }

    /// A step that has sent its event has sent it once; one that has not has sent none.
    pub(super) fn each_is_sent_once(&self) -> Checked {
        let (plan, rows) = self.store.told(&self.store.rows)?;
        let sends = |node: &Node| matches!(plan.steps[node.step as usize].verb, Verb::Emit(_));
        let facts = rows.iter().flat_map(|row| &row.events);
        let told =
            facts.filter(|e| matches!(e, Event::StepSucceeded { node, output, .. } if sends(node) && *output != Payload::Derived)).count() as u64;
        match told == self.emitted {
            true => Ok(()),
            false => Err(format!("{told} steps have sent events, and {} were sent", self.emitted)),
        }
    }

    /// Somebody wants something of a step, whether or not it asks.
    pub(super) fn people_order(&mut self) -> Checked {
        let steps = &self.process.run.plan.steps;
        let step = steps[self.rng.below(steps.len() as u64) as usize].id.clone();
        let by = ["ana", "bo", "cy"][self.rng.below(3) as usize].into();
        let groups = if self.rng.once_in(2) { vec!["ops".into()] } else { Vec::new() };
        let what = match self.rng.below(8) {
            0 => Wish::Skip { value: Json::trusted("1") },
            1 => Wish::Fail {},
            2 if self.rng.once_in(4) => Wish::Cancel {},
            3 | 4 => Wish::Retry { input: Some(Json::trusted(r#"{"n":9}"#)) },
            _ => Wish::Retry { input: None },
        };
        self.settle(Input::Order { step, groups, order: Order { by, comment: "".into(), what } })
    }
}
