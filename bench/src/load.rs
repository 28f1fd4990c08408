//! A closed loop: so many clients, each sending its next request when it has the answer to the last one.

use crate::http::{Client, find};
use anyhow::bail;
use futures_util::future::try_join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where in a body the proof of success stands: a run's document opens with its status.
const PROOF_WITHIN: usize = 1_024;

/// What every client sends, and what must be in the answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The request, whole.
    pub(crate) request: Arc<[u8]>,
    /// Text near the beginning of each good answer.
    pub(crate) proof: &'static str,
}

/// For how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Not counted.
    pub(crate) warm: Duration,
    /// Counted.
    pub(crate) counted: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Seconds that were counted.
    pub(crate) seconds: f64,
    /// Microseconds of every answer that came within them, in ascending order.
    latencies_us: Vec<u32>,
}

impl Load {
    /// Answers counted.
    pub(crate) fn done(&self) -> u64 {
        self.latencies_us.len() as u64
    }
    /// Answers in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies_us.len() as f64 / self.seconds
    }
    /// The latency, in milliseconds, that this share of the answers stayed within.
    pub(crate) fn within_ms(&self, share: f64) -> f64 {
        f64::from(percentile(&self.latencies_us, share)) / 1_000.0
    }
}

/// The value that this share of the values, which ascend, do not exceed.
pub(crate) fn percentile(ascending: &[u32], share: f64) -> u32 {
    let at = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(at.saturating_sub(1)).copied().unwrap_or(0)
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs the loop. `meter` is read when counting begins and when it ends; the difference comes with the load.
pub(crate) async fn closed_loop(
    asked: &Asked,
    clients: usize,
    span: Span,
    meter: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<(Load, f64)> {
    let begin = Instant::now() + span.warm;
    let end = begin + span.counted;
    let meters = async {
        tokio::time::sleep_until(begin.into()).await;
        let before = meter()?;
        tokio::time::sleep_until(end.into()).await;
        anyhow::Ok(meter()? - before)
    };
    let loops = try_join_all((0..clients).map(|_| tokio::spawn(one_client(asked.clone(), begin, end))));
    let (loops, metered) = tokio::join!(async { anyhow::Ok(loops.await?) }, meters);
    let mut latencies_us = Vec::new();
    for counted in loops? {
        latencies_us.extend(counted?);
    }
    latencies_us.sort_unstable();
    Ok((Load { seconds: span.counted.as_secs_f64(), latencies_us }, metered?))
}

async fn one_client(asked: Asked, begin: Instant, end: Instant) -> anyhow::Result<Vec<u32>> {
    let mut client = Client::connect(asked.address).await?;
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        let answer = client.send(&asked.request).await?;
        let near = &answer.body[..answer.body.len().min(PROOF_WITHIN)];
        if answer.status != 200 || find(near, asked.proof.as_bytes()).is_none() {
            let body = String::from_utf8_lossy(near);
            bail!("a request was answered with {} and not with `{}`: {body}", answer.status, asked.proof);
        }
        let now = Instant::now();
        if now >= begin && now <= end {
            latencies.push(now.duration_since(sent).as_micros().min(u128::from(u32::MAX)) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 0.5), 100);
        assert_eq!(percentile(&values, 0.99), 198);
        assert_eq!(percentile(&[7], 0.99), 7);
        assert_eq!(percentile(&[], 0.99), 0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
