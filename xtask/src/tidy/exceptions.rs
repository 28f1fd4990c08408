//! What the rules do not hold for, line by line: `rule path item | reason`. `*` stands for any item.

use super::{Fault, Tree};

/// The list.
pub(super) const FILE: &str = "xtask/tidy-exceptions.txt";

struct Exception<'a> {
    line: usize,
    rule: &'a str,
    path: &'a str,
    item: &'a str,
}

/// Takes away what is excepted, and adds what is wrong with the exceptions themselves.
pub(super) fn apply(tree: &Tree<'_>, rules: &[&str], faults: Vec<Fault>) -> Vec<Fault> {
    let text = tree.find(FILE).map_or("", |source| &source.text);
    let mut out = Vec::new();
    let mut exceptions = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match parse(at + 1, line) {
            Some(Ok(exception)) if rules.contains(&exception.rule) => exceptions.push((exception, false)),
            Some(_) => out.push(fault(at + 1, format!("`{line}` is not `rule path item | reason`"))),
            None => {}
        }
    }
    for found in faults {
        let covers = |e: &Exception<'_>| {
            e.rule == found.rule && e.path == found.path && (e.item == "*" || e.item == found.item)
        };
        match exceptions.iter_mut().find(|(e, _)| covers(e)) {
            Some((_, used)) => *used = true,
            None => out.push(found),
        }
    }
    let unused = exceptions.iter().filter(|(_, used)| !used);
    out.extend(unused.map(|(e, _)| {
        fault(e.line, format!("nothing needs `{} {} {}` any more; remove it", e.rule, e.path, e.item))
    }));
    out
}

fn parse(line: usize, text: &str) -> Option<Result<Exception<'_>, ()>> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let (what, reason) = text.split_once(" | ").unwrap_or((text, ""));
    let words: Vec<&str> = what.split_whitespace().collect();
    Some(match (&*words, reason.trim().is_empty()) {
        (&[rule, path, item], false) => Ok(Exception { line, rule, path, item }),
        _ => Err(()),
    })
}

fn fault(line: usize, message: String) -> Fault {
    Fault { rule: "exceptions", path: FILE.to_owned(), line, item: "*".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_exception_has_a_reason() {
        assert!(parse(1, "# a remark").is_none());
        assert!(parse(1, "names a/b.rs engine | wasmtime's word").unwrap().is_ok());
        for text in ["names a/b.rs engine", "names a/b.rs engine | ", "names a/b.rs | why"] {
            assert!(parse(1, text).unwrap().is_err(), "{text}");
        }
    }
}
