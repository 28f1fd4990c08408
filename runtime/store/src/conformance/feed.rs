//! What all runs did, in the order of their commits.

use super::*;
use crate::feed::{FeedPage, FeedQuery};

async fn page<B: Backend>(node: &Setup<B>, query: FeedQuery) -> FeedPage {
    node.store().committed(query).await.unwrap()
}

fn behind(after: u64) -> FeedQuery {
    FeedQuery { after, limit: 100, ..FeedQuery::default() }
}

fn rows(page: &FeedPage) -> Vec<(u64, RunId, u64)> {
    page.rows.iter().map(|row| (row.position, row.run, row.row.as_ref().unwrap().seq)).collect()
}

/// A run of another tenant, and of another workflow.
async fn foreign<B: Backend>(node: &Setup<B>, number: u64) {
    let mut append = node.acceptance(run(number), RunStatus::Queued);
    if let IndexChange::Create(row) = &mut append.index {
        (row.tenant, row.workflow) = (Tenant("other".into()), "demo/other".into());
    }
    node.store().append(append).await.unwrap();
}

/// Rows of all runs come as they were committed, with what is needed to tell them; refused ones leave no hole that a
/// reader would take for a loss, and each is asked for by tenant and workflow.
pub async fn all_runs_are_told_in_the_order_of_their_commits(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    assert_eq!(node.store().newest().await, Ok(0));
    assert_eq!(page(&node, behind(0)).await, FeedPage::default());
    node.accept(run(2), RunStatus::Running).await;
    node.accept(run(1), RunStatus::Running).await;
    foreign(&node, 3).await;
    node.store().append(node.step(run(2), 1)).await.unwrap();
    assert!(node.store().append(node.step(run(2), 1)).await.is_err());
    node.store().append(node.end(run(1), 1)).await.unwrap();
    let all = page(&node, behind(0)).await;
    let wanted = [(1, run(2), 1), (2, run(1), 1), (3, run(3), 1), (4, run(2), 2), (5, run(1), 2)];
    assert_eq!((rows(&all), all.upto, all.more), (wanted.to_vec(), 5, false));
    assert_eq!(all.rows[0].row.as_ref().unwrap().batch, node.acceptance(run(2), RunStatus::Running).batch);
    assert_eq!((&*all.rows[2].tenant.0, &*all.rows[2].workflow), ("other", "demo/other"));
    assert_eq!(all.rows[0].snapshot, row(run(2)).snapshot);
    node.restart().await;
    assert_eq!(rows(&page(&node, behind(3)).await), wanted[3..]);
    let other = FeedQuery { tenant: Some(Tenant("other".into())), ..behind(0) };
    assert_eq!(rows(&page(&node, other.clone()).await), wanted[2..3]);
    let none = FeedQuery { workflow: Some("demo/hello".into()), ..other };
    let none = page(&node, none).await;
    assert_eq!((rows(&none), none.upto), (vec![], 5));
    let own = FeedQuery { workflow: Some("demo/hello".into()), ..behind(1) };
    assert_eq!(rows(&page(&node, own).await), [wanted[1], wanted[3], wanted[4]]);
    assert_eq!(node.store().newest().await, Ok(5));
}

/// A page looks at so many rows, however few of them are asked for, and the next one goes on behind it.
pub async fn a_page_says_how_far_it_looked(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in 1..=5 {
        foreign(&node, number).await;
    }
    node.accept(run(6), RunStatus::Running).await;
    let own = |after| FeedQuery { tenant: Some(Tenant::default()), limit: 3, ..behind(after) };
    let first = page(&node, own(0)).await;
    assert_eq!((rows(&first), first.upto, first.more), (vec![], 3, true));
    let second = page(&node, own(first.upto)).await;
    assert_eq!((rows(&second), second.upto), (vec![(6, run(6), 1)], 6));
    let last = page(&node, own(6)).await;
    assert_eq!((rows(&last), last.upto, last.more), (vec![], 6, false));
}

/// Whoever comes back with a position misses nothing, even where all that there was has been removed.
pub async fn no_position_is_given_twice(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.store().append(node.end(run(1), 1)).await.unwrap();
    node.pass(1_000);
    while node.store().retain(node.now(), u64::MAX, 100).await.unwrap() > 0 {}
    assert_eq!(rows(&page(&node, behind(0)).await), []);
    assert_eq!(node.store().newest().await, Ok(2));
    node.restart().await;
    assert_eq!(node.store().newest().await, Ok(2));
    node.accept(run(2), RunStatus::Running).await;
    assert_eq!(rows(&page(&node, behind(2)).await), [(3, run(2), 1)]);
}

/// What cannot be read says so in its place.
pub async fn a_damaged_row_takes_nothing_from_the_others(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.store().append(node.step(run(1), 1)).await.unwrap();
    node.accept(run(2), RunStatus::Running).await;
    node.backend.damage(&Damage::Journal(run(1), 2));
    let page = page(&node, behind(0)).await;
    let read: Vec<bool> = page.rows.iter().map(|row| row.row.is_ok()).collect();
    assert_eq!(read, [true, false, true]);
    assert!(page.rows[1].row.as_ref().unwrap_err().contains("row 2"), "{:?}", page.rows[1]);
}
