//! The rules in force: one small value that planning asks.

use super::{CHANGES, Change, Library, Release, Versions};

/// The rules that the releases of a run follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    versions: Versions,
    /// A bit for each change, by its place in the enum.
    in_force: u32,
}

impl Default for Rules {
    /// The rules of the newest releases.
    fn default() -> Rules {
        Rules::of(Versions::default())
    }
}

impl Rules {
    /// The rules of these releases.
    pub fn of(versions: Versions) -> Rules {
        let holds = CHANGES.iter().filter(|row| row.holds(versions.of(row.library)));
        Rules { versions, in_force: holds.fold(0, |bits, row| bits | 1 << row.change as u32) }
    }

    /// Whether a change holds.
    pub fn has(self, change: Change) -> bool {
        self.in_force & 1 << change as u32 != 0
    }

    /// Whether a library is of that release or a later one.
    pub fn is_since(self, library: Library, release: Release) -> bool {
        self.versions.of(library) >= release
    }
}
