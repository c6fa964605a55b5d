//! What is allocated over a run, in stretches of events.

use super::steady::Look;
use crate::bytes::Bytes;

/// A stretch of events, at the one of them at which the most is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Height {
    /// The first event of the stretch.
    pub from: usize,
    /// The first event behind it.
    pub to: usize,
    /// The event at which the most is allocated.
    pub event: usize,
    /// `memory_allocated` after it.
    pub allocated: Bytes,
}

/// The stretches of a run as it goes over them.
pub(super) struct Heights {
    heights: Vec<Height>,
    place: usize,
}

impl Heights {
    /// About so many stretches of equal length over so many events.
    pub fn over(events: usize, stretches: usize) -> Heights {
        let length = events.div_ceil(stretches.max(1)).max(1);
        let stretch = |from: usize| Height { from, to: (from + length).min(events), event: from, allocated: Bytes(0) };
        Heights { heights: (0..events).step_by(length).map(stretch).collect(), place: 0 }
    }

    /// What has been seen.
    pub fn seen(self) -> Vec<Height> {
        self.heights
    }
}

impl Look for Heights {
    fn after(&mut self, event: usize, allocated: Bytes) {
        while self.heights.get(self.place).is_some_and(|height| height.to <= event) {
            self.place += 1;
        }
        if let Some(height) = self.heights.get_mut(self.place)
            && (allocated > height.allocated || event == height.from)
        {
            (height.event, height.allocated) = (event, allocated);
        }
    }
}
