//! What an agent asks goes through its call log: what was answered before is told again, and what is new is recorded on
//! both sides of the call. The rules are in `core/src/call_log.rs`; here are the store and the waiting.
//!
//! A call that has an effect waits until it is on disk that it is asked, and with it every answer before it: one flush
//! for one effect. Answers are handed to the guest without waiting.

mod listing;

use crate::attempt::AttemptCall;
use crate::outside::Files;
use crate::shared::Shared;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heddle_core::call_log::{CallLog, Entry, MODEL, Said, Told, diverged};
use heddle_core::host_call::{Answered, HostAnswer, HostCall};
use heddle_core::id::Digest;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{Failure, FailureKind, Spent};
use heddle_core::plugin::Pinned;
use heddle_core::run::event::Payload;
use heddle_core::time::Timestamp;
use heddle_store::{AppendFault, Blob, CallAppend, CallQuery, Urgency};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Requests, answers and states up to this size stand in their entry; larger ones are values of the run.
const INLINE_BYTES: usize = 8 * 1024;
/// Entries that are read at a time.
const PAGE: u32 = 500;

/// The call log of one attempt.
pub(crate) struct Calls {
    shared: Arc<Shared>,
    run: heddle_core::id::RunId,
    name: Arc<str>,
    files: Files,
    state: Mutex<State>,
}

struct State {
    /// What is recorded of the segment that is under way. Calls of this attempt are not added: nobody asks them twice.
    log: CallLog,
    /// Entries that have been handed over to the store.
    handed_over: u64,
    /// Entries that have not, with the values that they name.
    entries: Vec<Entry>,
    blobs: Vec<Blob>,
    next_call: u64,
    next_pick: u64,
    spent: Spent,
    /// How often a model was asked, the answer told again or not.
    models: u64,
    bytes: u64,
    /// What had been spent when the segment began.
    before: Spent,
    /// Why nothing more is recorded.
    broken: Option<Failure>,
}

/// A call that was made: its answer, and what is recorded beside it.
pub(crate) struct Made {
    pub(crate) answer: HostAnswer,
    pub(crate) files: Files,
    pub(crate) spent: Spent,
}

impl Made {
    /// An answer with nothing beside it.
    pub(crate) fn plain(answer: HostAnswer) -> Made {
        Made { answer, files: Files::default(), spent: Spent::default() }
    }
}

/// What a log is called: the step, the item, who is asked by it, with what, and how often that has failed by itself.
fn name(call: &AttemptCall, plugin: &Pinned) -> Arc<str> {
    let item = call.node.item.map(|item| format!("/{item}")).unwrap_or_default();
    let input = call.input.digest();
    let with = Digest::of(&[plugin.digest.0, input.0].concat()).hex();
    format!("{}{item}:{}:{}", call.step().id, &with[..16], call.log).into()
}

impl Calls {
    /// Opens the log of an attempt, and reads what an earlier attempt has left in it.
    pub(crate) async fn open(
        shared: Arc<Shared>,
        call: &AttemptCall,
        plugin: &Pinned,
        deadline: Timestamp,
    ) -> Result<Calls, Failure> {
        let name = name(call, plugin);
        let mut log = CallLog::default();
        let mut after = (call.attempt > 1).then(|| (name.clone(), 0));
        while let Some(from) = after.take() {
            let query = CallQuery { run: call.run, log: Some(name.clone()), after: Some(from), limit: PAGE };
            let rows = shared.store.calls(query).await.map_err(unreadable)?;
            if rows.len() as u32 == PAGE {
                after = rows.last().map(|row| (name.clone(), row.seq));
            }
            rows.iter().for_each(|row| log.apply(&row.entry));
        }
        let (next_call, next_pick) = log.begins();
        let mut state = State {
            handed_over: log.entries(),
            spent: log.spent(),
            models: log.before().1,
            bytes: log.bytes(),
            before: Spent { model_calls: log.before().1, ..log.before().0 },
            log,
            entries: Vec::new(),
            blobs: Vec::new(),
            next_call,
            next_pick,
            broken: None,
        };
        if state.handed_over == 0 {
            let opened = Entry::Opened { at: shared.now(), attempt: call.attempt, deadline };
            state.log.apply(&opened);
            state.entries.push(opened);
        }
        Ok(Calls { shared, run: call.run, name, files: call.files.clone(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under this lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// When the segment began that is under way, which attempt opened the log, and when that was to end.
    pub(crate) fn opened(&self) -> Option<(Timestamp, u32, Timestamp)> {
        self.state().log.opened()
    }
    /// What the agent's randomness grows from, beside its place in the run.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
    /// Whether the record has still something to say: what the agent says meanwhile, it has said before.
    pub(crate) fn is_silent(&self) -> bool {
        let state = self.state();
        state.log.knows_from(state.next_call)
    }
    /// What all answers used so far.
    pub(crate) fn spent(&self) -> Spent {
        self.state().spent
    }
    /// What had been used when the segment began: the agent adds what it has taken since, so that it sees the same again.
    pub(crate) fn before(&self) -> Spent {
        self.state().before
    }
    /// Segments that have ended.
    pub(crate) fn segments(&self) -> u64 {
        self.state().log.segments()
    }
    /// What the segment that is under way began with.
    pub(crate) async fn began_with(&self) -> Result<Option<Json>, Failure> {
        let state = self.state().log.state().cloned();
        match state {
            Some(payload) => self.value(payload).await.map(Some),
            None => Ok(None),
        }
    }

    /// Asks, or tells what was told before. The number of the call is taken at once, in the order of asking; `make` makes
    /// the call, with the number.
    pub(crate) fn ask(
        self: &Arc<Self>,
        call: &HostCall,
        make: impl FnOnce(Numbers) -> BoxFuture<'static, Made> + Send + 'static,
    ) -> BoxFuture<'static, Result<Answered, Failure>> {
        let request = match call.recorded() {
            Ok(request) => request,
            Err(failure) => return async { Err(failure) }.boxed(),
        };
        let mut state = self.state();
        if let Some(failure) = state.broken.clone() {
            return async { Err(failure) }.boxed();
        }
        let (number, known_by) = (state.next_call, request.digest());
        if let Some(failure) = state.too_much(number, &request, &self.shared.limits) {
            state.broken = Some(failure.clone());
            return async { Err(failure) }.boxed();
        }
        state.next_call += 1;
        let numbers = Numbers { call: number, models: state.models };
        state.models += u64::from(call.capability() == MODEL);
        let calls = self.clone();
        let is_effect = call.is_effect();
        match state.log.said(number, known_by) {
            Said::Told(told) => async move { calls.tell(told).await }.boxed(),
            Said::Diverged(recorded) => {
                // At once: what is asked behind it must not go out.
                state.broken = Some(diverged(number, None, &request));
                async move {
                    let recorded = calls.value(recorded).await.ok();
                    Err(diverged(number, recorded.as_ref(), &request))
                }
                .boxed()
            }
            Said::Open => async move { Ok(calls.made(number, make(numbers).await)) }.boxed(),
            Said::New => {
                let at = self.shared.now();
                state.bytes += request.size() as u64;
                let payload = state.payload(request);
                let capability = call.capability().to_owned();
                state.entries.push(Entry::Asked {
                    call: number,
                    capability,
                    request: payload,
                    digest: known_by,
                    at,
                });
                let on_disk = is_effect.then(|| self.hand_over(&mut state, Urgency::Now));
                async move {
                    if let Some(on_disk) = on_disk
                        && let Err(failure) = on_disk.await
                    {
                        calls.state().broken = Some(failure.clone());
                        return Err(failure);
                    }
                    Ok(calls.made(number, make(numbers).await))
                }
                .boxed()
            }
        }
    }

    /// Which of several calls had ended first: as it was, or as it is.
    pub(crate) fn pick(
        self: &Arc<Self>,
        first: BoxFuture<'static, Vec<u32>>,
    ) -> BoxFuture<'static, Vec<u32>> {
        let mut state = self.state();
        let pick = state.next_pick;
        state.next_pick += 1;
        if let Some(these) = state.log.picked(pick) {
            let these = these.to_vec();
            return async move { these }.boxed();
        }
        let calls = self.clone();
        async move {
            let these = first.await;
            calls.state().entries.push(Entry::Picked { pick, these: these.clone() });
            these
        }
        .boxed()
    }

    /// The agent has handed on a state.
    pub(crate) fn continued(&self, handed_on: &Json) {
        let mut state = self.state();
        state.before = Spent { model_calls: state.models, ..state.spent };
        state.bytes += handed_on.size() as u64;
        let entry = Entry::Continued { state: state.payload(handed_on.clone()), at: self.shared.now() };
        state.log.apply(&entry);
        state.entries.push(entry);
        drop(self.hand_over(&mut state, Urgency::Later));
    }

    /// Hands over what has not been: the attempt has ended, and its end comes behind this.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        // Who asked nothing leaves no log: it was opened, and that is all.
        let fewest = usize::from(state.handed_over == 0);
        if state.entries.len() > fewest {
            drop(self.hand_over(&mut state, Urgency::Later));
        }
    }

    /// The answer is there: it is recorded, and nobody waits for that.
    fn made(&self, call: u64, made: Made) -> Answered {
        let Made { answer, files, spent } = made;
        let at = self.shared.now();
        let mut state = self.state();
        state.spent = state.spent.and(spent);
        if let Ok(recorded) = answer.recorded() {
            state.bytes += recorded.size() as u64;
            let answer = state.payload(recorded);
            let (files, blobs) = self.files.take_over(files);
            state.blobs.extend(blobs);
            state.entries.push(Entry::Answered { call, answer, at, files, spent });
            drop(self.hand_over(&mut state, Urgency::Later));
        }
        Answered { answer, at }
    }

    async fn tell(&self, told: Told) -> Result<Answered, Failure> {
        self.files.adopt(told.files);
        let answer = HostAnswer::read(&self.value(told.answer).await?)?;
        Ok(Answered { answer, at: told.at })
    }

    async fn value(&self, payload: Payload) -> Result<Json, Failure> {
        let digest = match payload {
            Payload::Inline(json) => return Ok(json),
            Payload::Derived => return Ok(Json::null()),
            Payload::Stored { digest, .. } => digest,
        };
        let bytes = self.shared.store.blob(digest).await.map_err(unreadable)?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
        text.map(Json::trusted).ok_or_else(|| {
            Failure::new(FailureKind::Internal, format!("the value {digest} of a call log is missing"))
        })
    }

    /// Hands over all entries that have not been.
    fn hand_over(&self, state: &mut State, urgency: Urgency) -> BoxFuture<'static, Result<(), Failure>> {
        let entries = std::mem::take(&mut state.entries);
        let expected = state.handed_over;
        state.handed_over += entries.len() as u64;
        let written = self.shared.store.append_calls(CallAppend {
            run: self.run,
            epoch: self.shared.epoch(),
            log: self.name.clone(),
            expected,
            entries,
            blobs: std::mem::take(&mut state.blobs),
            holds: Vec::new(),
            urgency,
        });
        async move { written.await.map_err(|fault| unwritten(&fault)) }.boxed()
    }
}

/// The numbers of a call: in the log, and among the calls of models.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) call: u64,
    pub(crate) models: u64,
}

impl State {
    /// Why a further call is not recorded, and so not made.
    fn too_much(&self, number: u64, request: &Json, limits: &Limits) -> Option<Failure> {
        let (most, most_bytes) = (limits.agent_calls, limits.call_log_bytes);
        let message = if number >= most {
            format!("the agent has asked {most} times (limit agent_calls)")
        } else if self.bytes + request.size() as u64 > most_bytes {
            format!("the record of the agent has more than {most_bytes} bytes (limit call_log_bytes)")
        } else {
            return None;
        };
        Some(Failure::new(FailureKind::BudgetExhausted, message).with_code("calls"))
    }
    fn payload(&mut self, json: Json) -> Payload {
        if json.size() <= INLINE_BYTES {
            return Payload::Inline(json);
        }
        let (digest, size) = (json.digest(), json.size() as u64);
        self.blobs.push(Blob { digest, bytes: json.text().as_bytes().into() });
        Payload::Stored { digest, size }
    }
}

fn unreadable(fault: heddle_store::StoreFault) -> Failure {
    Failure::new(FailureKind::StoreUnavailable, format!("the call log of the agent cannot be read: {fault}"))
}

fn unwritten(fault: &AppendFault) -> Failure {
    let kind = match fault {
        AppendFault::Fenced { .. } | AppendFault::Conflict { .. } => FailureKind::Interrupted,
        _ => FailureKind::StoreUnavailable,
    };
    Failure::new(kind, format!("what the agent asks cannot be recorded: {fault}"))
}
