//! The archive that `torch.export.save` writes: a zip of which two texts are read, and never the weights.
//!
//! ```text
//! NAME/models/model.json                        the graph
//! NAME/data/weights/model_weights_config.json   the table of weights (2.9 and later; before, a pickle that is not opened)
//! NAME/data/weights/weight_0 ...                passed over
//! ```
//!
//! Hostile archives end here: the directory and each text have a cap, whatever sizes they claim; names are compared, never
//! used as paths.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use super::error::ExportError;
use crate::files;
use crate::words::quote;

/// The longest graph that is read, in bytes: 400,000 calls with their stack traces.
pub const LARGEST_GRAPH: u64 = 256 << 20;

/// The longest table of weights that is read, in bytes.
const LARGEST_TABLE: u64 = 64 << 20;

/// The most that is read of an archive's directory, in bytes: 150,000 entries.
const LARGEST_DIRECTORY: u64 = 16 << 20;

/// Where weights and their table lie.
const WEIGHTS: &str = "/data/weights/";

/// How the names of tables of weights end.
const TABLE: &str = "_weights_config.json";

/// The texts of an archive.
pub struct Texts {
    /// The graph.
    pub graph: Vec<u8>,
    /// The table of weights, where there is one that tells them apart.
    pub weights: Option<Vec<u8>>,
}

/// A file of which no more is read than the budget says.
struct Metered<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(count as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("its directory is larger than any program's"))?);
        Ok(count)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// Reads the texts of an archive.
///
/// # Errors
/// No such file, no archive, no program within it, or several; texts beyond the caps.
pub fn read(path: &Path) -> Result<Texts, ExportError> {
    let (file, _) = files::open(path).map_err(|source| ExportError::Io { path: path.to_owned(), source })?;
    from_reader(path, BufReader::new(file))
}

/// Reads the texts of an archive out of its bytes; `path` is for errors.
///
/// # Errors
/// As `read`.
pub fn from_reader(path: &Path, inner: impl Read + Seek) -> Result<Texts, ExportError> {
    let broken = |message: String| ExportError::Archive { path: path.to_owned(), message };
    let left = Rc::new(Cell::new(LARGEST_DIRECTORY));
    let metered = Metered { inner, left: left.clone() };
    // PyTorch's archives begin where their file does; where that is guessed, names of 30 letters lead it astray
    // (zip 9.4.1, format/find_central_directory.rs: the end record of zip64 is there though the other one is not saturated).
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, metered).map_err(|error| broken(error.to_string()))?;
    let names = archive.file_names().map(|name| Ok(name?.into_owned())).collect::<Result<Vec<String>, ZipError>>();
    let names = names.map_err(|error| broken(error.to_string()))?;
    let programs: Vec<&String> = names.iter().filter(|name| is_program(name)).collect();
    let program = match programs[..] {
        [one] => one,
        [] => return Err(broken(without_program(&names))),
        _ => return Err(broken(format!("it holds {} programs: save one at a time", programs.len()))),
    };
    left.set(u64::MAX); // the texts have caps of their own
    let graph = text(&mut archive, path, program, LARGEST_GRAPH)?;
    let table = names.iter().find(|name| name.contains(WEIGHTS) && name.ends_with(TABLE));
    let table = table.filter(|_| !are_empty(&mut archive, &names));
    let weights = table.map(|name| text(&mut archive, path, name, LARGEST_TABLE)).transpose()?;
    Ok(Texts { graph, weights })
}

/// Whether an entry is a program's graph: `NAME/models/model.json`.
fn is_program(name: &str) -> bool {
    let mut parts = name.split('/');
    let place = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(place, (Some(_), Some("models"), Some(file), None) if file.ends_with(".json"))
}

/// Whether there are weights and none has a byte. So it is where a model was exported on the device `meta` or in a FakeTensorMode: its
/// table gives all weights one path, and does not tell which are tied.
fn are_empty<R: Read + Seek>(archive: &mut ZipArchive<R>, names: &[String]) -> bool {
    let mut weights = names.iter().filter(|name| name.contains(WEIGHTS) && !name.ends_with(TABLE)).peekable();
    weights.peek().is_some() && weights.all(|name| archive.by_name(name).is_ok_and(|weight| weight.size() == 0))
}

/// Why an archive holds no program.
fn without_program(names: &[String]) -> String {
    let holds = |part: &str| names.iter().any(|name| name.contains(part));
    let found = match () {
        () if holds("data/aotinductor/") => "it holds a compiled program (AOTInductor)",
        () if holds("/code/") || names.iter().any(|name| name.ends_with("/constants.pkl")) => "it holds TorchScript",
        () if names.iter().any(|name| name.ends_with("/data.pkl")) => "it holds what torch.save wrote",
        () if holds("serialized_exported_program.json") => "it was written by a PyTorch before 2.8",
        () => "it holds no models/*.json",
    };
    format!("{found}: write it with torch.export.save of PyTorch 2.8 or later")
}

/// An entry's bytes, no more than so many.
fn text<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    path: &Path,
    name: &str,
    most: u64,
) -> Result<Vec<u8>, ExportError> {
    let broken = |message: String| ExportError::Archive { path: path.to_owned(), message };
    let too_large = |found| ExportError::TooLarge { path: path.to_owned(), what: quote::cut(name), found, most };
    let entry = archive.by_name(name).map_err(|error| broken(error.to_string()))?;
    if entry.size() > most {
        return Err(too_large(entry.size()));
    }
    let mut bytes = Vec::new();
    entry.take(most + 1).read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}
