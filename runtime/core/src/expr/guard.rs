//! Caps on the text of an expression, before any parser sees it: the parser recurses, and a kilobyte of `1+1+…` is
//! enough to overflow a small stack.

use super::tree::ExprFault;
use crate::limits::Limits;

/// Counts bytes, operators and brackets outside of string literals.
pub(super) fn check(text: &str, limits: &Limits) -> Result<(), ExprFault> {
    let limit = |name: &'static str, found: usize, max: u64| Err(ExprFault::Limit { name, found, max });
    if text.len() as u64 > limits.expression_bytes {
        return limit("expression_bytes", text.len(), limits.expression_bytes);
    }
    let (mut operators, mut depth, mut deepest) = (0usize, 0usize, 0usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => skip_string(c, &mut chars),
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '!' | '=' | '&' | '|' | '?' | '.' => {
                operators += 1;
                // `&&`, `<=` and the like are one operator.
                if chars.peek().is_some_and(|n| {
                    matches!((c, *n), ('&', '&') | ('|', '|') | ('=' | '!' | '<' | '>', '='))
                }) {
                    chars.next();
                }
            }
            _ => {}
        }
    }
    if operators as u64 > limits.expression_operators {
        return limit("expression_operators", operators, limits.expression_operators);
    }
    if deepest as u64 > limits.expression_depth {
        return limit("expression_depth", deepest, limits.expression_depth);
    }
    Ok(())
}

fn skip_string(quote: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return,
            _ => {}
        }
    }
}
