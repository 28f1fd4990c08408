//! Schedules: what the language accepts, and what becomes of ticks, told as small stories.

#![allow(clippy::unwrap_used, reason = "tests")]

use heddle_core::document::Doc;
use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::{Plan, schedule_of, schedules_of};
use heddle_core::schedule::Schedule;
use heddle_core::schedule::machine::{Bounds, Changed, Input, Order, Refusal, decide, wake};
use heddle_core::schedule::state::{Outcome, Record, State, Tick};
use heddle_core::time::Timestamp;

const HEAD: &str = "document: {dsl: \"1.0\", namespace: acme, name: demo, version: 1.0.0}\n";

fn faults(list: &str) -> String {
    let text = format!("{HEAD}schedule: {list}\nsteps: {{a: {{set: 1}}}}\n");
    let doc = Doc::parse(&text, &Limits::default()).unwrap();
    let faults = Plan::read(&doc, None, &Limits::default()).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_list_of_schedules_reads() {
    let text = format!(
        r#"{HEAD}
input: {{schema: {{type: object, required: [batch], properties: {{batch: {{type: string}}, n: {{type: integer, default: 3}}}}}}}}
schedule:
  - {{ cron: "0 6 * * 1-5", timezone: Europe/Madrid, overlap: bufferOne, catchup: 2h, jitter: 30s, input: {{ batch: daily }} }}
  - {{ id: often, every: 15m, input: {{ batch: often }} }}
  - {{ at: 2026-12-01T06:00:00Z, input: {{ batch: once }} }}
steps: {{a: {{set: "${{ run.scheduledAt }}"}}}}
"#
    );
    let doc = Doc::parse(&text, &Limits::default()).unwrap();
    let plan = Plan::read(&doc, None, &Limits::default()).unwrap();
    let read = schedules_of(&plan.source).unwrap();
    let ids: Vec<&str> = read.iter().map(|s| &*s.id).collect();
    assert_eq!(ids[1..], ["acme.demo.often", "acme.demo.at-20261201t060000z"]);
    assert!(ids[0].starts_with("acme.demo.cron-"), "{}", ids[0]);
    assert_eq!(
        (read[0].overlap.word(), read[0].catchup.0, read[0].jitter.0),
        ("bufferOne", 7_200_000, 30_000)
    );
    assert_eq!(read[1].input.text(), r#"{"batch":"often"}"#);
    let again = schedule_of("acme.demo", &read[0].entry).unwrap();
    assert_eq!((again.id, again.timing.text()), (read[0].id.clone(), read[0].timing.text()));
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    let times: Vec<String> = read[0].next_times(now, 2).into_iter().map(Timestamp::rfc3339).collect();
    assert_eq!(times, ["2026-11-23T05:00:00.000Z", "2026-11-24T05:00:00.000Z"]);
}

#[test]
fn every_fault_has_its_path() {
    for (list, path, says) in [
        (r#"[{cron: "0 6 * * 9"}]"#, "/schedule/0/cron", "the day-of-week field `9`"),
        (r#"[{cron: "0 0 30 2 *"}]"#, "/schedule/0/cron", "never comes"),
        (
            r#"[{cron: "0 6 * * *", timezone: Europe/Madird}]"#,
            "/schedule/0/timezone",
            "did you mean `Europe/Madrid`?",
        ),
        ("[{cron: 6}]", "/schedule/0/cron", "wants a pattern in quotes"),
        ("[{every: 15}]", "/schedule/0/every", "`15` has no unit"),
        ("[{every: 10ms}]", "/schedule/0", "the limit schedule_interval_ms is 1s"),
        ("[{every: 1m, timezone: UTC}]", "/schedule/0/timezone", "only a `cron`"),
        ("[{at: tomorrow}]", "/schedule/0/at", "`tomorrow` is not a point in time"),
        ("[{at: 5}]", "/schedule/0/at", "wants a point in time"),
        ("[{}]", "/schedule/0", "exactly one of `cron`, `every` and `at`"),
        ("[{every: 1m, at: 2026-12-01T06:00:00Z}]", "/schedule/0", "exactly one of"),
        ("[{every: 1m, overlap: Skip}]", "/schedule/0/overlap", "did you mean `skip`?"),
        ("[{every: 1m, catchup: 1s}]", "/schedule/0/catchup", "at least 10s"),
        ("[{every: 1m, jitter: 60s}]", "/schedule/0", "`jitter` of 1m is not shorter than the 1m"),
        ("[{every: 1m, jitter: 5}]", "/schedule/0/jitter", "no unit"),
        ("[{every: 1m, id: A}]", "/schedule/0/id", "wants a name"),
        ("[{every: 1m}, {every: 60s}]", "/schedule/1", "`every-1m` stands twice"),
        (r#"[{every: 1m, input: {a: ["${ 1 }"]}}]"#, "/schedule/0/input/a/0", "is not computed"),
        ("[{every: 1m, overlaps: skip}]", "/schedule/0/overlaps", "did you mean `overlap`?"),
        ("{every: 1m}", "/schedule", "wants a list"),
    ] {
        let found = faults(list);
        assert!(found.contains(&format!("{path}: ")) && found.contains(says), "{list}: {found}");
    }
    assert_eq!(faults("[{every: 1m}, {every: 2m}]"), "");
    let many = format!("[{}]", vec!["{every: 1m}"; 17].join(", "));
    assert!(faults(&many).contains("the limit schedules is 16"));
}

#[test]
fn an_input_that_the_workflow_refuses_is_a_fault() {
    let text = format!(
        "{HEAD}input: {{schema: {{type: object, required: [n], properties: {{n: {{type: integer}}}}}}}}\nschedule: [{{every: 1m}}, {{every: 2m, input: {{n: x}}}}]\nsteps: {{a: {{set: 1}}}}\n"
    );
    let doc = Doc::parse(&text, &Limits::default()).unwrap();
    let faults = Plan::read(&doc, None, &Limits::default()).unwrap_err();
    let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
    assert_eq!(paths, ["/schedule/0/input", "/schedule/1/input/n"], "{faults:?}");
}

/// A schedule under way, told what happens by the second.
struct Story {
    schedule: Schedule,
    state: State,
    bounds: Bounds,
    runs: u128,
}

impl Story {
    fn new(entry: &str) -> Story {
        let doc = Doc::parse(entry, &Limits::default()).unwrap();
        let schedule = schedule_of("acme.demo", &Json::from_value(doc.value())).unwrap();
        let bounds = Bounds { buffer: 3, backfill: 5, history: 50 };
        Story { schedule, state: State::since(Timestamp(0)), bounds, runs: 0 }
    }
    fn wish(&mut self, second: u64, input: &Input) -> Result<(), Refusal> {
        let now = Timestamp(second * 1000);
        for fact in decide(&self.schedule, &self.bounds, &self.state, input, now)? {
            self.state.apply(&fact, now, &self.bounds);
        }
        Ok(())
    }
    fn tell(&mut self, second: u64, input: &Input) {
        self.wish(second, input).unwrap();
    }
    /// The time has come, and what is owed is started.
    fn due(&mut self, second: u64) {
        self.tell(second, &Input::Due);
        self.start(second);
    }
    fn start(&mut self, second: u64) {
        for owed in self.state.starting.clone() {
            self.runs += 1;
            self.tell(second, &Input::Started(owed.tick, RunId(self.runs)));
        }
    }
    /// The oldest run that is looked at ends.
    fn end(&mut self, second: u64) {
        let run = self.state.running[0].run;
        self.tell(second, &Input::Ended(run));
        self.start(second);
    }
    fn pause(&mut self, second: u64) {
        self.tell(second, &Input::Pause { by: "ada".into(), reason: "fair".into() });
    }
    fn trigger(&mut self, second: u64) {
        self.tell(second, &Input::Trigger { id: format!("t{second}").into(), by: "ada".into() });
        self.start(second);
    }
    fn backfill(&mut self, second: u64, from: u64, to: u64, order: Order) -> Result<(), Refusal> {
        let (from, to) = (Timestamp(from * 1000), Timestamp(to * 1000));
        let id = format!("b{second}").into();
        self.wish(second, &Input::Backfill { id, by: "ada".into(), from, to, order })?;
        self.start(second);
        Ok(())
    }
    /// What became of the ticks, by their second.
    fn told(&self) -> String {
        let word = |record: &Record| {
            let what = match &record.outcome {
                Outcome::Started(run) => format!("run{}", run.0),
                Outcome::Skipped(why) => why.word().to_owned(),
                other => other.word().to_owned(),
            };
            let last = record.several.map(|several| format!("-{}x{}", several.last.0 / 1000, several.count));
            let mark = if record.tick.asked.is_some() { "!" } else { "" };
            format!("{}{mark}{}:{what}", record.tick.at.0 / 1000, last.unwrap_or_default())
        };
        self.state.recent.iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn skip_lets_a_tick_go_that_meets_a_run() {
    let mut story = Story::new("{every: 1m}");
    for second in [60, 120, 180] {
        story.due(second);
    }
    story.end(190);
    story.due(240);
    assert_eq!(story.told(), "60:run1 120:overlap 180:overlap 240:run2");
}

#[test]
fn buffer_one_keeps_one() {
    let mut story = Story::new("{every: 1m, overlap: bufferOne}");
    for second in [60, 120, 180] {
        story.due(second);
    }
    story.end(190);
    assert_eq!(story.told(), "60:run1 120:run2 180:bufferFull");
    story.due(240);
    story.end(250);
    story.end(260);
    story.due(300);
    assert_eq!(story.told(), "60:run1 120:run2 180:bufferFull 240:run3 300:run4");
}

#[test]
fn buffer_all_keeps_as_many_as_it_may_and_runs_them_in_order() {
    let mut story = Story::new("{every: 1m, overlap: bufferAll}");
    for second in [60, 120, 180, 240, 300] {
        story.due(second);
    }
    assert_eq!(story.told(), "60:run1 120:buffered 180:buffered 240:buffered 300:bufferFull");
    for second in [310, 320, 330] {
        story.end(second);
    }
    assert_eq!(story.told(), "60:run1 120:run2 180:run3 240:run4 300:bufferFull");
}

#[test]
fn cancel_other_waits_for_the_end_of_what_it_cancels() {
    let mut story = Story::new("{every: 1m, overlap: cancelOther}");
    story.due(60);
    assert!(story.state.to_cancel().is_empty());
    story.due(120);
    assert_eq!(story.state.to_cancel(), [RunId(1)]);
    story.tell(120, &Input::CancelSent(RunId(1)));
    assert!(story.state.to_cancel().is_empty(), "once is enough");
    story.due(180);
    assert_eq!(story.told(), "60:run1 120:replaced 180:buffered");
    story.end(190);
    assert_eq!(story.told(), "60:run1 120:replaced 180:run2");
}

#[test]
fn cancel_other_cancels_a_run_that_had_not_begun_when_the_tick_came() {
    let mut story = Story::new("{every: 1m, overlap: cancelOther}");
    story.tell(60, &Input::Due);
    story.tell(120, &Input::Due);
    assert_eq!(story.told(), "60:starting 120:buffered");
    story.start(121);
    assert_eq!(story.state.to_cancel(), [RunId(1)]);
}

#[test]
fn allow_all_runs_beside_each_other() {
    let mut story = Story::new("{every: 1m, overlap: allowAll}");
    for second in [60, 120, 180] {
        story.due(second);
    }
    assert_eq!(story.told(), "60:run1 120:run2 180:run3");
    assert!(story.state.running.is_empty(), "nobody looks at them");
}

#[test]
fn a_node_that_was_away_catches_up_within_the_window() {
    // From 60 on nobody is there; at 630, 60 to 330 are past the five minutes.
    let run = |overlap: &str| {
        let mut story = Story::new(&format!("{{every: 1m, catchup: 5m, overlap: {overlap}}}"));
        story.due(630);
        story.told()
    };
    assert_eq!(run("skip"), "60-300x5:missed 360:run1 420:overlap 480:overlap 540:overlap 600:overlap");
    assert_eq!(
        run("bufferOne"),
        "60-300x5:missed 360:run1 420:buffered 480:bufferFull 540:bufferFull 600:bufferFull"
    );
    assert_eq!(
        run("bufferAll"),
        "60-300x5:missed 360:run1 420:buffered 480:buffered 540:buffered 600:bufferFull"
    );
    assert_eq!(
        run("cancelOther"),
        "60-300x5:missed 360:run1 420:replaced 480:replaced 540:replaced 600:buffered"
    );
    // Three may be owed at once; the others follow.
    assert_eq!(run("allowAll"), "60-300x5:missed 360:run1 420:run2 480:run3");
    let mut story = Story::new("{every: 1m, catchup: 5m, overlap: allowAll}");
    story.due(630);
    assert_eq!(
        wake(&story.schedule, &story.state),
        Some(Timestamp(540_000)),
        "it is looked at again at once"
    );
    story.due(630);
    assert_eq!(story.told(), "60-300x5:missed 360:run1 420:run2 480:run3 540:run4 600:run5");
}

#[test]
fn a_long_absence_is_one_record() {
    let mut story = Story::new("{every: 1s, catchup: 10s}");
    story.due(1_000_000);
    assert!(story.told().starts_with("1-10000x10000:missed 999990:run1 999991:overlap"), "{}", story.told());
    assert!(story.state.recent[0].several.unwrap().more);
    assert_eq!(story.state.after, Timestamp(1_000_000_000));
    let mut once = Story::new("{at: 1970-01-01T00:01:00Z, catchup: 1m}");
    once.due(121);
    assert_eq!((once.told().as_str(), wake(&once.schedule, &once.state)), ("60:missed", None));
}

#[test]
fn a_clock_that_goes_back_makes_no_tick_twice() {
    let mut story = Story::new("{every: 1m, overlap: allowAll}");
    story.due(600);
    story.due(600);
    story.due(600);
    story.due(600);
    let before = story.told();
    for second in [0, 60, 300, 600] {
        story.due(second);
    }
    assert_eq!(story.told(), before);
    story.due(660);
    assert_eq!(story.told(), format!("{before} 660:run11"));
}

#[test]
fn a_pause_lets_ticks_go_and_holds_those_that_wait() {
    let mut story = Story::new("{every: 1m, overlap: bufferAll}");
    story.due(60);
    story.due(120);
    story.pause(150);
    story.end(160);
    assert_eq!(story.told(), "60:run1 120:buffered", "what waits is held");
    assert_eq!(wake(&story.schedule, &story.state), None);
    story.due(240);
    story.trigger(250);
    story.tell(310, &Input::Resume);
    assert_eq!(story.told(), "60:run1 120:buffered 250!:run2 180-300x3:paused");
    story.end(320);
    assert_eq!(story.told(), "60:run1 120:run3 250!:run2 180-300x3:paused");
    story.pause(330);
    let first = story.state.paused.clone();
    story.tell(340, &Input::Pause { by: "bo".into(), reason: "".into() });
    assert_eq!(story.state.paused, first, "the first word counts");
}

#[test]
fn a_tick_that_was_due_before_the_pause_counts() {
    let mut story = Story::new("{every: 1m}");
    story.pause(61);
    assert_eq!(story.told(), "60:starting");
}

#[test]
fn a_trigger_obeys_the_overlap() {
    let mut story = Story::new("{every: 1m}");
    story.trigger(10);
    story.trigger(20);
    story.due(60);
    story.end(70);
    story.trigger(80);
    assert_eq!(story.told(), "10!:run1 20!:overlap 60:overlap 80!:run2");
}

#[test]
fn a_backfill_runs_what_is_over() {
    let mut story = Story::new("{every: 1m}");
    story.due(60);
    story.end(61);
    story.backfill(300, 60, 180, Order::OneByOne).unwrap();
    assert_eq!(story.told(), "60:run1 60!:run2 120!:buffered 180!:buffered");
    story.end(301);
    story.end(302);
    assert_eq!(story.told(), "60:run1 60!:run2 120!:run3 180!:run4");
    let mut story = Story::new("{every: 1m}");
    story.backfill(300, 60, 180, Order::AtOnce).unwrap();
    assert_eq!(story.told(), "60!:run1 120!:run2 180!:run3");
}

#[test]
fn a_backfill_that_is_too_much_changes_nothing() {
    let mut story = Story::new("{every: 1m}");
    assert!(matches!(story.backfill(600, 300, 600_000, Order::OneByOne), Err(Refusal::NotPast { .. })));
    assert!(matches!(story.backfill(600, 300, 200, Order::OneByOne), Err(Refusal::NotPast { .. })));
    assert!(matches!(story.backfill(600, 61, 119, Order::OneByOne), Err(Refusal::NoTicks { .. })));
    assert_eq!(story.backfill(600, 0, 360, Order::OneByOne), Err(Refusal::TooMany(5)));
    assert_eq!(
        story.backfill(600, 60, 240, Order::OneByOne),
        Err(Refusal::NoRoom { wanted: 4, waiting: 0, most: 3 })
    );
    assert_eq!(story.told(), "");
}

#[test]
fn a_changed_schedule_begins_anew_and_an_equal_one_goes_on() {
    let mut story = Story::new("{id: a, every: 1m}");
    story.due(60);
    story.pause(70);
    story.tell(600, &Input::Define { since: Timestamp(500_000), timing: Changed::No });
    assert_eq!(story.state.after, Timestamp(60_000));
    story.schedule = Story::new("{id: a, every: 2m}").schedule;
    story.tell(600, &Input::Define { since: Timestamp(500_000), timing: Changed::Yes });
    assert_eq!(story.state.after, Timestamp(500_000), "the ticks of another timing are not made up for");
    assert!(story.state.paused.is_some() && story.told() == "60:run1");
}

#[test]
fn what_is_withdrawn_ends_and_may_come_back() {
    let mut story = Story::new("{every: 1m, overlap: bufferAll}");
    story.due(60);
    story.due(120);
    story.tell(130, &Input::Retire);
    assert_eq!(story.told(), "60:run1 120:withdrawn");
    story.due(600);
    story.end(610);
    assert_eq!(story.told(), "60:run1 120:withdrawn");
    let trigger = Input::Trigger { id: "t".into(), by: "ada".into() };
    assert_eq!(story.wish(620, &trigger), Err(Refusal::Retired));
    story.tell(700, &Input::Define { since: Timestamp(690_000), timing: Changed::No });
    story.due(720);
    assert_eq!(story.told(), "60:run1 120:withdrawn 720:run2");
}

#[test]
fn a_run_that_is_refused_makes_room() {
    let mut story = Story::new("{every: 1m, overlap: bufferAll}");
    story.tell(60, &Input::Due);
    story.tell(120, &Input::Due);
    let tick = Tick::of(Timestamp(60_000));
    story.tell(121, &Input::Refused(tick.clone(), "no such plugin".into()));
    assert_eq!(story.told(), "60:refused 120:starting");
    let before = story.state.clone();
    story.tell(122, &Input::Started(tick, RunId(9)));
    story.tell(122, &Input::Ended(RunId(9)));
    assert_eq!(story.state, before, "stale words change nothing");
}

#[test]
fn what_is_remembered_has_a_bound_and_a_form() {
    let mut story = Story::new("{every: 1m, overlap: allowAll}");
    for minute in 1..=200 {
        story.due(minute * 60);
    }
    assert_eq!(story.state.recent.len(), 50);
    story.pause(12_100);
    story.backfill(12_101, 60, 120, Order::OneByOne).unwrap();
    let text = serde_json::to_string(&story.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), story.state);
}

#[test]
fn a_tick_has_a_key_of_its_own() {
    let tick = Tick::of(Timestamp(60_000));
    assert_eq!(tick.key("a.b.c"), Tick::of(Timestamp(60_000)).key("a.b.c"));
    let mut story = Story::new("{every: 1m}");
    story.trigger(60);
    let asked = story.state.recent[0].tick.clone();
    let keys =
        [tick.key("a.b.c"), tick.key("a.b.d"), Tick::of(Timestamp(60_001)).key("a.b.c"), asked.key("a.b.c")];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key) && key.len() < 255 && key.starts_with('\u{1}'));
    }
}
