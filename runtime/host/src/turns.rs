//! Turns on the guests' threads. There is one for each thread. Work gets one when it is woken, or waits in a line that is
//! kept by share (`heddle_core::share`) at the price of the time that each share's turns took; it gives it back when it
//! was polled, which is after its next tick at most. So the attempts of one workflow that never give up their thread make
//! each other wait, and a neighbour waits for one turn.
//!
//! ```text
//!   woken ──► turn free? ──yes──────────► queue of the runtime ──► polled ──► turn goes to the least of those who wait
//!                 └──no──► in line ──called──┘
//! ```
//! What is woken reaches the runtime only with a turn, so its queue is never longer than it has threads. (It serves in
//! the order in which work was woken: a workflow with fifty spinning attempts would have fifty turns for each of its
//! neighbour's.)

use futures_util::task::AtomicWaker;
use heddle_core::share::{By, Line, Share};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The turns of a host.
#[derive(Debug)]
pub(crate) struct Turns {
    room: Mutex<Room>,
    /// What a turn cost so far is read from this clock, in nanoseconds: CPU time of the thread that asks.
    clock: fn() -> u64,
}

#[derive(Debug)]
struct Room {
    free: usize,
    line: Line<Arc<Seat>>,
}

/// Where one piece of work stands. Only changed while the room is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It waits for something else than a turn.
    Rest,
    /// It is in the line, under this number.
    InLine(u64),
    /// It has a turn, and is about to be polled.
    Called,
    /// It is being polled.
    Polled,
    /// It is being polled, and was woken since.
    PolledAndWoken,
}

/// One piece of work, as the line and those who wake it know it.
#[derive(Debug)]
struct Seat {
    turns: Arc<Turns>,
    share: Share,
    at: Mutex<At>,
    /// Puts it into the queue of the runtime.
    waker: AtomicWaker,
}

impl Turns {
    pub(crate) fn new(turns: usize, clock: fn() -> u64) -> Arc<Turns> {
        Arc::new(Turns { room: Mutex::new(Room { free: turns, line: Line::new(By::Cost) }), clock })
    }
    fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing that is done under this lock can leave it half done.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A turn is over; it goes to the next, or back.
    fn over(&self, mut room: MutexGuard<'_, Room>, share: &Share, cost: u64) {
        room.line.done(share, cost);
        match room.line.next(|_| true) {
            None => room.free += 1,
            Some((_, seat)) => {
                *seat.at() = At::Called;
                drop(room);
                seat.waker.wake();
            }
        }
    }
}

impl Seat {
    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn into_line(self: &Arc<Seat>, room: &mut Room) {
        *self.at() = At::InLine(room.line.wait(&self.share, self.clone()));
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Seat>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Seat>) {
        let mut room = self.turns.room();
        let at = *self.at();
        match at {
            At::InLine(_) | At::Called | At::PolledAndWoken => {}
            At::Polled => *self.at() = At::PolledAndWoken,
            // Where one is free, nobody waits: what is over goes to the line first.
            At::Rest if room.free > 0 => {
                room.free -= 1;
                room.line.serve(&self.share);
                *self.at() = At::Called;
                drop(room);
                self.waker.wake();
            }
            At::Rest => self.into_line(&mut room),
        }
    }
}

/// Work that is polled in turn.
pub(crate) struct InTurn<F> {
    seat: Arc<Seat>,
    /// What it is polled with: a wake is a wish for a turn.
    waker: Waker,
    has_begun: bool,
    work: Pin<Box<F>>,
}

impl<F> InTurn<F> {
    pub(crate) fn new(turns: Arc<Turns>, share: Share, work: F) -> InTurn<F> {
        let seat = Seat { turns, share, at: Mutex::new(At::Rest), waker: AtomicWaker::new() };
        let seat = Arc::new(seat);
        InTurn { waker: Waker::from(seat.clone()), seat, has_begun: false, work: Box::pin(work) }
    }
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.seat.waker.register(cx.waker());
        if !std::mem::replace(&mut this.has_begun, true) {
            // Nobody has woken it yet.
            this.seat.wake_by_ref();
        }
        {
            let _room = this.seat.turns.room();
            let mut at = this.seat.at();
            if *at != At::Called {
                return Poll::Pending;
            }
            *at = At::Polled;
        }
        let _turn = Turn { seat: &this.seat, began: (this.seat.turns.clock)() };
        this.work.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

impl<F> Drop for InTurn<F> {
    fn drop(&mut self) {
        let mut room = self.seat.turns.room();
        let at = std::mem::replace(&mut *self.seat.at(), At::PolledAndWoken);
        match at {
            At::InLine(number) => drop(room.line.leave(&self.seat.share, number)),
            // Called, and gone before it came.
            At::Called => self.seat.turns.over(room, &self.seat.share, 0),
            // Whoever wakes it later finds it deaf.
            At::Rest | At::Polled | At::PolledAndWoken => {}
        }
    }
}

/// Gives the turn back and wishes for another one. (tokio's own way of yielding wakes whoever yielded when the thread has
/// nothing else to do, which in a busy host is after sixty turns of others.)
pub(crate) async fn next_turn() {
    let mut gave_back = false;
    poll_fn(|cx| match std::mem::replace(&mut gave_back, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// A turn while it lasts, also where the work panics.
struct Turn<'a> {
    seat: &'a Arc<Seat>,
    began: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turns = &self.seat.turns;
        let cost = (turns.clock)().saturating_sub(self.began);
        let mut room = turns.room();
        let woken = *self.seat.at() == At::PolledAndWoken;
        match woken {
            // Into the line before its turn goes to the next in it, which may be itself.
            true => self.seat.into_line(&mut room),
            false => *self.seat.at() = At::Rest,
        }
        turns.over(room, &self.seat.share, cost);
        rustix::thread::sched_yield();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use heddle_core::id::Tenant;
    use std::panic::AssertUnwindSafe;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn share(workflow: &str) -> Share {
        Share { tenant: Tenant::default(), workflow: workflow.into() }
    }
    /// A clock that moves by one each time that it is read, so that every turn costs one.
    fn ticks() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(1, Ordering::Relaxed)
    }

    /// Says its name at every turn, and gives way so many times.
    async fn slices(name: &'static str, count: usize, said: Arc<Mutex<Vec<&'static str>>>) {
        for _ in 0..count {
            said.lock().unwrap().push(name);
            next_turn().await;
        }
    }

    /// On one thread: fifty that spin, and then somebody else.
    #[tokio::test]
    async fn a_neighbour_waits_for_one_turn_and_not_for_fifty() {
        let (turns, said) = (Turns::new(1, ticks), Arc::default());
        let run = |name: &'static str, count: usize| {
            tokio::spawn(InTurn::new(turns.clone(), share(name), slices(name, count, Arc::clone(&said))))
        };
        let loud: Vec<_> = (0..50).map(|_| run("loud", 10)).collect();
        tokio::task::yield_now().await;
        let before = said.lock().unwrap().len();
        run("quiet", 5).await.unwrap();
        for one in loud {
            one.await.unwrap();
        }
        let said = said.lock().unwrap();
        let last = said.iter().rposition(|name| *name == "quiet").unwrap();
        // Turn by turn with all fifty together, not with each of them.
        assert!(last < before + 2 * 5 + 2, "after {before}: {:?}", &said[before..=last]);
        assert_eq!(said.len(), 505);
        assert_eq!(turns.room().free, 1);
    }
    #[tokio::test]
    async fn who_goes_away_or_panics_gives_its_turn_back() {
        let turns = Turns::new(1, ticks);
        // Somebody has the only turn.
        {
            let mut room = turns.room();
            room.free = 0;
            room.line.serve(&share("holds"));
        }
        let work = |name: &str| Box::pin(InTurn::new(turns.clone(), share(name), async {}));
        let (mut gone, mut called, mut stays) = (work("a"), work("a"), work("b"));
        for waits in [&mut gone, &mut called, &mut stays] {
            assert!(waits.now_or_never().is_none());
        }
        drop(gone);
        turns.over(turns.room(), &share("holds"), 1);
        drop(called);
        assert!(stays.now_or_never().is_some());
        let panics = InTurn::new(turns.clone(), share("a"), async { panic!("planted") });
        assert!(AssertUnwindSafe(panics).catch_unwind().await.is_err());
        assert_eq!(turns.room().free, 1);
    }
}
