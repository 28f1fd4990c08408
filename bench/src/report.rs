//! The figures, as a table for people and as JSON for programs.

use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// What a figure ought to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    /// The figure itself, at least.
    AtLeast(f64),
    /// The figure itself, at most.
    AtMost(f64),
    /// The figure over the bare one, at least.
    RatioAtLeast(f64),
    /// The figure over the bare one, at most.
    RatioAtMost(f64),
}

/// Whether it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    /// It is.
    Reached,
    /// It is not.
    Missed,
    /// There is nothing to reach, or nothing to compare with.
    None,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// The figure.
    pub(crate) figure: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it ought to be.
    pub(crate) target: Option<Target>,
    /// The same of the bare parts, in the same unit.
    pub(crate) bare: Option<f64>,
    /// The figure over the bare one.
    pub(crate) ratio: Option<f64>,
    /// Whether the target is reached.
    pub(crate) verdict: Verdict,
    /// What else is worth knowing.
    pub(crate) note: String,
}

impl Row {
    /// A figure with nothing to compare it with.
    pub(crate) fn new(name: impl Into<String>, figure: f64, unit: &'static str) -> Row {
        let name = name.into();
        Row {
            name,
            figure,
            unit,
            target: None,
            bare: None,
            ratio: None,
            verdict: Verdict::None,
            note: String::new(),
        }
    }
    /// With what the bare parts gave in the same run.
    pub(crate) fn beside(mut self, bare: f64) -> Row {
        self.bare = Some(bare);
        self.ratio = Some(self.figure / bare);
        self.judged()
    }
    /// With what it ought to be.
    pub(crate) fn target(mut self, target: Target) -> Row {
        self.target = Some(target);
        self.judged()
    }
    /// With a remark.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }
    fn judged(mut self) -> Row {
        let reached = self.target.and_then(|target| match target {
            Target::AtLeast(least) => Some(self.figure >= least),
            Target::AtMost(most) => Some(self.figure <= most),
            Target::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
            Target::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
        });
        self.verdict = match reached {
            None => Verdict::None,
            Some(true) => Verdict::Reached,
            Some(false) => Verdict::Missed,
        };
        self
    }
    fn wanted(&self) -> String {
        match self.target {
            None => String::new(),
            Some(Target::AtLeast(least)) => format!(">= {}", number(least)),
            Some(Target::AtMost(most)) => format!("<= {}", number(most)),
            Some(Target::RatioAtLeast(least)) => format!(">= {least:.1} x bare"),
            Some(Target::RatioAtMost(most)) => format!("<= {most:.1} x bare"),
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// `quick` or `full`.
    pub(crate) mode: &'static str,
    /// Cores that server and load generator share.
    pub(crate) cores: usize,
    /// Limits that were raised above their defaults, each with the rows that it was raised for.
    pub(crate) limits_raised: Vec<String>,
    /// Sections that broke off, and why. One of them is enough for the program to end as failed.
    pub(crate) failed: Vec<String>,
    /// What is not measured, and why.
    pub(crate) left_out: Vec<String>,
    /// The lines, by section.
    pub(crate) sections: Vec<Section>,
}

/// Lines that belong together.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// Its title.
    pub(crate) title: &'static str,
    /// Its lines.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Adds a section. One that broke off does not take the others with it.
    pub(crate) fn add(&mut self, title: &'static str, rows: anyhow::Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.sections.push(Section { title, rows }),
            Err(fault) => self.failed.push(format!("{title}: {fault:#}")),
        }
    }
    /// Rows that miss their target.
    pub(crate) fn missed(&self) -> usize {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        rows.filter(|row| row.verdict == Verdict::Missed).count()
    }
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "\n{} benchmark on {} cores, server and load generator together\n",
            self.mode, self.cores
        );
        for section in &self.sections {
            let _ = writeln!(
                text,
                "\n{}\n{}",
                section.title,
                line(["", "figure", "target", "bare", "ratio", ""])
            );
            for row in &section.rows {
                let _ = writeln!(text, "{}", cells(row));
            }
        }
        let limits = match self.limits_raised.is_empty() {
            true => "none".to_owned(),
            false => self.limits_raised.join("; "),
        };
        let _ = writeln!(text, "\nlimits raised: {limits}. No limit of a sandbox is ever raised here.");
        for failed in &self.failed {
            let _ = writeln!(text, "FAILED: {failed}");
        }
        for left_out in &self.left_out {
            let _ = writeln!(text, "left out: {left_out}");
        }
        text
    }
    /// Writes the JSON file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

fn cells(row: &Row) -> String {
    let figure = format!("{} {}", number(row.figure), row.unit);
    let bare = row.bare.map(number).unwrap_or_default();
    let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let verdict = match row.verdict {
        Verdict::Reached => "ok",
        Verdict::Missed => "MISSED",
        Verdict::None => "",
    };
    let cells = line([&row.name, &figure, &row.wanted(), &bare, &ratio, verdict]);
    match row.note.is_empty() {
        true => cells,
        false => format!("{cells}\n      {}", row.note),
    }
}

fn line(cells: [&str; 6]) -> String {
    let [name, figure, target, bare, ratio, verdict] = cells;
    let text = format!("  {name:<52} {figure:>18} {target:>14} {bare:>9} {ratio:>6}  {verdict}");
    text.trim_end().to_owned()
}

/// Three significant digits or so: nothing here is known better.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_counted() {
        let row = |figure: f64| Row::new("a", figure, "ms").target(Target::AtMost(2.0));
        let mut report = Report {
            mode: "quick",
            cores: 2,
            limits_raised: Vec::new(),
            failed: Vec::new(),
            left_out: Vec::new(),
            sections: Vec::new(),
        };
        report.add("first", Ok(vec![row(1.0), row(3.0), Row::new("b", 9.0, "ms")]));
        report.add("second", Ok(vec![row(4.0)]));
        assert_eq!(report.missed(), 2);
        assert_eq!(report.table().matches("MISSED").count(), 2);
    }
    #[test]
    fn verdicts_go_by_the_figure_or_by_the_ratio() {
        assert_eq!(Row::new("a", 3.0, "ms").target(Target::AtMost(2.0)).verdict, Verdict::Missed);
        assert_eq!(Row::new("a", 3.0, "ms").target(Target::AtLeast(3.0)).verdict, Verdict::Reached);
        let row = Row::new("a", 90.0, "runs/s").target(Target::RatioAtLeast(0.8));
        assert_eq!(row.verdict, Verdict::None);
        assert_eq!(row.clone().beside(100.0).verdict, Verdict::Reached);
        assert_eq!(row.beside(120.0).verdict, Verdict::Missed);
    }
}
