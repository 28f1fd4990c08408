//! A summary by rules: the sentences whose words the text uses most. Without a model it invents nothing.

use std::collections::{BTreeMap, BTreeSet};

use heddle_sdk::prelude::*;

/// Words shorter than this say little about what a text is about.
const WORD_LETTERS: usize = 4;

/// What to summarise.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text.
    text: String,
    /// How many sentences to keep.
    #[serde(default = "default_sentences")]
    #[schemars(range(min = 1))]
    sentences: usize,
}

/// The summary.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The sentences that say most, in the order of the text.
    summary: String,
    /// The words that the text uses most, the most frequent first.
    topics: Vec<String>,
    /// Sentences of the whole text.
    sentences: usize,
    /// Words of the whole text.
    words: usize,
}

/// Summarise a text.
///
/// Keeps the sentences whose words the text uses most, in their order. By rules, so nothing is in the summary that is not in the text.
#[heddle_sdk::transform]
fn summarize_text(input: Input) -> Result<Output, Failure> {
    let sentences = sentences(&input.text);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for sentence in &sentences {
        for word in words(sentence) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut ranked: Vec<(usize, f64)> = sentences.iter().map(|s| weight(s, &counts)).enumerate().collect();
    // The earlier of two that say as much.
    ranked.sort_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
    let kept: BTreeSet<usize> = ranked.iter().take(input.sentences.max(1)).map(|(at, _)| *at).collect();
    let summary: Vec<&str> = kept.iter().map(|at| sentences[*at]).collect();
    let mut topics: Vec<(&String, &usize)> = counts.iter().filter(|(_, count)| **count > 1).collect();
    topics.sort_by(|(a, one), (b, other)| other.cmp(one).then(a.cmp(b)));
    Ok(Output {
        summary: summary.join(" "),
        topics: topics.into_iter().take(5).map(|(word, _)| word.clone()).collect(),
        sentences: sentences.len(),
        words: input.text.split_whitespace().count(),
    })
}

/// The sentences of a text: each ends with a full stop, an exclamation or a question mark, or with a line.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut from = 0;
        let ends = |(at, c): (usize, char)| {
            let next = line[at + c.len_utf8()..].chars().next();
            (matches!(c, '.' | '!' | '?') && next.is_none_or(char::is_whitespace))
                .then_some(at + c.len_utf8())
        };
        for to in line.char_indices().filter_map(ends).chain([line.len()]) {
            found.extend(Some(line[from..to].trim()).filter(|sentence| !sentence.is_empty()));
            from = to;
        }
    }
    found
}

/// The words of a sentence that say something, in lower case.
fn words(sentence: &str) -> impl Iterator<Item = String> + '_ {
    let words = sentence.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| word.chars().count() >= WORD_LETTERS).map(str::to_lowercase)
}

/// How much the words of a sentence are used in the whole text, long sentences no more than short ones.
fn weight(sentence: &str, counts: &BTreeMap<String, usize>) -> f64 {
    let all: Vec<usize> = words(sentence).map(|word| counts.get(&word).copied().unwrap_or(0)).collect();
    match all.len() {
        0 => 0.0,
        many => all.iter().sum::<usize>() as f64 / (many as f64).sqrt(),
    }
}

fn default_sentences() -> usize {
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, sentences: usize) -> Output {
        summarize_text(Input { text: text.to_owned(), sentences }).expect("a summary")
    }

    #[test]
    fn what_the_text_is_about_is_kept_in_its_order() {
        let text = "Looms weave cloth. The weather was fine.\nA loom holds threads, and threads make cloth. Version 1.5 is out!";
        let output = run(text, 2);
        assert_eq!(output.summary, "Looms weave cloth. A loom holds threads, and threads make cloth.");
        assert_eq!((output.sentences, output.topics), (4, vec!["cloth".to_owned(), "threads".to_owned()]));
    }

    #[test]
    fn an_empty_text_has_an_empty_summary() {
        assert_eq!(
            run(" \n", 3),
            Output { summary: String::new(), topics: Vec::new(), sentences: 0, words: 0 }
        );
        assert_eq!(run("Größe ohne Punkt", 1).summary, "Größe ohne Punkt");
    }
}
