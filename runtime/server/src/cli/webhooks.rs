//! `heddle webhooks`: who is told of what happens to runs, and what was sent.

use super::client::{Ask, Client};
use super::control::{Items, user};
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::{encode, text};
use super::{Context, out};
use clap::{Args, Subcommand, ValueEnum};
use heddle_core::webhook::signature::{Secret, verify};
use heddle_executor::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Subcommand, Debug)]
pub(super) enum WebhooksCommand {
    /// List the webhooks: made here, of the node, and those of workflows that nothing is sent to.
    Ls,
    /// Make a webhook. Its secret is shown this once.
    Add {
        /// Where to, such as `https://host/path`.
        url: String,
        /// A type of event or a group such as `run.*`; give it more than once for several.
        #[arg(long = "event", required = true, value_name = "TYPE")]
        events: Vec<String>,
        /// Only runs of this workflow, `namespace/name`.
        #[arg(long)]
        workflow: Option<String>,
    },
    /// Remove a webhook; what waits for it is given up.
    Rm {
        /// The webhook.
        id: String,
    },
    /// Send to a webhook again.
    Enable {
        /// The webhook.
        id: String,
    },
    /// Send nothing to a webhook.
    Disable {
        /// The webhook.
        id: String,
    },
    /// Give a webhook another secret, shown this once; the one before signs as well for a while.
    Rotate {
        /// The webhook.
        id: String,
    },
    /// Send a webhook a message that says nothing, and say what came of it.
    Test {
        /// The webhook.
        id: String,
    },
    /// List what was sent and what waits, newest first.
    Deliveries {
        /// Only to this webhook.
        #[arg(long)]
        webhook: Option<String>,
        /// Only of this run.
        #[arg(long)]
        run: Option<String>,
        /// Only where they stand so.
        #[arg(long, value_enum)]
        status: Option<Status>,
    },
    /// Show a delivery with its tries and its message.
    Delivery {
        /// The delivery: the `webhook-id` of what came.
        id: String,
    },
    /// Send a message once more, under the same id.
    Redeliver {
        /// The delivery.
        id: String,
    },
    /// Say whether a message that came is to be believed, as its receiver has to. Needs no node.
    Verify(VerifyArgs),
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    /// It is to be sent.
    Waiting,
    /// It was taken.
    Delivered,
    /// It was given up.
    Failed,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Delivered => "delivered",
            Status::Failed => "failed",
        }
    }
}

/// A message that came.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// A file with the secret.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// Its header `webhook-id`.
    #[arg(long)]
    id: String,
    /// Its header `webhook-timestamp`.
    #[arg(long)]
    timestamp: u64,
    /// Its header `webhook-signature`.
    #[arg(long)]
    signature: String,
    /// Its body, byte for byte; without it, what comes on stdin.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

/// How long a test is waited for.
const TESTED_WITHIN: Duration = Duration::from_secs(70);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn webhooks(command: &WebhooksCommand, context: &Context) -> Result<Exit, Fault> {
    if let WebhooksCommand::Verify(args) = command {
        return believe(args, context);
    }
    let client = context.client()?;
    match command {
        WebhooksCommand::Ls => ls(&client, context).await,
        WebhooksCommand::Add { url, events, workflow } => {
            let mut body = json!({ "url": url, "events": events });
            if let Some(workflow) = workflow {
                body["workflow"] = json!(workflow);
            }
            let ask = Ask::post("/v1/webhooks", "application/json", body.to_string());
            let made = client.json(ask.with("heddle-user", user())).await?;
            secret(&made, context, "it is told of what happens from now on");
            Ok(Exit::Ok)
        }
        WebhooksCommand::Rm { id } => {
            client.text(Ask::delete(&path(id, "")?)).await?;
            done(context, &json!({ "id": id }), &format!("webhook {id} is gone"));
            Ok(Exit::Ok)
        }
        WebhooksCommand::Enable { id } => switch(&client, context, (id, true)).await,
        WebhooksCommand::Disable { id } => switch(&client, context, (id, false)).await,
        WebhooksCommand::Rotate { id } => {
            let made = client.json(post(&path(id, "/rotate")?)).await?;
            let until = text(&made["oldSecretUntil"]);
            secret(&made, context, &format!("the secret before signs as well until {until}"));
            Ok(Exit::Ok)
        }
        WebhooksCommand::Test { id } => test(&client, context, id).await,
        WebhooksCommand::Deliveries { webhook, run, status } => {
            let mut target = "/v1/deliveries?limit=200".to_owned();
            let status = status.map(|status| status.word().to_owned());
            for (name, value) in [("webhook", webhook), ("run", run), ("status", &status)] {
                if let Some(value) = value {
                    target.push_str(&format!("&{name}={}", encode(value)));
                }
            }
            deliveries(&client, context, &target).await
        }
        WebhooksCommand::Delivery { id } => {
            let delivery = client.json(Ask::get(&of_delivery(id, "")?)).await?;
            match context.json {
                true => out::json(&delivery),
                false => show(&delivery),
            }
            Ok(Exit::Ok)
        }
        WebhooksCommand::Redeliver { id } => {
            let sent = client.json(post(&of_delivery(id, "/redeliver")?)).await?;
            done(
                context,
                &sent,
                &format!("it is on its way; `heddle webhooks delivery {id}` shows what comes of it"),
            );
            Ok(Exit::Ok)
        }
        WebhooksCommand::Verify(_) => Ok(Exit::Ok),
    }
}

fn post(path: &str) -> Ask<'_> {
    Ask::post(path, "application/json", "{}".to_owned()).with("heddle-user", user())
}

fn path(id: &str, rest: &str) -> Result<String, Fault> {
    match id.trim().is_empty() {
        true => Err(Fault::usage("the id of a webhook is missing; `heddle webhooks ls` lists them")),
        false => Ok(format!("/v1/webhooks/{}{rest}", encode(id))),
    }
}

fn of_delivery(id: &str, rest: &str) -> Result<String, Fault> {
    match id.trim().is_empty() {
        true => Err(Fault::usage("the id of a delivery is missing; `heddle webhooks deliveries` lists them")),
        false => Ok(format!("/v1/deliveries/{}{rest}", encode(id))),
    }
}

fn done(context: &Context, answer: &impl serde::Serialize, note: &str) {
    match context.json {
        true => out::json(answer),
        false => out::note(note),
    }
}

/// A webhook and its secret.
fn secret(made: &Exact, context: &Context, note: &str) {
    if context.json {
        out::json(made);
        return;
    }
    out::line(&format!("webhook  {}", text(&made["id"])));
    out::line(&format!("secret   {}", text(&made["secret"])));
    out::note(&format!("the secret is shown this once; {note}"));
}

async fn switch(client: &Client, context: &Context, (id, on): (&str, bool)) -> Result<Exit, Fault> {
    let target = path(id, "")?;
    let ask = Ask::patch(&target, "application/json", json!({ "enabled": on }).to_string());
    let answer = client.text(ask.with("heddle-user", user())).await?;
    let word = if on { "on" } else { "off" };
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| json!({ "id": id, "enabled": on }));
    done(context, &answer, &format!("webhook {id} is {word}"));
    Ok(Exit::Ok)
}

async fn test(client: &Client, context: &Context, id: &str) -> Result<Exit, Fault> {
    let sent = client.json(post(&path(id, "/test")?)).await?;
    let delivery = sent["id"].as_str().unwrap_or_default().to_owned();
    let (target, since) = (of_delivery(&delivery, "")?, Instant::now());
    let tried = loop {
        let now = client.json(Ask::get(&target)).await?;
        if now["tries"].as_array().is_some_and(|tries| !tries.is_empty()) || since.elapsed() > TESTED_WITHIN {
            break now;
        }
        tokio::time::sleep(LOOK).await;
    };
    let delivered = tried["status"] == "delivered";
    match (context.json, delivered) {
        (true, _) => out::json(&tried),
        (false, true) => out::note(&format!("it was taken: {}", outcome(&tried))),
        (false, false) => {
            return Err(Fault::failed(format!("it was not taken: {}", outcome(&tried)))
                .with_hint(format!("`heddle webhooks delivery {delivery}` shows its tries")));
        }
    }
    Ok(if delivered { Exit::Ok } else { Exit::Failed })
}

async fn ls(client: &Client, context: &Context) -> Result<Exit, Fault> {
    let items = Items::all(client, "/v1/webhooks?limit=200").await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let row = |item: &Exact| {
        let state = match item["enabled"] == true {
            true => "on".to_owned(),
            false => format!("off: {}", text(&item["disabled"]["reason"])),
        };
        let events: Vec<String> = item["events"].as_array().into_iter().flatten().map(text).collect();
        vec![text(&item["id"]), text(&item["level"]), text(&item["url"]), events.join(" "), state]
    };
    let rows: Vec<Vec<String>> = items.items.iter().map(row).collect();
    out::table(&["WEBHOOK", "LEVEL", "URL", "EVENTS", "STATE"], &rows);
    Ok(Exit::Ok)
}

async fn deliveries(client: &Client, context: &Context, target: &str) -> Result<Exit, Fault> {
    let items = Items::all(client, target).await?;
    if context.json {
        out::json(&items);
        return Ok(Exit::Ok);
    }
    let row = |item: &Exact| {
        let when = if item["status"] == "waiting" { &item["nextAt"] } else { &item["endedAt"] };
        let tries = item["tries"].as_array().map_or(0, Vec::len).to_string();
        vec![
            text(&item["id"]),
            text(&item["event"]),
            text(&item["status"]),
            text(when),
            tries,
            outcome(item),
            text(&item["webhook"]),
        ]
    };
    let rows: Vec<Vec<String>> = items.items.iter().map(row).collect();
    out::table(&["DELIVERY", "EVENT", "STATUS", "NEXT OR END", "TRIES", "LAST", "WEBHOOK"], &rows);
    Ok(Exit::Ok)
}

/// What the last try ended with.
fn outcome(delivery: &Value) -> String {
    match delivery["tries"].as_array().and_then(|tries| tries.last()) {
        Some(tried) => one(tried),
        None => "not sent yet".to_owned(),
    }
}

fn one(tried: &Value) -> String {
    match (tried["status"].as_u64(), tried["error"]["kind"].as_str()) {
        (Some(status), _) => format!("HTTP {status}"),
        (None, Some(kind)) => format!("{kind}: {}", text(&tried["error"]["message"])),
        _ => String::new(),
    }
}

fn show(delivery: &Exact) {
    for (name, key) in [("delivery", "id"), ("webhook", "webhook"), ("url", "url"), ("run", "run")] {
        if delivery[key].is_string() {
            out::line(&format!("{name:<9} {}", text(&delivery[key])));
        }
    }
    out::line(&format!("event     {}", text(&delivery["event"])));
    out::line(&format!("status    {}", text(&delivery["status"])));
    if delivery["nextAt"].is_string() {
        out::line(&format!("next      {}", text(&delivery["nextAt"])));
    }
    for tried in delivery["tries"].as_array().into_iter().flatten() {
        out::line(&format!("tried     {}  {} ms  {}", text(&tried["at"]), tried["tookMs"], one(tried)));
    }
    out::line(&format!("message   {}", delivery["message"]));
}

/// What a receiver does with every message before it believes it.
fn believe(args: &VerifyArgs, context: &Context) -> Result<Exit, Fault> {
    let unreadable =
        |what: &str, error: std::io::Error| Fault::usage(format!("{what} cannot be read: {error}"));
    let secret = std::fs::read_to_string(&args.secret_file)
        .map_err(|error| unreadable(&format!("`{}`", args.secret_file.display()), error))?;
    let secret = Secret::parse(&secret).map_err(|fault| {
        Fault::usage(format!("what stands in `{}` is none: {fault}", args.secret_file.display()))
    })?;
    let mut body = Vec::new();
    match &args.body {
        Some(file) => {
            body =
                std::fs::read(file).map_err(|error| unreadable(&format!("`{}`", file.display()), error))?;
        }
        None => {
            std::io::stdin().read_to_end(&mut body).map_err(|error| unreadable("stdin", error))?;
        }
    }
    let now_s = SystemClock.now().0 / 1_000;
    match verify(&secret, (&args.id, args.timestamp, &args.signature), &body, now_s) {
        Ok(()) => {
            done(
                context,
                &json!({ "verified": true }),
                "it is from whoever has the secret, whole, and of now",
            );
            Ok(Exit::Ok)
        }
        Err(why) => Err(Fault::failed(format!("not to be believed: {why}"))),
    }
}
