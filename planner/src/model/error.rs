//! What can be wrong with a model.

use std::path::PathBuf;

use super::named::HubId;
use crate::read::checkpoint::CheckpointError;
use crate::read::config::ConfigError;
use crate::read::spec::SpecError;
use crate::words::{names, quote};

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a folder nor a built-in name.
    #[error("{} is neither a folder nor a built-in model; the nearest names are {}", quote::quoted(.name), nearest.join(", "))]
    UnknownName {
        /// The word or number that was given.
        name: String,
        /// The nearest built-in names.
        nearest: Vec<String>,
    },
    /// A path where nothing is.
    #[error("{}: no such file or folder", quote::path(.path))]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// A model of the hub that is neither built in nor in a local cache.
    #[error("{id} is in no local cache of the hub and not built in; the nearest built-in names are {}", nearest.join(", "))]
    NotCached {
        /// Its id.
        id: HubId,
        /// The nearest built-in names.
        nearest: Vec<String>,
    },
    /// A folder of a pipeline of diffusers.
    #[error("{} is a {class} of several models: plan one of them, {}", quote::path(.path), listed(path, .parts))]
    Pipeline {
        /// The folder.
        path: PathBuf,
        /// What kind of pipeline it is.
        class: String,
        /// Its models: their folders, and their classes.
        parts: Vec<(String, String)>,
    },
    /// A file where a folder is needed.
    #[error("{} is a file: give the folder that holds config.json and the weights", quote::path(.path))]
    FileNotFolder {
        /// The file.
        path: PathBuf,
    },
    /// A file of another program.
    #[error("{} {kind}", quote::path(.path))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        kind: &'static str,
    },
    /// A run file where a model is meant.
    #[error("{} is a run file, which names its model: give it with --run {}", quote::path(.path), quote::path(.path))]
    RunFile {
        /// The file.
        path: PathBuf,
    },
    /// A pipe or a device where a folder is needed.
    #[error("{}: cannot be read: {source}", quote::path(.path))]
    NoFile {
        /// Its path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The folder's own source cannot be a spec.
    #[error("{}: {fault}", quote::path(.folder))]
    OwnSource {
        /// The folder.
        folder: PathBuf,
        /// What is wrong, with the file and the line.
        fault: String,
    },
    /// No family has the architecture.
    #[error(
        "{}: {}",
        unknown(.found), names::nearest_few(found, known, "`memplan inspect` sizes its parameters")
    )]
    UnknownArchitecture {
        /// What the config names.
        found: String,
        /// What the specs describe.
        known: Vec<String>,
    },
    /// The config names a type that weights cannot have.
    #[error("{}: \"dtype\" is {}, which is no type of weights (float32, bfloat16, float16)", quote::path(.path), quote::quoted(.found))]
    UnknownDtype {
        /// The config.
        path: PathBuf,
        /// What it names.
        found: String,
    },
    /// Weights of another shape than the architecture's.
    #[error("{}: {} has shape {}, but {architecture} with this config.json has {}", quote::path(.file), quote::quoted(.name), quote::shape(.stored), quote::shape(.expected))]
    Shape {
        /// The file that holds it.
        file: PathBuf,
        /// The parameter.
        name: String,
        /// Its shape in the file.
        stored: Vec<u64>,
        /// The shape that the architecture gives it.
        expected: Vec<u64>,
        /// The architecture.
        architecture: String,
    },
    /// Parts of a parameter that do not make it up.
    #[error(
        "{}: {} and the other parts of {parameter} have {stored} elements, but it has {expected} in {architecture} with this config.json",
        quote::path(.file), quote::quoted(.name)
    )]
    Parts {
        /// The file that holds the first of them.
        file: PathBuf,
        /// The first of them.
        name: String,
        /// How many elements all have.
        stored: u64,
        /// The parameter.
        parameter: String,
        /// How many elements it has.
        expected: u64,
        /// The architecture.
        architecture: String,
    },
    /// A quantised checkpoint whose tensors are merged as they are loaded.
    #[error(
        "quantised checkpoints ({method}) of {architecture} are not known: transformers merges the experts' stored tensors as it \
         loads them; without \"quantization_config\" in config.json the model is planned as it runs in the type of its other weights"
    )]
    QuantizedParts {
        /// The architecture.
        architecture: String,
        /// How the config says that weights are stored.
        method: &'static str,
    },
    /// Weights that have no parameter of the architecture.
    #[error(
        "the weights hold none of {architecture}'s {parameters} parameters: the first is `{first}`, the weights begin with {}",
        quote::quoted(.stored)
    )]
    NothingFits {
        /// The architecture.
        architecture: String,
        /// How many parameters it has.
        parameters: usize,
        /// The first of them.
        first: String,
        /// The first tensor of the weights.
        stored: String,
    },
    /// Weights of which too little is the architecture's.
    #[error("{}: weights of another model than this {architecture}: {what}", quote::path(.file))]
    Mismatch {
        /// The first file of the weights.
        file: PathBuf,
        /// The architecture.
        architecture: String,
        /// What is missing or without use, in words.
        what: String,
    },
    /// A stored tensor that is not what the `quantization_config` makes of its parameter.
    #[error("{}: {} {what}, which does not fit quantization_config ({method})", quote::path(.file), quote::quoted(.name))]
    Quantized {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// The reason why it is refused, in words.
        what: String,
        /// How the config says that weights are stored.
        method: &'static str,
    },
    /// The config cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// A spec that describes no model.
    #[error("{}: no architecture: name the model's module under `architectures`", quote::path(.path))]
    NoArchitecture {
        /// The spec.
        path: PathBuf,
    },
    /// An exported program cannot be read.
    #[error(transparent)]
    Exported(#[from] crate::model::export::ExportedModelError),
    /// A class in a file of Python is no model.
    #[error(transparent)]
    Class(#[from] crate::model::class::ClassError),
    /// A spec cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl ModelError {
    /// Whether the model may be sound and only nothing here describes it, so that an estimate can stand for its plan.
    pub fn is_undescribed(&self) -> bool {
        matches!(self, ModelError::UnknownArchitecture { .. } | ModelError::OwnSource { .. })
    }

    /// What it says, without the names that are alike.
    pub fn reason(&self) -> String {
        match self {
            ModelError::UnknownArchitecture { found, .. } => unknown(found),
            error => error.to_string(),
        }
    }
}

fn unknown(architecture: &str) -> String {
    format!("the architecture {} is not known", quote::quoted(architecture))
}

/// A pipeline's models, with their classes.
fn listed(path: &std::path::Path, parts: &[(String, String)]) -> String {
    let said = parts.iter().map(|(name, class)| format!("{} ({class})", quote::path(&path.join(name))));
    said.collect::<Vec<_>>().join(", ")
}
