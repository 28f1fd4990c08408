//! `heddle events`: what happens on a node, as it happens, over one WebSocket, and over the next one where that breaks.

use super::exit::{Exit, Fault};
use super::paint::{Colour, Paint, harmless};
use super::{Context, out};
use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait before coming back to a node that went away.
const COME_BACK: Duration = Duration::from_millis(500);
/// How many times in a row a node may be away.
const TRIES: u32 = 60;

#[derive(Args, Debug)]
pub(super) struct EventsArgs {
    /// Only those of the runs of this workflow, `namespace/name`.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only what happened behind this cursor; `0` for all that the node still has. From now on without it.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What a node says.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    cursor: Option<String>,
    subscribed: Option<Subscribed>,
    ended: Option<Subscribed>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed {
    resume_after: Option<String>,
}

/// Why a connection is over.
enum Over {
    /// As many events as were wanted have come.
    Enough,
    /// The node went away, or let go of a reader that it took for slow.
    Broken(Fault),
    /// It will not be better next time.
    Refused(Fault),
}

/// Where the command stands.
struct Watch<'a> {
    args: &'a EventsArgs,
    json: bool,
    paint: Paint,
    after: Option<String>,
    left: Option<u64>,
    /// Whether anything came of the last connection.
    came: bool,
}

pub(super) async fn events(args: &EventsArgs, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let place = client.place().to_owned();
    let mut watch = Watch {
        args,
        json: context.json,
        paint: Paint::for_stdout(),
        after: args.after.clone(),
        left: args.count,
        came: false,
    };
    tokio::select! {
        watched = watch.until_over(&place) => watched?,
        _ = tokio::signal::ctrl_c() => {
            if let Some(after) = &watch.after {
                out::note(&format!("`heddle events --after {after}` goes on from here"));
            }
        }
    }
    Ok(Exit::Ok)
}

impl Watch<'_> {
    async fn until_over(&mut self, place: &str) -> Result<(), Fault> {
        let (mut away, mut ever) = (0, false);
        loop {
            self.came = false;
            let fault = match self.once(place).await {
                Over::Enough => return Ok(()),
                Over::Refused(fault) => return Err(fault),
                Over::Broken(fault) => fault,
            };
            away = if self.came { 0 } else { away + 1 };
            // A node that was never there is told at once.
            ever |= self.came;
            if !ever || away >= TRIES {
                return Err(fault);
            }
            if away <= 1 {
                out::note(&harmless(&format!("{}; coming back for a while", fault.message)));
            }
            tokio::time::sleep(COME_BACK).await;
        }
    }

    /// One connection, behind the event that was seen last.
    async fn once(&mut self, place: &str) -> Over {
        let mut socket = match tokio::time::timeout(CONNECT, open(place)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(over)) => return over,
            Err(_) => return Over::Broken(Fault::unreachable(place, "it takes too long")),
        };
        let mut wish = json!({ "id": "events" });
        match &self.args.workflow {
            Some(workflow) => wish["workflow"] = json!(workflow),
            None => wish["all"] = json!(true),
        }
        if let Some(after) = &self.after {
            wish["after"] = json!(after);
        }
        let said = Message::text(json!({ "subscribe": wish }).to_string());
        if let Err(error) = socket.send(said).await {
            return Over::Broken(Fault::cut_off(place, error));
        }
        loop {
            let text = match socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(close))) => {
                    let why = close.map_or_else(|| "no reason given".to_owned(), |c| c.reason.to_string());
                    return Over::Broken(Fault::cut_off(place, why));
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Over::Broken(Fault::cut_off(place, error)),
                None => return Over::Broken(Fault::cut_off(place, "it closed the WebSocket")),
            };
            if let Some(over) = self.take(&text, place) {
                return over;
            }
        }
    }

    fn take(&mut self, text: &str, place: &str) -> Option<Over> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            let fault = Fault::failed(format!("`{place}` said something that is not understood"));
            return Some(Over::Refused(fault.with_hint("is it a Heddle node of this version?")));
        };
        self.came = true;
        if let Some(error) = frame.error {
            let detail = error["detail"].as_str().unwrap_or("it gives no reason");
            let fault = Fault::usage(harmless(detail));
            return Some(Over::Refused(fault.with_code(error["code"].as_str().unwrap_or_default())));
        }
        for place in [frame.subscribed, frame.ended].into_iter().flatten() {
            self.after = place.resume_after.or(self.after.take());
        }
        let event = frame.event?;
        self.show(event, frame.cursor.as_deref());
        self.after = frame.cursor.or(self.after.take());
        self.left = self.left.map(|left| left - 1);
        (self.left == Some(0)).then_some(Over::Enough)
    }

    fn show(&self, event: &RawValue, cursor: Option<&str>) {
        if self.json {
            // The event as it came, with the place to go on from put before it.
            let cursor = cursor.map(|cursor| format!(r#""cursor":{},"#, json!(cursor))).unwrap_or_default();
            out::text(&format!("{{{cursor}{}\n", event.get().trim_start_matches('{')));
            return;
        }
        let event: Value = serde_json::from_str(event.get()).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&event["type"]).unwrap_or_default();
        let colour = match kind.rsplit_once('.').map(|(_, what)| what) {
            Some("succeeded") => Colour::Green,
            Some("failed" | "interrupted") => Colour::Red,
            Some("cancelled" | "cancelling" | "skipped" | "paused") => Colour::Yellow,
            _ => Colour::Dim,
        };
        let data = &event["data"];
        let item = data["item"].as_u64().map(|item| format!("/{item}")).unwrap_or_default();
        let step = text(&data["step"]).map(|step| format!("{step}{item}"));
        let more = ["workflow", "plugin", "reason", "message", "signal", "event"];
        let more =
            more.into_iter().find_map(|name| text(&data[name])).or_else(|| text(&data["error"]["message"]));
        let about: Vec<String> = step.into_iter().chain(more).collect();
        let when = text(&event["time"]).unwrap_or_default();
        let run = text(&event["run"]).unwrap_or_default();
        let line = format!(
            "{when}  {run}  {}  {}",
            self.paint.with(colour, &harmless(&kind)),
            harmless(&about.join("  "))
        );
        out::text(&format!("{}\n", line.trim_end()));
    }
}

async fn open(place: &str) -> Result<WebSocketStream<TcpStream>, Over> {
    let broken = |error: &dyn std::fmt::Display| Over::Broken(Fault::unreachable(place, error));
    let url = format!("{}/v1/ws", place.replacen("http", "ws", 1));
    let request =
        url.into_client_request().map_err(|error| Over::Refused(Fault::usage(error.to_string())))?;
    let (host, port) = (request.uri().host().unwrap_or_default(), request.uri().port_u16().unwrap_or(80));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await.map_err(|error| broken(&error))?;
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let problem: Value =
                answer.body().as_deref().and_then(|b| serde_json::from_slice(b).ok()).unwrap_or_default();
            let status = answer.status().as_u16();
            let detail = problem["detail"].as_str().map_or_else(
                || format!("`{place}` answered {status} and opened no WebSocket; is it a Heddle node?"),
                harmless,
            );
            let fault = Fault::failed(detail).with_code(problem["code"].as_str().unwrap_or_default());
            Err(if matches!(status, 429 | 503) { Over::Broken(fault) } else { Over::Refused(fault) })
        }
        Err(error) => Err(broken(&error)),
    }
}
