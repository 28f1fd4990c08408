//! What is owed to webhooks: rows that are there exactly when their fact is, taken by one node at a time.

use super::*;
use crate::outbox::{
    Delivery, DeliveryClaim, DeliveryQuery, DeliveryRow, DeliveryStatus, DeliveryWrite, OutboxFault,
    OutboxReport, Standing,
};
use heddle_core::webhook::DeliveryId;

fn delivery(number: u128, endpoint: &str, due: Timestamp) -> Delivery {
    Delivery {
        id: DeliveryId(number),
        tenant: Tenant::default(),
        endpoint: endpoint.into(),
        url: "https://a.example/".into(),
        secret: Some("key".into()),
        run: Some(run(1)),
        event: "run.failed".into(),
        message: Json::trusted(format!(r#"{{"n":{number}}}"#)),
        created: START,
        standing: Standing::Waiting(due),
        tries: Json::trusted("[]"),
    }
}

fn claim(now: Timestamp) -> DeliveryClaim {
    DeliveryClaim { now, limit: 100, per_endpoint: 100, busy: vec![], after: "".into() }
}

fn numbers(rows: &[DeliveryRow]) -> Vec<u128> {
    rows.iter().map(|row| row.delivery.id.0).collect()
}

async fn put<B: Backend>(node: &Setup<B>, delivery: Delivery, expected: u64) -> Result<u64, OutboxFault> {
    let write = DeliveryWrite { epoch: node.lease.epoch, expected, delivery };
    node.store().put_delivery(write).await
}

async fn taken<B: Backend>(node: &Setup<B>, claim: DeliveryClaim) -> Vec<u128> {
    numbers(&node.store().claim_deliveries(&node.lease, claim).await.unwrap().rows)
}

/// A delivery is there when its append is, and is not when the append is refused.
pub async fn a_delivery_goes_with_its_append(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    let told = delivery(1, "a", START);
    let append = Append { deliveries: vec![told.clone()], ..node.step(run(1), 1) };
    assert_eq!(node.store().append(append.clone()).await, Ok(2));
    let stale = Append { deliveries: vec![delivery(2, "a", START)], ..append };
    assert!(matches!(node.store().append(stale).await, Err(AppendFault::Conflict { .. })));
    assert_eq!(node.store().delivery(&Tenant::default(), DeliveryId(2)).await, Ok(None));
    node.restart().await;
    let row = node.store().delivery(&Tenant::default(), DeliveryId(1)).await.unwrap();
    assert_eq!(row, Some(DeliveryRow { version: 1, delivery: told }));
    assert_eq!(node.store().delivery(&Tenant("other".into()), DeliveryId(1)).await, Ok(None));
    let report = node.store().outbox_report().await.unwrap();
    assert_eq!(report, OutboxReport { waiting: 1, oldest: Some(START) });
}

/// What is due is taken by one node, which writes what came of it at the version that it took.
pub async fn a_delivery_is_sent_by_one_node(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    for (number, due) in [(1, START), (2, START.plus_ms(1)), (3, START.plus_ms(500))] {
        assert_eq!(put(&node, delivery(number, "a", due), 0).await, Ok(1));
    }
    let again = put(&node, delivery(1, "a", START), 0).await;
    assert_eq!(again, Err(OutboxFault::Conflict { id: DeliveryId(1), expected: 0, found: 1 }));
    let claimed = node.store().claim_deliveries(&node.lease, claim(START.plus_ms(1))).await.unwrap();
    assert_eq!((numbers(&claimed.rows), claimed.next), (vec![1, 2], Some(START.plus_ms(500))));
    assert_eq!(taken(&node, claim(START.plus_ms(1))).await, [0; 0], "they are on their way");
    let done = Delivery {
        standing: Standing::Delivered(START.plus_ms(9)),
        tries: Json::trusted("[{}]"),
        ..delivery(1, "a", START)
    };
    assert_eq!(put(&node, done.clone(), 1).await, Ok(2));
    assert!(matches!(put(&node, done.clone(), 1).await, Err(OutboxFault::Conflict { found: 2, .. })));
    let row = node.store().delivery(&Tenant::default(), DeliveryId(1)).await.unwrap().unwrap();
    assert_eq!(row, DeliveryRow { version: 2, delivery: done });
    let later = Delivery { standing: Standing::Waiting(START.plus_ms(50)), ..delivery(2, "a", START) };
    assert_eq!(put(&node, later, 1).await, Ok(2));
    assert_eq!(taken(&node, claim(START.plus_ms(49))).await, [0; 0]);
    assert_eq!(taken(&node, claim(START.plus_ms(50))).await, [2]);
    // The node goes away while it sends.
    let old = node.lease.clone();
    node.restart().await;
    let late = DeliveryWrite { epoch: old.epoch, expected: 2, delivery: delivery(2, "a", START) };
    assert_eq!(node.store().put_delivery(late).await, Err(OutboxFault::Fenced { epoch: old.epoch }));
    assert_eq!(node.store().claim_deliveries(&old, claim(START.plus_ms(50))).await, Ok(Default::default()));
    assert_eq!(taken(&node, claim(START.plus_ms(50))).await, [2]);
}

/// No endpoint has more on its way than it may, and none waits for another.
pub async fn endpoints_have_their_turn(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in 0..9u128 {
        let endpoint = ["a", "b", "c"][number as usize % 3];
        put(&node, delivery(number, endpoint, START.plus_ms(number as u64)), 0).await.unwrap();
    }
    let now = START.plus_ms(100);
    let two = DeliveryClaim { per_endpoint: 2, busy: vec![("a".into(), 1), ("b".into(), 2)], ..claim(now) };
    assert_eq!(taken(&node, two).await, [0, 2, 5]);
    let turn = DeliveryClaim { limit: 2, after: "a".into(), ..claim(now) };
    assert_eq!(taken(&node, turn).await, [1, 4], "`b` is next, and takes all that there is room for");
    let turn = DeliveryClaim { limit: 2, after: "b".into(), ..claim(now) };
    assert_eq!(taken(&node, turn).await, [8, 3]);
    assert_eq!(taken(&node, claim(now)).await, [6, 7]);
}

/// Lists are filtered, newest first, and are of one tenant.
pub async fn deliveries_are_listed(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in 1..=6u128 {
        let standing = match number % 3 {
            0 => Standing::Failed(START),
            1 => Standing::Delivered(START),
            _ => Standing::Waiting(START),
        };
        let endpoint = if number > 3 { "b" } else { "a" };
        let told =
            Delivery { standing, run: Some(run(number as u64 % 2)), ..delivery(number, endpoint, START) };
        put(&node, told, 0).await.unwrap();
    }
    put(&node, Delivery { tenant: Tenant("other".into()), run: None, ..delivery(9, "a", START) }, 0)
        .await
        .unwrap();
    let list = async |query: DeliveryQuery| {
        numbers(&node.store().deliveries(DeliveryQuery { limit: query.limit.max(1), ..query }).await.unwrap())
    };
    let all = DeliveryQuery { limit: 10, ..DeliveryQuery::default() };
    assert_eq!(list(all.clone()).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(DeliveryQuery { before: Some(DeliveryId(5)), limit: 2, ..all.clone() }).await, [4, 3]);
    assert_eq!(list(DeliveryQuery { endpoint: Some("a".into()), ..all.clone() }).await, [3, 2, 1]);
    assert_eq!(list(DeliveryQuery { run: Some(run(0)), ..all.clone() }).await, [6, 4, 2]);
    assert_eq!(list(DeliveryQuery { status: Some(DeliveryStatus::Failed), ..all.clone() }).await, [6, 3]);
    let both =
        DeliveryQuery { endpoint: Some("b".into()), status: Some(DeliveryStatus::Waiting), ..all.clone() };
    assert_eq!(list(both).await, [5]);
    assert_eq!(list(DeliveryQuery { tenant: Tenant("other".into()), ..all }).await, [9]);
}

/// What has ended goes after its time; what waits does not.
pub async fn old_deliveries_go(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for (number, standing) in [
        (1, Standing::Delivered(START)),
        (2, Standing::Failed(START.plus_ms(10))),
        (3, Standing::Delivered(START.plus_ms(20))),
        (4, Standing::Waiting(START)),
    ] {
        put(&node, Delivery { standing, ..delivery(number, "a", START) }, 0).await.unwrap();
    }
    assert_eq!(node.store().retain(START.plus_ms(15), u64::MAX / 2, 1).await, Ok(1));
    assert_eq!(node.store().retain(START.plus_ms(15), u64::MAX / 2, 10).await, Ok(1));
    assert_eq!(node.store().retain(START.plus_ms(15), u64::MAX / 2, 10).await, Ok(0));
    let left = node.store().deliveries(DeliveryQuery { limit: 9, ..DeliveryQuery::default() }).await.unwrap();
    assert_eq!(numbers(&left), [4, 3]);
}
