//! The words of a goal and of a plugin, and how much they have in common.

/// Words that say nothing of what is to be done.
const EMPTY: &[&str] = &[
    "a", "all", "an", "and", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "me", "of",
    "on", "one", "or", "please", "that", "the", "them", "then", "this", "to", "with",
];
/// Bytes of a name that a workflow may have.
const NAME: usize = 48;

/// The parts of a goal, in their order.
pub(crate) fn parts(goal: &str) -> Vec<String> {
    let mut text = goal.replace(['\n', ';'], "\u{0}");
    for word in [", and then ", " and then ", ", then ", " then ", ", afterwards ", " afterwards "] {
        text = text.replace(word, "\u{0}");
    }
    let whole = text.split('\u{0}').map(|part| part.trim().trim_end_matches(['.', ',']).trim());
    whole.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The words of a text, without their endings.
fn stems(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1 && !EMPTY.contains(word));
    words.map(stem).collect()
}

fn stem(word: &str) -> String {
    let spelled = word.replace("ise", "ize");
    let endings = ["ations", "ation", "ing", "izes", "ize", "ies", "ed", "es", "s", "e", "y"];
    let long_enough = |rest: &&str| rest.len() >= 3;
    let cut = endings.iter().find_map(|ending| spelled.strip_suffix(ending).filter(long_enough));
    cut.unwrap_or(&spelled).to_owned()
}

/// How much a part of a goal has in common with a plugin: three for each word of its name, one for others.
pub(crate) fn score(part: &str, name: &str, words: &str) -> u32 {
    let (own, said) = (stems(name.split(':').next_back().unwrap_or(name)), stems(words));
    let mut seen = Vec::new();
    let mut score = 0;
    for word in stems(part) {
        if seen.contains(&word) {
            continue;
        }
        score += if own.contains(&word) { 3 } else { u32::from(said.contains(&word)) };
        seen.push(word);
    }
    score
}

/// A name of the workflow language.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
        if out.len() >= NAME {
            break;
        }
    }
    let out = out.trim_matches('-');
    match out.chars().next() {
        Some('a'..='z') => out.to_owned(),
        Some(_) => format!("plan-{out}"),
        None => "plan".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        assert_eq!(parts("Fetch it, then cut it; print.\n\nDone"), ["Fetch it", "cut it", "print", "Done"]);
        assert!(parts(" ; \n").is_empty());
    }

    #[test]
    fn words_are_the_same_with_other_endings() {
        assert!(score("summarise texts", "transform:summarize-text", "") >= 6);
        assert_eq!(score("the and of", "tool:the", "and of"), 0);
        assert_eq!(score("text text text", "transform:text", ""), 3);
        assert_eq!(
            (slug("Fetch https://x"), slug("7 days"), slug("!")),
            ("fetch-https-x".into(), "plan-7-days".into(), "plan".into())
        );
    }
}
