//! Unrolls a model's program: builds the module tree, then runs the loop of the chosen mode over it.

use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::call::Given;
use super::exchange::Adapters;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Object, Value};
use super::{DtypeArgument, Graph, GraphError, Origin, StoredLayers};
use crate::dtype::Dtype;
use crate::interpret::nested::CONFIGS;
use crate::interpret::{Interpreter, Semantics};
use crate::read::spec::{Architecture, Family};
use crate::run::{Attention, Checkpointing, Lora, QuantizedType, SavedOperators, TrainedBias};
use crate::versions::Rules;

/// What the loop of a run is told: entries of `run` in specs/library/loops.yaml.
#[derive(Clone, Debug, Default)]
pub struct Loop {
    /// The loop's function: `train`, `infer`, `generate` or `eval_with_grad`.
    pub mode: &'static str,
    /// Whether the model is in training mode (`model.train()`).
    pub training: bool,
    /// Whether iterations of the loop that are alike are written once, where autograd does not record.
    pub folds: bool,
    /// Integers such as batch and seq.
    pub integers: Vec<(&'static str, u64)>,
    /// Switches such as hold_outputs.
    pub flags: Vec<(&'static str, bool)>,
    /// The type of the weights, where the run says it.
    pub weights: Option<Dtype>,
    /// How attention is to be computed, where that is asked for.
    pub attention: Option<Attention>,
    /// Which modules' calls are checkpointed.
    pub checkpoint: Checkpointing,
    /// The operators whose results checkpointed calls save, where their region says nothing else.
    pub checkpoint_save: Option<SavedOperators>,
    /// Whether checkpoints are reentrant.
    pub reentrant: bool,
    /// How linear layers are quantised, and whether their scales are as well.
    pub quantize: Option<(QuantizedType, bool)>,
    /// The layers whose weights the checkpoint stores quantised.
    pub stored: Option<Arc<StoredLayers>>,
    /// The adapters that are added.
    pub lora: Option<Lora>,
    /// How keys and values of past tokens are kept.
    pub cache: CacheLayout,
    /// The rules of the run's releases.
    pub rules: Rules,
}

/// How keys and values of past tokens are kept, as specs/library/caches.yaml takes it.
#[derive(Clone, Debug, Default)]
pub struct CacheLayout {
    /// `dynamic`, `static` or `paged`.
    pub kind: &'static str,
    /// The tokens of a sequence that a cache of a fixed size holds, where they are given.
    pub tokens: Option<u64>,
    /// The tokens of a page.
    pub page_tokens: u64,
    /// The most tokens of a prompt that run at once; all where None is given.
    pub prefill_tokens: Option<u64>,
    /// The type of what pages hold; the weights' where None is given.
    pub dtype: Option<Dtype>,
}

/// Builds the model and unrolls its loop.
///
/// `config` holds the entries of the model's config.json; the family's defaults fill what it leaves out.
///
/// # Errors
/// A spec that does not fit the config, a shape that does not fit, sizes beyond any memory; with the spec's line.
pub fn unroll(
    family: &Family,
    architecture: &Architecture,
    config: &serde_json::Map<String, serde_json::Value>,
    wanted: &Loop,
) -> Result<Graph, GraphError> {
    let mut machine = Machine::new(family.definitions_by(wanted.rules), wanted.rules);
    match machine.unroll(family, architecture, config, wanted) {
        Ok(steps) => Ok(Graph {
            modules: machine.modules,
            parameters: machine.parameters,
            applied: machine.applied,
            shapes: machine.shapes,
            ops: machine.ops,
            steps,
            calls: machine.calls,
            checkpoints: machine.checkpoints,
            functions: machine.functions,
            repeats: machine.repeats,
            loading: None,
            loss: None,
            places: machine.tape.take_places(),
        }),
        Err(error) => Err(*error),
    }
}

/// The module of specs/library/peft.yaml that holds a magnitude.
const MAGNITUDE: &str = "DoraLinearLayer";

/// The switch that says that whatever Python reads from the device is zero, as on the emulated device of the records: what
/// a program decides by such values, it decides otherwise there (specs ask `config._reads_zeros`).
pub const READS_ZEROS: &str = "reads_zeros";

/// The switch that says that autograd records, so that labels are given.
pub const RECORDS: &str = "labels";

/// The switch that says that the model runs under autocast.
pub const AUTOCAST: &str = "autocast";

/// The switch that says that a tensor may be of float16.
pub const HALF: &str = "half";

impl Machine {
    fn unroll(
        &mut self,
        family: &Family,
        architecture: &Architecture,
        config: &serde_json::Map<String, serde_json::Value>,
        wanted: &Loop,
    ) -> Outcome<Vec<super::Step>> {
        self.autocasts = wanted.flags.contains(&(AUTOCAST, true));
        self.weights = wanted.weights;
        self.has_half = wanted.flags.contains(&(HALF, true));
        self.records = wanted.flags.contains(&(RECORDS, true));
        let config = self.config((family, architecture), config, wanted)?;
        let class = self.global(&architecture.made.clone().unwrap_or_else(|| architecture.name.as_str().into()))?;
        let given = Given { positional: vec![config.clone()], named: Vec::new() };
        // what code asks for by these names, wherever it stands
        self.globals.insert("_config".into(), config.clone());
        let model = self.call(class, given)?;
        self.globals.insert("_model".into(), model.clone());
        let Value::Object(model) = &model else { return self.error("the architecture is no module") };
        if tied(&config) || family.always_ties {
            let untied = untied(&config);
            for (name, other) in architecture.tied.iter().filter(|(name, _)| !untied.contains(name)) {
                self.tie(model, name, other)?;
            }
        }
        if let Some((kind, nested)) = wanted.quantize {
            self.quantize(model, kind, nested)?;
        }
        if let Some(stored) = &wanted.stored {
            self.exchange_stored(model, stored, architecture, tied(&config))?;
        }
        match &wanted.lora {
            None => self.enlist(model, "", wanted.training)?,
            Some(lora) => self.enlist_adapted(model, lora, architecture, wanted)?,
        }
        if wanted.training {
            self.reentrant = wanted.reentrant;
            self.choose_checkpoints(model, wanted)?;
        }
        self.number(model);
        self.applied = self.apply_order(model);
        self.tape.take();
        self.watches_loops = wanted.folds;

        let mut run = Attributes::default();
        run.extend(wanted.integers.iter().map(|(name, value)| (Arc::from(*name), Value::Int(*value as i64))));
        run.extend(wanted.flags.iter().map(|(name, value)| (Arc::from(*name), Value::Bool(*value))));
        run.insert("mode".into(), Value::Text(wanted.mode.into()));
        let cache = &wanted.cache;
        run.insert("cache".into(), Value::Text(cache.kind.into()));
        run.insert("cache_tokens".into(), cache.tokens.map_or(Value::None, |tokens| Value::Int(tokens as i64)));
        run.insert("page_tokens".into(), Value::Int(cache.page_tokens as i64));
        let chunk = cache.prefill_tokens.map_or(Value::None, |tokens| Value::Int(tokens as i64));
        run.insert("prefill_tokens".into(), chunk);
        let dtype = cache.dtype.map_or(DtypeArgument::Weights, DtypeArgument::Fixed);
        run.insert("cache_dtype".into(), Value::Dtype(dtype));
        run.insert("cache_argument".into(), Value::Text(architecture.cache_argument.clone()));
        run.insert("keeps_logits".into(), Value::Bool(architecture.keeps_logits));
        let images = architecture.images.as_ref().map(|name| self.global(name)).transpose()?;
        run.insert("images_of".into(), images.unwrap_or(Value::None));
        let inputs = self.global(&architecture.inputs)?;
        let lead = self.global(&wanted.mode.into())?;
        let positional = vec![Value::Object(model.clone()), Value::bag(run), inputs];
        let result = self.call(lead, Given { positional, named: Vec::new() });
        let mut steps = self.tape.take();
        result?;
        // The records end where the loop's last phase does: what its return lets go is not theirs.
        let end = steps
            .iter()
            .rposition(|step| matches!(step, super::Step::Op(_) | super::Step::Repeat(_)))
            .map_or(0, |last| last + 1);
        steps.truncate(end);
        Ok(steps)
    }

    /// Lists the model's parameters, then those of its adapters, then copies of modules that are trained whole, under the names
    /// that peft gives them all (peft 0.21.2, peft_model.py: the model is `base_model.model` of what `get_peft_model` returns).
    /// The model's own are not trained, but for biases (tuners/tuners_utils.py, `_mark_only_adapters_as_trainable`).
    fn enlist_adapted(
        &mut self,
        model: &Rc<Object>,
        lora: &Lora,
        architecture: &Architecture,
        wanted: &Loop,
    ) -> Outcome<()> {
        const PATH: &str = "base_model.model";
        let training = wanted.training;
        self.enlist(model, PATH, training)?;
        let (own, modules) = (self.parameters.len(), self.modules.len());
        let Adapters { types, transposed, biases } =
            self.adapt(model, lora, architecture, wanted.flags.contains(&(AUTOCAST, true)))?;
        self.adapters = modules..self.modules.len();
        self.enlist(model, PATH, training)?;
        let (before, adapters) = self.parameters.split_at_mut(own);
        for parameter in before {
            parameter.frozen = !match lora.bias {
                TrainedBias::None => false,
                TrainedBias::All => parameter.name.ends_with(".bias"),
                TrainedBias::LoraOnly => biases.contains(&parameter.tensor),
            };
        }
        for parameter in adapters {
            let first = types.get(&parameter.tensor).copied().flatten();
            parameter.origin = match &*self.modules[parameter.module.index()].class {
                MAGNITUDE => Origin::Magnitude { transposed: transposed.contains(&parameter.tensor) },
                _ => Origin::Adapter { first },
            };
            parameter.dtype = Some(Dtype::F32);
            parameter.stored = false;
        }
        if lora.saved.is_empty() { Ok(()) } else { self.enlist_saved(model, &lora.saved, PATH, training) }
    }

    /// Lists the copies of these modules, which are trained in their stead, in the order in which they are made.
    fn enlist_saved(&mut self, model: &Rc<Object>, names: &[String], path: &str, training: bool) -> Outcome<()> {
        let originals = self.save(model, names)?;
        let first = self.parameters.len();
        self.enlist(model, path, training)?;
        let (before, copies) = self.parameters.split_at_mut(first);
        before.iter_mut().for_each(|parameter| parameter.frozen |= originals.contains(&parameter.tensor));
        copies.sort_by_key(|parameter| parameter.tensor);
        for parameter in copies {
            parameter.origin = Origin::Copied;
            parameter.stored = false;
        }
        Ok(())
    }

    /// The config object: given entries over defaults, aliases resolved, then what its class derives.
    fn config(
        &mut self,
        (family, architecture): (&Family, &Architecture),
        given: &serde_json::Map<String, serde_json::Value>,
        wanted: &Loop,
    ) -> Outcome<Value> {
        let mut entries: IndexMap<&str, &serde_json::Value> =
            family.defaults.iter().map(|(key, value)| (key.as_str(), value)).collect();
        for (key, value) in given {
            let key = family.aliases.get(key).unwrap_or(key);
            entries.insert(key, value);
        }
        let mut attributes = Attributes::default();
        attributes.extend(entries.iter().map(|(key, value)| (Arc::from(*key), Value::from_json(value))));
        let asked = wanted.attention;
        let sdpa = architecture.sdpa.by(wanted.rules);
        if !sdpa && asked == Some(Attention::Sdpa) {
            let name = &architecture.name;
            return self.error(format!("transformers runs {name} without sdpa: leave --attention out, or say eager"));
        }
        let default = if sdpa { Attention::Sdpa } else { Attention::Eager };
        let attention = asked.unwrap_or(default).word();
        attributes.insert("_attn_implementation".into(), Value::Text(attention.into()));
        let asked = wanted.attention.map_or(Value::None, |attention| Value::Text(attention.word().into()));
        attributes.insert("_attention_asked".into(), asked);
        attributes.insert("_reads_zeros".into(), Value::Bool(wanted.flags.contains(&(READS_ZEROS, true))));
        for (name, switch) in [("_records", RECORDS), ("_autocast", AUTOCAST)] {
            attributes.insert(name.into(), Value::Bool(wanted.flags.contains(&(switch, true))));
        }
        let config = Value::config(attributes, CONFIGS);
        if let Some(derive) = &family.derive {
            self.call_function(derive, Given { positional: vec![config.clone()], named: Vec::new() })?;
        }
        if let Value::Object(object) = &config {
            let mut attributes = object.attributes.borrow_mut();
            for (alias, key) in &family.aliases {
                if let Some(value) = attributes.get(key.as_str()).cloned() {
                    attributes.insert(alias.as_str().into(), value);
                }
            }
        }
        Ok(config)
    }

    /// Makes the parameter `name` the same tensor as `other`.
    fn tie(&mut self, model: &Rc<Object>, name: &str, other: &str) -> Outcome<()> {
        let (target, field) = self.owner(model, name)?;
        let (source, shared) = self.owner(model, other)?;
        let Some(value) = source.attributes.borrow().get(shared).cloned() else {
            return self.error(format!("tied: there is no parameter `{other}`"));
        };
        let old = target.attributes.borrow_mut().insert(field.into(), value);
        drop(old);
        Ok(())
    }

    /// The module that owns the parameter of that full name, and the parameter's name within it.
    fn owner<'a>(&mut self, model: &Rc<Object>, name: &'a str) -> Outcome<(Rc<Object>, &'a str)> {
        let mut at = model.clone();
        let (path, field) = name.rsplit_once('.').unwrap_or(("", name));
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let child = at.attributes.borrow().get(part).cloned();
            at = match child {
                Some(Value::Object(child)) => child,
                _ => return self.error(format!("tied: there is no module `{path}`")),
            };
        }
        Ok((at, field))
    }
}

/// The parameters that a family's config leaves out of what is tied.
fn untied(config: &Value) -> Vec<String> {
    let Value::Object(config) = config else { return Vec::new() };
    match config.attributes.borrow().get("untied") {
        Some(Value::Sequence(names)) => names
            .iter()
            .filter_map(|name| if let Value::Text(name) = name { Some(name.to_string()) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

fn tied(config: &Value) -> bool {
    let Value::Object(config) = config else { return false };
    matches!(config.attributes.borrow().get("tie_word_embeddings"), Some(Value::Bool(true)))
}
