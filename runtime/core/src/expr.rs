//! Expressions: what stands inside `${ … }`. The syntax is CEL's; `cel` parses it.
//!
//! `cel`'s own interpreter bounds nothing while it evaluates, so parsing is all that it does here. [`guard`] caps the
//! text before the parser sees it, [`names`] says what may be read where, [`tree`] turns the parsed form into one with every name resolved, [`types`] finds
//! what cannot be right before anything runs and `absent` what may not be there, [`eval`] computes with a budget of steps and of bytes, and
//! `bounds` says how large what comes of it may be. [`template`] is
//! a JSON-like document with expressions in it, as `with`, `set` and `output` hold.

mod absent;
mod bounds;
pub mod eval;
mod functions;
mod guard;
pub mod names;
pub(crate) mod param;
pub mod template;
pub mod tree;
pub mod types;

pub use eval::{Budget, EvalFault, Scope};
pub use names::Names;
pub use template::Template;
pub use tree::{Expr, ExprFault};
