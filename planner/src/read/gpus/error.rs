//! What can be wrong with the GPU catalogue, or with a GPU's name.

use std::path::PathBuf;

use crate::read::profiles::ProfileError;

/// What can go wrong with the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// A file or folder of the user's cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file is not a catalogue: not YAML, an unknown key, a figure of the wrong type or out of bounds.
    #[error("{file}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The reason, in words.
        message: String,
    },
    /// A profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The catalogue has no such GPU.
    #[error("no GPU is called {name:?}; the nearest are {}", nearest.join(", "))]
    Unknown {
        /// The name or number that was asked for.
        name: String,
        /// The keys of the GPUs with the nearest names, nearest first.
        nearest: Vec<String>,
    },
    /// A processor of another maker.
    #[error("{name:?} is {maker}: only NVIDIA's GPUs are planned")]
    Other {
        /// The name that was asked for.
        name: String,
        /// Who makes it.
        maker: &'static str,
    },
    /// The name fits several GPUs.
    #[error("{name:?} may be any of {}; say which", keys.join(", "))]
    Ambiguous {
        /// The name or number that was asked for.
        name: String,
        /// The keys of the GPUs that it fits.
        keys: Vec<String>,
    },
}
