//! The places of code that was translated: what a line of the spec says of Python's source takes the place of its own.

use std::sync::Arc;

use import::marks;

use crate::read::spec::syntax::{
    Argument, Expression, ExpressionKind, Function, Position, Statement, StatementKind, Subscript, Target,
};
use crate::read::spec::{Class, Definition, Family};

/// Where each line of a spec stands in Python's source, if it says so.
struct Places(Vec<Option<(Arc<str>, Position)>>);

/// Gives all code of a family's own file, whose text this is, the places in Python's source that its lines say.
pub fn take_from_source(family: &mut Family, text: &str) {
    let mut last: Option<Arc<str>> = None;
    let place = |line: &str| {
        let (file, line, column) = marks::place(line)?;
        let file = match &last {
            Some(known) if **known == *file => known.clone(),
            _ => Arc::from(file),
        };
        last = Some(file.clone());
        Some((file, Position { line, column }))
    };
    let places = Places(text.lines().map(place).collect());
    let own = family.file.clone();
    family.definitions.values_mut().for_each(|definition| match definition {
        Definition::Function(function) if function.file == own => places.shared(function),
        Definition::Class(class) if class.constructor.file == own => {
            if let Some(class) = Arc::get_mut(class) {
                places.class(class);
            }
        }
        _ => {}
    });
}

impl Places {
    fn of(&self, at: Position) -> Option<&(Arc<str>, Position)> {
        self.0.get((at.line as usize).checked_sub(1)?)?.as_ref()
    }

    fn class(&self, class: &mut Class) {
        self.function(&mut class.constructor);
        class.init.iter_mut().for_each(|init| self.shared(init));
        class.methods.values_mut().for_each(|method| self.shared(method));
    }

    /// A function that nothing else holds yet.
    fn shared(&self, function: &mut Arc<Function>) {
        if let Some(function) = Arc::get_mut(function) {
            self.function(function);
        }
    }

    fn function(&self, function: &mut Function) {
        if let Some((file, _)) = function.body.first().and_then(|first| self.of(first.at)) {
            function.file = file.clone();
        }
        function.body.iter_mut().for_each(|statement| self.statement(statement));
    }

    fn position(&self, at: &mut Position) {
        if let Some((_, place)) = self.of(*at) {
            *at = *place;
        }
    }

    fn statement(&self, statement: &mut Statement) {
        self.position(&mut statement.at);
        match &mut statement.kind {
            StatementKind::Evaluate(value) | StatementKind::Return(Some(value)) => self.expression(value),
            StatementKind::Assign(target, value) | StatementKind::Update(target, _, value) => {
                self.target(target);
                self.expression(value);
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    self.expression(condition);
                    body.iter_mut().for_each(|statement| self.statement(statement));
                }
                otherwise.iter_mut().for_each(|statement| self.statement(statement));
            }
            StatementKind::For(target, source, body) => {
                self.target(target);
                self.expression(source);
                body.iter_mut().for_each(|statement| self.statement(statement));
            }
            StatementKind::Return(None) | StatementKind::Continue | StatementKind::Break | StatementKind::Delete(_) => {
            }
        }
    }

    fn target(&self, target: &mut Target) {
        match target {
            Target::Attribute(owner, _) => self.expression(owner),
            Target::Sequence(targets) => targets.iter_mut().for_each(|target| self.target(target)),
            Target::Name(_) | Target::Rest(_) => {}
        }
    }

    fn argument(&self, argument: &mut Argument) {
        match argument {
            Argument::Plain(value) | Argument::Named(_, value) => self.expression(value),
            Argument::Spread(value) | Argument::SpreadNamed(value) => self.expression(value),
        }
    }

    fn expression(&self, expression: &mut Expression) {
        self.position(&mut expression.at);
        match &mut expression.kind {
            ExpressionKind::Literal(_) | ExpressionKind::Name(_) => {}
            ExpressionKind::Attribute(value, _) | ExpressionKind::Unary(_, value) | ExpressionKind::Named(_, value) => {
                self.expression(value);
            }
            ExpressionKind::Index(owner, subscripts) => {
                self.expression(owner);
                for subscript in subscripts {
                    match subscript {
                        Subscript::At(value) => self.expression(value),
                        Subscript::Range(from, to, step) => {
                            [from, to, step].into_iter().flatten().for_each(|bound| self.expression(bound));
                        }
                        Subscript::Ellipsis => {}
                    }
                }
            }
            ExpressionKind::Call(callee, arguments) => {
                self.expression(callee);
                arguments.iter_mut().for_each(|argument| self.argument(argument));
            }
            ExpressionKind::Binary(_, left, right)
            | ExpressionKind::And(left, right)
            | ExpressionKind::Or(left, right) => {
                self.expression(left);
                self.expression(right);
            }
            ExpressionKind::Choice(parts) => parts.iter_mut().for_each(|part| self.expression(part)),
            ExpressionKind::Sequence(elements) => elements.iter_mut().for_each(|element| self.argument(element)),
            ExpressionKind::Comprehension(comprehension) => {
                self.expression(&mut comprehension.element);
                self.target(&mut comprehension.target);
                self.expression(&mut comprehension.source);
                comprehension.condition.iter_mut().for_each(|condition| self.expression(condition));
            }
            ExpressionKind::Lambda(function, _) => self.shared(function),
            ExpressionKind::Dictionary(entries) => {
                for (key, value) in entries {
                    self.expression(key);
                    self.expression(value);
                }
            }
        }
    }
}
