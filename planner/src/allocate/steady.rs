//! Runs a trace through PyTorch's allocator, quickly where iterations happen again and again.
//!
//! A pool's free blocks follow from the blocks in use and the segments: splits are undone when the parts are free again. So where
//! iterations ask the small pool for the same, no segment comes or goes, and one leaves the blocks in use that another left some
//! iterations before, the iterations between them come round: each request gets the block that it got a round before. (Where an
//! iteration hands a tensor to the next, the two take turns in two places, and a round has two iterations.) Such requests
//! are not played again: only what they add to the allocated memory counts. The other pool is played event by event. When that
//! needs the device, what was passed over is made up for first, since asking the device may release segments of all pools.

use super::block::BlockId;
use super::caching::CachingAllocator;
use super::pool::StreamId;
use super::rounding::{SMALL, block_size};
use super::serve::Allocator;
use super::settling::Settling;
use super::simulate::Outcome;
use super::ties::Ties;
use crate::bytes::Bytes;
use crate::trace::{AllocationId, Event, Stretch, Trace};

/// What looks at allocated memory after each event.
pub(super) trait Look {
    /// After the event of that number.
    fn after(&mut self, event: usize, allocated: Bytes);

    /// After some events in a row: what is allocated is `base` and what the events have added.
    fn after_all(&mut self, first: usize, base: Bytes, added: &[i64]) {
        for (at, added) in added.iter().enumerate() {
            self.after(first + at, base_and(base, *added));
        }
    }
}

/// Nobody looks.
impl Look for () {
    fn after(&mut self, _: usize, _: Bytes) {}
    fn after_all(&mut self, _: usize, _: Bytes, _: &[i64]) {}
}

fn base_and(base: Bytes, added: i64) -> Bytes {
    Bytes(base.0.wrapping_add_signed(added))
}

/// Runs a trace through an allocator to its end, or to where memory is out.
pub(super) fn play(trace: &Trace, allocator: &mut CachingAllocator, look: &mut impl Look) -> Outcome {
    let held = trace.stretches().iter().map(Held::of).collect();
    let outcome = Outcome::nothing(trace.phases.len());
    let mut player = Player { trace, allocator, held, outcome, event: 0 };
    'all: for (number, stretch) in trace.stretches().iter().enumerate() {
        let (mut settling, mut round) = match may_come_round(stretch, player.allocator) {
            true if !stretch.grows() => (Some(Settling::of(stretch)), None),
            true => (None, Round::of(stretch, player.allocator)),
            false => (None, None),
        };
        let mut iteration = 0;
        while iteration < stretch.times() {
            let at = At { number, stretch, iteration };
            let done = match (&mut settling, &mut round) {
                (Some(settling), _) => settling.play(&mut player, at, look),
                (None, Some(round)) if round.period > 0 => player.go_round(at, round, look).then_some(1),
                (None, Some(round)) => player.watch(at, round, look).then_some(1),
                (None, None) => player.play(at, 0, look, |_, _| {}).then_some(1),
            };
            match done {
                Some(done) => iteration += done,
                None => break 'all,
            }
        }
    }
    player.outcome.end(allocator)
}

/// Whether iterations of a stretch may come round: nothing but segments and blocks decides where a request goes, and only what the
/// iteration before has left is given back.
fn may_come_round(stretch: &Stretch, allocator: &CachingAllocator) -> bool {
    let options = &allocator.options;
    let depends_on_more = options.expandable_segments
        || options.ties == Ties::OldestBlock
        || allocator.collects_garbage()
        || !allocator.waiting.is_empty();
    stretch.times() >= 4 && !depends_on_more && stretch.reach().is_some_and(|reach| reach <= 1)
}

/// Allocations that outlive their iteration, of those that are meant.
pub(super) fn survivors(stretch: &Stretch, is_meant: impl Fn(usize) -> bool) -> Vec<usize> {
    let outlives = |event: &Event| match event {
        Event::Free(id, _) if stretch.is_older(*id) => Some(stretch.number(*id)),
        _ => None,
    };
    stretch.pattern().iter().filter_map(outlives).filter(|number| is_meant(*number)).collect()
}

/// The blocks of a stretch's allocations: of as many of its iterations as others may still ask for.
struct Held {
    depth: usize,
    width: usize,
    blocks: Vec<BlockId>,
}

impl Held {
    fn of(stretch: &Stretch) -> Held {
        let depth = stretch.reach().map_or(stretch.times(), |reach| (reach + 1).min(stretch.times()));
        let width = stretch.width();
        Held { depth, width, blocks: vec![BlockId::EMPTY; depth * width] }
    }

    fn at(&mut self, iteration: usize, number: usize) -> &mut BlockId {
        &mut self.blocks[iteration % self.depth * self.width + number]
    }
}

/// An iteration of a stretch.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    number: usize,
    pub stretch: &'a Stretch,
    pub iteration: usize,
}

/// A trace on its way through an allocator.
pub(super) struct Player<'a> {
    trace: &'a Trace,
    pub allocator: &'a mut CachingAllocator,
    /// By stretch.
    held: Vec<Held>,
    pub outcome: Outcome,
    /// The next event.
    pub event: usize,
}

/// What is known of a stretch whose iterations may go round in the small pool.
struct Round {
    /// By event: whether it asks the small pool, each time for the same, or gives that back, or does nothing.
    is_constant: Vec<bool>,
    /// The other events, in order.
    others: Vec<usize>,
    /// By event: what constant requests have added since the iteration began, as it was the last time.
    added: Vec<i64>,
    /// The most of `added` behind each of `others` and before the next, and before the first.
    most: Vec<i64>,
    /// How many constant requests an iteration makes.
    requests: u64,
    /// Constant allocations that outlive their iteration.
    survivors: Vec<usize>,
    /// The last iterations that were played, the last one last.
    played: Vec<Played>,
    /// How many iterations come round; 0 where none are known to.
    period: usize,
    /// How many iterations have been passed over.
    passed: usize,
}

/// How an iteration left the small pool.
struct Played {
    /// Where the survivors lay at its end.
    homes: Vec<Option<(u64, Bytes)>>,
    /// Whether no segment came or went, and all else was asked of the large pool.
    was_quiet: bool,
}

/// The longest round that is looked for.
const LONGEST: usize = 16;

impl Round {
    /// Of a stretch whose iterations may come round; None where what it asks for has to be played.
    fn of(stretch: &Stretch, allocator: &CachingAllocator) -> Option<Round> {
        // a phase's figures are those of all pools
        if stretch.has_phases() {
            return None;
        }
        let first = stretch.allocations().first()?.cuda_stream;
        if stretch.allocations().iter().any(|asked| asked.private_pool.is_some() || asked.cuda_stream != first) {
            return None;
        }
        let constant: Vec<bool> = (0..stretch.width())
            .map(|number| !stretch.varies(number) && is_small(stretch.bytes(0, number), allocator))
            .collect();
        let is_constant: Vec<bool> = stretch
            .pattern()
            .iter()
            .map(|event| match event {
                Event::Allocate(id) | Event::Free(id, _) => constant[stretch.number(*id)],
                Event::Becomes(..) | Event::Phase(_) => true,
            })
            .collect();
        let survivors = survivors(stretch, |number| constant[number]);
        let others: Vec<usize> = (0..is_constant.len()).filter(|at| !is_constant[*at]).collect();
        Some(Round {
            added: vec![0; is_constant.len()],
            most: Vec::new(),
            requests: constant.iter().filter(|constant| **constant).count() as u64,
            played: Vec::new(),
            survivors,
            others,
            is_constant,
            period: 0,
            passed: 0,
        })
    }

    /// How many iterations come round, by those that were played; 0 where they do not.
    fn length(&self) -> usize {
        let Some((last, before)) = self.played.split_last() else { return 0 };
        let comes_round = |length: &usize| {
            let since = &before[before.len() - length..];
            since[0].homes == last.homes && last.was_quiet && since.iter().all(|played| played.was_quiet)
        };
        (1..=LONGEST.min(before.len())).find(comes_round).unwrap_or(0)
    }

    /// The events behind the other of that number, counted from 1, and before the next; with 0, those before the first.
    fn between(&self, number: usize) -> std::ops::Range<usize> {
        let begin = if number == 0 { 0 } else { self.others[number - 1] + 1 };
        begin..self.others.get(number).copied().unwrap_or(self.is_constant.len())
    }
}

fn is_small(bytes: Bytes, allocator: &CachingAllocator) -> bool {
    block_size(bytes.0, &allocator.options).is_some_and(|size| size <= SMALL)
}

impl Player<'_> {
    /// Plays the events of an iteration from one on; false where memory is out.
    pub fn play(&mut self, at: At<'_>, from: usize, look: &mut impl Look, mut played: impl FnMut(usize, i64)) -> bool {
        for event in from..at.stretch.pattern().len() {
            let Some(added) = self.take(at, event) else { return false };
            played(event, added);
            look.after(self.event, self.allocated());
            self.event += 1;
        }
        true
    }

    /// Plays one event; gives by how much more its block adds to allocated memory, None where memory is out.
    fn take(&mut self, at: At<'_>, event: usize) -> Option<i64> {
        let allocated = self.allocated().0;
        match at.stretch.event(at.iteration, event) {
            Event::Allocate(id) => {
                let number = at.stretch.number(id);
                let asked = at.stretch.allocation(at.iteration, number);
                let block = self.outcome.serve(self.allocator, self.event, (id, &asked))?;
                *self.held[at.number].at(at.iteration, number) = block;
            }
            Event::Free(id, _) => self.take_back(at, id),
            Event::Becomes(..) => {}
            Event::Phase(phase) => {
                self.outcome.end_phase(phase, self.allocator.figures());
                self.allocator.begin_phase();
            }
        }
        Some(self.allocated().0 as i64 - allocated as i64)
    }

    fn take_back(&mut self, at: At<'_>, id: AllocationId) {
        let (stretch, iteration, number) = self.trace.place(at.number, id);
        let block = *self.held[stretch].at(iteration, number);
        self.allocator.take_back(block);
    }

    /// Plays an iteration, and looks whether the next goes round.
    fn watch(&mut self, at: At<'_>, round: &mut Round, look: &mut impl Look) -> bool {
        let calls = |allocator: &CachingAllocator| (allocator.stats.num_device_alloc, allocator.stats.num_device_free);
        let before = calls(self.allocator);
        let mut sum = 0;
        let Round { added, is_constant, .. } = round;
        let goes_on = self.play(at, 0, look, |event, by| {
            sum += if is_constant[event] { by } else { 0 };
            added[event] = sum;
        });
        let was_quiet = sum == 0 && before == calls(self.allocator) && self.keeps_apart(at, round);
        round.played.push(Played { homes: self.homes(at, round), was_quiet });
        if round.played.len() > LONGEST + 1 {
            round.played.remove(0);
        }
        round.period = round.length();
        if round.period > 0 {
            let most = |number| round.added[round.between(number)].iter().copied().max().unwrap_or(i64::MIN);
            (round.most, round.passed) = ((0..=round.others.len()).map(most).collect(), 0);
        }
        goes_on
    }

    /// Plays only what does not go round of an iteration.
    fn go_round(&mut self, at: At<'_>, round: &mut Round, look: &mut impl Look) -> bool {
        let begin = self.event;
        self.hold_on(at);
        for number in 0..=round.others.len() {
            let quiet = round.between(number);
            let base = self.allocated();
            self.event = begin + quiet.start;
            self.note(base, &round.added[quiet.clone()], round.most[number]);
            look.after_all(self.event, base, &round.added[quiet]);
            let Some(other) = round.others.get(number).copied() else { break };
            self.event = begin + other;
            if !self.take_cached(at, other) {
                self.make_up(at, round, other);
                let goes_on = self.play(at, other, look, |_, _| {});
                (round.played, round.period) = (Vec::new(), 0);
                return goes_on;
            }
            let allocated = base_and(self.allocated(), round.added[other]);
            self.outcome.note(self.event, allocated, Bytes(0));
            self.allocator.stats.peak_allocated = self.allocator.stats.peak_allocated.max(allocated);
            look.after(self.event, allocated);
        }
        round.passed += 1;
        self.allocator.allocations += round.requests;
        self.event = begin + round.is_constant.len();
        true
    }

    /// The blocks of the iteration before are those of this one.
    fn hold_on(&mut self, at: At<'_>) {
        let Held { depth, width, blocks } = &mut self.held[at.number];
        let (from, to) = ((at.iteration - 1) % *depth * *width, at.iteration % *depth * *width);
        blocks.copy_within(from..from + *width, to);
    }

    /// Notes the most of what was allocated over some events.
    fn note(&mut self, base: Bytes, added: &[i64], most: i64) {
        if added.is_empty()
            || base_and(base, most) <= self.outcome.peak_allocated.min(self.allocator.stats.peak_allocated)
        {
            return;
        }
        for (at, added) in added.iter().enumerate() {
            self.outcome.note(self.event + at, base_and(base, *added), Bytes(0));
        }
        self.allocator.stats.peak_allocated = self.allocator.stats.peak_allocated.max(base_and(base, most));
    }

    /// Plays an event that does not come round; false, and nothing happens, where the device or the small pool would have to serve.
    fn take_cached(&mut self, at: At<'_>, event: usize) -> bool {
        let peak = self.allocator.stats.peak_allocated;
        match at.stretch.event(at.iteration, event) {
            Event::Allocate(id) => {
                let number = at.stretch.number(id);
                let stream = StreamId(at.stretch.allocations()[number].cuda_stream);
                let bytes = at.stretch.bytes(at.iteration, number);
                let Some(block) = self.allocator.allocate_cached_large(bytes, stream) else { return false };
                *self.held[at.number].at(at.iteration, number) = block;
                // not all that is allocated counts here, and some counts that is not
                self.allocator.stats.peak_allocated = peak;
            }
            Event::Free(id, _) => self.take_back(at, id),
            Event::Becomes(..) | Event::Phase(_) => {}
        }
        true
    }

    /// Plays what was passed over of the iterations that the small pool is behind, and of this one before an event. Peaks have been
    /// noted.
    fn make_up(&mut self, at: At<'_>, round: &Round, before: usize) {
        self.without_peaks(|player| {
            let behind = round.passed % round.period;
            for back in (0..=behind).rev() {
                let end = if back == 0 { before } else { round.is_constant.len() };
                let iteration = At { iteration: at.iteration - back, ..at };
                for event in (0..end).filter(|event| round.is_constant[*event]) {
                    player.take(iteration, event);
                }
            }
        });
    }

    /// Plays something of which peaks have been noted.
    fn without_peaks<T>(&mut self, play: impl FnOnce(&mut Self) -> T) -> T {
        let peak = self.allocator.stats.peak_allocated;
        let noted = (self.outcome.peak_allocated, self.outcome.peak_event);
        let result = play(self);
        self.allocator.stats.peak_allocated = peak;
        (self.outcome.peak_allocated, self.outcome.peak_event) = noted;
        result
    }

    /// What is allocated now.
    pub fn allocated(&self) -> Bytes {
        self.allocator.stats.allocated
    }

    /// Where the allocation of that number of an iteration lies.
    pub fn home(&mut self, at: At<'_>, number: usize) -> Option<(u64, Bytes)> {
        self.allocator.place(*self.held[at.number].at(at.iteration, number))
    }

    /// The blocks of an iteration, and of the one before, are those of as many iterations later.
    pub fn hold_later(&mut self, at: At<'_>, iterations: usize) {
        let held = &mut self.held[at.number];
        let Held { depth, width, blocks } = held;
        blocks.rotate_right(iterations % *depth * *width);
    }

    /// Where constant allocations lie that outlive an iteration.
    fn homes(&mut self, at: At<'_>, round: &Round) -> Vec<Option<(u64, Bytes)>> {
        round.survivors.iter().map(|number| self.home(at, *number)).collect()
    }

    /// Whether all that is not constant is asked of the large pool.
    fn keeps_apart(&self, at: At<'_>, round: &Round) -> bool {
        let mut asked = round.others.iter().filter_map(|event| match at.stretch.pattern()[*event] {
            Event::Allocate(id) => Some(at.stretch.bytes(at.iteration, at.stretch.number(id))),
            _ => None,
        });
        asked.all(|bytes| !is_small(bytes, self.allocator))
    }
}
