//! `heddle mcp`: the Model Context Protocol on stdin and stdout, for clients that start their servers themselves.
//!
//! Every message goes to `/mcp` of a node and every answer comes back from there, so there is one implementation, and
//! runs are recorded there. What a node would see in headers is put there from the message.

use super::client::{Answered, Ask, Client};
use super::exit::{Exit, Fault};
use super::sse::Reader;
use super::{Context, out};
use crate::mcp::GIVES_UP;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Bytes of one message.
const MESSAGE_BYTES: u64 = 8 << 20;
/// Messages that are answered at once; further ones wait to be read.
const AT_ONCE: usize = 64;
/// How long open answers are waited for when the client has closed its end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Where a message says which version of the protocol it is in.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The code for what went wrong on this side of the node.
const INTERNAL: i64 = -32_603;

#[derive(Args, Debug)]
pub(super) struct McpArgs {
    /// Who the client's user is, as the node is to know them (`Heddle-User`).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// The way to the node, shared by the messages under way.
struct Bridge {
    client: Client,
    user: Option<String>,
    /// What `initialize` agreed on, for messages that do not say it themselves.
    version: Mutex<Option<String>>,
}

pub(super) async fn mcp(args: &McpArgs, context: &Context) -> Result<Exit, Fault> {
    let client = context.client()?;
    let is_name = |user: &String| !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_graphic());
    if args.user.as_ref().is_some_and(|user| !is_name(user)) {
        return Err(Fault::usage("`--user` wants a name of visible ASCII characters, without spaces"));
    }
    eprintln!("heddle mcp: speaks for the node at {}", client.place());
    let bridge = Arc::new(Bridge { client, user: args.user.clone(), version: Mutex::default() });
    let mut lines = lines();
    let mut open: HashMap<String, JoinHandle<()>> = HashMap::new();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(line) = lines.recv().await {
        let line = line?;
        open.retain(|_, task| !task.is_finished());
        let message: Value = match serde_json::from_slice(&line) {
            Ok(message) => message,
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Err(error) => {
                say(&failure(&Value::Null, -32_700, &format!("this line is not JSON: {error}")));
                continue;
            }
        };
        if message.is_array() {
            say(&failure(
                &Value::Null,
                -32_600,
                "batches are not part of the protocol: send one message a line",
            ));
            continue;
        }
        if message["method"] == "notifications/cancelled" {
            let task = open.remove(&message["params"]["requestId"].to_string());
            task.inspect(JoinHandle::abort);
            continue;
        }
        let Some(id) = message.get("id").map(ToString::to_string) else {
            // Answered before the next message is read: what is told once is told in its order.
            bridge.pass(&message, line).await;
            continue;
        };
        if message["method"] == "initialize" {
            bridge.pass(&message, line).await;
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            let busy = format!(
                "{AT_ONCE} calls wait for their answers already; send this one again when one has come"
            );
            say(&failure(&message["id"], INTERNAL, &busy));
            continue;
        };
        let bridge = bridge.clone();
        let pass = async move {
            bridge.pass(&message, line).await;
            drop(place);
        };
        open.insert(id, tokio::spawn(pass));
    }
    let last = futures_util::future::join_all(open.into_values());
    // Whoever closes stdin seldom wants more.
    let _ = tokio::time::timeout(LAST_ANSWERS, last).await;
    Ok(Exit::Ok)
}

/// The lines of stdin. Reading them blocks, so a thread of its own does; it is left behind when the command ends.
fn lines() -> mpsc::Receiver<Result<Vec<u8>, Fault>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut stdin).take(MESSAGE_BYTES).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(read) if read as u64 == MESSAGE_BYTES && line.last() != Some(&b'\n') => {
                    Err(Fault::usage(format!("a message on stdin has more than {MESSAGE_BYTES} bytes")))
                }
                Ok(_) => Ok(line),
                Err(error) => Err(Fault::failed(format!("stdin cannot be read: {error}"))),
            };
            let over = line.is_err();
            if sender.blocking_send(line).is_err() || over {
                return;
            }
        }
    });
    receiver
}

/// Writes one message.
fn say(message: &Value) {
    out::text(&format!("{message}\n"));
}

/// What went wrong and what to do, in one text.
fn said(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message.clone(),
    }
}

fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

impl Bridge {
    /// Sends a message to the node, and what it answers to the client.
    async fn pass(&self, message: &Value, line: Vec<u8>) {
        let id = message.get("id");
        match self.client.send(self.ask(message, line)).await {
            Ok(answered) => self.give_back(id, answered).await,
            Err(fault) => {
                if let Some(id) = id {
                    let mut text = said(&fault);
                    if message["method"] == "tools/call" && fault.exit != Exit::Unreachable {
                        text.push_str(". A run that this call began goes on when the node is back: look for it (`resources/list`, `heddle runs ls`) before it is called again");
                    }
                    say(&failure(id, INTERNAL, &text));
                }
            }
        }
    }
    fn ask(&self, message: &Value, line: Vec<u8>) -> Ask<'static> {
        let method = message["method"].as_str().unwrap_or_default();
        let params = &message["params"];
        let agreed = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let version = params["_meta"][VERSION].as_str().map(str::to_owned).or_else(|| match method {
            "initialize" => params["protocolVersion"].as_str().map(str::to_owned),
            _ => agreed,
        });
        let name = match method {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
            _ => None,
        };
        let mut ask = Ask::post("/mcp", "application/json", line)
            .with(GIVES_UP, "1")
            .with("accept", "application/json, text/event-stream")
            .with("mcp-method", in_header(method));
        if let Some(version) = version {
            ask = ask.with("mcp-protocol-version", in_header(&version));
        }
        if let Some(name) = name {
            ask = ask.with("mcp-name", in_header(name));
        }
        match &self.user {
            Some(user) => ask.with("heddle-user", user.clone()),
            None => ask,
        }
    }
    async fn give_back(&self, id: Option<&Value>, answered: Answered) {
        let (status, mut body) = (answered.status, answered.body);
        if answered.streams {
            let (mut reader, mut is_answered) = (Reader::default(), false);
            while let Some(Ok(chunk)) = body.next().await {
                for event in reader.take(&chunk) {
                    let is_last = event.data.get("result").is_some() || event.data.get("error").is_some();
                    is_answered |= is_last && event.data.get("id") == id;
                    say(&event.data);
                }
            }
            if let Some(id) = id.filter(|_| !is_answered) {
                say(&failure(
                    id,
                    INTERNAL,
                    "the node broke its answer off; its run may go on: `heddle runs ls`",
                ));
            }
            return;
        }
        let whole: Result<Vec<_>, String> = body.try_collect().await;
        let Some(id) = id else { return };
        let said = match whole.map(|chunks| chunks.concat()) {
            Err(why) => failure(id, INTERNAL, &format!("the node broke its answer off: {why}")),
            Ok(bytes) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(answer) if answer.get("jsonrpc").is_some() => answer,
                Ok(problem) if problem["detail"].is_string() => {
                    failure(id, INTERNAL, problem["detail"].as_str().unwrap_or_default())
                }
                _ => {
                    let text: String = String::from_utf8_lossy(&bytes).chars().take(300).collect();
                    failure(id, INTERNAL, &format!("the node answered {status}: {}", text.trim()))
                }
            },
        };
        if let Some(version) = said["result"]["protocolVersion"].as_str() {
            *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.to_owned());
        }
        say(&said);
    }
}

/// A text as a header may have it.
fn in_header(text: &str) -> String {
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b)) && text.trim() == text;
    match plain {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", STANDARD.encode(text)),
    }
}
