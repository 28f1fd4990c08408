//! What is decided of a plugin's versions, and what runs get by it.

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn version(text: &str) -> Version {
    text.parse().unwrap()
}
fn loaded(versions: &[&str]) -> BTreeMap<Version, String> {
    versions.iter().map(|text| (version(text), (*text).to_owned())).collect()
}
fn reference(range: &str) -> PluginRef {
    PluginRef { kind: crate::outcome::PluginKind::Tool, name: "a".to_owned(), range: range.parse().unwrap() }
}
fn wish(text: &str, share: u8, gate: Option<(u32, u8, Then)>) -> Trial {
    let gate = gate.map(|(calls, failures_percent, then)| HealthGate { calls, failures_percent, then });
    Trial { version: version(text), share, since: NOW, gate }
}
fn picked<'a>(
    release: &Release,
    loaded: &'a BTreeMap<Version, String>,
    range: &str,
    on_trial: bool,
) -> Option<&'a str> {
    release.pick(loaded, &reference(range), on_trial).map(String::as_str)
}

#[test]
fn the_newest_is_meant_until_somebody_decides() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0", "1.2.0", "2.0.0"]));
    assert_eq!(picked(&release, &loaded, "*", false), Some("2.0.0"));
    assert_eq!(picked(&release, &loaded, "^1", false), Some("1.2.0"));
    release.promote(&loaded, wish("1.1.0", 100, None)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.1.0"));
    assert_eq!(picked(&release, &loaded, "^1", false), Some("1.1.0"));
    assert_eq!(picked(&release, &loaded, "^2", false), Some("2.0.0"), "whoever asks for more gets it");
    assert_eq!(picked(&release, &loaded, "=1.0.0", false), Some("1.0.0"));
    assert_eq!(release.live(&loaded, false).map(String::as_str), Some("1.1.0"));
    release.follow(NOW);
    assert_eq!(picked(&release, &loaded, "*", false), Some("2.0.0"));
    assert_eq!(
        release.promote(&loaded, wish("9.0.0", 100, None)),
        Err(ReleaseFault::NoVersion(version("9.0.0")))
    );
    assert_eq!(release.promote(&loaded, wish("1.0.0", 101, None)), Err(ReleaseFault::Share(101)));
}

#[test]
fn a_share_of_the_runs_tries_a_version() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0"]));
    release.promote(&loaded, wish("1.1.0", 15, None)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.0.0"), "the others stay where they were");
    assert_eq!(picked(&release, &loaded, "*", true), Some("1.1.0"));
    assert_eq!(picked(&release, &loaded, "=1.0.0", true), Some("1.0.0"));
    let standing = |release: &Release, text| release.standing(&loaded, &version(text)).word();
    assert_eq!(["1.0.0", "1.1.0"].map(|text| standing(&release, text)), ["current", "trial"]);
    assert_eq!(["1.0.0", "1.1.0"].map(|text| standing(&Release::default(), text)), ["other", "current"]);
    assert_eq!((0..1_000).filter(|number| release.tries(*number)).count(), 150);
    release.roll_back(&loaded, Some(&version("1.1.0")), (NOW, "too slow".into(), false)).unwrap();
    assert_eq!(picked(&release, &loaded, "^1", true), Some("1.0.0"));
    assert_eq!(picked(&release, &loaded, "=1.1.0", false), Some("1.1.0"), "who names it gets it");
    assert_eq!(picked(&release, &loaded, "^1.1", false), None, "and nobody else");
    assert_eq!(["1.0.0", "1.1.0"].map(|text| standing(&release, text)), ["current", "withdrawn"]);
    assert!(!release.tries(6) && release.withdrawn[&version("1.1.0")] == "too slow");
    release.promote(&loaded, wish("1.1.0", 100, None)).unwrap();
    assert!(release.withdrawn.is_empty(), "promoted again it is withdrawn no more");
}

#[test]
fn those_who_do_not_try_keep_what_they_have() {
    let loaded = loaded(&["1.0.0", "1.1.0", "1.2.0", "2.0.0"]);
    let others = |current: Option<&str>, tried| {
        let mut release = Release { current: current.map(version), ..Release::default() };
        release.promote(&loaded, wish(tried, 10, None)).unwrap();
        picked(&release, &loaded, "*", false).map(str::to_owned)
    };
    assert_eq!(others(None, "1.1.0").as_deref(), Some("2.0.0"), "the newest, which they have");
    assert_eq!(others(Some("1.1.0"), "2.0.0").as_deref(), Some("1.1.0"));
    assert_eq!(others(Some("1.1.0"), "1.1.0").as_deref(), Some("1.0.0"), "nothing that nobody promoted");
    assert_eq!(others(None, "2.0.0").as_deref(), Some("1.2.0"));
    assert_eq!(others(Some("1.0.0"), "1.0.0").as_deref(), Some("1.1.0"), "there is none below");
}

#[test]
fn who_goes_back_twice_goes_back_once() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0", "1.2.0"]));
    release.promote(&loaded, wish("1.2.0", 10, None)).unwrap();
    let back = |release: &mut Release, text: &str| {
        release.roll_back(&loaded, Some(&version(text)), (NOW, "slow".into(), false))
    };
    assert_eq!(
        back(&mut release, "1.1.0"),
        Err(ReleaseFault::NotIts(version("1.1.0"), Some(version("1.2.0"))))
    );
    back(&mut release, "1.2.0").unwrap();
    let again = back(&mut release, "1.2.0");
    assert_eq!(again, Err(ReleaseFault::IsWithdrawn(version("1.2.0"), "slow".into())));
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.1.0"), "the good one stays");
    back(&mut release, "1.1.0").unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.0.0"));
}

#[test]
fn a_pre_release_is_for_those_who_were_given_it() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "2.0.0-rc.1"]));
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.0.0"));
    assert_eq!(release.live(&loaded, false).map(String::as_str), Some("1.0.0"));
    release.promote(&loaded, wish("2.0.0-rc.1", 10, None)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", true), Some("2.0.0-rc.1"));
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.0.0"));
    assert_eq!(picked(&release, &loaded, "^1", true), Some("1.0.0"), "who has a range keeps to it");
    release.promote(&loaded, wish("2.0.0-rc.1", 100, None)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("2.0.0-rc.1"));
    let only = BTreeMap::from([(version("1.0.0-a"), "1.0.0-a".to_owned())]);
    assert_eq!(picked(&Release::default(), &only, "*", false), Some("1.0.0-a"));
}

#[test]
fn what_runs_get_may_not_go() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0", "1.2.0"]));
    let needed = |release: &Release| -> Vec<&str> {
        let all = ["1.0.0", "1.1.0", "1.2.0"];
        all.into_iter().filter(|text| release.needs(&loaded, &version(text))).collect()
    };
    assert_eq!(needed(&release), ["1.2.0"], "the newest, which runs get while nobody decides");
    release.promote(&loaded, wish("1.0.0", 10, None)).unwrap();
    assert_eq!(needed(&release), ["1.0.0", "1.2.0"]);
    let only = BTreeMap::from([(version("1.0.0"), ())]);
    assert!(!Release::default().needs(&only, &version("1.0.0")), "the last one may go");
}

#[test]
fn a_gate_speaks_of_its_own_trial() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0"]));
    release.promote(&loaded, wish("1.1.0", 10, Some((1, 0, Then::Hold)))).unwrap();
    let bad = Seen { calls: 1, failures: 1 };
    assert!(release.judge_since(NOW, bad).is_some());
    assert_eq!(release.judge_since(Timestamp(5), bad), None, "of a trial that is over");
}

#[test]
fn back_is_where_it_came_from() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0", "1.2.0"]));
    release.roll_back(&loaded, None, (NOW, String::new(), false)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.1.0"), "nobody had decided: the one below");
    release.promote(&loaded, wish("1.0.0", 100, None)).unwrap();
    release.promote(&loaded, wish("1.2.0", 100, None)).unwrap();
    release.roll_back(&loaded, None, (NOW, String::new(), false)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.0.0"), "what was current before");
    release.roll_back(&loaded, None, (NOW, String::new(), false)).unwrap();
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.1.0"), "that was promoted from there");
    assert_eq!(
        release.roll_back(&loaded, None, (NOW, String::new(), false)),
        Err(ReleaseFault::NothingBefore),
        "every other one is withdrawn"
    );
    let only = BTreeMap::from([(version("1.0.0"), ())]);
    assert_eq!(
        Release::default().roll_back(&only, None, (NOW, String::new(), false)),
        Err(ReleaseFault::NothingBefore)
    );
    assert_eq!(Release::default().promote(&only, wish("1.0.0", 5, None)), Err(ReleaseFault::NothingBefore));
}

#[test]
fn a_gate_ends_a_trial_as_soon_as_it_is_clear() {
    let (mut release, loaded) = (Release::default(), loaded(&["1.0.0", "1.1.0"]));
    release.promote(&loaded, wish("1.1.0", 10, Some((20, 10, Then::Promote)))).unwrap();
    let judged = |release: &Release, calls, failures| release.judge(Seen { calls, failures });
    assert_eq!(judged(&release, 2, 2), None, "two of twenty are allowed");
    assert!(matches!(judged(&release, 3, 3), Some(Verdict::RollBack(why)) if why.contains("3 of 3")));
    assert_eq!(judged(&release, 19, 0), None);
    assert_eq!(judged(&release, 20, 2), Some(Verdict::Promote));
    assert!(matches!(judged(&release, 100, 11), Some(Verdict::RollBack(_))));
    let mut held = release.clone();
    held.trial.as_mut().unwrap().gate.as_mut().unwrap().then = Then::Hold;
    assert_eq!(judged(&held, 20, 2), None, "a person decides");
    release.pass(NOW, Seen { calls: 20, failures: 2 });
    assert_eq!(picked(&release, &loaded, "*", false), Some("1.1.0"));
    assert!(release.changes.back().is_some_and(|change| change.by_gate));
    // All of the runs, under a gate.
    let mut release = Release::default();
    release.promote(&loaded, wish("1.1.0", 100, Some((1, 0, Then::Promote)))).unwrap();
    assert!((0..50).all(|number| release.tries(number)));
    assert_eq!(release.live(&loaded, false).map(String::as_str), Some("1.0.0"));
    assert_eq!(release.promote(&loaded, wish("1.1.0", 5, Some((0, 0, Then::Hold)))), Err(ReleaseFault::Gate));
    for _ in 0..100 {
        release.follow(NOW);
    }
    assert_eq!(release.changes.len(), MOST_CHANGES);
}
