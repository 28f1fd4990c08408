//! The three attributes that turn a function into a plugin.
//!
//! They only translate: [`args`] reads what the author wrote in the attribute, [`signature`] reads the function, and
//! [`expand`] writes an implementation of `heddle_sdk::Plugin` plus the exports of a component. Everything that can
//! be a plain generic function lives in the SDK instead, where it can be read and tested. Use them through
//! `heddle_sdk`, which re-exports them.

mod args;
mod docs;
mod expand;
mod quantity;
mod signature;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

use crate::expand::Package;
use crate::signature::Kind;

/// Makes a function a *transform*: pure, cached, without any capability.
///
/// The function is `fn(Input) -> Result<Output, E>`, where `Input: Deserialize + JsonSchema`, `Output: Serialize +
/// JsonSchema` and `E: Into<Failure>`.
///
/// Arguments, all optional: `name`, `version`, `title`, `description`, `documentation` (any expression of type
/// `&str`), `provides = ["ocr.text"]`, `fuel = 5_000_000`, `memory = "64MiB"`, `wall = "30s"`. What is left out comes
/// from the package (`name`, `version`) and from the function's doc comment: the first line is the title, the next
/// paragraph the description, and all after that the documentation.
#[proc_macro_attribute]
pub fn transform(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::Transform, args, item)
}

/// Makes a function a *tool*: it acts on the world within its grants.
///
/// The function is `fn(Input) -> Result<Output, E>` or `fn(Input, &Context) -> Result<Output, E>`. The arguments are
/// those of [`macro@transform`].
#[proc_macro_attribute]
pub fn tool(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::Tool, args, item)
}

/// Makes a function an *agent*: it decides as it goes, and may call other plugins.
///
/// The function is `fn(Goal) -> Result<Output, E>`, or `fn(Goal, Option<State>) -> Result<Outcome<Output, State>, E>`
/// for an agent that checkpoints; either may take `&Agent` as its last parameter. The arguments are those of
/// [`macro@transform`].
#[proc_macro_attribute]
pub fn agent(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::Agent, args, item)
}

fn attribute(kind: Kind, args: TokenStream, item: TokenStream) -> TokenStream {
    let item = proc_macro2::TokenStream::from(item);
    match expand::expand(kind, args.into(), item.clone(), &Package::from_env()) {
        Ok(tokens) => tokens.into(),
        // The author's function is kept, so that one mistake in the attribute is not followed by a second error
        // about a function that does not exist.
        Err(error) => {
            let error = error.into_compile_error();
            quote::quote!(#error #item).into()
        }
    }
}
