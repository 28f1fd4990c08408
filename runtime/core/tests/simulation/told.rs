//! What the facts of simulated runs are told as: every public event fits its schema in the catalogue, and says nothing
//! that the schema does not name.

use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::limits::AskedLimits;
use heddle_core::plan::Plan;
use heddle_core::plugin::{Form, Pinned};
use heddle_core::route::Pins;
use heddle_core::run::event::Batch;
use heddle_core::run::public::{CATALOGUE, Told, public_events};
use heddle_core::schema::Schema;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The catalogue's schemas, closed. What they refer to lies in the API's document, which is checked elsewhere.
fn schemas() -> &'static BTreeMap<&'static str, Schema> {
    static SCHEMAS: OnceLock<BTreeMap<&'static str, Schema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let compile = |text: &str| {
            let closed = text.replacen('{', r#"{"additionalProperties":false,"#, 1);
            let known = ["Failure", "Usage"].iter().fold(closed, |text, name| {
                text.replace(&format!(r##""$ref":"#/components/schemas/{name}""##), r#""type":"object""#)
            });
            Schema::compile(&Json::parse(known.as_bytes()).expect("JSON")).expect("a schema")
        };
        CATALOGUE.iter().map(|kind| (kind.name, compile(kind.schema))).collect()
    })
}

/// Checks every event that these rows are told as; before them are so many others, of another plan.
pub(crate) fn check(before: u64, rows: &[Batch], plan: &Plan) -> Result<(), String> {
    let pins = Pins::new(plan.calls.iter().map(|call| {
        vec![Arc::new(Pinned {
            kind: call.kind(),
            name: "e".to_owned(),
            version: semver::Version::new(1, 0, 0),
            digest: plan.digest,
            limits: AskedLimits::default(),
            form: Form::Component,
        })]
    }));
    for (seq, batch) in (before + 1..).zip(rows) {
        for (ordinal, event) in
            public_events(seq, batch, Told { run: RunId(7), plan, pins: &pins }).iter().enumerate()
        {
            if event.id != Some((seq, ordinal as u32)) {
                return Err(format!("{} has the id {:?}", event.kind, event.id));
            }
            let Some(schema) = schemas().get(event.kind) else {
                return Err(format!("`{}` is not in the catalogue", event.kind));
            };
            if let Err(mismatches) = schema.check(&event.data) {
                return Err(format!("{} says {}: {}", event.kind, event.data.text(), mismatches[0]));
            }
        }
    }
    Ok(())
}
