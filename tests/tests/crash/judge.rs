//! What must hold of a run after all kills, by its journal and by what was seen.

use crate::findings::Findings;
use crate::kin::{self, Child};
use crate::ledger::Said;
use crate::mix::{Kind, Word};
use crate::story::{Fact, Place, Story};
use crate::witness::{Lives, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// Times in a row that a step may be interrupted in its sandbox (`limits.interruptions`).
const INTERRUPTIONS: usize = 3;

/// Judges one run.
pub(crate) fn judge(
    story: &Story,
    seen: &[Seen],
    said: &[&Said],
    children: &[Child],
    lives: &Lives,
    findings: &Findings,
) -> Tally {
    let mut tally = Tally { children: children.len() as u64, ..Tally::default() };
    outcomes(story, findings);
    times(story, findings);
    let given_up = given_up(story, children, lives, findings, &mut tally);
    kin::judge(story, children, findings);
    let excused = !given_up.is_empty() || children.iter().any(Child::was_given_up);
    end(story, excused, said, findings);
    words(story, (said, &given_up), lives, findings, &mut tally);
    undone(story, &given_up, findings);
    effects(story, seen, lives, findings, &mut tally);
    tally
}

/// Figures of the report that need not be zero.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) effects: u64,
    /// Effects that came again because the process died before their outcome was recorded.
    pub(crate) repeated: u64,
    pub(crate) interrupted: u64,
    /// Of these, in their sandbox.
    pub(crate) entered: u64,
    /// Steps and items given up because they were in their sandbox at three kills in a row.
    pub(crate) given_up: u64,
    /// Steps with `onCrash: fail` that were in their sandbox at one.
    pub(crate) not_again: u64,
    /// Words that came when it was settled already how their run ends.
    pub(crate) too_late: u64,
    /// Runs that other runs asked for.
    pub(crate) children: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.effects += other.effects;
        self.repeated += other.repeated;
        self.interrupted += other.interrupted;
        self.entered += other.entered;
        self.given_up += other.given_up;
        self.not_again += other.not_again;
        self.too_late += other.too_late;
        self.children += other.children;
    }
}

/// Each step and each item that began has one outcome; each step of the main part has one in any case.
fn outcomes(story: &Story, findings: &Findings) {
    let id = &story.id;
    let mut ended: BTreeSet<&Place> = BTreeSet::new();
    for fact in story.facts.iter().filter(|fact| fact.is_outcome()) {
        let place = fact.place.as_ref().unwrap();
        findings.check(ended.insert(place), "outcome_dup", || format!("{id}: {place:?}"));
    }
    let began = story.of("attemptStarted").filter_map(|fact| fact.place.clone());
    let main = story.doc["steps"].as_array().unwrap().iter().filter(|step| step["part"] == "main");
    let main = main.map(|step| (step["id"].as_str().unwrap().to_owned(), None));
    for place in began.chain(main).collect::<BTreeSet<_>>() {
        // An item that was under way when its whole step ended goes with it.
        let whole = (place.0.clone(), None);
        let with_it = place.1.is_some()
            && story.facts.iter().any(|f| f.is_at("stepCancelled", &whole) || f.is_at("stepFailed", &whole));
        findings.check(ended.contains(&place) || with_it, "outcome_missing", || format!("{id}: {place:?}"));
    }
    let ends = story.of("runFinished").count();
    findings.check(ends == 1, "wrong_end", || format!("{id} has {ends} ends"));
    if story.kind == Kind::Audit && story.status() == "succeeded" {
        let items = story.of("stepSucceeded").filter(|f| f.place.as_ref().is_some_and(|p| p.1.is_some()));
        let (items, examined) = (items.count() as u64, &story.doc["output"]["examined"]);
        findings.check(examined.as_u64() == Some(items) && items > 20, "wrong_end", || {
            format!("{id}: {items} packages examined, {examined} in the report")
        });
    }
}

/// Retries and waits are never early, and nothing begins while the run stands still.
fn times(story: &Story, findings: &Findings) {
    let id = &story.id;
    for (index, fact) in story.facts.iter().enumerate() {
        let Some(place) = &fact.place else { continue };
        let (due, next) = match &*fact.kind {
            "attemptFailed" => (fact.body["retry"]["at"].as_u64(), "attemptStarted"),
            "waitStarted" if place.0 == "rest" => (fact.body["until"].as_u64(), "stepSucceeded"),
            _ => continue,
        };
        let after = story.facts[index..].iter().find(|later| later.is_at(next, place));
        if let (Some(due), Some(after)) = (due, after) {
            findings.check(after.at >= due, "timer_early", || {
                format!("{id}: {place:?} at {} of {due}", after.at)
            });
        }
    }
    let mut paused = false;
    for fact in &story.facts {
        match &*fact.kind {
            "runPaused" => paused = true,
            "runResumed" | "cancelRequested" => paused = false,
            "attemptStarted" => findings.check(!paused, "began_paused", || format!("{id}: {:?}", fact.place)),
            _ => {}
        }
    }
}

/// The places that were given up after interruptions. Each must have been in its sandbox at as many kills as the rule
/// says: the attempts were begun by different processes, and none of these recorded an end.
fn given_up(
    story: &Story,
    children: &[Child],
    lives: &Lives,
    findings: &Findings,
    tally: &mut Tally,
) -> Vec<Place> {
    let id = &story.id;
    let mut in_a_row: BTreeMap<&Place, Vec<usize>> = BTreeMap::new();
    let mut began: BTreeMap<(&Place, u64), u64> = BTreeMap::new();
    let mut places = Vec::new();
    for fact in &story.facts {
        let Some(place) = &fact.place else { continue };
        match &*fact.kind {
            "attemptStarted" => drop(began.insert((place, fact.attempt()), fact.at)),
            "attemptFailed" => drop(in_a_row.remove(place)),
            "attemptInterrupted" => {
                tally.interrupted += 1;
                let (from, to) = (lives.at(began[&(place, fact.attempt())]), lives.at(fact.at));
                findings.check(from < to, "blamed_wrongly", || {
                    format!("{id}: {place:?} in process {from}, {to}")
                });
                if fact.body["entered"] != false {
                    tally.entered += 1;
                    in_a_row.entry(place).or_default().push(from);
                }
            }
            "stepFailed" if fact.failure() == "interrupted" => {
                // What it ran as a run of its own was given up there, and is judged there.
                if children.iter().any(|child| child.is_of(place) && child.was_given_up()) {
                    places.push(place.clone());
                    continue;
                }
                let kills: BTreeSet<usize> = in_a_row.get(place).into_iter().flatten().copied().collect();
                let needed = if story.kind == Kind::Once { 1 } else { INTERRUPTIONS };
                findings
                    .check(kills.len() == needed, "blamed_wrongly", || format!("{id}: {place:?}: {kills:?}"));
                match story.kind {
                    Kind::Once => tally.not_again += 1,
                    _ => tally.given_up += 1,
                }
                places.push(place.clone());
            }
            _ => {}
        }
    }
    places
}

/// The run ended as its kind and what it was told make it end, or because a step was given up.
fn end(story: &Story, excused: bool, said: &[&Said], findings: &Findings) {
    let (id, status) = (&story.id, story.status());
    let error = &story.doc["error"];
    if !excused {
        let ends = story.kind.ends(story.n);
        findings.check(ends.contains(&status), "wrong_end", || {
            format!("{id} is {status}, not {ends:?}: {error}")
        });
        let wanted = match (story.kind, status) {
            (Kind::Talk, "failed") => "rejected",
            (Kind::Undo | Kind::Family, "failed") => "guest_error",
            _ => "",
        };
        let why = error["kind"].as_str().unwrap_or_default();
        findings.check(status != "failed" || why == wanted, "wrong_end", || format!("{id}: {error}"));
    }
    let cancelled = story.kind == Kind::Child || said.iter().any(|said| said.word == Word::Cancel);
    findings.check(status != "cancelled" || cancelled, "wrong_end", || format!("nobody cancelled {id}"));
    if status == "succeeded" && !matches!(story.kind, Kind::Audit | Kind::Tick) {
        let n = story.doc["output"]["n"].as_u64();
        findings.check(n == Some(story.n), "wrong_end", || format!("{id} has the output of {n:?}"));
    }
}

/// What was acknowledged had its effect, once. The one excuse is that the run could end without the word, and that the
/// process which gave the answer had settled how it ends before it read the word.
fn words(
    story: &Story,
    (said, given_up): (&[&Said], &[Place]),
    lives: &Lives,
    findings: &Findings,
    tally: &mut Tally,
) {
    let id = &story.id;
    let stands_still = story.facts.iter().fold(false, |still, fact| match &*fact.kind {
        "runPaused" => true,
        "runResumed" | "cancelRequested" => false,
        _ => still,
    });
    for said in said {
        let kind = match said.word {
            Word::Cancel => "cancelRequested",
            Word::Signal => "signalReceived",
            Word::Approve | Word::Reject => "approvalDecided",
            Word::Pause => "runPaused",
            Word::Resume => "runResumed",
        };
        let heard = story.of(kind).filter(|fact| fact.by() == said.by).count();
        findings.check(heard <= 1, "dup_word", || format!("{id}: {said:?}"));
        let had_effect = match said.word {
            // A second one is the first one: it may have come without an answer before.
            Word::Cancel => story.of(kind).count() == 1,
            // The pause before it may not have been kept, or one without an answer was: then there is nothing to resume.
            Word::Resume => heard == 1 || !stands_still,
            _ => heard == 1,
        };
        if said.answered && !had_effect {
            let ends_alone = matches!(story.kind, Kind::Chain | Kind::Undo | Kind::Family);
            let own_end = ends_alone && said.word == Word::Cancel;
            let too_late = (own_end || !given_up.is_empty()) && lives.at(story.settled()) == said.life;
            findings.check(too_late, "lost_word", || format!("{id}: {said:?}; it is {}", story.status()));
            tally.too_late += u64::from(too_late);
        }
    }
    let cancels = story.of("cancelRequested").count();
    findings.check(cancels <= 1, "dup_word", || format!("{id}: {cancels} cancels"));
}

/// What succeeded is undone once, the last first, where the run did not succeed; then `finally` runs.
fn undone(story: &Story, given_up: &[Place], findings: &Findings) {
    let id = &story.id;
    let name = |fact: &Fact| fact.place.as_ref().map(|place| place.0.clone()).unwrap_or_default();
    let done: Vec<String> = story.of("stepSucceeded").map(name).collect();
    // How the steps ended: what follows them may have made it worse.
    let settled = story.facts.iter().find(|f| matches!(&*f.kind, "runEnding" | "runFinished"));
    let finish = settled.map_or("", |f| f.body["finish"].as_str().unwrap_or_default());
    let mut wanted: Vec<String> = match finish {
        "succeeded" => Vec::new(),
        _ => {
            done.iter().filter(|step| story.kind.is_undone(step)).map(|s| format!("{s}.compensate")).collect()
        }
    };
    wanted.reverse();
    let undo = |step: &String| step.ends_with(".compensate");
    let ended = |fact: &Fact| fact.is_outcome() && undo(&name(fact));
    let ended: Vec<String> = story.facts.iter().filter(|fact| ended(fact)).map(name).collect();
    let (mut sorted, mut expected) = (ended.clone(), wanted.clone());
    sorted.sort();
    expected.sort();
    findings.check(sorted == expected, "comp_missing", || format!("{id}: {ended:?} of {wanted:?}"));
    findings.check(ended == wanted, "comp_order", || format!("{id}: {ended:?}, not {wanted:?}"));
    let failed = story.facts.iter().any(|f| f.kind == "stepFailed" && undo(&name(f)));
    findings.check(!failed || !given_up.is_empty(), "comp_missing", || format!("{id} could not be undone"));
    if story.kind == Kind::Undo {
        let ends = |step: &str| story.facts.iter().filter(|f| f.is_outcome() && name(f) == step).count();
        let (clean, tell) = (ends("finally.clean"), ends("onError.tell"));
        let wanted = (1, usize::from(finish == "failed"));
        findings
            .check((clean, tell) == wanted, "comp_missing", || format!("{id}: {finish}: {clean}, {tell}"));
    }
}

/// What was seen has its cause in the journal and its end, and what the journal says was done was seen.
fn effects(story: &Story, seen: &[Seen], lives: &Lives, findings: &Findings, tally: &mut Tally) {
    let id = &story.id;
    let mut by_place: BTreeMap<Place, Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        by_place.entry((one.step.clone(), one.item)).or_default().push(one);
    }
    for (place, seen) in &by_place {
        tally.effects += seen.len() as u64;
        let key = match place.1 {
            None => format!("{id}/{}", place.0),
            Some(item) => format!("{id}/{}/{item}", place.0),
        };
        findings.check(seen.iter().all(|one| one.key == key), "key_changed", || format!("{key}: {seen:?}"));
        let attempts: BTreeSet<u64> = seen.iter().map(|one| one.attempt).collect();
        findings.check(attempts.len() == seen.len(), "effect_again", || format!("{key}: {seen:?}"));
        let only_once = story.kind == Kind::Once && seen.len() > 1;
        findings.check(!only_once, "effect_again", || format!("{key}: {seen:?}"));
        for one in seen {
            // The fact that opened the gate, decided by the process that did it, and not after it.
            let begun = |f: &&Fact| f.is_at("attemptStarted", place) && f.attempt() == one.attempt;
            let causes: Vec<&Fact> = story.facts.iter().filter(begun).collect();
            let caused =
                matches!(causes[..], [cause] if cause.at <= one.at && lives.at(cause.at) == one.life);
            findings
                .check(caused, "effect_unexplained", || format!("{one:?} of {id}: its cause is {causes:?}"));
            let end = end_of(story, place, one.attempt);
            tally.repeated += u64::from(end == Some("attemptInterrupted"));
            findings.check(end.is_some(), "effect_unexplained", || format!("{one:?} of {id} has no end"));
        }
    }
    for fact in story.of("stepSucceeded").filter(|fact| fact.attempt() > 0) {
        let place = fact.place.as_ref().unwrap();
        let by = |one: &&&Seen| one.attempt == fact.attempt();
        let saw = by_place.get(place).is_some_and(|seen| seen.iter().any(|one| by(&one)));
        let unseen = story.kind.is_witnessed(&place.0) && !saw;
        findings.check(!unseen, "effect_missing", || format!("{id}: {place:?}, attempt {}", fact.attempt()));
    }
}

/// How the journal says that this attempt ended. One that was interrupted before it was in its sandbox cannot have been
/// seen.
fn end_of(story: &Story, place: &Place, attempt: u64) -> Option<&'static str> {
    let whole = (place.0.clone(), None);
    for fact in &story.facts {
        let own = fact.place.as_ref() == Some(place) && fact.attempt() == attempt;
        match &*fact.kind {
            "stepSucceeded" if own => return Some("stepSucceeded"),
            "attemptFailed" if own => return Some("attemptFailed"),
            "attemptInterrupted" if own => {
                return (fact.body["entered"] != false).then_some("attemptInterrupted");
            }
            "stepCancelled" | "stepFailed" if fact.place.as_ref() == Some(&whole) => {
                return Some("cancelled");
            }
            _ => {}
        }
    }
    None
}
