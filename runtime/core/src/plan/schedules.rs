//! `schedule`: the list of times at which a workflow runs by itself. A plan does not need it to run, so it is read
//! apart: here to be checked, and once more by whoever keeps time.

use super::policy;
use super::walk::{Faults, Fields, span};
use crate::document::{Doc, Fault, Part, pointer};
use crate::id::is_name;
use crate::json::Json;
use crate::limits::Limits;
use crate::schedule::{Cron, DEFAULT_CATCHUP, DEFAULT_ZONE, LEAST_CATCHUP, Overlap, Schedule, Timing, Zone};
use crate::schema::Schema;
use crate::time::{Span, Timestamp};
use crate::value::Value;
use std::collections::BTreeSet;

/// Instant from which a pattern's ticks are looked at to know how close they come. Any will do, if it is always the same.
const SAMPLED_FROM: Timestamp = Timestamp(1_767_225_600_000);
const SAMPLED: usize = 200;

/// Checks the list, and that each entry's input is one that the workflow accepts.
pub(super) fn check(
    doc: &Doc,
    path: &str,
    schema: Option<&Schema>,
    (workflow, limits): (&str, &Limits),
    faults: &mut Faults,
) {
    let Part::List(entries) = &doc.part else {
        let message = format!("wants a list such as `- {{every: 15m}}`, and this is {}", doc.kind());
        faults.at(doc, path, message);
        return;
    };
    if entries.len() as u64 > limits.schedules {
        let message = format!("{} schedules; the limit schedules is {}", entries.len(), limits.schedules);
        faults.at(doc, path, message);
        return;
    }
    let mut ids = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = pointer(path, &index.to_string());
        let Some(schedule) = one(entry, &path, workflow, faults) else { continue };
        if !ids.insert(schedule.id.clone()) {
            let id = schedule.id.rsplit('.').next().unwrap_or_default();
            let message = format!("`{id}` stands twice in the list; give each an `id` of its own");
            faults.at(entry, &path, message);
        }
        close_ticks(entry, &path, &schedule, limits, faults);
        if let Some(schema) = schema {
            input_fits(entry, &path, &schedule, schema, faults);
        }
    }
}

/// The schedules of a workflow that has been checked, by its canonical source.
///
/// # Errors
/// What this program cannot read: another one has checked it.
pub fn schedules_of(source: &Json) -> Result<Vec<Schedule>, Vec<Fault>> {
    let doc = Doc::of_value(source.value());
    let word = |key| doc.get("document").and_then(|head| head.get(key)).and_then(Doc::as_str);
    let workflow = format!("{}.{}", word("namespace").unwrap_or_default(), word("name").unwrap_or_default());
    let mut faults = Faults::default();
    let entries = match doc.get("schedule").map(|list| &list.part) {
        Some(Part::List(entries)) => entries.as_slice(),
        _ => &[],
    };
    let read = entries.iter().enumerate().filter_map(|(index, entry)| {
        one(entry, &pointer("/schedule", &index.to_string()), &workflow, &mut faults)
    });
    let read = read.collect();
    if faults.list.is_empty() { Ok(read) } else { Err(faults.list) }
}

/// One entry of the list of `namespace.name`, as it was kept.
///
/// # Errors
/// What this program cannot read: another one has checked it.
pub fn schedule_of(workflow: &str, entry: &Json) -> Result<Schedule, Vec<Fault>> {
    let mut faults = Faults::default();
    let read = one(&Doc::of_value(entry.value()), "", workflow, &mut faults);
    read.filter(|_| faults.list.is_empty()).ok_or(faults.list)
}

fn one(doc: &Doc, path: &str, workflow: &str, faults: &mut Faults) -> Option<Schedule> {
    let before = faults.list.len();
    let mut fields = Fields::of(doc, path, faults);
    let timing = timing(&mut fields, faults);
    let id = fields.get("id").and_then(|(doc, path)| match doc.as_str() {
        Some(id) if is_name(id) => Some(id.to_owned()),
        _ => {
            faults.at(doc, &path, "wants a name: `[a-z][a-z0-9_-]*`, at most 64 bytes");
            None
        }
    });
    let overlap = policy::word(&mut fields, "overlap", Overlap::WORDS, faults).unwrap_or_default();
    let catchup = fields.get("catchup").and_then(|(doc, path)| {
        let read = span(doc, &path, faults)?;
        if read < LEAST_CATCHUP {
            let message =
                format!("`catchup` is at least {LEAST_CATCHUP}: a shorter one loses ticks at every restart");
            faults.at(doc, &path, message);
        }
        Some(read)
    });
    let jitter = fields.span("jitter", faults).unwrap_or_default();
    let input = fields.get("input").map(|(doc, path)| {
        no_expressions(doc, &path, faults);
        Json::from_value(doc.value())
    });
    fields.finish(faults);
    let timing = timing.filter(|_| faults.list.len() == before)?;
    Some(Schedule {
        id: format!("{workflow}.{}", id.unwrap_or_else(|| timing.default_id())).into(),
        timing,
        overlap,
        catchup: catchup.unwrap_or(DEFAULT_CATCHUP),
        jitter,
        input: input.unwrap_or_else(|| Json::trusted("{}")),
        entry: Json::from_value(doc.value()),
    })
}

fn timing(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Timing> {
    let given = [fields.get("cron"), fields.get("every"), fields.get("at")];
    let zone = fields.get("timezone");
    if given.iter().flatten().count() != 1 {
        if matches!(fields.doc.part, Part::Map(_)) {
            faults.at(fields.doc, &fields.path, "wants exactly one of `cron`, `every` and `at`");
        }
        return None;
    }
    if let (None, Some((doc, path))) = (&given[0], &zone) {
        faults.at(doc, path, "only a `cron` has a `timezone`; write the offset into `at`");
    }
    match given {
        [Some((doc, path)), ..] => cron(doc, &path, zone, faults),
        [_, Some((doc, path)), _] => span(doc, &path, faults).map(Timing::Every),
        [.., Some((doc, path))] => match doc.as_str().map(str::parse::<Timestamp>) {
            Some(Ok(at)) => Some(Timing::At(at)),
            Some(Err(fault)) => {
                faults.at(doc, &path, fault.to_string());
                None
            }
            None => {
                let message = format!(
                    "wants a point in time such as `2026-12-01T06:00:00Z`, and this is {}",
                    doc.kind()
                );
                faults.at(doc, &path, message);
                None
            }
        },
        [None, None, None] => None,
    }
}

fn cron(doc: &Doc, path: &str, zone: Option<(&Doc, String)>, faults: &mut Faults) -> Option<Timing> {
    let name = match &zone {
        None => Some(DEFAULT_ZONE),
        Some((doc, path)) => {
            if doc.as_str().is_none() {
                faults.at(
                    doc,
                    path,
                    format!("wants a time zone such as `Europe/Madrid`, and this is {}", doc.kind()),
                );
            }
            doc.as_str()
        }
    };
    let found = match name.map(Zone::find)? {
        Ok(found) => found,
        Err(fault) => {
            let (doc, path) = zone.as_ref().map_or((doc, path), |(doc, path)| (*doc, path.as_str()));
            faults.at(doc, path, fault.to_string());
            return None;
        }
    };
    let Some(text) = doc.as_str() else {
        faults.at(
            doc,
            path,
            format!("wants a pattern in quotes such as `\"0 6 * * 1-5\"`, and this is {}", doc.kind()),
        );
        return None;
    };
    match Cron::parse(text, found) {
        Ok(cron) => Some(Timing::Cron(Box::new(cron))),
        Err(fault) => {
            faults.at(doc, path, fault.to_string());
            None
        }
    }
}

/// Nobody computes a schedule's input, so nobody is to believe it.
fn no_expressions(doc: &Doc, path: &str, faults: &mut Faults) {
    match &doc.part {
        Part::Scalar(Value::String(text)) if text.contains("${") => {
            faults.at(
                doc,
                path,
                "a schedule's input is not computed; read `run.scheduledAt` in the steps instead",
            );
        }
        Part::Scalar(_) => {}
        Part::List(items) => {
            for (index, item) in items.iter().enumerate() {
                no_expressions(item, &pointer(path, &index.to_string()), faults);
            }
        }
        Part::Map(entries) => {
            for (key, value) in entries {
                no_expressions(value, &pointer(path, &key.text), faults);
            }
        }
    }
}

/// Ticks that come closer than they may, or than the jitter puts them off.
fn close_ticks(doc: &Doc, path: &str, schedule: &Schedule, limits: &Limits, faults: &mut Faults) {
    let times = schedule.next_times(SAMPLED_FROM, SAMPLED);
    let Some(least) = times.windows(2).map(|pair| pair[1].since_ms(pair[0])).min() else { return };
    if least < limits.schedule_interval_ms {
        let message = format!(
            "ticks every {}; the limit schedule_interval_ms is {}",
            Span(least),
            Span(limits.schedule_interval_ms)
        );
        faults.at(doc, path, message);
    }
    if schedule.jitter.0 >= least {
        let message = format!(
            "`jitter` of {} is not shorter than the {} between two ticks",
            schedule.jitter,
            Span(least)
        );
        faults.at(doc, path, message);
    }
}

fn input_fits(doc: &Doc, path: &str, schedule: &Schedule, schema: &Schema, faults: &mut Faults) {
    let filled = super::fill_defaults(schedule.input.value(), schema.text().value());
    let input = filled.map_or_else(|| schedule.input.clone(), Json::from_value);
    let at = doc.get("input").unwrap_or(doc);
    for mismatch in schema.check(&input).err().unwrap_or_default() {
        let message = format!("not an input of this workflow: {}", mismatch.message);
        faults.at(at, &format!("{path}/input{}", mismatch.pointer), message);
    }
}
