//! A trace and what PyTorch's caching allocator makes of it: the verdict, both peaks, what is alive at them, and for what.
//!
//! A plan has one of its own trace; a trace from a file has one as well.

mod siblings;

pub use siblings::Siblings;
pub(crate) use siblings::{ranges, split};

use rustc_hash::FxHashSet;

use crate::allocate::{AllocatorOptions, OutOfMemory, Outcome, simulate_with};
use crate::bytes::Bytes;
use crate::trace::{Allocation, AllocationId, Category, Event, Live, Phase, Trace, live_after};

/// More than any machine has, and less than what sums in 64 bits could not hold.
pub const UNLIMITED: Bytes = Bytes(1 << 60);

/// In how many stretches a replay knows what was allocated over the run: a terminal's line has room for as many.
pub const HEIGHTS: usize = 67;

/// A trace, replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What the allocator is asked for and given back.
    pub trace: Trace,
    /// The allocator's options.
    pub options: AllocatorOptions,
    /// What the allocator makes of it.
    pub outcome: Outcome,
    /// What it would make of it without a limit; only where the run does not fit.
    pub unlimited: Option<Outcome>,
    /// What is alive at the peak of the whole run, largest first.
    pub at_peak: Vec<Live>,
    /// The bytes that the allocator may take from the GPU.
    pub capacity: Bytes,
}

/// The allocation that could not be served.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What the allocator says.
    pub error: &'a OutOfMemory,
    /// What was asked for, and by whom.
    pub allocation: Allocation,
    /// The phase that it fell into.
    pub phase: Option<&'a Phase>,
}

/// Bytes of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheBytes {
    /// Of layers that see all tokens.
    pub full: Bytes,
    /// Of layers with a sliding window.
    pub window: Bytes,
    /// The encoder's, in the decoder's layers.
    pub cross: Bytes,
}

impl CacheBytes {
    /// All of them.
    pub fn total(self) -> Bytes {
        self.full + self.window + self.cross
    }
}

impl Replay {
    /// Replays a trace through an allocator with these options that may take so many bytes.
    pub fn of(trace: Trace, options: AllocatorOptions, capacity: Bytes) -> Replay {
        let outcome = simulate_with(&trace, &options, Some(capacity), HEIGHTS);
        let unlimited =
            outcome.out_of_memory.as_ref().map(|_| simulate_with(&trace, &options, Some(UNLIMITED), HEIGHTS));
        let whole = unlimited.as_ref().unwrap_or(&outcome);
        let options = options.with_ties(whole.ties);
        let mut at_peak = live_after(&trace, whole.peak_event);
        at_peak.sort_by_key(|live| std::cmp::Reverse(trace.allocation(live.id).bytes));
        Replay { trace, options, outcome, unlimited, at_peak, capacity }
    }

    /// Whether the run gets to its end.
    pub fn fits(&self) -> bool {
        self.outcome.out_of_memory.is_none()
    }

    /// The run to its end: without a limit where it does not fit.
    pub fn whole(&self) -> &Outcome {
        self.unlimited.as_ref().unwrap_or(&self.outcome)
    }

    /// The most that is allocated at once: `torch.cuda.max_memory_allocated()` of the whole run.
    pub fn peak_allocated(&self) -> Bytes {
        self.whole().peak_allocated
    }

    /// The most that is taken from the GPU at once: `torch.cuda.max_memory_reserved()` of the whole run, without a limit where
    /// it does not fit.
    pub fn peak_reserved(&self) -> Bytes {
        self.whole().peak_reserved
    }

    /// What is left of the capacity at the peak of reserved memory; None where the run does not fit.
    pub fn headroom(&self) -> Option<Bytes> {
        self.fits().then(|| Bytes(self.capacity.0.saturating_sub(self.outcome.peak_reserved.0)))
    }

    /// What the allocator gave back to the device in all, so that the run fits; zero where it had to give nothing.
    pub fn given_back(&self) -> Bytes {
        self.outcome.given_back.iter().map(|given| given.released).sum()
    }

    /// Whose memory it is: the parameter's, or else the module's.
    pub fn owner(&self, allocation: &Allocation) -> &str {
        self.trace.parameter(allocation).unwrap_or_else(|| self.trace.module(allocation))
    }

    /// The module that holds memory, and what it is there: the name of a parameter that it has, or an operator.
    pub fn place(&self, allocation: &Allocation) -> (&str, &str) {
        match self.trace.parameter(allocation) {
            Some(parameter) => parameter.rsplit_once('.').unwrap_or(("", parameter)),
            None => (self.trace.module(allocation), self.trace.operator(allocation)),
        }
    }

    /// The phase that an event falls into; None behind the last one.
    pub fn phase_at(&self, event: usize) -> Option<&Phase> {
        let (_, phase) = self.trace.phase_ends(event).next()?;
        self.trace.phases.get(phase as usize)
    }

    /// The phase of the peak of allocated memory.
    pub fn peak_phase(&self) -> Option<&Phase> {
        self.phase_at(self.whole().peak_event)
    }

    /// Where the run ends for want of memory.
    pub fn failure(&self) -> Option<Failure<'_>> {
        let (event, error) = self.outcome.out_of_memory.as_ref()?;
        match self.trace.event(*event)? {
            Event::Allocate(id) => {
                Some(Failure { error, allocation: self.trace.allocation(id), phase: self.phase_at(*event) })
            }
            _ => None,
        }
    }

    /// The bytes asked for that are alive at the peak, by what they are for; categories without any are left out.
    pub fn categories_at_peak(&self) -> Vec<(Category, Bytes)> {
        let bytes_of = |category: Category| {
            let live = self.at_peak.iter().filter(|live| live.category == category);
            live.map(|live| self.trace.allocation(live.id).bytes).sum::<Bytes>()
        };
        let all = Category::ALL.iter().map(|category| (*category, bytes_of(*category)));
        all.filter(|(_, bytes)| bytes.0 > 0).collect()
    }

    /// Keys and values when the most bytes of them are alive.
    pub fn most_cached(&self) -> CacheBytes {
        let trace = &self.trace;
        let (mut now, mut most) = ([0_u64; 3], [0_u64; 3]);
        let mut held: FxHashSet<AllocationId> = FxHashSet::default();
        for (_, event) in trace.events_about(Category::KvCache) {
            let (id, is_held) = match event {
                Event::Allocate(id) => (id, trace.allocation(id).category == Category::KvCache),
                Event::Becomes(id, category) => (id, category == Category::KvCache),
                Event::Free(id, _) => (id, false),
                Event::Phase(_) => continue,
            };
            let changes = if is_held { held.insert(id) } else { held.remove(&id) };
            if !changes {
                continue;
            }
            let allocation = trace.allocation(id);
            let sum = &mut now[allocation.cached.map_or(0, |cached| 1 + cached as usize)];
            *sum = if is_held { *sum + allocation.bytes.0 } else { *sum - allocation.bytes.0 };
            if now.iter().sum::<u64>() > most.iter().sum() {
                most = now;
            }
        }
        let [full, window, cross] = most.map(Bytes);
        CacheBytes { full, window, cross }
    }

    /// What the allocator adds to the bytes asked for at the peak: rounding, and rests that it does not split off.
    pub fn slack_at_peak(&self) -> Bytes {
        let asked: Bytes = self.at_peak.iter().map(|live| self.trace.allocation(live.id).bytes).sum();
        Bytes(self.whole().peak_allocated.0.saturating_sub(asked.0))
    }
}
