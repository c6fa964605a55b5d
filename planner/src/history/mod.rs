//! A run over its events: what is allocated, reserved and alive by category, at as many moments as can be looked at.
//!
//! ```text
//! events    0 1 2 3 4 5 6 7 8 9 ... 60000
//! samples   [   )[   )[)[)[)[)[    )[    )      each shows the event of its range at which the most is allocated
//!                     near the peak: one event a sample
//! ```
//!
//! Because each sample shows the highest moment of its range, the peak is among them whatever their number.

mod alive;

use rustc_hash::FxHashMap;

pub use alive::{Alive, Group, ModuleBytes, alive, modules_at_peak};
pub(crate) use alive::{Groups, groups};

use crate::allocate::{BlockId, SegmentView, observe};
use crate::bytes::Bytes;
use crate::replay::{Replay, UNLIMITED};
use crate::trace::{AllocationId, ByCategory, Cursor};

/// A stretch of events, at the one of them at which the most is allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The first event of the stretch.
    pub from: usize,
    /// The first event behind it.
    pub to: usize,
    /// The event that is shown.
    pub event: usize,
    /// `memory_allocated` after it.
    pub allocated: Bytes,
    /// The most that is reserved in the stretch.
    pub reserved: Bytes,
    /// The bytes asked for that are alive after the event.
    pub categories: ByCategory,
}

impl Sample {
    /// What the allocator adds to the bytes asked for.
    pub fn slack(&self) -> Bytes {
        Bytes(self.allocated.0.saturating_sub(self.categories.total().0))
    }
}

/// A run over its events.
#[derive(Clone, Debug)]
pub struct History {
    /// All events, in stretches.
    pub samples: Vec<Sample>,
    /// How many events there are.
    pub events: usize,
    /// The allocator's segments at the peak of allocated memory.
    pub segments: Vec<SegmentView>,
    /// Whose the blocks in use are.
    pub owners: FxHashMap<BlockId, AllocationId>,
}

impl History {
    /// The sample that has an event.
    pub fn at(&self, event: usize) -> Option<&Sample> {
        self.samples.get(self.samples.partition_point(|sample| sample.to <= event))
    }
}

/// Looks at a run in so many stretches; up to `near` events on each side of the peak are stretches of their own. Where the run
/// does not fit it is shown to its end, as on a GPU without a limit.
pub fn history(replay: &Replay, stretches: usize, near: usize) -> History {
    let capacity = if replay.unlimited.is_some() { UNLIMITED } else { replay.capacity };
    let events = replay.trace.event_count();
    let peak = replay.whole().peak_event;
    let mut samples = cut(events, stretches, (peak.saturating_sub(near), (peak + near).min(events)));
    let mut cursor = Cursor::new(&replay.trace);
    let (mut segments, mut owners) = (Vec::new(), FxHashMap::default());
    let mut place = 0;
    observe(&replay.trace, &replay.options, Some(capacity), |number, allocator, blocks| {
        cursor.step();
        while samples.get(place).is_some_and(|sample| sample.to <= number) {
            place += 1;
        }
        let stats = allocator.stats();
        if let Some(sample) = samples.get_mut(place) {
            sample.reserved = sample.reserved.max(stats.reserved);
            if stats.allocated > sample.allocated || number == sample.from {
                (sample.event, sample.allocated, sample.categories) = (number, stats.allocated, *cursor.bytes());
            }
        }
        if number == peak {
            segments = allocator.snapshot();
            owners = replay.at_peak.iter().map(|live| (blocks[live.id.index()], live.id)).collect();
        }
    });
    History { samples, events, segments, owners }
}

/// Cuts events into about as many stretches of equal length, and those of the window one by one.
fn cut(events: usize, stretches: usize, (first, last): (usize, usize)) -> Vec<Sample> {
    let step = events.div_ceil(stretches.max(1)).max(1);
    let mut samples = Vec::new();
    let mut from = 0;
    while from < events {
        let inside = (first..last).contains(&from);
        let to = if inside { from + 1 } else { (from / step + 1) * step };
        let to = if from < first && to > first && last > first { first } else { to }.min(events);
        samples.push(Sample { from, to, event: from, ..Sample::default() });
        from = to;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_have_all_events_once_and_those_near_the_peak_alone() {
        for (events, stretches, window) in
            [(1, 10, (0, 1)), (100, 7, (33, 41)), (1000, 3, (0, 0)), (50, 500, (10, 20)), (64, 8, (60, 64))]
        {
            let samples = cut(events, stretches, window);
            assert_eq!((samples[0].from, samples[samples.len() - 1].to), (0, events));
            assert!(samples.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert!(
                samples.iter().filter(|sample| (window.0..window.1).contains(&sample.from)).all(|s| s.to == s.from + 1)
            );
            assert!(samples.len() <= stretches + 2 + (window.1 - window.0), "{}", samples.len());
        }
    }
}
