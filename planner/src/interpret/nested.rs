//! Values that hold values, with their height and their count: what is too high is refused, so that walks over values and
//! their going stay within the stack; walks over lists count what they come to.
//!
//! A list or dictionary never changes, so both are known when it is made. An object is at least as high as any list may be
//! and its height stays: it takes what is lower alone. So nothing comes to stand within itself.

use std::ops::Deref;

/// The highest list or dictionary that holds no object: far beyond any spec.
pub const LISTS: u32 = 64;

/// How many levels of configs may lie within a config.
pub const CONFIGS: u32 = 8;

/// The highest value: as many levels of objects and of lists between them, far within the stack.
pub const HIGHEST: u32 = 4 * LISTS;

/// How far a value goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many levels of values lie within it.
    pub height: u32,
    /// How many values lie within it, those of the lists in it counted each time, an object as one.
    pub count: usize,
}

impl Extent {
    /// What holds values of these extents.
    pub fn around(values: impl Iterator<Item = Extent>) -> Extent {
        values.fold(Extent { height: 1, count: 0 }, |all, value| Extent {
            height: all.height.max(value.height.saturating_add(1)),
            count: all.count.saturating_add(value.count).saturating_add(1),
        })
    }
}

/// A list or dictionary with its extent.
#[derive(Clone, Debug)]
pub struct Nested<T> {
    values: T,
    extent: Extent,
}

impl<T> Nested<T> {
    /// These values, which have that extent.
    pub fn new(values: T, extent: Extent) -> Self {
        Nested { values, extent }
    }

    /// Others of the same kinds in place of these.
    pub fn with(&self, values: T) -> Self {
        Nested { values, extent: self.extent }
    }

    /// How far it goes down.
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

impl<T> Deref for Nested<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.values
    }
}
