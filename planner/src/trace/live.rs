//! What is alive at an event of a trace.

use super::{AllocationId, Category, Cursor, Trace};

/// An allocation that is alive, and what it is for at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The allocation.
    pub id: AllocationId,
    /// What it is for.
    pub category: Category,
}

/// What is alive after the event of that number, in the order of allocation.
pub fn live_after(trace: &Trace, event: usize) -> Vec<Live> {
    Cursor::new(trace).until(event).live().collect()
}
