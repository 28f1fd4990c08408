//! Who may begin: slots by key, levels, and turns.

use super::*;
use heddle_core::plan::OnLimit;
use heddle_core::run::event::SlotWish;
use std::collections::{BTreeMap, BTreeSet};

fn wish(key: &str, limit: u32, on_limit: OnLimit) -> SlotWish {
    SlotWish { key: key.into(), limit, on_limit }
}
fn queue(slots: Vec<SlotWish>) -> Queue {
    Queue { level: 3, fairness_key: "w".into(), weight: 1.0, slots }
}

impl<B: Backend> Setup<B> {
    /// Accepts a run that waits for what it begins with.
    async fn ask(&self, run: RunId, queue: Queue) -> Result<u64, AppendFault> {
        let append = self.acceptance(run, RunStatus::Waiting);
        self.store().append(Append { queue: Some(Box::new(queue)), ..append }).await
    }
    /// What lies in the inbox of a run, as its first word.
    async fn told(&self, run: RunId) -> Vec<String> {
        let messages = self.store().inbox(run).await.unwrap();
        messages.into_iter().map(|message| message.unique.to_string()).collect()
    }
    async fn holders(&self, key: &str) -> Vec<RunId> {
        let query = RunQuery { slot: Some(key.into()), limit: 1_000, ..RunQuery::default() };
        let rows = self.store().runs(query).await.unwrap();
        rows.into_iter().map(|row| row.run()).collect()
    }
    async fn ends(&self, number: u64) {
        self.store().append(self.end(run(number), 1)).await.unwrap();
    }
}

/// So many have one, and who comes next gets the one that comes back.
pub async fn a_slot_goes_from_one_run_to_the_next<B: Backend>(backend: B) {
    let mut node = Setup::new(backend).await;
    for number in 1..=4 {
        node.ask(run(number), queue(vec![wish("k", 2, OnLimit::Queue)])).await.unwrap();
    }
    assert_eq!(node.holders("k").await, [run(2), run(1)]);
    assert_eq!((node.told(run(2)).await, node.told(run(3)).await), (vec!["admitted".to_owned()], vec![]));
    // Nobody drives them yet; those with a message can be claimed.
    assert_eq!(node.claim(10).await, [run(1), run(2)]);
    node.restart().await;
    node.ends(2).await;
    assert_eq!(node.told(run(3)).await, ["admitted"]);
    assert_eq!(node.holders("k").await, [run(3), run(1)]);
    // Who waits and is ended by somebody else leaves the line.
    node.ends(4).await;
    node.ends(1).await;
    node.ends(3).await;
    assert_eq!(node.holders("k").await, []);
    // Keys of other tenants are other keys.
    assert_eq!(node.holders("other").await, []);
}

/// Not accepted, cancelled, or in the place of the oldest.
pub async fn what_becomes_of_one_too_many<B: Backend>(backend: B) {
    let node = Setup::new(backend).await;
    for (number, key, way) in
        [(1, "r", OnLimit::Reject), (2, "o", OnLimit::CancelOldest), (3, "n", OnLimit::CancelNewest)]
    {
        node.ask(run(number), queue(vec![wish(key, 1, way)])).await.unwrap();
        assert_eq!(node.told(run(number)).await, ["admitted"]);
    }
    let refused = node.ask(run(4), queue(vec![wish("r", 1, OnLimit::Reject)])).await;
    assert_eq!(refused, Err(AppendFault::SlotsTaken { key: "r".into(), limit: 1, holder: run(1) }));
    assert_eq!(node.store().run(run(4)).await, Ok(None));

    node.ask(run(5), queue(vec![wish("n", 1, OnLimit::CancelNewest)])).await.unwrap();
    assert_eq!(node.told(run(5)).await, ["evicted"]);
    node.ends(5).await;
    assert_eq!(node.told(run(3)).await, ["admitted"], "who has it keeps it");

    for number in [6, 7] {
        node.ask(run(number), queue(vec![wish("o", 1, OnLimit::CancelOldest)])).await.unwrap();
    }
    assert_eq!(node.told(run(2)).await, ["admitted", "evicted"]);
    assert_eq!(node.told(run(6)).await, ["evicted"], "a newer one came before it had begun");
    node.ends(2).await;
    assert_eq!(node.told(run(7)).await, ["admitted"], "nobody who is to make room gets a slot");
    assert_eq!(node.told(run(6)).await, ["evicted"]);
}

/// Who does not stay takes nobody's place; and the oldest is who asked first, not who was accepted first.
pub async fn only_who_stays_takes_a_place<B: Backend>(backend: B) {
    let node = Setup::new(backend).await;
    let both = |old: &str, new: &str| {
        queue(vec![wish(old, 1, OnLimit::CancelOldest), wish(new, 1, OnLimit::CancelNewest)])
    };
    node.ask(run(1), both("a1", "b1")).await.unwrap();
    node.ask(run(2), both("a2", "b2")).await.unwrap();
    node.ask(run(3), both("a1", "b2")).await.unwrap();
    assert_eq!(
        (node.told(run(1)).await, node.told(run(3)).await),
        (vec!["admitted".to_owned()], vec!["evicted".to_owned()])
    );

    // Accepted first, and asks when its time has come.
    let late = node.acceptance(run(4), RunStatus::Waiting);
    node.store().append(late).await.unwrap();
    let oldest = || queue(vec![wish("late", 1, OnLimit::CancelOldest)]);
    node.ask(run(5), oldest()).await.unwrap();
    node.pass(1_000);
    let asks = Append { queue: Some(Box::new(oldest())), ..node.facts(run(4), 1, vec![Event::RunDue {}]) };
    node.store().append(asks).await.unwrap();
    assert_eq!(node.told(run(5)).await, ["admitted", "evicted"]);
    assert_eq!(node.told(run(4)).await, Vec::<String>::new());
}

/// With several keys a run has all of its slots or none, and holds up nobody meanwhile.
pub async fn several_slots_come_together<B: Backend>(backend: B) {
    let node = Setup::new(backend).await;
    let both = || queue(vec![wish("a", 1, OnLimit::Queue), wish("b", 1, OnLimit::Queue)]);
    node.ask(run(1), queue(vec![wish("a", 1, OnLimit::Queue)])).await.unwrap();
    node.ask(run(2), both()).await.unwrap();
    node.ask(run(3), queue(vec![wish("b", 1, OnLimit::Queue)])).await.unwrap();
    assert_eq!(node.holders("b").await, [run(3)], "who waits for `a` does not keep `b` from others");
    node.ends(1).await;
    assert_eq!(node.told(run(2)).await, Vec::<String>::new());
    node.ask(run(4), queue(vec![wish("a", 1, OnLimit::Queue)])).await.unwrap();
    assert_eq!(node.told(run(4)).await, ["admitted"]);
    node.ends(3).await;
    node.ends(4).await;
    assert_eq!(node.told(run(2)).await, ["admitted"]);
    assert_eq!((node.holders("a").await, node.holders("b").await), (vec![run(2)], vec![run(2)]));
}

/// A lower level goes first; within a level, keys take turns by weight.
pub async fn levels_and_turns<B: Backend>(backend: B) {
    let node = Setup::new(backend).await;
    let place = |level, key: &str, weight, slots| Queue { level, fairness_key: key.into(), weight, slots };
    // In the line of a slot.
    let slot = || vec![wish("k", 1, OnLimit::Queue)];
    let line = [
        (1, 3, "x", 1.0),
        (2, 3, "x", 1.0),
        (3, 3, "x", 1.0),
        (4, 3, "y", 1.0),
        (5, 1, "x", 1.0),
        (6, 3, "z", 4.0),
        (7, 3, "z", 4.0),
    ];
    for (number, level, key, weight) in line {
        node.ask(run(number), place(level, key, weight, slot())).await.unwrap();
    }
    let mut order = Vec::new();
    while let [holder] = node.holders("k").await[..] {
        order.push(line.iter().find(|(number, ..)| run(*number) == holder).unwrap().0);
        node.store().append(node.end(holder, 1)).await.unwrap();
    }
    assert_eq!(order, [1, 5, 6, 7, 2, 4, 3]);
    // In the line of those that no node has taken yet.
    for (number, level, key) in [(11, 3, "p"), (12, 3, "p"), (13, 3, "q"), (14, 5, "r"), (15, 2, "p")] {
        let append = node.acceptance(run(number), RunStatus::Queued);
        let queue = Some(Box::new(place(level, key, 1.0, vec![])));
        node.store().append(Append { queue, ..append }).await.unwrap();
    }
    let mut taken = Vec::new();
    while let [next] = node.claim(1).await[..] {
        taken.push(next);
    }
    assert_eq!(taken, [15, 11, 13, 12, 14].map(run));
}

/// Numbers that look like chance and are the same every time.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Whatever comes and goes, and however often the store dies: no key has more than its limit, nobody waits who could
/// begin, and nothing is held at the end.
pub async fn slots_are_neither_lost_nor_given_twice<B: Backend>(backend: B) {
    let mut node = Setup::new(backend).await;
    let ways =
        [OnLimit::Queue, OnLimit::Queue, OnLimit::CancelOldest, OnLimit::CancelNewest, OnLimit::Reject];
    let limits = BTreeMap::from([("a", 1), ("b", 2), ("c", 3)]);
    let (mut seed, mut number) = (7, 0);
    let mut open: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for _ in 0..400 {
        if next(&mut seed).is_multiple_of(40) {
            node.restart().await;
        }
        if next(&mut seed) % 100 < 55 {
            number += 1;
            let mut keys: Vec<&str> =
                limits.keys().copied().filter(|_| next(&mut seed).is_multiple_of(2)).collect();
            if keys.is_empty() {
                keys.push("b");
            }
            let mut slots = Vec::new();
            for key in &keys {
                slots.push(wish(key, limits[key], ways[next(&mut seed) as usize % ways.len()]));
            }
            let level = 1 + (next(&mut seed) % 5) as u8;
            let fairness_key = ["x", "y"][next(&mut seed) as usize % 2].into();
            let asked = node.ask(run(number), Queue { level, fairness_key, weight: 1.0, slots }).await;
            match asked {
                Ok(_) => drop(open.insert(number, keys)),
                Err(AppendFault::SlotsTaken { key, limit, holder }) => {
                    assert_eq!(node.holders(&key).await.len(), limit as usize);
                    assert!(node.holders(&key).await.contains(&holder));
                }
                Err(fault) => panic!("{fault}"),
            }
        } else if !open.is_empty() {
            let at = next(&mut seed) as usize % open.len();
            let ended = *open.keys().nth(at).unwrap();
            open.remove(&ended);
            node.ends(ended).await;
        }
        let mut held: BTreeMap<&str, BTreeSet<RunId>> = BTreeMap::new();
        for (key, limit) in &limits {
            let holders: BTreeSet<RunId> = node.holders(key).await.into_iter().collect();
            assert!(holders.len() <= *limit as usize, "{} of {limit} slots of {key}", holders.len());
            held.insert(key, holders);
        }
        for (number, keys) in &open {
            let told = node.told(run(*number)).await;
            let has = |key: &&str| held[*key].contains(&run(*number));
            let admitted = told.iter().any(|word| word == "admitted");
            assert!(keys.iter().all(|key| has(key) == admitted), "run {number}: {told:?}");
            let could = keys.iter().all(|key| held[*key].len() < limits[*key] as usize);
            assert!(
                admitted || !could || told.iter().any(|word| word == "evicted"),
                "run {number} waits for nothing"
            );
        }
    }
    for number in open.keys() {
        node.ends(*number).await;
    }
    for key in limits.keys() {
        assert_eq!(node.holders(key).await, []);
    }
}
