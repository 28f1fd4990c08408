//! Asking an MCP server for its tools and an agent for its card, from where the command is typed. Whoever types an address means it, so the machine's
//! own may be asked, too.

use super::super::exit::Fault;
use super::super::paint::harmless;
use crate::app::outbound::Requests;
use crate::egress::Dialer;
use heddle_core::connector::a2a::import::{CARD, import};
use heddle_core::connector::mcp::import::{Asked, Listing};
use heddle_core::connector::openapi::Imported;
use heddle_core::egress::Egress;
use heddle_core::id::is_name;
use heddle_core::limits::Limits;
use heddle_core::outside::{HttpRequest, HttpResponse, prepare};
use heddle_executor::Outbound as _;
use std::sync::Arc;

/// Requests that are sent at most: a list has pages.
const MOST: usize = 100;

/// The connector that a server's tools make.
pub(super) async fn listed(url: &str, name: &str, headers: &[String]) -> Result<Imported, Fault> {
    whole(url)?;
    let mut listing = Listing::new(url, name, told(name, headers)?);
    let (requests, limits) = way_out();
    let mut request = listing.begin();
    for _ in 0..MOST {
        let answer = sent(&requests, &limits, request).await?;
        match listing.next(&answer).map_err(|why| Fault::failed(harmless(&format!("`{url}`: {why}"))))? {
            Asked::Done(found) => return Ok(*found),
            Asked::Send(next) => request = *next,
        }
    }
    Err(Fault::failed(format!("`{url}`: its list of tools has no end")))
}

/// The connector that an agent's card makes.
pub(super) async fn of_card(url: &str, name: &str, headers: &[String]) -> Result<Imported, Fault> {
    whole(url)?;
    let headers = told(name, headers)?;
    let card = match url.ends_with(".json") {
        true => url.to_owned(),
        false => format!("{}{CARD}", url.trim_end_matches('/')),
    };
    let (requests, limits) = way_out();
    let request =
        HttpRequest { method: "GET".into(), url: card.clone(), headers, body: None, timeout_ms: None };
    let answer = sent(&requests, &limits, request).await?;
    if answer.status != 200 {
        let hint = "give the address of the agent, or of its card; `--header` says who asks";
        return Err(Fault::failed(format!("`{card}` answers HTTP {}", answer.status)).with_hint(hint));
    }
    let read = serde_json::from_slice(&answer.body).map_err(|error| error.to_string());
    let found = read.and_then(|card| import(&card, name));
    found.map_err(|why| Fault::failed(harmless(&format!("`{card}`: {why}"))))
}

/// What a service is told with every request.
fn told(name: &str, headers: &[String]) -> Result<Vec<(String, String)>, Fault> {
    if !is_name(name) {
        return Err(Fault::usage(format!(
            "`--name {name}` is no name: `[a-z][a-z0-9_-]*`, at most 64 bytes"
        )));
    }
    let headers = headers.iter().map(|header| {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            // Not as it was typed: there may be a token in it.
            Fault::usage(
                "`--header` wants a name and a value with a colon between them: `--header \"Name: value\"`",
            )
        })?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    });
    headers.collect()
}

fn way_out() -> (Requests, Arc<Limits>) {
    let open = ["0.0.0.0/0", "::/0"].iter().filter_map(|range| range.parse().ok()).collect();
    let limits = Arc::new(Limits::default());
    (Requests { dialer: Dialer::new(Egress { open }), limits: limits.clone() }, limits)
}

/// What somebody typed who left out how it is spoken to.
fn whole(url: &str) -> Result<(), Fault> {
    match url.contains("://") {
        true => Ok(()),
        false => {
            Err(Fault::usage(format!("`{url}` is no address"))
                .with_hint(format!("did you mean `http://{url}`?")))
        }
    }
}

async fn sent(requests: &Requests, limits: &Limits, request: HttpRequest) -> Result<HttpResponse, Fault> {
    let url = request.url.clone();
    let prepared = prepare(request, limits).map_err(|fault| Fault::usage(format!("`{url}`: {fault}")))?;
    let answered = requests.send(prepared).await;
    answered.map_err(|fault| Fault::failed(format!("`{url}`: {fault}")))
}
