//! A workflow as a picture: what was planned, and for a run also where each step stands.

use heddle_core::plan::Plan;
use heddle_core::run::view::RunView;
use serde::Serialize;
use std::fmt::Write as _;
use utoipa::ToSchema;

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema, clap::ValueEnum)]
#[schema(rename_all = "lowercase")]
pub enum Format {
    /// For programs.
    Json,
    /// For a README.
    Mermaid,
    /// For Graphviz.
    Dot,
}

impl Format {
    /// The format with this name.
    pub fn from_word(word: &str) -> Option<Format> {
        [Format::Json, Format::Mermaid, Format::Dot].into_iter().find(|format| format.word() == word)
    }
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Mermaid => "mermaid",
            Format::Dot => "dot",
        }
    }
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Mermaid => "text/vnd.mermaid",
            Format::Dot => "text/vnd.graphviz",
        }
    }
}

/// A graph.
#[derive(Debug, Serialize, ToSchema)]
pub struct Graph {
    /// `namespace/name@version`.
    pub workflow: String,
    /// Its steps.
    pub nodes: Vec<GraphNode>,
    /// Who waits for whom.
    pub edges: Vec<GraphEdge>,
}

/// A step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// Its id.
    pub id: String,
    /// Its title; empty where the author gave none.
    pub title: String,
    /// What it calls; absent where it computes its output itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
    /// Whether it is done for each element of a list.
    pub for_each: bool,
    /// Whether it has a condition.
    pub conditional: bool,
    /// Where it stands in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The step that it undoes, where it is a `compensate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Items that have ended, and all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<(u32, u32)>,
}

/// One step waits for another.
#[derive(Debug, Serialize, ToSchema)]
pub struct GraphEdge {
    /// The step that must have ended.
    pub from: String,
    /// The step that waits.
    pub to: String,
    /// The endings that will do; none where `to` undoes `from`.
    pub accepts: Vec<&'static str>,
    /// Why there is an edge.
    pub kind: EdgeKind,
}

/// What an edge means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum EdgeKind {
    /// One step waits for another.
    Waits,
    /// One step undoes another, should the run fail.
    Undoes,
}

impl Graph {
    /// The graph of a plan; with a run, also where each step stands.
    pub fn of(plan: &Plan, view: Option<&RunView>) -> Graph {
        let id_of =
            |step: u32| plan.steps.get(step as usize).map(|step| step.id.to_string()).unwrap_or_default();
        let mut edges = Vec::new();
        let mut nodes = Vec::with_capacity(plan.steps.len());
        for &index in &plan.order {
            let Some(step) = plan.steps.get(index as usize) else { continue };
            let seen = view.and_then(|v| v.steps.iter().find(|s| s.index == index));
            nodes.push(GraphNode {
                id: step.id.to_string(),
                title: step.title.to_string(),
                calls: plan.runs(index),
                for_each: step.map.is_some(),
                conditional: step.when.is_some(),
                undoes: step.undoes.map(id_of),
                status: seen.map(|s| s.status.to_owned()),
                items: seen.and_then(|s| s.items).map(|i| (i.succeeded + i.failed, i.total)),
            });
            for dependency in &step.depends {
                edges.push(GraphEdge {
                    from: id_of(dependency.step),
                    to: step.id.to_string(),
                    accepts: dependency.accepts.iter().map(|a| a.word()).collect(),
                    kind: EdgeKind::Waits,
                });
            }
            if let Some(undone) = step.undoes {
                let (from, to) = (id_of(undone), step.id.to_string());
                edges.push(GraphEdge { from, to, accepts: Vec::new(), kind: EdgeKind::Undoes });
            }
        }
        Graph { workflow: format!("{}@{}", plan.full_name(), plan.version), nodes, edges }
    }

    /// The graph as text.
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default(),
            Format::Mermaid => self.mermaid(),
            Format::Dot => self.dot(),
        }
    }

    fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        for node in &self.nodes {
            let label = label(node, "<br/>").replace('"', "#quot;");
            let (open, close) = if node.conditional { ("{{\"", "\"}}") } else { ("[\"", "\"]") };
            let _ = write!(out, "  {}{open}{label}{close}", mermaid_id(&node.id));
            match (&node.status, &node.undoes) {
                (Some(status), _) => drop(write!(out, ":::{status}")),
                (None, Some(_)) => out.push_str(":::undoes"),
                (None, None) => {}
            }
            out.push('\n');
        }
        for edge in &self.edges {
            let (from, to) = (mermaid_id(&edge.from), mermaid_id(&edge.to));
            let _ = writeln!(out, "  {from} {} {to}", edge.mermaid_arrow());
        }
        if self.nodes.iter().any(|node| node.undoes.is_some() && node.status.is_none()) {
            out.push_str("  classDef undoes fill:#ffffff,stroke:#999,stroke-dasharray:4 3,color:#111\n");
        }
        if self.nodes.iter().any(|node| node.status.is_some()) {
            for (status, fill) in COLOURS {
                let _ = writeln!(out, "  classDef {status} fill:{fill},stroke:#555,color:#111");
            }
        }
        out
    }

    fn dot(&self) -> String {
        let mut out = format!(
            "digraph {} {{\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\"];\n",
            quoted(&self.workflow)
        );
        for node in &self.nodes {
            let _ = write!(out, "  {} [label={}", quoted(&node.id), quoted(&label(node, "\n")));
            let fill = node.status.as_ref().and_then(|s| COLOURS.iter().find(|(name, _)| name == s));
            if node.undoes.is_some() {
                out.push_str(", style=\"rounded,filled,dashed\"");
            }
            if let Some((_, fill)) = fill {
                let _ = write!(out, ", fillcolor=\"{fill}\"");
            }
            out.push_str("];\n");
        }
        for edge in &self.edges {
            let style = match (edge.kind, edge.is_plain()) {
                (EdgeKind::Undoes, _) => " [style=dotted, label=\"undone by\"]".to_owned(),
                (EdgeKind::Waits, true) => String::new(),
                (EdgeKind::Waits, false) => {
                    format!(" [style=dashed, label={}]", quoted(&edge.accepts.join(" or ")))
                }
            };
            let _ = writeln!(out, "  {} -> {}{style};", quoted(&edge.from), quoted(&edge.to));
        }
        out.push_str("}\n");
        out
    }
}

/// A fill for each status, light enough for black text.
const COLOURS: &[(&str, &str)] = &[
    ("pending", "#eeeeee"),
    ("running", "#cfe8ff"),
    ("retrying", "#ffe9b8"),
    ("interrupted", "#ffe9b8"),
    ("succeeded", "#d3f2d3"),
    ("failed", "#ffd0cc"),
    ("skipped", "#f7f7f7"),
    ("cancelled", "#e3d7f0"),
    ("waiting", "#fff6d6"),
    ("compensated", "#dfe7e0"),
    ("compensationFailed", "#ff9d94"),
];

impl GraphEdge {
    /// Whether it waits for the usual endings.
    fn is_plain(&self) -> bool {
        self.accepts == ["succeeded", "skipped"]
    }
    fn mermaid_arrow(&self) -> String {
        match (self.kind, self.is_plain()) {
            (EdgeKind::Undoes, _) => "-. \"undone by\" .->".to_owned(),
            (EdgeKind::Waits, true) => "-->".to_owned(),
            (EdgeKind::Waits, false) => format!("-. \"{}\" .->", self.accepts.join(" or ")),
        }
    }
}

/// Words that mean something in Mermaid cannot name a node there.
fn mermaid_id(id: &str) -> String {
    const RESERVED: &[&str] =
        &["end", "graph", "subgraph", "flowchart", "class", "click", "style", "default", "direction"];
    if RESERVED.contains(&id) { format!("{id}_") } else { id.to_owned() }
}

fn label(node: &GraphNode, line: &str) -> String {
    let mut label = node.id.clone();
    if let Some(calls) = &node.calls {
        let _ = write!(label, "{line}{calls}");
    }
    match (node.items, node.for_each) {
        (Some((ended, total)), _) => drop(write!(label, "{line}{ended} of {total} items")),
        (None, true) => drop(write!(label, "{line}for each")),
        (None, false) => {}
    }
    label
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
