//! `heddle doctor`: looks for what is wrong with a node, its data and this machine, and says for each what to do.
//!
//! Where a node answers it is asked ([`node`]); where none does, the data folder is looked at without writing to it
//! ([`folder`]). What is of this machine ([`machine`]) is told only where the node is on this machine, too.

mod folder;
mod machine;
mod node;

use super::client::Client;
use super::exit::{Exit, Fault};
use super::paint::{Colour, Paint, harmless};
use super::{By, Context, Named, NodeArgs, out};
use crate::config::Config;
use serde::Serialize;

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warn,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    name: &'static str,
    health: Health,
    found: String,
    /// Each single thing that is wrong, where there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn finding(name: &'static str, health: Health, found: impl Into<String>, fix: Option<String>) -> Finding {
    Finding { name, health, found: found.into(), details: Vec::new(), fix }
}
fn ok(name: &'static str, found: impl Into<String>) -> Finding {
    finding(name, Health::Ok, found, None)
}
fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(name, Health::Warn, found, Some(fix.into()))
}
fn bad(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    finding(name, Health::Bad, found, Some(fix.into()))
}

impl Finding {
    fn with_details(mut self, details: Vec<String>) -> Finding {
        self.details = details;
        self
    }
}

/// What is looked at.
enum Subject<'a> {
    /// This node, because it was named.
    Node(&'a Named),
    /// The node of this configuration, where it answers; else its folder.
    Either,
    /// The folder, because it was named.
    Folder,
}

/// A flag wins over a variable, and a folder that was typed is what is meant.
fn subject<'a>(args: &NodeArgs, context: &'a Context) -> Result<Subject<'a>, Fault> {
    match (&context.server, &args.data) {
        (Some(named), Some(_)) if named.by == By::Flag => Err(Fault::usage(
            "`--server` asks a node, and `--data` looks at the folder of one that is stopped",
        )
        .with_hint("leave one of them out")),
        (_, Some(_)) => Ok(Subject::Folder),
        (Some(named), None) => Ok(Subject::Node(named)),
        (None, None) => Ok(Subject::Either),
    }
}

pub(super) async fn doctor(args: &NodeArgs, context: &Context) -> Result<Exit, Fault> {
    let subject = subject(args, context)?;
    let mut findings = Vec::new();
    match args.load() {
        Err(fault) => findings.push(
            bad(
                "configuration",
                fault.message,
                "correct what is named; `heddle config show --example` prints every setting",
            )
            .with_details(fault.shown.lines().map(str::to_owned).collect()),
        ),
        Ok(config) => {
            findings.push(ok("configuration", "every setting is understood"));
            look(subject, &config, args, &mut findings).await?;
        }
    }
    findings.extend(machine::toolchains());
    report(&findings, context);
    let worst = findings.iter().any(|finding| finding.health == Health::Bad);
    Ok(if worst { Exit::Failed } else { Exit::Ok })
}

async fn look(
    subject: Subject<'_>,
    config: &Config,
    args: &NodeArgs,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    if let Subject::Node(named) = subject {
        let (client, url) = (named.client()?, &*named.url);
        match node::ask(&client).await {
            Ok(report) => node::answered(url, &report, config, findings),
            Err(fault) => findings.push(bad(
                "node",
                fault.message,
                fault.hint.unwrap_or_else(|| "start it with `heddle serve`".to_owned()),
            )),
        }
        return Ok(());
    }
    let url = format!("http://{}", config.listen);
    // Who types a folder means it: a node that answers at the usual place need not be the one of that folder.
    if let Subject::Either = subject {
        if let Ok(report) = node::ask(&Client::to(&url)?).await {
            node::answered(&url, &report, config, findings);
            return Ok(());
        }
        findings.push(ok("node", format!("none answers at {url}; its data folder is looked at instead")));
    }
    folder::look(config, args, &url, findings).await;
    findings.push(machine::disk(&config.data));
    findings.push(machine::memory(config));
    Ok(())
}

fn report(findings: &[Finding], context: &Context) {
    if context.json {
        out::json(&findings);
        return;
    }
    let paint = Paint::for_stdout();
    let mut text = String::new();
    for finding in findings {
        let sign = match finding.health {
            Health::Ok => paint.with(Colour::Green, "ok  "),
            Health::Warn => paint.with(Colour::Yellow, "warn"),
            Health::Bad => paint.with(Colour::Red, "bad "),
        };
        text.push_str(&format!("{sign}  {:<14} {}\n", finding.name, harmless(&finding.found)));
        for detail in &finding.details {
            text.push_str(&format!("      {:<14} - {}\n", "", harmless(detail)));
        }
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("      {:<14} {} {fix}\n", "", paint.with(Colour::Cyan, "->")));
        }
    }
    out::text(&text);
}
