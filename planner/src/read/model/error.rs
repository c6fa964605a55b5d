//! What can be wrong with a model.

use std::path::PathBuf;

use crate::read::checkpoint::CheckpointError;
use crate::read::config::ConfigError;
use crate::read::spec::SpecError;

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Neither a folder nor a built-in name.
    #[error("`{name}` is neither a folder nor a built-in model; built in are {}", known.join(", "))]
    UnknownName {
        /// What was given.
        name: String,
        /// The built-in names.
        known: Vec<String>,
    },
    /// A file where a folder is needed.
    #[error("{} is a file: give the folder that holds config.json and the weights, or size the file with `memplan inspect`", path.display())]
    FileNotFolder {
        /// The file.
        path: PathBuf,
    },
    /// No family has the architecture.
    #[error("the architecture `{found}` is not known (known: {}); its parameters can still be sized with `memplan inspect`", known.join(", "))]
    UnknownArchitecture {
        /// What the config names.
        found: String,
        /// What the specs describe.
        known: Vec<String>,
    },
    /// The config names a type that weights cannot have.
    #[error("{}: \"dtype\" is `{found}`, which is no type of weights (float32, bfloat16, float16)", path.display())]
    UnknownDtype {
        /// The config.
        path: PathBuf,
        /// What it names.
        found: String,
    },
    /// Weights of another shape than the architecture's.
    #[error("{}: `{name}` has shape {stored:?}, but {architecture} with this config.json has {expected:?}", file.display())]
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
    /// Weights that have no parameter of the architecture.
    #[error(
        "the weights hold none of {architecture}'s {parameters} parameters: the first is `{first}`, the weights begin with `{stored}`"
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
    /// The config cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// A spec cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
}
