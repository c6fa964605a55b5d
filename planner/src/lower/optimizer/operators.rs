//! Operators on tensors in an optimizer's code, without autograd: methods, attributes, and operators over lists.
//!
//! What ends with an underscore works in place and allocates nothing; the rest gives new tensors. Numbers stand for
//! tensors on the host.

use smallvec::smallvec;

use super::machine::{Machine, Outcome};
use super::value::{Given, Handle, Value};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::context::{Context, detach};
use crate::lower::kernels::foreach;
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::{Tensor, TensorData};
use crate::ops;

/// Functions of tensors whose result is laid out as TensorIterator does (aten/src/ATen/native/BinaryOps.cpp, UnaryOps.cpp,
/// PointwiseOps.cpp, Lerp.cpp).
const ELEMENTWISE: [&str; 17] = [
    "abs",
    "add",
    "addcdiv",
    "addcmul",
    "clamp",
    "clone",
    "div",
    "lerp",
    "maximum",
    "mul",
    "neg",
    "pow",
    "reciprocal",
    "rsqrt",
    "sqrt",
    "square",
    "sub",
];

/// Operators over lists that give a new tensor for each (torch/csrc/../foreach: one result a tensor, in the list's order).
const FOREACH: [&str; 11] = [
    "_foreach_abs",
    "_foreach_add",
    "_foreach_addcmul",
    "_foreach_div",
    "_foreach_mul",
    "_foreach_neg",
    "_foreach_pow",
    "_foreach_sqrt",
    "_foreach_sub",
    "_foreach_clone",
    "_foreach_lerp",
];

impl Machine<'_> {
    /// Runs something on behalf of a parameter, where the parameter lies.
    pub(super) fn on_behalf<T>(&mut self, owner: Option<u32>, run: impl FnOnce(&mut Context) -> T) -> T {
        let context = &mut *self.context;
        let Some(leaf) = owner.map(|owner| context.training.trained[owner as usize].leaf.clone()) else {
            return run(context);
        };
        let here = |context: &mut Context| super::where_parameters_lie(context, run);
        context.within(leaf.module, |context| context.for_parameter(leaf.parameter, here))
    }

    /// A method of a tensor, or the function of that name: the tensor is the first argument.
    pub(super) fn call_operator(&mut self, name: &str, given: Given) -> Outcome<Value> {
        if name.ends_with('_') {
            let first = given.positional.into_iter().next().unwrap_or_default();
            return Ok(if name.starts_with("_foreach") { Value::None } else { first });
        }
        if let Some(out) = given.named("out") {
            return Ok(out.clone());
        }
        if let Some(op) = ELEMENTWISE.iter().find(|known| **known == name) {
            return self.elementwise(op, &given.positional);
        }
        if let Some(op) = FOREACH.iter().find(|known| **known == name) {
            return self.foreach(op, &given);
        }
        let first = given.at(0)?;
        match name {
            "_foreach_norm" => self.foreach_norm(first),
            "stack" => self.stack(first),
            "item" => Ok(Value::Number(1.0)),
            "detach" => {
                let Handle { tensor, owner } = first.tensor()?;
                Ok(Value::Tensor(Handle { tensor: detach(tensor), owner: *owner }))
            }
            "dim" => Ok(Value::Number(first.tensor()?.tensor.sizes.len() as f64)),
            "numel" => Ok(Value::Number(first.tensor()?.tensor.count() as f64)),
            "size" => {
                let sizes = &first.tensor()?.tensor.sizes;
                Ok(Value::Number(sizes[dimension(given.at(1)?, sizes.len())?] as f64))
            }
            "to" => match given.at(1)? {
                Value::Dtype(dtype) => self.to(first, *dtype),
                other => Err(format!("a type was expected, not {}", other.kind())),
            },
            "bfloat16" => self.to(first, Dtype::BF16),
            "float" => self.to(first, Dtype::F32),
            "double" => self.to(first, Dtype::F64),
            "norm" => self.reduce("linalg_vector_norm", Reduction::Norm, &given),
            "mean" => self.reduce("mean", Reduction::Mean, &given),
            "addmm" => {
                let [input, a, b] = [first, given.at(1)?, given.at(2)?].map(|value| value.tensor().cloned());
                let (input, a, b) = (input?, a?, b?);
                let tensor = self.on_behalf(a.owner, |c| ops::addmm(c, &input.tensor, &a.tensor, &b.tensor));
                Ok(Value::Tensor(Handle { tensor, owner: a.owner }))
            }
            _ => Err(format!("no operator is called `{name}`")),
        }
    }

    fn to(&mut self, value: &Value, dtype: Dtype) -> Outcome<Value> {
        let Handle { tensor, owner } = value.tensor()?;
        if tensor.dtype == dtype {
            return Ok(value.clone());
        }
        let tensor = self.on_behalf(*owner, |context| ops::cast(context, tensor, dtype));
        Ok(Value::Tensor(Handle { tensor, owner: *owner }))
    }

    pub(super) fn elementwise(&mut self, op: &'static str, operands: &[Value]) -> Outcome<Value> {
        let handles: Vec<&Handle> =
            operands.iter().filter_map(|v| if let Value::Tensor(handle) = v { Some(handle) } else { None }).collect();
        if handles.is_empty() {
            return Err(format!("{op}: a tensor was expected"));
        }
        let owner = handles.iter().find_map(|handle| handle.owner);
        let tensors: Vec<&Tensor> = handles.iter().map(|handle| &handle.tensor).collect();
        let dtype = ops::common_type(&tensors);
        let tensor = self.on_behalf(owner, |context| ops::elementwise(context, op, &tensors, dtype));
        Ok(Value::Tensor(Handle { tensor, owner }))
    }

    /// One result a tensor of the first list that there is; `_foreach_pow(number, tensors)` has it second.
    fn foreach(&mut self, op: &'static str, given: &Given) -> Outcome<Value> {
        let lists: Vec<&Vec<Value>> = given
            .positional
            .iter()
            .filter_map(|v| if let Value::List(list) = v { Some(&***list) } else { None })
            .collect();
        let Some(first) = lists.first() else { return Err(format!("{op}: a list was expected")) };
        let mut results = Vec::with_capacity(first.len());
        for number in 0..first.len() {
            let operands: Vec<Value> = lists.iter().filter_map(|list| list.get(number).cloned()).collect();
            results.push(self.elementwise(op, &operands)?);
        }
        Ok(Value::list(results))
    }

    fn foreach_norm(&mut self, list: &Value) -> Outcome<Value> {
        let tensors = list.elements()?;
        let Some(first) = tensors.first() else { return Ok(Value::list(Vec::new())) };
        let dtype = first.tensor()?.tensor.dtype;
        let sizes = tensors.iter().map(|t| Ok(t.tensor()?.tensor.count())).collect::<Outcome<Vec<u64>>>()?;
        let steps = foreach::norm(self.context.device.rules, &sizes, dtype);
        let storages = self.context.scratch("_foreach_norm", &steps);
        let scalar = |storage| {
            Value::Tensor(Handle { tensor: TensorData::new(storage, dtype, smallvec![], smallvec![]), owner: None })
        };
        Ok(Value::list(storages.into_iter().map(scalar).collect()))
    }

    fn stack(&mut self, list: &Value) -> Outcome<Value> {
        let tensors = list.elements()?.iter().map(|t| Ok(&t.tensor()?.tensor)).collect::<Outcome<Vec<_>>>()?;
        let Some(first) = tensors.first() else { return Err("stack: the list is empty".to_owned()) };
        let sizes: Dims = std::iter::once(tensors.len() as u64).chain(first.sizes.iter().copied()).collect();
        let dtype = ops::common_type(&tensors);
        Ok(Value::Tensor(Handle { tensor: self.context.empty("stack", &sizes, dtype), owner: None }))
    }

    fn reduce(&mut self, op: &'static str, kind: Reduction, given: &Given) -> Outcome<Value> {
        let Handle { tensor, owner } = given.at(0)?.tensor()?;
        let mut marks = vec![true; tensor.sizes.len()];
        if let Some(dim) = given.named("dim") {
            marks.fill(false);
            marks[dimension(dim, tensor.sizes.len())?] = true;
        }
        let keepdim = given.named("keepdim").map_or(Ok(false), Value::truth)?;
        let reduced = |context: &mut Context| ops::reduce(context, op, kind, tensor, &marks, keepdim, tensor.dtype);
        let tensor = self.on_behalf(*owner, reduced);
        Ok(Value::Tensor(Handle { tensor, owner: *owner }))
    }
}

fn dimension(dim: &Value, count: usize) -> Outcome<usize> {
    let dim = dim.number()?;
    let place = if dim < 0.0 { dim + count as f64 } else { dim };
    if place >= 0.0 && (place as usize) < count {
        return Ok(place as usize);
    }
    Err(format!("a tensor of {count} dimensions has no dimension {dim}"))
}
