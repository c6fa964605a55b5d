//! Calls that hooks see: those of the model and of its blocks, with the tensors among their arguments and results.
//!
//! PyTorch hands hooks what `torch.utils._pytree` flattens: tuples, dictionaries and a model's output; caches are opaque.

use super::machine::Machine;
use super::value::Value;
use super::{Call, CallId, ModuleId, Step, TensorId};

impl Machine {
    /// Notes that a call of the model or of a block begins.
    pub(super) fn begin_call(&mut self, module: ModuleId, arguments: &[Value]) -> Option<CallId> {
        if module != ModuleId(0) && !self.modules[module.index()].block {
            return None;
        }
        let call = CallId(self.calls.len() as u32);
        let mut tensors = Vec::new();
        arguments.iter().for_each(|argument| flatten(argument, &mut tensors));
        self.calls.push(Call { module, arguments: tensors, results: Vec::new() });
        self.tape.record(Step::EnterCall(call));
        Some(call)
    }

    /// Notes that it has returned.
    pub(super) fn end_call(&mut self, call: CallId, result: &Value) {
        flatten(result, &mut self.calls[call.index()].results);
        self.tape.record(Step::ExitCall(call));
    }
}

/// The tensors within a value, each once.
pub(super) fn flatten(value: &Value, tensors: &mut Vec<TensorId>) {
    match value {
        Value::Tensor(reference) if !tensors.contains(&reference.tensor.get()) => tensors.push(reference.tensor.get()),
        Value::Sequence(values) => values.iter().for_each(|value| flatten(value, tensors)),
        Value::Dictionary(entries) => entries.values().for_each(|value| flatten(value, tensors)),
        Value::Object(bag) if bag.class.is_none() => {
            bag.attributes.borrow().values().for_each(|value| flatten(value, tensors));
        }
        _ => {}
    }
}
