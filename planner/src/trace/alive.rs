//! The most that is alive at once: of an iteration that happens again only what its own bytes change is added up anew.

use super::{Event, Stretch, Trace};
use crate::bytes::Bytes;

/// What happens in every iteration of a stretch but the first, in order.
enum Part {
    /// Events that add the same each time: the most that they add on the way, and all of it.
    Steady { most: i64, sum: i64 },
    /// The allocation of that number is made.
    Made(usize),
    /// The allocation of that number goes, of the iteration so many back.
    Gone(usize, usize),
}

impl Trace {
    /// The most that is alive at once, where an allocation of so many bytes counts as `size` says.
    pub(crate) fn most_alive(&self, size: impl Fn(Bytes) -> u64) -> u64 {
        let size = |bytes: Bytes| size(bytes) as i64;
        let (mut live, mut most) = (0, 0);
        for stretch in self.stretches() {
            let reach = stretch.reach().unwrap_or(stretch.times());
            for event in (0..stretch.times().min(reach)).flat_map(|iteration| stretch.iteration(iteration)) {
                match event {
                    Event::Allocate(id) => live += size(self.allocation(id).bytes),
                    Event::Free(id, _) => live -= size(self.allocation(id).bytes),
                    Event::Becomes(..) | Event::Phase(_) => {}
                }
                most = most.max(live);
            }
            let parts = if reach < stretch.times() { parts(stretch, &size) } else { Vec::new() };
            for iteration in reach..stretch.times() {
                for part in &parts {
                    match part {
                        Part::Steady { most: above, sum } => {
                            most = most.max(live + above);
                            live += sum;
                        }
                        Part::Made(number) => live += size(stretch.bytes(iteration, *number)),
                        Part::Gone(number, back) => live -= size(stretch.bytes(iteration - back, *number)),
                    }
                    most = most.max(live);
                }
            }
        }
        most.max(0) as u64
    }
}

fn parts(stretch: &Stretch, size: &impl Fn(Bytes) -> i64) -> Vec<Part> {
    let mut parts = Vec::new();
    for event in stretch.pattern() {
        let (id, sign) = match event {
            Event::Allocate(id) => (*id, 1),
            Event::Free(id, _) => (*id, -1),
            Event::Becomes(..) | Event::Phase(_) => continue,
        };
        let number = stretch.number(id);
        if stretch.varies(number) {
            parts.push(if sign > 0 { Part::Made(number) } else { Part::Gone(number, stretch.back(id)) });
            continue;
        }
        let by = sign * size(stretch.bytes(0, number));
        match parts.last_mut() {
            Some(Part::Steady { most, sum }) => {
                *sum += by;
                *most = (*most).max(*sum);
            }
            _ => parts.push(Part::Steady { most: by, sum: by }),
        }
    }
    parts
}
