//! The index: what a row says, and lists of them.

use super::*;

/// The row is what was made of it, and changes only when an append says so.
pub async fn the_index_row_follows_the_run(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let labels = vec![("team".to_owned(), "a b".to_owned()), ("é".to_owned(), String::new())];
    let made = RunRow { labels, created: node.now(), ..row(run(1)) };
    let append = Append {
        index: IndexChange::Create(Box::new(made.clone())),
        ..node.acceptance(run(1), RunStatus::Queued)
    };
    node.store().append(append).await.unwrap();
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap(), made);
    node.store().append(node.step(run(1), 1)).await.unwrap();
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap(), made);
    let moved = IndexChange::Moved { version: "2.0.0".into(), snapshot: Digest::of(b"another") };
    node.store().append(Append { index: moved, ..node.step(run(1), 2) }).await.unwrap();
    let snapshot = Digest::of(b"another");
    let made = RunRow { workflow_version: "2.0.0".into(), snapshot, ..made };
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap(), made);
    let due = Some(node.now().plus_ms(5));
    node.store().append(node.status(run(1), 3, RunStatus::Waiting, due)).await.unwrap();
    let waiting = RunRow { status: RunStatus::Waiting, due, ..made };
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap(), waiting);
    node.store().append(node.end(run(1), 4)).await.unwrap();
    let finished = Some(node.now());
    let ended = RunRow { status: RunStatus::Succeeded, due: None, finished, ..waiting };
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap(), ended);
    assert_eq!(node.store().run(run(2)).await, Ok(None));
}

async fn list<B: Backend>(node: &Setup<B>, query: RunQuery) -> Vec<RunId> {
    node.store().runs(query).await.unwrap().iter().map(Listed::run).collect()
}

fn all() -> RunQuery {
    RunQuery { limit: 100, ..RunQuery::default() }
}

/// Newest first, of one tenant, from a cursor on.
pub async fn runs_are_listed_newest_first(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in [2, 1, 4, 3] {
        node.accept(run(number), RunStatus::Queued).await;
    }
    let mut foreign = node.acceptance(run(5), RunStatus::Queued);
    if let IndexChange::Create(row) = &mut foreign.index {
        row.tenant = Tenant("other".into());
    }
    node.store().append(foreign).await.unwrap();
    assert_eq!(list(&node, all()).await, [run(4), run(3), run(2), run(1)]);
    assert_eq!(list(&node, RunQuery { limit: 2, ..all() }).await, [run(4), run(3)]);
    assert_eq!(list(&node, RunQuery { before: Some(run(3)), ..all() }).await, [run(2), run(1)]);
    assert_eq!(list(&node, RunQuery { before: Some(run(1)), ..all() }).await, []);
    assert_eq!(list(&node, RunQuery { before: Some(RunId(0)), ..all() }).await, []);
    assert_eq!(list(&node, RunQuery { limit: 0, ..all() }).await, []);
    assert_eq!(list(&node, RunQuery { tenant: Tenant("other".into()), ..all() }).await, [run(5)]);
}

/// Twelve runs: two workflows, three statuses, two labels.
async fn many<B: Backend>(node: &Setup<B>) {
    for number in 0..12u64 {
        let mut append = node.acceptance(run(number), RunStatus::Running);
        if let IndexChange::Create(row) = &mut append.index {
            row.workflow = if number % 2 == 0 { "demo/even".into() } else { "demo/odd".into() };
            row.labels = vec![("third".into(), (number % 3).to_string()), ("all".into(), "yes".into())];
        }
        node.store().append(append).await.unwrap();
        match number % 4 {
            0 => node.store().append(node.end(run(number), 1)).await.unwrap(),
            1 => node.store().append(node.status(run(number), 1, RunStatus::Waiting, None)).await.unwrap(),
            _ => 1,
        };
    }
}

fn expected(fits: impl Fn(u64) -> bool) -> Vec<RunId> {
    (0..12).rev().filter(|number| fits(*number)).map(run).collect()
}

/// Every filter alone, and all together.
pub async fn runs_are_filtered(backend: impl Backend) {
    let node = Setup::new(backend).await;
    many(&node).await;
    let status = |status: &[RunStatus]| RunQuery { status: status.to_vec(), ..all() };
    let label = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    use RunStatus::{Failed, Running, Succeeded, Waiting};
    assert_eq!(list(&node, status(&[Succeeded])).await, expected(|n| n % 4 == 0));
    assert_eq!(list(&node, status(&[Waiting, Succeeded])).await, expected(|n| n % 4 < 2));
    assert_eq!(list(&node, status(&[Failed])).await, []);
    let odd = RunQuery { workflow: Some("demo/odd".into()), ..all() };
    assert_eq!(list(&node, odd.clone()).await, expected(|n| n % 2 == 1));
    let version = |version: &str| Some(version.to_owned());
    let third_odd = RunQuery { version: version("1.2.0"), label: label("third", "1"), ..odd.clone() };
    assert!(!list(&node, third_odd.clone()).await.is_empty());
    assert_eq!(list(&node, RunQuery { version: version("1.2.1"), ..third_odd }).await, []);
    assert_eq!(list(&node, RunQuery { version: version("1.2.1"), ..odd.clone() }).await, []);
    assert_eq!(
        list(&node, RunQuery { version: version("1.2.0"), ..odd.clone() }).await,
        list(&node, odd.clone()).await
    );
    let odd_running = RunQuery { status: vec![Running], ..odd.clone() };
    assert_eq!(list(&node, odd_running).await, expected(|n| n % 4 == 3));
    let third = RunQuery { label: label("third", "1"), ..all() };
    assert_eq!(list(&node, third.clone()).await, expected(|n| n % 3 == 1));
    let every = RunQuery { workflow: odd.workflow, status: vec![Waiting, Running], ..third };
    assert_eq!(list(&node, every).await, expected(|n| n % 3 == 1 && n % 2 == 1));
    assert_eq!(list(&node, RunQuery { label: label("third", "yes"), ..all() }).await, []);
    assert_eq!(list(&node, RunQuery { workflow: Some("demo".into()), ..all() }).await, []);
}

/// Those that hold a value, of one tenant.
pub async fn runs_are_found_by_what_they_hold(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let held = blob(8, 7);
    for (number, tenant) in [(1, "default"), (2, "other"), (3, "default"), (4, "default")] {
        let mut append = node.acceptance(run(number), RunStatus::Queued);
        if let IndexChange::Create(row) = &mut append.index {
            row.tenant = Tenant(tenant.into());
        }
        if number != 4 {
            append.blobs.push(held.clone());
        }
        node.store().append(append).await.unwrap();
    }
    let holding =
        |tenant: &str| RunQuery { holding: Some(held.digest), tenant: Tenant(tenant.into()), ..all() };
    assert_eq!(list(&node, holding("default")).await, [run(3), run(1)]);
    assert_eq!(list(&node, holding("other")).await, [run(2)]);
    assert_eq!(list(&node, RunQuery { before: Some(run(3)), ..holding("default") }).await, [run(1)]);
    assert_eq!(list(&node, RunQuery { holding: Some(blob(8, 8).digest), ..all() }).await, []);
}

/// Pages taken one after another give every run once, with every filter.
pub async fn pages_join_without_a_seam(backend: impl Backend) {
    let node = Setup::new(backend).await;
    many(&node).await;
    let yes = Some(("all".to_owned(), "yes".to_owned()));
    let queries = [
        all(),
        RunQuery { status: vec![RunStatus::Running, RunStatus::Waiting, RunStatus::Succeeded], ..all() },
        RunQuery { label: yes, ..all() },
        RunQuery { workflow: Some("demo/even".into()), ..all() },
    ];
    for query in queries {
        let whole = list(&node, query.clone()).await;
        let mut joined = Vec::new();
        loop {
            let page =
                list(&node, RunQuery { limit: 5, before: joined.last().copied(), ..query.clone() }).await;
            if page.is_empty() {
                break;
            }
            joined.extend(page);
        }
        assert_eq!(joined, whole);
        assert!(whole.len() >= 6);
    }
}
