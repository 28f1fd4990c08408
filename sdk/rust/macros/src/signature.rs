//! The function that becomes a plugin, read from its signature.
//!
//! A macro sees words and not types, so it decides by shape only: a parameter behind `&` is what the host hands over
//! (`&Context`, `&Agent`), a parameter by value is data. Whatever else must hold is left to traits, whose errors then
//! point at the author's own types.

use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, PatType, ReturnType, Type};

/// Which of the three attributes was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transform,
    Tool,
    Agent,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Transform => "transform",
            Kind::Tool => "tool",
            Kind::Agent => "agent",
        }
    }

    fn shape(self) -> &'static str {
        match self {
            Kind::Transform => "`fn(input: Input) -> Result<Output, Failure>`",
            Kind::Tool => {
                "`fn(input: Input, ctx: &Context) -> Result<Output, Failure>`, where `ctx` may be left out"
            }
            Kind::Agent => {
                "`fn(goal: Goal, state: Option<State>, agent: &Agent) -> Result<Outcome<Output, State>, Failure>`, \
                 where `state` and `Outcome` may be left out together, and `agent` may be left out"
            }
        }
    }
}

/// What was found.
pub(crate) struct Signature {
    /// The type of the first parameter.
    pub(crate) input: Type,
    /// The type of the state, of an agent that checkpoints.
    pub(crate) state: Option<Type>,
    /// The last parameter, behind `&`, where there is one.
    pub(crate) handle: Option<Type>,
    /// The whole return type.
    pub(crate) reply: Type,
}

/// Reads the signature, or says what is wrong with it and where.
pub(crate) fn read(kind: Kind, function: &ItemFn) -> syn::Result<Signature> {
    let wrong = |span, what: &str| Error::new(span, format!("{what}; a {} is {}", kind.word(), kind.shape()));
    refuse_modifiers(kind, function)?;
    let ReturnType::Type(_, reply) = &function.sig.output else {
        return Err(wrong(function.sig.ident.span(), "this function returns nothing"));
    };
    let mut parameters = Vec::new();
    for argument in &function.sig.inputs {
        match argument {
            FnArg::Typed(PatType { ty, .. }) => parameters.push((**ty).clone()),
            FnArg::Receiver(receiver) => {
                return Err(wrong(receiver.span(), "a plugin is a free function, not a method"));
            }
        }
    }
    let mut parameters = parameters.into_iter();
    let Some(input) = parameters.next() else {
        return Err(wrong(function.sig.ident.span(), "this function takes no input"));
    };
    if let Type::Reference(reference) = &input {
        return Err(wrong(reference.span(), "the input is taken by value"));
    }
    let (mut state, mut handle) = (None, None);
    for parameter in parameters {
        let span = parameter.span();
        match parameter {
            _ if kind == Kind::Transform => return Err(transform_takes_no_more(span)),
            Type::Reference(reference) if handle.is_none() => handle = Some((*reference.elem).clone()),
            parameter if kind == Kind::Agent && state.is_none() && handle.is_none() => {
                state = Some(parameter)
            }
            _ => return Err(wrong(span, "this parameter has no meaning here")),
        }
    }
    check_checkpoint(kind, reply, state.as_ref())?;
    Ok(Signature { input, state, handle, reply: (**reply).clone() })
}

fn transform_takes_no_more(span: proc_macro2::Span) -> Error {
    Error::new(
        span,
        "a transform sees its input and nothing else, because its output is cached by its input; \
         remove this parameter, or make the plugin a `#[heddle_sdk::tool]`",
    )
}

fn refuse_modifiers(kind: Kind, function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        return Err(Error::new(
            word.span(),
            "a plugin is not `async`: calls into the host block, and the host goes on",
        ));
    }
    if !signature.generics.params.is_empty() {
        let what = format!("a {} has one schema, so it cannot be generic; name its types", kind.word());
        return Err(Error::new(signature.generics.span(), what));
    }
    Ok(())
}

/// `Outcome` and a state belong together. The macro looks for the word, so an alias of `Outcome` is not seen.
fn check_checkpoint(kind: Kind, reply: &Type, state: Option<&Type>) -> syn::Result<()> {
    let outcome = mentions_outcome(reply);
    match (kind, outcome, state) {
        (Kind::Agent, Some(span), None) => Err(Error::new(
            span,
            "an agent that returns `Outcome` gets its last checkpoint back: add the parameter \
             `state: Option<State>` after the goal, or return the output alone",
        )),
        (Kind::Agent, None, Some(state)) => Err(Error::new(
            state.span(),
            "this agent takes a state but never sets one: return `Result<Outcome<Output, State>, Failure>`, \
             or remove this parameter (the handle is taken as `&Agent`)",
        )),
        (Kind::Transform | Kind::Tool, Some(span), _) => {
            Err(Error::new(span, format!("a {} has no checkpoints: return its output alone", kind.word())))
        }
        _ => Ok(()),
    }
}

/// The place of the word `Outcome` as the first type argument of `Result<..>`.
fn mentions_outcome(reply: &Type) -> Option<proc_macro2::Span> {
    let argument = first_argument(reply)?;
    let Type::Path(path) = argument else { return None };
    let last = path.path.segments.last()?;
    (last.ident == "Outcome").then(|| last.ident.span())
}

fn first_argument(reply: &Type) -> Option<&Type> {
    let Type::Path(path) = reply else { return None };
    let syn::PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
