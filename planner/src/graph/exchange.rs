//! Modules that are exchanged once the tree is built: linear layers become quantised ones, and LoRA wraps layers.
//!
//! ```text
//! quantize   every Linear but the heads  ->  quantized_linear(linear, kind, nested)    specs/library/bitsandbytes.yaml
//! adapt      every module of a target's  ->  lora_layer(layer, lora)                   specs/library/peft.yaml
//! save       (saved.rs) every module that is trained whole
//! ```
//!
//! What takes a layer's place is written in those specs; here is only which layers are meant.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::build::{VISIT, join};
use super::call::Given;
use super::machine::{Machine, Outcome};
use super::saved::is_within;
use super::value::{Attributes, Object, Value};
use super::{DtypeArgument, Quantized, TensorId};
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};
use crate::read::spec::Architecture;
use crate::run::{ALL_LINEAR, Lora, QuantizedType};

/// The linear layers that stay as they are: output heads.
const HEADS: [&str; 3] = ["lm_head", "score", "classifier"];

/// The types of new tensors; None for that of the run's weights.
pub(super) type AdapterTypes = FxHashMap<TensorId, Option<Dtype>>;

/// What LoRA's adapters are.
#[derive(Default)]
pub(super) struct Adapters {
    /// The types that their parameters have at first.
    pub types: AdapterTypes,
    /// The parameters of layers whose weight is stored the other way round.
    pub transposed: FxHashSet<TensorId>,
    /// The biases of the layers that they adapt.
    pub biases: FxHashSet<TensorId>,
}

/// Decides about a module by its path, its own name and itself.
pub(super) type Meant<'a> = &'a dyn Fn(&str, &Object) -> bool;

/// Makes what takes a module's place.
pub(super) type Make<'a> = &'a mut dyn FnMut(&mut Machine, Value) -> Outcome<Value>;

impl Machine {
    /// Makes every linear layer but the heads a quantised one.
    pub(super) fn quantize(&mut self, model: &Rc<Object>, kind: QuantizedType, nested: bool) -> Outcome<()> {
        let make = self.global(&"quantized_linear".into())?;
        let word = if kind == QuantizedType::Int8 { "int8" } else { "4bit" };
        let quantized = if kind == QuantizedType::Int8 { Quantized::Int8 } else { Quantized::FourBit { nested } };
        let meant = |path: &str, object: &Object| {
            let name = path.rsplit('.').next().unwrap_or(path);
            object.class.as_ref().is_some_and(|class| &*class.name == "Linear") && !HEADS.contains(&name)
        };
        let count = self.exchange(model, &meant, &mut |machine, layer| {
            let first = machine.shapes.len();
            let positional = vec![layer, Value::Text(word.into()), Value::Bool(nested)];
            let made = machine.call(make.clone(), Given { positional, named: Vec::new() })?;
            machine.frozen.extend((first..machine.shapes.len()).map(|number| TensorId(number as u32)));
            if let Value::Object(object) = &made
                && let Some(Value::Tensor(weight)) = object.attributes.borrow().get("weight")
            {
                machine.quantized.insert(weight.tensor.get(), quantized);
            }
            Ok(made)
        })?;
        if count == 0 { self.error("quantize: the model has no linear layers beside its head") } else { Ok(()) }
    }

    /// Wraps the layers that LoRA's targets name, in the order of `model.named_modules()`, but for modules that are trained whole
    /// (peft 0.21.2, tuners/tuners_utils.py, `inject_adapter` and `check_target_module_exists`).
    pub(super) fn adapt(
        &mut self,
        model: &Rc<Object>,
        lora: &Lora,
        architecture: &Architecture,
        autocast: bool,
    ) -> Outcome<Adapters> {
        let make = self.global(&"lora_layer".into())?;
        let mut choices = Attributes::default();
        choices.insert("r".into(), Value::Int(lora.rank as i64));
        choices.insert("alpha".into(), Value::Float(lora.alpha));
        choices.insert("dropout".into(), Value::Float(lora.dropout));
        choices.insert("dora".into(), Value::Bool(lora.dora));
        choices.insert("autocast".into(), Value::Bool(autocast));
        let choices = Value::bag(choices);
        let heads = heads(model, architecture);
        let is_target = |target: &str, path: &str, object: &Object| match target {
            ALL_LINEAR => is_linear(object) && !heads.iter().any(|head| head == path),
            _ => ends_with(path, target),
        };
        for target in &lora.targets {
            let found = self.find_module(model, &|path, object| is_target(target, path, object));
            if !found {
                return self.error(format!("lora: the target `{target}` matches no module"));
            }
        }
        let meant = |path: &str, object: &Object| {
            !is_within(path, &lora.saved) && lora.targets.iter().any(|target| is_target(target, path, object))
        };
        let mut adapters = Adapters::default();
        let count = self.exchange(model, &meant, &mut |machine, layer| {
            let first = machine.shapes.len();
            adapters.biases.extend(bias(&layer));
            let (followed, transposed) = (followed_type(&layer), class_of(&layer).as_deref() == Some("Conv1D"));
            let positional = vec![layer, choices.clone()];
            let made = machine.call(make.clone(), Given { positional, named: Vec::new() })?;
            let made_now = (first..machine.shapes.len()).map(|number| TensorId(number as u32));
            adapters.types.extend(made_now.clone().map(|tensor| (tensor, followed)));
            adapters.transposed.extend(made_now.filter(|_| transposed));
            Ok(made)
        })?;
        match count {
            0 => self.error("lora: all targets are among modules_to_save: nothing is left to adapt"),
            _ => Ok(adapters),
        }
    }

    pub(super) fn find_module(&mut self, model: &Rc<Object>, meant: Meant<'_>) -> bool {
        let found = std::cell::Cell::new(false);
        let looks = |path: &str, object: &Object| {
            found.set(found.get() || meant(path, object));
            false
        };
        self.exchange(model, &looks, &mut |_, layer| Ok(layer)).is_ok() && found.get()
    }

    /// Exchanges the modules below `model` that are meant; gives how many there were.
    pub(super) fn exchange(&mut self, model: &Rc<Object>, meant: Meant<'_>, make: Make<'_>) -> Outcome<usize> {
        let mut count = 0;
        self.exchange_children(model, "", meant, &mut |machine, value| {
            count += 1;
            make(machine, value)
        })?;
        Ok(count)
    }

    fn exchange_children(&mut self, object: &Rc<Object>, path: &str, meant: Meant<'_>, make: Make<'_>) -> Outcome<()> {
        if object.module.is_none() {
            return Ok(());
        }
        for name in &object.owned.borrow().children {
            let Some(child) = object.attributes.borrow().get(name).cloned() else { continue };
            if let Some(new) = self.exchanged(child, &join(path, name), meant, make)? {
                let old = object.attributes.borrow_mut().insert(name.clone(), new);
                drop(old);
            }
        }
        Ok(())
    }

    /// What takes the place of a child; None where it stays.
    fn exchanged(&mut self, child: Value, path: &str, meant: Meant<'_>, make: Make<'_>) -> Outcome<Option<Value>> {
        self.spend(VISIT)?;
        match &child {
            Value::Object(object) if object.module.is_some() && meant(path, object) => make(self, child).map(Some),
            Value::Object(object) => self.exchange_children(object, path, meant, make).map(|()| None),
            Value::Sequence(children) => {
                let mut new = Vec::with_capacity(children.len());
                let mut changed = false;
                for (number, child) in children.iter().enumerate() {
                    let exchanged = self.exchanged(child.clone(), &join(path, &number.to_string()), meant, make)?;
                    changed |= exchanged.is_some();
                    new.push(exchanged.unwrap_or_else(|| child.clone()));
                }
                Ok(changed.then(|| Value::sequence(new)))
            }
            _ => Ok(None),
        }
    }
}

/// The class of a module.
fn class_of(module: &Value) -> Option<Arc<str>> {
    let Value::Object(module) = module else { return None };
    Some(module.class.as_ref()?.name.clone())
}

/// The bias of a layer that has one.
fn bias(layer: &Value) -> Option<TensorId> {
    let Value::Object(layer) = layer else { return None };
    match layer.attributes.borrow().get("bias") {
        Some(Value::Tensor(bias)) => Some(bias.tensor.get()),
        _ => None,
    }
}

/// The type that a layer's adapters follow, if it is not that of the run's weights: what a layer in 4 bits computes in; none
/// that is an integer, so that they stay as they are made
/// (peft 0.21.2, tuners/tuners_utils.py, `_move_adapter_to_device_of_base_layer`).
fn followed_type(layer: &Value) -> Option<Dtype> {
    let Value::Object(layer) = layer else { return None };
    let class = layer.class.as_ref()?;
    match (&*class.name, layer.attributes.borrow().get("compute_dtype")) {
        ("Linear8bitLt", _) => Some(Dtype::F32),
        (_, Some(Value::Dtype(DtypeArgument::Fixed(dtype)))) => Some(*dtype),
        _ => None,
    }
}

/// The modules that `all-linear` leaves out: the output embedding, whose weight is the one that may be tied; of a classifier
/// without one its head (peft 0.21.2, tuners/tuners_utils.py, `_maybe_include_all_linear_layers`; utils/constants.py,
/// `SEQ_CLS_HEAD_NAMES`).
fn heads(model: &Rc<Object>, architecture: &Architecture) -> Vec<String> {
    let outputs: Vec<&str> = architecture.tied.iter().filter_map(|(name, _)| name.strip_suffix(".weight")).collect();
    if !outputs.is_empty() || !architecture.name.ends_with("ForSequenceClassification") {
        return outputs.into_iter().map(str::to_owned).collect();
    }
    let attributes = model.attributes.borrow();
    let head = ["score", "classifier"].into_iter().find(|name| attributes.contains_key(*name));
    head.into_iter().map(str::to_owned).collect()
}

/// Whether it is a linear layer to peft: `torch.nn.Linear`, what derives from it in bitsandbytes, transformers' `Conv1D`.
fn is_linear(object: &Object) -> bool {
    let class = object.class.as_ref().map(|class| &*class.name);
    class.is_some_and(|class| ["Linear", "Conv1D", "Linear4bit", "Linear8bitLt"].contains(&class))
}

fn ends_with(path: &str, target: &str) -> bool {
    path.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
