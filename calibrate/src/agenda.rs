//! What is measured, how often, and how long that takes at most.

use std::time::Duration;

use crate::products::{Element, Product};

/// Bytes of the buffers that memory kernels run over: within the caches and far beyond.
pub(crate) const MEMORY_SIZES: [u64; 8] = [1 << 12, 1 << 16, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30];
/// Bytes of a copy between host and device.
pub(crate) const TRANSFER: u64 = 1 << 28;
/// Ways in which those are copied.
const WAYS: u64 = 4;

/// How measurements are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Runs before those that count.
    pub warm_ups: u32,
    /// Runs that count.
    pub repetitions: u32,
    /// How long one measurement goes on at most; three runs are made whatever they take.
    pub most_each: Duration,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { warm_ups: 3, repetitions: 20, most_each: Duration::from_millis(500) }
    }
}

/// A part of the measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is measured.
    pub what: &'static str,
    /// How many measurements it has.
    pub count: u64,
    /// How long it takes at most.
    pub most: Duration,
}

/// What would be measured on a GPU of this compute capability; of PyTorch, if it is there, with so many convolutions.
pub fn agenda(plan: &Plan, compute_capability: (i32, i32), pytorch: bool, convolutions: u64) -> Vec<Part> {
    let measured =
        |what, count: u64| Part { what, count, most: plan.most_each * u32::try_from(count).unwrap_or(u32::MAX) };
    let within = |what, count, seconds| Part { what, count, most: Duration::from_secs(seconds) };
    let products = Element::of(compute_capability).flat_map(Product::grid).count() as u64;
    let mut parts = vec![
        within("memory: the context, a kernel, cuBLAS, in a process of their own", 3, 30),
        within("memory: sizes that cudaMalloc rounds to", 1, 1),
        measured("speeds: matrix products of each type", products),
        measured("speeds: copies, additions and sums over memory", 3 * MEMORY_SIZES.len() as u64),
        measured("speeds: launches", 1),
        measured("copies between host and device, pinned and pageable", WAYS + 1),
    ];
    if pytorch {
        parts.push(within("PyTorch: what its process holds outside its allocator", 4, 120));
        if convolutions > 0 {
            parts.push(within(
                "PyTorch: cuDNN's workspaces of convolutions, by its heuristics and by its benchmark",
                2 * convolutions,
                5 * convolutions,
            ));
        }
    }
    parts
}

/// How many steps a progress bar has for the speeds.
pub fn steps(compute_capability: (i32, i32)) -> u64 {
    let products = Element::of(compute_capability).flat_map(Product::grid).count();
    (products + MEMORY_SIZES.len()) as u64 + WAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agenda_says_how_much_there_is() {
        let plan = Plan::default();
        let parts = agenda(&plan, (9, 0), false, 0);
        let products = parts.iter().find(|part| part.what.contains("products")).expect("products").count;
        assert_eq!(products, 4 * 9 + 2 * 6);
        assert_eq!(steps((9, 0)), products + 8 + 4);
        let total: Duration = parts.iter().map(|part| part.most).sum();
        assert!(total < Duration::from_secs(120), "{total:?}");
        assert_eq!(agenda(&plan, (9, 0), true, 50).len(), parts.len() + 2);
    }
}
