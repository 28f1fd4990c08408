//! The parameters of a template in a text: `${ param.name }` is replaced before the text is an expression of a workflow.
//! A text that is one whole `${ param.a.b }` becomes the value itself; among other characters a parameter becomes text,
//! and within a larger expression it stands there as a literal. What a parameter says is never read as an expression.

use super::functions::render;
use super::template::{RawPiece, closing, split};
use super::tree::nearest;
use crate::value::{Map, Value};

/// The name by which expressions speak of parameters.
const NAME: &str = "param";

/// A text of the template with these parameters in it; `None` where it names none.
///
/// # Errors
/// A parameter that there is not, or a mention of `param` that is none.
pub(crate) fn fill(text: &str, parameters: &Map, read: Read) -> Result<Option<Value>, String> {
    let pieces = split(text)?;
    let named =
        |piece: &RawPiece<'_>| matches!(piece, RawPiece::Expr(source) if mentions(source).next().is_some());
    if !pieces.iter().any(named) {
        return Ok(None);
    }
    if let [RawPiece::Expr(source)] = pieces.as_slice()
        && let Some(value) = whole(source, parameters)?
    {
        return Ok(Some(match read {
            Read::WithExpressions => literal(value),
            Read::AsItIs => value.clone(),
        }));
    }
    let mut filled = Filled { read, ..Filled::default() };
    for piece in pieces {
        match piece {
            RawPiece::Plain(text) => filled.plain.push_str(&text),
            RawPiece::Expr(source) => match whole(source, parameters)? {
                Some(value) => render(value, &mut filled.plain),
                None => filled.expression(&inlined(source, parameters)?),
            },
        }
    }
    Ok(Some(Value::text(filled.finish())))
}

/// How the place is read at which the text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Read {
    /// What stands in `${ }` is computed, and `$${` is `${`.
    #[default]
    WithExpressions,
    /// Every character is what it is.
    AsItIs,
}

/// A text that is being put together.
#[derive(Default)]
struct Filled {
    read: Read,
    text: String,
    /// Characters since the last expression, as they are meant.
    plain: String,
}

impl Filled {
    /// Writes down the characters, so that none of them begins an expression.
    fn flush(&mut self) {
        let plain = std::mem::take(&mut self.plain);
        match self.read {
            Read::WithExpressions => self.text.push_str(&plain.replace("${", "$${")),
            Read::AsItIs => self.text.push_str(&plain),
        }
    }
    fn expression(&mut self, source: &str) {
        if self.read == Read::AsItIs {
            self.plain.push_str(&format!("${{ {source} }}"));
            return;
        }
        // `$` in front of an expression would make characters of it.
        let dollars = self.plain.len() - self.plain.trim_end_matches('$').len();
        let dollars = self.plain.split_off(self.plain.len() - dollars);
        self.flush();
        if !dollars.is_empty() {
            self.text.push_str(&format!("${{ \"{dollars}\" }}"));
        }
        self.text.push_str(&format!("${{ {source} }}"));
    }
    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

/// The value in which no text is read as an expression.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) if text.contains("${") => Value::text(text.replace("${", "$${")),
        Value::List(items) => Value::list(items.iter().map(literal).collect()),
        Value::Map(map) => Value::map(map.iter().map(|(key, value)| (key.clone(), literal(value)))),
        other => other.clone(),
    }
}

/// A mention of `param` in an expression: where it begins, where the name behind it ends, and that name.
struct Mention<'a> {
    start: usize,
    end: usize,
    name: Option<&'a str>,
}

/// Every mention of `param` that is no member of something else and stands in no text.
fn mentions(source: &str) -> impl Iterator<Item = Mention<'_>> {
    let bytes = source.as_bytes();
    let (mut at, mut before) = (0, b' ');
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let (start, byte) = (at, bytes[at]);
            match byte {
                b'"' | b'\'' => at = past_text(source, at),
                _ if is_start(byte) => {
                    at = past_word(source, at);
                    if &source[start..at] == NAME && before != b'.' {
                        before = b'a';
                        let (name, end) =
                            member(source, at).map_or((None, at), |(name, end)| (Some(name), end));
                        at = end;
                        return Some(Mention { start, end, name });
                    }
                }
                _ => at += 1,
            }
            if !byte.is_ascii_whitespace() {
                before = byte;
            }
        }
        None
    })
}

fn is_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn past_word(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    at + rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

/// The index behind a text that begins here.
fn past_text(source: &str, at: usize) -> usize {
    let (quote, mut escaped) = (source.as_bytes()[at], false);
    for (index, byte) in source.bytes().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return index + 1,
            _ => {}
        }
    }
    source.len()
}

fn past_space(source: &str, at: usize) -> usize {
    at + source[at..].len() - source[at..].trim_start().len()
}

/// The member that is named here, as `.name` or `["name"]`, and where that ends.
fn member(source: &str, at: usize) -> Option<(&str, usize)> {
    let at = past_space(source, at);
    match source.as_bytes().get(at)? {
        b'.' => {
            let start = past_space(source, at + 1);
            let end = past_word(source, start);
            (end > start && is_start(source.as_bytes()[start])).then(|| (&source[start..end], end))
        }
        b'[' => {
            let start = past_space(source, at + 1);
            if !matches!(source.as_bytes().get(start), Some(b'"' | b'\'')) {
                return None;
            }
            let end = past_text(source, start);
            let close = past_space(source, end);
            let name = source.get(start + 1..end.checked_sub(1)?)?;
            (source.as_bytes().get(close) == Some(&b']')).then_some((name, close + 1))
        }
        _ => None,
    }
}

/// The value of a parameter that is mentioned.
fn value_of<'a>(name: Option<&str>, parameters: &'a Map) -> Result<&'a Value, String> {
    let Some(name) = name else {
        return Err(
            "in a template `param` is its parameters, and nothing else; write `param.name`".to_owned()
        );
    };
    parameters.get(name).ok_or_else(|| {
        let hint = match nearest(name, parameters.keys().map(|key| &**key)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => "; define it under `template.parameters.properties`".to_owned(),
        };
        format!("the template has no parameter `{name}`{hint}")
    })
}

/// The value that the whole expression means, where it is nothing but a parameter or a member of one.
fn whole<'a>(source: &str, parameters: &'a Map) -> Result<Option<&'a Value>, String> {
    let source = source.trim();
    let Some(mention) = mentions(source).next().filter(|mention| mention.start == 0) else { return Ok(None) };
    let mut value = value_of(mention.name, parameters)?;
    let (mut at, mut path) = (mention.end, source[..mention.end].to_owned());
    while at < source.len() {
        let Some((name, end)) = member(source, at) else { return Ok(None) };
        // What is called is no member.
        if source[end..].trim_start().starts_with('(') {
            return Ok(None);
        }
        value = match value.get(name) {
            Some(inner) => inner,
            None if end == source.len() => return Err(format!("`{path}` has no member `{name}`")),
            None => return Ok(None),
        };
        (at, path) = (end, source[..end].to_owned());
    }
    Ok(Some(value))
}

/// The expression with each parameter as a literal.
fn inlined(source: &str, parameters: &Map) -> Result<String, String> {
    let (mut out, mut done) = (String::new(), 0);
    for mention in mentions(source) {
        let value = value_of(mention.name, parameters)?;
        out.push_str(&source[done..mention.start]);
        let bare =
            matches!(value, Value::String(_) | Value::List(_) | Value::Map(_) | Value::Bool(_) | Value::Null);
        // A number could run into what stands around it.
        let (open, close) = if bare { ("", "") } else { ("(", ")") };
        out.push_str(open);
        value.write_json(&mut out);
        out.push_str(close);
        done = mention.end;
    }
    out.push_str(&source[done..]);
    // A literal must not end the expression where it stands.
    match closing(&format!("{out} }}")) {
        Some(end) if end == out.len() + 1 => Ok(out),
        _ => Err("a parameter cannot stand here: its text ends the expression".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    fn filled(text: &str) -> Result<String, String> {
        let parameters = Json::parse(
            br#"{"n":-3,"s":"a\"b","evil":"${ steps.x }","open":"5$","brace":"{x}","l":[1,"${ y }"],"m":{"k":{"d":true},"a-b":1.50},"nil":null}"#,
        )
        .unwrap();
        let Value::Map(map) = parameters.value() else { panic!() };
        let value = fill(text, map, Read::default())?;
        Ok(value.map_or_else(|| "-".to_owned(), |value| Json::from_value(value).text().to_owned()))
    }

    #[test]
    fn a_whole_parameter_keeps_its_type_and_is_never_an_expression() {
        for (text, value) in [
            ("${ param.n }", "-3"),
            ("${param.m.k}", r#"{"d":true}"#),
            (r#"${ param.m["a-b"] }"#, "1.50"),
            (r#"${ param["s"] }"#, r#""a\"b""#),
            ("${ param.nil }", "null"),
            ("${ param.evil }", r#""$${ steps.x }""#),
            ("${ param.l }", r#"[1,"$${ y }"]"#),
            ("no expression, param.n", "-"),
            ("${ input.param.n + \"param.n\" }", "-"),
            ("$${ param.n }", "-"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(value), "{text}");
        }
    }
    #[test]
    fn among_other_characters_it_is_text() {
        for (text, value) in [
            ("x-${ param.n }-${ input.a }", "x--3-${ input.a }"),
            ("${ param.s }${ input.a }", "a\\\"b${ input.a }"),
            ("${ param.open }${ param.brace }", "5$${x}"),
            ("${ param.open }${ input.a }", "5${ \\\"$\\\" }${ input.a }"),
            ("$${ ${ param.n }", "$${ -3"),
            ("<${ param.evil }>", "<$${ steps.x }>"),
            ("<${ param.m.k }>", "<{\\\"d\\\":true}>"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(&*format!("\"{value}\"")), "{text}");
        }
    }
    #[test]
    fn in_an_expression_it_is_a_literal() {
        for (text, value) in [
            ("${ input.a > param.n }", "${ input.a > (-3) }"),
            ("${ param.s + input.b }", "${ \\\"a\\\\\\\"b\\\" + input.b }"),
            ("${ param.l.size() }", "${ [1,\\\"${ y }\\\"].size() }"),
            ("${ input.a in param.l }", "${ input.a in [1,\\\"${ y }\\\"] }"),
            (
                "${ param.m.k.d ? 1 : param.n }",
                "${ {\\\"a-b\\\":1.50,\\\"k\\\":{\\\"d\\\":true}}.k.d ? 1 : (-3) }",
            ),
            ("${ param.brace == input.a }", "${ \\\"{x}\\\" == input.a }"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(&*format!("\"{value}\"")), "{text}");
        }
    }
    #[test]
    fn what_is_no_parameter_is_told() {
        for (text, says) in [
            ("${ param.nn }", "no parameter `nn`; did you mean"),
            ("${ param }", "write `param.name`"),
            ("${ input.list.map(param, param.x) }", "write `param.name`"),
            ("${ param.m.k.e }", "has no member `e`"),
            ("${ param.n ", "is not closed"),
        ] {
            let fault = filled(text).unwrap_err();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }
}
