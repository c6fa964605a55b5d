//! The colours of categories in pictures: Paul Tol's schemes for people who see colours differently, on light and dark grounds.

use crate::trace::CATEGORIES;

/// Categories with what the allocator adds, in the order in which they are stacked.
pub(super) const NAMES: [&str; CATEGORIES + 1] = [
    "parameters",
    "gradients",
    "optimizer states",
    "saved activations",
    "temporaries",
    "workspace",
    "KV cache",
    "inputs",
    "buffers",
    "communication",
    "allocator slack",
];

/// Their colours.
pub(super) const COLOURS: [&str; CATEGORIES + 1] = [
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377", "#66ccee", "#ee8866", "#77aadd", "#aaaa00", "#44bb99",
    "#8a9199",
];

#[cfg(test)]
mod tests {
    use super::NAMES;
    use crate::trace::Category;

    #[test]
    fn names_are_those_of_the_categories() {
        for category in Category::ALL {
            assert_eq!(NAMES[category as usize], category.name());
        }
    }
}
