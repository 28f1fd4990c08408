//! The life of versions on an executor: what ranges mean, who may begin, what schedules follow, and what is deleted.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; the support is shared with others")]

mod support;

use VersionStatus::{Active, Archived, Draft, Inactive};
use heddle_core::document::Doc;
use heddle_core::id::{RunId, Tenant};
use heddle_core::limits::Limits;
use heddle_core::plan::WorkflowRef;
use heddle_core::version::VersionStatus;
use heddle_executor::*;
use heddle_store::{Listed, RunQuery};
use std::time::Duration;
use support::{Node, node_on, patient_node};

const QUICK: &str = "steps: {a: {set: 1}}";
const SLOW: &str = "steps: {a: {wait: 20m}}";

fn doc(name: &str, version: &str, body: &str) -> Doc {
    let text =
        format!("document: {{dsl: \"1.0\", namespace: t, name: {name}, version: {version}}}\n{body}\n");
    Doc::parse(&text, &Limits::default()).unwrap()
}

impl Node {
    async fn publish_as(&self, doc: &Doc, status: VersionStatus) -> Result<Published, PublishFault> {
        let wish = PublishWish { status, by: Some("ada".into()), origin: None };
        self.executor.publish(&Tenant::default(), doc, &wish).await
    }
    async fn published(&self, name: &str, version: &str, body: &str) {
        self.publish_as(&doc(name, version, body), Active).await.unwrap();
    }
    async fn becomes(&self, name: &str, version: &str, status: VersionStatus) -> Result<Changed, LifeFault> {
        let (name, version) = (format!("t/{name}"), version.parse().unwrap());
        let tenant = Tenant::default();
        let changed = self.executor.set_workflow_status(&tenant, (&name, &version), status, "bo").await?;
        Ok(changed.unwrap().1)
    }
    async fn removed(&self, name: &str, version: &str) -> Result<Option<()>, LifeFault> {
        let (name, version) = (format!("t/{name}"), version.parse().unwrap());
        self.executor.remove_workflow(&Tenant::default(), (&name, &version), "bo").await
    }
    async fn begins(&self, reference: &str) -> Result<RunId, SubmitFault> {
        let workflow = WorkflowChoice::Named(WorkflowRef::parse(reference).unwrap());
        let wish = Submit { workflow, by: Some("ada".into()), ..support::wish(QUICK, "{}") };
        Ok(self.executor.submit(wish).await?.run)
    }
    /// The version that a run has which begins now.
    async fn meant(&self, reference: &str) -> String {
        let run = self.begins(reference).await.unwrap();
        let run = self.executor.run(&Tenant::default(), run).await.unwrap().unwrap();
        run.view.workflow_version
    }
    async fn schedules(&self) -> Vec<(String, String)> {
        let found = self.executor.schedules(&Tenant::default(), "", 100).await.unwrap();
        let live = found.into_iter().filter(|view| !view.state.retired);
        live.map(|view| (view.schedule.id.to_string(), view.version.to_string())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_means_the_highest_active_version_and_a_draft_runs_by_its_name() {
    let node = patient_node().await;
    node.published("w", "1.0.0", QUICK).await;
    assert_eq!(node.publish_as(&doc("w", "1.1.0", QUICK), Draft).await.unwrap().novelty, Novelty::New);
    assert_eq!(node.meant("t/w").await, "1.0.0");
    assert_eq!(node.meant("t/w@=1.1.0").await, "1.1.0");
    let refused = node.begins("t/w@^1.1").await.unwrap_err().to_string();
    assert!(
        refused.contains("1.1.0 is draft") && refused.contains("heddle workflow activate t/w@1.1.0"),
        "{refused}"
    );
    // The same content again changes nothing, not even the status.
    let again = node.publish_as(&doc("w", "1.1.0", QUICK), Active).await.unwrap();
    assert_eq!((again.novelty, again.entry.status), (Novelty::Known, Draft));
    assert_eq!(node.becomes("w", "1.1.0", Active).await.unwrap(), Changed::Yes);
    assert_eq!(node.becomes("w", "1.1.0", Active).await.unwrap(), Changed::No);
    assert_eq!(node.meant("t/w").await, "1.1.0");
    assert!(matches!(node.becomes("w", "1.1.0", Draft).await, Err(LifeFault::Transition { .. })));
    // A step that names a version of which none may begin is a fault of the document.
    node.publish_as(&doc("part", "1.0.0", QUICK), Draft).await.unwrap();
    let user = |range: &str| doc("user", "1.0.0", &format!("steps: {{a: {{workflow: \"t/part@{range}\"}}}}"));
    let Err(PublishFault::Invalid(faults)) = node.publish_as(&user("^1"), Active).await else {
        panic!("it is accepted")
    };
    assert!(faults[0].message.contains("1.0.0 is draft"), "{faults:?}");
    node.publish_as(&user("=1.0.0"), Active).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_inactive_begins_no_run_and_what_runs_goes_on() {
    let node = patient_node().await;
    node.published("w", "1.0.0", SLOW).await;
    node.published("parent", "1.0.0", "steps: {a: {wait: 30m}, b: {dependsOn: [a], workflow: t/w}}").await;
    let (run, parent) = (node.begins("t/w").await.unwrap(), node.begins("t/parent").await.unwrap());
    node.becomes("w", "1.0.0", Inactive).await.unwrap();
    for reference in ["t/w", "t/w@=1.0.0"] {
        let refused = node.begins(reference).await.unwrap_err();
        assert!(matches!(refused, SubmitFault::Reference(ReferenceFault::NotRunnable(_))), "{refused}");
        assert!(
            refused.to_string().contains("inactive") && refused.to_string().contains("activate t/w@1.0.0")
        );
    }
    assert_eq!(node.ended(run).await.view.status, "succeeded");
    // A run of another workflow that comes to it is told so.
    let parent = node.ended(parent).await;
    let error = parent.view.error.unwrap().failure;
    assert!(error.message.contains("inactive"), "{error:?}");
    node.becomes("w", "1.0.0", Archived).await.unwrap();
    assert!(matches!(node.becomes("w", "1.0.0", Active).await, Err(LifeFault::Transition { .. })));
    node.becomes("w", "1.0.0", Inactive).await.unwrap();
    node.becomes("w", "1.0.0", Active).await.unwrap();
    assert_eq!(node.meant("t/w").await, "1.0.0");
}

#[tokio::test(start_paused = true)]
async fn schedules_follow_the_highest_active_version() {
    let node = patient_node().await;
    let list = |every: &str| format!("schedule: [{{id: s, every: {every}, overlap: allowAll}}]\n{QUICK}");
    node.published("w", "1.0.0", &list("1m")).await;
    node.publish_as(&doc("w", "2.0.0", &list("2m")), Draft).await.unwrap();
    let is = |version: &str| vec![("t.w.s".to_owned(), version.to_owned())];
    assert_eq!(node.schedules().await, is("1.0.0"));
    node.becomes("w", "2.0.0", Active).await.unwrap();
    assert_eq!(node.schedules().await, is("2.0.0"));
    // With the higher one gone the lower one counts again, from now on: nothing is made up for.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let ticked = |runs: Vec<Listed>| {
        runs.into_iter()
            .filter_map(Listed::row)
            .map(|row| row.workflow_version.to_string())
            .collect::<Vec<_>>()
    };
    let query = || RunQuery { workflow: Some("t/w".into()), limit: 1_000, ..RunQuery::default() };
    let before = ticked(node.executor.runs(query(), &RunFilter::default()).await.unwrap().0);
    assert!((29..=31).contains(&before.len()), "{before:?}");
    node.becomes("w", "2.0.0", Inactive).await.unwrap();
    assert_eq!(node.schedules().await, is("1.0.0"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    let after = ticked(node.executor.runs(query(), &RunFilter::default()).await.unwrap().0);
    let newer: Vec<&String> = after.iter().take(after.len() - before.len()).collect();
    assert!((4..=6).contains(&newer.len()) && newer.iter().all(|version| **version == "1.0.0"), "{newer:?}");
    // With none left they end, and come back with an active one.
    node.becomes("w", "1.0.0", Inactive).await.unwrap();
    assert_eq!(node.schedules().await, []);
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(node.executor.runs(query(), &RunFilter::default()).await.unwrap().0.len(), after.len());
    node.becomes("w", "1.0.0", Active).await.unwrap();
    assert_eq!(node.schedules().await, is("1.0.0"));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let made_up = node.executor.runs(query(), &RunFilter::default()).await.unwrap().0.len() - after.len();
    assert!((1..=3).contains(&made_up), "{made_up}");
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_not_deleted_and_what_was_deleted_stays_taken() {
    let node = patient_node().await;
    let with_schedule = format!("schedule: [{{every: 1h}}]\n{SLOW}");
    node.published("w", "1.0.0", &with_schedule).await;
    node.published("w", "1.1.0", SLOW).await;
    node.published("w", "0.9.0", SLOW).await;
    node.published("user", "1.0.0", "steps: {a: {workflow: \"t/w@=1.0.0\"}, b: {workflow: \"t/w@^1\"}}")
        .await;
    let run = node.begins("t/w@=1.0.0").await.unwrap();
    let users = |fault: LifeFault| match fault {
        LifeFault::InUse { users, .. } => users,
        other => panic!("{other}"),
    };
    let found = users(node.removed("w", "1.0.0").await.unwrap_err());
    assert_eq!((found.runs, found.workflows), (vec![run.to_string()], vec!["t/user@1.0.0".to_owned()]));
    // The higher version speaks for the schedules, and `^1` finds the lower one.
    assert_eq!(found.schedules, Vec::<String>::new());
    assert_eq!(node.removed("w", "1.1.0").await.unwrap(), Some(()));
    let found = users(node.removed("w", "1.0.0").await.unwrap_err());
    assert_eq!(found.schedules, ["t.w.every-1h"]);
    node.ended(run).await;
    node.becomes("w", "1.0.0", Inactive).await.unwrap();
    node.becomes("user", "1.0.0", Archived).await.unwrap();
    assert_eq!(node.removed("w", "1.0.0").await.unwrap(), Some(()));
    assert_eq!(node.removed("w", "1.0.0").await.unwrap(), None, "it is gone");
    assert!(
        node.executor
            .workflow(&Tenant::default(), "t/w", Some(&"1.0.0".parse().unwrap()))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(node.meant("t/w@*").await, "0.9.0");
    // The run that has ended is still there, with its plan.
    assert_eq!(
        node.executor.run(&Tenant::default(), run).await.unwrap().unwrap().view.workflow_version,
        "1.0.0"
    );
    let other = node.publish_as(&doc("w", "1.0.0", QUICK), Active).await;
    assert!(
        matches!(&other, Err(fault @ PublishFault::Conflict { .. }) if fault.to_string().contains("deleted")),
        "{other:?}"
    );
    let again = node.publish_as(&doc("w", "1.0.0", &with_schedule), Draft).await.unwrap();
    assert_eq!((again.novelty, again.entry.status), (Novelty::New, Draft));
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_with_bounded_work() {
    let node = node_on(support::memory(), |_, limits| limits.list_scan = 5).await;
    for number in 0..12 {
        let title = if number == 11 { "The Last" } else { "one of many" };
        let text = format!(
            "document: {{dsl: \"1.0\", namespace: t, name: w, version: 1.0.{number}, title: {title}, labels: {{team: t{}}}}}\n{QUICK}\n",
            number % 2
        );
        let doc = Doc::parse(&text, &Limits::default()).unwrap();
        node.publish_as(&doc, Active).await.unwrap();
    }
    let (tenant, last) =
        (Tenant::default(), WorkflowFilter { text: Some("the LAST".into()), ..WorkflowFilter::default() });
    let (mut after, mut pages, mut found) = (String::new(), 0, Vec::new());
    loop {
        let (page, cursor) = node.executor.workflows(&tenant, &last, (&after, 50)).await.unwrap();
        (pages, found) = (pages + 1, [found, page].concat());
        match cursor {
            Some(cursor) => after = cursor,
            None => break,
        }
    }
    assert_eq!((pages, found.len()), (3, 1), "five are looked at for a page");
    node.becomes("w", "1.0.3", Archived).await.unwrap();
    let label = Some(("team".to_owned(), "t1".to_owned()));
    let odd = WorkflowFilter { label, by: Some("ada".into()), ..WorkflowFilter::default() };
    assert_eq!(
        pages_of(&node, &odd).await,
        ["1.0.1", "1.0.5", "1.0.7", "1.0.9", "1.0.11"],
        "an archived one is left out"
    );
    let filter =
        WorkflowFilter { status: vec![Archived], name: Some("t/w".into()), ..WorkflowFilter::default() };
    assert_eq!(pages_of(&node, &filter).await, ["1.0.3"]);
    let nobody = WorkflowFilter { by: Some("bo".into()), ..WorkflowFilter::default() };
    assert_eq!(pages_of(&node, &nobody).await, Vec::<String>::new());
    let mut runs = Vec::new();
    for _ in 0..12 {
        runs.push(node.begins("t/w").await.unwrap());
    }
    let text = Some(runs[0].to_string());
    let (mut before, mut pages, mut found) = (None, 0, Vec::new());
    loop {
        let query = RunQuery { before, limit: 10, ..RunQuery::default() };
        let filter = RunFilter { by: Some("ada".into()), text: text.clone() };
        let (page, cursor) = node.executor.runs(query, &filter).await.unwrap();
        (pages, found) = (pages + 1, [found, page].concat());
        before = cursor;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((pages, found.iter().map(Listed::run).collect::<Vec<_>>()), (3, vec![runs[0]]));
}

async fn node_page(
    node: &Node,
    filter: &WorkflowFilter,
    after: &str,
) -> (Vec<WorkflowEntry>, Option<String>) {
    node.executor.workflows(&Tenant::default(), filter, (after, 3)).await.unwrap()
}

async fn pages_of(node: &Node, filter: &WorkflowFilter) -> Vec<String> {
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let (page, cursor) = node_page(node, filter, &after).await;
        found.extend(page.iter().map(|entry| entry.version.to_string()));
        match cursor {
            Some(cursor) => after = cursor,
            None => return found,
        }
    }
}
