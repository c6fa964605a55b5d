//! One walk over a trace: at each event, what is alive and how many bytes each category takes.

use super::{AllocationId, CATEGORIES, Category, Event, Live, Trace};
use crate::bytes::Bytes;

/// Bytes of each category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByCategory([Bytes; CATEGORIES]);

impl ByCategory {
    /// The bytes of a category.
    pub fn of(&self, category: Category) -> Bytes {
        self.0[category as usize]
    }

    /// The bytes of each category, in the order of [`Category::ALL`].
    pub fn each(&self) -> [Bytes; CATEGORIES] {
        self.0
    }

    /// All categories together.
    pub fn total(&self) -> Bytes {
        self.0.iter().copied().sum()
    }

    /// Each category with its bytes, in the order of reports.
    pub fn iter(&self) -> impl Iterator<Item = (Category, Bytes)> {
        Category::ALL.into_iter().map(|category| (category, self.of(category)))
    }

    pub(crate) fn add(&mut self, category: Category, bytes: Bytes) {
        self.0[category as usize] += bytes;
    }

    pub(crate) fn take(&mut self, category: Category, bytes: Bytes) {
        self.0[category as usize] -= bytes;
    }
}

/// A walk over a trace. Each step takes one event; between two, the cursor says what is alive.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    trace: &'a Trace,
    next: usize,
    alive: Vec<Option<Category>>,
    bytes: ByCategory,
}

impl<'a> Cursor<'a> {
    /// Before the first event.
    pub fn new(trace: &'a Trace) -> Cursor<'a> {
        Cursor { trace, next: 0, alive: vec![None; trace.allocations.len()], bytes: ByCategory::default() }
    }

    /// Takes one event and gives it with its number; None after the last.
    pub fn step(&mut self) -> Option<(usize, Event)> {
        let number = self.next;
        let event = *self.trace.events.get(number)?;
        self.next += 1;
        match event {
            Event::Allocate(id) => self.join(id, self.trace.allocation(id).category),
            Event::Free(id, _) => {
                self.leave(id);
            }
            Event::Becomes(id, category) => {
                if self.leave(id) {
                    self.join(id, category);
                }
            }
            Event::Phase(_) => {}
        }
        Some((number, event))
    }

    /// Takes all events up to that number, it among them.
    pub fn until(mut self, event: usize) -> Cursor<'a> {
        while self.next <= event && self.step().is_some() {}
        self
    }

    /// What the allocation is for now; None where it is not alive.
    pub fn category(&self, id: AllocationId) -> Option<Category> {
        self.alive[id.index()]
    }

    /// The bytes that are alive, as they were asked for.
    pub fn bytes(&self) -> &ByCategory {
        &self.bytes
    }

    /// What is alive, in the order of allocation.
    pub fn live(&self) -> impl Iterator<Item = Live> {
        let numbered = self.alive.iter().enumerate();
        numbered.filter_map(|(id, category)| Some(Live { id: AllocationId(id as u32), category: (*category)? }))
    }

    fn join(&mut self, id: AllocationId, category: Category) {
        self.alive[id.index()] = Some(category);
        self.bytes.add(category, self.trace.allocation(id).bytes);
    }

    fn leave(&mut self, id: AllocationId) -> bool {
        let category = self.alive[id.index()].take();
        if let Some(category) = category {
            self.bytes.take(category, self.trace.allocation(id).bytes);
        }
        category.is_some()
    }
}
