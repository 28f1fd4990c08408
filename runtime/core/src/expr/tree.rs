//! From the parsed form to one in which every name is resolved and every macro is what it stands for.

use super::functions::Function;
use super::names::{ErrorName, NO_RUN, Names, RunName};
use super::types::Type;
use super::{absent, guard};
use crate::limits::Limits;
use crate::value::Value;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr as Parsed, IdedExpr, LiteralValue, operators as op,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A checked expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expr {
    /// As the author wrote it, without the `${ }`.
    pub text: Arc<str>,
    pub(super) tree: Arc<Tree>,
    /// How many names the scope binds; macros number theirs from here.
    pub(super) outer: usize,
    /// The steps whose outcome it reads.
    pub reads: Arc<BTreeSet<u32>>,
    /// What its value will be, as far as that is known.
    pub result: Type,
}

impl Expr {
    /// Whether it is `run.id` and nothing else.
    pub(super) fn is_run_id(&self) -> bool {
        matches!(&*self.tree, Tree::Select(of, name) if matches!(**of, Tree::Run) && &**name == "id")
    }
}

/// What is wrong with an expression. Each message says what to write instead, where that is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprFault {
    /// Past one of the caps.
    #[error(
        "the expression has {found} {}, and `limits.{name}` is {max}; move the work into a transform",
        counted(name)
    )]
    Limit {
        /// The limit.
        name: &'static str,
        /// What was counted.
        found: usize,
        /// The most there may be.
        max: u64,
    },
    /// Not CEL.
    #[error("not an expression: {0}")]
    Syntax(String),
    /// A name that is not there.
    #[error("nothing is called `{name}` here{hint}")]
    UnknownName {
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A hyphen read as minus.
    #[error("`steps.{id}` reads as a subtraction; write `steps[\"{id}\"]`")]
    Hyphen {
        /// The step's id.
        id: String,
    },
    /// An output that may not be there.
    #[error(
        "`{}` may not be there: {why}; write `default({}, ...)`, or test it with `has({})`",
        output(id),
        output(id),
        output(id)
    )]
    MayBeAbsent {
        /// The step.
        id: String,
        /// Why.
        why: &'static str,
    },
    /// Something that CEL has and we do not.
    #[error("{0}")]
    Unsupported(String),
    /// The types do not fit.
    #[error("{0}")]
    Type(String),
}

/// The resolved form.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Literal(Value),
    Input,
    Run,
    Error,
    StepOutput(u32),
    StepStatus(u32),
    StepError(u32),
    /// `steps.x.errors`: the items of a `forEach` that failed.
    StepErrors(u32),
    /// `has(steps.x)`: whether the step has an output.
    StepHas(u32),
    Var(usize),
    Select(Box<Tree>, Arc<str>),
    Has(Box<Tree>, Arc<str>),
    Index(Box<Tree>, Box<Tree>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Not(Box<Tree>),
    Negate(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Choose(Box<Tree>, Box<Tree>, Box<Tree>),
    Binary(Binary, Box<Tree>, Box<Tree>),
    Call(Function, Vec<Tree>),
    /// `default(x, y)`: y where x names something that is not there.
    Default(Box<Tree>, Box<Tree>),
    Fold {
        kind: Fold,
        range: Box<Tree>,
        body: Box<Tree>,
        filter: Option<Box<Tree>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

/// What a macro over a list or a map computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    All,
    Exists,
    ExistsOne,
    Collect,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct ExprFaults {
    /// Each fault.
    pub faults: Vec<ExprFault>,
    /// The steps whose outcome it reads, as far as it could be read: who waits for whom is known all the same.
    pub reads: BTreeSet<u32>,
}

impl From<ExprFault> for ExprFaults {
    fn from(fault: ExprFault) -> ExprFaults {
        ExprFaults { faults: vec![fault], reads: BTreeSet::new() }
    }
}

impl Expr {
    /// The steps that must have an output where this is true.
    pub fn proves(&self) -> BTreeSet<u32> {
        absent::proves(&self.tree)
    }
    /// Parses one expression, whatever its names mean.
    ///
    /// # Errors
    /// What is wrong with its text.
    pub(crate) fn parses(text: &str, limits: &Limits) -> Result<cel::common::ast::IdedExpr, ExprFault> {
        guard::check(text, limits)?;
        let parser = cel::parser::Parser::new()
            .max_recursion_depth(limits.expression_depth.saturating_mul(4).min(250) as u16);
        parser.parse(text).map_err(|e| ExprFault::Syntax(syntax_message(&e)))
    }
    /// Parses and checks one expression.
    ///
    /// # Errors
    /// All that is wrong with it, and what it reads all the same.
    pub fn compile(text: &str, names: &Names, limits: &Limits) -> Result<Expr, ExprFaults> {
        let parsed = Expr::parses(text, limits)?;
        let mut resolver =
            Resolver { names, vars: names.vars.clone(), reads: BTreeSet::new(), faults: Vec::new() };
        let tree = resolver.tree(&parsed);
        let Resolver { reads, mut faults, .. } = resolver;
        let result =
            if faults.is_empty() { super::types::check(&tree, &names.types, &mut faults) } else { Type::Any };
        let mut unguarded = BTreeSet::new();
        absent::unguarded(&tree, &names.proven, &mut unguarded);
        for step in unguarded {
            if let Some(why) = names.absent.get(step as usize).copied().flatten() {
                let id = names.steps.get(step as usize).cloned().unwrap_or_default();
                faults.push(ExprFault::MayBeAbsent { id, why });
            }
        }
        if !faults.is_empty() {
            return Err(ExprFaults { faults, reads });
        }
        Ok(Expr {
            text: text.into(),
            tree: Arc::new(tree),
            outer: names.vars.len(),
            reads: Arc::new(reads),
            result,
        })
    }
}

fn syntax_message(errors: &cel::parser::ParseErrors) -> String {
    match errors.errors.first() {
        Some(e) => format!("{} at column {}", e.msg.lines().next().unwrap_or_default(), e.pos.1.max(1)),
        None => "it does not parse".to_owned(),
    }
}

struct Resolver<'a> {
    names: &'a Names,
    vars: Vec<String>,
    reads: BTreeSet<u32>,
    faults: Vec<ExprFault>,
}

impl Resolver<'_> {
    fn fault(&mut self, fault: ExprFault) -> Tree {
        self.faults.push(fault);
        Tree::Literal(Value::Null)
    }
    fn unsupported(&mut self, what: impl Into<String>) -> Tree {
        self.fault(ExprFault::Unsupported(what.into()))
    }
    fn boxed(&mut self, parsed: &IdedExpr) -> Box<Tree> {
        Box::new(self.tree(parsed))
    }

    fn tree(&mut self, parsed: &IdedExpr) -> Tree {
        match &parsed.expr {
            Parsed::Literal(literal) => self.literal(literal),
            Parsed::Ident(name) => self.name(name),
            Parsed::Select(select) => {
                if let Some(step) = self.step(&select.operand) {
                    let field = self.step_field(step, &select.field);
                    return if select.test { Tree::StepHas(step) } else { field };
                }
                if is_steps(&select.operand) {
                    return match self.step_named(&select.field) {
                        Some(step) if select.test => {
                            self.reads.insert(step);
                            Tree::StepHas(step)
                        }
                        Some(_) => self.unsupported(format!(
                            "`steps.{0}` is no value; read `steps.{0}.output`",
                            select.field
                        )),
                        None => Tree::Literal(Value::Null),
                    };
                }
                let operand = self.boxed(&select.operand);
                if select.test {
                    Tree::Has(operand, select.field.as_str().into())
                } else {
                    Tree::Select(operand, select.field.as_str().into())
                }
            }
            Parsed::List(list) => Tree::List(list.elements.iter().map(|e| self.tree(e)).collect()),
            Parsed::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(e) = &entry.expr {
                        entries.push((self.tree(&e.key), self.tree(&e.value)));
                    }
                }
                Tree::Map(entries)
            }
            Parsed::Call(call) => self.call(call),
            Parsed::Comprehension(comprehension) => self.fold(comprehension),
            Parsed::Struct(s) => self.unsupported(format!(
                "there are no message types such as `{}`; write a map: {{'key': value}}",
                s.type_name
            )),
            Parsed::Unspecified => self.unsupported("the expression is empty"),
        }
    }

    fn literal(&mut self, literal: &LiteralValue) -> Tree {
        Tree::Literal(match literal {
            LiteralValue::Null => Value::Null,
            LiteralValue::Boolean(b) => Value::Bool(*b.inner()),
            LiteralValue::Int(i) => Value::Int(*i.inner()),
            LiteralValue::UInt(u) => Value::Uint(*u.inner()),
            LiteralValue::Double(d) if d.inner().is_finite() => Value::Double(*d.inner()),
            LiteralValue::String(s) => Value::text(s.inner()),
            LiteralValue::Double(_) => return self.unsupported("a number must be finite"),
            LiteralValue::Bytes(_) => return self.unsupported("there are no byte strings; JSON has none"),
        })
    }

    fn name(&mut self, name: &str) -> Tree {
        if let Some(slot) = self.vars.iter().rposition(|v| v == name) {
            return Tree::Var(slot);
        }
        match name {
            "input" | "run" | "steps" if self.names.run == RunName::Unbound => self.unsupported(NO_RUN),
            "input" => Tree::Input,
            "run" => Tree::Run,
            "error" if self.names.error == ErrorName::Bound => Tree::Error,
            "error" => self.unsupported("there is no `error` here; a retry's `when`, `fallback`, `onError`, `compensate` and `finally` have one"),
            "steps" => self.unsupported("`steps` is no value; read `steps.<id>.output`"),
            _ => {
                let mut known: Vec<&str> = vec!["input", "run", "steps"];
                known.extend(self.vars.iter().map(String::as_str));
                let hint = match nearest(name, known) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None if self.names.steps.iter().any(|s| s == name) => {
                        format!("; write `steps.{name}.output`")
                    }
                    None => "; there are `input`, `steps` and `run`".to_owned(),
                };
                self.fault(ExprFault::UnknownName { name: name.to_owned(), hint })
            }
        }
    }

    /// The step that this expression names: `steps.x` or `steps["x"]`.
    fn step(&mut self, parsed: &IdedExpr) -> Option<u32> {
        match &parsed.expr {
            Parsed::Select(s) if !s.test && is_steps(&s.operand) => self.step_named(&s.field),
            Parsed::Call(c) if c.func_name == op::INDEX && c.args.len() == 2 && is_steps(&c.args[0]) => {
                match &c.args[1].expr {
                    Parsed::Literal(LiteralValue::String(id)) => self.step_named(id.inner()),
                    _ => {
                        self.unsupported("a step is named by a literal, so that the plan knows what waits for what: `steps[\"id\"]`");
                        Some(0)
                    }
                }
            }
            _ => None,
        }
    }

    /// Index of the step; a fault and the first step where there is none, so that one fault does not hide others.
    fn step_named(&mut self, id: &str) -> Option<u32> {
        match self.names.steps.iter().position(|s| s == id && !id.is_empty()) {
            Some(index) => Some(index as u32),
            None if self.names.run == RunName::Unbound => {
                self.unsupported(NO_RUN);
                Some(0)
            }
            None => {
                let hint = match nearest(id, self.names.steps.iter().map(String::as_str)) {
                    Some(near) if is_plain(near) => format!("; did you mean `steps.{near}`?"),
                    Some(near) => format!("; did you mean `steps[\"{near}\"]`?"),
                    None => String::new(),
                };
                self.faults.push(ExprFault::UnknownName { name: format!("steps.{id}"), hint });
                Some(0)
            }
        }
    }

    fn step_field(&mut self, step: u32, field: &str) -> Tree {
        self.reads.insert(step);
        match field {
            "output" => Tree::StepOutput(step),
            "status" => Tree::StepStatus(step),
            "error" => Tree::StepError(step),
            "errors" if self.names.lists.contains(&step) => Tree::StepErrors(step),
            "errors" => {
                self.unsupported("only a `forEach` has `errors`, one for each item that failed; this step has an `error`")
            }
            _ => self.unsupported(format!(
                "a step has `output`, `status` and `error`, and a `forEach` has `errors`, but no `{field}`; its result is under `output`"
            )),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Tree {
        if let [left, right] = call.args.as_slice()
            && call.target.is_none()
        {
            if call.func_name == op::SUBSTRACT
                && let Some(id) = self.hyphenated(left, right)
            {
                return self.fault(ExprFault::Hyphen { id });
            }
            if call.func_name == op::INDEX {
                if is_steps(left) {
                    self.step(&IdedExpr { id: 0, expr: Parsed::Call(call.clone()) });
                    return self.unsupported("a step is no value; read its `.output`");
                }
                return Tree::Index(self.boxed(left), self.boxed(right));
            }
            if let Some(binary) = binary(&call.func_name) {
                return Tree::Binary(binary, self.boxed(left), self.boxed(right));
            }
            match call.func_name.as_str() {
                op::LOGICAL_AND => return Tree::And(self.boxed(left), self.boxed(right)),
                op::LOGICAL_OR => return Tree::Or(self.boxed(left), self.boxed(right)),
                "default" => return Tree::Default(self.boxed(left), self.boxed(right)),
                _ => {}
            }
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::LOGICAL_NOT, [x]) => Tree::Not(self.boxed(x)),
            (op::NEGATE, [x]) => Tree::Negate(self.boxed(x)),
            (op::CONDITIONAL, [c, a, b]) => Tree::Choose(self.boxed(c), self.boxed(a), self.boxed(b)),
            (name, args) => {
                let mut trees: Vec<Tree> = Vec::with_capacity(args.len() + 1);
                if let Some(target) = &call.target {
                    trees.push(self.tree(target));
                }
                trees.extend(args.iter().map(|a| self.tree(a)));
                match Function::find(name, trees.len()) {
                    Some(function) => Tree::Call(function, trees),
                    None => {
                        let hint = match nearest(name, Function::names()) {
                            Some(near) => format!("; did you mean `{near}`?"),
                            None => format!(
                                "; there are {}",
                                Function::names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
                            ),
                        };
                        self.fault(ExprFault::UnknownName { name: format!("{name}()"), hint })
                    }
                }
            }
        }
    }

    /// `steps.a-b.output` parses as `steps.a - b.output`: the id that was meant, if there is such a step.
    fn hyphenated(&self, left: &IdedExpr, right: &IdedExpr) -> Option<String> {
        let mut head = left;
        while let Parsed::Select(s) = &head.expr {
            if is_steps(&s.operand) {
                break;
            }
            head = &s.operand;
        }
        let Parsed::Select(s) = &head.expr else { return None };
        let mut tail = right;
        let name = loop {
            match &tail.expr {
                Parsed::Select(s) => tail = &s.operand,
                Parsed::Ident(name) => break name,
                _ => return None,
            }
        };
        let id = format!("{}-{name}", s.field);
        self.names.steps.iter().any(|s| *s == id || s.starts_with(&format!("{id}-"))).then_some(id)
    }

    /// What the parser made of a macro, read back into the macro.
    fn fold(&mut self, c: &ComprehensionExpr) -> Tree {
        let range = self.boxed(&c.iter_range);
        self.vars.push(c.iter_var.clone());
        let tree = self.fold_body(c, range);
        self.vars.pop();
        tree
    }

    fn fold_body(&mut self, c: &ComprehensionExpr, range: Box<Tree>) -> Tree {
        let Parsed::Call(step) = &c.loop_step.expr else {
            return self.unsupported("this macro is not available");
        };
        let item = |list: &IdedExpr| match &list.expr {
            Parsed::List(l) if l.elements.len() == 1 => Some(l.elements[0].clone()),
            _ => None,
        };
        match (step.func_name.as_str(), step.args.as_slice()) {
            (op::LOGICAL_OR, [_, p]) => {
                Tree::Fold { kind: Fold::Exists, range, body: self.boxed(p), filter: None }
            }
            (op::LOGICAL_AND, [_, p]) => {
                Tree::Fold { kind: Fold::All, range, body: self.boxed(p), filter: None }
            }
            (op::ADD, [_, list]) if item(list).is_some() => {
                let body = item(list)
                    .map(|i| self.boxed(&i))
                    .unwrap_or_else(|| Box::new(Tree::Literal(Value::Null)));
                Tree::Fold { kind: Fold::Collect, range, body, filter: None }
            }
            (op::CONDITIONAL, [p, then, _]) => match &then.expr {
                Parsed::Call(add) if add.args.len() == 2 => match item(&add.args[1]) {
                    Some(i) => {
                        let filter = Some(self.boxed(p));
                        Tree::Fold { kind: Fold::Collect, range, body: self.boxed(&i), filter }
                    }
                    None => Tree::Fold { kind: Fold::ExistsOne, range, body: self.boxed(p), filter: None },
                },
                _ => self.unsupported("this macro is not available"),
            },
            _ => self.unsupported("this macro is not available"),
        }
    }
}

fn is_steps(parsed: &IdedExpr) -> bool {
    matches!(&parsed.expr, Parsed::Ident(name) if name == "steps")
}

fn is_plain(id: &str) -> bool {
    !id.contains('-')
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        op::ADD => Binary::Add,
        op::SUBSTRACT => Binary::Subtract,
        op::MULTIPLY => Binary::Multiply,
        op::DIVIDE => Binary::Divide,
        op::MODULO => Binary::Modulo,
        op::EQUALS => Binary::Equal,
        op::NOT_EQUALS => Binary::NotEqual,
        op::LESS => Binary::Less,
        op::LESS_EQUALS => Binary::LessEqual,
        op::GREATER => Binary::Greater,
        op::GREATER_EQUALS => Binary::GreaterEqual,
        op::IN => Binary::In,
        _ => return None,
    })
}

/// The known word that is closest to this one, if it is close enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().filter(|k| !k.is_empty()).map(|k| (distance(word, k), k)).min()?;
    let close = (word.chars().count().max(near.1.chars().count()) / 3).max(1);
    (near.0 <= close).then_some(near.1)
}

/// Edits from one word to the other: insert, delete, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
/// How a step's output is read.
fn output(id: &str) -> String {
    match is_plain(id) {
        true => format!("steps.{id}.output"),
        false => format!("steps[\"{id}\"].output"),
    }
}

/// What a cap counts.
fn counted(limit: &str) -> &'static str {
    match limit {
        "expression_bytes" => "bytes",
        "expression_operators" => "operators",
        _ => "brackets around one another",
    }
}
