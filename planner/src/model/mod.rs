//! A model: its family, its config and, where it comes from a folder, the headers of its weights.

pub mod class;
mod entries;
mod error;
pub mod export;
pub mod named;
pub mod opened;
pub mod own;
mod places;
pub mod quantization;
#[cfg(test)]
mod small;
mod stored;
pub mod undescribed;
mod weights;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use error::ModelError;
pub use stored::loading;
pub use weights::{Agreement, agree};

use self::class::ClassPlace;
use self::export::{Exported, ExportedModel};
use self::named::{BuiltIn, HubId};
use self::quantization::{Method, Quantization, QuantizationError};
use crate::dtype::Dtype;
use crate::files;
use crate::graph::StoredLayers;
use crate::read::checkpoint::{self, Checkpoint, CheckpointError};
use crate::read::config::{self, Config};
use crate::read::foreign;
use crate::read::run_file;
use crate::read::spec::{Architecture, Family, Shelf};
use crate::run::{Construction, GivenInputs, Run};
use crate::words::nearest::nearest;

/// A model that can be planned.
#[derive(Debug)]
pub struct Model {
    /// What the user called it: a built-in name or a folder.
    pub name: String,
    /// The family that describes it.
    pub family: Family,
    /// What is to be known of the program that it was exported as; None where a family describes it.
    pub exported: Option<Exported>,
    /// Its architecture's name.
    pub architecture: String,
    /// The entries of its config.json.
    pub config: Map<String, Value>,
    /// Where they were read; None where they come from a spec or an export.
    pub config_file: Option<PathBuf>,
    /// The type of its published weights.
    pub dtype: Option<Dtype>,
    /// What the headers of its weights list; None for a built-in name.
    pub weights: Option<Checkpoint>,
}

impl Model {
    /// The same model with the weights of a file, an index or a folder, whose type goes before its own.
    fn with_weights(self, path: &Path) -> Result<Model, ModelError> {
        Ok(self.with_these(checkpoint::read(path)?))
    }

    fn with_these(self, weights: Checkpoint) -> Model {
        Model { dtype: weights::first_floating(&weights).or(self.dtype), weights: Some(weights), ..self }
    }

    /// How its weights are stored quantised, if they are. Whether scales are quantised too is as the file has it
    /// (bitsandbytes 0.50.2, functional.py, `QuantState.from_dict`).
    ///
    /// # Errors
    /// A method or an entry that cannot be planned.
    pub fn quantization(&self) -> Result<Option<Quantization>, QuantizationError> {
        let mut quantization =
            Quantization::of(&self.config).map_err(|error| error.in_file(self.config_file.as_deref()))?;
        if let (Some(stored), None) = (&quantization, &self.weights)
            && let Method::Packed(_) = stored.method
        {
            // Which layers are packed is known from the headers alone.
            return Err(QuantizationError::Method { method: stored.word().to_owned() });
        }
        if let (Some(Quantization { method: Method::FourBit { nested, .. }, .. }), Some(weights)) =
            (&mut quantization, &self.weights)
        {
            *nested = weights.tensors.keys().any(|name| name.ends_with(stored::NESTED_SCALES));
        }
        Ok(quantization)
    }

    /// What takes the place of the layers whose weights are stored quantised.
    ///
    /// # Errors
    /// As `quantization`.
    pub fn stored_layers(&self) -> Result<Option<StoredLayers>, QuantizationError> {
        let names = || self.weights.iter().flat_map(|weights| weights.tensors.keys());
        Ok(self.quantization()?.map(|quantization| quantization.layers(self.dtype, names())))
    }

    /// Whether it is a configuration of a spec: neither a folder nor an export.
    pub fn is_built_in(&self) -> bool {
        self.config_file.is_none() && self.exported.is_none()
    }

    /// Whether its architecture takes images.
    pub fn takes_images(&self) -> bool {
        self.family.architectures.get(&self.architecture).is_some_and(|architecture| architecture.takes_images)
    }

    /// Whether its architecture takes images beside tokens.
    pub fn takes_images_beside(&self) -> bool {
        self.family.architectures.get(&self.architecture).is_some_and(|architecture| architecture.images.is_some())
    }

    /// Whether it takes sequences of tokens.
    pub fn takes_tokens(&self) -> bool {
        match &self.exported {
            Some(exported) => exported.takes_tokens(),
            None => !self.takes_images() || self.takes_text(),
        }
    }

    /// Whether it takes text beside images.
    fn takes_text(&self) -> bool {
        self.family.architectures.get(&self.architecture).is_some_and(|architecture| architecture.takes_text)
    }

    /// How many tokens its config says that it takes; None where it says nothing of them.
    pub fn positions(&self) -> Option<u64> {
        ["max_position_embeddings", "n_positions"].iter().find_map(|key| self.entry(key)?.as_u64())
    }

    /// An entry of its config, or its family's default.
    pub fn entry(&self, key: &str) -> Option<&Value> {
        self.config.get(key).or_else(|| self.family.defaults.get(key))
    }

    /// The rows of its images where a run gives none: its config's, or its family's, else 224; None where it takes none.
    pub fn image_size(&self) -> Option<u64> {
        let size = |value: &Value| value.as_u64().or_else(|| value.get(0)?.as_u64());
        let within = || self.entry("vision_config")?.get("image_size").and_then(size);
        // timm's: channels, rows, columns
        let of_weights = || self.entry("pretrained_cfg")?.get("input_size")?.get(1)?.as_u64();
        let takes = self.takes_images() || self.takes_images_beside();
        let rows = &self.family.architectures.get(&self.architecture).filter(|_| takes)?.image_rows;
        let own = self.entry(&rows.entry).and_then(size).map(|entry| entry * rows.times);
        own.or_else(within).or_else(of_weights).or(Some(rows.otherwise))
    }

    /// The rows of the images of a run; None where there are no images.
    pub fn image_of(&self, run: &Run) -> Option<u64> {
        run.image.or(self.image_size())
    }

    /// The architecture that runs: the model's own, or, where a loss is needed and a base model has none, the one that
    /// adds a head to it.
    ///
    /// # Errors
    /// A spec that names an architecture it does not describe.
    pub fn architecture(&self, needs_loss: bool) -> Result<&Architecture, ModelError> {
        let find = |name: &str| {
            self.family.architectures.get(name).ok_or_else(|| ModelError::UnknownArchitecture {
                found: name.to_owned(),
                known: self.family.architectures.keys().cloned().collect(),
            })
        };
        let own = find(&self.architecture)?;
        match &own.trained_as {
            Some(other) if needs_loss => find(other),
            _ => Ok(own),
        }
    }
}

/// Opens a model: a folder as Hugging Face lays it out or its config.json, an export (`.pt2`), a spec (`.yaml`), a hub id that lies
/// in a local cache, or a built-in name. A config without weights beside it is enough: parameters are those of the architecture.
///
/// `architecture` takes the place of the one that the config names.
///
/// # Errors
/// No such folder or name; a config, an index or a header that is not what it should be; an unknown architecture.
pub fn open(name: &str, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    let model = describe(name, architecture, shelf)?;
    let (folder, named) = (model.config_file.as_deref().and_then(Path::parent).map(Path::to_owned), model.dtype);
    let Some(folder) = folder else { return Ok(model) };
    // What its config names goes before the type of the weights that lie beside it.
    match weights_beside(&folder)? {
        None => Ok(model),
        Some(weights) => {
            let model = model.with_these(weights);
            Ok(Model { dtype: named.or(model.dtype), ..model })
        }
    }
}

/// The weights of a folder; None where it has none.
///
/// # Errors
/// Weights that cannot be read, or of which a part is missing.
fn weights_beside(folder: &Path) -> Result<Option<Checkpoint>, ModelError> {
    match checkpoint::read(folder) {
        Err(CheckpointError::NoWeights { .. }) => Ok(None),
        Err(CheckpointError::ShardMissing { missing, shards, .. }) if missing == shards => Ok(None),
        Err(error) => Err(error.into()),
        Ok(weights) => Ok(Some(weights)),
    }
}

/// Opens a model as [`open`] does, with the weights of a file, an index or a folder in place of its own, of which nothing is read.
///
/// # Errors
/// As of [`open`], of the description and of these weights.
pub fn open_with_weights(
    name: &str,
    architecture: Option<&str>,
    weights: &Path,
    shelf: &Shelf,
) -> Result<Model, ModelError> {
    describe(name, architecture, shelf)?.with_weights(weights)
}

/// Opens a class of a file of Python, with the weights of a file, an index or a folder where they are given.
///
/// # Errors
/// As of [`class::open`], and of these weights.
pub fn open_class(
    name: &str,
    place: &ClassPlace,
    made: (&Construction, &GivenInputs),
    weights: Option<&Path>,
    shelf: &Shelf,
) -> Result<Model, ModelError> {
    let model = class::open(name, place, made, shelf)?;
    match weights {
        Some(weights) => model.with_weights(weights),
        None => Ok(model),
    }
}

/// The model without weights; its type is the one that its description names.
fn describe(name: &str, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    let path = Path::new(name);
    if path.is_dir() {
        return describe_folder(path, architecture, shelf);
    }
    if export::is_export(path) && path.exists() {
        return open_export(path, shelf);
    }
    if is_spec(path) && path.is_file() {
        let is_run_file = || run_file::read(path).is_ok_and(|options| options.model.is_some());
        return open_spec(path, architecture, shelf).map_err(|error| match is_run_file() {
            true => ModelError::RunFile { path: path.to_owned() },
            false => error,
        });
    }
    if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
        return describe_folder(path, architecture, shelf);
    }
    if let Some(kind) = Some(path).filter(|path| path.is_file()).and_then(foreign::kind_of) {
        return Err(ModelError::Foreign { path: path.to_owned(), kind });
    }
    if path.is_file() {
        return Err(ModelError::FileNotFolder { path: path.to_owned() });
    }
    if path.exists()
        && let Err(source) = files::open(path)
    {
        return Err(ModelError::NoFile { path: path.to_owned(), source });
    }
    let id = HubId::of(name);
    if id.is_none() && named::is_path(name) {
        return Err(ModelError::NoSuchPath { path: path.to_owned() });
    }
    if let Some(folder) = id.as_ref().and_then(named::cached) {
        let model = of_config(&config::read(&folder)?, architecture, shelf)?;
        return Ok(Model { name: name.to_owned(), ..model });
    }
    match (named::built_in(name, shelf)?, id) {
        (Some(found), _) => built_in(found, architecture, shelf),
        (None, Some(id)) => Err(ModelError::NotCached { id, nearest: nearest_names(name, shelf)? }),
        (None, None) => Err(unknown_name(name, shelf)?),
    }
}

/// Whether a path is that of a spec.
fn is_spec(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// A spec of a user's own.
fn open_spec(path: &Path, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    of_family(path, shelf.family_of_file(path)?, architecture)
}

/// The model of a spec: its first configuration, or its defaults; `path` is what it is called.
///
/// # Errors
/// An architecture that the spec does not have, or none where none is named.
pub fn of_family(path: &Path, family: Family, architecture: Option<&str>) -> Result<Model, ModelError> {
    let first = family.configurations.first();
    let names = || family.architectures.keys().cloned().collect();
    let own = first.map(|(_, configuration)| configuration.architecture.as_str());
    let Some(architecture) = architecture.or(own).or(family.architectures.keys().next().map(String::as_str)) else {
        return Err(ModelError::NoArchitecture { path: path.to_owned() });
    };
    if !family.architectures.contains_key(architecture) {
        return Err(ModelError::UnknownArchitecture { found: architecture.to_owned(), known: names() });
    }
    let config = first.map(|(_, configuration)| configuration.config.clone().into_iter().collect()).unwrap_or_default();
    let dtype = first.and_then(|(_, configuration)| configuration.dtype.as_deref()).and_then(Dtype::named);
    let (name, architecture) = (path.display().to_string(), architecture.to_owned());
    Ok(Model { name, architecture, config, config_file: None, dtype, weights: None, family, exported: None })
}

fn open_export(path: &Path, shelf: &Shelf) -> Result<Model, ModelError> {
    Ok(of_export(path, export::read(path, shelf)?))
}

/// The model that was exported; `path` is what it is called.
pub fn of_export(path: &Path, exported: ExportedModel) -> Model {
    let ExportedModel { family, exported, architecture, dtype } = exported;
    let (name, dtype) = (path.display().to_string(), Some(dtype));
    let exported = Some(exported);
    Model { name, family, exported, architecture, config: Map::new(), config_file: None, dtype, weights: None }
}

fn unknown_name(name: &str, shelf: &Shelf) -> Result<ModelError, ModelError> {
    Ok(ModelError::UnknownName { name: name.to_owned(), nearest: nearest_names(name, shelf)? })
}

/// The built-in names that are nearest to a word, or to what stands behind its slash.
fn nearest_names(word: &str, shelf: &Shelf) -> Result<Vec<String>, ModelError> {
    let families = shelf.families()?;
    let names = families.iter().flat_map(|family| family.configurations.keys().map(String::as_str));
    let word = word.rsplit('/').next().unwrap_or(word);
    Ok(nearest(word, names).into_iter().map(str::to_owned).collect())
}

fn built_in(found: BuiltIn, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    let BuiltIn { name, family, tag } = found;
    let name = name.as_str();
    let Some(configuration) = family.configurations.get(name) else {
        return Err(unknown_name(name, shelf)?);
    };
    let architecture = architecture.unwrap_or(&configuration.architecture).to_owned();
    if !family.architectures.contains_key(&architecture) {
        let known = family.architectures.keys().cloned().collect();
        return Err(ModelError::UnknownArchitecture { found: architecture, known });
    }
    let mut config: Map<String, Value> =
        configuration.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let tags = config.remove("tags");
    if let Some(Value::Object(said)) = tag.as_ref().and_then(|tag| tags.as_ref()?.get(tag)) {
        config.extend(said.clone());
    }
    Ok(Model {
        name: tag.map_or_else(|| name.to_owned(), |tag| format!("{name}.{tag}")),
        architecture,
        config,
        config_file: None,
        dtype: configuration.dtype.as_deref().and_then(Dtype::named),
        weights: None,
        family,
        exported: None,
    })
}

/// What a pipeline of diffusers lists in its folder (0.42.1, pipelines/pipeline_utils.py): its own class, and its models by the folders
/// that they lie in; None where the folder is no pipeline's.
fn pipeline(path: &Path) -> Option<ModelError> {
    let index = config::read(&path.join("model_index.json")).ok()?;
    let class = |part: &Value| Some(part.as_array()?.get(1)?.as_str()?.to_owned());
    let is_model = |name: &str| path.join(name).join("config.json").is_file();
    let parts = index.values().iter().filter(|(name, _)| is_model(name));
    let parts = parts.filter_map(|(name, part)| Some((name.clone(), class(part)?))).collect();
    let class = index.string("_class_name").ok().flatten().unwrap_or("pipeline").to_owned();
    Some(ModelError::Pipeline { path: path.to_owned(), class, parts })
}

fn describe_folder(path: &Path, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    if !path.join("config.json").is_file()
        && let Some(error) = pipeline(path).filter(|_| path.is_dir())
    {
        return Err(error);
    }
    Ok(Model { name: path.display().to_string(), ..of_config(&config::read(path)?, architecture, shelf)? })
}

/// The model that a config.json describes, without weights; it is called as its file is.
///
/// `architecture` takes the place of the one that the config names.
///
/// # Errors
/// An architecture that is not known, or entries that are not what the family's spec needs.
pub fn of_config(config: &Config, architecture: Option<&str>, shelf: &Shelf) -> Result<Model, ModelError> {
    if let (None, Some(name)) = (architecture, config.of_timm()?) {
        return of_timm(config, name, shelf);
    }
    let architecture = match architecture {
        Some(architecture) => architecture,
        None => config.architecture()?,
    };
    let found = shelf.family_of_architecture(architecture)?;
    let Some(family) = found.map_or_else(|| own::family(config, architecture, shelf), |family| Ok(Some(family)))?
    else {
        let families = shelf.families()?;
        let known = families.iter().flat_map(|family| family.architectures.keys().cloned()).collect();
        return Err(ModelError::UnknownArchitecture { found: architecture.to_owned(), known });
    };
    entries::check(config, &family)?;
    Ok(Model {
        name: config.path().display().to_string(),
        architecture: architecture.to_owned(),
        config: config.values().clone(),
        config_file: Some(config.path().to_owned()),
        dtype: named_dtype(config)?,
        weights: None,
        family,
        exported: None,
    })
}

/// The model that a config.json of timm describes: `"architecture": "resnet50"`, and what its weights say (timm 1.0.31, models/_hub.py,
/// `_parse_model_cfg`).
fn of_timm(config: &Config, name: &str, shelf: &Shelf) -> Result<Model, ModelError> {
    let called = format!("{}{name}", named::TIMM);
    let Some(family) = shelf.family_of_configuration(&called)? else { return Err(unknown_name(&called, shelf)?) };
    let Some(architecture) = family.configurations.get(&called).map(|known| known.architecture.clone()) else {
        return Err(unknown_name(&called, shelf)?);
    };
    entries::check(config, &family)?;
    let mut values = config.values().clone();
    // the form of older files: all in one
    if !values.contains_key("pretrained_cfg") {
        let said: Map<String, Value> = values
            .iter()
            .filter(|(key, _)| *key != "architecture")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        values.insert("pretrained_cfg".to_owned(), Value::Object(said));
    }
    Ok(Model {
        name: config.path().display().to_string(),
        architecture,
        config: values,
        config_file: Some(config.path().to_owned()),
        dtype: None,
        weights: None,
        family,
        exported: None,
    })
}

/// The type that a config names, if it names one.
fn named_dtype(config: &Config) -> Result<Option<Dtype>, ModelError> {
    match config.dtype()?.map(|dtype| dtype.trim_start_matches("torch.")) {
        None | Some("auto") => Ok(None),
        Some(name) => match Dtype::named(name).filter(|dtype| dtype.is_floating()) {
            None => Err(ModelError::UnknownDtype { path: config.path().to_owned(), found: name.to_owned() }),
            known => Ok(known),
        },
    }
}
