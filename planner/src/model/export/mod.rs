//! Exported programs: the archive that `torch.export.save` writes becomes a family of one model, whose modules' `forward` are
//! the graph's calls; the rest of the pipeline runs it as it runs a spec.
//!
//! ```text
//! model.pt2 -- archive --> JSON -- wire --> graph -- flatten --> calls -- tree --> calls of modules -- write --> Family
//!                                                                          names: what Python's names hold
//! ```

mod archive;
mod arguments;
mod bind;
mod body;
mod code;
mod error;
mod facts;
mod family;
mod flatten;
mod inputs;
mod modules;
mod names;
mod sizes;
mod traced;
mod tree;
mod wire;
mod write;

use crate::words::quote;
use std::io::{Read, Seek};
use std::path::Path;

pub use bind::{Sizes, UNSAID};
pub use error::ExportError;
use error::Problem;
use facts::Facts;
pub use inputs::{Dimension, Exported, Input, Origin, Symbol};

use crate::dtype::Dtype;
use crate::read::spec::{Family, Shelf, SpecError};

/// The most commas and brackets of a graph's JSON: a bound on what its texts become in memory.
const SIGNS: usize = 24_000_000;

/// A model that was exported.
#[derive(Debug)]
pub struct ExportedModel {
    /// Its family, of one architecture.
    pub family: Family,
    /// Its inputs, the sizes that it leaves open, its loss.
    pub exported: Exported,
    /// The architecture: the class of the model.
    pub architecture: String,
    /// The type of its weights.
    pub dtype: Dtype,
}

/// Why an exported program is no model.
#[derive(Debug, thiserror::Error)]
pub enum ExportedModelError {
    /// The program cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A spec that it uses cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Whether a path is that of an exported program.
pub fn is_export(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pt2"))
}

/// Reads the archive of an exported program; weights are never read.
///
/// # Errors
/// What is wrong with the file, the graph or the specs that it uses.
pub fn read(path: &Path, shelf: &Shelf) -> Result<ExportedModel, ExportedModelError> {
    let texts = archive::read(path)?;
    parse(path, &texts.graph, texts.weights.as_deref(), shelf)
}

/// Reads an archive out of its bytes; `path` is for messages.
///
/// # Errors
/// As `read`.
pub fn from_reader(path: &Path, bytes: impl Read + Seek, shelf: &Shelf) -> Result<ExportedModel, ExportedModelError> {
    let texts = archive::from_reader(path, bytes)?;
    parse(path, &texts.graph, texts.weights.as_deref(), shelf)
}

/// Reads a program out of its texts: the graph and, where there is one, the table of weights. `path` is for messages.
///
/// # Errors
/// As `read`.
pub fn parse(
    path: &Path,
    graph: &[u8],
    weights: Option<&[u8]>,
    shelf: &Shelf,
) -> Result<ExportedModel, ExportedModelError> {
    let signs = graph.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if signs > SIGNS {
        let (what, found) = ("the number of signs in the graph's JSON".to_owned(), signs as u64);
        return Err(ExportError::TooLarge { path: path.to_owned(), what, found, most: SIGNS as u64 }.into());
    }
    let program: wire::ExportedProgram<'_> = json(path, graph)?;
    let table: wire::WeightsTable<'_> = weights.map(|text| json(path, text)).transpose()?.unwrap_or_default();
    let in_file = |Problem { node, message }| ExportError::Graph { path: path.to_owned(), node, message };
    check_version(&program).map_err(in_file)?;
    let mut flat = flatten::flatten(&program.graph_module).map_err(in_file)?;
    traced::leave_out(&mut flat);
    let calls = tree::calls(&flat).map_err(in_file)?;
    let facts = Facts::of(&program, &flat, &calls, &table).map_err(in_file)?;
    let listed = program.graph_module.module_call_graph.iter().map(|call| &*call.fqn.0);
    let called = calls.classes.keys().copied();
    let modules = modules::modules(listed, called, &flat.states).map_err(in_file)?;
    let parts = family::Parts { program: &flat, calls: &calls, modules: &modules, facts: &facts };
    let base = family::base(path, shelf)?;
    let architecture = facts.class.clone();
    let dtype = facts.weights;
    let exported = inputs::exported(&program, &flat, &facts, weights.is_some()).map_err(in_file)?;
    let family = parts.family(base, &exported).map_err(in_file)?;
    Ok(ExportedModel { family, exported, architecture, dtype })
}

fn json<'a, T: serde::Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T, ExportError> {
    serde_json::from_slice(text).map_err(|error| ExportError::Json {
        path: path.to_owned(),
        message: quote::json_message(&error),
        line: error.line(),
        column: error.column(),
    })
}

/// The major version of the schema that PyTorch 2.8 to 2.11 write (torch/_export/serde/schema.py).
const SCHEMA: u64 = 8;

fn check_version(program: &wire::ExportedProgram<'_>) -> Result<(), Problem> {
    match program.schema_version {
        Some(version) if version.major != SCHEMA => Err(Problem::new(format!(
            "schema {}.{} is not known: PyTorch 2.8 to 2.11 write schema {SCHEMA}",
            version.major, version.minor
        ))),
        _ => Ok(()),
    }
}
