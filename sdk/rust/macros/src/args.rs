//! What the author wrote between the parentheses of the attribute.
//!
//! Every value is checked here, at its own place in the source, because the alternative is a plugin that builds and
//! is then refused by the host.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprArray, ExprLit, Ident, Lit, LitStr, Token};

use crate::quantity;

/// The arguments of the attribute, checked.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) title: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) documentation: Option<Expr>,
    pub(crate) provides: Vec<LitStr>,
    pub(crate) fuel: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) wall_ms: Option<u64>,
}

struct Pair {
    key: Ident,
    value: Expr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.parse()?;
        input
            .parse::<Token![=]>()
            .map_err(|error| Error::new(error.span(), format!("write `{key} = ...`")))?;
        Ok(Pair { key, value: input.parse()? })
    }
}

impl Args {
    /// Reads and checks all arguments; the error points at the one that is wrong.
    pub(crate) fn read(tokens: TokenStream) -> syn::Result<Args> {
        let pairs = Punctuated::<Pair, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut args = Args::default();
        let mut seen: Vec<String> = Vec::new();
        for pair in &pairs {
            let key = pair.key.to_string();
            if seen.contains(&key) {
                return Err(Error::new(pair.key.span(), format!("`{key}` is given twice; keep one")));
            }
            args.set(&key, pair)?;
            seen.push(key);
        }
        Ok(args)
    }

    fn set(&mut self, key: &str, pair: &Pair) -> syn::Result<()> {
        let value = &pair.value;
        match key {
            "name" => {
                let name = string(key, value)?;
                check_name(&name.value(), name.span())?;
                self.name = Some(name);
            }
            "version" => {
                let version = string(key, value)?;
                semver::Version::parse(&version.value()).map_err(|error| {
                    Error::new(version.span(), format!("not a semantic version: {error}"))
                })?;
                self.version = Some(version);
            }
            "title" => self.title = Some(string(key, value)?),
            "description" => self.description = Some(string(key, value)?),
            "documentation" => self.documentation = Some(value.clone()),
            "provides" => self.provides = strings(value)?,
            "fuel" => self.fuel = Some(count(value)?),
            "memory" => self.memory_bytes = Some(amount(key, value, quantity::bytes)?),
            "wall" => self.wall_ms = Some(amount(key, value, quantity::millis)?),
            _ => {
                let known = "name, version, title, description, documentation, provides, fuel, memory, wall";
                return Err(Error::new(
                    pair.key.span(),
                    format!("unknown argument `{key}`; known are {known}"),
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a name that the host would refuse: `[a-z][a-z0-9_-]*`, at most 64 bytes.
pub(crate) fn check_name(name: &str, span: Span) -> syn::Result<()> {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest =
        letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if first && rest && name.len() <= 64 {
        return Ok(());
    }
    let rule = "a lower-case letter, then lower-case letters, digits, `_` or `-`, at most 64 in all";
    Err(Error::new(span, format!("`{name}` is not a plugin name: {rule}; set it with `name = \"...\"`")))
}

fn string(key: &str, value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        _ => Err(Error::new(value.span(), format!("`{key}` is a string in quotes"))),
    }
}

fn strings(value: &Expr) -> syn::Result<Vec<LitStr>> {
    let Expr::Array(ExprArray { elems, .. }) = value else {
        return Err(Error::new(value.span(), "`provides` is a list of strings, such as `[\"ocr.text\"]`"));
    };
    elems.iter().map(|element| string("provides", element)).collect()
}

fn count(value: &Expr) -> syn::Result<u64> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => match number.base10_parse::<u64>()? {
            0 => Err(Error::new(
                value.span(),
                "`fuel` of 0 would never run; leave it out for the host's default",
            )),
            number => Ok(number),
        },
        _ => Err(Error::new(value.span(), "`fuel` is a whole number, such as `5_000_000`")),
    }
}

fn amount(key: &str, value: &Expr, read: fn(&str) -> Result<u64, String>) -> syn::Result<u64> {
    let text = string(key, value)?;
    read(&text.value()).map_err(|message| Error::new(text.span(), message))
}
