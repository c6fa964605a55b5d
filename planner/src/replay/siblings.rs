//! Folds tensors that are alike but for a layer's number: `transformer.h.[0-11].mlp.c_fc`.

use indexmap::IndexMap;

use super::Replay;
use crate::bytes::Bytes;
use crate::trace::Category;
use crate::trace::Name;

/// Live tensors that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Siblings {
    /// Whose they are: a parameter's or a module's path.
    pub place: String,
    /// What asked for them.
    pub by: String,
    /// What they are for.
    pub category: Category,
    /// How many there are.
    pub count: u64,
    /// Their bytes together.
    pub bytes: Bytes,
}

/// What tensors that are alike share.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    /// The path before and after the layer's number.
    path: (&'a str, &'a str),
    op: Name,
    node: Option<Name>,
    category: Category,
    bytes: Bytes,
}

impl Replay {
    /// The tensors that are alive at the peak, folded, those with the most bytes together first.
    pub fn siblings_at_peak(&self) -> Vec<Siblings> {
        let mut kinds: IndexMap<Kind<'_>, (Vec<u64>, Siblings)> = IndexMap::new();
        for live in &self.at_peak {
            let allocation = &self.trace.allocation(live.id);
            let (before, number, after) = split(self.owner(allocation));
            let (op, node) = (allocation.operator, allocation.node);
            let (category, bytes) = (live.category, allocation.bytes);
            let (numbers, siblings) =
                kinds.entry(Kind { path: (before, after), op, node, category, bytes }).or_insert_with(|| {
                    let by = self.trace.asked_by(allocation);
                    (Vec::new(), Siblings { place: String::new(), by, category, count: 0, bytes: Bytes(0) })
                });
            numbers.extend(number);
            siblings.count += 1;
            siblings.bytes += bytes;
        }
        let named = kinds.into_iter().map(|(kind, (numbers, siblings))| {
            let place = format!("{}{}{}", kind.path.0, ranges(numbers), kind.path.1);
            Siblings { place, ..siblings }
        });
        let mut folded: Vec<Siblings> = named.collect();
        folded.sort_by_key(|siblings| std::cmp::Reverse(siblings.bytes));
        folded
    }
}

/// A path around its first whole number: `h.`, 3, `.mlp`.
pub(crate) fn split(path: &str) -> (&str, Option<u64>, &str) {
    let mut start = 0;
    for segment in path.split('.') {
        if let Ok(number) = segment.parse() {
            return (&path[..start], Some(number), &path[start + segment.len()..]);
        }
        start += segment.len() + 1;
    }
    (path, None, "")
}

/// `3` for a single number, `[0-11]` or `[0-3,7]` for several.
pub(crate) fn ranges(mut numbers: Vec<u64>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in &numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    if numbers.len() < 2 { shown.concat() } else { format!("[{}]", shown.join(",")) }
}
