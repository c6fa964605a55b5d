//! Drives an event stream through the allocator: what PyTorch's counters read at the end of each phase.

use super::heights::{Height, Heights};
use super::steady::play;
use super::ties::larger;
use super::{
    Addresses, Allocator, AllocatorOptions, BlockId, CachingAllocator, OutOfMemory, PrivatePool, Request, SegmentView,
    Spread, Stats, StreamId, Ties,
};
use crate::bytes::Bytes;
use crate::trace::{Allocation, AllocationId, Event, Trace};

/// The counters at a phase's end; peaks are those since the end of the phase before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseFigures {
    /// The phase, by its number in the stream.
    pub phase: u32,
    /// `memory_allocated`.
    pub allocated: Bytes,
    /// `max_memory_allocated`.
    pub peak_allocated: Bytes,
    /// `memory_reserved`.
    pub reserved: Bytes,
    /// `max_memory_reserved`.
    pub peak_reserved: Bytes,
}

/// Cached blocks given back so that an allocation fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenBack {
    /// The event that needed them.
    pub event: usize,
    /// How much was given back.
    pub released: Bytes,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The counters of each phase that was reached.
    pub phases: Vec<PhaseFigures>,
    /// The largest `max_memory_allocated` of all phases.
    pub peak_allocated: Bytes,
    /// The largest `max_memory_reserved` of all phases.
    pub peak_reserved: Bytes,
    /// The event at which allocated memory first reached its peak.
    pub peak_event: usize,
    /// Where cached blocks were given back.
    pub given_back: Vec<GivenBack>,
    /// The allocation that could not be served, with its event; the stream ends there.
    pub out_of_memory: Option<(usize, OutOfMemory)>,
    /// What was allocated over the run, where that was asked for.
    pub heights: Vec<Height>,
    /// The segments when the stream ended.
    pub segments: Vec<SegmentView>,
    /// The ties by which this came about: of addresses that nobody knows, those that lead to the larger figures.
    pub ties: Ties,
    /// Where addresses that nobody knows lead to other peaks: what they lie between.
    pub spread: Option<Spread>,
}

/// Runs a trace through PyTorch's allocator with these options that may take so many bytes. Where it rests on addresses that nobody
/// knows, both ways, and the larger outcome is given.
pub fn simulate(trace: &Trace, options: &AllocatorOptions, capacity: Option<Bytes>) -> Outcome {
    simulate_with(trace, options, capacity, 0)
}

/// The same, with what was allocated over the run in about so many stretches of equal length.
pub fn simulate_with(trace: &Trace, options: &AllocatorOptions, capacity: Option<Bytes>, heights: usize) -> Outcome {
    let outcome = |options: &AllocatorOptions| {
        let mut allocator = CachingAllocator::new(options.clone(), capacity);
        let mut looking = (heights > 0).then(|| Heights::over(trace.event_count(), heights));
        let outcome = match &mut looking {
            Some(looking) => play(trace, &mut allocator, looking),
            None => play(trace, &mut allocator, &mut ()),
        };
        let heights = looking.map_or_else(Vec::new, Heights::seen);
        Outcome { ties: options.ties(), heights, ..outcome }
    };
    if options.ties() != Ties::LowestAddress(Addresses::Unknown) {
        return outcome(options);
    }
    let with = |addresses| outcome(&options.clone().with_ties(Ties::LowestAddress(addresses)));
    larger(with(Addresses::Rising), with(Addresses::Falling))
}

/// One way alone, with a look at the allocator after each event that was served: its number, the allocator, and the block of each
/// allocation.
pub fn observe(
    trace: &Trace,
    options: &AllocatorOptions,
    capacity: Option<Bytes>,
    look: impl FnMut(usize, &CachingAllocator, &[BlockId]),
) -> Outcome {
    let mut allocator = CachingAllocator::new(options.clone(), capacity);
    Outcome { ties: options.ties(), ..drive(trace, &mut allocator, look) }
}

/// Feeds a trace to an allocator, with a look at it after each event that was served.
pub fn drive<A: Allocator>(trace: &Trace, allocator: &mut A, mut look: impl FnMut(usize, &A, &[BlockId])) -> Outcome {
    let mut blocks = vec![BlockId::EMPTY; trace.allocation_count()];
    let mut outcome = Outcome::nothing(trace.phases.len());
    for (number, event) in trace.events().enumerate() {
        match event {
            Event::Allocate(id) => match outcome.serve(allocator, number, (id, &trace.allocation(id))) {
                Some(block) => blocks[id.index()] = block,
                None => break,
            },
            Event::Free(id, _) => allocator.take_back(blocks[id.index()]),
            Event::Becomes(..) => {}
            Event::Phase(phase) => {
                outcome.end_phase(phase, allocator.figures());
                allocator.begin_phase();
            }
        }
        look(number, allocator, &blocks);
    }
    outcome.end(allocator)
}

impl Outcome {
    pub(super) fn nothing(phases: usize) -> Outcome {
        Outcome {
            phases: Vec::with_capacity(phases),
            peak_allocated: Bytes(0),
            peak_reserved: Bytes(0),
            peak_event: 0,
            given_back: Vec::new(),
            out_of_memory: None,
            heights: Vec::new(),
            segments: Vec::new(),
            ties: Ties::default(),
            spread: None,
        }
    }

    /// Serves an event's request; None where memory is out.
    pub(super) fn serve<A: Allocator>(
        &mut self,
        allocator: &mut A,
        event: usize,
        (id, asked): (AllocationId, &Allocation),
    ) -> Option<BlockId> {
        let (stream, private_pool) = (StreamId(asked.cuda_stream), asked.private_pool.map(PrivatePool));
        let before = allocator.given_back();
        match allocator.serve(Request { allocation: id, bytes: asked.bytes, stream, private_pool }) {
            Ok(block) => {
                self.note(event, allocator.figures().allocated, allocator.given_back() - before);
                Some(block)
            }
            Err(error) => {
                self.out_of_memory = Some((event, error));
                None
            }
        }
    }

    /// The stream has ended.
    pub(super) fn end(self, allocator: &impl Allocator) -> Outcome {
        let peak_reserved = self.peak_reserved.max(allocator.figures().peak_reserved);
        Outcome { peak_reserved, segments: allocator.segments(), ..self }
    }

    /// A request was served.
    pub(super) fn note(&mut self, event: usize, allocated: Bytes, released: Bytes) {
        if released.0 > 0 {
            self.given_back.push(GivenBack { event, released });
        }
        if allocated > self.peak_allocated {
            self.peak_allocated = allocated;
            self.peak_event = event;
        }
    }

    pub(super) fn end_phase(&mut self, phase: u32, stats: Stats) {
        let Stats { allocated, peak_allocated, reserved, peak_reserved, .. } = stats;
        self.phases.push(PhaseFigures { phase, allocated, peak_allocated, reserved, peak_reserved });
        self.peak_reserved = self.peak_reserved.max(peak_reserved);
    }
}
