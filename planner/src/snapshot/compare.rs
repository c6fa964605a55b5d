//! What differs between two snapshots: facts in words, and bytes by phase, category, module and tensor.
//!
//! A file lists the largest holders only. What is not listed holds at most what the smallest listed one does: such a figure is
//! given as a bound, and what may as well be the same is not said to differ.

use indexmap::IndexMap;

use super::document::HOLDERS;
use super::{HeldTensor, Holder, Snapshot};
use crate::bytes::Bytes;

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

impl Kind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Peak => "peak",
            Kind::Phase => "phase",
            Kind::Category => "category",
            Kind::Module => "module",
            Kind::Tensor => "tensor",
            Kind::MostOfCategory => "most of category",
            Kind::MostOfModule => "most of module",
        }
    }
}

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

/// A path without its layers' number, the first in it, by which modules of two plans are the same.
fn alike(module: &str) -> String {
    let is_number = |part: &&str| part.starts_with('[') || part.parse::<u64>().is_ok();
    match module.split('.').find(is_number) {
        Some(number) => module.replacen(number, "*", 1),
        None => module.to_owned(),
    }
}

/// The holders of two snapshots that are the same module's.
fn pairs<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<(Option<&'a Holder>, Option<&'a Holder>)> {
    let mut both: IndexMap<String, (Option<&Holder>, Option<&Holder>)> = IndexMap::new();
    before.holders.iter().for_each(|holder| both.entry(alike(&holder.module)).or_default().0 = Some(holder));
    after.holders.iter().for_each(|holder| both.entry(alike(&holder.module)).or_default().1 = Some(holder));
    both.into_values().collect()
}

/// The most that a holder which is not listed can hold.
fn unlisted(snapshot: &Snapshot) -> Held {
    let least = snapshot.holders.last().map_or(snapshot.others, |holder| holder.bytes.min(snapshot.others));
    if least.0 == 0 { Held::Exactly(least) } else { Held::AtMost(least) }
}

fn modules(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    let held = |holder: Option<&Holder>, snapshot| {
        holder.map_or_else(|| unlisted(snapshot), |holder| Held::Exactly(holder.bytes))
    };
    let moved = |(old, new): (Option<&Holder>, Option<&Holder>)| {
        let name = new.or(old)?.module.clone();
        Some(Moved { kind: Kind::Module, name, before: held(old, before), after: held(new, after) })
    };
    pairs(before, after).into_iter().filter_map(moved).collect()
}

fn most_of_modules(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    let mut both: IndexMap<String, (Option<&(String, Bytes)>, Option<&(String, Bytes)>)> = IndexMap::new();
    before.most.modules.iter().for_each(|entry| both.entry(alike(&entry.0)).or_default().0 = Some(entry));
    after.most.modules.iter().for_each(|entry| both.entry(alike(&entry.0)).or_default().1 = Some(entry));
    let held =
        |entry: Option<&(String, Bytes)>, snapshot: &Snapshot| match (entry, snapshot.most.modules.get(HOLDERS - 1)) {
            (Some((_, bytes)), _) => Held::Exactly(*bytes),
            // a list that is full says no more of what is not on it
            (None, Some((_, least))) if snapshot.most.modules.len() == HOLDERS => Held::AtMost(*least),
            _ => Held::Exactly(Bytes(0)),
        };
    let moved = |(was, is): (Option<&(String, Bytes)>, Option<&(String, Bytes)>)| {
        let name = is.or(was)?.0.clone();
        Some(Moved { kind: Kind::MostOfModule, name, before: held(was, before), after: held(is, after) })
    };
    both.into_values().filter_map(moved).collect()
}

fn tensors(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    let mut moved = Vec::new();
    for (old, new) in pairs(before, after) {
        let Some(module) = new.or(old).map(|holder| &holder.module) else { continue };
        let mut both: IndexMap<&str, (Option<&HeldTensor>, Option<&HeldTensor>)> = IndexMap::new();
        let old_tensors = old.into_iter().flat_map(|holder| &holder.tensors);
        let new_tensors = new.into_iter().flat_map(|holder| &holder.tensors);
        old_tensors.for_each(|tensor| both.entry(&tensor.name).or_default().0 = Some(tensor));
        new_tensors.for_each(|tensor| both.entry(&tensor.name).or_default().1 = Some(tensor));
        moved.extend(both.into_iter().map(|(name, (was, is))| Moved {
            kind: Kind::Tensor,
            name: format!("{module}: {name}{}", counts(was, is)),
            before: tensor(was, old, before),
            after: tensor(is, new, after),
        }));
    }
    moved
}

/// ` x12`, or ` x12 -> x36`.
fn counts(was: Option<&HeldTensor>, is: Option<&HeldTensor>) -> String {
    match (was.map(|tensor| tensor.count), is.map(|tensor| tensor.count)) {
        (Some(was), Some(is)) if was != is => format!(" x{was} -> x{is}"),
        (was, is) => is.or(was).filter(|count| *count > 1).map_or_else(String::new, |count| format!(" x{count}")),
    }
}

/// What tensors of a holder take; where they are not listed, no more than the smallest that is.
fn tensor(tensor: Option<&HeldTensor>, holder: Option<&Holder>, snapshot: &Snapshot) -> Held {
    match (tensor, holder) {
        (Some(tensor), _) => Held::Exactly(tensor.bytes),
        (None, None) => unlisted(snapshot),
        (None, Some(holder)) => {
            let rest = holder.tensors.iter().fold(holder.bytes.0, |rest, tensor| rest.saturating_sub(tensor.bytes.0));
            let most = holder.tensors.last().map_or(rest, |tensor| tensor.bytes.0.min(rest));
            if most == 0 { Held::Exactly(Bytes(0)) } else { Held::AtMost(Bytes(most)) }
        }
    }
}
