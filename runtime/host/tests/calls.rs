//! The ordinary way: a plugin of each kind runs, says what it is, and gets what its world says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::{FailureKind, Outcome, PluginKind};
use heddle_host::testkit::Guest;
use support::{Bench, failure, is, output};

#[tokio::test]
async fn a_plugin_of_each_kind_runs() {
    let bench = Bench::new();
    for (guest, kind) in [
        (Guest::transform("same"), PluginKind::Transform),
        (Guest::tool("same"), PluginKind::Tool),
        (Guest::agent("same"), PluginKind::Agent),
    ] {
        let loaded = bench.load(&guest).await;
        assert_eq!((loaded.inspection.kind, loaded.metadata.kind), (kind, kind));
        assert_eq!(loaded.metadata.name, "same");
        let end = bench.host.call(bench.call(&loaded, r#"{ "b": 1.50, "a": [true] }"#)).await;
        assert_eq!(output(&end), r#"{"a":[true],"b":1.50}"#);
        assert!(
            end.usage.fuel > 0 && end.usage.memory_peak_bytes == 2 << 16 && end.usage.wall_us > 0,
            "{:?}",
            end.usage
        );
    }
    bench.is_idle();
}

#[tokio::test]
async fn a_plugin_says_how_it_failed() {
    let bench = Bench::new();
    for (case, retryable, after) in [(0, true, None), (1, false, None), (2, true, Some(1500))] {
        let body = format!("(call $fail (i32.const {case}) (i32.const 32768) (i32.const 9))");
        let failure = bench.fails(&Guest::tool("fails").data(32_768, b"not_found").body(&body)).await;
        is(&failure, FailureKind::GuestError, "not_found");
        assert_eq!((failure.retryable, failure.retry_after_ms), (retryable, after), "{case}");
    }
}

#[tokio::test]
async fn an_agent_hands_on_its_state() {
    let bench = Bench::new();
    // Without a state: a checkpoint with the goal. With one: done with it.
    let body = "(if (result i32) (local.get $has) (then (call $done (local.get $sptr) (local.get $slen)))
                (else (call $continue (local.get $ptr) (local.get $len))))";
    let loaded = bench.load(&Guest::agent("steps").body(body)).await;
    let mut call = bench.call(&loaded, "[1]");
    let Outcome::Continue(state) = bench.host.call(call.clone()).await.outcome else {
        panic!("no checkpoint")
    };
    call.state = Some(state);
    assert_eq!(output(&bench.host.call(call).await), "[1]");
}

/// Case 24.
#[tokio::test]
async fn what_does_not_match_the_schemas_is_refused() {
    let bench = Bench::new();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;
    let guest = Guest::tool("strict").schemas(schema, schema).data(32_768, br#"{"n":"x"}"#);
    let loaded = bench.load(&guest).await;
    let refused = failure(bench.host.call(bench.call(&loaded, r#"{"n":true}"#)).await);
    is(&refused, FailureKind::InvalidInput, "schema_mismatch");
    assert!(refused.message.contains("`/n`"), "{}", refused.message);
    let loaded = bench.load(&guest.body("(call $ok (i32.const 32768) (i32.const 9))")).await;
    let refused = failure(bench.host.call(bench.call(&loaded, r#"{"n":1}"#)).await);
    is(&refused, FailureKind::InvalidOutput, "schema_mismatch");
    assert_eq!(refused.data.unwrap().text(), r#"{"pointers":["/n"]}"#);
    bench.is_well().await;
}

/// Case 206.
#[tokio::test]
async fn a_call_of_the_wrong_kind_or_of_nothing_is_refused() {
    let bench = Bench::new();
    let loaded = bench.load(&Guest::tool("same")).await;
    let mut call = bench.call(&loaded, "1");
    call.kind = PluginKind::Transform;
    assert_eq!(failure(bench.host.call(call.clone()).await).kind, FailureKind::ComponentInvalid);
    call.component = support::digest(b"nothing");
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::Internal);
}
