//! What is done without a model, and how a text is cut.

use std::collections::BTreeMap;

/// The sentences that say most of what the text is about, in their order, in about so many characters.
pub(crate) fn sentences(text: &str, focus: &str, size: usize) -> String {
    let all = split(text);
    let mut often: BTreeMap<String, usize> = BTreeMap::new();
    for word in words(text) {
        *often.entry(word).or_default() += 1;
    }
    // What the summary is for counts more than anything in the text.
    for word in words(focus) {
        *often.entry(word).or_default() += 10 * all.len();
    }
    let weight = |sentence: &str| {
        let found = words(sentence);
        let sum: usize = found.iter().map(|word| often.get(word).copied().unwrap_or(0)).sum();
        // By the word, so that a long sentence is not better for being long.
        sum * 1_000 / found.len().max(4)
    };
    let mut by_weight: Vec<usize> = (0..all.len()).collect();
    by_weight.sort_by_key(|&n| (std::cmp::Reverse(weight(all[n])), n));
    let (mut kept, mut left) = (Vec::new(), size);
    for n in by_weight {
        let characters = all[n].chars().count();
        if characters <= left {
            left = left.saturating_sub(characters + 1);
            kept.push(n);
        }
        if left < 20 {
            break;
        }
    }
    kept.sort_unstable();
    match kept.is_empty() {
        true => all.first().map_or_else(String::new, |first| first.chars().take(size).collect()),
        false => kept.into_iter().map(|n| all[n]).collect::<Vec<_>>().join(" "),
    }
}

/// Pieces of at most so many characters, cut behind a sentence where there is one.
pub(crate) fn pieces(text: &str, most: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut length) = (Vec::new(), String::new(), 0);
    for sentence in split(text) {
        for part in parts(sentence, most) {
            let characters = part.chars().count();
            if length > 0 && length + characters + 1 > most {
                pieces.push(std::mem::take(&mut piece));
                length = 0;
            }
            if length > 0 {
                piece.push(' ');
                length += 1;
            }
            piece.push_str(&part);
            length += characters;
        }
    }
    if length > 0 {
        pieces.push(piece);
    }
    pieces
}

fn parts(sentence: &str, most: usize) -> Vec<String> {
    let characters: Vec<char> = sentence.chars().collect();
    characters.chunks(most.max(1)).map(|part| part.iter().collect()).collect()
}

fn split(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut from = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let ends = match c {
            '.' | '!' | '?' => characters.peek().is_none_or(|(_, next)| next.is_whitespace()),
            '\n' => true,
            _ => false,
        };
        if ends {
            let end = at + c.len_utf8();
            sentences.push(text[from..end].trim());
            from = end;
        }
    }
    sentences.push(text[from..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn words(text: &str) -> Vec<String> {
    let all = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    all.filter(|word| word.chars().count() > 3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_behind_its_sentences() {
        assert_eq!(pieces("One two. Three four. Five.", 12), ["One two.", "Three four.", "Five."]);
        assert_eq!(pieces("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(pieces(" \n ", 3), [""; 0]);
        assert!(pieces(&"é".repeat(100), 30).iter().all(|piece| piece.chars().count() <= 30));
    }
    #[test]
    fn a_summary_is_no_longer_than_it_may_be() {
        let text = "Costs rose by four percent. It rained. Costs of transport rose most. Nobody knows why costs rose.";
        let short = sentences(text, "", 60);
        assert!(short.chars().count() <= 60 && short.contains("Costs"), "{short}");
        assert!(sentences(text, "rained weather", 40).contains("rained"));
        assert_eq!(sentences("a very long sentence without an end", "", 6), "a very");
    }
}
