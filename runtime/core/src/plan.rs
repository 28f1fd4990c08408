//! A workflow, checked and frozen. Whatever can be known before a run is known here; a run never meets a fault that
//! this could have found.
//!
//! [`Plan::read`] walks the author's document once and reports every fault with its path, line and column:
//! [`nodes`] turns the graph form into steps, [`walk`] is how a map is read, [`step`], [`wait`] and [`policy`] what stands in a step, [`graph`] who waits for whom.

mod absent;
pub mod admission;
pub mod agent;
mod approval;
mod ask;
mod call;
mod capability;
mod check;
mod child;
mod emit;
mod fallback;
mod fit;
pub(crate) mod gates;
mod graph;
mod group;
mod map;
mod narrow;
mod nodes;
mod notify;
mod parts;
mod policy;
mod reach;
mod reference;
mod schedules;
mod step;
mod triggers;
pub(crate) mod wait;
pub(crate) mod walk;

use crate::document::{Doc, Fault};
use crate::expr::{Expr, Template};
use crate::grant::Narrowing;
use crate::id::Digest;
use crate::journal::Nature;
use crate::json::Json;
use crate::limits::{AskedLimits, Limits};
use crate::outcome::PluginKind;
use crate::plugin::{Metadata, Pinned, PluginRef};
use crate::route::{Callee, CapabilityRef};
use crate::run::event::Node;
use crate::schema::Schema;
use crate::time::Span;
use crate::value::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

pub use admission::{AdmissionRules, OnDuplicate, OnLimit, SlotScope};
pub(crate) use approval::is_one_of;
pub use approval::{Approval, OnTimeout};
pub use ask::Ask;
pub use child::{Child, ChildWorkflow, OnParentCancel};
pub use emit::Emit;
pub use fallback::Alternative;
pub use gates::{GateRules, Keyed};
pub use notify::Notify;
pub use parts::Compensation;
pub use policy::{Backoff, CacheMode, CachePolicy, CacheScope, Jitter, Retry, Timeouts, Tolerance};
pub use reference::{WorkflowRef, WorkflowRefFault};
pub use schedules::{schedule_of, schedules_of};
pub use triggers::triggers_of;

/// A checked workflow.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `document.namespace`.
    pub namespace: Arc<str>,
    /// `document.name`.
    pub name: Arc<str>,
    /// `document.version`.
    pub version: semver::Version,
    /// `document.title`.
    pub title: Arc<str>,
    /// `document.description`.
    pub description: Arc<str>,
    /// `document.labels`, by name.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// What its parameters must look like, where it is a template. What it is then is what it would be with the values
    /// that they bring along; it does not run.
    pub template: Option<Schema>,
    /// The document in canonical form.
    pub source: Json,
    /// SHA-256 of the canonical form: what the version is frozen to.
    pub digest: Digest,
    /// What the input must look like.
    pub input_schema: Option<Schema>,
    /// The steps, sorted by id: the journal knows them by their index here.
    pub steps: Vec<Step>,
    /// Their indices as people are shown them: each after those that it waits for.
    pub order: Vec<u32>,
    /// For each step, the steps that wait for it.
    pub dependents: Vec<Vec<u32>>,
    /// What the run gives back; without it, the outputs of the steps that nothing waits for.
    pub output: Option<Template>,
    /// The most attempts of a run under way at the same time.
    pub max_parallel: Option<u32>,
    /// The most time a run may take.
    pub total: Option<Span>,
    /// What a failed step does to the others.
    pub on_step_failure: OnStepFailure,
    /// Whether what succeeded is undone when the run does not.
    pub compensation: Compensation,
    /// How runs are let in.
    pub admission: AdmissionRules,
    /// What becomes of runs of earlier versions. `upgrade.inFlight`.
    pub in_flight: InFlight,
    /// Everything that a step calls, each once.
    pub calls: Vec<Callee>,
    /// Who is told of what happens to its runs.
    pub notify: Vec<Notify>,
}

/// What a failed step does to the rest of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStepFailure {
    /// Nothing new starts, what runs is cancelled. The default.
    FailFast,
    /// Branches that do not depend on it go on; then the run fails. `failFast: false`.
    FinishOthers,
}

/// The parts of a run, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// `steps`.
    Main,
    /// `onError.steps`, when a step has failed.
    OnError,
    /// Every step's `compensate`, when the run fails or is cancelled: one at a time, the last that ended first. Of a list that did
    /// not end well, what its items gave is undone.
    Compensate,
    /// `finally`, whatever happened.
    Finally,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Part; 4] = [Part::Main, Part::OnError, Part::Compensate, Part::Finally];
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Part::Main => "main",
            Part::OnError => "onError",
            Part::Compensate => "compensate",
            Part::Finally => "finally",
        }
    }
}

/// What becomes of an attempt that was in its sandbox when the host went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCrash {
    /// It is tried again, with the same idempotency key. The default.
    #[default]
    Retry,
    /// The step fails: it must not run twice.
    Fail,
}

/// What becomes of runs that are under way when a version is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InFlight {
    /// They keep the version that they have. The default.
    #[default]
    Pin,
    /// They go on with the new one, where what they have done is the same in both.
    Migrate,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its id.
    pub id: Arc<str>,
    /// The number that runs of other workflows know it by which it asks for: its place, or the one that it had in the
    /// plan that the run began with.
    pub number: u32,
    /// Its title; empty where the author gave none.
    pub title: Arc<str>,
    /// What it waits for, and which endings it accepts.
    pub depends: Vec<Dependency>,
    /// Whether it runs at all.
    pub when: Option<Expr>,
    /// What it does.
    pub verb: Verb,
    /// The list it is done for.
    pub map: Option<MapOver>,
    /// What becomes of a failure.
    pub retry: Option<Retry>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Whether its output is kept and used again.
    pub cache: CachePolicy,
    /// Limits that it lowers.
    pub limits: AskedLimits,
    /// What it leaves of what is granted to the plugins that it calls.
    pub narrowing: Option<Arc<Narrowing>>,
    /// What an agent may call: `kind:name` or `kind:*`.
    pub tools: Vec<Arc<str>>,
    /// How far an agent may go.
    pub budget: agent::AgentBudget,
    /// Every step whose outcome one of its expressions reads.
    pub reads: BTreeSet<u32>,
    /// The part that it belongs to.
    pub part: Part,
    /// The group that it stands in.
    pub group: Option<u32>,
    /// Whether that group has a `when`.
    pub conditional: bool,
    /// The step that it undoes, where it is a `compensate`.
    pub undoes: Option<u32>,
    /// The step that undoes it.
    pub compensation: Option<u32>,
    /// What a person is told who has to undo it by hand.
    pub hint: Option<Json>,
    /// What becomes of it when the host goes away.
    pub on_crash: OnCrash,
    /// What is tried instead, when it has failed for good.
    pub fallback: Vec<Alternative>,
    /// Whether the run is paused before it begins.
    pub breakpoint: bool,
    /// What its attempts must pass.
    pub gates: Option<Box<GateRules>>,
    /// Who is asked when it has failed for good.
    pub on_failure: Option<Box<Ask>>,
    /// Whether people may skip it.
    pub skippable: bool,
}

impl Step {
    /// Whether it is open whether it runs at all, once its dependencies have ended.
    pub fn has_condition(&self) -> bool {
        self.when.is_some() || self.conditional
    }
    /// What the step and its plugin ask for, and the time that the workflow gives, or else this.
    pub fn asked(&self, plugin: &Pinned, default_timeout: Option<Span>) -> AskedLimits {
        let wall_ms = self.timeouts.run.or(default_timeout).map(|time| time.0);
        self.limits.lowest(plugin.limits).lowest(AskedLimits { wall_ms, ..AskedLimits::default() })
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Calls a plugin.
    Call {
        /// Index into the plan's `calls`.
        call: usize,
        /// Its input.
        with: Template,
    },
    /// Computes its output and nothing else.
    Set(Template),
    /// Waits.
    Wait(Wait),
    /// Asks people.
    Approval(Box<Approval>),
    /// Runs another workflow.
    Workflow(Box<Child>),
    /// Sends an event.
    Emit(Emit),
    /// Has the outputs of these steps, by their names in the group.
    Group(Vec<(Arc<str>, u32)>),
}

impl Verb {
    /// What it computes, where it does nothing else.
    pub(crate) fn computes(&self) -> Option<&Template> {
        match self {
            Verb::Set(template) => Some(template),
            Verb::Emit(emit) => Some(&emit.data),
            Verb::Call { .. } | Verb::Wait(_) | Verb::Approval(_) | Verb::Workflow(_) | Verb::Group(_) => {
                None
            }
        }
    }
    /// The word of the language.
    pub fn word(&self) -> &'static str {
        match self {
            Verb::Call { .. } => "call",
            Verb::Set(_) => "set",
            Verb::Wait(_) => "wait",
            Verb::Approval(_) => "approval",
            Verb::Workflow(_) => "workflow",
            Verb::Emit(_) => "emit",
            Verb::Group(_) => "parallel",
        }
    }
}

/// What a step waits for.
#[derive(Clone, Debug)]
pub enum Wait {
    /// So long, from when the step may begin.
    For(Template),
    /// This point in time.
    Until(Template),
    /// A signal.
    Signal {
        /// Its name.
        name: Arc<str>,
        /// Whether it is the one: sees the signal as `event`.
        matches: Option<Expr>,
        /// How long, at most.
        timeout: Option<Span>,
    },
}

/// `forEach`.
#[derive(Clone, Debug)]
pub struct MapOver {
    /// The list.
    pub list: Expr,
    /// How its items come from it.
    pub lists: Lists,
    /// The most items under way at the same time.
    pub max_parallel: Option<u32>,
    /// How many items may fail.
    pub tolerance: Tolerance,
}

/// How the items of a `forEach` come from its list.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The list within each element: its items are those of the step, and its outputs a list of lists.
    pub within: Option<Expr>,
    /// So many elements are one item.
    pub batch: Option<u32>,
}

/// One step that must have ended before another begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The step that must have ended.
    pub step: u32,
    /// The endings that will do.
    pub accepts: Vec<Ending>,
}

/// How a step can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// With an output.
    Succeeded,
    /// Not run.
    Skipped,
    /// With a failure.
    Failed,
    /// Stopped.
    Cancelled,
}

impl Ending {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Succeeded => "succeeded",
            Ending::Skipped => "skipped",
            Ending::Failed => "failed",
            Ending::Cancelled => "cancelled",
        }
    }
}

/// Why a workflow is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// It is new.
    New,
    /// A run has it already.
    Again,
}

/// The plugins that there are, for the checks that need to know them.
pub trait Catalog {
    /// The newest plugin that this reference can mean.
    fn find(&self, reference: &PluginRef) -> Option<Arc<Metadata>>;
    /// The plugins that can do this, in the order in which they are tried.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    fn candidates(&self, capability: &CapabilityRef) -> Result<Vec<Arc<Metadata>>, String> {
        Err(format!("no plugin provides `{}`; load one: `heddle plugin push FILE`", capability.name))
    }
    /// Why a plugin cannot do its work, where that is known: that something is not granted to it, and what to do.
    fn lacks_grant(&self, _plugin: &Metadata) -> Option<String> {
        None
    }
    /// Why a plugin may not use a secret, where that is known: that it is not granted to it, and what to do.
    fn lacks_use(&self, _plugin: &Metadata, _secret: &str) -> Option<String> {
        None
    }
    /// The references of all plugins, `kind:name`, for hints.
    fn names(&self) -> Vec<String>;
    /// Why a published workflow cannot be run, where that is known: that there is none, with what was probably meant.
    fn lacks_workflow(&self, _reference: &WorkflowRef) -> Option<String> {
        None
    }
    /// Why a webhook secret cannot be used, where that is known: that there is none of this name, and what to do.
    fn lacks_secret(&self, _name: &str) -> Option<String> {
        None
    }
}

impl Plan {
    /// Reads and checks a workflow. With a catalog, its calls are checked against the plugins that there are.
    ///
    /// # Errors
    /// Every fault of the document, in the order of their places.
    pub fn read(doc: &Doc, catalog: Option<&dyn Catalog>, limits: &Limits) -> Result<Plan, Vec<Fault>> {
        check::plan(doc, catalog, limits, Reading::New)
    }
    /// Reads a plan again that has been accepted before: under the hard maxima, and without what later versions demand
    /// of a new workflow, so that neither a lowered limit nor an upgrade takes a run in flight from its owner.
    pub fn reread(source: &Json) -> Result<Plan, Vec<Fault>> {
        let mut limits = Limits::default();
        for row in crate::limits::TABLE {
            // Each value is the row's own maximum, so it is accepted.
            let _ = limits.set(row.name, row.max);
        }
        check::plan(&Doc::of_value(source.value()), None, &limits, Reading::Again)
    }
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
    /// Whether a run of it leaves nothing outside itself: it calls nothing but transforms, runs no other workflow, sends
    /// no event and tells nobody.
    pub fn leaves_nothing(&self) -> bool {
        self.calls.iter().all(|callee| callee.kind() == PluginKind::Transform)
            && !self.steps.iter().any(|step| matches!(step.verb, Verb::Workflow(_) | Verb::Emit(_)))
            && self.notify.is_empty()
    }
    /// A step or an item by the number that the runs know it by which it asks for.
    pub(crate) fn counted(&self, node: Node) -> Node {
        let number = self.steps.get(node.step as usize).map_or(node.step, |step| step.number);
        Node { step: number, ..node }
    }
    /// The same plan, with these numbers for its steps.
    pub fn numbered(mut self, numbers: &[u32]) -> Plan {
        for (step, number) in self.steps.iter_mut().zip(numbers) {
            step.number = *number;
        }
        self
    }
    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<u32> {
        self.steps.iter().position(|s| &*s.id == id).map(|i| i as u32)
    }
    /// The plugin that a step calls.
    pub fn call_of(&self, step: u32) -> Option<(usize, &Callee)> {
        match self.steps.get(step as usize)?.verb {
            Verb::Call { call, .. } => Some((call, &self.calls[call])),
            _ => None,
        }
    }
    /// The plugin that does a step's work once so many of its alternatives have been taken; `None` where none does.
    pub fn call_at(&self, step: u32, alternative: u32) -> Option<(usize, &Callee)> {
        let Some(last) = alternative.checked_sub(1) else { return self.call_of(step) };
        match self.steps.get(step as usize)?.fallback.get(last as usize)? {
            Alternative::Call { call, .. } => Some((*call, &self.calls[*call])),
            Alternative::Value(_) => None,
        }
    }
    /// Whether the step's attempts are effects, which must not begin before their cause is durable.
    pub fn nature_of(&self, step: u32) -> Nature {
        let Some(step) = self.steps.get(step as usize) else { return Nature::Pure };
        let first = match &step.verb {
            Verb::Call { call, .. } => Some(*call),
            // A run of its own is nothing that could be taken back.
            Verb::Workflow(_) => return Nature::Effect,
            _ => None,
        };
        let others = step.fallback.iter().filter_map(|alternative| match alternative {
            Alternative::Call { call, .. } => Some(*call),
            Alternative::Value(_) => None,
        });
        let effect = |call: usize| self.calls.get(call).is_some_and(|call| !call.kind().is_pure());
        match first.into_iter().chain(others).any(effect) {
            true => Nature::Effect,
            false => Nature::Pure,
        }
    }
    /// The steps of a part.
    pub fn of_part(&self, part: Part) -> impl Iterator<Item = u32> + '_ {
        (0..self.steps.len() as u32).filter(move |step| self.steps[*step as usize].part == part)
    }
    /// The input with the defaults of its schema filled in, checked against it.
    ///
    /// # Errors
    /// Pointer and message of every place that does not match.
    pub fn accept_input(&self, input: &Json) -> Result<Json, Vec<crate::schema::Mismatch>> {
        let Some(schema) = &self.input_schema else { return Ok(input.clone()) };
        let filled = match fill_defaults(input.value(), schema.text().value()) {
            Some(value) => Json::from_value(value),
            None => input.clone(),
        };
        schema.check(&filled)?;
        Ok(filled)
    }
}

/// The value with missing members set to their schema's `default`; `None` when nothing is missing.
fn fill_defaults(value: &Value, schema: &Value) -> Option<Value> {
    let (Value::Map(map), Some(Value::Map(properties))) = (value, schema.get("properties")) else {
        return None;
    };
    let mut filled: Option<Map> = None;
    for (key, property) in properties.iter() {
        let new = match map.get(key) {
            Some(present) => fill_defaults(present, property),
            None => property.get("default").cloned(),
        };
        if let Some(new) = new {
            filled.get_or_insert_with(|| (**map).clone()).insert(key.clone(), new);
        }
    }
    filled.map(|map| Value::Map(Arc::new(map)))
}
