//! Modules that are trained whole beside adapters, as copies (peft 0.21.2, utils/other.py, `ModulesToSaveWrapper`).
//!
//! ```text
//! every module of `modules_to_save`  ->  ModulesToSaveWrapper(module, its deep copy)      specs/library/peft.yaml
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::build::VISIT;
use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Object, Value};
use super::{ModuleId, TensorId};
use crate::interpret::{Interpreter, Semantics};

/// What a module's copy has for each of its tensors.
type Copies = FxHashMap<TensorId, Value>;

/// Whether one of the names is a name of the module or of one that it lies in: adapters pass over those
/// (peft 0.21.2, tuners/tuners_utils.py, `check_target_module_exists`).
pub(super) fn is_within(path: &str, names: &[String]) -> bool {
    let dotted = format!(".{path}.");
    names.iter().any(|name| dotted.contains(&format!(".{name}.")))
}

impl Machine {
    /// Puts a wrapper with a copy in the place of every module whose path ends with one of these names; gives the tensors of
    /// the modules that were copied (peft 0.21.2, utils/other.py, `_set_trainable`).
    pub(super) fn save(&mut self, model: &Rc<Object>, names: &[String]) -> Outcome<FxHashSet<TensorId>> {
        let make = self.global(&"ModulesToSaveWrapper".into())?;
        for name in names {
            if !self.find_module(model, &|path, _| path.ends_with(name.as_str())) {
                return self.error(format!("lora: modules_to_save: `{name}` matches no module: leave it out"));
            }
        }
        let meant = |path: &str, _: &Object| names.iter().any(|name| path.ends_with(name.as_str()));
        let mut copied = FxHashSet::default();
        self.exchange(model, &meant, &mut |machine, original| {
            if let Value::Object(object) = &original
                && machine.find_module(object, &meant)
            {
                return machine.error("lora: modules_to_save: a module lies within another: leave the inner one out");
            }
            let mut copies = Copies::default();
            let copy = machine.copied(&original, &mut copies)?;
            copied.extend(copies.into_keys());
            machine.call(make.clone(), Given { positional: vec![original, copy], named: Vec::new() })
        })?;
        Ok(copied)
    }

    /// Python's `copy.deepcopy` of a module: what it holds itself is copied before its children, a tensor with two names once.
    fn copied(&mut self, value: &Value, copies: &mut Copies) -> Outcome<Value> {
        self.spend(VISIT)?;
        let (object, module) = match value {
            Value::Sequence(values) => {
                let all: Outcome<_> = values.iter().map(|value| self.copied(value, copies)).collect();
                return all.map(Value::sequence);
            }
            Value::Object(object) => match object.module {
                Some(module) => (object, module),
                None => return Ok(value.clone()),
            },
            _ => return Ok(value.clone()),
        };
        let Some(class) = object.class.clone() else { return Ok(value.clone()) };
        self.check_saved(module)?;
        let made = self.new_module(&class, String::new())?;
        let mut attributes = object.attributes.borrow().clone();
        let owned = object.owned.borrow().clone();
        let parameters = owned.parameters.iter().map(|(name, _)| name);
        for name in parameters.chain(owned.buffers.iter().map(|(name, ..)| name)) {
            if let Some(Value::Tensor(reference)) = attributes.get(name) {
                let copy = self.copied_tensor(reference.tensor.get(), copies)?;
                attributes.insert(name.clone(), copy);
            }
        }
        for name in &owned.children {
            if let Some(child) = attributes.get(name).cloned() {
                let copy = self.copied(&child, copies)?;
                attributes.insert(name.clone(), copy);
            }
        }
        let copy = Object {
            class: Some(class),
            module: Some(made),
            attributes: RefCell::new(attributes),
            owned: RefCell::new(owned),
            height: Cell::new(None),
        };
        copy.settle();
        Ok(Value::Object(Rc::new(copy)))
    }

    fn copied_tensor(&mut self, tensor: TensorId, copies: &mut Copies) -> Outcome<Value> {
        if self.frozen.contains(&tensor) {
            return self.error("lora: modules_to_save: a module whose weights are quantised cannot be trained");
        }
        let shape = self.shape(tensor).clone();
        Ok(copies.entry(tensor).or_insert_with(|| self.tensor(shape)).clone())
    }

    /// What peft refuses to save: an adapted layer, or what is a part of one.
    fn check_saved(&self, module: ModuleId) -> Outcome<()> {
        let adapter = self.adapters.contains(&module.index());
        let refused = "lora: modules_to_save: a module that is adapted cannot be trained whole: say its full name there, or \
                       leave it out of the targets";
        if adapter { self.error(refused) } else { Ok(()) }
    }
}
