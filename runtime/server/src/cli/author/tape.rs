//! What a plugin asked of the outside and what came back, in a file beside its case: recorded once, and played back from
//! then on, so that a test needs no service, no secret and no network. What differs from run to run (the run's id, what
//! stands for a secret) is written as a word.

use super::super::exit::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heddle_core::json::Json;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind};
use heddle_core::outside::{
    ArtifactAnswer, ArtifactCall, ArtifactFault, HttpFault, HttpFaultKind, HttpRequest, HttpResponse,
    KvAnswer, KvCall, KvFault,
};
use heddle_core::plugin::{Metadata, Pinned};
use heddle_executor::{Invocation, Invoker, LogLevel, Reach};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stands for the id of a run.
const RUN: &str = "RUN";

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Call {
    /// What was asked, under the name of the capability.
    asked: Value,
    /// What came back.
    gave: Value,
}

/// What is done with the calls of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are made.
    #[default]
    Live,
    /// They are made, and written down.
    Record,
    /// They are answered from the file.
    Replay,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// Recorded, or still to be played.
    calls: Vec<Call>,
    /// What went otherwise than it was recorded.
    faults: Vec<String>,
    /// What stands for each secret in this attempt.
    secrets: BTreeMap<String, String>,
}

/// The tape of a bench. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<State>>);

/// The file of a case.
pub(super) fn file_of(folder: &Path, case: &str) -> PathBuf {
    folder.join(format!("{case}.calls.json"))
}

impl Tape {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a case.
    pub(super) fn begin(&self, mode: Mode, file: &Path) -> Result<(), Fault> {
        let calls = match mode {
            Mode::Replay => {
                let fault = |why: String| {
                    Fault::usage(format!("`{}`: {why}", file.display()))
                        .with_hint("`heddle test --record` writes it again")
                };
                let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
                serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?
            }
            Mode::Live | Mode::Record => Vec::new(),
        };
        *self.state() = State { mode, calls, ..State::default() };
        Ok(())
    }

    /// Ends a case: writes what was recorded, and says what went otherwise.
    pub(super) fn end(&self, file: &Path) -> Result<Option<String>, Fault> {
        let state = std::mem::take(&mut *self.state());
        if state.mode == Mode::Record && state.calls.is_empty() && file.is_file() {
            // It asks nothing any more.
            std::fs::remove_file(file)
                .map_err(|error| Fault::failed(format!("`{}` cannot be removed: {error}", file.display())))?;
        }
        if state.mode == Mode::Record && !state.calls.is_empty() {
            let text = serde_json::to_string_pretty(&state.calls).unwrap_or_default() + "\n";
            std::fs::write(file, text)
                .map_err(|error| Fault::failed(format!("`{}` cannot be written: {error}", file.display())))?;
        }
        let missed = state.calls.first().filter(|_| state.mode == Mode::Replay);
        let missed = missed.map(|call| format!("it did not ask what is recorded: {}", call.asked));
        Ok(state.faults.into_iter().next().or(missed))
    }

    /// Who calls the plugin, with this tape between it and the outside.
    pub(super) fn around(&self, invoker: Arc<dyn Invoker>) -> Arc<dyn Invoker> {
        Arc::new(Taped { invoker, tape: self.clone() })
    }

    /// What was recorded for this; none where nothing was, which is a fault of the case.
    fn played(&self, asked: &Value) -> Option<Value> {
        let mut state = self.state();
        match state.calls.iter().position(|call| call.asked == *asked) {
            Some(place) => Some(state.calls.remove(place).gave),
            None => {
                let why =
                    format!("it asked what is not recorded: {asked}; `heddle test --record` records again");
                state.faults.push(why);
                None
            }
        }
    }
    fn recorded(&self, asked: Value, gave: Value) {
        let mut state = self.state();
        if state.mode == Mode::Record {
            state.calls.push(Call { asked, gave });
        }
    }
    fn mode(&self) -> Mode {
        self.state().mode
    }
}

struct Taped {
    invoker: Arc<dyn Invoker>,
    tape: Tape,
}

impl Invoker for Taped {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let run = invocation.run.to_string();
        let (reach, tape) = (invocation.reach.clone(), self.tape.clone());
        let reach = Arc::new(TapedReach { reach, tape, run });
        self.invoker.invoke(Invocation { reach, ..invocation })
    }
    fn is_quick(&self, plugin: &Pinned) -> bool {
        self.invoker.is_quick(plugin)
    }
}

struct TapedReach {
    reach: Arc<dyn Reach>,
    tape: Tape,
    run: String,
}

impl TapedReach {
    /// Answers from the tape, or asks and records. `write` and `read` are the two forms of what comes back.
    fn through<T: Send + 'static>(
        &self,
        asked: &Value,
        ask: impl FnOnce() -> BoxFuture<'static, T>,
        write: impl FnOnce(&T) -> Value + Send + 'static,
        read: impl FnOnce(Option<Value>) -> T,
    ) -> BoxFuture<'static, T> {
        let asked = plain(&self.tape, &self.run, asked);
        if self.tape.mode() == Mode::Replay {
            let played = read(self.tape.played(&asked));
            return async move { played }.boxed();
        }
        let (answer, tape, run) = (ask(), self.tape.clone(), self.run.clone());
        async move {
            let answer = answer.await;
            tape.recorded(asked, plain(&tape, &run, &write(&answer)));
            answer
        }
        .boxed()
    }
}

/// A call, or its answer, without what differs from run to run.
fn plain(tape: &Tape, run: &str, value: &Value) -> Value {
    let secrets = tape.state().secrets.clone();
    let mut text = value.to_string().replace(run, RUN);
    for (name, stands) in secrets {
        text = text.replace(&stands, &shown(&name));
    }
    serde_json::from_str(&text).unwrap_or_default()
}

/// What stands for a secret on a tape.
fn shown(name: &str) -> String {
    format!("SECRET({name})")
}

impl Reach for TapedReach {
    fn log(&self, level: LogLevel, message: &str) {
        self.reach.log(level, message);
    }
    fn dropped(&self, lines: u64, bytes: u64) {
        self.reach.dropped(lines, bytes);
    }
    fn progress(&self, stage: &str, percent: Option<u8>, message: &str) {
        self.reach.progress(stage, percent, message);
    }
    fn http(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        let asked = json!({ "http": {
            "method": request.method, "url": request.url, "headers": request.headers,
            "body": request.body.as_deref().map(bytes_of), "timeoutMs": request.timeout_ms,
        } });
        self.through(&asked, || self.reach.http(request), written_http, read_http)
    }
    fn secret(&self, name: &str) -> Result<String, String> {
        let asked = json!({ "secret": name });
        if self.tape.mode() == Mode::Replay {
            let played = self.tape.played(&asked).unwrap_or_else(|| json!({ "fault": "not recorded" }));
            return match played["fault"].as_str() {
                Some(why) => Err(why.to_owned()),
                None => Ok(shown(name)),
            };
        }
        let answer = self.reach.secret(name);
        if let Ok(stands) = &answer {
            self.tape.state().secrets.insert(name.to_owned(), stands.clone());
        }
        let gave =
            answer.as_ref().map_or_else(|why| json!({ "fault": why }), |_| json!({ "done": shown(name) }));
        self.tape.recorded(asked, gave);
        answer
    }
    fn config(&self) -> Option<Json> {
        let asked = json!({ "config": null });
        if self.tape.mode() == Mode::Replay {
            let played = self.tape.played(&asked).filter(|config| !config.is_null());
            return played.map(|config| parsed(&config));
        }
        let config = self.reach.config();
        let gave = config.as_ref().map_or(Value::Null, value_of);
        self.tape.recorded(asked, gave);
        config
    }
    fn kv(&self, call: KvCall) -> BoxFuture<'static, Result<KvAnswer, KvFault>> {
        let asked = json!({ "kv": written_kv_call(&call) });
        self.through(&asked, || self.reach.kv(call), written_kv, read_kv)
    }
    fn artifact(&self, call: ArtifactCall) -> BoxFuture<'static, Result<ArtifactAnswer, ArtifactFault>> {
        let asked = match &call {
            ArtifactCall::Put { name, media_type, bytes } => {
                json!({ "put": { "name": name, "mediaType": media_type, "bytes": bytes_of(bytes) } })
            }
            ArtifactCall::Get { digest } => json!({ "get": digest }),
        };
        let asked = json!({ "artifact": asked });
        self.through(&asked, || self.reach.artifact(call), written_artifact, read_artifact)
    }
    fn tools(&self) -> Vec<Arc<Metadata>> {
        self.reach.tools()
    }
    fn call_tool(&self, name: String, input: Json, index: u64) -> BoxFuture<'static, Result<Json, Failure>> {
        let asked = json!({ "tool": { "name": name, "input": value_of(&input) } });
        let write = |answer: &Result<Json, Failure>| match answer {
            Ok(output) => json!({ "done": value_of(output) }),
            Err(failure) => json!({ "fault": failure }),
        };
        let read = |played: Option<Value>| match played {
            Some(gave) if !gave["fault"].is_null() => Err(serde_json::from_value(gave["fault"].clone())
                .unwrap_or_else(|_| Failure::new(FailureKind::Internal, "the tape is damaged"))),
            Some(gave) => Ok(parsed(&gave["done"])),
            None => Err(Failure::new(FailureKind::Internal, "not recorded")),
        };
        self.through(&asked, || self.reach.call_tool(name, input, index), write, read)
    }
}

fn value_of(json: &Json) -> Value {
    serde_json::from_str(json.text()).unwrap_or_default()
}
fn parsed(value: &Value) -> Json {
    Json::parse(value.to_string().as_bytes()).unwrap_or_else(|_| Json::null())
}

/// Bytes as text, where they are.
fn bytes_of(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
fn read_bytes(value: &Value) -> Vec<u8> {
    let text = value["text"].as_str().map(|text| text.as_bytes().to_vec());
    text.or_else(|| STANDARD.decode(value["base64"].as_str()?).ok()).unwrap_or_default()
}

fn written_http(answer: &Result<HttpResponse, HttpFault>) -> Value {
    match answer {
        Ok(HttpResponse { status, headers, body }) => {
            json!({ "done": { "status": status, "headers": headers, "body": bytes_of(body) } })
        }
        Err(HttpFault { kind, message }) => json!({ "fault": { "kind": kind.word(), "message": message } }),
    }
}
fn read_http(played: Option<Value>) -> Result<HttpResponse, HttpFault> {
    const KINDS: [HttpFaultKind; 6] = [
        HttpFaultKind::Denied,
        HttpFaultKind::Invalid,
        HttpFaultKind::Failed,
        HttpFaultKind::TimedOut,
        HttpFaultKind::TooLarge,
        HttpFaultKind::TooMany,
    ];
    let gave = played.ok_or_else(|| HttpFault::new(HttpFaultKind::Failed, "not recorded"))?;
    if !gave["fault"].is_null() {
        let kind = KINDS.into_iter().find(|kind| gave["fault"]["kind"] == kind.word());
        let message = gave["fault"]["message"].as_str().unwrap_or_default();
        return Err(HttpFault::new(kind.unwrap_or(HttpFaultKind::Failed), message));
    }
    let done = &gave["done"];
    Ok(HttpResponse {
        status: done["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default(),
        headers: serde_json::from_value(done["headers"].clone()).unwrap_or_default(),
        body: read_bytes(&done["body"]),
    })
}

fn written_kv_call(call: &KvCall) -> Value {
    match call {
        KvCall::Get { key } => json!({ "get": key }),
        KvCall::Set { key, value, expected, ttl_ms } => {
            json!({ "set": key, "value": bytes_of(value), "expected": expected, "ttlMs": ttl_ms })
        }
        KvCall::Increment { key, by } => json!({ "increment": key, "by": by }),
        KvCall::Delete { key } => json!({ "delete": key }),
        KvCall::Keys { prefix, after, limit } => json!({ "keys": prefix, "after": after, "limit": limit }),
    }
}
fn written_kv(answer: &Result<KvAnswer, KvFault>) -> Value {
    let done = match answer {
        Ok(KvAnswer::Entry(entry)) => {
            let entry = entry.as_ref();
            json!({ "entry": entry.map(|(value, version)| json!({ "value": bytes_of(value), "version": version })) })
        }
        Ok(KvAnswer::Version(version)) => json!({ "version": version }),
        Ok(KvAnswer::Number(number)) => json!({ "number": number }),
        Ok(KvAnswer::Deleted(is_deleted)) => json!({ "deleted": is_deleted }),
        Ok(KvAnswer::Keys(keys)) => json!({ "keys": keys }),
        Err(fault) => {
            let kind = match fault {
                KvFault::Denied(_) => "denied",
                KvFault::TooLarge(_) => "tooLarge",
                KvFault::Conflict(_) => "conflict",
                KvFault::NotANumber(_) => "notANumber",
                KvFault::Failed(_) => "failed",
            };
            let version = match fault {
                KvFault::Conflict(version) => Some(version),
                _ => None,
            };
            return json!({ "fault": { "kind": kind, "message": fault.to_string(), "version": version } });
        }
    };
    json!({ "done": done })
}
fn read_kv(played: Option<Value>) -> Result<KvAnswer, KvFault> {
    let gave = played.ok_or_else(|| KvFault::Failed("not recorded".to_owned()))?;
    if let fault @ Value::Object(_) = &gave["fault"] {
        let message = fault["message"].as_str().unwrap_or_default().to_owned();
        return Err(match fault["kind"].as_str() {
            Some("denied") => KvFault::Denied(message),
            Some("tooLarge") => KvFault::TooLarge(message),
            Some("conflict") => KvFault::Conflict(fault["version"].as_u64().unwrap_or_default()),
            Some("notANumber") => KvFault::NotANumber(message),
            _ => KvFault::Failed(message),
        });
    }
    let done = &gave["done"];
    let answer = [
        done.get("entry").map(|entry| {
            let version = entry["version"].as_u64();
            KvAnswer::Entry(version.map(|version| (read_bytes(&entry["value"]), version)))
        }),
        done["version"].as_u64().map(KvAnswer::Version),
        done["number"].as_i64().map(KvAnswer::Number),
        done["deleted"].as_bool().map(KvAnswer::Deleted),
        done.get("keys").map(|keys| KvAnswer::Keys(serde_json::from_value(keys.clone()).unwrap_or_default())),
    ];
    answer.into_iter().flatten().next().ok_or_else(|| KvFault::Failed("the tape is damaged".to_owned()))
}

fn written_artifact(answer: &Result<ArtifactAnswer, ArtifactFault>) -> Value {
    let (kind, message) = match answer {
        Ok(ArtifactAnswer::Kept(artifact)) => return json!({ "done": { "kept": artifact } }),
        Ok(ArtifactAnswer::Bytes(bytes)) => return json!({ "done": { "bytes": bytes_of(bytes) } }),
        Err(ArtifactFault::Denied(why)) => ("denied", why),
        Err(ArtifactFault::Invalid(why)) => ("invalid", why),
        Err(ArtifactFault::TooLarge(why)) => ("tooLarge", why),
        Err(ArtifactFault::NotThere(why)) => ("notThere", why),
        Err(ArtifactFault::Failed(why)) => ("failed", why),
    };
    json!({ "fault": { "kind": kind, "message": message } })
}
fn read_artifact(played: Option<Value>) -> Result<ArtifactAnswer, ArtifactFault> {
    let gave = played.ok_or_else(|| ArtifactFault::Failed("not recorded".to_owned()))?;
    if let fault @ Value::Object(_) = &gave["fault"] {
        let message = fault["message"].as_str().unwrap_or_default().to_owned();
        return Err(match fault["kind"].as_str() {
            Some("denied") => ArtifactFault::Denied(message),
            Some("invalid") => ArtifactFault::Invalid(message),
            Some("tooLarge") => ArtifactFault::TooLarge(message),
            Some("notThere") => ArtifactFault::NotThere(message),
            _ => ArtifactFault::Failed(message),
        });
    }
    let done = &gave["done"];
    if done["bytes"].is_object() {
        return Ok(ArtifactAnswer::Bytes(read_bytes(&done["bytes"]).into()));
    }
    let kept = serde_json::from_value(done["kept"].clone());
    kept.map(ArtifactAnswer::Kept).map_err(|_| ArtifactFault::Failed("the tape is damaged".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::id::Digest;
    use heddle_core::run::artifact::Artifact;

    #[test]
    fn what_is_written_is_read_again() {
        let answers = [
            Ok(KvAnswer::Entry(None)),
            Ok(KvAnswer::Entry(Some((vec![0xff, 0], 7)))),
            Ok(KvAnswer::Version(9)),
            Ok(KvAnswer::Number(-3)),
            Ok(KvAnswer::Deleted(false)),
            Ok(KvAnswer::Keys(vec!["a".into()])),
            Err(KvFault::Denied("no".into())),
            Err(KvFault::Conflict(4)),
            Err(KvFault::NotANumber("x".into())),
        ];
        for answer in answers {
            assert_eq!(read_kv(Some(written_kv(&answer))), answer);
        }
        for answer in [
            Ok(ArtifactAnswer::Bytes([0xff, 0].into())),
            Ok(ArtifactAnswer::Kept(Artifact {
                name: "a.md".into(),
                media_type: "text/markdown".into(),
                digest: Digest::of(b"a"),
                size: 1,
            })),
            Err(ArtifactFault::NotThere("gone".into())),
            Err(ArtifactFault::TooLarge("large".into())),
        ] {
            assert_eq!(read_artifact(Some(written_artifact(&answer))), answer);
        }
        let response = HttpResponse {
            status: 302,
            headers: vec![("location".into(), "/a".into())],
            body: "é".as_bytes().to_vec(),
        };
        for answer in [Ok(response), Err(HttpFault::new(HttpFaultKind::TooLarge, "large"))] {
            assert_eq!(read_http(Some(written_http(&answer))), answer);
        }
    }
}
