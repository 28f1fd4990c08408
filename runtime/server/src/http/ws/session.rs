//! One WebSocket, from its opening to its close: one task that hears the client, the runs and the clock, and writes.
//!
//! Nothing waits in a queue of the connection's own. While a write waits for the client, the runs are not heard; what
//! they tell meanwhile is shared by all listeners, and the store has it besides. Who falls too far behind, or takes
//! nothing for too long, is let go with the place to come back to.

use super::protocol::{self, Asked, Ended, Reason, Says, Subscribed, To, Wish};
use crate::http::Api;
use crate::http::codes::Code;
use crate::http::problem::Problem;
use crate::http::server::over;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::future::AbortHandle;
use futures_util::stream::{BoxStream, SelectAll, SplitSink, SplitStream, once};
use futures_util::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use heddle_core::id::{RunId, Tenant};
use heddle_core::run::public::PublicEvent;
use heddle_executor::{EventId, FeedItem, Followed, StreamItem};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::tungstenite;

/// How often a connection is asked for life.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client may say nothing at all, not even that it lives.
const SILENCE: Duration = Duration::from_secs(50);
/// Messages in a row that cannot be understood.
const FAULTS: u32 = 16;
/// Messages that are written together.
const TOGETHER: usize = 64;
/// How long a client may take to answer that it has seen the close.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a subscription brings.
enum Item {
    Event { run: RunId, event: PublicEvent, cursor: Option<EventId> },
    Unreadable { run: RunId, cursor: EventId, why: String },
    Lagged,
    Broken(String),
    Over,
}

/// Something that the connection hears.
enum Happening {
    Client(Option<Result<Message, axum::Error>>),
    Item(Arc<str>, Item),
    Tick,
    Ending,
}

/// Why a connection is over.
enum Close {
    /// The client has closed it, or is gone.
    Gone,
    /// The client takes nothing.
    Stalled,
    /// The node closes it: a code, and why.
    With(u16, &'static str),
}

/// A subscription of the connection.
struct Subscription {
    stop: AbortHandle,
    /// The place behind which it goes on elsewhere.
    resume: Option<EventId>,
}

/// One open WebSocket.
pub(super) struct Session {
    api: Api,
    tenant: Tenant,
    sink: SplitSink<WebSocket, Message>,
    client: SplitStream<WebSocket>,
    subscriptions: BTreeMap<Arc<str>, Subscription>,
    items: SelectAll<BoxStream<'static, (Arc<str>, Item)>>,
    heard: Instant,
    faults: u32,
}

impl Session {
    pub(super) fn new(api: &Api, tenant: Tenant, socket: WebSocket) -> Session {
        let (sink, client) = socket.split();
        Session {
            api: api.clone(),
            tenant,
            sink,
            client,
            subscriptions: BTreeMap::new(),
            items: SelectAll::new(),
            heard: Instant::now(),
            faults: 0,
        }
    }

    /// Serves until somebody closes it.
    pub(super) async fn serve(mut self) {
        let Err(close) = self.go().await;
        if let Close::With(code, reason) = close {
            let frame = CloseFrame { code, reason: reason.into() };
            // Whoever does not take it has the places of all that came before.
            if self.write(vec![Message::Close(Some(frame))]).await.is_ok() {
                let answered = async { while let Some(Ok(_)) = self.client.next().await {} };
                let _ = timeout(LAST_WORDS, answered).await;
            }
        }
    }

    async fn go(&mut self) -> Result<std::convert::Infallible, Close> {
        let mut ending = Box::pin(over(self.api.ending.clone()));
        let mut ticks = interval(HEARTBEAT);
        ticks.reset();
        loop {
            let happening = tokio::select! {
                said = self.client.next() => Happening::Client(said),
                Some((id, item)) = self.items.next(), if !self.items.is_empty() => Happening::Item(id, item),
                _ = ticks.tick() => Happening::Tick,
                () = &mut ending => Happening::Ending,
            };
            match happening {
                Happening::Client(said) => self.hear(said).await?,
                Happening::Item(id, item) => self.tell(id, item).await?,
                Happening::Tick if self.heard.elapsed() > SILENCE => return Err(Close::Gone),
                Happening::Tick => self.write(vec![Message::Ping(bytes::Bytes::new())]).await?,
                Happening::Ending => {
                    self.end_all(Reason::Draining).await?;
                    return Err(Close::With(close_code::AWAY, "the node ends"));
                }
            }
        }
    }

    /// Writes all of these, or finds that the client takes nothing.
    async fn write(&mut self, messages: Vec<Message>) -> Result<(), Close> {
        let stall = Duration::from_millis(self.api.app.limits.ws_stall_ms);
        let sink = &mut self.sink;
        let written = async move {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        match timeout(stall, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Close::Gone),
            Err(_) => {
                tracing::debug!("a WebSocket takes nothing; it is closed");
                Err(Close::Stalled)
            }
        }
    }

    async fn hear(&mut self, said: Option<Result<Message, axum::Error>>) -> Result<(), Close> {
        self.heard = Instant::now();
        let text = match said {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Binary(_))) => {
                return Err(Close::With(close_code::UNSUPPORTED, "messages are text"));
            }
            Some(Ok(Message::Close(_))) | None => return Err(Close::Gone),
            Some(Err(error)) => return Err(why_unreadable(error)),
        };
        match protocol::read(&text, &self.api.app.limits) {
            Ok(asked) => {
                self.faults = 0;
                self.answer(asked).await
            }
            Err((problem, subscription)) => {
                self.faults += 1;
                self.write(vec![protocol::refusal(&problem, subscription)]).await?;
                match self.faults >= FAULTS {
                    true => Err(Close::With(close_code::POLICY, "too many faults")),
                    false => Ok(()),
                }
            }
        }
    }

    async fn answer(&mut self, asked: Asked) -> Result<(), Close> {
        let message = match asked {
            Asked::Ping(said) => Says::Pong(said).message(),
            Asked::Unsubscribe(id) => match self.subscriptions.remove(&id) {
                Some(subscription) => {
                    subscription.stop.abort();
                    ended(id, Reason::Unsubscribed, subscription.resume)
                }
                None => {
                    let detail = "there is no such subscription; `subscribe` makes one";
                    protocol::refusal(&Problem::new(Code::BodyInvalid, detail), Some(id))
                }
            },
            Asked::Subscribe(wish) => {
                let id = wish.id.clone();
                match self.subscribe(wish).await {
                    Ok(messages) => return self.write(messages).await,
                    Err(problem) => protocol::refusal(&problem, Some(id)),
                }
            }
        };
        self.write(vec![message]).await
    }

    /// Begins a subscription; gives what is said first.
    async fn subscribe(&mut self, Wish { id, to, after }: Wish) -> Result<Vec<Message>, Problem> {
        let most = self.api.app.limits.ws_subscriptions;
        if self.subscriptions.contains_key(&id) {
            let detail = format!("`{id}` is subscribed already; unsubscribe it first, or choose another id");
            return Err(protocol::about("id", Code::BodyInvalid, detail));
        }
        if self.subscriptions.len() as u64 >= most {
            let detail = format!(
                "the connection has {most} subscriptions (`limits.ws_subscriptions`); unsubscribe one"
            );
            return Err(Problem::new(Code::QuotaExceeded, detail));
        }
        let executor = self.api.app.executor.clone();
        let (resume, items) = match to {
            To::Run(run) => match executor.events(&self.tenant, run, after).await? {
                None => {
                    let detail = format!("there is no run `{run}`; `GET /v1/runs` lists them");
                    return Err(protocol::about("run", Code::RunNotFound, detail));
                }
                Some(Followed::Over) => {
                    let begun = subscribed(&id, after);
                    return Ok(vec![begun, ended(id, Reason::RunEnded, after)]);
                }
                Some(Followed::Events(events)) => (after, events.map(move |item| of_run(run, item)).boxed()),
            },
            To::Workflow(name) => {
                let (from, events) = executor.watch(&self.tenant, Some(name), after).await?;
                (Some(from), events.map(of_many).boxed())
            }
            To::All => {
                let (from, events) = executor.watch(&self.tenant, None, after).await?;
                (Some(from), events.map(of_many).boxed())
            }
        };
        let stop = self.listen(&id, items);
        let begun = subscribed(&id, resume);
        self.subscriptions.insert(id, Subscription { stop, resume });
        Ok(vec![begun])
    }

    fn listen(&mut self, id: &Arc<str>, items: impl Stream<Item = Item> + Send + 'static) -> AbortHandle {
        let id = id.clone();
        let named = items.chain(once(async { Item::Over })).map(move |item| (id.clone(), item));
        let (named, stop) = futures_util::stream::abortable(named);
        self.items.push(named.boxed());
        stop
    }

    /// Tells the client what came, and what came in the meantime.
    async fn tell(&mut self, id: Arc<str>, item: Item) -> Result<(), Close> {
        let mut messages = Vec::new();
        let mut next = Some((id, item));
        while let Some((id, item)) = next {
            if self.take(&id, item, &mut messages) == Pace::TooSlow {
                self.write(messages).await?;
                self.end_all(Reason::SlowReader).await?;
                return Err(Close::With(close_code::AGAIN, "too slow: come back with `resumeAfter`"));
            }
            next = match messages.len() < TOGETHER && !self.items.is_empty() {
                true => self.items.next().now_or_never().flatten(),
                false => None,
            };
        }
        self.write(messages).await
    }

    fn take(&mut self, id: &Arc<str>, item: Item, messages: &mut Vec<Message>) -> Pace {
        let Some(subscription) = self.subscriptions.get_mut(id) else { return Pace::Good };
        let reason = match item {
            Item::Event { run, event, cursor } => {
                messages.push(protocol::event(id, run, &event, cursor));
                subscription.resume = cursor.or(subscription.resume);
                return Pace::Good;
            }
            Item::Unreadable { run, cursor, why } => {
                tracing::error!(%run, why, "an event cannot be told");
                let detail = format!("what happened to run `{run}` at `{}` cannot be read: {why}", cursor.0);
                messages.push(protocol::refusal(&Problem::new(Code::Internal, detail), Some(id.clone())));
                subscription.resume = Some(cursor);
                return Pace::Good;
            }
            Item::Lagged => return Pace::TooSlow,
            Item::Broken(why) => {
                tracing::error!(why, "a subscription broke off");
                Reason::Broken
            }
            Item::Over => Reason::RunEnded,
        };
        if let Some(subscription) = self.subscriptions.remove(id) {
            subscription.stop.abort();
            messages.push(ended(id.clone(), reason, subscription.resume));
        }
        Pace::Good
    }

    /// Ends every subscription for the same reason, each with its place.
    async fn end_all(&mut self, reason: Reason) -> Result<(), Close> {
        let all = std::mem::take(&mut self.subscriptions);
        self.items.clear();
        let messages = all.into_iter().map(|(id, subscription)| ended(id, reason, subscription.resume));
        self.write(messages.collect()).await
    }
}

/// Whether the client keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Good,
    TooSlow,
}

fn subscribed(id: &Arc<str>, resume: Option<EventId>) -> Message {
    let resume_after = resume.map(protocol::written);
    Says::Subscribed(Subscribed { subscription: id.clone(), resume_after }).message()
}

fn ended(subscription: Arc<str>, reason: Reason, resume: Option<EventId>) -> Message {
    let resume_after = resume.map(protocol::written);
    Says::Ended(Ended { subscription, reason, resume_after }).message()
}

fn of_run(run: RunId, item: StreamItem) -> Item {
    match item {
        StreamItem::Event(event) => Item::Event { run, cursor: event.id, event },
        StreamItem::Lagged => Item::Lagged,
        StreamItem::Broken(why) => Item::Broken(why),
    }
}

fn of_many(item: FeedItem) -> Item {
    match item {
        FeedItem::Event(told) => Item::Event { run: told.run, cursor: told.place, event: told.event },
        FeedItem::Unreadable { run, place, why } => Item::Unreadable { run, cursor: place, why },
        FeedItem::Lagged => Item::Lagged,
        FeedItem::Broken(why) => Item::Broken(why),
    }
}

/// What a client has done that what it sent cannot be read as messages.
fn why_unreadable(error: axum::Error) -> Close {
    let Ok(error) = error.into_inner().downcast::<tungstenite::Error>() else { return Close::Gone };
    match *error {
        tungstenite::Error::Capacity(_) => {
            Close::With(close_code::SIZE, "too large: limits.ws_message_bytes")
        }
        tungstenite::Error::Utf8(_) => Close::With(close_code::INVALID, "not UTF-8"),
        tungstenite::Error::Protocol(_) => Close::With(close_code::PROTOCOL, "not the WebSocket protocol"),
        _ => Close::Gone,
    }
}
