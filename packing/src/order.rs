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

/// The items by the first key, ties by the others.
pub fn order(part: &Part, keys: &[Key; 3]) -> Vec<u32> {
    let value = |item: usize, key: Key| -> u128 {
        match key {
            Key::Total => u128::from(part.items[item].most),
            Key::Width => u128::from(part.items[item].time),
            Key::Area => part.items[item].area(),
            Key::Size => u128::from(part.items[item].size),
        }
    };
    let mut order: Vec<u32> = (0..part.items.len() as u32).collect();
    order.sort_by_cached_key(|item| Reverse(keys.map(|key| value(*item as usize, key))));
    order
}
