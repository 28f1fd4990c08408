//! `heddle rates`: rate limits of a node.

use super::client::Client;
use super::control::Items;
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::text;
use super::{Context, out};
use heddle_core::time::Span;

pub(super) async fn rates(context: &Context) -> Result<Exit, Fault> {
    let client: Client = context.client()?;
    let items = Items::all(&client, "/v1/rates?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let span = |value: &serde_json::Value| Span(value.as_u64().unwrap_or_default()).to_string();
    let row = |item: &Exact| {
        let rule = &item["rule"];
        let allowed = format!("{} in {}", rule["limit"], span(&rule["periodMs"]));
        let next = match item["nextInMs"].as_u64() {
            Some(0) => "now".to_owned(),
            _ => format!("in {}", span(&item["nextInMs"])),
        };
        vec![text(&item["key"]), allowed, rule["burst"].to_string(), next, item["waiting"].to_string()]
    };
    let rows: Vec<Vec<String>> = items.items.iter().map(row).collect();
    out::table(&["RATE", "ALLOWED", "BURST", "NEXT", "WAITING"], &rows);
    Ok(Exit::Ok)
}
