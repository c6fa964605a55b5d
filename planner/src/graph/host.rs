//! The construction of modules in code: what is computed on the host before the model is on the device, and what of it
//! becomes the module's own.
//!
//! ```text
//! self.norm = LayerNorm(config.width)          a child
//! self.scale = Parameter(ones(config.width))   a parameter
//! self.ids = Buffer(arange(config.length))     a buffer, of the type that the computation has
//! self.width = config.width                    an attribute
//! ```
//!
//! As in torch/nn/modules/module.py (2.15), `__setattr__`: modules, parameters and buffers are registered in the order in which they are
//! assigned. Tensors of the host have a shape and a type and take no memory of the device.

use std::rc::Rc;
use std::sync::Arc;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Object, Reference, Value};
use super::{Argument, Dims, DtypeArgument, TensorId};
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};
use crate::ops::Operator;
use crate::read::spec::FieldType;

/// What is known of a tensor of the host.
#[derive(Clone, Copy, Debug)]
pub struct HostTensor {
    /// Its type; that of the weights where the code gives none.
    dtype: Option<Dtype>,
    /// What the module that it is assigned to makes of it.
    becomes: Becomes,
}

/// What a module makes of a tensor that is assigned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Nothing,
    Parameter,
    Buffer { persistent: bool },
}

/// `on_host(zeros, [3, 4], dtype=int64)`: what a function gives where it is called for the host.
pub(super) fn on_host(machine: &mut Machine, mut given: Given) -> Outcome<Value> {
    if given.positional.is_empty() {
        return machine.error("a function that makes something is expected");
    }
    let make = given.positional.remove(0);
    machine.on_host += 1;
    let made = machine.call(make, given);
    machine.on_host -= 1;
    made
}

/// `Parameter(data, requires_grad=True)`
pub(super) fn parameter(machine: &mut Machine, given: Given) -> Outcome<Value> {
    owned(machine, given, Becomes::Parameter)
}

/// `Buffer(data, persistent=True)`
pub(super) fn buffer(machine: &mut Machine, mut given: Given) -> Outcome<Value> {
    let named = given.named.iter().position(|(name, _)| &**name == "persistent");
    let persistent = match (given.positional.len(), named) {
        (2, None) => given.positional.pop(),
        (_, Some(place)) => Some(given.named.remove(place).1),
        _ => None,
    };
    let persistent = persistent.map_or(Ok(true), |value| machine.truth(&value))?;
    owned(machine, given, Becomes::Buffer { persistent })
}

/// `module.requires_grad_(False)`, of a tensor too: what is frozen needs no gradient.
pub(super) fn freeze(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    let mut left = vec![value.clone()];
    while let Some(value) = left.pop() {
        machine.spend(1)?;
        match &value {
            Value::Tensor(reference) => drop(machine.frozen.insert(reference.tensor.get())),
            Value::Sequence(values) => left.extend(values.iter().cloned()),
            Value::Object(object) => {
                let (owned, attributes) = (object.owned.borrow(), object.attributes.borrow());
                let names = owned.children.iter().chain(owned.parameters.iter().map(|(name, _)| name));
                left.extend(names.filter_map(|name| attributes.get(name).cloned()));
            }
            _ => {}
        }
    }
    Ok(value)
}

/// `x.to(device)` and `x.to(device, dtype)`: what lies on the host is copied, in its new type; what lies on the device already is
/// cast alone.
pub(super) fn on_device(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let (Some(value), dtype) = (arguments.next(), arguments.next()) else {
        return machine.error("a tensor is moved to the device");
    };
    match &value {
        Value::Tensor(reference) if machine.on_host == 0 && machine.stays(reference.tensor.get()).is_some() => {
            let tensor = reference.tensor.get();
            let dtype = dtype.unwrap_or(Value::Dtype(machine.settled(DtypeArgument::Of(tensor))));
            let sizes = machine.sizes(tensor);
            let copy = machine.emit_named("zeros", vec![sizes, dtype])?;
            if let Value::Tensor(made) = &copy {
                machine.copy_numbers(tensor, made.tensor.get());
            }
            Ok(copy)
        }
        _ => match dtype {
            Some(dtype) => machine.emit_named("to", vec![value, dtype]),
            None => Ok(value),
        },
    }
}

/// `made.to(dtype)` where modules are made: a module's parameters and buffers are of that type, as is a tensor.
pub(super) fn moved_to(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value, dtype] = given.exactly(machine)?;
    if let Value::Tensor(_) = value {
        return machine.emit_named("to", vec![value, dtype]);
    }
    let Value::Dtype(DtypeArgument::Fixed(dtype)) = dtype else {
        return machine.error("a module is moved to a type that is named");
    };
    let mut left = vec![value.clone()];
    while let Some(value) = left.pop() {
        machine.spend(1)?;
        match &value {
            Value::Sequence(values) => left.extend(values.iter().cloned()),
            Value::Object(object) => {
                let mut owned = object.owned.borrow_mut();
                let attributes = object.attributes.borrow();
                left.extend(owned.children.iter().filter_map(|name| attributes.get(name).cloned()));
                owned.parameters.iter_mut().for_each(|(_, known)| *known = Some(FieldType::always(dtype)));
                let floats = owned.buffers.iter_mut().filter(|(_, known, _)| known.is_none());
                floats.for_each(|(_, known, _)| *known = Some(FieldType::always(dtype)));
            }
            _ => {}
        }
    }
    Ok(value)
}

/// Operators whose results have the type of what they are given, if all of that has one.
const KEEP_THE_TYPE: [&str; 26] = [
    "as_input",
    "expand",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "transpose",
    "permute",
    "select",
    "slice",
    "flatten",
    "narrow",
    "contiguous",
    "contiguous_clone",
    "clone",
    "cat",
    "stack",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_not",
    "roll",
    "flip",
    "repeat",
    "tril",
    "triu",
];

/// Operators whose results have the type of their first argument, whatever the indices are.
const PICK: [&str; 3] = ["index", "index_select", "gather"];

/// Operators that answer yes or no for each element.
const ANSWER: [&str; 11] =
    ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "logical_xor", "any"];

fn owned(machine: &mut Machine, mut given: Given, becomes: Becomes) -> Outcome<Value> {
    let asked = given.named.iter().position(|(name, _)| &**name == "requires_grad");
    let frozen = match asked.map(|place| given.named.remove(place).1).or(given.positional.get(1).cloned()) {
        Some(value) => !machine.truth(&value)?,
        None => false,
    };
    match given.positional.first() {
        None | Some(Value::None) => Ok(Value::None),
        Some(Value::Tensor(data)) => {
            let id = data.tensor.get();
            let Some(dtype) = machine.host.get(&id).map(|known| known.dtype) else {
                return machine.error("a module's parameters and buffers are made where the module is");
            };
            let shape = machine.shape(id).clone();
            let made = machine.host_tensor(shape, dtype, becomes);
            if let (true, Value::Tensor(reference)) = (frozen, &made) {
                machine.frozen.insert(reference.tensor.get());
            }
            Ok(made)
        }
        Some(other) => machine.error(format!("{} is no tensor", other.kind())),
    }
}

/// Functions whose results are of the default type where integers are given (aten/src/ATen/TensorIterator.h, build_unary_float_op and
/// build_borrowing_binary_float_op).
const GIVE_FLOATS: [&str; 12] =
    ["div", "pow", "log", "exp", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "reciprocal", "erf"];

impl Machine {
    fn host_tensor(&mut self, shape: Dims, dtype: Option<Dtype>, becomes: Becomes) -> Value {
        let tensor = TensorId(self.shapes.len() as u32);
        self.shapes.push(shape);
        self.host.insert(tensor, HostTensor { dtype, becomes });
        Value::Tensor(Rc::new(Reference { tensor: tensor.into(), tape: None }))
    }

    /// Another tensor like one that a module has, of the host or declared by a spec.
    pub(super) fn another_of_host(&mut self, tensor: TensorId) -> Option<Value> {
        let shape = self.shape(tensor).clone();
        match self.host.get(&tensor).copied() {
            Some(HostTensor { dtype, becomes }) => {
                let made = self.host_tensor(shape, dtype, becomes);
                if let (true, Value::Tensor(reference)) = (self.frozen.contains(&tensor), &made) {
                    self.frozen.insert(reference.tensor.get());
                }
                Some(made)
            }
            None => (self.on_host > 0).then(|| self.tensor(shape)),
        }
    }

    /// The type of a tensor of the host, where it has one of its own.
    pub(super) fn host_type_of(&self, tensor: TensorId) -> Option<Dtype> {
        self.host.get(&tensor)?.dtype
    }

    /// The results of an operator that runs on the host.
    pub(super) fn emit_on_host(
        &mut self,
        operator: &'static Operator,
        arguments: &[Argument],
        shapes: impl IntoIterator<Item = Dims>,
    ) -> Vec<Value> {
        let dtype = self.host_type(operator.name, arguments);
        shapes.into_iter().map(|shape| self.host_tensor(shape, dtype, Becomes::Nothing)).collect()
    }

    /// Whether an operator has tensors, and all of them are the host's.
    pub(super) fn all_on_host(&self, arguments: &[Argument]) -> bool {
        if self.host.is_empty() {
            return false;
        }
        let tensors: Vec<TensorId> = arguments.iter().flat_map(super::tensors_of).collect();
        !tensors.is_empty() && tensors.iter().all(|tensor| self.stays(*tensor).is_some())
    }

    /// What is known of a tensor that stays on the host, being neither a parameter nor a buffer.
    fn stays(&self, tensor: TensorId) -> Option<&HostTensor> {
        self.host.get(&tensor).filter(|_| !self.listed.contains(&tensor))
    }

    /// What tensors are of that code makes without a type: where modules are made the weights' type, else float32.
    pub(super) fn default_type(&self) -> DtypeArgument {
        if self.building > 0 { DtypeArgument::Weights } else { DtypeArgument::Fixed(Dtype::F32) }
    }

    /// Notes the type of an operator's result where the program says it.
    pub(super) fn note_type(&mut self, name: &str, arguments: &[Argument], output: TensorId) {
        let asked = arguments.iter().find_map(|argument| match argument {
            Argument::Dtype(dtype) => Some(self.known_type(*dtype)),
            _ => None,
        });
        let dtype = match asked {
            Some(DtypeArgument::Fixed(dtype)) => Some(dtype),
            Some(_) => None,
            None if ANSWER.contains(&name) => Some(Dtype::Bool),
            None if PICK.contains(&name) => self.common_type(&arguments[..1]),
            None if KEEP_THE_TYPE.contains(&name) => self.common_type(arguments),
            None => None,
        };
        if let Some(dtype) = dtype {
            self.types.insert(output, dtype);
        }
    }

    /// The one known type of all tensors among these.
    fn common_type(&self, arguments: &[Argument]) -> Option<Dtype> {
        let mut common = None;
        for argument in arguments {
            let dtype = match argument {
                Argument::Tensor(tensor) => *self.types.get(tensor)?,
                Argument::List(parts) if parts.iter().any(|part| matches!(part, Argument::Tensor(_))) => {
                    self.common_type(parts)?
                }
                _ => continue,
            };
            if common.is_some_and(|known| known != dtype) {
                return None;
            }
            common = Some(dtype);
        }
        common
    }

    /// A tensor of the host without dimensions is a number to an operator on the device (aten/src/ATen/TensorIterator.cpp, `is_cpu_scalar`).
    pub(super) fn take_number(&self, argument: &mut Argument) {
        if let Argument::Tensor(tensor) = argument
            && let Some(known) = self.stays(*tensor)
            && self.shape(*tensor).is_empty()
        {
            let is_float = known.dtype.is_none_or(Dtype::is_floating);
            *argument = if is_float { Argument::Float(0.0) } else { Argument::Int(0) };
        }
    }

    /// Indices of the host go to the device for as long as the operator runs (aten/src/ATen/native/TensorAdvancedIndexing.cpp, make_info).
    pub(super) fn take_indices(&mut self, name: &str, arguments: &mut [Argument]) -> Outcome<Vec<Value>> {
        let mut copies = Vec::new();
        if name != crate::ops::INDEX {
            return Ok(copies);
        }
        let mut indices: Vec<&mut Argument> = arguments.iter_mut().skip(1).collect();
        while let Some(argument) = indices.pop() {
            match argument {
                Argument::List(parts) => indices.extend(parts),
                Argument::Tensor(tensor) if self.stays(*tensor).is_some() => {
                    let host = Value::Tensor(Rc::new(Reference { tensor: (*tensor).into(), tape: None }));
                    let copy = on_device(self, Given { positional: vec![host], named: Vec::new() })?;
                    *argument = self.argument(&copy)?;
                    copies.push(copy);
                }
                _ => {}
            }
        }
        Ok(copies)
    }

    /// Refuses tensors of the host where the model runs.
    pub(super) fn refuse_host_tensors(&self, name: &str, arguments: &[Argument]) -> Outcome<()> {
        for argument in arguments {
            match argument {
                Argument::Tensor(tensor) if self.stays(*tensor).is_some() => {
                    return self
                        .error(format!("{name}: a tensor that is neither a parameter nor a buffer stays on the host"));
                }
                Argument::List(parts) => self.refuse_host_tensors(name, parts)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A type with what is known of the tensor that it is of.
    pub(super) fn settled(&self, dtype: DtypeArgument) -> DtypeArgument {
        let DtypeArgument::Of(tensor) = dtype else { return dtype };
        match self.host.get(&tensor) {
            Some(known) => known.dtype.map_or(DtypeArgument::Weights, DtypeArgument::Fixed),
            None => dtype,
        }
    }

    /// The same, with what is known of parameters and of the weights.
    pub(super) fn known_type(&self, dtype: DtypeArgument) -> DtypeArgument {
        let of_weights = self.weights.map_or(DtypeArgument::Weights, DtypeArgument::Fixed);
        match self.settled(dtype) {
            DtypeArgument::Of(tensor) if self.listed.contains(&tensor) => {
                let found = self.parameters.iter().find(|parameter| parameter.tensor == tensor);
                found.map_or(dtype, |parameter| parameter.dtype.map_or(of_weights, DtypeArgument::Fixed))
            }
            DtypeArgument::Weights => of_weights,
            DtypeArgument::Of(tensor) => self.types.get(&tensor).map_or(dtype, |known| DtypeArgument::Fixed(*known)),
            known => known,
        }
    }

    /// The type of a result on the host: the one that is asked for, else what the operator gives, else that of the first tensor.
    /// A division of integers gives floats of the default type, as does a range of floats (torch/_refs/__init__.py).
    fn host_type(&self, name: &str, arguments: &[Argument]) -> Option<Dtype> {
        let asked = arguments.iter().find_map(|argument| match argument {
            Argument::Dtype(DtypeArgument::Fixed(dtype)) => Some(Some(*dtype)),
            Argument::Dtype(DtypeArgument::Of(tensor)) => Some(self.host.get(tensor)?.dtype),
            Argument::Dtype(_) => Some(None),
            _ => None,
        });
        let is_float = |argument: &Argument| matches!(argument, Argument::Float(_));
        asked.unwrap_or_else(|| match name {
            "arange" => (!arguments.iter().any(is_float)).then_some(Dtype::I64),
            name if ANSWER.contains(&name) => Some(Dtype::Bool),
            "float" => Some(Dtype::F32),
            "long" => Some(Dtype::I64),
            _ => {
                let listed = arguments.iter().flat_map(|argument| match argument {
                    Argument::List(parts) => &parts[..],
                    single => std::slice::from_ref(single),
                });
                let tensors = listed.filter_map(|argument| match argument {
                    Argument::Tensor(tensor) => self.host.get(tensor),
                    _ => None,
                });
                let types: Vec<Option<Dtype>> = tensors.map(|known| known.dtype).collect();
                let floats = types.iter().find(|dtype| dtype.is_none_or(Dtype::is_floating));
                let mixes = GIVE_FLOATS.contains(&name) || arguments.iter().any(is_float);
                match floats {
                    Some(dtype) => *dtype,
                    None if mixes => None,
                    None => types.first().copied().flatten(),
                }
            }
        })
    }

    /// Registers what is assigned to a module while it is made: children, parameters, buffers.
    pub(super) fn register(&mut self, object: &Rc<Object>, name: &Arc<str>, value: &Value) -> Outcome<()> {
        if object.module.is_none() {
            return Ok(());
        }
        let mut owned = object.owned.borrow_mut();
        match value {
            Value::Tensor(reference) => {
                let Some(known) = self.host.get(&reference.tensor.get()) else { return Ok(()) };
                let dtype = known.dtype.map(FieldType::always);
                match known.becomes {
                    Becomes::Nothing => {}
                    Becomes::Parameter if owned.parameters.iter().any(|(known, _)| known == name) => {}
                    Becomes::Parameter => owned.parameters.push((name.clone(), dtype)),
                    Becomes::Buffer { .. } if owned.buffers.iter().any(|(known, ..)| known == name) => {}
                    Becomes::Buffer { persistent } => owned.buffers.push((name.clone(), dtype, persistent)),
                }
            }
            // an empty list has its place; where it gets no modules it goes when the module is made
            value if (is_child(value) || is_empty(value)) && !owned.children.contains(name) => {
                owned.children.push(name.clone())
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Sequence(values) if values.is_empty())
}

fn is_child(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.module.is_some(),
        Value::Sequence(values) => !values.is_empty() && values.iter().all(is_child),
        _ => false,
    }
}
