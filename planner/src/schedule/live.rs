//! What is alive at an event of a stream.

use super::{AllocationId, Category, Event, Stream};

/// An allocation that is alive, and what it is for at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The allocation.
    pub id: AllocationId,
    /// What it is for.
    pub category: Category,
}

/// What is alive after the event of that number, in the order of allocation.
pub fn live_after(stream: &Stream, event: usize) -> Vec<Live> {
    let mut alive: Vec<Option<Category>> = vec![None; stream.allocations.len()];
    for event in stream.events.iter().take(event + 1) {
        match event {
            Event::Allocate(id) => alive[id.index()] = Some(stream.allocations[id.index()].category),
            Event::Free(id) => alive[id.index()] = None,
            Event::Becomes(id, category) => {
                if let Some(known) = &mut alive[id.index()] {
                    *known = *category;
                }
            }
            Event::Phase(_) => {}
        }
    }
    let numbered = alive.into_iter().enumerate();
    numbered.filter_map(|(id, category)| Some(Live { id: AllocationId(id as u32), category: category? })).collect()
}
