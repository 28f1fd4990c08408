//! So many permits, and a line in front of them that is kept by share (`heddle_core::share`).
//!
//! A fair line alone would not do: where one workflow holds every permit with attempts that sleep for a minute, the
//! next workflow is first in line and waits for a minute. So some permits are kept. Only who holds none may take one of
//! them.

use heddle_core::share::{By, Line, Share};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Permits are kept only where there are at least so many for each of them.
const OF_WHICH_KEPT: usize = 4;

/// The permits.
#[derive(Debug)]
pub(super) struct Pool {
    room: Mutex<Room>,
    most: usize,
    kept: usize,
}

#[derive(Debug)]
struct Room {
    free: usize,
    line: Line<oneshot::Sender<Permit>>,
}

/// A permit, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
    share: Share,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut room = self.pool.room();
        room.free += 1;
        // It is counted while it is held, and costs nothing after that.
        room.line.done(&self.share, 0);
        self.pool.hand_out(room);
    }
}

impl Pool {
    /// So many permits, some of which are kept for those who hold none.
    pub(super) fn new(most: usize, kept: usize) -> Arc<Pool> {
        let room = Mutex::new(Room { free: most, line: Line::new(By::Count) });
        Arc::new(Pool { room, most, kept: kept.min(most / OF_WHICH_KEPT) })
    }

    /// A permit, if there is one now. Nobody who may have it waits: each permit that comes back goes to the line first.
    pub(super) fn take_now(self: &Arc<Pool>, share: &Share) -> Option<Permit> {
        let mut room = self.room();
        let held = room.line.served(share);
        if room.free == 0 || !self.may(room.free, held) {
            return None;
        }
        room.free -= 1;
        room.line.serve(share);
        Some(Permit { pool: self.clone(), share: share.clone() })
    }

    /// A permit, when it is this share's turn. Dropping the future leaves the line.
    pub(super) async fn take(self: &Arc<Pool>, share: &Share) -> Permit {
        loop {
            if let Some(permit) = self.take_now(share) {
                return permit;
            }
            let (hand_out, mut turn) = oneshot::channel();
            let number = {
                let mut room = self.room();
                let number = room.line.wait(share, hand_out);
                // One may have come back since the look above.
                self.hand_out(room);
                number
            };
            let _in_line = InLine { pool: self, share, number };
            // It comes, since the line is not dropped before the pool is; and if not, the loop asks again.
            if let Ok(permit) = (&mut turn).await {
                return permit;
            }
        }
    }

    /// How many are held.
    pub(super) fn used(&self) -> usize {
        self.most - self.room().free
    }

    fn may(&self, free: usize, held: usize) -> bool {
        held == 0 || free > self.kept
    }

    /// Gives what is free to those whose turn it is.
    fn hand_out(self: &Arc<Pool>, mut room: MutexGuard<'_, Room>) {
        let mut turns = Vec::new();
        while room.free > 0 {
            let free = room.free;
            let Some((share, turn)) = room.line.next(|held| self.may(free, held)) else { break };
            room.free -= 1;
            turns.push((turn, Permit { pool: self.clone(), share }));
        }
        // A permit that nobody takes any more comes back here, and needs the room for that.
        drop(room);
        for (turn, permit) in turns {
            drop(turn.send(permit));
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing that is done under this lock can leave it half done.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, however the waiting ends.
struct InLine<'a> {
    pool: &'a Pool,
    share: &'a Share,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.pool.room().line.leave(self.share, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use heddle_core::id::Tenant;

    fn share(workflow: &str) -> Share {
        Share { tenant: Tenant::default(), workflow: workflow.into() }
    }

    #[test]
    fn one_workflow_never_takes_what_is_kept_for_the_others() {
        let pool = Pool::new(16, 4);
        let held: Vec<Permit> = (0..12).map(|_| pool.take_now(&share("loud")).unwrap()).collect();
        assert!(pool.take_now(&share("loud")).is_none());
        let quiet = pool.take_now(&share("quiet")).unwrap();
        assert!(pool.take_now(&share("quiet")).is_none(), "who holds one may not take a kept one");
        assert_eq!(pool.used(), 13);
        drop((held, quiet));
        assert_eq!(pool.used(), 0);
    }
    #[test]
    fn few_permits_are_not_kept() {
        for (most, one_may_have) in [(1, 1), (3, 3), (4, 3), (8, 6), (16, 12), (100, 96)] {
            let pool = Pool::new(most, 4);
            let held: Vec<Permit> = std::iter::from_fn(|| pool.take_now(&share("w"))).collect();
            assert_eq!(held.len(), one_may_have, "of {most}");
        }
    }
    /// What a workflow with a long line would do to its neighbour if the line were one for all.
    #[tokio::test]
    async fn a_line_of_one_workflow_is_no_line_for_another() {
        let pool = Pool::new(2, 0);
        let (loud, quiet) = (share("loud"), share("quiet"));
        let held = (pool.take_now(&loud).unwrap(), pool.take_now(&loud).unwrap());
        let mut line: Vec<_> = (0..100).map(|_| Box::pin(pool.take(&loud))).collect();
        for waiter in &mut line {
            assert!(waiter.now_or_never().is_none());
        }
        let mut neighbour = Box::pin(pool.take(&quiet));
        assert!((&mut neighbour).now_or_never().is_none());
        drop(held.0);
        let permit = neighbour.now_or_never().expect("the neighbour is next, past a hundred");
        drop(permit);
        assert!((&mut line[0]).now_or_never().is_some(), "and then who came first");
    }
    #[tokio::test]
    async fn who_goes_away_leaves_nothing_behind() {
        let pool = Pool::new(1, 0);
        let (a, b) = (share("a"), share("b"));
        let held = pool.take_now(&a).unwrap();
        let (mut gone, mut called) = (Box::pin(pool.take(&a)), Box::pin(pool.take(&a)));
        let mut stays = Box::pin(pool.take(&b));
        assert!((&mut gone).now_or_never().is_none() && (&mut called).now_or_never().is_none());
        assert!((&mut stays).now_or_never().is_none());
        drop(gone);
        drop(held);
        // One of the two has been called by now, and has not looked.
        drop(called);
        assert!(stays.now_or_never().is_some());
        assert_eq!(pool.used(), 0);
    }
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_is_cancelled_everything_comes_back() {
        let pool = Pool::new(4, 1);
        let takers = (0..2_000_u64).map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let share = share(&format!("w{}", n % 5));
                let mut taking = Box::pin(pool.take(&share));
                let looks = n % 4;
                for _ in 0..looks {
                    if let Some(permit) = (&mut taking).now_or_never() {
                        tokio::task::yield_now().await;
                        drop(permit);
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                if looks == 3 {
                    drop(taking.await);
                }
            })
        });
        for taker in takers.collect::<Vec<_>>() {
            taker.await.unwrap();
        }
        assert_eq!(pool.used(), 0);
        let all: Vec<Permit> = (0..4).filter_map(|n| pool.take_now(&share(&format!("x{n}")))).collect();
        assert_eq!(all.len(), 4);
    }
}
