//! The graph form: a workflow drawn as `nodes` and `edges`, translated into steps before anything else reads it.
//!
//! ```text
//! start ──► fetch ──► big? ──true──► pay ───► end          steps.pay.when: big has run, and says true
//!                       └────false─────────────┘
//! ```
//! A node runs when at least one edge into it is taken. An edge is taken when the node that it leaves has run and its
//! own `when`, if it has one, is true. So a branch that is not taken dies, up to where another one joins it.
//! What the checker finds in the steps is told at the nodes and edges that they were made of.

use super::walk::{Faults, Fields};
use crate::document::{Doc, Fault, Key, Part, Place, pointer};
use crate::expr::Expr;
use crate::expr::template::whole;
use crate::expr::tree::nearest;
use crate::id::is_name;
use crate::limits::Limits;
use crate::outcome::PluginKind;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A document in steps, and where each of them comes from.
pub(super) struct Translated {
    /// The document with `steps` for `nodes` and `edges`.
    pub(super) doc: Doc,
    /// What is wrong with the graph.
    pub(super) faults: Vec<Fault>,
    origins: BTreeMap<String, Origin>,
}

/// Where a step comes from.
struct Origin {
    /// Its node.
    path: String,
    /// Where its `when` is written: in the node, or in an edge into it.
    when: String,
    /// Whether the node is a decision, and so its `when` the step's `set`.
    decides: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Start,
    End,
    Conditional,
    Work,
}

struct Node<'a> {
    id: &'a str,
    doc: &'a Doc,
    path: String,
    sort: Sort,
    /// Its `when`: the decision of a conditional, the condition of any other.
    when: Option<&'a Doc>,
}

/// What an edge asks.
#[derive(Clone, Copy)]
enum Asks<'a> {
    Nothing,
    /// What the conditional that it leaves must have said.
    Says(bool),
    Expression(&'a str),
}

struct Edge<'a> {
    from: usize,
    to: usize,
    asks: Asks<'a>,
    place: Place,
    path: String,
}

/// Whether a document is in the graph form.
pub(super) fn is_graph(doc: &Doc) -> bool {
    doc.get("nodes").is_some() || doc.get("edges").is_some()
}

/// Translates a document, as far as its graph is one: what else is wrong in its nodes is found in the steps.
pub(super) fn translate(doc: &Doc, limits: &Limits) -> Translated {
    let mut faults = Faults::default();
    if let Some(steps) = doc.get("steps") {
        let message =
            "a workflow has either `steps` or `nodes` and `edges`; write it in one of the two forms";
        faults.at(steps, "/steps", message);
    }
    let nodes = nodes(doc, limits, &mut faults);
    let edges = edges(doc, &nodes, limits, &mut faults);
    if faults.list.is_empty() {
        shape(doc, &nodes, &edges, &mut faults);
    }
    let order = order(&nodes, &edges, &mut faults);
    let certain = certain(&nodes, &edges, &order);
    let mut steps = Vec::new();
    let mut origins = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if matches!(node.sort, Sort::Start | Sort::End) {
            continue;
        }
        let into: Vec<&Edge<'_>> = edges.iter().filter(|edge| edge.to == at).collect();
        let (step, origin) = step(node, &into, &nodes, &certain);
        steps.push((key(node.id, node.doc.place), step));
        origins.insert(node.id.to_owned(), origin);
    }
    let entries = match &doc.part {
        Part::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let place = doc.get("nodes").map_or(doc.place, |nodes| nodes.place);
    let mut entries: Vec<(Key, Doc)> =
        entries.iter().filter(|(key, _)| !matches!(&*key.text, "nodes" | "edges")).cloned().collect();
    entries.push((key("steps", place), Doc { place, part: Part::Map(steps) }));
    let doc = Doc { place: doc.place, part: Part::Map(entries) };
    Translated { doc, faults: faults.list, origins }
}

impl Translated {
    /// Everything that is wrong, each where its author finds it.
    pub(super) fn all_faults(self, of_steps: Vec<Fault>) -> Vec<Fault> {
        // A graph that is none has told so itself.
        let again = |fault: &Fault| {
            fault.path == "/steps" || fault.message.starts_with("these steps wait for each other")
        };
        let of_steps = of_steps.into_iter().filter(|fault| self.faults.is_empty() || !again(fault));
        let mut all: Vec<Fault> = of_steps.map(|fault| self.at_its_node(fault)).collect();
        all.extend(self.faults);
        all.sort();
        all.dedup();
        all
    }
    /// The fault where its author finds it.
    fn at_its_node(&self, mut fault: Fault) -> Fault {
        let Some(rest) = fault.path.strip_prefix("/steps") else { return fault };
        let (id, rest) = match rest.strip_prefix('/') {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => {
                fault.path = "/nodes".to_owned();
                return fault;
            }
        };
        let Some(origin) = self.origins.get(id) else { return fault };
        fault.path = match rest {
            "" | "dependsOn" => origin.path.clone(),
            "when" => origin.when.clone(),
            "set" if origin.decides => pointer(&origin.path, "when"),
            inner => format!("{}/{inner}", origin.path),
        };
        if fault.message.starts_with("unknown key") {
            fault.message = fault.message.replace("`dependsOn`", "`id`, `type`");
        }
        fault
    }
}

/// The words of nodes.
const SORTS: &[(&str, Sort)] = &[
    ("start", Sort::Start),
    ("end", Sort::End),
    ("conditional", Sort::Conditional),
    ("agent", Sort::Work),
    ("tool", Sort::Work),
    ("transform", Sort::Work),
];

fn nodes<'a>(doc: &'a Doc, limits: &Limits, faults: &mut Faults) -> Vec<Node<'a>> {
    let Some(list) = doc.get("nodes") else {
        faults.at(doc, "", "`nodes` is missing: `edges` join nodes");
        return Vec::new();
    };
    let Part::List(items) = &list.part else {
        let message =
            format!("wants a list of nodes, each with an `id` and a `type`, and this is {}", list.kind());
        faults.at(list, "/nodes", message);
        return Vec::new();
    };
    // Starts, ends and conditionals come beside the steps. What is far beyond is not looked at: edges are sought by node.
    if items.len() as u64 > limits.workflow_steps.saturating_mul(2) {
        let most = limits.workflow_steps;
        let message =
            format!("{} nodes; the limit workflow_steps is {most}: split the workflow", items.len());
        faults.at(list, "/nodes", message);
        return Vec::new();
    }
    let mut found: Vec<Node<'a>> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let Some(node) = node(item, pointer("/nodes", &at.to_string()), limits, faults) else { continue };
        if found.iter().any(|known| known.id == node.id) {
            let message = format!("`{}` is the id of a node already; choose another", node.id);
            faults.at(item, &pointer(&node.path, "id"), message);
        } else {
            found.push(node);
        }
    }
    found
}

fn node<'a>(doc: &'a Doc, path: String, limits: &Limits, faults: &mut Faults) -> Option<Node<'a>> {
    let mut fields = Fields::of(doc, &path, faults);
    let (id_doc, id_path) = fields.need("id", faults)?;
    let id = id_doc.as_str().filter(|id| is_name(id));
    if id.is_none() {
        faults.at(id_doc, &id_path, "a node's id is `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
    let sort = match fields.get("type") {
        Some((sort, path)) => sorted(doc, sort, &path, faults),
        None => Some(Sort::Work),
    };
    // Of no known type it is a node all the same, so that edges may name it.
    let (id, sort) = (id?, sort.unwrap_or(Sort::Work));
    let when = fields.get("when").map(|(when, _)| when);
    if sort != Sort::Work {
        fields.text("title", faults);
        fields.text("description", faults);
        match (sort, when) {
            (Sort::Conditional, None) => {
                faults.at(
                    doc,
                    &path,
                    "`when` is missing: what a conditional decides, such as `${ input.vip }`",
                );
            }
            (Sort::Conditional, Some(decision)) => decided(decision, &pointer(&path, "when"), limits, faults),
            (Sort::Start | Sort::End, Some(when)) => {
                let message =
                    "a start or an end runs nothing, so it has no condition; give the edge a `when`";
                faults.at(when, &pointer(&path, "when"), message);
            }
            _ => {}
        }
        fields.finish(faults);
    } else if let Some(depends) = doc.get("dependsOn") {
        let message = "in the graph form `edges` say who waits for whom; write `{from: ..., to: ...}` there";
        faults.at(depends, &pointer(&path, "dependsOn"), message);
    }
    Some(Node { id, doc, path, sort, when })
}

/// The sort that a `type` names; that of a plugin must be that of its `call`.
fn sorted(node: &Doc, doc: &Doc, path: &str, faults: &mut Faults) -> Option<Sort> {
    let word = doc.as_str().unwrap_or_default().to_ascii_lowercase();
    let Some((word, sort)) = SORTS.iter().find(|(known, _)| *known == word) else {
        let words: Vec<String> = SORTS.iter().map(|(word, _)| format!("`{word}`")).collect();
        let hint = nearest(&word, SORTS.iter().map(|(word, _)| *word))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let message = format!(
            "a node is of type {}{hint}; without `type` it has the verb of a step, such as `approval`",
            words.join(", ")
        );
        faults.at(doc, path, message);
        return None;
    };
    if let (Some(kind), Some(call)) = (PluginKind::from_word(word), node.get("call")) {
        let named = call.as_str().and_then(|call| call.split_once(':')).map(|(kind, _)| kind);
        if let Some(other) = named.filter(|named| *named != kind.word()) {
            let message =
                format!("the node calls a plugin of kind `{other}`; write `type: {other}`, or call another");
            faults.at(doc, path, message);
        }
    }
    Some(*sort)
}

fn edges<'a>(doc: &'a Doc, nodes: &[Node<'a>], limits: &Limits, faults: &mut Faults) -> Vec<Edge<'a>> {
    let Some(list) = doc.get("edges") else {
        faults.at(doc, "", "`edges` is missing: it says which node follows which");
        return Vec::new();
    };
    if nodes.is_empty() {
        // That has been told, and every edge would be a fault of its own.
        return Vec::new();
    }
    let Part::List(items) = &list.part else {
        let message = format!("wants a list such as `[{{from: a, to: b}}]`, and this is {}", list.kind());
        faults.at(list, "/edges", message);
        return Vec::new();
    };
    let mut found: Vec<Edge<'a>> = Vec::new();
    let mut pairs = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let path = pointer("/edges", &at.to_string());
        let Some(edge) = edge(item, &path, nodes, limits, faults) else { continue };
        if !pairs.insert((edge.from, edge.to)) {
            faults.at(item, &path, "these two nodes are joined already; say it in one edge");
        }
        found.push(edge);
    }
    found
}

fn edge<'a>(
    doc: &'a Doc,
    path: &str,
    nodes: &[Node<'a>],
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Edge<'a>> {
    let mut fields = Fields::of(doc, path, faults);
    let from = fields.need("from", faults).and_then(|(doc, path)| named(doc, &path, nodes, faults));
    let to = fields.need("to", faults).and_then(|(doc, path)| named(doc, &path, nodes, faults));
    let when = fields.get("when");
    fields.finish(faults);
    let (from, to) = (from?, to?);
    let asks = match &when {
        None => Asks::Nothing,
        Some((when, path)) => asks(when, path, &nodes[from], limits, faults),
    };
    let place = when.as_ref().map_or(doc.place, |(when, _)| when.place);
    Some(Edge { from, to, asks, place, path: when.map_or(path.to_owned(), |(_, path)| path) })
}

fn named(doc: &Doc, path: &str, nodes: &[Node<'_>], faults: &mut Faults) -> Option<usize> {
    let id = doc.as_str().unwrap_or_default();
    let found = nodes.iter().position(|node| node.id == id);
    if found.is_none() {
        let hint = nearest(id, nodes.iter().map(|node| node.id))
            .map_or("; add it to `nodes`".to_owned(), |near| format!("; did you mean `{near}`?"));
        faults.at(doc, path, format!("no node is called `{id}`{hint}"));
    }
    found
}

fn asks<'a>(doc: &'a Doc, path: &str, from: &Node<'_>, limits: &Limits, faults: &mut Faults) -> Asks<'a> {
    if from.sort == Sort::Start {
        faults.at(doc, path, "what follows the start begins with the run; give the node a `when`");
    }
    if let Part::Scalar(Value::Bool(says)) = doc.part {
        if from.sort != Sort::Conditional {
            let message =
                "`true` and `false` are answers of a conditional; write `${ ... }`, or leave it out";
            faults.at(doc, path, message);
        }
        return Asks::Says(says);
    }
    decided(doc, path, limits, faults);
    doc.as_str().and_then(whole).map_or(Asks::Nothing, Asks::Expression)
}

/// One expression that parses by itself: it will stand inside another one.
fn decided(doc: &Doc, path: &str, limits: &Limits, faults: &mut Faults) {
    match doc.as_str().and_then(whole).map(|source| Expr::parses(source, limits)) {
        Some(Ok(_)) => {}
        Some(Err(fault)) => faults.at(doc, path, fault.to_string()),
        None => faults.at(doc, path, "wants one expression such as `${ steps.a.output.ok }`, and on an edge that leaves a conditional `true` or `false`"),
    }
}

/// One start, an end, and every node on a way from the one to the other.
fn shape(doc: &Doc, nodes: &[Node<'_>], edges: &[Edge<'_>], faults: &mut Faults) {
    let list = doc.get("nodes").unwrap_or(doc);
    let of = |sort: Sort| nodes.iter().enumerate().filter(move |(_, node)| node.sort == sort);
    let starts: Vec<(usize, &Node<'_>)> = of(Sort::Start).collect();
    let ends: Vec<usize> = of(Sort::End).map(|(at, _)| at).collect();
    match starts.as_slice() {
        [] => faults.at(list, "/nodes", "there is no node of `type: start`; a graph has one"),
        [_] => {}
        [_, rest @ ..] => {
            for (_, node) in rest {
                faults.at(node.doc, &node.path, "a graph has one start; join the branches to the first");
            }
        }
    }
    if ends.is_empty() {
        faults.at(list, "/nodes", "there is no node of `type: end`; a graph has at least one");
    }
    for edge in edges {
        let message = match (nodes[edge.from].sort, nodes[edge.to].sort) {
            (Sort::End, _) => "nothing follows an end; take the edge out, or let it leave another node",
            (_, Sort::Start) => "nothing goes before the start; take the edge out",
            _ => continue,
        };
        let doc = Doc { place: edge.place, part: Part::List(Vec::new()) };
        faults.at(&doc, &edge.path, message);
    }
    if !faults.list.is_empty() {
        return;
    }
    let from_start = reached(&[starts[0].0], nodes.len(), |at| {
        edges.iter().filter(move |edge| edge.from == at).map(|edge| edge.to).collect()
    });
    let to_end = reached(&ends, nodes.len(), |at| {
        edges.iter().filter(move |edge| edge.to == at).map(|edge| edge.from).collect()
    });
    for (at, node) in nodes.iter().enumerate() {
        if !from_start[at] {
            let message = format!("no edge leads from the start to `{}`; join it, or take it out", node.id);
            faults.at(node.doc, &node.path, message);
        } else if !to_end[at] {
            let message = format!("no edge leads from `{}` to an end; join it to one", node.id);
            faults.at(node.doc, &node.path, message);
        }
    }
}

fn reached(from: &[usize], count: usize, next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut seen = vec![false; count];
    let mut open: Vec<usize> = from.to_vec();
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(next(at));
        }
    }
    seen
}

/// The nodes, each after those before it. Where that cannot be, a fault names a cycle.
fn order(nodes: &[Node<'_>], edges: &[Edge<'_>], faults: &mut Faults) -> Vec<usize> {
    let mut missing = vec![0usize; nodes.len()];
    edges.iter().for_each(|edge| missing[edge.to] += 1);
    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|at| missing[*at] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(at) = ready.pop_front() {
        order.push(at);
        for edge in edges.iter().filter(|edge| edge.from == at) {
            missing[edge.to] -= 1;
            if missing[edge.to] == 0 {
                ready.push_back(edge.to);
            }
        }
    }
    let Some(mut at) = (0..nodes.len()).find(|at| missing[*at] > 0) else { return order };
    // Whoever waits still, waits for another that does: going back often enough, the way bites its tail.
    let mut way: Vec<&Edge<'_>> = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.insert(at) {
        let Some(edge) = edges.iter().find(|edge| edge.to == at && missing[edge.from] > 0) else {
            return order;
        };
        way.push(edge);
        at = edge.from;
    }
    let first = way.iter().position(|edge| edge.to == at).unwrap_or(0);
    let mut ids: Vec<&str> = way[first..].iter().map(|edge| nodes[edge.to].id).collect();
    ids.push(nodes[at].id);
    ids.reverse();
    let doc = Doc { place: way[first].place, part: Part::List(Vec::new()) };
    let message = format!(
        "these nodes follow each other in a circle: {}; take an edge out, and repeat with `forEach` or `retry`",
        ids.join(" -> ")
    );
    faults.at(&doc, &way[first].path, message);
    order
}

/// Which nodes run in every run that gets so far.
fn certain(nodes: &[Node<'_>], edges: &[Edge<'_>], order: &[usize]) -> Vec<bool> {
    let mut certain = vec![false; nodes.len()];
    for &at in order {
        let node = &nodes[at];
        let mut into = edges.iter().filter(|edge| edge.to == at);
        let reached = node.sort == Sort::Start
            || into.any(|edge| certain[edge.from] && matches!(edge.asks, Asks::Nothing));
        certain[at] = reached && (node.sort != Sort::Work || node.when.is_none());
    }
    certain
}

/// A node as a step.
fn step(node: &Node<'_>, into: &[&Edge<'_>], nodes: &[Node<'_>], certain: &[bool]) -> (Doc, Origin) {
    let place = node.doc.place;
    let decides = node.sort == Sort::Conditional;
    let join = join(into, nodes, certain);
    let own = node.when.filter(|_| !decides);
    let by_edge = into.iter().find(|edge| !matches!(edge.asks, Asks::Nothing));
    let mut entries: Vec<(Key, Doc)> = Vec::new();
    if let Part::Map(members) = &node.doc.part {
        for (name, member) in
            members.iter().filter(|(name, _)| !matches!(&*name.text, "id" | "type" | "when"))
        {
            let member = match &*name.text {
                "call" => called(node.doc, member),
                _ => member.clone(),
            };
            entries.push((name.clone(), member));
        }
    }
    if decides && let Some(decision) = node.when {
        // So that whatever is neither true nor false fails here, and does not look like a branch that was not taken.
        let part = match decision.as_str().and_then(whole) {
            Some(source) => text(format!("${{ ({}) ? true : false }}", source.trim())),
            None => decision.part.clone(),
        };
        entries.push((key("set", decision.place), Doc { place: decision.place, part }));
    }
    let when = match (own.map(|own| own.as_str().and_then(whole)), join) {
        (Some(Some(own)), Some(join)) => Some(text(format!("${{ ({join}) && ({own}) }}"))),
        (None, Some(join)) => Some(text(format!("${{ {join} }}"))),
        (Some(_), _) => own.map(|own| own.part.clone()),
        (None, None) => None,
    };
    if let Some(part) = when {
        let place = own.map(|own| own.place).or(by_edge.map(|edge| edge.place)).unwrap_or(place);
        entries.push((key("when", place), Doc { place, part }));
    }
    let before: Vec<Doc> = into
        .iter()
        .filter(|edge| nodes[edge.from].sort != Sort::Start)
        .map(|edge| Doc { place: edge.place, part: text(nodes[edge.from].id.to_owned()) })
        .collect();
    if !before.is_empty() {
        entries.push((key("dependsOn", place), Doc { place, part: Part::List(before) }));
    }
    let written = match (own, by_edge) {
        (None, Some(edge)) => edge.path.clone(),
        _ => pointer(&node.path, "when"),
    };
    (Doc { place, part: Part::Map(entries) }, Origin { path: node.path.clone(), when: written, decides })
}

/// When at least one edge into a node is taken; `None` where that is certain.
fn join(into: &[&Edge<'_>], nodes: &[Node<'_>], certain: &[bool]) -> Option<String> {
    let mut ways = Vec::new();
    for edge in into {
        let step = format!("steps[\"{}\"]", nodes[edge.from].id);
        let ran = (!certain[edge.from]).then(|| format!("{step}.status == \"succeeded\""));
        let asked = match edge.asks {
            Asks::Nothing => None,
            Asks::Says(true) => Some(format!("{step}.output == true")),
            Asks::Says(false) => Some(format!("{step}.output == false")),
            Asks::Expression(source) => Some(format!("({})", source.trim())),
        };
        let parts: Vec<String> = ran.into_iter().chain(asked).collect();
        match parts.is_empty() {
            true => return None,
            false => ways.push(parts.join(" && ")),
        }
    }
    Some(ways.join(" || "))
}

/// A plugin's name with the kind of its node.
fn called(node: &Doc, call: &Doc) -> Doc {
    let kind = node.get("type").and_then(Doc::as_str).map(str::to_ascii_lowercase);
    let kind = kind.as_deref().and_then(PluginKind::from_word);
    match (kind, call.as_str()) {
        (Some(kind), Some(name)) if !name.contains(':') => {
            Doc { place: call.place, part: text(format!("{}:{name}", kind.word())) }
        }
        _ => call.clone(),
    }
}

fn text(text: String) -> Part {
    Part::Scalar(Value::text(text))
}

fn key(text: &str, place: Place) -> Key {
    Key { text: Arc::from(text), place }
}
