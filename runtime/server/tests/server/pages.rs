//! Every code and every kind of failure has a page, and no page explains what does not exist.

use crate::support::get;
use heddle_core::outcome::FailureKind;
use heddle_server::http::codes::{Code, PAGES, page};
use std::collections::BTreeSet;

#[test]
fn every_code_and_kind_has_a_page_and_every_page_a_code_or_kind() {
    let codes = Code::ALL.iter().map(|code| code.word());
    let kinds = FailureKind::ALL.iter().map(|kind| kind.word());
    let words: BTreeSet<&str> = codes.chain(kinds).collect();
    for word in &words {
        let text = page(word).unwrap_or_else(|| panic!("docs/errors/{word}.md is not listed in codes.rs"));
        assert!(text.starts_with(&format!("# {word}\n")), "{word}");
        assert!(text.contains("\n## Cause\n") && text.contains("\n## What to do\n"), "{word}");
    }
    let listed: BTreeSet<&str> = PAGES.iter().map(|(word, _)| *word).collect();
    assert_eq!(listed, words);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(files, words.iter().map(|w| (*w).to_owned()).collect());
}

#[test]
fn every_page_is_served_where_a_problem_says_that_it_is() {
    for (word, text) in PAGES {
        let answer = get(&format!("/docs/errors/{word}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, *text));
    }
    get("/docs/errors/nonsense").is_problem(404, "route_not_found");
}
