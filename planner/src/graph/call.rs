//! Calls: how arguments find their parameters, and who holds them while the callee runs.
//!
//! A Python function takes its arguments over from the caller. A module's call goes through `nn.Module.__call__`, whose
//! `*args` and `**kwargs` hold every argument until it returns.

use std::rc::Rc;

use super::decisions::Kind;
use super::foresee::OPERATORS;
use super::machine::{Machine, Outcome};
use super::value::{Object, ShapeQuestion, Value};
use super::{ModuleId, Op, OpId, Step, TensorId};
use crate::interpret::{self, Frame, Interpreter, Semantics};
use crate::ops::{self, Operator};
use crate::read::spec::syntax::Function;

/// The steps that come with the call of an operator and do not count: calls have a bound of their own.
const STEPS: usize = 256;

/// The arguments of a call.
pub type Given = interpret::Given<Value>;

impl Given {
    /// The arguments of a builtin that takes exactly so many, all by position.
    pub(super) fn exactly<const N: usize>(self, machine: &Machine) -> Outcome<[Value; N]> {
        match <[Value; N]>::try_from(self.positional) {
            Ok(values) if self.named.is_empty() => Ok(values),
            _ => machine.error(format!("{N} arguments are expected here")),
        }
    }

    fn clone_values(&self) -> Vec<Value> {
        self.positional.iter().chain(self.named.iter().map(|(_, value)| value)).cloned().collect()
    }
}

/// Where `index` is told that its indices are copies of the host's.
const FROM_HOST: usize = 3;

/// Operators whose arguments are integers, which tensors without dimensions are too where their number is known
/// (torch/csrc/utils/python_arg_parser.cpp, `is_int_or_symint`), but for the first where it is the tensor that they are asked of.
const TAKE_INTEGERS: [&str; 8] = ["split", "arange", "zeros", "view", "reshape", "expand", "repeat", "slice"];

impl Machine {
    pub(super) fn ask_shape(&self, tensor: TensorId, question: ShapeQuestion, given: Given) -> Outcome<Value> {
        let shape = self.shape(tensor);
        match (question, given.positional.first()) {
            (ShapeQuestion::Dim, _) => Ok(Value::Int(shape.len() as i64)),
            (ShapeQuestion::Count, _) => Ok(Value::Int(self.count(tensor) as i64)),
            (ShapeQuestion::Size, None) => Ok(self.sizes(tensor)),
            (ShapeQuestion::Size, Some(Value::Int(dim))) => {
                self.decisions.exact(*dim);
                let place = if *dim < 0 { dim + shape.len() as i64 } else { *dim };
                match usize::try_from(place).ok().and_then(|place| shape.get(place)) {
                    Some(size) => Ok(Value::Int(*size as i64)),
                    None => self.error(format!("a tensor of {} dimensions has no dimension {dim}", shape.len())),
                }
            }
            (ShapeQuestion::Size, Some(other)) => self.error(format!("{} is no dimension", other.kind())),
        }
    }

    /// The number of a tensor's elements.
    fn count(&self, tensor: TensorId) -> u64 {
        let sizes = self.shape(tensor).iter();
        sizes.fold(1, |product, size| {
            self.decisions.note(Kind::Multiply, product as i64, *size as i64);
            product * size
        })
    }

    /// Runs a module's `forward`: its arguments are held until it has returned.
    pub(super) fn call_module(&mut self, object: &Rc<Object>, mut given: Given) -> Outcome<Value> {
        let Some(module) = object.module else { return self.error("only modules can be called") };
        let checkpoint = self.begin_checkpoint(object, module, &mut given)?;
        let held = given.clone_values();
        let call = self.begin_call(module, &held)?;
        self.tape.record(Step::Enter(module));
        let result = self.forward(object, module, given);
        if let Ok(value) = &result {
            self.hook_input_embedding(module, value)?;
        }
        if let Ok(value) = &result {
            let known = &mut self.modules[module.index()];
            known.calls += 1;
            known.gives_tensors &= is_tensors(value);
            self.capture(object, &held, value);
        }
        drop(held);
        if let (Some(call), Ok(result)) = (call, &result) {
            self.end_call(call, result)?;
        }
        self.tape.record(Step::Exit(module));
        if let (Some(checkpoint), Ok(result)) = (checkpoint, &result) {
            self.end_checkpoint(checkpoint, result)?;
        }
        result
    }

    /// Runs a module's `forward` with the module as the one whose code runs.
    pub(super) fn forward(&mut self, object: &Rc<Object>, module: ModuleId, given: Given) -> Outcome<Value> {
        let Some(forward) = object.class.as_ref().and_then(|class| class.methods.get("forward").cloned()) else {
            return self.error("the module has no forward");
        };
        self.running.push(module);
        let result = self.call_method(object.clone(), &forward, given);
        if result.is_ok() {
            self.running.pop();
        }
        result
    }

    /// Calls an object that is no module: CPython packs the arguments for `__call__`, and holds them until it has returned
    /// (Objects/typeobject.c, slot_tp_call).
    pub(super) fn call_object(&mut self, object: &Rc<Object>, given: Given) -> Outcome<Value> {
        let Some(method) = object.method("__call__").cloned() else {
            return self.error("only objects with `__call__` can be called");
        };
        let held = given.clone_values();
        let result = self.call_method(object.clone(), &method, given);
        drop(held);
        result
    }

    /// Calls the method of that name.
    pub(super) fn call_named(&mut self, object: &Rc<Object>, name: &str, arguments: Vec<Value>) -> Outcome<Value> {
        let Some(method) = object.method(name).cloned() else {
            return self.error(format!("the object has no method `{name}`"));
        };
        self.call_method(object.clone(), &method, Given { positional: arguments, named: Vec::new() })
    }

    /// Calls a method: a function whose `self` is bound.
    pub(super) fn call_method(&mut self, object: Rc<Object>, method: &Function, given: Given) -> Outcome<Value> {
        let mut frame = Frame::new(method);
        if let Some(place) = method.names.iter().position(|name| &**name == "self") {
            frame.slots[place] = Some(Value::Object(object));
        }
        self.bind(&mut frame, given)?;
        self.run(frame)
    }

    /// Binds the arguments of an operator by its signature and records the call.
    pub(super) fn call_operator(&mut self, operator: &'static Operator, given: Given) -> Outcome<Value> {
        let Given { mut positional, named } = given;
        if let Some(first) = operator.variadic
            && positional.len() > first
        {
            let spread = positional.split_off(first);
            positional.push(match &spread[..] {
                [Value::Sequence(_)] => spread[0].clone(),
                _ => Value::sequence(spread),
            });
        }
        let parameters = &operator.parameters;
        if positional.len() > parameters.len() {
            let message = format!("{} takes {} arguments, not {}", operator.name, parameters.len(), positional.len());
            return self.error(message);
        }
        let given = positional.len();
        let mut arguments: Vec<Option<Value>> = positional.into_iter().map(Some).collect();
        arguments.resize(parameters.len(), None);
        for (name, value) in named {
            match operator.place(&name) {
                Some(place) if place >= given => arguments[place] = Some(value),
                Some(_) => return self.error(format!("{} is given `{name}` twice", operator.name)),
                None => return self.error(format!("{} has no parameter `{name}`", operator.name)),
            }
        }
        let mut complete = Vec::with_capacity(arguments.len());
        for (argument, parameter) in arguments.into_iter().zip(parameters) {
            match argument.or_else(|| parameter.default.map(Value::from)) {
                Some(value) => complete.push(value),
                None => return self.error(format!("{} lacks its argument `{}`", operator.name, parameter.name)),
            }
        }
        self.emit(operator, complete)
    }

    /// Records a call of an operator; the arguments are let go after it.
    pub(super) fn emit(&mut self, operator: &'static Operator, arguments: Vec<Value>) -> Outcome<Value> {
        let converted: Outcome<smallvec::SmallVec<[super::Argument; 4]>> =
            arguments.iter().map(|argument| self.argument(argument)).collect();
        let mut converted = match converted {
            Ok(converted) => converted,
            Err(mut error) => {
                error.message = format!("{}: {}", operator.name, error.message);
                return Err(error);
            }
        };
        let on_host = self.on_host > 0 || self.all_on_host(&converted);
        if TAKE_INTEGERS.contains(&operator.name) {
            converted.iter_mut().for_each(|argument| self.take_integers(argument));
        }
        let said = self.knows_numbers().then(|| converted.clone());
        let mut copies = Vec::new();
        if !on_host && !self.host.is_empty() {
            converted.iter_mut().for_each(|argument| self.take_number(argument));
            copies = self.take_indices(operator.name, &mut converted)?;
            if !copies.is_empty() && operator.name == ops::INDEX {
                converted[FROM_HOST] = super::Argument::Bool(true);
            }
            self.refuse_host_tensors(operator.name, &converted)?;
        }
        let shapes = match (operator.shapes)(&ops::Call::new(&self.shapes, &converted)) {
            Ok(shapes) => shapes,
            Err(message) => return self.error(format!("{}: {message}", operator.name)),
        };
        self.spent = self.spent.saturating_sub(STEPS);
        self.spend_elements(shapes.len())?;
        if self.ops.len() >= OPERATORS {
            return self.too_many(self.ops.len() as u64 + 1);
        }
        if let Some(shape) = shapes.iter().find(|shape| most_bytes(shape).is_none()) {
            return self.error(format!("{}: a tensor of shape {shape:?} is larger than any memory", operator.name));
        }
        let computed = said.as_ref().map(|said| self.computed(operator.name, said, &shapes)).unwrap_or_default();
        if on_host {
            let outputs = self.emit_on_host(operator, &converted, shapes);
            let ids: Vec<TensorId> = outputs.iter().flat_map(identified).collect();
            self.note_computed(operator.name, &said.unwrap_or_default(), &ids, computed);
            return Ok(returned(operator, outputs));
        }
        let mut outputs = Vec::with_capacity(shapes.len());
        let mut ids: smallvec::SmallVec<[TensorId; 2]> = smallvec::SmallVec::new();
        for shape in shapes {
            ids.push(TensorId(self.shapes.len() as u32));
            outputs.push(self.tensor(shape));
        }
        if let Some(said) = said {
            self.note_computed(operator.name, &said, &ids, computed);
        }
        if let [only] = ids[..] {
            self.note_type(operator.name, &converted, only);
        }
        let module = self.running.last().copied().unwrap_or(ModuleId(0));
        self.tape.record(Step::Op(OpId(self.ops.len() as u32)));
        let place = self.tape.place();
        self.ops.push(Op { operator, arguments: converted, outputs: ids, module, place });
        drop(copies);
        drop(arguments);
        if operator.name == ops::BACKWARD {
            self.run_pending_again()?;
        }
        Ok(returned(operator, outputs))
    }

    fn take_integers(&self, argument: &mut super::Argument) {
        match argument {
            super::Argument::Tensor(tensor) if self.shape(*tensor).is_empty() => {
                if let Some(number) = self.known_number(*tensor) {
                    self.decisions.exact(number);
                    *argument = super::Argument::Int(number);
                }
            }
            super::Argument::List(parts) => parts.iter_mut().for_each(|part| self.take_integers(part)),
            _ => {}
        }
    }

    pub(super) fn argument(&self, value: &Value) -> Outcome<super::Argument> {
        use super::Argument as A;
        Ok(match value {
            Value::None => A::None,
            Value::Bool(flag) => A::Bool(*flag),
            Value::Int(number) => A::Int(*number),
            Value::Float(number) => A::Float(*number),
            Value::Text(text) => A::Text(text.clone()),
            Value::Dtype(dtype) => A::Dtype(*dtype),
            Value::Tensor(reference) => A::Tensor(reference.tensor.get()),
            Value::Sequence(items) => A::List(items.iter().map(|item| self.argument(item)).collect::<Outcome<_>>()?),
            other => return self.error(format!("{} cannot be an argument of an operator", other.kind())),
        })
    }
}

fn identified(value: &Value) -> Option<TensorId> {
    if let Value::Tensor(reference) = value { Some(reference.tensor.get()) } else { None }
}

/// What an operator gives back, of its outputs.
fn returned(operator: &Operator, mut outputs: Vec<Value>) -> Value {
    match (operator.returns, outputs.len()) {
        (ops::Returns::Tuple, _) => Value::sequence(outputs),
        (_, 0) => Value::None,
        _ => outputs.swap_remove(0),
    }
}

/// The bytes of a tensor of 8 bytes an element; None where that is more than any memory has.
pub(super) fn most_bytes(shape: &[u64]) -> Option<u64> {
    let bytes = shape.iter().try_fold(8u64, |product, size| product.checked_mul((*size).max(1)))?;
    (bytes <= 1 << 50).then_some(bytes)
}

/// Whether a value is a tensor, or a tuple of tensors and Nones.
fn is_tensors(value: &Value) -> bool {
    match value {
        Value::Tensor(_) => true,
        Value::Sequence(values) => values.iter().all(|value| matches!(value, Value::None) || is_tensors(value)),
        _ => false,
    }
}
