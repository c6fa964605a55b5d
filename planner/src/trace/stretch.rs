//! The events of a trace in stretches: an iteration that happens again and again is kept once.
//!
//! ```text
//! [ load, prefill, token 1 ][ token 2, 4095 times: 64 of its 1,600 allocations have other bytes each time ][ end ]
//! ```
//!
//! Seen from outside, events and allocations are numbered through, as if each were kept.

use super::{Allocation, AllocationId, Cached, Category, Event, Phase, Trace};
use crate::bytes::Bytes;

/// Events in a row, and the allocations among them; or an iteration, so many times in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretch {
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
    columns: usize,
    /// Their bytes, a row an iteration.
    bytes: Vec<Bytes>,
    /// The number of the first phase that ends in the first iteration, and how many end in each.
    phases: (u32, u32),
    /// By how many steps the phases of an iteration are behind those of the one before.
    steps: u64,
}

impl Stretch {
    /// How often the iteration happens; 1 for events that are no iteration.
    pub fn times(&self) -> usize {
        self.again + 1
    }

    /// The events of the first iteration.
    pub fn pattern(&self) -> &[Event] {
        &self.events
    }

    /// The allocations of the first iteration.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// How many allocations an iteration makes.
    pub fn width(&self) -> usize {
        self.allocations.len()
    }

    /// Whether the bytes of an allocation are not those of the first iteration each time.
    pub fn varies(&self, number: usize) -> bool {
        self.places.get(number).is_some_and(Option::is_some)
    }

    /// The number through all of the allocation of that number of an iteration.
    pub fn id(&self, iteration: usize, number: usize) -> AllocationId {
        AllocationId(self.first_allocation + (iteration * self.width() + number) as u32)
    }

    /// Which allocation of its iteration it is.
    pub fn number(&self, id: AllocationId) -> usize {
        let from_first = i64::from(id.0) - i64::from(self.first_allocation);
        match usize::try_from(from_first) {
            Ok(number) if number < self.width() => number,
            _ => from_first.rem_euclid(self.width().max(1) as i64) as usize,
        }
    }

    /// Whether an allocation was made before the first iteration.
    pub fn is_older(&self, id: AllocationId) -> bool {
        id.0 < self.first_allocation
    }

    /// Whether one of its iterations made an allocation.
    fn has(&self, id: AllocationId) -> bool {
        id.0.checked_sub(self.first_allocation).is_some_and(|number| (number as usize) < self.allocation_count())
    }

    /// How many iterations back an iteration frees; None where it leaves memory that no later one frees.
    pub fn reach(&self) -> Option<usize> {
        if self.again == 0 {
            return None;
        }
        let (mut reach, mut freed) = (0, vec![false; self.width()]);
        for (event, moves) in self.events.iter().zip(&self.moves) {
            if let (Event::Free(id, _), true) = (event, moves) {
                freed[self.number(*id)] = true;
                reach = reach.max(self.back(*id));
            }
        }
        freed.iter().all(|freed| *freed).then_some(reach)
    }

    fn event_count(&self) -> usize {
        self.events.len() * self.times()
    }

    fn allocation_count(&self) -> usize {
        self.allocations.len() * self.times()
    }

    /// The event of that number of an iteration.
    pub fn event(&self, iteration: usize, number: usize) -> Event {
        let event = self.events[number];
        if iteration == 0 || !self.moves[number] {
            return event;
        }
        let by = (iteration * self.allocations.len()) as u32;
        match event {
            Event::Allocate(id) => Event::Allocate(AllocationId(id.0 + by)),
            Event::Free(id, cause) => Event::Free(AllocationId(id.0 + by), cause),
            Event::Becomes(id, category) => Event::Becomes(AllocationId(id.0 + by), category),
            Event::Phase(phase) => Event::Phase(phase + iteration as u32 * self.phases.1),
        }
    }

    /// Whether phases end here.
    pub fn has_phases(&self) -> bool {
        self.phases.1 > 0
    }

    /// How many phases end in an iteration.
    pub fn phases_each(&self) -> u32 {
        self.phases.1
    }

    /// Whether the bytes of some allocations are not those of the first iteration each time.
    pub fn grows(&self) -> bool {
        self.columns > 0
    }

    /// The events of an iteration.
    pub fn iteration(&self, iteration: usize) -> impl Iterator<Item = Event> {
        (0..self.events.len()).map(move |number| self.event(iteration, number))
    }

    /// How many iterations back the one is that makes an allocation about which an iteration's event is.
    pub fn back(&self, id: AllocationId) -> usize {
        (self.first_allocation.saturating_sub(id.0) as usize).div_ceil(self.width().max(1))
    }

    /// The allocation of that number of an iteration.
    pub fn allocation(&self, iteration: usize, number: usize) -> Allocation {
        Allocation { bytes: self.bytes(iteration, number), ..self.allocations[number] }
    }

    /// Its bytes.
    pub fn bytes(&self, iteration: usize, number: usize) -> Bytes {
        match self.places.get(number) {
            Some(Some(place)) => self.bytes[iteration * self.columns + *place as usize],
            _ => self.allocations[number].bytes,
        }
    }

    /// The events about allocations of its own that are for that at some time, and about all older ones.
    fn events_about(&self, category: Category) -> Vec<usize> {
        let mut is_for: Vec<bool> = self.allocations.iter().map(|allocation| allocation.category == category).collect();
        for event in &self.events {
            if let Event::Becomes(id, becomes) = event
                && *becomes == category
                && !is_for.is_empty()
            {
                is_for[self.number(*id)] = true;
            }
        }
        let is_about = |event: &Event| match event {
            Event::Allocate(id) | Event::Free(id, _) | Event::Becomes(id, _) => {
                self.is_older(*id) || is_for[self.number(*id)]
            }
            Event::Phase(_) => false,
        };
        (0..self.events.len()).filter(|at| is_about(&self.events[*at])).collect()
    }

    /// Takes an iteration in that follows it, where that is like its own but for the bytes of allocations.
    fn takes(&mut self, next: &Stretch, phases: &[Phase]) -> bool {
        if (self.events.len(), self.allocations.len()) != (next.events.len(), next.allocations.len()) {
            return false;
        }
        let by = (self.times() * self.allocations.len()) as u32;
        let is_first = self.again == 0;
        let Some(steps) = self.steps_to(next, phases) else { return false };
        let mut moves = Vec::with_capacity(if is_first { self.events.len() } else { 0 });
        for (number, (event, next)) in self.events.iter().zip(&next.events).enumerate() {
            let moves_on = match (event, next) {
                (Event::Phase(_), Event::Phase(_)) => true,
                _ => match moved(event, next) {
                    Some(0) => false,
                    Some(moved) if moved == by => true,
                    _ => return false,
                },
            };
            if is_first {
                moves.push(moves_on);
            } else if self.moves[number] != moves_on {
                return false;
            }
        }
        let same = |(own, next): (&Allocation, &Allocation)| Allocation { bytes: own.bytes, ..*next } == *own;
        if !self.allocations.iter().zip(&next.allocations).all(same) {
            return false;
        }
        if is_first {
            (self.moves, self.places, self.steps) = (moves, vec![None; self.allocations.len()], steps);
        }
        let bytes: Vec<Bytes> = next.allocations.iter().map(|allocation| allocation.bytes).collect();
        self.again(&bytes);
        true
    }

    /// By how many steps the phases of an iteration that follows are behind those of the last one; None where they are others.
    fn steps_to(&self, next: &Stretch, phases: &[Phase]) -> Option<u64> {
        let ended = |(first, count): (u32, u32)| &phases[first as usize..(first + count) as usize];
        let (own, theirs) = (ended(self.phases), ended(next.phases));
        let (Some(first), Some(next)) = (own.first(), theirs.first()) else {
            return (own.len() == theirs.len()).then_some(0);
        };
        let by = next.step.checked_sub(first.step)?;
        let each = if self.again == 0 { by } else { self.steps };
        let same = |(own, next): (&Phase, &Phase)| own.name == next.name && own.step + by == next.step;
        let same = own.len() == theirs.len() && own.iter().zip(theirs).all(same) && by == each * self.times() as u64;
        same.then_some(each)
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
            let row = &old[iteration * self.columns..(iteration + 1) * self.columns];
            self.bytes.extend(row[..at].iter().chain([&bytes]).chain(&row[at..]));
        }
        self.columns += 1;
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

    /// The stretches.
    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Where an allocation is that an event of a stretch is about: the stretch, the iteration, the number.
    pub(crate) fn place(&self, near: usize, id: AllocationId) -> (usize, usize, usize) {
        let at = match self.stretches.get(near) {
            Some(stretch) if stretch.has(id) => near,
            _ => self.stretches.partition_point(|stretch| stretch.first_allocation <= id.0) - 1,
        };
        let stretch = &self.stretches[at];
        let number = (id.0 - stretch.first_allocation) as usize;
        if number < stretch.width() {
            (at, 0, number)
        } else {
            (at, number / stretch.width(), number % stretch.width())
        }
    }

    /// All events, in order.
    pub fn events(&self) -> Events<'_> {
        Events { stretches: &self.stretches, iteration: 0, number: 0 }
    }

    /// Of the iterations that happen again, those that begin behind an event: the iteration's number, and the stretch.
    pub(crate) fn iteration_at(&self, event: usize) -> Option<(usize, &Stretch)> {
        let at = self.stretches.partition_point(|stretch| stretch.first_event <= event).checked_sub(1)?;
        let stretch = &self.stretches[at];
        let begun = event - stretch.first_event;
        let begins = !stretch.events.is_empty() && begun.is_multiple_of(stretch.events.len());
        (begins && stretch.again > 0).then(|| (begun / stretch.events.len(), stretch))
    }

    /// All events from one on.
    pub fn events_from(&self, event: usize) -> Events<'_> {
        if event >= self.event_count() {
            return Events { stretches: &[], iteration: 0, number: 0 };
        }
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

    /// Where phases end, from an event on: the events, with the phases' numbers.
    pub fn phase_ends(&self, from: usize) -> impl Iterator<Item = (usize, u32)> {
        let stretches = self.stretches.iter().filter(|stretch| stretch.has_phases());
        let ends = stretches.flat_map(|stretch| {
            let is_phase = |at: &usize| matches!(stretch.events[*at], Event::Phase(_));
            let places: Vec<usize> = (0..stretch.events.len()).filter(is_phase).collect();
            (0..stretch.times()).flat_map(move |iteration| {
                let first = stretch.first_event + iteration * stretch.events.len();
                let phase = stretch.phases.0 + iteration as u32 * stretch.phases.1;
                places.clone().into_iter().zip(phase..).map(move |(at, phase)| (first + at, phase))
            })
        });
        ends.filter(move |(event, _)| *event >= from)
    }

    /// The most bytes of the allocations that are meant, by what is the same in all iterations; None where there are none.
    pub fn most_bytes(&self, is_meant: impl Fn(&Allocation) -> bool) -> Option<Bytes> {
        let most = |stretch: &Stretch| {
            let meant = (0..stretch.width()).filter(|number| is_meant(&stretch.allocations[*number]));
            meant
                .filter_map(|number| (0..stretch.times()).map(|iteration| stretch.bytes(iteration, number)).max())
                .max()
        };
        self.stretches.iter().filter_map(most).max()
    }

    /// The events about allocations that at some time are for that, in order: their numbers, and they.
    pub(crate) fn events_about(&self, category: Category) -> impl Iterator<Item = (usize, Event)> {
        self.stretches.iter().flat_map(move |stretch| {
            let about = stretch.events_about(category);
            (0..stretch.times()).flat_map(move |iteration| {
                let first = stretch.first_event + iteration * stretch.events.len();
                about.clone().into_iter().map(move |at| (first + at, stretch.event(iteration, at)))
            })
        })
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
        let (stretch, iteration, number) = self.place(0, id);
        self.stretches[stretch].allocation(iteration, number)
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

    /// Writes a phase's end.
    pub(crate) fn end_phase(&mut self, phase: Phase) {
        let number = self.phases.len() as u32;
        let tail = self.tail();
        if tail.phases.1 == 0 {
            tail.phases.0 = number;
        }
        tail.phases.1 += 1;
        tail.events.push(Event::Phase(number));
        self.phases.push(phase);
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
        let phases = &self.phases;
        if self.stretches.last_mut().is_some_and(|before| before.ended && before.takes(&last, phases)) {
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

    /// The last iteration happens so many times more, as it was.
    pub(crate) fn again_alike(&mut self, times: usize) {
        let Some(last) = self.stretches.last_mut() else { return };
        let ((first, count), steps) = (last.phases, last.steps);
        for iteration in last.times()..last.times() + times {
            for number in first..first + count {
                let Phase { step, name } = self.phases[number as usize].clone();
                self.phases.push(Phase { step: step + iteration as u64 * steps, name });
            }
        }
        last.again += times;
    }

    /// What has been written from an event on into the stretch that is written: events, with what is asked for in each.
    pub(crate) fn written_since(&self, event: usize) -> impl Iterator<Item = (Event, Option<&Allocation>)> {
        let last = self.stretches.last();
        let events = last.map_or(&[][..], |last| &last.events[event.saturating_sub(last.first_event)..]);
        events.iter().map(move |event| match (event, last) {
            (Event::Allocate(id), Some(last)) => (*event, last.allocations.get(last.number(*id))),
            _ => (*event, None),
        })
    }

    /// Forgets all events; numbers begin anew.
    pub(crate) fn forget(&mut self) {
        self.stretches.clear();
        self.phases.clear();
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
    use crate::trace::{Cause, Name};

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
                // the first frees a cache that no iteration made
                assert_eq!(trace.end_iteration(), iteration > 2);
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
        assert_eq!(grows(9, true).stretches.len(), 4);
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
