//! What a run asks people, and an answer as a decision.

use super::Who;
use crate::http::Api;
use crate::http::problem::Problem;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::approval::Decision;
use heddle_core::run::event::Order;
use heddle_core::run::orders::Wish;
use heddle_core::run::view::{AskView, StepView};
use heddle_executor::RunDetail;
use serde_json::{Map, Value};

/// The member with what is decided.
pub(crate) const DECISION: &str = "decision";
/// The member with what is said of it.
pub(crate) const COMMENT: &str = "comment";
/// The member with a form that is more than a few plain values: JSON as text, or JSON.
pub(crate) const FORM: &str = "form";
/// Characters of a comment that are kept.
const COMMENT_CHARS: usize = 4_096;

/// A question that is open.
pub(crate) struct Question<'a> {
    /// One question of the run, for as long as there is the run: a step may ask more than once.
    pub(crate) key: String,
    step: &'a StepView,
    asks: &'a AskView,
}

/// What this caller may still answer.
pub(crate) fn open<'a>(detail: &'a RunDetail, who: &Who) -> Vec<Question<'a>> {
    let of = |step: &'a StepView| {
        let asks = step.asks.as_ref()?;
        let key = format!("{}#{}", step.id, step.decisions.len() + step.orders.len());
        let decided = step.decisions.iter().any(|decision| *decision.by == *who.decides);
        let is_asked = asks.assignees.is_empty()
            || asks.assignees.iter().any(|asked| match asked.strip_prefix("group:") {
                Some(group) => who.caller.groups.iter().any(|own| **own == *group),
                None => **asked == *who.decides,
            });
        (!decided && is_asked).then_some(Question { key, step, asks })
    };
    detail.view.steps.iter().filter_map(of).collect()
}

/// Whether the run asks anybody anything.
pub(crate) fn asks(detail: &RunDetail) -> bool {
    detail.view.steps.iter().any(|step| step.asks.is_some())
}

impl Question<'_> {
    /// Whether it is about a step that has failed.
    pub(crate) fn is_of_failure(&self) -> bool {
        self.asks.failure.is_some()
    }
    /// Whether its form has this member.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        let schema = self.asks.form.as_ref().map(Json::value);
        schema.and_then(|schema| schema.get("properties")?.get(name)).is_some()
    }
    pub(crate) fn form(&self) -> Option<&Json> {
        self.asks.form.as_ref()
    }
    /// The question in a sentence.
    pub(crate) fn message(&self, detail: &RunDetail) -> String {
        let title = detail.plan().steps.get(self.step.index as usize).map_or("", |step| &step.title);
        let title = if title.is_empty() { format!("step `{}`", self.step.id) } else { title.to_owned() };
        match &self.asks.failure {
            None => {
                let who: Vec<String> = self.asks.assignees.iter().map(|who| format!("`{who}`")).collect();
                let who = if who.is_empty() { String::new() } else { format!(" (from {})", who.join(", ")) };
                format!("{} wants an approval{who}: {title}", detail.view.workflow)
            }
            Some(failure) => format!(
                "{} has failed at {title}: {}. What becomes of it?",
                detail.view.workflow, failure.message
            ),
        }
    }
    /// What may be decided.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        match &self.asks.failure {
            None => vec!["approve", "reject"],
            Some(_) => {
                let skip = self.asks.skippable.then_some("skip");
                ["retry"].into_iter().chain(skip).chain(["fail"]).collect()
            }
        }
    }
    /// Decides. `content` has the decision, a comment, and what is filled in, beside them or as `form`.
    ///
    /// # Errors
    /// Why that does not count, in words for whoever has decided.
    pub(crate) async fn decide(
        &self,
        api: &Api,
        (run, who): (RunId, &Who),
        content: &Value,
    ) -> Result<(), Problem> {
        let word = content[DECISION].as_str().unwrap_or_default();
        if !self.words().contains(&word) {
            let words: Vec<String> = self.words().iter().map(|word| format!("`{word}`")).collect();
            let detail = format!("the answer to `{}` has a `decision`: {}", self.key, words.join(" or "));
            return Err(Problem::new(crate::http::codes::Code::ParameterInvalid, detail));
        }
        let comment: String =
            content[COMMENT].as_str().unwrap_or_default().chars().take(COMMENT_CHARS).collect();
        let (executor, tenant) = (&api.app.executor, Tenant::default());
        let (by, comment) = (who.decides.clone(), comment.as_str().into());
        let place = (&*self.step.id, who.caller.groups.as_slice());
        if self.asks.failure.is_none() {
            let approved = word == "approve";
            let form = self.filled(content).filter(|_| approved);
            executor.decide(&tenant, run, place, Decision { by, approved, comment, form }).await?;
            return Ok(());
        }
        let what = match word {
            "retry" => Wish::Retry { input: None },
            "skip" => Wish::Skip { value: Json::null() },
            _ => Wish::Fail {},
        };
        executor.order(&tenant, run, place, Order { by, comment, what }).await?;
        Ok(())
    }
    /// What was filled in, where the approval has a form.
    fn filled(&self, content: &Value) -> Option<Json> {
        self.asks.form.as_ref()?;
        let whole = match &content[FORM] {
            Value::String(text) => Json::parse(text.as_bytes()).ok(),
            Value::Null => None,
            other => Json::parse(other.to_string().as_bytes()).ok(),
        };
        whole.or_else(|| {
            let members =
                content.as_object()?.iter().filter(|(name, _)| *name != DECISION && *name != COMMENT);
            let members: Map<String, Value> =
                members.map(|(name, value)| (name.clone(), value.clone())).collect();
            Json::parse(Value::Object(members).to_string().as_bytes()).ok()
        })
    }
}
