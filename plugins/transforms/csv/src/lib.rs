//! Tables as text: read into rows that a workflow can go through, and written from them.

use std::collections::BTreeSet;

use heddle_sdk::prelude::*;
use heddle_sdk::serde_json::Map;

/// What to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "camelCase", deny_unknown_fields)]
enum Input {
    /// From text to rows.
    #[serde(rename_all = "camelCase")]
    Read {
        /// The table.
        text: String,
        /// What stands between two cells: one character.
        #[serde(default = "comma")]
        delimiter: char,
        /// Whether the first line has the names of the columns. Without, they are `column1`, `column2`, ...
        #[serde(default = "yes")]
        header: bool,
        /// Whether numbers, `true`, `false` and nothing are values of their own instead of text. A number is one only
        /// where it would be written back as it stands.
        #[serde(default)]
        infer: bool,
    },
    /// From rows to text.
    #[serde(rename_all = "camelCase")]
    Write {
        /// Objects by the names of the columns.
        rows: Vec<Map<String, Value>>,
        /// The columns, in their order; else every name that a row has, in the order of the alphabet.
        #[serde(default)]
        columns: Vec<String>,
        /// What stands between two cells.
        #[serde(default = "comma")]
        delimiter: char,
        /// Whether the names of the columns come first.
        #[serde(default = "yes")]
        header: bool,
        /// Whether cells that a spreadsheet would run (`=..`, `+..`, `-..`, `@..`) get a `'` in front, and all cells quotes.
        #[serde(default)]
        guard: bool,
    },
}

fn comma() -> char {
    ','
}
fn yes() -> bool {
    true
}

/// The table.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The names of the columns, from left to right.
    columns: Vec<String>,
    /// `read`: the rows, by the names of the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<Map<String, Value>>>,
    /// `write`: the table as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// How many rows there are, without the names.
    count: usize,
}

/// CSV.
///
/// Reads comma-separated values into rows (`op: read`), and writes rows as such (`op: write`). As in RFC 4180, with other delimiters as well; lines that are written end in a line feed.
#[heddle_sdk::transform(provides = ["csv.read", "csv.write"])]
fn csv(input: Input) -> Result<Output, Failure> {
    match input {
        Input::Read { text, delimiter, header, infer } => read(&text, byte(delimiter)?, header, infer),
        Input::Write { rows, columns, delimiter, header, guard } => {
            write(&rows, columns, byte(delimiter)?, (header, guard))
        }
    }
}

fn byte(delimiter: char) -> Result<u8, Failure> {
    let fits = delimiter.is_ascii() && !matches!(delimiter, '"' | '\n' | '\r');
    u8::try_from(delimiter).ok().filter(|_| fits).ok_or_else(|| {
        Failure::permanent("bad_delimiter", "the delimiter is one ASCII character, such as `,`, `;` or a tab")
    })
}

fn read(text: &str, delimiter: u8, header: bool, infer: bool) -> Result<Output, Failure> {
    // Excel puts a mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = reader::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(header)
        .flexible(false)
        .from_reader(text.as_bytes());
    let fault = |fault: reader::Error| {
        let line = fault.position().map_or(String::new(), |at| format!("line {}: ", at.line()));
        let what = match fault.kind() {
            reader::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} cells, and the first line has {expected_len}")
            }
            _ => fault.to_string(),
        };
        Failure::permanent("bad_csv", format!("{line}{what}; is the delimiter right?"))
    };
    let mut columns: Vec<String> = Vec::new();
    if header {
        columns = lines.headers().map_err(fault)?.iter().map(str::to_owned).collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(name.as_str())) {
            let message = format!("two columns are called `{twice}`; rename one, or read without `header`");
            return Err(Failure::permanent("column_twice", message));
        }
    }
    let mut rows = Vec::new();
    for record in lines.records() {
        let record = record.map_err(fault)?;
        if columns.is_empty() {
            columns = (1..=record.len()).map(|number| format!("column{number}")).collect();
        }
        let cells = columns.iter().cloned().zip(record.iter().map(|cell| value(cell, infer)));
        rows.push(cells.collect());
    }
    Ok(Output { columns, count: rows.len(), rows: Some(rows), text: None })
}

/// A cell: its text, or what it means.
fn value(cell: &str, infer: bool) -> Value {
    if !infer {
        return cell.into();
    }
    match cell {
        "" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        // `007`, `1e3` and numbers of twenty digits stay what they are.
        _ => match heddle_sdk::serde_json::from_str::<Value>(cell) {
            Ok(Value::Number(number)) => match number.to_string().as_str() == cell {
                true => Value::Number(number),
                false => cell.into(),
            },
            _ => cell.into(),
        },
    }
}

fn write(
    rows: &[Map<String, Value>],
    columns: Vec<String>,
    delimiter: u8,
    (header, guard): (bool, bool),
) -> Result<Output, Failure> {
    let columns = match columns.is_empty() {
        false => columns,
        true => rows.iter().flat_map(Map::keys).collect::<BTreeSet<_>>().into_iter().cloned().collect(),
    };
    let known: BTreeSet<&str> = columns.iter().map(String::as_str).collect();
    for (number, row) in rows.iter().enumerate() {
        if let Some(other) = row.keys().find(|name| !known.contains(name.as_str())) {
            let message = format!("row {number} has `{other}`, which is not among `columns`");
            return Err(Failure::permanent("unknown_column", message));
        }
    }
    // In quotes, so that no other delimiter makes two cells of one.
    let quotes = if guard { reader::QuoteStyle::Always } else { reader::QuoteStyle::Necessary };
    let mut lines =
        reader::WriterBuilder::new().delimiter(delimiter).quote_style(quotes).from_writer(Vec::new());
    if header && !columns.is_empty() {
        lines.write_record(columns.iter().map(|name| guarded(name.clone(), guard)))?;
    }
    for row in rows {
        let cells = columns.iter().map(|name| guarded(text(row.get(name)), guard));
        lines.write_record(cells)?;
    }
    let bytes = lines.into_inner().map_err(|fault| Failure::permanent("unwritable", fault.to_string()))?;
    Ok(Output { columns, count: rows.len(), rows: None, text: Some(String::from_utf8(bytes)?) })
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Numbers stay what they are: `-1` is no formula.
fn guarded(cell: String, guard: bool) -> String {
    // What spreadsheets pass over in front.
    let seen = cell.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let begins = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let is_formula = seen.starts_with(begins) && cell.parse::<f64>().is_err();
    if guard && is_formula { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value) -> Result<Output, Failure> {
        csv(heddle_sdk::serde_json::from_value(input).expect("an input"))
    }

    #[test]
    fn a_table_is_read_and_written_back() {
        let text = "name,n,note\n\"a, b\",007,\"say \"\"hi\"\"\"\nc,1.5,\n";
        let output = run(json!({ "op": "read", "text": text, "infer": true })).expect("rows");
        let rows = json!([{ "name": "a, b", "n": "007", "note": "say \"hi\"" }, { "name": "c", "n": 1.5, "note": null }]);
        assert_eq!((json!(output.rows), output.count), (rows.clone(), 2));
        let back =
            run(json!({ "op": "write", "rows": rows, "columns": ["name", "n", "note"] })).expect("text");
        assert_eq!(back.text.as_deref(), Some(text));
        let plain =
            run(json!({ "op": "read", "text": "\u{feff}1;x\n2;y", "delimiter": ";", "header": false }));
        assert_eq!(
            json!(plain.expect("rows").rows),
            json!([{ "column1": "1", "column2": "x" }, { "column1": "2", "column2": "y" }])
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let code = |input: Value| {
            let failure = run(input).expect_err("a failure");
            (failure.code().to_owned(), failure.message().to_owned())
        };
        let (kind, message) = code(json!({ "op": "read", "text": "a,b\n1,2\n3\n" }));
        assert_eq!(
            (kind.as_str(), message.as_str()),
            ("bad_csv", "line 3: 1 cells, and the first line has 2; is the delimiter right?")
        );
        assert_eq!(code(json!({ "op": "read", "text": "a,a\n1,2" })).0, "column_twice");
        assert_eq!(code(json!({ "op": "read", "text": "", "delimiter": "é" })).0, "bad_delimiter");
        assert_eq!(
            code(json!({ "op": "write", "rows": [{ "b": 1 }], "columns": ["a"] })).0,
            "unknown_column"
        );
    }

    #[test]
    fn no_cell_is_a_formula_where_that_is_wanted() {
        let rows = json!([{ "a": "=SUM(A1)", "b": -1, "c": "-x" }]);
        let output =
            run(json!({ "op": "write", "rows": rows, "guard": true, "header": false })).expect("text");
        assert_eq!(output.text.as_deref(), Some("\"'=SUM(A1)\",\"-1\",\"'-x\"\n"));
    }
}
