//! Functions that an optimizer's code finds ready: tensors made anew, states, groups, lists.

use std::rc::Rc;

use super::machine::{Machine, Outcome};
use super::value::{Given, Handle, Value};
use crate::dtype::Dtype;
use crate::interpret::Interpreter;
use crate::lower::tensor::TensorData;
use crate::read::spec::changes::is_since;

impl Machine<'_> {
    pub(super) fn call_builtin(&mut self, name: &str, given: Given) -> Outcome<Value> {
        match name {
            "len" => Ok(Value::Number(given.at(0)?.elements()?.len() as f64)),
            "range" => {
                let count = given.at(0)?.number()?.clamp(0.0, 1e6) as u64;
                self.spend_elements(count as usize)?;
                Ok(Value::list((0..count).map(|number| Value::Number(number as f64)).collect()))
            }
            "zip" => zip(&given),
            "min" => Ok(Value::Number(given.at(0)?.number()?.min(given.at(1)?.number()?))),
            "max" => Ok(Value::Number(given.at(0)?.number()?.max(given.at(1)?.number()?))),
            "require" => match given.at(0)?.truth()? {
                true => Ok(Value::None),
                false => {
                    self.placed = true;
                    let name = &self.optimizer.name;
                    Err(if let Value::Text(text) = given.at(1)? { format!("{name}: {text}") } else { name.clone() })
                }
            },
            "since" => match given.at(0)? {
                Value::Text(text) => is_since(self.context.device.rules, text).map(Value::Bool),
                _ => Err("a library and its release are expected: since(\"torch 2.13\")".to_owned()),
            },
            "is_offloaded" => Ok(Value::Bool(self.context.optimizes_on_host())),
            "is_sharded" => Ok(Value::Bool(self.context.settings.is_sharded())),
            "state" => self.state(given.at(0)?),
            "grouped" => grouped(given.at(0)?),
            "zeros" | "full" => {
                let sizes = given.at(0)?.sizes()?;
                let dtype = dtype(&given, 1)?.unwrap_or(Dtype::F32);
                let owner = given.named("like").and_then(|like| like.tensor().ok()).and_then(|handle| handle.owner);
                let op = if name == "zeros" { "zeros" } else { "full" };
                let tensor = self.on_behalf(owner, |context| context.empty(op, &sizes, dtype));
                Ok(Value::Tensor(Handle { tensor, owner }))
            }
            "zeros_like" | "empty_like" | "full_like" => {
                let op = ["zeros_like", "empty_like", "full_like"].into_iter().find(|op| *op == name);
                self.like(op.unwrap_or("zeros_like"), &given)
            }
            "paged" => self.paged(&given),
            "copy" => {
                let Handle { tensor, owner } = given.at(0)?.tensor()?;
                let tensor = self.on_behalf(*owner, |context| context.empty_like("_to_copy", tensor));
                Ok(Value::Tensor(Handle { tensor, owner: *owner }))
            }
            _ => self.call_operator(name, given),
        }
    }

    fn like(&mut self, op: &'static str, given: &Given) -> Outcome<Value> {
        let Handle { tensor, owner } = given.at(0)?.tensor()?;
        let dtype = dtype(given, 1)?.unwrap_or(tensor.dtype);
        let tensor = self.on_behalf(*owner, |context| context.empty_like_as(op, tensor, dtype));
        Ok(Value::Tensor(Handle { tensor, owner: *owner }))
    }

    /// Managed memory, which lies on the host until it is used (bitsandbytes/functional.py, `get_paged`).
    fn paged(&mut self, given: &Given) -> Outcome<Value> {
        let like = given.at(0)?.tensor()?;
        let dtype = dtype(given, 1)?.unwrap_or(Dtype::F32);
        let bytes = like.tensor.count() * dtype.size();
        let storage = self.on_behalf(like.owner, |context| context.on_host(|host| host.allocate("get_paged", bytes)));
        let tensor = TensorData::new(storage, dtype, like.tensor.sizes.clone(), like.tensor.strides.clone());
        Ok(Value::Tensor(Handle { tensor, owner: like.owner }))
    }

    /// `self.state[p]`: what the optimizer keeps for a parameter.
    fn state(&mut self, parameter: &Value) -> Outcome<Value> {
        let owner = parameter.tensor()?.owner.ok_or("state is kept for parameters alone")?;
        Ok(Value::Object(self.context.training.states.entry(owner).or_default().clone()))
    }
}

fn dtype(given: &Given, position: usize) -> Outcome<Option<Dtype>> {
    match given.get(position, "dtype") {
        None | Some(Value::None) => Ok(None),
        Some(Value::Dtype(dtype)) => Ok(Some(*dtype)),
        Some(other) => Err(format!("a type was expected, not {}", other.kind())),
    }
}

fn zip(given: &Given) -> Outcome<Value> {
    let lists = given.positional.iter().map(|list| Ok(list.elements()?.clone())).collect::<Outcome<Vec<Rc<_>>>>()?;
    let shortest = lists.iter().map(|list| list.len()).min().unwrap_or(0);
    let tuple = |number: usize| Value::list(lists.iter().map(|list| list[number].clone()).collect());
    Ok(Value::list((0..shortest).map(tuple).collect()))
}

/// The tensors of a list by their types (torch/utils/_foreach_utils.py, `_group_tensors_by_device_and_dtype`). The map that
/// PyTorch builds them in is a C++ hash table, which gives the types back in the reverse order of their appearance
/// (torch/csrc/../ForeachUtils.h).
fn grouped(list: &Value) -> Outcome<Value> {
    let mut groups: Vec<(Dtype, Vec<Value>)> = Vec::new();
    for value in list.elements()?.iter() {
        let dtype = value.tensor()?.tensor.dtype;
        match groups.iter_mut().find(|(known, _)| *known == dtype) {
            Some((_, group)) => group.push(value.clone()),
            None => groups.push((dtype, vec![value.clone()])),
        }
    }
    Ok(Value::list(groups.into_iter().rev().map(|(_, group)| Value::list(group)).collect()))
}
