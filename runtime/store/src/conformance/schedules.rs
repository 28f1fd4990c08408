//! The rows of schedules: versions, leases, and who keeps the time.

use super::*;
use crate::timetable::{ScheduleFault, ScheduleRow, ScheduleWrite};

fn body(text: &str) -> Option<Json> {
    Some(Json::trusted(format!("{{\"v\":\"{text}\"}}")))
}

fn write(lease: &Lease, id: &str, expected: u64, body: Option<Json>) -> ScheduleWrite {
    ScheduleWrite { epoch: lease.epoch, tenant: Tenant::default(), id: id.into(), expected, body }
}

async fn ids<B: Backend>(node: &Setup<B>, lease: &Lease, limit: u32) -> Vec<String> {
    node.store().claim_schedules(lease, limit).await.unwrap().into_iter().map(|row| row.id).collect()
}

/// A row is written at the version that the writer has seen, and a version never comes again.
pub async fn a_schedule_is_written_at_its_version(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let (store, lease, tenant) = (node.store(), node.lease.clone(), Tenant::default());
    assert_eq!(store.schedule(&tenant, "a.b.c").await, Ok(None));
    let early = store.put_schedule(write(&lease, "a.b.c", 7, body("x"))).await;
    assert_eq!(early, Err(ScheduleFault::Conflict { id: "a.b.c".into(), expected: 7, found: 0 }));
    let first = store.put_schedule(write(&lease, "a.b.c", 0, body("x"))).await.unwrap();
    let again = store.put_schedule(write(&lease, "a.b.c", 0, body("y"))).await;
    assert_eq!(again, Err(ScheduleFault::Conflict { id: "a.b.c".into(), expected: 0, found: first }));
    let second = store.put_schedule(write(&lease, "a.b.c", first, body("y"))).await.unwrap();
    let row = store.schedule(&tenant, "a.b.c").await.unwrap().unwrap();
    let owner = Some(lease.epoch);
    let wanted = ScheduleRow {
        tenant: tenant.clone(),
        id: "a.b.c".into(),
        version: second,
        owner,
        body: body("y").unwrap(),
    };
    assert_eq!(row, wanted);
    assert_eq!(store.schedule(&Tenant("other".into()), "a.b.c").await, Ok(None));
    let gone = store.put_schedule(write(&lease, "a.b.c", second, None)).await.unwrap();
    assert_eq!(store.schedule(&tenant, "a.b.c").await, Ok(None));
    let anew = store.put_schedule(write(&lease, "a.b.c", 0, body("z"))).await.unwrap();
    assert!(first < second && second < gone && gone < anew, "{first} {second} {gone} {anew}");
}

/// Rows are listed in the order of their ids, one tenant at a time.
pub async fn schedules_are_in_order(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let store = node.store();
    for id in ["b.x.1", "a.x.2", "a.x.1", "c.x.1"] {
        store.put_schedule(write(&node.lease, id, 0, body(id))).await.unwrap();
    }
    let other = ScheduleWrite { tenant: Tenant("a".into()), ..write(&node.lease, "z.z.z", 0, body("z")) };
    store.put_schedule(other).await.unwrap();
    let page = async |after: &str, limit| -> Vec<String> {
        let rows = store.schedules(&Tenant::default(), after, limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(page("", 10).await, ["a.x.1", "a.x.2", "b.x.1", "c.x.1"]);
    assert_eq!(page("a.x.1", 2).await, ["a.x.2", "b.x.1"]);
    assert_eq!(page("c.x.1", 2).await, [""; 0]);
}

/// Nobody writes under a lease that has ended.
pub async fn a_schedule_of_an_ended_lease_is_fenced(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let store = node.store();
    let version = store.put_schedule(write(&node.lease, "a.b.c", 0, body("x"))).await.unwrap();
    node.pass(TTL_MS);
    let late = store.put_schedule(write(&node.lease, "a.b.c", version, body("y"))).await;
    assert_eq!(late, Err(ScheduleFault::Fenced { epoch: node.lease.epoch }));
    let row = store.schedule(&Tenant::default(), "a.b.c").await.unwrap().unwrap();
    assert_eq!((row.version, row.body), (version, body("x").unwrap()));
    assert_eq!(ids(&node, &node.lease, 10).await, [""; 0], "it owns nothing any more, either");
}

/// A schedule has one keeper: who writes it, until another writes or its lease ends.
pub async fn a_schedule_has_one_keeper(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let store = node.store();
    let one = node.lease.clone();
    for id in ["a.b.1", "a.b.2", "a.b.3"] {
        store.put_schedule(write(&one, id, 0, body(id))).await.unwrap();
    }
    let two = store.take_lease("two", TTL_MS * 3).await.unwrap().unwrap();
    assert_eq!(ids(&node, &two, 10).await, [""; 0], "the first one lives");
    // A write at another node takes the row over.
    let seen = store.schedule(&Tenant::default(), "a.b.3").await.unwrap().unwrap();
    store.put_schedule(write(&two, "a.b.3", seen.version, body("w"))).await.unwrap();
    let stale = store.put_schedule(write(&one, "a.b.3", seen.version, body("v"))).await;
    assert!(matches!(stale, Err(ScheduleFault::Conflict { .. })), "{stale:?}");
    node.pass(TTL_MS);
    assert_eq!(ids(&node, &two, 1).await, ["a.b.1"]);
    assert_eq!(ids(&node, &two, 10).await, ["a.b.2"]);
    assert_eq!(ids(&node, &two, 10).await, [""; 0]);
    let row = store.schedule(&Tenant::default(), "a.b.3").await.unwrap().unwrap();
    assert_eq!((row.owner, row.body), (Some(two.epoch), body("w").unwrap()));
    // A restart ends all leases.
    drop(store);
    node.restart().await;
    assert_eq!(ids(&node, &node.lease, 10).await.len(), 3);
}
