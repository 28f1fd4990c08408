//! What a trace shows of a sandbox: each call that takes time is a span in that of its attempt, on whichever thread the
//! guest runs by then.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use heddle_host::testkit::Guest;
use std::fmt;
use std::sync::{Arc, Mutex};
use support::{Bench, Recorder, output};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Instrument as _, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Writes down each span and event with the names of the spans around it.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

/// The fields, as they would be read.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        let names: Vec<&str> = cx.span_scope(id).unwrap().from_root().map(|span| span.name()).collect();
        let mut said = Fields(names.join(" > "));
        attributes.record(&mut said);
        self.0.lock().unwrap().push(said.0);
    }
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let around = cx.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let mut said = Fields(around.map(|span| span.name()).collect::<Vec<_>>().join(" > ") + " >");
        event.record(&mut said);
        self.0.lock().unwrap().push(said.0);
    }
}

#[tokio::test]
async fn a_host_call_is_a_span_in_that_of_its_attempt() {
    let seen = Seen::default();
    // Guests have threads of their own, so the subscriber is everybody's; this file has one test for that reason.
    tracing::subscriber::set_global_default(Registry::default().with(seen.clone())).unwrap();
    let bench = Bench::new();
    let tool = r#"(import "heddle:host/tools@0.1.0" "call" (func $tool (param i32 i32 i32 i32 i32)))"#;
    let body =
        "(call $tool (i32.const 32768) (i32.const 9) (i32.const 32777) (i32.const 3) (i32.const 40000))
        (call $done (i32.load (i32.const 40008)) (i32.load (i32.const 40012)))";
    let guest = Guest::agent("asks").imports(tool).data(32_768, b"tool:echo[7]").body(body);
    let loaded = bench.load(&guest).await;
    let mut call = bench.call(&loaded, "1");
    call.host_calls = Arc::new(Recorder::default());
    let attempt = tracing::debug_span!("attempt", number = 1);
    assert_eq!(output(&bench.host.call(call).instrument(attempt).await), "[7]");
    bench.is_well().await;

    let seen = seen.0.lock().unwrap();
    let calls: Vec<&String> = seen.iter().filter(|path| path.contains("host_call")).collect();
    let span = "attempt > host_call capability=\"tools\" name=\"tool:echo\" index=0 gen_ai.operation.name=\"execute_tool\" gen_ai.tool.name=\"tool:echo\"";
    assert_eq!(calls.iter().filter(|path| **path == span).count(), 1, "{calls:#?}");
    assert!(calls.iter().any(|path| path.starts_with("attempt > message=host_call number=1")), "{calls:#?}");
}
