//! What can be wrong with a profile.

use std::path::PathBuf;

use super::VERSION;
use crate::read::yaml::YamlFault;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// It is no profile: not YAML, an unknown key, a figure of the wrong type.
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
    /// It is of another version.
    #[error("{file}: {}; this program reads version {VERSION}: run `memplan calibrate` again", match found {
        Some(found) => format!("a profile of version {found}"),
        None => "no profile, for it has no `memplan_profile`".to_owned(),
    })]
    Version {
        /// The file.
        file: String,
        /// Its version, if it names one.
        found: Option<u32>,
    },
    /// A figure cannot be.
    #[error("{file}: {message}")]
    Figure {
        /// The file.
        file: String,
        /// The reason, in words.
        message: String,
    },
    /// It was measured on another GPU than the one that is planned for.
    #[error(
        "the profile {profile} was measured on {measured}, not on {planned}: leave --gpu out, or give that GPU's profile"
    )]
    OtherGpu {
        /// The profile.
        profile: String,
        /// Where it was measured.
        measured: String,
        /// What is planned for.
        planned: String,
    },
}

impl ProfileError {
    /// YAML's error, its place before its message.
    pub(super) fn parse(file: &str, fault: YamlFault) -> ProfileError {
        let YamlFault { line, column, message } = fault;
        ProfileError::Parse { file: file.to_owned(), line, column, message }
    }
}
