//! What running code can still reach, laid out flat: two states of a loop are compared by it.
//!
//! It holds no reference to a tensor: holding one would change when tensors go.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::machine::Machine;
use super::value::{Attributes, Object, Value};
use super::{Dims, DtypeArgument, TensorId};
use crate::interpret::Frame;

/// Everything but integers and tensors, in the order in which it is come to, with a note of where those stand.
#[derive(Clone, Debug, PartialEq)]
enum Fixed {
    Nothing,
    Bool(bool),
    Float(u64),
    Text(Arc<str>),
    Dtype(DtypeArgument),
    /// A list or dictionary of so many, an object's attributes.
    Open(usize),
    Name(Arc<str>),
    /// Code, a class or an operator, by its address.
    Code(usize),
    /// An object that was come to before, by its number among them.
    Again(usize),
    Integer,
    Tensor,
    Shape(TensorId),
}

/// What the locals of a frame reach.
#[derive(Debug, Default)]
pub struct State {
    fixed: Vec<Fixed>,
    /// Integers, in order.
    pub integers: Vec<i64>,
    /// Tensors with their sizes, in order, each reference once.
    pub tensors: Vec<(TensorId, Dims)>,
}

impl State {
    /// Whether both are alike but for integers, and for which tensors they hold.
    pub fn is_like(&self, other: &State) -> bool {
        self.fixed.len() <= MOST && self.fixed == other.fixed
    }
}

/// The most that is noted of a state: far beyond any model's. What has more is like nothing.
const MOST: usize = 1 << 22;

/// Goes through values for a [`State`].
struct Collector<'a> {
    machine: &'a Machine,
    state: State,
    seen: indexmap::IndexSet<usize, rustc_hash::FxBuildHasher>,
}

impl Machine {
    /// What a frame's locals reach, and what every program can reach by name.
    pub(super) fn state_of(&self, frame: &Frame<'_, Value>) -> State {
        let mut collector = Collector { machine: self, state: State::default(), seen: Default::default() };
        for slot in &frame.slots {
            match slot {
                Some(value) => collector.value(value),
                None => collector.state.fixed.push(Fixed::Open(0)),
            }
        }
        for name in REACHED {
            self.globals.get(name).into_iter().for_each(|value| collector.value(value));
        }
        collector.state
    }

    /// Puts other integers and names of tensors in place of those of a state.
    pub(super) fn replace(&mut self, frame: &mut Frame<'_, Value>, with: Replacements<'_>) {
        let mut replacer = Replacer { with, integer: 0, tensor: 0, replaced: 0, seen: FxHashSet::default() };
        for value in frame.slots.iter_mut().flatten() {
            replacer.value(value);
        }
        for name in REACHED {
            if let Some(value) = self.globals.get_mut(name) {
                replacer.value(value);
            }
        }
    }
}

/// Names by which every program reaches what it was made of.
const REACHED: [&str; 2] = ["_config", "_model"];

impl Collector<'_> {
    fn value(&mut self, value: &Value) {
        if self.state.fixed.len() > MOST {
            return;
        }
        let fixed = match value {
            Value::None => Fixed::Nothing,
            Value::Bool(flag) => Fixed::Bool(*flag),
            Value::Float(number) => Fixed::Float(number.to_bits()),
            Value::Text(text) => Fixed::Text(text.clone()),
            Value::Dtype(dtype) => Fixed::Dtype(*dtype),
            Value::Class(class) => Fixed::Code(Arc::as_ptr(class) as usize),
            Value::Function(function) => Fixed::Code(Arc::as_ptr(function) as usize),
            Value::Builtin(builtin) => Fixed::Code(*builtin as usize),
            Value::Operator(operator) => Fixed::Code(std::ptr::from_ref(*operator) as usize),
            Value::ShapeMethod(tensor, _) => Fixed::Shape(*tensor),
            Value::Library => Fixed::Nothing,
            Value::Int(number) => {
                self.state.integers.push(*number);
                Fixed::Integer
            }
            Value::Tensor(reference) | Value::TensorMethod(reference, _) | Value::TensorFunction(reference, _) => {
                self.again(Rc::as_ptr(reference) as usize).unwrap_or_else(|| {
                    let tensor = reference.tensor.get();
                    self.state.tensors.push((tensor, self.machine.shape(tensor).clone()));
                    Fixed::Tensor
                })
            }
            Value::Sequence(values) => {
                self.state.fixed.push(Fixed::Open(values.len()));
                values.iter().for_each(|value| self.value(value));
                return;
            }
            Value::Dictionary(entries) => return self.attributes(entries),
            Value::Closure(function, values) => {
                self.state.fixed.push(Fixed::Code(Arc::as_ptr(function) as usize));
                values.iter().for_each(|value| self.value(value));
                return;
            }
            Value::Object(object) => return self.object(object),
            Value::Method(object, function) => {
                self.state.fixed.push(Fixed::Code(Arc::as_ptr(function) as usize));
                return self.object(object);
            }
        };
        self.state.fixed.push(fixed);
    }

    fn object(&mut self, object: &Rc<Object>) {
        if let Some(again) = self.again(Rc::as_ptr(object) as usize) {
            return self.state.fixed.push(again);
        }
        let class = object.class.as_ref().map_or(0, |class| Arc::as_ptr(class) as usize);
        self.state.fixed.push(Fixed::Code(class));
        self.attributes(&object.attributes.borrow());
    }

    fn attributes(&mut self, attributes: &Attributes) {
        self.state.fixed.push(Fixed::Open(attributes.len()));
        for (name, value) in attributes {
            self.state.fixed.push(Fixed::Name(name.clone()));
            self.value(value);
        }
    }

    /// The note of an address that was come to before.
    fn again(&mut self, address: usize) -> Option<Fixed> {
        let (number, is_new) = self.seen.insert_full(address);
        (!is_new).then_some(Fixed::Again(number))
    }
}

/// What a state's integers and tensors become, in its order.
pub struct Replacements<'a> {
    /// All integers.
    pub integers: &'a [i64],
    /// All tensors.
    pub tensors: &'a [TensorId],
}

/// Goes through values in the order of [`Collector`].
struct Replacer<'a> {
    with: Replacements<'a>,
    integer: usize,
    tensor: usize,
    replaced: usize,
    seen: FxHashSet<usize>,
}

impl Replacer<'_> {
    fn value(&mut self, value: &mut Value) {
        match value {
            Value::Int(number) => {
                let new = self.with.integers[self.integer];
                self.replaced += usize::from(new != *number);
                *number = new;
                self.integer += 1;
            }
            Value::Tensor(reference) | Value::TensorMethod(reference, _) | Value::TensorFunction(reference, _)
                if self.seen.insert(Rc::as_ptr(reference) as usize) =>
            {
                reference.tensor.set(self.with.tensors[self.tensor]);
                self.tensor += 1;
            }
            Value::Sequence(values) => {
                let before = self.replaced;
                let mut copy = (***values).clone();
                copy.iter_mut().for_each(|value| self.value(value));
                if self.replaced > before {
                    *values = Rc::new(values.with(copy));
                }
            }
            Value::Closure(_, values) => {
                let before = self.replaced;
                let mut copy = (***values).clone();
                copy.iter_mut().for_each(|value| self.value(value));
                if self.replaced > before {
                    *values = Rc::new(values.with(copy));
                }
            }
            Value::Dictionary(entries) => {
                let before = self.replaced;
                let mut copy = (***entries).clone();
                copy.values_mut().for_each(|value| self.value(value));
                if self.replaced > before {
                    *entries = Rc::new(entries.with(copy));
                }
            }
            Value::Object(object) | Value::Method(object, _) if self.seen.insert(Rc::as_ptr(object) as usize) => {
                object.attributes.borrow_mut().values_mut().for_each(|value| self.value(value));
            }
            _ => {}
        }
    }
}
