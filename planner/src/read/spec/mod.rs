//! Specs of models: YAML files whose modules are written as the PyTorch source writes them.
//!
//! ```text
//! specs/models/gpt2.yaml -- document --> texts with positions -- lexer, parse --> functions (syntax) -> Family
//!        uses: [nn, cache]  -> specs/library/*.yaml, the same format
//! ```

pub mod changes;
mod document;
mod family;
mod lexer;
mod parse;
pub mod syntax;

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::words::quote;
pub use document::ImageRows;
pub(in crate::read) use family::read_text;
pub use family::{
    Architecture, Buffer, Class, Configuration, Definition, Definitions, Earlier, Family, Field, FieldType, Sdpa, Shelf,
};
use syntax::Position;

/// What is wrong with a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The spec's file.
    pub file: Arc<str>,
    /// Line and column within it; line 0 where the whole file is meant.
    pub at: Position,
    /// What is wrong, without the place.
    pub message: String,
}

impl SpecError {
    /// An error at a place in a file.
    pub fn new(file: &Arc<str>, at: Position, message: &str) -> SpecError {
        SpecError { file: file.clone(), at, message: quote::message(message) }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SpecError { file, at, message } = self;
        if at.line == 0 {
            return write!(f, "{file}: {message}");
        }
        write!(f, "{file}:{}:{}: {message}", at.line, at.column)
    }
}

impl std::error::Error for SpecError {}

/// Reads the YAML of a spec file of any kind.
pub(super) fn yaml<T: for<'de> Deserialize<'de>>(file: &Arc<str>, text: &str) -> Result<T, SpecError> {
    document::read(file, text)
}

/// Parses the functions that stand under a file's `functions` key: (signature, body).
pub(super) fn functions(
    entries: &IndexMap<String, String>,
    file: &Arc<str>,
    text: &str,
) -> Result<Vec<syntax::Function>, SpecError> {
    family::functions(entries, file, text)
}

/// Parses the text of a spec file without using it; what a fuzzer calls.
pub fn check(file: &str, text: &str) -> Result<(), SpecError> {
    let file: Arc<str> = file.into();
    family::parse(&document::read(&file, text)?, &file, text).map(|_| ())
}

/// The names that the embedded library defines, but for its imported files.
///
/// # Errors
/// A file that is no spec.
pub fn library_names() -> Result<Vec<String>, SpecError> {
    let mut names = Vec::new();
    for (file, text) in super::specs::embedded_files("library") {
        let file: Arc<str> = file.into();
        let family = family::parse(&document::read(&file, text)?, &file, text)?;
        // what was imported is asked for by the families that were imported with it
        if family.imported {
            continue;
        }
        names.extend(family.definitions.into_keys().map(|name| name.to_string()));
    }
    names.sort();
    Ok(names)
}
