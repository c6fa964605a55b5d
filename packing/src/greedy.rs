//! Fast packings: items in an order, each into the first or the tightest gap among those placed before it.

use crate::problem::{Item, Part};

/// Which gap an item gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The lowest.
    First,
    /// The smallest; the lowest of those.
    Best,
}

/// What has been placed, by offset.
#[derive(Clone, Copy)]
struct Placed {
    offset: u64,
    top: u64,
    first: u32,
    end: u32,
}

/// An offset in units for each item; fixed ones are placed first. `None` where `stop` says so before the end: it is asked now
/// and then.
pub fn place(part: &Part, order: &[u32], fit: Fit, stop: &dyn Fn() -> bool) -> Option<Vec<u64>> {
    let mut offsets = vec![0; part.items.len()];
    let mut placed: Vec<Placed> = Vec::with_capacity(part.items.len());
    let fixed = order.iter().filter(|item| part.items[**item as usize].fixed.is_some());
    let free = order.iter().filter(|item| part.items[**item as usize].fixed.is_none());
    for (number, &item) in fixed.chain(free).enumerate() {
        if number % 256 == 255 && stop() {
            return None;
        }
        let index = item as usize;
        let offset = part.items[index].fixed.unwrap_or_else(|| gap(part, index, &placed, fit));
        let item = &part.items[index];
        offsets[index] = offset;
        let place = Placed { offset, top: offset + item.size, first: item.first, end: item.end };
        placed.insert(placed.partition_point(|other| other.offset <= offset), place);
    }
    Some(offsets)
}

fn gap(part: &Part, item: usize, placed: &[Placed], fit: Fit) -> u64 {
    let item = &part.items[item];
    let (mut at, mut best) = (0, (u64::MAX, 0));
    for other in placed {
        if other.first < item.end && item.first < other.end {
            if at + item.size <= other.offset {
                match fit {
                    Fit::First => return at,
                    Fit::Best => best = best.min((other.offset - at, at)),
                }
            }
            if other.top > at {
                at = item.aligned(other.top);
            }
        }
    }
    if best.0 < u64::MAX { best.1 } else { at }
}

/// All items one above the other, above what is fixed: the packing for those in a hurry.
pub fn stack(part: &Part) -> Vec<u64> {
    let mut top = part.items.iter().filter_map(|item| Some(item.fixed? + item.size)).max().unwrap_or(0);
    let place = |item: &Item| {
        item.fixed.unwrap_or_else(|| {
            let offset = item.aligned(top);
            top = offset + item.size;
            offset
        })
    };
    part.items.iter().map(place).collect()
}

/// The highest top, in units.
pub fn peak(part: &Part, offsets: &[u64]) -> u64 {
    part.items.iter().zip(offsets).map(|(item, offset)| offset + item.size).max().unwrap_or(0)
}
