//! Values by their digest, and the cache of outputs.

use super::*;
use futures_util::future::join_all;

/// Values come back whatever their size, with a run or without one.
pub async fn values_come_back(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let sizes = [0, 1, 65_536, 256 * 1024, 256 * 1024 + 1, 3_000_000];
    let values: Vec<Blob> = (0u8..).zip(sizes).map(|(fill, size)| blob(size, fill)).collect();
    let append = Append { blobs: values[..5].to_vec(), ..node.acceptance(run(1), RunStatus::Running) };
    node.store().append(append).await.unwrap();
    node.store().put_blob(values[5].clone()).await.unwrap();
    node.store().put_blob(values[1].clone()).await.unwrap();
    for restarted in [false, true] {
        if restarted {
            node.restart().await;
        }
        for value in &values {
            assert_eq!(node.store().blob(value.digest).await.unwrap().as_ref(), Some(&value.bytes));
        }
        assert_eq!(node.store().blob(Digest::of(b"nothing")).await, Ok(None));
    }
}

/// Writing large values takes longer than an append without one; the order of a run's appends stays all the same.
pub async fn large_values_keep_the_order_of_appends(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let queued: Vec<_> = (0..24u64)
        .map(|number| {
            let (run, expected) = (run(number % 2), number / 2);
            let mut append = match expected {
                0 => node.acceptance(run, RunStatus::Running),
                _ => node.step(run, expected),
            };
            if number % 3 == 0 {
                append.blobs = vec![blob(300_000 + number as usize, 9), blob(400_000, 8)];
            }
            node.store().append(append)
        })
        .collect();
    let answers = join_all(queued).await;
    assert_eq!(answers, (0..24).map(|number| Ok(number / 2 + 1)).collect::<Vec<_>>());
    for number in (0..24).step_by(3) {
        assert!(node.store().blob(blob(300_000 + number, 9).digest).await.unwrap().is_some());
    }
}

/// A value whose bytes are others is never given out.
pub async fn a_damaged_value_is_found(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let (small, large, sound) = (blob(1000, 1), blob(300_000, 2), blob(300_000, 3));
    let blobs = vec![small.clone(), large.clone(), sound.clone()];
    node.store().append(Append { blobs, ..node.acceptance(run(1), RunStatus::Running) }).await.unwrap();
    for value in [&small, &large] {
        node.backend.damage(&Damage::Blob(value.digest));
        let read = node.store().blob(value.digest).await;
        assert!(matches!(read, Err(StoreFault::Damaged { .. })), "{read:?}");
    }
    assert_eq!(node.store().blob(sound.digest).await, Ok(Some(sound.bytes)));
}

/// An entry of the default tenant.
pub fn entry(key: u8, output: CachedOutput, expires: Option<Timestamp>) -> CacheRow {
    let key = Digest::of(&[key]);
    CacheRow { key, tenant: Tenant::default(), output, stored: START, expires, source_run: run(1) }
}

/// An output of about this many bytes.
pub fn inline(bytes: usize) -> CachedOutput {
    CachedOutput::Inline(Json::trusted(format!("\"{}\"", "x".repeat(bytes))))
}

/// An entry is a hit for its tenant until its end.
pub async fn the_cache_answers_its_tenant_until_the_end(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let tenant = Tenant::default();
    let value = blob(100_000, 1);
    let stored = CachedOutput::Stored { digest: value.digest, size: 100_000 };
    let end = node.now().plus_ms(50);
    let rows = vec![entry(1, inline(10), None), entry(2, stored, None), entry(3, inline(10), Some(end))];
    let append = node.acceptance(run(1), RunStatus::Running);
    node.store().append(Append { cache: rows.clone(), blobs: vec![value.clone()], ..append }).await.unwrap();
    let look = async |node: &Setup<_>, key: u8, now| {
        node.store().cached(&tenant, Digest::of(&[key]), now).await.unwrap()
    };
    for row in &rows {
        assert_eq!(node.store().cached(&tenant, row.key, node.now()).await, Ok(Some(row.clone())));
    }
    assert_eq!(look(&node, 4, node.now()).await, None);
    assert_eq!(node.store().cached(&Tenant("other".into()), rows[0].key, node.now()).await, Ok(None));
    assert!(look(&node, 3, Timestamp(end.0 - 1)).await.is_some());
    assert_eq!(look(&node, 3, end).await, None);
    node.restart().await;
    assert_eq!(look(&node, 1, node.now()).await, Some(rows[0].clone()));
    assert_eq!(look(&node, 2, node.now()).await, Some(rows[1].clone()));
    assert_eq!(node.store().blob(value.digest).await, Ok(Some(value.bytes)));
}

/// The entry that was written last is the one that counts, and a refused append writes none.
pub async fn a_cache_entry_is_replaced(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let tenant = Tenant::default();
    node.accept(run(1), RunStatus::Running).await;
    for (expected, size) in [(1, 10), (2, 20)] {
        let cache = vec![entry(1, inline(size), None)];
        node.store().append(Append { cache, ..node.step(run(1), expected) }).await.unwrap();
    }
    let refused = Append { cache: vec![entry(1, inline(30), None)], ..node.step(run(1), 1) };
    assert!(node.store().append(refused).await.is_err());
    let found = node.store().cached(&tenant, Digest::of(&[1]), node.now()).await.unwrap().unwrap();
    assert_eq!(found.output, inline(20));
    // Two entries of 20 bytes would be more than this share, one is not.
    assert_eq!(node.store().retain(Timestamp(0), 400, 100).await, Ok(0));
}

/// A damaged entry is no fault: it is computed again.
pub async fn a_damaged_entry_is_a_miss(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let tenant = Tenant::default();
    let cache = vec![entry(1, inline(10), None), entry(2, inline(10), None)];
    node.store().append(Append { cache, ..node.acceptance(run(1), RunStatus::Running) }).await.unwrap();
    node.backend.damage(&Damage::Cache(tenant.clone(), Digest::of(&[1])));
    assert_eq!(node.store().cached(&tenant, Digest::of(&[1]), node.now()).await, Ok(None));
    assert!(node.store().cached(&tenant, Digest::of(&[2]), node.now()).await.unwrap().is_some());
    let again = vec![entry(1, inline(10), None)];
    node.store().append(Append { cache: again, ..node.step(run(1), 1) }).await.unwrap();
    assert!(node.store().cached(&tenant, Digest::of(&[1]), node.now()).await.unwrap().is_some());
}

/// Past a tenant's share the entries go that were used longest ago, as far as hours tell.
pub async fn the_longest_unused_goes_first(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let tenant = Tenant::default();
    node.accept(run(1), RunStatus::Running).await;
    for number in 0..10u8 {
        let cache = vec![entry(number, inline(10_000), None)];
        node.store().append(Append { cache, ..node.step(run(1), u64::from(number) + 1) }).await.unwrap();
        node.pass(1);
    }
    let mut foreign = entry(1, inline(10_000), None);
    foreign.tenant = Tenant("other".into());
    node.store().append(Append { cache: vec![foreign], ..node.step(run(1), 11) }).await.unwrap();
    node.pass(2 * 3_600_000);
    node.restart().await;
    assert!(node.store().cached(&tenant, Digest::of(&[0]), node.now()).await.unwrap().is_some());
    assert_eq!(node.store().retain(Timestamp(0), 200_000, 100).await, Ok(0));
    assert_eq!(node.store().retain(Timestamp(0), 50_000, 2).await, Ok(2));
    assert_eq!(node.store().retain(Timestamp(0), 50_000, 100).await, Ok(4));
    assert_eq!(node.store().retain(Timestamp(0), 50_000, 100).await, Ok(0));
    let mut left = Vec::new();
    for number in 0..10u8 {
        if node.store().cached(&tenant, Digest::of(&[number]), node.now()).await.unwrap().is_some() {
            left.push(number);
        }
    }
    assert_eq!(left, [0, 7, 8, 9]);
    assert!(
        node.store().cached(&Tenant("other".into()), Digest::of(&[1]), node.now()).await.unwrap().is_some()
    );
}
