//! The versions that a simulated run may go on with: its own with a change or two, of which some touch what it has done.

use super::plans;
use super::rng::Rng;
use heddle_core::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Versions of one workflow.
const VERSIONS: u64 = 6;

/// A workflow before it is text.
#[derive(Clone, Default)]
pub(crate) struct Draft {
    pub(crate) minor: u64,
    /// Whether runs of it move, so that it says what they give.
    pub(crate) moves: bool,
    pub(crate) goes_on: bool,
    pub(crate) has_time: bool,
    pub(crate) after: String,
    /// What stands around the steps and counts for them.
    pub(crate) around: String,
    /// The names of the steps, and what is said of them.
    pub(crate) steps: Vec<(String, String)>,
}

/// A version of a workflow.
pub(crate) struct Version {
    pub(crate) plan: Arc<Plan>,
    /// What a run of it gives when it ends well.
    pub(crate) minor: u64,
    /// What stands around its steps and counts for them.
    pub(crate) around: String,
    /// Each step in the words of its author.
    pub(crate) steps: BTreeMap<String, String>,
}

impl Draft {
    pub(crate) fn text(&self) -> String {
        let fail_fast = if self.goes_on { "failFast: false\n" } else { "" };
        let timeout = if self.has_time { "timeout: {total: 40s}\n" } else { "" };
        let moves = match self.moves {
            true => format!("upgrade: {{inFlight: migrate}}\noutput: {{as: {}}}\n", self.minor),
            false => String::new(),
        };
        let steps: Vec<String> = self.steps.iter().map(|(id, step)| format!("  {id}: {step}")).collect();
        format!(
            "document: {{dsl: \"1.0\", namespace: sim, name: case, version: 1.{}.0}}\n{moves}{fail_fast}{timeout}{}{}steps:\n{}\n",
            self.minor,
            self.around,
            self.after,
            steps.join("\n")
        )
    }

    fn read(&self) -> Result<Version, String> {
        let plan = plans::read(&self.text())?;
        let (minor, around) = (self.minor, self.around.clone());
        Ok(Version { plan, minor, around, steps: self.steps.iter().cloned().collect() })
    }

    fn change(&mut self, rng: &mut Rng) {
        match rng.below(14) {
            0..=3 => self.add(rng),
            4 if self.steps.len() > 1 => drop(self.steps.pop()),
            5 | 6 => {
                let at = rng.below(self.steps.len() as u64);
                if self.steps[at as usize].0.starts_with('s') {
                    self.steps[at as usize].1 = plans::step(at.min(self.known()), rng);
                }
            }
            7 => self.wait_for_more(rng),
            8 => self.goes_on = !self.goes_on,
            9 => self.has_time = !self.has_time,
            10 => self.after = plans::after(rng),
            11 => self.around = AROUND[rng.below(AROUND.len() as u64) as usize].to_owned(),
            _ => {}
        }
    }

    /// Steps that the first version has as well: they stand first.
    fn known(&self) -> u64 {
        self.steps.iter().take_while(|(id, _)| id.starts_with('s')).count() as u64
    }

    /// One step more, whose name makes it the first or the last of all.
    fn add(&mut self, rng: &mut Rng) {
        let id = format!("{}{}", ["a", "z"][rng.below(2) as usize], self.minor);
        if self.steps.iter().any(|(known, _)| *known == id) {
            return;
        }
        let on: Vec<&str> = self.steps.iter().filter(|_| rng.once_in(2)).map(|(id, _)| id.as_str()).collect();
        let depends = on.join(", ");
        let verb =
            ["set: 1", "call: \"tool:e@1\"", "wait: 2s", "workflow: sim/other@1"][rng.below(4) as usize];
        self.steps.push((id, format!("{{ dependsOn: [{depends}], {verb} }}")));
    }

    /// A step that waits for some others waits for one more, which is new.
    fn wait_for_more(&mut self, rng: &mut Rng) {
        let id = format!("n{}", self.minor);
        let at = rng.below(self.steps.len() as u64) as usize;
        let step = &mut self.steps[at].1;
        if let Some(rest) = step.strip_prefix("{ dependsOn: [").filter(|rest| !rest.starts_with(']')) {
            *step = format!("{{ dependsOn: [{id}, {rest}");
            self.steps.push((id, "{ set: 1 }".to_owned()));
        }
    }
}

/// What may stand around the steps. The second takes nothing from anybody.
const AROUND: &[&str] = &[
    "",
    "use: {retries: {more: {delay: 9s}}}\n",
    "defaults: {retry: {delay: 1s, limit: {attempts: 2}}}\n",
    "input: {schema: {type: object, required: [y]}}\n",
];

/// The versions of a workflow, the first of them as it is.
pub(crate) fn of(first: &Draft, number: u64) -> Vec<Version> {
    let mut rng = Rng::new(number ^ 0x00D1_FFE2);
    let mut drafts = vec![first.clone()];
    for minor in 1..VERSIONS {
        let from = drafts[rng.below(drafts.len() as u64) as usize].clone();
        let mut draft = Draft { minor, ..from };
        for _ in 0..1 + rng.below(2) {
            draft.change(&mut rng);
        }
        // Not every change makes a workflow.
        if draft.read().is_ok() {
            drafts.push(draft);
        }
    }
    drafts
        .iter()
        .map(|draft| draft.read().unwrap_or_else(|fault| panic!("{fault}\n{}", draft.text())))
        .collect()
}
