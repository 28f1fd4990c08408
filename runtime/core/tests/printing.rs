#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! A workflow that is printed and read again is the same workflow, whichever way it goes: as YAML laid out anew, as the
//! canonical JSON that versions are frozen to.

#[path = "documents/corpus.rs"]
mod corpus;
#[path = "documents/made.rs"]
mod made;

use heddle_core::document::print::{printed, tidied};
use heddle_core::document::{Doc, Order};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::Plan;
use proptest::prelude::*;

fn order() -> Order {
    Order::of_schema(corpus::SCHEMA).unwrap()
}
fn parse(text: &str) -> Result<Doc, String> {
    Doc::parse(text, &Limits::default()).map_err(|fault| format!("{fault}\n{text}"))
}
fn source(doc: &Doc) -> Json {
    Json::from_value(doc.value())
}
/// All that is known of a plan, in words.
fn plan(doc: &Doc) -> Result<String, String> {
    let plan = Plan::read(doc, None, &Limits::default());
    plan.map(|plan| format!("{plan:?}")).map_err(|faults| format!("{faults:?}"))
}

/// Every way round ends where it began.
fn same_everywhere(doc: &Doc, order: &Order) -> Result<(), String> {
    let wanted = plan(doc)?;
    let text = printed(doc, order);
    let canonical = source(doc);
    let ways = [
        ("printed", parse(&text)?),
        ("laid out", parse(&tidied(&text, order, &Limits::default()).map_err(|fault| fault.to_string())?)?),
        ("canonical JSON as YAML", parse(canonical.text())?),
        ("canonical JSON as a value", Doc::of_value(canonical.value())),
    ];
    for (way, read) in ways {
        if source(&read) != canonical {
            return Err(format!("{way} it is {:?}, and was {canonical:?}\n{text}", source(&read)));
        }
        let found = plan(&read)?;
        if found != wanted {
            return Err(format!("{way} it means\n{found}, and meant\n{wanted}"));
        }
    }
    // What a version is frozen to: the steps, where nodes and edges were drawn.
    let frozen = Plan::read(doc, None, &Limits::default()).map_err(|faults| format!("{faults:?}"))?.source;
    let again = Plan::reread(&frozen).map_err(|faults| format!("{faults:?}"))?;
    match again.source == frozen {
        true => stable(&text, order),
        false => Err(format!("read again it is {:?}", again.source)),
    }
}

/// What is laid out is not laid out otherwise the next time.
fn stable(text: &str, order: &Order) -> Result<(), String> {
    let limits = Limits::default();
    let once = tidied(text, order, &limits).map_err(|fault| format!("{fault}\n{text}"))?;
    let twice = tidied(&once, order, &limits).map_err(|fault| format!("{fault}\n{once}"))?;
    match once == twice {
        true => Ok(()),
        false => Err(format!("first\n{once}\nthen\n{twice}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]
    #[test]
    fn a_workflow_that_is_printed_and_read_is_the_same(value in made::workflow()) {
        same_everywhere(&Doc::of_value(&value), &order()).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn so_is_every_workflow_that_we_show() {
    let order = order();
    let workflows = corpus::workflows();
    let mut accepted = 0;
    for (name, doc) in &workflows {
        if plan(doc).is_ok() {
            accepted += 1;
            same_everywhere(doc, &order).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
    }
    assert!(accepted >= 450, "{accepted} of {} workflows", workflows.len());
}

#[test]
fn what_authors_wrote_stays_what_it_was_and_keeps_its_comments() {
    let order = order();
    let texts = corpus::texts();
    assert!(texts.len() >= 50, "{} texts", texts.len());
    for (name, text) in texts {
        let laid_out =
            tidied(&text, &order, &Limits::default()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let (before, after) =
            (parse(&text).unwrap(), parse(&laid_out).unwrap_or_else(|f| panic!("{name}: {f}")));
        assert_eq!(source(&before), source(&after), "{name}:\n{laid_out}");
        stable(&text, &order).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        for comment in text.lines().map(str::trim).filter(|line| line.starts_with('#')) {
            assert!(laid_out.contains(comment), "{name}: `{comment}` is gone:\n{laid_out}");
        }
    }
}

#[test]
fn it_reads_as_people_would_write_it() {
    let text = "\
# The head.
steps:
    second: {dependsOn: [first], with: {b: 1, a: '${ steps.first.output }'}, call: 'tool:echo@^1'}   # beside

    # What comes first.


    first:
        set: \"one\\ntwo\\n\"
        # Why.
        title: \"The first: of two\"
document: {version: 1.0.0, name: b, namespace: a, dsl: '1.0'}
# The end.
";
    let wanted = "\
# The head.
document: { dsl: \"1.0\", namespace: a, name: b, version: 1.0.0 }
steps:
  second: { dependsOn: [first], call: tool:echo@^1, with: { b: 1, a: \"${ steps.first.output }\" } } # beside

  # What comes first.

  first:
    # Why.
    title: \"The first: of two\"
    set: |
      one
      two
# The end.
";
    assert_eq!(tidied(text, &order(), &Limits::default()).unwrap(), wanted);
}
