#![allow(clippy::unwrap_used, reason = "tests")]
mod support;
use heddle_host::testkit::Guest;
use std::time::Instant;
use support::Bench;
use wasmtime::component::*;
use wasmtime::*;
wasmtime::component::bindgen!({ path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"], world: "heddle:plugin/transform", exports: { default: async } });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn perf() {
    let guest = Guest::transform("same");
    let bytes = guest.build();
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).concurrency_support(false);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(100).total_core_instances(100).total_memories(100).total_tables(100).total_stacks(100).max_memory_size(128 << 20);
    config.allocation_strategy(pool);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, &bytes).unwrap();
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let pre = TransformPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
    let bench = Bench::new();
    let loaded = bench.load(&guest).await;
    let input = "null".to_owned();
    for round in 0..4 {
        let n = 5000u32;
        let began = Instant::now();
        for _ in 0..n {
            let mut store = Store::new(&engine, ());
            store.set_fuel(1 << 30).unwrap();
            store.set_epoch_deadline(1 << 30);
            let t = pre.instantiate_async(&mut store).await.unwrap();
            t.heddle_plugin_transformer().call_apply(&mut store, &input).await.unwrap().unwrap();
        }
        let bare = began.elapsed() / n;
        let began = Instant::now();
        let mut inside = 0;
        for _ in 0..n {
            let end = bench.host.call(bench.call(&loaded, "null")).await;
            inside += end.usage.wall_us;
        }
        let full = began.elapsed() / n;
        let began = Instant::now();
        let mut all = Vec::new();
        for _ in 0..8 {
            let (host, call) = (bench.host.clone(), bench.call(&loaded, "null"));
            all.push(tokio::spawn(async move { for _ in 0..n / 8 { host.call(call.clone()).await; } }));
        }
        for a in all { a.await.unwrap(); }
        println!("{round}: bare {bare:?} full {full:?} inside {}us  parallel {:?} each", inside / u64::from(n), began.elapsed() / n);
    }
}
