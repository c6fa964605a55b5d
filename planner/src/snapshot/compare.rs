//! What differs between two snapshots: facts in words, and bytes by phase, category, module and tensor.
//!
//! A file lists the largest holders only. What is not listed holds at most what the smallest listed one does: such a figure is
//! given as a bound, and what may as well be the same is not said to differ.

use indexmap::IndexMap;

use super::Snapshot;
use super::listed::{modules, most_of_modules, tensors};
use crate::bytes::Bytes;
use crate::choices::choices;

/// Something in words that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is: a key of the run, or `program`, `spec`, `architecture`, ...
    pub what: String,
    /// As it was; empty where nothing was said.
    pub before: String,
    /// As it is.
    pub after: String,
}

/// What bytes are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A peak of the whole run.
    Peak,
    /// The highest peak of a phase.
    Phase,
    /// A category at the peak.
    Category,
    /// A module at the peak.
    Module,
    /// Tensors of a module at the peak.
    Tensor,
    /// The most of a category at any one time.
    MostOfCategory,
    /// The most of a module at any one time.
    MostOfModule,
}

choices!(Kind, "kind of bytes", "peak" => Kind::Peak, "phase" => Kind::Phase, "category" => Kind::Category,
    "module" => Kind::Module, "tensor" => Kind::Tensor, "most of category" => Kind::MostOfCategory,
    "most of module" => Kind::MostOfModule);

/// How many bytes, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// So many.
    Exactly(Bytes),
    /// Not listed, and so no more than this.
    AtMost(Bytes),
}

impl Held {
    /// The figure or its bound.
    pub fn bytes(self) -> Bytes {
        match self {
            Held::Exactly(bytes) | Held::AtMost(bytes) => bytes,
        }
    }
}

/// Bytes that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What they are of.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// As they were.
    pub before: Held,
    /// As they are.
    pub after: Held,
}

impl Moved {
    /// The change in bytes, or the least that it can be.
    pub fn change(&self) -> i128 {
        i128::from(self.after.bytes().0) - i128::from(self.before.bytes().0)
    }

    /// Whether it is a change at all, for all that is known.
    fn differs(&self) -> bool {
        match (self.before, self.after) {
            (Held::Exactly(before), Held::Exactly(after)) => before != after,
            (Held::AtMost(before), Held::Exactly(after)) => after > before,
            (Held::Exactly(before), Held::AtMost(after)) => before > after,
            (Held::AtMost(_), Held::AtMost(_)) => false,
        }
    }
}

/// What differs between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Keys of the run.
    pub run: Vec<Fact>,
    /// What else is not bytes: program, spec, architecture, parameters, events, whether it fits.
    pub facts: Vec<Fact>,
    /// Peak allocated and peak reserved, whether they differ or not.
    pub peaks: [Moved; 2],
    /// All else that differs; within each kind the largest change first.
    pub moved: Vec<Moved>,
}

/// Compares two snapshots.
pub fn compare(before: &Snapshot, after: &Snapshot) -> Comparison {
    let mut moved = Vec::new();
    moved.extend(phases(before, after));
    moved.extend(categories(before, after));
    moved.extend(modules(before, after));
    moved.extend(tensors(before, after));
    moved.extend(complete(Kind::MostOfCategory, before.most.categories.clone(), after.most.categories.clone()));
    moved.extend(most_of_modules(before, after));
    moved.retain(Moved::differs);
    moved.sort_by_key(|moved| (moved.kind, std::cmp::Reverse(moved.change().unsigned_abs())));
    Comparison {
        run: run(before, after),
        facts: facts(before, after),
        peaks: [
            exact(Kind::Peak, "allocated", before.peaks.allocated, after.peaks.allocated),
            exact(Kind::Peak, "reserved", before.peaks.reserved, after.peaks.reserved),
        ],
        moved,
    }
}

fn exact(kind: Kind, name: &str, before: Bytes, after: Bytes) -> Moved {
    Moved { kind, name: name.to_owned(), before: Held::Exactly(before), after: Held::Exactly(after) }
}

fn run(before: &Snapshot, after: &Snapshot) -> Vec<Fact> {
    let (before, after) = (before.run.entries(), after.run.entries());
    let word = |value: Option<&serde_json::Value>| match value {
        None => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let facts = keys.map(|key| Fact { what: key.clone(), before: word(before.get(key)), after: word(after.get(key)) });
    facts.filter(|fact| fact.before != fact.after).collect()
}

fn facts(before: &Snapshot, after: &Snapshot) -> Vec<Fact> {
    let optimizer = |snapshot: &Snapshot| snapshot.spec.optimizer.clone().unwrap_or_default();
    let rows = [
        ("program", before.program.clone(), after.program.clone()),
        ("spec", before.spec.model.clone(), after.spec.model.clone()),
        ("optimizer's spec", optimizer(before), optimizer(after)),
        ("digest of the specs", before.spec.digest.clone(), after.spec.digest.clone()),
        ("architecture", before.architecture.clone(), after.architecture.clone()),
        ("parameters", before.parameters.to_string(), after.parameters.to_string()),
        ("events", before.events.to_string(), after.events.to_string()),
        ("fits", before.fits.to_string(), after.fits.to_string()),
    ];
    let facts = rows.into_iter().map(|(what, before, after)| Fact { what: what.to_owned(), before, after });
    facts.filter(|fact| fact.before != fact.after).collect()
}

fn phases(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    let listed = |snapshot: &Snapshot| {
        let both = |(name, peaks): &(String, super::Peaks)| {
            [(format!("{name}, allocated"), peaks.allocated), (format!("{name}, reserved"), peaks.reserved)]
        };
        snapshot.phases.iter().flat_map(both).collect::<Vec<_>>()
    };
    complete(Kind::Phase, listed(before), listed(after))
}

fn categories(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    complete(Kind::Category, before.categories.clone(), after.categories.clone())
}

/// Two lists that leave nothing out.
fn complete(kind: Kind, before: Vec<(String, Bytes)>, after: Vec<(String, Bytes)>) -> Vec<Moved> {
    let mut both: IndexMap<String, (Bytes, Bytes)> = IndexMap::new();
    before.into_iter().for_each(|(name, bytes)| both.entry(name).or_default().0 = bytes);
    after.into_iter().for_each(|(name, bytes)| both.entry(name).or_default().1 = bytes);
    both.into_iter().map(|(name, (before, after))| exact(kind, &name, before, after)).collect()
}
