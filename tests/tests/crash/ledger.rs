//! What clients were told, and what they tell: every answer is written down beside what it was the answer to.

use crate::findings::Findings;
use crate::mix::{Kind, Word};
use heddle_tests::{PATIENCE, Server};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More runs than this at once would only make the end of the test long.
const ENOUGH: u64 = 48;

/// Random numbers that are the same for the same seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // splitmix64: a seed that differs in one bit is another sequence.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// A request for a run.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) n: u64,
    pub(crate) kind: Kind,
    pub(crate) key: Option<String>,
}

impl Asked {
    fn body(&self) -> serde_json::Value {
        let input = self.kind.input(self.n);
        json!({"workflow": self.kind.workflow(), "input": input, "labels": {"n": self.n.to_string()}})
    }
    pub(crate) fn post(&self, server: &Server) -> Option<heddle_tests::Answer> {
        let key: Vec<(&str, &str)> = self.key.iter().map(|k| ("idempotency-key", k.as_str())).collect();
        server.try_post("/v1/runs", &self.body(), &key)
    }
}

/// A word that was said to a run.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) run: String,
    pub(crate) word: Word,
    /// Who said it: a name of its own for each word.
    pub(crate) by: String,
    /// Whether it was answered with 202; else the process was gone before there was an answer.
    pub(crate) answered: bool,
    /// Which process it was said to.
    pub(crate) life: usize,
}

/// A run that the node has.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: String,
    /// The number of the request that it comes from.
    pub(crate) n: u64,
    pub(crate) kind: Kind,
    /// The time that it is for, where a schedule asked for it.
    pub(crate) tick: Option<String>,
}

/// What is still to be said to a run.
struct Talk {
    run: String,
    n: u64,
    words: VecDeque<Word>,
}

/// How saying a word went.
enum Heard {
    Yes,
    /// Not now, or not any more.
    No {
        ended: bool,
    },
    /// The process is gone.
    Gone,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Runs that were acknowledged, by their id.
    pub(crate) accepted: Mutex<BTreeMap<String, Asked>>,
    /// Requests without an answer, by their number.
    pub(crate) unanswered: Mutex<BTreeSet<u64>>,
    pub(crate) said: Mutex<Vec<Said>>,
    /// Requests without an answer that may be repeated, because they have a key.
    again: Mutex<Vec<Asked>>,
    talks: Mutex<VecDeque<Talk>>,
    next_run: AtomicU64,
    next_word: AtomicU64,
    /// The process that is spoken to.
    pub(crate) life: AtomicUsize,
    /// Runs in flight when the node was last asked.
    pub(crate) active: AtomicU64,
}

impl Ledger {
    /// A client, until it is told to stop or the process is gone.
    pub(crate) fn client(&self, server: &Server, stop: &AtomicBool, mut rng: Rng) {
        while !stop.load(Ordering::Relaxed) {
            let gone = match rng.below(3) {
                0 => self.speak(server),
                _ if self.active.load(Ordering::Relaxed) < ENOUGH => self.ask(server, &mut rng),
                _ => {
                    std::thread::sleep(Duration::from_millis(2));
                    false
                }
            };
            if gone {
                return;
            }
        }
    }

    /// Asks for a run: one that was asked for before without an answer, or another. Gives whether the process is gone.
    fn ask(&self, server: &Server, rng: &mut Rng) -> bool {
        let before = self.again.lock().unwrap().pop();
        let asked = before.unwrap_or_else(|| {
            let n = self.next_run.fetch_add(1, Ordering::Relaxed);
            Asked { n, kind: Kind::by(rng.below(20)), key: n.is_multiple_of(3).then(|| format!("key-{n}")) }
        });
        self.ask_for(server, asked)
    }

    fn ask_for(&self, server: &Server, asked: Asked) -> bool {
        match asked.post(server) {
            Some(a) if a.status == 202 => {
                let run = a.body["id"].as_str().unwrap().to_owned();
                self.begin_talk(run.clone(), asked.kind, asked.n);
                self.unanswered.lock().unwrap().remove(&asked.n);
                let before = self.accepted.lock().unwrap().insert(run, asked);
                assert!(before.is_none(), "one id was given twice: {before:?}");
                false
            }
            Some(a) => {
                assert!(matches!(a.status, 429 | 503), "{a:?}");
                false
            }
            None => {
                self.unanswered.lock().unwrap().insert(asked.n);
                if asked.key.is_some() {
                    self.again.lock().unwrap().push(asked);
                }
                true
            }
        }
    }

    fn begin_talk(&self, run: String, kind: Kind, n: u64) {
        let words = kind.words(n).iter().copied().collect::<VecDeque<_>>();
        if !words.is_empty() {
            self.talks.lock().unwrap().push_back(Talk { run, n, words });
        }
    }

    /// Says the next word of the run that has waited longest for one. Gives whether the process is gone.
    fn speak(&self, server: &Server) -> bool {
        let Some(mut talk) = self.talks.lock().unwrap().pop_front() else { return false };
        let Some(word) = talk.words.front().copied() else { return false };
        let heard = self.say(server, &talk, word);
        match heard {
            Heard::Yes => drop(talk.words.pop_front()),
            Heard::No { ended: true } => talk.words.clear(),
            Heard::No { ended: false } => {}
            // Whether the run stands still now is not known; letting it go on is right in either case.
            Heard::Gone if word == Word::Pause => drop(talk.words.pop_front()),
            Heard::Gone => {}
        }
        if !talk.words.is_empty() {
            self.talks.lock().unwrap().push_back(talk);
        }
        matches!(heard, Heard::Gone)
    }

    fn say(&self, server: &Server, talk: &Talk, word: Word) -> Heard {
        let (run, n) = (&*talk.run, talk.n);
        let by = format!("w{}", self.next_word.fetch_add(1, Ordering::Relaxed));
        let reason = json!({"reason": by});
        let (path, body) = match word {
            Word::Cancel => (format!("/v1/runs/{run}/cancel"), reason),
            Word::Pause => (format!("/v1/runs/{run}/pause"), reason),
            Word::Resume => (format!("/v1/runs/{run}/resume"), reason),
            Word::Signal => (format!("/v1/runs/{run}/signal"), json!({"name": "paid", "data": {"n": n}})),
            Word::Approve => (format!("/v1/approvals/{run}.ask"), json!({"decision": "approve"})),
            Word::Reject => (format!("/v1/approvals/{run}.ask"), json!({"decision": "reject"})),
        };
        let life = self.life.load(Ordering::SeqCst);
        let answer = server.try_post(&path, &body, &[("heddle-user", &by)]);
        let write_down = |answered| {
            let said = Said { run: run.to_owned(), word, by: by.clone(), answered, life };
            self.said.lock().unwrap().push(said);
        };
        match answer {
            None => {
                write_down(false);
                Heard::Gone
            }
            Some(a) if a.status == 202 => {
                write_down(true);
                Heard::Yes
            }
            // It stands as it was asked to already, and nothing is recorded.
            Some(a) if a.status == 200 && a.body["changed"] == false => Heard::Yes,
            Some(a) if a.status == 409 => {
                let is_over = |status: &str| matches!(status, "succeeded" | "failed" | "cancelled");
                match server.try_get(&format!("/v1/runs/{run}")) {
                    None => Heard::Gone,
                    Some(run) => {
                        let ended =
                            a.body["code"] == "run_ended" || is_over(run.body["status"].as_str().unwrap());
                        Heard::No { ended }
                    }
                }
            }
            // Nobody was told that it is there, or it is lost: the account tells which.
            Some(a) if a.status == 404 => Heard::No { ended: true },
            Some(a) => {
                assert!(matches!(a.status, 429 | 503), "{word:?} to {run}: {a:?}");
                Heard::No { ended: false }
            }
        }
    }

    /// Repeats the requests that had no answer, where they have a key.
    pub(crate) fn repeat(&self, server: &Server) {
        let again = std::mem::take(&mut *self.again.lock().unwrap());
        for asked in again {
            assert!(!self.ask_for(server, asked));
        }
    }
    /// Says what is left to be said, until there is nothing more; also to runs that were taken up and never
    /// acknowledged.
    pub(crate) fn finish(&self, server: &Server, listed: &[Listed], findings: &Findings) {
        let unanswered = self.unanswered.lock().unwrap().clone();
        for run in listed.iter().filter(|run| run.kind.is_asked_for() && unanswered.contains(&run.n)) {
            self.begin_talk(run.id.clone(), run.kind, run.n);
        }
        let since = Instant::now();
        while !self.talks.lock().unwrap().is_empty() {
            let open = self.talks.lock().unwrap().len();
            for _ in 0..open {
                assert!(!self.speak(server), "nobody kills it any more");
            }
            if since.elapsed() > PATIENCE / 2 {
                let talks = self.talks.lock().unwrap();
                let run = |talk: &Talk| format!("{} hears no {:?}", talk.run, talk.words);
                return talks.iter().for_each(|talk| findings.note("not_terminal", run(talk)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
