//! The most that each category and each module has at any one time: growth shows here also where it is not at the peak.

use super::holders::ROOT;
use crate::bytes::Bytes;
use crate::history::{Groups, groups};
use crate::replay::Replay;
use crate::trace::{AllocationId, Category, Event};

/// The most at any one time, each at its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// By category, in the categories' order.
    pub categories: Vec<(String, Bytes)>,
    /// By module, largest first: of a plan all, of a file the largest.
    pub modules: Vec<(String, Bytes)>,
}

/// A sum with the most that it was.
#[derive(Clone, Copy, Default)]
struct Sum {
    now: Bytes,
    most: Bytes,
}

impl Sum {
    fn add(&mut self, bytes: Bytes) {
        self.now += bytes;
        self.most = self.most.max(self.now);
    }
}

/// Reads it off a replay.
pub(super) fn most(replay: &Replay) -> Most {
    let Groups { modules: names, groups, of } = groups(replay);
    let module_of = |id: &AllocationId| groups[of[id.index()]].0;
    let mut modules = vec![Sum::default(); names.len()];
    let mut categories = [Sum::default(); Category::ALL.len()];
    let mut category_of: Vec<Category> =
        replay.trace.allocations.iter().map(|allocation| allocation.category).collect();
    for event in &replay.trace.events {
        match event {
            Event::Allocate(id) => {
                let bytes = replay.trace.allocations[id.index()].bytes;
                modules[module_of(id)].add(bytes);
                categories[category_of[id.index()] as usize].add(bytes);
            }
            Event::Free(id, _) => {
                let bytes = replay.trace.allocations[id.index()].bytes;
                modules[module_of(id)].now -= bytes;
                categories[category_of[id.index()] as usize].now -= bytes;
            }
            Event::Becomes(id, category) => {
                let bytes = replay.trace.allocations[id.index()].bytes;
                let before = std::mem::replace(&mut category_of[id.index()], *category);
                categories[before as usize].now -= bytes;
                categories[*category as usize].add(bytes);
            }
            Event::Phase(_) => {}
        }
    }
    let named = Category::ALL.iter().zip(categories).map(|(category, sum)| (category.name().to_owned(), sum.most));
    let name = |name: String| if name.is_empty() { ROOT.to_owned() } else { name };
    let modules = names.into_iter().zip(modules).map(|(path, sum)| (name(path), sum.most));
    let mut modules: Vec<(String, Bytes)> = modules.filter(|(_, bytes)| bytes.0 > 0).collect();
    modules.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Most { categories: named.filter(|(_, bytes)| bytes.0 > 0).collect(), modules }
}
