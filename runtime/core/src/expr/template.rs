//! A JSON-like document with expressions in its text. A text that is one whole `${ x }` keeps the type of x; a text
//! with expressions among other characters becomes text. `$${` stands for a literal `${`.

use super::bounds;
use super::eval::{Budget, EvalFault, Scope};
use super::functions::render;
use super::names::Names;
use super::tree::Expr;
use super::types::{Object, Type};
use crate::document::{Doc, Fault, Part, pointer};
use crate::limits::Limits;
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A checked template. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Template {
    form: Arc<Form>,
    /// The steps whose outcome it reads.
    pub reads: BTreeSet<u32>,
    /// What its value will be, as far as that is known.
    pub result: Type,
}

#[derive(Debug)]
enum Form {
    Literal(Value),
    Whole(Expr),
    Text(Vec<Piece>),
    List(Vec<Form>),
    Map(Vec<(Arc<str>, Form)>),
}

#[derive(Debug)]
enum Piece {
    Plain(String),
    Expr(Expr),
}

impl Template {
    /// Checks a document as a template. Faults are added with their paths; what could not be read is null.
    pub fn compile(
        doc: &Doc,
        path: &str,
        names: &Names,
        limits: &Limits,
        faults: &mut Vec<Fault>,
    ) -> Template {
        let mut compiler = Compiler { names, limits, faults, reads: BTreeSet::new() };
        let (form, result) = compiler.form(doc, path);
        let reads = compiler.reads;
        Template { form: Arc::new(form), reads, result }
    }
    /// A template without expressions.
    pub fn literal(value: Value) -> Template {
        Template { form: Arc::new(Form::Literal(value)), reads: BTreeSet::new(), result: Type::Any }
    }
    /// The value in this scope.
    pub fn eval(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalFault> {
        let value = eval(&self.form, scope, budget)?;
        // An expression has looked at its own value; what stands around it is deeper.
        if let Form::List(_) | Form::Map(_) = &*self.form {
            bounds::within(&value, u64::MAX)?;
        }
        Ok(value)
    }
    /// Whether the id of the run stands in it by itself, so that no two runs have the same value.
    pub fn has_run_id(&self) -> bool {
        match &*self.form {
            Form::Whole(expr) => expr.is_run_id(),
            Form::Text(pieces) => {
                pieces.iter().any(|piece| matches!(piece, Piece::Expr(expr) if expr.is_run_id()))
            }
            _ => false,
        }
    }
    /// The value, where no expression is in it.
    pub fn constant(&self) -> Option<&Value> {
        match &*self.form {
            Form::Literal(value) => Some(value),
            _ => None,
        }
    }
}

fn eval(form: &Form, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalFault> {
    Ok(match form {
        Form::Literal(value) => value.clone(),
        Form::Whole(expr) => expr.eval(scope, budget)?,
        Form::Text(pieces) => {
            let mut out = String::new();
            for piece in pieces {
                match piece {
                    Piece::Plain(text) => {
                        budget.bytes(text.len())?;
                        out.push_str(text);
                    }
                    Piece::Expr(expr) => {
                        let value = expr.eval(scope, budget)?;
                        budget.writes(&value)?;
                        render(&value, &mut out);
                    }
                }
            }
            Value::text(out)
        }
        Form::List(items) => {
            Value::list(items.iter().map(|i| eval(i, scope, budget)).collect::<Result<_, _>>()?)
        }
        Form::Map(entries) => {
            let mut map = crate::value::Map::new();
            for (key, form) in entries {
                map.insert(key.clone(), eval(form, scope, budget)?);
            }
            Value::Map(Arc::new(map))
        }
    })
}

struct Compiler<'a> {
    names: &'a Names,
    limits: &'a Limits,
    faults: &'a mut Vec<Fault>,
    reads: BTreeSet<u32>,
}

impl Compiler<'_> {
    fn form(&mut self, doc: &Doc, path: &str) -> (Form, Type) {
        match &doc.part {
            Part::Scalar(Value::String(text)) if text.contains("${") => self.text(text, doc, path),
            Part::Scalar(value) => (Form::Literal(value.clone()), scalar_type(value)),
            Part::List(items) => {
                let (forms, types): (Vec<_>, Vec<_>) = items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| self.form(item, &pointer(path, &i.to_string())))
                    .unzip();
                let item = match types.split_first() {
                    Some((first, rest)) if rest.iter().all(|t| t == first) => first.clone(),
                    _ => Type::Any,
                };
                (Form::List(forms), Type::List(Arc::new(item)))
            }
            Part::Map(entries) => {
                let mut object = Object::default();
                let mut forms = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let (form, value_type) = self.form(value, &pointer(path, &key.text));
                    object.fields.insert(key.text.to_string(), value_type);
                    forms.push((key.text.clone(), form));
                }
                // However it was written, its parts are computed in one order.
                forms.sort_by(|(one, _), (other, _)| one.cmp(other));
                (Form::Map(forms), Type::Object(Arc::new(object)))
            }
        }
    }

    fn text(&mut self, text: &str, doc: &Doc, path: &str) -> (Form, Type) {
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(message) => {
                self.fault(doc, path, message);
                return (Form::Literal(Value::Null), Type::Any);
            }
        };
        let mut compiled = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                RawPiece::Plain(text) => compiled.push(Piece::Plain(text)),
                RawPiece::Expr(source) => match Expr::compile(source, self.names, self.limits) {
                    Ok(expr) => {
                        self.reads.extend(expr.reads.iter());
                        compiled.push(Piece::Expr(expr));
                    }
                    Err(found) => {
                        self.reads.extend(found.reads);
                        for fault in found.faults {
                            self.fault(doc, path, fault.to_string());
                        }
                    }
                },
            }
        }
        match compiled.as_mut_slice() {
            [Piece::Expr(expr)] => {
                let result = expr.result.clone();
                (Form::Whole(expr.clone()), result)
            }
            [Piece::Plain(text)] => (Form::Literal(Value::text(text.as_str())), Type::String),
            _ => (Form::Text(compiled), Type::String),
        }
    }

    fn fault(&mut self, doc: &Doc, path: &str, message: String) {
        self.faults.push(Fault { place: doc.place, path: path.to_owned(), message, ..Fault::default() });
    }
}

fn scalar_type(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::String(_) => Type::String,
        _ => Type::Number,
    }
}

pub(super) enum RawPiece<'a> {
    Plain(String),
    Expr(&'a str),
}

/// The source inside a text that is one whole `${ … }`; `None` where it is anything else.
pub fn whole(text: &str) -> Option<&str> {
    match split(text.trim()).ok()?.as_slice() {
        [RawPiece::Expr(source)] => Some(source),
        _ => None,
    }
}

pub(super) fn split(text: &str) -> Result<Vec<RawPiece<'_>>, String> {
    let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find("${") {
        if at > 0 && rest.as_bytes()[at - 1] == b'$' {
            plain.push_str(&rest[..at - 1]);
            plain.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let body = &rest[at + 2..];
        let end = closing(body).ok_or_else(|| {
            format!(
                "`${{` is not closed in `{}`; write `$${{` for the characters themselves",
                text.chars().take(60).collect::<String>()
            )
        })?;
        if !plain.is_empty() {
            pieces.push(RawPiece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(RawPiece::Expr(body[..end].trim()));
        rest = &body[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(RawPiece::Plain(plain));
    }
    Ok(pieces)
}

/// Byte index of the brace that closes the expression: braces and quotes inside are skipped.
pub(super) fn closing(body: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (i, c) in body.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(i),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}
