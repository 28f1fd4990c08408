//! Tables: by a granted plugin where there is one, else plainly by hand.

use heddle_sdk::Pending;
use heddle_sdk::prelude::*;

/// What renders tables, where the step grants it.
const RENDERER: &str = "transform:markdown-table";

/// A table, in the shape that the renderer takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Column {
    title: &'static str,
    align: &'static str,
}

#[derive(Deserialize)]
struct Rendered {
    markdown: String,
}

/// A column of words.
pub(crate) fn left(title: &'static str) -> Column {
    Column { title, align: "left" }
}

/// A column of numbers.
pub(crate) fn right(title: &'static str) -> Column {
    Column { title, align: "right" }
}

/// Renders all tables, in their order. The calls run side by side. A call that fails costs the report its looks and
/// nothing else.
pub(crate) fn render_all<const N: usize>(agent: &Agent, tables: &[Table; N]) -> [String; N] {
    let granted = agent.tools().iter().any(|tool| tool.name == RENDERER);
    if !granted {
        info!("`{RENDERER}` is not granted; tables are written plainly");
        return tables.each_ref().map(plain);
    }
    let calls = tables.each_ref().map(|table| (table, agent.start::<Rendered>(RENDERER, table)));
    calls.map(|(table, call)| match call.and_then(Pending::take) {
        Ok(rendered) => rendered.markdown,
        Err(failure) => {
            warn!("`{RENDERER}` failed, so a table is written plainly: {}", failure.message());
            plain(table)
        }
    })
}

fn plain(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let escape = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
    let head = line(table.columns.iter().map(|column| column.title.to_owned()).collect());
    let rule = line(table.columns.iter().map(|column| rule(column).to_owned()).collect());
    let rows = table.rows.iter().map(|row| line(row.iter().map(escape).collect()));
    [head, rule].into_iter().chain(rows).collect()
}

fn rule(column: &Column) -> &'static str {
    if column.align == "right" { "---:" } else { "---" }
}
