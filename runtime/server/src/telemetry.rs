//! What a node tells its operators: log lines on stderr or in a rotated file, and metrics in Prometheus' text form.

mod rotate;

use crate::config::{LogFormat, Telemetry};
use anyhow::Context as _;
use heddle_executor::telemetry::{METRICS, MetricKind};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use rotate::Rotated;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Upper bounds of the buckets of every duration, in seconds: from a cached step to an hour.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 300.0, 3600.0,
];

/// A library that says too much.
const CHATTY: &str = "rmcp";

/// Starts logging for the whole process.
///
/// # Errors
/// When the log file cannot be opened, or logging has been started before.
pub fn log_to(telemetry: &Telemetry) -> anyhow::Result<()> {
    let wrong = || format!("`telemetry.level` is `{}`", telemetry.level);
    let mut filter: EnvFilter = telemetry.level.parse().with_context(wrong)?;
    // It tells of each request what nobody but its authors wants to know; whoever does, says so.
    if !telemetry.level.contains(CHATTY) {
        filter = filter.add_directive(format!("{CHATTY}=warn").parse()?);
    }
    let (writer, colour) = match &telemetry.file {
        Some(path) => {
            let file = Rotated::open(path.clone(), telemetry.file_bytes, telemetry.files)
                .with_context(|| format!("the log file `{}` cannot be opened", path.display()))?;
            (BoxMakeWriter::new(file), false)
        }
        None => (BoxMakeWriter::new(std::io::stderr), crate::cli::paint::stderr_has_colour()),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    let started = match telemetry.format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging is on already: {error}"))
}

/// The metrics of the process. The first call installs the recorder; later ones give the same.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|m| m.kind == MetricKind::Histogram) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), SECONDS)
            .expect("the list of buckets is a constant that is not empty");
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder was installed first; `/metrics` will be empty");
    }
    for metric in METRICS {
        // Without a label it can be shown from the start; with labels it appears with its first value.
        let is_plain = !metric.help.contains(", by ");
        match metric.kind {
            MetricKind::Counter => {
                metrics::describe_counter!(metric.name, metric.help);
                if is_plain {
                    metrics::counter!(metric.name).absolute(0);
                }
            }
            MetricKind::Gauge => {
                metrics::describe_gauge!(metric.name, metric.help);
                if is_plain {
                    metrics::gauge!(metric.name).set(0.0);
                }
            }
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    handle
}
