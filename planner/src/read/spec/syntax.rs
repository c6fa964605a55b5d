//! The language of specs: expressions and statements, a small part of Python's.
//!
//! ```text
//! residual = hidden_states
//! hidden_states = self.ln_1(hidden_states)
//! query, key = self.c_attn(hidden_states).split(self.embed_dim, dim=2)
//! if past_key_values is not None:
//!     key, value = past_key_values.update(key, value, self.layer_idx)
//! return hidden_states
//! ```
//!
//! Names are numbered within their function, so that a running function is an array of slots.

use std::sync::Arc;

/// A place in a spec: line and column, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line within the file.
    pub line: u32,
    /// Column within the line.
    pub column: u32,
}

/// A name's number within its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameId(pub u16);

/// An expression with the place where it stands.
#[derive(Clone, Debug)]
pub struct Expression {
    /// What is to be evaluated.
    pub kind: ExpressionKind,
    /// Where it begins.
    pub at: Position,
}

/// The kinds of expressions.
#[derive(Clone, Debug)]
pub enum ExpressionKind {
    /// `None`, `3`
    Literal(Literal),
    /// A local or global name.
    Name(NameId),
    /// `a.b`
    Attribute(Box<Expression>, Arc<str>),
    /// `a[i, 2:, None]`
    Index(Box<Expression>, Vec<Subscript>),
    /// `f(a, *b, c=d, **e)`
    Call(Box<Expression>, Vec<Argument>),
    /// `-a`, `not a`
    Unary(Unary, Box<Expression>),
    /// `a + b`, `a < b`, `a is b`
    Binary(Binary, Box<Expression>, Box<Expression>),
    /// `a and b`: the first that is false, else the last.
    And(Box<Expression>, Box<Expression>),
    /// `a or b`: the first that is true, else the last.
    Or(Box<Expression>, Box<Expression>),
    /// `a if b else c`, as (condition, then, otherwise).
    Choice(Box<[Expression; 3]>),
    /// `(a, b)` or `[a, b]`; an element may be starred.
    Sequence(Vec<Argument>),
    /// `[a for x in b if c]`
    Comprehension(Box<Comprehension>),
    /// `(a := b)`: the value, which is bound to the name as well.
    Named(NameId, Box<Expression>),
    /// `lambda a: b`, or `def f(a): ...`: a function, with the locals around it that it uses, as (those locals, the function's).
    Lambda(Arc<Function>, Vec<(NameId, NameId)>),
    /// `{"a": b}`
    Dictionary(Vec<(Expression, Expression)>),
}

/// A value that is written out.
#[derive(Clone, Debug)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// `3`
    Int(i64),
    /// `0.5`
    Float(f64),
    /// `"eager"`
    Text(Arc<str>),
}

/// `[element for target in source if condition]`
#[derive(Clone, Debug)]
pub struct Comprehension {
    /// What is collected.
    pub element: Expression,
    /// What each element of the source is bound to.
    pub target: Target,
    /// What is gone through.
    pub source: Expression,
    /// Which elements count.
    pub condition: Option<Expression>,
}

/// One argument of a call, or one element of a sequence.
#[derive(Clone, Debug)]
pub enum Argument {
    /// `a`
    Plain(Expression),
    /// `name=a`
    Named(Arc<str>, Expression),
    /// `*a`
    Spread(Expression),
    /// `**a`
    SpreadNamed(Expression),
}

/// One item between the brackets of `a[...]`, of expressions or of their values.
#[derive(Clone, Debug)]
pub enum Subscript<T = Expression> {
    /// `i`, or `None` for a new dimension.
    At(T),
    /// `start:end` or `start:end:step`
    Range(Option<T>, Option<T>, Option<T>),
    /// `...`
    Ellipsis,
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-a`
    Negate,
    /// `not a`
    Not,
    /// `~a`
    Invert,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `//`
    FloorDivide,
    /// `%`
    Remainder,
    /// `**`
    Power,
    /// `@`
    MatrixMultiply,
    /// `&`
    BitAnd,
    /// `^`
    BitXor,
    /// `|`
    BitOr,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `is`
    Is,
    /// `is not`
    IsNot,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

/// What an assignment binds.
#[derive(Clone, Debug)]
pub enum Target {
    /// `a`
    Name(NameId),
    /// `a.b`
    Attribute(Expression, Arc<str>),
    /// `a, b`; one of them may be the rest.
    Sequence(Vec<Target>),
    /// `*a` within a sequence: all values that no other name takes.
    Rest(NameId),
}

/// A statement with the place where it stands.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What is to be done.
    pub kind: StatementKind,
    /// Where it begins.
    pub at: Position,
}

/// The kinds of statements.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `a`
    Evaluate(Expression),
    /// `a = b`
    Assign(Target, Expression),
    /// `a += b`
    Update(Target, Binary, Expression),
    /// `return a`
    Return(Option<Expression>),
    /// `if a: ... elif b: ... else: ...`
    If(Vec<(Expression, Vec<Statement>)>, Vec<Statement>),
    /// `continue`
    Continue,
    /// `break`
    Break,
    /// `for a in b: ...`
    For(Target, Expression, Vec<Statement>),
    /// `del a, b`
    Delete(Vec<NameId>),
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The local that it becomes.
    pub name: NameId,
    /// Its value where the call gives none.
    pub default: Option<Expression>,
    /// Which further arguments it takes.
    pub rest: Rest,
}

/// Which arguments a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The one of its place or its name.
    One,
    /// All further ones without a name (`*args`); parameters behind it have names.
    Positional,
    /// All further ones with names (`**kwargs`).
    Named,
}

/// A function: parameters and a body.
#[derive(Debug)]
pub struct Function {
    /// What it is called in messages, e.g. `GPT2Block.forward`.
    pub name: String,
    /// The file that it stands in, for messages.
    pub file: Arc<str>,
    /// The names that it uses, by number.
    pub names: Vec<Arc<str>>,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// What it does.
    pub body: Vec<Statement>,
}
