//! A document as its author typed it: YAML or JSON as a tree in which every part knows its line and column.
//!
//! The text is read by `saphyr-parser`, event by event, under a budget of bytes, depth, nodes and aliases; the tree
//! is then walked by whoever gives it a meaning, so that all faults of a document come at once. Only `true` and
//! `false` are booleans, only JSON's number grammar makes a number, and the text of numbers is kept.

mod notes;
mod order;
pub mod print;

use crate::json;
use crate::limits::Limits;
use crate::value::Value;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use order::Order;

/// Where something stands, from 1. Zero where there is no text, as in a document that came as JSON in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// A part of a document.
#[derive(Clone, Debug)]
pub struct Doc {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub part: Part,
}

/// What a part of a document is.
#[derive(Clone, Debug)]
pub enum Part {
    /// Null, true, false, a number or text.
    Scalar(Value),
    /// A sequence.
    List(Vec<Doc>),
    /// A mapping, in the author's order; keys are unique.
    Map(Vec<(Key, Doc)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub text: Arc<str>,
    /// Where it stands.
    pub place: Place,
}

/// What sort of fault it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// What is said.
    #[default]
    Content,
    /// How much there is of it: a limit on documents was passed, and the rest was not read.
    Budget,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where in the text; zero where there is none.
    pub place: Place,
    /// JSON pointer to the part, such as `/steps/fetch/when`; empty for the whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// What sort of fault it is.
    pub class: FaultClass,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "{}:{}: ", self.place.line, self.place.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Doc {
    /// Reads one YAML or JSON document.
    pub fn parse(text: &str, limits: &Limits) -> Result<Doc, Fault> {
        if text.len() as u64 > limits.document_bytes {
            let message = format!(
                "the document has {} bytes; the limit document_bytes is {}: split the workflow",
                text.len(),
                limits.document_bytes
            );
            return Err(too_much(Place::default(), message));
        }
        Reader { limits, nodes: 0, aliases: 0, anchors: HashMap::new(), parser: Parser::new_from_str(text) }
            .document()
    }
    /// The tree of a value that came without text.
    pub fn of_value(value: &Value) -> Doc {
        let place = Place::default();
        let part = match value {
            Value::List(items) => Part::List(items.iter().map(Doc::of_value).collect()),
            Value::Map(map) => Part::Map(
                map.iter().map(|(k, v)| (Key { text: k.clone(), place }, Doc::of_value(v))).collect(),
            ),
            scalar => Part::Scalar(scalar.clone()),
        };
        Doc { place, part }
    }
    /// The plain value, without places.
    pub fn value(&self) -> Value {
        match &self.part {
            Part::Scalar(value) => value.clone(),
            Part::List(items) => Value::list(items.iter().map(Doc::value).collect()),
            Part::Map(entries) => Value::map(entries.iter().map(|(k, v)| (k.text.clone(), v.value()))),
        }
    }
    /// The value under this key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Doc> {
        let Part::Map(entries) = &self.part else { return None };
        entries.iter().find(|(k, _)| &*k.text == key).map(|(_, doc)| doc)
    }
    /// The text, where this is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.part {
            Part::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }
    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match &self.part {
            Part::Scalar(Value::Null) => "nothing",
            Part::Scalar(Value::Bool(_)) => "true or false",
            Part::Scalar(Value::String(_)) => "text",
            Part::Scalar(_) => "a number",
            Part::List(_) => "a list",
            Part::Map(_) => "a map",
        }
    }
}

/// Appends one part to a JSON pointer.
pub fn pointer(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

struct Reader<'a> {
    limits: &'a Limits,
    nodes: u64,
    aliases: u64,
    anchors: HashMap<usize, (Doc, u64)>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(e)) => Err(at(
                Place { line: e.marker().line() as u32, column: e.marker().col() as u32 + 1 },
                format!("not YAML: {}", e.info()),
            )),
            None => Ok((Event::StreamEnd, Place::default())),
        }
    }

    fn document(mut self) -> Result<Doc, Fault> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, place) => return Err(at(place, "the document is empty".into())),
                (event, place) => {
                    let doc = self.node(event, place, 0)?;
                    loop {
                        match self.next()? {
                            (Event::StreamEnd, _) => return Ok(doc),
                            (Event::DocumentStart(_), place) => {
                                return Err(at(
                                    place,
                                    "a second document begins here; a file holds one".into(),
                                ));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn count(&mut self, place: Place, nodes: u64) -> Result<(), Fault> {
        self.nodes += nodes;
        match self.nodes > self.limits.document_nodes {
            true => Err(too_much(
                place,
                format!(
                    "more than {} nodes, aliases counted where they are used (limit document_nodes); write fewer aliases, or a `forEach` instead of many steps",
                    self.limits.document_nodes
                ),
            )),
            false => Ok(()),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Doc, Fault> {
        let most = self.limits.json_depth.min(json::MAX_DEPTH);
        if depth as u64 > most {
            return Err(too_much(
                place,
                format!("nested deeper than {most} levels (limit json_depth); write it flatter"),
            ));
        }
        self.count(place, 1)?;
        let before = self.nodes;
        let (doc, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    return Err(at(
                        place,
                        format!("tag `{}{}` is not allowed; write plain YAML", tag.handle, tag.suffix),
                    ));
                }
                let plain = style == ScalarStyle::Plain;
                (
                    Doc {
                        place,
                        part: Part::Scalar(if plain { scalar(&text) } else { Value::text(text.as_ref()) }),
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, _) => (self.list(place, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(place, depth)?, anchor),
            Event::Alias(id) => return self.alias(id, place),
            _ => return Err(at(place, "not YAML here".into())),
        };
        if anchor > 0 {
            let size = self.nodes - before + 1;
            self.anchors.insert(anchor, (doc.clone(), size));
        }
        Ok(doc)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Doc, Fault> {
        self.aliases += 1;
        if self.aliases > self.limits.document_aliases {
            return Err(too_much(
                place,
                format!(
                    "more than {} aliases (limit document_aliases); use `defaults`, or a `forEach` instead of many steps",
                    self.limits.document_aliases
                ),
            ));
        }
        let Some((doc, size)) = self.anchors.get(&id).cloned() else {
            return Err(at(place, "this alias names an anchor that is not complete yet".into()));
        };
        self.count(place, size)?;
        Ok(doc)
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<Doc, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Doc { place, part: Part::List(items) }),
                (event, place) => {
                    let item = self.node(event, place, depth + 1);
                    items.push(item.map_err(|fault| under(fault, &items.len().to_string()))?);
                }
            }
        }
    }

    fn map(&mut self, place: Place, depth: usize) -> Result<Doc, Fault> {
        let mut entries: Vec<(Key, Doc)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (key, key_place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Doc { place, part: Part::Map(entries) }),
                // In quotes it is a key like any other.
                (Event::Scalar(text, ScalarStyle::Plain, ..), place) if text == "<<" => {
                    let message = "merge keys (`<<`) are not allowed; repeat the keys, or use `defaults`";
                    return Err(under(at(place, message.into()), "<<"));
                }
                (Event::Scalar(text, ..), place) => (Arc::<str>::from(text.as_ref()), place),
                (_, place) => return Err(at(place, "a key must be text".into())),
            };
            if !seen.insert(key.clone()) {
                let message = format!("key `{key}` stands twice in this map; rename one, or leave it out");
                return Err(under(at(key_place, message), &key));
            }
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place, depth + 1).map_err(|fault| under(fault, &key))?;
            entries.push((Key { text: key, place: key_place }, value));
        }
    }
}

fn at(place: Place, message: String) -> Fault {
    Fault { place, message, ..Fault::default() }
}
/// The fault of a part, as one of the whole that has the part under this key.
fn under(fault: Fault, key: &str) -> Fault {
    Fault { path: format!("{}{}", pointer("", key), fault.path), ..fault }
}
fn too_much(place: Place, message: String) -> Fault {
    Fault { class: FaultClass::Budget, ..at(place, message) }
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line() as u32, column: span.start.col() as u32 + 1 }
}

/// A plain scalar: null, a boolean, a number in JSON's grammar, or text.
fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            match json::parse_value(text.as_bytes()) {
                Ok(number) => number,
                Err(_) => Value::text(text),
            }
        }
        _ => Value::text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Doc, Fault> {
        Doc::parse(text, &Limits::default())
    }
    fn printed(text: &str) -> String {
        let mut out = String::new();
        parse(text).unwrap().value().write_json(&mut out);
        out
    }

    #[test]
    fn yaml_and_json_read_the_same() {
        let yaml = "a: 1\nb: [no, 'on', yes, true, 010, 1.50, 1e3]\nc: {d: ~}\n";
        assert_eq!(printed(yaml), r#"{"a":1,"b":["no","on","yes",true,"010",1.50,1e3],"c":{"d":null}}"#);
        assert_eq!(printed(r#"{"a": 1, "b": "x\u0041"}"#), r#"{"a":1,"b":"xA"}"#);
    }
    #[test]
    fn places_are_those_of_an_editor() {
        let doc = parse("a: 1\nb:\n  c: x\n").unwrap();
        let Part::Map(entries) = &doc.part else { panic!() };
        let Part::Map(inner) = &entries[1].1.part else { panic!() };
        assert_eq!(
            (inner[0].0.place, inner[0].1.place),
            (Place { line: 3, column: 3 }, Place { line: 3, column: 6 })
        );
    }
    #[test]
    fn budgets_stop_bombs() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
        }
        let fault = parse(&bomb).unwrap_err();
        assert!(
            fault.message.contains("document_nodes") || fault.message.contains("document_aliases"),
            "{fault}"
        );
        assert!(
            parse(&format!("{}1{}", "[".repeat(80), "]".repeat(80)))
                .unwrap_err()
                .message
                .contains("nested deeper")
        );
        let fault = parse("steps: {a: {set: [1, {x: 1, x: 2}]}}").unwrap_err();
        assert_eq!(fault.path, "/steps/a/set/1/x", "{fault}");
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("[{}1]", "{a: ".repeat(3000))).is_err());
        assert!(parse("a: 1\na: 2").unwrap_err().message.contains("twice"));
        assert!(parse("a: 1\n---\nb: 2").unwrap_err().message.contains("second document"));
        assert!(parse("a: !!python/object x").unwrap_err().message.contains("tag"));
        assert!(parse("").unwrap_err().message.contains("empty"));
        assert!(parse("a: &x [*x]").is_err());
    }
}
