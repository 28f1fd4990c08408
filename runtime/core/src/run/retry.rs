//! What becomes of a failed attempt.

use super::Run;
use super::event::{NoRetry, Node, RetryVerdict};
use super::scope::{Values, failure_value};
use crate::outcome::{Failure, FailureKind};
use crate::plan::{Backoff, Jitter, Retry};
use crate::planted::{self, Bug};
use crate::time::{Span, Timestamp};
use sha2::{Digest, Sha256};

/// No wait is longer than this, whatever a plugin asks for.
const LONGEST_WAIT_MS: u64 = 86_400_000;

/// Before the second attempt, where an operator asks for attempts and says no more.
const DEFAULT_DELAY: Span = Span(1_000);
/// The longest wait of a policy that an operator gave.
const DEFAULT_LONGEST: Span = Span(60_000);

impl Run {
    pub(super) fn retry_verdict(
        &self,
        node: Node,
        attempt: u32,
        failure: &Failure,
        now: Timestamp,
        values: &Values,
    ) -> RetryVerdict {
        let step = &self.plan.steps[node.step as usize];
        let by_default = self.default_retry();
        let Some(retry) = step.retry.as_ref().or(by_default.as_ref()) else {
            return RetryVerdict::No(NoRetry::NoPolicy);
        };
        let Some(state) = self.steps[node.step as usize].node(node.item) else {
            return RetryVerdict::No(NoRetry::NoPolicy);
        };
        if state.alternative > 0 {
            // Each alternative is tried once.
            return RetryVerdict::No(NoRetry::AttemptsUsed);
        }
        let most = retry.attempts + u32::from(planted::is(Bug::OneAttemptTooMany));
        if state.failures + 1 >= most {
            return RetryVerdict::No(NoRetry::AttemptsUsed);
        }
        match &retry.when {
            // What else there is to do does not wait for it.
            None if failure.kind == FailureKind::CircuitOpen && !step.fallback.is_empty() => {
                return RetryVerdict::No(NoRetry::NotRetryable);
            }
            None if !failure.retryable => return RetryVerdict::No(NoRetry::NotRetryable),
            None => {}
            Some(when) => {
                let held = self.node_scope(node, values).and_then(|mut scope| {
                    scope.error = failure_value(failure);
                    when.eval_bool(&scope, &mut self.budget())
                });
                if held != Ok(true) {
                    return RetryVerdict::No(NoRetry::ConditionFalse);
                }
            }
        }
        let wait = wait_ms(retry, state.failures + 1, self.jitter_seed(node, attempt));
        let at = now.plus_ms(wait.max(failure.retry_after_ms.unwrap_or(0)).min(LONGEST_WAIT_MS));
        match (retry.duration, state.first_started()) {
            (Some(most), Some(first)) if at.since_ms(first) > most.0 => {
                RetryVerdict::No(NoRetry::DurationUsed)
            }
            _ => RetryVerdict::At(at),
        }
    }

    /// The policy of steps that have none of their own, where the operator gave one.
    fn default_retry(&self) -> Option<Retry> {
        let defaults = self.accepted.as_ref()?.defaults?;
        Some(Retry {
            delay: defaults.retry_delay.unwrap_or(DEFAULT_DELAY),
            backoff: Backoff::Exponential { factor: 2.0, max: Some(DEFAULT_LONGEST) },
            jitter: Jitter::PlusMinus,
            attempts: defaults.retry_attempts.filter(|attempts| *attempts > 1)?,
            duration: None,
            when: None,
        })
    }

    /// A number from 0 to 2^32 that is always the same for this attempt, and different for its neighbours.
    fn jitter_seed(&self, node: Node, attempt: u32) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.id.0.to_be_bytes());
        for part in [node.step, node.item.unwrap_or(u32::MAX), attempt] {
            hash.update(part.to_be_bytes());
        }
        let bytes = hash.finalize();
        u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// Milliseconds before the next attempt, when so many have failed.
fn wait_ms(retry: &Retry, failures: u32, seed: u64) -> u64 {
    let capped = |ms: f64, max: Option<Span>| {
        (ms.min(LONGEST_WAIT_MS as f64) as u64).min(max.map_or(LONGEST_WAIT_MS, |m| m.0))
    };
    let base = retry.delay.0 as f64;
    let delay = match retry.backoff {
        Backoff::Constant => capped(base, None),
        Backoff::Linear { max } => capped(base * f64::from(failures), max),
        Backoff::Exponential { factor, max } => capped(base * factor.powi(failures as i32 - 1), max),
    };
    let share = |of: u64| (of.saturating_mul(seed)) >> 32;
    match retry.jitter {
        Jitter::None => delay,
        Jitter::Full => share(delay),
        Jitter::PlusMinus => delay / 2 + share(delay),
        Jitter::Added { from, to } => delay + from.0 + share(to.0.saturating_sub(from.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(backoff: Backoff, jitter: Jitter) -> Retry {
        Retry { delay: Span(100), backoff, jitter, attempts: 9, duration: None, when: None }
    }

    #[test]
    fn waits_grow_and_stay_within_their_bounds() {
        let half = 1 << 31;
        let grow = |backoff, n| wait_ms(&retry(backoff, Jitter::None), n, half);
        assert_eq!([1, 2, 3].map(|n| grow(Backoff::Constant, n)), [100, 100, 100]);
        assert_eq!([1, 2, 3].map(|n| grow(Backoff::Linear { max: Some(Span(250)) }, n)), [100, 200, 250]);
        let exponential = Backoff::Exponential { factor: 2.0, max: Some(Span(350)) };
        assert_eq!([1, 2, 3, 60].map(|n| grow(exponential, n)), [100, 200, 350, 350]);
        assert_eq!(grow(Backoff::Exponential { factor: 100.0, max: None }, 90), LONGEST_WAIT_MS);
        let spread = |jitter, seed| wait_ms(&retry(Backoff::Constant, jitter), 1, seed);
        let most = (1 << 32) - 1;
        assert_eq!((spread(Jitter::Full, 0), spread(Jitter::Full, most)), (0, 99));
        assert_eq!((spread(Jitter::PlusMinus, 0), spread(Jitter::PlusMinus, most)), (50, 149));
        let added = Jitter::Added { from: Span(10), to: Span(20) };
        assert_eq!((spread(added, 0), spread(added, most)), (110, 119));
    }
}
