//! The events of a trace in stretches: an iteration that happens again and again is kept once.
//!
//! ```text
//! [ load, prefill, token 1 ][ token 2, 4095 times: 64 of its 1,600 allocations have other bytes each time ][ end ]
//! ```
//!
//! Seen from outside, events and allocations are numbered through, as if each were kept.

use super::{Allocation, AllocationId, Cached, Event, Trace};
use crate::bytes::Bytes;

/// Events in a row, and the allocations among them; or an iteration, so many times in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// The number of its first event.
    first_event: usize,
    /// The number of its first allocation.
    first_allocation: u32,
    /// The events, those of the first iteration.
    events: Vec<Event>,
    /// The allocations, those of the first iteration.
    allocations: Vec<Allocation>,
    /// Whether it is an iteration that has ended: what comes after it is another stretch.
    ended: bool,
    /// How often the iteration happens beside the first time.
    again: usize,
    /// Of an iteration that happens again: which events are about an allocation of their own iteration, or of the one before.
    moves: Vec<bool>,
    /// Allocations whose bytes are not those of the first iteration each time: by allocation, the place in a row of `bytes`.
    places: Vec<Option<u32>>,
    /// How many such allocations there are.
    width: usize,
    /// Their bytes, a row an iteration.
    bytes: Vec<Bytes>,
}

impl Stretch {
    fn times(&self) -> usize {
        self.again + 1
    }

    fn event_count(&self) -> usize {
        self.events.len() * self.times()
    }

    fn allocation_count(&self) -> usize {
        self.allocations.len() * self.times()
    }

    /// The event of that number of an iteration.
    fn event(&self, iteration: usize, number: usize) -> Event {
        let event = self.events[number];
        if iteration == 0 || !self.moves[number] {
            return event;
        }
        let by = (iteration * self.allocations.len()) as u32;
        match event {
            Event::Allocate(id) => Event::Allocate(AllocationId(id.0 + by)),
            Event::Free(id, cause) => Event::Free(AllocationId(id.0 + by), cause),
            Event::Becomes(id, category) => Event::Becomes(AllocationId(id.0 + by), category),
            Event::Phase(phase) => Event::Phase(phase),
        }
    }

    /// The allocation of that number of an iteration.
    fn allocation(&self, iteration: usize, number: usize) -> Allocation {
        let allocation = self.allocations[number];
        match self.places.get(number) {
            Some(Some(place)) => {
                Allocation { bytes: self.bytes[iteration * self.width + *place as usize], ..allocation }
            }
            _ => allocation,
        }
    }

    /// Takes an iteration in that follows it, where that is like its own but for the bytes of allocations.
    fn takes(&mut self, next: &Stretch) -> bool {
        if (self.events.len(), self.allocations.len()) != (next.events.len(), next.allocations.len()) {
            return false;
        }
        let by = (self.times() * self.allocations.len()) as u32;
        let is_first = self.again == 0;
        let mut moves = Vec::with_capacity(if is_first { self.events.len() } else { 0 });
        for (number, (event, next)) in self.events.iter().zip(&next.events).enumerate() {
            let Some(moved) = moved(event, next) else { return false };
            if moved != 0 && moved != by || !is_first && self.moves[number] != (moved != 0) {
                return false;
            }
            if is_first {
                moves.push(moved != 0);
            }
        }
        let same = |(own, next): (&Allocation, &Allocation)| Allocation { bytes: own.bytes, ..*next } == *own;
        if !self.allocations.iter().zip(&next.allocations).all(same) {
            return false;
        }
        if is_first {
            (self.moves, self.places) = (moves, vec![None; self.allocations.len()]);
        }
        let bytes: Vec<Bytes> = next.allocations.iter().map(|allocation| allocation.bytes).collect();
        self.again(&bytes);
        true
    }

    /// The iteration happens once more, with allocations of these bytes.
    fn again(&mut self, bytes: &[Bytes]) {
        for (number, bytes) in bytes.iter().enumerate() {
            if self.places[number].is_none() && self.allocations[number].bytes != *bytes {
                self.vary(number);
            }
        }
        let varying = bytes.iter().zip(&self.places).filter(|(_, place)| place.is_some());
        self.bytes.extend(varying.map(|(bytes, _)| *bytes));
        self.again += 1;
    }

    /// Has the bytes of an allocation in each row; the rows stay in the order of allocations.
    fn vary(&mut self, number: usize) {
        let at = self.places[..number].iter().flatten().count();
        let (old, bytes) = (std::mem::take(&mut self.bytes), self.allocations[number].bytes);
        for iteration in 0..self.times() {
            let row = &old[iteration * self.width..(iteration + 1) * self.width];
            self.bytes.extend(row[..at].iter().chain([&bytes]).chain(&row[at..]));
        }
        self.width += 1;
        self.places[number] = Some(at as u32);
        self.places[number + 1..].iter_mut().flatten().for_each(|place| *place += 1);
    }
}

/// How much higher the allocation of an event is numbered than that of another which is the same otherwise; None where they
/// are not.
fn moved(event: &Event, next: &Event) -> Option<u32> {
    let (id, next) = match (event, next) {
        (Event::Allocate(id), Event::Allocate(next)) => (id, next),
        (Event::Free(id, cause), Event::Free(next, other)) if cause == other => (id, next),
        (Event::Becomes(id, category), Event::Becomes(next, other)) if category == other => (id, next),
        _ => return None,
    };
    next.0.checked_sub(id.0)
}

impl Trace {
    /// How many events there are.
    pub fn event_count(&self) -> usize {
        self.stretches.last().map_or(0, |last| last.first_event + last.event_count())
    }

    /// How many allocations there are.
    pub fn allocation_count(&self) -> usize {
        self.stretches.last().map_or(0, |last| last.first_allocation as usize + last.allocation_count())
    }

    /// All events, in order.
    pub fn events(&self) -> Events<'_> {
        Events { stretches: &self.stretches, iteration: 0, number: 0 }
    }

    /// All events from one on.
    pub fn events_from(&self, event: usize) -> Events<'_> {
        let at = self.stretches.partition_point(|stretch| stretch.first_event <= event).saturating_sub(1);
        let stretches = &self.stretches[at..];
        match stretches.first() {
            Some(stretch) if !stretch.events.is_empty() => {
                let number = event - stretch.first_event;
                let (iteration, number) = (number / stretch.events.len(), number % stretch.events.len());
                Events { stretches, iteration, number }
            }
            _ => Events { stretches, iteration: 0, number: 0 },
        }
    }

    /// The event of that number; None behind the last.
    pub fn event(&self, event: usize) -> Option<Event> {
        self.events_from(event).next()
    }

    /// All allocations, by [`AllocationId`].
    pub fn allocations(&self) -> impl Iterator<Item = Allocation> {
        self.stretches.iter().flat_map(|stretch| {
            let count = stretch.allocations.len();
            (0..stretch.times())
                .flat_map(move |iteration| (0..count).map(move |number| stretch.allocation(iteration, number)))
        })
    }

    /// The allocation of that number.
    pub fn allocation(&self, id: AllocationId) -> Allocation {
        if let [only] = &self.stretches[..]
            && only.again == 0
        {
            return only.allocations[id.index()];
        }
        let at = self.stretches.partition_point(|stretch| stretch.first_allocation <= id.0) - 1;
        let stretch = &self.stretches[at];
        let number = (id.0 - stretch.first_allocation) as usize;
        let count = stretch.allocations.len();
        if stretch.again == 0 {
            stretch.allocations[number]
        } else {
            stretch.allocation(number / count, number % count)
        }
    }

    /// Notes which layers' keys or values an allocation holds, where those do not see all tokens of their own.
    pub(crate) fn note_cached(&mut self, id: AllocationId, cached: Cached) {
        let at = self.stretches.partition_point(|stretch| stretch.first_allocation <= id.0) - 1;
        let stretch = &mut self.stretches[at];
        let number = (id.0 - stretch.first_allocation) as usize % stretch.allocations.len();
        stretch.allocations[number].cached = Some(cached);
    }

    /// Writes an event about what has been allocated.
    pub(crate) fn push(&mut self, event: Event) {
        self.tail().events.push(event);
    }

    /// Writes an allocation.
    pub(crate) fn allocate(&mut self, allocation: Allocation) -> AllocationId {
        let tail = self.tail();
        let id = AllocationId(tail.first_allocation + tail.allocations.len() as u32);
        tail.allocations.push(allocation);
        tail.events.push(Event::Allocate(id));
        id
    }

    /// What comes from now on belongs to an iteration, until that ends.
    pub(crate) fn begin_iteration(&mut self) {
        let next = self.next();
        self.stretches.push(next);
    }

    /// The iteration has ended. Whether it is one with the iteration before it from now on.
    pub(crate) fn end_iteration(&mut self) -> bool {
        let Some(mut last) = self.stretches.pop() else { return false };
        if self.stretches.last_mut().is_some_and(|before| before.ended && before.takes(&last)) {
            return true;
        }
        last.ended = true;
        self.stretches.push(last);
        false
    }

    /// The last iteration happens once more, with allocations of these bytes.
    pub(crate) fn again(&mut self, bytes: impl Iterator<Item = Bytes>) {
        let Some(last) = self.stretches.last_mut() else { return };
        let bytes: Vec<Bytes> = bytes.collect();
        last.again(&bytes);
    }

    /// Forgets all events; numbers begin anew.
    pub(crate) fn forget(&mut self) {
        self.stretches.clear();
    }

    /// The stretch that is written.
    fn tail(&mut self) -> &mut Stretch {
        if self.stretches.last().is_none_or(|last| last.ended) {
            let next = self.next();
            self.stretches.push(next);
        }
        let at = self.stretches.len() - 1;
        &mut self.stretches[at]
    }

    fn next(&self) -> Stretch {
        let (first_event, first_allocation) = (self.event_count(), self.allocation_count() as u32);
        Stretch { first_event, first_allocation, ..Stretch::default() }
    }
}

/// The events of a trace, in order.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    /// The stretch that is gone through, and those behind it.
    stretches: &'a [Stretch],
    iteration: usize,
    number: usize,
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let stretch = self.stretches.first()?;
            if self.number < stretch.events.len() {
                self.number += 1;
                return Some(stretch.event(self.iteration, self.number - 1));
            }
            self.number = 0;
            self.iteration += 1;
            if self.iteration >= stretch.times() {
                self.iteration = 0;
                self.stretches = &self.stretches[1..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ModuleId;
    use crate::trace::{Category, Cause, Name};

    fn allocation(bytes: u64) -> Allocation {
        Allocation {
            bytes: Bytes(bytes),
            cuda_stream: 0,
            private_pool: None,
            operator: Name(0),
            node: None,
            module: ModuleId(0),
            category: Category::Temporaries,
            parameter: None,
            place: None,
            cached: None,
        }
    }

    /// A cache that grows by an iteration beside a temporary: plain, and in iterations.
    fn grows(iterations: u64, in_iterations: bool) -> Trace {
        let mut trace = Trace::default();
        let kept = trace.allocate(allocation(1000));
        let mut cache = trace.allocate(allocation(8));
        for iteration in 1..=iterations {
            if in_iterations {
                trace.begin_iteration();
            }
            let temporary = trace.allocate(allocation(64));
            let next = trace.allocate(allocation(8 + 8 * iteration));
            // from the sixth on, another allocation is no longer what it was
            let other = trace.allocate(allocation(if iteration < 6 { 1 } else { 2 }));
            trace.push(Event::Free(cache, Cause::Unknown));
            trace.push(Event::Becomes(kept, Category::Inputs));
            trace.push(Event::Free(temporary, Cause::Unknown));
            trace.push(Event::Free(other, Cause::Unknown));
            cache = next;
            if in_iterations {
                assert_eq!(trace.end_iteration(), iteration > 1);
            }
        }
        trace.push(Event::Free(cache, Cause::Unknown));
        trace
    }

    #[test]
    fn iterations_are_kept_once_and_seen_each() {
        for iterations in [0, 1, 2, 3, 9] {
            let (plain, folded) = (grows(iterations, false), grows(iterations, true));
            assert_eq!(plain, folded);
            assert_eq!(
                (plain.event_count(), plain.allocation_count()),
                (folded.event_count(), folded.allocation_count())
            );
            for (number, event) in plain.events().enumerate() {
                assert_eq!((plain.event(number), folded.event(number)), (Some(event), Some(event)));
                assert!(folded.events_from(number).eq(plain.events_from(number)));
            }
            assert_eq!(folded.event(plain.event_count()), None);
            for id in (0..plain.allocation_count()).map(|id| AllocationId(id as u32)) {
                assert_eq!(plain.allocation(id), folded.allocation(id));
            }
        }
        assert_eq!(grows(9, true).stretches.len(), 3);
    }

    #[test]
    fn what_is_not_alike_stays_apart() {
        let mut trace = Trace::default();
        for cause in [Cause::Unknown, Cause::Unknown, Cause::Python(crate::trace::PlaceId(0))] {
            trace.begin_iteration();
            let id = trace.allocate(allocation(8));
            trace.push(Event::Free(id, cause));
            trace.end_iteration();
        }
        assert_eq!(trace.stretches.iter().map(Stretch::times).collect::<Vec<_>>(), [2, 1]);
    }
}
