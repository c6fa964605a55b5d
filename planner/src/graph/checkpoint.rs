//! Checkpointed calls: what Python runs again in backward, and what it holds until then.
//!
//! The second run happens after the whole forward, on Python's objects as they are then: a cache that the first run filled is
//! filled again. So it is unrolled here, where `backward` is called, and not copied from the first run.

use std::rc::Rc;
use std::sync::Arc;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::unroll::Loop;
use super::value::{Object, Reference, Value};
use super::{Checkpoint, CheckpointId, ModuleId, ReentrantCall, Step, TensorId};
use crate::interpret::Semantics;
use crate::run::{Checkpointing, Region, SavedOperators};
use crate::versions::Change;

/// A checkpointed call whose backward is to come, with the references that its frame holds.
#[derive(Debug)]
pub struct Pending {
    id: CheckpointId,
    object: Rc<Object>,
    module: ModuleId,
    given: Given,
}

/// The arguments that transformers' layers put aside when they are checkpointed: they would be changed a second time
/// (transformers 4.57.6, 5.17.0 and 5.24.0, modeling_layers.py, `GradientCheckpointingLayer.__call__`).
const CACHES: [&str; 4] = ["use_cache", "past_key_values", "layer_past", "cache"];

impl Given {
    /// The same arguments for a frame: tensors by references that note no drop, since the frame's own hold is counted where
    /// the program runs; objects as they are.
    fn aside(&self, tensors: &mut Vec<TensorId>) -> Given {
        Given {
            positional: self.positional.iter().map(|value| aside(value, tensors)).collect(),
            named: self.named.iter().map(|(name, value)| (name.clone(), aside(value, tensors))).collect(),
        }
    }
}

fn aside(value: &Value, tensors: &mut Vec<TensorId>) -> Value {
    match value {
        Value::Tensor(reference) => {
            tensors.push(reference.tensor.get());
            Value::Tensor(Rc::new(Reference { tensor: reference.tensor.clone(), tape: None }))
        }
        Value::Sequence(values) => Value::sequence(values.iter().map(|value| aside(value, tensors)).collect()),
        other => other.clone(),
    }
}

impl Machine {
    /// Marks the modules whose calls are checkpointed.
    pub(super) fn choose_checkpoints(&mut self, model: &Rc<Object>, wanted: &Loop) -> Outcome<()> {
        let saved = wanted.checkpoint_save.clone().map(Arc::new);
        match &wanted.checkpoint {
            Checkpointing::Off => Ok(()),
            Checkpointing::Full => {
                self.switch_on(&Value::Object(model.clone()), &saved);
                // diffusers' models call each block through a function that they are given (0.42.1, models/modeling_utils.py)
                if model.attributes.borrow().contains_key("_gradient_checkpointing_func") {
                    self.saved_of_calls = saved;
                    return Ok(());
                }
                if self.rules.has(Change::CheckpointedInputsNeedGradients) {
                    self.input_embedding = first_embedding(&Value::Object(model.clone()));
                }
                if self.checkpointed.is_empty() {
                    return self.error("the architecture has no layers that transformers can checkpoint");
                }
                Ok(())
            }
            Checkpointing::Modules(regions) => {
                regions.iter().filter(|region| region.span().is_none()).try_for_each(|region| {
                    let saved = region.save.clone().map(Arc::new).or_else(|| saved.clone());
                    self.checkpoint_module(&region.path, saved, regions)
                })
            }
        }
    }

    /// transformers 5.17.0, modeling_utils.py, `_set_gradient_checkpointing`: every module that has the switch.
    fn switch_on(&mut self, value: &Value, saved: &Option<Arc<SavedOperators>>) {
        match value {
            Value::Sequence(values) => values.iter().for_each(|value| self.switch_on(value, saved)),
            Value::Object(object) => {
                let (Some(class), Some(module)) = (&object.class, object.module) else { return };
                if let Some(switch) = object.attributes.borrow_mut().get_mut("gradient_checkpointing") {
                    *switch = Value::Bool(true);
                }
                if class.is_checkpointing_layer {
                    self.checkpointed.insert(module, saved.clone());
                }
                for name in &object.owned.borrow().children {
                    let child = object.attributes.borrow().get(name).cloned();
                    child.iter().for_each(|child| self.switch_on(child, saved));
                }
            }
            _ => {}
        }
    }

    /// `self._gradient_checkpointing_func(block, *args)` of diffusers: this call of the block is checkpointed (0.42.1,
    /// models/modeling_utils.py, `enable_gradient_checkpointing`).
    pub(super) fn checkpointed_call(&mut self, mut given: Given) -> Outcome<Value> {
        let first = (!given.positional.is_empty()).then(|| given.positional.remove(0));
        let Some(Value::Object(object)) = first else {
            return self.error("a checkpoint of what is no module is not planned");
        };
        let Some(module) = object.module.filter(|_| given.named.is_empty()) else {
            return self.error("a checkpoint takes a module and its arguments without names");
        };
        self.checkpointed.insert(module, self.saved_of_calls.clone());
        let result = self.call_module(&object, given);
        self.checkpointed.remove(&module);
        result
    }

    /// transformers 5.17.0, modeling_utils.py, `enable_input_require_grads`: where checkpointing is switched on, the input
    /// embeddings' output needs a gradient, whether they are trained or not.
    pub(super) fn hook_input_embedding(&mut self, module: ModuleId, result: &Value) -> Outcome<()> {
        if self.input_embedding == Some(module) {
            self.emit_named("requires_grad_", vec![result.clone()])?;
        }
        Ok(())
    }

    fn checkpoint_module(&mut self, path: &str, saved: Option<Arc<SavedOperators>>, all: &[Region]) -> Outcome<()> {
        let Some(module) = self.modules.iter().position(|module| module.path == path && !path.is_empty()) else {
            return self.error(format!("checkpoint: there is no module `{path}`"));
        };
        let inside = |outer: &&Region| path.strip_prefix(&*outer.path).is_some_and(|rest| rest.starts_with('.'));
        if let Some(outer) = all.iter().find(inside) {
            let outer = &outer.path;
            return self.error(format!("checkpoint: `{path}` lies within `{outer}`, which is checkpointed as a whole"));
        }
        self.checkpointed.insert(ModuleId(module as u32), saved);
        Ok(())
    }

    /// Begins a checkpointed call, if this is one.
    pub(super) fn begin_checkpoint(
        &mut self,
        object: &Rc<Object>,
        module: ModuleId,
        given: &mut Given,
    ) -> Outcome<Option<CheckpointId>> {
        let Some(saves) = self.checkpointed.get(&module).cloned() else { return Ok(None) };
        let switched = matches!(object.attributes.borrow().get("gradient_checkpointing"), Some(Value::Bool(true)));
        for (name, value) in &mut given.named {
            if switched && CACHES.contains(&&**name) {
                *value = if &**name == "use_cache" { Value::Bool(false) } else { Value::None };
            }
        }
        let id = CheckpointId(self.checkpoints.len() as u32);
        // transformers hands `checkpoint` the layer with its named arguments bound; a module of one's own is handed as it is
        if let (true, false, Some((name, _))) = (self.reentrant, switched, given.named.first()) {
            let path = &self.modules[module.index()].path;
            return self.error(format!(
                "checkpoint: `{path}` is called with `{name}=`, and reentrant checkpoints take no named arguments \
                 (torch/utils/checkpoint.py): leave reentrant out"
            ));
        }
        let mut arguments = Vec::new();
        let given = given.aside(&mut arguments);
        let reentrant = self.reentrant.then(|| {
            let inputs: Vec<TensorId> = given.positional.iter().filter_map(Value::tensor).collect();
            arguments.retain(|tensor| !inputs.contains(tensor));
            ReentrantCall { inputs, ..ReentrantCall::default() }
        });
        self.checkpoints.push(Checkpoint { module, arguments, reentrant, saves, ..Checkpoint::default() });
        self.tape.record(Step::EnterCheckpoint(id));
        self.pending.push(Pending { id, object: object.clone(), module, given });
        Ok(Some(id))
    }

    /// Ends it.
    pub(super) fn end_checkpoint(&mut self, id: CheckpointId, result: &Value) -> Outcome<()> {
        let results = self.tensors_within(result)?;
        if let Some(call) = &mut self.checkpoints[id.index()].reentrant {
            call.results = results;
        }
        self.tape.record(Step::ExitCheckpoint(id));
        Ok(())
    }

    /// Unrolls the second runs of all calls whose backward has just been asked for, the last call first.
    pub(super) fn run_pending_again(&mut self) -> Outcome<()> {
        let pending = std::mem::take(&mut self.pending);
        let program = self.tape.take();
        let last = pending.last().map(|pending| pending.id);
        for Pending { id, object, module, given } in pending.into_iter().rev() {
            let result = self.forward(&object, module, given.clone())?;
            let recomputed = self.tensors_within(&result)?;
            // a reentrant call holds what its second run gave until it has gone backward through it
            let held = match &mut self.checkpoints[id.index()].reentrant {
                Some(call) => {
                    call.recomputed = recomputed;
                    Some(result)
                }
                None => {
                    drop(result);
                    None
                }
            };
            let recompute = self.tape.take();
            drop(held);
            drop(given);
            drop(object);
            let release = self.tape.take();
            let checkpoint = &mut self.checkpoints[id.index()];
            (checkpoint.recompute, checkpoint.release, checkpoint.last) = (recompute, release, last);
        }
        self.tape.put_back(program);
        Ok(())
    }
}

/// The first embedding of the tree: in all of transformers' models over token ids that of the tokens.
fn first_embedding(value: &Value) -> Option<ModuleId> {
    match value {
        Value::Sequence(values) => values.iter().find_map(first_embedding),
        Value::Object(object) => {
            let class = object.class.as_ref()?;
            // an imported class that derives from it has its constructor under that name
            if &*class.name == "Embedding" || class.methods.contains_key("Embedding_init") {
                return object.module;
            }
            let (attributes, owned) = (object.attributes.borrow(), object.owned.borrow());
            owned.children.iter().find_map(|name| attributes.get(name).and_then(first_embedding))
        }
        _ => None,
    }
}
