//! Layers whose weights a checkpoint stores quantised: which they are, what takes their place, and how the stored tensors
//! come to the device.
//!
//! ```text
//! quantization_config  ->  StoredLayers: all linear layers but those skipped, or those with these names
//!                      ->  stored_linear(layer, choices)                                specs/library/bitsandbytes.yaml, ...
//! headers              ->  Loading: the tensors in the order in which `from_pretrained` loads them
//! ```

use std::rc::Rc;
use std::sync::Arc;

use regex::Regex;
use rustc_hash::FxHashSet;

use super::build::join;
use super::call::Given;
use super::exchange::Meant;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Object, Value};
use super::{DtypeArgument, ModuleId, Quantized, TensorId};
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::interpret::Semantics;
use crate::read::spec::Architecture;

/// The layers of a model whose weights are stored quantised.
#[derive(Clone, Debug)]
pub struct StoredLayers {
    /// The spec's function that makes what takes a layer's place: `make(layer, choices)`.
    pub make: &'static str,
    /// What it is told beside the layer.
    pub choices: Vec<(&'static str, Choice)>,
    /// The classes of the layers that are meant.
    pub classes: &'static [&'static str],
    /// Which of them.
    pub which: Which,
    /// The form of their weights, where bitsandbytes quantised them.
    pub form: Option<Quantized>,
}

/// What `make` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A switch.
    Bool(bool),
    /// A number.
    Int(u64),
    /// A type; that of the run's weights where None is given.
    Dtype(Option<Dtype>),
}

/// Which layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All but those that match one of these patterns; None: but the output head, what is tied, and the last.
    AllBut(Option<Vec<String>>),
    /// Those at these paths.
    These(FxHashSet<String>),
}

/// How the tensors of a checkpoint come to the device: in sorted order, grouped by the parameter that they make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// What is allocated at first and let go at once, so that the allocator holds one large block
    /// (transformers 5.17.0, modeling_utils.py, `caching_allocator_warmup`).
    pub warmup: Bytes,
    /// The tensors in order.
    pub pieces: Vec<Piece>,
}

/// A tensor that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The parameter that it belongs to, by its position in the graph's list.
    pub parameter: u32,
    /// What it is to the parameter.
    pub role: Role,
    /// Its bytes on the device.
    pub bytes: Bytes,
}

/// What a stored tensor is to its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The parameter.
    Itself,
    /// Kept beside it, such as scales.
    Beside,
    /// Needed until the parameter is made.
    Passing,
    /// Needed until everything is loaded, such as a second copy of what is tied.
    Loading,
}

impl Machine {
    /// Exchanges the layers whose weights are stored quantised.
    pub(super) fn exchange_stored(
        &mut self,
        model: &Rc<Object>,
        stored: &StoredLayers,
        architecture: &Architecture,
        tied: bool,
    ) -> Outcome<()> {
        let make = self.global(&stored.make.into())?;
        let mut choices = Attributes::default();
        choices.extend(stored.choices.iter().map(|(name, choice)| (Arc::from(*name), choice.value())));
        let choices = Value::bag(choices);
        let skipped = match &stored.which {
            Which::These(_) => Vec::new(),
            Which::AllBut(Some(names)) => self.patterns(names)?,
            Which::AllBut(None) => {
                let names = skipped_by_default(model, architecture, tied);
                self.patterns(&names)?
            }
        };
        let is_meant = |path: &str, object: &Object| {
            let known = object.class.as_ref().is_some_and(|class| stored.classes.contains(&&*class.name));
            known
                && match &stored.which {
                    Which::These(paths) => paths.contains(path),
                    Which::AllBut(_) => !skipped.iter().any(|pattern| pattern.is_match(path)),
                }
        };
        let meant: Meant<'_> = &is_meant;
        let count = self.exchange(model, meant, &mut |machine, layer| {
            let positional = vec![layer, choices.clone()];
            let made = machine.call(make.clone(), Given { positional, named: Vec::new() })?;
            if let (Value::Object(object), Some(form)) = (&made, stored.form)
                && let Some(Value::Tensor(weight)) = object.attributes.borrow().get("weight")
            {
                machine.quantized.insert(weight.tensor.get(), form);
            }
            Ok(made)
        })?;
        if count == 0 { self.error("quantization_config: the model has no layer that it quantises") } else { Ok(()) }
    }

    /// What `should_convert_module` of transformers 5.17.0 matches (quantizers/quantizers_utils.py): a pattern that the path
    /// begins with, or its end as it stands.
    fn patterns(&self, names: &[String]) -> Outcome<Vec<Regex>> {
        let mut patterns = Vec::with_capacity(names.len());
        for name in names {
            match Regex::new(&format!("^(?:{name})|{}$", regex::escape(name))) {
                Ok(pattern) => patterns.push(pattern),
                Err(_) => {
                    let message = "quantization_config: a module to skip is no regular expression that can be used";
                    return self.error(format!("{message}: {}", crate::words::quote::quoted(name)));
                }
            }
        }
        Ok(patterns)
    }
}

impl Choice {
    fn value(self) -> Value {
        match self {
            Choice::Bool(flag) => Value::Bool(flag),
            Choice::Int(number) => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
            Choice::Dtype(None) => Value::Dtype(DtypeArgument::Weights),
            Choice::Dtype(Some(dtype)) => Value::Dtype(DtypeArgument::Fixed(dtype)),
        }
    }
}

/// What stays as it is where a config names no modules: tied parameters, the last parameter and the output embedding, each
/// without `.weight` (transformers 5.17.0, quantizers/base.py, `get_keys_to_not_convert`).
fn skipped_by_default(model: &Rc<Object>, architecture: &Architecture, tied: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, other) in &architecture.tied {
        // The layer whose weight may be tied to the embedding is the output embedding.
        names.extend(name.strip_suffix(".weight").map(str::to_owned));
        names.extend(tied.then(|| other.clone()));
    }
    let mut last = String::new();
    last_parameter(&Value::Object(model.clone()), "", &mut Seen::default(), &mut last);
    names.push(last);
    names.into_iter().map(|name| name.strip_suffix(".weight").map_or(name.clone(), str::to_owned)).collect()
}

/// What was come to before.
#[derive(Default)]
struct Seen {
    modules: FxHashSet<ModuleId>,
    tensors: FxHashSet<TensorId>,
}

/// The last of `model.named_parameters()`: a module's own before its children's, what is shared once
/// (torch/nn/modules/module.py, `named_modules` and `_named_members`).
fn last_parameter(value: &Value, path: &str, seen: &mut Seen, last: &mut String) {
    match value {
        Value::Sequence(children) => {
            for (number, child) in children.iter().enumerate() {
                last_parameter(child, &join(path, &number.to_string()), seen, last);
            }
        }
        Value::Object(object) => {
            let Some(module) = object.module else { return };
            if !seen.modules.insert(module) {
                return;
            }
            let (attributes, owned) = (object.attributes.borrow(), object.owned.borrow());
            for (name, _) in &owned.parameters {
                if let Some(Value::Tensor(reference)) = attributes.get(name)
                    && seen.tensors.insert(reference.tensor.get())
                {
                    *last = join(path, name);
                }
            }
            for name in &owned.children {
                if let Some(child) = attributes.get(name) {
                    last_parameter(child, &join(path, name), seen, last);
                }
            }
        }
        _ => {}
    }
}
