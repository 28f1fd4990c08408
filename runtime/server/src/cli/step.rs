//! `heddle runs step`: what a person may do with one step of a run.

use super::client::{Ask, Client};
use super::control::user;
use super::exact::Exact;
use super::exit::{Exit, Fault};
use super::runs::encode;
use super::{Context, out};
use clap::Subcommand;
use serde::Serialize;

#[derive(Subcommand, Debug)]
pub(super) enum StepCommand {
    /// Try a step again that has failed and asks.
    Retry {
        #[command(flatten)]
        of: StepArgs,
        /// What it is tried with instead of its own input: JSON.
        #[arg(long)]
        input: Option<String>,
    },
    /// Skip a step whose workflow says that it may be.
    Skip {
        #[command(flatten)]
        of: StepArgs,
        /// What stands for its output: JSON.
        #[arg(long)]
        value: Option<String>,
    },
    /// Let a step fail that has failed and asks.
    Fail {
        #[command(flatten)]
        of: StepArgs,
    },
    /// Stop one step; the run goes on without it.
    Cancel {
        #[command(flatten)]
        of: StepArgs,
    },
}

#[derive(clap::Args, Debug)]
pub(super) struct StepArgs {
    /// The run.
    id: String,
    /// The step.
    step: String,
    /// Why.
    #[arg(long, default_value = "")]
    comment: String,
    /// Who decides; the user of this machine where nothing is said.
    #[arg(long = "as")]
    by: Option<String>,
    /// The groups of whoever decides, separated by commas.
    #[arg(long, default_value = "")]
    groups: String,
}

impl StepCommand {
    pub(super) fn run(&self) -> &str {
        &self.parts().0.id
    }
    /// Which step, the word of the API, and the value that comes along: its flag and its text.
    fn parts(&self) -> (&StepArgs, &'static str, Option<(&'static str, &str)>) {
        match self {
            StepCommand::Retry { of, input } => (of, "retry", input.as_deref().map(|text| ("input", text))),
            StepCommand::Skip { of, value } => (of, "skip", value.as_deref().map(|text| ("value", text))),
            StepCommand::Fail { of } => (of, "fail", None),
            StepCommand::Cancel { of } => (of, "cancel", None),
        }
    }
}

/// What is wanted, as the API takes it.
#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Exact>,
}

pub(super) async fn step(client: &Client, context: &Context, command: &StepCommand) -> Result<Exit, Fault> {
    let (of, word, given) = command.parts();
    if of.step.is_empty() {
        return Err(Fault::usage(format!("the step is missing; `heddle runs why {}` lists them", of.id)));
    }
    let mut wanted = Wanted { comment: &of.comment, input: None, value: None };
    if let Some((flag, text)) = given {
        let json = Exact::parse(text).map_err(|error| {
            Fault::usage(format!("`--{flag}` is no JSON: {error}; write `--{flag} '{{\"key\": 1}}'`"))
        })?;
        match flag {
            "input" => wanted.input = Some(json),
            _ => wanted.value = Some(json),
        }
    }
    let target = format!("/v1/runs/{}/steps/{}/{word}", encode(&of.id), encode(&of.step));
    let body = serde_json::to_string(&wanted).unwrap_or_default();
    let ask = Ask::post(&target, "application/json", body)
        .with("heddle-user", of.by.clone().unwrap_or_else(user))
        .with("heddle-groups", of.groups.clone());
    let answer = client.json(ask).await?;
    match context.json {
        true => out::json(&answer),
        false => {
            out::note(&format!("`{}` is told to {word}; `heddle runs watch {}` follows it", of.step, of.id))
        }
    }
    Ok(Exit::Ok)
}
