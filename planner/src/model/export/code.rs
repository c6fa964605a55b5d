//! Writing functions of the spec language without its text.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::read::spec::syntax::*;

/// The names of a function that is being written.
#[derive(Debug, Default)]
pub struct Code {
    names: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, NameId>,
    /// Local places that nothing holds any more.
    free: Vec<NameId>,
    locals: usize,
    /// Whether there were more names than a function may have.
    pub overflowed: bool,
}

/// An expression without a place.
pub fn at_nowhere(kind: ExpressionKind) -> Expression {
    Expression { kind, at: Position::default() }
}

/// `3`
pub fn int(number: i64) -> Expression {
    at_nowhere(ExpressionKind::Literal(Literal::Int(number)))
}

/// A value that is written out.
pub fn literal(literal: Literal) -> Expression {
    at_nowhere(ExpressionKind::Literal(literal))
}

/// `"text"`
pub fn text(text: &str) -> Expression {
    literal(Literal::Text(text.into()))
}

/// `[a, b]`
pub fn list(elements: Vec<Expression>) -> Expression {
    at_nowhere(ExpressionKind::Sequence(elements.into_iter().map(Argument::Plain).collect()))
}

/// `left + right`
pub fn binary(operator: Binary, left: Expression, right: Expression) -> Expression {
    at_nowhere(ExpressionKind::Binary(operator, Box::new(left), Box::new(right)))
}

/// `owner.name`
pub fn attribute(owner: Expression, name: &str) -> Expression {
    at_nowhere(ExpressionKind::Attribute(Box::new(owner), name.into()))
}

/// `owner[place]`
pub fn element(owner: Expression, place: usize) -> Expression {
    at_nowhere(ExpressionKind::Index(Box::new(owner), vec![Subscript::At(int(place as i64))]))
}

/// A statement of a function, with the call of the graph that it is for.
pub fn statement(kind: StatementKind, node: usize) -> Statement {
    Statement { kind, at: Position { line: u32::try_from(node + 1).unwrap_or(u32::MAX), column: 1 } }
}

impl Code {
    /// The number of a name.
    pub fn number(&mut self, name: &str) -> NameId {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let Ok(number) = u16::try_from(self.names.len()) else {
            self.overflowed = true;
            return NameId(0);
        };
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.numbers.insert(name, NameId(number));
        NameId(number)
    }

    /// A name.
    pub fn name(&mut self, name: &str) -> Expression {
        named(self.number(name))
    }

    /// `callee(arguments)` of a global name.
    pub fn call(&mut self, callee: &str, arguments: Vec<Expression>) -> Expression {
        let callee = self.name(callee);
        call(callee, arguments)
    }

    /// The value of a symbol of sizes.
    pub fn symbol(&mut self, name: &str) -> Expression {
        attribute(self.name("_config"), name)
    }

    /// A local place that nothing holds.
    pub fn local(&mut self) -> NameId {
        if let Some(free) = self.free.pop() {
            return free;
        }
        self.locals += 1;
        let name = format!("%{}", self.locals); // no name that a person can write
        self.number(&name)
    }

    /// Gives a local place back.
    pub fn give_back(&mut self, local: NameId) {
        self.free.push(local);
    }

    /// The function.
    pub fn function(self, name: String, file: Arc<str>, parameters: Vec<Parameter>, body: Vec<Statement>) -> Function {
        Function { name, file, names: self.names, parameters, body }
    }

    /// A parameter that a call must give.
    pub fn parameter(&mut self, name: &str) -> Parameter {
        Parameter { name: self.number(name), default: None, rest: Rest::One }
    }
}

/// A name by its number.
pub fn named(name: NameId) -> Expression {
    at_nowhere(ExpressionKind::Name(name))
}

/// `callee(arguments)`
pub fn call(callee: Expression, arguments: Vec<Expression>) -> Expression {
    let arguments = arguments.into_iter().map(Argument::Plain).collect();
    at_nowhere(ExpressionKind::Call(Box::new(callee), arguments))
}
