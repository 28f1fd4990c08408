//! Tables for reports. A transform of its own, because a report is written by an agent, and what is pure is better
//! cached than computed again with every report.

use std::fmt::Write;

use heddle_sdk::prelude::*;

/// Cells up to this length line up; longer ones would push everything else off the screen.
const ALIGNED_MAX_CHARACTERS: usize = 48;

/// A table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The columns, from left to right. At least one.
    columns: Vec<Column>,
    /// The rows; each has one cell for each column.
    rows: Vec<Vec<Cell>>,
}

/// One column: its title, or its title and how it is aligned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Column {
    Title(String),
    Aligned {
        title: String,
        #[serde(default)]
        align: Align,
    },
}

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Align {
    #[default]
    Left,
    Center,
    Right,
}

/// What stands in a cell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Cell {
    Text(String),
    Number(f64),
    Truth(bool),
    Nothing(()),
}

/// The rendered table.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The table in GitHub's Markdown, ending in a line break.
    markdown: String,
    /// How many rows it has, without its head.
    rows: usize,
}

/// Markdown table.
///
/// Renders rows as a Markdown table whose columns line up in the source as well, as far as their cells are short. Pipes and line breaks inside cells are escaped.
#[heddle_sdk::transform(name = "markdown-table")]
fn markdown_table(input: Input) -> Result<Output, Failure> {
    if input.columns.is_empty() {
        return Err(Failure::permanent("no_columns", "a table needs at least one column; fill `columns`"));
    }
    let (titles, aligns): (Vec<String>, Vec<Align>) = input.columns.iter().map(Column::parts).unzip();
    let mut rows = Vec::with_capacity(input.rows.len());
    for (index, row) in input.rows.iter().enumerate() {
        if row.len() != titles.len() {
            let message =
                format!("row {index} has {} cells for {} columns; give as many", row.len(), titles.len());
            return Err(Failure::permanent("ragged_row", message));
        }
        rows.push(row.iter().map(Cell::text).collect::<Vec<_>>());
    }
    Ok(Output { markdown: render(&titles, &aligns, &rows), rows: rows.len() })
}

impl Column {
    fn parts(&self) -> (String, Align) {
        match self {
            Column::Title(title) => (escape(title), Align::Left),
            Column::Aligned { title, align } => (escape(title), *align),
        }
    }
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Cell::Text(text) => escape(text),
            Cell::Number(number) => number.to_string(),
            Cell::Truth(true) => "yes".to_owned(),
            Cell::Truth(false) => "no".to_owned(),
            Cell::Nothing(()) => String::new(),
        }
    }
}

fn render(titles: &[String], aligns: &[Align], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .map(|row| row[column].chars().count())
            .filter(|count| *count <= ALIGNED_MAX_CHARACTERS);
        cells.chain([titles[column].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut table = String::new();
    line(&mut table, titles, aligns, &widths);
    for (align, width) in aligns.iter().zip(&widths) {
        let rule = match align {
            Align::Left => "-".repeat(*width),
            Align::Center => format!(":{}:", "-".repeat(width - 2)),
            Align::Right => format!("{}:", "-".repeat(width - 1)),
        };
        let _ = write!(table, "| {rule} ");
    }
    table.push_str("|\n");
    for row in rows {
        line(&mut table, row, aligns, &widths);
    }
    table
}

fn line(table: &mut String, cells: &[String], aligns: &[Align], widths: &[usize]) {
    for ((cell, align), width) in cells.iter().zip(aligns).zip(widths) {
        // Writing into a `String` cannot fail.
        let _ = match align {
            Align::Left => write!(table, "| {cell:<width$} "),
            Align::Center => write!(table, "| {cell:^width$} "),
            Align::Right => write!(table, "| {cell:>width$} "),
        };
    }
    table.push_str("|\n");
}

/// A cell is one line, and a pipe inside it is not a border.
fn escape(text: &str) -> String {
    text.trim().replace('|', "\\|").replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<Output, Failure> {
        markdown_table(heddle_sdk::serde_json::from_value(input).expect("an input"))
    }

    #[test]
    fn columns_line_up_and_borders_are_escaped() {
        let output = run(json!({
            "columns": ["crate", { "title": "found", "align": "right" }, { "title": "ok", "align": "center" }],
            "rows": [["a|b", 12, true], ["long name\nhere", 0.5, null]]
        }))
        .expect("a table");
        assert_eq!(output.rows, 2);
        assert_eq!(
            output.markdown,
            "| crate             | found | ok  |\n\
             | ----------------- | ----: | :-: |\n\
             | a\\|b              |    12 | yes |\n\
             | long name<br>here |   0.5 |     |\n"
        );
    }

    #[test]
    fn ragged_rows_and_empty_heads_are_refused() {
        let ragged = run(json!({ "columns": ["a", "b"], "rows": [["x"]] })).expect_err("ragged");
        assert_eq!(
            (ragged.code(), ragged.message()),
            ("ragged_row", "row 0 has 1 cells for 2 columns; give as many")
        );
        assert_eq!(run(json!({ "columns": [], "rows": [] })).expect_err("empty").code(), "no_columns");
    }
}
