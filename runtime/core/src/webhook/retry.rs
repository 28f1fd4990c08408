//! What becomes of a message by what its receiver answered: it is delivered, sent again later, or given up.

use crate::limits::Limits;
use crate::outcome::FailureKind;
use crate::time::Timestamp;
use crate::webhook::DeliveryId;

/// The longest that a message waits for its next try.
const MOST_WAIT_MS: u64 = 24 * 3_600_000;
/// How much longer each wait is than the one before. From five seconds, ten tries take about three days.
const FACTOR: u64 = 5;

/// How one try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver answered.
    Status {
        /// The status.
        status: u16,
        /// Its `Retry-After`, as it came.
        retry_after: Option<String>,
    },
    /// It did not.
    Failed {
        /// `egress_denied`, `egress_failed` or `egress_timeout`.
        kind: FailureKind,
        /// One sentence for a person.
        message: String,
    },
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Delivered,
    /// It is sent again at this time.
    Again {
        /// When.
        at: Timestamp,
        /// Nothing goes to this endpoint before then: it says itself that it has too much to do.
        hold: bool,
    },
    /// Nobody will take it.
    GivenUp,
    /// Nobody will take it, nor any other: the endpoint is gone.
    Gone,
}

/// Judges a try. `tries` counts it and those before it, since the message was last told to go.
///
/// Every status that is not a success is tried again but 410, as Standard Webhooks has it: 401 and 404 are what
/// receivers answer while they are being deployed. An address that may not be dialled stays so until a person does
/// something, so it is given up at once.
pub fn judge(answer: &Answer, id: DeliveryId, tries: u32, now: Timestamp, limits: &Limits) -> Verdict {
    let (busy, asked) = match answer {
        Answer::Status { status: 200..=299, .. } => return Verdict::Delivered,
        Answer::Status { status: 410, .. } => return Verdict::Gone,
        Answer::Failed { kind: FailureKind::EgressDenied, .. } => return Verdict::GivenUp,
        Answer::Status { status: 429 | 503, retry_after } => {
            (true, retry_after.as_deref().and_then(|text| wait_asked(text, now)))
        }
        _ => (false, None),
    };
    if u64::from(tries) >= limits.webhook_tries {
        return Verdict::GivenUp;
    }
    let wait = own_wait(id, tries, limits.webhook_retry_ms).max(asked.unwrap_or(0)).min(MOST_WAIT_MS);
    Verdict::Again { at: now.plus_ms(wait), hold: busy && asked.is_some() }
}

/// The wait after so many tries: five times longer each time, and spread by a fifth to either side, so that what failed
/// together does not come back together.
fn own_wait(id: DeliveryId, tries: u32, first_ms: u64) -> u64 {
    let plain = first_ms.saturating_mul(FACTOR.saturating_pow(tries.saturating_sub(1))).min(MOST_WAIT_MS);
    let spread = plain / 5;
    let seed = crate::id::Digest::of(format!("{id}/{tries}").as_bytes());
    let hash = u64::from_be_bytes(seed.0[..8].try_into().unwrap_or_default());
    plain - spread + hash % (2 * spread + 1)
}

/// What `Retry-After` asks for, in milliseconds: a number of seconds, or a date.
fn wait_asked(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let at = u64::try_from(date.as_millisecond()).ok()?;
    Some(Timestamp(at).since_ms(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(784_111_777_000);
    const ID: DeliveryId = DeliveryId(7);

    fn status(status: u16, retry_after: Option<&str>) -> Answer {
        Answer::Status { status, retry_after: retry_after.map(str::to_owned) }
    }
    fn wait(answer: &Answer, tries: u32) -> (u64, bool) {
        match judge(answer, ID, tries, NOW, &Limits::default()) {
            Verdict::Again { at, hold } => (at.since_ms(NOW), hold),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_and_what_becomes_of_them() {
        let judged = |answer: &Answer, tries| judge(answer, ID, tries, NOW, &Limits::default());
        assert_eq!(judged(&status(200, None), 1), Verdict::Delivered);
        assert_eq!(judged(&status(204, None), 10), Verdict::Delivered);
        assert_eq!(judged(&status(410, None), 1), Verdict::Gone);
        for code in [301, 307, 400, 401, 404, 429, 500, 503] {
            assert!(matches!(judged(&status(code, None), 9), Verdict::Again { .. }), "{code}");
            assert_eq!(judged(&status(code, None), 10), Verdict::GivenUp, "{code}");
        }
        let failed = |kind| Answer::Failed { kind, message: String::new() };
        assert_eq!(judged(&failed(FailureKind::EgressDenied), 1), Verdict::GivenUp);
        assert!(matches!(judged(&failed(FailureKind::EgressTimeout), 1), Verdict::Again { hold: false, .. }));
    }

    #[test]
    fn waits_grow_and_are_spread_and_bounded() {
        let waits: Vec<u64> = (1..10).map(|tries| wait(&status(500, None), tries).0).collect();
        for (wait, plain) in waits.iter().zip([5_000, 25_000, 125_000, 625_000, 3_125_000, 15_625_000]) {
            assert!(*wait >= plain * 4 / 5 && *wait <= plain * 6 / 5, "{waits:?}");
        }
        let hours = waits.iter().sum::<u64>() / 3_600_000;
        assert!((60..=80).contains(&hours), "{hours} h: {waits:?}");
        assert!(waits.iter().all(|wait| *wait <= MOST_WAIT_MS));
        let other = own_wait(DeliveryId(8), 1, 5_000);
        assert_ne!(other, waits[0], "what failed together does not come back together");
    }

    #[test]
    fn a_receiver_says_when_to_come_again() {
        assert_eq!(wait(&status(429, Some("120")), 1), (120_000, true));
        assert_eq!(wait(&status(503, Some("Sun, 06 Nov 1994 09:49:37 GMT")), 1), (3_600_000, true));
        assert_eq!(wait(&status(429, Some("999999999999")), 1), (MOST_WAIT_MS, true));
        assert!(wait(&status(429, Some("1")), 3).0 >= 100_000, "it may ask for more, not for less");
        assert!(!wait(&status(429, Some("soon")), 1).1);
        assert!(!wait(&status(500, Some("120")), 1).1, "only those two mean it so");
        assert_eq!(wait(&status(503, Some("Sun, 06 Nov 1994 07:49:37 GMT")), 1).0, own_wait(ID, 1, 5_000));
    }
}
