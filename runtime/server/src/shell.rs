//! Words that people type: what names a file or a key may have been chosen by somebody else.

/// A word as a shell takes it for one.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+~".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// The same as an argument, which is no flag whatever it begins with.
pub(crate) fn argument(word: &str) -> String {
    match word.starts_with('-') {
        true => format!("-- {}", quoted(word)),
        false => quoted(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_chose_is_one_word_and_no_flag() {
        assert_eq!(quoted("tool:fail"), "tool:fail");
        assert_eq!(quoted("a b; rm -rf $HOME"), "'a b; rm -rf $HOME'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!((quoted(""), argument("-f")), ("''".to_owned(), "-- -f".to_owned()));
    }
}
