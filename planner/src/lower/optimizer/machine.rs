//! Runs an optimizer's code: the statements and expressions of the spec language over storages.
//!
//! The graph's machine runs the same language over shapes; this one runs when memory is asked for, since which parameters
//! have gradients, their types and what an optimizer already keeps are known only then. A function's frame holds its
//! locals until it returns, a loop's names stay bound after it, an expression's intermediates go when it has been
//! evaluated: as in Python.

use std::rc::Rc;

use super::value::{Given, Value};
use crate::lower::context::Context;
use crate::read::optimizers::Optimizer;
use crate::read::spec::syntax::*;
use crate::schedule::Category;

/// What running code gives.
pub(super) type Outcome<T> = Result<T, String>;

/// The deepest nesting of calls.
const DEPTH: usize = 50;

/// The locals of a running function.
pub(super) type Frame = Vec<Option<Value>>;

/// What a statement leads to.
enum Flow {
    Next,
    Return(Value),
}

/// A running optimizer.
pub(super) struct Machine<'a> {
    pub(super) context: &'a mut Context,
    pub(super) optimizer: Rc<Optimizer>,
    pub(super) depth: usize,
    /// Whether the code itself refused to go on: its message is for people who choose, not for those who write specs.
    pub(super) refused: bool,
}

impl Machine<'_> {
    /// Calls a function of the spec; its frame takes the arguments over.
    pub(super) fn call_function(&mut self, function: &Function, given: Given) -> Outcome<Value> {
        if self.depth >= DEPTH {
            return Err(format!("calls nest deeper than {DEPTH} levels"));
        }
        let mut frame: Frame = vec![None; function.names.len()];
        let Given { positional, named } = given;
        if positional.len() > function.parameters.len() {
            return Err(format!("{} is given {} arguments", function.name, positional.len()));
        }
        for (parameter, value) in function.parameters.iter().zip(positional) {
            frame[usize::from(parameter.name.0)] = Some(value);
        }
        for (name, value) in named {
            let place = function.parameters.iter().find(|p| function.names[usize::from(p.name.0)] == name);
            let place = place.ok_or_else(|| format!("{} has no parameter `{name}`", function.name))?;
            frame[usize::from(place.name.0)] = Some(value);
        }
        for parameter in &function.parameters {
            let slot = usize::from(parameter.name.0);
            if frame[slot].is_none() {
                let name = &function.names[slot];
                let lacks = || format!("{} lacks its argument `{name}`", function.name);
                let default = parameter.default.as_ref().ok_or_else(lacks)?;
                frame[slot] = Some(self.evaluate(function, &mut Vec::new(), default)?);
            }
        }
        self.depth += 1;
        let flow = self.block(function, &mut frame, &function.body);
        self.depth -= 1;
        Ok(match flow? {
            Flow::Return(value) => value,
            Flow::Next => Value::None,
        })
    }

    fn block(&mut self, function: &Function, frame: &mut Frame, statements: &[Statement]) -> Outcome<Flow> {
        for statement in statements {
            match self.statement(function, frame, statement) {
                Ok(Flow::Next) => {}
                Err(message) if !self.refused => return Err(located(message, function, statement.at)),
                other => return other,
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, function: &Function, frame: &mut Frame, statement: &Statement) -> Outcome<Flow> {
        match &statement.kind {
            StatementKind::Evaluate(expression) => drop(self.evaluate(function, frame, expression)?),
            StatementKind::Assign(target, expression) => {
                // what becomes an attribute is kept from step to step
                let category = match target {
                    Target::Attribute(..) => Category::OptimizerStates,
                    _ => self.context.category,
                };
                let outer = std::mem::replace(&mut self.context.category, category);
                let value = self.evaluate(function, frame, expression)?;
                self.context.category = outer;
                self.assign(function, frame, target, value)?;
            }
            StatementKind::Update(target, operator, expression) => {
                let Target::Name(name) = target else { return Err("only names can be updated".to_owned()) };
                let old = self.name(function, frame, *name)?;
                let new = self.evaluate(function, frame, expression)?;
                if !matches!(old, Value::Tensor(_)) {
                    let value = self.binary(*operator, old, new)?;
                    self.assign(function, frame, target, value)?;
                }
            }
            StatementKind::Return(None) => return Ok(Flow::Return(Value::None)),
            StatementKind::Return(Some(expression)) => {
                return Ok(Flow::Return(self.evaluate(function, frame, expression)?));
            }
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.evaluate(function, frame, condition).and_then(|value| value.truth())? {
                        return self.block(function, frame, body);
                    }
                }
                return self.block(function, frame, otherwise);
            }
            StatementKind::For(target, source, body) => {
                let source = self.evaluate(function, frame, source)?;
                for element in source.elements()?.iter() {
                    self.assign(function, frame, target, element.clone())?;
                    if let Flow::Return(value) = self.block(function, frame, body)? {
                        return Ok(Flow::Return(value));
                    }
                }
            }
            StatementKind::Delete(names) => names.iter().for_each(|name| frame[usize::from(name.0)] = None),
        }
        Ok(Flow::Next)
    }

    pub(super) fn assign(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        target: &Target,
        value: Value,
    ) -> Outcome<()> {
        match target {
            Target::Name(name) => frame[usize::from(name.0)] = Some(value),
            Target::Attribute(owner, name) => {
                let Value::Object(object) = self.evaluate(function, frame, owner)? else {
                    return Err(format!("`{name}` can only be set on an object"));
                };
                let old = object.borrow_mut().insert(name.clone(), value);
                drop(old);
            }
            Target::Sequence(targets) => {
                let elements = value.elements()?.clone();
                drop(value);
                if elements.len() != targets.len() {
                    return Err(format!("{} names cannot take {} values", targets.len(), elements.len()));
                }
                for (target, element) in targets.iter().zip(elements.iter()) {
                    self.assign(function, frame, target, element.clone())?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn evaluate(&mut self, function: &Function, frame: &mut Frame, e: &Expression) -> Outcome<Value> {
        Ok(match &e.kind {
            ExpressionKind::None => Value::None,
            ExpressionKind::Bool(flag) => Value::Bool(*flag),
            ExpressionKind::Int(number) => Value::Number(*number as f64),
            ExpressionKind::Float(number) => Value::Number(*number),
            ExpressionKind::Text(text) => Value::Text(text.clone()),
            ExpressionKind::Name(name) => self.name(function, frame, *name)?,
            ExpressionKind::Attribute(owner, name) => {
                let owner = self.evaluate(function, frame, owner)?;
                self.attribute(&owner, name)?
            }
            ExpressionKind::Index(owner, items) => self.index(function, frame, owner, items)?,
            ExpressionKind::Call(callee, arguments) => self.call(function, frame, callee, arguments)?,
            ExpressionKind::Unary(operator, operand) => {
                let operand = self.evaluate(function, frame, operand)?;
                self.unary(*operator, operand)?
            }
            ExpressionKind::Binary(operator, left, right) => {
                let left = self.evaluate(function, frame, left)?;
                let right = self.evaluate(function, frame, right)?;
                self.binary(*operator, left, right)?
            }
            ExpressionKind::And(left, right) => {
                let left = self.evaluate(function, frame, left)?;
                if left.truth()? { self.evaluate(function, frame, right)? } else { left }
            }
            ExpressionKind::Or(left, right) => {
                let left = self.evaluate(function, frame, left)?;
                if left.truth()? { left } else { self.evaluate(function, frame, right)? }
            }
            ExpressionKind::Choice(parts) => {
                let [condition, value, otherwise] = &**parts;
                let chosen = if self.evaluate(function, frame, condition)?.truth()? { value } else { otherwise };
                self.evaluate(function, frame, chosen)?
            }
            ExpressionKind::Sequence(elements) => Value::list(self.arguments(function, frame, elements)?.positional),
            ExpressionKind::Comprehension(parts) => self.comprehension(function, frame, parts)?,
            ExpressionKind::Dictionary(_) => return Err("optimizers have no dictionaries".to_owned()),
        })
    }

    fn name(&mut self, function: &Function, frame: &Frame, name: NameId) -> Outcome<Value> {
        let number = usize::from(name.0);
        let name = &function.names[number];
        if let Some(Some(value)) = frame.get(number) {
            return Ok(value.clone());
        }
        crate::dtype::Dtype::named(name).map(Value::Dtype).ok_or_else(|| format!("`{name}` is not defined"))
    }
}

/// The message with the place in the spec where it arose; the innermost place stays.
fn located(message: String, function: &Function, at: Position) -> String {
    if message.ends_with(')') && message.contains(".yaml:") {
        return message;
    }
    format!("{message} ({}:{}:{})", function.file, at.line, at.column)
}
