//! Agents: other plugins as tools, and an attempt whose clock and randomness can be replayed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind, Outcome};
use heddle_host::Call;
use heddle_host::testkit::Guest;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::ToolAnswer;
use support::{Bench, Recorder, failure, is, output};

const TOOLS: &str = r#"
    (import "heddle:host/tools@0.1.0" "list" (func $list (param i32)))
    (import "heddle:host/tools@0.1.0" "call" (func $tool (param i32 i32 i32 i32 i32)))
    (import "heddle:host/tools@0.1.0" "start" (func $start (param i32 i32 i32 i32) (result i32)))
    (import "heddle:host/tools@0.1.0" "wait" (func $wait (param i32 i32) (result i32)))
    (import "heddle:host/tools@0.1.0" "[method]pending-call.take" (func $take (param i32 i32)))
    (import "heddle:host/tools@0.1.0" "[resource-drop]pending-call" (func $drop (param i32)))
    (import "heddle:host/clock@0.1.0" "now-ms" (func $now (result i64)))
    (import "heddle:host/random@0.1.0" "next-u64" (func $random (result i64)))"#;

/// `tool:echo` at 32,768 (9 bytes), `[0]` to `[3]` at 32,777 (3 bytes each).
fn agent(body: &str) -> Guest {
    // `$number` makes a result of a tool; an agent's is `done`.
    let digits = "(func $digits (param $value i64) (result i32) (local $at i32)
        (local.set $at (call $number (local.get $value)))
        (call $done (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))))";
    Guest::agent("asks").imports(TOOLS).items(digits).data(32_768, b"tool:echo[0][1][2][3]{").body(body)
}

async fn call_with(bench: &Bench, guest: &Guest, recorder: Arc<Recorder>) -> Call {
    let loaded = bench.load(guest).await;
    let mut call = bench.call(&loaded, "1");
    call.host_calls = recorder;
    call
}

/// The result of `take` or `call` at 40,000, handed on as the agent's own: ok becomes done.
const HAND_ON: &str = "(if (result i32) (i32.load8_u (i32.const 40000))
    (then (i32.const 40000)) (else (call $done (i32.load (i32.const 40008)) (i32.load (i32.const 40012)))))";

#[tokio::test]
async fn a_tool_is_called_and_its_answer_comes_back() {
    let bench = Bench::new();
    let body = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) {HAND_ON}"
    );
    let recorder = Arc::new(Recorder::default());
    let call = call_with(&bench, &agent(&body), recorder.clone()).await;
    assert_eq!(output(&bench.host.call(call).await), "[1]");
    assert_eq!(*recorder.calls.lock().unwrap(), [("tool:echo".into(), "[1]".into(), 0)]);
    // Without a grant, the refusal is a value that the agent sees.
    let loaded = bench.load(&agent(&body)).await;
    let denied = failure(bench.host.call(bench.call(&loaded, "1")).await);
    is(&denied, FailureKind::GuestError, "capability_denied");
    // An input that is not JSON never leaves the sandbox.
    let body = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32789) (i32.const 1) (i32.const 40000)) {HAND_ON}"
    );
    let recorder = Arc::new(Recorder::default());
    let call = call_with(&bench, &agent(&body), recorder.clone()).await;
    is(&failure(bench.host.call(call).await), FailureKind::GuestError, "invalid_input");
    assert!(recorder.calls.lock().unwrap().is_empty());
    bench.is_well().await;
}

#[tokio::test]
async fn what_is_granted_is_listed() {
    let bench = Bench::new();
    let body =
        "(call $list (i32.const 40000)) (call $digits (i64.extend_i32_u (i32.load (i32.const 40004))))";
    let call = call_with(&bench, &agent(body), Arc::default()).await;
    assert_eq!(output(&bench.host.call(call).await), "1");
}

#[tokio::test]
async fn calls_run_side_by_side_and_wait_gives_the_first_that_ended() {
    let bench = Bench::new();
    // Three calls; the second ends first. The answer is its index and then its output.
    let body = format!(
        "(i32.store (i32.const 41000) (call $start (i32.const 32768) (i32.const 9) (i32.const 32777) (i32.const 3)))
        (i32.store (i32.const 41004) (call $start (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3)))
        (i32.store (i32.const 41008) (call $start (i32.const 32768) (i32.const 9) (i32.const 32783) (i32.const 3)))
        (local.set $a (call $wait (i32.const 41000) (i32.const 3)))
        (call $take (i32.load (i32.add (i32.const 41000) (i32.mul (local.get $a) (i32.const 4)))) (i32.const 40000))
        {HAND_ON}"
    );
    let dropped = Arc::new(AtomicUsize::new(0));
    let guards = dropped.clone();
    let recorder = Arc::new(Recorder {
        answer: Some(Box::new(move |_, input, index| {
            struct Guard(Arc<AtomicUsize>);
            impl Drop for Guard {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::Relaxed);
                }
            }
            let guard = Guard(guards.clone());
            Box::pin(async move {
                let _guard = guard;
                if index != 1 {
                    std::future::pending::<()>().await;
                }
                ToolAnswer { result: Ok(input), at_ms: 0 }
            })
        })),
        ..Recorder::default()
    });
    let call = call_with(&bench, &agent(&body), recorder).await;
    assert_eq!(output(&bench.host.call(call).await), "[1]");
    support::soon("calls that were never taken are cancelled with their agent", || {
        dropped.load(Ordering::Relaxed) == 3
    })
    .await;
    bench.is_well().await;
}

/// Case 201.
#[tokio::test]
async fn a_second_take_is_a_failure_and_an_empty_wait_a_trap() {
    let bench = Bench::new();
    let body = format!(
        "(local.set $a (call $start (i32.const 32768) (i32.const 9) (i32.const 32777) (i32.const 3)))
        (call $take (local.get $a) (i32.const 40000)) (call $take (local.get $a) (i32.const 40000)) {HAND_ON}"
    );
    let call = call_with(&bench, &agent(&body), Arc::default()).await;
    is(&failure(bench.host.call(call).await), FailureKind::GuestError, "already_taken");
    let body = "(drop (call $wait (i32.const 0) (i32.const 0))) (i32.const 0)";
    let call = call_with(&bench, &agent(body), Arc::default()).await;
    is(&failure(bench.host.call(call).await), FailureKind::Trap, "empty_wait");
    bench.is_well().await;
}

/// Case 202.
#[tokio::test]
async fn at_most_six_run_at_once_and_the_number_is_limited() {
    let bench = Bench::with(|limits| limits.set("tool_calls", 20).unwrap());
    let start = "(local.set $b (i32.const {}))
        (loop $more (local.set $c (call $start (i32.const 32768) (i32.const 9) (i32.const 32777) (i32.const 3)))
          (i32.store (i32.const 41000) (local.get $c))
          (br_if $more (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))";
    let body =
        format!("{} (call $take (local.get $c) (i32.const 40000)) {HAND_ON}", start.replace("{}", "20"));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let recorder = Arc::new(Recorder {
        answer: Some(Box::new(move |_, input, _| {
            let (now, peak) = (now.clone(), peak.clone());
            Box::pin(async move {
                peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::Relaxed);
                ToolAnswer { result: Ok(input), at_ms: 0 }
            })
        })),
        ..Recorder::default()
    });
    let call = call_with(&bench, &agent(&body), recorder).await;
    assert_eq!(output(&bench.host.call(call).await), "[0]");
    assert!((1..=6).contains(&most.load(Ordering::Relaxed)), "{most:?}");
    let body = format!("{} (i32.const 0)", start.replace("{}", "21"));
    let call = call_with(&bench, &agent(&body), Arc::default()).await;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::HostcallLimit);
    bench.is_well().await;
}

#[tokio::test]
async fn a_replay_draws_and_sees_the_same() {
    let bench = Bench::new();
    let body = "(local.set $wide (i64.add (call $now) (call $random)))
        (call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000))
        (call $digits (i64.add (local.get $wide) (i64.sub (call $now) (call $random))))";
    let mut call = call_with(&bench, &agent(body), Arc::default()).await;
    let first = output(&bench.host.call(call.clone()).await).to_owned();
    call.host_calls = Arc::new(Recorder::default());
    assert_eq!(output(&bench.host.call(call.clone()).await), first);
    call.scope.seed = [1; 32];
    assert_ne!(output(&bench.host.call(call).await), first, "another attempt draws other numbers");
    let clock = "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) (call $digits (call $now))";
    let call = call_with(&bench, &agent(clock), Arc::default()).await;
    assert_eq!(output(&bench.host.call(call).await), "1700000005000", "the time of the last answer");
}

#[tokio::test]
async fn waiting_for_a_tool_is_not_the_agents_own_time() {
    let bench = Bench::with(|limits| limits.set("step_wall_ms", 100).unwrap());
    let body = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) {HAND_ON}"
    );
    let recorder = Arc::new(Recorder {
        answer: Some(Box::new(|_, input, _| {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(250)).await;
                ToolAnswer { result: Ok(input), at_ms: 0 }
            })
        })),
        ..Recorder::default()
    });
    let call = call_with(&bench, &agent(&body), recorder.clone()).await;
    assert_eq!(output(&bench.host.call(call).await), "[1]");
    let spins = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) (loop $again (br $again)) {HAND_ON}"
    );
    let call = call_with(&bench, &agent(&spins), recorder).await;
    assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::DeadlineExceeded);
    bench.is_well().await;
}

#[tokio::test]
async fn a_tools_failure_keeps_its_word_and_its_wait() {
    let bench = Bench::new();
    let body = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) {HAND_ON}"
    );
    let recorder = Arc::new(Recorder {
        answer: Some(Box::new(|_, _, _| {
            Box::pin(async move {
                let mut failure = Failure::new(FailureKind::GuestError, "later").with_code("busy");
                failure.retryable = true;
                failure.retry_after_ms = Some(1_234);
                failure.data = Some(Json::parse(b"[9]").unwrap());
                ToolAnswer { result: Err(failure), at_ms: 0 }
            })
        })),
        ..Recorder::default()
    });
    let call = call_with(&bench, &agent(&body), recorder).await;
    let Outcome::Failed(failed) = bench.host.call(call).await.outcome else { panic!("should have failed") };
    is(&failed, FailureKind::GuestError, "busy");
    assert_eq!((failed.retry_after_ms, failed.data.unwrap().text()), (Some(1_234), "[9]"));
}

/// Case 203.
#[tokio::test]
async fn a_panic_of_the_host_is_a_value() {
    let bench = Bench { may_panic: true, ..Bench::new() };
    let body = format!(
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32780) (i32.const 3) (i32.const 40000)) {HAND_ON}"
    );
    for inside_the_future in [false, true] {
        let recorder = Arc::new(Recorder {
            answer: Some(Box::new(move |_, _, _| {
                assert!(inside_the_future, "a fault of the host, on purpose");
                Box::pin(async { panic!("a fault of the host, on purpose") })
            })),
            ..Recorder::default()
        });
        let call = call_with(&bench, &agent(&body), recorder).await;
        assert_eq!(failure(bench.host.call(call).await).kind, FailureKind::Internal);
        bench.is_well().await;
    }
}
