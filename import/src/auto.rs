//! What `AutoConfig` and `AutoModel` stand for: the tables of transformers' `models/auto`, and the configs within a config.

use std::rc::Rc;

use python_ast::{Expr, ExprCall};

use crate::classes::{Defined, Lineage};
use crate::meaning::{Meaning, World};
use crate::source::{Fault, text};

const AUTO: &str = "transformers.models.auto";

/// A config within a config: `sub_configs_defaults` of its class.
#[derive(Debug)]
pub struct SubConfig {
    /// The entry that it stands in: `vision_config`.
    pub key: String,
    /// Its class.
    pub config: Rc<Lineage>,
    /// The type of model that it is of, where a config.json may name another one.
    pub model_type: Option<String>,
    /// Whether it may be left out.
    pub optional: bool,
}

/// The configs within a config.
///
/// # Errors
/// A file that is no Python.
pub fn sub_configs(world: &World, config: &Lineage) -> Result<Vec<SubConfig>, Fault> {
    let Some((place, Expr::Dict(entries))) = config.attribute("sub_configs_defaults") else { return Ok(Vec::new()) };
    let module = &config.classes[place].module;
    let mut found = Vec::new();
    for item in &entries.items {
        let Some(key) = item.key.as_ref().and_then(text) else { continue };
        let (class, call) = match &item.value {
            Expr::Call(call) => (argument(call, 0, "config_class"), Some(call)),
            class => (Some(class), None),
        };
        let Some(dotted) = class.and_then(|class| world.dotted(module, class, &|_| false)) else { continue };
        let named = |name: &str| call.and_then(|call| call.arguments.find_keyword(name)).map(|keyword| &keyword.value);
        let optional = matches!(named("optional"), Some(Expr::BooleanLiteral(flag)) if flag.value);
        let model_type = named("model_type").and_then(text);
        let defined = match (&model_type, world.definition(&dotted)?) {
            (Some(model_type), _) if dotted.ends_with(".AutoConfig") => config_class(world, model_type)?,
            (_, Some(Meaning::Class(defined))) => Some(defined),
            _ => None,
        };
        let Some(defined) = defined else { continue };
        let config = Rc::new(Lineage::of(world, &defined.module, &defined.class)?);
        let model_type = model_type.filter(|_| dotted.ends_with(".AutoConfig"));
        found.push(SubConfig { key, config, model_type, optional });
    }
    Ok(found)
}

fn argument<'a>(call: &'a ExprCall, place: usize, name: &str) -> Option<&'a Expr> {
    call.arguments.find_keyword(name).map(|keyword| &keyword.value).or_else(|| call.arguments.args.get(place))
}

/// The model that `AutoModel.from_config` makes of a config within a config.
///
/// # Errors
/// A file that is no Python.
pub fn model_of(world: &World, mapping: &str, sub: &SubConfig) -> Result<Option<Defined>, Fault> {
    let Some(model_type) = sub.model_type.clone().or_else(|| sub.config.text("model_type")) else { return Ok(None) };
    let Some(class) = entry(world, &format!("{AUTO}.modeling_auto.{mapping}"), &model_type)? else { return Ok(None) };
    let folder = folder(world, &model_type)?;
    defined(world, &format!("transformers.models.{folder}.modeling_{folder}.{class}"))
}

/// The table of models that a class of `models/auto` looks into.
pub fn mapping_of(class: &str) -> Option<&'static str> {
    const MAPPINGS: [(&str, &str); 5] = [
        ("AutoBackbone", "MODEL_FOR_BACKBONE_MAPPING_NAMES"),
        ("AutoModel", "MODEL_MAPPING_NAMES"),
        ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
        ("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES"),
        ("AutoModelForImageTextToText", "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"),
    ];
    MAPPINGS.into_iter().find(|(name, _)| *name == class).map(|(_, mapping)| mapping)
}

fn config_class(world: &World, model_type: &str) -> Result<Option<Defined>, Fault> {
    let Some(class) = entry(world, &format!("{AUTO}.auto_mappings.CONFIG_MAPPING_NAMES"), model_type)? else {
        return Ok(None);
    };
    let folder = folder(world, model_type)?;
    defined(world, &format!("transformers.models.{folder}.configuration_{folder}.{class}"))
}

/// The folder of a type of model.
///
/// # Errors
/// A file that is no Python.
pub fn folder(world: &World, model_type: &str) -> Result<String, Fault> {
    let table = format!("{AUTO}.auto_mappings.SPECIAL_MODEL_TYPE_TO_MODULE_NAME");
    let mut special = entry(world, &table, model_type)?;
    if special.is_none() {
        special = entry(world, &table, &model_type.replace('_', "-"))?;
    }
    Ok(special.unwrap_or_else(|| model_type.replace('-', "_")))
}

fn defined(world: &World, dotted: &str) -> Result<Option<Defined>, Fault> {
    Ok(match world.definition(dotted)? {
        Some(Meaning::Class(defined)) => Some(defined),
        _ => None,
    })
}

/// What stands for a key in a table of pairs: `OrderedDict([("bert", "BertModel"), ...])`.
fn entry(world: &World, table: &str, key: &str) -> Result<Option<String>, Fault> {
    let Some(Meaning::Value(_, value)) = world.definition(table)? else { return Ok(None) };
    let Expr::Call(call) = &*value else { return Ok(None) };
    let Some(Expr::List(pairs)) = call.arguments.args.first() else { return Ok(None) };
    // of several classes the first
    let first = |expression: &Expr| match expression {
        Expr::Tuple(tuple) => text(tuple.elts.first()?),
        one => text(one),
    };
    Ok(pairs.elts.iter().find_map(|pair| match pair {
        Expr::Tuple(pair) if first(pair.elts.first()?)? == key => first(pair.elts.get(1)?),
        _ => None,
    }))
}
