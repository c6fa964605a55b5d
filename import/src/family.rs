//! A family: its architectures, all that they use, and its config, gathered from where they are defined.

use std::collections::BTreeSet;
use std::rc::Rc;

use indexmap::{IndexMap, IndexSet};
use python_ast::{Expr, Stmt, StmtClassDef, StmtFunctionDef};
use python_text::TextRange;
use rustc_hash::FxHashSet;

use crate::auto;
use crate::classes::{Defined, Lineage, Method, MethodKind, decorators};
use crate::config;
use crate::meaning::{Meaning, World};
use crate::names::{Checkpoint, Names};
use crate::source::{self, Binding, Fault, Module, text};
use crate::translate::{Code, Standing, Translator, quoted, super_name, within};
use crate::write;

/// What has been found to be needed, and how it is called.
#[derive(Debug)]
pub struct Import {
    /// What the import stands on.
    pub world: World,
    /// Names that are asked of objects: methods of these names are translated.
    pub needed: BTreeSet<String>,
    /// The architectures that are wanted; all where none is named.
    pub only: Vec<String>,
    /// What could not be said.
    pub faults: Vec<Fault>,
    /// Whether each line says where in the source it stands ([`crate::marks`]).
    pub marks: bool,
    /// Whether the source is of torch.nn alone, where what transformers' sources leave out counts: `inplace`, `end_dim`.
    pub plain: bool,
    /// Entries that a file puts into another file's table, by the table's dotted name.
    pub(crate) entries: IndexMap<String, Vec<(Rc<Module>, Expr, Expr)>>,
    /// Whether what a message asks for may not be there.
    pub(crate) asks_of_messages: bool,
    /// Whether classes are translated with all their methods, for others to use.
    pub(crate) whole: bool,
    /// Classes and functions that a library of specs has: they are called as it calls them, and not translated.
    pub(crate) library: FxHashSet<String>,
    classes: IndexMap<String, Rc<Lineage>>,
    functions: IndexMap<String, Function>,
    /// Methods of bases that a class calls through `super()`: (class, base, method).
    supers: IndexSet<(String, String, String)>,
    /// The name of each definition: its dotted name to what it is called.
    called: IndexMap<String, String>,
    /// Whether a model is asked for its hidden states.
    pub captures: bool,
    /// The modeling file of the family.
    root: Option<Rc<Module>>,
    /// The config of the family.
    config: Option<Rc<Lineage>>,
    /// How architectures end, or would if they were called as transformers calls its own.
    kinds: IndexMap<String, &'static str>,
}

#[derive(Clone, Debug)]
enum Function {
    Free(Rc<Module>, Rc<StmtFunctionDef>),
    /// A method without an object, or one of a config.
    Of(Rc<Lineage>, Method, Standing),
    /// What makes a config within a config.
    Config(Rc<Lineage>),
}

/// The function of specs/library/images.yaml that lays out the images that a forward with these parameters takes beside tokens.
fn images_of(takes: impl Fn(&str) -> bool) -> &'static str {
    match () {
        () if takes("image_grid_thw") && takes("mm_token_type_ids") => "typed_image_grids",
        () if takes("image_grid_thw") => "image_grids",
        () if takes("aspect_ratio_ids") => "tiled_images",
        () if takes("spatial_shapes") => "patched_images",
        () if takes("pixel_attention_mask") => "images_of_sequences",
        () if takes("image_sizes") => "sized_images",
        () => "whole_images",
    }
}

/// What a config gives to calls that leave it out, beside `use_cache` (transformers 5.24, utils/generic.py, merge_with_config_defaults).
const VISION_DEFAULTS: [&str; 3] = ["vision_feature_layer", "vision_feature_select_strategy", "vision_aspect_ratio"];

/// One architecture, as a spec names it.
#[derive(Debug, Default)]
pub struct Architecture {
    /// The function that makes its inputs.
    pub inputs: &'static str,
    /// The function that makes the model of a config, where it is not the class of that name.
    pub made: Option<String>,
    /// Whether its input is an image.
    pub takes_images: bool,
    /// The function that gives images beside its tokens, where it takes some.
    pub images: Option<&'static str>,
    /// Whether it takes text beside images, as long as a run says.
    pub takes_text: bool,
    /// The rows of its images where a run gives none, as a spec says it.
    pub image_rows: Option<String>,
    /// Whether it generates.
    pub generates: bool,
    /// Whether it computes the last logits alone where that is asked for.
    pub keeps_logits: bool,
    /// Whether it may run with sdpa.
    pub sdpa: bool,
    /// What its forward calls the cache.
    pub cache_argument: Option<&'static str>,
    /// Where checkpoints of the base model begin.
    pub base_prefix: String,
    /// Parameters that are tied.
    pub tied: Vec<(String, String)>,
    /// Names in checkpoints that are passed over.
    pub ignored: Vec<String>,
    /// What of names in checkpoints is called otherwise.
    pub renamed: IndexMap<String, String>,
    /// Tensors in checkpoints that are parts of one parameter.
    pub merged: IndexMap<String, String>,
}

/// A family, translated.
#[derive(Debug, Default)]
pub struct Family {
    /// Its name: `gpt_neox`.
    pub name: String,
    /// Where it was read.
    pub source: String,
    /// The release of transformers that it was read in: `5.24`.
    pub release: String,
    /// The libraries that it uses; those of transformers' families where none is named.
    pub uses: Vec<&'static str>,
    /// Published sizes: a line of YAML each.
    pub configurations: Vec<String>,
    /// Architectures by name.
    pub architectures: IndexMap<String, Architecture>,
    /// The modules that peft adapts where it is told none.
    pub lora_targets: Vec<String>,
    /// Entries of its config with their defaults, as JSON.
    pub defaults: IndexMap<String, String>,
    /// Other names of entries.
    pub aliases: IndexMap<String, String>,
    /// What its config computes.
    pub derive: Vec<String>,
    /// Modules and other classes.
    pub classes: IndexMap<String, Class>,
    /// Functions.
    pub functions: IndexMap<String, Code>,
}

/// A class, translated.
#[derive(Debug, Default)]
pub struct Class {
    /// What its construction takes.
    pub parameters: String,
    /// Whether it is a module.
    pub is_module: bool,
    /// Whether gradient checkpointing wraps its calls.
    pub checkpointing_layer: bool,
    /// The lines of its construction.
    pub init: Vec<String>,
    /// Its methods.
    pub methods: IndexMap<String, Code>,
    /// Those of them that are called where they are named.
    pub properties: FxHashSet<String>,
}

/// How a name ends, the inputs, whether it generates, the loss.
type Kind = (&'static str, &'static str, bool, &'static str);

/// What is known of architectures by how their names end: inputs, whether they generate, the loss (transformers 5.24,
/// loss/loss_utils.py, LOSS_MAPPING).
const KINDS: [Kind; 21] = [
    ("ForCausalLM", "language_model_inputs", true, "ForCausalLMLoss"),
    ("LMHeadModel", "language_model_inputs", true, "ForCausalLMLoss"),
    ("ForMaskedLM", "language_model_inputs", false, "ForMaskedLMLoss"),
    ("ForSequenceClassification", "classifier_inputs", false, "ForSequenceClassificationLoss"),
    ("ForTokenClassification", "token_classifier_inputs", false, "ForTokenClassification"),
    ("ForQuestionAnswering", "span_inputs", false, "ForQuestionAnsweringLoss"),
    ("ForMultipleChoice", "choice_inputs", false, ""),
    ("ForConditionalGeneration", "language_model_inputs", true, "ForCausalLMLoss"),
    ("ForImageClassification", "pixel_inputs", false, "ForSequenceClassificationLoss"),
    ("ForSemanticSegmentation", "segmentation_inputs", false, ""),
    ("ForUniversalSegmentation", "image_features_inputs", false, ""),
    ("ForInstanceSegmentation", "image_features_inputs", false, ""),
    ("ForObjectDetection", "image_features_inputs", false, ""),
    ("ForDepthEstimation", "image_features_inputs", false, ""),
    ("ForMaskedImageModeling", "image_features_inputs", false, ""),
    ("ForCTC", "encoder_inputs", false, ""),
    ("ForAudioClassification", "classifier_inputs", false, "ForSequenceClassificationLoss"),
    ("ForAudioFrameClassification", "encoder_inputs", false, ""),
    ("ForXVector", "encoder_inputs", false, ""),
    ("WithProjection", "encoder_inputs", false, ""),
    ("Model", "encoder_inputs", false, ""),
];

impl Import {
    /// An import that has found nothing yet.
    pub fn new(world: World) -> Import {
        Import {
            world,
            needed: BTreeSet::new(),
            only: Vec::new(),
            faults: Vec::new(),
            marks: false,
            plain: false,
            entries: IndexMap::new(),
            asks_of_messages: false,
            whole: false,
            library: FxHashSet::default(),
            classes: IndexMap::new(),
            functions: IndexMap::new(),
            supers: IndexSet::new(),
            called: IndexMap::new(),
            captures: false,
            root: None,
            config: None,
            kinds: IndexMap::new(),
        }
    }

    /// Translates a family of transformers: `gpt_neox`.
    ///
    /// # Errors
    /// A file that is not there or is no Python; no architecture that is known.
    pub fn family(&mut self, name: &str, version: &str) -> Result<Family, Fault> {
        let folder = auto::folder(&self.world, name)?;
        // a folder may hold several types of models, each with a file of its own
        let own = format!("transformers.models.{folder}.modeling_{name}");
        let file = if self.world.sources.module(&own)?.is_some() { name } else { &folder };
        let module = self.root(
            &format!("transformers.models.{folder}.modeling_{file}"),
            &format!("models/{folder}/modeling_{file}.py"),
        )?;
        let is_wanted =
            |class: &StmtClassDef| self.only.is_empty() || self.only.iter().any(|name| *name == class.name.as_str());
        let wanted = public_classes(&module).into_iter().filter(|class| is_wanted(class));
        let known = wanted.filter_map(|class| Some((kind(&class.name)?, class))).collect();
        let known = self.of_one_config(&module, known, name)?;
        let family = Family {
            name: name.to_owned(),
            source: format!("transformers {version}, {}", module.file),
            release: version.splitn(3, '.').take(2).collect::<Vec<_>>().join("."),
            lora_targets: self.world.names.lora_targets.get(name).cloned().unwrap_or_default(),
            ..Family::default()
        };
        self.of_module(&module, known, family)
    }

    /// The architectures whose config is of that type of model; those of the first config where none is.
    fn of_one_config(
        &self,
        module: &Rc<Module>,
        known: Vec<(Kind, Rc<StmtClassDef>)>,
        model_type: &str,
    ) -> Result<Vec<(Kind, Rc<StmtClassDef>)>, Fault> {
        let mut types = Vec::new();
        for (_, class) in &known {
            let lineage = Lineage::of(&self.world, module, class)?;
            let config = config::class_of(&self.world, &lineage)?;
            types.push(config.map(|config| match config.text("model_type") {
                Some(model_type) => model_type.replace('-', "_"),
                None => config.classes[0].class.name.to_string(),
            }));
        }
        let first = types.iter().flatten().next().cloned();
        let wanted =
            if types.iter().flatten().any(|found| found == model_type) { Some(model_type.to_owned()) } else { first };
        let chosen = known.into_iter().zip(types).filter(|(_, found)| *found == wanted);
        Ok(chosen.map(|(class, _)| class).collect())
    }

    /// Translates architectures of a file that is no part of transformers: its dotted name, and classes with the kinds that they are of, such as
    /// `ForCausalLM`, or `Model` for a base model.
    ///
    /// # Errors
    /// A file that is not there or is no Python; a class that is not there or of no kind that is known.
    pub fn own_family(&mut self, dotted: &str, classes: &[(String, String)]) -> Result<Family, Fault> {
        let name = dotted.rsplit('.').next().unwrap_or_default().trim_start_matches("modeling_").to_owned();
        let module = self.root(dotted, &format!("{}.py", dotted.rsplit('.').next().unwrap_or_default()))?;
        let mut known = Vec::new();
        for (class, ends) in classes {
            let missing = |message: String| Fault { file: module.file.clone(), line: 0, message };
            let Some(Binding::Class(found)) = module.bindings.get(class) else {
                return Err(missing(format!("there is no class `{class}`")));
            };
            let Some(kind) = kind(ends) else {
                return Err(missing(format!("a model of the kind `{ends}` is not planned")));
            };
            known.push((kind, found.clone()));
        }
        let family = Family { name, source: module.file.clone(), ..Family::default() };
        self.of_module(&module, known, family)
    }

    fn root(&mut self, dotted: &str, file: &str) -> Result<Rc<Module>, Fault> {
        let Some(module) = self.world.sources.module(dotted)? else {
            return Err(Fault { file: file.to_owned(), line: 0, message: "there is no such file".into() });
        };
        self.root = Some(module.clone());
        Ok(module)
    }

    fn of_module(
        &mut self,
        module: &Rc<Module>,
        classes: Vec<(Kind, Rc<StmtClassDef>)>,
        mut family: Family,
    ) -> Result<Family, Fault> {
        let mut config = None;
        for ((ends, inputs, generates, _), class) in classes {
            let lineage = Lineage::of(&self.world, module, &class)?;
            if !lineage.derives_from("transformers.modeling_utils.PreTrainedModel") {
                continue;
            }
            let Some(forward) = lineage.method("forward", 0) else { continue };
            let takes = |name: &str| {
                forward.function().parameters.iter_non_variadic_params().any(|p| p.name().as_str() == name)
            };
            let cache_argument = ["cache", "past_key_values"].into_iter().find(|name| takes(name));
            let text = |name: &str| lineage.text(name).unwrap_or_default();
            let main_input = text("main_input_name");
            let is_image = main_input == "pixel_values";
            let sound = match main_input.as_str() {
                "input_values" if takes("input_values") => Some(["sound_inputs", "sound_classifier_inputs"]),
                "input_features" if takes("input_features") => Some(["frames_inputs", "frames_classifier_inputs"]),
                _ => None,
            };
            let inputs = match () {
                () if inputs == "encoder_inputs" && !takes("input_ids") && sound.is_some() => {
                    sound.unwrap_or_default()[0]
                }
                () if inputs == "classifier_inputs" && sound.is_some() => sound.unwrap_or_default()[1],
                () if takes("decoder_input_ids") && generates => "encoder_decoder_inputs",
                () if takes("decoder_input_ids") && ends == "Model" => "both_sides_inputs",
                () if is_image && inputs == "encoder_inputs" => "image_features_inputs",
                () if ends == "Model" && takes("input_ids") && takes("pixel_values") && takes("return_loss") => {
                    "pairs_inputs"
                }
                () => inputs,
            };
            let architecture = Architecture {
                inputs,
                made: None,
                takes_images: is_image,
                images: (inputs == "language_model_inputs" && takes("pixel_values")).then(|| images_of(takes)),
                takes_text: false,
                image_rows: None,
                generates: generates
                    && cache_argument.is_some()
                    && lineage.derives_from("transformers.generation.GenerationMixin"),
                keeps_logits: takes("logits_to_keep"),
                sdpa: matches!(lineage.attribute("_supports_sdpa"), Some((_, Expr::BooleanLiteral(flag))) if flag.value),
                cache_argument,
                base_prefix: if ends == "Model" { String::new() } else { text("base_model_prefix") },
                tied: self.tied(&lineage, 0)?,
                ignored: texts(&lineage, "_keys_to_ignore_on_load_unexpected"),
                renamed: said(&family.name, &self.world.names, |checkpoint| &checkpoint.renamed),
                merged: said(&family.name, &self.world.names, |checkpoint| &checkpoint.merged),
            };
            config = config.or(config::class_of(&self.world, &lineage)?);
            self.kinds.insert(class.name.to_string(), ends);
            self.want_class(lineage.classes[0].clone());
            family.architectures.insert(class.name.to_string(), architecture);
        }
        let Some(config) = config else {
            return Err(Fault {
                file: module.file.clone(),
                line: 0,
                message: "it has no architecture that is known".into(),
            });
        };
        self.config = Some(config.clone());
        config::read(self, &config, &mut family);
        self.gather(&mut family, Some(&config))?;
        Ok(family)
    }

    /// Translates all that is needed, until nothing more is.
    pub(crate) fn gather(&mut self, family: &mut Family, config: Option<&Rc<Lineage>>) -> Result<(), Fault> {
        loop {
            let before = self.found();
            self.faults.clear();
            family.classes.clear();
            family.functions.clear();
            family.derive = config.map_or(Ok(Vec::new()), |config| config::derive(self, config))?;
            let mut place = 0;
            while let Some((name, lineage)) = self.classes.get_index(place).map(|(n, l)| (n.clone(), l.clone())) {
                place += 1;
                if self.library.contains(&name) {
                    continue;
                }
                let class = self.class(&name, &lineage);
                family.classes.insert(name, class);
            }
            let mut place = 0;
            while let Some((name, function)) = self.functions.get_index(place).map(|(n, f)| (n.clone(), f.clone())) {
                place += 1;
                if self.library.contains(&name) {
                    continue;
                }
                let code = match function {
                    Function::Config(lineage) => config::made(self, &lineage)?,
                    Function::Free(module, function) => {
                        let code = Translator::new(self, module, None, Standing::Free).function(&function, &[]);
                        if remembers(&function) { remembered(&name, &function, code) } else { code }
                    }
                    Function::Of(lineage, method, standing) => {
                        let module = lineage.classes[method.place].module.clone();
                        let class = Some((lineage, method.place));
                        let before = match (standing, method.function().name.as_str()) {
                            (Standing::Config, "__init__") => given_entries(method.function()),
                            _ => Vec::new(),
                        };
                        Translator::new(self, module, class, standing).function(method.function(), &before)
                    }
                };
                family.functions.insert(name, code);
            }
            if before == self.found() {
                return Ok(());
            }
        }
    }

    /// How much has been found to be needed.
    fn found(&self) -> (usize, usize, usize, usize, bool) {
        (self.classes.len(), self.functions.len(), self.needed.len(), self.supers.len(), self.captures)
    }

    /// The class whose calls a model's hooks capture as its hidden states, or a list of such classes, as a spec names them, and whether
    /// the first one's input is captured too.
    fn captured_class(&mut self, lineage: &Lineage) -> Option<(String, bool)> {
        let (place, Expr::Dict(entries)) = lineage.attribute("_can_record_outputs")? else { return None };
        let module = lineage.classes[place].module.clone();
        let is_it = |item: &&python_ast::DictItem| item.key.as_ref().and_then(text).as_deref() == Some("hidden_states");
        let recorded = &entries.items.iter().find(is_it)?.value;
        let (class, initial) = match recorded {
            Expr::Call(call) => {
                let keyword = call.arguments.find_keyword("capture_initial_hidden_state");
                let initial =
                    !matches!(keyword.map(|keyword| &keyword.value), Some(Expr::BooleanLiteral(flag)) if !flag.value);
                let is_plain = ["layer_name", "class_name", "index"]
                    .into_iter()
                    .all(|name| call.arguments.find_keyword(name).is_none());
                (call.arguments.args.first().filter(|_| is_plain)?, initial)
            }
            class => (class, true),
        };
        let said = match class {
            Expr::List(several) => {
                let names: Option<Vec<String>> =
                    several.elts.iter().map(|one| self.class_named(&module, one)).collect();
                format!("[{}]", names?.join(", "))
            }
            one => self.class_named(&module, one)?,
        };
        Some((said, initial))
    }

    /// The name of a class in the spec, quoted.
    fn class_named(&mut self, module: &Module, class: &Expr) -> Option<String> {
        let dotted = self.world.dotted(module, class, &|_| false)?;
        match self.world.definition(&dotted) {
            Ok(Some(Meaning::Class(defined))) => Some(quoted(&self.want_class(defined))),
            _ => None,
        }
    }

    fn class(&mut self, name: &str, lineage: &Rc<Lineage>) -> Class {
        let bases = lineage.foreign.iter().filter_map(|base| self.world.names.bases.get(base));
        let checkpointing_layer = bases.clone().any(|base| base.checkpointing_layer);
        let is_module = lineage.foreign.iter().any(|base| self.world.names.bases.contains_key(base))
            || lineage.classes.iter().any(|defined| defined.module.name == "torch.nn");
        let mut class = Class { is_module, checkpointing_layer, ..Class::default() };
        if let Some(init) = lineage.method("__init__", 0) {
            let code = self.method(lineage, &init);
            (class.parameters, class.init) = (code.parameters, code.lines);
        } else if lineage.classes.iter().any(|defined| is_dataclass(&defined.class)) {
            let fields = fields_of(lineage);
            let mut said = Vec::new();
            for (name, default) in &fields {
                said.push(match default {
                    Some((module, value)) => format!("{name}={}", self.field_default(module, value)),
                    None => name.clone(),
                });
            }
            class.parameters = said.join(", ");
            class.init = fields.iter().map(|(name, _)| format!("self.{name} = {name}")).collect();
            if lineage.method("__post_init__", 0).is_some() {
                self.needed.insert("__post_init__".to_owned());
                class.init.push("self.__post_init__()".to_owned());
            }
        } else {
            let init = bases.clone().map(|base| base.init.clone()).find(|init| !init.is_empty());
            if let Some(init) = init {
                class.parameters = "config".into();
                class.init = init.lines().map(|line| line.replace("{0}", "config")).collect();
            }
        }
        let experts = lineage.classes.iter().find_map(|defined| experts_of(&defined.class));
        if let Some(given) = &experts {
            class.init.push("self.config = config".to_owned());
            class.init.extend(given.iter().map(|(name, value)| format!("self.{name} = {value}")));
            class.init.push("self._is_expert_parallel = False".to_owned());
        }
        let mut wanted = vec!["forward".to_owned()];
        if self.plain && !is_module && lineage.method("__call__", 0).is_some() {
            self.needed.insert("__call__".to_owned());
        }
        match self.whole {
            true => wanted.extend(lineage.methods().into_iter().filter(|name| name != "forward")),
            false => wanted.extend(self.needed.iter().filter(|name| *name != "forward").cloned()),
        }
        for method in wanted {
            let Some(found) =
                lineage.method(&method, 0).filter(|found| self.plain || found.kind() != MethodKind::Static)
            else {
                continue;
            };
            let code = match &experts {
                Some(_) if method == "forward" => self.experts_forward(),
                _ => self.method(lineage, &found),
            };
            if found.kind() == MethodKind::Property {
                class.properties.insert(method.clone());
            }
            class.methods.insert(method, code);
        }
        if experts.is_some() && !class.methods.contains_key("_apply_gate") {
            let lines = ["gate, up = gate_up_out.chunk(2, dim=-1)", "return self.act_fn(gate) * up"];
            let code = Code { parameters: "gate_up_out".to_owned(), lines: lines.map(str::to_owned).to_vec() };
            class.methods.insert("_apply_gate".to_owned(), code);
        }
        if self.plain && !lineage.classes.iter().any(|defined| is_dataclass(&defined.class)) {
            self.constants(lineage, &mut class);
            let defaults = self.changed_later(lineage);
            class.init.splice(0..0, defaults);
        }
        let supers: Vec<(String, String)> = self
            .supers
            .iter()
            .filter(|(class, ..)| class == name)
            .map(|(_, owner, method)| (owner.clone(), method.clone()))
            .collect();
        for (owner, method) in supers {
            let Some(place) = (0..lineage.classes.len()).find(|place| lineage.owner(*place) == owner) else {
                continue;
            };
            if let Some(found) = lineage.method(&method, place) {
                let code = self.method(lineage, &found);
                class.methods.insert(super_name(&owner, &method), code);
            }
        }
        class
    }

    /// What a class's body gives all its objects and is asked for by name, such as `expansion`.
    fn constants(&mut self, lineage: &Rc<Lineage>, class: &mut Class) {
        let asked: Vec<String> =
            self.needed.iter().filter(|name| !class.methods.contains_key(*name)).cloned().collect();
        for name in asked {
            let Some((place, value)) = lineage.attribute(&name).filter(|_| !self.assigns(lineage, &name)) else {
                continue;
            };
            let (module, value) = (lineage.classes[place].module.clone(), value.clone());
            if let Ok(value) = Translator::new(self, module, None, Standing::Free).constant(&value) {
                class.properties.insert(name.clone());
                let lines = vec![format!("return {value}")];
                class.methods.insert(name, Code { parameters: String::new(), lines });
            }
        }
    }

    /// What a class's body gives all its objects, where a method may give one of them another: `fused_projections = False`.
    fn changed_later(&mut self, lineage: &Rc<Lineage>) -> Vec<String> {
        let asked: Vec<String> = self.needed.iter().cloned().collect();
        let mut lines = Vec::new();
        for name in asked {
            let Some((place, value)) = lineage.attribute(&name).filter(|_| self.assigns(lineage, &name)) else {
                continue;
            };
            let (module, value) = (lineage.classes[place].module.clone(), value.clone());
            if let Ok(value) = Translator::new(self, module, None, Standing::Free).constant(&value) {
                lines.push(format!("self.{name} = {value}"));
            }
        }
        lines
    }

    /// What a field of a dataclass is where nothing is given: its value, or what `field(default=...)` says.
    fn field_default(&mut self, module: &Rc<Module>, value: &Expr) -> String {
        let given = match value {
            Expr::Call(call) if call.arguments.find_keyword("default_factory").is_some() => {
                match call.arguments.find_keyword("default_factory").map(|keyword| &keyword.value) {
                    Some(Expr::Lambda(lambda)) => (*lambda.body).clone(),
                    Some(Expr::Name(name)) if name.id.as_str() == "list" => return "[]".to_owned(),
                    Some(Expr::Name(name)) if name.id.as_str() == "dict" => return "{}".to_owned(),
                    Some(made) => {
                        let made = Translator::new(self, module.clone(), None, Standing::Free).constant(made);
                        return made.map_or_else(|_| "None".to_owned(), |made| format!("{made}()"));
                    }
                    None => return "None".to_owned(),
                }
            }
            Expr::Call(call) => match call.arguments.find_keyword("default") {
                Some(default) => default.value.clone(),
                None => value.clone(),
            },
            value => value.clone(),
        };
        let said = Translator::new(self, module.clone(), None, Standing::Free).constant(&given);
        said.unwrap_or_else(|_| "None".to_owned())
    }

    /// What `use_experts_implementation` puts in place of forward (transformers 5.24, integrations/moe.py): the products of all experts at once.
    fn experts_forward(&mut self) -> Code {
        const PLACE: &str = "transformers.integrations.moe.grouped_mm_experts_forward";
        let function = match self.world.definition(PLACE) {
            Ok(Some(Meaning::Function(module, function))) => self.want_function(module, function),
            _ => "grouped_mm_experts_forward".to_owned(),
        };
        Code {
            parameters: "hidden_states, top_k_index, top_k_weights".to_owned(),
            lines: vec![
                "require_grouped_products(self.config)".to_owned(),
                format!("return {function}(self, hidden_states, top_k_index, top_k_weights)"),
            ],
        }
    }

    fn method(&mut self, lineage: &Rc<Lineage>, method: &Method) -> Code {
        let mut before = Vec::new();
        let has =
            |name: &str| method.function().parameters.iter_non_variadic_params().any(|p| p.name().as_str() == name);
        if method.is_decorated("capture_outputs") {
            before.push("refuse_captured(self.config)".to_owned());
        }
        if method.is_decorated("merge_with_config_defaults") && has("use_cache") {
            before.push("use_cache = cache_wanted(self, use_cache)".to_owned());
        }
        if method.is_decorated("merge_with_config_defaults") {
            let vision = VISION_DEFAULTS.into_iter().filter(|name| has(name));
            before.extend(vision.map(|name| {
                format!("{name} = {name} if {name} is not None else getattr(self.config, \"{name}\", None)")
            }));
        }
        if let Some(selection) = method.decorator_argument("select_hidden_states") {
            self.captures = true;
            before.extend(self.selecting(lineage, method, selection));
        }
        if method.is_decorated("dynamic_rope_update") {
            before.push("update_rope(self, position_ids)".to_owned());
        }
        // diffusers, configuration_utils.py: what the constructor is given is the config
        if method.is_decorated("register_to_config") {
            let names = method.function().parameters.iter_non_variadic_params().skip(1).map(|p| p.name().to_string());
            let entries: Vec<String> = names.map(|name| format!("{name}={name}")).collect();
            before.push(format!("self.config = Output({})", entries.join(", ")));
        }
        let module = lineage.classes[method.place].module.clone();
        let class = Some((lineage.clone(), method.place));
        let code = Translator::new(self, module, class, Standing::Method).function(method.function(), &before);
        let function = method.function();
        if method.is_decorated("filter_output_hidden_states") {
            self.captures = true;
            return filtering(method, code);
        }
        if method.is_decorated("capture_outputs") && self.captures {
            return self.capturing(lineage, method, code);
        }
        if remembers(function) { remembered(&function.name, function, code) } else { code }
    }

    /// Asks the models that a method calls for the hidden states that its decorator names.
    fn selecting(&mut self, lineage: &Rc<Lineage>, method: &Method, selection: &Expr) -> Vec<String> {
        let Some(rest) = method.function().parameters.kwarg.as_ref().map(|rest| rest.name.to_string()) else {
            return Vec::new();
        };
        let module = lineage.classes[method.place].module.clone();
        let mut lines = Vec::new();
        let selected = match selection {
            Expr::StringLiteral(name) => name.value.to_str().to_owned(),
            other => {
                let class = Some((lineage.clone(), method.place));
                match Translator::new(self, module, class, Standing::Method).words(other) {
                    Ok(words) => lines.push(format!("selection = {words}")),
                    Err(fault) => lines.push(format!("require(False, {})", quoted(&fault.to_string()))),
                }
                "selection(self)".to_owned()
            }
        };
        lines.push(format!(
            "{rest} = with_entry({rest}, \"output_hidden_states\", entry({rest}, \"output_hidden_states\", None) or {selected})"
        ));
        lines
    }

    /// A forward whose hidden states hooks keep where they are asked for.
    fn capturing(&mut self, lineage: &Lineage, method: &Method, code: Code) -> Code {
        let parameters = &method.function().parameters;
        let is_named = parameters.iter_non_variadic_params().any(|p| p.name().as_str() == "output_hidden_states");
        let wanted = match (is_named, &parameters.kwarg) {
            (true, _) => "output_hidden_states".to_owned(),
            (false, Some(rest)) => format!("entry({}, \"output_hidden_states\", None)", rest.name),
            (false, None) => "None".to_owned(),
        };
        let (class, initial) = match self.captured_class(lineage) {
            Some((class, initial)) => (class, initial),
            None => ("None".to_owned(), true),
        };
        let untied = method.decorator_says("capture_outputs", "tie_last_hidden_states", false);
        let words = |flag: bool| if flag { "True" } else { "False" };
        let mut lines = Vec::new();
        let call = within(method.function(), &code.lines, &mut lines);
        lines.push(format!(
            "return captured(self.config, {wanted}, {class}, {}, {}, lambda: {call})",
            words(initial),
            words(!untied)
        ));
        Code { lines, ..code }
    }

    // ---- what is wanted ---------------------------------------------------------------------------------------------

    fn name_for(&mut self, dotted: String, name: &str, module: &Module) -> String {
        if let Some(known) = self.called.get(&dotted) {
            return known.clone();
        }
        let taken = |name: &str| self.world.known.contains(name) || self.called.values().any(|other| other == name);
        let file = module.name.rsplit('.').next().unwrap_or_default().trim_start_matches("modeling_");
        let mut free = name.to_owned();
        if taken(&free) {
            free = format!("{name}_of_{file}");
        }
        while taken(&free) {
            free.push('_');
        }
        self.called.insert(dotted, free.clone());
        free
    }

    /// Finds the entries that a file puts into other files' tables: calls of functions of one line, `TABLE[key] = value`.
    ///
    /// # Errors
    /// A file that is no Python.
    pub(crate) fn find_entries(&mut self, module: &Rc<Module>) -> Result<(), Fault> {
        for call in &module.calls {
            let Some(dotted) = self.world.dotted(module, &call.func, &|_| false) else { continue };
            let Some(Meaning::Function(file, function)) = self.world.definition(&dotted)? else { continue };
            let [Stmt::Assign(assign)] = &function.body[..] else { continue };
            let [Expr::Subscript(target)] = &assign.targets[..] else { continue };
            let Expr::Name(table) = &*target.value else { continue };
            if let [key, value] = &*call.arguments.args {
                let entry = (module.clone(), key.clone(), value.clone());
                self.entries.entry(format!("{}.{}", file.name, table.id)).or_default().push(entry);
            }
        }
        Ok(())
    }

    /// What the known classes are called that derive from one, by its dotted name; itself, where it is called otherwise.
    pub fn derived(&self, dotted: &str) -> Vec<String> {
        let is_it = |defined: &Defined| format!("{}.{}", defined.module.name, defined.class.name) == dotted;
        let derived = self.classes.iter().filter(|(_, lineage)| lineage.classes.iter().any(is_it));
        derived.map(|(name, _)| name.clone()).collect()
    }

    /// What a class is called; it is translated.
    pub fn want_class(&mut self, defined: Defined) -> String {
        let name = defined.class.name.to_string();
        let called = self.name_for(format!("{}.{name}", defined.module.name), &name, &defined.module);
        if !self.classes.contains_key(&called) {
            match Lineage::of(&self.world, &defined.module, &defined.class) {
                Ok(lineage) => drop(self.classes.insert(called.clone(), Rc::new(lineage))),
                Err(fault) => self.faults.push(fault),
            }
        }
        called
    }

    /// What a function is called; it is translated.
    pub fn want_function(&mut self, module: Rc<Module>, function: Rc<StmtFunctionDef>) -> String {
        let name = function.name.to_string();
        let called = self.name_for(format!("{}.{name}", module.name), &name, &module);
        self.functions.entry(called.clone()).or_insert(Function::Free(module, function));
        called
    }

    /// What a method without an object is called; it is translated.
    pub fn want_static(&mut self, lineage: &Rc<Lineage>, method: &Method) -> String {
        self.want_method(lineage, method, Standing::Free)
    }

    /// What a method of a config is called, a function of the config; it is translated.
    pub fn want_config_method(&mut self, lineage: &Rc<Lineage>, method: &Method) -> String {
        let dotted =
            format!("{}.{}", lineage.classes[method.place].module.name, lineage.classes[method.place].class.name);
        if let Some(meant) = self.world.names.means.get(&format!("{dotted}.{}", method.function().name)) {
            return meant.clone();
        }
        self.want_method(lineage, method, Standing::Config)
    }

    /// A config's method stands for a function of the library; it is translated.
    pub fn want_in_place_of(&mut self, name: &str, lineage: &Rc<Lineage>, method: &Method) {
        self.functions.entry(name.to_owned()).or_insert(Function::Of(
            lineage.clone(),
            method.clone(),
            Standing::Config,
        ));
    }

    /// What makes a config within a config is called.
    pub fn want_config(&mut self, lineage: &Rc<Lineage>) -> String {
        let defined = &lineage.classes[0];
        let name = format!("{}_made", defined.class.name);
        let dotted = format!("{}.{name}", defined.module.name);
        let called = self.name_for(dotted, &name, &defined.module.clone());
        self.functions.entry(called.clone()).or_insert(Function::Config(lineage.clone()));
        called
    }

    fn want_method(&mut self, lineage: &Rc<Lineage>, method: &Method, standing: Standing) -> String {
        let defined = &lineage.classes[method.place];
        let name = super_name(defined.class.name.as_str(), method.function().name.as_str());
        let dotted = format!("{}.{}.{}", defined.module.name, defined.class.name, method.function().name);
        let called = self.name_for(dotted, &name, &defined.module.clone());
        self.functions.entry(called.clone()).or_insert(Function::Of(lineage.clone(), method.clone(), standing));
        called
    }

    /// A method of a base is called through `super()`; it is translated into the class that calls it.
    pub fn want_super(&mut self, lineage: &Rc<Lineage>, owner: &str, method: &str) {
        let first = &lineage.classes[0];
        let dotted = format!("{}.{}", first.module.name, first.class.name);
        let class = self.called.get(&dotted).cloned().unwrap_or_else(|| first.class.name.to_string());
        self.supers.insert((class, owner.to_owned(), method.to_owned()));
    }

    /// The operator or function of the library that a name of torch means.
    pub fn operator(&self, dotted: &str) -> Option<String> {
        let name = dotted.strip_prefix("torch.")?.rsplit('.').next()?;
        self.world.known.contains(name).then(|| name.to_owned())
    }

    /// Whether a class assigns an attribute in any of its methods.
    pub fn assigns(&self, lineage: &Lineage, name: &str) -> bool {
        let assigns = |function: &StmtFunctionDef| assigns_within(&function.body, name);
        lineage.classes.iter().any(|defined| {
            defined
                .class
                .body
                .iter()
                .any(|statement| matches!(statement, Stmt::FunctionDef(function) if assigns(function)))
        })
    }

    /// The loss that an architecture's name chooses.
    pub fn loss_of(&self, lineage: &Lineage) -> Option<&'static str> {
        let ends = self.kinds.get(lineage.classes[0].class.name.as_str())?;
        kind(ends).map(|(.., loss)| loss).filter(|loss| !loss.is_empty())
    }

    /// The model of a config within the family's config, which a class of `models/auto` would make of that entry.
    ///
    /// # Errors
    /// A file that is no Python.
    pub fn model_within(&mut self, class: &str, key: &str) -> Result<Option<String>, Fault> {
        let (Some(config), Some(mapping)) = (self.config.clone(), auto::mapping_of(class)) else { return Ok(None) };
        let subs = auto::sub_configs(&self.world, &config)?;
        let Some(sub) = subs.iter().find(|sub| sub.key == key) else { return Ok(None) };
        let model = auto::model_of(&self.world, mapping, sub)?;
        Ok(model.map(|defined| self.want_class(defined)))
    }

    /// The base model of the family, which `AutoModel` would make.
    ///
    /// # Errors
    /// There is none of the usual name.
    pub fn base_model(&mut self, module: &Rc<Module>, range: TextRange) -> Result<String, Fault> {
        if let Some(config) = self.config.clone() {
            let whole = auto::SubConfig { key: String::new(), config, model_type: None, optional: false };
            if let Some(defined) = auto::model_of(&self.world, "MODEL_MAPPING_NAMES", &whole)? {
                return Ok(self.want_class(defined));
            }
        }
        let root = self.root.clone().unwrap_or_else(|| module.clone());
        for class in public_classes(&root) {
            let is_base = class.name.ends_with("Model")
                && !class.name.ends_with("PreTrainedModel")
                && !class.name.ends_with("LMHeadModel");
            if is_base {
                return Ok(self.want_class(Defined { module: root.clone(), class }));
            }
        }
        Err(module.fault(range, "the family has no base model"))
    }

    /// Parameters that are tied in a model and in the models within it (transformers 5.24, modeling_utils.py, get_expanded_tied_weights_keys).
    fn tied(&self, lineage: &Lineage, depth: usize) -> Result<Vec<(String, String)>, Fault> {
        let mut all = pairs(lineage, "_tied_weights_keys");
        let Some(init) = lineage.method("__init__", 0).filter(|_| depth < 4) else { return Ok(all) };
        let module = &lineage.classes[init.place].module;
        for statement in &init.function().body {
            let Stmt::Assign(assign) = statement else { continue };
            let ([Expr::Attribute(target)], Expr::Call(call)) = (&assign.targets[..], &*assign.value) else { continue };
            let Some(dotted) = self.world.dotted(module, &call.func, &|_| false) else { continue };
            let Some(Meaning::Class(defined)) = self.world.definition(&dotted)? else { continue };
            let within = Lineage::of(&self.world, &defined.module, &defined.class)?;
            if within.derives_from("transformers.modeling_utils.PreTrainedModel") {
                let prefixed = |name: String| format!("{}.{name}", target.attr);
                let pairs = self.tied(&within, depth + 1)?.into_iter();
                all.extend(pairs.map(|(name, other)| (prefixed(name), prefixed(other))));
            }
        }
        Ok(all)
    }

    /// The text of a spec of a family of transformers.
    ///
    /// # Errors
    /// As of [`Import::family`].
    pub fn spec(&mut self, name: &str, version: &str) -> Result<String, Fault> {
        self.family(name, version).map(|family| write::spec(&family))
    }

    /// The text of a spec of a file's own architectures.
    ///
    /// # Errors
    /// As of [`Import::own_family`].
    pub fn own_spec(&mut self, dotted: &str, classes: &[(String, String)]) -> Result<String, Fault> {
        self.own_family(dotted, classes).map(|family| write::spec(&family))
    }
}

/// What a class says of its experts: the decorator's arguments over their defaults.
fn experts_of(class: &StmtClassDef) -> Option<Vec<(&'static str, String)>> {
    const DEFAULTS: [(&str, &str); 5] = [
        ("has_gate", "True"),
        ("has_bias", "False"),
        ("has_post_expert_norm", "False"),
        ("is_transposed", "False"),
        ("is_concatenated", "True"),
    ];
    let is_it = |(name, _): &(&str, _)| *name == "use_experts_implementation";
    decorators(&class.decorator_list).find(is_it).map(|(_, keywords)| {
        let given = |key: &str, default: &str| {
            let keyword = keywords.and_then(|arguments| arguments.find_keyword(key));
            match keyword.map(|keyword| &keyword.value) {
                Some(Expr::BooleanLiteral(flag)) => if flag.value { "True" } else { "False" }.to_owned(),
                _ => default.to_owned(),
            }
        };
        DEFAULTS.iter().map(|(key, default)| (*key, given(key, default))).collect()
    })
}

/// A backbone's forward, which captures hidden states for itself (transformers 5.24, backbone_utils.py, filter_output_hidden_states).
fn filtering(method: &Method, code: Code) -> Code {
    let Some(rest) = method.function().parameters.kwarg.as_ref().map(|rest| rest.name.to_string()) else { return code };
    let mut lines = vec![
        format!("asked = entry({rest}, \"output_hidden_states\", None)"),
        format!("{rest} = with_entry({rest}, \"output_hidden_states\", True)"),
    ];
    let call = within(method.function(), &code.lines, &mut lines);
    lines.push(format!("return without_hidden_states({call}, asked)"));
    Code { lines, ..code }
}

/// Whether Python keeps what a function gave: `@lru_cache` and transformers' own of it (5.24, pytorch_utils.py).
fn remembers(function: &StmtFunctionDef) -> bool {
    decorators(&function.decorator_list).any(|(name, _)| name.ends_with("lru_cache"))
}

/// A function whose results are kept.
fn remembered(name: &str, function: &StmtFunctionDef, code: Code) -> Code {
    let mut lines = Vec::new();
    let call = within(function, &code.lines, &mut lines);
    let given: Vec<&str> =
        function.parameters.iter_non_variadic_params().map(|parameter| parameter.name().as_str()).collect();
    lines.push(format!("return remembered(\"{name}\", [{}], lambda: {call})", given.join(", ")));
    Code { lines, ..code }
}

pub(crate) fn is_dataclass(class: &StmtClassDef) -> bool {
    decorators(&class.decorator_list).any(|(name, _)| name == "dataclass")
}

/// A field of a dataclass, and what it is where nothing is given, with the file that says so.
pub(crate) type Field = (String, Option<(Rc<Module>, Expr)>);

/// The fields of a dataclass, those of bases first, with what they are where nothing is given.
pub(crate) fn fields_of(lineage: &Lineage) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for defined in lineage.classes.iter().rev() {
        for statement in &defined.class.body {
            if let Stmt::AnnAssign(assign) = statement
                && let Expr::Name(name) = &*assign.target
            {
                let default = assign.value.as_ref().map(|value| (defined.module.clone(), (**value).clone()));
                match fields.iter_mut().find(|(known, _)| *known == name.id.as_str()) {
                    Some(known) => known.1 = default,
                    None => fields.push((name.id.to_string(), default)),
                }
            }
        }
    }
    fields
}

/// What the parameters of a config's constructor are: the config's entries.
fn given_entries(function: &StmtFunctionDef) -> Vec<String> {
    let names = function.parameters.iter_non_variadic_params().map(|parameter| parameter.name().as_str());
    names.filter(|name| *name != "self").map(|name| format!("{name} = entry(self, \"{name}\", {name})")).collect()
}

/// What the table says of a family's checkpoints.
fn said(family: &str, names: &Names, part: fn(&Checkpoint) -> &IndexMap<String, String>) -> IndexMap<String, String> {
    let of_family = names.checkpoints.iter().filter(|said| said.families.iter().any(|name| name == family));
    of_family.flat_map(part).map(|(from, to)| (from.clone(), to.clone())).collect()
}

fn kind(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|(end, ..)| name.ends_with(end) && !name.ends_with("PreTrainedModel"))
}

/// The classes that a file offers (`__all__`), in order.
fn public_classes(module: &Module) -> Vec<Rc<StmtClassDef>> {
    let listed: Option<FxHashSet<String>> = match module.bindings.get("__all__") {
        Some(Binding::Value(value)) => match &**value {
            Expr::List(list) => Some(list.elts.iter().filter_map(text).collect()),
            _ => None,
        },
        _ => None,
    };
    let classes = module.bindings.iter().filter_map(|(name, binding)| match binding {
        Binding::Class(class) if listed.as_ref().is_none_or(|listed| listed.contains(name)) => Some(class.clone()),
        _ => None,
    });
    classes.collect()
}

/// The entries of a dictionary of texts in a class body.
pub fn pairs(lineage: &Lineage, name: &str) -> Vec<(String, String)> {
    let Some((_, Expr::Dict(entries))) = lineage.attribute(name) else { return Vec::new() };
    source::texts(entries)
}

fn texts(lineage: &Lineage, name: &str) -> Vec<String> {
    let Some((_, Expr::List(list))) = lineage.attribute(name) else { return Vec::new() };
    list.elts.iter().filter_map(text).collect()
}

fn assigns_within(statements: &[Stmt], name: &str) -> bool {
    let is_it = |target: &Expr| match target {
        Expr::Attribute(attribute) => {
            attribute.attr.as_str() == name
                && matches!(&*attribute.value, Expr::Name(owner) if owner.id.as_str() == "self")
        }
        _ => false,
    };
    statements.iter().any(|statement| match statement {
        Stmt::Assign(assign) => assign.targets.iter().any(|target| match target {
            Expr::Tuple(tuple) => tuple.elts.iter().any(is_it),
            other => is_it(other),
        }),
        Stmt::AnnAssign(assign) => is_it(&assign.target),
        Stmt::AugAssign(assign) => is_it(&assign.target),
        Stmt::If(conditional) => {
            assigns_within(&conditional.body, name)
                || conditional.elif_else_clauses.iter().any(|clause| assigns_within(&clause.body, name))
        }
        Stmt::For(repeated) => assigns_within(&repeated.body, name),
        Stmt::With(with) => assigns_within(&with.body, name),
        _ => false,
    })
}
