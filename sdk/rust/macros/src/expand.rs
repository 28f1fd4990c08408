//! What an attribute writes: the author's function untouched, an implementation of `heddle_sdk::Plugin` for one hidden
//! type, and, inside a component only, the exports.
//!
//! The hidden type has a fixed name, so a second plugin in the same module is an error at both places. The hidden
//! macro beside it sits at the root of the crate and does the same for plugins in different modules.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn};

use crate::args::{Args, check_name};
use crate::docs;
use crate::signature::{self, Kind, Signature};

/// The package that is being compiled: where name and version come from, unless the attribute says otherwise.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Package {
    /// What Cargo says of the package.
    pub(crate) fn from_env() -> Package {
        let read = |key| std::env::var(key).unwrap_or_default();
        Package { name: read("CARGO_PKG_NAME"), version: read("CARGO_PKG_VERSION") }
    }
}

/// Translates one annotated function.
pub(crate) fn expand(
    kind: Kind,
    args: TokenStream,
    item: TokenStream,
    package: &Package,
) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item.clone()).map_err(|_| {
        let what = format!("`#[heddle_sdk::{}]` stands before a free function", kind.word());
        Error::new(item.into_iter().next().map_or_else(Span::call_site, |token| token.span()), what)
    })?;
    let args = Args::read(args)?;
    let signature = signature::read(kind, &function)?;
    let manifest = manifest(kind, &args, &function, &signature, package)?;
    let run = run(kind, &function, &signature);
    let exports = exports(kind);
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "generated; the name is fixed so that a second plugin collides")]
        #[derive(Debug)]
        pub struct __heddle_plugin;

        #[doc(hidden)]
        #[macro_export]
        macro_rules! __heddle_one_component_is_one_plugin { () => {}; }

        const _: () = {
            #[cfg(target_family = "wasm")]
            use ::heddle_sdk::__component as __bindings;

            impl ::heddle_sdk::Plugin for __heddle_plugin {
                fn describe() -> ::heddle_sdk::Metadata {
                    #manifest
                }

                fn run(
                    input: &str,
                    state: ::core::option::Option<&str>,
                ) -> ::core::result::Result<::heddle_sdk::Outcome<::std::string::String, ::std::string::String>, ::heddle_sdk::Failure> {
                    #run
                }
            }

            #exports
        };
    })
}

/// The value that `describe` returns.
fn manifest(
    kind: Kind,
    args: &Args,
    function: &ItemFn,
    signature: &Signature,
    package: &Package,
) -> syn::Result<TokenStream> {
    let name = match &args.name {
        Some(name) => name.value(),
        None => {
            check_name(&package.name, function.sig.ident.span())?;
            package.name.clone()
        }
    };
    let version = args.version.as_ref().map_or_else(|| package.version.clone(), syn::LitStr::value);
    let words = docs::read(&function.attrs);
    let or_words =
        |said: &Option<syn::LitStr>, words: String| said.as_ref().map_or(words, syn::LitStr::value);
    let title = or_words(&args.title, words.title);
    if title.is_empty() {
        let what = "a plugin needs a title: write a doc comment above the function, or `title = \"...\"`";
        return Err(Error::new(function.sig.ident.span(), what));
    }
    let description = or_words(&args.description, words.description);
    let description = if description.is_empty() { title.clone() } else { description };
    let said = &words.documentation;
    let documentation =
        args.documentation.as_ref().map_or_else(|| quote!(#said), |expression| quote!(#expression));
    let variant = format_ident!("{}", ["Transform", "Tool", "Agent"][kind as usize]);
    let (fuel, memory, wall) = (option(args.fuel), option(args.memory_bytes), option(args.wall_ms));
    let provides = &args.provides;
    let (input, output) = (&signature.input, output_type(signature));
    let input_schema = quote_spanned!(input.span()=> ::heddle_sdk::__private::input_schema::<#input>());
    let output_schema =
        quote_spanned!(signature.reply.span()=> ::heddle_sdk::__private::output_schema::<#output>());
    Ok(quote! {
        ::heddle_sdk::Metadata {
            name: ::core::convert::From::from(#name),
            version: ::core::convert::From::from(#version),
            kind: ::heddle_sdk::Kind::#variant,
            title: ::core::convert::From::from(#title),
            description: ::core::convert::From::from(#description),
            input_schema: #input_schema,
            output_schema: #output_schema,
            provides: ::std::vec![#(::core::convert::From::from(#provides)),*],
            limits: ::heddle_sdk::Limits { fuel: #fuel, memory_bytes: #memory, wall_ms: #wall },
            documentation: ::core::convert::From::from(#documentation),
        }
    })
}

/// The type of the output: what stands inside `Result`, and inside `Outcome` where the agent checkpoints.
fn output_type(signature: &Signature) -> TokenStream {
    let reply = &signature.reply;
    let inside = quote_spanned!(reply.span()=> <#reply as ::heddle_sdk::__private::Reply>::Output);
    match signature.state {
        Some(_) => quote!(<#inside as ::heddle_sdk::__private::Ending>::Output),
        None => inside,
    }
}

/// The body of `run`: a call of the author's function with what it asked for.
fn run(kind: Kind, function: &ItemFn, signature: &Signature) -> TokenStream {
    let ident = &function.sig.ident;
    let handle = signature.handle.as_ref().map(|ty| {
        let open = match kind {
            Kind::Agent => quote_spanned!(ty.span()=> ::heddle_sdk::__private::agent()),
            Kind::Transform | Kind::Tool => quote_spanned!(ty.span()=> ::heddle_sdk::__private::context()),
        };
        quote_spanned!(ty.span()=> , &#open)
    });
    match &signature.state {
        Some(_) => quote! {
            ::heddle_sdk::__private::run_with_state(input, state, |input, state| #ident(input, state #handle))
        },
        None => quote! {
            let _ = state;
            ::heddle_sdk::__private::run(input, |input| #ident(input #handle))
        },
    }
}

/// The exports of the component, which exist on a wasm target only.
fn exports(kind: Kind) -> TokenStream {
    let invoke = match kind {
        Kind::Transform => quote! {
            impl __bindings::transformer::Guest for __heddle_plugin {
                fn apply(input: ::std::string::String)
                    -> ::core::result::Result<::std::string::String, __bindings::types::Failure>
                {
                    __bindings::answer::<Self>(&input)
                }
            }
        },
        Kind::Tool => quote! {
            impl __bindings::callable::Guest for __heddle_plugin {
                fn call(input: ::std::string::String)
                    -> ::core::result::Result<::std::string::String, __bindings::types::Failure>
                {
                    __bindings::answer::<Self>(&input)
                }
            }
        },
        Kind::Agent => quote! {
            impl __bindings::runnable::Guest for __heddle_plugin {
                fn run(goal: ::std::string::String, state: ::core::option::Option<::std::string::String>)
                    -> ::core::result::Result<__bindings::runnable::Outcome, __bindings::types::Failure>
                {
                    __bindings::outcome::<Self>(&goal, state.as_deref())
                }
            }
        },
    };
    let export = format_ident!("export_{}", ["transformer", "callable", "runnable"][kind as usize]);
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            impl __bindings::metadata::Guest for __heddle_plugin {
                fn describe() -> __bindings::metadata::Metadata {
                    __bindings::describe::<Self>()
                }
            }
            #invoke
            __bindings::export_metadata!(__heddle_plugin);
            __bindings::#export!(__heddle_plugin);
        };
    }
}

fn option(value: Option<u64>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
