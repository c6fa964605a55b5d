//! What lists of the largest say of two snapshots: modules, their tensors, and the most of modules.
//!
//! What is not listed holds at most what the smallest listed one does.

use indexmap::IndexMap;

use super::compare::{Held, Kind, Moved};
use super::document::HOLDERS;
use super::{HeldTensor, Holder, Snapshot};
use crate::bytes::Bytes;

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

/// The modules at the peak.
pub(super) fn modules(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    let held = |holder: Option<&Holder>, snapshot| {
        holder.map_or_else(|| unlisted(snapshot), |holder| Held::Exactly(holder.bytes))
    };
    let moved = |(old, new): (Option<&Holder>, Option<&Holder>)| {
        let name = new.or(old)?.module.clone();
        Some(Moved { kind: Kind::Module, name, before: held(old, before), after: held(new, after) })
    };
    pairs(before, after).into_iter().filter_map(moved).collect()
}

/// The most of each module at any one time.
pub(super) fn most_of_modules(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
    type Entry<'a> = Option<&'a (String, Bytes)>;
    let mut both: IndexMap<String, (Entry<'_>, Entry<'_>)> = IndexMap::new();
    before.most.modules.iter().for_each(|entry| both.entry(alike(&entry.0)).or_default().0 = Some(entry));
    after.most.modules.iter().for_each(|entry| both.entry(alike(&entry.0)).or_default().1 = Some(entry));
    let held = |entry: Entry<'_>, snapshot: &Snapshot| {
        let listed = &snapshot.most.modules;
        match (entry, listed.last()) {
            (Some((_, bytes)), _) => Held::Exactly(*bytes),
            // a list that is full says no more of what is not on it
            (None, Some((_, least))) if listed.len() == HOLDERS => Held::AtMost(*least),
            _ => Held::Exactly(Bytes(0)),
        }
    };
    let moved = |(was, is): (Entry<'_>, Entry<'_>)| {
        let name = is.or(was)?.0.clone();
        Some(Moved { kind: Kind::MostOfModule, name, before: held(was, before), after: held(is, after) })
    };
    both.into_values().filter_map(moved).collect()
}

/// The tensors at the peak, module by module.
pub(super) fn tensors(before: &Snapshot, after: &Snapshot) -> Vec<Moved> {
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
