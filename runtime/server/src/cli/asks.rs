//! What a run that is followed waits for people to do, and what they type so that it goes on. A run that waits in
//! silence looks like one that hangs.

use super::exit::Fault;
use super::paint::harmless;
use super::sse::Event;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Who can be told something for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The node at this URL.
    Node(String),
    /// Nobody while it is in this process; afterwards a node of its folder, which is started with these flags.
    Folder(String),
    /// Nobody, ever: it is in this process and kept nowhere.
    Nowhere,
}

/// A step that has failed and asks what becomes of it.
fn help(run: &str, step: &str, data: &Value) -> Ask {
    let failed = data["error"]["message"].as_str().unwrap_or_default();
    let what = format!(
        "`{step}` has failed and asks what becomes of it ({failed}); try it again, `skip` or `fail` it"
    );
    Ask { what, command: format!("heddle runs step retry {run} {step}") }
}

/// Something that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ask {
    what: String,
    /// What answers it, without the flag that names the node.
    command: String,
}

/// What a run waits for, kept up to date by its events.
#[derive(Debug)]
pub(crate) struct Asks {
    run: String,
    reach: Reach,
    /// By step; a run that stands still waits under the empty name.
    open: BTreeMap<String, Ask>,
    told: BTreeSet<String>,
    /// What was open at the last look.
    stood: BTreeSet<String>,
}

impl Asks {
    pub(crate) fn new(run: &str, reach: Reach) -> Asks {
        Asks {
            run: run.to_owned(),
            reach,
            open: BTreeMap::new(),
            told: BTreeSet::new(),
            stood: BTreeSet::new(),
        }
    }

    /// Takes an event of the run.
    pub(crate) fn take(&mut self, event: &Event) {
        let data = &event.data["data"];
        let step = data["step"].as_str().unwrap_or_default();
        match event.kind.as_str() {
            "approval.requested" => self.ask(step, approval(&self.run, step, data)),
            "help.requested" => self.ask(step, help(&self.run, step, data)),
            "step.ordered" if data["what"] == "retry" => self.answered(step),
            "step.waiting" if data["signal"].is_string() => self.ask(step, signal(&self.run, step, data)),
            "run.paused" => self.ask("", pause(&self.run, data)),
            "run.resumed" | "run.cancelling" => self.answered(""),
            "run.succeeded" | "run.failed" | "run.cancelled" => self.open.clear(),
            "step.succeeded" | "step.failed" | "step.skipped" | "step.cancelled"
                if data["item"].is_null() =>
            {
                self.answered(step);
            }
            _ => {}
        }
    }
    fn ask(&mut self, step: &str, ask: Ask) {
        self.told.remove(step);
        self.stood.remove(step);
        self.open.insert(step.to_owned(), ask);
    }
    fn answered(&mut self, step: &str) {
        self.open.remove(step);
    }

    /// What has not been said yet of what stands since the last look: what was answered long ago passes by in less,
    /// when the events of a run are told from their beginning.
    pub(crate) fn untold_that_stands(&mut self) -> Vec<String> {
        let now = self.open.keys().cloned().collect();
        let stood = std::mem::replace(&mut self.stood, now);
        let (standing, fresh) =
            std::mem::take(&mut self.open).into_iter().partition(|(step, _)| stood.contains(step));
        self.open = standing;
        let lines = self.untold();
        self.open.extend::<BTreeMap<String, Ask>>(fresh);
        lines
    }
    /// What has not been said of it yet, in lines.
    fn untold(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (step, ask) in &self.open {
            if self.told.insert(step.clone()) {
                lines.push(harmless(&match &self.reach {
                    Reach::Node(_) => format!("{}: `{}`", ask.what, self.command(ask)),
                    Reach::Folder(_) => ask.what.clone(),
                    Reach::Nowhere => format!(
                        "{}, and nobody can reach a run in this process that is kept nowhere: press Ctrl-C, and run it at a node with `--server URL`",
                        ask.what
                    ),
                }));
            }
        }
        if !lines.is_empty() && matches!(self.reach, Reach::Folder(_)) {
            lines.push(
                "nobody can reach a run in this process: press Ctrl-C, which leaves it as it is; then"
                    .to_owned(),
            );
            lines.extend(self.afterwards().into_iter().map(|line| format!("  {line}")));
        }
        lines
    }
    fn command(&self, ask: &Ask) -> String {
        let node = match &self.reach {
            Reach::Node(url) if url != super::DEFAULT_SERVER => format!(" --server {url}"),
            _ => String::new(),
        };
        format!("{}{node}", ask.command)
    }
    /// What is typed once this process is gone.
    fn afterwards(&self) -> Vec<String> {
        let Reach::Folder(flags) = &self.reach else { return Vec::new() };
        let mut lines = vec![format!("`heddle serve{flags}` goes on with it, and in another terminal")];
        lines.extend(self.open.values().map(|ask| format!("`{}`", self.command(ask))));
        lines.push(format!("`heddle runs watch {}` follows it", self.run));
        lines
    }

    /// How to leave a run that waits for people and can be gone on with; none where it cannot, or waits for nobody.
    pub(crate) fn leave(&self) -> Option<Fault> {
        let kept = matches!(self.reach, Reach::Folder(_)) && !self.open.is_empty();
        kept.then(|| {
            let waits: Vec<&str> = self.open.values().map(|ask| &*ask.what).collect();
            let message = format!("run {} is left as it is: {}", self.run, waits.join("; "));
            Fault::failed(harmless(&message)).with_hint(harmless(&self.afterwards().join(", ")))
        })
    }
}

fn until(data: &Value) -> String {
    data["until"].as_str().map(|until| format!(" until {until}")).unwrap_or_default()
}

fn approval(run: &str, step: &str, data: &Value) -> Ask {
    let who: Vec<&str> =
        data["assignees"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (names, as_whom) = match who.first() {
        None => ("anybody else".to_owned(), "NAME".to_owned()),
        Some(first) => (
            who.iter().map(|who| format!("`{who}`")).collect::<Vec<_>>().join(" or "),
            match first.strip_prefix("group:") {
                Some(group) => format!("NAME --groups {group}"),
                None => (*first).to_owned(),
            },
        ),
    };
    let quorum = match data["quorum"].as_u64() {
        Some(more) if more > 1 => format!(", of {more} of them"),
        _ => String::new(),
    };
    Ask {
        what: format!("`{step}` waits for the approval of {names}{quorum}{}", until(data)),
        command: format!("heddle runs approve {run} {step} --as {as_whom}"),
    }
}

fn signal(run: &str, step: &str, data: &Value) -> Ask {
    let name = data["signal"].as_str().unwrap_or_default();
    Ask {
        what: format!("`{step}` waits for the signal `{name}`{}", until(data)),
        command: format!("heddle runs signal {run} {name} --data null"),
    }
}

fn pause(run: &str, data: &Value) -> Ask {
    let reason = match data["reason"].as_str() {
        Some(reason) if !reason.is_empty() => format!(": {reason}"),
        _ => String::new(),
    };
    Ask { what: format!("the run stands still{reason}"), command: format!("heddle runs resume {run}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: Value) -> Event {
        Event { id: None, kind: kind.into(), data: serde_json::json!({ "data": data }) }
    }

    #[test]
    fn what_is_open_is_told_once_with_what_to_type() {
        let mut asks = Asks::new("R", Reach::Node("http://n:1".into()));
        asks.take(&event(
            "approval.requested",
            serde_json::json!({"step": "a", "assignees": ["group:ops"], "quorum": 2}),
        ));
        asks.take(&event("step.waiting", serde_json::json!({"step": "b", "signal": "go", "until": "T"})));
        asks.take(&event("step.waiting", serde_json::json!({"step": "c", "until": "T"})));
        let told = asks.untold();
        assert_eq!(
            told,
            [
                "`a` waits for the approval of `group:ops`, of 2 of them: `heddle runs approve R a --as NAME --groups ops --server http://n:1`",
                "`b` waits for the signal `go` until T: `heddle runs signal R go --data null --server http://n:1`",
            ]
        );
        assert!(asks.untold().is_empty());
        asks.take(&event("run.paused", serde_json::json!({"by": "ana", "reason": "lunch"})));
        assert_eq!(
            asks.untold(),
            ["the run stands still: lunch: `heddle runs resume R --server http://n:1`"]
        );
        assert!(asks.leave().is_none(), "a node goes on with it by itself");
    }
    #[test]
    fn what_was_answered_long_ago_is_not_asked_again() {
        let mut asks = Asks::new("R", Reach::Node("http://n:1".into()));
        let signal = || event("step.waiting", serde_json::json!({"step": "b", "signal": "go"}));
        asks.take(&signal());
        assert!(asks.untold_that_stands().is_empty(), "it may be answered with the next event");
        asks.take(&event("step.succeeded", serde_json::json!({"step": "b"})));
        assert!(asks.untold_that_stands().is_empty());
        asks.take(&signal());
        assert!(asks.untold_that_stands().is_empty(), "asked anew, it has not stood yet");
        assert_eq!(asks.untold_that_stands().len(), 1);
        assert!(asks.untold_that_stands().is_empty(), "once");
    }
    #[test]
    fn a_run_of_this_process_says_how_to_come_back_to_it() {
        let mut asks = Asks::new("R", Reach::Folder(" --data d".into()));
        assert!(asks.leave().is_none(), "it waits for nobody");
        asks.take(&event(
            "approval.requested",
            serde_json::json!({"step": "a", "assignees": ["ana"], "quorum": 1}),
        ));
        let told = asks.untold().join("\n");
        assert!(told.contains("press Ctrl-C, which leaves it as it is"), "{told}");
        assert!(
            told.contains("`heddle serve --data d`") && told.contains("`heddle runs approve R a --as ana`"),
            "{told}"
        );
        assert!(asks.leave().is_some());
        asks.take(&event("step.succeeded", serde_json::json!({"step": "a"})));
        assert!(asks.leave().is_none());
        let mut nowhere = Asks::new("R", Reach::Nowhere);
        nowhere.take(&event("step.waiting", serde_json::json!({"step": "b", "signal": "go"})));
        assert!(nowhere.untold()[0].contains("`--server URL`"));
        assert!(nowhere.leave().is_none());
    }
}
