//! States of some hundred items, looked at one by one.

use std::time::Instant;

use super::*;
use crate::buffer::Buffer;
use crate::order;
use crate::problem::Problem;

/// Whether some section, or some item left, needs more than the capacity, by looking at every one.
fn needs_more(state: &State) -> bool {
    let left = || (0..state.items.len()).filter(|number| !state.placed[*number]);
    let above = |section: usize| {
        let alive = |number: &usize| {
            let item = &state.items[*number];
            item.first as usize <= section && section < item.end as usize
        };
        let floor = left().filter(alive).map(|number| state.bound[number]).min();
        floor.is_some_and(|floor| floor + state.left[section] > state.capacity)
    };
    (0..state.left.len()).any(above)
        || left().any(|number| state.bound[number] + state.items[number].size > state.capacity)
}

fn raised_by(state: &State, number: usize) -> Vec<u64> {
    let item = &state.items[number];
    let top = state.height[number] + item.size;
    let of = |other: usize| {
        let met = other != number && !state.placed[other] && item.meets(&state.items[other]);
        if met { state.height[other].max(state.lowest(other, top)) } else { state.height[other] }
    };
    (0..state.items.len()).map(of).collect()
}

#[test]
fn placements_are_seen_as_they_are_and_taken_back() {
    let mut seed = 1_u64;
    let mut random = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % end
    };
    let mut fails = 0;
    for _ in 0..60 {
        let buffers: Vec<Buffer> = (0..300)
            .map(|_| {
                let lower = random(200) as i64;
                let (length, size) = (1 + random(30), 1 + random(20));
                Buffer { lower, upper: lower + length as i64, size, ..Buffer::default() }
            })
            .collect();
        let problem = Problem::new(&buffers, 1);
        let Some(part) = problem.parts.iter().max_by_key(|part| part.items.len()) else { continue };
        let limits = Limits { nodes: u64::MAX, deadline: Instant::now(), hurried: false };
        let order = order::order(part, &order::SEARCHED[0]);
        let mut state = State::new(part, &order, part.bound + random(10), limits);
        assert!(state.settle().is_ok() && !needs_more(&state));
        let count = state.items.len();
        loop {
            let known = state.summary(0..count);
            let direct = state.blocks.left(0..count).map(|n| state.summary_of(n)).fold(Summary::EMPTY, Summary::and);
            assert_eq!(known, direct);
            if known.next.0 == u64::MAX {
                break;
            }
            let number = known.next.2 as usize;
            let before = (state.height.clone(), state.bound.clone(), state.left.clone(), state.crossing.clone());
            let raised = raised_by(&state, number);
            let mark = state.mark();
            let placed = state.place(number);
            if placed.is_ok() {
                assert_eq!(state.height, raised);
                assert!(!needs_more(&state));
                continue;
            }
            // All of what follows from it, not only what was seen first.
            let partly = std::mem::replace(&mut state.height, raised.clone());
            let bounds: Vec<u64> = state.bound.iter().zip(&raised).map(|(bound, height)| *bound.max(height)).collect();
            let held = std::mem::replace(&mut state.bound, bounds);
            assert!(needs_more(&state) && state.needed > state.capacity);
            (state.height, state.bound) = (partly, held);
            state.undo(mark);
            let after = (state.height.clone(), state.bound.clone(), state.left.clone(), state.crossing.clone());
            assert_eq!(before, after);
            assert_eq!(state.summary(0..count), known);
            fails += 1;
            // Held, so that another comes next.
            if state.exclude(number, 0).is_err() {
                break;
            }
            assert!(!needs_more(&state));
        }
    }
    assert!(fails > 100, "only {fails} placements failed");
}
