//! A simulated run that is to go on with another version. The world plays the shell here as it does elsewhere: the wish
//! lies in the inbox until a row that answers it is durable, the row is written when nothing of the run is under way,
//! and what drives the run from then on is made from the journal.

use super::{
    Batch, Checked, Digest, Event, Input, LIMITS, Pause, Payload, Plan, Process, Run, World, journal,
};
use crate::versions::Version;
use heddle_core::run::event::{Finish, Node};
use heddle_core::run::migrate::{Move, Unmovable, begun, prove};
use std::collections::BTreeSet;
use std::sync::Arc;

impl World<'_> {
    /// Somebody wants another version, or what was wanted is done; whether it took this turn.
    pub(super) fn is_to_move(&mut self) -> Checked<bool> {
        let Some(wanted) = self.wanted else {
            if self.rng.once_in(6) {
                self.wanted = Some(self.rng.below(self.case.versions.len() as u64) as usize);
            }
            return Ok(false);
        };
        if self.process.run.paused().is_none() && self.rng.once_in(6) {
            self.settle(Input::Pause(Pause { by: "sim".into(), reason: "".into(), step: None }))?;
            return Ok(true);
        }
        if self.is_busy() || !self.rng.once_in(2) {
            return Ok(false);
        }
        // What is proved is what is on disk.
        while !self.process.queued.is_empty() {
            self.commit()?;
        }
        // A run that has ended is told nothing any more.
        if self.is_busy() || self.process.run.may_move() == Err(Unmovable::Ended) {
            return Ok(true);
        }
        let case = self.case;
        let to = &case.versions[wanted];
        match self.prove(to) {
            Ok(plan) => self.moves(plan, to)?,
            Err(why) => self.stays(&why, to)?,
        }
        Ok(true)
    }

    fn is_busy(&self) -> bool {
        !self.process.flying.is_empty() || self.process.run.may_move() == Err(Unmovable::Busy)
    }

    /// The plan that the run would have, or why it keeps its own.
    fn prove(&self, to: &Version) -> Result<Arc<Plan>, String> {
        let run = &self.process.run;
        run.may_move().map_err(|why| why.to_string())?;
        if run.plan.version == to.plan.version {
            return Err("it has the version already".to_owned());
        }
        let (from, rows) = self.store.told(&self.store.rows)?;
        let begun = begun(rows.iter().flat_map(|row| &row.events));
        prove(&from, &to.plan, &begun, &self.case.input).map_err(|obstacles| {
            obstacles.iter().map(|o| format!("{}: {}; ", o.path, o.message)).collect::<String>()
        })?;
        let moving = Move::between(&from, &to.plan);
        let after: Option<Vec<Batch>> = rows.iter().map(|row| moving.batch(row)).collect();
        let after = after.ok_or("the journal has no numbers there")?;
        Run::replay(run.id, to.plan.clone(), LIMITS.clone(), &after).map_err(|fault| fault.to_string())?;
        let numbers = moving.numbers(&from, &to.plan, run.migrations().len());
        Ok(Arc::new((*to.plan).clone().numbered(&numbers)))
    }

    /// The answer to the wish, which takes it from the inbox; whether it came so far before the power went.
    fn answer_wish(&mut self, event: Event) -> Checked<bool> {
        self.process.run.apply(&event, self.now).map_err(|fault| fault.to_string())?;
        let seq = self.process.gate.handed_over();
        self.process.queued.push((seq, Batch { at: self.now, events: vec![event] }, (Vec::new(), 0)));
        if self.crash_rate > 0 && self.rng.once_in(4) {
            self.crash()?;
            return Ok(false);
        }
        while !self.process.queued.is_empty() {
            self.commit()?;
        }
        self.wanted = None;
        self.answered += 1;
        Ok(true)
    }

    /// It keeps its version, and nothing else is different.
    fn stays(&mut self, why: &str, to: &Version) -> Checked {
        let picture = |run: &Run| {
            let mut view = run.view();
            view.migrations.clear();
            format!("{view:?} {:?}", run.pending())
        };
        let run = &self.process.run;
        if run.may_move().is_ok() && run.plan.version != to.plan.version {
            self.report.differed += 1;
            if self.is_the_same(to)? {
                return Err(format!("a run that has done nothing else keeps its version: {why}"));
            }
        }
        let before = picture(&self.process.run);
        let version = to.plan.version.to_string().into();
        let refused = Event::MigrationRefused { by: "sim".into(), version, why: why.into() };
        if self.answer_wish(refused)? && picture(&self.process.run) != before {
            return Err(format!("a run that keeps its version has changed from {before}"));
        }
        Ok(())
    }

    /// The steps of which the journal says anything, by their names.
    fn past(&self) -> Checked<BTreeSet<Arc<str>>> {
        let (plan, rows) = self.store.told(&self.store.rows)?;
        let begun = begun(rows.iter().flat_map(|row| &row.events));
        Ok(begun.iter().map(|step| plan.steps[*step as usize].id.clone()).collect())
    }

    /// Whether the authors of both versions say the same of all that has begun, and around it.
    fn is_the_same(&self, to: &Version) -> Checked<bool> {
        let version = &self.process.run.plan.version;
        let from = self.case.versions.iter().find(|known| known.plan.version == *version);
        let from = from.ok_or("the run has a version that there is not")?;
        let said = |id: &str| {
            let root = id.split('.').next().unwrap_or(id);
            from.steps.contains_key(root) && from.steps.get(root) == to.steps.get(root)
        };
        let past = self.past()?;
        // One policy more is nobody's yet, and nothing counts for a run that has done nothing, its input apart.
        let around = match (from.around.as_str(), to.around.as_str()) {
            (_, to) if to.starts_with("input") => false,
            ("", to) if to.starts_with("use") => true,
            (from, to) => from == to || past.is_empty(),
        };
        Ok(around && past.iter().all(|id| said(id)))
    }

    /// It goes on with another plan, and with all that it has done.
    fn moves(&mut self, plan: Arc<Plan>, to: &Version) -> Checked {
        if !self.is_the_same(to)? {
            return Err(format!("a run moves to {}, where its past is another", to.plan.version));
        }
        let (past, before) = (self.past()?, self.process.run.plan.clone());
        let all_done: Vec<(Arc<str>, String)> =
            past.iter().map(|id| (id.clone(), done(&self.process.run, id))).collect();
        let count = u8::try_from(self.store.snapshots.len()).map_err(|_| "a run moves without end")?;
        let snapshot = Digest([count; 32]);
        self.store.snapshots.insert(snapshot, plan.clone());
        let version = to.plan.version.to_string().into();
        if !self.answer_wish(Event::RunMigrated { by: "sim".into(), version, snapshot })? {
            return Ok(());
        }
        // What has really happened is known by the names of the steps.
        let number =
            |node: Node| Some(Node { step: plan.step(&before.steps[node.step as usize].id)?, ..node });
        let known = |all: &BTreeSet<(Node, u32)>| -> BTreeSet<(Node, u32)> {
            all.iter().filter_map(|(node, attempt)| Some((number(*node)?, *attempt))).collect()
        };
        (self.started, self.ended) = (known(&self.started), known(&self.ended));
        let fresh = Process::take(self.process.run.id.0 as u64, &self.store)?;
        self.children.moved(number, &fresh.run)?;
        for (id, before) in all_done {
            let after = done(&fresh.run, &id);
            if after != before {
                return Err(format!("`{id}` was {before} before a move, and is {after} after it"));
            }
            self.report.kept += 1;
        }
        for step in fresh.run.plan.steps.iter().filter(|step| !past.contains(&step.id)) {
            let view = fresh.run.step_view(fresh.run.plan.step(&step.id).unwrap_or_default());
            if view.is_none_or(|view| view.status != "pending" || !view.work.attempts.is_empty()) {
                return Err(format!("`{}` had not begun before a move, and has after it", step.id));
            }
        }
        if self.crash_rate > 0 && self.rng.once_in(4) {
            return self.crash();
        }
        self.process = fresh;
        let entered = self.entered();
        self.settle(Input::Taken(entered))
    }

    /// A run that moves gives what the version says that it has in the end, and every answer to a wish was asked for.
    pub(super) fn ends_by_its_plan(&self) -> Checked {
        let run = &self.process.run;
        let known = self.case.versions.iter().find(|known| known.plan.version == run.plan.version);
        let last = self.store.rows.iter().rev().find_map(journal::moved_to).unwrap_or(journal::FIRST);
        if self.store.snapshots.get(&last).map(|plan| &plan.version) != Some(&run.plan.version) {
            return Err("a run ends with another plan than its journal says".to_owned());
        }
        if run.migrations().len() as u64 != self.answered {
            return Err(format!(
                "{} wishes have an answer, and it tells of {:?}",
                self.answered,
                run.migrations()
            ));
        }
        let (Some(version), Some(Finish::Succeeded)) = (known, run.finish()) else { return Ok(()) };
        match run.output() {
            Some(Payload::Inline(json)) if json.text() == &*version.minor.to_string() => Ok(()),
            other => Err(format!("a run of version 1.{}.0 gives {other:?}", version.minor)),
        }
    }
}

/// What a step has done so far, in words that say nothing of its number.
fn done(run: &Run, id: &str) -> String {
    let Some((step, view)) = run.plan.step(id).and_then(|step| Some((step, run.step_view(step)?))) else {
        return "gone".to_owned();
    };
    let times = (view.ready_at, view.started_at, view.finished_at);
    let people = (&view.asks, &view.decisions, &view.orders);
    let signal = view.waits.as_ref().map(|waits| &waits.signal);
    let items = run.item_views(step, 0, u32::MAX);
    format!("{} {:?} {:?} {times:?} {people:?} {signal:?} {items:?}", view.status, view.reason, view.work)
}
