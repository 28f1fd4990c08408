//! What a component may be and may import, known before any of its code runs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::outcome::{FailureKind, PluginKind};
use heddle_host::testkit::Guest;
use support::Bench;

/// The faults of a component that must not be accepted. Reading it is enough: nothing of it runs.
fn refused(bench: &Bench, guest: &Guest) -> String {
    let refused = bench.host.inspect(&guest.build()).unwrap_err();
    assert_eq!(refused.kind, FailureKind::ComponentInvalid);
    refused.to_string()
}

fn importing(guest: Guest, interface: &str, function: &str, signature: &str) -> Guest {
    guest
        .world(&format!("import {interface};"))
        .imports(&format!(r#"(import "{interface}" "{function}" (func {signature}))"#))
}

#[tokio::test]
async fn a_transform_with_effects_is_refused_at_load_by_name() {
    let bench = Bench::new();
    for (interface, function, signature) in [
        ("heddle:host/context@0.1.0", "current", "(param i32)"),
        ("heddle:host/progress@0.1.0", "report", "(param i32 i32 i32 i32 i32 i32)"),
        ("heddle:host/tools@0.1.0", "list", "(param i32)"),
    ] {
        let said = refused(&bench, &importing(Guest::transform("sly"), interface, function, signature));
        assert!(said.contains(interface) && said.contains("transform"), "{said}");
    }
    let said =
        refused(&bench, &importing(Guest::tool("sly"), "heddle:host/tools@0.1.0", "list", "(param i32)"));
    assert!(said.contains("only agent may"), "{said}");
    let said = refused(
        &bench,
        &importing(Guest::transform("sly"), "wasi:http/outgoing-handler@0.2.6", "handle", "(result i32)"),
    );
    assert!(said.contains("wasi:http"), "{said}");
}

#[tokio::test]
async fn all_faults_come_at_once() {
    let bench = Bench::new();
    let guest = importing(Guest::transform("sly"), "heddle:host/tools@0.1.0", "list", "(param i32)");
    let guest = importing(guest, "heddle:host/context@0.1.0", "current", "(param i32)")
        .ballast("(module (memory 0))", 40);
    let refused = bench.host.inspect(&guest.build()).unwrap_err();
    assert_eq!(refused.faults.len(), 3, "{refused}");
}

/// Case 39.
#[tokio::test]
async fn a_version_off_by_one_says_what_was_expected_and_found() {
    let bench = Bench::new();
    let said = refused(&bench, &Guest::tool("ahead").plugin_version("0.1.1"));
    assert!(
        said.contains("`heddle:plugin/callable@0.1.0`") && said.contains("`heddle:plugin/callable@0.1.1`"),
        "{said}"
    );
    assert!(said.contains("`heddle:plugin/metadata@0.1.0`"), "{said}");
    let log = r#"(import "heddle:host/log@0.2.0" "write" (func (param i32 i32 i32)))"#;
    let said = refused(&bench, &Guest::tool("ahead").host_version("0.2.0").imports(log));
    assert!(said.contains("expected `heddle:host/log@0.1.0`") && said.contains("`0.2.0`"), "{said}");
}

/// Case 39: an export that is missing, or one too many. Case 211.
#[tokio::test]
async fn exports_decide_the_kind_and_must_agree_with_what_is_said() {
    let bench = Bench::new();
    let bytes = wat::parse_str("(component)").unwrap();
    let said = bench.host.inspect(&bytes).unwrap_err().to_string();
    assert!(
        said.contains("metadata@0.1.0") && said.contains("runnable@0.1.0") && said.contains("no exports"),
        "{said}"
    );
    let two = Guest::tool("both").world("export heddle:plugin/transformer@0.1.0;").items(
        r#"(func (export "heddle:plugin/transformer@0.1.0#apply") (param i32 i32) (result i32) (i32.const 0))"#,
    );
    assert!(refused(&bench, &two).contains("exactly one kind"));
    let said = bench.try_load(&Guest::tool("liar").says_kind(PluginKind::Transform)).await.unwrap_err();
    assert!(said.to_string().contains("says that it is a transform"), "{said}");
    let said = bench
        .try_load(&Guest::tool("Bad Name").version("one").schemas("{", r#"{"type":"strin"}"#))
        .await
        .unwrap_err();
    assert_eq!((said.kind, said.faults.len()), (FailureKind::ComponentInvalid, 4), "{said}");
}

/// Case 39: what is loaded already serves on, whatever comes after it and is refused, early or late. Case 213.
#[tokio::test]
async fn what_is_refused_does_not_disturb_what_serves() {
    let bench = Bench::new();
    let serving = bench.load(&Guest::tool("serves")).await;
    let log = r#"(import "heddle:host/log@0.2.0" "write" (func (param i32 i32 i32)))"#;
    for (next, kind) in [
        (Guest::tool("serves").version("1.1.0").plugin_version("0.1.1"), FailureKind::ComponentInvalid),
        (
            Guest::tool("serves").version("1.1.0").host_version("0.2.0").imports(log),
            FailureKind::ComponentInvalid,
        ),
        (Guest::tool("serves").version("1.1.0").says_kind(PluginKind::Agent), FailureKind::ComponentInvalid),
        (Guest::tool("serves").version("1.1.0").describe("(unreachable)"), FailureKind::Trap),
    ] {
        let attempts = (0..4).map(|_| tokio::spawn(bench.host.call(bench.call(&serving, "7"))));
        let attempts: Vec<_> = attempts.collect();
        assert_eq!(bench.try_load(&next).await.unwrap_err().kind, kind);
        for attempt in attempts {
            assert_eq!(support::output(&attempt.await.unwrap()), "7");
        }
        assert_eq!(support::output(&bench.host.call(bench.call(&serving, "8")).await), "8");
        // Nor does the refused one serve.
        let mut call = bench.call(&serving, "9");
        call.component = support::digest(&next.build());
        support::failure(bench.host.call(call).await);
    }
    bench.is_well().await;
}

/// Case 212.
#[tokio::test]
async fn an_interface_of_other_types_is_refused() {
    let bench = Bench::new();
    // The right name with a wrong function in it.
    let wat = r#"(component
        (core module $m (func (export "f") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $f (result u32) (canon lift (core func $i "f")))
        (instance $metadata (export "describe" (func $f)))
        (instance $callable (export "call" (func $f)))
        (export "heddle:plugin/metadata@0.1.0" (instance $metadata))
        (export "heddle:plugin/callable@0.1.0" (instance $callable)))"#;
    let refused = bench.host.load(wat::parse_str(wat).unwrap().into()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::ComponentInvalid, "{refused}");
    assert!(refused.to_string().contains("describe"), "{refused}");
    bench.is_well().await;
}

/// Case 14.
#[tokio::test]
async fn features_that_are_not_allowed_are_named() {
    let bench = Bench::new();
    for (module, feature) in [
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", "threads"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (type (struct (field i32))))", "gc"),
        ("(module (tag))", "exceptions"),
        ("(module (memory 1) (memory 1))", "multi-memory"),
        (
            "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
            "function-references",
        ),
        ("(module (memory 1 (pagesize 1)))", "custom-page-sizes"),
        (
            "(module (func (result i64 i64) (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))))",
            "wide-arithmetic",
        ),
    ] {
        let component = format!("(component (core {}", module.strip_prefix('(').unwrap()) + ")";
        let said = bench.host.inspect(&wat::parse_str(&component).unwrap()).unwrap_err().to_string();
        assert!(said.contains(&format!("`{feature}`")), "{feature}: {said}");
    }
    for component in [
        "(component (core func (canon waitable-set.new)))",
        "(component (type (stream u8)))",
        "(component (core func (canon backpressure.inc)))",
        "(component (type (future u8)))",
        "(component (core func (canon task.cancel)))",
    ] {
        let said = bench.host.inspect(&wat::parse_str(component).unwrap()).unwrap_err().to_string();
        assert!(said.contains("`component-model-async`"), "{said}");
    }
    // An export that asks for the async ABI, of a function that is none otherwise.
    let lifted = r#"(component (core module $m (func (export "f") (result i32) (i32.const 0)) (func (export "c") (param i32 i32 i32) (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "f") async (canon lift (core func $i "f") async (callback (func $i "c")))))"#;
    let said = bench.host.inspect(&wat::parse_str(lifted).unwrap()).unwrap_err().to_string();
    assert!(said.contains("`component-model-async`"), "{said}");
    bench.is_well().await;
}

/// Case 15.
#[tokio::test]
async fn the_wrong_file_gets_the_sentence_that_helps() {
    let bench = Bench::new();
    let preview1 = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#,
    );
    for (bytes, says) in [
        (wat::parse_str("(module)").unwrap(), "wasm-tools component new"),
        (preview1.unwrap(), "wasm32-wasip2"),
        (b"(component)".to_vec(), "wasm-tools parse"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "never accepted"),
        (b"PK\x03\x04".to_vec(), "archive"),
        (b"\0asm\x05\0\0\0".to_vec(), "unknown version"),
        (b"hello".to_vec(), "no WebAssembly"),
        (Vec::new(), "empty"),
    ] {
        let refused = bench.host.inspect(&bytes).unwrap_err();
        assert_eq!(refused.kind, FailureKind::ComponentInvalid);
        assert!(refused.to_string().contains(says), "{says}: {refused}");
    }
}

#[tokio::test]
async fn an_inspection_shows_names_size_and_digest() {
    let bench = Bench::new();
    let log = r#"(import "heddle:host/log@0.1.0" "write" (func (param i32 i32 i32)))"#;
    let bytes = Guest::tool("plain").imports(log).build();
    let inspection = bench.host.inspect(&bytes).unwrap();
    assert_eq!((inspection.kind, inspection.size_bytes), (PluginKind::Tool, bytes.len() as u64));
    assert_eq!(inspection.digest, support::digest(&bytes));
    assert!(
        inspection.imports.iter().any(|name| name == "heddle:host/log@0.1.0"),
        "{:?}",
        inspection.imports
    );
    assert_eq!(inspection.exports, ["heddle:plugin/metadata@0.1.0", "heddle:plugin/callable@0.1.0"]);
}
