//! The most that each category and each module has at any one time: growth shows here also where it is not at the peak.

use super::holders::ROOT;
use crate::bytes::Bytes;
use crate::history::{Groups, groups};
use crate::replay::Replay;
use crate::trace::{AllocationId, Category, Cursor, Event};

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
    let module_of = |id: &AllocationId| groups[of[id.index()] as usize].0;
    let mut modules = vec![Sum::default(); names.len()];
    let mut categories = [Bytes(0); Category::ALL.len()];
    let mut cursor = Cursor::new(&replay.trace);
    while let Some((_, event)) = cursor.step() {
        let bytes = |id: AllocationId| replay.trace.allocation(id).bytes;
        match event {
            Event::Allocate(id) => modules[module_of(&id)].add(bytes(id)),
            Event::Free(id, _) => modules[module_of(&id)].now -= bytes(id),
            Event::Becomes(..) | Event::Phase(_) => {}
        }
        let now = cursor.bytes().each();
        categories.iter_mut().zip(now).for_each(|(most, now)| *most = now.max(*most));
    }
    let named = Category::ALL.iter().zip(categories).map(|(category, most)| (category.name().to_owned(), most));
    let name = |name: String| if name.is_empty() { ROOT.to_owned() } else { name };
    let modules = names.into_iter().zip(modules).map(|(path, sum)| (name(path), sum.most));
    let mut modules: Vec<(String, Bytes)> = modules.filter(|(_, bytes)| bytes.0 > 0).collect();
    modules.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Most { categories: named.filter(|(_, bytes)| bytes.0 > 0).collect(), modules }
}
