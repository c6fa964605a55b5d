//! The search against a solver that tries everything, on small instances that are loaded in full at nearly all times.

use std::time::Duration;

use crate::support::{Random, buffer, churn, saturated};
use packing::{Buffer, Goal, Options, Status, pack, validate};

/// The smallest peak of all packings, or `below` where none is below that. An optimal packing that is pushed down has every buffer
/// at the lowest free place above those that it meets and that begin lower: so placing buffers in the order of their offsets, each
/// there, gives it.
fn smallest_peak(buffers: &[Buffer], below: u64) -> u64 {
    let all = || 0..buffers.len();
    let mut offsets: Vec<Option<u64>> = buffers.iter().map(|buffer| buffer.offset).collect();
    let fixed = buffers.iter().filter_map(|b| Some(b.offset? + b.size)).max().unwrap_or(0);
    let left = all().filter(|n| offsets[*n].is_none()).map(|n| (resting_place(buffers, n, 0), n)).collect();
    // Floors do not say where a buffer may lie among fixed ones.
    let alive = |time| all().filter(|n| buffers[*n].lower <= time && time < buffers[*n].upper).collect();
    let times = if fixed > 0 { Vec::new() } else { buffers.iter().map(|b| alive(b.lower)).collect() };
    let mut best = below;
    extend(buffers, &times, &mut offsets, left, fixed, (0, 0), &mut best);
    best
}

fn meet(one: &Buffer, other: &Buffer) -> bool {
    one.lower < other.upper && other.lower < one.upper
}

/// Places what is left, of which `left` has the resting places and numbers, above `last`; `times` has what is alive at each time.
fn extend(
    buffers: &[Buffer],
    times: &[Vec<usize>],
    offsets: &mut [Option<u64>],
    left: Vec<(u64, usize)>,
    peak: u64,
    last: (u64, usize),
    best: &mut u64,
) {
    // What is left only rises, and nothing is placed below the last.
    if peak >= *best || left.iter().any(|(offset, n)| last.0.max(*offset) + buffers[*n].size >= *best) {
        return;
    }
    if times.iter().any(|alive| load(buffers, offsets, alive, last.0) >= *best) {
        return;
    }
    if left.is_empty() {
        *best = peak;
    }
    for &(offset, n) in left.iter().filter(|place| **place >= last) {
        offsets[n] = Some(offset);
        let top = offset + buffers[n].size;
        let others = left.iter().filter(|(_, other)| *other != n).map(|&(place, other)| {
            let rises = place < top && meet(&buffers[n], &buffers[other]);
            (if rises { resting_place(buffers, other, top) } else { place }, other)
        });
        extend(buffers, times, offsets, others.collect(), peak.max(top), (offset, n), best);
        offsets[n] = None;
    }
}

/// What a time needs at least: all that is left lies above what is placed, and above the last.
fn load(buffers: &[Buffer], offsets: &[Option<u64>], alive: &[usize], last: u64) -> u64 {
    let (mut top, mut left) = (0, 0);
    for &n in alive {
        match offsets[n] {
            Some(offset) => top = top.max(offset + buffers[n].size),
            None => left += buffers[n].size,
        }
    }
    if left > 0 { top.max(last) + left } else { top }
}

/// The lowest place of a buffer at or above `at` that its alignment and the fixed ones leave.
fn resting_place(buffers: &[Buffer], n: usize, at: u64) -> u64 {
    let alignment = buffers[n].alignment.unwrap_or(1);
    let mut offset = at.next_multiple_of(alignment);
    let top_in_the_way = |offset: u64| {
        let mut fixed = buffers.iter().filter_map(|b| Some((b, b.offset?)));
        let found = fixed
            .find(|(b, place)| *place < offset + buffers[n].size && offset < place + b.size && meet(&buffers[n], b));
        found.map(|(b, place)| place + b.size)
    };
    while let Some(top) = top_in_the_way(offset) {
        offset = top.next_multiple_of(alignment);
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
    let enough = within(optimum);
    assert!(enough.peak <= optimum);
    validate(buffers, &enough.offsets).unwrap();
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
