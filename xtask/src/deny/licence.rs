//! Licence expressions of SPDX, as far as crates use them: `MIT OR Apache-2.0`, `(A AND B) OR C`, `A WITH B`, and the
//! slash of older manifests, which means `OR`.

/// Whether the expression can be satisfied with licences that are allowed. What cannot be read is not allowed.
pub(super) fn allows(expression: &str, allowed: impl Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed: &allowed };
    let holds = reader.any();
    holds == Some(true) && reader.at == words.len()
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }
    fn any(&mut self) -> Option<bool> {
        let mut holds = self.all()?;
        while self.takes("OR") {
            holds |= self.all()?;
        }
        Some(holds)
    }
    fn all(&mut self) -> Option<bool> {
        let mut holds = self.one()?;
        while self.takes("AND") {
            holds &= self.one()?;
        }
        Some(holds)
    }
    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let holds = self.any()?;
            return self.takes(")").then_some(holds);
        }
        let licence = self.words.get(self.at).filter(|word| !["AND", "OR", "WITH", ")"].contains(word))?;
        self.at += 1;
        if !self.takes("WITH") {
            return Some((self.allowed)(licence));
        }
        let exception = self.words.get(self.at)?;
        self.at += 1;
        Some((self.allowed)(&format!("{licence} WITH {exception}")))
    }
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn expressions_mean_what_spdx_says() {
        let allowed = |word: &str| ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].contains(&word);
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allows(good, allowed), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "GPL-3.0 WITH LLVM-exception",
            "(MIT",
            "MIT)",
            "MIT OR",
            "OR MIT",
            "MIT MIT",
        ] {
            assert!(!allows(bad, allowed), "{bad}");
        }
    }
}
