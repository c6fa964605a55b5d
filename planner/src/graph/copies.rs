//! `copy.deepcopy(module)`: another tree of modules, whose parameters and buffers are tensors of their own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::TensorId;
use super::build::VISIT;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Object, Value};
use crate::interpret::Interpreter;

/// What has been copied: a tensor or an object that is met again is the same copy.
#[derive(Default)]
struct Copies {
    tensors: FxHashMap<TensorId, Value>,
    objects: FxHashMap<*const Object, Value>,
}

impl Machine {
    /// A copy of a value with all that it holds; what is no module, list or tensor of the host never changes, and stays.
    pub(super) fn deep_copy(&mut self, value: &Value) -> Outcome<Value> {
        self.copy_within(value, &mut Copies::default())
    }

    fn copy_within(&mut self, value: &Value, copies: &mut Copies) -> Outcome<Value> {
        self.spend(VISIT)?;
        match value {
            Value::Tensor(reference) => {
                let tensor = reference.tensor.get();
                if let Some(known) = copies.tensors.get(&tensor) {
                    return Ok(known.clone());
                }
                let Some(made) = self.another_of_host(tensor) else { return Ok(value.clone()) };
                copies.tensors.insert(tensor, made.clone());
                Ok(made)
            }
            Value::Sequence(values) => {
                let copied = values.iter().map(|value| self.copy_within(value, copies)).collect::<Outcome<Vec<_>>>()?;
                Ok(Value::sequence(copied))
            }
            Value::Object(object) => match (object.module, &object.class) {
                (Some(_), Some(class)) => {
                    if let Some(known) = copies.objects.get(&Rc::as_ptr(object)) {
                        return Ok(known.clone());
                    }
                    let module = Some(self.new_module(class, String::new())?);
                    let attributes: Vec<_> =
                        object.attributes.borrow().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                    let mut copied = Attributes::default();
                    for (name, value) in attributes {
                        copied.insert(name, self.copy_within(&value, copies)?);
                    }
                    let made = Value::Object(Rc::new(Object {
                        class: object.class.clone(),
                        module,
                        attributes: RefCell::new(copied),
                        owned: RefCell::new(object.owned.borrow().clone()),
                        height: Cell::new(object.height.get()),
                    }));
                    copies.objects.insert(Rc::as_ptr(object), made.clone());
                    Ok(made)
                }
                _ => Ok(value.clone()),
            },
            other => Ok(other.clone()),
        }
    }
}
