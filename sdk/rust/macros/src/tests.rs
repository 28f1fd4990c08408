//! What the attributes say to an author who got something wrong, and what they read from one who did not.

use proc_macro2::TokenStream;
use quote::quote;

use crate::docs;
use crate::expand::{Package, expand};
use crate::quantity::{bytes, millis};
use crate::signature::Kind;

fn package() -> Package {
    Package { name: "some-plugin".to_owned(), version: "1.2.3".to_owned() }
}

fn run(kind: Kind, args: TokenStream, item: TokenStream) -> Result<String, String> {
    expand(kind, args, item, &package()).map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
}

fn refusal(kind: Kind, args: TokenStream, item: TokenStream) -> String {
    run(kind, args, item).expect_err("it is refused")
}

fn sound() -> TokenStream {
    quote! {
        /// Says hello.
        fn greet(input: Input) -> Result<Output, Failure> { todo() }
    }
}

#[test]
fn name_and_version_come_from_the_package_unless_they_are_said() {
    let tokens = run(Kind::Transform, quote!(), sound()).expect("sound");
    assert!(
        tokens.contains("\"some-plugin\"")
            && tokens.contains("\"1.2.3\"")
            && tokens.contains("\"Says hello\"")
    );
    let said =
        quote!(name = "other", version = "2.0.0-rc.1", fuel = 5_000_000, memory = "64MiB", wall = "30s");
    let tokens = run(Kind::Transform, said, sound()).expect("sound");
    for part in ["\"other\"", "\"2.0.0-rc.1\"", "5000000u64", "67108864u64", "30000u64"] {
        assert!(tokens.contains(part), "{part} is missing in {tokens}");
    }
}

#[test]
fn each_kind_exports_its_own_interface() {
    for (kind, export) in
        [(Kind::Transform, "transformer"), (Kind::Tool, "callable"), (Kind::Agent, "runnable")]
    {
        let tokens = run(kind, quote!(), sound()).expect("sound");
        assert!(tokens.contains(&format!("export_{export} !")), "{export}");
    }
}

#[test]
fn a_wrong_signature_is_named_with_the_right_one() {
    let cases: [(Kind, TokenStream, &str); 10] = [
        (
            Kind::Transform,
            quote!(
                fn f() -> Result<O, Failure> {}
            ),
            "takes no input",
        ),
        (
            Kind::Transform,
            quote!(
                fn f(input: I) {}
            ),
            "returns nothing",
        ),
        (
            Kind::Transform,
            quote!(
                fn f(input: &I) -> Result<O, Failure> {}
            ),
            "by value",
        ),
        (
            Kind::Transform,
            quote!(
                fn f(input: I, ctx: &Context) -> Result<O, Failure> {}
            ),
            "make the plugin a `#[heddle_sdk::tool]`",
        ),
        (
            Kind::Tool,
            quote!(
                fn f(input: I, more: u32) -> Result<O, Failure> {}
            ),
            "has no meaning here",
        ),
        (
            Kind::Tool,
            quote!(
                fn f(input: I) -> Result<Outcome<O, S>, Failure> {}
            ),
            "has no checkpoints",
        ),
        (
            Kind::Tool,
            quote!(
                async fn f(input: I) -> Result<O, Failure> {}
            ),
            "not `async`",
        ),
        (
            Kind::Tool,
            quote!(
                fn f<T>(input: T) -> Result<O, Failure> {}
            ),
            "cannot be generic",
        ),
        (
            Kind::Agent,
            quote!(
                fn f(goal: G) -> Result<Outcome<O, S>, Failure> {}
            ),
            "state: Option<State>",
        ),
        (
            Kind::Agent,
            quote!(
                fn f(goal: G, state: Option<S>) -> Result<O, Failure> {}
            ),
            "never sets one",
        ),
    ];
    for (kind, item, expected) in cases {
        let message = refusal(kind, quote!(title = "T"), item);
        assert!(message.contains(expected), "`{expected}` is missing in `{message}`");
    }
    let message = refusal(
        Kind::Tool,
        quote!(),
        quote!(
            struct Nothing;
        ),
    );
    assert_eq!(message, "`#[heddle_sdk::tool]` stands before a free function");
}

#[test]
fn a_wrong_argument_is_named_with_the_right_form() {
    let cases = [
        (quote!(colour = "red"), "unknown argument `colour`"),
        (quote!(name = "Loud"), "`Loud` is not a plugin name"),
        (quote!(version = "1.0"), "not a semantic version"),
        (quote!(title = 3), "`title` is a string in quotes"),
        (quote!(memory = "64 megabytes"), "write `64MiB`"),
        (quote!(wall = "soon"), "write `500ms`"),
        (quote!(fuel = 0), "would never run"),
        (quote!(fuel = "many"), "a whole number"),
        (quote!(provides = "ocr"), "a list of strings"),
        (quote!(title = "a", title = "b"), "given twice"),
        (quote!(title), "write `title = ...`"),
    ];
    for (args, expected) in cases {
        let message = refusal(Kind::Transform, args, sound());
        assert!(message.contains(expected), "`{expected}` is missing in `{message}`");
    }
    let message = refusal(
        Kind::Tool,
        quote!(),
        quote!(
            fn f(input: I) -> Result<O, Failure> {}
        ),
    );
    assert!(message.contains("write a doc comment"), "{message}");
}

#[test]
fn a_doc_comment_is_title_description_and_documentation() {
    let words = |text: TokenStream| {
        let function: syn::ItemFn = syn::parse2(quote!(#text fn f() {})).expect("a function");
        let words = docs::read(&function.attrs);
        [words.title, words.description, words.documentation]
    };
    let whole = quote! {
        /// Says hello.
        ///
        /// In two
        /// lines.
        ///
        /// # More
        ///
        /// Text.
    };
    assert_eq!(words(whole), ["Says hello", "In two lines.", "# More\n\nText."]);
    assert_eq!(words(quote!(/** Short. */)), ["Short", "Short", ""]);
    assert_eq!(words(quote!()), ["", "", ""]);
}

#[test]
fn amounts_are_read_with_their_unit() {
    assert_eq!((bytes("64MiB"), bytes("1 GiB"), bytes("10B")), (Ok(64 << 20), Ok(1 << 30), Ok(10)));
    assert_eq!(
        (millis("1500ms"), millis("30s"), millis("2m"), millis("1h")),
        (Ok(1500), Ok(30_000), Ok(120_000), Ok(3_600_000))
    );
    for wrong in ["", "64", "MiB", "-1MiB", "0MiB", "99999999999999999999GiB"] {
        assert!(bytes(wrong).is_err(), "`{wrong}` is no amount");
    }
}
