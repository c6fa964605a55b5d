//! What a stream keeps when that is most, by category.

use std::collections::BTreeMap;

use super::{Category, Event, Stream};
use crate::bytes::Bytes;

impl Stream {
    /// The bytes that the run keeps on the host when they are most.
    pub fn host_bytes(&self) -> Bytes {
        self.host.iter().map(|(_, bytes)| *bytes).sum()
    }

    /// What of the stream's memory is kept beyond an operator, when that is most: by category, in the categories' order.
    pub(crate) fn kept_at_most(&self) -> Vec<(Category, Bytes)> {
        let mut most = BTreeMap::new();
        let mut now: BTreeMap<Category, Bytes> = BTreeMap::new();
        let mut categories: Vec<Category> = self.allocations.iter().map(|allocation| allocation.category).collect();
        let total = |kept: &BTreeMap<Category, Bytes>| -> Bytes { kept.values().copied().sum() };
        for event in &self.events {
            let (id, left, joined) = match event {
                Event::Allocate(id) => (id, None, Some(categories[id.index()])),
                Event::Free(id) => (id, Some(categories[id.index()]), None),
                Event::Becomes(id, category) => (id, Some(categories[id.index()]), Some(*category)),
                Event::Phase(_) => continue,
            };
            let bytes = self.allocations[id.index()].bytes;
            if let Some(left) = left.and_then(|left| now.get_mut(&left)) {
                left.0 = left.0.saturating_sub(bytes.0);
            }
            if let Some(joined) = joined {
                categories[id.index()] = joined;
                if joined != Category::Temporaries {
                    now.entry(joined).or_default().0 += bytes.0;
                }
            }
            if total(&now) > total(&most) {
                most.clone_from(&now);
            }
        }
        most.into_iter().filter(|(_, bytes)| bytes.0 > 0).collect()
    }
}
