//! The stand-in for native tests: log lines go to standard error, the clock is the real one, randomness repeats from a
//! fixed seed, and the tools are those that the test offers through [`crate::testing`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::log::Level;
use crate::model::{Ask, Budget, Completion, Message};
use crate::{Context, Failure, ToolInfo};

type Offered = Rc<dyn Fn(Value) -> Result<Value, Failure>>;

type Answers = Rc<dyn Fn(&[Message], &Ask) -> Result<Completion, Failure>>;

thread_local! {
    static MODEL: RefCell<Option<Answers>> = RefCell::default();
    static TOOLS: RefCell<BTreeMap<String, Offered>> = RefCell::default();
    static SEED: Cell<u64> = const { Cell::new(0) };
    static START: Instant = Instant::now();
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn monotonic_ns() -> u64 {
    START.with(|start| u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
    (0..len).map(|_| random_u64().to_le_bytes()[0]).collect()
}

/// SplitMix64: good enough to fill a test, and the same in every run.
pub(crate) fn random_u64() -> u64 {
    SEED.with(|seed| {
        seed.set(seed.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mixed = (seed.get() ^ (seed.get() >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

pub(crate) fn progress(stage: &str, percent: Option<u8>, message: &str) {
    let percent = percent.map_or_else(String::new, |percent| format!(" {percent} %"));
    eprintln!("progress: {stage}{percent} {message}");
}

pub(crate) fn context() -> Context {
    Context {
        tenant: "test".into(),
        run: "run-1".into(),
        step: "step".into(),
        item: None,
        attempt: 1,
        idempotency_key: "run-1/step".into(),
        deadline_ms: now_ms() + 60_000,
        fuel_left: u64::MAX,
        traceparent: None,
    }
}

/// Adds a tool to those of this thread.
pub(crate) fn offer(name: &str, tool: Offered) {
    TOOLS.with(|tools| tools.borrow_mut().insert(name.to_owned(), tool));
}

/// Takes all tools of this thread back.
pub(crate) fn withdraw_all() {
    TOOLS.with(|tools| tools.borrow_mut().clear());
    MODEL.with(|model| *model.borrow_mut() = None);
}

pub(crate) fn list_tools() -> Vec<ToolInfo> {
    let describe = |name: &String| ToolInfo {
        name: name.clone(),
        title: name.clone(),
        description: format!("a stand-in for `{name}`"),
        input_schema: Value::Bool(true),
        output_schema: Value::Bool(true),
    };
    TOOLS.with(|tools| tools.borrow().keys().map(describe).collect())
}

pub(crate) fn call_tool(name: &str, input: &str) -> Result<String, Failure> {
    let tool = TOOLS.with(|tools| tools.borrow().get(name).cloned());
    let tool = tool.ok_or_else(|| {
        Failure::permanent("not_granted", format!("`{name}` is not offered; add it with `testing::offer`"))
    })?;
    Ok(serde_json::to_string(&tool(serde_json::from_str(input)?)?)?)
}

/// A call that was answered at once, because a stand-in has nothing to wait for.
#[derive(Debug)]
pub(crate) struct PendingCall(Result<String, Failure>);

pub(crate) fn start_tool(name: &str, input: &str) -> PendingCall {
    PendingCall(call_tool(name, input))
}

pub(crate) fn wait_tools(_calls: &[&PendingCall]) -> usize {
    0
}

pub(crate) fn take(call: &PendingCall) -> Result<String, Failure> {
    call.0.clone()
}

/// From now on the model of this thread answers so.
pub(crate) fn answer_model(answers: Answers) {
    MODEL.with(|model| *model.borrow_mut() = Some(answers));
}

/// Messages in their order.
pub(crate) type Thread = Vec<Message>;

pub(crate) fn thread() -> Thread {
    Vec::new()
}

pub(crate) fn append(thread: &mut Thread, message: &Message) {
    thread.push(message.clone());
}

pub(crate) fn complete(thread: &mut Thread, ask: &Ask) -> Result<Completion, Failure> {
    let model = MODEL.with(|model| model.borrow().clone());
    let model = model.ok_or_else(|| {
        Failure::permanent("model_not_granted", "no model answers here; say how with `testing::answer_model`")
    })?;
    let said = model(thread, ask)?;
    thread.push(Message::Assistant { text: said.text.clone(), calls: said.calls.clone() });
    Ok(said)
}

pub(crate) fn models() -> Vec<String> {
    let is_there = MODEL.with(|model| model.borrow().is_some());
    is_there.then(|| "test".to_owned()).into_iter().collect()
}

pub(crate) fn budget() -> Budget {
    Budget::default()
}
