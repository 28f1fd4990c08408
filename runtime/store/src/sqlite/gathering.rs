//! When operations gather before the writer begins. A commit costs as much for one row as for fifty, and on a busy node
//! a writer that begins whenever it can makes many small ones, with CPU time that the steps could have. So where many
//! come that somebody waits for, transactions begin at least so far apart; where few do, nobody waits for anybody.

use std::time::{Duration, Instant};

/// Operations in a millisecond from which on they gather. A client that waits for each answer makes three or four.
const BUSY_PER_MS: f64 = 8.0;
/// From the beginning of one transaction to that of the next.
const APART: Duration = Duration::from_millis(1);
/// How far back the rate looks.
const LOOKS_BACK_MS: f64 = 20.0;

/// How many operations come lately, and when the last transaction began.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    came: u32,
    per_ms: f64,
    began: Option<Instant>,
}

impl Gathering {
    /// One came that somebody waits for.
    pub(super) fn came(&mut self) {
        self.came += 1;
    }
    /// A transaction begins.
    pub(super) fn begins(&mut self, now: Instant) {
        let came = f64::from(std::mem::take(&mut self.came));
        if let Some(before) = self.began.replace(now) {
            let ms = (now.saturating_duration_since(before).as_secs_f64() * 1e3).max(1e-3);
            self.per_ms += (came / ms - self.per_ms) * (1.0 - (-ms / LOOKS_BACK_MS).exp());
        }
    }
    /// How much longer the next one had better wait.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let began = self.began.filter(|_| self.per_ms >= BUSY_PER_MS)?;
        APART.checked_sub(now.saturating_duration_since(began)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many transactions, this far apart, with so many operations that came before each.
    fn run(gathering: &mut Gathering, from: Instant, count: u32, apart: Duration, each: u32) -> Instant {
        (1..=count).fold(from, |_, turn| {
            (0..each).for_each(|_| gathering.came());
            gathering.begins(from + apart * turn);
            from + apart * turn
        })
    }

    #[test]
    fn a_busy_node_gathers_and_a_single_client_never_waits() {
        let (mut gathering, us) = (Gathering::default(), Duration::from_micros);
        let now = run(&mut gathering, Instant::now(), 1_000, us(280), 1);
        assert_eq!(gathering.patience(now), None);
        let now = run(&mut gathering, now, 200, us(250), 6);
        assert_eq!(gathering.patience(now + us(300)), Some(us(700)));
        assert_eq!(gathering.patience(now + us(1_000)), None);
        // Gathered, as many come as before; it stays so until fewer do.
        let now = run(&mut gathering, now, 200, us(1_000), 24);
        assert!(gathering.patience(now).is_some());
        let now = run(&mut gathering, now, 40, us(1_000), 3);
        assert_eq!(gathering.patience(now), None);
    }
    #[test]
    fn after_a_pause_the_first_one_does_not_wait() {
        let (mut gathering, us) = (Gathering::default(), Duration::from_micros);
        let now = run(&mut gathering, Instant::now(), 200, us(1_000), 24);
        assert_eq!(gathering.patience(now + us(5_000)), None);
        gathering.came();
        gathering.begins(now + us(5_000_000));
        assert_eq!(gathering.patience(now + us(5_000_000)), None);
    }
}
