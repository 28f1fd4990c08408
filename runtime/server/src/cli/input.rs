//! The input of a run, from what was typed: `--input` for the whole, `--arg` for a member.

use super::exit::Fault;
use heddle_core::json::Json;
use heddle_core::value::{Map, Value};
use std::io::Read as _;
use std::sync::Arc;

/// The input: `@file`, `-` for stdin, or JSON; then each `key=value` over it.
pub(crate) fn input(whole: Option<&str>, args: &[String]) -> Result<Json, Fault> {
    object(("input", whole), ("arg", args))
}

/// The same for two flags of these names.
pub(super) fn object(
    (flag, whole): (&str, Option<&str>),
    (each, args): (&'static str, &[String]),
) -> Result<Json, Fault> {
    let mut value = match whole {
        None => Value::map::<Arc<str>>([]),
        Some(said) => {
            let (text, from) = read(flag, said)?;
            parse(&text).map_err(|fault| {
                Fault::usage(format!("{from}: {fault}")).with_hint(format!(
                    "`--{flag}` is JSON; `--{flag} @FILE` reads it from a file, `--{each} key=value` says a member"
                ))
            })?
        }
    };
    if args.is_empty() {
        return Ok(Json::from_value(value));
    }
    let Value::Map(map) = &value else {
        return Err(Fault::usage(format!("`--{each}` needs `--{flag}` to be an object")));
    };
    let mut map: Map = (**map).clone();
    for (key, said) in pairs(each, args)? {
        map.insert(key.into(), member(said)?);
    }
    value = Value::Map(Arc::new(map));
    Ok(Json::from_value(value))
}

/// What was said with a flag that takes `key=value` any number of times: each key once.
pub(super) fn pairs<'a>(flag: &str, said: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, Fault> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for one in said {
        let how = match flag {
            "arg" | "param" => format!("write `--{flag} name=value` or `--{flag} name=@file`"),
            _ => format!("write `--{flag} name=value`"),
        };
        let (key, value) = match one.split_once('=') {
            None => return Err(Fault::usage(format!("`--{flag} {one}` has no `=`")).with_hint(how)),
            Some(("", _)) => {
                return Err(
                    Fault::usage(format!("`--{flag} {one}` has no name before its `=`")).with_hint(how)
                );
            }
            Some(pair) => pair,
        };
        if pairs.iter().any(|(earlier, _)| *earlier == key) {
            let fault = Fault::usage(format!("`--{flag} {key}=…` is given twice"));
            return Err(match flag {
                "arg" | "param" => fault
                    .with_hint(format!("give it once; a list is JSON: `--{flag} '{key}=[\"a\", \"b\"]'`")),
                _ => fault.with_hint("give it once"),
            });
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// `@file` is the file's text; what is JSON is that JSON; anything else is text.
fn member(said: &str) -> Result<Value, Fault> {
    if let Some(path) = said.strip_prefix('@') {
        return Ok(Value::text(file(path)?));
    }
    Ok(parse(said).unwrap_or_else(|_| Value::text(said)))
}

fn parse(text: &str) -> Result<Value, heddle_core::json::JsonFault> {
    heddle_core::json::parse_value(text.as_bytes())
}

fn read(flag: &str, said: &str) -> Result<(String, String), Fault> {
    if said == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Fault::usage(format!("stdin cannot be read: {error}")))?;
        return Ok((text, "stdin".to_owned()));
    }
    match said.strip_prefix('@') {
        Some(path) => Ok((file(path)?, format!("`{path}`"))),
        None => Ok((said.to_owned(), format!("`--{flag}`"))),
    }
}

/// The text of a file.
pub(crate) fn file(path: &str) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| Fault::usage(format!("`{path}` cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_go_over_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "a\nb").unwrap();
        let args = ["n=3".to_owned(), "t=three".to_owned(), format!("lock=@{}", path.display())];
        let json = input(Some(r#"{"n":1,"keep":true}"#), &args).unwrap();
        assert_eq!(json.text(), r#"{"keep":true,"lock":"a\nb","n":3,"t":"three"}"#);
        assert_eq!(input(None, &[]).unwrap().text(), "{}");
        assert!(input(Some("[1"), &[]).is_err());
        assert!(input(Some("[1]"), &["a=1".into()]).is_err());
        for wrong in [&["a"][..], &["=1"], &["a=1", "b=1", "a=2"]] {
            let args: Vec<String> = wrong.iter().map(|arg| (*arg).to_owned()).collect();
            assert!(input(None, &args).is_err(), "{wrong:?}");
        }
    }
}
