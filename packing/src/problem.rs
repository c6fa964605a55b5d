//! Buffers as the algorithms see them: sizes in units of their greatest common divisor, time in sections, parts that share no
//! time apart.
//!
//! A section is a time at which the set of live buffers is largest: no set of another time contains it. Two buffers are alive
//! together just where they share a section, so nothing else of time matters.
//!
//! ```text
//! a ▬▬▬▬▬▬▬▬▬▬                      sections: {a, b}  {a, c}  {d}
//! b ▬▬▬▬                            a [0, 2)  b [0, 1)  c [1, 2)  d [2, 3)
//! c       ▬▬▬▬▬                     parts: [0, 2) and [2, 3)
//! d              ▬▬▬▬
//! ```

use rustc_hash::FxHashMap;

use crate::buffer::Buffer;

/// A buffer of a size above zero, whose place is to be chosen or fixed.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which of the buffers it is.
    pub buffer: usize,
    /// Its first section.
    pub first: u32,
    /// The section after its last.
    pub end: u32,
    /// How long it lives, in the time of the buffers.
    pub time: u64,
    /// The largest total of its sections, in units.
    pub most: u64,
    /// Units.
    pub size: u64,
    /// Its offset is a multiple of this many units.
    pub alignment: u64,
    /// Its offset in units, where it is fixed.
    pub fixed: Option<u64>,
    /// A number that it shares with its twins: those of its lifetime, size and alignment, which in each other's place make the
    /// same packing.
    pub kind: u32,
}

impl Item {
    /// Whether the two are alive together.
    pub fn meets(&self, other: &Item) -> bool {
        self.first < other.end && other.first < self.end
    }

    /// The lowest offset at or above `at` that is a multiple of its alignment, in units.
    pub fn aligned(&self, at: u64) -> u64 {
        // Most are aligned to a unit, and a division takes long.
        if self.alignment == 1 { at } else { at.next_multiple_of(self.alignment) }
    }

    /// Time times units.
    pub fn area(&self) -> u128 {
        u128::from(self.time) * u128::from(self.size)
    }
}

/// Items that share no time with any others; their sections count from 0.
#[derive(Clone, Debug)]
pub struct Part {
    /// What is to be packed.
    pub items: Vec<Item>,
    /// For each section, what is alive in it, in units.
    pub totals: Vec<u64>,
    /// No packing's top is below this, in units.
    pub bound: u64,
    /// How many kinds of items there are.
    pub kinds: usize,
}

impl Part {
    /// How many pairs of items are alive together.
    pub fn pairs(&self) -> usize {
        let mut begin = vec![0_usize; self.totals.len() + 1];
        let mut end = begin.clone();
        for item in &self.items {
            begin[item.first as usize] += 1;
            end[item.end as usize] += 1;
        }
        let (mut alive, mut pairs) = (0, 0);
        for (begin, end) in begin.into_iter().zip(end) {
            alive -= end;
            // Those that begin here meet what is alive, and each other.
            pairs += begin * alive + begin * begin.saturating_sub(1) / 2;
            alive += begin;
        }
        pairs
    }
}

/// All buffers of a size above zero.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Bytes of a unit.
    pub unit: u64,
    /// Items that share no time, in the order of time.
    pub parts: Vec<Part>,
}

impl Problem {
    /// The problem of buffers that were checked.
    pub fn new(buffers: &[Buffer], default_alignment: u64) -> Problem {
        let unit = unit(buffers, default_alignment);
        let live: Vec<usize> = (0..buffers.len()).filter(|&n| buffers[n].size > 0).collect();
        let sections = sections(buffers, &live);
        let mut items: Vec<Item> = live
            .iter()
            .zip(sections)
            .map(|(&n, (first, end))| {
                let buffer = &buffers[n];
                let alignment = buffer.alignment.unwrap_or(default_alignment);
                let alignment = alignment / gcd(alignment, unit);
                let fixed = buffer.offset.map(|offset| offset / unit);
                let time = buffer.upper.abs_diff(buffer.lower);
                Item { buffer: n, first, end, time, most: 0, size: buffer.size / unit, alignment, fixed, kind: 0 }
            })
            .collect();
        items.sort_by_key(|item| (item.first, item.end, item.buffer));
        Problem { unit, parts: parts(items) }
    }
}

/// A unit in which all sizes, and all offsets of packings pushed down, are whole.
fn unit(buffers: &[Buffer], default_alignment: u64) -> u64 {
    let sizes = buffers.iter().fold(0, |unit, b| gcd(gcd(unit, b.size), b.offset.unwrap_or(0)));
    let alignments = || buffers.iter().map(|b| b.alignment.unwrap_or(default_alignment));
    if sizes == 0 {
        return 1;
    }
    if alignments().all(|alignment| sizes % alignment == 0) {
        return sizes;
    }
    // Rounding up to an alignment that is no divisor leaves the multiples of `sizes`.
    alignments().filter(|alignment| *alignment > 1).fold(sizes, gcd)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// For each of the `live` buffers, its first section and the one after its last.
fn sections(buffers: &[Buffer], live: &[usize]) -> Vec<(u32, u32)> {
    // At one time, ends come before starts: lifetimes are half-open.
    let mut events: Vec<(i64, bool, usize)> = Vec::with_capacity(2 * live.len());
    for (position, &n) in live.iter().enumerate() {
        events.push((buffers[n].lower, true, position));
        events.push((buffers[n].upper, false, position));
    }
    events.sort_unstable();
    let mut sections = vec![(0, 0); live.len()];
    let (mut count, mut grown) = (0, false);
    for (_, starts, position) in events {
        if starts {
            sections[position].0 = count;
            grown = true;
        } else {
            // The first end after a start: what was alive until now is a largest set.
            count += u32::from(grown);
            grown = false;
            sections[position].1 = count;
        }
    }
    sections
}

/// Splits items, which are sorted by their first section, where nothing is alive across.
fn parts(items: Vec<Item>) -> Vec<Part> {
    let mut parts: Vec<Vec<Item>> = Vec::new();
    let mut end = 0;
    for item in items {
        if item.first >= end {
            parts.push(Vec::new());
        }
        end = end.max(item.end);
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts.into_iter().map(part).collect()
}

fn part(mut items: Vec<Item>) -> Part {
    let first = items.iter().map(|item| item.first).min().unwrap_or(0);
    for item in &mut items {
        item.first -= first;
        item.end -= first;
    }
    let count = items.iter().map(|item| item.end).max().unwrap_or(0) as usize;
    let mut changes = vec![0_i64; count + 1];
    for item in &items {
        // Sizes are below 2^60, so that they fit.
        changes[item.first as usize] += item.size as i64;
        changes[item.end as usize] -= item.size as i64;
    }
    let mut total = 0;
    let totals: Vec<u64> = changes[..count]
        .iter()
        .map(|change| {
            total += change;
            total as u64
        })
        .collect();
    let fixed = items.iter().filter_map(|item| Some(item.fixed? + item.size)).max().unwrap_or(0);
    let bound = totals.iter().copied().max().unwrap_or(0).max(fixed);
    set_most(&mut items, &totals);
    let kinds = set_kinds(&mut items);
    Part { items, totals, bound, kinds }
}

/// Numbers the kinds of items, and gives how many there are.
fn set_kinds(items: &mut [Item]) -> usize {
    let mut kinds = FxHashMap::default();
    for item in items {
        let of_twins = (item.first, item.end, item.size, item.alignment, item.fixed.is_some());
        let next = kinds.len() as u32;
        item.kind = *kinds.entry(of_twins).or_insert(next);
    }
    kinds.len()
}

/// Finds the largest totals of items by a table of maxima over powers of two.
fn set_most(items: &mut [Item], totals: &[u64]) {
    let mut maxima = vec![totals.to_vec()];
    let mut width = 1;
    while 2 * width <= totals.len() {
        let below = &maxima[maxima.len() - 1];
        let next = (0..=totals.len() - 2 * width).map(|at| below[at].max(below[at + width])).collect();
        maxima.push(next);
        width *= 2;
    }
    for item in items {
        let level = (item.end - item.first).ilog2();
        let row = &maxima[level as usize];
        item.most = row[item.first as usize].max(row[item.end as usize - (1 << level)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(lower: i64, upper: i64, size: u64) -> Buffer {
        Buffer { lower, upper, size, ..Buffer::default() }
    }

    #[test]
    fn time_becomes_sections_and_parts() {
        let buffers = [buffer(0, 10, 6), buffer(0, 4, 9), buffer(6, 11, 3), buffer(14, 18, 12), buffer(3, 9, 0)];
        let problem = Problem::new(&buffers, 1);
        assert_eq!(problem.unit, 3);
        let seen: Vec<Vec<_>> = problem
            .parts
            .iter()
            .map(|part| part.items.iter().map(|item| (item.buffer, item.first, item.end, item.size)).collect())
            .collect();
        assert_eq!(seen, [vec![(1, 0, 1, 3), (0, 0, 2, 2), (2, 1, 2, 1)], vec![(3, 0, 1, 4)]]);
        assert_eq!(problem.parts[0].totals, [5, 3]);
        assert_eq!(problem.parts[0].bound, 5);
    }

    #[test]
    fn a_unit_loses_no_offset() {
        let aligned = |size, alignment| Buffer { alignment: Some(alignment), ..buffer(0, 1, size) };
        assert_eq!(unit(&[aligned(24, 8), aligned(48, 4)], 1), 24);
        assert_eq!(unit(&[aligned(12, 8), aligned(24, 1)], 1), 4);
        assert_eq!(unit(&[aligned(12, 8), aligned(24, 3)], 1), 1);
    }
}
