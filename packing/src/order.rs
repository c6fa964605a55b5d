//! Orders in which items are ranked: by what makes them hard to place.

use std::cmp::Reverse;

use crate::problem::Part;

/// What an item is ranked by; more comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The largest total of the sections that it lives in.
    Total,
    /// How long it lives.
    Width,
    /// Its area.
    Area,
    /// Its size.
    Size,
}

/// The orders of the search, tried in turn: none is best for all.
pub const SEARCHED: [[Key; 3]; 3] =
    [[Key::Total, Key::Width, Key::Area], [Key::Total, Key::Area, Key::Width], [Key::Width, Key::Area, Key::Total]];

/// The orders of the greedy placements.
pub const GREEDY: [[Key; 3]; 6] = [
    [Key::Size, Key::Width, Key::Total],
    [Key::Area, Key::Size, Key::Total],
    [Key::Width, Key::Size, Key::Total],
    SEARCHED[0],
    SEARCHED[1],
    [Key::Total, Key::Size, Key::Width],
];

/// By how much a shaken value is off, as the logarithm of its factor.
const SHAKEN: f64 = 0.3;

/// The items by the first key, ties by the others.
pub fn order(part: &Part, keys: &[Key; 3]) -> Vec<u32> {
    sorted(part, |item| keys.map(|key| value(part, item, key)))
}

/// An order near that of the keys, another one for each seed: lengths and areas are off by chance. Where an order leads a search
/// astray, one near it may not.
pub fn shaken(part: &Part, keys: &[Key; 3], seed: u64) -> Vec<u32> {
    sorted(part, |item| {
        let chance = scramble(scramble(seed) ^ item as u64) as f64 / u64::MAX as f64;
        let factor = (SHAKEN * (2.0 * chance - 1.0)).exp() * f64::from(1 << 20);
        keys.map(|key| match key {
            Key::Total => value(part, item, key),
            Key::Width | Key::Area | Key::Size => (value(part, item, key) as f64 * factor) as u128,
        })
    })
}

fn value(part: &Part, item: usize, key: Key) -> u128 {
    let item = &part.items[item];
    match key {
        Key::Total => u128::from(item.most),
        Key::Width => u128::from(item.time),
        Key::Area => item.area(),
        Key::Size => u128::from(item.size),
    }
}

fn sorted(part: &Part, values: impl Fn(usize) -> [u128; 3]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..part.items.len() as u32).collect();
    order.sort_by_cached_key(|item| Reverse(values(*item as usize)));
    order
}

/// Bits that have nothing to do with each other for numbers that do.
pub fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}
