//! `triggers`: the list of events on which a workflow starts by itself. A plan does not need it to run, so it is read
//! apart, as `schedule` is: here to be checked, and once more by whoever listens.

use super::Catalog;
use super::fit;
use super::policy;
use super::walk::{Faults, Fields};
use crate::document::{Doc, Fault, Part, pointer};
use crate::expr::names::{Names, RunName};
use crate::expr::types::Type;
use crate::expr::{Expr, Template};
use crate::id::is_name;
use crate::json::Json;
use crate::limits::Limits;
use crate::run::event::Finish;
use crate::schema::Schema;
use crate::trigger::{EVENT, On, Trigger};
use crate::value::Value;
use crate::webhook::inbound::Scheme;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How a run can end, in the words of `ends`.
const ENDS: &[(&str, Finish)] =
    &[("succeeded", Finish::Succeeded), ("failed", Finish::Failed), ("cancelled", Finish::Cancelled)];

/// Checks the list, and that each entry's input can be one that the workflow accepts.
pub(super) fn check(
    (doc, path): (&Doc, &str),
    schema: Option<&Schema>,
    catalog: Option<&dyn Catalog>,
    (workflow, limits): (&str, &Limits),
    faults: &mut Faults,
) {
    let Part::List(entries) = &doc.part else {
        let message = format!("wants a list such as `- {{event: paid}}`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return;
    };
    if entries.len() as u64 > limits.triggers {
        let message = format!("{} triggers; the limit triggers is {}", entries.len(), limits.triggers);
        faults.at(doc, path, message);
        return;
    }
    let mut ids = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = pointer(path, &index.to_string());
        let Some(trigger) = one((entry, &path), workflow, limits, faults) else { continue };
        if !ids.insert(trigger.id.clone()) {
            let id = trigger.id.rsplit('.').next().unwrap_or_default();
            let message = format!("`{id}` stands twice in the list; give each an `id` of its own");
            faults.at(entry, &path, message);
        }
        if let On::Webhook { secret, .. } = &trigger.on
            && let Some(why) = catalog.and_then(|catalog| catalog.lacks_secret(secret))
        {
            faults.at(entry.get("secret").unwrap_or(entry), &pointer(&path, "secret"), why);
        }
        if let (Some(schema), Some(input)) = (schema, &trigger.input) {
            input_fits(
                (entry.get("input").unwrap_or(entry), &pointer(&path, "input")),
                input,
                schema,
                faults,
            );
        }
    }
}

/// The triggers of a workflow that has been checked, by its canonical source.
///
/// # Errors
/// What this program cannot read: another one has checked it.
pub fn triggers_of(source: &Json, limits: &Limits) -> Result<Vec<Trigger>, Vec<Fault>> {
    let doc = Doc::of_value(source.value());
    let word = |key| doc.get("document").and_then(|head| head.get(key)).and_then(Doc::as_str);
    let workflow = format!("{}.{}", word("namespace").unwrap_or_default(), word("name").unwrap_or_default());
    let Some(Part::List(entries)) = doc.get("triggers").map(|list| &list.part) else { return Ok(Vec::new()) };
    let mut faults = Faults::default();
    let read = entries.iter().enumerate().filter_map(|(index, entry)| {
        one((entry, &pointer("/triggers", &index.to_string())), &workflow, limits, &mut faults)
    });
    let read = read.collect();
    if faults.list.is_empty() { Ok(read) } else { Err(faults.list) }
}

fn one((doc, path): (&Doc, &str), workflow: &str, limits: &Limits, faults: &mut Faults) -> Option<Trigger> {
    let before = faults.list.len();
    let mut fields = Fields::of(doc, path, faults);
    let on = on(&mut fields, faults);
    let id = fields.get("id").and_then(|(doc, path)| match doc.as_str() {
        Some(id) if is_name(id) => Some(id.to_owned()),
        _ => {
            faults.at(doc, &path, "wants a name: `[a-z][a-z0-9_-]*`, at most 64 bytes");
            None
        }
    });
    let mut names = Names { vars: vec![EVENT.to_owned()], run: RunName::Unbound, ..Names::default() };
    names.types.vars.push(event_type());
    let matches: Option<Expr> =
        fields.get("match").and_then(|(doc, path)| policy::condition(doc, &path, &names, limits, faults));
    let input = fields.get("input").map(|(doc, path)| {
        let mut found = Vec::new();
        let template = Template::compile(doc, &path, &names, limits, &mut found);
        faults.list.extend(found);
        template
    });
    fields.finish(faults);
    let on = on.filter(|_| faults.list.len() == before)?;
    let id = id.unwrap_or_else(|| default_id(&on));
    Some(Trigger { id: format!("{workflow}.{id}").into(), on, matches, input })
}

/// What is known of `event`.
fn event_type() -> Type {
    Type::closed([
        ("id", Type::String),
        ("name", Type::String),
        ("by", Type::String),
        ("time", Type::String),
        ("depth", Type::Int),
        ("data", Type::Any),
        ("headers", Type::Any),
    ])
}

/// The name of a trigger that is given none: what it listens to.
fn default_id(on: &On) -> String {
    match on {
        On::Run { workflow, .. } => {
            let name = workflow.rsplit('/').next().unwrap_or_default();
            if name == "*" { "runs".to_owned() } else { name.to_owned() }
        }
        other => other.told().1.to_owned(),
    }
}

/// `event: paid`, `run: acme/import` with `ends`, or `webhook: standard` with `secret`.
fn on(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<On> {
    let given = [fields.get("event"), fields.get("run"), fields.get("webhook")];
    let (ends, secret) = (fields.get("ends"), fields.get("secret"));
    if given.iter().flatten().count() != 1 {
        if matches!(fields.doc.part, Part::Map(_)) {
            faults.at(fields.doc, &fields.path, "wants exactly one of `event`, `run` and `webhook`");
        }
        return None;
    }
    if let ([_, None, _], Some((doc, path))) = (&given, &ends) {
        faults.at(doc, path, "only a `run` ends");
    }
    if let ([.., None], Some((doc, path))) = (&given, &secret) {
        faults.at(doc, path, "only a `webhook` is signed");
    }
    match given {
        [Some((doc, path)), ..] => match doc.as_str() {
            Some(name) if is_name(name) => Some(On::Event { name: name.into() }),
            _ => {
                faults.at(doc, &path, "wants the name of an event: `[a-z][a-z0-9_-]*`, at most 64 bytes");
                None
            }
        },
        [_, Some((doc, path)), _] => {
            let workflow = doc.as_str().filter(|text| is_pattern(text)).map(Arc::from);
            if workflow.is_none() {
                faults.at(doc, &path, "wants a workflow, `namespace/name`, all of a namespace, `namespace/*`, or all, `*`; not a version");
            }
            let ends = ends.map_or(Some(vec![Finish::Succeeded]), |(doc, path)| ends_of(doc, &path, faults));
            Some(On::Run { workflow: workflow?, ends: ends? })
        }
        [.., Some((doc, path))] => {
            let scheme = policy::one_of(doc, &path, Scheme::WORDS, faults);
            let name = match &secret {
                Some((_, _)) => {
                    secret.as_ref().and_then(|(doc, _)| doc.as_str()).filter(|name| is_name(name))
                }
                None => None,
            };
            if name.is_none() {
                let (doc, path) = secret.unwrap_or((fields.doc, fields.path.clone()));
                faults.at(doc, &path, "a `webhook` wants a `secret`: the name of one, never the secret itself; `[a-z][a-z0-9_-]*`");
            }
            Some(On::Webhook { scheme: scheme?, secret: name?.into() })
        }
        [None, None, None] => None,
    }
}

/// `namespace/name`, `namespace/*` or `*`.
fn is_pattern(text: &str) -> bool {
    match text.split_once('/') {
        None => text == "*",
        Some((namespace, name)) => is_name(namespace) && (name == "*" || is_name(name)),
    }
}

fn ends_of(doc: &Doc, path: &str, faults: &mut Faults) -> Option<Vec<Finish>> {
    let Part::List(items) = &doc.part else {
        faults.at(
            doc,
            path,
            format!("wants a list such as `[succeeded, failed]`, and this is {}", doc.kind()),
        );
        return None;
    };
    if items.is_empty() {
        faults.at(doc, path, "names no end; write which, such as `[failed]`");
    }
    let each = items.iter().enumerate();
    let read =
        each.map(|(index, item)| policy::one_of(item, &pointer(path, &index.to_string()), ENDS, faults));
    read.collect::<Vec<_>>().into_iter().collect()
}

/// What can be said of an input before there is an event: one that is written out is checked whole, of one that is
/// computed the members.
fn input_fits((doc, path): (&Doc, &str), input: &Template, schema: &Schema, faults: &mut Faults) {
    let text = schema.text().value();
    if !fit::computed(doc) {
        let value = doc.value();
        let filled = super::fill_defaults(&value, text).unwrap_or(value);
        for mismatch in schema.check(&Json::from_value(filled)).err().unwrap_or_default() {
            let message = format!("not an input of this workflow: {}", mismatch.message);
            faults.at(doc, &format!("{path}{}", mismatch.pointer), message);
        }
        return;
    }
    let (Type::Object(given), Type::Object(wanted)) = (&input.result, Type::of_schema(schema.text())) else {
        return;
    };
    if let Some(Value::List(required)) = text.get("required") {
        for name in required.iter().filter_map(Value::as_str).filter(|n| !given.fields.contains_key(*n)) {
            faults.at(
                doc,
                path,
                format!("not an input of this workflow: `{name}` is missing, by its schema"),
            );
        }
    }
    for (name, found) in &given.fields {
        let (doc, path) = (doc.get(name).unwrap_or(doc), pointer(path, name));
        match wanted.fields.get(name) {
            Some(wanted) if !found.may_be(wanted) => {
                let (wanted, found) = (wanted.name(), found.name());
                faults.at(
                    doc,
                    &path,
                    format!("the workflow wants {wanted} here, by its schema, and this is {found}"),
                );
            }
            None if wanted.others.is_none() => {
                faults.at(doc, &path, format!("the workflow takes no `{name}`, by its schema"));
            }
            _ => {}
        }
    }
}
