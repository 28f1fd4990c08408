//! Workflows with parameters. A template is a workflow document with `template.parameters`, a JSON Schema; its texts name
//! them as `${ param.name }`. It does not run: with values for its parameters it becomes the document of a workflow, and
//! that is checked as any other.
//!
//! Each parameter brings a value along, by which the template is checked when it is published: its `default`, or one
//! that its schema gives as an example. So a fault of the template is told to its author, and not to whoever uses it.

use crate::document::{Doc, Fault, Key, Part, pointer};
use crate::expr::param::{self, Read};
use crate::expr::tree::nearest;
use crate::json::Json;
use crate::limits::Limits;
use crate::schema::Schema;
use crate::value::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Where the schema of the parameters stands.
const PARAMETERS: &str = "/template/parameters";
/// The key of a document that makes it a template.
pub const KEY: &str = "template";

/// The name and version of a workflow that is made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
}

/// Whether a document is a template.
pub fn is_template(source: &Value) -> bool {
    source.get(KEY).is_some()
}

/// The schema of a template's parameters, with the faults that it has.
pub(crate) fn parameters(doc: &Doc, faults: &mut Vec<Fault>) -> Option<Schema> {
    let section = doc.get(KEY)?;
    let at = |doc: &Doc, path: &str, message: String| Fault {
        place: doc.place,
        path: path.to_owned(),
        message,
        ..Fault::default()
    };
    let Some(parameters) = section.get("parameters") else {
        let message = "wants `parameters`, a JSON Schema of what is put in place";
        faults.push(at(section, "/template", message.to_owned()));
        return None;
    };
    let properties = match parameters.get("properties").map(|properties| &properties.part) {
        Some(Part::Map(entries)) if !entries.is_empty() => entries,
        _ => {
            let message =
                "wants a JSON Schema with `type: object` and `properties`: a template has parameters";
            faults.push(at(parameters, PARAMETERS, message.to_owned()));
            return None;
        }
    };
    let schema = match Schema::compile(&Json::from_value(parameters.value())) {
        Ok(schema) => schema,
        Err(fault) => {
            faults.push(at(parameters, PARAMETERS, fault.to_string()));
            return None;
        }
    };
    let before = faults.len();
    for (key, property) in properties {
        let path = pointer(&format!("{PARAMETERS}/properties"), &key.text);
        let (given, required) = (property.get("default").is_some(), is_required(parameters, &key.text));
        if !given && !required {
            let message =
                format!("`{}` needs a `default`, or a place in `required`: it is always there", key.text);
            faults.push(at(property, &path, message));
        } else if sample(&property.value()).is_none() {
            let message = format!(
                "`{}` needs `examples: [...]` (or `enum`): a value with which the template is checked",
                key.text
            );
            faults.push(at(property, &path, message));
        }
    }
    if faults.len() == before
        && let Err(mismatches) = schema.check(&Json::from_value(Value::Map(Arc::new(samples(&schema)))))
    {
        let of =
            |pointer: &str| pointer.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        faults.extend(mismatches.into_iter().map(|mismatch| {
            let path = match of(&mismatch.pointer).as_str() {
                "" => PARAMETERS.to_owned(),
                name => format!("{PARAMETERS}/properties/{name}"),
            };
            at(
                parameters,
                &path,
                format!("the value with which it is checked does not match: {}", mismatch.message),
            )
        }));
    }
    (faults.len() == before).then_some(schema)
}

fn is_required(parameters: &Doc, name: &str) -> bool {
    match parameters.get("required").map(|required| &required.part) {
        Some(Part::List(items)) => items.iter().any(|item| item.as_str() == Some(name)),
        _ => false,
    }
}

/// A value that the schema of a parameter names itself.
fn sample(property: &Value) -> Option<Value> {
    let first = |key: &str| match property.get(key) {
        Some(Value::List(items)) => items.first().cloned(),
        _ => None,
    };
    let own = |key: &str| property.get(key).cloned();
    own("default").or_else(|| first("examples")).or_else(|| own("const")).or_else(|| first("enum"))
}

fn properties(schema: &Schema) -> Option<&Arc<Map>> {
    match schema.text().value().get("properties") {
        Some(Value::Map(properties)) => Some(properties),
        _ => None,
    }
}

/// The values with which a template is checked.
fn samples(schema: &Schema) -> Map {
    let properties = properties(schema).into_iter().flat_map(|properties| properties.iter());
    properties.filter_map(|(name, property)| Some((name.clone(), sample(property)?))).collect()
}

/// The document that stands for a template when it is checked: the workflow that it would be with the values that its
/// parameters bring along. A document that is no template, or none that can be read, stands for itself.
pub fn checked_form<'a>(doc: &'a Doc, limits: &Limits) -> Cow<'a, Doc> {
    match parameters(doc, &mut Vec::new()) {
        Some(schema) => Cow::Owned(sampled(doc, &schema, limits, &mut Vec::new())),
        None => Cow::Borrowed(doc),
    }
}

/// The same, with the faults of the texts that name parameters.
pub(crate) fn sampled(doc: &Doc, schema: &Schema, limits: &Limits, faults: &mut Vec<Fault>) -> Doc {
    filled(doc, &samples(schema), limits, faults)
}

/// The document of a workflow that is made of a template.
///
/// # Errors
/// Every parameter that is unknown, missing or not as the schema wants it, under `/parameters`; that the document is no
/// template.
pub fn instantiate(doc: &Doc, given: &Json, head: &Head, limits: &Limits) -> Result<Doc, Vec<Fault>> {
    let mut faults = Vec::new();
    let Some(schema) = parameters(doc, &mut faults) else {
        let message = "it is no template: it has no `template.parameters`".to_owned();
        let none = Fault { message, ..Fault::default() };
        return Err(if faults.is_empty() { vec![none] } else { faults });
    };
    let values = values(&schema, given)?;
    let filled = filled(doc, &values, limits, &mut faults);
    match faults.is_empty() {
        true => Ok(headed(filled, head)),
        false => Err(faults),
    }
}

/// The parameters that are given, with the defaults of the others.
fn values(schema: &Schema, given: &Json) -> Result<Map, Vec<Fault>> {
    let fault = |path: String, message: String| Fault { path, message, ..Fault::default() };
    let Value::Map(said) = given.value() else {
        let message =
            format!("wants a map from parameter to value, and this is {}", given.value().type_name());
        return Err(vec![fault("/parameters".to_owned(), message)]);
    };
    let known = properties(schema).cloned().unwrap_or_default();
    let mut faults = Vec::new();
    for name in said.keys().filter(|name| !known.contains_key(*name)) {
        let hint = match nearest(name, known.keys().map(|key| &**key)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!(
                "; there are {}",
                known.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        faults.push(fault(
            pointer("/parameters", name),
            format!("the template has no parameter `{name}`{hint}"),
        ));
    }
    let mut values: Map = (**said).clone();
    for (name, property) in known.iter().filter(|(name, _)| !said.contains_key(*name)) {
        match property.get("default") {
            Some(value) => drop(values.insert(name.clone(), value.clone())),
            None => {
                faults.push(fault(pointer("/parameters", name), format!("parameter `{name}` is missing")))
            }
        }
    }
    if faults.is_empty()
        && let Err(mismatches) = schema.check(&Json::from_value(Value::Map(Arc::new(values.clone()))))
    {
        let place = |pointer: &str| format!("/parameters{pointer}");
        faults.extend(mismatches.into_iter().map(|m| fault(place(&m.pointer), m.message)));
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

/// A document whose parameters are put in place.
struct Filling<'a> {
    parameters: &'a Map,
    /// Bytes that may still come in.
    left: u64,
    limits: &'a Limits,
    faults: &'a mut Vec<Fault>,
}

/// The document with its parameters in place.
fn filled(doc: &Doc, parameters: &Map, limits: &Limits, faults: &mut Vec<Fault>) -> Doc {
    Filling { parameters, left: limits.document_bytes, limits, faults }.part(doc, "")
}

/// How a text at this path of a workflow is read. Expressions are read in some places and nowhere else; elsewhere a text
/// is what it says.
fn read_at(path: &str) -> Read {
    let mut keys = path.split('/').skip(1);
    let rest: Vec<&str> = match keys.next() {
        Some("document" | "input" | "schedule" | "notify" | "evaluate" | "upgrade") => return Read::AsItIs,
        Some("steps" | "finally" | "nodes") => keys.skip(1).collect(),
        Some("onError") if keys.next() == Some("steps") => keys.skip(1).collect(),
        _ => return Read::WithExpressions,
    };
    match of_a_step(&rest) {
        ["title" | "description" | "hint", ..]
        | ["approval", "assignees" | "form", ..]
        | ["onFailure", "assignees", ..]
        | ["onFailure", "ask", "assignees", ..] => Read::AsItIs,
        _ => Read::WithExpressions,
    }
}

/// The keys within the innermost step.
fn of_a_step<'a, 'b>(keys: &'a [&'b str]) -> &'a [&'b str] {
    match keys {
        ["parallel", "steps", _, rest @ ..] | ["compensate", rest @ ..] => of_a_step(rest),
        rest => rest,
    }
}

impl Filling<'_> {
    fn part(&mut self, doc: &Doc, path: &str) -> Doc {
        let part = match &doc.part {
            Part::Scalar(Value::String(text)) if text.contains("${") => {
                match param::fill(text, self.parameters, read_at(path)) {
                    Ok(None) => doc.part.clone(),
                    Ok(Some(value)) => self.put(doc, path, &value),
                    Err(message) => self.fault(doc, path, message),
                }
            }
            Part::Scalar(_) => doc.part.clone(),
            Part::List(items) => {
                let items = items.iter().enumerate();
                Part::List(items.map(|(at, item)| self.part(item, &pointer(path, &at.to_string()))).collect())
            }
            Part::Map(entries) => {
                let mut entry = |(key, value): &(Key, Doc)| {
                    let own = pointer(path, &key.text);
                    (key.clone(), if own == "/template" { value.clone() } else { self.part(value, &own) })
                };
                Part::Map(entries.iter().map(&mut entry).collect())
            }
        };
        Doc { place: doc.place, part }
    }
    /// What stands for a text, if there is room for it: a large value may be named often.
    fn put(&mut self, doc: &Doc, path: &str, value: &Value) -> Part {
        let mut text = String::new();
        value.write_json(&mut text);
        match self.left.checked_sub(text.len() as u64) {
            Some(left) => {
                self.left = left;
                Doc::of_value(value).part
            }
            None => {
                let most = self.limits.document_bytes;
                self.left = 0;
                self.fault(
                    doc,
                    path,
                    format!("its parameters come to more than {most} bytes (limit document_bytes)"),
                )
            }
        }
    }
    fn fault(&mut self, doc: &Doc, path: &str, message: String) -> Part {
        self.faults.push(Fault { place: doc.place, path: path.to_owned(), message, ..Fault::default() });
        doc.part.clone()
    }
}

/// The document under this name, and a template no more.
fn headed(mut doc: Doc, head: &Head) -> Doc {
    let Part::Map(entries) = &mut doc.part else { return doc };
    entries.retain(|(key, _)| &*key.text != KEY);
    let document = entries.iter_mut().find(|(key, _)| &*key.text == "document");
    if let Some((_, Doc { part: Part::Map(entries), .. })) = document {
        let version = head.version.to_string();
        let parts = [("namespace", &head.namespace), ("name", &head.name), ("version", &version)];
        for (name, text) in parts {
            entries.retain(|(key, _)| &*key.text != name);
            let key = Key { text: name.into(), place: doc.place };
            entries.push((key, Doc::of_value(&Value::text(text.as_str()))));
        }
    }
    doc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    const TEMPLATE: &str = r#"
document: { dsl: "1.0", namespace: acme, name: copy, version: 1.0.0, title: "Copies ${ param.what }" }
template:
  parameters:
    type: object
    required: [what, pause]
    properties:
      what: { type: string, examples: [orders] }
      pause: { type: string, pattern: "^[0-9]+s$", examples: [30s] }
      most: { type: integer, default: 3 }
      note: { type: object, default: { text: "${ param.what }" } }
steps:
  rest: { wait: "${ param.pause }" }
  all:
    dependsOn: [rest]
    when: "${ input.size() < param.most }"
    set: { what: "${ param.what }", text: "${ param.what }: ${ run.id }", note: "${ param.note }" }
"#;

    fn doc(text: &str) -> Doc {
        Doc::parse(text, &Limits::default()).unwrap()
    }
    fn made(text: &str, parameters: &str) -> Result<Doc, String> {
        let head = Head { namespace: "acme".into(), name: "mine".into(), version: "2.0.0".parse().unwrap() };
        let given = Json::parse(parameters.as_bytes()).unwrap();
        instantiate(&doc(text), &given, &head, &Limits::default())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_template_becomes_a_workflow() {
        let plan = Plan::read(&doc(TEMPLATE), None, &Limits::default()).unwrap();
        assert!(plan.template.is_some() && is_template(plan.source.value()));
        assert_eq!(
            plan.title.as_ref(),
            "Copies orders",
            "it is shown with the values that it is checked with"
        );
        let made = made(TEMPLATE, r#"{"what":"${ run.id }","pause":"5s"}"#).unwrap();
        let plan = Plan::read(&made, None, &Limits::default()).unwrap();
        assert!(plan.template.is_none());
        let printed = Json::from_value(made.value());
        assert_eq!(
            printed.text(),
            r#"{"document":{"dsl":"1.0","name":"mine","namespace":"acme","title":"Copies ${ run.id }","version":"2.0.0"},"steps":{"all":{"dependsOn":["rest"],"set":{"note":{"text":"$${ param.what }"},"text":"$${ run.id }: ${ run.id }","what":"$${ run.id }"},"when":"${ input.size() < (3) }"},"rest":{"wait":"5s"}}}"#
        );
        // What is read again is the same.
        let again = Plan::reread(&plan.source).unwrap();
        assert_eq!(again.digest, plan.digest);
    }
    /// Where a text is what it says, a parameter is what it says, too.
    #[test]
    fn a_parameter_is_not_escaped_where_nothing_is_computed() {
        let template = r#"
template: { parameters: { type: object, properties: { t: { type: string, default: x } } } }
document: { dsl: "1.0", namespace: acme, name: mine, version: 1.0.0, title: "${ param.t }", labels: { team: "a ${ param.t }" } }
input: { schema: { type: object, properties: { d: { type: string, default: "${ param.t }" } } } }
schedule: [{ every: 1h, input: { d: "for ${ param.t }" } }]
steps:
  a: { title: "${ param.t }", set: { title: "${ param.t }" }, compensate: { set: 1, title: "${ param.t }" } }
  b: { approval: { assignees: ["${ param.t }"], form: { const: "${ param.t }" } } }
  c: { parallel: { steps: { d: { description: "${ param.t }", set: { description: "${ param.t }" } } } } }
"#;
        let made = made(template, r#"{"t":"cost ${x}"}"#).unwrap();
        let printed = Json::from_value(made.value()).text().to_owned();
        assert_eq!(printed.matches("$${x}").count(), 2, "only what is computed is escaped: {printed}");
        assert!(printed.contains(r#""set":{"title":"cost $${x}"}"#), "{printed}");
        assert!(printed.contains(r#""set":{"description":"cost $${x}"}"#), "{printed}");
        assert!(printed.contains(r#""input":{"d":"for cost ${x}"}"#), "{printed}");
    }
    #[test]
    fn parameters_are_what_the_template_says() {
        for (parameters, says) in [
            (r#"{"what":"x"}"#, vec!["/parameters/pause: parameter `pause` is missing"]),
            (
                r#"{"what":"x","pause":"5s","moost":1}"#,
                vec!["/parameters/moost: the template has no parameter `moost`; did you mean `most`?"],
            ),
            (r#"{"what":1,"pause":"soon"}"#, vec!["/parameters/what: ", "/parameters/pause: "]),
            ("[]", vec!["/parameters: wants a map"]),
        ] {
            let faults = made(TEMPLATE, parameters).unwrap_err();
            assert!(says.iter().all(|says| faults.contains(says)), "{parameters}: {faults}");
        }
        let faults = made("document: {}\nsteps: {}", "{}").unwrap_err();
        assert!(faults.contains("no template"), "{faults}");
    }
    #[test]
    fn a_template_with_faults_is_refused_with_their_places() {
        for (from, to, says) in [
            ("examples: [orders]", "", "/template/parameters/properties/what: `what` needs `examples"),
            (
                "required: [what, pause]",
                "required: [what]",
                "`pause` needs a `default`, or a place in `required`",
            ),
            ("examples: [30s]", "examples: [soon]", "/template/parameters/properties/pause: the value"),
            (
                "param.most",
                "param.mots",
                "/steps/all/when: the template has no parameter `mots`; did you mean `most`?",
            ),
            ("wait: \"${ param.pause }\"", "wait: \"${ param.what }\"", "/steps/rest/wait: "),
            ("parameters:", "parameter:", "/template"),
            ("what: \"${ param.what }\", text", "what: \"${ steps.al.output }\", text", "16:"),
        ] {
            let text = TEMPLATE.replacen(from, to, 1);
            assert_ne!(text, TEMPLATE, "{from}");
            let faults = Plan::read(&doc(&text), None, &Limits::default()).unwrap_err();
            let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(told.contains(says), "{to}: {told}");
        }
    }
    #[test]
    fn a_large_value_that_is_named_often_is_refused() {
        let sets: String = (0..200).map(|n| format!("  s{n}: {{ set: \"${{ param.big }}\" }}\n")).collect();
        let text = format!(
            "document: {{ dsl: \"1.0\", namespace: a, name: b, version: 1.0.0 }}\ntemplate: {{ parameters: {{ type: object, required: [big], properties: {{ big: {{ examples: [x] }} }} }} }}\nsteps:\n{sets}"
        );
        assert!(made(&text, r#"{"big":"y"}"#).is_ok());
        let faults = made(&text, &format!("{{\"big\":\"{}\"}}", "y".repeat(10_000))).unwrap_err();
        assert!(faults.contains("limit document_bytes"), "{faults}");
    }
}
