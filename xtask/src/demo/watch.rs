//! A run while it is under way: a tree that is drawn over itself on a terminal, plain lines elsewhere.

use super::api::{Api, Event};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the tree is drawn, at most.
const FRAME: Duration = Duration::from_millis(60);
/// Cells of a progress bar.
const BAR: u64 = 24;

/// Follows a run until it ends.
///
/// # Errors
/// Where its events cannot be read.
pub(crate) fn watch(api: &Api, path: &str) -> Result<()> {
    let run = api.get(path)?;
    let steps = run["steps"].as_array().context("a run has steps")?;
    let mut tree = Tree { steps: in_order(steps).into_iter().map(Step::of).collect(), begin: Instant::now() };
    let mut screen = Screen { live: std::io::stdout().is_terminal(), drawn_lines: 0, drawn_at: None };
    for event in api.events(&format!("{path}/events"))? {
        let line = tree.apply(&event?);
        screen.show(&tree, line)?;
    }
    screen.finish(&tree)
}

/// The steps, each after those that it depends on.
fn in_order(steps: &[Value]) -> Vec<&Value> {
    let mut left: Vec<&Value> = steps.iter().collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |step: &Value| {
            step["dependsOn"].as_array().into_iter().flatten().any(|d| left.iter().any(|l| l["id"] == *d))
        };
        let (later, now): (Vec<&Value>, Vec<&Value>) = left.iter().partition(|step| waits(step));
        // A plan has no cycles; should a document have one, it is shown as it came.
        left = if now.is_empty() { vec![] } else { later.clone() };
        ordered.extend(if now.is_empty() { later } else { now });
    }
    ordered
}

/// Where each step stands.
struct Tree {
    steps: Vec<Step>,
    begin: Instant,
}

#[derive(Default)]
struct Step {
    id: String,
    calls: String,
    status: Status,
    /// The items of a `forEach`: all, ended, and of those from the cache.
    items: Option<u64>,
    done: u64,
    cached: u64,
    /// What the plugin said last of how far it is.
    stage: String,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Status {
    #[default]
    Waiting,
    Running,
    Succeeded,
    Failed,
    Skipped,
}

impl Status {
    fn mark(self) -> char {
        match self {
            Status::Waiting => '·',
            Status::Running => '▸',
            Status::Succeeded => '✔',
            Status::Failed => '✘',
            Status::Skipped => '–',
        }
    }
}

impl Step {
    fn of(document: &Value) -> Step {
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        Step { id: text("id"), calls: text("calls"), ..Step::default() }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:<10}", self.status.mark(), self.id)?;
        match self.items {
            Some(all) => {
                let full = (self.done * BAR).checked_div(all).unwrap_or(BAR).min(BAR) as usize;
                let bar = "█".repeat(full) + &"░".repeat(BAR as usize - full);
                write!(f, " {bar} {}/{all}, {} from the cache", self.done, self.cached)
            }
            None if self.cached > 0 => write!(f, " from the cache"),
            None if self.status == Status::Running && !self.stage.is_empty() => write!(f, " {}", self.stage),
            None => write!(f, " {}", self.calls),
        }
    }
}

impl Tree {
    /// Takes an event in. Gives the line that is worth printing where there is no terminal.
    fn apply(&mut self, event: &Event) -> Option<String> {
        let data = &event.data["data"];
        if let Some(status) =
            event.kind.strip_prefix("run.").filter(|s| ["succeeded", "failed", "cancelled"].contains(s))
        {
            return Some(format!("run {status} after {:.2} s", self.begin.elapsed().as_secs_f64()));
        }
        let step = self.steps.iter_mut().find(|s| data["step"] == *s.id)?;
        let is_item = data["item"].is_u64();
        match &*event.kind {
            "step.running" => {
                step.status = Status::Running;
                step.items = data["items"].as_u64();
                return Some(step.to_string());
            }
            "step.succeeded" | "step.failed" => {
                step.done += u64::from(is_item);
                step.cached += u64::from(data["cache"] == "hit");
                if is_item {
                    // Each quarter, so that a log shows that something goes on.
                    let all = step.items.unwrap_or(0);
                    return (step.done * 4 / all.max(1) > (step.done - 1) * 4 / all.max(1))
                        .then(|| step.to_string());
                }
                step.status = if event.kind == "step.failed" { Status::Failed } else { Status::Succeeded };
            }
            "step.skipped" | "step.cancelled" => step.status = Status::Skipped,
            "progress" => {
                data["stage"].as_str().unwrap_or_default().clone_into(&mut step.stage);
                return None;
            }
            _ => return None,
        }
        Some(step.to_string())
    }
}

/// Where the tree is shown.
struct Screen {
    live: bool,
    drawn_lines: usize,
    drawn_at: Option<Instant>,
}

impl Screen {
    fn show(&mut self, tree: &Tree, line: Option<String>) -> Result<()> {
        if !self.live {
            line.into_iter().for_each(|line| println!("  {line}"));
            return Ok(());
        }
        match self.drawn_at.is_some_and(|at| at.elapsed() < FRAME) {
            true => Ok(()),
            false => self.draw(tree),
        }
    }

    fn finish(&mut self, tree: &Tree) -> Result<()> {
        if self.live {
            self.draw(tree)?;
            println!("  after {:.2} s", tree.begin.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Goes back to the first line of the last drawing and draws over it.
    fn draw(&mut self, tree: &Tree) -> Result<()> {
        let back = if self.drawn_lines > 0 { format!("\x1b[{}A", self.drawn_lines) } else { String::new() };
        let lines: String = tree.steps.iter().map(|step| format!("\x1b[2K  {step}\n")).collect();
        let mut out = std::io::stdout().lock();
        write!(out, "{back}{lines}")?;
        out.flush()?;
        self.drawn_lines = tree.steps.len();
        self.drawn_at = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree() -> Tree {
        let step = |id: &str| Step { id: id.to_owned(), ..Step::default() };
        Tree { steps: vec![step("parse"), step("examine")], begin: Instant::now() }
    }
    fn event(kind: &str, data: Value) -> Event {
        Event { kind: kind.to_owned(), data: json!({ "run": "r", "data": data }) }
    }

    #[test]
    fn items_are_counted() {
        let mut tree = tree();
        tree.apply(&event("step.running", json!({"step": "examine", "items": 8})));
        for (item, cache) in [(0, "hit"), (1, "miss"), (2, "hit")] {
            tree.apply(&event("step.succeeded", json!({"step": "examine", "item": item, "cache": cache})));
        }
        let shown = tree.steps[1].to_string();
        assert!(shown.contains("3/8, 2 from the cache") && shown.contains(&"█".repeat(9)), "{shown}");
        assert!(tree.steps[1].status == Status::Running);
        assert!(tree.steps[0].status == Status::Waiting);
    }

    #[test]
    fn steps_come_after_what_they_depend_on() {
        let steps = json!([{"id": "c", "dependsOn": ["b", "a"]}, {"id": "b", "dependsOn": ["a"]}, {"id": "a", "dependsOn": []}]);
        let ids: Vec<&Value> = in_order(steps.as_array().unwrap()).into_iter().map(|s| &s["id"]).collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let cycle = json!([{"id": "a", "dependsOn": ["b"]}, {"id": "b", "dependsOn": ["a"]}]);
        assert_eq!(in_order(cycle.as_array().unwrap()).len(), 2);
    }

    #[test]
    fn a_log_gets_a_line_for_each_quarter() {
        let mut tree = tree();
        tree.apply(&event("step.running", json!({"step": "examine", "items": 100})));
        let said = (0..100).filter_map(|item| {
            tree.apply(&event("step.succeeded", json!({"step": "examine", "item": item})))
        });
        assert_eq!(said.count(), 4);
    }
}
