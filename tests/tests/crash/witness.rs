//! What was seen from outside the store: each attempt of `tool:witness` writes a line to the node's log before it does
//! anything else. The node hands the line to the system at once, so it outlives the process.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One effect.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) step: String,
    pub(crate) item: Option<u64>,
    pub(crate) attempt: u64,
    pub(crate) key: String,
    /// Milliseconds since the epoch.
    pub(crate) at: u64,
    /// The process that did it.
    pub(crate) life: usize,
}

/// The processes, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Lives(Vec<Life>);

#[derive(Debug)]
struct Life {
    /// Bytes of the log when it began.
    log_from: u64,
    began: u64,
}

impl Lives {
    /// The next process is about to begin: the one before it is gone.
    pub(crate) fn begin(&mut self, log: &Path) {
        let log_from = std::fs::metadata(log).map_or(0, |file| file.len());
        let before = now();
        // Times are cut to milliseconds, and no two processes may share one.
        while now() == before {
            std::hint::spin_loop();
        }
        self.0.push(Life { log_from, began: now() });
    }
    /// Which process lived then.
    pub(crate) fn at(&self, time: u64) -> usize {
        self.0.partition_point(|life| life.began <= time).saturating_sub(1)
    }
    fn wrote(&self, place: u64) -> usize {
        self.0.partition_point(|life| life.log_from <= place).saturating_sub(1)
    }
    pub(crate) fn last(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What each process has written of a line: a kill can cut one off where a page of the file ends, and the next process
/// goes on right behind it.
fn records(line: &str) -> Vec<&str> {
    let begins = line.match_indices(BEGIN).map(|(at, _)| at).filter(|at| *at > 0);
    let bounds: Vec<usize> = [0].into_iter().chain(begins).chain([line.len()]).collect();
    bounds.windows(2).map(|pair| &line[pair[0]..pair[1]]).collect()
}

/// How every record begins.
const BEGIN: &str = "{\"timestamp\":\"";

/// What a record says that a kill has cut off behind its message.
fn cut_off(record: &str) -> Value {
    let between = |before: &str| {
        let rest = &record[record.find(before)? + before.len()..];
        rest.split_once('"').map(|(text, _)| text)
    };
    let (Some(timestamp), Some(message)) = (between(BEGIN), between("\"message\":\"")) else {
        return Value::Null;
    };
    let words: Vec<&str> = message.split(' ').collect();
    let ["witness", run, step, _, attempt, _] = words[..] else { return Value::Null };
    let attempt: Option<u64> = attempt.parse().ok();
    json!({"timestamp": timestamp, "message": message, "run": run, "step": step, "attempt": attempt})
}

/// Everything that was seen, by run.
pub(crate) fn read(log: &Path, lives: &Lives) -> BTreeMap<String, Vec<Seen>> {
    let text = std::fs::read_to_string(log).unwrap();
    let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    let mut place = 0;
    for line in text.split_inclusive('\n').flat_map(records) {
        let life = lives.wrote(place);
        place += line.len() as u64;
        if !line.contains("\"message\":\"witness ") {
            continue;
        }
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| cut_off(line));
        // Cut off before it said anything.
        let Some(message) = entry["message"].as_str() else { continue };
        let words: Vec<&str> = message.split(' ').collect();
        let ["witness", run, step, item, attempt, key] = words[..] else { continue };
        // The line says who it is; the node says of whom it is.
        assert_eq!((entry["run"].as_str(), entry["step"].as_str()), (Some(run), Some(step)), "{line}");
        assert_eq!(entry["attempt"].as_u64(), attempt.parse().ok(), "{line}");
        let at = millis(entry["timestamp"].as_str().unwrap());
        let (item, attempt) = (item.parse().ok(), attempt.parse().unwrap());
        seen.entry(run.to_owned()).or_default().push(Seen {
            step: step.to_owned(),
            item,
            attempt,
            key: key.to_owned(),
            at,
            life,
        });
    }
    seen
}

/// Milliseconds since the epoch of a time in UTC as RFC 3339 writes it.
pub(crate) fn millis(time: &str) -> u64 {
    let number =
        |from: usize, to: usize| time[from..to].parse::<i64>().unwrap_or_else(|e| panic!("{time}: {e}"));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Years begin in March here, so that the odd day is the last one.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    (seconds * 1000 + number(20, 23)) as u64
}

#[test]
fn times_are_read() {
    assert_eq!(millis("1970-01-01T00:00:00.000Z"), 0);
    assert_eq!(millis("2026-11-21T02:34:00.886123Z"), 1_795_228_440_886);
}

#[test]
fn what_a_kill_cuts_off_is_read_as_far_as_it_goes() {
    let whole = r#"{"timestamp":"2026-11-21T22:29:59.802043Z","level":"DEBUG","message":"witness r2 a - 1 k","run":"r2"}"#;
    let cut = r#"{"timestamp":"2026-11-21T22:29:59.765360Z","level":"DEBUG","message":"witness r1 b - 2 k","run":"r"#;
    let line = format!("{cut}{whole}");
    assert_eq!(records(&line), [cut, whole]);
    let said = cut_off(cut);
    assert_eq!((&said["run"], &said["step"], &said["attempt"]), (&json!("r1"), &json!("b"), &json!(2)));
    assert_eq!(cut_off(&cut[..80]), Value::Null);
}
