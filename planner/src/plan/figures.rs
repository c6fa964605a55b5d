//! What is read off a plan: the verdict, where it runs out, what the memory at the peak is for.

use super::Plan;
use crate::allocate::{OutOfMemory, Outcome};
use crate::bytes::Bytes;
use crate::ops::{Unknown, unknown};
use crate::run::{Mode, Run};
use crate::schedule::{Allocation, Category, Event, Phase, Stream};

/// The allocation that could not be served.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// What the allocator says.
    pub error: &'a OutOfMemory,
    /// What was asked for, and by whom.
    pub allocation: &'a Allocation,
    /// The phase that it fell into.
    pub phase: Option<&'a Phase>,
}

/// Parameters of the program; what is shared counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterTotals {
    /// How many numbers.
    pub count: u64,
    /// How many of them are trained.
    pub trainable: u64,
    /// Their bytes.
    pub bytes: Bytes,
    /// The bytes of buffers.
    pub buffers: Bytes,
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

impl Plan {
    /// Whether the run gets to its end.
    pub fn fits(&self) -> bool {
        self.outcome.out_of_memory.is_none()
    }

    /// The run to its end: without a limit where it does not fit.
    pub fn whole(&self) -> &Outcome {
        self.unlimited.as_ref().unwrap_or(&self.outcome)
    }

    /// What is left of the capacity at the peak of reserved memory; None where the run does not fit.
    pub fn headroom(&self) -> Option<Bytes> {
        self.fits().then(|| Bytes(self.capacity.0.saturating_sub(self.outcome.peak_reserved.0)))
    }

    /// What the allocator gave back to the device in all, so that the run fits; zero where it had to give nothing.
    pub fn given_back(&self) -> Bytes {
        self.outcome.given_back.iter().map(|given| given.released).sum()
    }

    /// The path of the module that asked for memory; empty for the model itself.
    pub fn module(&self, allocation: &Allocation) -> &str {
        self.graph.modules.get(allocation.module.index()).map_or("", |module| &module.path)
    }

    /// The parameter that memory belongs to.
    pub fn parameter(&self, allocation: &Allocation) -> Option<&str> {
        Some(&self.graph.parameters.get(allocation.parameter? as usize)?.name)
    }

    /// Whose memory it is: the parameter's, or else the module's.
    pub fn owner(&self, allocation: &Allocation) -> &str {
        self.parameter(allocation).unwrap_or_else(|| self.module(allocation))
    }

    /// The module that holds memory, and what it is there: the name of a parameter that it has, or an operator.
    pub fn place<'a>(&'a self, allocation: &'a Allocation) -> (&'a str, &'a str) {
        match self.parameter(allocation) {
            Some(parameter) => parameter.rsplit_once('.').unwrap_or(("", parameter)),
            None => (self.module(allocation), allocation.op),
        }
    }

    /// The phase that an event falls into; None behind the last one.
    pub fn phase_at(&self, event: usize) -> Option<&Phase> {
        let rest = self.stream.events.get(event..)?;
        rest.iter().find_map(|event| match event {
            Event::Phase(phase) => self.stream.phases.get(*phase as usize),
            _ => None,
        })
    }

    /// The phase of the peak of allocated memory.
    pub fn peak_phase(&self) -> Option<&Phase> {
        self.phase_at(self.whole().peak_event)
    }

    /// Where the run ends for want of memory.
    pub fn failure(&self) -> Option<Failure<'_>> {
        let (event, error) = self.outcome.out_of_memory.as_ref()?;
        match self.stream.events.get(*event)? {
            Event::Allocate(id) => {
                Some(Failure { error, allocation: &self.stream.allocations[id.index()], phase: self.phase_at(*event) })
            }
            _ => None,
        }
    }

    /// The bytes asked for that are alive at the peak, by what they are for; categories without any are left out.
    pub fn categories_at_peak(&self) -> Vec<(Category, Bytes)> {
        let bytes_of = |category: Category| {
            let live = self.at_peak.iter().filter(|live| live.category == category);
            live.map(|live| self.stream.allocations[live.id.index()].bytes).sum::<Bytes>()
        };
        let all = Category::ALL.iter().map(|category| (*category, bytes_of(*category)));
        all.filter(|(_, bytes)| bytes.0 > 0).collect()
    }

    /// Keys and values when the most bytes of them are alive.
    pub fn most_cached(&self) -> CacheBytes {
        let Stream { allocations, events, cached: kinds, .. } = &self.stream;
        let mut kind = vec![0_u8; allocations.len()];
        for (id, cached) in kinds {
            kind[id.index()] = 1 + *cached as u8;
        }
        let mut is_cache = vec![false; allocations.len()];
        let (mut now, mut most) = ([0_u64; 3], [0_u64; 3]);
        for event in events {
            let (id, becomes) = match event {
                Event::Allocate(id) => (*id, allocations[id.index()].category == Category::KvCache),
                Event::Becomes(id, category) => (*id, *category == Category::KvCache),
                Event::Free(id) => (*id, false),
                Event::Phase(_) => continue,
            };
            let sum = &mut now[usize::from(kind[id.index()])];
            match (std::mem::replace(&mut is_cache[id.index()], becomes), becomes) {
                (false, true) => *sum += allocations[id.index()].bytes.0,
                (true, false) => *sum -= allocations[id.index()].bytes.0,
                _ => continue,
            }
            if now.iter().sum::<u64>() > most.iter().sum() {
                most = now;
            }
        }
        let [full, window, cross] = most.map(Bytes);
        CacheBytes { full, window, cross }
    }

    /// What the allocator adds to the bytes asked for at the peak: rounding, and rests that it does not split off.
    pub fn slack_at_peak(&self) -> Bytes {
        let asked: Bytes = self.at_peak.iter().map(|live| self.stream.allocations[live.id.index()].bytes).sum();
        Bytes(self.whole().peak_allocated.0.saturating_sub(asked.0))
    }

    /// The operators that the table lacks, in one forward of a run; inputs and outputs count with the type of the weights.
    pub fn unknown_operators(&self, run: &Run) -> Vec<Unknown> {
        let forwards = run.steps.saturating_mul(if run.mode == Mode::Train { run.accumulate } else { 1 });
        unknown(&self.graph, self.precision.dtype().size(), forwards)
    }

    /// Counts parameters and buffers.
    pub fn parameters(&self) -> ParameterTotals {
        let mut totals = ParameterTotals::default();
        let adapted = self.graph.is_adapted();
        for parameter in &self.graph.parameters {
            let count: u64 = parameter.shape.iter().product();
            let dtype = parameter.dtype.unwrap_or(self.precision.dtype());
            let bytes = Bytes(count * dtype.size());
            if parameter.buffer {
                totals.buffers += bytes;
                continue;
            }
            totals.count += count;
            totals.bytes += bytes;
            let trained = parameter.needs_gradient(adapted, self.trainable.as_ref());
            totals.trainable += if trained && dtype.is_floating() { count } else { 0 };
        }
        totals
    }
}
