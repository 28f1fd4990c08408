//! `heddle:host/model`: language models, for agents. The messages of a thread are kept here, so that a call carries only
//! what is new; who is asked, at what price and within which budget is decided behind
//! [`HostCalls`](crate::HostCalls).

use super::held::Hold;
use super::pending::{Pending, Running, places};
use super::tools::{lower, taken_before};
use crate::bindings::Failure as WitFailure;
use crate::bindings::model::{
    AssistantMessage, Budget, Completion as WitCompletion, Finish as WitFinish, Message as WitMessage,
    Settings as WitSettings, ToolChoice as WitChoice, ToolMessage, ToolUse as WitUse,
};
use crate::genai;
use crate::guest::{Cx, Guest, answered, carried, enter, require};
use crate::refusal::Refusal;
use heddle_core::host_call::{Answered, HostCall};
use heddle_core::json::Json;
use heddle_core::model::{
    Completion, Finish, Message, Settings, Thread, ToolChoice, ToolSpec, ToolUse, weight,
};
use heddle_core::outcome::PluginKind::Agent;
use heddle_core::outcome::{Failure, FailureKind, Spent};
use heddle_core::time::Timestamp;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};

const INTERFACE: &str = "heddle:host/model@0.1.0";

/// What the model said, or why not, with what that takes until it is taken; or why the attempt ends.
type Answer = Result<(Result<Completion, Failure>, Option<Hold>, Timestamp), Failure>;
type PendingCompletion = Pending<Answer>;
type Given = Result<WitCompletion, WitFailure>;

/// A thread, and what its messages take of the node's memory.
#[derive(Debug, Default)]
struct Held {
    thread: Thread,
    hold: Option<Hold>,
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut model = linker.instance(INTERFACE)?;
    threads(&mut model)?;
    pending(&mut model)?;
    model.func_wrap_async("models", |mut cx: Cx<'_>, (): ()| {
        Box::new(async move {
            require(&cx, &[Agent], INTERFACE)?;
            enter(&mut cx, 0)?;
            let names = answered(&mut cx, HostCall::Models).await?.models().map_err(Refusal::from)?;
            carried(&mut cx, names.iter().map(String::len).sum())?;
            Ok((names,))
        })
    })?;
    model.func_wrap("spent", |mut cx: Cx<'_>, (): ()| {
        require(&cx, &[Agent], INTERFACE)?;
        enter(&mut cx, 0)?;
        let guest = cx.data();
        let began = guest.host_calls.budget(&guest.scope);
        // What it has not taken it cannot know, now or when it is run again.
        let since = guest.model_spent;
        let left = |left: Option<u64>, used: u64| left.map(|left| left.saturating_sub(used));
        let spent = began.spent.and(since);
        Ok((Budget {
            calls_left: left(began.calls_left, since.model_calls),
            tokens_left: left(began.tokens_left, since.tokens()),
            cost_micros_left: left(began.cost_micros_left, since.cost_micros),
            calls: spent.model_calls,
            tokens: spent.tokens(),
            cost_micros: spent.cost_micros,
        },))
    })
}

fn threads(model: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    model.resource("thread", ResourceType::host::<Held>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<Held>::new_own(rep))?;
        Ok(())
    })?;
    model.func_wrap("[constructor]thread", |mut cx: Cx<'_>, (): ()| {
        require(&cx, &[Agent], INTERFACE)?;
        enter(&mut cx, 0)?;
        Ok((cx.data_mut().push(Held::default())?,))
    })?;
    model.func_wrap(
        "[method]thread.append",
        |mut cx: Cx<'_>, (thread, message): (Resource<Held>, WitMessage)| {
            let message = raised(message);
            enter(&mut cx, weight(&message))?;
            append(cx.data_mut(), &thread, message)
        },
    )?;
    model.func_wrap_async(
        "[method]thread.complete",
        |mut cx: Cx<'_>, (thread, settings): (Resource<Held>, WitSettings)| {
            Box::new(async move {
                let mut call = start(&mut cx, &thread, settings)?;
                let (given, said) = take(&mut cx, call.take()).await?;
                if let Some(said) = said {
                    append(cx.data_mut(), &thread, said)?;
                }
                Ok((given,))
            })
        },
    )?;
    model.func_wrap(
        "[method]thread.start",
        |mut cx: Cx<'_>, (thread, settings): (Resource<Held>, WitSettings)| {
            let call = start(&mut cx, &thread, settings)?;
            Ok((cx.data_mut().push(call)?,))
        },
    )
}

fn pending(model: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    model.resource("pending-completion", ResourceType::host::<PendingCompletion>(), |mut cx, rep| {
        cx.data_mut().table.delete(Resource::<PendingCompletion>::new_own(rep))?;
        Ok(())
    })?;
    model.func_wrap_async(
        "[method]pending-completion.take",
        |mut cx: Cx<'_>, (call,): (Resource<PendingCompletion>,)| {
            Box::new(async move {
                enter(&mut cx, 0)?;
                let running = cx.data_mut().table.get_mut(&call)?.take();
                Ok((take(&mut cx, running).await?.0,))
            })
        },
    )?;
    model.func_wrap_async("wait", |mut cx: Cx<'_>, (calls,): (Vec<Resource<PendingCompletion>>,)| {
        Box::new(async move {
            enter(&mut cx, calls.len() * 4)?;
            let guest = cx.data_mut();
            let (places, news) = (places(&guest.table, &calls)?, guest.model.news());
            let first = guest.first(news, places);
            Ok((first.await?,))
        })
    })
}

fn append(guest: &mut Guest, thread: &Resource<Held>, message: Message) -> wasmtime::Result<()> {
    let more = guest.threads_held.hold(weight(&message) as u64);
    let more = more.map_err(|why| {
        let message = format!("{why}; begin another thread with a summary, and drop this one");
        Refusal::new(FailureKind::QuotaExceeded, message).with_code("thread_too_long")
    })?;
    let held = guest.table.get_mut(thread)?;
    match &mut held.hold {
        Some(hold) => hold.add(more),
        empty => *empty = Some(more),
    }
    held.thread.append(message);
    Ok(())
}

/// Asks a model, or says why not.
fn start(
    cx: &mut Cx<'_>,
    thread: &Resource<Held>,
    settings: WitSettings,
) -> wasmtime::Result<PendingCompletion> {
    require(cx, &[Agent], INTERFACE)?;
    let specs =
        settings.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len());
    enter(cx, specs.sum::<usize>() + settings.output_schema.as_ref().map_or(0, String::len))?;
    let guest = cx.data_mut();
    let Some(index) = guest.model.next() else {
        let message =
            format!("more than {} model calls in one attempt (`limits.model_calls`)", guest.model.max());
        return Err(Refusal::new(FailureKind::BudgetExhausted, message).with_code("model_calls").into());
    };
    let span = genai::chat(settings.model.as_deref(), index);
    let told = span.clone();
    let now = Timestamp(guest.clock.now_ms());
    let asked = match read(settings, guest.limits.json_depth) {
        Ok(settings) => {
            let call = guest.table.get_mut(thread)?.thread.call(settings);
            Ok(guest.ask(HostCall::Model(Box::new(call))))
        }
        Err(failure) => Err(failure),
    };
    guest.model_spent.model_calls += 1;
    let held = guest.threads_held.clone();
    Ok(guest.model.start(span, async move {
        let asked = match asked {
            Ok(asked) => asked,
            Err(failure) => return Ok((Err(failure), None, now)),
        };
        let Answered { answer, at } = asked.await?;
        let answer = answer.model()?;
        genai::answered(&told, &answer);
        let Ok(completion) = &answer else { return Ok((answer, None, at)) };
        match held.hold(weight(&completion.message()) as u64) {
            Ok(hold) => Ok((answer, Some(hold), at)),
            Err(why) => Ok((Err(Failure::new(FailureKind::QuotaExceeded, why)), None, at)),
        }
    }))
}

/// Waits for an answer: as the guest gets it, and as it stands in a thread.
async fn take(
    cx: &mut Cx<'_>,
    running: Option<Running<Answer>>,
) -> wasmtime::Result<(Given, Option<Message>)> {
    let Some(running) = running else { return Ok((Err(taken_before()), None)) };
    let own_time = cx.data().own_time(running);
    let (result, _hold, at) = own_time.await?.map_err(Refusal::from)?;
    cx.data_mut().clock.answered(at.0);
    let completion = match result {
        Ok(completion) => completion,
        // A budget that is used up ends the agent: it cannot go on by not looking.
        Err(failure) if failure.kind == FailureKind::BudgetExhausted => {
            return Err(Refusal::from(failure).into());
        }
        Err(failure) => return Ok((Err(lower(failure)), None)),
    };
    let (message, tokens) = (completion.message(), completion.tokens);
    let used = Spent {
        model_calls: 0,
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        cost_micros: completion.cost_micros,
    };
    cx.data_mut().model_spent = cx.data().model_spent.and(used);
    carried(cx, weight(&message))?;
    Ok((Ok(given(completion)), Some(message)))
}

fn read(settings: WitSettings, levels: u64) -> Result<Settings, Failure> {
    let invalid = |message: String| Failure::new(FailureKind::InvalidInput, message);
    let json = |what: &str, text: &str| {
        Json::parse_within(text.as_bytes(), levels).map_err(|fault| invalid(format!("{what}: {fault}")))
    };
    let named = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let mut tools = Vec::new();
    for tool in settings.tools {
        if !named(&tool.name) {
            let shown: String = tool.name.chars().take(64).collect();
            let message = format!("`{shown}` is no name of a tool for a model: `[a-zA-Z0-9_-]`, at most 64");
            return Err(invalid(message));
        }
        let parameters = json("the parameters of a tool", &tool.parameters)?;
        tools.push(ToolSpec { name: tool.name, description: tool.description, parameters });
    }
    let schema = settings.output_schema.as_deref().map(|text| json("the output schema", text)).transpose()?;
    if settings.temperature.is_some_and(|t| !t.is_finite() || t < 0.0) {
        return Err(invalid("a temperature is a number from 0".to_owned()));
    }
    Ok(Settings {
        model: settings.model,
        tools,
        tool_choice: match settings.choice {
            WitChoice::Auto => ToolChoice::Auto,
            WitChoice::Never => ToolChoice::Never,
            WitChoice::Required => ToolChoice::Required,
            WitChoice::Named(name) => ToolChoice::Named(name),
        },
        output_schema: schema,
        temperature: settings.temperature,
        max_tokens: settings.max_tokens,
        timeout_ms: settings.timeout_ms,
    })
}

fn raised(message: WitMessage) -> Message {
    match message {
        WitMessage::System(text) => Message::System { text },
        WitMessage::User(text) => Message::User { text },
        WitMessage::Assistant(AssistantMessage { text, calls }) => {
            let calls =
                calls.into_iter().map(|WitUse { id, name, arguments }| ToolUse { id, name, arguments });
            Message::Assistant { text, calls: calls.collect() }
        }
        WitMessage::Tool(ToolMessage { id, text, failed }) => Message::Tool { id, text, failed },
    }
}

fn given(completion: Completion) -> WitCompletion {
    let calls =
        completion.calls.into_iter().map(|ToolUse { id, name, arguments }| WitUse { id, name, arguments });
    WitCompletion {
        text: completion.text,
        calls: calls.collect(),
        finish: match completion.finish {
            Finish::Stop => WitFinish::Stop,
            Finish::ToolCalls => WitFinish::ToolCalls,
            Finish::Length => WitFinish::Length,
            Finish::Filtered => WitFinish::Filtered,
        },
        input_tokens: completion.tokens.input,
        output_tokens: completion.tokens.output,
        cached_tokens: completion.tokens.cached,
        cost_micros: completion.cost_micros,
        model: completion.model,
    }
}
