//! Snapshots as YAML: keys in a fixed order, sizes in exact bytes with the figure for people behind.

use std::fmt;
use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{HeldTensor, Holder, Most, Peaks, Snapshot, SnapshotError, SpecVersion};
use crate::bytes::Bytes;
use crate::read::run_file::{self, RunFileError};
use crate::read::yaml;
use crate::run::RunOptions;
use crate::versions::{Release, Versions};

/// The version of the text: another number means that a key changed its name or meaning.
pub(super) const FORMAT: u64 = 1;
/// How many holders are listed.
pub(super) const HOLDERS: usize = 10;
/// How many tensors of each.
const TENSORS: usize = 3;
/// The key of all that a holder holds.
const ALL: &str = "all";

/// The releases of snapshots that were kept before runs named any.
const BEFORE_RELEASES: Versions = Versions { torch: Release::new(2, 11), transformers: Release::new(5, 17) };

const HEAD: &str = "# `memplan check` plans this run again and compares; `--update` accepts what it finds.\n";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    snapshot: u64,
    memplan: String,
    spec: Spec,
    run: RunOptions,
    architecture: String,
    parameters: u64,
    fits: bool,
    events: u64,
    peaks: Figures,
    phases: IndexMap<String, Figures>,
    categories: IndexMap<String, Bytes>,
    holders: IndexMap<String, IndexMap<String, Bytes>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    other_holders: Bytes,
    most_of_categories: IndexMap<String, Bytes>,
    most_of_modules: IndexMap<String, Bytes>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optimizer: Option<String>,
    digest: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    allocated: Bytes,
    reserved: Bytes,
}

fn is_zero(bytes: &Bytes) -> bool {
    bytes.0 == 0
}

impl fmt::Display for Snapshot {
    /// The text that is kept: the ten largest holders, the three largest tensors of each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = yaml::write(&document(self)).map_err(|_| fmt::Error)?;
        f.write_str(HEAD)?;
        let mut sizes = false; // from the peaks on all numbers are bytes
        for line in text.lines() {
            sizes |= line == "peaks:";
            match line.rsplit_once(": ").and_then(|(_, value)| value.parse().ok()).filter(|_| sizes) {
                Some(bytes) => writeln!(f, "{line}  # {}", Bytes(bytes))?,
                None => writeln!(f, "{line}")?,
            }
        }
        Ok(())
    }
}

fn document(snapshot: &Snapshot) -> Document {
    let figures = |peaks: &Peaks| Figures { allocated: peaks.allocated, reserved: peaks.reserved };
    Document {
        snapshot: FORMAT,
        memplan: snapshot.program.clone(),
        spec: Spec {
            model: snapshot.spec.model.clone(),
            optimizer: snapshot.spec.optimizer.clone(),
            digest: snapshot.spec.digest.clone(),
        },
        run: snapshot.run.clone(),
        architecture: snapshot.architecture.clone(),
        parameters: snapshot.parameters,
        fits: snapshot.fits,
        events: snapshot.events,
        peaks: figures(&snapshot.peaks),
        phases: snapshot.phases.iter().map(|(name, peaks)| (name.clone(), figures(peaks))).collect(),
        categories: snapshot.categories.iter().cloned().collect(),
        holders: snapshot.holders.iter().take(HOLDERS).map(|holder| (holder.module.clone(), listed(holder))).collect(),
        other_holders: sum([snapshot.others, rest(&snapshot.holders)]),
        most_of_categories: snapshot.most.categories.iter().cloned().collect(),
        most_of_modules: snapshot.most.modules.iter().take(HOLDERS).cloned().collect(),
    }
}

/// What the holders have that are not listed.
fn rest(holders: &[Holder]) -> Bytes {
    sum(holders.iter().skip(HOLDERS).map(|holder| holder.bytes))
}

/// The sum of figures out of a file, which may be any.
fn sum(figures: impl IntoIterator<Item = Bytes>) -> Bytes {
    Bytes(figures.into_iter().fold(0, |sum, bytes| sum.saturating_add(bytes.0)))
}

fn listed(holder: &Holder) -> IndexMap<String, Bytes> {
    let tensors = holder.tensors.iter().take(TENSORS);
    let tensors = tensors.map(|tensor| (format!("{} x{}", tensor.name, tensor.count), tensor.bytes));
    [(ALL.to_owned(), holder.bytes)].into_iter().chain(tensors).collect()
}

/// Where all keys of a kept plan can be seen.
const LISTS: &str = "what `memplan snapshot` writes has all";

/// Whether a text says that it is a snapshot.
pub fn is_snapshot(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("snapshot:"))
}

/// Reads a snapshot's file.
///
/// # Errors
/// A file that cannot be read, or is no snapshot.
pub fn read(path: &Path) -> Result<Snapshot, SnapshotError> {
    parse(path, &run_file::text(path)?)
}

/// Reads the text of a snapshot; `path` is for errors. Of lists that are longer than those that are written, the rest is left out
/// there too.
///
/// # Errors
/// Text that is no snapshot, or of a later format.
pub fn parse(path: &Path, text: &str) -> Result<Snapshot, SnapshotError> {
    #[derive(Deserialize)]
    struct Head {
        snapshot: u64,
    }
    let head: Head = run_file::yaml(path, text, LISTS)?;
    if head.snapshot != FORMAT {
        return Err(SnapshotError::Format { path: path.display().to_string(), found: head.snapshot });
    }
    let document: Document = run_file::yaml(path, text, LISTS)?;
    document.run.check_ways(path)?;
    let run = RunOptions {
        torch: document.run.torch.or(Some(BEFORE_RELEASES.torch)),
        transformers: document.run.transformers.or(Some(BEFORE_RELEASES.transformers)),
        ..document.run
    };
    let peaks = |figures: Figures| Peaks { allocated: figures.allocated, reserved: figures.reserved };
    let holders = document.holders.into_iter().map(|(module, listed)| holder(path, module, listed));
    let mut holders = holders.collect::<Result<Vec<_>, _>>()?;
    let unlisted = rest(&holders);
    holders.truncate(HOLDERS);
    Ok(Snapshot {
        program: document.memplan,
        spec: SpecVersion {
            model: document.spec.model,
            optimizer: document.spec.optimizer,
            digest: document.spec.digest,
        },
        run,
        architecture: document.architecture,
        parameters: document.parameters,
        fits: document.fits,
        events: document.events,
        peaks: peaks(document.peaks),
        phases: document.phases.into_iter().map(|(name, figures)| (name, peaks(figures))).collect(),
        categories: document.categories.into_iter().collect(),
        holders,
        others: sum([document.other_holders, unlisted]),
        most: Most {
            categories: document.most_of_categories.into_iter().collect(),
            modules: document.most_of_modules.into_iter().take(HOLDERS).collect(),
        },
    })
}

fn holder(path: &Path, module: String, mut listed: IndexMap<String, Bytes>) -> Result<Holder, RunFileError> {
    let wrong = |message: String| RunFileError::Parse { path: path.to_owned(), line: 0, column: 0, message };
    let Some(bytes) = listed.shift_remove(ALL) else {
        return Err(wrong(format!("holders: {module}: `{ALL}` is missing")));
    };
    let counted = |name: &str| {
        let (name, count) = name.rsplit_once(" x")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let mut tensors = Vec::with_capacity(listed.len());
    for (name, bytes) in listed.into_iter().take(TENSORS) {
        let Some((name, count)) = counted(&name) else {
            let message = format!("holders: {module}: `{name}` does not say how many, as in `parameters weight x12`");
            return Err(wrong(message));
        };
        tensors.push(HeldTensor { name, count, bytes });
    }
    Ok(Holder { module, bytes, tensors })
}
