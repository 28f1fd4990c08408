//! What a plugin asked of the outside and what came back, in a file beside its case: recorded once, and played back from
//! then on, so that a test needs no service, no secret and no network. What differs from run to run (the run's id, what
//! stands for a secret) is written as a word.

use super::super::exit::Fault;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heddle_core::call_log::Budget;
use heddle_core::host_call::{Answered, HostAnswer, HostCall};
use heddle_core::json::Json;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind};
use heddle_core::plugin::{Metadata, Pinned};
use heddle_executor::{Clock as _, Invocation, Invoker, LogLevel, Reach, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    fn ask(&self, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>> {
        let asked = match call.recorded() {
            Ok(asked) => plain(&self.tape, &self.run, &value_of(&asked)),
            Err(failure) => return async { Err(failure) }.boxed(),
        };
        if self.tape.mode() == Mode::Replay {
            let played = played(&self.tape, &asked, &call);
            return async move { played }.boxed();
        }
        let secret = match &call {
            HostCall::Secret(name) => Some(name.clone()),
            _ => None,
        };
        let (answered, tape, run) = (self.reach.ask(call), self.tape.clone(), self.run.clone());
        async move {
            let answered = answered.await?;
            if let (Some(name), HostAnswer::Secret(Ok(stands))) = (secret, &answered.answer) {
                tape.state().secrets.insert(name, stands.clone());
            }
            let gave = value_of(&answered.answer.recorded()?);
            tape.recorded(asked, plain(&tape, &run, &gave));
            Ok(answered)
        }
        .boxed()
    }
    fn pick(&self, first: BoxFuture<'static, Vec<u32>>) -> BoxFuture<'static, Vec<u32>> {
        self.reach.pick(first)
    }
    fn tools(&self) -> Vec<Arc<Metadata>> {
        self.reach.tools()
    }
    fn budget(&self) -> Budget {
        self.reach.budget()
    }
}

/// What the tape says to a call; that it says nothing, where it does.
fn played(tape: &Tape, asked: &Value, call: &HostCall) -> Result<Answered, Failure> {
    let answer = match tape.played(asked) {
        Some(gave) => Json::parse(gave.to_string().as_bytes())
            .map_err(|fault| Failure::new(FailureKind::Internal, fault.to_string()))
            .and_then(|gave| HostAnswer::read(&gave))?,
        None => call.refused(Failure::new(FailureKind::Internal, "not recorded")),
    };
    Ok(Answered { answer, at: SystemClock.now() })
}

fn value_of(json: &Json) -> Value {
    serde_json::from_str(json.text()).unwrap_or_default()
}
