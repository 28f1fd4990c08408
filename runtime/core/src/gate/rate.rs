//! So many in so long, evenly: each begins a share of the period after the one before, and after a quiet time a few may
//! begin at once.

use crate::time::Span;

/// What a key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How many.
    pub limit: u32,
    /// In how long.
    pub period: Span,
    /// How many at once after a quiet time, from 1.
    pub burst: u32,
    /// What becomes of one that comes too early.
    pub on_limit: OnLimit,
}

/// What becomes of one that comes too early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// It waits for its turn. The default.
    #[default]
    Queue,
    /// It fails.
    Reject,
}

impl Rule {
    /// From one to the next, in microseconds.
    fn apart_us(self) -> u64 {
        (self.period.0.saturating_mul(1_000) / u64::from(self.limit.max(1))).max(1)
    }
}

/// What a key has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Up to when it has had its share, in microseconds of whatever clock the caller keeps.
    had_until_us: u64,
}

impl Account {
    /// How long the next one has to wait, in microseconds: 0 when it may begin now.
    pub fn wait_us(self, rule: Rule, now_us: u64) -> u64 {
        let ahead = rule.apart_us().saturating_mul(u64::from(rule.burst.max(1) - 1));
        self.under(rule, now_us).saturating_sub(ahead).saturating_sub(now_us)
    }
    /// One begins.
    pub fn begin(&mut self, rule: Rule, now_us: u64) {
        self.had_until_us = self.under(rule, now_us).max(now_us).saturating_add(rule.apart_us());
    }
    /// Up to when it has had its share under this rule, whatever rule it had it by: never further ahead than a whole
    /// burst, so that a rule which is given anew holds at once.
    fn under(self, rule: Rule, now_us: u64) -> u64 {
        let burst = rule.apart_us().saturating_mul(u64::from(rule.burst.max(1)));
        self.had_until_us.min(now_us.saturating_add(burst))
    }
    /// Whether nothing is left of what it had, so that forgetting it changes nothing.
    pub fn is_level(self, now_us: u64) -> bool {
        self.had_until_us <= now_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(limit: u32, period_ms: u64, burst: u32) -> Rule {
        Rule { limit, period: Span(period_ms), burst, on_limit: OnLimit::Queue }
    }
    /// Begins as early as it may, so often; gives when each began.
    fn begun(rule: Rule, count: usize, from_us: u64) -> Vec<u64> {
        let (mut account, mut now) = (Account::default(), from_us);
        let mut times = Vec::new();
        for _ in 0..count {
            now += account.wait_us(rule, now);
            assert_eq!(account.wait_us(rule, now), 0);
            account.begin(rule, now);
            times.push(now);
        }
        times
    }

    #[test]
    fn they_begin_evenly_and_a_burst_at_once() {
        assert_eq!(begun(rule(10, 1_000, 1), 4, 7), [7, 100_007, 200_007, 300_007]);
        assert_eq!(begun(rule(10, 1_000, 3), 5, 0), [0, 0, 0, 100_000, 200_000]);
    }
    #[test]
    fn a_quiet_time_gives_no_more_than_a_burst() {
        let rule = rule(10, 1_000, 2);
        let mut account = Account::default();
        account.begin(rule, 0);
        let later = 60_000_000;
        assert!(account.is_level(later));
        account.begin(rule, later);
        assert_eq!(account.wait_us(rule, later), 0);
        account.begin(rule, later);
        assert_eq!(account.wait_us(rule, later), 100_000);
    }
    /// In any stretch of the length of the period at most `limit + burst - 1` begin, whatever the numbers.
    #[test]
    fn no_period_has_more_than_its_share() {
        for (limit, period, burst) in [(1, 10, 1), (3, 1_000, 1), (7, 13, 5), (50, 1_000, 10), (999, 1, 4)] {
            let rule = rule(limit, period, burst);
            let times = begun(rule, 500, 3);
            // Shares are cut to whole microseconds, so a stretch is taken that is shorter by what that adds up to.
            let stretch = (period * 1_000).saturating_sub(u64::from(limit));
            for (at, from) in times.iter().enumerate() {
                let within = times[at..].iter().take_while(|time| **time < from + stretch).count();
                assert!(within <= (limit + burst - 1) as usize, "{within} in {period} ms of {rule:?}");
            }
        }
    }
    #[test]
    fn a_rule_that_is_given_anew_holds_at_once() {
        let mut account = Account::default();
        account.begin(rule(1, 3_600_000, 1), 0);
        assert_eq!(account.wait_us(rule(1, 3_600_000, 1), 0), 3_600_000_000);
        assert_eq!(account.wait_us(rule(100, 1_000, 1), 0), 10_000);
    }
    #[test]
    fn absurd_numbers_do_not_overflow() {
        let rule = rule(1, u64::MAX, u32::MAX);
        let mut account = Account::default();
        account.begin(rule, u64::MAX);
        assert_eq!(account.wait_us(rule, 0), 0, "a burst that nobody can use up");
    }
}
