//! `heddle limits show` and `heddle config show`.

use super::exit::{Exit, Fault};
use super::{Context, NodeArgs, out};
use crate::config::{Config, example, quantity};
use heddle_core::limits::{TABLE, Unit};
use serde::Serialize;

/// What of the configuration is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Names and values.
    Values,
    /// And where each value comes from.
    Origins,
    /// A documented file.
    Example,
}

#[derive(Serialize)]
struct LimitRow {
    name: &'static str,
    value: u64,
    default: u64,
    max: u64,
    unit: Unit,
    why: &'static str,
    origin: String,
}

pub(super) fn limits(args: &NodeArgs, context: &Context) -> Result<Exit, Fault> {
    let config = args.load()?;
    let rows: Vec<LimitRow> = TABLE
        .iter()
        .map(|row| LimitRow {
            name: row.name,
            value: config.limits.get(row.name).unwrap_or(row.default),
            default: row.default,
            max: row.max,
            unit: row.unit,
            why: row.why,
            origin: origin(&config, &format!("limits.{}", row.name)),
        })
        .collect();
    if context.json {
        out::json(&rows);
        return Ok(Exit::Ok);
    }
    let cells = rows.iter().map(|row| {
        let print = |value| quantity::print(value, row.unit);
        vec![row.name.to_owned(), print(row.value), print(row.max), row.origin.clone(), row.why.to_owned()]
    });
    out::table(&["LIMIT", "VALUE", "AT MOST", "ORIGIN", "BOUNDS"], &cells.collect::<Vec<_>>());
    Ok(Exit::Ok)
}

fn origin(config: &Config, key: &str) -> String {
    config
        .shown
        .iter()
        .find(|shown| shown.key == key)
        .map_or_else(String::new, |shown| shown.origin.to_string())
}

pub(super) fn config(args: &NodeArgs, what: What, context: &Context) -> Result<Exit, Fault> {
    if what == What::Example {
        match context.json {
            true => out::json(&example::rows()),
            false => out::text(&example::text()),
        }
        return Ok(Exit::Ok);
    }
    let config = args.load()?;
    if context.json {
        out::json(&config.shown);
        return Ok(Exit::Ok);
    }
    let shown = |value: &str| if value.is_empty() { "-".to_owned() } else { value.to_owned() };
    match what {
        What::Origins => {
            let rows: Vec<_> = config
                .shown
                .iter()
                .map(|s| vec![s.key.clone(), shown(&s.value), s.origin.to_string()])
                .collect();
            out::table(&["SETTING", "VALUE", "ORIGIN"], &rows);
        }
        _ => {
            let rows: Vec<_> = config.shown.iter().map(|s| vec![s.key.clone(), shown(&s.value)]).collect();
            out::table(&["SETTING", "VALUE"], &rows);
        }
    }
    Ok(Exit::Ok)
}
