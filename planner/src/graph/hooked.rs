//! Calls that hooks see: those of the model and of its blocks, with the tensors among their arguments and results.
//!
//! PyTorch hands hooks what `torch.utils._pytree` flattens: tuples, dictionaries and a model's output; caches are opaque.

use super::machine::{Machine, Outcome};
use super::value::Value;
use super::{Call, CallId, ModuleId, Step, TensorId};
use crate::interpret::Interpreter;

impl Machine {
    /// Notes that a call of the model or of a block begins.
    pub(super) fn begin_call(&mut self, module: ModuleId, arguments: &[Value]) -> Outcome<Option<CallId>> {
        if module != ModuleId(0) && !self.modules[module.index()].block {
            return Ok(None);
        }
        let call = CallId(self.calls.len() as u32);
        let mut tensors = Vec::new();
        arguments.iter().try_for_each(|argument| self.flatten(argument, &mut tensors))?;
        self.calls.push(Call { module, arguments: tensors, results: Vec::new() });
        self.tape.record(Step::EnterCall(call));
        Ok(Some(call))
    }

    /// Notes that it has returned.
    pub(super) fn end_call(&mut self, call: CallId, result: &Value) -> Outcome<()> {
        self.calls[call.index()].results = self.tensors_within(result)?;
        self.tape.record(Step::ExitCall(call));
        Ok(())
    }

    /// The tensors within a value, each once.
    pub(super) fn tensors_within(&mut self, value: &Value) -> Outcome<Vec<TensorId>> {
        let mut tensors = Vec::new();
        self.flatten(value, &mut tensors)?;
        Ok(tensors)
    }

    fn flatten(&mut self, value: &Value, tensors: &mut Vec<TensorId>) -> Outcome<()> {
        self.spend(1)?;
        match value {
            Value::Tensor(reference) => {
                self.spend(tensors.len())?;
                let tensor = reference.tensor.get();
                if !tensors.contains(&tensor) {
                    tensors.push(tensor);
                }
                Ok(())
            }
            Value::Sequence(values) => values.iter().try_for_each(|value| self.flatten(value, tensors)),
            Value::Dictionary(entries) => entries.values().try_for_each(|value| self.flatten(value, tensors)),
            Value::Object(bag) if bag.class.is_none() => {
                bag.attributes.borrow().values().try_for_each(|value| self.flatten(value, tensors))
            }
            _ => Ok(()),
        }
    }
}
