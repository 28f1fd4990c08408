//! How a run stands, as lines: kept up to date by its events, drawn over and over on a terminal, or told line by line
//! where there is none.

use super::paint::{Colour, Paint, harmless};
use super::sse::Event;
use heddle_core::time::Span;
use serde_json::Value;
use std::io::Write as _;

/// Lines that a picture has at most; a terminal is rarely higher.
const MOST_LINES: usize = 30;
const SPINNER: &[&str] = &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How a run stands.
#[derive(Debug)]
pub(crate) struct Picture {
    title: String,
    steps: Vec<Line>,
    status: &'static str,
    began: Option<u64>,
    now: u64,
}

#[derive(Debug, Default)]
struct Line {
    id: String,
    calls: String,
    status: String,
    items: Option<Items>,
    cache: String,
    note: String,
    began: Option<u64>,
    ended: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Items {
    total: u64,
    ended: u64,
    failed: u64,
    cached: u64,
    /// The quarter that was told last, where there is no terminal.
    told: u64,
}

impl Picture {
    /// A run of which nothing has been heard, with the steps of its graph.
    pub(crate) fn new(graph: &Value) -> Picture {
        let nodes = graph["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let steps = nodes.iter().map(|node| Line {
            id: text(&node["id"]),
            calls: text(&node["calls"]),
            status: "pending".to_owned(),
            ..Line::default()
        });
        Picture {
            title: text(&graph["workflow"]),
            steps: steps.collect(),
            status: "queued",
            began: None,
            now: 0,
        }
    }

    /// Whether the run has not begun.
    pub(crate) fn is_queued(&self) -> bool {
        self.status == "queued"
    }

    /// Whether the run has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status, "succeeded" | "failed" | "cancelled")
    }

    /// Takes an event; gives the line that tells it where there is no terminal.
    pub(crate) fn take(&mut self, event: &Event) -> Option<String> {
        let data = &event.data["data"];
        if let Some(at) = event.data["time"].as_str().and_then(millis) {
            self.now = at;
        }
        if let Some(status) = event.kind.strip_prefix("run.") {
            return self.run(status, data);
        }
        let (now, id) = (self.now, data["step"].as_str()?);
        let line = self.steps.iter_mut().find(|line| line.id == id)?;
        let item = data["item"].as_u64();
        match event.kind.as_str() {
            "step.running" => line.begin(now, data["items"].as_u64()),
            "step.succeeded" | "step.failed" if item.is_some() && line.items.is_some() => {
                line.item(&event.kind, data)
            }
            "step.succeeded" => line.end(now, "succeeded", data),
            "step.failed" => line.end(now, "failed", data),
            "step.skipped" => line.end(now, "skipped", data),
            "step.cancelled" => line.end(now, "cancelled", data),
            "attempt.failed" => {
                let error = &data["error"];
                let said = format!(
                    "attempt {} failed: {}: {}",
                    data["attempt"],
                    word(error, "kind"),
                    harmless(word(error, "message"))
                );
                line.note = cut(&said, 120);
                Some(format!("  {id}{}: {said}", item.map(|n| format!("[{n}]")).unwrap_or_default()))
            }
            "attempt.interrupted" => {
                "interrupted, tried again".clone_into(&mut line.note);
                None
            }
            "progress" => {
                let percent = data["percent"].as_u64().map(|p| format!(" {p}%")).unwrap_or_default();
                line.note = cut(
                    &harmless(&format!("{}{percent} {}", word(data, "stage"), word(data, "message"))),
                    80,
                );
                None
            }
            _ => None,
        }
    }

    fn run(&mut self, status: &str, data: &Value) -> Option<String> {
        let (said, told) = match status {
            "running" => ("running", "is running"),
            "cancelling" => ("cancelling", "is being cancelled"),
            "succeeded" => ("succeeded", "succeeded"),
            "failed" => ("failed", "failed"),
            "cancelled" => ("cancelled", "was cancelled"),
            _ => return None,
        };
        self.status = said;
        self.began.get_or_insert(self.now);
        let error = &data["error"];
        let why = if error.is_object() {
            format!(": {}: {}", word(error, "kind"), harmless(word(error, "message")))
        } else {
            String::new()
        };
        let took = self
            .is_over()
            .then(|| format!(" in {}", Span(self.now.saturating_sub(self.began.unwrap_or(self.now)))));
        Some(format!("{} {told}{}{why}", self.title, took.unwrap_or_default()))
    }

    /// The picture, line by line.
    pub(crate) fn lines(&self, paint: Paint, tick: usize) -> Vec<String> {
        let elapsed =
            self.began.map(|at| format!("  {}", Span(self.now.saturating_sub(at)))).unwrap_or_default();
        let mut lines = vec![format!(
            "{} {}{}",
            paint.with(Colour::Bold, &self.title),
            paint.status(self.status, self.status),
            paint.with(Colour::Dim, &elapsed)
        )];
        let wide = self.steps.iter().map(|s| s.id.chars().count()).max().unwrap_or(0).min(40);
        let fits = self.steps.len() < MOST_LINES;
        let shown = self
            .steps
            .iter()
            .filter(|s| fits || s.status != "pending" && s.status != "succeeded")
            .take(MOST_LINES - 1);
        lines.extend(shown.map(|step| step.draw(paint, wide, tick)));
        if !fits {
            let ended = self.steps.iter().filter(|s| s.ended.is_some()).count();
            lines.push(format!("  … {ended} of {} steps have ended", self.steps.len()));
        }
        lines
    }
}

impl Line {
    fn begin(&mut self, now: u64, items: Option<u64>) -> Option<String> {
        "running".clone_into(&mut self.status);
        self.began.get_or_insert(now);
        let Some(total) = items else { return Some(format!("  {} began", self.id)) };
        self.items = Some(Items { total, ..Items::default() });
        Some(format!("  {} began, {total} items", self.id))
    }
    fn item(&mut self, kind: &str, data: &Value) -> Option<String> {
        let items = self.items.as_mut()?;
        items.ended += 1;
        items.failed += u64::from(kind == "step.failed");
        items.cached += u64::from(word(data, "cache") == "hit");
        let quarter = items.ended * 4 / items.total.max(1);
        if quarter == items.told || items.ended == items.total {
            return None;
        }
        items.told = quarter;
        Some(format!("  {}: {} of {} items", self.id, items.ended, items.total))
    }
    fn end(&mut self, now: u64, status: &str, data: &Value) -> Option<String> {
        status.clone_into(&mut self.status);
        self.ended = Some(now);
        word(data, "cache").clone_into(&mut self.cache);
        self.note.clear();
        let error = &data["error"];
        if error.is_object() {
            self.note = cut(&harmless(&format!("{}: {}", word(error, "kind"), word(error, "message"))), 200);
        } else if !word(data, "reason").is_empty() {
            self.note = harmless(word(data, "reason"));
        }
        let extra = self.extra(Paint::plain());
        Some(format!("  {} {status}{}{extra}", self.id, if extra.is_empty() { "" } else { "  " }))
    }
    fn extra(&self, paint: Paint) -> String {
        let mut parts = Vec::new();
        if let Some(items) = self.items {
            let bar = if self.ended.is_none() { bar(items.ended, items.total) } else { String::new() };
            parts.push(format!("{bar}{} of {} items", items.ended, items.total));
            if items.cached > 0 {
                parts.push(paint.with(Colour::Green, &format!("{} from the cache", items.cached)));
            }
            if items.failed > 0 {
                parts.push(paint.with(Colour::Red, &format!("{} failed", items.failed)));
            }
        }
        if self.cache == "hit" {
            parts.push(paint.with(Colour::Green, "from the cache"));
        }
        if let (Some(from), Some(to)) = (self.began, self.ended) {
            parts.push(paint.with(Colour::Dim, &Span(to.saturating_sub(from)).to_string()));
        }
        if !self.note.is_empty() {
            parts.push(
                paint.with(if self.status == "failed" { Colour::Red } else { Colour::Dim }, &self.note),
            );
        }
        parts.join("  ")
    }
    fn draw(&self, paint: Paint, wide: usize, tick: usize) -> String {
        let sign = match self.status.as_str() {
            "succeeded" => "✓",
            "failed" => "✗",
            "running" => SPINNER[tick % SPINNER.len()],
            "skipped" | "cancelled" => "-",
            _ => "·",
        };
        let id = format!("{:<wide$}", self.id);
        let calls = if self.status == "pending" || self.status == "running" {
            paint.with(Colour::Dim, &self.calls)
        } else {
            String::new()
        };
        let extra = self.extra(paint);
        let gap = if calls.is_empty() || extra.is_empty() { "" } else { "  " };
        format!("  {} {id}  {calls}{gap}{extra}", paint.status(&self.status, sign))
    }
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn bar(done: u64, total: u64) -> String {
    let filled = (done * 16).checked_div(total).unwrap_or(0).min(16) as usize;
    format!("{}{} ", "█".repeat(filled), "░".repeat(16 - filled))
}

fn cut(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Milliseconds since the epoch of `2026-11-21T02:00:21.000Z`, the one form in which times come.
fn millis(text: &str) -> Option<u64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    // Days of the proleptic Gregorian calendar, counted in years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    let seconds = part(11, 13)? * 3600 + part(14, 16)? * 60 + part(17, 19)?;
    u64::try_from(days * 86_400_000 + seconds * 1000 + part(20, 23)?).ok()
}

/// A picture on a terminal, drawn over the one before.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    drawn: usize,
    tick: usize,
}

impl Screen {
    /// Draws it. Long lines are cut by the terminal, not wrapped, so that the lines can be counted.
    pub(crate) fn draw(&mut self, picture: &Picture, paint: Paint) {
        let lines = picture.lines(paint, self.tick);
        self.tick += 1;
        let mut out = String::from("\x1b[?7l");
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            out.push_str(&format!("\r\x1b[2K{line}\n"));
        }
        out.push_str("\x1b[0J\x1b[?7h");
        self.drawn = lines.len();
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(out.as_bytes()).and_then(|()| stderr.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, ms: u64, data: &str) -> Event {
        let time = heddle_core::time::Timestamp(1_795_219_200_000 + ms).rfc3339();
        let data: Value = serde_json::from_str(data).unwrap();
        Event { id: None, kind: kind.into(), data: serde_json::json!({ "time": time, "data": data }) }
    }

    #[test]
    fn times_read_as_they_print() {
        for at in [0, 951_782_400_123, 1_795_219_200_000, 4_102_444_799_999] {
            assert_eq!(millis(&heddle_core::time::Timestamp(at).rfc3339()), Some(at));
        }
        assert_eq!(millis("now"), None);
    }
    #[test]
    fn a_run_is_told_by_its_events() {
        let graph = serde_json::json!({ "workflow": "a/b@1.0.0", "nodes": [{ "id": "parse", "calls": "transform:p@*" }, { "id": "each" }] });
        let mut picture = Picture::new(&graph);
        let mut told = Vec::new();
        for event in [
            event("run.running", 0, "{}"),
            event("step.running", 0, r#"{"step":"parse"}"#),
            event("step.succeeded", 5, r#"{"step":"parse","cache":"hit"}"#),
            event("step.running", 5, r#"{"step":"each","items":2}"#),
            event("step.succeeded", 6, r#"{"step":"each","item":0,"cache":"hit"}"#),
            event(
                "step.failed",
                7,
                r#"{"step":"each","item":1,"error":{"kind":"trap","message":"no\u001b[2J"}}"#,
            ),
            event("step.failed", 8, r#"{"step":"each","error":{"kind":"items_failed","message":"1 of 2"}}"#),
            event("run.failed", 9, r#"{"error":{"kind":"items_failed","message":"1 of 2"}}"#),
        ] {
            told.extend(picture.take(&event));
        }
        assert!(picture.is_over());
        assert!(told.iter().any(|line| line == "  parse succeeded  from the cache  5ms"), "{told:?}");
        assert_eq!(told.last().unwrap(), "a/b@1.0.0 failed in 9ms: items_failed: 1 of 2");
        let drawn = picture.lines(Paint::plain(), 0).join("\n");
        assert!(
            drawn.contains("✗ each") && drawn.contains("2 of 2 items  1 from the cache  1 failed"),
            "{drawn}"
        );
        assert!(!drawn.contains('\u{1b}'));
    }
}
