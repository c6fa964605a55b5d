//! Runs an optimizer's code: what the spec language's values are and do over storages.
//!
//! The graph's machine runs the same language over shapes; this one runs when memory is asked for, since which parameters
//! have gradients, their types and what an optimizer already keeps are known only then.

use std::rc::Rc;
use std::sync::Arc;

use super::arithmetic::{numbers, same};
use super::value::{Given, Handle, Value};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::interpret::{Extent, Frame, Interpreter, Nested, Semantics};
use crate::lower::context::Context;
use crate::lower::tensor::TensorData;
use crate::read::optimizers::Optimizer;
use crate::read::spec::syntax::*;
use crate::trace::Category;
use crate::trace::{Cause, PlaceId, Standing};

/// What running code gives.
pub(super) type Outcome<T> = Result<T, String>;

/// A running optimizer.
pub(super) struct Machine<'a> {
    pub(super) context: &'a mut Context,
    pub(super) optimizer: Arc<Optimizer>,
    pub(super) depth: usize,
    pub(super) spent: usize,
    /// Whether the error has its place, or goes without: a refusal is for people who choose, not for those who write specs.
    pub(super) placed: bool,
}

/// What is called: a function by its name, which no local hides, or a method of a value.
pub(super) struct Callee {
    owner: Option<Value>,
    name: Arc<str>,
}

impl Semantics for Machine<'_> {
    type Value = Value;
    type Callee = Callee;
    type Error = String;
    type Place = PlaceId;
    type Loop = ();

    fn depth(&mut self) -> &mut usize {
        &mut self.depth
    }

    fn spent(&mut self) -> &mut usize {
        &mut self.spent
    }

    fn error<T>(&self, message: impl Into<String>) -> Outcome<T> {
        Err(message.into())
    }

    fn placed(&mut self, error: String, file: &str, at: Position) -> String {
        if std::mem::replace(&mut self.placed, true) {
            return error;
        }
        format!("{error} ({file}:{}:{})", at.line, at.column)
    }

    fn can_hold_memory(value: &Value) -> bool {
        matches!(value, Value::Tensor(_) | Value::List(_) | Value::Object(_))
    }

    fn place(&self) -> PlaceId {
        self.context.memory.place.unwrap_or_default()
    }

    fn go_to(&mut self, place: PlaceId) {
        self.context.memory.place = Some(place);
        self.context.memory.log.blame(Cause::Python(place));
    }

    fn enter(&mut self, function: &Function) {
        self.context.memory.log.enter(function);
    }

    fn reach(&mut self, standing: Standing) {
        let place = self.context.memory.log.place(standing);
        self.go_to(place);
    }

    fn literal(literal: &Literal) -> Value {
        match literal {
            Literal::None => Value::None,
            Literal::Bool(flag) => Value::Bool(*flag),
            Literal::Int(number) => Value::Number(*number as f64),
            Literal::Float(number) => Value::Number(*number),
            Literal::Text(text) => Value::Text(text.clone()),
        }
    }

    fn sequence(values: Vec<Value>) -> Value {
        Value::list(values)
    }

    fn extent(value: &Value) -> Extent {
        value.extent()
    }

    fn truth(&self, value: &Value) -> Outcome<bool> {
        value.truth()
    }

    fn elements(&mut self, value: &Value) -> Outcome<Rc<Nested<Vec<Value>>>> {
        value.elements().cloned()
    }

    fn global(&mut self, name: &Arc<str>) -> Outcome<Value> {
        Dtype::named(name).map(Value::Dtype).ok_or_else(|| format!("`{name}` is not defined"))
    }

    fn attribute(&mut self, owner: &Value, name: &Arc<str>) -> Outcome<Value> {
        match owner {
            Value::Object(object) => Ok(object.borrow().get(name).cloned().unwrap_or_default()),
            Value::Tensor(Handle { tensor, owner }) => match &**name {
                "shape" => Ok(Value::list(tensor.sizes.iter().map(|size| Value::Number(*size as f64)).collect())),
                "dtype" => Ok(Value::Dtype(tensor.dtype)),
                "T" => {
                    let reversed = |dims: &Dims| dims.iter().rev().copied().collect();
                    let view = TensorData::view(tensor, reversed(&tensor.sizes), reversed(&tensor.strides));
                    Ok(Value::Tensor(Handle { tensor: view, owner: *owner }))
                }
                "grad" => {
                    let leaf = owner.map(|owner| &self.context.training.trained[owner as usize].leaf);
                    let gradient = leaf.and_then(|leaf| leaf.gradient.borrow().clone());
                    Ok(gradient.map_or(Value::None, |tensor| Value::Tensor(Handle { tensor, owner: *owner })))
                }
                _ => Err(format!("a tensor has no attribute `{name}`")),
            },
            other => Err(format!("{} has no attribute `{name}`", other.kind())),
        }
    }

    fn set_attribute(&mut self, owner: &Value, name: &Arc<str>, value: Value) -> Outcome<()> {
        let Value::Object(object) = owner else { return Err(format!("`{name}` can only be set on an object")) };
        if value.extent().height >= owner.extent().height {
            return Err(format!(
                "`{name}` cannot hold {}: attributes hold tensors, numbers and lists of them",
                value.kind()
            ));
        }
        let old = object.borrow_mut().insert(name.clone(), value);
        drop(old);
        Ok(())
    }

    fn index(&mut self, owner: Value, subscripts: Vec<Subscript<Value>>) -> Outcome<Value> {
        let elements = owner.elements()?;
        let place = |number: &Value| -> Outcome<usize> {
            let number = number.number()?;
            let from = if number < 0.0 { elements.len() as f64 } else { 0.0 };
            Ok((number + from).max(0.0) as usize)
        };
        match &subscripts[..] {
            [Subscript::At(at)] => {
                let at = place(at)?;
                elements.get(at).cloned().ok_or_else(|| format!("a list of {} has no element {at}", elements.len()))
            }
            [Subscript::Range(start, end, None)] => {
                let start = start.as_ref().map_or(Ok(0), place)?;
                let end = end.as_ref().map_or(Ok(elements.len()), place)?.min(elements.len());
                Ok(Value::list(elements[start.min(end)..end].to_vec()))
            }
            _ => Err("one index is expected".to_owned()),
        }
    }

    fn unary(&mut self, operator: Unary, operand: Value) -> Outcome<Value> {
        match (operator, &operand) {
            (Unary::Not, _) => Ok(Value::Bool(!operand.truth()?)),
            (Unary::Negate, Value::Tensor(_)) => self.elementwise("neg", &[operand]),
            (Unary::Negate, _) => Ok(Value::Number(-operand.number()?)),
            (Unary::Invert, _) => Err("nothing is inverted in an optimizer".to_owned()),
        }
    }

    fn binary(&mut self, operator: Binary, left: Value, right: Value) -> Outcome<Value> {
        match operator {
            Binary::Is | Binary::Equal => return Ok(Value::Bool(same(&left, &right))),
            Binary::IsNot | Binary::NotEqual => return Ok(Value::Bool(!same(&left, &right))),
            _ => {}
        }
        match (&left, &right) {
            (Value::List(a), Value::List(b)) if operator == Binary::Add => {
                self.spend_elements(a.len() + b.len())?;
                Ok(Value::list(a.iter().chain(b.iter()).cloned().collect()))
            }
            (Value::Tensor(_), _) | (_, Value::Tensor(_)) => self.tensor_binary(operator, left, right),
            _ => numbers(operator, left.number()?, right.number()?),
        }
    }

    /// A tensor is updated in place, which allocates nothing.
    fn update(&mut self, operator: Binary, old: Value, new: Value) -> Outcome<Value> {
        if let Value::Tensor(_) = old { Ok(old) } else { self.binary(operator, old, new) }
    }

    fn callee(&mut self, frame: &mut Frame<'_, Value>, callee: &Expression) -> Outcome<Callee> {
        match &callee.kind {
            ExpressionKind::Name(name) => {
                Ok(Callee { owner: None, name: frame.function.names[usize::from(name.0)].clone() })
            }
            ExpressionKind::Attribute(owner, name) => {
                Ok(Callee { owner: Some(self.evaluate(frame, owner)?), name: name.clone() })
            }
            _ => Err("only functions can be called".to_owned()),
        }
    }

    fn call(&mut self, callee: Callee, mut given: Given) -> Outcome<Value> {
        let Callee { owner, name } = callee;
        if let Some(owner) = owner {
            given.positional.insert(0, owner);
            return self.call_operator(&name, given);
        }
        match self.optimizer.function(&name) {
            Some(function) => self.call_function(&function, given),
            None => self.call_builtin(&name, given),
        }
    }

    /// What becomes an attribute is kept from step to step.
    fn value_for(&mut self, frame: &mut Frame<'_, Value>, target: &Target, e: &Expression) -> Outcome<Value> {
        let category = match target {
            Target::Attribute(..) => Category::OptimizerStates,
            _ => self.context.category(),
        };
        let outer = self.context.count_as(category);
        let value = self.evaluate(frame, e);
        self.context.count_as(outer);
        value
    }
}
