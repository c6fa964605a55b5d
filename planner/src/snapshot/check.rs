//! A kept snapshot against a plan of its run made now: the verdict.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Comparison, Moved, Snapshot, SnapshotError, compare, read, take};
use crate::bytes::Bytes;
use crate::choices::choices;
use crate::model::ModelError;
use crate::model::named::HubId;
use crate::model::opened::OpenError;
use crate::plan::PlanError;
use crate::words::quote;

/// By how much a peak may grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// By so many bytes.
    Bytes(Bytes),
    /// By this share of what it was, in percent.
    Percent(f64),
}

/// Text that is no tolerance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no tolerance: write a share such as 1%, or a size such as 64MiB", quote::cut(.text))]
pub struct ToleranceError {
    /// The word or number that was given.
    pub text: String,
}

impl Default for Tolerance {
    /// Plans are exact: nothing.
    fn default() -> Tolerance {
        Tolerance::Bytes(Bytes(0))
    }
}

impl FromStr for Tolerance {
    type Err = ToleranceError;

    fn from_str(text: &str) -> Result<Tolerance, ToleranceError> {
        let wrong = || ToleranceError { text: text.to_owned() };
        match text.trim().strip_suffix('%') {
            Some(number) => {
                let percent = number.trim().parse().ok().filter(|percent: &f64| percent.is_finite() && *percent >= 0.0);
                percent.map(Tolerance::Percent).ok_or_else(wrong)
            }
            None => Bytes::of_memory(text).map(Tolerance::Bytes).map_err(|_| wrong()),
        }
    }
}

impl Tolerance {
    /// Whether a peak grew beyond it.
    fn exceeded(self, peak: &Moved) -> bool {
        let change = peak.change();
        change > 0
            && match self {
                Tolerance::Bytes(most) => change > i128::from(most.0),
                Tolerance::Percent(percent) => change as f64 > peak.before.bytes().0 as f64 * percent / 100.0,
            }
    }
}

/// What became of a kept plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same in all that is kept.
    Same,
    /// The same peaks, but something else differs.
    Changed,
    /// A peak shrank, and none grew.
    Shrank,
    /// A peak grew, by no more than is tolerated.
    Tolerated,
    /// A peak grew.
    Grew,
    /// The run fitted and does not any more.
    NoLongerFits,
}

choices!(Verdict, "verdict", "same" => Verdict::Same, "changed, with the same peaks" => Verdict::Changed,
    "shrank" => Verdict::Shrank, "grew within the tolerance" => Verdict::Tolerated, "grew" => Verdict::Grew,
    "no longer fits" => Verdict::NoLongerFits);

impl Verdict {
    /// Whether a check passes with it.
    pub fn passes(self) -> bool {
        !matches!(self, Verdict::Grew | Verdict::NoLongerFits)
    }
}

/// Why a kept plan could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The model that it is of is not there.
    MissingModel,
    /// The file is no snapshot.
    NoSnapshot,
    /// The run cannot be planned.
    NoPlan,
}

choices!(Refusal, "refusal", "missing model" => Refusal::MissingModel, "no snapshot" => Refusal::NoSnapshot,
    "cannot be planned" => Refusal::NoPlan);

impl Refusal {
    fn of(error: &SnapshotError) -> Refusal {
        match error {
            SnapshotError::File(_) | SnapshotError::Format { .. } => Refusal::NoSnapshot,
            SnapshotError::Open(OpenError::Model(error)) | SnapshotError::Plan(PlanError::Model(error)) => {
                match error {
                    ModelError::UnknownName { .. }
                    | ModelError::NoSuchPath { .. }
                    | ModelError::NotCached { .. }
                    | ModelError::FileNotFolder { .. } => Refusal::MissingModel,
                    _ => Refusal::NoPlan,
                }
            }
            SnapshotError::Open(OpenError::NoModel) => Refusal::MissingModel,
            _ => Refusal::NoPlan,
        }
    }
}

/// A comparison and what is made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The verdict.
    pub verdict: Verdict,
    /// What differs.
    pub comparison: Comparison,
    /// The plan made now.
    pub now: Snapshot,
}

impl Found {
    /// Whether another program, or other specs, planned now: what differs may come from there alone.
    pub fn is_other_version(&self) -> bool {
        let versions = ["program", "spec", "optimizer's spec", "digest of the specs"];
        self.comparison.facts.iter().any(|fact| versions.contains(&fact.what.as_str()))
    }
}

/// A file that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// What was found, or why nothing was, with the error.
    pub found: Result<Box<Found>, (Refusal, String)>,
    /// The model of the hub that lies in no local cache, where nothing was found for that.
    pub not_cached: Option<HubId>,
}

impl Checked {
    /// Whether it passes.
    pub fn passes(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.verdict.passes())
    }

    /// The verdict or the refusal, in words.
    pub fn words(&self) -> &'static str {
        match &self.found {
            Ok(found) => found.verdict.word(),
            Err((refusal, _)) => refusal.word(),
        }
    }
}

/// Plans a kept run again and compares.
pub fn check(path: &Path, tolerance: Tolerance) -> Checked {
    checked(path, tolerance, |before| take(before.run.clone()))
}

/// Compares a kept plan with another that is kept.
pub fn check_against(path: &Path, other: &Path, tolerance: Tolerance) -> Checked {
    checked(path, tolerance, |_| read(other))
}

fn checked(
    path: &Path,
    tolerance: Tolerance,
    now: impl FnOnce(&Snapshot) -> Result<Snapshot, SnapshotError>,
) -> Checked {
    let found = read(path).and_then(|before| {
        let now = now(&before)?;
        let comparison = compare(&before, &now);
        Ok(Box::new(Found { verdict: verdict(&before, &now, &comparison, tolerance), comparison, now }))
    });
    let not_cached = found.as_ref().err().and_then(SnapshotError::not_cached).cloned();
    let found = found.map_err(|error| (Refusal::of(&error), error.to_string()));
    Checked { path: path.to_owned(), found, not_cached }
}

fn verdict(before: &Snapshot, now: &Snapshot, comparison: &Comparison, tolerance: Tolerance) -> Verdict {
    let peaks = &comparison.peaks;
    if before.fits && !now.fits {
        return Verdict::NoLongerFits;
    }
    if peaks.iter().any(|peak| tolerance.exceeded(peak)) {
        return Verdict::Grew;
    }
    if peaks.iter().any(|peak| peak.change() > 0) {
        return Verdict::Tolerated;
    }
    if peaks.iter().any(|peak| peak.change() < 0) {
        return Verdict::Shrank;
    }
    let same = comparison.run.is_empty() && comparison.facts.is_empty() && comparison.moved.is_empty();
    if same { Verdict::Same } else { Verdict::Changed }
}
