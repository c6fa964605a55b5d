//! Families of timm: a file of `timm/models`, whose functions are models by name, over what `timm/layers` has.
//!
//! ```text
//! @register_model def resnet18(pretrained=False, **kwargs)
//!      -> configurations: timm/resnet18: {architecture: ResNet, config: {architecture: resnet18, num_classes: 1000, pretrained_cfg: {...}}}
//! default_cfgs = generate_default_cfgs({'resnet18.a1_in1k': _cfg(...)})
//!      -> what the file says of its weights: the size of images, how many classes there are
//! timm/layers
//!      -> specs/library/timm_layers.yaml, which all of them use
//! ```

use std::rc::Rc;

use indexmap::IndexMap;
use python_ast::{Expr, StmtFunctionDef};
use serde_json::{Map, Value, json};

use crate::family::{Architecture, Family, Import};
use crate::meaning::Meaning;
use crate::source::{Binding, Fault, Module};
use crate::translate::Code;
use crate::values;
use crate::write;

/// The package.
pub const PACKAGE: &str = "timm";

/// The name under which what `timm/layers` has is imported.
pub const LAYERS: &str = "layers";

/// The library of them.
const LIBRARY: &str = "timm_layers";

/// The libraries that a spec of timm uses: later ones stand behind earlier ones.
const USES: [&str; 8] = [LIBRARY, "timm", "torchvision", "torch_nn", "torch", "nn", "vision", "loops"];

/// What a file says of a model's weights: by tag, the default one first.
type Tags = IndexMap<String, Map<String, Value>>;

impl Import {
    /// Translates a file of `timm/models`, or all that `timm/layers` offers.
    ///
    /// # Errors
    /// A file that is not there or is no Python; one that registers no model.
    pub fn timm(&mut self, name: &str, version: &str) -> Result<Family, Fault> {
        (self.plain, self.asks_of_messages) = (true, true);
        let layers = self.timm_layers(version)?;
        if name == LAYERS {
            return Ok(layers);
        }
        self.faults.clear();
        let missing = || Fault { file: format!("models/{name}.py"), line: 0, message: "there is no such file".into() };
        let module = self.world.sources.module(&format!("{PACKAGE}.models.{name}"))?.ok_or_else(missing)?;
        let source = format!("{PACKAGE} {version}, {}", module.file);
        let mut family = Family {
            name: format!("{PACKAGE}_{name}"),
            source: source.clone(),
            uses: USES.to_vec(),
            ..Family::default()
        };
        let made = format!("made_{name}");
        self.find_entries(&module)?;
        let tags = self.default_cfgs(&module);
        let mut lines = Vec::new();
        for builder in registered(&module) {
            let called = builder.name.to_string();
            let class = class_of_builder(&builder);
            let architecture = Architecture {
                inputs: "image_inputs",
                made: Some(made.clone()),
                takes_images: true,
                sdpa: true,
                ..Architecture::default()
            };
            family.architectures.entry(class.clone()).or_insert(architecture);
            // models/vision_transformer.py, _quick_gelu_cfgs: what is said of the one is said of the other
            let said_of = called.replace("_clip_quickgelu_", "_clip_");
            let config = configuration(&called, tags.get(&called).or_else(|| tags.get(&said_of)));
            family.configurations.push(format!(
                "{PACKAGE}/{called}: {{architecture: {class}, source: \"{source}, {called}\", dtype: float32, config: {config}}}"
            ));
            let function = self.want_function(module.clone(), builder);
            lines.push(format!("if config.architecture == \"{called}\":"));
            lines.push(format!("  return {function}(**config.model_args)"));
            family.defaults.entry("architecture".to_owned()).or_insert(called);
        }
        if lines.is_empty() {
            return Err(Fault { file: module.file.clone(), line: 0, message: "it registers no model".into() });
        }
        lines.push("require(False, [\"there is no builder \", config.architecture])".to_owned());
        for (entry, value) in [("num_classes", "null"), ("pretrained_cfg", "{}"), ("model_args", "{}"), ("tags", "{}")]
        {
            family.defaults.insert(entry.to_owned(), value.to_owned());
        }
        self.gather(&mut family, None)?;
        family.functions.insert(made, Code { parameters: "config".to_owned(), lines });
        Ok(family)
    }

    /// Translates all that `timm/layers` offers; what is translated then leaves it out.
    fn timm_layers(&mut self, version: &str) -> Result<Family, Fault> {
        let missing = || Fault { file: "layers/__init__.py".into(), line: 0, message: "there is no such file".into() };
        let layers = format!("{PACKAGE}.{LAYERS}");
        let module = self.world.sources.module(&layers)?.ok_or_else(missing)?;
        let mut offered: Vec<String> = Vec::new();
        for binding in module.bindings.values() {
            if let Binding::Import(dotted) = binding
                && dotted.starts_with(&layers)
            {
                offered.push(dotted.clone());
            }
        }
        for star in &module.stars {
            if let Some(file) = self.world.sources.module(star)? {
                let own = file.bindings.iter().filter(|(_, binding)| !matches!(binding, Binding::Import(_)));
                offered.extend(own.map(|(name, _)| format!("{star}.{name}")));
            }
        }
        // what stands for other words may call what it stands for
        offered.extend(self.world.names.means.keys().filter(|name| name.starts_with(&layers)).cloned());
        for dotted in offered {
            match self.world.definition(&dotted)? {
                Some(Meaning::Class(defined)) if !dotted.ends_with(".Format") => drop(self.want_class(defined)),
                Some(Meaning::Function(file, function)) => drop(self.want_function(file, function)),
                _ => {}
            }
        }
        let mut family = Family {
            name: LIBRARY.to_owned(),
            source: format!("{PACKAGE} {version}, layers"),
            uses: USES[1..].to_vec(),
            ..Family::default()
        };
        self.whole = true;
        self.gather(&mut family, None)?;
        self.whole = false;
        self.library = family.classes.keys().chain(family.functions.keys()).cloned().collect();
        Ok(family)
    }

    /// What the file's `default_cfgs` say of each model's weights (timm 1.0.31, models/_registry.py, generate_default_cfgs): the first tag with
    /// weights is the default, unless one without a tag has weights or one ends in `*`.
    fn default_cfgs(&self, module: &Rc<Module>) -> IndexMap<String, Tags> {
        let mut all: IndexMap<String, (Tags, bool, bool)> = IndexMap::new();
        let Some(Binding::Value(value)) = module.bindings.get("default_cfgs") else { return IndexMap::new() };
        let table = match &**value {
            Expr::Call(call) => match call.arguments.args.first() {
                Some(Expr::Name(name)) => module.earlier.get(name.id.as_str()).map(|value| &**value),
                first => first,
            },
            other => Some(other),
        };
        let Some(Value::Object(entries)) = table.and_then(|table| values::evaluated(&self.world, module, table)) else {
            return IndexMap::new();
        };
        for (key, cfg) in entries {
            let Value::Object(cfg) = cfg else { continue };
            let (model, tag) = key.split_once('.').unwrap_or((&key, ""));
            let is_said =
                |name: &&str| cfg.get(*name).is_some_and(|value| !matches!(value, Value::Null) && value != "");
            let has_weights = ["url", "file", "hf_hub_id"].iter().any(is_said);
            let (tags, is_set, is_pretrained) = all.entry(model.to_owned()).or_default();
            let goes_first = has_weights && tag.is_empty() || tag.ends_with('*') && !*is_set;
            let at = if goes_first || has_weights && !*is_pretrained { 0 } else { tags.len() };
            *is_set |= goes_first;
            *is_pretrained |= has_weights;
            tags.shift_insert(at, tag.trim_matches('*').to_owned(), cfg);
        }
        all.into_iter().map(|(model, (tags, ..))| (model, tags)).collect()
    }

    /// The text of a spec of a file of timm.
    ///
    /// # Errors
    /// As of [`Import::timm`].
    pub fn timm_spec(&mut self, name: &str, version: &str) -> Result<String, Fault> {
        self.timm(name, version).map(|family| write::spec(&family))
    }
}

/// What of a model's weights says how it is made, as config.json of the hub says it.
fn of_weights(cfg: &Map<String, Value>) -> Map<String, Value> {
    let mut said = Map::new();
    let size = cfg.get("input_size").cloned().unwrap_or_else(|| json!([3, 224, 224]));
    let mut pretrained = Map::new();
    pretrained.insert("input_size".to_owned(), size);
    if cfg.get("fixed_input_size") == Some(&Value::Bool(true)) {
        pretrained.insert("fixed_input_size".to_owned(), Value::Bool(true));
    }
    said.insert("num_classes".to_owned(), cfg.get("num_classes").cloned().unwrap_or_else(|| json!(1000)));
    said.insert("pretrained_cfg".to_owned(), Value::Object(pretrained));
    said
}

/// The config of a model: what its default weights say, and what those of other tags say otherwise.
fn configuration(called: &str, tags: Option<&Tags>) -> String {
    let nothing = Map::new();
    let first = tags.and_then(|tags| tags.values().next()).unwrap_or(&nothing);
    let own = of_weights(first);
    let mut config = Map::new();
    config.insert("architecture".to_owned(), json!(called));
    config.extend(own.clone());
    let mut others = Map::new();
    for (tag, cfg) in tags.into_iter().flatten().filter(|(tag, _)| !tag.is_empty()) {
        let said = of_weights(cfg);
        let differs: Map<String, Value> = said.into_iter().filter(|(key, value)| own.get(key) != Some(value)).collect();
        others.insert(tag.clone(), Value::Object(differs));
    }
    if !others.is_empty() {
        config.insert("tags".to_owned(), Value::Object(others));
    }
    Value::Object(config).to_string().replace("\":", "\": ").replace(",\"", ", \"")
}

/// The class that a function of models says that it makes: the name behind its arrow, the first where there are several.
fn class_of_builder(builder: &StmtFunctionDef) -> String {
    let first = match builder.returns.as_deref() {
        Some(Expr::Subscript(either)) => match &*either.slice {
            Expr::Tuple(tuple) => tuple.elts.first(),
            one => Some(one),
        },
        other => other,
    };
    match first {
        Some(Expr::Name(name)) => name.id.to_string(),
        _ => "Model".to_owned(),
    }
}

/// The functions that a file registers as models, in order.
fn registered(module: &Rc<Module>) -> Vec<Rc<StmtFunctionDef>> {
    let functions = module.bindings.values().filter_map(|binding| match binding {
        Binding::Function(function)
            if function.decorator_list.iter().any(
                |decorator| matches!(&decorator.expression, Expr::Name(name) if name.id.as_str() == "register_model"),
            ) =>
        {
            Some(function.clone())
        }
        _ => None,
    });
    functions.collect()
}
