//! Schedules, as they go over the wire.

use heddle_core::json::Json;
use heddle_core::schedule::state::{Outcome, Record, Tick, Wish};
use heddle_core::time::Timestamp;
use heddle_executor::{ScheduleView, Triggered};
use serde::Serialize;
use utoipa::ToSchema;

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Schedule)]
pub(crate) struct ScheduleDoc {
    /// Its id: `namespace.name.id`.
    pub id: String,
    /// Its workflow, `namespace/name@version`: the version whose list it stands in.
    pub workflow: String,
    /// `active`, `paused`, or `over` when nothing will come of it any more.
    pub status: String,
    /// Its cron pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of the pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Its one point in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub at: Option<String>,
    /// What becomes of a tick that meets a run: `skip`, `bufferOne`, `bufferAll`, `cancelOther` or `allowAll`.
    pub overlap: String,
    /// How late a tick may be and still count.
    pub catchup: String,
    /// The most by which a tick is put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// The input of its runs.
    #[schema(value_type = serde_json::Value)]
    pub input: Json,
    /// Who paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedDoc>,
    /// Its next times, at most five, before jitter.
    #[schema(value_type = Vec<String>, format = "date-time")]
    pub next: Vec<String>,
    /// How many ticks wait for a run to end.
    pub waiting: usize,
    /// Its last ticks, the newest first.
    pub ticks: Vec<TickDoc>,
}

/// Who paused a schedule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SchedulePaused)]
pub(crate) struct PausedDoc {
    /// Who.
    pub by: String,
    /// In their words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When.
    #[schema(format = "date-time")]
    pub at: String,
}

/// A tick, or several in a row that nothing came of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ScheduleTick)]
pub(crate) struct TickDoc {
    /// The time that its run is for.
    #[schema(format = "date-time")]
    pub at: String,
    /// `starting`, `started`, `buffered`, `skipped` or `refused`.
    pub outcome: String,
    /// Why it was skipped: `overlap`, `bufferFull`, `replaced`, `paused`, `missed` or `withdrawn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence, or why the run was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where its run stands, while the run is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub run_status: Option<heddle_store::RunStatus>,
    /// `trigger` or `backfill`, where a person asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When that was decided.
    #[schema(format = "date-time")]
    pub decided_at: String,
    /// How many ticks these are, where there are several; at least, where `more`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The last one, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub last: Option<String>,
    /// Whether there were more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// A page of schedules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SchedulePage {
    /// By id.
    pub items: Vec<ScheduleDoc>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What became of a trigger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Triggered)]
pub(crate) struct TriggeredDoc {
    /// The time that its run is for.
    #[schema(format = "date-time")]
    pub at: String,
    /// `started`, `starting`, `buffered` or `skipped`.
    pub outcome: String,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl From<ScheduleView> for ScheduleDoc {
    fn from(view: ScheduleView) -> ScheduleDoc {
        let (key, when, timezone) = view.when();
        let of = |wanted: &str| (key == wanted).then(|| when.clone());
        let schedule = &view.schedule;
        let paused = view.state.paused.as_ref().map(|stopped| PausedDoc {
            by: stopped.by.to_string(),
            reason: stopped.reason.to_string(),
            at: stopped.at.rfc3339(),
        });
        ScheduleDoc {
            id: schedule.id.to_string(),
            workflow: format!("{}@{}", view.workflow, view.version),
            status: view.status().to_owned(),
            cron: of("cron"),
            every: of("every"),
            at: of("at"),
            timezone,
            overlap: schedule.overlap.word().to_owned(),
            catchup: schedule.catchup.to_string(),
            jitter: Some(schedule.jitter).filter(|jitter| jitter.0 > 0).map(|jitter| jitter.to_string()),
            input: schedule.input.clone(),
            paused,
            next: view.next.iter().map(|at| Timestamp::rfc3339(*at)).collect(),
            waiting: view.state.buffer.len(),
            ticks: view.state.recent.iter().rev().map(|record| tick(record, &view)).collect(),
        }
    }
}

fn tick(record: &Record, view: &ScheduleView) -> TickDoc {
    let asked = record.tick.asked.as_ref();
    let run = match &record.outcome {
        Outcome::Started(run) => Some(*run),
        _ => None,
    };
    let message = match &record.outcome {
        Outcome::Skipped(why) => Some(why.sentence().to_owned()),
        Outcome::Refused(why) => Some(why.to_string()),
        _ => None,
    };
    TickDoc {
        at: at(&record.tick),
        outcome: record.outcome.word().to_owned(),
        reason: reason(&record.outcome),
        message,
        run: run.map(|run| run.to_string()),
        run_status: run.and_then(|run| view.runs.get(&run).copied()),
        asked: asked.map(|asked| match asked.wish {
            Wish::Trigger => "trigger".to_owned(),
            Wish::Backfill => "backfill".to_owned(),
        }),
        by: asked.map(|asked| asked.by.to_string()),
        decided_at: record.decided.rfc3339(),
        count: record.several.map(|several| several.count),
        last: record.several.map(|several| several.last.rfc3339()),
        more: record.several.is_some_and(|several| several.more),
    }
}

fn at(tick: &Tick) -> String {
    tick.at.rfc3339()
}

fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Skipped(why) => Some(why.word().to_owned()),
        _ => None,
    }
}

impl From<Triggered> for TriggeredDoc {
    fn from(triggered: Triggered) -> TriggeredDoc {
        let run = match &triggered.outcome {
            Outcome::Started(run) => Some(run.to_string()),
            _ => None,
        };
        let outcome = &triggered.outcome;
        TriggeredDoc {
            at: at(&triggered.tick),
            outcome: outcome.word().to_owned(),
            reason: reason(outcome),
            run,
        }
    }
}
