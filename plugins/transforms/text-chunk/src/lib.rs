//! Pieces of a text, each small enough for a model or an index. It is cut where a reader would pause: between
//! paragraphs, else between sentences, else between words, and inside a word only where there is nothing else.

use heddle_sdk::prelude::*;

/// Pieces that one call gives at most.
const MOST_CHUNKS: usize = 10_000;

/// What to cut, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The text.
    text: String,
    /// The most characters of a piece.
    #[serde(default = "size")]
    #[schemars(range(min = 1))]
    size: usize,
    /// How many characters of the piece before are said again at its beginning, at most: fewer than `size`.
    #[serde(default)]
    overlap: usize,
}

fn size() -> usize {
    1_000
}

/// The pieces.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// In their order. Together they have every character of the text but the white space where it was cut.
    chunks: Vec<Chunk>,
    /// Characters of the text.
    characters: usize,
}

/// A piece.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Chunk {
    /// From 0.
    index: usize,
    /// Its text.
    text: String,
    /// Where it begins in the text, in characters.
    start: usize,
    /// Behind its last character.
    end: usize,
}

/// Text chunks.
///
/// Cuts a text into pieces of at most `size` characters, where a reader would pause, with some overlap if that is wanted.
#[heddle_sdk::transform(name = "text-chunk", provides = ["text.chunk"])]
fn text_chunk(input: Input) -> Result<Output, Failure> {
    if input.size == 0 || input.overlap >= input.size {
        let message = format!("an overlap of {} leaves nothing of a size of {}", input.overlap, input.size);
        return Err(Failure::permanent(
            "overlap_too_large",
            message + "; give less overlap, or a larger size",
        ));
    }
    let text: Vec<char> = input.text.chars().collect();
    let (mut chunks, mut behind) = (Vec::new(), 0);
    let mut at = skip(&text, 0);
    while at < text.len() {
        if chunks.len() == MOST_CHUNKS {
            let message = format!("more than {MOST_CHUNKS} pieces; give a larger size");
            return Err(Failure::permanent("too_many_chunks", message));
        }
        let mut cut = cut(&text, at, input.size);
        if cut <= behind {
            // With so much said again there is no pause behind the piece before: it begins there.
            at = skip(&text, behind);
            if at >= text.len() {
                break;
            }
            cut = self::cut(&text, at, input.size);
        }
        behind = cut;
        let end = trimmed(&text, at, cut);
        chunks.push(Chunk { index: chunks.len(), text: text[at..end].iter().collect(), start: at, end });
        if cut >= text.len() {
            break;
        }
        // What is said again begins with a word, and the piece goes on behind the one before.
        let back = begin_of_word(&text, cut.saturating_sub(input.overlap).max(at + 1), cut);
        at = skip(&text, back);
    }
    Ok(Output { chunks, characters: text.len() })
}

/// Where a piece that begins here is cut.
fn cut(text: &[char], from: usize, size: usize) -> usize {
    let most = from.saturating_add(size);
    if most >= text.len() {
        return text.len();
    }
    // Not so early that most of the room is left.
    let least = from + size / 2;
    let places = || (least.max(from + 1)..=most).rev();
    let paragraph = |at: usize| text[at - 1] == '\n' && at >= 2 && text[at - 2] == '\n';
    let sentence = |at: usize| {
        text[at].is_whitespace() && matches!(text[at - 1], '.' | '!' | '?' | '…' | '。' | '！' | '？')
            || text[at - 1] == '\n'
    };
    let word = |at: usize| text[at].is_whitespace() || text[at - 1].is_whitespace();
    let mut all = (from + 1..=most).rev();
    places()
        .find(|at| paragraph(*at))
        .or_else(|| places().find(|at| sentence(*at)))
        .or_else(|| all.find(|at| word(*at)))
        .unwrap_or(most)
}

fn skip(text: &[char], from: usize) -> usize {
    (from..text.len()).find(|at| !text[*at].is_whitespace()).unwrap_or(text.len())
}
fn trimmed(text: &[char], from: usize, to: usize) -> usize {
    (from + 1..=to).rev().find(|at| !text[at - 1].is_whitespace()).unwrap_or(to)
}
/// The first word that begins at or behind `from`, before `to`; `to`, where there is none.
fn begin_of_word(text: &[char], from: usize, to: usize) -> usize {
    (from..to).find(|at| text[at - 1].is_whitespace() && !text[*at].is_whitespace()).unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, size: usize, overlap: usize) -> Vec<String> {
        let output = text_chunk(Input { text: text.to_owned(), size, overlap }).expect("pieces");
        let all: Vec<char> = text.chars().collect();
        for chunk in &output.chunks {
            assert!(chunk.end - chunk.start <= size, "{chunk:?}");
            assert_eq!(all[chunk.start..chunk.end].iter().collect::<String>(), chunk.text);
        }
        output.chunks.into_iter().map(|chunk| chunk.text).collect()
    }

    #[test]
    fn it_is_cut_where_a_reader_pauses() {
        assert_eq!(run("One. Two.\n\nThree four.", 16, 0), ["One. Two.", "Three four."]);
        assert_eq!(run("One two. Three four five.", 12, 0), ["One two.", "Three four", "five."]);
        assert_eq!(run("abcdefghij", 4, 0), ["abcd", "efgh", "ij"]);
        assert_eq!(run("  \n ", 4, 0), Vec::<String>::new());
        assert_eq!(run("äöü ßéè", 4, 0), ["äöü", "ßéè"]);
        assert_eq!(run("aaaa bb cccccccccccccc", 10, 8), ["aaaa bb", "cccccccccc", "cccc"]);
        assert_eq!(run(" a", usize::MAX, 0), ["a"]);
        assert_eq!(run("one two three four", 9, 4), ["one two", "two three", "four"]);
    }

    #[test]
    fn nothing_is_lost_and_it_always_ends() {
        let text = "It was. A b c! dd\n\nee ff, ggggggggggggggggggg h? ".repeat(9);
        let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        for size in 1..40 {
            assert_eq!(solid(&run(&text, size, 0).concat()), solid(&text), "{size}");
            for overlap in 0..size {
                assert!(run(&text, size, overlap).len() <= text.len());
            }
        }
        let refused = text_chunk(Input { text: String::new(), size: 3, overlap: 3 }).expect_err("no room");
        assert_eq!(refused.code(), "overlap_too_large");
    }
}
