//! Decides, by rules, who is to look at a text before anybody has: whether it must be fetched, and which analyses are
//! worth their work. Where a model decides one day, it gives the same answer in the same form.

use heddle_sdk::prelude::*;

/// What is known of the text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Goal {
    /// What sort of text it is.
    kind: Kind,
    /// The text, where it is at hand.
    #[serde(default)]
    text: Option<String>,
    /// Analyses that are wanted whatever the rules say.
    #[serde(default)]
    wanted: Vec<Analysis>,
    /// Analyses that are not wanted.
    #[serde(default)]
    unwanted: Vec<Analysis>,
}

/// A sort of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// For everybody.
    Article,
    /// From somebody to somebody.
    Mail,
    /// For those who decide.
    Report,
}

/// Something that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Analysis {
    /// How it sounds.
    Tone,
    /// How hard it is to read.
    Readability,
    /// What it claims.
    Claims,
}

/// Who is to do something.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Chosen {
    /// Whether its tone is looked at.
    tone: bool,
    /// Whether it is looked at how hard it is to read.
    readability: bool,
    /// Whether its claims are looked at.
    claims: bool,
}

/// The decision.
#[derive(Debug, Serialize, JsonSchema)]
struct Decision {
    /// Whether the text must be fetched first.
    fetch: bool,
    /// The analyses.
    agents: Chosen,
    /// Why, one sentence each.
    reasons: Vec<String>,
}

/// Select analyses.
///
/// Decides by the sort of a text which analyses are worth their work, and whether the text must be fetched first. By rules; what is wanted or unwanted goes before them.
#[heddle_sdk::agent]
fn select_analyses(goal: Goal, _agent: &Agent) -> Result<Decision, Failure> {
    let fetch = goal.text.as_deref().is_none_or(|text| text.trim().is_empty());
    let mut reasons = vec![match fetch {
        true => "the text is not at hand: it is fetched".to_owned(),
        false => "the text is at hand".to_owned(),
    }];
    let mut is_chosen = |analysis: Analysis, name: &str, by_rule: bool, rule: &str| {
        let (chosen, why) = match (goal.wanted.contains(&analysis), goal.unwanted.contains(&analysis)) {
            (_, true) => (false, "it is not wanted"),
            (true, false) => (true, "it is wanted"),
            (false, false) => (by_rule, rule),
        };
        reasons.push(format!("{name}: {}, because {why}", if chosen { "yes" } else { "no" }));
        chosen
    };
    let is = |kinds: &[Kind]| kinds.contains(&goal.kind);
    let agents = Chosen {
        tone: is_chosen(Analysis::Tone, "tone", is(&[Kind::Mail]), "a mail is read by somebody"),
        readability: is_chosen(
            Analysis::Readability,
            "readability",
            is(&[Kind::Article, Kind::Mail]),
            "whoever decides reads long sentences, too, and others do not",
        ),
        claims: is_chosen(
            Analysis::Claims,
            "claims",
            is(&[Kind::Article, Kind::Report]),
            "what is published or decided upon is held against its sources",
        ),
    };
    Ok(Decision { fetch, agents, reasons })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(goal: Value) -> Value {
        let ended = heddle_sdk::run!(&goal.to_string()).expect("a decision");
        match ended {
            heddle_sdk::Outcome::Done(text) => heddle_sdk::serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sort_of_text_decides_and_people_decide_before_it() {
        let mail = decide(json!({ "kind": "mail", "text": "Hello" }));
        assert_eq!(mail["agents"], json!({ "tone": true, "readability": true, "claims": false }));
        assert_eq!(mail["fetch"], false);
        let report =
            decide(json!({ "kind": "report", "wanted": ["tone"], "unwanted": ["claims", "readability"] }));
        assert_eq!(report["agents"], json!({ "tone": true, "readability": false, "claims": false }));
        assert_eq!((&report["fetch"], report["reasons"].as_array().map(Vec::len)), (&json!(true), Some(4)));
    }
}
