//! What can be known of an expression's type before anything runs. What is not known is [`Type::Any`], and never a
//! fault: only what cannot be right is reported.

use super::eval::{hint, symbol};
use super::functions;
use super::tree::{Binary, ExprFault, Fold, Tree};
use crate::json::Json;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of a value, as far as a schema or an operator tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Type {
    /// Not known.
    #[default]
    Any,
    /// Null.
    Null,
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Int,
    /// An unsigned integer.
    Uint,
    /// A floating-point number.
    Double,
    /// A JSON number: an integer or not, depending on how it is written.
    Number,
    /// Text.
    String,
    /// A list.
    List(Arc<Type>),
    /// An object.
    Object(Arc<Object>),
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Its known members.
    pub fields: BTreeMap<String, Type>,
    /// What members it may have besides: none at all where this is `None`.
    pub others: Option<Type>,
}

impl Type {
    /// A map with these members and no others.
    pub fn closed<'a>(fields: impl IntoIterator<Item = (&'a str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(name, found)| (name.to_owned(), found)).collect();
        Type::Object(Arc::new(Object { fields, others: None }))
    }
}

/// The types of the names that an expression sees.
#[derive(Clone, Debug, Default)]
pub struct TypeNames {
    /// Of `input`.
    pub input: Type,
    /// Of each step's output. Shared: every expression of a workflow sees them.
    pub steps: Arc<Vec<Type>>,
    /// Of the bound names.
    pub vars: Vec<Type>,
}

impl Type {
    /// Its name, as messages have it.
    pub fn name(&self) -> &'static str {
        match self {
            Type::Any => "any",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::Number => "number",
            Type::String => "string",
            Type::List(_) => "list",
            Type::Object(_) => "map",
        }
    }
    fn is_known(&self) -> bool {
        !matches!(self, Type::Any)
    }
    fn is_number(&self) -> bool {
        matches!(self, Type::Int | Type::Uint | Type::Double | Type::Number)
    }
    /// Whether a value of this type can ever be one of the other; members of maps and lists are not compared.
    pub fn may_be(&self, wanted: &Type) -> bool {
        match (self, wanted) {
            (Type::Any, _) | (_, Type::Any) => true,
            (Type::List(_), Type::List(_)) | (Type::Object(_), Type::Object(_)) => true,
            (a, b) if a.is_number() && b.is_number() => true,
            (a, b) => a == b,
        }
    }
    /// Whether a value of this type can ever be a condition.
    pub fn may_be_bool(&self) -> bool {
        matches!(self, Type::Any | Type::Bool)
    }
    /// Whether a value of this type can ever be a list.
    pub fn may_be_list(&self) -> bool {
        matches!(self, Type::Any | Type::List(_))
    }
    /// What the items of such a list are.
    pub fn item(&self) -> Type {
        match self {
            Type::List(item) => (**item).clone(),
            _ => Type::Any,
        }
    }
    /// Reads the parts of a JSON Schema that tell types; whatever else it says is left to validation.
    pub fn of_schema(schema: &Json) -> Type {
        of_schema(schema.value(), 0)
    }
    fn join(self, other: Type) -> Type {
        if self == other { self } else { Type::Any }
    }
}

/// Schemas deeper than this are `Any` from there on.
const SCHEMA_DEPTH: usize = 16;

fn of_schema(schema: &Value, depth: usize) -> Type {
    let word = match schema.get("type") {
        Some(Value::String(word)) => word.as_ref(),
        _ => return Type::Any,
    };
    if depth > SCHEMA_DEPTH
        || ["$ref", "anyOf", "oneOf", "allOf", "if"].iter().any(|k| schema.get(k).is_some())
    {
        return Type::Any;
    }
    match word {
        "null" => Type::Null,
        "boolean" => Type::Bool,
        "string" => Type::String,
        "integer" => Type::Int,
        "number" => Type::Number,
        "array" => Type::List(Arc::new(schema.get("items").map_or(Type::Any, |i| of_schema(i, depth + 1)))),
        "object" => {
            let mut object = Object::default();
            if let Some(Value::Map(properties)) = schema.get("properties") {
                object.fields =
                    properties.iter().map(|(k, s)| (k.to_string(), of_schema(s, depth + 1))).collect();
            }
            object.others = match schema.get("additionalProperties") {
                Some(Value::Bool(false)) if schema.get("patternProperties").is_none() => None,
                Some(s @ Value::Map(_)) => Some(of_schema(s, depth + 1)),
                // Members that a schema with properties does not name are nearly always mistakes of the reader, but
                // the schema allows them: only `additionalProperties: false` rules them out.
                _ => Some(Type::Any),
            };
            Type::Object(Arc::new(object))
        }
        _ => Type::Any,
    }
}

/// Finds the type of the tree, and adds a fault for everything in it that cannot be right.
pub(super) fn check(tree: &Tree, names: &TypeNames, faults: &mut Vec<ExprFault>) -> Type {
    Checker { names, vars: names.vars.clone(), faults }.of(tree)
}

struct Checker<'a> {
    names: &'a TypeNames,
    vars: Vec<Type>,
    faults: &'a mut Vec<ExprFault>,
}

impl Checker<'_> {
    fn of(&mut self, tree: &Tree) -> Type {
        match tree {
            Tree::Literal(value) => literal(value),
            Tree::Input => self.names.input.clone(),
            Tree::StepOutput(step) => self.names.steps.get(*step as usize).cloned().unwrap_or_default(),
            Tree::StepStatus(_) => Type::String,
            Tree::Run | Tree::Error | Tree::StepError(_) => Type::Any,
            Tree::StepErrors(_) => item_errors(),
            Tree::StepHas(_) => Type::Bool,
            Tree::Var(slot) => self.vars.get(*slot).cloned().unwrap_or_default(),
            Tree::Select(operand, field) => {
                let operand = self.of(operand);
                self.select(&operand, field)
            }
            Tree::Has(operand, _) => {
                self.of(operand);
                Type::Bool
            }
            Tree::Default(a, b) => {
                let (a, b) = (self.of(a), self.of(b));
                a.join(b)
            }
            Tree::Index(operand, key) => {
                let (operand, key) = (self.of(operand), self.of(key));
                self.index(&operand, &key)
            }
            Tree::List(items) => {
                let mut types = items.iter().map(|i| self.of(i)).collect::<Vec<_>>().into_iter();
                let first = types.next().unwrap_or_default();
                Type::List(Arc::new(types.fold(first, Type::join)))
            }
            Tree::Map(entries) => self.map(entries),
            Tree::Not(x) => {
                self.condition(x, "!");
                Type::Bool
            }
            Tree::Negate(x) => {
                let x = self.of(x);
                if x.is_known() && (!x.is_number() || x == Type::Uint) {
                    self.fault(format!("`-` cannot work on {}", x.name()));
                }
                x
            }
            Tree::And(a, b) => self.both(a, b, "&&"),
            Tree::Or(a, b) => self.both(a, b, "||"),
            Tree::Choose(c, a, b) => {
                self.condition(c, "?:");
                let (a, b) = (self.of(a), self.of(b));
                a.join(b)
            }
            Tree::Binary(operator, a, b) => {
                let (a, b) = (self.of(a), self.of(b));
                self.binary(*operator, &a, &b)
            }
            Tree::Call(function, args) => {
                for arg in args {
                    self.of(arg);
                }
                functions::result(*function)
            }
            Tree::Fold { kind, range, body, filter } => self.fold(*kind, range, body, filter.as_deref()),
        }
    }

    fn map(&mut self, entries: &[(Tree, Tree)]) -> Type {
        let mut object = Object { fields: BTreeMap::new(), others: None };
        for (key, value) in entries {
            let (key_type, value) = (self.of(key), self.of(value));
            match key {
                Tree::Literal(Value::String(key)) => drop(object.fields.insert(key.to_string(), value)),
                _ if key_type.is_known() && key_type != Type::String => {
                    self.fault(format!("a key must be text, and this is {}", key_type.name()));
                }
                _ => object.others = Some(Type::Any),
            }
        }
        Type::Object(Arc::new(object))
    }

    fn fault(&mut self, message: String) {
        self.faults.push(ExprFault::Type(message));
    }

    fn condition(&mut self, tree: &Tree, operator: &str) {
        let found = self.of(tree);
        if !found.may_be_bool() {
            self.fault(format!("`{operator}` wants true or false, and this is {}", found.name()));
        }
    }

    fn both(&mut self, a: &Tree, b: &Tree, operator: &str) -> Type {
        self.condition(a, operator);
        self.condition(b, operator);
        Type::Bool
    }

    fn select(&mut self, operand: &Type, field: &str) -> Type {
        match operand {
            Type::Any => Type::Any,
            Type::Object(object) => match (object.fields.get(field), &object.others) {
                (Some(known), _) => known.clone(),
                (None, Some(others)) => others.clone(),
                (None, None) => {
                    let hint = match super::tree::nearest(field, object.fields.keys().map(String::as_str)) {
                        Some(near) => format!("; did you mean `{near}`?"),
                        None => format!(
                            "; it has {}",
                            object.fields.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                        ),
                    };
                    self.fault(format!("there is no `{field}`, by the schema{hint}"));
                    Type::Any
                }
            },
            other => {
                self.fault(format!("`.{field}` cannot be read from {}", other.name()));
                Type::Any
            }
        }
    }

    fn index(&mut self, operand: &Type, key: &Type) -> Type {
        match operand {
            Type::Any => Type::Any,
            Type::List(item) => {
                if key.is_known() && !key.is_number() {
                    self.fault(format!("a list is indexed by a number, not by {}", key.name()));
                }
                (**item).clone()
            }
            Type::Object(_) => {
                if key.is_known() && *key != Type::String {
                    self.fault(format!("a map is indexed by text, not by {}", key.name()));
                }
                Type::Any
            }
            other => {
                self.fault(format!("`[]` cannot be used on {}", other.name()));
                Type::Any
            }
        }
    }

    fn binary(&mut self, operator: Binary, a: &Type, b: &Type) -> Type {
        use Binary::*;
        let both_known = a.is_known() && b.is_known();
        let numbers = a.is_number() && b.is_number();
        let fits = match operator {
            Equal | NotEqual => true,
            Less | LessEqual | Greater | GreaterEqual => {
                numbers || (a == b && matches!(a, Type::String | Type::Bool))
            }
            In => matches!(b, Type::List(_) | Type::Object(_) | Type::Any),
            Add => {
                (numbers && addable(a, b))
                    || (a == b && *a == Type::String)
                    || matches!((a, b), (Type::List(_), Type::List(_)))
            }
            Subtract | Multiply | Divide => numbers && addable(a, b),
            Modulo => numbers && addable(a, b) && *a != Type::Double,
        };
        if !fits && (both_known || (operator == In && b.is_known())) {
            self.fault(format!(
                "`{}` cannot work on {} and {}{}",
                symbol(operator),
                a.name(),
                b.name(),
                hint(a.name(), b.name())
            ));
        }
        match operator {
            Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | In => Type::Bool,
            _ if a == b => a.clone(),
            _ => Type::Any,
        }
    }

    fn fold(&mut self, kind: Fold, range: &Tree, body: &Tree, filter: Option<&Tree>) -> Type {
        let item = match self.of(range) {
            Type::List(item) => (*item).clone(),
            Type::Object(_) => Type::String,
            Type::Any => Type::Any,
            other => {
                self.fault(format!("a macro goes over a list or a map, and this is {}", other.name()));
                Type::Any
            }
        };
        self.vars.push(item);
        if let Some(filter) = filter {
            self.condition(filter, "filter");
        }
        let result = match kind {
            Fold::Collect => Type::List(Arc::new(self.of(body))),
            _ => {
                self.condition(body, "a predicate");
                Type::Bool
            }
        };
        self.vars.pop();
        result
    }
}

/// The failures of a `forEach`'s items. What only some failures have is null in the others, so its type is open.
fn item_errors() -> Type {
    let known = [
        ("index", Type::Int),
        ("kind", Type::String),
        ("message", Type::String),
        ("retryable", Type::Bool),
        ("code", Type::Any),
        ("retryAfterMs", Type::Any),
        ("data", Type::Any),
    ];
    let fields = known.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
    Type::List(Arc::new(Type::Object(Arc::new(Object { fields, others: None }))))
}

/// A JSON number may turn out to be either, so it is let through.
fn addable(a: &Type, b: &Type) -> bool {
    a == b || *a == Type::Number || *b == Type::Number
}

fn literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) | Value::Number(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::List(_) | Value::Map(_) => Type::Any,
    }
}
