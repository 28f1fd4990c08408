//! Following a run to its end: its events, from the first, over as many connections as it takes.

use super::asks::{Asks, Reach};
use super::client::{Ask, Client, Refusal, Refused};
use super::exact::Exact;
use super::exit::Fault;
use super::out::note;
use super::paint::{Paint, harmless, stderr_is_live};
use super::sse::Reader;
use super::tree::{Picture, Screen};
use futures_util::StreamExt as _;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often a picture is drawn at most.
const FRAME: Duration = Duration::from_millis(80);
/// How long to wait before coming back to a node that went away.
const COME_BACK: Duration = Duration::from_millis(500);
/// How long a run may take to begin before it is said what it waits for.
const BEGINS_WITHIN: Duration = Duration::from_millis(500);
/// How many times in a row a node may be away, or have nothing new to say.
const TRIES: u32 = 60;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Drawn, or told line by line where there is no terminal.
    People,
    /// Not at all.
    Nothing,
}

/// Whose run is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This command's, accepted a moment ago: a node that is away comes back with it, and Ctrl-C cancels it.
    Own,
    /// Anybody's: a node that is away may never have been there, and Ctrl-C leaves the run alone.
    Anybodys,
}

/// What keeps the events from coming, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The node does not answer.
    Away,
    /// The node refuses the stream, and may grant it later.
    Busy,
}

struct Follower<'a> {
    client: &'a Client,
    run: &'a str,
    picture: Picture,
    screen: Option<Screen>,
    show: Show,
    paint: Paint,
    asks: Asks,
    last: Option<String>,
    /// What was said last about why nothing comes.
    told: Option<Trouble>,
    /// When the run should have begun, until it was said why it has not.
    begins_by: Option<Instant>,
}

/// Follows a run to its end and gives its document. `reach` says who can answer what the run asks.
pub(crate) async fn follow(
    client: &Client,
    (run, reach): (&str, Reach),
    show: Show,
    whose: Whose,
) -> Result<Exact, Fault> {
    let tries = if whose == Whose::Own { TRIES } else { 1 };
    let graph = read(client, &format!("/v1/runs/{run}/graph"), tries, show).await?;
    let live = show == Show::People && stderr_is_live();
    let mut follower = Follower {
        client,
        run,
        picture: Picture::new(&graph),
        screen: live.then(Screen::default),
        show,
        paint: Paint::for_stderr(),
        asks: Asks::new(run, reach),
        last: None,
        told: None,
        begins_by: Some(Instant::now() + BEGINS_WITHIN),
    };
    let mut interrupts = 0;
    loop {
        tokio::select! {
            followed = follower.until_over() => {
                followed?;
                break;
            }
            _ = tokio::signal::ctrl_c() => {
                interrupts += 1;
                if whose == Whose::Anybodys || interrupts > 1 {
                    return Err(Fault::failed(format!("no longer following run {run}")).with_hint(format!("`heddle runs watch {run}`")));
                }
                if let Some(left) = follower.asks.leave().filter(|_| show == Show::People) {
                    return Err(left);
                }
                note("cancelling; press Ctrl-C again to leave at once");
                let path = format!("/v1/runs/{run}/cancel");
                // It may have ended in between; following it tells.
                let _ = client.text(Ask::post(&path, "application/json", r#"{"reason":"interrupted at the terminal"}"#)).await;
            }
        }
    }
    read(client, &format!("/v1/runs/{run}"), TRIES, show).await
}

/// Reads from a node that may be away for a while.
async fn read(client: &Client, path: &str, tries: u32, show: Show) -> Result<Exact, Fault> {
    let mut left = tries;
    loop {
        left -= 1;
        match client.json(Ask::get(path)).await {
            Ok(document) => return Ok(document),
            Err(Refused::Fault(fault)) if left > 0 => {
                if left + 1 == tries && show == Show::People {
                    note(&harmless(&format!("{}; trying again for a while", fault.message)));
                }
                tokio::time::sleep(COME_BACK).await;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
}

impl Follower<'_> {
    async fn until_over(&mut self) -> Result<(), Fault> {
        let mut away = 0;
        loop {
            let before = self.last.clone();
            let fault = match self.once().await {
                Ok(()) if self.picture.is_over() => return Ok(()),
                Ok(()) if self.last != before => {
                    away = 0;
                    continue;
                }
                Ok(()) => Fault::failed(format!("the events of run {} break off", self.run))
                    .with_hint(format!("`heddle runs why {}`", self.run)),
                Err(Refused::By(refusal)) if refusal.is_passing() => {
                    away = 0;
                    if self.over_while_busy(refusal).await? {
                        return Ok(());
                    }
                    continue;
                }
                Err(Refused::By(refusal)) => return Err(refusal.into_fault()),
                Err(Refused::Fault(fault)) => fault,
            };
            away += 1;
            if away >= TRIES {
                return Err(fault);
            }
            self.tell(Trouble::Away, || format!("{}; trying again for a while", fault.message));
            tokio::time::sleep(COME_BACK).await;
        }
    }

    /// The node has no stream to spare: waits as long as it asks for, and sees whether the run has ended by then.
    async fn over_while_busy(&mut self, refusal: Refusal) -> Result<bool, Fault> {
        let wait = refusal.retry_after_s.unwrap_or(1).clamp(1, 30);
        self.tell(Trouble::Busy, || {
            format!(
                "the node gives no stream of events now ({}); asking again every {wait} s",
                refusal.detail
            )
        });
        tokio::time::sleep(Duration::from_secs(wait)).await;
        match self.client.json(Ask::get(&format!("/v1/runs/{}", self.run))).await {
            Ok(document) if document["finishedAt"].is_string() => {
                if self.show == Show::People {
                    note(&format!("run {} has {}", self.run, document["status"].as_str().unwrap_or("ended")));
                }
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(Refused::By(refusal)) if !refusal.is_passing() => Err(refusal.into_fault()),
            // Whether anybody is there is found out with the next try of the stream.
            Err(_) => Ok(false),
        }
    }

    /// Says why nothing comes, once until something comes or something else is the matter.
    fn tell(&mut self, trouble: Trouble, why: impl FnOnce() -> String) {
        if self.told.replace(trouble) != Some(trouble) && self.show == Show::People {
            note(&harmless(&why()));
            // The picture goes on below what was said.
            self.screen = self.screen.take().map(|_| Screen::default());
        }
    }

    /// One connection, from the event that was seen last.
    async fn once(&mut self) -> Result<(), Refused> {
        let path = format!("/v1/runs/{}/events", self.run);
        let mut ask = Ask::get(&path);
        if let Some(last) = &self.last {
            ask = ask.with("last-event-id", last.clone());
        }
        let answered = self.client.open(ask).await?;
        let (mut body, mut reader) = (answered.body, Reader::default());
        let mut frames = tokio::time::interval(FRAME);
        // Between two looks there is always that much time.
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                chunk = body.next() => match chunk {
                    Some(Ok(chunk)) => self.take(reader.take(&chunk)),
                    Some(Err(why)) => return Err(Refused::Fault(Fault::cut_off(self.client.place(), why))),
                    None => break,
                },
                _ = frames.tick(), if self.show == Show::People => {
                    self.tell_why_not().await;
                    self.tell_asks();
                    self.draw();
                }
            }
        }
        self.draw();
        Ok(())
    }

    /// Says once what keeps the run from beginning: its time, or a slot that others have.
    async fn tell_why_not(&mut self) {
        if !self.picture.is_queued() {
            self.begins_by = None;
        }
        if self.begins_by.is_none_or(|by| by > Instant::now()) {
            return;
        }
        self.begins_by = None;
        let asked = self.client.json(Ask::get(&format!("/v1/runs/{}/why", self.run))).await;
        if let Ok(why) = asked
            && let Some(why) = why["why"].as_str().filter(|_| why["status"] == "waiting")
        {
            note(&harmless(why));
            self.screen = self.screen.take().map(|_| Screen::default());
        }
    }

    /// Says what the run waits for people to do. Told with the frames, so that what was answered long ago is not.
    fn tell_asks(&mut self) {
        let lines = self.asks.untold_that_stands();
        if !lines.is_empty() {
            lines.iter().for_each(|line| note(line));
            self.screen = self.screen.take().map(|_| Screen::default());
        }
    }

    fn take(&mut self, events: Vec<super::sse::Event>) {
        for event in events {
            self.asks.take(&event);
            let line = self.picture.take(&event);
            if let (Some(line), Show::People, None) = (line, self.show, &self.screen) {
                note(&line);
            }
            if event.id.is_some() {
                self.told = None;
                self.last = event.id;
            }
        }
    }

    fn draw(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.draw(&self.picture, self.paint);
        }
    }
}
