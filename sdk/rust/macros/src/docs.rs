//! A doc comment as a plugin's words: title, description, documentation.
//!
//! People already write their doc comments in this shape (one line, a blank line, the rest), so nothing has to be
//! said twice.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// What a doc comment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// The first line, without its full stop.
    pub(crate) title: String,
    /// The paragraph after the title, on one line; the title again where there is none.
    pub(crate) description: String,
    /// Everything after the description, as Markdown.
    pub(crate) documentation: String,
}

/// Reads the `///` lines among a function's attributes.
pub(crate) fn read(attributes: &[Attribute]) -> Words {
    let text = attributes.iter().filter_map(line).collect::<Vec<_>>().join("\n");
    let text = text.trim();
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    let title = title.trim().trim_end_matches('.').to_owned();
    let (paragraph, documentation) = rest.trim().split_once("\n\n").unwrap_or((rest.trim(), ""));
    let description = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let description = if description.is_empty() { title.clone() } else { description };
    Words { title, description, documentation: documentation.trim().to_owned() }
}

fn line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { return None };
    let text = text.value();
    Some(text.strip_prefix(' ').unwrap_or(&text).trim_end().to_owned())
}
