//! Triggers: the events on which a workflow starts by itself. Here is what a trigger makes of an event; which triggers a
//! workflow has is read by `plan::triggers`, and who starts the run is the shell's.
//!
//! ```text
//!  emit, POST /v1/events ─┐
//!  a run that has ended ──┼─► Occurrence ─► wants? ─► match? ─► input ─► run
//!  POST /v1/hooks/… ──────┘
//! ```

use crate::expr::eval::{Budget, EvalFault, Scope};
use crate::expr::{Expr, Template};
use crate::id::Digest;
use crate::json::Json;
use crate::limits::Limits;
use crate::run::event::Finish;
use crate::time::Timestamp;
use crate::value::Value;
use crate::webhook::inbound::Scheme;
use std::sync::Arc;

/// The name by which a trigger's expressions speak of what has happened.
pub(crate) const EVENT: &str = "event";
/// All runs, or all of a namespace.
const EVERY: &str = "*";

/// An event on which a workflow starts.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// `namespace.name.id`.
    pub id: Arc<str>,
    /// On what.
    pub on: On,
    /// Only where this is true.
    pub matches: Option<Expr>,
    /// The input of its runs; without it, what the event says.
    pub input: Option<Template>,
}

/// On what a trigger starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// An event of the tenant: a step's `emit`, or `POST /v1/events`.
    Event {
        /// Its name.
        name: Arc<str>,
    },
    /// A run that ends.
    Run {
        /// `namespace/name`, `namespace/*` or `*`. A pattern never means the trigger's own workflow.
        workflow: Arc<str>,
        /// How.
        ends: Vec<Finish>,
    },
    /// What others send to the trigger's own address.
    Webhook {
        /// How it is signed.
        scheme: Scheme,
        /// The name of the secret that signs.
        secret: Arc<str>,
    },
}

impl On {
    /// The word of the language, and what stands behind it.
    pub fn told(&self) -> (&'static str, &str) {
        match self {
            On::Event { name } => ("event", name),
            On::Run { workflow, .. } => ("run", workflow),
            On::Webhook { scheme, .. } => ("webhook", scheme.word()),
        }
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// What makes it the only one.
    pub id: Arc<str>,
    /// The event's name; `run.succeeded` and its like where a run has ended; `webhook` for what others send.
    pub name: Arc<str>,
    /// Who says so.
    pub by: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub data: Json,
    /// What came with it, where others have sent it: names in lower case.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// How many runs have started one another by triggers, up to the one that it comes from.
    pub depth: u64,
}

impl Occurrence {
    /// As expressions see it, and as it is kept.
    pub fn value(&self) -> Value {
        let mut members = vec![
            ("id", Value::text(self.id.clone())),
            ("name", Value::text(self.name.clone())),
            ("by", Value::text(self.by.clone())),
            ("time", Value::text(self.at.rfc3339())),
            ("depth", Value::Int(self.depth as i64)),
            ("data", self.data.value().clone()),
        ];
        if !self.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| (name.clone(), Value::text(value.clone())));
            members.push(("headers", Value::map(headers)));
        }
        Value::map(members)
    }
}

/// What makes a trigger's run for an event the only one: its idempotency key. No client can send it, since no header
/// carries its first character.
pub fn key(trigger: &str, event: &str) -> String {
    let text = format!("{}:{trigger}\n{event}", trigger.len());
    format!("\u{1}trigger/{}", Digest::of(text.as_bytes()).hex())
}

impl Trigger {
    /// `namespace/name` of the workflow.
    pub fn workflow(&self) -> String {
        self.id.splitn(3, '.').take(2).collect::<Vec<_>>().join("/")
    }
    /// Whether it listens to events of this name.
    pub fn wants_event(&self, event: &str) -> bool {
        matches!(&self.on, On::Event { name } if **name == *event)
    }
    /// Whether it listens to runs of this `namespace/name` that end so.
    pub fn wants_run(&self, workflow: &str, finish: Finish) -> bool {
        let On::Run { workflow: wanted, ends } = &self.on else { return false };
        let fits = match wanted.strip_suffix(EVERY) {
            None => **wanted == *workflow,
            Some(namespace) => workflow.starts_with(namespace) && self.workflow() != workflow,
        };
        fits && ends.contains(&finish)
    }
    /// Whether its `match` holds for the event. As for a step that waits, what the event does not have is no match.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub fn is_matched(&self, event: &Value, limits: &Limits) -> Result<bool, EvalFault> {
        let Some(matches) = &self.matches else { return Ok(true) };
        match matches.eval_bool(&Seen(event), &mut Budget::new(limits)) {
            Err(fault) if fault.is_absence() => Ok(false),
            judged => judged,
        }
    }
    /// The input of its run for the event.
    ///
    /// # Errors
    /// Why there is none.
    pub fn input_of(&self, event: &Value, limits: &Limits) -> Result<Json, EvalFault> {
        let value = match &self.input {
            Some(input) => input.eval(&Seen(event), &mut Budget::new(limits))?,
            None => event.get("data").cloned().unwrap_or_default(),
        };
        Ok(Json::from_value(value))
    }
}

/// The event and nothing else.
struct Seen<'a>(&'a Value);

impl Scope for Seen<'_> {
    fn input(&self) -> Value {
        Value::Null
    }
    fn run(&self) -> Value {
        Value::Null
    }
    fn error(&self) -> Value {
        Value::Null
    }
    fn step_output(&self, _step: u32) -> Result<Value, EvalFault> {
        Err(EvalFault::Missing("steps".to_owned()))
    }
    fn step_status(&self, _step: u32) -> &'static str {
        "pending"
    }
    fn step_error(&self, _step: u32) -> Value {
        Value::Null
    }
    fn var(&self, _slot: usize) -> Value {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(workflow: &str) -> Trigger {
        let on = On::Run { workflow: workflow.into(), ends: vec![Finish::Failed] };
        Trigger { id: "acme.rescue.all".into(), on, matches: None, input: None }
    }

    #[test]
    fn a_pattern_means_all_runs_but_its_own() {
        for (pattern, workflow, fits) in [
            ("acme/import", "acme/import", true),
            ("acme/import", "acme/importer", false),
            ("acme/*", "acme/import", true),
            ("acme/*", "acme2/import", false),
            ("*", "other/import", true),
            ("*", "acme/rescue", false),
            ("acme/*", "acme/rescue", false),
            // Who names itself means it; `trigger_depth` ends that.
            ("acme/rescue", "acme/rescue", true),
        ] {
            assert_eq!(on(pattern).wants_run(workflow, Finish::Failed), fits, "{pattern} {workflow}");
        }
        assert!(!on("*").wants_run("other/import", Finish::Succeeded));
    }

    #[test]
    fn each_event_has_its_own_key_for_each_trigger() {
        let keys = [key("a", "b"), key("a", "c"), key("a\nb", ""), key("a", "b\n")];
        for (at, one) in keys.iter().enumerate() {
            assert!(one.starts_with('\u{1}') && keys[..at].iter().all(|other| other != one));
        }
    }
}
