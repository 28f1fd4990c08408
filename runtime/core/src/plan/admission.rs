//! How runs of a workflow are let in: how many with the same key at once (`concurrency`), which of those that wait goes
//! first (`priority`), which wish is the same wish again (`idempotency`), and when it must have ended (`deadline`). All of it is known when a run is accepted,
//! from its input and from what is known of the run; steps have no part in it.

use super::wait::time_of;
use super::walk::{Faults, Fields, span};
use super::{Reading, policy};
use crate::document::{Doc, Part, pointer};
use crate::expr::{Names, Template};
use crate::limits::Limits;
use crate::run::queue::key_text;
use crate::time::Span;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// The first and the last level of `priority`; 1 goes first.
pub const LEVELS: std::ops::RangeInclusive<u8> = 1..=5;
/// The level of a run that says nothing.
pub const LEVEL: u8 = 3;
/// How long an `idempotency` key is remembered where nothing is said.
const KEY_LIFE: Span = Span(24 * 3_600_000);

/// How runs are let in.
#[derive(Clone, Debug, Default)]
pub struct AdmissionRules {
    /// `concurrency`.
    pub concurrency: Vec<Concurrency>,
    /// `priority`.
    pub priority: Option<Priority>,
    /// `idempotency`.
    pub idempotency: Option<Idempotency>,
    /// `deadline`: a point in time.
    pub deadline: Option<Template>,
}

impl AdmissionRules {
    /// Whether nothing is said.
    pub fn is_silent(&self) -> bool {
        self.concurrency.is_empty()
            && self.priority.is_none()
            && self.idempotency.is_none()
            && self.deadline.is_none()
    }
}

/// So many runs with the same key may be under way.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// The key; without one it is one for all.
    pub key: Option<Template>,
    /// How many runs may have begun and not ended.
    pub limit: u32,
    /// Among which runs the key counts.
    pub scope: SlotScope,
    /// What becomes of one too many.
    pub on_limit: OnLimit,
}

/// Among which runs of a tenant a key counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotScope {
    /// Those of this workflow, whatever its version. The default.
    #[default]
    Workflow,
    /// Those of all workflows of the namespace.
    Namespace,
    /// All of them.
    Tenant,
}

/// What becomes of a run that is one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnLimit {
    /// It waits. The default.
    #[default]
    Queue,
    /// It is not accepted.
    Reject,
    /// The oldest run with the key is cancelled, and it waits until that has ended.
    CancelOldest,
    /// It is cancelled itself.
    CancelNewest,
}

/// Which run goes first of those that wait.
#[derive(Clone, Debug)]
pub struct Priority {
    /// 1 to 5; 1 goes first.
    pub level: Option<Template>,
    /// Runs with the same key share; without one it is the workflow's name.
    pub fairness_key: Option<Template>,
    /// How much of the share such a run is worth, against 1.
    pub weight: f64,
}

/// Which wish is the same wish again.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The key.
    pub key: Template,
    /// How long it is remembered.
    pub ttl: Span,
    /// What becomes of the wish.
    pub on_duplicate: OnDuplicate,
}

/// What becomes of a wish that was granted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It is answered with the run that there is. The default.
    #[default]
    ReturnExisting,
    /// It is refused.
    Reject,
}

/// Reads the four.
pub(super) fn read(
    workflow: &mut Fields<'_>,
    names: &Names,
    (limits, reading): (&Limits, Reading),
    faults: &mut Faults,
) -> AdmissionRules {
    // Nothing has run yet.
    let names = Names { steps: Default::default(), lists: Default::default(), ..names.clone() };
    let at = Place { names: &names, limits, reading };
    AdmissionRules {
        concurrency: workflow
            .get("concurrency")
            .map(|(doc, path)| at.rules(doc, &path, faults))
            .unwrap_or_default(),
        priority: workflow.get("priority").map(|(doc, path)| at.priority(doc, &path, faults)),
        idempotency: workflow.get("idempotency").and_then(|(doc, path)| at.idempotency(doc, &path, faults)),
        deadline: workflow.get("deadline").map(|(doc, path)| at.deadline(doc, &path, faults)),
    }
}

struct Place<'a> {
    names: &'a Names,
    limits: &'a Limits,
    reading: Reading,
}

impl Place<'_> {
    fn template(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Template {
        let mut found = Vec::new();
        let template = Template::compile(doc, path, self.names, self.limits, &mut found);
        faults.list.extend(found);
        template
    }

    fn key(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Template {
        let template = self.template(doc, path, faults);
        literal_key((doc, path), &template, |key| key_text(key, self.limits), faults);
        template
    }

    /// A key that several runs are to have.
    fn key_of_several(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Template {
        let template = self.key(doc, path, faults);
        if template.has_run_id() && self.reading == Reading::New {
            faults.at(
                doc,
                path,
                "the id of the run is another one for each, so no two runs have this key; write an expression over `input`",
            );
        }
        template
    }

    /// One rule, or a list of them.
    fn rules(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Vec<Concurrency> {
        let Part::List(rules) = &doc.part else { return vec![self.rule(doc, path, faults)] };
        if rules.len() as u64 > self.limits.concurrency_rules {
            let most = self.limits.concurrency_rules;
            faults.at(doc, path, format!("{} rules; the limit concurrency_rules is {most}", rules.len()));
        }
        let each = rules.iter().enumerate();
        each.map(|(index, rule)| self.rule(rule, &pointer(path, &index.to_string()), faults)).collect()
    }

    fn rule(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Concurrency {
        let mut fields = Fields::of(doc, path, faults);
        let key = fields.get("key").map(|(doc, path)| self.key_of_several(doc, &path, faults));
        let most = self.limits.concurrency_limit;
        let given = fields.need("limit", faults).is_some();
        let limit = if given { fields.count("limit", most, faults) } else { None };
        let scopes = [
            ("workflow", SlotScope::Workflow),
            ("namespace", SlotScope::Namespace),
            ("tenant", SlotScope::Tenant),
        ];
        let scope = policy::word(&mut fields, "scope", &scopes, faults).unwrap_or_default();
        let ways = [
            ("queue", OnLimit::Queue),
            ("reject", OnLimit::Reject),
            ("cancel-oldest", OnLimit::CancelOldest),
            ("cancel-newest", OnLimit::CancelNewest),
        ];
        let on_limit = policy::word(&mut fields, "onLimit", &ways, faults).unwrap_or_default();
        fields.finish(faults);
        Concurrency { key, limit: limit.unwrap_or(1), scope, on_limit }
    }

    /// `2`, or a map.
    fn priority(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Priority {
        if !matches!(doc.part, Part::Map(_)) {
            return Priority { level: Some(self.level(doc, path, faults)), fairness_key: None, weight: 1.0 };
        }
        let mut fields = Fields::of(doc, path, faults);
        let level = fields.get("level").map(|(doc, path)| self.level(doc, &path, faults));
        let fairness_key = fields.get("fairnessKey").map(|(doc, path)| self.key(doc, &path, faults));
        let weight = fields.get("weight").and_then(|(doc, path)| {
            let weight = match doc.part {
                Part::Scalar(Value::Int(n)) => Some(n as f64),
                Part::Scalar(Value::Number(_)) => doc.value().as_f64(),
                _ => None,
            };
            let weight = weight.filter(|weight| (0.01..=100.0).contains(weight));
            if weight.is_none() {
                faults.at(doc, &path, "wants a number from 0.01 to 100");
            }
            weight
        });
        fields.finish(faults);
        Priority { level, fairness_key, weight: weight.unwrap_or(1.0) }
    }

    fn level(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Template {
        let template = self.template(doc, path, faults);
        if template.constant().is_some_and(|level| level_of(level).is_none()) {
            faults.at(doc, path, "wants a whole number from 1 (first) to 5, or an expression that gives one");
        }
        template
    }

    fn deadline(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Template {
        let template = self.template(doc, path, faults);
        if let Some(Err(why)) = template.constant().map(time_of) {
            let message = format!("{why}; for a length of time, write `timeout: {{ total: ... }}`");
            faults.at(doc, path, message);
        }
        template
    }

    fn idempotency(&self, doc: &Doc, path: &str, faults: &mut Faults) -> Option<Idempotency> {
        let mut fields = Fields::of(doc, path, faults);
        let key = fields.need("key", faults).map(|(doc, path)| {
            let template = self.key_of_several(doc, &path, faults);
            if template.constant().is_some() {
                faults.at(
                    doc,
                    &path,
                    "the same for every run; write an expression such as `${ input.batchId }`",
                );
            }
            template
        });
        let ttl = fields.get("ttl").and_then(|(doc, path)| {
            let ttl = span(doc, &path, faults)?;
            let most = Span(self.limits.retention_ms);
            if ttl > most {
                faults.at(
                    doc,
                    &path,
                    format!("runs are kept for {most} (limit retention_ms), and a key no longer"),
                );
            }
            Some(ttl)
        });
        let ways = [("return-existing", OnDuplicate::ReturnExisting), ("reject", OnDuplicate::Reject)];
        let on_duplicate = policy::word(&mut fields, "onDuplicate", &ways, faults).unwrap_or_default();
        fields.finish(faults);
        Some(Idempotency { key: key?, ttl: ttl.unwrap_or(KEY_LIFE), on_duplicate })
    }
}

/// A key that is written out is found to be none when the workflow is read, and not by a run.
pub(super) fn literal_key(
    (doc, path): (&Doc, &str),
    key: &Template,
    read: impl Fn(&Value) -> Result<String, String>,
    faults: &mut Faults,
) {
    if let Some(Err(why)) = key.constant().map(read) {
        faults.at(doc, path, why);
    }
}

/// A level, where the value is one.
pub(crate) fn level_of(value: &Value) -> Option<u8> {
    match value {
        Value::Int(level) => u8::try_from(*level).ok().filter(|level| LEVELS.contains(level)),
        _ => None,
    }
}
