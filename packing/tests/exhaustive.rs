//! The search against a solver that tries everything, on small instances that are loaded in full at nearly all times.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use packing::{Buffer, Goal, Options, Status, pack, validate};
use support::{Random, buffer, churn, saturated};

/// The smallest peak of all packings, or `below` where none is below that. An optimal packing that is pushed down has every buffer
/// at the lowest free place above those that it meets and that begin lower: so placing buffers in the order of their offsets, each
/// there, gives it.
fn smallest_peak(buffers: &[Buffer], below: u64) -> u64 {
    let mut offsets: Vec<Option<u64>> = buffers.iter().map(|buffer| buffer.offset).collect();
    let fixed = buffers.iter().filter_map(|b| Some(b.offset? + b.size)).max().unwrap_or(0);
    let mut best = below;
    extend(buffers, &mut offsets, fixed, (0, 0), &mut best);
    best
}

fn meet(one: &Buffer, other: &Buffer) -> bool {
    one.lower < other.upper && other.lower < one.upper
}

fn extend(buffers: &[Buffer], offsets: &mut [Option<u64>], peak: u64, last: (u64, usize), best: &mut u64) {
    let left: Vec<usize> = (0..buffers.len()).filter(|n| offsets[*n].is_none()).collect();
    let places: Vec<(u64, usize)> = left.iter().map(|n| (resting_place(buffers, offsets, *n), *n)).collect();
    // What is left only rises.
    if peak >= *best || places.iter().any(|(offset, n)| offset + buffers[*n].size >= *best) {
        return;
    }
    if !buffers.iter().any(|b| b.offset.is_some()) && buffers.iter().any(|b| load(buffers, offsets, b.lower) >= *best) {
        return;
    }
    if left.is_empty() {
        *best = peak;
    }
    for (offset, n) in places.into_iter().filter(|place| *place >= last) {
        offsets[n] = Some(offset);
        extend(buffers, offsets, peak.max(offset + buffers[n].size), (offset, n), best);
        offsets[n] = None;
    }
}

/// What a time needs at least: all that is left lies above what is placed.
fn load(buffers: &[Buffer], offsets: &[Option<u64>], time: i64) -> u64 {
    let alive = || buffers.iter().zip(offsets).filter(|(b, _)| b.lower <= time && time < b.upper);
    let top = alive().filter_map(|(b, offset)| Some((*offset)? + b.size)).max().unwrap_or(0);
    top + alive().filter(|(_, offset)| offset.is_none()).map(|(b, _)| b.size).sum::<u64>()
}

fn resting_place(buffers: &[Buffer], offsets: &[Option<u64>], n: usize) -> u64 {
    let alignment = buffers[n].alignment.unwrap_or(1);
    let met = |k: &usize| offsets[*k].is_some() && meet(&buffers[n], &buffers[*k]);
    let tops = (0..buffers.len()).filter(met).filter(|k| buffers[*k].offset.is_none());
    let mut offset = tops.map(|k| offsets[k].unwrap() + buffers[k].size).max().unwrap_or(0).next_multiple_of(alignment);
    while let Some(fixed) = (0..buffers.len()).filter(met).find(|k| {
        let place = offsets[*k].unwrap();
        buffers[*k].offset.is_some() && place < offset + buffers[n].size && offset < place + buffers[*k].size
    }) {
        offset = (offsets[fixed].unwrap() + buffers[fixed].size).next_multiple_of(alignment);
    }
    offset
}

/// Packs, and checks the packing and all that is said of it.
fn checked(buffers: &[Buffer]) -> Status {
    let options = Options { time_limit: Duration::from_secs(60), ..Options::default() };
    let packing = pack(buffers, &options).unwrap();
    validate(buffers, &packing.offsets).unwrap();
    let peak = buffers.iter().zip(&packing.offsets).map(|(b, offset)| offset + b.size).max().unwrap();
    assert_eq!((packing.peak, packing.proved), (peak, peak), "{buffers:?}");
    let unsearched = pack(buffers, &Options { search: false, ..options.clone() }).unwrap();
    validate(buffers, &unsearched.offsets).unwrap();
    assert!(unsearched.peak >= peak, "{buffers:?}");
    let live = |time| buffers.iter().filter(|b| b.lower <= time && time < b.upper).map(|b| b.size).sum::<u64>();
    let fixed = buffers.iter().filter_map(|b| Some(b.offset? + b.size)).max().unwrap_or(0);
    let bound = buffers.iter().map(|b| live(b.lower)).max().unwrap().max(fixed);
    assert_eq!(packing.lower_bound, bound);
    // Nothing is below the bound, so that only what is above it is to be searched.
    let optimum = if peak == bound { peak } else { smallest_peak(buffers, peak) };
    assert_eq!(packing.peak, optimum, "{buffers:?}");
    let met = if packing.lower_bound == optimum { Status::OptimalBound } else { Status::OptimalExhausted };
    assert_eq!(packing.status, met);
    let within = |capacity| pack(buffers, &Options { goal: Goal::Capacity(capacity), ..options.clone() }).unwrap();
    assert!(within(optimum).peak <= optimum);
    validate(buffers, &within(optimum).offsets).unwrap();
    let below = within(optimum - 1);
    assert_eq!(below.status, Status::Infeasible, "{buffers:?}");
    validate(buffers, &below.offsets).unwrap();
    packing.status
}

#[test]
fn small_saturated_instances() {
    let mut above = 0;
    for seed in 0..12_500 {
        let random = &mut Random::new(seed);
        let buffers = if seed % 10 == 0 { saturated(random, 6, 9, 10, 3) } else { churn(random, 5, 7) };
        above += u32::from(checked(&buffers) == Status::OptimalExhausted);
    }
    assert!(above >= 200, "only {above} optima are above the bound");
}

#[test]
fn alignments_and_fixed_places() {
    let mut above = 0;
    for seed in 0..1_500 {
        let random = &mut Random::new(seed);
        let mut buffers = saturated(random, 5, 12, 7, 2);
        for number in 0..buffers.len() {
            buffers[number].alignment = [None, Some(2), Some(3), Some(4)][random.below(4) as usize];
            let offset = 12 * random.below(2);
            let apart = |other: &Buffer| {
                let place = other.offset.unwrap_or(u64::MAX / 2);
                !meet(other, &buffers[number]) || place + other.size <= offset || offset + buffers[number].size <= place
            };
            if random.below(6) == 0 && buffers.iter().all(apart) {
                buffers[number].offset = Some(offset);
            }
        }
        above += u32::from(checked(&buffers) == Status::OptimalExhausted);
    }
    assert!(above >= 100, "only {above} optima are above the bound");
}

#[test]
fn many_of_a_kind() {
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let kinds: Vec<(i64, i64, u64)> = (0..3)
            .map(|_| {
                let lower = random.below(4) as i64;
                (lower, lower + 1 + random.below(3) as i64, 1 + random.below(3))
            })
            .collect();
        let buffers: Vec<Buffer> = (0..8)
            .map(|id| {
                let (lower, upper, size) = kinds[random.below(3) as usize];
                buffer(id, lower, upper, size)
            })
            .collect();
        checked(&buffers);
    }
}
