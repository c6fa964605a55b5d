//! Who holds what is alive: groups of tensors that are alike at each sample, and modules at the peak.

use indexmap::IndexMap;

use super::History;
use crate::bytes::Bytes;
use crate::replay::{Replay, ranges, split};
use crate::trace::{ByCategory, Event};

/// Tensors that are alike but for a layer's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The module: `transformer.h.[0-11].mlp.c_fc`; empty for the model itself.
    pub module: String,
    /// The parameter's name within it, or the operator.
    pub what: String,
}

/// What of a group is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alive {
    /// The group, by its number.
    pub group: usize,
    /// How many of its tensors.
    pub count: u64,
    /// Their bytes together.
    pub bytes: Bytes,
}

/// The groups of a plan's allocations.
pub(crate) struct Groups {
    /// The modules, folded.
    pub modules: Vec<String>,
    /// The groups, with their modules by number.
    pub groups: Vec<(usize, String)>,
    /// The group of each allocation.
    pub of: Vec<u32>,
}

/// Sorts a plan's allocations by module and by what they are there.
pub(crate) fn groups(replay: &Replay) -> Groups {
    let mut modules: IndexMap<(&str, &str), Vec<u64>> = IndexMap::new();
    let mut groups: IndexMap<(usize, &str), ()> = IndexMap::new();
    let mut of = Vec::with_capacity(replay.trace.allocation_count());
    for allocation in replay.trace.allocations() {
        let (module, what) = replay.place(&allocation);
        let (before, number, after) = split(module);
        let entry = modules.entry((before, after));
        let module = entry.index();
        let numbers = entry.or_default();
        // a layer's allocations come together: this keeps the lists short
        if let Some(number) = number.filter(|number| numbers.last() != Some(number)) {
            numbers.push(number);
        }
        let group = groups.entry((module, what));
        of.push(group.index() as u32);
        group.or_default();
    }
    let name = |((before, after), numbers): ((&str, &str), Vec<u64>)| format!("{before}{}{after}", ranges(numbers));
    Groups {
        modules: modules.into_iter().map(name).collect(),
        groups: groups.into_keys().map(|(module, what)| (module, what.to_owned())).collect(),
        of,
    }
}

/// The largest groups that are alive at each sample of a history, largest first.
pub fn alive(replay: &Replay, history: &History, most: usize) -> (Vec<Group>, Vec<Vec<Alive>>) {
    let Groups { modules, groups, of } = groups(replay);
    let mut now: Vec<(u64, Bytes)> = vec![(0, Bytes(0)); groups.len()];
    let mut largest = Vec::with_capacity(history.samples.len());
    let mut samples = history.samples.iter().peekable();
    for (number, event) in replay.trace.events().enumerate() {
        match event {
            Event::Allocate(id) => {
                let (count, bytes) = &mut now[of[id.index()] as usize];
                *count += 1;
                *bytes += replay.trace.allocation(id).bytes;
            }
            Event::Free(id, _) => {
                let (count, bytes) = &mut now[of[id.index()] as usize];
                *count -= 1;
                *bytes -= replay.trace.allocation(id).bytes;
            }
            Event::Becomes(..) | Event::Phase(_) => {}
        }
        if samples.next_if(|sample| sample.event == number).is_some() {
            largest.push(at_most(&now, most));
        }
    }
    let named = groups.into_iter().map(|(module, what)| Group { module: modules[module].clone(), what });
    (named.collect(), largest)
}

fn at_most(now: &[(u64, Bytes)], most: usize) -> Vec<Alive> {
    let held = now.iter().enumerate().filter(|(_, (_, bytes))| bytes.0 > 0);
    let mut all: Vec<Alive> =
        held.map(|(group, (count, bytes))| Alive { group, count: *count, bytes: *bytes }).collect();
    all.sort_unstable_by_key(|alive| (std::cmp::Reverse(alive.bytes), alive.group));
    all.truncate(most);
    all
}

/// What a module holds at the peak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleBytes {
    /// Its path; empty for the model itself.
    pub module: String,
    /// What that is for, without its children.
    pub categories: ByCategory,
}

/// The modules that hold something at the peak, in the order in which the first of it was asked for.
pub fn modules_at_peak(replay: &Replay) -> Vec<ModuleBytes> {
    let mut modules: IndexMap<&str, ByCategory> = IndexMap::new();
    let mut live: Vec<_> = replay.at_peak.iter().collect();
    live.sort_by_key(|live| live.id);
    for live in live {
        let allocation = &replay.trace.allocation(live.id);
        modules.entry(replay.place(allocation).0).or_default().add(live.category, allocation.bytes);
    }
    modules.into_iter().map(|(module, categories)| ModuleBytes { module: module.to_owned(), categories }).collect()
}
