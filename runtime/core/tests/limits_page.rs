//! Every limit has its row in the guide, and the guide has no row of a limit that is not there.

#![allow(clippy::disallowed_methods, reason = "a test reads the page; the core reads no files")]

use heddle_core::limits::TABLE;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_page_of_limits_has_a_row_for_each() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/limits.md");
    let text = std::fs::read_to_string(page).expect("the page of limits");
    let named =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name));
    let named: BTreeSet<&str> = named.collect();
    let known: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    assert!(known.len() > 90, "{} limits", known.len());
    let missing: Vec<_> = known.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a row: {missing:?}; no limit: {unknown:?}");
}
