//! One walk over a trace: at each event, what is alive and how many bytes each category takes.

use super::{AllocationId, CATEGORIES, Category, Event, Events, Live, Trace};
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
    events: Events<'a>,
    next: usize,
    alive: Vec<Option<Category>>,
    bytes: ByCategory,
    moved: Option<Moved>,
}

/// What an event did to an allocation: what it was for before and after; None where it was not alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The allocation.
    pub id: AllocationId,
    /// Its category before the event.
    pub from: Option<Category>,
    /// Its category after the event.
    pub to: Option<Category>,
}

impl<'a> Cursor<'a> {
    /// Before the first event.
    pub fn new(trace: &'a Trace) -> Cursor<'a> {
        let alive = vec![None; trace.allocation_count()];
        Cursor { trace, events: trace.events(), next: 0, alive, bytes: ByCategory::default(), moved: None }
    }

    /// Takes one event and gives it with its number; None after the last.
    pub fn step(&mut self) -> Option<(usize, Event)> {
        let number = self.next;
        let event = self.events.next()?;
        self.next += 1;
        self.moved = match event {
            Event::Allocate(id) => Some(self.turn(id, Some(self.trace.allocation(id).category))),
            Event::Free(id, _) => Some(self.turn(id, None)),
            Event::Becomes(id, category) => Some(self.turn(id, self.alive[id.index()].map(|_| category))),
            Event::Phase(_) => None,
        };
        Some((number, event))
    }

    /// What the last event did; None where it ended a phase, or before the first.
    pub fn moved(&self) -> Option<Moved> {
        self.moved
    }

    /// Takes all events up to that number, it among them.
    pub fn until(mut self, event: usize) -> Cursor<'a> {
        while self.next <= event {
            self.pass_over(event);
            if self.step().is_none() {
                break;
            }
        }
        self
    }

    /// Passes over iterations that leave what the ones before left, and that end before an event.
    fn pass_over(&mut self, event: usize) {
        let Some((2, stretch)) = self.trace.iteration_at(self.next) else { return };
        if stretch.reach().is_none_or(|reach| reach > 1) {
            return;
        }
        // what one left that has gone by and the last did, each one allocation of an iteration
        let length = stretch.pattern().len();
        let passed = ((event - self.next) / length).min(stretch.times() - 3);
        for number in 0..stretch.width() {
            let of = |iteration: usize| stretch.id(iteration, number);
            if let Some(category) = self.alive[of(1).index()].filter(|_| passed > 0) {
                self.turn(of(1), None);
                self.turn(of(1 + passed), Some(category));
            }
        }
        self.next += passed * length;
        self.events = self.trace.events_from(self.next);
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

    fn turn(&mut self, id: AllocationId, to: Option<Category>) -> Moved {
        let bytes = self.trace.allocation(id).bytes;
        let from = std::mem::replace(&mut self.alive[id.index()], to);
        if let Some(category) = from {
            self.bytes.take(category, bytes);
        }
        if let Some(category) = to {
            self.bytes.add(category, bytes);
        }
        Moved { id, from, to }
    }
}
