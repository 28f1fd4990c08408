//! One look at a text, by rules: how it sounds, how hard it is to read, or what it claims. What is found comes with a
//! hint that an author can act on.

use heddle_sdk::prelude::*;

/// Words of a sentence over which it is long.
const LONG_SENTENCE: usize = 25;
/// Hints of one look, at most.
const HINTS: usize = 20;

const HARSH: &[&str] =
    &["stupid", "useless", "terrible", "ridiculous", "awful", "nonsense", "idiotic", "disaster"];
const KIND: &[&str] = &["thanks", "thank", "please", "glad", "welcome", "appreciate", "sorry", "great"];
const SWEEPING: &[&str] = &["always", "never", "everybody", "nobody", "impossible", "guaranteed"];
const SOURCES: &[&str] = &["according to", "http://", "https://", "see also", "source:"];

/// What to look at, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text.
    text: String,
    /// Which side of it.
    aspect: Aspect,
}

/// A side of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Aspect {
    /// How it sounds.
    Tone,
    /// How hard it is to read.
    Readability,
    /// What it claims without saying from where.
    Claims,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// The side that was looked at.
    aspect: Aspect,
    /// From 0, where much is to be done, to 100.
    score: u32,
    /// What an author could do.
    hints: Vec<Hint>,
}

/// Something that an author could do.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Hint {
    /// The side of the text that it is about.
    aspect: &'static str,
    /// What to do.
    text: String,
    /// The sentence.
    sentence: String,
}

/// Look at a text.
///
/// Looks at one side of a text, by rules: its tone, how hard it is to read, or what it claims without a source. Gives a score and hints.
#[heddle_sdk::transform]
fn analyze_text(input: Input) -> Result<Output, Failure> {
    let sentences: Vec<&str> =
        input.text.split_inclusive(['.', '!', '?', '\n']).map(str::trim).filter(|s| !s.is_empty()).collect();
    let mut hints: Vec<Hint> = Vec::new();
    let mut kind = 0;
    for sentence in &sentences {
        let words: Vec<String> = sentence
            .split(|c: char| !c.is_alphanumeric() && c != '%')
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let found = |list: &[&str]| words.iter().find(|word| list.contains(&word.as_str())).cloned();
        kind += usize::from(found(KIND).is_some());
        hints.extend(hint(input.aspect, sentence, &words, found));
    }
    let weight = match input.aspect {
        Aspect::Tone => 40,
        Aspect::Readability => 25,
        Aspect::Claims => 20,
    };
    let lost =
        (hints.len() * weight).saturating_sub(if input.aspect == Aspect::Tone { kind * 10 } else { 0 });
    hints.truncate(HINTS);
    let score = 100_u32.saturating_sub(u32::try_from(lost).unwrap_or(100));
    Ok(Output { aspect: input.aspect, score, hints })
}

/// What is to be said about a sentence.
fn hint(
    aspect: Aspect,
    sentence: &str,
    words: &[String],
    found: impl Fn(&[&str]) -> Option<String>,
) -> Option<Hint> {
    let (aspect, text) = match aspect {
        Aspect::Tone => ("tone", format!("`{}` is harsh: say what is wrong instead", found(HARSH)?)),
        Aspect::Readability if words.len() > LONG_SENTENCE => {
            ("readability", format!("{} words in one sentence: make it two", words.len()))
        }
        Aspect::Readability => return None,
        Aspect::Claims => {
            let lower = sentence.to_lowercase();
            let number = || words.iter().find(|word| word.chars().any(|c| c.is_ascii_digit())).cloned();
            let claim = found(SWEEPING).or_else(number)?;
            if SOURCES.iter().any(|source| lower.contains(source)) {
                return None;
            }
            ("claims", format!("`{claim}` is a claim: say where it is from"))
        }
    };
    Some(Hint { aspect, text, sentence: sentence.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Thanks for the draft. The old loom is useless! It never broke in 40 years. According to the maker it holds 12 threads.";

    fn look(aspect: Aspect, text: &str) -> Output {
        analyze_text(Input { text: text.to_owned(), aspect }).expect("a look")
    }

    #[test]
    fn each_side_finds_what_it_looks_for() {
        let tone = look(Aspect::Tone, TEXT);
        assert_eq!((tone.score, tone.hints.len()), (70, 1));
        assert!(tone.hints[0].text.contains("`useless`"), "{tone:?}");
        let claims = look(Aspect::Claims, TEXT);
        assert_eq!((claims.score, claims.hints.len()), (80, 1));
        assert!(claims.hints[0].text.contains("`never`"), "{claims:?}");
        assert_eq!(look(Aspect::Readability, TEXT).score, 100);
        let long = look(Aspect::Readability, &"word ".repeat(30));
        assert!(long.hints[0].text.starts_with("30 words"), "{long:?}");
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let output = look(Aspect::Claims, "");
        assert_eq!((output.score, output.hints), (100, Vec::new()));
    }
}
